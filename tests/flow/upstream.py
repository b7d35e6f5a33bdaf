"""What the tests of upstream CAs share: gateways that relay to a CA behind a proxy that has bad days."""
import os
import subprocess
import time

import faults
from gateway import FlowTest, run


def use_upstream(gw, root, options, name="plant"):
    """Before the start: routes the profile, which trusts root, to a CA with these options, lines that each follow a newline."""
    gw.edit(r"^profiles:", f"  {name}:{options}\n\nprofiles:")
    gw.edit(r"upstream: \[local\]", f"upstream: [{name}]")
    gw.edit(r"trust: \[ca/root.pem\]", f"trust: [{root}]")


# Of tests in which the CA answers whatever it is asked: its devices hear of it, though that takes long on a busy machine.
PATIENT = "    limits: {wait: 20s, deadline: 25s}\n    breaker: {failures: 100, open: 1s}"


class UpstreamTest(FlowTest):
    """A gateway whose one profile is routed to the CA that a class makes: cls.ca has configure(gw, more), close(),
    proxy, root and chain (paths of PEM files), and issued(name)."""

    strict = ["-x509_strict"]  # whether the CA's certificates are as RFC 5280 wants them
    limits = "    limits: {wait: 10s, deadline: 12s}\n    breaker: {failures: 100, open: 1s}"  # a busy machine is no bad day

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
                self.gw.deny(request["id"], check=False)
        self.ca.proxy.reset()
        self.begin()

    def begin(self):
        """A folder of the test's own, at a gateway that knows its CA."""
        self.work = self.gw.work(self.id().rsplit(".", 1)[1])
        self.wait_for(self.knows_ca)

    def knows_ca(self):
        """Whether devices can be told the CA's certificates; until it has told them, soon after the start, they hear 503."""
        return run("curl", "-fsS", "-o", os.devnull, f"{self.gw.scep_url}?operation=GetCACert", check=False).returncode == 0

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

    def wait_for(self, true, seconds=60):
        end = time.monotonic() + seconds
        while not true():
            self.assertLess(time.monotonic(), end, self.gw.log()[-3000:])
            time.sleep(0.1)

    def wait_state(self, name, state, seconds=60):
        end = time.monotonic() + seconds
        while self.state(name) != state:
            self.assertLess(time.monotonic(), end, f"{name} is {self.request(name)}\n{self.gw.log()[-3000:]}")
            time.sleep(0.1)

    def verify(self, name):
        pem = os.path.join(self.work, f"{name}.pem")
        run("openssl", "verify", *self.strict, "-CAfile", self.ca.root, "-untrusted", self.ca.chain, pem)

    def start_device(self, name):
        """It asks by SCEP, and is not waited for."""
        return subprocess.Popen([os.environ["SCEP_CLIENT"], "--url", self.gw.scep_url, "--challenge-env", "C", "--subject",
                                 f"/CN={name}", "--key-out", os.path.join(self.work, f"{name}.key")],
                                env={**os.environ, "C": self.gw.challenge()}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill_while_asking(self, name, there=None):
        """kill -9 of the gateway when the CA was asked, or has come to `there`, and its answer is on its way; then it starts
        again."""
        self.ca.proxy.reset(faults.HANG_AFTER)
        device = self.start_device(name)
        self.wait_for(there or (lambda: self.ca.proxy.asked), 60)
        self.gw.stop(9)
        device.wait(60)
        self.gw.start()

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
