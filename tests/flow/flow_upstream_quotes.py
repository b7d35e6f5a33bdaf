"""CAs that quote what they do not like: whatever of our secrets stands in an error is in no reason, no log and no trail."""
import base64
import contextlib
import json
import os
import sqlite3
import unittest

import faults
from double_vault import SECRET_ID, errors
from flow_upstream_acme import FINALIZE, AcmeTest
from flow_upstream_ejbca import EjbcaCa
from flow_upstream_est import PASSWORD, EstCa
from flow_upstream_exec import LocalSubmit
from flow_upstream_stepca import StepCa
from flow_upstream_vault import VaultCa
from gateway import run
from upstream import PATIENT, UpstreamTest

PIECE = 12  # of a secret: what is shorter is a word that happens to be in it


class QuotingTest(UpstreamTest):
    limits = PATIENT

    def quoting(self, status, quote, type="application/json"):
        """The CA's next answer: an error that quotes what quote() takes from the request, of which the CA hears nothing."""
        def change(_, headers, __):
            headers = [(n, v) for n, v in headers if n.lower() != "content-type"]
            return status, headers + [("Content-Type", type)], quote(self.ca.proxy.bodies[-1])
        self.ca.proxy.reset(faults.Fault("quotes", True, before=lambda body: b"{}", change=change))

    def read(self, query):
        """The texts that the gateway keeps."""
        store = self.gw.path("state/scepter.db")
        with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=60)) as db:
            return [row[0] or "" for row in db.execute(query)]

    def check_hidden(self, name, *secrets):
        """The operator reads of the error, with asterisks, and no piece of a secret is in what was written."""
        asked = self.request(name)["id"]
        self.wait_for(lambda: any("***" in text and asked in text for text in self.read("SELECT text FROM audit")))
        self.gw.log_line(f'subject="CN={name}"', "outcome=")
        written = "\n".join(self.read("SELECT reason FROM request") + self.read("SELECT text FROM audit")) + self.gw.log()
        for secret in secrets:
            for i in range(len(secret) - PIECE + 1):
                self.assertNotIn(secret[i:i + PIECE], written)


def json_quote(key, member):
    """{"key": "bad MEMBER: what it was"}"""
    return lambda body: json.dumps({key: f"bad {member}: {json.loads(body)[member]}"}).encode()


class Vault(QuotingTest):
    make_ca = VaultCa

    def test_token(self):
        """Vault quotes our token, which is refused."""
        self.quoting(403, lambda body: json.dumps({"errors": ["no such token: " + " ".join(self.ca.double.tokens)]}).encode())
        self.enroll("token", code=3)
        self.check_hidden("token", *(t for t in self.ca.double.tokens if t != self.ca.double.file_token))

    def test_csr(self):
        """Vault quotes the CSR, in which the device's challenge stands."""
        self.quoting(400, lambda body: json.dumps({"errors": [json.loads(body)["csr"]]}).encode())
        self.enroll("csr", code=2)
        self.check_hidden("csr", *json.loads(self.ca.proxy.bodies[-1])["csr"].split("\n")[1:-2])

    def test_secret_id(self):
        """Vault quotes the secret_id of a login."""
        log_in = self.ca.double.log_in

        def refuse(path, headers, body):
            raise errors(400, f"invalid secret ID {body['secret_id']}")
        self.ca.double.tokens.clear()
        self.ca.double.log_in = refuse
        self.enroll("login", code=3)
        self.check_hidden("login", SECRET_ID)
        self.ca.double.log_in = log_in


class Ejbca(QuotingTest):
    make_ca = EjbcaCa

    def test_password(self):
        """EJBCA quotes the password of the end entity, and the CSR."""
        for member in ("password", "certificate_request"):
            self.quoting(422, json_quote("error_message", member))
            self.enroll(member.replace("_", "-"), code=2)
            secret = json.loads(self.ca.proxy.bodies[0])[member]
            self.check_hidden(member.replace("_", "-"), *(secret.split("\n")[1:-2] if "\n" in secret else [secret]))


class Stepca(QuotingTest):
    make_ca = StepCa

    def test_token(self):
        """step-ca quotes the one-time token."""
        self.quoting(400, json_quote("message", "ott"))
        self.enroll("ott", code=2)
        self.check_hidden("ott", json.loads(self.ca.proxy.bodies[0])["ott"])


class Est(QuotingTest):
    make_ca = EstCa

    def test_password(self):
        """An EST CA quotes our password, as it is and as it stood in the header."""
        basic = base64.b64encode(f"ra:{PASSWORD}".encode()).decode()
        self.quoting(400, lambda body: f"Authorization: Basic {basic}, {PASSWORD}\n".encode(), "text/plain")
        self.enroll("basic", code=2)
        self.check_hidden("basic", basic, PASSWORD)

    def test_csr(self):
        """An EST CA quotes the CSR."""
        self.quoting(400, lambda body: b"cannot read " + body, "text/plain")
        self.enroll("csr", code=2)
        self.check_hidden("csr", *self.ca.proxy.bodies[0].decode().split("\n")[:-2])


class Acme(AcmeTest, QuotingTest):
    limits = PATIENT

    def test_csr(self):
        """An ACME CA quotes the CSR, and the request that it came in."""
        def spoil(body):
            self.asked = json.loads(body)["payload"]
            return b"{}"

        def change(_, headers, __):
            headers = [(n, v) for n, v in headers if n.lower() != "content-type"]
            return 400, headers + [("Content-Type", "application/problem+json")], json.dumps(
                {"type": "urn:ietf:params:acme:error:badCSR", "detail": f"{self.csr()[:60]} in {self.asked}"}).encode()
        self.ca.proxy.plan_at(FINALIZE, faults.Fault("quotes", True, before=spoil, change=change))
        self.ask("quoted")
        self.wait_state(self.subject("quoted"), "refused", 90)
        self.assertIn("badCSR", self.request(self.subject("quoted"))["reason"])
        self.check_hidden(self.subject("quoted"), self.csr(), self.asked)

    def csr(self):
        return json.loads(base64.urlsafe_b64decode(self.asked + "=" * (-len(self.asked) % 4)))["csr"]


class Exec(QuotingTest):
    make_ca = LocalSubmit

    def setUp(self):
        self.begin()

    def test_csr(self):
        """A helper prints the CSR in one line and says no."""
        self.ca.plan("helper", 'echo "$CERTMONGER_CSR" | tr -d "\\n" >&2', "exit 2")
        self.enroll("helper", code=2)
        with open(os.path.join(self.ca.state, "env.helper"), encoding="ascii") as file:
            lines = file.read().split("-----BEGIN CERTIFICATE REQUEST-----\n")[1].split("-----END")[0].split("\n")[:-2]
        self.check_hidden("helper", *lines)


if __name__ == "__main__":
    unittest.main(verbosity=2)
