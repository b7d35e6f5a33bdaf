"""An EST CA as the upstream: a second gateway, with a proxy between the two that has bad days."""
import base64
import crypt
import json
import os
import re
import ssl
import threading
import time
import unittest

import faults
from est_wire import Tls12, basic, make_csr, request
from faults import FaultProxy, answers, changed
from gateway import Gateway, free_ports, run
from upstream import UpstreamTest, use_upstream

PASSWORD = "of-the-registration-authority"


class EstCa:
    """A second gateway that issues over EST for a user, and the proxy in front of it."""

    def __init__(self, client=False):
        self.gw = Gateway()
        self.gw.secret_file("users", f"ra:{crypt.crypt(PASSWORD, crypt.METHOD_SHA256)}\n")
        self.gw.edit(r"auth: \[certificate, basic\]", "auth: [certificate, basic], users: users")
        self.gw.start()
        self.port = free_ports(1)[0]
        self.proxy = FaultProxy(self.port, self.gw.est_port, self.gw.path("tls/server.pem"), self.gw.path("tls/server.key"),
                                only="simpleenroll")
        self.client = client and self.make_clients()

    def make_clients(self):
        """A folder with an RA's certificate that the proxy takes from now on, and two that it does not."""
        folder = self.gw.work("clients")
        for name, ca, days in (("known", None, 30), ("client", "known", 30), ("unknown", None, 30), ("stranger", "unknown", 30),
                               ("expired", "known", -1)):
            by = ["-CA", f"{ca}.pem", "-CAkey", f"{ca}.key"] if ca else ["-signkey", f"{name}.key"]
            run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr", cwd=folder)
            run("openssl", "x509", "-req", "-in", f"{name}.csr", "-days", days, "-out", f"{name}.pem", *by, cwd=folder)
        self.proxy.server_context.load_verify_locations(os.path.join(folder, "known.pem"))
        self.proxy.server_context.verify_mode = ssl.CERT_REQUIRED
        return folder

    def configure(self, gw, more=""):
        """Makes it the upstream of another gateway."""
        gw.secret_file("plant.password", PASSWORD + "\n", PASSWORD)
        if self.client:
            more += f"\n    client: {{certificate: {self.client}/client.pem, key: {self.client}/client.key}}"
        use_upstream(gw, self.gw.root, f"""
    type: est
    url: https://127.0.0.1:{self.port}/.well-known/est
    trust: [{self.gw.root}]
    basic: {{user: ra, password_file: plant.password}}
{more}""")

    @property
    def root(self):
        return self.gw.root

    @property
    def chain(self):
        return self.gw.path("ca/issuing.pem")

    def issued(self, name):
        return sum(c["subject"] == f"CN={name}" for c in self.gw.certs())

    def close(self):
        self.proxy.close()
        self.gw.close()


def issue_elsewhere(ca, subject, work):
    """A certs-only body of the CA for another key."""
    run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "other.key",
        "-subj", subject, "-outform", "DER", "-out", "other.der", cwd=work)
    with open(os.path.join(work, "other.der"), "rb") as file:
        with open(os.path.join(work, "other.b64"), "wb") as out:
            out.write(base64.encodebytes(file.read()))
    run("curl", "-sS", "--fail", "--cacert", ca.gw.root, "--user", f"ra:{PASSWORD}", "--data-binary", "@other.b64", "-H",
        "Content-Type: application/pkcs10", "-o", "other.p7", f"{ca.gw.est_url}/simpleenroll", cwd=work)
    with open(os.path.join(work, "other.p7"), "rb") as file:
        return file.read()


