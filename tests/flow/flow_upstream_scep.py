"""SCEP CAs as the upstream: Debian's scepserver and a second gateway, with a proxy in between that has bad days."""
import os
import sqlite3
import time
import unittest

import faults
from faults import FaultProxy, changed
from gateway import Gateway, free_ports, run, secret_file
from hidden import Hidden
from upstream import UpstreamTest, use_upstream


def make_ra(folder, name="/CN=ra of the gateway"):
    """Our key at the CA, with a certificate of our own making."""
    run("openssl", "req", "-x509", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "ra.key", "-subj", name, "-days", "30",
        "-out", "ra.pem", cwd=folder)
    return os.path.join(folder, "ra.pem"), os.path.join(folder, "ra.key")


def use_scep(gw, port, path, root, more):
    """Routes the profile to a SCEP CA behind a proxy."""
    cert, key = os.path.join(gw.work("ra"), "ra.pem"), os.path.join(gw.work("ra"), "ra.key")
    if not os.path.exists(cert):
        make_ra(gw.work("ra"))
    use_upstream(gw, root, f"""
    type: scep
    url: http://127.0.0.1:{port}{path}
    trust: [{root}]
    client: {{certificate: {cert}, key: {key}}}
    poll: 1s
{more}""")


class ScepServer:
    """Debian's scepserver: no challenge, no polls, and a new certificate for whatever is sent again."""

    def __init__(self):
        self.gw = None
        self.port = free_ports(1)[0]

    def configure(self, gw, more=""):
        folder = gw.work("scepserver")
        run("scepserver", "ca", "-init", "-keySize", "2048", cwd=folder)
        self.depot = os.path.join(folder, "depot")
        self.root = self.chain = os.path.join(self.depot, "ca.pem")
        self.server = Hidden(folder, 8080, "scepserver", "-depot", "depot", "-port", "8080", "-allowrenew", "0")
        self.proxy = FaultProxy(self.port, self.server.path, only="PKIOperation")
        use_scep(gw, self.port, "/scep", self.root, f"    legacy: true\n{more}")  # it signs with SHA-1

    def issued(self, name):
        with open(os.path.join(self.depot, "index.txt"), encoding="utf-8") as file:
            return sum(line.rstrip().endswith(f"CN={name}") for line in file)

    def close(self):
        self.proxy.close()
        self.server.close()


class SecondGateway:
    """A CA that knows us as a registrar, and keeps what it promised: polls, and the same answer to the same transaction."""

    repeats = "never"

    def __init__(self):
        self.gw = Gateway()
        self.root = self.gw.root
        self.chain = self.gw.path("ca/issuing.pem")
        self.port = free_ports(1)[0]
        self.proxy = FaultProxy(self.port, self.gw.scep_port, only="PKIOperation")

    def configure(self, gw, more=""):
        ra, _ = make_ra(gw.work("ra"))
        self.gw.edit(r"^    keys: ", f"    registrars: [{ra}]\n    keys: ")
        self.gw.start()
        use_scep(gw, self.port, "/scep/default", self.root, f"    repeats: {self.repeats}\n{more}")

    def issued(self, name):
        return sum(c["subject"] == f"CN={name}" for c in self.gw.certs())

    def close(self):
        self.proxy.close()
        self.gw.close()


class SafeGateway(SecondGateway):
    repeats = "safe"


