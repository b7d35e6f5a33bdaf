"""Two CAs that may take each other's place (`upstream: [plant, second]`), each behind a proxy: who gets which request, and who stays
where it is."""
import os
import time
import unittest

import faults
from flow_upstream_est import PASSWORD, EstCa
from gateway import run
from upstream import UpstreamTest


WAIT = 20


class Pool(UpstreamTest):
    make_ca = EstCa
    limits = f"    limits: {{wait: {WAIT}s, deadline: 30s, inflight: 1, queue: 1}}\n    breaker: {{failures: 2, open: 1s}}"

    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        cls.second = EstCa()
        cls.addClassCleanup(cls.second.close)
        gw.secret_file("second.password", PASSWORD + "\n", PASSWORD)
        gw.edit(r"^profiles:", f"""  second:
    type: est
    url: https://127.0.0.1:{cls.second.port}/.well-known/est
    trust: [{cls.second.root}]
    basic: {{user: ra, password_file: second.password}}
    limits: {{wait: {WAIT}s, deadline: 30s}}

profiles:""")
        gw.edit(r"upstream: \[plant\]", "upstream: [plant, second]")
        gw.edit(r"^    trust: \[(.*)\] +#", rf"    trust: [\1, {cls.second.root}]  #")

    def setUp(self):
        self.second.proxy.reset()
        super().setUp()
        self.wait_for(self.taken)

    def taken(self):
        """Whether plant may be asked."""
        return self.gw.metric('upstream_breaker.upstream="plant",state="open"') == 0

    def issuers(self, name):
        """How many certificates each CA issued for it."""
        return self.ca.issued(name), self.second.issued(name)

    def at(self, name):
        """Where its requests are."""
        return [r["upstream"] for r in self.gw.requests() if r["subject"] == f"CN={name}"]

    def down(self):
        """plant can be reached by nobody, which devices find out, or requests of theirs that are tried again. The names of those
        that are in its line."""
        self.ca.proxy.strike(faults.REFUSED)
        self.addCleanup(self.up)
        self.is_down = True
        names = []
        while self.taken():
            names.append(f"{self.id().rsplit('_', 1)[1]}-{len(names)}")
            code = self.start_device(names[-1]).wait(60)
            self.assertEqual(code, {"plant": 3, "second": 0}[self.at(names[-1])[0]], names)
        return [name for name in names if self.at(name) == ["plant"]]

    def up(self):
        if self.is_down:
            self.ca.proxy.start()
        self.is_down = False

    def renew(self, name, code=0):
        old = os.path.join(self.work, name)
        result = self.gw.scep_client("--subject", f"/CN={name}", "--renew", f"{old}.pem", f"{old}.key", "--key-out", f"{old}.next.key",
                                     "--out", f"{old}.next.pem", check=False)
        self.assertEqual(result.returncode, code, result.stdout.decode() + self.gw.log()[-3000:])

    def verify_by(self, ca, pem):
        run("openssl", "verify", "-x509_strict", "-CAfile", ca.root, "-untrusted", ca.chain, os.path.join(self.work, pem))

    def test_first(self):
        """The first of the pool issues while it can."""
        self.enroll("of-first")
        self.assertEqual((self.issuers("of-first"), self.at("of-first")), ((1, 0), ["plant"]))

    def test_failing(self):
        """While it fails the second takes what comes; what was ordered at the first stays there, also when its device comes again,
        and is issued there when it can be."""
        ordered = self.down()
        self.enroll("of-second")
        self.assertEqual((self.issuers("of-second"), self.at("of-second")), ((0, 1), ["second"]))
        self.verify_by(self.second, "of-second.pem")
        for name in ordered:
            self.enroll(name, code=3)
            self.assertEqual((self.state(name), self.at(name)), ("ordered", ["plant"]))
        self.up()
        for name in ordered:
            self.wait_state(name, "issued", 90)
            self.enroll(name, "--poll")
            self.assertEqual(self.issuers(name), (1, 0))
            self.verify_by(self.ca, f"{name}.pem")

    def test_full(self):
        """While its line is full the second takes what comes, at once."""
        self.ca.proxy.reset(faults.HANG)
        devices = []
        for place in ("running", "waiting"):  # the second finds room when the first has left the line for the CA
            devices.append(self.start_device(f"full-{place}"))
            self.wait_for(lambda place=place: self.gw.metric(f'upstream_requests.upstream="plant",state="{place}"') == 1)
        start = time.monotonic()
        self.enroll("over-full")
        self.assertLess(time.monotonic() - start, WAIT / 2)
        self.assertEqual((self.issuers("over-full"), self.at("over-full")), ((0, 1), ["second"]))
        self.wait_for(lambda: self.ca.proxy.bodies)
        self.ca.proxy.hang_up()
        for device in devices:
            device.wait(60)

    def test_suspect(self):
        """What may have been issued is never asked of the second, whatever the first does meanwhile."""
        self.ca.proxy.reset(faults.LOSE)
        self.enroll("doubtful", code=3)
        self.wait_state("doubtful", "suspect")
        self.down()
        self.enroll("doubtful", code=3)
        self.enroll("doubtful", "--poll", code=3)
        self.assertEqual((self.state("doubtful"), self.at("doubtful"), self.issuers("doubtful")), ("suspect", ["plant"], (1, 0)))

    def test_lineage(self):
        """A renewal goes to the CA that issued: to the second though the first is there again, and to the first though it fails;
        with migrate_to it goes where that leads."""
        self.enroll("from-first")
        self.down()
        self.enroll("from-second")
        self.renew("from-first", 3)
        self.assertEqual((self.at("from-first"), self.issuers("from-first")), (["plant", "plant"], (1, 0)))
        self.up()
        self.wait_for(self.taken)
        self.renew("from-second")
        self.assertEqual((self.at("from-second"), self.issuers("from-second")), (["second", "second"], (0, 2)))
        self.verify_by(self.second, "from-second.next.pem")
        self.wait_for(lambda: self.issuers("from-first") == (2, 0), 90)
        for what in ("pem", "key"):
            os.replace(os.path.join(self.work, f"from-second.next.{what}"), os.path.join(self.work, f"from-second.{what}"))
        self.gw.edit(r"^    keys: ", "    migrate_to: plant\n    keys: ")
        self.gw.reload()
        try:
            self.renew("from-second")
        finally:
            self.gw.edit(r"^    migrate_to: plant\n", "")
            self.gw.reload()
        self.assertEqual(self.issuers("from-second"), (1, 2))
        self.verify_by(self.ca, "from-second.next.pem")


if __name__ == "__main__":
    unittest.main(verbosity=2)
