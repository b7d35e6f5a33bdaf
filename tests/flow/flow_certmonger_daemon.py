"""SCEP with the whole of certmonger: its daemon on a private message bus, asked by getcert as an administrator does."""
import os
import re
import subprocess
import time
import unittest

from gateway import FlowTest, secret_file, text

SECONDS = 60

# Without folders of services: a certmonger that the bus starts would be nobody's to end.
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:dir=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class Daemon(FlowTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dir = cls.gw.work("monger")
        folders = {"CERTMONGER_CONFIG_DIR": "conf", "CERTMONGER_REQUESTS_DIR": "requests", "CERTMONGER_CAS_DIR": "cas",
                   "CERTMONGER_LOCAL_CA_DIR": "local", "CERTMONGER_TMPDIR": "tmp", "TMPDIR": "tmp", "HOME": "home"}
        cls.env = {"PATH": os.environ["PATH"], "CERTMONGER_SYSTEM_LOCK_FILE": cls.path("lock"),
                   **{key: cls.path(folder) for key, folder in folders.items()}}
        for folder in set(folders.values()):
            os.makedirs(cls.path(folder))
        with open(cls.path("bus.conf"), "w", encoding="ascii") as file:
            file.write(BUS % cls.path("tmp"))
        cls.bus = cls.begin(["dbus-daemon", "--config-file=" + cls.path("bus.conf"), "--nofork", "--print-address"],
                            stdout=subprocess.PIPE)
        cls.env["DBUS_SESSION_BUS_ADDRESS"] = cls.bus.stdout.readline().decode().strip()
        with open(cls.path("log"), "wb") as log:
            cls.begin(["certmonger", "-s", "-n", "-d", "2"], stdout=log, stderr=log)
        cls.wait_for(lambda: subprocess.run(["getcert", "list", "-s"], env=cls.env, capture_output=True, check=False,
                                            timeout=SECONDS).returncode == 0)
        cls.getcert("add-scep-ca", "-c", "gateway", "-u", cls.gw.scep_url)

    @classmethod
    def begin(cls, command, **options):
        process = subprocess.Popen(command, env=cls.env, **options)

        def end():
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()

        cls.addClassCleanup(end)
        return process

    @classmethod
    def path(cls, name):
        return os.path.join(cls.dir, name)

    @classmethod
    def getcert(cls, command, *words):
        return text("getcert", command, "-s", *words, env=cls.env)

    @classmethod
    def wait_for(cls, true):
        end = time.monotonic() + SECONDS
        while not true():
            if time.monotonic() > end:
                raise AssertionError(cls.gw.log()[-3000:])
            time.sleep(0.3)

    def status(self, name):
        return re.search(r"status: (\w+)", self.getcert("list", "-i", name))[1]

    def request(self, name, secret):
        """A request that certmonger makes a key for; the challenge goes by a file."""
        secret_file(self.path(name + ".secret"), secret)
        self.getcert("request", "-I", name, "-c", "gateway", "-k", self.path(name + ".key"), "-f", self.path(name + ".pem"),
                     "-l", self.path(name + ".secret"), "-N", f"CN={name}", "-g", "2048")

    def cert(self, name):
        try:
            with open(self.path(name + ".pem"), encoding="ascii") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def certs(self, name):
        return [c for c in self.gw.certs() if c["subject"] == f"CN={name}"]

    def test_lifetime(self):
        """getcert add-scep-ca, request, resubmit and rekey: each brings a certificate that verifies, for the same names, and the
        daemon goes on MONITORING it; the challenge is spent by the first alone (quirk 22)."""
        self.request("monger-1", self.gw.challenge())
        old, key = "", ""
        for number, command in enumerate((None, "resubmit", "rekey"), 1):
            if command:
                self.getcert(command, "-i", "monger-1")
            self.wait_for(lambda before=old: self.cert("monger-1") not in ("", before) and self.status("monger-1") == "MONITORING")
            self.assertEqual(len(self.certs("monger-1")), number)
            self.gw.verify(self.path("monger-1.pem"))
            public = text("openssl", "x509", "-in", self.path("monger-1.pem"), "-noout", "-pubkey")
            self.assertEqual(public, text("openssl", "pkey", "-in", self.path("monger-1.key"), "-pubout"))
            self.assertEqual(public == key, command == "resubmit")
            old, key = self.cert("monger-1"), public
        self.assertEqual({request["state"] for request in self.gw.requests()}, {"issued"})

    def test_wrong_challenge(self):
        """A challenge that nobody made: certmonger says CA_REJECTED, and nothing is issued."""
        self.request("monger-2", "NOTACHALLENGE2222222")
        self.wait_for(lambda: self.status("monger-2") == "CA_REJECTED")
        self.assertEqual((self.cert("monger-2"), self.certs("monger-2")), ("", []))


if __name__ == "__main__":
    unittest.main(verbosity=2)
