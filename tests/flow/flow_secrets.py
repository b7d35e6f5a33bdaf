"""Where secrets must not be found: what the gateway says, prints, stores and shows of itself, and what it would leave behind if it
crashed. A device's challenge or password is looked for in each form that text takes on its way."""
import base64
import contextlib
import glob
import os
import resource
import signal
import sqlite3
import subprocess
import unittest
import urllib.parse

from est_wire import Tls12, basic, digest, make_csr, request
from forgeries import GenerousCa
from gateway import FlowTest, run
from http_corpus import wait_until
from scep_wire import Party, Wire

FIXED, PASSWORD, DIGEST = "FIXEDSECRET234567890", "open sesame 23456", "close sesame 7654"
NOBODY = 65534
WRONG = {"scep": "WRONGCHALLENGE222222", "basic": "wrong sesame 99999", "digest": "wrong digest 88888"}


def forms(secret):
    """The octets by which it would be recognized."""
    raw = secret.encode()
    found = {raw, raw.lower(), raw.upper(), raw[::-1], raw.hex().encode(), raw.hex().upper().encode(), secret.encode("utf-16-le"),
             secret.encode("utf-16-be"), urllib.parse.quote(secret).encode(), raw[:12]}
    for shift in range(3):  # base64 of it anywhere within other text
        encoded = base64.b64encode(bytes(shift) + raw)
        found.add(encoded[4 if shift else 0:len(encoded) - 4])
    return found


def finds(secret, data):
    return any(form in data for form in forms(secret))


