"""SCEP against RFC 8894 and against what clients in the field do: a row a test, printed as pass or FAIL. Rows begin with the
section of the RFC, or with the client whose quirk it is. What travels is looked at as octets (der.py, openssl)."""
import os
import time

import der
import rows
from forgeries import GenerousCa, csr_with_challenge
from gateway import run, text
from scep_devices import Http, Quirks, Tls  # noqa: F401 pylint: disable=unused-import
from scep_families import Families  # noqa: F401 pylint: disable=unused-import
from scep_wire import (CONTENT_TYPE, DATA, FAIL, MESSAGE_DIGEST, PKIOP, RECIPIENT_NONCE, SENDER_NONCE, SIGNED, STATUS, TXN, TYPE,
                       CertRep, Party, Wire, post)

CAPS = ["POSTPKIOperation", "Renewal", "SHA-256", "SHA-384", "SHA-512", "AES", "SCEPStandard"]
RSA_ENCRYPTION, AES_128 = "1.2.840.113549.1.1.1", "2.16.840.1.101.3.4.1.2"


class Messages(Wire):
    """RFC 8894 sections 2 to 4 on the tree that init makes."""

    def test_2_1_2(self):
        """2.1.2 the certificate that clients encrypt to MUST have keyUsage digitalSignature and keyEncipherment"""
        shown = text("openssl", "x509", "-in", self.gw.path("ra/ra.pem"), "-noout", "-ext", "keyUsage")
        self.assertIn("Digital Signature", shown)
        self.assertIn("Key Encipherment", shown)
        with open(self.gw.conf, encoding="utf-8") as file:
            self.device.keep("other.yaml", file.read().replace("certificate: ra/ra.pem", "certificate: ra/bad.pem").encode())
        run("openssl", "req", "-x509", "-key", self.gw.path("ra/ra.key"), "-out", self.gw.path("ra/bad.pem"), "-subj",
            "/CN=bad", "-addext", "keyUsage=digitalSignature")
        os.replace(self.device.path("other.yaml"), self.gw.path("other.yaml"))
        result = run(os.environ["SCEPTER"], "check", "-c", self.gw.path("other.yaml"), check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"keyEncipherment", result.stdout + result.stderr)

    def test_2_2(self):
        """2.2, 4.2.1.2, 3.4 GetCACert with an intermediate CA: x-x509-ca-ra-cert, a SignedData without content and signers"""
        status, kind, body = self.get("operation=GetCACert")
        self.assertEqual((status, kind), (200, "application/x-x509-ca-ra-cert"))
        certs = self.degenerate(body)
        wanted = [run("openssl", "x509", "-in", self.gw.path(path), "-outform", "DER").stdout
                  for path in ("ra/ra.pem", "ca/issuing.pem", "ca/root.pem")]
        self.assertEqual(certs, wanted)

    def bag(self, reply, cert="cert.pem", key="key.pem"):
        """The certificates of a CertRep SUCCESS."""
        self.device.open(reply.data, cert, key)
        return self.degenerate(self.device.load("bag.der"))

    def test_2_3_self_signed(self):
        """2.3 item 1: a request signed with a self-signed certificate for its own key is served; the reply is for that key"""
        reply = self.granted("/CN=self-signed")
        recipients = reply.envelope[1].items
        signer = der.read(run("openssl", "x509", "-in", self.device.path("cert.pem"), "-outform", "DER").stdout)[0].items
        self.assertEqual([item[1].whole for item in recipients], [der.write(der.SEQUENCE, signer[3].whole, signer[1].whole)])

    def test_2_3_renewal(self):
        """2.3 item 2, 2.5: RenewalReq signed by the issued certificate, without a challenge, for a new key (SHOULD) and for
        the old one (MAY); the reply is for the old key"""
        issued = self.device.enroll("/CN=renewal")
        run("openssl", "genrsa", "-out", "new.pem", "2048", cwd=self.device.dir)
        for key in ("new.pem", "key.pem"):
            self.device.csr("/CN=renewal", key=key)
            self.assert_outcome("SUCCESS", "csr=csr.der", "type=17", f"signer={issued}", f"txn=renewal-{key}",
                                "reply=reply.der")
            opened = self.device.keep("opened.pem", self.device.open(self.device.load("reply.der"), cert=issued))
            self.assertEqual(text("openssl", "x509", "-in", opened, "-noout", "-pubkey"),
                             text("openssl", "pkey", "-in", self.device.path(key), "-pubout"))
        self.assertEqual(len([c for c in self.gw.certs() if c["subject"] == "CN=renewal"]), 3)

    def test_2_3_chain(self):
        """2.3: the signer's certificate may come with its chain"""
        issued = self.device.enroll("/CN=chain")
        self.device.csr("/CN=chain")
        self.assert_outcome("SUCCESS", "csr=csr.der", "type=17", f"signer={issued}", f"bag={issued}",
                            f"bag={self.gw.path('ca/issuing.pem')}", f"bag={self.gw.path('ca/root.pem')}")

    def test_2_3_alternate(self):
        """2.3 item 3: a certificate of another CA authorizes no renewal unless policy says so"""
        self.device.csr("/CN=alternate")
        self.assert_outcome("badRequest", "csr=csr.der", "type=17")

    def test_2_4_challenge(self):
        """2.4 a challengePassword authorizes an enrollment, once; without one a self-signed certificate MUST NOT"""
        self.device.csr("/CN=without")
        self.assert_outcome("badRequest", "csr=csr.der")
        secret = self.gw.challenge()
        self.device.csr("/CN=once", secret)
        self.assert_outcome("SUCCESS", "csr=csr.der")
        self.device.csr("/CN=twice", secret)
        self.assert_outcome("badRequest", "csr=csr.der")

    def test_2_4_renewal_with_challenge(self):
        """2.4 a renewal MAY carry the challenge of the enrollment, though it is spent"""
        secret = self.gw.challenge()
        issued = self.device.enroll("/CN=carries", secret=secret)
        self.device.csr("/CN=carries", secret)
        self.assert_outcome("SUCCESS", "csr=csr.der", "type=17", f"signer={issued}", "txn=carries-2")

    def test_2_9_algorithms(self):
        """2.9 AES128-CBC and SHA-256 MUST be there, and the reply uses what the request used; so do AES-256 and SHA-512"""
        algorithms = (("AES-128-CBC", "SHA256"), ("AES-256-CBC", "SHA512"), ("AES-192-CBC", "SHA384"))
        for number, (cipher, digest) in enumerate(algorithms):
            self.device.csr(f"/CN=algorithms-{number}", self.gw.challenge())
            answer = self.assert_outcome("SUCCESS", "csr=csr.der", f"cipher={cipher}", f"digest={digest}")
            self.assertEqual((answer["cipher"], answer["digest"]), (cipher, digest))

    def test_2_9_obsolete(self):
        """2.9, 7.5 single DES and MD5 MUST NOT be supported; 3DES and SHA-1 are not without scep.legacy: badAlg"""
        self.device.csr("/CN=obsolete", self.gw.challenge())
        for words in (["digest=MD5"], ["digest=SHA1"], ["cipher=DES-EDE3-CBC"]):
            self.assert_outcome("badAlg", "csr=csr.der", *words)
        self.assertIn(self.device.forge("csr=csr.der", "digest=MD5", "cipher=DES-EDE3-CBC").outcome, ("badAlg",))
        self.assert_outcome("SUCCESS", "csr=csr.der")

    def test_3_1_bare(self):
        """3.1 a request without its envelope SHOULD NOT be used: badMessageCheck"""
        self.device.csr("/CN=bare", self.gw.challenge())
        self.assert_outcome("badMessageCheck", "csr=csr.der", "bare=1")
        self.assert_outcome("badMessageCheck")

    def test_3_2(self):
        """3.2 eContentType MUST be data, there MUST be signed attributes, the content MUST be an envelope: else no issue"""
        self.device.csr("/CN=shape", self.gw.challenge())
        for words, outcome in ((["outer_type=pkcs7-envelopedData"], "400"), (["no_attributes=1"], "400"),
                               (["content_type=pkcs7-envelopedData"], "badMessageCheck"),
                               (["content_type="], "badMessageCheck"),
                               (["wrong_digest=1"], "badMessageCheck")):
            self.assert_outcome(outcome, "csr=csr.der", *words)

    def test_3_2_1(self):
        """3.2.1, table 1: a CertRep has transactionID, messageType 3, pkiStatus, both nonces and the attributes of CMS, once
        each, in the string types of the table"""
        reply = self.granted("/CN=attributes")
        self.assertEqual(reply.text(TYPE), "3")
        self.assertEqual(reply.text(STATUS), "0")
        self.assertEqual(reply.text(TXN), "/CN=attributes")
        self.assertEqual(der.read(der.write(der.OID, reply.value(CONTENT_TYPE))).oid, DATA)
        for attribute, tag in ((TYPE, der.PRINTABLE), (STATUS, der.PRINTABLE), (TXN, der.PRINTABLE),
                               (SENDER_NONCE, der.OCTET_STRING), (RECIPIENT_NONCE, der.OCTET_STRING),
                               (MESSAGE_DIGEST, der.OCTET_STRING)):
            self.assertEqual(reply.values[attribute][0].tag, tag, attribute)
        self.assertNotIn(FAIL, reply.values)

    def test_3_2_1_5(self):
        """3.2.1.5 the recipientNonce is the request's senderNonce; the senderNonce has 16 octets and is fresh each time"""
        seen = set()
        for number in range(4):
            nonce = os.urandom(16)
            reply = CertRep(post(self.gw, self.request("/CN=nonces", f"nonce={nonce.hex()}"))[2])
            self.assertEqual(reply.value(RECIPIENT_NONCE), nonce)
            self.assertEqual(len(reply.value(SENDER_NONCE)), 16)
            seen.add(reply.value(SENDER_NONCE))
            self.assertEqual(len(seen), number + 1)
            self.assertNotIn(nonce, seen)

    def test_3_2_1_2(self):
        """3.2.1.2 message types that are not defined MUST be errors: a signed FAILURE badRequest"""
        self.device.csr("/CN=types", self.gw.challenge())
        for kind in ("0", "3", "16", "18", "23", "99", "x", ""):
            self.assert_outcome("badRequest", "csr=csr.der", f"type={kind}")

    def test_3_2_1_4(self):
        """3.2.1.4, 3.3.2.2 a FAILURE has one failInfo of the table and no envelope; it is signed, and answers the request"""
        self.device.csr("/CN=failures", "NOTACHALLENGE2222222")
        for words, outcome in ((["csr=csr.der"], "badRequest"), (["csr=csr.der", "digest=SHA1"], "badAlg"),
                               (["csr=csr.der", "wrong_digest=1"], "badMessageCheck"),
                               (["csr=csr.der", "type=20", "txn=never"], "badCertId")):
            answer = self.assert_outcome(outcome, *words, "reply=reply.der")
            reply = CertRep(self.device.load("reply.der"))
            self.assertEqual((reply.text(STATUS), reply.values[FAIL][0].tag), ("2", der.PRINTABLE))
            self.assertIn(reply.text(FAIL), "01234")
            self.assertEqual((answer["txn"], answer["nonce"], reply.envelope), ("same", "same", None))
            self.verify_signature(reply)

    def verify_signature(self, reply):
        run("openssl", "cms", "-verify", "-inform", "DER", "-noverify", "-nointern", "-certfile", self.gw.path("ra/ra.pem"),
            "-out", "/dev/null", input=reply.data)

    def test_3_2_2(self):
        """3.2.2 the reply's encryptedContent is data, for one recipient by issuer and serial number, rsaEncryption"""
        envelope = self.granted("/CN=envelope").envelope.items
        self.assertEqual(envelope[0].number, 0)
        recipient = envelope[1][0].items
        self.assertEqual((len(envelope[1].items), recipient[0].number, recipient[2][0].oid), (1, 0, RSA_ENCRYPTION))
        self.assertEqual((envelope[2][0].oid, envelope[2][1][0].oid), (DATA, AES_128))

    def test_3_3_1(self):
        """3.3.1 a request MUST have a subject name, a key, and a challenge if that is the authorization"""
        nameless = csr_with_challenge(self.device, "", der.write(der.UTF8, self.gw.challenge().encode()))
        self.device.keep("csr.der", nameless)
        self.assert_outcome("badRequest", "csr=csr.der")
        self.device.csr("/CN=no-challenge")
        self.assert_outcome("badRequest", "csr=csr.der")

    def test_3_3_2_1(self):
        """3.3.2.1, 3.4 SUCCESS carries the issued certificate, in a SignedData without content and signers"""
        bag = self.bag(self.granted("/CN=content"))
        self.assertEqual(len(bag), 1)
        self.assertIn("CN = content", text("openssl", "x509", "-inform", "DER", "-noout", "-subject", input=bag[0]))

    def test_3_3_3(self):
        """3.3.3 a poll is answered by its transactionID and recipient, whatever issuer and subject it names"""
        self.granted("/CN=polled")
        for subject in ("/CN=polled", "/CN=something else"):
            self.assertEqual(self.poll(subject, "/CN=polled")["first"], "CN=polled")

    def test_3_5(self):
        """3.5.2 GetCACaps: text/plain, the keywords in their exact case, a line each, none that is not honoured"""
        status, kind, body = self.get("operation=GetCACaps")
        self.assertEqual((status, kind), (200, "text/plain"))
        self.assertEqual(body.decode("ascii"), "\n".join(CAPS) + "\n")

    def test_4_1_path(self):
        """4.1 the path: the fixed one of the RFC, the profile's, and anything behind them"""
        for path in ("/cgi-bin/pkiclient.exe", "/scep/default", "/scep/default/pkiclient.exe", "/scep/default/a/b.c"):
            self.assertEqual(self.get("operation=GetCACaps", path)[0], 200, path)
        self.assertEqual(self.get("operation=GetCACaps", "/scep/defaultx")[0], 404)

    def test_4_2(self):
        """4.2, 4.3 OPERATION is compared exactly; another one is 400, and nothing is issued"""
        for operation in ("GetCACERT", "getcacert", "GetCACert2", "GetCACerts", "", "PKIoperation", "PKIOperation,GetCACert"):
            self.assertEqual(self.get(f"operation={operation}")[0], 400, operation)
        self.assertEqual(post(self.gw, self.request("/CN=operations"), path="/scep/default?operation=GetCACert")[0], 400)
        self.assertEqual([c for c in self.gw.certs() if "operations" in c["subject"]], [])

    def test_4_3(self):
        """4.3 POST needs no operation; 4.3.1 the reply is application/x-pki-message"""
        for path in (PKIOP, "/scep/default", "/scep/default?", "/scep/default?message=x"):
            status, kind, body = post(self.gw, self.request("/CN=no-operation"), path=path)
            self.assertEqual((status, kind, CertRep(body).outcome), (200, "application/x-pki-message", "SUCCESS"), path)

    def test_4_4(self):
        """4.4 a poll without a matching request MUST be rejected: unknown transactionID, or another key: badCertId"""
        self.granted("/CN=poll-rejected")
        self.assertEqual(self.poll("/CN=poll-rejected", "never-heard").outcome, "badCertId")
        stranger = Party(self.gw, "stranger")
        self.assertEqual(self.poll("/CN=poll-rejected", "/CN=poll-rejected", party=stranger).outcome, "badCertId")

    def test_4_7(self):
        """4.7, 3.5.2 without a successor GetNextCACert is 404, and GetCACaps does not list it"""
        self.assertEqual(self.get("operation=GetNextCACert")[0], 404)
        self.assertNotIn(b"GetNextCACert", self.get("operation=GetCACaps")[2])

    def test_5_2(self):
        """5.2 resync cases 3 and 4: after a lost SUCCESS, a new PKCSReq with a new transactionID and a poll with the old one
        bring the certificate that was issued, and none is issued again"""
        secret = self.gw.challenge()
        first = self.bag(self.granted("/CN=resync", secret=secret))
        again = CertRep(post(self.gw, self.request("/CN=resync", "txn=another", secret=secret))[2])
        self.assertEqual(self.bag(again), first)
        self.poll("/CN=resync", "/CN=resync", "reply=reply.der")
        self.assertEqual(self.bag(CertRep(self.device.load("reply.der"))), first)
        self.assertEqual(len([c for c in self.gw.certs() if c["subject"] == "CN=resync"]), 1)

    def test_7_6(self):
        """7.6 a renewal proves possession of the new key as well: a torn self-signature of the CSR is badMessageCheck"""
        issued = self.device.enroll("/CN=possession")
        self.device.csr("/CN=possession")
        whole = bytearray(self.device.load("csr.der"))
        whole[-1] ^= 1
        self.device.keep("torn.der", bytes(whole))
        self.assert_outcome("badMessageCheck", "csr=torn.der", "type=17", f"signer={issued}")

    def test_der(self):
        """DER throughout: definite lengths, signed attributes sorted, in replies to BER as well; rsaEncryption signs"""
        for number, words in enumerate(((), ("ber=1",), ("unsorted=1",))):
            reply = self.granted(f"/CN=strict-{number}", *words)
            for node in der.read(reply.data).all():
                self.assertIsNotNone(node)
            encodings = [attribute.whole for attribute in reply.attributes.items]
            self.assertEqual(encodings, sorted(encodings))
            self.assertEqual(reply.signers[0][4][0].oid, RSA_ENCRYPTION)
            der.read(der.read(reply.envelope.whole).whole)


