"""EST against what servers got wrong (S1 to S24): a row a test, printed as pass or FAIL."""
import base64
import os

from est_rows import EstFlow, main
from est_wire import Tls12, basic, make_csr, request
from gateway import run, text
from http_corpus import wait_until


class Security(EstFlow):
    """The tree that init makes."""

    def test_s1_names(self):
        """S1, RFC 7030 4.2.2: re-enrollment for another subject, another order of it, or other SANs is 403"""
        work = self.gw.work("s1")
        san = "subjectAltName = DNS:s1.example"
        cert = self.enroll(work, "/O=one/CN=s1", extensions=[san])
        for subject, sans in (("/O=one/CN=other", san), ("/CN=s1/O=one", san), ("/O=one/CN=s1", san + ",DNS:x.example")):
            csr = make_csr(work, subject, extensions=[sans])
            self.assertEqual(self.status(request("simplereenroll", csr), cert=cert), 403, subject)
        self.assertEqual(self.status(request("simplereenroll", make_csr(work, "/O=one/CN=s1", extensions=[san])), cert=cert), 200)

    def test_s1_sets(self):
        """RFC 7030 4.2.2: the same SANs in another order are the same names"""
        work = self.gw.work("sets")
        cert = self.enroll(work, "/CN=sets", extensions=["subjectAltName = DNS:a.example,DNS:b.example,IP:10.0.0.1"])
        csr = make_csr(work, "/CN=sets", extensions=["subjectAltName = IP:10.0.0.1,DNS:b.example,DNS:a.example"])
        self.assertEqual(self.status(request("simplereenroll", csr), cert=cert), 200)

    def test_s2_lookalike(self):
        """S2, S24: a certificate with our issuer's name, our serial number and the device's subject, by another key, is 403"""
        work = self.gw.work("s2")
        self.enroll(work, "/CN=s2")
        serial = text("openssl", "x509", "-in", "cert.pem", "-noout", "-serial", cwd=work).strip().split("=")[1]
        issuer = text("openssl", "x509", "-in", self.gw.path("ca/issuing.pem"), "-noout", "-subject", "-nameopt",
                      "compat").strip().split("=", 1)[1].strip()
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", issuer if issuer.startswith("/") else "/" + issuer.replace(", ", "/"), cwd=work)
        csr = make_csr(work, "/CN=s2", key="fake.key")
        run("openssl", "x509", "-req", "-inform", "DER", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "0x" + serial,
            "-days", "1", "-out", "fake.pem", cwd=work, input=csr)
        fake = (os.path.join(work, "fake.pem"), os.path.join(work, "fake.key"))
        self.assertEqual(self.status(request("simplereenroll", csr), cert=fake), 403)
        self.assertIn(self.status(request("simpleenroll", csr), cert=fake), (401, 403))

    def test_s3_revoked(self):
        """S3, S18: a revoked certificate is refused on the same connection, on a resumed session and on a new one"""
        work = self.gw.work("s3")
        cert = self.enroll(work, "/CN=s3")
        again = request("simplereenroll", make_csr(work, "/CN=s3", key="new.pem"))
        with self.connect(cert=cert) as conn:
            self.assertEqual(conn.ask(request("cacerts"))[0], 200)
            serial = text("openssl", "x509", "-in", "cert.pem", "-noout", "-serial", cwd=work).strip().split("=")[1]
            self.gw.cli("cert", "revoke", serial.lower())
            self.assertEqual(conn.ask(again)[0], 403)
            with Tls12(self.gw, session=conn.tls.session, context=conn.context) as resumed:
                self.assertTrue(resumed.tls.session_reused)
                self.assertEqual(resumed.ask(again)[0], 403)
        self.assertEqual(self.status(again, cert=cert), 403)

    def test_s5_cmcra(self):
        """S5: a certificate with cmcRA that is not ours is no RA; a device cannot ask for cmcRA"""
        work = self.gw.work("s5")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ra.key", "-out", "ra.pem", "-subj",
            "/CN=registrar", "-addext", "extendedKeyUsage=1.3.6.1.5.5.7.3.28", cwd=work)
        ra = (os.path.join(work, "ra.pem"), os.path.join(work, "ra.key"))
        csr = make_csr(work, "/CN=s5")
        self.assertIn(self.status(request("simpleenroll", csr), cert=ra), (401, 403))
        self.assertEqual(self.status(request("simplereenroll", csr), cert=ra), 403)
        self.assert_refused(make_csr(work, "/CN=s5", extensions=["extendedKeyUsage = clientAuth,1.3.6.1.5.5.7.3.28"]), (403,))

    def test_s7_authorization(self):
        """S7: a malformed Authorization header, or two, are as good as none: 401"""
        work = self.gw.work("s7")
        csr = make_csr(work, "/CN=s7")
        good = basic(self.gw.challenge())
        for headers in (["Authorization: X"], ["Authorization: Basic !!!"], ["Authorization: Basic"], [good, good],
                        [good + ",x"], ["Authorization: Bearer x"]):
            with self.connect() as conn:
                status, replied, _ = conn.ask(request("simpleenroll", csr, *headers))
            self.assertEqual(status, 401, headers)
            self.assertTrue(replied["WWW-Authenticate"].startswith("Basic realm="))
        self.assertEqual(self.status(request("simpleenroll", csr, good)), 200)

    def test_s9_guessing(self):
        """S9, RFC 6585 4: the eleventh wrong password of a user hears 429 with Retry-After, another user does not"""
        csr = make_csr(self.gw.work("s9"), "/CN=s9")
        for _ in range(10):
            self.assertEqual(self.status(request("simpleenroll", csr, basic("GUESSGUESSGUESSGUESS", "guesser"))), 401)
        good = self.gw.challenge()
        with self.connect() as conn:
            status, headers, _ = conn.ask(request("simpleenroll", csr, basic(good, "guesser")))
        self.assertEqual(status, 429)
        self.assertGreater(int(headers["Retry-After"]), 0)
        self.assertEqual(self.status(request("simpleenroll", csr, basic(good, "other"))), 200)

    def test_s11_signature(self):
        """S11, RFC 7030 3.4: a CSR with one bit changed, in its names, its key or its signature, is 400"""
        work = self.gw.work("s11")
        csr = make_csr(work, "/CN=s11")
        for at in (csr.index(b"s11"), csr.index(b"\x03\x42\x00\x04") + 40, len(csr) - 3):
            bad = bytearray(csr)
            bad[at] ^= 1
            self.assert_refused(bytes(bad), (400,), at)

    def test_s12_extensions(self):
        """S12: dangerous and unknown extensions, a thousand SANs, a NUL in a DNS name: refused, nothing is issued"""
        work = self.gw.work("s12")
        many = "subjectAltName = " + ",".join(f"DNS:n{i}.example" for i in range(1000))
        for extension in ("basicConstraints = CA:TRUE", "extendedKeyUsage = anyExtendedKeyUsage", many,
                          "1.2.3.4.5 = critical,DER:0500", "keyUsage = keyCertSign",
                          "subjectAltName = DER:30:09:82:07:61:00:62:2e:63:6f:6d"):
            self.assert_refused(make_csr(work, "/CN=s12", extensions=[extension]), why=extension[:60])

    def test_s13_keys(self):
        """S13: small exponents, P-192, DSA, close primes and small RSA keys are refused"""
        work = self.gw.work("s13")
        rsa = ("-algorithm", "RSA", "-pkeyopt")
        for name, command in (("e3", [*rsa, "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3"]),
                              ("small", [*rsa, "rsa_keygen_bits:1024"]),
                              ("p192", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime192v1"])):
            run("openssl", "genpkey", *command, "-out", name + ".pem", cwd=work)
            self.assert_refused(make_csr(work, "/CN=s13", key=name + ".pem"), why=name)
        run("openssl", "dsaparam", "-genkey", "-out", "dsa.pem", "1024", cwd=work)
        self.assert_refused(make_csr(work, "/CN=s13", key="dsa.pem"), why="dsa")
        close_primes_key(os.path.join(work, "close.pem"))
        self.assert_refused(make_csr(work, "/CN=s13", key="close.pem"), (403,), "close")
        self.assertTrue(wait_until(lambda: "too close together" in self.gw.log()))

    def test_s15_bodies(self):
        """S15, S16: too much is 413, two ways to tell a length 400; what ends early is never issued"""
        head = b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/pkcs10\r\n"
        self.assertEqual(self.status(head + b"Content-Length: 10000000\r\n\r\n" + b" " * 1000), 413)
        for lengths in (b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"Content-Length: 4\r\nContent-Length: 5"):
            self.assertEqual(self.status(head + lengths + b"\r\n\r\nMII="), 400, lengths)
        csr = make_csr(self.gw.work("s15"), "/CN=s15")
        for trailing in (b"\x00", b"\x30\x00", csr):
            self.assert_refused(csr + trailing, (400,), trailing[:4])
        with self.connect() as conn:
            conn.tls.sendall(request("simpleenroll", csr, basic(self.gw.challenge()))[:-1])
        self.assertEqual([c for c in self.gw.certs() if "s15" in c["subject"]], [])

    def test_s19_same_csr(self):
        """S19: who sends another's CSR with a wrong password hears 401, and never gets its certificate"""
        work = self.gw.work("s19")
        csr = make_csr(work, "/CN=s19")
        self.assertEqual(self.status(request("simpleenroll", csr, basic(self.gw.challenge()))), 200)
        self.assertEqual(self.status(request("simpleenroll", csr, basic("WRONGCHALLENGE234567"))), 401)

    def test_s20_keygen(self):
        """S20: serverkeygen is off: nothing is issued"""
        csr = make_csr(self.gw.work("s20"), "/CN=s20")
        self.assertIn(self.status(request("serverkeygen", csr, basic(self.gw.challenge()))), (404, 501))
        self.assertEqual([c for c in self.gw.certs() if "s20" in c["subject"]], [])

    def test_s21_headers(self):
        """S21: what a device says of its certificate in headers counts for nothing"""
        work = self.gw.work("s21")
        cert, _ = self.enroll(work, "/CN=s21")
        der = base64.b64encode(run("openssl", "x509", "-in", cert, "-outform", "DER").stdout).decode()
        csr = make_csr(work, "/CN=s21", key="new.pem")
        for header in (f"Client-Cert: :{der}:", f"X-SSL-Client-Cert: {der}", f"SSL_CLIENT_CERT: {der}"):
            self.assertEqual(self.status(request("simplereenroll", csr, header)), 403, header[:20])

    def test_s22_labels(self):
        """S22, RFC 7030 3.2.2: labels are one segment of plain characters and no operation's name"""
        for label in ("/a/b", "/cacerts", "/" + "a" * 65, "/defaul", "/default2", "/", "/default/", "/%20"):
            self.assertEqual(self.status(request("cacerts", label=label)), 404, label)
        for label in ("/a%2fb", "/..", "/.", "/%2e%2e", "/a%00", "/a%5cb"):
            self.assertIn(self.status(request("cacerts", label=label)), (400, 404), label)
        self.assertEqual(self.status(request("cacertsX")), 404)
        self.assertEqual(self.status(request("cacerts", label="/default")), 200)
        self.assertEqual(self.status(request("cacerts", label="/%64efault")), 200)


def close_primes_key(path):
    """An RSA key whose primes follow each other."""
    p = int(text("openssl", "prime", "-generate", "-bits", "1024"))
    q = p + 2
    while pow(2, q - 1, q) != 1:
        q += 2
    d = pow(65537, -1, (p - 1) * (q - 1))
    values = (0, p * q, 65537, d, q, p, d % (q - 1), d % (p - 1), pow(p, -1, q))
    lines = ["asn1 = SEQUENCE:key", "[key]"] + [f"f{i} = INTEGER:{value}" for i, value in enumerate(values)]
    with open(path + ".cnf", "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    run("openssl", "asn1parse", "-genconf", path + ".cnf", "-noout", "-out", path + ".der")
    run("openssl", "rsa", "-inform", "DER", "-in", path + ".der", "-out", path)


if __name__ == "__main__":
    main()
