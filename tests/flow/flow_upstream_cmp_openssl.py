"""The mock server of `openssl cmp` as the upstream: another implementation's server side, in a network of its own since it
listens on every address. It hands out one certificate that was made before, so each test has a server of its own."""
import contextlib
import json
import os
import sqlite3
import threading
import time
import unittest

from faults import FaultProxy, UnixConnection
from flow_upstream_cmp import SECRET, make_cert
from gateway import free_ports, run, secret_file
from hidden import Hidden
from upstream import PATIENT, UpstreamTest, use_upstream

PORT = 8080


class KeptConnection(UnixConnection):
    """One connection for all that is asked: the server forgets a transaction when its connection is closed."""

    def __init__(self, path):
        super().__init__(path)
        self.turn = threading.Lock()

    def close(self):
        pass

    def end(self):
        with self.turn:
            super().close()


class Turn:
    """One exchange on it; the next waits until this one is closed."""

    def __init__(self, kept):
        kept.turn.acquire()
        self.request, self.getresponse, self.close = kept.request, kept.getresponse, kept.turn.release


class KeepingProxy(FaultProxy):
    """swap is held while there is no server, or another one comes."""

    kept = None

    def __init__(self, *args):
        self.swap = threading.Lock()
        super().__init__(*args)

    def connect(self):
        with self.swap:
            if not self.target:
                raise ConnectionError("there is no server yet")
            if not self.kept:
                return super().connect()
            return Turn(self.kept)


class Mock:
    """CA files, and behind the proxy a server that a test starts."""

    def __init__(self, mac):
        self.mac = mac
        self.server = None
        (self.port,) = free_ports(1)
        self.proxy = KeepingProxy(self.port, "")

    def configure(self, gw, more=""):
        self.dir = gw.work("mock")
        gw.secrets.append(SECRET)
        make_cert(self.dir, "root", "/CN=CMP root")
        make_cert(self.dir, "ca", "/CN=CMP issuing", "root")
        make_cert(self.dir, "ra", "/CN=our RA", "ca", "keyUsage=critical,digitalSignature\nextendedKeyUsage=1.3.6.1.5.5.7.3.28")
        secret_file(self.path("secret"), SECRET + "\n")
        self.root, self.chain = self.path("root.pem"), self.path("ca.pem")
        auth = f"secret: {{reference: ra, file: {self.path('secret')}}}" if self.mac else \
            f"client: {{certificate: {self.path('ra.pem')}, key: {self.path('ra.key')}}}\n    signer: {self.path('ca.pem')}"
        use_upstream(gw, self.root, f"""
    type: cmp
    url: http://127.0.0.1:{self.port}/
    {auth}
    chain: [{self.chain}, {self.root}]
{more}""")

    def path(self, name):
        return os.path.join(self.dir, name)

    def serve(self, *flags):
        """From now on the server is one with these flags; who asks meanwhile asks it."""
        with self.proxy.swap:
            self.change(flags)

    def change(self, flags):
        self.stop()
        if os.path.exists(self.path("socket")):
            os.unlink(self.path("socket"))
        proof = ["-srv_ref", "ra", "-srv_secret", f"file:{self.path('secret')}"] if self.mac else \
            ["-srv_cert", "ca.pem", "-srv_key", "ca.key", "-srv_trusted", "root.pem", "-srv_untrusted", "ca.pem"]
        self.server = Hidden(self.dir, PORT, "openssl", "cmp", "-port", str(PORT), *proof, *flags)
        self.proxy.target = self.server.path
        self.proxy.kept = KeptConnection(self.server.path)

    def stop(self):
        if self.proxy.kept:
            self.proxy.kept.end()
            self.proxy.kept = None
        if self.server:
            self.server.close()

    def close(self):
        self.stop()
        self.proxy.close()


class MockTest(UpstreamTest):
    mac = False
    limits = PATIENT

    @classmethod
    def make_ca(cls):
        return Mock(cls.mac)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        end = time.monotonic() + 60
        while not cls.ca.proxy.notes and time.monotonic() < end:  # the sign of life at the start comes to nothing
            time.sleep(0.05)

    def serve(self, name, *flags, subject=None):
        """A server that has a certificate for the device of that name."""
        key, cert = os.path.join(self.work, f"{name}.key"), self.ca.path(f"{name}.pem")
        run("openssl", "genrsa", "-out", key, "2048")
        run("openssl", "req", "-new", "-key", key, "-subj", subject or f"/CN={name}", "-out", self.ca.path("leaf.csr"))
        with open(self.ca.path("leaf.ext"), "w", encoding="ascii") as file:
            file.write("basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        run("openssl", "x509", "-req", "-in", "leaf.csr", "-days", "5", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial",
            "0x" + os.urandom(12).hex(), "-extfile", "leaf.ext", "-out", cert, cwd=self.ca.dir)
        self.ca.serve("-rsp_cert", cert, *flags)

    def events(self, name):
        """What the audit trail says became of its request, in that order."""
        with contextlib.closing(sqlite3.connect(f"file:{self.gw.path('state/scepter.db')}?mode=ro", uri=True, timeout=20)) as db:
            trail = [json.loads(text) for (text,) in db.execute("SELECT text FROM audit ORDER BY seq")]
        return [event["event"] for event in trail if event.get("subject") == f"CN={name}"]

    def confirmed(self):
        """How many certConf the server was sent, and took: its body is pkiConf, [19]."""
        return sum(status == 200 and b"\xb3\x02\x05\x00" in reply for status, reply in self.ca.proxy.replies)


