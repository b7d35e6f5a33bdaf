"""What networks and CAs do on bad days, at every exchange of one kind of CA: `flow_upstream_faults.py KIND`.

Every fault of the order befalls a device of its own. In the end it has the one certificate that the CA issued, or the request is
refused, or it is suspect: never are two issued. Whatever befalls other exchanges, the request waits, and is issued once when it is
over. The tables in docs/upstreams.md say so; with WRITE_DOCS in the environment the kind's part of them is written there.
"""
import base64
import math
import os
import re
import sqlite3
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

import faults
from debug import DebugPage
from est_wire import Tls12, basic, make_csr, request
from faults import SECRET_TEXT, answers
from gateway import Gateway, run
from ways import WAYS
from wrong_certs import Authority

DOCS = os.path.join(os.path.dirname(__file__), "../../docs/upstreams.md")
# A device is told what came of the first exchange: it waits longer than that may take, and that is long for a busy machine.
LIMITS = "    limits: {wait: 15s, deadline: 10s}\n    breaker: {failures: 1000, open: 1s}"
LATER, LONG = 2, 8  # seconds of Retry-After
PATIENCE = 180
AT_A_TIME = 14  # benches
FAR = 100000  # seconds: an operator is waited for
# What was sent at the same time is there before the answer, after which nobody comes too early.
BUSY, LONG_BUSY = ([faults.Fault(str(status), False, status, [("Retry-After", str(later))], delay=0.5) for status in (429, 503)]
                   for later in (LATER, LONG))
CONNECTIONS = [faults.REFUSED, faults.CUT, faults.EARLY]
EXCHANGES = [faults.REFUSE, faults.WITHIN, faults.LOSE, faults.HEAD, faults.HALF, faults.TWICE, faults.SLOW, faults.EMPTY,
             faults.GARBAGE, faults.HANG, faults.HANG_AFTER]
STATUSES = BUSY + [answers(status) for status in (503, 500, 401)]
MISTAKES = {"another key": Authority.wrong_key, "another subject": Authority.wrong_subject, "a SAN more": Authority.added_san,
            "an expired certificate": Authority.expired, "a serial number seen before": Authority.serial_again,
            "no chain in the answer": Authority.no_chain, "a chain known nowhere": Authority.orphan}
ISSUES = faults.changed("another certificate", None)


def title(fault):
    if not fault.status:
        return fault.name
    return f"{fault.status} with Retry-After" if later(fault) else str(fault.status)


def later(fault):
    """Seconds after which it may be asked again; 0 if it says none."""
    return int(dict(fault.headers).get("Retry-After", 0))


