"""A CA that takes long: what devices hear of it at each door, and how many of them may wait for it."""
import os
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

import faults
from est_wire import Tls12, basic, make_csr, request
from flow_upstream_est import EstCa
from gateway import run
from upstream import UpstreamTest

WAIT = 40
AT_ONCE = 15  # on a busy machine


class Busy(UpstreamTest):
    make_ca = EstCa
    line = "inflight: 1, queue: 1"

    @classmethod
    def configure(cls, gw):
        cls.limits = f"    limits: {{wait: {WAIT}s, deadline: {WAIT + 4}s, {cls.line}}}\n    breaker: {{failures: 3, open: 60s}}"
        super().configure(gw)
        with open(gw.conf, "a", encoding="utf-8") as file:
            file.write("limits: {threads: 4}\n")

    def hang(self):
        """Whoever wants a certificate hears nothing."""
        self.ca.proxy.stick("simpleenroll", faults.HANG)

    def by_est(self, name):
        """status, Retry-After and the seconds that it took."""
        csr = make_csr(self.work, f"/CN={name}", key=f"{name}.key")
        start = time.monotonic()
        with Tls12(self.gw) as conn:
            status, headers, _ = conn.ask(request("simpleenroll", csr, basic(self.gw_secret)))
        return status, int(headers.get("Retry-After", 0)), time.monotonic() - start

    def by_scep(self, name):
        start = time.monotonic()
        self.enroll(name, code=3, secret=self.gw_secret)
        return time.monotonic() - start

    def heard_at_once(self, name):
        """By each door, a device that nobody knows and one that comes again hear that they shall come later, at once."""
        for again in (False, True):
            status, later, took = self.by_est(f"{name}-est")
            self.assertEqual(status, 202, again)
            self.assertGreaterEqual(later, 1)
            self.assertLess(took, AT_ONCE)
            self.assertLess(self.by_scep(f"{name}-scep"), AT_ONCE)
        for door in ("est", "scep"):
            self.assertEqual(self.state(f"{name}-{door}"), "ordered")

    def collect(self, *names):
        """When the CA answers again each gets its certificate, and the CA has issued one."""
        for name in names:
            self.wait_state(name, "issued", 90)
            self.assertEqual(self.ca.issued(name), 1)

    def setUp(self):
        super().setUp()
        self.gw_secret = self.gw.challenge("--uses", "100")


class Full(Busy):
    def test_full(self):
        """Where the line is full, who comes is told so at once, by SCEP and by EST, though others wait for the CA."""
        self.hang()
        devices = []
        for place in ("running", "waiting"):  # the second finds room when the first has left the line for the CA
            devices.append(self.start_device(f"in-line-{place}"))
            self.wait_for(lambda place=place: self.gw.metric(f'upstream_requests.upstream="plant",state="{place}"') == 1)
        self.heard_at_once("beyond")
        self.assertIn(None, [device.poll() for device in devices], "those in line may wait")
        for device in devices:
            device.kill()
            device.wait()
        self.ca.proxy.reset()
        self.ca.proxy.hang_up()
        self.collect("beyond-est", "beyond-scep")


class Waiting(Busy):
    line = "inflight: 8, queue: 100"

    def test_half(self):
        """Of four threads two at most wait for the CA; whoever else comes is told at once to come later, and other things go on."""
        self.hang()
        start = time.monotonic()
        with ThreadPoolExecutor(6) as pool:
            devices = [pool.submit(self.by_scep, f"wait-{i}") for i in range(6)]
            self.wait_for(lambda: len(self.gw.requests("--state", "ordered")) == 6)
            for _ in range(6):
                run("curl", "-fsS", "-m", AT_ONCE, "-o", os.devnull, f"{self.gw.scep_url}?operation=GetCACert")
            self.assertLess(time.monotonic() - start, WAIT - 1, "they would wait still")
        took = sorted(device.result() for device in devices)
        self.assertLess(took[3], AT_ONCE, took)
        self.assertGreater(took[5], WAIT - 1, took)


class Open(Busy):
    line = "inflight: 8, queue: 100"

    def test_open(self):
        """Where the CA has failed three times nobody waits for it, at no door."""
        self.ca.proxy.stop()
        try:
            for i in range(3):
                self.enroll(f"found-out-{i}", code=3)
            self.wait_for(lambda: self.gw.metric('upstream_breaker.upstream="plant",state="open"') == 1)
            self.heard_at_once("later")
        finally:
            self.ca.proxy.start()


if __name__ == "__main__":
    unittest.main(verbosity=2)
