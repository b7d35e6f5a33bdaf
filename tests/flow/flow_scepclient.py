"""SCEP with Debian's scepclient (micromdm 2.1), which knows SHA-1 and single DES and nothing else."""
import os
import re
import unittest

from gateway import FlowTest, run, text


class ScepClient(FlowTest):
    legacy = "des-md5"

    @classmethod
    def configure(cls, gw):
        gw.edit(r"(scep: \{paths: .*ra: \[main\])\}", r"\1, legacy: %s}" % cls.legacy)

    def scepclient(self, work, *words, check=True):
        """It has no other way for a challenge than its arguments."""
        return run("scepclient", "-private-key", "key.pem", "-certificate", "cert.pem", "-server-url", self.gw.scep_url, *words,
                   cwd=work, check=check)

    def certs(self, cn):
        return [c for c in self.gw.certs() if re.search(rf"CN={cn}\b", c["subject"])]


class Served(ScepClient):
    def test_enroll_and_renew(self):
        """scepclient enrolls with a one-time challenge, and renews by RenewalReq with the certificate it has (quirk 23)."""
        work = self.gw.work("client")
        self.scepclient(work, "-cn", "client-1", "-challenge", self.gw.challenge())
        first = text("openssl", "x509", "-in", "cert.pem", "-noout", "-serial", cwd=work)
        self.gw.verify(os.path.join(work, "cert.pem"))
        self.scepclient(work, "-cn", "client-1")
        self.gw.verify(os.path.join(work, "cert.pem"))
        self.assertNotEqual(text("openssl", "x509", "-in", "cert.pem", "-noout", "-serial", cwd=work), first)
        self.assertEqual(len(self.certs("client-1")), 2)
        self.gw.log_line('operation="RenewalReq"', 'outcome="issued"')

    def test_wrong_challenge(self):
        """A wrong challenge is badRequest, and nothing is issued."""
        refused = self.scepclient(self.gw.work("wrong"), "-cn", "client-2", "-challenge", "NOTACHALLENGE2222222", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn(b"badRequest", refused.stdout + refused.stderr)
        self.assertEqual(self.certs("client-2"), [])


class NotServed(ScepClient):
    legacy = "des3-sha1"

    def test_refused(self):
        """Where single DES is not allowed it is refused, and nothing is issued."""
        refused = self.scepclient(self.gw.work("not"), "-cn", "client-3", "-challenge", self.gw.challenge(), check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertRegex(refused.stdout + refused.stderr, rb"badAlg|badMessageCheck")
        self.assertEqual(self.certs("client-3"), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