class Device:
    """Asks by EST, which shows what it hears."""

    def __init__(self, bench, name):
        self.bench, self.name = bench, name
        self.work = bench.gw.work("devices")
        self.csr = make_csr(self.work, f"/CN={name}", extensions=[f"subjectAltName = DNS:{name}"], key=f"{name}.key")
        self.seen = None  # how often it was tried when it was suspect first
        self.heard = None  # at first

    def ask(self):
        """certificate, later, or the status. Nothing of what a CA says to us is for a device."""
        with Tls12(self.bench.gw) as conn:
            status, headers, self.body = conn.ask(request("simpleenroll", self.csr, basic(self.bench.secret)))
        said = {200: "certificate", 202: "later"}.get(status, str(status))
        self.heard = self.heard or said
        self.bench.check(status != 401 and SECRET_TEXT.encode() not in self.body, f"{self.name} hears {status} {self.body}")
        self.bench.check(status != 202 or int(headers["Retry-After"]) >= 1, f"{self.name} hears 202 {headers}")
        return said

    def row(self):
        with sqlite3.connect(f"file:{self.bench.gw.path('state/scepter.db')}?mode=ro", uri=True, timeout=20) as db:
            db.row_factory = sqlite3.Row
            rows = db.execute("SELECT * FROM request WHERE subject = ?", (f"CN={self.name}",)).fetchall()
        self.bench.check(len(rows) == 1, f"{self.name} has {len(rows)} requests")
        return rows[0]

    def idle(self, row):
        return row["lease_until"] <= time.time() + self.bench.shift

    def lost(self, row):
        """Nobody but an operator can say: the CA cannot, or has been asked twice in vain."""
        if row["state"] != "suspect" or not self.idle(row):
            return False
        self.seen = self.seen or row["attempt"]
        return row["attempt"] >= self.seen + 2 or row["next_at"] > time.time() + FAR

    def settle(self, hurry=True):
        """Its request has come to an end, which is told."""
        end = time.monotonic() + PATIENCE
        while True:
            row = self.row()
            if row["state"] in ("issued", "refused"):
                return row["state"]
            if self.lost(row):
                return "suspect"
            if time.monotonic() > end:
                return f"nowhere: {row['state']}, {row['reason']}"
            if self.idle(row) and (hurry or self.bench.is_far(row)):
                self.bench.hurry(row["next_at"])
            time.sleep(0.1)

    def end(self, hurry=True):
        """once, refused or suspect, when that is true."""
        state, bench = self.settle(hurry), self.bench
        said = self.heard if state == "refused" else self.ask()  # who is refused and asks again asks anew
        issued = bench.way.ca.issued(self.name)
        bench.check(issued <= 1, f"{self.name}: the CA issued {issued} times")
        if state == "suspect":
            bench.gw.deny(self.row()["id"])  # what it asks would meet the next one's fault
        if state == "issued":
            bench.check(said == "certificate" and issued == 1, f"{self.name} is issued, the CA issued {issued}, the device hears {said}")
            self.verify()
        else:
            told = {"suspect": "later", "refused": "later" if bench.way.after else "403"}
            bench.check(said == told.get(state), f"{self.name} is {state}, the device hears {said}")
            bench.check(not self.certificate(), f"{self.name} is {state} and has a certificate")
        return "once" if state == "issued" else state

    def certificate(self):
        with sqlite3.connect(f"file:{self.bench.gw.path('state/scepter.db')}?mode=ro", uri=True, timeout=20) as db:
            return db.execute("SELECT serial FROM cert WHERE subject = ?", (f"CN={self.name}",)).fetchone()

    def verify(self):
        """The certificate that the device got is for its key and of the CA."""
        ca, pem = self.bench.way.ca, os.path.join(self.work, f"{self.name}.pem")
        text = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(self.body)).stdout
        with open(pem, "wb") as file:
            file.write(text)
        run("openssl", "verify", "-CAfile", ca.root, "-untrusted", ca.chain, pem)
        key = run("openssl", "pkey", "-in", f"{self.name}.key", "-pubout", cwd=self.work).stdout
        self.bench.check(run("openssl", "x509", "-in", pem, "-noout", "-pubkey").stdout == key, f"{self.name} has another's certificate")


