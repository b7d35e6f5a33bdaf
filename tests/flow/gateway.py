"""A scepter process of a test's own, in a temporary working tree, on free ports of 127.0.0.1.

The flow tests are unittest programs; a test's docstring is the sentence that it proves. Nothing skips:
a client that is missing is an error.
"""
import fcntl
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.request

SCEPTER = os.environ["SCEPTER"]
SCEP_CLIENT = os.environ["SCEP_CLIENT"]
START_SECONDS = 30


PORTS_OF_BLOCK = 64
blocks = []  # [file whose lock is ours while this process lives, ports that are left]


def take_block():
    """Ports of our own: tests that run side by side do not take each other's between the choice and the server's start. None
    is of those that the kernel gives to connecting clients: one of these could take it before the server does."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        end = max(int(file.read().split()[0]), 20000)
    folder = os.path.join(tempfile.gettempdir(), f"scepter-ports-{os.getuid()}")
    os.makedirs(folder, 0o700, exist_ok=True)
    starts = list(range(10000, end - PORTS_OF_BLOCK, PORTS_OF_BLOCK))
    for start in random.sample(starts, len(starts)):
        file = os.fdopen(os.open(os.path.join(folder, str(start)), os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600), "w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        blocks.append((file, list(range(start, start + PORTS_OF_BLOCK))))
        return
    raise AssertionError("all ports are taken by tests")


def free_port():
    """One that nobody listens on now, and that was not given before."""
    while True:
        if not blocks or not blocks[-1][1]:
            take_block()
        port = blocks[-1][1].pop()
        with socket.socket() as s:
            try:
                s.bind(("0.0.0.0", port))
            except OSError:
                continue
        return port


def free_ports(count):
    return [free_port() for _ in range(count)]


def run(*command, check=True, **options):
    """Runs a command to its end; a failure shows what it printed."""
    options.setdefault("timeout", 120)
    result = subprocess.run([str(c) for c in command], capture_output=True, **options)
    if check and result.returncode != 0:
        raise AssertionError(f"{command} ended with {result.returncode}\n{result.stdout.decode(errors='replace')}"
                             f"\n{result.stderr.decode(errors='replace')}")
    return result


def secret_file(path, content):
    """Writes it for its owner alone."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(content)


def text(*command, **options):
    return run(*command, **options).stdout.decode()


