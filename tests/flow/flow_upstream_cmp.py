"""A CMP CA as the upstream: tests/support/cmp_ca, which issues, with a proxy in front of it that has bad days."""
import base64
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
import unittest

import faults
from faults import FaultProxy, answers, changed
from gateway import free_ports, run, secret_file
from upstream import PATIENT, UpstreamTest, use_upstream

SECRET = "between-the-ra-and-its-ca"
CMP_CA = os.environ.get("CMP_CA", os.path.join(os.path.dirname(os.environ["SCEP_CLIENT"]), "cmp_ca"))
P10CR, RR, POLL, CONFIRM = 4, 11, 25, 24


def make_cert(folder, name, subject, by=None, extensions="basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign,digitalSignature"):
    with open(os.path.join(folder, "ext"), "w", encoding="ascii") as file:
        file.write(extensions + "\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n" if by else
                   extensions + "\nsubjectKeyIdentifier=hash\n")
    run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-subj",
        subject, "-out", f"{name}.csr", cwd=folder)
    signs = ["-CA", f"{by}.pem", "-CAkey", f"{by}.key"] if by else ["-signkey", f"{name}.key"]
    run("openssl", "x509", "-req", "-in", f"{name}.csr", "-days", "60", "-extfile", "ext", "-out", f"{name}.pem", *signs, cwd=folder)
    os.chmod(os.path.join(folder, f"{name}.key"), 0o600)


class CmpCa:
    """The CA's folder, its process and the proxy."""

    def __init__(self, mac=False, more=""):
        self.dir = tempfile.mkdtemp(prefix="scepter-cmp-")
        self.mac = mac
        self.more = more
        make_cert(self.dir, "root", "/CN=CMP root")
        make_cert(self.dir, "ca", "/CN=CMP issuing", "root")
        make_cert(self.dir, "next", "/CN=CMP issuing, the next", "root")
        make_cert(self.dir, "ra", "/CN=our RA", "ca", "keyUsage=critical,digitalSignature\nextendedKeyUsage=1.3.6.1.5.5.7.3.28")
        make_cert(self.dir, "stranger", "/CN=a stranger", "ca", "keyUsage=critical,digitalSignature")
        if mac:
            self.write("secret", SECRET)
        self.port, self.target = free_ports(2)
        self.start()
        self.proxy = FaultProxy(self.port, self.target)

    def start(self):
        with open(self.path("out"), "ab") as out, open(self.path("errors"), "ab") as errors:
            self.process = subprocess.Popen([CMP_CA, str(self.target), self.dir], stdout=out, stderr=errors)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, content):
        secret_file(self.path(name), content + "\n")

    def mode(self, text=""):
        """From the next message on; the CA never reads half of it."""
        self.write("mode.new", text)
        os.replace(self.path("mode.new"), self.path("mode"))

    def configure(self, gw, more=""):
        gw.secrets.append(SECRET)
        auth = f"secret: {{reference: ra, file: {self.path('secret')}}}" if self.mac else \
            f"client: {{certificate: {self.path('ra.pem')}, key: {self.path('ra.key')}}}\n    signer: {self.path('ca.pem')}"
        use_upstream(gw, self.root, f"""
    type: cmp
    url: http://127.0.0.1:{self.port}/pkix
    {auth}
    chain: [{self.path('ca.pem')}, {self.path('root.pem')}]
{self.more}
{more}""")

    @property
    def root(self):
        return self.path("root.pem")

    @property
    def chain(self):
        return self.path("ca.pem")

    def lines(self, what, name=None):
        with open(self.path("out"), encoding="utf-8") as file:
            return [line for line in file.read().splitlines() if line.startswith(what) and (not name or line.endswith(f"/CN={name}"))]

    def issued(self, name):
        return len(self.lines("issued", name))

    def asked(self, body):
        return len(self.lines(f"asked {body}"))

    def close(self):
        self.proxy.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir)


