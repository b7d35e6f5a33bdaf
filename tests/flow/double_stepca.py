"""A double of smallstep's step-ca, after the sources of smallstep/certificates 0.28 (api/sign.go, api/revoke.go, api/api.go,
authority/authorize.go, authority/provisioner/jwk.go, x5c.go, collection.go and sign_options.go, errs/error.go). It is not
step-ca; the tests that use it ran against a real one of 0.28.4 as well, see flow_upstream_stepca.py."""
import base64
import hashlib
import ipaddress
import json
import re
import time
import urllib.parse

from doubles import Double, Refusal, is_csr
from gateway import run
from gateway import text as output_of

LEEWAY = 60
LACKED = "The request lacked necessary authorization to be completed. Please see the certificate authority logs for more info."
FORBIDDEN = "The request was forbidden by the certificate authority: "
BAD = "The request could not be completed: "


def fault(status, text):
    return Refusal(status, {"status": status, "message": text})


def lacked():
    return fault(401, LACKED)


def decode(text):
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise lacked()
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwk_of(pem):
    """The public key of a private one, as a JWK."""
    der = run("openssl", "pkey", "-pubout", "-outform", "DER", input=pem.encode()).stdout
    if "ED25519" in output_of("openssl", "pkey", "-noout", "-text", input=pem.encode()):
        return {"crv": "Ed25519", "kty": "OKP", "x": encode(der[-32:])}
    lines = output_of("openssl", "pkey", "-pubout", "-noout", "-text", "-inform", "PEM", input=pem.encode())
    if "Modulus" in lines:
        modulus = output_of("openssl", "rsa", "-noout", "-modulus", input=pem.encode()).split("=")[1]
        return {"e": "AQAB", "kty": "RSA", "n": encode(bytes.fromhex(modulus))}
    return {"crv": "P-256", "kty": "EC", "x": encode(der[-64:-32]), "y": encode(der[-32:])}


def thumbprint(jwk):
    return encode(hashlib.sha256(json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()).digest())


def der_integer(raw):
    raw = raw.lstrip(b"\0") or b"\0"
    raw = (b"\0" if raw[0] & 0x80 else b"") + raw
    return b"\x02" + bytes([len(raw)]) + raw