class UpstreamEst(UpstreamTest):
    make_ca = EstCa

    def test_scep_to_est(self):
        """A SCEP device gets a certificate of a CA that only speaks EST, and the CA's certificates by GetCACert."""
        self.enroll("plain")
        self.verify("plain")
        self.assertEqual(self.state("plain"), "issued")
        self.assertEqual(self.ca.proxy.asked, 1)
        mine = next(c for c in self.gw.certs() if c["subject"] == "CN=plain")
        self.assertEqual(mine["upstream"], "plant")

    def test_est_to_est(self):
        """An EST device gets the same, and the CA's certificates by cacerts."""
        run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-subj", "/CN=est-device", "-outform",
            "DER", "-out", "csr.der", cwd=self.work)
        with open(os.path.join(self.work, "csr.der"), "rb") as file:
            der = file.read()
        with open(os.path.join(self.work, "csr.b64"), "wb") as file:
            file.write(base64.encodebytes(der))
        reply = run("curl", "-sS", "--fail", "--cacert", self.gw.root, "--user", f"device:{self.gw.challenge()}", "--data-binary",
                    "@csr.b64", "-H", "Content-Type: application/pkcs10", f"{self.gw.est_url}/simpleenroll", cwd=self.work)
        with open(os.path.join(self.work, "p7"), "wb") as file:
            file.write(base64.b64decode(reply.stdout))
        run("openssl", "pkcs7", "-inform", "DER", "-in", "p7", "-print_certs", "-out", "est-device.pem", cwd=self.work)
        self.verify("est-device")
        self.assertEqual(base64.b64decode(self.ca.proxy.bodies[0]), der, "the CSR went up byte for byte")
        mine = run("curl", "-sS", "--cacert", self.gw.root, f"{self.gw.est_url}/cacerts").stdout
        theirs = run("curl", "-sS", "--cacert", self.ca.gw.root, f"{self.ca.gw.est_url}/cacerts").stdout
        self.assertEqual(base64.b64decode(mine), base64.b64decode(theirs))

    def test_cacerts_kept(self):
        """The CA's certificates are not fetched for each device, and are told also while it cannot be reached, after a restart
        too."""
        def cacerts():
            return run("curl", "-sS", "--fail", "--cacert", self.gw.root, f"{self.gw.est_url}/cacerts").stdout
        told = cacerts()
        for i in range(3):
            self.enroll(f"kept-{i}")
            self.assertEqual(cacerts(), told)
        self.assertEqual([n.path for n in self.ca.proxy.notes if "cacerts" in n.path], [])
        self.ca.proxy.stop()
        try:
            self.gw.stop()
            self.gw.start()
            self.assertEqual(cacerts(), told)
        finally:
            self.ca.proxy.start()

    def test_commands(self):
        """upstream list names kinds and what they can do; upstream test asks the CA, and issues only when told to."""
        plant = next(u for u in json.loads(self.gw.cli("upstream", "list", "--json").stdout) if u["name"] == "plant")
        self.assertEqual((plant["type"], plant["can"]), ("est", "enroll pending"))
        self.assertIsNone(plant["ours_not_after"])
        tested = self.gw.cli("upstream", "test", "plant").stdout.decode()
        self.assertIn("CN=scepter issuing CA", tested)
        self.assertIn("not known   whether the CA takes our user and password", tested)
        self.assertEqual(self.ca.proxy.asked, 0)
        issued = self.gw.cli("upstream", "test", "plant", "--enroll").stdout.decode()
        self.assertIn("BEGIN CERTIFICATE", issued)
        self.assertNotIn("not known", issued)
        self.assertEqual(self.ca.proxy.asked, 1)
        self.assertEqual(self.gw.cli("upstream", "test", "nobody", check=False).returncode, 1)
        self.ca.proxy.reset(answers(400))
        refused = self.gw.cli("upstream", "test", "plant", "--enroll", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"refused: the CA answers 400", refused.stdout)
        self.ca.proxy.stop()
        try:
            result = self.gw.cli("upstream", "test", "plant", check=False)
        finally:
            self.ca.proxy.start()
        self.assertEqual(result.returncode, 3)
        self.assertIn(b"onnect", result.stderr)

    def test_upstream_says_no(self):
        """A CA that refuses for good refuses the device, whose operator hears why."""
        self.ca.proxy.reset(answers(400))
        self.enroll("unwanted", code=2)
        self.assertEqual(self.state("unwanted"), "refused")
        self.assertIn("400", self.request("unwanted")["reason"])

    def test_upstream_pending(self):
        """202 with Retry-After: the same POST again, also by a gateway that was killed meanwhile."""
        self.ca.proxy.stick("simpleenroll", answers(202, ("Retry-After", "1")))
        self.enroll("patient", code=3)
        self.assertEqual(self.state("patient"), "waiting")
        self.wait_for(lambda: len(self.ca.proxy.bodies) > 1)
        self.gw.stop(9)
        self.gw.start()
        self.ca.proxy.stick("simpleenroll", faults.PASS)
        self.wait_state("patient", "issued")
        self.enroll("patient", "--poll")
        self.verify("patient")
        self.assertGreaterEqual(len(self.ca.proxy.bodies), 3)
        self.assertEqual(len(set(self.ca.proxy.bodies)), 1, "each POST is the same")
        self.assertEqual(self.ca.proxy.asked, 1)

    def test_refused_meanwhile(self):
        """RFC 7030 4.2.3: who was told 202 hears by the same POST that the CA refused meanwhile, also after a restart, though its
        password is spent; the CA is not asked again."""
        self.ca.proxy.reset(answers(202, ("Retry-After", "3")), answers(400))
        post = request("simpleenroll", make_csr(self.work, "/CN=meanwhile"), basic(self.gw.challenge()))

        def status():
            with Tls12(self.gw) as conn:
                return conn.ask(post)[0]

        self.assertEqual(status(), 202)
        self.wait_state("meanwhile", "refused")
        self.gw.stop()
        self.gw.start()
        self.assertEqual([status(), status()], [403, 401])
        self.assertIn('reason="upstream-refused"', self.gw.log_line('subject="CN=meanwhile"', "status=403"))
        self.assertEqual(len(self.ca.proxy.bodies), 2)

    def test_reply_lost(self):
        """A request whose reply is lost or garbled is never sent again by itself. Approved by an operator it is, and the device
        gets its certificate by polling; denied it is over."""
        for name, fault in {"lost": faults.LOSE, "garbled": faults.GARBAGE}.items():
            self.check_suspect(name, fault)
        self.ca.proxy.reset()
        self.gw.cli("request", "approve", self.request("lost")["id"], "--reason", "the CA has none")
        self.wait_state("lost", "issued")
        self.enroll("lost", "--poll")
        self.verify("lost")
        self.gw.deny(self.request("garbled")["id"])
        self.enroll("garbled", "--poll", code=2)
        self.assertEqual(self.gw.deny(self.request("garbled")["id"], check=False).returncode, 1)
        self.gw.cli("audit", "verify")

    def test_decided_too_late(self):
        """An operator who denies what is being issued hears that it is, as soon as it is, and the device has its certificate."""
        told = threading.Event()

        def late(*answer):
            told.wait(60)
            return answer

        self.ca.proxy.reset(changed("late", late))
        device = self.start_device("late")
        self.wait_for(lambda: self.ca.proxy.asked)
        threading.Timer(2, told.set).start()
        denied = self.gw.deny(self.request("late")["id"], check=False)
        self.assertEqual(denied.returncode, 1)
        self.assertIn(b"is issued already", denied.stderr)
        device.wait(60)
        self.assertEqual((self.state("late"), self.ca.issued("late")), ("issued", 1))

    def test_no_certificate(self):
        """An answer with CA certificates only makes the request suspect, which says why."""
        with open(self.gw.path("ca/root.pem"), "rb") as file:
            foreign = file.read()
        self.ca.proxy.reset(changed("CA certificates only", lambda s, h, b: (s, h, foreign)))
        self.enroll("no-leaf", code=3)
        self.wait_state("no-leaf", "suspect")
        self.assertIn("CA certificates only", self.request("no-leaf")["reason"])

    def test_kill_while_asking(self):
        """kill -9 while the CA is asked: after the restart the request is suspect, and the CA was asked once."""
        self.kill_while_asking("killed")
        self.wait_state("killed", "suspect")
        time.sleep(2)
        self.assertEqual(self.ca.proxy.asked, 1)
        self.assertEqual(self.ca.issued("killed"), 1)