class CmpTest(UpstreamTest):
    """A gateway and a CA for each test: what one leaves unconfirmed would take the faults of the next."""

    limits = PATIENT

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        super().setUpClass()
        self.addCleanup(type(self).doClassCleanups)
        self.addCleanup(super().tearDownClass)
        self.wait_for(lambda: self.ca.proxy.asked)  # the sign of life at the start is no part of the plan
        super().setUp()
        self.ca.mode()

    def wait_line(self, what, name, count=1, seconds=30):
        end = time.monotonic() + seconds
        while len(self.ca.lines(what, name)) < count:
            self.assertLess(time.monotonic(), end, f"{self.request(name)}\n{self.gw.log()[-3000:]}")
            time.sleep(0.1)
        self.assertEqual(len(self.ca.lines(what, name)), count)

    def finish(self, name):
        """The device gets its certificate by polling; the CA issued one, and has had it confirmed."""
        self.wait_state(name, "issued", 60)
        self.enroll(name, "--poll")
        self.verify(name)
        self.assertEqual(self.ca.issued(name), 1)
        self.wait_line("confirmed", name)
        self.assertFalse(self.ca.lines("rejected", name))


class UpstreamCmp(CmpTest):
    make_ca = CmpCa

    def test_scep_to_cmp(self):
        """A SCEP device gets a certificate of a CA that only speaks CMP; it is confirmed once."""
        secret = self.gw.challenge()
        self.enroll("plain", secret=secret)
        self.verify("plain")
        self.wait_line("confirmed", "plain")
        self.assertEqual(self.ca.issued("plain"), 1)
        with sqlite3.connect(f"file:{self.gw.path('state/scepter.db')}?mode=ro", uri=True) as db:
            cookies = db.execute("SELECT cookie FROM request").fetchall()
        self.assertFalse([c for c in cookies if secret.encode() in c[0]], "no challenge is kept for certConf")

    def test_confirmed_after_commit(self):
        """No certConf until the certificate is recorded: a gateway that is killed before confirms after its restart."""
        self.ca.proxy.reset(faults.PASS, faults.HANG)
        device = self.start_device("late")
        self.wait_bodies(2)
        self.assertFalse(self.ca.lines("confirmed", "late"))
        with sqlite3.connect(f"file:{self.gw.path('state/scepter.db')}?mode=ro", uri=True) as db:
            rows = db.execute("SELECT state FROM request WHERE subject = 'CN=late'").fetchall()
        self.assertEqual(rows, [("issued",)], "what is confirmed is recorded")
        self.gw.stop(9)
        device.wait(30)
        self.gw.start()
        self.finish("late")

    def test_confirmed_and_forgotten(self):
        """A CA that does not know the transaction any more, since it had the confirmation, answers with an error: it is not
        asked for ever, and the operator reads of it. Such an error that anybody could have made ends nothing."""
        self.ca.mode("forget")
        forged = changed("forged", lambda s, h, b: (s, h, b.replace(b"CMP issuing", b"CMP ISSUING", 1)))
        self.ca.proxy.reset(faults.PASS, faults.LOSE, forged)
        self.enroll("forgotten")
        end = time.monotonic() + 60
        while self.unconfirmed():
            self.assertLess(time.monotonic(), end, f"{self.request('forgotten')} {self.gw.log()[-3000:]}")
            time.sleep(0.1)
        self.assertEqual(self.ca.asked(CONFIRM), 3)
        self.gw.log_line("is not confirmed any more: see whether the CA revoked it")
        self.assertIn("is not confirmed any more", self.request("forgotten")["reason"])
        with sqlite3.connect(f"file:{self.gw.path('state/scepter.db')}?mode=ro", uri=True) as db:
            self.assertEqual(len(db.execute("SELECT 1 FROM audit WHERE text LIKE '%\"unconfirmed\"%'").fetchall()), 1)
        self.assertEqual(self.state("forgotten"), "issued")
        self.enroll("forgotten", "--poll")
        self.verify("forgotten")
        self.assertEqual(self.ca.issued("forgotten"), 1)

    def unconfirmed(self):
        with sqlite3.connect(f"file:{self.gw.path('state/scepter.db')}?mode=ro", uri=True) as db:
            return db.execute("SELECT count(*) FROM request WHERE confirm = 1").fetchone()[0]

    def test_wait(self):
        """Pending across kill -9: polls go on where they were, and the certificate is confirmed."""
        self.ca.mode("wait 99")
        self.enroll("patient", code=3)
        self.assertEqual(self.state("patient"), "waiting")
        self.gw.stop(9)
        self.gw.start()
        polls = self.ca.asked(POLL)
        self.wait_for(lambda: self.ca.asked(POLL) > polls)
        self.assertEqual(self.state("patient"), "waiting")
        self.ca.mode("wait 1")
        self.finish("patient")
        self.assertEqual(self.ca.asked(P10CR), 1)

    def test_poll_lost(self):
        """A poll whose answer is lost, with the certificate or without, is found by another: no second request is made. OpenSSL's
        CA holds a poll that answers what was before for an error."""
        for name, mode in {"working": "wait 2", "done": "wait 0"}.items():
            self.ca.mode("wait 9")
            requests = self.ca.asked(P10CR)
            self.enroll(name, code=3)
            self.wait_state(name, "waiting")
            self.ca.proxy.reset(faults.LOSE)
            self.ca.mode(mode)
            self.finish(name)
            self.assertEqual(self.ca.asked(P10CR), requests + 1, name)

    def test_reply_lost(self):
        """A reply that is lost or garbled is recovered by a poll: the request is not sent again."""
        for name, fault in {"lost": faults.LOSE, "garbled": faults.GARBAGE}.items():
            self.ca.proxy.reset(fault)
            requests = self.ca.asked(P10CR)
            self.enroll(name, code=3)
            self.finish(name)
            self.assertEqual(self.ca.asked(P10CR), requests + 1, name)

    def test_reply_lost_deaf(self):
        """A CA that knows of no such poll leaves the request suspect, and is not sent it again; nor is one that never saw
        the request."""
        self.ca.mode("deaf")
        for name, fault in {"deaf": faults.LOSE, "unread": faults.REFUSE, "internal": answers(500)}.items():
            self.ca.proxy.reset(fault)
            requests = self.ca.asked(P10CR)
            self.enroll(name, code=3)
            self.wait_state(name, "suspect")
            time.sleep(2)
            self.assertEqual(self.state(name), "suspect")
            self.assertEqual(self.ca.asked(P10CR), requests + int(fault.asks))
            self.gw.deny(self.request(name)["id"])

    def test_approved(self):
        """What an operator sends again has a transactionID of its own: the CA may have seen the first."""
        self.ca.mode("deaf")
        self.ca.proxy.reset(faults.REFUSE)
        self.enroll("sent-again", code=3)
        self.wait_state("sent-again", "suspect")
        first = self.handle("sent-again")
        self.ca.mode()
        self.gw.cli("request", "approve", self.request("sent-again")["id"])
        self.finish("sent-again")
        self.assertNotEqual(self.handle("sent-again"), first)

    def handle(self, name):
        with sqlite3.connect(f"file:{self.gw.path('state/scepter.db')}?mode=ro", uri=True) as db:
            return db.execute("SELECT handle FROM request WHERE subject = ?", (f"CN={name}",)).fetchone()[0]

    def test_refused(self):
        """What the CA refuses the device hears, and the operator reads why."""
        self.ca.mode("refuse")
        self.enroll("unwanted", code=2)
        self.assertEqual(self.state("unwanted"), "refused")
        self.assertIn("we do not like it", self.request("unwanted")["reason"])

    def test_wrong_subject(self):
        """A certificate for another subject is rejected by certConf and never reaches the device."""
        self.ca.mode("subject")
        self.enroll("renamed", code=2)
        self.assertEqual(self.state("renamed"), "refused")
        self.assertIn('instead of "CN=renamed"', self.request("renamed")["reason"].replace("\\", ""))
        self.assertEqual(len(self.ca.lines("rejected")), 1)
        self.assertFalse(self.ca.lines("confirmed"))

    def test_next_issuer(self):
        """An issuing CA that nobody told us of, under a root that we know: its certificate is learned from the answer, and
        devices get it with the chain; also after a restart."""
        self.ca.mode("next")
        self.enroll("by-next")
        pem = os.path.join(self.work, "by-next.pem")
        run("openssl", "verify", "-x509_strict", "-CAfile", self.ca.root, "-untrusted", self.ca.path("next.pem"), pem)
        self.wait_line("confirmed", "by-next")
        self.assertIn("CN = \"CMP issuing, the next\"", self.cacerts())
        self.gw.stop()
        self.gw.start()
        self.enroll("by-next-2")
        self.wait_line("confirmed", "by-next-2")

    def test_no_chain(self):
        """The same without its certificate: what chains to nothing is rejected by certConf."""
        self.ca.mode("orphan")
        self.enroll("orphan", code=2)
        self.assertEqual(self.state("orphan"), "refused")
        self.wait_line("rejected", "orphan")
        self.assertFalse(self.ca.lines("confirmed", "orphan"))
        self.assertNotIn("the next", self.cacerts())

    def cacerts(self):
        body = run("curl", "-sS", "--cacert", self.gw.root, f"{self.gw.est_url}/cacerts").stdout
        return run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout.decode()

    def test_forged(self):
        """An answer that was changed or belongs to another transaction is not taken; the request is found by a poll. Of
        extraCerts, which are not protected, nothing bad is taken."""
        old = self.ca.proxy.replies
        self.enroll("before")
        foreign = old[0][1] if old else self.ca.proxy.replies[0][1]
        flip = changed("flipped", lambda s, h, b: (s, h, b[:-40] + bytes([b[-40] ^ 1]) + b[-39:]))
        name_changed = changed("renamed", lambda s, h, b: (s, h, b.replace(b"renamed", b"RENAMED")))
        other = changed("foreign", lambda s, h, b: (s, h, foreign))
        for name, fault in {"renamed": name_changed, "foreign": other}.items():
            self.ca.proxy.reset(fault)
            requests = self.ca.asked(P10CR)
            self.enroll(name, code=None)
            self.finish(name)
            self.assertEqual(self.ca.asked(P10CR), requests + 1)
        self.ca.proxy.reset(flip)
        self.enroll("flipped")
        self.finish("flipped")

    def test_kill_while_asking(self):
        """kill -9 while the CA is asked: after the restart the certificate is found by a poll."""
        self.kill_while_asking("killed")
        self.finish("killed")

    def wait_bodies(self, count):
        self.wait_for(lambda: len(self.ca.proxy.bodies) >= count)

    def enroll(self, name, *flags, code=0, secret=None):
        """code None: whatever comes of it now."""
        if code is not None:
            return super().enroll(name, *flags, code=code, secret=secret)
        device = self.start_device(name)
        device.wait(60)
        return ""


