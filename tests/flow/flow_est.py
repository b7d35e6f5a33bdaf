"""EST with curl and openssl req, and with strongSwan's pki --est."""
import base64
import os
import unittest

from gateway import FlowTest, run, text
from http_corpus import wait_until

CERTS_ONLY = "application/pkcs7-mime; smime-type=certs-only"


class Est(FlowTest):
    def make_csr(self, work, subject, *flags, key="key.pem"):
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
            "-subj", subject, "-outform", "DER", "-out", "csr.der", *flags, cwd=work)
        with open(os.path.join(work, "csr.der"), "rb") as file:
            return base64.encodebytes(file.read())

    def call(self, work, operation, body=None, *flags, label=""):
        """(status, headers, body) of one curl call."""
        command = ["curl", "-sS", "--cacert", self.gw.root, "-D", "headers", "-o", "body", "-w", "%{http_code}",
                   f"{self.gw.est_url}{label}/{operation}", *flags]
        if body is not None:
            with open(os.path.join(work, "sent"), "wb") as file:
                file.write(body)
            command += ["--data-binary", "@sent", "-H", "Content-Type: application/pkcs10"]
        status = int(text(*command, cwd=work))
        with open(os.path.join(work, "headers"), encoding="ascii") as file:
            headers = dict(line.strip().split(": ", 1) for line in file if ": " in line)
        path = os.path.join(work, "body")
        with open(path, "rb") as file:
            body = file.read()
        os.remove(path)
        return status, headers, body

    def certificates(self, work, body):
        """The PEM text of the certificates in a certs-only body."""
        with open(os.path.join(work, "p7.der"), "wb") as file:
            file.write(base64.b64decode(body))
        pem = text("openssl", "pkcs7", "-inform", "DER", "-in", "p7.der", "-print_certs", cwd=work)
        return [b[b.index("-----BEGIN"):] + "-----END CERTIFICATE-----\n" for b in pem.split("-----END CERTIFICATE-----")[:-1]]

    def basic(self, secret, user="device"):
        return ["--user", f"{user}:{secret}"]

    def enroll(self, work, subject, *flags, name="cert.pem", key="key.pem"):
        body = self.make_csr(work, subject, *flags, key=key)
        status, headers, reply = self.call(work, "simpleenroll", body, *self.basic(self.gw.challenge()))
        self.assertEqual(status, 200, reply)
        self.assertEqual(headers["Content-Type"], CERTS_ONLY)
        certs = self.certificates(work, reply)
        self.assertEqual(len(certs), 1)
        with open(os.path.join(work, name), "w", encoding="ascii") as file:
            file.write(certs[0])
        self.gw.verify(os.path.join(work, name))

    def test_cacerts(self):
        """cacerts gives issuing CA and root to anyone, with and without the label, in exact form."""
        work = self.gw.work("cacerts")
        for label in ("", "/default"):
            status, headers, body = self.call(work, "cacerts", label=label)
            self.assertEqual(status, 200)
            self.assertEqual(headers["Content-Type"], "application/pkcs7-mime")
            self.assertEqual(headers["Content-Transfer-Encoding"], "base64")
            self.assertEqual(int(headers["Content-Length"]), len(body))
            self.assertTrue(body.endswith(b"\n"))
            self.assertLessEqual(max(len(line) for line in body.splitlines()), 64)
            certs = self.certificates(work, body)
            with open(os.path.join(work, "got.pem"), "w", encoding="ascii") as file:
                file.write(certs[0])
            self.assertEqual(len(certs), 2)
            self.assertEqual(text("openssl", "x509", "-in", "got.pem", "-noout", "-fingerprint", cwd=work),
                             text("openssl", "x509", "-in", self.gw.path("ca/issuing.pem"), "-noout", "-fingerprint"))

    def test_enroll_with_basic(self):
        """RFC 7030 3.3.2: simpleenroll with a challenge as the Basic password gives a certificate for exactly the names asked."""
        work = self.gw.work("basic")
        self.enroll(work, "/CN=est-1", "-addext", "subjectAltName=DNS:est-1.example,IP:10.0.0.1")
        shown = text("openssl", "x509", "-in", "cert.pem", "-noout", "-subject", "-ext", "subjectAltName", cwd=work)
        self.assertIn("subject=CN = est-1\n", shown)
        self.assertIn("DNS:est-1.example, IP Address:10.0.0.1", shown)

    def test_retry_after_lost_reply(self):
        """The same request with the same spent challenge gets the same certificate; with another key it is refused."""
        work = self.gw.work("retry")
        secret = self.gw.challenge()
        csr = self.make_csr(work, "/CN=est-retry")
        first = self.call(work, "simpleenroll", csr, *self.basic(secret))
        again = self.call(work, "simpleenroll", csr, *self.basic(secret))
        self.assertEqual((first[0], again[0]), (200, 200))
        self.assertEqual(first[2], again[2])
        other = self.call(work, "simpleenroll", self.make_csr(work, "/CN=est-retry"), *self.basic(secret))
        self.assertEqual(other[0], 401)
        stolen = self.call(work, "simpleenroll", csr, *self.basic("NOTTHECHALLENGE22222"))
        self.assertEqual(stolen[0], 401)

    def test_reenroll(self):
        """RFC 7030 3.2.3, 3.3.2, 4.2.2: simplereenroll with the certificate renews it for the same names, with a new key or with
        the same one."""
        work = self.gw.work("reenroll")
        self.enroll(work, "/CN=est-2", "-addext", "subjectAltName=DNS:est-2.example")
        holder = ["--cert", "cert.pem", "--key", "key.pem"]
        san = ("-addext", "subjectAltName=DNS:est-2.example")
        body = self.make_csr(work, "/CN=est-2", *san, key="new.pem")
        status, headers, reply = self.call(work, "simplereenroll", body, *holder)
        self.assertEqual(status, 200, reply)
        self.assertEqual(headers["Content-Type"], CERTS_ONLY)
        renewed = self.certificates(work, reply)[0]
        with open(os.path.join(work, "renewed.pem"), "w", encoding="ascii") as file:
            file.write(renewed)
        self.gw.verify(os.path.join(work, "renewed.pem"))
        run("openssl", "req", "-new", "-key", "new.pem", "-subj", "/CN=est-2", *san, "-outform", "DER", "-out", "same.der",
            cwd=work)
        with open(os.path.join(work, "same.der"), "rb") as file:
            same = base64.b64encode(file.read())
        status, _, reply = self.call(work, "simplereenroll", same, "--cert", "renewed.pem", "--key", "new.pem")
        self.assertEqual(status, 200, reply)
        self.assertNotEqual(self.certificates(work, reply)[0], renewed)

    def test_reenroll_other_names(self):
        """RFC 7030 4.2: simplereenroll for another subject, another SAN or one more SAN is refused with 403."""
        work = self.gw.work("names")
        self.enroll(work, "/CN=est-3", "-addext", "subjectAltName=DNS:est-3.example")
        holder = ["--cert", "cert.pem", "--key", "key.pem"]
        for subject, san in (("/CN=est-4", "DNS:est-3.example"), ("/CN=est-3", "DNS:other.example"),
                             ("/CN=est-3", "DNS:est-3.example,DNS:more.example")):
            body = self.make_csr(work, subject, "-addext", f"subjectAltName={san}", key="new.pem")
            self.assertEqual(self.call(work, "simplereenroll", body, *holder)[0], 403, (subject, san))

    def test_enroll_with_certificate(self):
        """RFC 7030 3.2.2, 4.2, 4.2.1: simpleenroll by a client certificate of ours is a renewal: same names only."""
        work = self.gw.work("cert")
        self.enroll(work, "/CN=est-5")
        holder = ["--cert", "cert.pem", "--key", "key.pem"]
        self.assertEqual(self.call(work, "simpleenroll", self.make_csr(work, "/CN=est-5", key="n.pem"), *holder)[0], 200)
        self.assertEqual(self.call(work, "simpleenroll", self.make_csr(work, "/CN=est-6", key="n.pem"), *holder)[0], 403)

    def test_foreign_certificate(self):
        """RFC 7030 3.1: a client certificate that we did not issue authorizes nothing, even with the issuer's name."""
        work = self.gw.work("foreign")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-subj",
            "/CN=est-7", "-days", "1", cwd=work)
        holder = ["--cert", "cert.pem", "--key", "key.pem"]
        body = self.make_csr(work, "/CN=est-7", key="new.pem")
        self.assertIn(self.call(work, "simpleenroll", body, *holder)[0], (401, 403))
        self.assertEqual(self.call(work, "simplereenroll", body, *holder)[0], 403)

    def test_no_credential(self):
        """RFC 7030 4, 4.2: without a credential simpleenroll says 401 and how; simplereenroll needs a certificate."""
        work = self.gw.work("none")
        body = self.make_csr(work, "/CN=est-8")
        status, headers, _ = self.call(work, "simpleenroll", body)
        self.assertEqual(status, 401)
        self.assertTrue(headers["WWW-Authenticate"].startswith("Basic realm="))
        self.assertEqual(self.call(work, "simplereenroll", body, *self.basic(self.gw.challenge()))[0], 403)

    def test_bad_bodies(self):
        """What is not a CSR, or one whose signature is wrong, is 400; a wrong media type 415; a wrong method 405."""
        work = self.gw.work("bad")
        auth = self.basic(self.gw.challenge())
        self.assertEqual(self.call(work, "simpleenroll", b"not a request", *auth)[0], 400)
        der = bytearray(base64.b64decode(self.make_csr(work, "/CN=est-9")))
        der[-5] ^= 1
        self.assertEqual(self.call(work, "simpleenroll", base64.b64encode(bytes(der)), *auth)[0], 400)
        body = self.make_csr(work, "/CN=est-9")
        self.assertEqual(self.call(work, "simpleenroll", body, *auth, "-H", "Content-Type: text/html")[0], 415)
        status, headers, _ = self.call(work, "simpleenroll", None, *auth)
        self.assertEqual((status, headers["Allow"]), (405, "POST"))
        self.assertEqual(self.call(work, "simpleenroll", body, *auth)[0], 200, "none of them spent the challenge")

    def test_dangerous_extensions(self):
        """A CSR that asks to be a CA, for any purpose or to be an RA is refused, and nothing is issued."""
        work = self.gw.work("dangerous")
        for extension in ("basicConstraints=CA:TRUE", "extendedKeyUsage=anyExtendedKeyUsage",
                          "extendedKeyUsage=1.3.6.1.5.5.7.3.28", "keyUsage=keyCertSign", "nameConstraints=permitted;DNS:x",
                          "1.3.6.1.4.1.311.25.2=ASN1:UTF8:S-1-5-21"):
            body = self.make_csr(work, "/CN=est-danger", "-addext", extension)
            status, _, reply = self.call(work, "simpleenroll", body, *self.basic(self.gw.challenge()))
            self.assertEqual(status, 403, (extension, reply))
        self.assertEqual([c for c in self.gw.certs() if "est-danger" in c["subject"]], [])

    def test_request_layouts(self):
        """One line, CRLF, PEM and raw DER are all read, whatever Content-Transfer-Encoding says."""
        work = self.gw.work("layouts")
        self.make_csr(work, "/CN=est-layout")
        with open(os.path.join(work, "csr.der"), "rb") as file:
            der = file.read()
        pem = b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE REQUEST-----\n"
        auth = self.basic(self.gw.challenge())
        for body in (base64.b64encode(der), base64.encodebytes(der).replace(b"\n", b"\r\n\t "), pem, der):
            for flags in ((), ("-H", "Content-Transfer-Encoding: binary")):
                self.assertEqual(self.call(work, "simpleenroll", body, *auth, *flags)[0], 200, body[:40])

    def test_tls_versions(self):
        """TLS 1.2 and 1.3 are served, 1.1 is not."""
        work = self.gw.work("tls")
        for version in ("1.2", "1.3"):
            self.assertEqual(self.call(work, "cacerts", None, f"--tlsv{version}", "--tls-max", version)[0], 200)
        old = run("curl", "-sS", "--cacert", self.gw.root, "--tlsv1.0", "--tls-max", "1.1", "--ciphers",
                  "DEFAULT@SECLEVEL=0", self.gw.est_url + "/cacerts", check=False)
        self.assertEqual(old.returncode, 35, old.stderr)

    def test_unknown_paths(self):
        """Unknown labels and operations are 404, dot segments 400; optional operations that are not there are 404 or 501."""
        work = self.gw.work("paths")
        for operation in ("nothing", "cacertsX", "a/b/cacerts", "unknown-label/cacerts"):
            self.assertEqual(self.call(work, operation, None, "--path-as-is")[0], 404, operation)
        self.assertEqual(self.call(work, "%2e%2e/cacerts", None, "--path-as-is")[0], 400)
        self.assertEqual(self.call(work, "csrattrs")[0], 200)
        self.assertEqual(self.call(work, "fullcmc", b"x")[0], 501)

    def test_strongswan(self):
        """strongSwan's pki --est enrolls with Basic and renews with its certificate; --estca fetches the chain."""
        work = self.gw.work("swan")
        base = f"https://127.0.0.1:{self.gw.est_port}"
        run("openssl", "x509", "-in", self.gw.root, "-outform", "DER", "-out", "root.der", cwd=work)
        run("pki", "--estca", "--url", base, "--cacert", "root.der", "--caout", "got.der", "--force", cwd=work)
        self.make_csr(work, "/CN=est-swan")
        run("openssl", "ec", "-in", "key.pem", "-outform", "DER", "-out", "key.der", cwd=work)
        common = ["pki", "--est", "--url", base, "--in", "csr.der", "--cacert", "root.der", "--interval", "1",
                  "--maxpolltime", "3"]
        with open(os.path.join(work, "cert.der"), "wb") as file:
            file.write(run(*common, "--userpass", f"device:{self.gw.challenge()}", cwd=work).stdout)
        self.gw.verify(os.path.join(work, "cert.der"), "DER")
        with open(os.path.join(work, "renewed.der"), "wb") as file:
            file.write(run(*common, "--cert", "cert.der", "--key", "key.der", cwd=work).stdout)
        self.gw.verify(os.path.join(work, "renewed.der"), "DER")
        self.assertEqual(len([c for c in self.gw.certs() if "est-swan" in c["subject"]]), 2)