class Late(UpstreamTest):
    """The CA is not there when the gateway starts for the first time."""

    make_ca = EstCa

    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        cls.ca.proxy.stop()

    def begin(self):
        self.work = self.gw.work("late")

    def test_late(self):
        """Until the CA has told its certificates nobody can tell them to devices, so it is asked for them again and again."""
        self.wait_for(lambda: re.search(r'level=warn event=upstream about="plant"', self.gw.log()))
        self.assertFalse(self.knows_ca())
        self.ca.proxy.start()
        self.wait_for(self.knows_ca)
        self.enroll("late")
        self.verify("late")


class Outage(UpstreamTest):
    make_ca = EstCa
    limits = "    limits: {wait: 30s, deadline: 30s, inflight: 2}\n    breaker: {failures: 3, open: 2s}"

    def test_outage(self):
        """During an outage devices hear PENDING at once and keep their place; after it each gets its certificate by
        polling, once."""
        self.ca.proxy.stop()
        for i in range(8):
            started = time.monotonic()
            self.enroll(f"out-{i}", code=3)
            waited = time.monotonic() - started
        self.assertLess(waited, 15, "the breaker is open, nobody waits")
        self.assertEqual(self.gw.metric('upstream_breaker.upstream="plant",state="closed"'), 0)
        self.ca.proxy.start()
        for i in range(8):
            self.wait_state(f"out-{i}", "issued", 120)
            self.enroll(f"out-{i}", "--poll")
            self.verify(f"out-{i}")
            self.assertEqual(self.ca.issued(f"out-{i}"), 1)
        self.assertEqual(self.gw.metric('upstream_breaker.upstream="plant",state="closed"'), 1)


