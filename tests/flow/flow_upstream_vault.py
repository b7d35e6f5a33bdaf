"""Vault's PKI engine as the upstream: a double of its API, with a proxy between the two that has bad days."""
import os
import time
import unittest

import faults
from double_vault import ROLE_ID, SECRET_ID, Vault
from doubles import DoubleCa, DoubleTest
from faults import answers, changed
from upstream import PATIENT, use_upstream


class VaultCa(DoubleCa):
    """The double, and the proxy in front of it."""

    def __init__(self, auth="approle", how="role: device"):
        super().__init__("/sign")
        if auth == "tls":
            self.know_clients()
        self.auth, self.how = auth, how

    def make_double(self, port):
        return Vault(port, self.ca)

    def configure(self, gw, more=""):
        for name, text in {"secret-id": SECRET_ID, "token": self.double.file_token}.items():
            gw.secret_file(name, text + "\n", text)
        auth = {"approle": f"approle: {{role_id: {ROLE_ID}, secret_id_file: secret-id}}",
                "token": "token_file: token",
                "tls": f"client: {{certificate: {self.ca.path('client.pem')}, key: {self.ca.path('client.key')}}}\n"
                       "    tls: {name: ra}"}[self.auth]
        use_upstream(gw, self.root, f"""
    type: vault
    url: https://127.0.0.1:{self.port}
    trust: [{self.root}]
    {self.how}
    {auth}
{more}""")


class UpstreamVault(DoubleTest):
    make_ca = VaultCa

    def setUp(self):
        super().setUp()
        self.ca.double.bodies.clear()

    def check_signed(self, name, times=1):
        self.assertEqual(len(self.ca.double.bodies), times)
        self.assertEqual(self.ca.issued(name), times)

    def test_sign(self):
        """A device gets a certificate of Vault's, signed once by the role."""
        self.enroll("plain")
        self.verify("plain")
        self.check_signed("plain")
        self.assertEqual(self.ca.double.bodies[0][0], "pki/sign/device")

    def test_role_says_no(self):
        """A name that the role does not allow refuses the device, whose operator hears why."""
        self.enroll("not-allowed", code=2)
        self.assertEqual(self.state("not-allowed"), "refused")
        self.assertIn("not allowed by this role", self.request("not-allowed")["reason"])

    def test_role_gone(self):
        """A role that does not exist is the operator's to mend: the request waits, and is signed when there is one again."""
        self.ca.double.roles.clear()
        self.enroll("early", code=3)
        self.wait_for(lambda: "unknown role" in self.request("early")["reason"])
        self.ca.double.roles.add("device")
        self.wait_state("early", "issued")
        self.enroll("early", "--poll")
        self.check_signed("early", 1)

    def test_later(self):
        """A standby that lags behind, and a token that is not taken: the device hears PENDING and gets its certificate by
        polling; it is signed once."""
        for name, fault in {"lagging": answers(412), "barred": answers(403)}.items():
            self.ca.proxy.reset(fault)
            self.ca.double.bodies.clear()
            self.enroll(name, code=3)
            self.wait_state(name, "issued")
            self.enroll(name, "--poll")
            self.verify(name)
            self.check_signed(name)

    def new_token(self, name, lease):
        """The gateway has logged in anew, for so many seconds; whether it found out by a 403 or by the time."""
        self.ca.double.lease = lease
        self.addCleanup(setattr, self.ca.double, "lease", 3600)
        logins = self.ca.double.logins
        self.ca.double.tokens.clear()
        self.gw.scep_client("--subject", f"/CN={name}", "--key-out", os.path.join(self.work, f"{name}.key"), "--out",
                            os.path.join(self.work, f"{name}.pem"), secret=self.gw.challenge(), check=False)
        self.wait_state(name, "issued")
        self.assertGreater(self.ca.double.logins, logins)

    def test_token_revoked(self):
        """A token that is revoked before its time is replaced by a new login."""
        self.new_token("before", 3600)
        logins = self.ca.double.logins
        self.ca.double.tokens.clear()
        self.enroll("after", code=3)
        self.wait_state("after", "issued")
        self.assertEqual(self.ca.double.logins, logins + 1)
        self.assertEqual(self.ca.issued("after"), 1)

    def test_token_renewed(self):
        """A token is renewed before it expires; the gateway does not log in again."""
        start = time.monotonic()
        self.enroll("pace")
        pace = time.monotonic() - start  # of this machine today: some devices come within the last third of the lease
        self.new_token("lease-0", int(9 + 15 * pace))
        logins, renewals = self.ca.double.logins, self.ca.double.renewals
        for i in range(1, 100):
            self.enroll(f"lease-{i}")
            if self.ca.double.renewals != renewals:
                break
            time.sleep(0.5)
        self.assertEqual(self.ca.double.logins, logins)
        self.assertEqual(self.ca.double.renewals, renewals + 1)
        time.sleep(max(0, max(expires for expires, _, _ in self.ca.double.tokens.values()) - time.monotonic()) + 1)
        self.enroll("late")  # it has expired: a new login before anything is asked
        self.assertEqual(self.ca.double.logins, logins + 1)

    def test_approved(self):
        """Vault offers nothing by which a request is found: one whose reply does not come is not sent again by itself, but when an
        operator says so."""
        self.ca.proxy.reset(faults.REFUSE)
        self.enroll("unread", code=3)
        self.wait_state("unread", "suspect")
        self.gw.cli("request", "approve", self.request("unread")["id"], "--reason", "Vault has none")
        self.wait_state("unread", "issued")
        self.enroll("unread", "--poll")
        self.verify("unread")

    def test_kill_while_asking(self):
        """kill -9 while Vault is asked: after the restart the request is suspect, and Vault is not asked again."""
        self.kill_while_asking("killed")
        self.wait_state("killed", "suspect")
        time.sleep(2)
        self.check_signed("killed")

    def test_no_certificate(self):
        """An answer without a certificate makes the request suspect."""
        self.ca.proxy.reset(changed("empty", lambda s, h, b: (s, h, b'{"data": {}}')))
        self.enroll("empty", code=3)
        self.wait_state("empty", "suspect")


