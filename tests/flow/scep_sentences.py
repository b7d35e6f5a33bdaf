"""Rows of flow_scep_conformance.py: the sentences of RFC 8894 on the tree that init makes, each with its section and keyword."""
import base64
import os
import urllib.parse

import der
from forgeries import csr_with_challenge
from gateway import run, text
from scep_wire import (CONTENT_TYPE, DATA, FAIL, FAIL_TEXT, MESSAGE_DIGEST, PKIOP, RECIPIENT_NONCE, SENDER_NONCE, STATUS, TXN,
                       TYPE, CertRep, Party, Wire, post)

CAPS = ["POSTPKIOperation", "Renewal", "SHA-256", "SHA-384", "SHA-512", "AES", "SCEPStandard"]
RSA_ENCRYPTION, AES_128 = "1.2.840.113549.1.1.1", "2.16.840.1.101.3.4.1.2"
TABLE_7 = {"AES", "DES3", "GetNextCACert", "POSTPKIOperation", "Renewal", "SHA-1", "SHA-256", "SHA-512", "SCEPStandard"}
WRONG = "NOTACHALLENGE2222222"


class Clients(Wire):
    """Sections 2.1 to 2.5, 2.9 and 7: who asks, and what authorizes it."""

    def test_2_1_2(self):
        """2.1.2 MUST: the certificate that clients encrypt to and verify with is for digitalSignature and keyEncipherment; check
        refuses another (quirk 13)"""
        shown = text("openssl", "x509", "-in", self.gw.path("ra/ra.pem"), "-noout", "-ext", "keyUsage")
        self.assertIn("Digital Signature", shown)
        self.assertIn("Key Encipherment", shown)
        with open(self.gw.conf, encoding="utf-8") as file:
            conf = file.read().replace("certificate: ra/ra.pem", "certificate: ra/bad.pem")
        with open(self.gw.path("other.yaml"), "w", encoding="utf-8") as file:
            file.write(conf)
        run("openssl", "req", "-x509", "-key", self.gw.path("ra/ra.key"), "-out", self.gw.path("ra/bad.pem"), "-subj",
            "/CN=bad", "-addext", "keyUsage=digitalSignature")
        result = run(os.environ["SCEPTER"], "check", "-c", self.gw.path("other.yaml"), check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"keyEncipherment", result.stdout + result.stderr)

    def test_2_2(self):
        """2.2, 4.2.1.2, 3.4 GetCACert with an intermediate CA: x-x509-ca-ra-cert, a SignedData without content and signers, of
        all certificates of the chain"""
        status, kind, body = self.get("operation=GetCACert")
        self.assertEqual((status, kind), (200, "application/x-x509-ca-ra-cert"))
        certs = self.degenerate(body)
        wanted = [run("openssl", "x509", "-in", self.gw.path(path), "-outform", "DER").stdout
                  for path in ("ra/ra.pem", "ca/issuing.pem", "ca/root.pem")]
        self.assertEqual(certs, wanted)

    def test_2_3_self_signed(self):
        with self.subTest("2.3 MUST: who has no certificate signs with a self-signed one: it is served, the reply for its key"):
            reply = self.granted("/CN=self-signed")
            recipients = reply.envelope[1].items
            signer = der.read(run("openssl", "x509", "-in", self.device.path("cert.pem"), "-outform", "DER").stdout)[0].items
            self.assertEqual([item[1].whole for item in recipients], [der.write(der.SEQUENCE, signer[3].whole, signer[1].whole)])
        with self.subTest("2.3 MUST: the self-signed certificate has both key usages; differs: a device whose certificate has "
                          "others, or none, is served as well, since it proves nothing but that it has the key"):
            for number, usage in enumerate(("digitalSignature,keyEncipherment", "keyCertSign", "digitalSignature")):
                run("openssl", "req", "-x509", "-key", "key.pem", "-out", "usage.pem", "-subj", "/CN=usage", "-addext",
                    f"keyUsage={usage}", cwd=self.device.dir)
                self.device.csr(f"/CN=usage-{number}", self.gw.challenge())
                self.assert_outcome("SUCCESS", "csr=csr.der", "signer=usage.pem", f"txn=usage-{number}")

    def test_2_3_same_key(self):
        with self.subTest("2.3 SHOULD: the self-signed certificate has the CSR's subject and key: another key is badRequest, "
                          "another name is not looked at (Cisco)"):
            other = Party(self.gw, "other")
            self.device.csr("/CN=same-key", self.gw.challenge())
            self.assert_outcome("badRequest", "csr=csr.der", f"signer={other.path('cert.pem')}", f"key={other.path('key.pem')}")
            self.device.self_sign("/CN=another name", out="named.pem")
            self.assert_outcome("SUCCESS", "csr=csr.der", "signer=named.pem")
        with self.subTest("2.3 MUST: the key of the certificate that is named signs the message: another one is badMessageCheck"):
            self.device.csr("/CN=named-key", self.gw.challenge())
            self.assert_outcome("badMessageCheck", "csr=csr.der", f"signer={other.path('cert.pem')}")
            self.assert_outcome("SUCCESS", "csr=csr.der")

    def test_2_3_renewal(self):
        issued = self.device.enroll("/CN=renewal")
        run("openssl", "genrsa", "-out", "new.pem", "2048", cwd=self.device.dir)
        rows = {"new.pem": "2.5 SHOULD: a renewal is for a new key, and the reply for the old one",
                "key.pem": "2.5 MAY: a renewal is for the old key"}
        with self.subTest("2.3 SHOULD: who has a certificate of ours renews with it by RenewalReq"):
            for key, sentence in rows.items():
                with self.subTest(sentence):
                    self.device.csr("/CN=renewal", key=key)
                    self.assert_outcome("SUCCESS", "csr=csr.der", "type=17", f"signer={issued}", f"txn=renewal-{key}",
                                        "reply=reply.der")
                    opened = self.device.keep("opened.pem", self.device.open(self.device.load("reply.der"), cert=issued))
                    self.assertEqual(text("openssl", "x509", "-in", opened, "-noout", "-pubkey"),
                                     text("openssl", "pkey", "-in", self.device.path(key), "-pubout"))
            self.assertEqual(len([c for c in self.gw.certs() if c["subject"] == "CN=renewal"]), 3)

    def test_2_3_bag(self):
        with self.subTest("2.3 MUST: the signer's certificate is in certificates, alone or with its chain: without it "
                          "badMessageCheck"):
            issued = self.device.enroll("/CN=chain")
            self.device.csr("/CN=chain")
            self.assert_outcome("badMessageCheck", "csr=csr.der", "type=17", f"signer={issued}", "bag=")
            self.assert_outcome("badMessageCheck", "csr=csr.der", "type=17", f"signer={issued}",
                                f"bag={self.gw.path('ca/issuing.pem')}")
            self.assert_outcome("SUCCESS", "csr=csr.der", "type=17", f"signer={issued}", f"bag={issued}",
                                f"bag={self.gw.path('ca/issuing.pem')}", f"bag={self.gw.path('ca/root.pem')}")

    def test_2_3_alternate(self):
        """2.3 MAY: a certificate of another CA asks for a renewal, if the policy takes it; no policy, no renewal: badRequest"""
        self.device.csr("/CN=alternate")
        self.assert_outcome("badRequest", "csr=csr.der", "type=17")

    def test_2_4_challenge(self):
        with self.subTest("2.4 RECOMMENDED: a challengePassword counts once"):
            secret = self.gw.challenge()
            self.device.csr("/CN=once", secret)
            self.assert_outcome("SUCCESS", "csr=csr.der")
            self.device.csr("/CN=twice", secret)
            self.assert_outcome("badRequest", "csr=csr.der")
        self.device.csr("/CN=without")
        with self.subTest("2.4 RECOMMENDED: the client brings one: without it nothing authorizes it"):
            self.assert_outcome("badRequest", "csr=csr.der")
        with self.subTest("2.4 MUST NOT: a self-signed certificate authenticates a client: the CSR's name is in it, for nothing"):
            self.device.self_sign("/CN=without", out="without.pem")
            for kind in ("17", "19"):
                self.assert_outcome("badRequest", "csr=csr.der", f"type={kind}", "signer=without.pem")
        with self.subTest("2.4 MAY: the CA rejects what is not authorized, and does not hold it for an operator"):
            self.assertEqual([r for r in self.gw.requests() if "without" in r["subject"]], [])

    def test_2_4_renewal(self):
        secret = self.gw.challenge()
        issued = self.device.enroll("/CN=carries", secret=secret)
        for number, (row, carried) in enumerate((
                ("2.4 OPTIONAL: a renewal has a challenge or none", None),
                ("2.4 SHOULD: a renewal leaves the challenge out", None),
                ("2.4 MAY: a renewal carries the challenge of the enrollment, though it is spent", secret),
                ("2.4 MAY: the CA also judges a renewal's challenge; differs: the certificate decides, and a wrong challenge is "
                 "not looked at", WRONG))):
            with self.subTest(row):
                self.device.csr("/CN=carries", carried)
                self.assert_outcome("SUCCESS", "csr=csr.der", "type=17", f"signer={issued}", f"txn=carries-{number}")

    def test_2_9(self):
        with self.subTest("2.9 MUST: GetCACaps, GetCACert, PKCSReq, POST, AES128-CBC and SHA-256 are there; AES-256, AES-192, "
                          "SHA-512 and SHA-384 as well; the reply has what the request had"):
            self.assertEqual([self.get(f"operation={name}")[0] for name in ("GetCACaps", "GetCACert")], [200, 200])
            algorithms = (("AES-128-CBC", "SHA256"), ("AES-256-CBC", "SHA512"), ("AES-192-CBC", "SHA384"))
            for number, (cipher, digest) in enumerate(algorithms):
                self.device.csr(f"/CN=algorithms-{number}", self.gw.challenge())
                answer = self.assert_outcome("SUCCESS", "csr=csr.der", f"cipher={cipher}", f"digest={digest}")
                self.assertEqual((answer["cipher"], answer["digest"]), (cipher, digest))
        with self.subTest("2.9 MUST NOT: single DES and MD5 are supported, however combined; 3DES and SHA-1 are not without "
                          "scep.legacy: badAlg"):
            self.device.csr("/CN=obsolete", self.gw.challenge())
            for words in (["digest=MD5"], ["digest=SHA1"], ["cipher=DES-EDE3-CBC"], ["digest=MD5", "cipher=DES-EDE3-CBC"]):
                self.assert_outcome("badAlg", "csr=csr.der", *words)
            self.device.csr("/CN=single-des", self.gw.challenge())
            self.gw.scep_client("--subject", "/CN=des", "--cipher", "des", "--no-send", "--save-request", "des.der",
                                secret=self.gw.challenge(), cwd=self.device.dir)
            self.assertEqual(CertRep(post(self.gw, self.device.load("des.der"))[2]).outcome, "badAlg")
            self.device.csr("/CN=obsolete", self.gw.challenge())
            self.assert_outcome("SUCCESS", "csr=csr.der")
        with self.subTest("7.5 MUST NOT: single DES and MD5 are a feature, so that who takes all else out of GetCACaps wins nothing: "
                          "they are not listed, and together badAlg"):
            self.assertEqual({"DES", "MD5"} & set(self.get("operation=GetCACaps")[2].decode().split()), set())
            self.gw.scep_client("--subject", "/CN=rolled-back", "--cipher", "des", "--digest", "md5", "--no-send", "--save-request",
                                "old.der", secret=self.gw.challenge(), cwd=self.device.dir)
            self.assertEqual(CertRep(post(self.gw, self.device.load("old.der"))[2]).outcome, "badAlg")
            self.assertEqual([c for c in self.gw.certs() if "rolled-back" in c["subject"]], [])

    def test_7_6(self):
        """7.6 a renewal proves possession of the new key as well: a torn self-signature of the CSR is badMessageCheck"""
        issued = self.device.enroll("/CN=possession")
        self.device.csr("/CN=possession")
        whole = bytearray(self.device.load("csr.der"))
        whole[-1] ^= 1
        self.device.keep("torn.der", bytes(whole))
        self.assert_outcome("badMessageCheck", "csr=torn.der", "type=17", f"signer={issued}")


