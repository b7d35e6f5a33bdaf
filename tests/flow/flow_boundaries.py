"""kill -9 at every boundary of a request's way, with every kind of upstream CA: nothing is lost, nothing issued twice.

Prints what each kind guarantees as a table, which docs/upstreams.md shows; with WRITE_DOCS in the environment it is
written there.
"""
import contextlib
import itertools
import os
import re
import sqlite3
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from cas import CAS
from debug import DebugPage
from gateway import Gateway

DOCS = os.path.join(os.path.dirname(__file__), "../../docs/upstreams.md")
BOUNDARIES = {
    "prepared": "handle made",
    "ordered": "ordered",
    "claimed": "before sending",
    "exchanged": "after an exchange",
    "answered": "answer understood",
    "recorded": "certificate recorded",
    "confirmed": "certificate confirmed",
    "written": "outcome written",
}
EXCHANGES_MAX = 20  # of one request with its CA
VAIN = 3  # times that a CA is asked what became of a request
PATIENCE = 180
ROUND_SECONDS = 700  # longer than any pause of ours
LIMITS = "    limits: {wait: 15s, deadline: 30s}\n    breaker: {failures: 100, open: 1s}"  # nothing here waits for these to pass


class Kind:
    """One kind of CA, its gateway, and what was seen."""

    def __init__(self, name):
        self.name = name
        self.gw, self.ca = Gateway(), CAS[name]()
        self.page = DebugPage(os.path.join(self.gw.top, "page"))
        self.gw.env = self.page.env
        self.cells = {}
        self.faults = []

    def close(self):
        self.ca.close()
        self.gw.close()

    def device(self, name, secret):
        """One attempt of a device, which has the same key every time; whether it got its certificate."""
        key = os.path.join(self.gw.work("devices"), f"{name}.key")
        have = ["--key" if os.path.exists(key) else "--key-out", key]
        san = ["--san", f"dns:{name}"] if self.name == "acme" else []  # as public CAs want it
        result = self.gw.scep_client("--subject", f"/CN={name}", "--out", f"{key}.pem", *have, *san, secret=secret, check=False)
        return result.returncode == 0

    def request(self, name):
        return next((r for r in self.gw.requests() if r["subject"] == f"CN={name}"), None)

    def died(self):
        return self.gw.process.poll() is not None

    def is_over(self):
        """Of a request whose device has its certificate: nothing is left to do, and the gateway lives."""
        end = time.monotonic() + PATIENCE
        while not self.died() and time.monotonic() < end:
            if not self.rows("confirm = 1 OR lease_until > 1"):
                return not self.died()
            time.sleep(0.1)
        return False

    def rows(self, which, *values):
        with contextlib.closing(sqlite3.connect(f"file:{self.gw.path('state/scepter.db')}?mode=ro", uri=True, timeout=20)) as db:
            return db.execute(f"SELECT reason, attempt FROM request WHERE {which}", values).fetchall()

    def ask(self, name, secret, until):
        """The device asks until it has its certificate, or until(); time passes quickly. Whether it has it."""
        end = time.monotonic() + PATIENCE
        for i in itertools.count():
            self.page.shift_clock(i * ROUND_SECONDS)
            if self.device(name, secret):
                return True
            if until(name) or time.monotonic() > end:
                return False
            time.sleep(1.2)  # the store is swept every second

    def given_up(self, name):
        """Its CA cannot say what became of it, or was asked often enough."""
        for reason, attempt in self.rows("subject = ? AND state = 'suspect' AND lease_until <= 1", f"CN={name}"):
            self.seen = attempt if self.seen is None else self.seen
            return "cannot say what became of it" in reason or attempt >= self.seen + VAIN
        return False

    def be_quiet(self):
        """What a gateway asks by itself at its start is over: it would be taken for an exchange of the request's."""
        count, end = -1, time.monotonic() + 30
        while count != len(self.ca.proxy.notes) and time.monotonic() < end:
            count = len(self.ca.proxy.notes)
            time.sleep(1.5)

    def stop_and_go(self, boundary, skip):
        """kill -9 there, and a new start; what became of the request, or None if it does not come there."""
        name = f"{boundary}-{skip}.example.com"
        secret = self.gw.challenge()
        if hasattr(self.ca, "proxy") and self.ca.proxy:
            self.be_quiet()
            self.ca.proxy.reset()
        self.page.stop_at(boundary, skip)
        if self.ask(name, secret, lambda _: self.died()) and self.is_over():
            return None
        self.page.stop_at()
        if not self.died():
            return self.fault(name, f"neither there nor at an end: {self.request(name)}")
        if self.gw.process.returncode != -9:
            return self.fault(name, f"the gateway ended with {self.gw.process.returncode}")
        self.gw.start()
        self.seen = None  # how often it was tried when it was suspect first
        outcome = self.judge(name, self.ask(name, secret, self.given_up))
        if outcome == "suspect":  # what it still asks is not for the next one to count
            self.gw.deny(self.request(name)["id"])
        return outcome

    def judge(self, name, have):
        issued, request = self.ca.issued(name), self.request(name)
        if issued > 1 or (have and issued != 1):
            return self.fault(name, f"the CA issued {issued} times")
        if have:
            return "once"
        if not request or request["state"] != "suspect":
            return self.fault(name, f"lost: {request}")
        return "suspect"

    def fault(self, name, text):
        self.faults.append(f"{self.name}, {name}: {text}\n{self.gw.log()[-700:]}")
        return "FAULT"

    def run(self):
        self.ca.configure(self.gw, LIMITS)
        self.gw.start()
        for boundary in BOUNDARIES:
            seen = []
            for skip in range(EXCHANGES_MAX if boundary == "exchanged" else 1):
                outcome = self.stop_and_go(boundary, skip)
                self.page.stop_at()
                if not outcome:
                    break
                seen.append(outcome)
            self.cells[boundary] = " or ".join(sorted(set(seen))) or "-"
        return self


def run(name):
    kind = Kind(name)
    try:
        return kind.run()
    finally:
        kind.close()


def table(kinds):
    rows = [["", *BOUNDARIES.values()], ["---"] * (len(BOUNDARIES) + 1)]
    rows += [[f"`{kind.name}`", *kind.cells.values()] for kind in kinds]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


class Boundaries(unittest.TestCase):
    maxDiff = None

    def test_boundaries(self):
        """Wherever the gateway dies: the device gets one certificate and the CA issues one; only of a CA that cannot say what
        became of a request it is suspect. The table in the documentation says so."""
        names = sys.argv[1:] or list(CAS)
        with ThreadPoolExecutor(2) as pool:
            kinds = list(pool.map(run, names))
        text = table(kinds)
        print("\n" + text, flush=True)
        self.assertFalse("\n\n".join(fault for kind in kinds for fault in kind.faults))
        if names != list(CAS):
            return
        with open(DOCS, encoding="utf-8") as file:
            docs = file.read()
        shown = re.search(r"(?<=<!-- boundaries -->\n).*?(?=<!-- end -->)", docs, re.S)
        if os.environ.get("WRITE_DOCS"):
            with open(DOCS, "w", encoding="utf-8") as file:
                file.write(docs[:shown.start()] + text + docs[shown.end():])
        else:
            self.assertEqual(shown.group(), text)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
