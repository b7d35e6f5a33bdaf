"""step-ca as the upstream: a double of it, with a proxy between the two that has bad days.

With STEP_CA in the environment, the path of a step-ca, the tests run against that one.
"""
import base64
import json
import os
import subprocess
import tempfile
import time
import unittest

import faults
from double_stepca import StepCaDouble, jwk_of, thumbprint
from doubles import DoubleCa, DoubleTest
from faults import answers, changed
from gateway import SCEPTER, run
from upstream import use_upstream

REAL = os.environ.get("STEP_CA")
# What the request says goes into the certificate; step-ca's own template takes the common name only. docs/upstreams/stepca.md
TEMPLATE = """{
  "subject": {{ toJson .Insecure.CR.Subject }},
  "dnsNames": {{ toJson .Insecure.CR.DNSNames }},
  "emailAddresses": {{ toJson .Insecure.CR.EmailAddresses }},
  "ipAddresses": {{ toJson .Insecure.CR.IPAddresses }},
  "uris": {{ toJson .Insecure.CR.URIs }},
  "keyUsage": ["digitalSignature"],
  "extKeyUsage": ["clientAuth"]
}"""
KEYS = {"p256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "ed25519": ["ED25519"]}


def spoil(body):
    """The token's signature does not verify any more: step-ca notes the token, and refuses it."""
    asked = json.loads(body)
    head, _, signature = asked["ott"].rpartition(".")
    asked["ott"] = f"{head}.{'A' * len(signature)}"
    return json.dumps(asked).encode()


SPOILT = faults.Fault("spoilt", True, before=spoil)


class RealStepCa:
    """A step-ca process; what it issued and had is in its log."""

    def __init__(self, port, ca, jwk_pem):
        self.ca, self.port = ca, port
        self.errors = []
        self.headers = self.tokens = None
        self.dir = tempfile.mkdtemp(prefix="db-", dir=ca.dir)
        jwk = jwk_of(jwk_pem)
        alg = {"EC": "ES256", "RSA": "RS256", "OKP": "EdDSA"}[jwk["kty"]]
        options = {"x509": {"template": TEMPLATE}}
        policy = {"x509": {"deny": {"dns": ["forbidden.example.com"]}}}
        conf = {"root": ca.root, "crt": ca.chain, "key": ca.path("issuing.key"), "address": f"127.0.0.1:{port}",
                "dnsNames": ["127.0.0.1"], "logger": {"format": "json"}, "db": {"type": "badgerv2", "dataSource": self.dir},
                "authority": {"policy": policy, "provisioners": [
                    {"type": "JWK", "name": "scepter", "key": {"use": "sig", "kid": thumbprint(jwk), "alg": alg, **jwk}, "options": options},
                    {"type": "X5C", "name": "by-x5c", "options": options,
                     "roots": base64.b64encode(ca.text("root.pem").encode()).decode()}]}}
        self.start(conf)
        self.conf = conf

    def start(self, conf):
        with open(self.ca.path("ca.json"), "w", encoding="ascii") as file:
            json.dump(conf, file)
        with open(self.ca.path("step.log"), "ab") as log:
            self.process = subprocess.Popen([REAL, self.ca.path("ca.json")], env={"STEPPATH": self.ca.dir, "HOME": self.ca.dir},
                                            stdout=log, stderr=log)

    def restart(self):
        """Without the database, and so without a memory."""
        self.close()
        self.start({name: value for name, value in self.conf.items() if name != "db"})

    def lines(self, path):
        with open(self.ca.path("step.log"), encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.startswith("{") and f'"path":"/1.0{path}"' in line]

    def issued(self, name):
        return sum(line["status"] == 201 and line["subject"] == name for line in self.lines("/sign"))

    @property
    def revoked(self):
        return [line["serial"] for line in self.lines("/revoke") if line["status"] == 200]

    @property
    def bodies(self):
        return self.lines("/sign")

    def close(self):
        self.process.terminate()
        self.process.wait(30)


class StepCa(DoubleCa):
    """The double, or the real one, and the proxy in front of it."""

    def __init__(self, key="p256", how="jwk"):
        self.key, self.how = key, how
        super().__init__("/1.0/sign")

    def make_double(self, port):
        run("openssl", "genpkey", "-algorithm", *KEYS[self.key], "-out", "jwk.key", cwd=self.ca.dir)
        self.ca.make("x5c", "root", "extendedKeyUsage=clientAuth\nkeyUsage=critical,digitalSignature")
        return (RealStepCa if REAL else StepCaDouble)(port, self.ca, self.ca.text("jwk.key"))

    def issued(self, name):
        return (self.double if REAL else self.ca).issued(name)

    def configure(self, gw, more=""):
        os.chmod(self.ca.path("jwk.key"), 0o600)
        os.chmod(self.ca.path("x5c.key"), 0o600)
        auth = {"jwk": f"provisioner: scepter\n    jwk: {{key: {self.ca.path('jwk.key')}}}",
                "x5c": f"provisioner: by-x5c\n    x5c: {{certificate: {self.ca.path('x5c.pem')}, key: {self.ca.path('x5c.key')}}}"}
        use_upstream(gw, self.root, f"""
    type: stepca
    url: https://127.0.0.1:{self.port}
    trust: [{self.root}]
    {auth[self.how]}
{more}""")


class UpstreamStepCaBase(DoubleTest):
    make_ca = StepCa


class UpstreamStepCa(UpstreamStepCaBase):
    def signings(self):
        return sum(path == "/1.0/sign" for path, _ in self.ca.proxy.paths)

    def test_sign(self):
        """A device gets a certificate of step-ca's for its subject and SANs."""
        self.enroll("plain")
        self.verify("plain")
        self.check_once("plain")
        self.enroll("sans", "--san", "dns:sans.example.com", "--san", "ip:192.0.2.7", "--san", "ip:2001:db8::7")
        text = run("openssl", "x509", "-in", os.path.join(self.work, "sans.pem"), "-noout", "-ext", "subjectAltName").stdout.decode()
        for san in ("DNS:sans.example.com", "IP Address:192.0.2.7", "2001:DB8"):
            self.assertIn(san, text)

    def test_chain(self):
        """Devices are told the CA's certificates, which step-ca was asked for."""
        output = run("curl", "-sS", "--cacert", self.gw.root, f"{self.gw.est_url}/cacerts").stdout
        pem = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(output)).stdout.decode()
        self.assertIn("CN = issuing", pem)

    def test_policy_says_no(self):
        """A name that step-ca's policy forbids refuses the device, whose operator hears why."""
        self.enroll("forbidden", "--san", "dns:forbidden.example.com", code=2)
        self.assertEqual(self.state("forbidden"), "refused")
        self.assertIn("403", self.request("forbidden")["reason"])
        self.assertIn("forbidden", self.request("forbidden")["reason"])

    def test_later(self):
        """Kept back by something in front of step-ca: the device gets its certificate by polling; it is issued once."""
        self.ca.proxy.reset(answers(403))
        self.enroll("barred", code=3)
        self.wait_state("barred", "issued")
        self.enroll("barred", "--poll")
        self.check_once("barred")

    def test_token_refused(self):
        """A token that step-ca refuses, and that is spent with that, is replaced: when what was wrong is mended the request is
        issued, once, and the device never hears of it."""
        self.ca.proxy.reset(SPOILT)
        self.enroll("spoilt", code=3)
        self.wait_state("spoilt", "issued")
        self.enroll("spoilt", "--poll")
        self.assertEqual(self.ca.issued("spoilt"), 1)
        self.assertEqual(self.signings(), 2)

    def test_reply_lost(self):
        """A reply that is lost or garbled after step-ca issued makes the request suspect: asked with the same token step-ca
        issues nothing, whatever is tried, until an operator decides."""
        for name, fault in {"lost": faults.LOSE, "garbled": faults.GARBAGE}.items():
            self.ca.proxy.reset(fault)
            self.enroll(name, code=3)
            self.wait_state(name, "suspect")
            self.wait_for(lambda name=name: "has had it" in self.request(name)["reason"])
            self.enroll(name, "--poll", code=3)
            self.assertEqual(self.ca.issued(name), 1)
            self.gw.deny(self.request(name)["id"])  # it asks again, which the next fault is not for

    def test_approved(self):
        """What an operator sends again has a token of its own."""
        self.ca.proxy.reset(faults.LOSE)
        self.enroll("approved", code=3)
        self.wait_state("approved", "suspect")
        self.gw.cli("request", "approve", self.request("approved")["id"], "--reason", "revoked there")
        self.wait_state("approved", "issued")
        self.assertEqual(self.ca.issued("approved"), 2)

    def test_never_arrived(self):
        """A request that did not arrive is sent again with the same token, and issued once."""
        for name, fault in {"unread": faults.REFUSE, "hung": faults.HANG, "internal": answers(500), "gateway": answers(502)}.items():
            self.ca.proxy.reset(fault)
            self.enroll(name, code=3)
            self.wait_state(name, "issued", 60)
            self.enroll(name, "--poll")
            self.verify(name)
            self.check_once(name)

    def test_arrives_late(self):
        """A request that arrives after its repetition was issued issues nothing more."""
        self.ca.proxy.reset(faults.HANG)
        self.enroll("late", code=3)
        self.wait_state("late", "issued", 60)
        connection = self.ca.proxy.connect()
        connection.request("POST", "/1.0/sign", self.ca.proxy.bodies[0], {"Content-Type": "application/json"})
        self.assertEqual(connection.getresponse().status, 401)
        connection.close()
        self.assertEqual(self.ca.issued("late"), 1)

    def test_kill_while_asking(self):
        """kill -9 while step-ca is asked: after the restart the request is suspect, and step-ca does not issue again."""
        self.kill_while_asking("killed")
        self.wait_state("killed", "suspect", 60)
        time.sleep(3)
        self.assertEqual(self.ca.issued("killed"), 1)

    def test_no_certificate(self):
        """An answer without a certificate, and one whose parts have other types, make the request suspect."""
        for name, text in {"empty": b"{}", "number": b'{"crt": 7, "certChain": {"a": 1}}', "list": b"[]", "deep": b"[" * 5000}.items():
            self.ca.proxy.reset(changed(name, lambda s, h, b, text=text: (201, [("Content-Type", "application/json")], text)))
            self.enroll(name, code=3)
            self.wait_state(name, "suspect")
            self.assertEqual(self.ca.issued(name), 1)
            self.gw.deny(self.request(name)["id"])  # it asks again, which the next fault is not for

    def test_revoke(self):
        """cert revoke tells step-ca."""
        self.enroll("revoked")
        serial = next(c["serial"] for c in self.gw.certs() if c["subject"] == "CN=revoked")
        self.gw.cli("cert", "revoke", serial, "--reason", "keyCompromise")
        self.assertIn(str(int(serial, 16)), self.ca.double.revoked)

    def test_config(self):
        """What cannot work is a fault with its line."""
        with open(self.gw.path("scepter.yaml"), encoding="utf-8") as file:
            good = file.read()
        jwk = f"jwk: {{key: {self.ca.ca.path('jwk.key')}}}"
        x5c = f"x5c: {{certificate: {self.ca.ca.path('x5c.pem')}, key: {self.ca.ca.path('jwk.key')}}}"
        run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", self.gw.path("p384.key"))
        os.chmod(self.gw.path("p384.key"), 0o600)
        line = next(i for i, text in enumerate(good.splitlines(), 1) if jwk in text)
        for old, new, where, fault in [
                ("url: https://", "url: http://", line - 3, "is not https"), (jwk, "", line - 5, "says not what signs its tokens"),
                (jwk, f"{jwk}\n    {x5c}", line - 5, "in several ways"), (jwk, x5c, line, "does not belong to the certificate"),
                (jwk, f"jwk: {{key: {self.gw.path('p384.key')}}}", line, "signs no tokens"),
                ("provisioner: scepter", "", line - 5, "provisioner: is missing")]:
            with self.subTest(new):
                with open(self.gw.path("broken.yaml"), "w", encoding="utf-8") as file:
                    file.write(good.replace(old, new, 1))
                result = run(SCEPTER, "check", "-c", self.gw.path("broken.yaml"), check=False)
                said = (result.stdout + result.stderr).decode()
                self.assertEqual(result.returncode, 1, said)
                self.assertRegex(said, rf"(?m)broken.yaml:{where}:.*{fault}")

    def test_upstream_test(self):
        """upstream test asks for health, provisioner and chain; with --enroll it gets a certificate."""
        self.gw.cli("upstream", "test", "plant")
        if not REAL:  # whose name policy, which we need elsewhere, takes no common name with a space: 500
            self.gw.cli("upstream", "test", "plant", "--enroll")

    def test_secrets(self):
        """No token stands in the log."""
        self.enroll("quiet")
        self.ca.proxy.reset(faults.GARBAGE)
        self.enroll("quiet-2", code=3)
        log = self.gw.log()
        for body in self.ca.proxy.bodies:
            self.assertNotIn(json.loads(body)["ott"][-40:], log)