class Bench:
    """One kind of CA, a gateway in front of it, and what was seen."""

    def __init__(self, kind):
        self.kind, self.way = kind, WAYS[kind](kind)
        self.gw = Gateway()
        self.page = DebugPage(os.path.join(self.gw.top, "page"))
        self.gw.env = self.page.env
        self.proxy = self.way.ca.proxy
        self.shift = self.devices = 0
        self.since = time.monotonic()
        self.wrong = []
        self.rows = []  # fault, exchange, heard, ended, orders, issued
        self.way.ca.configure(self.gw, LIMITS)

    def close(self):
        self.way.ca.close()
        self.gw.close()

    def check(self, true, text):
        if not true:
            self.wrong.append(text + "\n" + self.gw.log()[-1000:])

    def set_clock(self, shift):
        self.shift = shift
        self.way.set_clock(shift)  # before anything is due by ours
        self.page.shift_clock(shift)

    def hurry(self, until):
        """The gateway's clock goes forward to that time."""
        shift = until - int(time.time()) + 1
        if self.shift < shift < FAR:
            self.set_clock(shift)

    def start(self):
        """Of a gateway that knows nothing of the CA."""
        self.gw.stop()
        for name in os.listdir(self.gw.path("state")):
            os.remove(self.gw.path("state", name))
        self.gw.start()
        self.secret = self.gw.challenge("--uses", "1000")

    def start_quietly(self):
        """The same; what it asks by itself at its start is over, and is no part of a plan."""
        self.proxy.reset()
        self.start()
        end = time.monotonic() + PATIENCE
        while not self.way.known(self.gw):
            if time.monotonic() > end:
                raise AssertionError(f"{self.kind}: no sign of life\n{self.gw.log()[-3000:]}")
            time.sleep(0.05)

    def begin(self, *plan):
        """The next device, and the faults that it meets."""
        self.check_patience()
        self.proxy.reset(*plan)
        self.set_clock(0)
        self.way.begin()
        return self.begin_next()

    def begin_next(self):
        """Another device beside the one before."""
        self.devices += 1
        return Device(self, f"{self.kind}-{self.devices}.example.com")

    def check_patience(self):
        """Who was told to come later did not come before."""
        for note in self.proxy.notes:
            if note.answered and later(note.fault):
                early = [n for n in self.proxy.notes
                         if n.path == note.path and note.answered < n.at < note.answered + later(note.fault)]
                self.check(not early, f"{note.path} was asked again after {[n.at - note.answered for n in early]} s")

    def tell(self, fault, exchange, device, ended):
        self.rows.append((fault, exchange, device.heard if device else "", ended, self.way.orders() if device else "",
                          self.way.ca.issued(device.name) if device else ""))
        now = time.monotonic()
        print(" | ".join(f"{str(word):{width}}" for word, width in zip((*self.rows[-1], round(now - self.since, 1)), (44, 20, 12, 10, 2, 2, 4))), flush=True)
        self.since = now

    def count(self, device, fault, ended):
        """What the CA was asked for, and issued, is exactly what that fault explains."""
        orders, issued = self.way.orders(), self.way.ca.issued(device.name)
        self.check(orders == self.way.expected(fault, ended), f"{device.name}, {title(fault)}: the CA took {orders} orders")
        self.check(issued == self.way.issues(fault, ended), f"{device.name}, {title(fault)}: the CA issued {issued} times")

    def finish(self, device, fault, ended):
        """Nothing is left to be told to the CA of what was issued: it would take the next one's fault."""
        end = time.monotonic() + PATIENCE
        while ended == "once" and not self.way.over(device.name) and time.monotonic() < end:
            if not later(fault):
                self.hurry(device.row()["next_at"])
            time.sleep(0.1)
        self.check(ended != "once" or self.way.over(device.name), f"{device.name}, {title(fault)}: the CA was not told")

    def order(self, fault):
        """The exchange that issues."""
        if title(fault) in self.way.none or (fault is faults.CUT and not self.way.tls):
            return self.tell(title(fault), "order", None, self.way.none.get(title(fault), "n/a: plain HTTP"))
        device = self.begin(*([] if fault in CONNECTIONS else [fault]))
        self.way.befall(device.name, title(fault))
        if fault in CONNECTIONS and self.way.after:
            self.proxy.arm(fault, self.way.after)
        elif fault in CONNECTIONS:
            self.proxy.strike(fault)
        device.ask()
        if fault is faults.REFUSED:
            self.check(device.heard == "later", f"{device.name} hears {device.heard}")
            self.listen_again(device)
        ended = device.end(not later(fault))
        self.check(self.happened(), f"{title(fault)} did not happen")
        self.count(device, fault, ended)
        self.finish(device, fault, ended)
        return self.tell(title(fault), "order", device, ended)

    def happened(self):
        return not self.proxy.plan and not self.proxy.connections and not self.proxy.trap

    def listen_again(self, device):
        """When it has been tried in vain."""
        end, tried = time.monotonic() + PATIENCE, None
        while True:
            row = device.row()
            if self.happened() and device.idle(row):
                tried = row["attempt"] if tried is None else tried
                if row["attempt"] > tried:
                    break
            if time.monotonic() > end:
                self.check(False, f"{device.name} was not tried in vain: {row['state']}, {row['reason']}")
                break
            if device.idle(row):
                self.hurry(row["next_at"])
            time.sleep(0.1)
        self.proxy.start()

    def mistake(self, name, make):
        device = self.begin()
        self.way.befall(device.name, name)
        leaf = make(self.authority, device.name, device.csr)
        chain = [] if "chain" in name else [self.authority.text_of_issuing()]
        self.way.mistake(name, leaf, chain)
        device.ask()
        ended = device.end()
        self.check(not self.proxy.plan, f"{name} did not happen")
        self.check(ended != "refused" or self.way.took_back(leaf), f"{name}: nothing is left, but the CA was not told")
        self.count(device, ISSUES, ended)
        self.finish(device, ISSUES, ended)
        self.tell(name, "order", device, ended)

    def orders(self, those):
        self.start_quietly()
        for fault in those:
            self.order(fault)

    def mistakes(self):
        self.start_quietly()
        device = self.begin()
        self.way.befall(device.name, "none")
        device.ask()
        ended = device.end()
        self.count(device, faults.PASS, ended)
        self.finish(device, faults.PASS, ended)
        self.tell("none", "order", device, ended)
        self.authority = Authority(self.gw.work("authority"), *self.way.signers())
        self.authority.serial = device.certificate()[0]
        for name, make in MISTAKES.items():
            self.mistake(name, make)

    def befall(self, device, fault, path):
        """A fault that stays for one exchange: the device hears of it, and the request is tried again meanwhile."""
        def met():
            return sum(n.fault is fault for n in self.proxy.notes)
        before = met()
        want = before + (2 if later(fault) else 1)
        tried = device.row()["attempt"] if device.heard else 0
        self.proxy.stick(path, fault)
        device.heard = None
        device.ask()
        end = time.monotonic() + PATIENCE
        while True:
            hits = met()
            row = device.row()  # after that: whoever met it is idle again
            if row["state"] == "issued" or (fault is not faults.TWICE and hits >= want and row["attempt"] > tried and device.idle(row)):
                break
            if time.monotonic() > end:
                return self.check(False, f"{title(fault)} does not happen to {path}: {row['state']}, {row['reason']}")
            if device.idle(row) and (not later(fault) or self.is_far(row)):
                self.hurry(row["next_at"])
            time.sleep(0.1)
        return None

    def is_far(self, row):
        """Nobody has been told to come so late; who was told comes by the clock, without hurry."""
        return row["next_at"] > time.time() + self.shift + 2 * LATER

    def exchange(self, name, path):
        """Whatever befalls what is asked besides: the request waits, and is issued once when it is over."""
        self.gw.stop()
        device = None
        for fault in [f for f in EXCHANGES if f.befalls(name.split()[0])] + BUSY:
            if not device:
                device = self.begin()
                self.way.prepare(name)
                self.proxy.stick(path, fault)
                self.start()
            self.befall(device, fault, path)
            ended = device.row()["state"]
            self.check(ended in ("ordered", "waiting", "issued", self.way.meanwhile), f"{name}, {title(fault)}: {ended}")
            self.tell(title(fault), name, device, ended)
            if ended == "issued":
                self.over(name, device)
                device = None
        self.proxy.stuck = None
        if device:
            self.over(name, device, hurry=False)

    def over(self, name, device, hurry=True):
        ended = device.end(hurry)
        self.check(ended == "once" and self.way.orders() == 1, f"{name}, then: {ended}, {self.way.orders()} orders")
        self.tell("then", name, device, ended)

    def unreached(self, name):
        """The CA cannot be reached for what is asked besides, though it could right before."""
        for fault in (f for f in CONNECTIONS if f is not faults.CUT or self.way.tls):
            self.gw.stop()
            device = self.begin()
            self.way.prepare(name)
            before = self.way.before.get(name)
            if before:
                self.proxy.arm(fault, *before)
            else:
                self.proxy.strike(fault, 2)  # the sign of life, and the request
            self.start()
            device.ask()
            if fault is faults.REFUSED:
                self.listen_again(device)
            end = time.monotonic() + PATIENCE
            while not self.happened() and time.monotonic() < end:
                self.hurry(device.row()["next_at"])
                time.sleep(0.1)
            ended = device.row()["state"]
            self.check(self.happened(), f"{name}, {title(fault)} did not happen")
            self.check(ended in ("ordered", "waiting", "issued", self.way.meanwhile), f"{name}, {title(fault)}: {ended}")
            self.tell(title(fault), name, device, ended)
            self.over(name, device)

    def timed(self, name, those):
        """What is asked when its time has come, before an order: that goes on without it, or is told to come later."""
        self.way.prepare(name)
        self.start_quietly()
        for fault in those:
            end = time.monotonic() + 2 * PATIENCE
            while not self.one_timed(name, LONG_BUSY[BUSY.index(fault)] if fault in BUSY else fault):
                if time.monotonic() > end:
                    self.check(False, f"{name}, {title(fault)} did not happen")
                    break

    def one_timed(self, name, fault):
        """False if its time was over."""
        path = f"/{name.split()[1]}"
        device = self.begin()  # whose order begins the time
        device.ask()
        device.end()
        first, last = self.way.time()
        device = self.begin()
        time.sleep(max(0, first - time.monotonic()))
        if fault in CONNECTIONS:
            self.proxy.strike(fault)
        else:
            self.proxy.stick(path, fault)
        device.ask()
        if fault is faults.REFUSED:
            self.listen_again(device)
        met = self.when_met(fault)
        if met < last and later(fault):
            other = self.begin_next()
            time.sleep(max(0, (met + last) / 2 + 0.2 - time.monotonic()))  # when it would try again if it was not told
            other.ask()  # it goes on without that being asked again
            other.settle(False)
            met = max(note.at for note in self.proxy.notes if self.way.order in note.path)
        self.proxy.stuck = None
        ended = device.end(not later(fault))
        if met >= last:
            return False
        asked = 2 if later(fault) else 1
        self.check(ended == "once" and self.way.orders() == asked, f"{name}, {title(fault)}: {ended}, {self.way.orders()} orders")
        self.check(self.happened(), f"{name}, {title(fault)} did not happen")
        self.tell(title(fault), name, device, ended)
        return True

    def when_met(self, fault):
        """When it struck first; of a connection that was refused nobody knows."""
        if fault is faults.REFUSED:
            return 0
        if fault in CONNECTIONS:
            return self.proxy.struck or math.inf
        return next((note.at for note in self.proxy.notes if note.fault is fault), math.inf)

    def second(self, name):
        """The exchange after the order, on the same path. A gateway for each: what one leaves open would take the next one's fault."""
        for fault in (f for f in CONNECTIONS + EXCHANGES + BUSY if f is not faults.CUT or self.way.tls):
            self.start_quietly()
            device = self.begin(*([] if fault in CONNECTIONS else [faults.PASS, fault]))
            if fault in CONNECTIONS:
                self.proxy.arm(fault, self.way.order)
            device.ask()
            if fault is faults.REFUSED:
                self.listen_again(device)
            ended = device.end(not later(fault))
            self.finish(device, fault, ended)
            self.check(self.happened(), f"{name}, {title(fault)} did not happen")
            self.check(ended == "once", f"{name}, {title(fault)}: {ended}")
            self.count(device, faults.PASS, ended)
            self.tell(title(fault), name, device, ended)


