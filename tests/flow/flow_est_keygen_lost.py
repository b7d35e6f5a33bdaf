"""serverkeygen with CAs that wait, when a restart has lost the key."""
import signal
import sqlite3
import time
import unittest

from faults import changed
from flow_est_keygen import Keygen
from flow_upstream_acme import ORDER, Pebble
from flow_upstream_acme_dns import DnsPebble
from flow_upstream_ejbca import EjbcaCa
from gateway import FlowTest
from http_corpus import wait_until


class Unfinished(Keygen):
    """CAs that issue only when they are asked once more: a key that a restart has lost ends its request, and the same
    challenge gets the device another key."""

    def have_come(self):
        """The CA makes the request wait."""
        return [r["state"] for r in self.gw.requests()] == ["waiting"]

    def stand_still(self):
        """Stopped while the request waits and the CA is not asked for it: what is killed while it asks is asked for again."""
        if not self.have_come():
            return False
        self.gw.process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        with sqlite3.connect(f"file:{self.gw.path('state/scepter.db')}?mode=ro", uri=True) as store:
            driven = store.execute("SELECT count(*) FROM request WHERE lease_until > 0").fetchone()[0]
        if driven:
            self.gw.process.send_signal(signal.SIGCONT)
            time.sleep(0.1)
        return not driven

    def lose(self, work, csr, user, meanwhile=lambda: None):
        """The process is killed while the request waits; what becomes of it."""
        status, _, body = self.call(work, csr, *user)
        self.assertEqual(status, 202, (body, self.gw.log()[-2000:]))
        self.assertTrue(wait_until(self.stand_still), self.gw.log()[-2000:])
        self.gw.stop(signal.SIGKILL)
        meanwhile()
        self.gw.start()
        self.assertTrue(wait_until(lambda: self.gw.requests()[-1]["state"] == "refused", 90), self.gw.log()[-2000:])
        self.assertIn("is lost", self.gw.requests()[-1]["reason"])

    def collect(self, work, csr, user):
        def ask():
            self.reply = self.call(work, csr, *user)
            return self.reply[0] != 202
        self.assertTrue(wait_until(ask, 180), self.gw.log()[-3000:])
        self.assertEqual(self.reply[0], 200, self.reply)
        self.check_key(work, self.take(work, self.reply))
        self.assertEqual([bool(c["revoked_at"]) for c in self.gw.certs()], [False])
        self.assertEqual(sorted(r["state"] for r in self.gw.requests()), ["issued", "refused"])


class WaitingEjbca(Unfinished, FlowTest):
    @classmethod
    def configure(cls, gw):
        cls.ca = EjbcaCa()
        cls.addClassCleanup(cls.ca.close)
        cls.ca.configure(gw, "    limits: {wait: 3s, deadline: 20s}\n    breaker: {failures: 100, open: 1s}")
        gw.edit(r"(labels: \[[^]]*\],)", r"\1 keygen: allow,")

    def test_lost(self):
        """Before EJBCA's administrators approve it: then nothing is finalized for the key that is lost"""
        work, double = self.gw.work("unapproved"), self.ca.double
        csr, user = self.make_csr(work, "/CN=unapproved"), self.user()
        double.approval = True
        self.lose(work, csr, user)
        double.decide("approved")
        double.approval = False
        self.collect(work, csr, user)
        self.assertEqual(self.ca.issued("unapproved"), 1)


class WaitingAcme(Unfinished, FlowTest):
    @classmethod
    def configure(cls, gw):
        cls.ca = Pebble()
        cls.addClassCleanup(cls.ca.close)
        cls.ca.configure(gw, "    limits: {wait: 3s, deadline: 20s}\n    breaker: {failures: 100, open: 1s}")
        gw.edit(r"(labels: \[[^]]*\],)", r"\1 keygen: allow,")

    def test_lost(self):
        """Before the order is finalized: then it never is"""
        work = self.gw.work("unfinished")
        csr = self.make_csr(work, "/CN=unfinished.example.com", "-addext", "subjectAltName=DNS:unfinished.example.com")
        user = self.user()

        def waits(status, headers, body):
            return status, headers, body.replace(b'"ready"', b'"pending"')

        self.ca.proxy.plan_at(ORDER, *[changed("waits", waits)] * 5000)
        self.lose(work, csr, user)
        self.assertEqual(self.ca.finalized(), 0)
        self.ca.proxy.reset()
        self.collect(work, csr, user)
        self.assertEqual(self.ca.finalized(), 1)


class LateDns(DnsPebble):
    delay = "10m"  # until the process is killed


class WaitingDns(Unfinished, FlowTest):
    @classmethod
    def configure(cls, gw):
        cls.ca = LateDns()
        cls.addClassCleanup(cls.ca.close)
        cls.ca.configure(gw, "    limits: {wait: 3s, deadline: 20s}\n    breaker: {failures: 100, open: 1s}")
        gw.edit(r"(labels: \[[^]]*\],)", r"\1 keygen: allow,")

    def have_come(self):
        """The command has set it."""
        return self.ca.calls("record.example.com") and super().have_come()

    def test_lost(self):
        """While its record of dns-01 gets there: the record is taken away, and the order is never finalized"""
        work = self.gw.work("record")
        csr = self.make_csr(work, "/CN=record.example.com", "-addext", "subjectAltName=DNS:record.example.com")
        user = self.user()
        self.lose(work, csr, user, lambda: self.gw.edit("delay: 10m", "delay: 1s"))
        self.assertEqual([action for action, _ in self.ca.calls("record.example.com")], ["present", "cleanup"])
        self.assertEqual(self.ca.finalized(), 0)
        self.collect(work, csr, user)
        self.assertEqual(self.ca.finalized(), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