class ToScepServer(UpstreamTest):
    make_ca = ScepServer

    def test_enroll(self):
        """A device gets a certificate of scepserver."""
        self.enroll("plain")
        self.verify("plain")
        self.check_once("plain")

    def test_reply_lost(self):
        """What scepserver was asked and did not answer is suspect: it cannot be asked again, and is not."""
        for name, fault in {"lost": faults.LOSE, "garbled": faults.GARBAGE, "hung": faults.HANG}.items():
            self.check_suspect_quietly(name, fault)
            self.gw.deny(self.request(name)["id"])  # its polls would take the next one's fault
            self.enroll(name, "--poll", code=2)
        self.assertEqual(self.ca.issued("lost"), 1)

    def check_suspect_quietly(self, name, fault):
        """Recovery asks with CertPoll, which scepserver does not know; a PKCSReq is never sent again."""
        self.ca.proxy.reset(fault)
        self.enroll(name, code=3)
        self.wait_state(name, "suspect")
        time.sleep(2)
        self.assertLessEqual(self.ca.issued(name), 1)

    def test_foreign_answer(self):
        """RFC 8894 3.2.1.5: an answer to another message, or by another signer, is no answer."""
        self.enroll("first")
        status, old = self.ca.proxy.replies[0]
        self.ca.proxy.reset(changed("an old answer", lambda s, h, b: (s, h, old)))
        self.enroll("second", code=3)
        self.wait_state("second", "suspect")
        self.assertEqual(status, 200)
        self.assertEqual([c["subject"] for c in self.gw.certs()].count("CN=second"), 0)


