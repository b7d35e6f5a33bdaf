"""SCEP CAs as NDES and old servers are: what they answer is understood where that is safe, and refused where it is not."""
import os
import unittest

from double_scep import CAPS, OddCa
from flow_upstream_scep import use_scep
from gateway import free_ports
from upstream import PATIENT, UpstreamTest

E_INVALIDARG = "-2147024809"


class Quirks:
    legacy = True

    def __init__(self):
        self.port = free_ports(1)[0]
        self.odd = OddCa(self.port)
        self.proxy = self.odd  # its reset is what UpstreamTest calls
        self.root, self.chain = self.odd.root, self.odd.chain

    def configure(self, gw, more=""):
        use_scep(gw, self.port, "/scep", self.root, f"    legacy: {str(self.legacy).lower()}\n{more}")

    def issued(self, name):
        return self.odd.issued(name)

    def close(self):
        self.odd.close()


class Modern(Quirks):
    legacy = False


class QuirksTest(UpstreamTest):
    make_ca = Quirks
    limits = PATIENT

    def setUp(self):
        super().setUp()
        self.odd = self.ca.odd

    def forget(self):
        """The gateway asks for capabilities and certificates anew."""
        self.gw.stop()
        self.gw.start()

    def enrolls(self, name):
        self.enroll(name)
        self.verify(name)
        self.assertEqual(self.ca.issued(name), 1)

    def suspect(self, name, text):
        """What is no answer tells nothing of what became of the request."""
        self.enroll(name, code=3)
        self.wait_state(name, "suspect")
        self.assertIn(text, self.request(name)["reason"])


class Old(QuirksTest):
    """legacy: true."""

    def test_no_caps(self):
        """RFC 8894 3.5.2, 4.1: a CA that has never heard of GetCACaps, or lists nothing, gets triple DES, SHA-1 and GET."""
        for i, caps in enumerate(((404, b"<html>not found</html>"), (400, b""), (405, b""), (500, b"<html>error</html>"), (501, b""),
                                  (200, b""), (200, b"<html>SHA-256 and AES</html>"))):
            self.odd.reset()
            self.odd.caps = caps
            self.forget()
            self.enrolls(f"no-caps-{i}")
            self.assertEqual(self.odd.ways, ["GET"])
            self.assertEqual([(r["digest"], r["cipher"]) for r in self.odd.read], [("SHA1", "DES-EDE3-CBC")])
        self.odd.reset()
        self.forget()
        self.enrolls("caps")
        self.assertEqual(self.odd.ways, ["POST"])
        self.assertEqual([(r["digest"], r["cipher"]) for r in self.odd.read], [("SHA256", "AES-128-CBC")])

    def test_busy_is_no_answer(self):
        """503, 401 or a redirection in answer to GetCACaps does not weaken anything: nothing is sent."""
        for status in (503, 401, 302):
            self.odd.caps = (status, b"")
            self.forget()
            self.enroll(f"busy-{status}", code=3)
        self.assertEqual(self.odd.ways, [])
        self.odd.reset()
        self.forget()

    def test_old_algorithms(self):
        """Answers in single DES, triple DES and with SHA-1 are read."""
        for i, words in enumerate((["cipher=DES-CBC", "digest=SHA1"], ["cipher=DES-EDE3-CBC"], ["digest=SHA1"],
                                   ["digest=SHA1", "signature=RSA-SHA1"])):
            self.odd.words = words
            self.enrolls(f"old-{i}")

    def test_failure(self):
        """NDES's FAILURE has one byte of content, no certificate, and its reason as an HRESULT, which the operator sees."""
        self.odd.failure = ["fail=2", f"hresult={E_INVALIDARG}", self.odd.one_byte(), "bag=", "digest=SHA1"]
        self.enroll("ndes", code=2)
        self.assertEqual(self.state("ndes"), "refused")
        self.assertEqual(self.request("ndes")["reason"], "the CA answers FAILURE badRequest, HRESULT 0x80070057")

    def test_failure_texts(self):
        """RFC 8894 3.2.1.4: what else an answer says is shown, made harmless; an HRESULT that is none is left out."""
        for i, (words, reason) in enumerate((
                ([f"hresult={E_INVALIDARG}x"], ""), (["hresult=-2147483649"], ""), (["hresult="], ""), (["hresult=-"], ""),
                (["hresult=4294967295"], ", HRESULT 0xFFFFFFFF"), (["fail_text=no such template"], ": no such template"),
                (["fail_text=\x1b[2J"], ": \\x1b[2J"), (["hresult=-1", "fail_text=x"], ", HRESULT 0xFFFFFFFF: x"))):
            self.odd.failure = ["fail=2", *words, self.odd.one_byte()]
            self.enroll(f"text-{i}", code=2)
            self.assertEqual(self.request(f"text-{i}")["reason"], "the CA answers FAILURE badRequest" + reason)

    def test_strangers_failure(self):
        """RFC 8894 2.2: a FAILURE that GetCACert's certificates did not sign refuses nothing, with its certificate or without."""
        self.odd.by = "stranger"
        self.odd.failure = ["fail=2", self.odd.one_byte(), "bag="]
        self.suspect("stranger", "not in the message")
        self.odd.failure = ["fail=2", self.odd.one_byte()]
        self.suspect("stranger-with", "does not name")
        self.odd.failure = ["fail=2", self.odd.one_byte(), "signer=ra.pem", "bag="]
        self.suspect("stranger-as", "signature is wrong")

    def test_same_key(self):
        """A renewal with the same key that is answered with the certificate that there was has renewed nothing: it is refused."""
        self.enroll("twice")
        pem = os.path.join(self.work, "twice.pem")
        with open(pem, encoding="ascii") as file:
            self.odd.old = file.read()
        before = self.gw.certs()
        self.enroll("twice", "--renew", pem, os.path.join(self.work, "twice.key"), code=2)
        refused = [r for r in self.gw.requests() if r["subject"] == "CN=twice" and r["state"] == "refused"]
        self.assertIn("issued before", refused[0]["reason"])
        self.assertEqual(self.gw.certs(), before)

    def test_layouts(self):
        """Indefinite lengths, signature algorithms with their digest, other certificates, another order and media type."""
        for i, words in enumerate((["ber=1"], ["signature=RSA-SHA256"], ["unsorted=1"], ["bag="], ["bag=issuing.pem"])):
            self.odd.words = words
            self.enrolls(f"layout-{i}")
        self.odd.words = []
        for i, order in enumerate((("leaf",), ("issuing.pem", "leaf"), ("root.pem", "issuing.pem", "leaf"))):
            self.odd.order = order
            self.enrolls(f"order-{i}")
        self.odd.media = "x-pki-message"
        self.odd.tail = bytes(8)
        self.enrolls("tail")


