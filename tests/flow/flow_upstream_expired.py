"""Our certificate at a CA has expired, by a clock that the test moves: each kind of CA that knows us by one."""
import os
import re
import sqlite3
import time
import types
import unittest

import double_stepca
from faults import answers
from flow_upstream_cmp import CmpCa
from flow_upstream_days import ByTheClock, SlowGateway
from flow_upstream_ejbca import EjbcaCa
from flow_upstream_est import EstCa
from flow_upstream_stepca import StepCa
from flow_upstream_vault import VaultCa
from gateway import run

DAY = 86400
CLIENT = "extendedKeyUsage=clientAuth"


class Ours:
    """Our certificate at a CA, which the CA makes anew for the same key: path without .pem, issuer likewise or None for one of
    our own, subject and extensions."""

    def __init__(self, path, by, subject, extensions):
        self.path, self.by, self.subject, self.extensions = path, by, subject, extensions

    def make(self, days):
        by = ["-CA", self.by + ".pem", "-CAkey", self.by + ".key"] if self.by else ["-signkey", self.path + ".key"]
        with open(self.path + ".ext", "w", encoding="ascii") as file:
            file.write(self.extensions + "\n")
        run("openssl", "req", "-new", "-key", self.path + ".key", "-subj", self.subject, "-out", self.path + ".csr")
        run("openssl", "x509", "-req", "-in", self.path + ".csr", "-days", days, "-extfile", self.path + ".ext", "-out",
            self.path + ".pem", *by)


class Expired(ByTheClock):
    """A class for each kind below. hold makes a request wait at the CA, and release ends that; None: this kind cannot."""

    limits = "    limits: {wait: 10s, deadline: 12s}\n    breaker: {failures: 3, open: 1s}"
    hold = release = None

    @classmethod
    def ours(cls):
        raise NotImplementedError

    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        cls.cert = cls.ours()
        cls.renew(1)

    @classmethod
    def renew(cls, days):
        cls.cert.make(days)

    def test_expired(self):
        """While our certificate has expired nothing is sent, and the operator is told so; once he has replaced the file and
        reloaded each request goes on, and is issued once."""
        self.enroll("before")
        waiting = ["waiting"] if self.hold else []
        for name in waiting:
            self.hold()
            self.enroll(name, code=3)
            self.wait_state(name, "waiting")
        self.ca.proxy.reset()
        self.page.shift_clock(2 * DAY)
        self.enroll("late", code=3)
        self.wait_for(lambda: "has expired on" in (self.request("late")["reason"] or ""))
        self.assertEqual(self.state("late"), "ordered")
        self.check_told()
        self.gw.stop()
        with sqlite3.connect(self.gw.path("state/scepter.db")) as db:  # as after many tries
            db.execute("UPDATE request SET next_at = next_at + 600 WHERE state IN ('ordered', 'waiting') AND failures > 0")
        self.gw.start()
        for name in ["late"] + waiting:
            self.enroll(name, "--poll", code=3)
        self.assertEqual(self.ca.proxy.bodies, [])
        self.assertEqual(self.ca.issued("late"), 0)
        self.renew(60)
        if self.release:
            self.release()
        self.gw.reload()
        for name in ["late"] + waiting:
            self.collect(name)
            self.verify(name)
            self.assertEqual(self.ca.issued(name), 1)
        self.assertIn(": ok", self.command("test", "plant").stdout.decode())

    def command(self, *words):
        return self.gw.cli("upstream", *words, check=False, env={**os.environ, **self.page.env})

    def check_told(self):
        """By upstream list and test, the log, and the metrics."""
        tested = self.command("test", "plant")
        self.assertEqual(tested.returncode, 3)
        self.assertIn(b"has expired on", tested.stderr)
        self.assertRegex(self.command("list").stdout.decode(), r"plant .* expired ")
        self.wait_for(lambda: re.search(r'level=warn event=upstream about="plant" reason=".*has expired on', self.gw.log()))
        ends = self.gw.metric('certificate_not_after_seconds.role="upstream-client",name="plant"')
        self.assertTrue(time.time() < ends < time.time() + 2 * DAY)


class ToEst(Expired):
    make_ca = staticmethod(lambda: EstCa(client=True))

    @classmethod
    def ours(cls):
        return Ours(f"{cls.ca.client}/client", f"{cls.ca.client}/known", "/CN=client", CLIENT)

    def hold(self):
        self.ca.proxy.reset(answers(202, ("Retry-After", "7200")))


class ToScep(Expired):
    """The CA knows us by this one certificate, and has to be given the next one."""

    make_ca = SlowGateway
    strict = []

    @classmethod
    def ours(cls):
        return Ours(os.path.join(cls.gw.work("ra"), "ra"), None, "/CN=ra of the gateway", "subjectKeyIdentifier=hash")

    @classmethod
    def renew(cls, days):
        super().renew(days)
        cls.ca.gw.reload()

    def hold(self):
        self.ca.helper.hold("waiting")

    def release(self):
        self.ca.helper.release("waiting")


class ToCmp(Expired):
    make_ca = CmpCa

    @classmethod
    def ours(cls):
        return Ours(cls.ca.path("ra"), cls.ca.path("ca"), "/CN=our RA",
                    "keyUsage=critical,digitalSignature\nextendedKeyUsage=1.3.6.1.5.5.7.3.28\nsubjectKeyIdentifier=hash\n"
                    "authorityKeyIdentifier=keyid")


class Double(Expired):
    """The doubles know us by a certificate of their root."""

    @classmethod
    def ours(cls):
        return Ours(cls.ca.ca.path("client"), cls.ca.ca.path("root"), "/O=Double/CN=client", CLIENT)


class ToEjbca(Double):
    make_ca = EjbcaCa

    def hold(self):
        self.ca.double.approval = True

    def release(self):
        self.ca.double.approval = False
        self.ca.double.decide("approved")


class ToVault(Double):
    make_ca = staticmethod(lambda: VaultCa("tls"))


class ToStepCa(Double):
    """Its clock goes with ours: tokens say when they were made."""

    make_ca = staticmethod(lambda: StepCa(how="x5c"))

    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        double_stepca.time = types.SimpleNamespace(time=lambda: time.time() + cls.page.shifted)

    @classmethod
    def ours(cls):
        return Ours(cls.ca.ca.path("x5c"), cls.ca.ca.path("root"), "/O=Double/CN=x5c",
                    f"{CLIENT}\nkeyUsage=critical,digitalSignature")


del Expired, Double  # no kinds of their own


if __name__ == "__main__":
    unittest.main(verbosity=2)
