"""dns-01 by a command, and authorizations that are valid already: Debian's pebble, which looks into its own DNS test server."""
import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import time
import unittest

import flow_upstream_acme as acme
from gateway import free_ports, run

HOOK = """#!/usr/bin/python3
import json, os, sys, time, urllib.request
action, name, value = sys.argv[1:]
with open(os.environ["HOOK_LOG"], "a") as file:
    file.write(json.dumps([action, name, value, sorted(os.environ), len(os.listdir("/proc/self/fd"))]) + "\\n")
if os.path.exists(os.environ["HOOK_LOG"] + "." + action):
    if os.path.exists(os.environ["HOOK_LOG"] + ".slow"):
        time.sleep(60)
    if os.path.exists(os.environ["HOOK_LOG"] + ".flood"):
        print("x" * 1000000)
    sys.exit("the zone \\x1b[2J is closed")
path, body = ("set-txt", {"host": name, "value": value}) if action == "present" else ("clear-txt", {"host": name})
urllib.request.urlopen(os.environ["DNS_URL"] + path, json.dumps(body).encode(), timeout=20)
"""


def wait_listening(port):
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


class DnsPebble(acme.Pebble):
    """It validates, by a DNS server that a command changes; valid authorizations are used again."""

    always_valid = False
    delay = "0s"

    def start(self):
        dns, management = free_ports(2)
        self.dns_url = f"http://127.0.0.1:{management}/"
        self.hook_log = self.path("hook.log")
        with open(self.path("dns.log"), "ab") as log:
            self.dns = subprocess.Popen(["pebble-challtestsrv", "-dns01", f"127.0.0.1:{dns}", "-management",
                                         f"127.0.0.1:{management}", "-http01", "", "-https01", "", "-tlsalpn01", ""],
                                        stdout=log, stderr=log)
        wait_listening(management)
        self.flags = ["-dnsserver", f"127.0.0.1:{dns}"]
        self.env["PEBBLE_AUTHZREUSE"] = "100"
        self.write_hook(HOOK)
        super().start()

    def write_hook(self, text):
        with open(self.path("hook"), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path("hook"), 0o755)

    def configure(self, gw, more=""):
        super().configure(gw, more)
        gw.edit(r"^    http01: .*", f"""    dns01:
      command: [{self.path("hook")}]
      environment: ["HOOK_LOG={self.hook_log}", "DNS_URL={self.dns_url}"]
      delay: {self.delay}""")

    def calls(self, name):
        """What the command was asked for one name: (action, value)."""
        if not os.path.exists(self.hook_log):
            return []
        with open(self.hook_log, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file if line.endswith("\n")]
        return [(action, value) for action, host, value, *_ in lines if host == f"_acme-challenge.{name}."]

    def break_hook(self, what):
        path = f"{self.hook_log}.{what}"
        with open(path, "w", encoding="ascii"):
            pass
        return lambda: os.path.exists(path) and os.unlink(path)

    def close(self):
        super().close()
        self.dns.kill()
        self.dns.wait()


class DnsTest(acme.AcmeTest):
    make_ca = DnsPebble
    limits = "    limits: {wait: 20s, deadline: 12s}\n    breaker: {failures: 100, open: 1s}"  # for a command that hangs

    def reason(self, name):
        return self.request(self.subject(name))["reason"] or ""

    def check_calls(self, name):
        """Its record was set, and taken away again."""
        calls = self.ca.calls(name)
        self.assertEqual([action for action, _ in calls], ["present", "cleanup"], calls)
        self.assertEqual(calls[0][1], calls[1][1])
        self.assertRegex(calls[0][1], r"^[A-Za-z0-9_-]{43}$")


