"""What lasts for hours and days, by a clock that the test moves: an outage of a CA, and requests that wait at one. What each
kind of CA did is printed as a table."""
import calendar
import email.utils
import json
import os
import re
import time
import unittest

import faults
from debug import DebugPage
from faults import answers, changed
from flow_upstream_acme import FINALIZE, NEW_ORDER, ORDER, AcmeTest, Pebble
from flow_upstream_cmp import P10CR, CmpCa
from flow_upstream_ejbca import EjbcaCa
from flow_upstream_est import EstCa
from flow_upstream_exec import LocalSubmit
from flow_upstream_scep import SecondGateway
from upstream import PATIENT, UpstreamTest

MINUTE, HOUR, DAY = 60, 3600, 86400
ROWS = [("kind", "it has us wait by", "days", "restarts", "orders", "certificates"),
        ("local", "nothing: it issues at once", "-", "-", "-", "-"),
        ("vault", "nothing: it issues or refuses", "-", "-", "-", "-"),
        ("stepca", "nothing: it issues or refuses", "-", "-", "-", "-")]


def tearDownModule():
    widths = [max(len(str(row[i])) for row in ROWS) for i in range(len(ROWS[0]))]
    print()
    for row in ROWS:
        print("  ".join(str(word).ljust(width) for word, width in zip(row, widths)).rstrip())


class ByTheClock(UpstreamTest):
    limits = PATIENT

    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        cls.page = DebugPage(os.path.join(gw.top, "page"))
        gw.env = cls.page.env

    def setUp(self):
        self.begin()
        self.page.shift_clock(0)

    def enroll(self, name, *flags, **how):
        how.setdefault("secret", self.gw.challenge("--ttl", "90d"))
        return super().enroll(name, *flags, **how)

    def restart(self, how=9):
        self.gw.stop(how)
        self.gw.start()

    def collect(self, name):
        """The device polls until it has its certificate."""
        self.wait_state(name, "issued", 60)
        self.enroll(name, "--poll")

    @staticmethod
    def times(request):
        """When the CA last said something of it, and when it is asked again: seconds since 1970 by the gateway's clock."""
        return tuple(calendar.timegm(time.strptime(request[what], "%Y-%m-%dT%H:%M:%SZ")) for what in ("updated", "next_at"))

    def check_next(self, name, least, most):
        """The CA is asked again after so many seconds, give or take those between two looks at the clock."""
        said, at = self.times(self.request(name))
        self.assertTrue(least - 5 <= at - said <= most + 5, f"{name}: {at - said}")

    def left(self, request):
        """Seconds until the CA is asked again."""
        return self.times(request)[1] - time.time() - self.page.shifted

    def left_alone(self, name, seconds):
        """Whether the CA is asked again after more than so many seconds only: it is not being asked now."""
        return self.left(self.request(name)) > seconds

    def wait_by_steps(self, names):
        """The clock goes on to where the CA is asked again, as often as that takes."""
        end = time.monotonic() + 300
        while True:
            requests = [self.request(name) for name in names]
            lefts = [self.left(request) for request in requests if request["state"] != "issued"]
            if not lefts:
                return
            self.assertLess(time.monotonic(), end, requests)
            if min(lefts) > 1:
                self.page.shift_clock(self.page.shifted + int(max(lefts)) + 1)
            time.sleep(0.1)


class SlowGateway(SecondGateway):
    """A second gateway that has devices wait, by SCEP's PENDING, as long as the helper does that is its CA."""

    def configure(self, gw, more=""):
        self.helper = LocalSubmit()
        self.helper.configure(self.gw)
        self.root = os.path.join(self.gw.top, "roots.pem")
        self.chain = self.helper.chain
        with open(self.root, "w", encoding="ascii") as out:
            for path in (self.gw.root, self.gw.path("ca/issuing.pem"), self.helper.root):
                with open(path, encoding="ascii") as file:
                    out.write(file.read())
        super().configure(gw, more)


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
            if minute == 30:  # who is killed while it asks a CA does not know whether it was heard
                self.wait_for(lambda: all(self.left_alone(name, 10) for name in names), 120)
                self.restart()
        self.ca.proxy.start()
        self.wait_by_steps(names)
        for name in names:
            self.collect(name)
            self.verify(name)
            self.assertEqual(self.ca.issued(name), 1)
        self.assertEqual(self.ca.proxy.asked, len(names))