def run_one(kind, work):
    """On a bench of its own: what is wrong, and the rows."""
    bench = Bench(kind)
    try:
        work(bench)
        bench.check_patience()
    finally:
        bench.close()
    return bench


def run_all(kind):
    """Most of it waits: many at a time. The first benches have the rows of the order."""
    way, works = WAYS[kind], []
    ordered = CONNECTIONS + EXCHANGES + STATUSES
    thirds = [ordered[:8], ordered[8:15], ordered[15:]]
    works += [(Bench.mistakes,)] + [(Bench.orders, those) for those in thirds]
    for name, path in way.auxiliary.items():
        works += [(Bench.exchange, name, path), (Bench.unreached, name)]
    works += [(Bench.second, name) for name in way.planned]
    works += [(Bench.timed, name, ordered[begin::6]) for name in way.timed for begin in range(6)]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        benches = list(pool.map(lambda work: run_one(kind, lambda bench: work[0](bench, *work[1:])), works))
    none, *mistakes = benches[0].rows
    return benches, [none] + [row for bench in benches[1:4] for row in bench.rows] + mistakes


def cells(line):
    return [cell.strip() for cell in line.strip("|\n").split("|")]


def line_of(words):
    return "| " + " | ".join(words) + " |\n"


def replaced(docs, mark, change):
    """The documentation with another table."""
    shown = re.search(rf"(?<=<!-- {mark} -->\n).*?(?=<!-- end -->)", docs, re.S)
    table = change([cells(line) for line in shown.group().splitlines()])
    return docs[:shown.start()] + "".join(line_of(row) for row in table) + docs[shown.end():]


