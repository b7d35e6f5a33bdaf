"""What lasts for hours and days, by a clock that the test moves: an outage of a CA, and requests that wait at one."""
import os
import time
import unittest

from debug import DebugPage
from flow_upstream_cmp import CmpCa
from flow_upstream_est import EstCa
from flow_upstream_exec import LocalSubmit
from upstream import UpstreamTest

MINUTE, DAY = 60, 86400


class ByTheClock(UpstreamTest):
    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        cls.page = DebugPage(os.path.join(gw.top, "page"))
        gw.env = cls.page.env

    def setUp(self):
        self.work = self.gw.work(self.id().rsplit(".", 1)[1])
        self.page.shift_clock(0)

    def restart(self, how=9):
        self.gw.stop(how)
        self.gw.start()

    def collect(self, name):
        """The device polls until it has its certificate."""
        self.wait_state(name, "issued")
        self.enroll(name, "--poll")


class Outage(ByTheClock):
    make_ca = EstCa

    def test_hour(self):
        """Devices that hear PENDING during an outage of an hour, and of a gateway that restarts meanwhile, get their
        certificates by polling after it, each once."""
        names = [f"patient-{i}" for i in range(3)]
        self.ca.proxy.stop()
        for name in names:
            self.enroll(name, code=3)
        for minute in range(5, 61, 5):
            self.page.shift_clock(minute * MINUTE)
            for name in names:
                self.enroll(name, "--poll", code=3)
            if minute == 30:
                self.restart()
        self.ca.proxy.start()
        self.page.shift_clock(70 * MINUTE)
        for name in names:
            self.collect(name)
            self.verify(name)
            self.assertEqual(self.ca.issued(name), 1)
        self.assertEqual(self.ca.proxy.asked, len(names))


class DaysAtCmp(ByTheClock):
    make_ca = CmpCa

    def test_days(self):
        """A request that a CMP CA lets wait for days is polled across restarts and issued once."""
        self.ca.mode("wait 6")
        self.enroll("slow-ca", code=3)
        for day in range(1, 5):
            self.page.shift_clock(day * DAY)
            self.restart(9 if day % 2 else 15)
            self.enroll("slow-ca", "--poll", code=3)
        for day in range(5, 12):
            self.page.shift_clock(day * DAY)
            time.sleep(1.2)  # the store is swept every second
        self.collect("slow-ca")
        self.verify("slow-ca")
        self.assertEqual(self.ca.issued("slow-ca"), 1)


class DaysAtHelper(ByTheClock):
    make_ca = LocalSubmit

    def test_days(self):
        """A helper that says wait for days is asked with its cookie across restarts, and issues once."""
        self.ca.plan("slow-helper", "echo cookie-0", "exit 1")
        self.enroll("slow-helper", code=3)
        for day in range(1, 5):
            self.ca.plan("slow-helper", f"echo cookie-{day}", "exit 1")
            asked = len(self.ca.asked("slow-helper"))
            self.page.shift_clock(day * DAY)
            self.restart(9 if day % 2 else 15)
            self.wait_asked("slow-helper", asked + 1)
            self.enroll("slow-helper", "--poll", code=3)
        self.page.shift_clock(5 * DAY)
        self.collect("slow-helper")
        self.assertEqual([line[1:] for line in self.ca.asked("slow-helper")], [[]] + [[f"cookie-{day}"] for day in range(5)])

    def wait_asked(self, name, count):
        self.wait_for(lambda: len(self.ca.asked(name)) >= count)


if __name__ == "__main__":
    unittest.main(verbosity=2)