class EstUsers(FlowTest):
    @classmethod
    def configure(cls, gw):
        hashed = text("openssl", "passwd", "-6", "-stdin", input=b"correct horse\n").strip()
        gw.secret_file("users", f"alice:{hashed}\n", "correct horse")
        gw.edit(r"(labels: \[[^]]*\],)", r"\1 users: users,")
        gw.edit(r"^    eku: .*$", r"\g<0>\n    ignore_extensions: [1.3.6.1.4.1.311.20.2]")

    call = Est.call
    make_csr = Est.make_csr

    def test_ignored_extension(self):
        """Windows' template name, which the profile lists as harmless, does not hinder, and is logged; others do."""
        work = self.gw.work("ignored")
        alice = ["--user", "alice:correct horse"]
        template = ("-addext", "1.3.6.1.4.1.311.20.2=ASN1:BMP:Machine")
        self.assertEqual(self.call(work, "simpleenroll", self.make_csr(work, "/CN=win-1", *template), *alice)[0], 200)
        self.assertTrue(wait_until(lambda: "win-1" in self.gw.log()))  # written once the reply is on its way
        line = [line for line in self.gw.log().splitlines() if "win-1" in line][0]
        self.assertIn("ignored extensions: 1.3.6.1.4.1.311.20.2", line)
        self.assertNotIn("20.2", text("openssl", "x509", "-noout", "-text", "-inform", "DER", input=self.leaf(work)))
        other = ("-addext", "1.3.6.1.4.1.311.21.7=ASN1:NULL")
        self.assertEqual(self.call(work, "simpleenroll", self.make_csr(work, "/CN=win-2", *other), *alice)[0], 403)

    def leaf(self, work):
        """DER of the newest certificate."""
        serial = self.gw.certs()[0]["serial"]
        return run("openssl", "x509", "-outform", "DER", input=self.gw.cli("cert", "show", serial, "--pem").stdout).stdout

    def test_users_file(self):
        """A user of the file enrolls with the right password only."""
        work = self.gw.work("users")
        body = self.make_csr(work, "/CN=alice-1")
        for user, status in (("alice:correct horse", 200), ("alice:wrong", 401), ("bob:correct horse", 401), (":", 401)):
            self.assertEqual(self.call(work, "simpleenroll", body, "--user", user)[0], status, user)


if __name__ == "__main__":
    unittest.main(verbosity=2)