class Messages(Wire):
    """Section 3: what a message is."""

    def test_3_1_bare(self):
        """3.1 SHOULD NOT: a request goes without its envelope, in clear: badMessageCheck, and the challenge is not spent"""
        self.device.csr("/CN=bare", self.gw.challenge())
        self.assert_outcome("badMessageCheck", "csr=csr.der", "bare=1")
        self.assert_outcome("badMessageCheck")
        self.assert_outcome("SUCCESS", "csr=csr.der")

    def test_3_2(self):
        """A message that is not built as it should be is refused, ChromeOS's wrong digest too (quirk 21)"""
        self.device.csr("/CN=shape", self.gw.challenge())
        self.device.keep("noise.der", der.write(der.SEQUENCE, der.oid(DATA), der.write(0xa0, der.write(der.OCTET_STRING, b"x"))))
        for row, cases in (
                ("3.2 MUST: the eContentType is data",
                 ((["outer_type=pkcs7-envelopedData"], "400"), (["content_type=pkcs7-envelopedData"], "badMessageCheck"))),
                ("3.2 MUST: the content is an envelope", ((["plain=noise.der", "bare=1"], "badMessageCheck"),)),
                ("3.2 MUST: the SignerInfo has signed attributes, with contentType and a messageDigest that is right",
                 ((["no_attributes=1"], "400"), (["content_type="], "badMessageCheck"),
                  (["wrong_digest=1"], "badMessageCheck")))):
            with self.subTest(row):
                for words, outcome in cases:
                    self.assert_outcome(outcome, "csr=csr.der", *words)
        with self.subTest("3.2.2 MUST: the encryptedContent is of type data"):
            message = CertRep(self.device.message("csr=csr.der"))
            self.device.keep("typed.der", message.parts[2][1][0].content.replace(
                der.oid(DATA), der.oid("1.2.840.113549.1.7.5"), 1))
            self.assert_outcome("badMessageCheck", "plain=typed.der", "bare=1")
        self.assert_outcome("SUCCESS", "csr=csr.der")

    def test_match(self):
        """Each content under each messageType: what does not match is refused, and issues nothing (quirk 29)."""
        issued = self.device.enroll("/CN=match")
        certificate = der.read(run("openssl", "x509", "-in", issued, "-outform", "DER").stdout)[0].items
        self.device.csr("/CN=match", self.gw.challenge())
        csr = self.device.path("csr.der")
        names = self.device.keep("poll.der", der.write(der.SEQUENCE, certificate[3].whole, der.common_name("/CN=match")))
        wanted = self.device.keep("wanted.der", der.write(der.SEQUENCE, certificate[3].whole, certificate[1].whole))
        before = len(self.gw.certs())
        for row, kind, contents in (
                ("3.2 MUST: the envelope matches the messageType: 19 PKCSReq, with a poll's names or a serial number", "19",
                 (names, wanted)),
                ("3.2.2 MUST: the content is what is transported: 17 RenewalReq, with no CSR", "17", (names, wanted)),
                ("3.2.2 MUST: the content matches the messageType: 21 GetCert, with a CSR or a poll's names", "21", (csr, names)),
                ("3.3 MUST: messageType says which message it is: 22 GetCRL, with a CSR or a poll's names", "22", (csr, names))):
            with self.subTest(row):
                for content in contents:
                    self.assert_outcome("badMessageCheck", f"plain={content}", f"type={kind}", f"signer={issued}", "txn=match")
        self.assertEqual(len(self.gw.certs()), before)
        with self.subTest("3.3.3 SHOULD: a poll is decided by recipient and transactionID, not by its content; so 20 CertPoll "
                          "with a CSR in it is a poll as well"):
            for content, outcome in ((csr, "badCertId"), (wanted, "badCertId"), (names, "badCertId")):
                self.assert_outcome(outcome, f"plain={content}", "type=20", "txn=never-asked")
            self.granted("/CN=polled")
            for subject in ("/CN=polled", "/CN=something else"):
                self.assertEqual(self.poll(subject, "/CN=polled")["first"], "CN=polled")
            self.assert_outcome("SUCCESS", f"plain={wanted}", "type=20", "txn=/CN=polled")
            self.assert_outcome("badMessageCheck", f"plain={names}", "type=20", "txn=/CN=polled",
                                f"recipient={self.gw.path('ca/issuing.pem')}")

    def test_3_2_1_missing(self):
        self.device.csr("/CN=missing", self.gw.challenge())
        with self.subTest("3.2.1 MUST: a message has a transactionID; without one, with one that is empty, too long or of another "
                          "type there is nothing to answer to: HTTP 400"):
            value = der.write(der.UTF8, b"utf8"), der.write(der.OCTET_STRING, b"octets")
            attributes = [der.write(der.SEQUENCE, der.oid(TXN), der.write(der.SET, item)).hex() for item in value]
            for words in (["txn="], ["txn=" + "x" * 257], *[["txn=", f"more={more}"] for more in attributes]):
                self.assert_outcome("400", "csr=csr.der", *words)
        with self.subTest("3.2.1.2 MUST: a message has a messageType: without one badRequest"):
            self.assert_outcome("badRequest", "csr=csr.der", "type=")
        with self.subTest("3.2.1.5 MUST: a message has a fresh senderNonce; differs: one without is served, as its reply proves "
                          "nothing more by one, and has no recipientNonce"):
            self.assert_outcome("SUCCESS", "csr=csr.der", "no_nonce=1", "reply=reply.der")
            self.assertNotIn(RECIPIENT_NONCE, CertRep(self.device.load("reply.der")).values)

    def test_3_2_1(self):
        reply = self.granted("/CN=attributes")
        with self.subTest("3.2.1 MUST: a CertRep has pkiStatus, the recipientNonce, and failInfo only if it is a FAILURE; each "
                          "attribute of table 1 once and in its string type; and what CMS requires"):
            self.assertEqual((reply.text(TYPE), reply.text(STATUS)), ("3", "0"))
            self.assertEqual(der.read(der.write(der.OID, reply.value(CONTENT_TYPE))).oid, DATA)
            for attribute, tag in ((TYPE, der.PRINTABLE), (STATUS, der.PRINTABLE), (TXN, der.PRINTABLE),
                                   (SENDER_NONCE, der.OCTET_STRING), (RECIPIENT_NONCE, der.OCTET_STRING),
                                   (MESSAGE_DIGEST, der.OCTET_STRING)):
                self.assertEqual([value.tag for value in reply.values[attribute]], [tag], attribute)
            self.assertNotIn(FAIL, reply.values)

    def test_3_2_1_1(self):
        stranger = Party(self.gw, "stranger")
        with self.subTest("3.2.1.1 MUST: a transactionID is unique; two devices with the same are kept apart by their keys"):
            for party in (self.device, stranger):
                party.csr(f"/CN=unique-{party.subject[4:]}", self.gw.challenge())
                self.assert_outcome("SUCCESS", "csr=csr.der", "txn=not unique", party=party)
            for party in (self.device, stranger):
                self.assertEqual(self.poll("/CN=x", "not unique", party=party)["first"], f"CN=unique-{party.subject[4:]}")
        with self.subTest("3.2.1.1 MUST: all messages of a transaction have the same transactionID, a PrintableString: SUCCESS, "
                          "FAILURE and polls give it back as it came, octet for octet"):
            for number, txn in enumerate(("0123", "A" * 64, "a b'()+,-./:=?", "EUI-64 00-11-22-FF-FE-33-44-55", "z" * 256)):
                self.device.csr(f"/CN=copied-{number}", self.gw.challenge())
                self.assert_outcome("SUCCESS", "csr=csr.der", f"txn={txn}", "reply=SUCCESS")
                self.poll("/CN=x", txn, "reply=POLL")
                self.assert_outcome("badRequest", "csr=csr.der", f"txn={txn}", "type=23", "reply=FAILURE")
                for name in ("SUCCESS", "POLL", "FAILURE"):
                    values = CertRep(self.device.load(name)).values[TXN]
                    self.assertEqual([value.whole for value in values], [der.write(der.PRINTABLE, txn.encode())], (name, txn))

    def test_3_2_1_2(self):
        """3.2.1.2 MUST: message types that are not defined are errors: a signed FAILURE badRequest, whatever pkiStatus they have"""
        self.device.csr("/CN=types", self.gw.challenge())
        for kind in ("0", "3", "16", "18", "23", "99", "x"):
            self.assert_outcome("badRequest", "csr=csr.der", f"type={kind}")
        status = der.write(der.SEQUENCE, der.oid(STATUS), der.write(der.SET, der.write(der.PRINTABLE, b"0"))).hex()
        self.assert_outcome("badRequest", "csr=csr.der", "type=3", f"more={status}")

    def failure(self, outcome, *words):
        answer = self.assert_outcome(outcome, *words, "reply=reply.der")
        reply = CertRep(self.device.load("reply.der"))
        self.assertEqual((answer["txn"], answer["nonce"]), ("same", "same"))
        run("openssl", "cms", "-verify", "-inform", "DER", "-noverify", "-nointern", "-certfile", self.gw.path("ra/ra.pem"),
            "-out", "/dev/null", input=reply.data)
        return reply

    def test_failures(self):
        """What is refused is HTTP 200 and a signed FAILURE (quirk 16), with what belongs into it"""
        self.device.csr("/CN=failures", WRONG)
        cases = {"badRequest": ["csr=csr.der"], "badAlg": ["csr=csr.der", "digest=SHA1"],
                 "badMessageCheck": ["csr=csr.der", "wrong_digest=1"], "badCertId": ["csr=csr.der", "type=20", "txn=never"]}
        replies = [self.failure(outcome, *words) for outcome, words in cases.items()]
        for row, value in (
                ("3.2.1.3 MUST: a response says its pkiStatus", lambda r: r.text(STATUS) == "2"),
                ("3.2.1.3 MUST: a FAILURE has its failInfo", lambda r: r.values[FAIL][0].tag == der.PRINTABLE),
                ("3.2.1.4 MUST: failInfo is one of the five: signed, and it answers the request", lambda r: r.text(FAIL) in "01234"),
                ("3.3.2.2 MUST: a FAILURE has its failInfo, which says what is wrong", lambda r: len(r.values[FAIL]) == 1),
                ("3.3.2.2 MAY: a FAILURE has a failInfoText: under which id the log has the reason", lambda r: FAIL_TEXT in r.values),
                ("3.3.2.2 MUST: a FAILURE has no envelope", lambda r: r.envelope is None)):
            with self.subTest(row):
                self.assertEqual([value(reply) for reply in replies], [True] * 4)

    def test_fail_info(self):
        issued = self.device.enroll("/CN=fail-info")
        for row, outcome, cases in (
                ("3.2.1.4, table 5: 0 badAlg for a digest or a cipher that is not allowed", "badAlg",
                 (["csr=csr.der", "digest=SHA1"], ["csr=csr.der", "cipher=DES-EDE3-CBC"])),
                ("3.2.1.4, table 5: 1 badMessageCheck for a digest, a signature or an envelope that is not right", "badMessageCheck",
                 (["csr=csr.der", "wrong_digest=1"], ["csr=csr.der", f"signer={issued}", "key=other.pem"], ["csr=csr.der", "fault=3"])),
                ("3.2.1.4, table 5: 2 badRequest for what is not permitted or not served", "badRequest",
                 (["csr=csr.der"], ["csr=csr.der", "type=18"])),
                ("3.2.1.4, table 5: 4 badCertId where there is no such request or certificate", "badCertId",
                 (["csr=csr.der", "type=20", "txn=never"], ["plain=wanted.der", "type=21", f"signer={issued}"]))):
            with self.subTest(row):
                run("openssl", "genrsa", "-out", "other.pem", "2048", cwd=self.device.dir)
                tbs = der.read(run("openssl", "x509", "-in", issued, "-outform", "DER").stdout)[0].items
                self.device.keep("wanted.der", der.write(der.SEQUENCE, tbs[3].whole, der.number(4711)))
                self.device.csr("/CN=fail-info-2", WRONG)
                for words in cases:
                    self.failure(outcome, *words)

    def test_bad_time(self):
        """3.2.1.4, table 5: 3 badTime where the CA minds signingTime; differs: nobody is refused for a wrong clock, as devices
        before their first certificate have no other; repeated messages are known by their contents (flow_scep_attack.py)"""
        self.device.csr("/CN=bad-time", self.gw.challenge())
        old = der.write(0x17, b"700101000000Z")
        signing_time = der.write(der.SEQUENCE, der.oid("1.2.840.113549.1.9.5"), der.write(der.SET, old)).hex()
        self.assert_outcome("SUCCESS", "csr=csr.der", f"more={signing_time}")

    def test_3_2_1_5(self):
        """3.2.1.5 MUST: the recipientNonce is the request's senderNonce, in FAILURE too; ours has 16 octets and is fresh each
        time (quirk 12)"""
        seen = set()
        for number, words in enumerate(([], [], [], ["digest=SHA1"], ["wrong_digest=1"])):
            nonce = os.urandom(16)
            reply = CertRep(post(self.gw, self.request("/CN=nonces", f"nonce={nonce.hex()}", *words))[2])
            self.assertEqual(reply.value(RECIPIENT_NONCE), nonce)
            self.assertEqual(len(reply.value(SENDER_NONCE)), 16)
            seen.add(reply.value(SENDER_NONCE))
            self.assertEqual(len(seen), number + 1)
            self.assertNotIn(nonce, seen)

    def test_3_2_2(self):
        """3.2.2, 3.1 the reply's encryptedContent is data too, for one recipient by issuer and serial number, rsaEncryption"""
        envelope = self.granted("/CN=envelope").envelope.items
        self.assertEqual(envelope[0].number, 0)
        recipient = envelope[1][0].items
        self.assertEqual((len(envelope[1].items), recipient[0].number, recipient[2][0].oid), (1, 0, RSA_ENCRYPTION))
        self.assertEqual((envelope[2][0].oid, envelope[2][1][0].oid), (DATA, AES_128))

    def test_3_3_1(self):
        """3.3.1 MUST: a request has a subject, a key, and a challenge if that is the authorization: else badRequest, and without a
        key badMessageCheck"""
        nameless = csr_with_challenge(self.device, "", der.write(der.UTF8, self.gw.challenge().encode()))
        self.device.keep("csr.der", nameless)
        self.assert_outcome("badRequest", "csr=csr.der")
        self.device.csr("/CN=no-challenge")
        self.assert_outcome("badRequest", "csr=csr.der")
        info = der.write(der.SEQUENCE, der.number(0), der.common_name("/CN=no-key"), der.write(0xa0))
        self.device.keep("csr.der", der.write(der.SEQUENCE, info, *self.device.sign(info)))
        self.assert_outcome("badMessageCheck", "csr=csr.der")

    def test_3_3_2_1(self):
        def enroll():
            return self.granted("/CN=content")

        def renew():
            self.device.csr("/CN=content")
            self.device.forge("csr=csr.der", "type=17", "signer=issued.pem", "txn=content-2", "reply=reply.der")
            return CertRep(self.device.load("reply.der"))

        def poll():
            self.poll("/CN=content", "content-2", "signer=issued.pem", "reply=reply.der")
            return CertRep(self.device.load("reply.der"))

        for row, ask in (("3.3.2.1 MUST: SUCCESS to PKCSReq carries the issued certificate", enroll),
                         ("3.3.2.1 MUST: the issued certificate is the leaf: the same for RenewalReq", renew),
                         ("3.3.2.1, table 6: the same for CertPoll", poll)):
            with self.subTest(row):
                bag = self.bag(ask(), "cert.pem" if ask is enroll else "issued.pem")
                self.assertEqual(len(bag), 1)
                shown = text("openssl", "x509", "-inform", "DER", "-noout", "-subject", "-pubkey", input=bag[0])
                self.assertIn("CN = content", shown)
                self.assertIn(text("openssl", "pkey", "-in", self.device.path("key.pem"), "-pubout"), shown)
                if ask is enroll:
                    self.device.keep("issued.pem", run("openssl", "x509", "-inform", "DER", input=bag[0]).stdout)

    def bag(self, reply, cert="cert.pem", key="key.pem"):
        """The certificates of a CertRep SUCCESS."""
        self.device.open(reply.data, cert, key)
        return self.degenerate(self.device.load("bag.der"))

    def test_3_4(self):
        """3.4 MUST: the degenerate SignedData of a reply and of GetCACert has no content; it has no signers and digests"""
        self.bag(self.granted("/CN=degenerate"))
        self.degenerate(self.get("operation=GetCACert")[2])

    def test_5_2(self):
        for row, ask in (("5.2 SHOULD: after a lost SUCCESS a client begins anew: a new PKCSReq with a new transactionID brings the "
                          "certificate that was issued; differs from figure 12: nobody has to revoke it", "PKCSReq"),
                         ("5.2 SHOULD: rather than by the old poll, which brings it as well (figure 13)", "CertPoll")):
            with self.subTest(row):
                secret = self.gw.challenge()
                first = self.bag(self.granted(f"/CN=resync-{ask}", secret=secret))
                if ask == "PKCSReq":
                    again = post(self.gw, self.request(f"/CN=resync-{ask}", "txn=another", secret=secret))[2]
                else:
                    self.poll("/CN=x", f"/CN=resync-{ask}", "reply=reply.der")
                    again = self.device.load("reply.der")
                self.assertEqual(self.bag(CertRep(again)), first)
                self.assertEqual(len([c for c in self.gw.certs() if c["subject"] == f"CN=resync-{ask}"]), 1)

    def test_der(self):
        """DER throughout: definite lengths, signed attributes sorted, in replies to BER as well; rsaEncryption signs (quirk 11)"""
        for number, words in enumerate(((), ("ber=1",), ("unsorted=1",))):
            reply = self.granted(f"/CN=strict-{number}", *words)
            for node in der.read(reply.data).all():
                self.assertIsNotNone(node)
            encodings = [attribute.whole for attribute in reply.attributes.items]
            self.assertEqual(encodings, sorted(encodings))
            self.assertEqual(reply.signers[0][4][0].oid, RSA_ENCRYPTION)
            der.read(der.read(reply.envelope.whole).whole)