class Pending(Wire):
    """A CA that takes its time, or says no."""

    @classmethod
    def configure(cls, gw):
        cls.ca = GenerousCa(gw)

    def tearDown(self):
        self.ca.mark("hold", False)
        self.ca.mark("refuse", False)

    def wait_for(self, subject, outcome):
        """Polls until that comes."""
        end = time.monotonic() + 30
        while (answer := self.poll(subject, subject)).outcome != outcome:
            self.assertEqual(answer.outcome, "PENDING", answer.line)
            self.assertLess(time.monotonic(), end)
            time.sleep(0.3)
        return answer

    def test_figure_3(self):
        """2.5, 4.3.1, figure 3: PENDING, polls that are PENDING as long as it takes, then SUCCESS; one certificate"""
        self.ca.mark("hold", True)
        self.device.csr("/CN=figure-3", self.gw.challenge())
        self.assert_outcome("PENDING", "csr=csr.der", "txn=/CN=figure-3", "reply=reply.der")
        reply = CertRep(self.device.load("reply.der"))
        self.assertEqual((reply.text(STATUS), FAIL in reply.values, reply.envelope), ("3", False, None))
        for _ in range(3):
            self.assertEqual(self.poll("/CN=figure-3", "/CN=figure-3").outcome, "PENDING")
        self.ca.mark("hold", False)
        self.assertEqual(self.wait_for("/CN=figure-3", "SUCCESS")["first"], "CN=figure-3")
        self.assertEqual(len(self.gw.certs()), len({c["subject"] for c in self.gw.certs()}))

    def test_refused(self):
        """2.5, figure 1: PENDING, then FAILURE when the CA has said no"""
        self.ca.mark("hold", True)
        self.device.csr("/CN=refused", self.gw.challenge())
        self.assert_outcome("PENDING", "csr=csr.der", "txn=/CN=refused")
        self.ca.mark("refuse", True)
        self.wait_for("/CN=refused", "badRequest")

    def test_resync(self):
        """5.2 resync cases 1 and 2: while it is pending, a new PKCSReq with a new transactionID continues it, the poll with
        the old one too, and the challenge is spent once"""
        secret = self.gw.challenge()
        self.ca.mark("hold", True)
        self.device.csr("/CN=resync", secret)
        self.assert_outcome("PENDING", "csr=csr.der", "txn=/CN=resync")
        self.device.csr("/CN=resync", secret)
        self.assert_outcome("PENDING", "csr=csr.der", "txn=anew")
        self.assertEqual(self.poll("/CN=resync", "anew").outcome, "PENDING")
        self.ca.mark("hold", False)
        end = time.monotonic() + 30
        while self.poll("/CN=resync", "anew").outcome != "SUCCESS":
            self.assertLess(time.monotonic(), end)
            time.sleep(0.3)
        self.assertEqual(len([r for r in self.gw.requests() if r["subject"] == "CN=resync"]), 1)
        self.assertEqual(len([c for c in self.gw.certs() if c["subject"] == "CN=resync"]), 1)

    def test_pending_is_private(self):
        """4.4 while it is pending, another key that polls the transactionID hears badCertId"""
        self.ca.mark("hold", True)
        self.device.csr("/CN=private", self.gw.challenge())
        self.assert_outcome("PENDING", "csr=csr.der", "txn=/CN=private")
        self.assertEqual(self.poll("/CN=private", "/CN=private", party=Party(self.gw, "stranger")).outcome, "badCertId")