class Secrets(Wire):
    """Devices with every kind of secret, right ones and wrong ones, over both doors."""

    @classmethod
    def configure(cls, gw):
        cls.ca = GenerousCa(gw)
        hashed = run("openssl", "passwd", "-6", "-stdin", input=PASSWORD.encode()).stdout.decode().strip()
        ha1 = run("openssl", "dgst", "-sha256", "-r", input=f"carol:plant:{DIGEST}".encode()).stdout.decode().split()[0]
        gw.secret_file("users", f"bob:{hashed}\ncarol:{{digest-sha256}}{ha1}\n")
        gw.secret_file("fixed", FIXED + "\n")
        gw.edit(r"challenge: \{kinds: \[one-time\]", "challenge: {kinds: [fixed, one-time], fixed_file: fixed")
        gw.edit(r"auth: \[certificate, basic\]", "auth: [certificate, basic, digest], users: users, realm: plant")
        gw.secrets += [FIXED, PASSWORD, DIGEST, *WRONG.values()]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.unused, cls.by_scep, cls.by_est = (cls.gw.challenge("--uses", "3") for _ in range(3))
        try:
            cls.use_all()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def use_all(cls):
        """Every way in which a secret comes to the gateway."""
        device = Party(cls.gw, "secrets")
        for number, secret in enumerate((cls.by_scep, FIXED, WRONG["scep"])):
            device.csr(f"/CN=secrets-{number}", secret)
            device.forge("csr=csr.der", f"txn=secrets-{number}")
            device.forge("csr=csr.der", f"txn=secrets-{number}", "fault=3")
            device.forge("csr=csr.der", "type=17", f"txn=secrets-{number}")
            device.forge("csr=csr.der", "bare=1", f"txn=secrets-{number}")
        for number, secret in enumerate((FIXED, WRONG["scep"])):
            cls.gw.scep_client("--subject", f"/CN=by-password-{number}", "--key-type", "p256", "--by-password", secret=secret,
                               check=False, cwd=device.dir)
        csr = make_csr(device.dir, "/CN=secrets-est", attributes=[f"challengePassword = {FIXED}"])
        statuses = []
        with Tls12(cls.gw) as conn:
            for user, secret in (("device", cls.by_est), ("bob", PASSWORD), ("bob", WRONG["basic"]), ("device", FIXED),
                                 (WRONG["basic"], "x"), ("device", WRONG["scep"])):
                statuses.append(conn.ask(request("simpleenroll", csr, basic(secret, user)))[0])
            line = conn.ask(request("simpleenroll", csr))[1]["WWW-Authenticate"]
            line = line if line.startswith("Digest") else f"Digest {line.partition('Digest ')[2]}"
            for secret in (DIGEST, WRONG["digest"]):
                statuses.append(conn.ask(request("simpleenroll", csr, digest(line, "carol", secret)))[0])
        if statuses.count(200) < 4:
            raise AssertionError(f"{statuses}\n{cls.gw.log()[-3000:]}")

    def nowhere_in(self, data, what, secrets=None):
        for secret in secrets or self.gw.secrets:
            self.assertFalse(finds(secret, data), f"{secret} is in {what}")

    def test_a_finder(self):
        """The search finds a secret in each of its forms, and what was used is among what is looked for."""
        for secret in self.gw.secrets:
            for form in (secret, secret.encode().hex(), urllib.parse.quote(secret), base64.b64encode(b"u:" + secret.encode()).decode(),
                         base64.b64encode(b"user:" + secret.encode()).decode(), secret.lower()):
                self.assertTrue(finds(secret, b"a line with " + form.encode() + b" in it"), form)
        self.assertLessEqual({self.unused, self.by_scep, self.by_est, FIXED, PASSWORD}, set(self.gw.secrets))

    def test_said(self):
        """No secret is in the log, in the metrics, in what the admin listener says, or in what commands print (flaw 11)."""
        self.nowhere_in(self.gw.log().encode(), "the log")
        for path in ("/metrics", "/healthz", "/readyz", "/"):
            self.nowhere_in(self.gw.admin(path)[1].encode(), path)
        ids = [row["id"] for row in self.gw.requests()]
        serials = [row["serial"] for row in self.gw.certs()]
        self.assertGreater(len(ids), 4)
        commands = [("request", "list"), ("request", "list", "--json"), ("cert", "list"), ("cert", "list", "--json"),
                    ("audit", "verify"), ("audit", "verify", "--json"), ("upstream", "list"), ("check",),
                    *[("request", "show", id_, *flags) for id_ in ids for flags in ((), ("--json",))],
                    *[("cert", "show", serial, *flags) for serial in serials for flags in ((), ("--json",))]]
        for words in commands:
            result = self.gw.cli(*words)
            self.nowhere_in(result.stdout + result.stderr, " ".join(words))

    def test_shown(self):
        """No secret is in the server's command line, its environment or the names of its threads (flaw 11)."""
        proc = f"/proc/{self.gw.process.pid}"
        for path in (f"{proc}/cmdline", f"{proc}/environ", *glob.glob(f"{proc}/task/*/comm")):
            with open(path, "rb") as file:
                self.nowhere_in(file.read(), path)

    def store(self, secrets=None):
        """Looks through the store's files."""
        paths = glob.glob(self.gw.path("state/*"))
        self.assertIn(self.gw.path("state/scepter.db"), paths)
        for path in paths:
            with open(path, "rb") as file:
                self.nowhere_in(file.read(), path, secrets)

    def backup(self):
        """The octets of a backup as docs/operations.md makes one, and its tables."""
        path = os.path.join(self.gw.top, "backup.db")
        with contextlib.closing(sqlite3.connect(self.gw.path("state/scepter.db"))) as source, \
                contextlib.closing(sqlite3.connect(path)) as target:
            source.backup(target)
            tables = {table: list(target.execute(f"SELECT * FROM {table}"))
                      for table, in target.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        with open(path, "rb") as file:
            return file.read(), tables

    def test_stored(self):
        """The store knows a challenge by its digest: no file of it has one that is not in a CSR, and a backup has none at all
        (flaw 11)."""
        self.store([self.unused, self.by_est, PASSWORD, DIGEST, *WRONG.values()])
        data, tables = self.backup()
        self.nowhere_in(data, "a backup")
        self.assertEqual(len(tables["challenge"]), 3)
        self.assertEqual({len(row[0]) for row in tables["challenge"]}, {32})

    def test_stored_while_open(self):
        """While a request is open its CSR is in the store as it came, with the challenge in it, and nowhere else; when it is over
        a backup has it no more."""
        self.ca.mark("hold", True)
        secret = self.gw.challenge()
        self.device.csr("/CN=open", secret)
        self.assert_outcome("PENDING", "csr=csr.der", "txn=open")
        found = [(table, value) for table, rows in self.backup()[1].items() for row in rows for value in row
                 if finds(secret, value if isinstance(value, bytes) else str(value).encode())]
        self.assertEqual(found, [("request", self.device.load("csr.der"))])
        self.nowhere_in(self.gw.cli("request", "list", "--json").stdout, "the list of requests")
        self.ca.mark("hold", False)
        self.assertTrue(wait_until(lambda: self.poll("/CN=open", "open").outcome == "SUCCESS", 60))
        self.nowhere_in(self.backup()[0], "a backup")

    def test_z_after(self):
        """When the gateway has stopped, no file of the store has any secret."""
        self.gw.stop()
        self.store()
        self.gw.start()


class Crash(FlowTest):
    """What a crash would leave behind."""

    serve = False

    def limits(self):
        with open(f"/proc/{self.gw.process.pid}/limits", encoding="ascii") as file:
            return next(line.split()[4:6] for line in file if line.startswith("Max core file size"))

    def test_no_core(self):
        """A server that is aborted leaves no core, though its environment would let it: neither a file, nor one for a program
        that collects them; and nobody of its own user can look into its memory (flaw 11)."""
        some = (64 << 20, resource.getrlimit(resource.RLIMIT_CORE)[1])
        work = self.gw.work("crash")
        user = {}
        if os.getuid() == 0:  # whose /proc/PID is root's in any case
            user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            run("chown", "-R", f"{NOBODY}:{NOBODY}", self.gw.top)
        options = os.environ.get("ASAN_OPTIONS", "") + ":disable_coredump=0"
        with open(self.gw.log_path, "ab") as log:
            self.gw.process = subprocess.Popen([os.environ["SCEPTER"], "serve", "-c", self.gw.conf], stdout=log, stderr=log, cwd=work,
                                               env={**os.environ, "ASAN_OPTIONS": options}, **user,
                                               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, some))
        self.gw.wait_ready()
        self.assertEqual(self.limits(), ["0", "0"])
        self.assertEqual(os.stat(f"/proc/{self.gw.process.pid}/mem").st_uid, 0, "it is dumpable: proc(5)")
        self.gw.process.send_signal(signal.SIGABRT)
        _, status = os.waitpid(self.gw.process.pid, 0)
        self.gw.process.returncode = -signal.SIGABRT
        self.gw.process = None
        self.assertTrue(os.WIFSIGNALED(status))
        self.assertFalse(os.WCOREDUMP(status))
        self.assertEqual(os.listdir(work), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
