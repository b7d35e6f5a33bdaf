"""An ACME CA as the upstream: Debian's pebble, which rejects many nonces, behind a proxy that has bad days."""
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

import faults
from faults import FaultProxy, changed
from gateway import free_ports, run
from upstream import PATIENT, UpstreamTest, use_upstream

KID = "kid-1"
HMAC = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
NEW_ORDER, ORDER, FINALIZE, CERTIFICATE = "/order-plz", "/my-order/", "/finalize-order/", "/certZ/"


class AcmeProxy(FaultProxy):
    def plan_at(self, only, *plan):
        self.reset(*plan)
        self.only = only


class Pebble:
    """The CA, with external account binding; always_valid: it takes any answer to a challenge."""

    always_valid = True
    flags = ()
    proxy_class = AcmeProxy

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="scepter-pebble-")
        self.port, target, self.management, self.http01, unused = free_ports(5)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "tls.key",
            "-out", "tls.pem", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", cwd=self.top)
        conf = {"listenAddress": f"127.0.0.1:{target}", "managementListenAddress": f"127.0.0.1:{self.management}",
                "certificate": self.path("tls.pem"), "privateKey": self.path("tls.key"), "httpPort": self.http01,
                "tlsPort": unused, "ocspResponderURL": "", "externalAccountBindingRequired": True,
                "externalAccountMACKeys": {KID: HMAC}}
        with open(self.path("pebble.json"), "w", encoding="ascii") as file:
            json.dump({"pebble": conf}, file)
        self.env = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "50", "PEBBLE_AUTHZREUSE": "0"}
        if self.always_valid:
            self.env["PEBBLE_VA_ALWAYS_VALID"] = "1"
        self.start()
        self.proxy = self.proxy_class(self.port, target, self.path("tls.pem"), self.path("tls.key"))
        self.proxy.keep_host = True
        for kind in ("root", "intermediate"):
            with open(self.path(f"{kind}.pem"), "wb") as file:
                file.write(self.manage(f"/{kind}s/0"))

    def path(self, name):
        return os.path.join(self.top, name)

    def start(self):
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen(["pebble", "-strict", *self.flags, "-config", self.path("pebble.json")], stdout=log, stderr=log,
                                            env=self.env)
        end = time.monotonic() + 60
        while True:
            try:
                self.manage("/roots/0")
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.1)

    def manage(self, path):
        context = ssl.create_default_context(cafile=self.path("tls.pem"))
        with urllib.request.urlopen(f"https://127.0.0.1:{self.management}{path}", context=context, timeout=10) as reply:
            return reply.read()

    def status(self, serial):
        return json.loads(self.manage(f"/cert-status-by-serial/{serial}"))["Status"]

    def configure(self, gw, more=""):
        gw.secret_file("eab", HMAC + "\n", HMAC)
        use_upstream(gw, self.root, f"""
    type: acme
    directory: https://127.0.0.1:{self.port}/dir
    trust: [{self.path("tls.pem")}]
    account_key: state/acme.key
    contact: ["mailto:pki@example.com"]
    terms_agreed: true
    eab: {{id: {KID}, key_file: eab}}
    http01: 127.0.0.1:{self.http01}
    chain: [{self.chain}, {self.root}]
{more}""", name="public")

    @property
    def root(self):
        return self.path("root.pem")

    @property
    def chain(self):
        return self.path("intermediate.pem")

    def issued(self, _):
        return self.finalized()

    def finalized(self):
        return sum(FINALIZE in path and status == 200 for path, status in self.proxy.paths)

    def close(self):
        self.proxy.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.top)


class AcmeTest(UpstreamTest):
    make_ca = Pebble
    limits = PATIENT

    def subject(self, name):
        return f"{name}.example.com"

    def ask(self, name, *flags, code=3):
        """The device asks; its CN is its name in the SAN, as public CAs want it."""
        return self.enroll(self.subject(name), *([] if "--san" in flags else ["--san", f"dns:{self.subject(name)}"]), *flags,
                           code=code)

    def collect(self, name, seconds=120):
        """The request is issued, the device fetches the certificate, and the CA has issued one."""
        self.wait_state(self.subject(name), "issued", seconds)
        self.ask(name, "--poll", code=0)
        self.verify(self.subject(name))
        self.assertEqual(self.ca.finalized(), 1)

    def replied(self, paths, part):
        """What the CA answered there, and no rejected nonce."""
        return next(reply for (asked, status), (_, reply) in zip(self.ca.proxy.paths, self.ca.proxy.replies)
                    if any(path in asked for path in paths) and status == 200 and part in reply)

    def instead(self, path, change, stays=lambda: False):
        """The CA's next answer there is another one, and the next while that stays; a rejected nonce is not what is meant."""
        def once(status, headers, body):
            if status != 200 or stays():
                self.ca.proxy.plan.append(fault)
            return status, headers, change(body) if status == 200 else body
        fault = changed("another answer", once)
        self.ca.proxy.plan_at(path, fault)

    def wait_asked(self, path, count=1):
        end = time.monotonic() + 90
        while sum(path in p for p, _ in self.ca.proxy.paths) < count:
            self.assertLess(time.monotonic(), end, self.ca.proxy.paths)
            time.sleep(0.02)