class OutageOfScep(Outage):
    make_ca = SecondGateway


class Days(ByTheClock):
    """A request waits at the CA for days. Each kind has a class below: hold makes it wait, and release ends that; polls says how
    often the CA was asked again, and orders how many requests it counts."""

    means = None
    device = "slow"
    flags = ()

    def hold(self):
        raise NotImplementedError

    def release(self):
        raise NotImplementedError

    def polls(self):
        return self.ca.proxy.asked

    def orders(self):
        raise NotImplementedError

    def certificates(self):
        return self.ca.issued(self.device)

    def ask(self, *flags, code=0):
        return self.enroll(self.device, *self.flags, *flags, code=code)

    def wait_polled(self, before):
        self.wait_for(lambda: self.polls() > before, 60)

    def test_days(self):
        """The device hears PENDING for days, over restarts of the gateway, half of them by kill -9, and gets its certificate when
        the CA issues: one, and the CA has had one order."""
        self.hold()
        self.ask(code=3)
        self.wait_state(self.device, "waiting")
        for day in range(1, 5):
            self.gw.stop(9 if day % 2 else 15)
            before = self.polls()
            self.page.shift_clock(day * DAY)
            self.gw.start()
            self.wait_polled(before)
            self.ask("--poll", code=3)
            self.assertEqual(self.state(self.device), "waiting")
        self.assertEqual(self.certificates(), 0)
        self.release()
        self.wait_by_steps([self.device])
        self.ask("--poll")
        self.verify(self.device)
        self.assertEqual((self.orders(), self.certificates()), (1, 1))
        self.gw.cli("audit", "verify")
        kind = next(u["type"] for u in json.loads(self.gw.cli("upstream", "list", "--json").stdout) if u["type"] != "local")
        ROWS.append((kind, self.means, 4, 4, self.orders(), self.certificates()))


class AtEst(Days):
    make_ca = EstCa
    means = "202 and Retry-After, to which the same POST is the answer"

    def hold(self):
        self.ca.proxy.reset(*[answers(202, ("Retry-After", "7200"))] * 100)

    def release(self):
        with self.ca.proxy.lock:
            self.ca.proxy.plan.clear()

    def polls(self):
        return len(self.ca.proxy.bodies)

    def orders(self):
        """The identical POST is one order."""
        self.assertEqual(self.ca.proxy.asked, 1)
        return len(set(self.ca.proxy.bodies))

    def test_wishes(self):
        """Retry-After is kept within a second and a day, whatever it says: a number, a date, or nonsense."""
        date = email.utils.formatdate
        day, soon = (DAY - MINUTE, DAY), (0, MINUTE)
        wishes = {"date": (date(time.time() + 7200, usegmt=True), (7000, 7200)),
                  "two-hours": ("7200", (7100, 7200)), "year": ("31536000", day), "huge": ("9" * 30, day), "zero": ("0", soon),
                  "negative": ("-86400", soon), "words": ("in a while", soon), "empty": ("", soon),
                  "past": (date(time.time() - 7200, usegmt=True), soon),
                  "far-date": (date(time.time() + 400 * DAY, usegmt=True), day)}
        self.page.shift_clock(0)
        for name, (wish, (least, most)) in wishes.items():
            self.ca.proxy.reset(*[answers(202, ("Retry-After", wish))] * 100)
            self.enroll(name, code=3)
            self.wait_state(name, "waiting")
            self.check_next(name, least, most)
        self.ca.proxy.reset()
        self.wait_by_steps(list(wishes))
        for name in wishes:
            self.collect(name)
            self.assertEqual(self.ca.issued(name), 1)


