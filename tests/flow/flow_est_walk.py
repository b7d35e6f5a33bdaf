"""What RFC 7030, 8951 and 5272 say of every operation at once, and what servers forget: a row a test, printed as pass or FAIL."""
import base64
import os
import socket

import rows
from der import SEQUENCE, SET, read
from est_rows import EstFlow
from est_wire import basic, make_csr, read_head, request
from gateway import SCEPTER, run, text
from http_corpus import wait_until

RFC_8295 = ("pal", "eecerts", "crls", "symmetrickeys", "firmware", "tamp")
GETS, POSTS = ("cacerts", "csrattrs"), ("simpleenroll", "simplereenroll", "serverkeygen", "fullcmc")
SIGNED_DATA, DATA = "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.1"


class Whole(EstFlow):
    """One profile that has every operation, with three labels as Aruba has them."""

    labels = ["c" * 64, "e" * 64, "r" * 64]

    @classmethod
    def configure(cls, gw):
        names = ", ".join(cls.labels)
        gw.edit(r'labels: \["", default\]', f'labels: ["", default, {names}], keygen: allow, fullcmc: allow')

    def post(self, operation, body, *headers, cert=None):
        with self.connect(cert=cert) as conn:
            head = [f"POST /.well-known/est/{operation} HTTP/1.1", "Host: localhost", "Content-Type: " + (
                "application/pkcs7-mime; smime-type=CMC-request" if operation == "fullcmc" else "application/pkcs10")]
            return conn.ask("\r\n".join([*head, *headers, f"Content-Length: {len(body)}"]).encode() + b"\r\n\r\n" + body)

    def test_paths(self):
        """RFC 7030 3.2.2: each operation is at /.well-known/est/ with and without the label, and nowhere else, not in other letters"""
        for operation in GETS + POSTS:
            csr = b"\x30\x00" if operation in POSTS else None
            for label, there in (("", True), ("/default", True), ("/" + self.labels[0], True), ("/other", False)):
                self.assertEqual(self.status(request(operation, csr, label=label)) != 404, there, (operation, label))
            for wrong in (operation + "/", operation.upper(), operation + "/x", operation + "%20"):
                self.assertEqual(self.status(request(wrong, csr)), 404, wrong)
            for prefix in ("/est/", "/.well-known/", "/.Well-Known/est/"):
                data = request(operation, csr).replace(b"/.well-known/est/", prefix.encode())
                self.assertEqual(self.status(data), 404, (prefix, operation))

    def test_label_of_operation(self):
        """RFC 7030 3.2.2: a label that is an operation's name, or has two segments, is a fault of the configuration"""
        with open(self.gw.conf, encoding="utf-8") as file:
            good = file.read()
        try:
            for label in (*GETS, *POSTS, "renewal-info", *RFC_8295, "a/b", "a" * 65, "..", "a b", "a%20"):
                with open(self.gw.conf, "w", encoding="utf-8") as file:
                    file.write(good.replace('["", default', f'["", "{label}"'))
                self.assertEqual(self.gw.cli("check", check=False).returncode, 1, label)
        finally:
            with open(self.gw.conf, "w", encoding="utf-8") as file:
                file.write(good)
        self.gw.cli("check")

    def test_never_elsewhere(self):
        """RFC 7030 3.2.1, 3.2.3: no reply sends a client elsewhere or gives it a cookie, whatever it asks"""
        csr = make_csr(self.gw.work("elsewhere"), "/CN=elsewhere")
        for operation in GETS + POSTS + ("nothing", ""):
            for body in (None, csr, b"x"):
                for headers in ([], [basic("WRONG")], [basic(self.gw.challenge())]):
                    with self.connect() as conn:
                        conn.tls.sendall(request(operation, body, *headers))
                        status, replied = read_head(conn.file)
                    self.assertFalse(300 <= status < 400, (operation, status))
                    self.assertFalse({"Location", "Set-Cookie", "Refresh"} & set(replied), replied)

    def test_https(self):
        """RFC 7616 5.1, RFC 7030 3.2.3, 3.3: EST is HTTPS alone: plain HTTP on its port is malformed, and SCEP's port has no EST"""
        for operation in GETS + POSTS:
            data = request(operation, b"\x30\x00" if operation in POSTS else None)
            for port, wanted in ((self.gw.est_port, b"HTTP/1.1 400 "), (self.gw.scep_port, b"HTTP/1.1 404 ")):
                with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
                    plain.sendall(data)
                    self.assertEqual(plain.recv(13), wanted, (operation, port))

    def test_white_space(self):
        """RFC 8951 3, 3.1: every POST is base64 with CR, LF, SP and TAB anywhere or none, whatever Content-Transfer-Encoding says"""
        work = self.gw.work("white")
        cert = self.enroll(work, "/CN=white")
        csr = make_csr(work, "/CN=white", key="new.pem")
        for number, white in enumerate((b"", b"\r\n", b"\n", b" ", b"\t", b"\r", b"\r\n\t ")):
            for coding in ("7bit", "base64", "binary"):
                one = base64.b64encode(csr)
                body = white.join(one[i:i + 7] for i in range(0, len(one), 7)) + white
                header = "Content-Transfer-Encoding: " + coding
                self.assertEqual(self.post("simplereenroll", body, header, cert=cert)[0], 200, (white, coding))
                self.assertEqual(self.post("simpleenroll", body, header, cert=cert)[0], 200, (white, coding))
            fresh = make_csr(work, f"/CN=white-{number}", key=f"{number}.pem")
            one = base64.b64encode(fresh)
            body = white.join(one[i:i + 7] for i in range(0, len(one), 7)) + white
            self.assertEqual(self.post("serverkeygen", body, basic(self.gw.challenge()))[0], 200, white)
            status, headers, _ = self.post("fullcmc", body)
            self.assertEqual((status, headers["Content-Type"]), (400, "application/pkcs7-mime; smime-type=CMC-response"), white)

    def degenerate(self, der):
        """The certificates of a Simple PKI Response, as DER, if it has nothing else."""
        kind, outer = read(der).items
        self.assertEqual((kind.oid, outer.tag), (SIGNED_DATA, 0xA0))
        version, digests, content, certificates, signers = outer[0].items
        self.assertEqual((version.number, digests.tag, digests.content), (1, SET, b""))
        self.assertEqual([(part.tag, part.oid) for part in content.items], [(6, DATA)])
        self.assertEqual((certificates.tag, signers.tag, signers.content), (0xA0, SET, b""))
        self.assertEqual({item.tag for item in certificates.items}, {SEQUENCE})
        return certificates.items

    def test_certs_only(self):
        """RFC 7030 4.1.3, 4.2.3, RFC 5272 4.1, quirk 23: certs-only in DER without content, signer or CRL, whatever Accept wants"""
        csr = make_csr(self.gw.work("only"), "/CN=only")
        secret = basic(self.gw.challenge())
        for accept in ("*/*", "application/x-pem-file", "application/pkix-cert", "text/html;q=1, */*;q=0"):
            for data, count in ((request("cacerts", None, "Accept: " + accept), 2),
                                (request("simpleenroll", csr, secret, "Accept: " + accept), 1)):
                with self.connect() as conn:
                    status, headers, body = conn.ask(data)
                self.assertEqual(status, 200, accept)
                self.assertRegex(headers["Content-Type"], "^application/pkcs7-mime")
                self.assertEqual(len(self.degenerate(base64.b64decode(body))), count)

    def test_aliases(self):
        """Quirk 13: Aruba has a label each, of 64 characters, for cacerts, enrollment and renewal; it asks cacerts before each, to keep"""
        work = self.gw.work("aliases")
        one, two, three = ("/" + label for label in self.labels)
        for label, operation, options in ((two, "simpleenroll", {}), (three, "simplereenroll", {"cert": True})):
            with self.connect() as conn:
                status, headers, chain = conn.ask(request("cacerts", label=one))
            self.assertEqual((status, headers["Cache-Control"]), (200, "max-age=3600"))
            csr = make_csr(work, "/CN=aliases", key=operation + ".pem")
            cert = (os.path.join(work, "cert.pem"), os.path.join(work, "simpleenroll.pem")) if options else None
            with self.connect(cert=cert) as conn:
                secret = [] if cert else [basic(self.gw.challenge())]
                status, _, body = conn.ask(request(operation, csr, *secret, label=label))
            self.assertEqual(status, 200, body)
            with open(os.path.join(work, "cert.pem"), "wb") as file:
                file.write(run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout)
            with open(os.path.join(work, "chain.pem"), "wb") as file:
                file.write(run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(chain)).stdout)
            run("openssl", "verify", "-CAfile", "chain.pem", "cert.pem", cwd=work)

    def test_hashes(self):
        """Quirk 14: a CSR may be signed with any of SHA-2, by RSA, RSA-PSS or ECDSA, whatever the CA itself signs with"""
        work = self.gw.work("hashes")
        for kind, options in (("rsa:2048", ()), ("rsa:2048", ("-sigopt", "rsa_padding_mode:pss")),
                              ("ec", ("-pkeyopt", "ec_paramgen_curve:P-384"))):
            for digest in ("sha256", "sha384", "sha512"):
                csr = run("openssl", "req", "-new", "-newkey", kind, *options, "-nodes", "-keyout", "k", "-subj", f"/CN={digest}",
                          "-" + digest, "-outform", "DER", cwd=work).stdout
                self.assertEqual(self.status(request("simpleenroll", csr, basic(self.gw.challenge()))), 200, (kind, options, digest))

    def test_usage(self):
        """RFC 7030 4.2.1: a key that is not for signatures, by the CSR's keyUsage, signs the CSR all the same, and nothing else"""
        work = self.gw.work("usage")
        for kind, options, usage, shown in (("rsa:2048", (), "keyEncipherment", "Key Encipherment"),
                                            ("ec", ("-pkeyopt", "ec_paramgen_curve:P-256"), "keyAgreement", "Key Agreement")):
            csr = run("openssl", "req", "-new", "-newkey", kind, *options, "-nodes", "-keyout", "k", "-subj", f"/CN={usage}",
                      "-addext", "keyUsage=critical," + usage, "-outform", "DER", cwd=work).stdout
            with self.connect() as conn:
                status, _, body = conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))
            self.assertEqual(status, 200, body)
            pem = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout
            lines = text("openssl", "x509", "-noout", "-ext", "keyUsage", input=pem).splitlines()
            self.assertEqual(lines[1].strip(), shown)

    def test_server(self):
        """RFC 7030 3.3.1, 3.3.2: the server's certificate is one of RFC 5280, and so is what it issues, strictly"""
        issued, _ = self.enroll(self.gw.work("strict"), "/CN=strict")
        for cert, purpose in ((self.gw.path("tls/server.pem"), "sslserver"), (issued, "sslclient")):
            run("openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", self.gw.root, "-untrusted",
                self.gw.path("ca/issuing.pem"), cert)

    def test_informative(self):
        """RFC 7030 3.5, quirk 19: who is refused for a binding is told so in words, and it is counted and logged as what it may be"""
        self.gw.edit("fullcmc: allow", "binding: required")
        self.gw.reload()
        try:
            work = self.gw.work("informative")
            for attributes, words in (((), "not bound to its TLS connection"),
                                      (("challengePassword = AAAAAAAAAAAAAAAA",), "something between may end TLS")):
                csr = make_csr(work, "/CN=informative", attributes=attributes)
                with self.connect() as conn:
                    status, headers, body = conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))
                self.assertEqual((status, headers["Content-Type"]), (400, "text/plain"))
                self.assertRegex(body.decode(), r"^refused: bad-binding \(request [0-9a-f]+\)\n$")
                self.assertTrue(wait_until(lambda words=words: words in self.gw.log()), words)
            self.assertTrue(wait_until(lambda: self.gw.metric(r'reason="bad-binding"') == 2))
        finally:
            self.gw.edit("binding: required", "fullcmc: allow")
            self.gw.reload()


class Labelled(EstFlow):
    """A profile without the label ""."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r'labels: \["", default\]', "labels: [default], keygen: allow, fullcmc: allow")

    def test_paths(self):
        """RFC 7030 3.2.2: without a label there is only the profile that has the label ""; if none has, it is 404"""
        for operation in GETS + POSTS:
            csr = b"\x30\x00" if operation in POSTS else None
            self.assertEqual(self.status(request(operation, csr)), 404, operation)
            self.assertNotEqual(self.status(request(operation, csr, label="/default")), 404, operation)

    def test_approval(self):
        """RFC 7030 4.2: nobody is told to wait for an operator: a configuration that wants approval is refused"""
        conf = self.gw.path("approval.yaml")
        with open(self.gw.conf, encoding="utf-8") as file, open(conf, "w", encoding="utf-8") as out:
            out.write(file.read() + "    approval: {quorum: 1}\n")
        shown = run(SCEPTER, "check", "-c", conf, check=False)
        self.assertEqual(shown.returncode, 1)
        self.assertIn(b"quorum", shown.stdout + shown.stderr)


if __name__ == "__main__":
    rows.main()
