"""A double of Vault's and OpenBao's HTTP API, after OpenBao's api-docs/secret/pki.mdx, its sources (builtin/logical/pki:
backend.go, path_issue_sign.go, path_revoke.go; sdk/logical/response_util.go), and what is commonly known of its auth methods
and X-Vault-Token. It is not Vault, and never ran beside it."""
import json
import secrets
import time

from doubles import Double, Refusal, is_csr, member
from gateway import text as output_of

ROLE_ID = "675a50e7-cfe0-be76-e35f-49ec009731ea"
SECRET_ID = "ed0a642f-2acf-c2da-232f-1b21300d5f29"


def errors(status, *texts):
    return Refusal(status, {"errors": list(texts)})


class Vault(Double):
    def __init__(self, port, ca):
        self.tokens = {}  # text -> (when it expires or None, its lease, whether renewable)
        self.lease = 3600
        self.default = "issuing.pem"  # the mount's default issuer
        self.roles = {"device"}
        self.logins = self.renewals = 0
        self.authed = 0  # when somebody got or renewed a token, in time.monotonic()
        self.used = 0  # when that one signed first
        self.revoked = []
        self.bodies = []
        self.file_token = self.token_add(0, False)
        super().__init__(port, ca)

    def token_add(self, lease, renewable):
        text = "hvs." + secrets.token_urlsafe(24)
        self.tokens[text] = [time.monotonic() + lease if lease else None, lease, renewable]
        return text

    def answer(self, method, path, headers, body):
        if not path.startswith("/v1/"):
            raise errors(404)
        if headers.get("X-Vault-Namespace", "team/pki") != "team/pki":
            raise errors(404, "no handler for route")
        path = path[4:]
        if body and headers.get("Content-Type") != "application/json":
            raise errors(400, "not JSON")
        body = json.loads(body) if body else {}
        if method == "GET" and path in ("pki/issuer/default/json", "pki/issuer/second/json"):
            return 200, self.reply({"certificate": self.ca.text(self.default), "revocation_time": 0,
                                    "ca_chain": [self.ca.text(self.default), self.ca.text("root.pem")]})
        if method in ("POST", "PUT") and path in ("auth/approle/login", "auth/cert/login"):
            return 200, self.log_in(path, headers, body)
        token = self.check(headers.get("X-Vault-Token", ""))
        if method == "GET" and path == "auth/token/lookup-self":
            left = int(token[0] - time.monotonic()) if token[0] else 0
            return 200, self.reply({"ttl": left, "renewable": token[2], "id": headers["X-Vault-Token"]})
        if method in ("POST", "PUT"):
            return self.change(path, headers, body, token)
        raise errors(405, "unsupported operation")

    def check(self, text):
        token = self.tokens.get(text)
        if not token or token[0] and token[0] < time.monotonic():
            raise errors(403, "permission denied")
        return token

    def change(self, path, headers, body, token):
        if path == "auth/token/renew-self":
            if not token[2]:
                raise errors(400, "lease is not renewable")
            self.renewals += 1
            token[0] = time.monotonic() + token[1]
            return 200, self.auth(headers["X-Vault-Token"])
        if path.startswith("pki/sign/") and path.split("/")[2] not in self.roles:
            raise errors(400, f"unknown role: {path.split('/')[2]}")
        if path in ("pki/sign/device", "pki/issuer/second/sign/device", "pki/sign-verbatim", "pki/sign-verbatim/device"):
            return 200, self.sign(path, body)
        if path == "pki/revoke":
            self.revoked.append(member(body, "certificate"))
            return 200, self.reply({"revocation_time": int(time.time()), "state": "revoked"})
        raise errors(404, "unsupported path")

    def log_in(self, path, headers, body):
        if headers.get("X-Vault-Token"):
            raise errors(400, "a login carries no token")
        if path == "auth/approle/login" and (body.get("role_id"), body.get("secret_id")) != (ROLE_ID, SECRET_ID):
            raise errors(400, "invalid role or secret ID")
        self.logins += 1
        return self.auth(self.token_add(self.lease, True))

    def auth(self, text):
        self.authed = time.monotonic()
        return {"request_id": secrets.token_hex(8), "lease_id": "", "renewable": False, "lease_duration": 0, "data": None,
                "warnings": None, "auth": {"client_token": text, "accessor": secrets.token_hex(8), "policies": ["pki"],
                                           "lease_duration": self.tokens[text][1], "renewable": self.tokens[text][2]}}

    def reply(self, data):
        return {"request_id": secrets.token_hex(8), "lease_id": "", "renewable": False, "lease_duration": 0, "data": data,
                "wrap_info": None, "warnings": None, "auth": None}

    def sign(self, path, body):
        self.bodies.append((path, body))
        if self.used < self.authed:
            self.used = time.monotonic()
        csr = member(body, "csr")
        if not is_csr(csr) or body.get("format", "pem") != "pem":
            raise errors(400, "csr contains no data")
        with self.ca.lock:
            with open(self.ca.path("asked.csr"), "w", encoding="ascii") as file:
                file.write(csr)
        names = run_subject(self.ca.path("asked.csr"))
        if "verbatim" not in path and "not-allowed" in names:
            raise errors(400, "common name not-allowed not allowed by this role")
        pem = self.ca.issue(csr)
        serial = self.ca.ask(pem, "-serial").split("=")[1].lower()
        return self.reply({"certificate": pem.strip(), "issuing_ca": self.ca.text("issuing.pem").strip(),
                           "ca_chain": [self.ca.text("issuing.pem").strip()], "expiration": int(time.time()) + 432000,
                           "serial_number": ":".join(serial[i:i + 2] for i in range(0, len(serial), 2))})


def run_subject(path):
    return output_of("openssl", "req", "-in", path, "-noout", "-subject")
