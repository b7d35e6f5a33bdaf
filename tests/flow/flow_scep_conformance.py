"""SCEP against RFC 8894 and against what clients in the field do: a table of pass and FAIL. A row begins with the section of the
RFC and the keyword (MUST, SHOULD, ...) of the sentence that it is, or with the client whose quirk it is; where we do otherwise
it says "differs". What travels is looked at as octets (der.py, openssl)."""
import os
import time
import unittest

import der
import rows
from forgeries import GenerousCa
from gateway import run, text
from scep_devices import Answers, Http, Quirks, Tls  # noqa: F401 pylint: disable=unused-import
from scep_families import Families  # noqa: F401 pylint: disable=unused-import
from scep_references import CLIENT, QUIRKS
from scep_sentences import CAPS, Clients, Messages, Transport  # noqa: F401 pylint: disable=unused-import
from scep_wire import DATA, FAIL, STATUS, CertRep, Party, Wire, post

ROWS = ("flow_scep_conformance.py", "scep_sentences.py", "scep_references.py")
# How often each keyword stands in a sentence of the RFC, by section.
SENTENCES = {
    "2.1.1": {"MUST": 1},
    "2.1.2": {"MUST": 1},
    "2.2": {"MUST": 2, "SHOULD": 1, "MAY": 2},
    "2.3": {"MUST": 4, "SHOULD": 2, "MAY": 1},
    "2.4": {"MUST NOT": 1, "RECOMMENDED": 2, "OPTIONAL": 1, "SHOULD": 1, "MAY": 3},
    "2.5": {"SHOULD": 1, "MAY": 1},
    "2.7": {"MAY": 3},
    "2.9": {"MUST": 1, "MUST NOT": 1, "MAY": 1},
    "3": {"MUST": 1},
    "3.1": {"SHOULD NOT": 1},
    "3.2": {"MUST": 4},
    "3.2.1": {"MUST": 2},
    "3.2.1.1": {"MUST": 2},
    "3.2.1.2": {"MUST": 2},
    "3.2.1.3": {"MUST": 3},
    "3.2.1.4": {"MUST": 2, "SHOULD NOT": 1},
    "3.2.1.5": {"MUST": 4},
    "3.2.2": {"MUST": 3},
    "3.3": {"MUST": 1},
    "3.3.1": {"MUST": 1},
    "3.3.2.1": {"MUST": 5, "MAY": 2},
    "3.3.2.2": {"MUST": 2, "MAY": 1},
    "3.3.2.3": {"MUST": 1},
    "3.3.3": {"SHOULD": 1},
    "3.3.4": {"SHOULD": 1},
    "3.4": {"MUST": 1},
    "3.5": {"MUST": 1},
    "3.5.2": {"MUST": 3, "SHOULD": 7, "MAY": 2},
    "4.1": {"MUST": 3, "SHOULD": 3},
    "4.2": {"MUST": 1},
    "4.3": {"MUST": 1},
    "4.3.1": {"MAY": 2},
    "4.4": {"MUST": 3, "SHOULD NOT": 1},
    "4.5": {"MUST": 1},
    "4.6": {"MUST": 1},
    "4.7": {"MUST": 1},
    "4.7.1": {"MUST": 1},
    "5.2": {"SHOULD": 2},
    "6": {"SHOULD": 1},
    "7.5": {"MUST NOT": 1},
}


class Walk(unittest.TestCase):
    def test_keywords(self):
        """Each sentence of the RFC that has a keyword has a row here"""
        self.assertEqual(rows.keywords(*ROWS), SENTENCES)


Elsewhere = rows.elsewhere(CLIENT, QUIRKS)


