"""SCEP with strongSwan's pki, as a VPN gateway's administrator would use it."""
import os
import unittest

from gateway import FlowTest, run, text


class StrongSwan(FlowTest):
    def fetch_ca(self, work):
        run("pki", "--scepca", "--url", self.gw.scep_url, "--caout", "ca.der", "--raout", "ra.der", "--force", cwd=work)
        return ["--cacert-enc", "ra.der", "--cacert-sig", "ra.der", "--cacert", "ca.der", "--cacert", "ca-1.der"]

    def enroll(self, work, trust, *flags):
        with open(os.path.join(work, "key.der"), "wb") as key:
            key.write(run("pki", "--gen", "--type", "rsa", "--size", "2048").stdout)
        return run("pki", "--scep", "--url", self.gw.scep_url, "--in", "key.der", *trust, "--cipher", "aes",
                   "--interval", "1", "--maxpolltime", "5", *flags, cwd=work, check=False)

    def test_enroll_and_renew(self):
        """RFC 8894 4.1: strongSwan fetches the CA, enrolls with a one-time challenge and renews with the certificate (quirk 11)."""
        work = self.gw.work("strongswan")
        trust = self.fetch_ca(work)
        names = ["--dn", "O=test, CN=swan-1", "--san", "swan-1.example"]
        first = self.enroll(work, trust, *names, "--password", self.gw.challenge())
        self.assertEqual(first.returncode, 0, first.stderr.decode())
        old, old_key = os.path.join(work, "old.der"), os.path.join(work, "old-key.der")
        with open(old, "wb") as file:
            file.write(first.stdout)
        os.rename(os.path.join(work, "key.der"), old_key)
        pem = self.gw.verify(old, "DER")
        self.assertEqual(text("openssl", "x509", "-in", pem, "-noout", "-subject", "-nameopt", "RFC2253").strip(),
                         "subject=CN=swan-1,O=test")
        self.assertEqual(text("openssl", "x509", "-in", pem, "-noout", "-ext", "subjectAltName").split(),
                         ["X509v3", "Subject", "Alternative", "Name:", "DNS:swan-1.example"])

        second = self.enroll(work, trust, *names, "--cert", old, "--key", old_key)
        self.assertEqual(second.returncode, 0, second.stderr.decode())
        new = os.path.join(work, "new.der")
        with open(new, "wb") as file:
            file.write(second.stdout)
        self.gw.verify(new, "DER")
        certs = [c for c in self.gw.certs() if "swan-1" in c["subject"]]
        self.assertEqual(len(certs), 2)
        self.assertNotEqual(first.stdout, second.stdout)

    def test_spent_challenge(self):
        """A one-time challenge used again with another key gets nothing from strongSwan's view."""
        work = self.gw.work("spent")
        trust = self.fetch_ca(work)
        secret = self.gw.challenge()
        self.assertEqual(self.enroll(work, trust, "--dn", "CN=swan-2", "--password", secret).returncode, 0)
        again = self.enroll(work, trust, "--dn", "CN=swan-2", "--password", secret)
        self.assertNotEqual(again.returncode, 0)
        self.assertIn(b"badRequest", again.stderr + again.stdout)
        self.assertEqual(len([c for c in self.gw.certs() if "swan-2" in c["subject"]]), 1)

    def test_renew_other_names(self):
        """A renewal for another subject is refused."""
        work = self.gw.work("names")
        trust = self.fetch_ca(work)
        first = self.enroll(work, trust, "--dn", "CN=swan-3", "--password", self.gw.challenge())
        self.assertEqual(first.returncode, 0, first.stderr.decode())
        with open(os.path.join(work, "old.der"), "wb") as file:
            file.write(first.stdout)
        os.rename(os.path.join(work, "key.der"), os.path.join(work, "old-key.der"))
        second = self.enroll(work, trust, "--dn", "CN=swan-4", "--cert", "old.der", "--key", "old-key.der")
        self.assertNotEqual(second.returncode, 0)
        self.assertEqual([c for c in self.gw.certs() if "swan-4" in c["subject"]], [])


class StrongSwanEcIssuer(StrongSwan):
    """The same with an EC issuing CA; the RA stays RSA."""

    init_flags = ("--ca-key", "p256")


if __name__ == "__main__":
    unittest.main(verbosity=2)
