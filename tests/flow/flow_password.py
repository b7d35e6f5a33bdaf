"""Devices without an RSA key over SCEP: envelopes are made with the profile's fixed challenge (RFC 8894 section 3.1)."""
import os
import unittest

from gateway import FlowTest


class Password(FlowTest):
    SECRET, OLDER = "FIXEDSECRET234567890", "OLDERSECRET234567890"

    @classmethod
    def configure(cls, gw):
        gw.take_fixed(cls.SECRET, cls.OLDER)

    def device(self, *words, secret=SECRET, by_password=True, **options):
        flags = ("--key-type", "p256", *(("--by-password",) if by_password else ()))
        return self.gw.scep_client(*flags, *words, secret=secret, **options)

    def test_life(self):
        """An EC device enrolls, gets the same certificate after a lost reply and by a poll, and renews, with an old secret too."""
        for secret in (self.SECRET, self.OLDER):
            name = "/CN=life-" + secret[:5]
            work = self.gw.work(name[1:])
            first = self.device("--subject", name, "--key-out", "key.pem", "--out", "first.pem", "--save-request", "request",
                                "--signer-out", "signer.pem", "--txn", "life", secret=secret, cwd=work)
            again = self.device("--subject", name, "--key", "key.pem", "--out", "again.pem", "--txn", "other", secret=secret,
                                cwd=work)
            self.assertEqual(first.stdout, again.stdout)
            replay = self.device("--send", "request", secret=secret, cwd=work)
            self.assertIn(b"status=SUCCESS", replay.stdout)
            poll = self.device("--subject", name, "--poll", "--renew", "signer.pem", "key.pem", "--key", "key.pem", "--txn",
                               "life", secret=secret, cwd=work)
            self.assertEqual(first.stdout, poll.stdout)
            renewed = self.device("--subject", name, "--renew", "first.pem", "key.pem", "--no-challenge", "--out", "next.pem",
                                  "--cipher", "aes256", "--digest", "sha384", secret=secret, cwd=work)
            self.assertNotEqual(first.stdout, renewed.stdout)
            self.gw.verify(os.path.join(work, "next.pem"))
            self.assertEqual(len([c for c in self.gw.certs() if name[1:] in c["subject"]]), 2)

    def test_stranger_polls(self):
        """Who knows the secret but not the key gets badCertId for another device's transaction."""
        work = self.gw.work("stranger")
        self.device("--subject", "/CN=stranger-1", "--txn", "stranger", cwd=work)
        other = self.device("--subject", "/CN=stranger-1", "--poll", "--txn", "stranger", check=False, cwd=work)
        self.assertIn(b"status=FAILURE fail=badCertId", other.stdout)

    def test_wrong_secret(self):
        """With another secret nothing is opened: badMessageCheck."""
        wrong = self.device("--subject", "/CN=wrong-1", secret="ANOTHERSECRET2345678", check=False)
        self.assertIn(b"status=FAILURE fail=badMessageCheck", wrong.stdout)

    def test_one_time(self):
        """A one-time challenge cannot close a reply: badAlg, and it is not spent."""
        secret = self.gw.challenge()
        sealed = self.device("--subject", "/CN=once-1", secret=secret, check=False)
        self.assertIn(b"status=FAILURE fail=badMessageCheck", sealed.stdout)
        shown = self.device("--subject", "/CN=once-1", secret=secret, by_password=False, check=False)
        self.assertIn(b"status=FAILURE fail=badAlg", shown.stdout)
        self.gw.log_line("once-1", "use EST")
        self.gw.scep_client("--subject", "/CN=once-1", secret=secret)

    def test_rsa_unhindered(self):
        """Devices with RSA keys enroll at the same URL as ever, also with an envelope by password."""
        self.gw.scep_client("--subject", "/CN=rsa-1", secret=self.SECRET)
        work = self.gw.work("rsa")
        refused = self.gw.scep_client("--subject", "/CN=rsa-2", "--by-password", "--save-request", "request", secret=self.OLDER,
                                      cwd=work, check=False)
        self.assertIn("made for a key", refused.stderr.decode())  # the reply is for its RSA key
        sent = self.gw.scep_client("--send", "request", cwd=work)
        self.assertIn(b"status=SUCCESS", sent.stdout)


class NoFixed(FlowTest):
    def test_refused(self):
        """Without fixed challenges an EC device is refused with badAlg, and the log tells what would serve it."""
        refused = self.gw.scep_client("--subject", "/CN=none-1", "--key-type", "p256", "--by-password",
                                      secret=self.gw.challenge(), check=False)
        self.assertIn(b"status=FAILURE fail=badAlg", refused.stdout)
        self.gw.log_line("PKCSReq", "use EST, or a fixed challenge")


if __name__ == "__main__":
    unittest.main()