class UpstreamAcme(AcmeTest):
    def test_scep_to_acme(self):
        """A SCEP device gets a certificate of a CA that only speaks ACME. The account key was made, for its owner only, and is
        used again after a restart."""
        self.ask("plain")
        self.collect("plain")
        self.assertEqual(os.stat(self.gw.path("state/acme.key")).st_mode & 0o777, 0o600)
        with open(self.gw.path("state/acme.key"), "rb") as file:
            key = file.read()
        self.gw.stop()
        self.gw.start()
        self.ca.proxy.reset()
        self.ask("again")
        self.collect("again")
        with open(self.gw.path("state/acme.key"), "rb") as file:
            self.assertEqual(file.read(), key)
        self.gw.cli("audit", "verify")

    def test_command(self):
        """upstream test --enroll asks for the names that it is told, waits for the certificate and prints it; a name that is none
        is refused before the CA is asked."""
        self.ca.proxy.reset()
        names = ["--san", "dns:test.example.com", "--san", "ip:192.0.2.7"]
        printed = self.gw.cli("upstream", "test", "public", "--enroll", *names).stdout
        text = run("openssl", "x509", "-noout", "-text", input=printed[printed.index(b"-----BEGIN"):]).stdout.decode()
        self.assertIn("DNS:test.example.com, IP Address:192.0.2.7", text)
        self.assertEqual(self.ca.finalized(), 1)
        self.ca.proxy.reset()
        self.assertEqual(self.gw.cli("upstream", "test", "public", "--enroll", "--san", "dns:", check=False).returncode, 2)
        self.assertEqual(self.gw.cli("upstream", "test", "public", "--san", "dns:a.example.com", check=False).returncode, 2)
        self.assertFalse([path for path, _ in self.ca.proxy.paths if NEW_ORDER in path])

    def test_untyped_problem(self):
        """A problem without a media type is one: a nonce that is rejected in this way ends no request."""
        def untyped(_, headers, body):
            return 400, [(n, v) for n, v in headers if n.lower() != "content-type"], b'{"type":"urn:ietf:params:acme:error:badNonce"}'
        self.ca.proxy.plan_at(FINALIZE, changed("untyped", untyped))
        self.ask("untyped")
        self.collect("untyped")

    def test_kill(self):
        """kill -9 while the CA makes the order, reads it, finalizes it or hands out the certificate: after the restart the
        request goes on, and the CA issues once."""
        for step in (NEW_ORDER, ORDER, FINALIZE, CERTIFICATE):
            name = f"killed-{step.strip('/').lower()}"
            self.ca.proxy.plan_at(step, faults.HANG_AFTER)
            device = subprocess.Popen([os.environ["SCEP_CLIENT"], "--url", self.gw.scep_url, "--challenge-env", "C", "--subject",
                                       f"/CN={self.subject(name)}", "--san", f"dns:{self.subject(name)}", "--key-out",
                                       os.path.join(self.work, f"{self.subject(name)}.key")],
                                      env={**os.environ, "C": self.gw.challenge()}, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
            self.wait_asked(step)
            self.gw.stop(9)
            device.wait(30)
            self.gw.start()
            self.wait_state(self.subject(name), "issued", 120)
            self.assertEqual(self.ca.finalized(), 1)

    def test_subject_rewritten(self):
        """A CA that drops parts of the subject: the device is refused, the operator reads why, and the CA has revoked what
        it issued."""
        self.ca.proxy.reset()
        self.enroll("serial-0042", "--san", "dns:rewritten.example.com", code=3)
        self.wait_state("serial-0042", "refused", 120)
        reason = self.request("serial-0042")["reason"]
        self.assertIn("instead of", reason)
        self.assertIn("taken it back", reason)
        self.assertEqual(self.ca.finalized(), 1)
        pem = self.replied([CERTIFICATE], b"BEGIN")
        with open(os.path.join(self.work, "rewritten.pem"), "wb") as file:
            file.write(pem)
        serial = run("openssl", "x509", "-in", os.path.join(self.work, "rewritten.pem"), "-noout", "-serial").stdout.decode()
        self.assertEqual(self.ca.status(serial.strip().split("=")[1]), "Revoked")

    def test_wrong_certificate(self):
        """A certificate for another key, after our own CSR was taken, never reaches the device; the operator reads of it, and
        the right one is taken when it comes."""
        self.ca.proxy.reset()
        self.ask("first-key")
        self.collect("first-key")
        other = self.replied([CERTIFICATE], b"BEGIN")
        unread = threading.Event()
        self.instead(CERTIFICATE, lambda body: other, lambda: not unread.is_set())
        self.ask("wrong-key")
        self.wait_for(lambda: "another public key" in (self.request(self.subject("wrong-key"))["reason"] or ""), 90)
        unread.set()
        self.collect("wrong-key")

    def test_same_names(self):
        """Two devices with the same names have two orders, or find out that they had one; each gets its own certificate."""
        self.ca.proxy.reset()
        self.ask("twin", "--key-out", os.path.join(self.work, "one.key"))
        self.wait_state(self.subject("twin"), "issued", 120)
        order = self.replied((ORDER, FINALIZE), b'"valid"')
        # What a CA says that gave the first one's order to the second as well.
        self.instead(ORDER, lambda body: order)
        self.enroll("third", "--san", "dns:twin.example.com", code=3)
        self.wait_state("third", "refused", 120)  # pebble rewrites its CN: it had a certificate of its own
        self.assertEqual(sum(NEW_ORDER in p and s == 201 for p, s in self.ca.proxy.paths), 2)

    def test_names_that_acme_does_not_know(self):
        """No SAN, or one that is neither a name nor an address: refused before the CA is asked."""
        self.ca.proxy.reset()
        self.enroll("no-san", code=2)
        self.assertIn("no SAN", self.request("no-san")["reason"])
        self.enroll("mail-san", "--san", "email:a@example.com", code=2)
        self.assertIn("email:a@example.com", self.request("mail-san")["reason"])
        self.assertFalse([p for p, _ in self.ca.proxy.paths if NEW_ORDER in p])


class Busy(AcmeTest):
    """The CA wants to be left alone when the gateway starts, and takes its time to say so."""

    busy = faults.Fault("429", False, 429, [("Retry-After", "3")], delay=4)

    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        cls.ca.proxy.stick("/dir", cls.busy)

    def setUp(self):
        self.begin()

    def test_later_for_all(self):
        """Who waits for the directory while another request asks for it hears the same answer: nobody asks again before the time."""
        devices = [self.start_device(f"waiting-{i}") for i in range(3)]
        self.wait_for(lambda: len(self.ca.proxy.notes) >= 2, 60)
        first, second = self.ca.proxy.notes[:2]
        self.assertGreaterEqual(second.at - first.answered, 3)
        self.assertEqual({r["state"] for r in self.gw.requests()}, {"ordered"})
        for device in devices:
            device.wait(60)


class Validating(Pebble):
    always_valid = False


class Http01(AcmeTest):
    make_ca = Validating

    def test_http01(self):
        """The CA fetches the challenge from our own listener, which serves nothing else."""
        self.ca.proxy.reset()
        self.enroll("127.0.0.1", "--san", "ip:127.0.0.1", code=3)
        self.wait_state("127.0.0.1", "issued", 120)
        self.enroll("127.0.0.1", "--poll")
        self.verify("127.0.0.1")
        url = f"http://127.0.0.1:{self.ca.http01}"
        said = run("curl", "-sS", f"{url}/.well-known/acme-challenge/some-token_1").stdout.decode()
        self.assertRegex(said, r"^some-token_1\.[A-Za-z0-9_-]{43}$")
        for path in ("/", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/a/b", "/.well-known/acme-challenge/a%2e",
                     "/.well-known/acme-challenge/" + "a" * 129):
            code = run("curl", "-sS", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", url + path).stdout
            self.assertEqual(code, b"404", path)
        self.assertEqual(run("curl", "-sS", "-X", "POST", "-o", "/dev/null", "-w", "%{http_code}",
                             f"{url}/.well-known/acme-challenge/a").stdout, b"404")

    def test_validation_fails(self):
        """A name that does not lead to us: the device is refused, and the operator reads what the CA says."""
        self.ca.proxy.reset()
        self.enroll("127.0.0.9", "--san", "ip:127.0.0.9", code=3)
        self.wait_state("127.0.0.9", "refused", 120)
        self.assertIn("127.0.0.9", self.request("127.0.0.9")["reason"])
        self.assertEqual(self.ca.finalized(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