class OtherIssuer(DoubleTest):
    @staticmethod
    def make_ca():
        ca = VaultCa()
        ca.ca.make("other", "root", "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign")
        ca.double.default = "other.pem"
        return ca

    def test_issuer_of_role(self):
        """A role with an issuer of its own, which is not the mount's default: its chain comes with the certificate."""
        self.enroll("by-role")
        self.verify("by-role")


class Token(DoubleTest):
    @staticmethod
    def make_ca():
        return VaultCa("token", "verbatim: true\n    ttl: 2d\n    namespace: team/pki")

    def test_verbatim(self):
        """By the token of a file, in a namespace, sign-verbatim takes what a role would refuse."""
        self.enroll("not-allowed")
        self.verify("not-allowed")
        self.assertEqual(self.ca.double.logins, 0)
        path, body = self.ca.double.bodies[0]
        self.assertEqual((path, body["ttl"]), ("pki/sign-verbatim", "172800s"))


class Tls(DoubleTest):
    @staticmethod
    def make_ca():
        return VaultCa("tls", "role: device\n    issuer: second")

    def test_tls(self):
        """By the client certificate, and an issuer by its name."""
        self.enroll("by-tls")
        self.verify("by-tls")
        self.assertEqual(self.ca.double.logins, 1)
        self.assertEqual(self.ca.double.bodies[0][0], "pki/issuer/second/sign/device")


class Busy(DoubleTest):
    limits = PATIENT

    @staticmethod
    def make_ca():
        ca = VaultCa()
        ca.double.lease = 1
        return ca

    def test_later_for_all(self):
        """Who waits for a token while another request logs in hears the same answer: nobody logs in before the time that it says."""
        time.sleep(max(0, self.ca.double.authed + 5 - time.monotonic()))  # the token of the start is over
        self.ca.proxy.reset()
        self.ca.proxy.stick("/login", faults.Fault("429", False, 429, [("Retry-After", "3")], delay=4))
        devices = [self.start_device(f"waiting-{i}") for i in range(3)]
        self.wait_for(lambda: sum(note.path.endswith("/login") for note in self.ca.proxy.notes) >= 2, 60)
        first, second = [note for note in self.ca.proxy.notes if note.path.endswith("/login")][:2]
        self.assertGreaterEqual(second.at - first.answered, 3)
        self.assertEqual({r["state"] for r in self.gw.requests()}, {"ordered"})
        for device in devices:
            device.wait(60)


if __name__ == "__main__":
    unittest.main(verbosity=2)