class Forgetful(UpstreamStepCaBase):
    def test_forgetful(self):
        """A step-ca that issued, was started again and has forgotten which tokens it had: the request's token is older than
        that start, and it issues nothing for it."""
        def restart(status, headers, body):
            time.sleep(1.1)  # its clock has seconds
            self.ca.double.restart()
            return 200, headers, b"garbage"

        self.ca.proxy.reset(changed("restart", restart))
        self.enroll("forgotten", code=3)
        self.wait_state("forgotten", "suspect")
        self.wait_for(lambda: "has had it" in self.request("forgotten")["reason"])
        self.assertEqual(self.ca.issued("forgotten"), 1)


class Keys(UpstreamStepCaBase):
    """Each kind of key in turn is tried by a class of its own below."""

    make_ca = staticmethod(lambda: StepCa("rsa"))

    def test_key(self):
        """A provisioner's key of this kind signs tokens that step-ca takes."""
        self.enroll("by-key")
        self.verify("by-key")
        self.assertEqual(self.ca.issued("by-key"), 1)


class Ed25519(Keys):
    make_ca = staticmethod(lambda: StepCa("ed25519"))


class X5c(Keys):
    make_ca = staticmethod(lambda: StepCa(how="x5c"))

    def test_revoke(self):
        """cert revoke tells step-ca."""
        self.enroll("revoked")
        serial = next(c["serial"] for c in self.gw.certs() if c["subject"] == "CN=revoked")
        self.gw.cli("cert", "revoke", serial, "--reason", "superseded")
        self.assertIn(str(int(serial, 16)), self.ca.double.revoked)


if __name__ == "__main__":
    unittest.main(verbosity=2)