class OwnRa(Wire):
    """A CA that is its own RA."""

    @classmethod
    def configure(cls, gw):
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", gw.path("ca/own.key"), "-out",
            gw.path("ca/own.pem"), "-days", 365, "-subj", "/CN=Own", "-addext",
            "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign,cRLSign")
        gw.edit(r"certificate: ra/ra.pem, key: ra/ra.key", "certificate: ca/own.pem, key: ca/own.key")
        gw.edit(r"certificate: ca/issuing.pem", "certificate: ca/own.pem")
        gw.edit(r"key: ca/issuing.key", "key: ca/own.key")
        gw.edit(r"^    chain: \[ca/root.pem\]\n", "")
        gw.edit(r"trust: \[ca/root.pem\]", "trust: [ca/own.pem]")

    def test_4_2_1_1(self):
        """2.2, 4.2.1.1 without an intermediate CA GetCACert is the one certificate: x-x509-ca-cert"""
        status, kind, body = self.get("operation=GetCACert")
        self.assertEqual((status, kind), (200, "application/x-x509-ca-cert"))
        self.assertEqual(body, run("openssl", "x509", "-in", self.gw.path("ca/own.pem"), "-outform", "DER").stdout)
        self.granted("/CN=own")


class Next(Wire):
    """A CA to come, with an RA of its own."""

    @classmethod
    def configure(cls, gw):
        extensions = {"ca": "keyUsage=critical,keyCertSign,cRLSign\nbasicConstraints=critical,CA:TRUE,pathlen:0\n",
                      "ra": "keyUsage=critical,digitalSignature,keyEncipherment\nbasicConstraints=critical,CA:FALSE\n"}
        for name, kind, by in (("coming", "ca", "ca/root"), ("coming-ra", "ra", "coming")):
            with open(gw.path("ext"), "w", encoding="ascii") as file:
                file.write(extensions[kind])
            run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", "csr", "-subj",
                f"/CN={name}", cwd=gw.dir)
            run("openssl", "x509", "-req", "-in", "csr", "-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-days", 400, "-extfile",
                "ext", "-out", f"{name}.pem", cwd=gw.dir)
        gw.edit(r"^ra: .*$", r"\g<0>\n  coming: {certificate: coming-ra.pem, key: coming-ra.key}")
        gw.edit(r"^upstreams: .*$", r"\g<0>\n  coming: {type: local, certificate: coming.pem, key: coming.key, "
                "chain: [ca/root.pem], validity: 90d}")
        gw.edit(r"(scep: \{paths: .*ra: \[main\])\}", r"\1, next: {upstream: coming, ra: coming}}")

    def test_4_7_1(self):
        """4.7.1 GetNextCACert: x-x509-next-ca-cert, a SignedData whose signature the certificate of GetCACert verifies, around
        a degenerate one with the CA to come; 3.5.2 GetCACaps lists it"""
        status, kind, body = self.get("operation=GetNextCACert")
        self.assertEqual((status, kind), (200, "application/x-x509-next-ca-cert"))
        content = run("openssl", "cms", "-verify", "-inform", "DER", "-noverify", "-nointern", "-certfile",
                      self.gw.path("ra/ra.pem"), input=body).stdout
        wanted = [run("openssl", "x509", "-in", self.gw.path(path), "-outform", "DER").stdout
                  for path in ("coming-ra.pem", "coming.pem", "ca/root.pem")]
        self.assertEqual(self.degenerate(content), wanted)
        self.assertIn(b"\nGetNextCACert\n", self.get("operation=GetCACaps")[2])

    def test_figure_9(self):
        """5.1, figure 9: the CA decides by the envelope which key issues: for the new CA the new one, else the old one"""
        for number, (recipient, issuer) in enumerate((("coming-ra.pem", "coming"), ("ra/ra.pem", "scepter issuing CA"))):
            reply = self.granted(f"/CN=figure-9-{number}", f"recipient={self.gw.path(recipient)}")
            pem = self.device.open(reply.data, ra=self.gw.path(recipient))
            self.assertIn(f"CN = {issuer}", run("openssl", "x509", "-noout", "-issuer", input=pem).stdout.decode())


