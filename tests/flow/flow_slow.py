"""Slow, broken and hostile clients: whatever they do, and however many they are, a new client is served at once.

The same table with ten thousand of them, the release binary and a bound of 100 ms is `./dev bench slow`.
"""
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import unittest

from flow_front import CACERTS, CAPS, CLOSE, client_context, read_reply
from gateway import FlowTest
from hostile import KINDS
from http_corpus import wait_until

CROWD = int(os.environ.get("SLOW_CROWD", "300"))
SECONDS = float(os.environ.get("SLOW_SECONDS", "1.2"))
# CivetWeb alone lets a new client wait for 5 s to more than a minute. Here who waits for an attacker waits until LIMIT has
# put an end to that one. A new client waits for less than half of it, also under sanitizers on cores that others use.
LIMIT = 20
BOUND = LIMIT / 2


NICE = None  # what an attacker does before it starts


class Newcomer:
    """A new client now and then, from an address of its own and from the attackers'; how long each had to wait."""

    def __init__(self, gw):
        self.gw, self.context, self.waits = gw, client_context(gw), {"http": [], "tls": [], "admin": []}

    def ask(self, kind, address):
        began = time.monotonic()
        port, request = {"http": (self.gw.scep_port, CAPS), "tls": (self.gw.est_port, CACERTS),
                         "admin": (self.gw.admin_port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n%s\r\n")}[kind]
        with socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(address, 0)) as s:
            if kind != "http":
                s = self.context.wrap_socket(s)
            s.sendall(request % CLOSE)
            status = read_reply(s)[0]
            s.close()
        self.waits[kind].append(time.monotonic() - began)
        if status != 200:
            raise AssertionError(f"{kind}: {status}")

    def round(self):
        for kind in self.waits:
            for address in ("127.0.0.2", "127.0.0.3"):
                self.ask(kind, address)
        time.sleep(0.05)

    def worst(self):
        return max(max(waits) for waits in self.waits.values())

    def median(self):
        return statistics.median(sum(self.waits.values(), []))


def attack(kind, count, gw, seconds):
    port = gw.scep_port if KINDS[kind][1] == "http" else gw.est_port
    return subprocess.Popen([sys.executable, os.path.join(os.path.dirname(__file__), "hostile.py"), kind, str(count),
                             "127.0.0.1", str(port), str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            preexec_fn=NICE)


def under_attack(kind, count, gw, seconds):
    """Newcomers from the first hostile connection on until `seconds` after the last. (newcomer, connections)"""
    newcomer = Newcomer(gw)
    with attack(kind, count, gw, 600) as process:
        os.set_blocking(process.stdout.fileno(), False)
        opened, end = None, None
        while end is None or time.monotonic() < end:
            newcomer.round()
            line = process.stdout.readline() if end is None else None
            if line:
                opened, end = int(line), time.monotonic() + seconds
            elif process.poll() is not None:
                raise AssertionError(f"the attack {kind} ended by itself")
        process.stdin.close()
        process.wait(60)
    return newcomer, opened


def limits_line(seconds, *more, **others):
    """All deadlines are the same but for others."""
    times = {name: seconds for name in ("first", "handshake", "request", "reply", "idle")} | others
    return "limits: {" + ", ".join([f"{name}: {value}s" for name, value in times.items()] + list(more)) + "}\n"


class Slow(FlowTest):
    @classmethod
    def configure(cls, gw):
        with open(gw.conf, "a", encoding="utf-8") as file:
            file.write(limits_line(LIMIT, "per_address: 0"))

    def descriptors(self):
        """How many the server has. Only root may look, as it is not dumpable; others count its connections."""
        try:
            return len(os.listdir(f"/proc/{self.gw.process.pid}/fd"))
        except PermissionError:
            ports = {self.gw.scep_port, self.gw.est_port, self.gw.admin_port}
            with open("/proc/net/tcp", encoding="ascii") as file:
                lines = [line.split() for line in file][1:]
            return sum(int(line[1].split(":")[1], 16) in ports and line[9] != "0" for line in lines)

    def check(self, kind):
        for count in (16, CROWD):
            newcomer, opened = under_attack(kind, count, self.gw, SECONDS)
            self.assertGreater(opened, count * 0.9, "the attack did not take place")
            self.assertLess(newcomer.worst(), BOUND, f"{kind} {count}: {newcomer.waits}")

    def test_table(self):
        """Each attack, with 16 and with hundreds of connections: new clients are served all the time, on every listener, and no
        descriptor is left behind (flaw 15)."""
        before = self.descriptors()
        for kind in KINDS:
            if kind != "half-proxy":
                with self.subTest(kind):
                    self.check(kind)
        wait_until(lambda: self.descriptors() <= before)
        self.assertLessEqual(self.descriptors(), before, "descriptors are left")


class Shed(FlowTest):
    @classmethod
    def configure(cls, gw):
        with open(gw.conf, "a", encoding="utf-8") as file:
            file.write(limits_line(1, "per_address: 0"))

    def test_shed(self):
        """So are they while a crowd is put an end to."""
        for kind in ("silent", "head-trickle", "handshake-silent"):
            with self.subTest(kind):
                before = self.gw.metric(r'shed_total\{reason="deadline"')
                newcomer, _ = under_attack(kind, CROWD, self.gw, 2)
                self.assertLess(newcomer.worst(), BOUND, newcomer.waits)
                self.assertGreater(self.gw.metric(r'shed_total\{reason="deadline"'), before)


class Proxied(FlowTest):
    @classmethod
    def configure(cls, gw):
        with open(gw.conf, "a", encoding="utf-8") as file:
            file.write(limits_line(LIMIT) + 'edge: {proxy_protocol: ["127.0.0.3"]}\n')

    def test_half_proxy(self):
        """PROXY headers that stop in the middle hold nobody up."""
        with attack("half-proxy", CROWD, self.gw, 600) as process:
            newcomer = Newcomer(self.gw)
            for _ in range(20):
                for kind in newcomer.waits:
                    newcomer.ask(kind, "127.0.0.2")
            process.stdin.close()
        self.assertLess(newcomer.worst(), BOUND)


class Deadlines(FlowTest):
    """Each deadline of a few seconds, while all others are a minute."""

    @classmethod
    def configure(cls, gw):
        with open(gw.conf, "a", encoding="utf-8") as file:
            file.write(limits_line(60))

    def only(self, **limits):
        self.gw.edit(r"^limits: .*\n", limits_line(60, **limits))
        self.gw.reload()

    def lasts(self, s, seconds, status=None):
        """The server ends the connection after that many seconds, with that status before."""
        s.settimeout(40)
        data = b""
        try:
            while True:
                more = s.recv(65536)
                if not more:
                    break
                data += more
        except ConnectionResetError:
            pass
        waited = time.monotonic() - self.began
        self.assertGreater(waited, seconds - 0.1)
        self.assertLess(waited, 30)
        self.assertEqual(data[9:12], str(status).encode() if status else b"")
        s.close()

    def connect(self, port):
        self.began = time.monotonic()
        return socket.create_connection(("127.0.0.1", port))

    def test_first(self):
        """Nothing at all, on both ports: closed without a word when limits.first is over; 408 if a head was begun."""
        self.only(first=2)
        self.lasts(self.connect(self.gw.scep_port), 2)
        self.lasts(self.connect(self.gw.est_port), 2)
        s = self.connect(self.gw.scep_port)
        s.sendall(b"GET / HT")
        self.lasts(s, 2, 408)

    def test_request(self):
        """A body that does not come, on a new connection and on a kept one: 408 when limits.request is over."""
        self.only(request=3)
        post = b"POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"
        s = self.connect(self.gw.scep_port)
        s.sendall(post)
        self.lasts(s, 3, 408)
        s = self.connect(self.gw.scep_port)
        s.sendall(CAPS % b"")
        self.assertEqual(read_reply(s)[0], 200)
        self.began = time.monotonic()
        s.sendall(post)
        self.lasts(s, 3, 408)

    def test_trickle(self):
        """A byte now and then does not prolong anything."""
        self.only(first=2)
        s = self.connect(self.gw.scep_port)
        try:
            while time.monotonic() - self.began < 40:
                s.sendall(b"G")
                time.sleep(0.1)
                s.setblocking(False)
                try:
                    if not s.recv(100):
                        break
                except BlockingIOError:
                    pass
                s.setblocking(True)
        except OSError:
            pass
        self.assertLess(time.monotonic() - self.began, 30)
        s.close()

    def test_idle(self):
        """A kept connection is closed when limits.idle is over."""
        self.only(idle=2)
        s = client_context(self.gw).wrap_socket(self.connect(self.gw.est_port))
        self.began = time.monotonic()
        s.sendall(CACERTS % b"")
        self.assertEqual(read_reply(s)[0], 200)
        self.lasts(s, 2)

    def test_reply(self):
        """A reply that nobody reads is given up when limits.reply is over."""
        self.only(reply=2)
        before = self.gw.metric(r'shed_total\{reason="deadline"')
        with attack("never-read", 8, self.gw, 600) as process:
            self.assertEqual(int(process.stdout.readline()), 8)
            end = time.monotonic() + 30
            while self.gw.metric(r'shed_total\{reason="deadline"') < before + 8:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.1)
            process.stdin.close()


class Ceilings(FlowTest):
    @classmethod
    def configure(cls, gw):
        with open(gw.conf, "a", encoding="utf-8") as file:
            file.write("limits: {connections: 64, per_address: 16, first: 60s}\n")

    def alive(self, sockets):
        count = 0
        for s in sockets:
            s.setblocking(False)
            try:
                count += s.recv(1) != b""
            except BlockingIOError:
                count += 1
            except ConnectionResetError:
                pass
        return count

    def crowd(self, count, address):
        sockets = [socket.create_connection(("127.0.0.1", self.gw.scep_port), source_address=(address(i), 0))
                   for i in range(count)]
        return sockets

    def test_address(self):
        """One address has no more connections than allowed; the newest are those that stay, and it is still served."""
        before = self.gw.metric(r'shed_total\{reason="address"')
        sockets = self.crowd(40, lambda i: "127.0.0.9")
        wait_until(lambda: self.alive(sockets) <= 16)
        self.assertLessEqual(self.alive(sockets), 16)
        self.assertEqual(self.alive(sockets[-8:]), 8)
        self.assertGreaterEqual(self.gw.metric(r'shed_total\{reason="address"'), before + 24)
        sockets[-1].setblocking(True)
        sockets[-1].sendall(CAPS % CLOSE)
        self.assertEqual(read_reply(sockets[-1])[0], 200)
        Newcomer(self.gw).ask("http", "127.0.0.9")
        for s in sockets:
            s.close()

    def test_total(self):
        """All addresses together have no more than allowed, and a new one is still served."""
        before = self.gw.metric(r'shed_total\{reason="total"')
        sockets = self.crowd(120, lambda i: f"127.0.1.{i + 1}")
        wait_until(lambda: self.alive(sockets) <= 64)
        self.assertLessEqual(self.alive(sockets), 64)
        self.assertGreaterEqual(self.gw.metric(r'shed_total\{reason="total"'), before + 56)
        for kind in ("http", "tls"):
            Newcomer(self.gw).ask(kind, "127.0.0.2")
        for s in sockets:
            s.close()


class Queue(FlowTest):
    @classmethod
    def configure(cls, gw):
        with open(gw.conf, "a", encoding="utf-8") as file:
            file.write("limits: {threads: 2, queue: 8, first: 60s}\n")

    def test_queue(self):
        """More requests at once than workers and queue can take: some are served, the others hear 503 with
        Retry-After, and one from another address is served among them."""
        crowd = []
        for _ in range(200):
            crowd.append(socket.create_connection(("127.0.0.1", self.gw.scep_port), source_address=("127.0.0.3", 0)))
        other = socket.create_connection(("127.0.0.1", self.gw.scep_port), source_address=("127.0.0.2", 0))
        self.gw.process.send_signal(signal.SIGSTOP)  # so that they come at once
        for i, s in enumerate(crowd):
            if i == 100:
                other.sendall(CAPS % CLOSE)
            s.sendall(CAPS % CLOSE)
        self.gw.process.send_signal(signal.SIGCONT)
        self.assertEqual(read_reply(other)[0], 200)
        other.close()
        statuses = []
        for s in crowd:
            status, head, _ = read_reply(s)
            statuses.append(status)
            if status == 503:
                self.assertIn(b"Retry-After: ", head)
            s.close()
        self.assertEqual(set(statuses), {200, 503})
        shed = r'shed_total\{reason="queue"'
        self.assertTrue(wait_until(lambda: self.gw.metric(shed) >= statuses.count(503)))
        self.assertEqual(self.gw.metric(shed), statuses.count(503))


if __name__ == "__main__":
    unittest.main(verbosity=2)
