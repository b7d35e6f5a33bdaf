"""Replies that get lost: what a device asks again it gets again, the same certificate for the same key, and none is issued."""
import os
import signal
import unittest

from debug import DebugPage
from http_corpus import wait_until
from scep_wire import PKIOP, CertRep, Party, ScepTest, connect, post


class Lost(ScepTest):
    def setUp(self):
        self.device = Party(self.gw, self.id().rsplit(".", 1)[1])

    def lose(self, message, subject, count):
        """Sends a message and hangs up; returns when the certificate is there."""
        with connect(self.gw) as connection:
            connection.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                               % (PKIOP.encode(), len(message), message))
        self.assertTrue(wait_until(lambda: len(self.certs(subject)) == count, 30), self.gw.log()[-2000:])

    def certs(self, subject):
        return [c for c in self.gw.certs() if c["subject"] == subject]

    def asked(self, message, cert="cert.pem"):
        """The PEM of the certificate that a message brings, enveloped to the key that signed it."""
        status, _, body = post(self.gw, message)
        self.assertEqual((status, CertRep(body).outcome), (200, "SUCCESS"), self.gw.log()[-2000:])
        return self.device.open(body, cert)

    def test_enrollment(self):
        """After a lost reply the same message, and one with a new transactionID, bring the certificate that was issued; so
        they do after kill -9, and with a self-signed certificate made anew for the same key."""
        self.device.csr("/CN=lost-1", self.gw.challenge())
        message = self.device.message("csr=csr.der", "txn=first")
        self.lose(message, "CN=lost-1", 1)
        got = self.asked(message)
        self.assertIn(b"BEGIN CERTIFICATE", got)
        self.assertEqual(self.asked(self.device.message("csr=csr.der", "txn=second")), got)
        self.gw.stop(signal.SIGKILL)
        self.gw.start()
        self.assertEqual(self.asked(message), got)
        self.assertEqual(self.asked(self.device.message("csr=csr.der", "txn=third")), got)
        self.device.self_sign("/CN=another name", out="anew.pem")
        self.assertEqual(self.asked(self.device.message("csr=csr.der", "txn=fourth", "signer=anew.pem"), "anew.pem"), got)
        self.assertEqual(len(self.certs("CN=lost-1")), 1)
        self.assertEqual(len([r for r in self.gw.requests() if r["subject"] == "CN=lost-1"]), 1)

    def test_renewal(self):
        """A renewal whose reply was lost is repeated with the old certificate, by either message type and transactionID, and
        brings the new certificate, enveloped to the old key; one is issued."""
        old = self.device.enroll("/CN=lost-2")
        Party(self.gw, "lost-new-key")
        new_key = os.path.join(self.gw.work("lost-new-key"), "key.pem")
        self.device.csr("/CN=lost-2", key=new_key)
        message = self.device.message("csr=csr.der", "type=17", "txn=renew-1", f"signer={old}")
        self.lose(message, "CN=lost-2", 2)
        got = self.asked(message, old)
        for words in (["type=17", "txn=renew-2"], ["type=19", "txn=renew-1"], ["type=19", "txn=renew-3"]):
            self.assertEqual(self.asked(self.device.message("csr=csr.der", *words, f"signer={old}"), old), got, words)
        with open(old, "rb") as file:
            self.assertNotEqual(got, file.read())
        self.assertEqual(len(self.certs("CN=lost-2")), 2)

    def test_other_key(self):
        """The same CSR, transactionID and challenge in a message that another key signed bring nothing."""
        self.device.csr("/CN=lost-3", self.gw.challenge())
        self.lose(self.device.message("csr=csr.der", "txn=mine"), "CN=lost-3", 1)
        thief = Party(self.gw, "thief")
        answer = thief.forge(f"csr={self.device.path('csr.der')}", "txn=mine")
        self.assertEqual(answer.outcome, "badRequest")
        self.assertEqual(len(self.certs("CN=lost-3")), 1)

    def test_other_names(self):
        """The same key and transactionID with other names is another request, which the spent challenge does not authorize."""
        secret = self.gw.challenge()
        self.device.csr("/CN=lost-4", secret)
        self.lose(self.device.message("csr=csr.der", "txn=names"), "CN=lost-4", 1)
        self.device.csr("/CN=lost-5", secret)
        self.assertEqual(self.device.forge("csr=csr.der", "txn=names").outcome, "badRequest")
        self.device.csr("/CN=lost-4", secret, extensions=["subjectAltName = DNS:more.example"])
        self.assertEqual(self.device.forge("csr=csr.der", "txn=names").outcome, "badRequest")
        self.assertEqual((len(self.certs("CN=lost-4")), self.certs("CN=lost-5")), (1, []))

    def test_revoked(self):
        """What was revoked since is not given again, whoever asks; what replays it issues nothing."""
        self.device.csr("/CN=lost-6", self.gw.challenge())
        message = self.device.message("csr=csr.der", "txn=revoked")
        self.lose(message, "CN=lost-6", 1)
        self.gw.cli("cert", "revoke", self.certs("CN=lost-6")[0]["serial"])
        before = self.counts()
        for source in ("127.0.0.1", "127.0.0.2"):
            self.assertEqual(CertRep(post(self.gw, message, source=source)[2]).outcome, "badRequest")
        self.assertEqual(self.counts(), before)


class Later(ScepTest):
    """Messages that are sent again when retry_window is over."""

    FIXED = "FIXEDSECRET234567890"

    @classmethod
    def configure(cls, gw):
        cls.page = DebugPage(os.path.join(gw.top, "page"))
        gw.env = cls.page.env
        gw.take_fixed(cls.FIXED)

    def test_replayed_later(self):
        """A month later a PKCSReq with a fixed challenge, and a RenewalReq by a certificate that is still good, bring what they
        brought; a year of renewals or a revocation later, nothing; and nothing is issued by them (flaw 12)."""
        device = Party(self.gw, "later")
        device.csr("/CN=later", self.FIXED)
        first = device.message("csr=csr.der", "txn=first")
        old = device.keep("old.pem", device.open(post(self.gw, first)[2]))
        device.csr("/CN=later")
        renewal = device.message("csr=csr.der", "type=17", "txn=renewal", f"signer={old}")
        new = device.keep("new.pem", device.open(post(self.gw, renewal)[2], old))
        device.csr("/CN=revoked", self.FIXED)
        doomed = device.message("csr=csr.der", "txn=doomed")
        device.open(post(self.gw, doomed)[2])
        self.page.shift_clock(30 * 86400)
        before = self.counts()
        self.assertEqual(device.open(post(self.gw, renewal, source="127.0.0.2")[2], old), device.load("new.pem"))
        self.assertTrue(device.open(post(self.gw, doomed, source="127.0.0.2")[2]))
        self.assertEqual(self.counts(), before)
        device.csr("/CN=later")
        self.assertEqual(device.forge("csr=csr.der", "type=17", f"signer={new}").outcome, "SUCCESS")
        self.gw.cli("cert", "revoke", next(c for c in self.gw.certs() if c["subject"] == "CN=revoked")["serial"])
        before = self.counts()
        for message in (first, renewal, doomed):
            self.assertEqual(CertRep(post(self.gw, message, source="127.0.0.2")[2]).outcome, "badRequest")
        self.assertEqual(self.counts(), before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