class ExpiredCa(CmpCa):
    def __init__(self):
        super().__init__()
        run("openssl", "x509", "-req", "-in", "ra.csr", "-days", "-1", "-extfile", "ext", "-out", "ra.pem", "-CA", "ca.pem",
            "-CAkey", "ca.key", cwd=self.dir)


class Expired(UpstreamTest):
    make_ca = ExpiredCa
    limits = PATIENT

    def test_expired(self):
        """With an RA certificate that has expired requests wait, the operator reads why, and the CA is not asked; with a new
        one they are issued."""
        self.enroll("early", code=3)
        self.wait_for(lambda: "has expired on" in self.request("early")["reason"])
        self.assertEqual(self.ca.proxy.asked, 0)
        self.assertNotEqual(self.gw.cli("upstream", "test", "plant", check=False).returncode, 0)
        run("openssl", "x509", "-req", "-in", "ra.csr", "-days", "60", "-extfile", "ext", "-out", "ra.pem", "-CA", "ca.pem", "-CAkey",
            "ca.key", cwd=self.ca.dir)
        self.gw.stop()
        self.gw.start()
        self.wait_state("early", "issued", 60)
        self.enroll("early", "--poll")
        self.assertEqual(self.ca.issued("early"), 1)


class Mac(CmpTest):
    @staticmethod
    def make_ca():
        return CmpCa(mac=True)

    def test_mac(self):
        """Both sides prove that they know a secret; waiting, confirming and recovering as with signatures."""
        self.enroll("shared")
        self.finish("shared")
        self.ca.mode("wait 1")
        self.enroll("shared-late", code=3)
        self.finish("shared-late")
        self.ca.mode()
        self.ca.proxy.reset(faults.LOSE)
        self.enroll("shared-lost", code=3)
        self.finish("shared-lost")


class Resend(CmpTest):
    @staticmethod
    def make_ca():
        return CmpCa(more="    resend: true")

    def test_resend(self):
        """A CA that never issues twice for a transactionID is sent the request again, also one that never came."""
        self.ca.mode("deaf")
        for name, fault in {"again": faults.LOSE, "anew": faults.REFUSE}.items():
            self.ca.proxy.reset(fault)
            self.enroll(name, code=3)
            self.finish(name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