class Transport(Wire):
    """Sections 3.5 and 4: what goes over HTTP."""

    def test_3_5(self):
        """What GetCACaps lists, and how (quirk 16)"""
        status, kind, body = self.get("operation=GetCACaps")
        for row, got, wanted in (
                ("3.5 MUST: GetCACaps is there", status, 200),
                ("3.5.2 MUST: keywords have the case of the RFC, a line each, no spaces, none that is not honoured",
                 body.decode("ascii"), "\n".join(CAPS) + "\n"),
                ("3.5.2 MAY: there are further keywords: one", len(set(body.decode().split()) - TABLE_7), 1),
                ("6 SHOULD: keywords are of IANA's registry; differs: SHA-384 is not, as strongSwan uses AES only if it sees it",
                 set(body.decode().split()) - TABLE_7, {"SHA-384"}),
                ("3.5.2 SHOULD: a CA with none of the capabilities answers with nothing; not so here: what 2.9 requires is listed",
                 {"AES", "POSTPKIOperation", "SHA-256", "SCEPStandard"} - set(body.decode().split()), set()),
                ("3.5.2 MAY: such a CA answers with an HTTP error; not so here, though the query has more in it",
                 {self.get(f"operation=GetCACaps{more}")[0] for more in ("&message=x", "&message=", "&a=b")}, {200}),
                ("3.5.2 SHOULD: the Content-Type is text/plain", kind, "text/plain")):
            with self.subTest(row):
                self.assertEqual(got, wanted)

    def test_4_1_path(self):
        """4.1 SHOULD: the CA ignores the path; here the fixed one of the RFC leads to a profile, and so does each profile's own
        with anything behind it; differs: other paths are 404, since the path chooses the profile"""
        for path in ("/cgi-bin/pkiclient.exe", "/scep/default", "/scep/default/pkiclient.exe", "/scep/default/a/b.c"):
            self.assertEqual(self.get("operation=GetCACaps", path)[0], 200, path)
        self.assertEqual(self.get("operation=GetCACaps", "/scep/defaultx")[0], 404)

    def test_4_1_get(self):
        message = self.request("/CN=by-get")
        value = base64.b64encode(message).decode()
        escaped = urllib.parse.quote(value, safe="")
        for row, given in (("4.1 MUST: a GET has the base64 of RFC 4648 section 4", escaped),
                           ("4.1 MUST: the base64 is escaped; what is not, or by half, is understood too", value),
                           ("2.9 MAY: GET carries messages", escaped)):
            with self.subTest(row):
                status, kind, body = self.get(f"operation=PKIOperation&message={given}")
                self.assertEqual((status, kind, CertRep(body).outcome), (200, "application/x-pki-message", "SUCCESS"))

    def test_operations(self):
        for row, right, method in (
                ("4.2 MUST: OPERATION is GetCACert, letter by letter: else 400", "GetCACert", "GET"),
                ("4.3 MUST: OPERATION is PKIOperation for an enrollment; differs: a POST without any is one, as many servers have it",
                 "PKIOperation", "POST"),
                ("4.4 MUST: OPERATION is PKIOperation for a poll", "PKIOperation", "POST"),
                ("4.5 MUST: OPERATION is PKIOperation for GetCert", "PKIOperation", "POST"),
                ("4.6 MUST: OPERATION is PKIOperation for GetCRL", "PKIOperation", "POST"),
                ("4.7 MUST: OPERATION is GetNextCACert; without a successor it is 404, and GetCACaps does not list it",
                 "GetNextCACert", "GET")):
            with self.subTest(row):
                wrong = (right.lower(), right.upper(), right + "2", right[:-1], right + ",GetCACert", f"%20{right}")
                kinds = {"poll": "20", "GetCert": "21", "GetCRL": "22"}
                kind = next((number for name, number in kinds.items() if row.endswith(name)), "19")
                self.device.csr("/CN=operations", self.gw.challenge())
                message = self.device.message("csr=csr.der", f"type={kind}", "txn=operations")
                for operation in wrong if method == "GET" else (*wrong, "GetCACert", "GetCert"):
                    status = self.get(f"operation={operation}")[0] if method == "GET" else \
                        post(self.gw, message, path=f"/scep/default?operation={operation}")[0]
                    self.assertEqual(status, 400, operation)
                self.assertEqual([c for c in self.gw.certs() if "operations" in c["subject"]], [])
        self.assertEqual(self.get("operation=GetNextCACert")[0], 404)
        self.assertNotIn(b"GetNextCACert", self.get("operation=GetCACaps")[2])

    def test_4_3(self):
        """4.3, 4.3.1 POST needs no operation; the reply is application/x-pki-message"""
        for path in (PKIOP, "/scep/default", "/scep/default?", "/scep/default?message=x"):
            status, kind, body = post(self.gw, self.request("/CN=no-operation"), path=path)
            self.assertEqual((status, kind, CertRep(body).outcome), (200, "application/x-pki-message", "SUCCESS"), path)

    def test_4_4(self):
        self.granted("/CN=poll-rejected")
        for row, party, txn in (("4.4 MUST: a poll has the transactionID of its request: another one is badCertId", self.device, "other"),
                                ("4.4 MUST: a poll without a request is rejected: another key's is none: badCertId",
                                 Party(self.gw, "stranger"), "/CN=poll-rejected")):
            with self.subTest(row):
                self.assertEqual(self.poll("/CN=poll-rejected", txn, party=party).outcome, "badCertId")
        with self.subTest("4.4 SHOULD NOT: a device has several requests open; here each is polled by its transactionID"):
            for number in range(3):
                self.granted(f"/CN=open-{number}")
            for number in range(3):
                self.assertEqual(self.poll("/CN=x", f"/CN=open-{number}")["first"], f"CN=open-{number}")
