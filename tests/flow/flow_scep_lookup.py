"""GetCert and GetCRL: what a device may look up, and what a stranger may not."""
import os
import unittest

from gateway import FlowTest, run, text


class Lookup(FlowTest):
    def setUp(self):
        self.dir = self.gw.work(self.id().rsplit(".", 1)[1])

    def enroll(self, name):
        self.gw.scep_client("--subject", f"/CN={name}", "--key-out", f"{name}.key", "--out", f"{name}.pem", "--signer-out",
                            f"{name}-self.pem", secret=self.gw.challenge(), cwd=self.dir)
        return f"{name}.pem", f"{name}.key"

    def look(self, what, wanted, signer, check=True):
        result = self.gw.scep_client("--renew", *signer, what, wanted, "--out", "out.der", check=check, cwd=self.dir)
        return result.stdout.decode().strip()

    def serial(self, pem):
        return text("openssl", "x509", "-in", pem, "-noout", "-serial", cwd=self.dir).strip().removeprefix("serial=").lower()

    def crl(self, signer, wanted):
        """Text of the CRL that came, verified by the issuing CA."""
        self.look("--getcrl", wanted, signer)
        bag = text("openssl", "pkcs7", "-inform", "DER", "-in", "out.der", "-print_certs", cwd=self.dir)
        self.assertNotIn("BEGIN CERTIFICATE", bag)
        with open(os.path.join(self.dir, "crl.pem"), "w", encoding="ascii") as file:
            file.write(bag)
        self.assertIn("verify OK", self.verify_crl())
        return text("openssl", "crl", "-in", "crl.pem", "-noout", "-text", cwd=self.dir)

    def verify_crl(self):
        return run("openssl", "crl", "-in", "crl.pem", "-noout", "-CAfile", self.gw.path("ca/issuing.pem"),
                   cwd=self.dir).stderr.decode()

    def test_cert(self):
        """A device gets its own certificate and that of another device of the profile."""
        one, two = self.enroll("cert-1"), self.enroll("cert-2")
        for wanted in (one[0], two[0]):
            self.assertEqual(self.look("--getcert", wanted, one), "status=0 fail=-1 http=200")
            got = text("openssl", "pkcs7", "-inform", "DER", "-in", "out.der", "-print_certs", cwd=self.dir)
            self.assertEqual(got.count("BEGIN CERTIFICATE"), 1)
            with open(os.path.join(self.dir, wanted), encoding="ascii") as file:
                self.assertIn(file.read().strip(), got)

    def test_crl(self):
        """A device gets the CRL of its CA with what is revoked; it is the same one for a minute; the CA's name or a certificate
        of the RA's leads to it (quirk 29)."""
        one, two = self.enroll("crl-1"), self.enroll("crl-2")
        self.gw.cli("cert", "revoke", self.serial(two[0]))
        first = self.crl(one, one[0])
        self.assertIn(self.serial(two[0]).upper(), first)
        self.assertEqual(first, self.crl(one, self.gw.path("ra/ra.pem")))

    def test_strangers(self):
        """A self-signed signer, a revoked one, and a serial that was never issued all get FAILURE badCertId."""
        one, two = self.enroll("str-1"), self.enroll("str-2")
        self.gw.cli("cert", "revoke", self.serial(two[0]))
        for what in ("--getcert", "--getcrl"):
            for signer in (("str-1-self.pem", one[1]), two):
                self.assertEqual(self.look(what, one[0], signer, check=False), "status=2 fail=4 http=200", (what, signer))
            self.assertEqual(self.look(what, "str-2-self.pem", one, check=False), "status=2 fail=4 http=200")
        self.assertGreaterEqual(self.gw.metric(r'^scepter_requests_total.*reason="unknown-certificate"'), 5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