class New(QuirksTest):
    """legacy: false."""

    make_ca = Modern

    def test_no_caps(self):
        """RFC 8894 3.5.2: a CA that does not say that it knows AES and SHA-256 is asked nothing."""
        for i, caps in enumerate(((404, b""), (200, b""), (200, b"POSTPKIOperation\nDES3\nSHA-1\n"))):
            self.odd.caps = caps
            self.forget()
            self.enroll(f"no-caps-{i}", code=3)
            self.assertIn("legacy: true", self.request(f"no-caps-{i}")["reason"])
        self.assertEqual(self.odd.ways, [])
        self.odd.caps = (200, CAPS)
        self.forget()

    def test_capabilities(self):
        """RFC 8894 3.5.2: GetCACaps in any case, with CRLF or LF, unknown keywords and any Content-Type: POST, AES128-CBC and
        SHA-256."""
        for i, caps in enumerate((b"Example.com-Thing\r\nscepstandard\r\n", b"aes\nsha-256\npostpkioperation", b"SCEPSTANDARD",
                                  b"DES3\nSHA-1\nSHA-512\nSHA-256\nAES\nPOSTPKIOperation\n", b"\r\n SCEPStandard \r\n\r\n")):
            self.odd.reset()
            self.odd.caps = (200, caps, "application/octet-stream" if i else "text/html; charset=utf-8")
            self.odd.media = "text/plain"
            self.forget()
            self.enrolls(f"capabilities-{i}")
            self.assertEqual(self.odd.ways, ["POST"])
            self.assertEqual([(r["digest"], r["cipher"]) for r in self.odd.read], [("SHA256", "AES-128-CBC")])
        self.odd.reset()
        self.forget()

    def test_undefined(self):
        """RFC 8894 3.2.1.3, 3.2.1.4: a pkiStatus that is not defined is no answer; a FAILURE whose failInfo is not defined is one
        without a reason."""
        for i, status in enumerate(("1", "4", "7")):
            self.odd.failure = ["fail=2", f"status={status}", self.odd.one_byte()]
            self.suspect(f"status-{i}", "without a status")
        for i, fail in enumerate(("5", "42")):
            self.odd.failure = [f"fail={fail}", self.odd.one_byte()]
            self.enroll(f"fail-{i}", code=2)
            self.assertEqual(self.request(f"fail-{i}")["reason"], "the CA answers FAILURE without a reason")

    def test_old_algorithms(self):
        """Answers in DES, triple DES and with SHA-1 are not read, though they may hide a certificate."""
        for name, words, text in (("des", ["cipher=DES-CBC"], ""), ("des3", ["cipher=DES-EDE3-CBC"], ""),
                                  ("sha1", ["digest=SHA1"], "only legacy: true allows")):
            self.odd.words = words
            self.suspect(name, text)
            self.assertEqual([c for c in self.gw.certs() if c["subject"] == f"CN={name}"], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