class ToSecondGateway(UpstreamTest):
    """We are a registrar of the upstream; the device's challenge is ours to judge."""

    make_ca = SecondGateway

    def test_enroll(self):
        """RFC 8894 2.1.1, 2.2, 4.1: SCEP to SCEP: each side has a challenge, a transaction and an RA of its own. The CA never sees
        a transactionID of the device, nor the same one twice."""
        for name in ("plain", "plain-2"):
            self.ca.proxy.reset()
            self.enroll(name)
            self.verify(name)
            self.check_once(name)
        devices, ours = self.transactions(self.gw), self.transactions(self.ca.gw)
        self.assertEqual(len(devices & ours), 0)
        for name in ("plain", "plain-2"):
            self.assertEqual([len(self.transactions(gw, f"CN={name}")) for gw in (self.gw, self.ca.gw)], [1, 1])
        self.assertNotEqual(self.transactions(self.ca.gw, "CN=plain"), self.transactions(self.ca.gw, "CN=plain-2"))
        for message in self.ca.proxy.bodies:
            self.assertEqual(self.signer(message), self.fingerprint("-in", os.path.join(self.gw.work("ra"), "ra.pem")))

    @staticmethod
    def transactions(gw, subject="%"):
        with sqlite3.connect(f"file:{gw.path('state/scepter.db')}?mode=ro", uri=True) as db:
            return {row[0] for row in db.execute("SELECT txn FROM request WHERE subject LIKE ?", (subject,))}

    @staticmethod
    def fingerprint(*words, **options):
        return run("openssl", "x509", "-noout", "-fingerprint", "-sha256", *words, **options).stdout

    def signer(self, message):
        """Of a pkiMessage that the CA got: the certificate by whose key it is signed, and that alone comes with it."""
        folder = self.gw.work("opened")
        with open(os.path.join(folder, "message.der"), "wb") as file:
            file.write(message)
        run("openssl", "cms", "-verify", "-inform", "DER", "-in", "message.der", "-noverify", "-binary", "-signer", "signer.pem", "-out",
            os.devnull, cwd=folder)
        return self.fingerprint("-in", "signer.pem", cwd=folder)

    def test_impossible_pair(self):
        """A door that requires its binding in challengePassword is not routed to a CA that reads a secret there (flaw 17)."""
        with open(self.gw.conf, encoding="utf-8") as file:
            old = file.read()
        try:
            secrets = os.path.join(self.work, "fixed")
            secret_file(secrets, "one-for-all-of-us\n")
            self.gw.edit(r"repeats: never", "repeats: never\n    challenge: passthrough")
            self.gw.edit(r"kinds: \[one-time\]", f"fixed_file: {secrets}, kinds: [fixed]")
            self.gw.edit(r"auth: \[certificate, basic\]", "challenge_password: secret, binding: required, auth: [certificate, basic]")
            self.gw.cli("check")  # the binding stands in estIdentityLinking
            self.gw.edit(r"challenge_password: secret, ", "")
            result = self.gw.cli("check", check=False)
        finally:
            with open(self.gw.conf, "w", encoding="utf-8") as file:
                file.write(old)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"takes it for its own secret", result.stderr)

    def test_revoke_nowhere(self):
        """A profile whose revocations must reach the CA is not routed to a kind of CA that cannot be told; to one that can, it
        is."""
        for gw, code, text in ((self.gw, 1, b"cannot be told of a revocation (type scep)"), (self.ca.gw, 0, b"")):
            with open(gw.conf, encoding="utf-8") as file:
                old = file.read()
            gw.edit(r"^    keys: ", "    revoke: upstream\n    keys: ")
            result = gw.cli("check", check=False)
            with open(gw.conf, "w", encoding="utf-8") as file:
                file.write(old)
            self.assertEqual(result.returncode, code, result.stderr)
            self.assertIn(text, result.stderr)

    def test_refused(self):
        """A device that the upstream's profile does not allow is refused there, and so here."""
        self.ca.gw.edit(r"^    san: ", '    subject: {CN: "^[a-z-]+$"}\n    san: ')
        self.ca.gw.reload()
        self.enroll("not.allowed", code=2)
        self.assertIn("FAILURE", self.request("not.allowed")["reason"])

    def test_new_ra(self):
        """A CA that has put in another RA since we asked for its certificates cannot read what is encrypted to the old one: it is
        asked anew with the new one, and nobody is refused."""
        self.enroll("old-ra")
        ra = self.ca.gw.path("ra")
        run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "new.key", "-subj", "/CN=the next RA", "-out",
            "new.csr", cwd=ra)
        with open(os.path.join(ra, "ext"), "w", encoding="ascii") as file:
            file.write("keyUsage=critical,digitalSignature,keyEncipherment\n")
        run("openssl", "x509", "-req", "-in", "new.csr", "-CA", "../ca/issuing.pem", "-CAkey", "../ca/issuing.key", "-set_serial",
            "0x5ca1ab1e", "-days", "30", "-extfile", "ext", "-out", "new.pem", cwd=ra)
        with open(self.ca.chain, encoding="ascii") as issuing, open(os.path.join(ra, "new.pem"), "a", encoding="ascii") as file:
            file.write(issuing.read())
        for suffix in ("key", "pem"):
            os.replace(os.path.join(ra, f"new.{suffix}"), os.path.join(ra, f"ra.{suffix}"))
        self.ca.gw.reload()
        self.enroll("new-ra", code=3)
        self.wait_state("new-ra", "issued")
        self.enroll("new-ra", "--poll")
        self.assertEqual(self.ca.issued("new-ra"), 1)

    def test_never_heard(self):
        """What never arrived is not sent again without an operator."""
        self.ca.proxy.reset(faults.HANG)
        self.enroll("unsent", code=3)
        self.wait_state("unsent", "suspect")
        time.sleep(3)
        self.assertEqual(self.state("unsent"), "suspect")
        self.gw.cli("request", "approve", self.request("unsent")["id"])
        self.wait_state("unsent", "issued")
        self.assertEqual(self.ca.issued("unsent"), 1)

    def test_kill_while_asking(self):
        """kill -9 while the CA is asked: after the restart its answer is fetched, and it issued once."""
        self.kill_while_asking("killed")
        self.wait_state("killed", "issued")
        self.assertEqual(self.ca.issued("killed"), 1)


class ToSafeGateway(UpstreamTest):
    """repeats: safe."""

    make_ca = SafeGateway

    def test_sent_again(self):
        """A CA that answers a repeated transaction with the same certificate is asked again, and issues once."""
        for name, fault in {"lost": faults.LOSE, "hung": faults.HANG, "garbled": faults.GARBAGE}.items():
            self.ca.proxy.reset(fault)
            self.enroll(name, code=3)
            self.wait_state(name, "issued")
            self.enroll(name, "--poll")
            self.assertEqual(self.ca.issued(name), 1)
            self.assertNotIn("suspect", {r["state"] for r in self.gw.requests()})


if __name__ == "__main__":
    unittest.main(verbosity=2)