class Signed(MockTest):
    def test_issue(self):
        """A certificate is issued, recorded and confirmed."""
        self.serve("plain")
        self.enroll("plain")
        self.verify("plain")
        self.wait_for(lambda: self.confirmed() == 1)

    def test_poll(self):
        """A server that lets the request wait is polled until it issues."""
        self.serve("patient", "-poll_count", "3", "-check_after", "1")
        self.enroll("patient", code=3)
        self.wait_state("patient", "issued", 60)
        self.assertEqual(self.events("patient"), ["ordered", "waiting", "issued"])
        self.enroll("patient", "--poll")
        self.verify("patient")
        self.wait_for(lambda: self.confirmed() == 1)

    def test_poll_error(self):
        """An error that answers a poll says nothing of the certificate: the request goes on waiting."""
        self.serve("forgotten", "-poll_count", "3", "-check_after", "1")
        self.ca.proxy.kept.end()
        self.ca.proxy.kept = None
        self.enroll("forgotten", code=3)
        self.wait_for(lambda: "unexpected pkibody" in self.request("forgotten")["reason"])
        self.assertEqual(self.state("forgotten"), "waiting")

    def test_refused(self):
        """A rejection refuses the device; the operator reads the CA's words."""
        for bit, name in {9: "bad-pop", 19: "bad-template"}.items():
            self.serve(name, "-pkistatus", "2", "-failure", str(bit), "-statusstring", f"not for {name}")
            self.enroll(name, code=2)
            self.assertEqual(self.state(name), "refused")
            self.assertIn(f"not for {name}", self.request(name)["reason"])

    def test_not_now(self):
        """A rejection for a reason that passes, or that an operator can mend, lets the request wait; then it is issued."""
        for bit, name in {24: "unavailable", 23: "not-authorized"}.items():
            self.serve(name, "-pkistatus", "2", "-failure", str(bit))
            self.enroll(name, code=3)
            self.ca.serve("-rsp_cert", self.ca.path(f"{name}.pem"))
            self.wait_state(name, "issued", 60)
            self.enroll(name, "--poll")
            self.verify(name)

    def test_unclear(self):
        """A CA that failed, or that knows the request already, may have issued: suspect."""
        for bit, name in {25: "failure", 21: "in-use", 26: "duplicate"}.items():
            self.serve(name, "-pkistatus", "2", "-failure", str(bit))
            self.enroll(name, code=3)
            self.wait_state(name, "suspect")
            self.gw.deny(self.request(name)["id"])

    def test_error_message(self):
        """An error in place of an answer refuses the device."""
        self.serve("error", "-send_error")
        self.enroll("error", code=2)
        self.assertIn("error processing message", self.request("error")["reason"])

    def test_unprotected(self):
        """Answers that nobody protected are not believed: neither a certificate nor a refusal."""
        self.serve("naked", "-send_unprotected")
        self.enroll("naked", code=3)
        self.wait_state("naked", "suspect")
        self.serve("naked-error", "-send_unprot_err", "-pkistatus", "2", "-failure", "9")
        self.enroll("naked-error", code=3)
        self.wait_state("naked-error", "suspect")

    def test_implicit(self):
        """A server that would confirm implicitly is not asked to: it gets a certConf."""
        self.serve("explicit", "-grant_implicitconf")
        self.enroll("explicit")
        self.wait_for(lambda: self.confirmed() == 1)

    def test_wrong_subject(self):
        """A certificate for another name is rejected."""
        self.serve("other", subject="/CN=somebody else")
        self.enroll("other", code=2)
        self.assertEqual(self.state("other"), "refused")
        self.assertFalse([c for c in self.gw.certs() if "somebody" in c["subject"]])


class Mac(MockTest):
    mac = True

    def test_mac(self):
        """Protected by a secret on both sides: issued, also after waiting."""
        self.serve("shared")
        self.enroll("shared")
        self.verify("shared")
        self.wait_for(lambda: self.confirmed() == 1)
        self.serve("shared-late", "-poll_count", "2", "-check_after", "1")
        self.enroll("shared-late", code=3)
        self.wait_state("shared-late", "issued", 60)

    def test_wrong_secret(self):
        """A CA that does not know the secret is not believed."""
        self.serve("forger")
        with open(self.ca.path("secret"), encoding="ascii") as file:
            secret = file.read()
        with open(self.ca.path("secret"), "w", encoding="ascii") as file:
            file.write("another\n")
        self.ca.serve("-rsp_cert", self.ca.path("forger.pem"), "-accept_unprotected")
        self.enroll("forger", code=3)
        self.wait_state("forger", "suspect")
        with open(self.ca.path("secret"), "w", encoding="ascii") as file:
            file.write(secret)


if __name__ == "__main__":
    unittest.main(verbosity=2)