class Pending(Wire):
    """A CA that takes its time, or says no."""

    @classmethod
    def configure(cls, gw):
        cls.ca = GenerousCa(gw)

    def tearDown(self):
        self.ca.mark("hold", False)
        self.ca.mark("refuse", False)

    def wait_for(self, subject, outcome, txn=None):
        """Polls until that comes."""
        end = time.monotonic() + 60
        while (answer := self.poll(subject, txn or subject)).outcome != outcome:
            self.assertEqual(answer.outcome, "PENDING", answer.line)
            self.assertLess(time.monotonic(), end)
            time.sleep(0.3)
        return answer

    def test_figure_3(self):
        """2.5, figure 3: PENDING, polls that are PENDING as long as it takes, then SUCCESS; one certificate"""
        self.ca.mark("hold", True)
        self.device.csr("/CN=figure-3", self.gw.challenge())
        self.assert_outcome("PENDING", "csr=csr.der", "txn=/CN=figure-3", "reply=reply.der")
        first = CertRep(self.device.load("reply.der"))
        self.poll("/CN=figure-3", "/CN=figure-3", "reply=reply.der")
        polled = CertRep(self.device.load("reply.der"))
        for row, got in (("3.3.2.3 MUST: PENDING has no envelope", [reply.envelope for reply in (first, polled)]),
                         ("3 MUST: where there is nothing to say there is no envelope; differs: the eContent is an empty string, "
                          "as NDES and OpenSSL have it", [reply.parts[2][1][0].content or None for reply in (first, polled)])):
            with self.subTest(row):
                self.assertEqual(got, [None, None])
        with self.subTest("4.3.1 MAY: PENDING for an operator's decision; differs: approval is not available yet, and a configuration "
                          "with it is refused"):
            with open(self.gw.conf, encoding="utf-8") as file:
                conf = file.read()
            with open(self.gw.path("approval.yaml"), "w", encoding="utf-8") as file:
                file.write(conf.replace("    challenge: {", "    approval: {quorum: 1}\n    challenge: {", 1))
            result = run(os.environ["SCEPTER"], "check", "-c", self.gw.path("approval.yaml"), check=False)
            self.assertEqual(result.returncode, 1)
            self.assertIn(b"quorum", result.stdout + result.stderr)
        with self.subTest("4.3.1 MAY: PENDING for other reasons: the upstream CA takes its time"):
            self.assertEqual((first.text(STATUS), FAIL in first.values), ("3", False))
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
        self.wait_for("/CN=resync", "SUCCESS", "anew")
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
        """2.2, 4.2.1.1 without an intermediate CA GetCACert is the one certificate: x-x509-ca-cert (quirk 13)"""
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
        """4.7.1 MUST: clients verify the signature of GetNextCACert's SignedData, and by the certificate of GetCACert they can; it is
        x-x509-next-ca-cert, around a degenerate one with the CA to come, and 3.5.2 GetCACaps lists it; differs: the RA signs"""
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
        gw.take_fixed(cls.SECRET)

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

    @classmethod
    def configure(cls, gw):
        gw.edit(r"(type: local.*)\n", r"\1\n    crl_url: http://crl.example/issuing.crl\n")

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
        certificate, answer = self.ask("21", f"signer={self.issued}")
        self.assertEqual((answer.outcome, answer["txn"], answer["nonce"]), ("SUCCESS", "same", "same"))
        self.opened()
        bag = self.degenerate(self.device.load("bag.der"))
        for row, got, wanted in (
                ("3.3.2.1 MUST: GetCert by issuer and serial number brings the requested certificate", certificate.whole in bag, True),
                ("3.3.2.1 MUST: the requested certificate is the leaf", bag[0], certificate.whole),
                ("3.3.2.1 MAY: more certificates come with GetCert; here none", len(bag), 1)):
            with self.subTest(row):
                self.assertEqual(got, wanted)

    def test_4_5_unknown(self):
        """4.5, 3.2.1.4 a certificate that does not exist is badCertId; who holds no certificate of ours gets neither"""
        self.assertEqual(self.ask("21", f"signer={self.issued}", serial=4711)[1].outcome, "badCertId")
        for kind in ("21", "22"):
            self.assertEqual(self.ask(kind)[1].outcome, "badCertId", kind)
            self.assertEqual(self.ask(kind, party=Party(self.gw, "stranger"))[1].outcome, "badCertId", kind)

    def crl(self):
        """The text of the CRL in the reply, verified by the CA, and the parts of the SignedData around it."""
        _, answer = self.ask("22", f"signer={self.issued}")
        self.assertEqual(answer.outcome, "SUCCESS", answer.line)
        parts = self.opened()[1][0].items
        shown = run("openssl", "crl", "-inform", "DER", "-noout", "-CAfile", self.gw.path("ca/issuing.pem"), "-text",
                    input=parts[3][0].whole)
        self.assertIn(b"verify OK", shown.stdout + shown.stderr)
        return shown.stdout.decode(), parts

    def test_4_6_1(self):
        other = text("openssl", "x509", "-in", self.device.enroll("/CN=revoked", out="other.pem"), "-noout", "-serial")
        serial = other.strip().split("=")[1]
        self.gw.cli("cert", "revoke", serial.lower())
        with self.subTest("3.3.2.1 MUST: GetCRL brings the CRL in crls; 2.7, 3.4 there are no certificates, content and signers"):
            shown, parts = self.crl()
            self.assertEqual([part.tag for part in parts[1:]], [der.SET, der.SEQUENCE, 0xa1, der.SET])
            self.assertEqual((parts[1].content, len(parts[2].items), parts[4].content, len(parts[3].items)), (b"", 1, b"", 1))
        with self.subTest("4.6.1 only the most recent CRL: the last that was made, which knows what had been revoked when it was; "
                          "differs: it may be a minute old"):
            self.assertIn(serial, shown)
            self.assertEqual(self.crl()[0], shown)
        with self.subTest("2.7 MAY: a client asks for the CRL by GetCRL"):
            self.assertIn("X509v3 CRL Number", shown)
        with self.subTest("2.7 MAY: a client fetches the CRL from the distribution point that its certificate names: crl_url"):
            self.assertIn("http://crl.example/issuing.crl", text("openssl", "x509", "-in", self.issued, "-noout", "-text"))
        with self.subTest("2.7 MAY: a client fetches the CRL from an HTTP certificate store; differs: there is none"):
            self.assertEqual(self.get("sKIDHash=x", "/crls/search.cgi")[0], 404)
        with self.subTest("3.3.4 SHOULD: a certificate store or LDAP is preferred to GetCert and GetCRL: the distribution point is, and "
                          "GetCACaps has no keyword for them"):
            self.assertNotIn(b"GetC", self.get("operation=GetCACaps")[2])


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
        """2.9 3DES and SHA-1 (MAY) where the profile says so, mirrored in the reply; single DES and MD5 are still badAlg"""
        self.device.csr("/CN=legacy", self.gw.challenge())
        answer = self.assert_outcome("SUCCESS", "csr=csr.der", "cipher=DES-EDE3-CBC", "digest=SHA1")
        self.assertEqual((answer["cipher"], answer["digest"]), ("DES-EDE3-CBC", "SHA1"))
        self.assert_outcome("badAlg", "csr=csr.der", "digest=MD5")

    def test_chain(self):
        """3.3.2.1 MAY: more certificates come with the issued one, where the profile says so (Cisco); the leaf is first (quirks
        14 and 31)"""
        self.device.csr("/CN=with-chain", self.gw.challenge())
        answer = self.assert_outcome("SUCCESS", "csr=csr.der")
        self.assertEqual((answer["first"], answer["certs"]), ("CN=with-chain", "3"))


if __name__ == "__main__":
    rows.main()
