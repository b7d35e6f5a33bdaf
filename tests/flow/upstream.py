"""What the tests of upstream CAs share: gateways that relay to a CA behind a proxy that has bad days."""
import os
import time

from gateway import FlowTest, run


class UpstreamTest(FlowTest):
    """A gateway whose one profile is routed to the CA that a class makes: cls.ca has configure(gw, more), close(),
    proxy, root and chain (paths of PEM files), and issued(name)."""

    strict = ["-x509_strict"]  # whether the CA's certificates are as RFC 5280 wants them
    limits = "    limits: {wait: 3s, deadline: 4s}\n    breaker: {failures: 100, open: 1s}"

    @classmethod
    def make_ca(cls):
        raise NotImplementedError

    @classmethod
    def configure(cls, gw):
        cls.ca = cls.make_ca()
        cls.addClassCleanup(cls.ca.close)
        cls.ca.configure(gw, cls.limits)

    def setUp(self):
        for request in self.gw.requests():  # of tests before: asking again would take this one's faults
            if request["state"] not in ("issued", "refused"):
                self.gw.cli("request", "deny", request["id"], check=False)
        self.ca.proxy.reset()
        self.work = self.gw.work(self.id().rsplit(".", 1)[1])

    def enroll(self, name, *flags, code=0, secret=None):
        """One device by SCEP; its line and the names of its files."""
        files = {what: os.path.join(self.work, f"{name}.{what}") for what in ("pem", "key", "signer")}
        have = ["--key", files["key"]] if os.path.exists(files["key"]) else ["--key-out", files["key"]]
        result = self.gw.scep_client("--subject", f"/CN={name}", "--out", files["pem"], *have, *flags,
                                     secret=secret or self.gw.challenge(), check=False)
        output = result.stdout.decode()
        self.assertEqual(result.returncode, code, output + result.stderr.decode() + self.gw.log()[-3000:])
        return output

    def state(self, name):
        states = [r["state"] for r in self.gw.requests() if r["subject"] == f"CN={name}"]
        self.assertEqual(len(states), 1, states)
        return states[0]

    def request(self, name):
        return next(r for r in self.gw.requests() if r["subject"] == f"CN={name}")

    def wait_for(self, true, seconds=30):
        end = time.monotonic() + seconds
        while not true():
            self.assertLess(time.monotonic(), end, self.gw.log()[-3000:])
            time.sleep(0.1)

    def wait_state(self, name, state, seconds=30):
        end = time.monotonic() + seconds
        while self.state(name) != state:
            self.assertLess(time.monotonic(), end, f"{name} is {self.request(name)}\n{self.gw.log()[-3000:]}")
            time.sleep(0.1)

    def verify(self, name):
        pem = os.path.join(self.work, f"{name}.pem")
        run("openssl", "verify", *self.strict, "-CAfile", self.ca.root, "-untrusted", self.ca.chain, pem)

    def check_once(self, name):
        """The CA was asked once, and issued once."""
        self.assertEqual(self.ca.proxy.asked, 1)
        self.assertEqual(self.ca.issued(name), 1)

    def check_suspect(self, name, fault):
        """The device hears PENDING, and the CA is not asked again."""
        self.ca.proxy.reset(fault)
        self.enroll(name, code=3)
        self.wait_state(name, "suspect")
        self.enroll(name, "--poll", code=3)
        time.sleep(2)
        self.assertEqual(self.ca.proxy.asked, int(fault.asks), fault.name)