class StepCaDouble(Double):
    def __init__(self, port, ca, jwk_pem):
        self.started = int(time.time())
        self.ahead = 0  # seconds, of its clock
        self.jwk_pem = jwk_pem
        self.used = set()
        self.tokens = []  # claims, of whatever came
        self.headers = []
        self.bodies = []
        self.revoked = {}  # serial number -> reasonCode
        self.provisioners = [{"type": "ACME", "name": f"acme-{i}"} for i in range(4)] + [
            {"type": "JWK", "name": "ra", "key": {"use": "sig", "kid": "another", "alg": "ES256", "kty": "EC", "crv": "P-256",
                                                 "x": "eA", "y": "eQ"}},
            {"type": "JWK", "name": "scepter", "key": {"use": "sig", "kid": thumbprint(jwk_of(jwk_pem)), **jwk_of(jwk_pem)}},
            {"type": "X5C", "name": "by-x5c", "roots": base64.b64encode(ca.text("root.pem").encode()).decode()}]
        super().__init__(port, ca)

    def restart(self):
        """As a step-ca without a database: it forgets what it had, and takes no token that is older than itself."""
        self.started = int(time.time()) + 1
        self.used.clear()

    def answer(self, method, path, headers, body):
        path, _, query = path.partition("?")
        path = path.removeprefix("/1.0")
        if (method, path) == ("GET", "/health"):
            return 200, {"status": "ok"}
        if (method, path) == ("GET", "/roots"):
            return 201, {"crts": [self.ca.text("root.pem")]}
        if (method, path) == ("GET", "/intermediates"):
            return 201, {"crts": [self.ca.text("issuing.pem")]}
        if (method, path) == ("GET", "/provisioners"):
            return 200, self.page(urllib.parse.parse_qs(query))
        if (method, path) == ("POST", "/sign"):
            return 201, self.sign(json.loads(body))
        if (method, path) == ("POST", "/revoke"):
            return 200, self.revoke(json.loads(body))
        raise Refusal(404, {"status": 404, "message": "The requested resource could not be found. "})

    def page(self, query):
        """Three at a time, so that there are pages."""
        first = int(query.get("cursor", ["0"])[0] or 0)
        if int(query["limit"][0]) > 100:
            raise fault(400, BAD + "limit.")
        last = first + 3
        return {"provisioners": self.provisioners[first:last], "nextCursor": str(last) if last < len(self.provisioners) else ""}

    def sign(self, body):
        self.bodies.append(body)
        csr = body.get("csr", "")
        if not is_csr(csr):
            raise fault(400, BAD + "missing csr.")
        if not body.get("ott"):
            raise fault(400, BAD + "missing ott.")
        claims, x5c = self.authorize(body["ott"], "sign")
        self.check_request(csr, claims, x5c)
        if body.get("notAfter") and not re.fullmatch(r"\d+s", body["notAfter"]):
            raise fault(400, BAD + "notAfter.")
        pem = self.ca.issue(csr)
        above = self.ca.text("issuing.pem")
        return {"crt": pem, "ca": above, "certChain": [pem, above], "tlsOptions": {"minVersion": 1.2}}

    def revoke(self, body):
        if not re.fullmatch(r"\d+|0x[0-9a-f]+", body.get("serial", "")):
            raise fault(400, BAD + "missing serial.")
        if body.get("passive") is not True:
            raise fault(501, "non-passive revocation not implemented")
        if not 0 <= body.get("reasonCode", 0) <= 10:
            raise fault(400, BAD + "reasonCode out of bounds.")
        claims, _ = self.authorize(body["ott"], "revoke")
        serial = str(int(body["serial"], 0))
        if claims["sub"] != serial:
            raise lacked()
        if serial in self.revoked:
            raise fault(400, BAD + f"certificate with serial number '{serial}' is already revoked.")
        self.revoked[serial] = body.get("reasonCode", 0)
        return {"status": "ok"}

    def authorize(self, token, method):
        """The claims; the token is spent before its signature and its times are looked at."""
        parts = token.split(".")
        if len(parts) != 3:
            raise lacked()
        header, claims = json.loads(decode(parts[0])), json.loads(decode(parts[1]))
        self.tokens.append(claims)
        self.headers.append(header)
        if claims.get("iat", 0) < self.started:
            raise lacked()
        audience, _, fragment = claims["aud"].partition("#")
        host = re.sub(r":\d+/", "/", audience)  # ports do not matter
        known = [f"https://127.0.0.1{path}/{what}" for path in ("/1.0", "") for what in ("sign", "revoke")]
        provisioner = next((p for p in self.provisioners if host in known and self.is_named(p, fragment, header, claims)), None)
        if not provisioner:
            raise lacked()
        with self.ca.lock:
            if claims["jti"] in self.used:
                raise lacked()
            self.used.add(claims["jti"])
        key = self.key_of(provisioner, header)
        now = time.time() + self.ahead
        if not self.verifies(header["alg"], key, f"{parts[0]}.{parts[1]}".encode(), decode(parts[2])) or \
           claims["iss"] != provisioner["name"] or claims["exp"] < now - LEEWAY or claims["nbf"] > now + LEEWAY or \
           claims["iat"] > now + LEEWAY or not host.endswith(method) or not claims.get("sub"):
            raise lacked()
        return claims, provisioner["type"] == "X5C"

    @staticmethod
    def is_named(provisioner, fragment, header, claims):
        if fragment:
            return provisioner["type"] == "X5C" and fragment == f"x5c/{provisioner['name']}"
        return provisioner["type"] == "JWK" and claims["iss"] == provisioner["name"] and header["kid"] == provisioner["key"]["kid"]

    def key_of(self, provisioner, header):
        """A file with the public key by which the token has to verify."""
        path = self.ca.path("token.pub")
        if provisioner["type"] == "JWK":
            with open(path, "wb") as file:
                file.write(run("openssl", "pkey", "-pubout", input=self.jwk_pem.encode()).stdout)
            return path
        chain = [run("openssl", "x509", "-inform", "DER", input=base64.b64decode(c)).stdout for c in header["x5c"]]
        with open(self.ca.path("token.pem"), "wb") as file:
            file.write(chain[0])
        result = run("openssl", "verify", "-purpose", "sslclient", "-CAfile", self.ca.path("root.pem"), self.ca.path("token.pem"), check=False)
        usage = output_of("openssl", "x509", "-in", self.ca.path("token.pem"), "-noout", "-ext", "keyUsage")
        if result.returncode or "Digital Signature" not in usage:
            raise lacked()
        with open(path, "wb") as file:
            file.write(run("openssl", "x509", "-noout", "-pubkey", input=chain[0]).stdout)
        return path

    def verifies(self, alg, key, data, signature):
        data_path, path = self.ca.path("token.data"), self.ca.path("token.sig")
        if alg == "ES256":
            if len(signature) != 64:
                return False
            pair = der_integer(signature[:32]) + der_integer(signature[32:])
            signature = b"\x30" + bytes([len(pair)]) + pair
        with open(data_path, "wb") as file:
            file.write(data)
        with open(path, "wb") as file:
            file.write(signature)
        how = {"EdDSA": [], "ES256": ["-digest", "sha256"], "RS256": ["-digest", "sha256"]}[alg]
        return run("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", key, "-rawin", "-in", data_path, "-sigfile", path, *how,
                   check=False).returncode == 0

    def check_request(self, csr, claims, x5c):
        """Common name, SANs and fingerprint of the CSR against the token."""
        with self.ca.lock:
            path = self.ca.path("asked.csr")
            with open(path, "w", encoding="ascii") as file:
                file.write(csr)
            subject = output_of("openssl", "req", "-in", path, "-noout", "-subject", "-nameopt", "RFC2253,sep_multiline")
            words = output_of("openssl", "req", "-in", path, "-noout", "-text")
            der = run("openssl", "req", "-in", path, "-outform", "DER").stdout
        if claims.get("cnf", {}).get("x5rt#S256") not in (None, encode(hashlib.sha256(der).digest())):
            raise fault(403, FORBIDDEN + "certificate request fingerprint does not match.")
        names = [claims["sub"]] + ([] if x5c else claims.get("sans", []))
        common = re.search(r"CN=(.*)", subject)
        if common and common[1] not in names:
            raise fault(403, FORBIDDEN + "certificate request does not contain the valid common name.")
        for kind in ("DNS", "IP Address", "email", "URI"):
            same = ipaddress.ip_address if kind == "IP Address" else str
            got = {same(name) for name in re.findall(kind + r":([^,\s]+)", words)}
            if got and got != {same(san) for san in claims.get("sans", [claims["sub"]]) if kind_of(san) == kind}:
                raise fault(403, FORBIDDEN + "certificate request does not contain the valid names.")
        if "DNS:forbidden.example.com" in words:
            raise fault(403, FORBIDDEN + "error creating certificate.")


def kind_of(san):
    """SplitSANs of go.step.sm/crypto/x509util."""
    if re.fullmatch(r"[\d.]+|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*", san):
        return "IP Address"
    if urllib.parse.urlsplit(san).scheme:
        return "URI"
    return "email" if "@" in san else "DNS"