class Password(Wire):
    """A device whose key cannot decrypt."""

    SECRET = "FIXEDSECRET234567890"

    @classmethod
    def configure(cls, gw):
        with open(os.open(gw.path("secrets"), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(cls.SECRET + "\n")
        gw.edit(r"challenge: \{kinds: \[one-time\]", "challenge: {kinds: [fixed, one-time], fixed_file: secrets")
        gw.secrets.append(cls.SECRET)

    def test_3_1(self):
        """3.1 with an ECDSA key the request and the reply are for the challengePassword: PasswordRecipientInfo in both"""
        work = self.gw.work("password")
        words = ("--subject", "/CN=password", "--key-type", "p256", "--by-password")
        self.gw.scep_client(*words, "--out", "cert.pem", "--save-request", "request.der", secret=self.SECRET, cwd=work)
        self.gw.verify(os.path.join(work, "cert.pem"))
        with open(os.path.join(work, "request.der"), "rb") as file:
            request = file.read()
        reply = CertRep(post(self.gw, request)[2])
        for envelope in (CertRep(request).envelope, reply.envelope):
            self.assertEqual([item.tag for item in envelope[1].items], [0xa3])
            self.assertEqual((envelope[0].number, envelope[2][0].oid), (3, DATA))

    def test_3_1_one_time(self):
        """3.1 where no password can take the key's place the answer is badAlg, and the challenge is not spent"""
        secret = self.gw.challenge()
        refused = self.gw.scep_client("--subject", "/CN=no-password", "--key-type", "p256", check=False, secret=secret)
        self.assertIn(b"fail=badAlg", refused.stdout)
        self.device.csr("/CN=no-password", secret)
        self.assert_outcome("SUCCESS", "csr=csr.der")


class Lookup(Wire):
    """Certificates and CRLs by SCEP messages."""

    def setUp(self):
        super().setUp()
        self.issued = self.device.enroll("/CN=lookup")

    def ask(self, kind, *words, serial=None, party=None):
        """GetCert or GetCRL for the issuer and the serial number of the device's certificate, or for another number."""
        certificate = der.read(run("openssl", "x509", "-in", self.issued, "-outform", "DER").stdout)
        tbs = certificate[0].items
        party = party or self.device
        party.keep("wanted.der", der.write(der.SEQUENCE, tbs[3].whole, der.number(serial) if serial else tbs[1].whole))
        return certificate, party.forge("plain=wanted.der", f"type={kind}", "txn=lookup", "reply=reply.der", *words)

    def opened(self):
        self.device.open(self.device.load("reply.der"), self.issued)
        return der.read(self.device.load("bag.der"))

    def test_4_5(self):
        """4.5, 3.3.2.1 GetCert by issuer and serial number: SUCCESS with the requested certificate as the leaf"""
        certificate, answer = self.ask("21", f"signer={self.issued}")
        self.assertEqual((answer.outcome, answer["txn"], answer["nonce"]), ("SUCCESS", "same", "same"))
        self.opened()
        self.assertEqual(self.degenerate(self.device.load("bag.der"))[0], certificate.whole)

    def test_4_5_unknown(self):
        """4.5, 3.2.1.4 a certificate that does not exist is badCertId; who holds no certificate of ours gets neither"""
        self.assertEqual(self.ask("21", f"signer={self.issued}", serial=4711)[1].outcome, "badCertId")
        for kind in ("21", "22"):
            self.assertEqual(self.ask(kind)[1].outcome, "badCertId", kind)
            self.assertEqual(self.ask(kind, party=Party(self.gw, "stranger"))[1].outcome, "badCertId", kind)

    def test_4_6_1(self):
        """4.6.1, 2.7, 3.4 GetCRL: SUCCESS with the CRL in crls, no certificates, no content, no signers; it is the CA's"""
        _, answer = self.ask("22", f"signer={self.issued}")
        self.assertEqual(answer.outcome, "SUCCESS", answer.line)
        parts = self.opened()[1][0].items
        self.assertEqual([part.tag for part in parts[1:]], [der.SET, der.SEQUENCE, 0xa1, der.SET])
        self.assertEqual((parts[1].content, len(parts[2].items), parts[4].content, len(parts[3].items)), (b"", 1, b"", 1))
        crl = run("openssl", "crl", "-inform", "DER", "-noout", "-CAfile", self.gw.path("ca/issuing.pem"), "-nextupdate",
                  input=parts[3][0].whole)
        self.assertIn(b"verify OK", crl.stdout + crl.stderr)


class Legacy(Wire):
    """A profile that lets old devices in."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"(scep: \{paths: .*ra: \[main\])\}", r"\1, chain: full, legacy: des3-sha1}")

    def test_3_5_2_legacy(self):
        """3.5.2 DES3 and SHA-1 are listed where they are accepted"""
        body = self.get("operation=GetCACaps")[2].decode().split()
        self.assertEqual(sorted(body), sorted(CAPS + ["DES3", "SHA-1"]))

    def test_2_9_legacy(self):
        """2.9 MAY: 3DES and SHA-1 where the profile says so, mirrored in the reply; single DES and MD5 are still badAlg"""
        self.device.csr("/CN=legacy", self.gw.challenge())
        answer = self.assert_outcome("SUCCESS", "csr=csr.der", "cipher=DES-EDE3-CBC", "digest=SHA1")
        self.assertEqual((answer["cipher"], answer["digest"]), ("DES-EDE3-CBC", "SHA1"))
        self.assert_outcome("badAlg", "csr=csr.der", "digest=MD5")

    def test_chain(self):
        """Cisco VPN client, 3.3.2.1: where the profile says so the chain comes along; the leaf is first"""
        self.device.csr("/CN=with-chain", self.gw.challenge())
        answer = self.assert_outcome("SUCCESS", "csr=csr.der")
        self.assertEqual((answer["first"], answer["certs"]), ("CN=with-chain", "3"))


if __name__ == "__main__":
    rows.main()