class Dns01(DnsTest):
    def test_one_name(self):
        """The CA finds the record that the command set; it is gone afterwards. The command has what the configuration says in
        its environment, and nothing of ours."""
        self.ca.proxy.reset()
        self.ask("dns-one")
        self.collect("dns-one")
        self.check_calls(self.subject("dns-one"))
        with open(self.ca.hook_log, encoding="utf-8") as file:
            environment, descriptors = json.loads(file.readline())[3:]
        self.assertEqual(set(environment) - {"LC_CTYPE"}, {"PATH", "LC_ALL", "HOOK_LOG", "DNS_URL"})
        self.assertLessEqual(descriptors, 5)  # its own three, its log, and the listing

    def test_several(self):
        """Every name has its record."""
        self.ca.proxy.reset()
        names = ["a.several.example.com", "c.several.example.com", "b.several.example.com"]
        flags = [flag for name in names for flag in ("--san", f"dns:{name}")]
        self.enroll(names[0], *flags, code=3)
        self.wait_state(names[0], "issued", 120)
        for name in names:
            self.check_calls(name)

    def test_authorized_before(self):
        """An account whose authorization is valid already needs no challenge, and no command is run."""
        self.ca.proxy.reset()
        self.ask("before")
        self.collect("before")
        name = self.subject("before")
        calls = self.ca.calls(name)
        with open(self.gw.conf, encoding="utf-8") as file:
            conf = file.read()
        self.gw.edit(r"^    dns01:\n(      .*\n)+", "")
        self.gw.stop()
        self.gw.start()
        try:
            os.unlink(os.path.join(self.work, f"{name}.key"))
            self.ask("before")  # another device of the same name
            self.wait_for(lambda: [r["state"] for r in self.gw.requests() if r["subject"] == f"CN={name}"] == ["issued"] * 2, 120)
            self.assertEqual(self.ca.calls(name), calls)
            self.ask("unknown")
            self.wait_state(self.subject("unknown"), "refused", 90)
            self.assertIn("no challenge that the CA offers is configured", self.reason("unknown"))
        finally:
            with open(self.gw.conf, "w", encoding="utf-8") as file:
                file.write(conf)
            self.gw.stop()
            self.gw.start()

    def test_command_fails(self):
        """A command that fails, prints without end or hangs is told to the operator and run again; the CA has no part in it."""
        for name, how, text in (("dns-fails", "present", "the zone \\x1b[2J is closed"), ("dns-floods", "flood", "hook"),
                                ("dns-hangs", "slow", "hook")):
            mend = [self.ca.break_hook("present"), self.ca.break_hook(how)]
            for one in mend:
                self.addCleanup(one)
            self.ask(name)
            self.wait_for(lambda one=name, said=text: said in self.reason(one), 90)
            self.assertEqual(self.state(self.subject(name)), "waiting")
            for one in mend:
                one()
            self.wait_state(self.subject(name), "issued", 120)
            self.assertEqual(self.ca.calls(self.subject(name))[-1][0], "cleanup")

    def test_cleanup_fails(self):
        """A record that cannot be taken away holds up nothing; the audit trail says that it stays behind."""
        self.addCleanup(self.ca.break_hook("cleanup"))
        self.ask("stays")
        self.wait_state(self.subject("stays"), "issued", 120)
        self.assertEqual([action for action, _ in self.ca.calls(self.subject("stays"))], ["present", "cleanup"])
        with contextlib.closing(sqlite3.connect(self.gw.path("state/scepter.db"))) as db:
            trail = [str(row) for row in db.execute("SELECT * FROM audit")]
        self.assertEqual(sum("stays behind" in row for row in trail), 1)

    def test_wrong_record(self):
        """A CA that does not find the record refuses; what was set is taken away all the same."""
        self.ca.write_hook(HOOK.replace('"value": value', '"value": "wrong"'))
        self.addCleanup(self.ca.write_hook, HOOK)
        self.ask("wrong-record")
        self.wait_state(self.subject("wrong-record"), "refused", 120)
        self.assertIn("DNS challenge", self.reason("wrong-record"))
        self.check_calls(self.subject("wrong-record"))

    def test_foreign_name(self):
        """A CA that wants a record for a name that nobody asked for gets none."""
        self.instead("/authZ/", lambda body: body.replace(b'"foreign.example.com"', b'"victim.example.com"'))
        self.ask("foreign")
        self.wait_state(self.subject("foreign"), "refused", 90)
        self.assertIn("victim.example.com, which was not asked for", self.reason("foreign"))
        self.assertEqual(self.ca.calls("victim.example.com"), [])

    def test_kill(self):
        """kill -9 while the command runs: it is run again, and the CA issues once."""
        mend, quicken = self.ca.break_hook("present"), self.ca.break_hook("slow")
        self.addCleanup(mend)
        self.addCleanup(quicken)
        self.ca.proxy.reset()
        self.ask("dns-killed")
        self.wait_for(lambda: self.ca.calls(self.subject("dns-killed")), 90)
        self.gw.stop(9)
        mend()
        quicken()
        self.gw.start()
        self.collect("dns-killed")


class SlowDns(DnsPebble):
    delay = "4s"


class Delay(DnsTest):
    make_ca = SlowDns

    def test_delay(self):
        """The CA is not told before the record had its time to get there."""
        self.ca.proxy.reset()
        start = time.monotonic()
        self.ask("delayed")
        self.collect("delayed")
        self.assertGreater(time.monotonic() - start, 4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