class AtScep(Days):
    make_ca = SlowGateway
    means = "PENDING, to which CertPoll is the answer"
    strict = []

    def hold(self):
        self.ca.helper.hold(self.device)

    def release(self):
        self.ca.helper.release(self.device)

    def orders(self):
        """One transaction; the helper behind the CA has had one request."""
        txns = {re.search(rb"\x13.([0-9a-fA-F]{32,})", body)[1] for body in self.ca.proxy.bodies}
        self.assertEqual(len(txns), 1)
        asked = [line[0] for line in self.ca.helper.asked(self.device)]
        self.assertEqual((asked[0], set(asked[1:])), ("SUBMIT", {"POLL"}))
        return sum(request["subject"] == f"CN={self.device}" for request in self.ca.gw.requests())


class AtCmp(Days):
    make_ca = CmpCa
    means = "waiting and pollRep, to which pollReq is the answer"

    def hold(self):
        self.ca.mode("wait 1000")
        self.ca.write("after", "7200")

    def release(self):
        self.ca.mode("wait 0")
        self.ca.write("after", "1")

    def orders(self):
        return self.ca.asked(P10CR)

    def test_wishes(self):
        """checkAfter is kept within a second and a day, whatever it says."""
        self.page.shift_clock(0)
        for name, after, least, most in (("two-hours", 7200, 7100, 7200), ("year", 31536000, DAY - MINUTE, DAY), ("zero", 0, 0, MINUTE),
                                         ("negative", -86400, 0, MINUTE), ("huge", 2**62, 0, DAY)):
            self.ca.mode("wait 1000")
            self.ca.write("after", str(after))
            self.enroll(name, code=3)
            self.wait_state(name, "waiting")
            self.check_next(name, least, most)


class AtAcme(Days, AcmeTest):
    make_ca = Pebble
    limits = PATIENT
    means = "an order that is pending or processing, which is read again"
    device = "slow.example.com"
    flags = ("--san", "dns:slow.example.com")

    def answer_orders(self, change):
        """Whoever reads an order is told something else; a rejected nonce is not what is meant."""
        told = changed("another order", lambda status, headers, body: change(headers, body) if status == 200 else (status, headers, body))
        self.ca.proxy.next = lambda path: told if ORDER in path else faults.PASS

    def hold(self):
        self.answer_orders(lambda headers, body: (200, headers, json.dumps({**json.loads(body), "status": "processing"}).encode()))

    def release(self):
        self.ca.proxy.next = lambda path: faults.PASS

    def polls(self):
        return sum(ORDER in path for path, _ in self.ca.proxy.paths)

    def orders(self):
        return sum(NEW_ORDER in path and status == 201 for path, status in self.ca.proxy.paths)

    def certificates(self):
        return self.ca.finalized()

    def test_forgotten(self):
        """An order that the CA does not know any more is asked for until its time is over; then the device is refused, and the
        operator reads why."""
        self.page.shift_clock(0)
        gone = json.dumps({"type": "urn:ietf:params:acme:error:malformed", "detail": "no order"}).encode()
        self.answer_orders(lambda headers, body: (404, [("Content-Type", "application/problem+json")], gone))
        self.addCleanup(self.release)
        self.enroll("lost.example.com", "--san", "dns:lost.example.com", code=3)
        self.wait_for(lambda: "404" in (self.request("lost.example.com")["reason"] or ""), 90)
        self.assertEqual(self.state("lost.example.com"), "waiting")
        self.page.shift_clock(40 * DAY)
        self.wait_state("lost.example.com", "refused", 60)
        self.assertIn("does not know the order any more, which was good until", self.request("lost.example.com")["reason"])
        self.enroll("lost.example.com", "--poll", code=2)

    def test_finalized_and_forgotten(self):
        """The same of orders that were finalized, whether that was answered or not: the CA may have issued, so an operator must
        look, and nothing is ordered again until then."""
        self.page.shift_clock(0)
        gone = json.dumps({"type": "urn:ietf:params:acme:error:malformed", "detail": "no order"}).encode()
        lost = changed("no order", lambda *_: (404, [("Content-Type", "application/problem+json")], gone))
        names = {"answered.example.com": changed("not issued yet", self.work_on),
                 "unheard.example.com": changed("reply lost", self.lose_good)}
        self.addCleanup(self.release)
        orders = self.orders()
        for name, fault in names.items():
            self.ca.proxy.next = lambda path, fault=fault: \
                fault if FINALIZE in path else lost if ORDER in path and self.was_finalized(path) else faults.PASS
            self.enroll(name, "--san", f"dns:{name}", code=3)
            self.wait_for(lambda name=name: "404" in (self.request(name)["reason"] or ""), 90)
            self.assertEqual(self.state(name), "waiting")
        for days in (40, 80):
            self.page.shift_clock(days * DAY)
            for name in names:
                self.wait_state(name, "suspect", 60)
                self.assertIn("see whether it issued", self.request(name)["reason"])
            time.sleep(2)
        self.assertEqual(self.orders(), orders + 2)
        for name in names:
            self.enroll(name, "--poll", code=3)
            self.gw.deny(self.request(name)["id"])

    @staticmethod
    def work_on(status, headers, body):
        """The CA may have issued before it answers."""
        if status == 200:
            body = json.dumps({**json.loads(body), "status": "processing", "certificate": None}).encode()
        return status, headers, body

    @staticmethod
    def lose_good(status, headers, body):
        """Not a rejected nonce: whoever does not hear of it tries again later and later."""
        if status == 200:
            raise ConnectionResetError
        return status, headers, body

    def was_finalized(self, order):
        return any(FINALIZE in path and path.endswith(order.rpartition("/")[2]) and status == 200 for path, status in self.ca.proxy.paths)


