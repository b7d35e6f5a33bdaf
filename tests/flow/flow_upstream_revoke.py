"""cert revoke: the CA that issued is told, with the reason where its protocol has one; of a kind that cannot be told the operator
hears that."""
import base64
import json
import unittest

from cas import CAS
from upstream import PATIENT, UpstreamTest


class Revoke(UpstreamTest):
    """A kind that can be told; told() is what it was."""

    limits = PATIENT

    def names(self, name):
        return name, ()

    def issue(self, name):
        """The serial number of a certificate that a device has got."""
        subject, flags = self.names(name)
        self.enroll(subject, *flags, code=3 if flags else 0)
        self.wait_state(subject, "issued", 120)
        return next(c["serial"] for c in self.gw.certs() if c["subject"] == f"CN={subject}")

    def revoke(self, serial, code=0):
        result = self.gw.cli("cert", "revoke", serial, "--reason", "keyCompromise", check=False)
        self.assertEqual(result.returncode, code, result.stderr)
        return (result.stdout + result.stderr).decode()

    def told(self, serial):
        raise NotImplementedError

    def test_told(self):
        """The CA is told of the certificate that was revoked, and of no other."""
        serial, other = self.issue("gone"), self.issue("kept")
        self.assertIn("revoked at upstream", self.revoke(serial))
        self.assertTrue(self.told(serial))
        self.assertFalse(self.told(other))

    def test_down(self):
        """A CA that cannot be reached is not told: the command says so, and tells it when it is given again. Here the certificate
        is revoked at once."""
        serial = self.issue("missed")
        self.ca.proxy.stop()
        try:
            said = self.revoke(serial, 3)
        finally:
            self.ca.proxy.start()
        self.assertIn("could not be told, try again", said)
        self.assertFalse(self.told(serial))
        self.assertIn(serial, [c["serial"] for c in self.gw.certs("--revoked")])
        self.assertIn("revoked at upstream", self.revoke(serial, 1))
        self.assertTrue(self.told(serial))


class Cmp(Revoke):
    """RFC 4210 section 5.3.9: the reason is the entry extension reasonCode, here keyCompromise."""

    make_ca = CAS["cmp"]
    REASON = bytes.fromhex("0603551d15 0403 0a0101")

    def told(self, serial):
        told = str(int(serial, 16)) in [line.split()[1] for line in self.ca.lines("revoked")]
        self.assertTrue(not told or any(self.REASON in body for body in self.ca.proxy.bodies))
        return told


class Acme(Revoke):
    make_ca = CAS["acme"]

    def names(self, name):
        return f"{name}.example.com", ("--san", f"dns:{name}.example.com")

    def told(self, serial):
        told = self.ca.status(serial) == "Revoked"
        self.assertTrue(not told or self.reasons() == [1])
        return told

    def reasons(self):
        """Of what was revoked (RFC 8555 section 7.6)."""
        payloads = [json.loads(body)["payload"] for (path, status), body in zip(self.ca.proxy.paths, self.ca.proxy.heard)
                    if "revoke" in path and status == 200]
        return [json.loads(base64.urlsafe_b64decode(payload + "=="))["reason"] for payload in payloads]


class Vault(Revoke):
    make_ca = CAS["vault"]

    def told(self, serial):
        pem = self.gw.cli("cert", "show", serial, "--pem").stdout.decode()
        return pem.strip() in [c.strip() for c in self.ca.double.revoked]


class Ejbca(Revoke):
    make_ca = CAS["ejbca"]

    def told(self, serial):
        return (serial.upper(), "KEY_COMPROMISE") in self.ca.double.revoked


class Stepca(Revoke):
    make_ca = CAS["stepca"]

    def told(self, serial):
        return self.ca.double.revoked.get(str(int(serial, 16))) == 1


class Est(Revoke):
    """A kind that cannot."""

    make_ca = CAS["est"]
    test_down = None

    def test_told(self):
        """The operator reads that the certificate must be revoked at the CA too; here it is revoked."""
        serial = self.issue("gone")
        self.assertIn("upstream plant is not told: revoke it there as well", self.revoke(serial))
        self.assertIn(serial, [c["serial"] for c in self.gw.certs("--revoked")])


class Scep(Est):
    make_ca = CAS["scep"]


class Exec(Est):
    make_ca = CAS["exec"]

    def setUp(self):
        self.begin()


del Revoke

if __name__ == "__main__":
    unittest.main(verbosity=2)