def with_column(table, kind, ended):
    """Of the faults of the order."""
    head = ["", *(f"`{name}`" for name in WAYS)]
    old = {row[0]: dict(zip(table[0], row)) for row in table}
    rows = [[what, *(ended[what] if name == f"`{kind}`" else old.get(what, {}).get(name, "") for name in head[1:])] for what in ended]
    return [head, ["---"] * len(head), *rows]


def with_row(table, kind, exchanges):
    """Of the other exchanges."""
    old = dict(table)
    old[f"`{kind}`"] = exchanges
    return table[:2] + [[f"`{name}`", old.get(f"`{name}`", "")] for name in WAYS]


class Faults(unittest.TestCase):
    maxDiff = None
    kind = None

    def others(self):
        way = WAYS[self.kind]
        return [*way.auxiliary, *way.planned, *way.timed]

    def test_faults(self):
        """Nothing is issued twice, nobody is told what is not theirs, and what became of each fault is what the documentation says."""
        benches, ordered = run_all(self.kind)
        self.assertFalse("\n\n".join(text for bench in benches for text in bench.wrong))
        ended = {row[0]: "-" if row[3].startswith("n/a") else row[3] for row in ordered}
        with open(DOCS, encoding="utf-8") as file:
            old = file.read()
        new = replaced(old, "faults", lambda table: with_column(table, self.kind, ended))
        new = replaced(new, "exchanges", lambda table: with_row(table, self.kind, ", ".join(self.others())))
        if os.environ.get("WRITE_DOCS"):
            with open(DOCS, "w", encoding="utf-8") as file:
                file.write(new)
        else:
            self.assertEqual(old, new)


if __name__ == "__main__":
    Faults.kind = " ".join(sys.argv[1:])
    unittest.main(argv=sys.argv[:1], verbosity=2)
