"""What repeats itself is answered from the row: nothing is issued twice, and nothing without its challenge."""
import json
import os
import time
import unittest

from gateway import FlowTest


class Repeat(FlowTest):
    @classmethod
    def configure(cls, gw):
        gw.edit(r"challenge: \{", "challenge: {mismatches: 6, ")

    def test_same_request_again(self):
        """A second identical PKCSReq, and one with a new transactionID, get the first certificate."""
        work = self.gw.work("again")
        secret = self.gw.challenge()
        self.gw.scep_client("--subject", "/CN=again-1", "--key-out", "key.pem", "--out", "first.pem", "--save-request",
                            "request.der", secret=secret, cwd=work)
        self.gw.scep_client("--subject", "/CN=again-1", "--key", "key.pem", "--out", "second.pem", "--txn", "another-one",
                            secret=secret, cwd=work)
        sent = self.gw.scep_client("--send", "request.der", cwd=work).stdout.decode()
        self.assertIn("status=SUCCESS", sent)
        with open(os.path.join(work, "first.pem"), "rb") as first, open(os.path.join(work, "second.pem"), "rb") as second:
            self.assertEqual(first.read(), second.read())
        self.assertEqual(len([c for c in self.gw.certs() if "again-1" in c["subject"]]), 1)

    def test_fifty_at_once(self):
        """The same PKCSReq sent 50 times at once yields one certificate and one row."""
        result = self.gw.scep_client("--subject", "/CN=fifty-1", "--repeat", "50", "--concurrent",
                                     secret=self.gw.challenge()).stdout.decode()
        self.assertIn("replies=50 success=50 certificates=1", result)
        self.assertEqual(len([c for c in self.gw.certs() if "fifty-1" in c["subject"]]), 1)
        self.assertEqual(len([r for r in self.gw.requests() if "fifty-1" in r["subject"]]), 1)

    def test_spent_challenge(self):
        """A one-time challenge used again with another key is refused with a signed FAILURE badRequest."""
        work = self.gw.work("spent")
        secret = self.gw.challenge()
        self.gw.scep_client("--subject", "/CN=spent-1", secret=secret, cwd=work)
        again = self.gw.scep_client("--subject", "/CN=spent-1", check=False, secret=secret, cwd=work)
        self.assertEqual(again.returncode, 2)
        self.assertIn("status=FAILURE fail=badRequest", again.stdout.decode())

    def test_challenge_bound_to_names(self):
        """A challenge minted for names serves these names only, and wrong tries do not spend it while there are less than the
        profile bears; with as many it is spent (flaw 1)."""
        work = self.gw.work("bound")
        secret = self.gw.challenge("--subject", "CN=bound-1", "--san", "dns:bound-1.example")
        good = ("--subject", "/CN=bound-1", "--san", "dns:bound-1.example")
        for names in (("--subject", "/CN=bound-2", "--san", "dns:bound-1.example"),
                      ("--subject", "/CN=bound-1"),
                      ("--subject", "/CN=bound-1", "--san", "dns:other.example"),
                      ("--subject", "/O=more/CN=bound-1", "--san", "dns:bound-1.example"),
                      (*good, "--san", "dns:one-more.example")):
            wrong = self.gw.scep_client(*names, check=False, secret=secret, cwd=work)
            self.assertIn("status=FAILURE fail=badRequest", wrong.stdout.decode(), names)
        self.gw.scep_client(*good, secret=secret, cwd=work)

        secret = self.gw.challenge("--subject", "CN=bound-3", "--san", "dns:bound-3.example")
        good = ("--subject", "/CN=bound-3", "--san", "dns:bound-3.example")
        for number in range(6):
            wrong = self.gw.scep_client(*good, "--san", f"dns:{number}.example", check=False, secret=secret, cwd=work)
            self.assertIn("status=FAILURE fail=badRequest", wrong.stdout.decode(), number)
        spent = self.gw.scep_client(*good, check=False, secret=secret, cwd=work)
        self.assertIn("status=FAILURE fail=badRequest", spent.stdout.decode())

    def test_no_or_wrong_challenge(self):
        """No challenge, an empty one, an unknown one and an expired one get FAILURE badRequest and no certificate."""
        expired = self.gw.challenge("--ttl", "1s")
        time.sleep(2)
        for secret in ("", "UNKNOWNUNKNOWN222222", expired):
            refused = self.gw.scep_client("--subject", "/CN=without-1", check=False, secret=secret)
            self.assertEqual(refused.returncode, 2, secret)
            self.assertIn("status=FAILURE fail=badRequest", refused.stdout.decode())
        self.assertEqual([c for c in self.gw.certs() if "without-1" in c["subject"]], [])

    def test_poll(self):
        """A CertPoll with the key and the transactionID of a request gets its certificate; another key gets badCertId."""
        work = self.gw.work("poll")
        self.gw.scep_client("--subject", "/CN=poll-1", "--txn", "poll-txn-1", "--key-out", "key.pem", "--out", "cert.pem",
                            "--signer-out", "signer.pem", secret=self.gw.challenge(), cwd=work)
        self.gw.scep_client("--subject", "/CN=poll-1", "--txn", "poll-txn-1", "--key", "key.pem", "--poll", "--out",
                            "polled.pem", cwd=work)
        with open(os.path.join(work, "cert.pem"), "rb") as first, open(os.path.join(work, "polled.pem"), "rb") as second:
            self.assertEqual(first.read(), second.read())
        stranger = self.gw.scep_client("--subject", "/CN=poll-1", "--txn", "poll-txn-1", "--poll", check=False, cwd=work)
        self.assertIn("status=FAILURE fail=badCertId", stranger.stdout.decode())

    def test_replaced_certificate_is_not_given_again(self):
        """After a renewal, the first request repeated does not bring the replaced certificate back."""
        work = self.gw.work("replaced")
        self.gw.scep_client("--subject", "/CN=replaced-1", "--key-out", "key.pem", "--out", "cert.pem", "--save-request",
                            "request.der", secret=self.gw.challenge(), cwd=work)
        self.gw.scep_client("--subject", "/CN=replaced-1", "--renew", "cert.pem", "key.pem", "--out", "new.pem", cwd=work)
        sent = self.gw.scep_client("--send", "request.der", check=False, cwd=work)
        self.assertIn("status=FAILURE", sent.stdout.decode())
        self.assertEqual(len([c for c in self.gw.certs() if "replaced-1" in c["subject"]]), 2)

    def test_revoked_certificate_renews_nothing(self):
        """A revoked certificate does not renew, and is not given again."""
        work = self.gw.work("revoked")
        self.gw.scep_client("--subject", "/CN=revoked-1", "--key-out", "key.pem", "--out", "cert.pem", "--save-request",
                            "request.der", secret=self.gw.challenge(), cwd=work)
        serial = [c["serial"] for c in self.gw.certs() if "revoked-1" in c["subject"]][0]
        self.gw.cli("cert", "revoke", serial)
        renewed = self.gw.scep_client("--subject", "/CN=revoked-1", "--renew", "cert.pem", "key.pem", check=False, cwd=work)
        self.assertIn("status=FAILURE", renewed.stdout.decode())
        sent = self.gw.scep_client("--send", "request.der", check=False, cwd=work)
        self.assertIn("status=FAILURE", sent.stdout.decode())

    def test_zz_audit(self):
        """The audit trail of all this is whole."""
        result = json.loads(self.gw.cli("audit", "verify", "--json").stdout)
        self.assertGreater(result["records"], 10)


class FixedChallenge(FlowTest):
    OLD, NEW = "OLDSECRET-7Q2M4X9", "NEWSECRET-3K8P5Z1"

    @classmethod
    def configure(cls, gw):
        gw.take_fixed(cls.OLD, cls.NEW)

    def test_fixed(self):
        """A fixed challenge enrolls any number of devices, two overlap during a change, and others are refused."""
        for number, secret in enumerate((self.OLD, self.NEW, self.OLD)):
            self.gw.scep_client("--subject", f"/CN=fixed-{number}", secret=secret)
        refused = self.gw.scep_client("--subject", "/CN=fixed-9", check=False, secret=self.OLD + "X")
        self.assertIn("status=FAILURE fail=badRequest", refused.stdout.decode())
        self.gw.scep_client("--subject", "/CN=fixed-8", secret=self.gw.challenge())
        self.assertEqual(len([c for c in self.gw.certs() if "fixed-" in c["subject"]]), 4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