class Impostor(UpstreamTest):
    """Who answers in the CA's place has a certificate of its own."""

    make_ca = EstCa

    def test_impostor(self):
        """To a server whose certificate does not chain to `trust`, or is for another name, nothing is sent: no request, no
        password."""
        self.enroll("real")
        folder, ca = self.ca.gw.work("impostor"), self.ca.gw.path("ca/issuing.pem")
        for name, san, by in (("untrusted", "IP:127.0.0.1", ("-signkey", "tls.key")),
                              ("misnamed", "DNS:ca.example.com", ("-CA", ca, "-CAkey", self.ca.gw.path("ca/issuing.key")))):
            with self.subTest(name):
                self.become(folder, san, by)
                self.ca.proxy.reset()
                self.enroll(name, code=3)
                self.wait_for(lambda: re.search("certificate|subject name", self.request(name)["reason"] or ""))
                self.assertEqual((self.ca.proxy.asked, self.ca.proxy.notes, self.state(name)), (0, [], "ordered"))
                self.ca.proxy.server_context.load_cert_chain(self.ca.gw.path("tls/server.pem"), self.ca.gw.path("tls/server.key"))
                self.wait_state(name, "issued", 60)
                self.assertEqual(self.ca.issued(name), 1)

    def become(self, folder, san, by):
        """The proxy has this certificate from now on, and no connection from before."""
        with open(os.path.join(folder, "ext"), "w", encoding="ascii") as file:
            file.write(f"subjectAltName={san}\n")
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "tls.key", "-subj",
            "/CN=impostor", "-out", "tls.csr", cwd=folder)
        run("openssl", "x509", "-req", "-in", "tls.csr", "-days", 2, "-extfile", "ext", "-out", "tls.pem", *by, cwd=folder)
        with open(os.path.join(folder, "tls.pem"), "a", encoding="ascii") as file, open(self.ca.chain, encoding="ascii") as above:
            file.write(above.read())
        self.ca.proxy.server_context.load_cert_chain(os.path.join(folder, "tls.pem"), os.path.join(folder, "tls.key"))
        self.ca.proxy.hang_up()


class ClientCertificate(UpstreamTest):
    """The proxy asks for a certificate as a CA does that knows its RAs by them."""

    @staticmethod
    def make_ca():
        return EstCa(client=True)

    def test_client_certificate(self):
        """The CA sees our certificate; when it does not take it, no request is taken for sent, and when it has expired,
        none is sent."""
        self.enroll("by-certificate")
        self.verify("by-certificate")
        self.use_client("stranger")
        self.enroll("stranger", code=3)
        # Which of the two is a race of the alert with our next octets, within libcurl.
        self.wait_reason("stranger", "by the alert unknown CA|perhaps our certificate is not wanted")
        self.assertEqual(self.state("stranger"), "ordered")
        self.use_client("expired")
        self.enroll("expired", code=3)
        self.wait_reason("expired", "has expired on")
        self.assertEqual(self.state("expired"), "ordered")
        self.assertEqual(self.ca.proxy.asked, 1)
        self.use_client("client")
        for name in ("stranger", "expired"):
            self.wait_state(name, "issued", 60)
            self.enroll(name, "--poll")
            self.assertEqual(self.ca.issued(name), 1)

    def wait_reason(self, name, reason):
        self.wait_for(lambda: re.search(reason, self.request(name)["reason"] or ""))

    def use_client(self, name):
        """The gateway knows itself by another certificate, after a reload."""
        self.gw.edit(r"client: \{certificate: .*", f"client: {{certificate: {self.ca.client}/{name}.pem, "
                     f"key: {self.ca.client}/{name}.key}}")
        self.gw.reload()


if __name__ == "__main__":
    unittest.main(verbosity=2)