class AtEjbca(Days):
    make_ca = EjbcaCa
    means = "202, to which finalize is the answer"

    def hold(self):
        self.ca.proxy.only = "no faults"
        self.ca.double.approval = True

    def release(self):
        self.ca.double.decide("approved")

    def orders(self):
        return self.ca.double.enrolls.count(f"scepter-{self.request(self.device)['id']}")


class AtHelper(Days):
    make_ca = LocalSubmit
    means = "exit codes 1 and 5, to which POLL with its cookie is the answer"
    strict = []

    def hold(self):
        """Its cookie is a new one each time."""
        self.ca.hold(self.device, 'n=$(wc -l < "$STATE/asked.$name")', '[ "$n" = 1 ] && echo cookie-0 && exit 1',
                     "echo 7200", 'echo "cookie-$((n - 1))"', "exit 5")

    def ask(self, *flags, code=0):
        """A helper whose gateway is killed while it is asked would have told a cookie in vain."""
        said = super().ask(*flags, code=code)
        self.wait_for(lambda: self.state(self.device) == "issued" or self.left_alone(self.device, HOUR))
        return said

    def wait_polled(self, before):
        super().wait_polled(before)
        self.assertEqual(self.ca.asked(self.device)[before], ["POLL", f"cookie-{before - 1}"])

    def release(self):
        self.ca.release(self.device)

    def polls(self):
        return len(self.ca.asked(self.device))

    def orders(self):
        return sum(line == ["SUBMIT"] for line in self.ca.asked(self.device))

    def certificates(self):
        return sum(cert["subject"] == f"CN={self.device}" for cert in self.gw.certs())

    def test_wishes(self):
        """The helper's delay is kept within a second and a day, whatever it says."""
        self.page.shift_clock(0)
        for name, delay, least, most in (("two-hours", "7200", 7100, 7200), ("year", "31536000", DAY - MINUTE, DAY),
                                         ("huge", "9" * 30, DAY - MINUTE, DAY), ("negative", "-86400", 0, MINUTE),
                                         ("words", "in a while", 0, MINUTE)):
            self.ca.hold(name, f"echo '{delay}'", "echo cookie", "exit 5")
            self.enroll(name, code=3)
            self.wait_state(name, "waiting")
            self.check_next(name, least, most)


del Days  # no kind of its own


if __name__ == "__main__":
    unittest.main(verbosity=2)