class Gateway:
    """One working tree and, between start() and stop(), the process that serves it."""

    def __init__(self, *init_flags):
        self.top = tempfile.mkdtemp(prefix="scepter-flow-")
        self.dir = os.path.join(self.top, "gw")
        self.scep_port, self.est_port, self.admin_port = free_ports(3)
        self.conf = os.path.join(self.dir, "scepter.yaml")
        self.log_path = os.path.join(self.top, "log")
        self.process = None
        self.secrets = []
        self.env = {}  # of the server, besides the test's own
        with open(self.log_path, "wb"):
            pass
        run(SCEPTER, "init", self.dir, "--ports", f"{self.scep_port},{self.est_port},{self.admin_port}", *init_flags)
        self.root = os.path.join(self.dir, "ca/root.pem")

    @property
    def scep_url(self):
        return f"http://127.0.0.1:{self.scep_port}/scep/default"

    @property
    def est_url(self):
        return f"https://127.0.0.1:{self.est_port}/.well-known/est"

    @property
    def admin_url(self):
        return f"https://127.0.0.1:{self.admin_port}"

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def secret_file(self, name, content, *secrets):
        """A file beside the configuration; none of the secrets may be logged."""
        secret_file(self.path(name), content)
        self.secrets += secrets

    def work(self, name):
        """A folder for a test's own files, beside the working tree."""
        path = os.path.join(self.top, name)
        os.makedirs(path, exist_ok=True)
        return path

    def edit(self, pattern, replacement):
        """Changes the configuration; the pattern must occur."""
        with open(self.conf, encoding="utf-8") as file:
            old = file.read()
        new, count = re.subn(pattern, replacement, old, flags=re.M)
        if not count:
            raise AssertionError(f"{pattern} is not in the configuration:\n{old}")
        with open(self.conf, "w", encoding="utf-8") as file:
            file.write(new)

    def start(self, env=None, wrapper=()):
        """wrapper: a command that becomes the one behind it."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*wrapper, SCEPTER, "serve", "-c", self.conf], stderr=log, stdout=log,
                                            env={**os.environ, **self.env, **(env or {})})
        self.wait_ready()
        return self

    def wait_ready(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}\n{self.log()}")
            try:
                if self.admin("/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready after {START_SECONDS} s\n{self.log()}")

    def stop(self, how=signal.SIGTERM):
        """Ends the process; a drain must exit 0."""
        if not self.process:
            return
        self.process.send_signal(how)
        code = self.process.wait(60)
        self.process = None
        if how == signal.SIGTERM and code != 0:
            raise AssertionError(f"serve ended with {code}\n{self.log()[-5000:]}")

    def close(self):
        """Stops, looks for secrets in what was logged, and removes the tree."""
        try:
            self.stop()
            log = self.log()
            for secret in self.secrets:
                if secret in log:
                    raise AssertionError(f"the secret {secret} is in the log")
            if "PRIVATE KEY" in log:
                raise AssertionError("a private key is in the log")
        finally:
            if self.process:
                self.process.kill()
                self.process.wait()
            shutil.rmtree(self.top, ignore_errors=True)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def log_line(self, *words):
        """The last line that holds all of these. It is written once the reply is sent, so it may take a moment."""
        for _ in range(600):
            lines = [line for line in self.log().splitlines() if all(word in line for word in words)]
            if lines:
                return lines[-1]
            time.sleep(0.05)
        raise AssertionError(f"no line with {words} in the log:\n{self.log()[-5000:]}")

    def cli(self, *words, check=True, **options):
        """A subcommand with -c; what it printed."""
        return run(SCEPTER, *words, "-c", self.conf, check=check, **options)

    def deny(self, request, check=True):
        """By the server's clock, by which it is known how long nobody else may work at the request."""
        return self.cli("request", "deny", request, check=check, env={**os.environ, **self.env})

    def challenge(self, *flags):
        secret = self.cli("challenge", "create", "--profile", "default", *flags).stdout.decode().strip()
        self.secrets.append(secret)
        return secret

    def take_fixed(self, *secrets):
        """Before the start: fixed challenges of the profile."""
        self.secret_file("secrets", "".join(f"{secret}\n" for secret in secrets), *secrets)
        self.edit(r"challenge: \{kinds: \[one-time\]", "challenge: {kinds: [fixed, one-time], fixed_file: secrets")

    def challenges_file(self, count, name="challenges"):
        """Mints one-time challenges and writes them a line each."""
        path = os.path.join(self.top, name)
        with open(path, "w", encoding="ascii") as file:
            for _ in range(count):
                file.write(self.challenge() + "\n")
        return path

    def certs(self, *flags):
        return json.loads(self.cli("cert", "list", "--json", *flags).stdout)

    def requests(self, *flags):
        return json.loads(self.cli("request", "list", "--json", *flags).stdout)

    def admin(self, path):
        """(status, body) of the admin listener."""
        context = ssl.create_default_context(cafile=self.root)
        try:
            with urllib.request.urlopen(self.admin_url + path, context=context, timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def resident(self):
        """KiB that the server occupies."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    def metric(self, pattern):
        """The sum of the samples whose line matches."""
        lines = self.admin("/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#") and re.search(pattern, line))

    def reload(self):
        """Has the configuration read anew, and waits until that is done."""
        done = r'^scepter_reloads_total\{result="done"'
        before = self.metric(done)
        self.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 30
        while self.metric(done) == before:
            assert time.monotonic() < end, self.log()[-3000:]
            time.sleep(0.05)

    def scep_client(self, *words, check=True, secret=None, **options):
        """The project's own client; the challenge goes by the environment."""
        env = {**os.environ, "CHALLENGE": secret or ""}
        return run(SCEP_CLIENT, "--url", self.scep_url, "--challenge-env", "CHALLENGE", *words, check=check, env=env,
                   **options)

    def verify(self, cert, form="PEM"):
        """openssl verify against root and issuing CA; fails the test if it does not."""
        pem = cert
        if form == "DER":
            pem = cert + ".pem"
            run("openssl", "x509", "-inform", "DER", "-in", cert, "-out", pem)
        run("openssl", "verify", "-x509_strict", "-CAfile", self.root, "-untrusted", self.path("ca/issuing.pem"), pem)
        return pem


class FlowTest(unittest.TestCase):
    """One gateway for all tests of a class."""

    init_flags = ()
    serve = True

    @classmethod
    def setUpClass(cls):
        cls.gw = Gateway(*cls.init_flags)
        try:
            cls.configure(cls.gw)
            if cls.serve:
                cls.gw.start()
        except BaseException:
            if os.path.exists(cls.gw.log_path):
                print(cls.gw.log()[-5000:])
            cls.gw.close()
            raise

    @classmethod
    def configure(cls, gw):
        """Changes the working tree before the start."""

    @classmethod
    def tearDownClass(cls):
        cls.gw.close()
