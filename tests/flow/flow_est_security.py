"""EST against what servers got wrong (S1 to S24): a row a test, printed as pass or FAIL."""
import base64
import math
import os
import secrets
import signal
import socket

import rows
from der import BIT_STRING, SEQUENCE, number, oid, read, resign, write
from est_rows import EstFlow
from debug import DebugPage
from est_wire import GUESS_WAITS, Tls12, basic, guess, keep_connections, make_csr, request
from faults import answers, changed
from flow_upstream_est import EstCa, issue_elsewhere
from gateway import run, text
from http_corpus import wait_until

ALWAYS = 5000  # as often as the CA is asked


class Security(EstFlow):
    """The tree that init makes."""

    @classmethod
    def configure(cls, gw):
        cls.page = DebugPage(os.path.join(gw.top, "debug"))
        gw.env = cls.page.env
        keep_connections(gw)

    def test_s1_names(self):
        """S1, RFC 7030 3.7, 4.2.2: re-enrollment for another subject, another order of it, or other SANs is 403"""
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
        """S5, RFC 7030 3.7: a certificate with cmcRA that is not ours is no RA; a device cannot ask for cmcRA"""
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
        """S9, RFC 6585 4: after ten wrong passwords a user hears 429 with Retry-After, twice as long each time, and so does the
        right one; the user elsewhere, and others, do not"""
        csr = make_csr(self.gw.work("s9"), "/CN=s9")
        good = self.gw.challenge()
        guess(self.page, lambda: self.status(request("simpleenroll", csr, basic("GUESSGUESSGUESSGUESS", "guesser"))))
        for secret in (good, "GUESSGUESSGUESSGUESS"):
            with self.connect() as conn:
                status, headers, _ = conn.ask(request("simpleenroll", csr, basic(secret, "guesser")))
            self.assertEqual(status, 429)
            self.assertGreater(int(headers["Retry-After"]), GUESS_WAITS[-1])
        self.assertEqual(self.status(request("simpleenroll", csr, basic(good, "guesser")), origin="127.0.0.2"), 200)
        other = make_csr(self.gw.work("s9"), "/CN=s9-other")
        self.assertEqual(self.status(request("simpleenroll", other, basic(self.gw.challenge(), "other"))), 200)

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
        """S13: small exponents, P-192, DSA, close primes, primes as ROCA has them, and small RSA keys are refused, each with its reason"""
        work = self.gw.work("s13")
        rsa = ("genpkey", "-algorithm", "RSA", "-pkeyopt")
        for name, command, reason in (
                ("e3", [*rsa, "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3"], "an RSA key with the exponent 3"),
                ("small", [*rsa, "rsa_keygen_bits:1024"], "an RSA key of 1024 bits is not allowed"),
                ("p192", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime192v1"], "an EC key on P-192 is not allowed"),
                ("dsa", ["dsaparam", "-genkey", "1024"], "a kind of key that we cannot verify")):
            run("openssl", *command[:1], "-out", name + ".pem", *command[1:], cwd=work)
            self.assert_refused(make_csr(work, "/CN=s13", key=name + ".pem"), why=name)
            self.assertTrue(wait_until(lambda reason=reason: reason in self.gw.log()), (name, self.gw.log()[-600:]))
        for name, primes, reason in (("close", close_primes, "too close together"), ("roca", roca_primes, "ROCA")):
            rsa_key(os.path.join(work, name + ".pem"), *primes())
            self.assert_refused(make_csr(work, "/CN=s13", key=name + ".pem"), (403,), name)
            self.assertTrue(wait_until(lambda reason=reason: reason in self.gw.log()), name)

    def test_s13_parsed(self):
        """S13: a point off its curve, on each, an RSA key of 16384 bits and even exponents are 400, each with its reason in the log"""
        work = self.gw.work("s13-parsed")
        for curve, reason in (("P-256", "not a point on P-256"), ("P-384", "not a point on P-384"),
                              ("P-521", "not a point on P-521")):
            csr = make_csr(work, "/CN=s13-parsed", key=curve + ".pem", curve=curve)
            spki = bytearray(read(csr)[0][2].whole)
            spki[-1] ^= 1
            self.assert_refused(resign(work, csr, key=curve + ".pem", spki=bytes(spki)), (400,), curve)
            self.assertTrue(wait_until(lambda reason=reason: reason in self.gw.log()), reason)
        csr = make_csr(work, "/CN=s13-parsed")
        for modulus, exponent, reason in (((1 << 16383) + 12345, 65537, "an RSA key of 16384 bits"),
                                          ((1 << 2047) + 12345, 65536, "even, small or huge exponent"),
                                          ((1 << 2047) + 12345, 1, "even, small or huge exponent")):
            spki = write(SEQUENCE, write(SEQUENCE, oid("1.2.840.113549.1.1.1"), b"\x05\x00"),
                         write(BIT_STRING, b"\x00", write(SEQUENCE, number(modulus), number(exponent))))
            self.assert_refused(resign(work, csr, spki=spki), (400,), reason)
            self.assertTrue(wait_until(lambda reason=reason: reason in self.gw.log()), reason)

    def test_s10_secrets(self):
        """S10: passwords, challenges and what stands for them in a CSR are neither logged nor sent back, refused or not"""
        work = self.gw.work("s10")
        self.gw.secrets += ["S10PASSWORDWRONG2345", "S10CHALLENGEPASSWORD", "S10OTPCHALLENGE23456"]
        password, otp = "challengePassword = S10CHALLENGEPASSWORD", "1.2.840.113549.1.9.16.2.56 = S10OTPCHALLENGE23456"
        for secret, attributes, wanted in (("S10PASSWORDWRONG2345", [password], 401), (self.gw.challenge(), [password, otp], 403),
                                           (self.gw.challenge(), [password], 200)):
            with self.connect() as conn:
                csr = make_csr(work, "/CN=s10", attributes=attributes)
                status, headers, body = conn.ask(request("simpleenroll", csr, basic(secret)))
            self.assertEqual(status, wanted, body)
            shown = str(headers) + body.decode()
            for word in (secret, "S10PASS", "S10CHALLENGE", "S10OTP", basic(secret).split()[-1]):
                self.assertNotIn(word, shown)
                self.assertNotIn(word, self.gw.log())

    def test_s15_white(self):
        """S15: ten megabytes of white space are cut off at the ceiling, with and without a length; a body of 120 KiB is read"""
        head = b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/pkcs10\r\n"
        with self.connect() as conn:
            conn.tls.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            sent = 0
            try:
                while sent < 10 << 20:
                    conn.tls.sendall(b"2000\r\n" + b" " * 8192 + b"\r\n")
                    sent += 8192
            except OSError:
                pass
            self.assertLess(sent, 10 << 20)
        secret = basic(self.gw.challenge()).encode()
        for size, wanted in ((120 << 10, 400), (129 << 10, 413)):
            body = b"MIIB" * (size // 4)
            self.assertEqual(self.status(head + secret + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body), wanted, size)

    def test_s15_bodies(self):
        """S15, S16: too much is 413, two ways to tell a length 400; what ends early is never issued"""
        head = b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/pkcs10\r\n"
        self.assertEqual(self.status(head + b"Content-Length: 10000000\r\n\r\n" + b" " * 1000), 413)
        for lengths in (b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"Content-Length: 4\r\nContent-Length: 5"):
            self.assertEqual(self.status(head + lengths + b"\r\n\r\nMII="), 400, lengths)
        csr = make_csr(self.gw.work("s15"), "/CN=s15")
        for trailing in (b"\x00", b"\x30\x00", csr):
            self.assert_refused(csr + trailing, (400,), trailing[:4])
        for sent in (request("simpleenroll", csr, basic(self.gw.challenge())), self.spaced(csr)):
            with self.connect() as conn:
                conn.tls.sendall(sent[:-1])
                conn.tls.shutdown(socket.SHUT_WR)
                while conn.tls.recv(4096):  # until the server has seen the end
                    pass
        self.assertEqual(self.status(self.spaced(make_csr(self.gw.work("s15"), "/CN=s15-whole"))), 200, "and whole it is")
        self.assertEqual([c["subject"] for c in self.issued("s15")], ["CN=s15-whole"])

    def spaced(self, csr):
        """A request whose last octet says nothing: who took it without would have the whole CSR."""
        body = base64.b64encode(csr) + b"\n\n"
        head = request("simpleenroll", None, basic(self.gw.challenge()), f"Content-Length: {len(body)}", method="POST")
        return head + body

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
        """S21, quirk 21: what a device says of its certificate or its address in headers counts for nothing"""
        work = self.gw.work("s21")
        cert, _ = self.enroll(work, "/CN=s21")
        der = base64.b64encode(run("openssl", "x509", "-in", cert, "-outform", "DER").stdout).decode()
        csr = make_csr(work, "/CN=s21", key="new.pem")
        for header in (f"Client-Cert: :{der}:", f"X-SSL-Client-Cert: {der}", f"SSL_CLIENT_CERT: {der}", "X-Forwarded-For: 192.0.2.77",
                       "Forwarded: for=192.0.2.77", "X-Real-IP: 192.0.2.77"):
            self.assertEqual(self.status(request("simplereenroll", csr, header)), 403, header[:20])
        self.gw.log_line("simplereenroll", "no-certificate")
        self.assertNotIn("192.0.2.77", self.gw.log())

    def test_s22_labels(self):
        """S22, RFC 7030 3.2.2: labels are one segment of plain characters and no operation's name"""
        for label in ("/a/b", "/cacerts", "/" + "a" * 65, "/defaul", "/default2", "/", "/default/", "/%20"):
            self.assertEqual(self.status(request("cacerts", label=label)), 404, label)
        for label in ("/a%2fb", "/..", "/.", "/%2e%2e", "/a%00", "/a%5cb"):
            self.assertIn(self.status(request("cacerts", label=label)), (400, 404), label)
        self.assertEqual(self.status(request("cacertsX")), 404)
        self.assertEqual(self.status(request("cacerts", label="/default")), 200)
        self.assertEqual(self.status(request("cacerts", label="/%64efault")), 200)


class Reuse(EstFlow):
    """keys.reuse: refuse, and a list of known keys."""

    @classmethod
    def configure(cls, gw):
        work = gw.work("listed")
        run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "known.pem", cwd=work)
        modulus = run("openssl", "rsa", "-in", "known.pem", "-noout", "-modulus", cwd=work).stdout
        with open(gw.path("known-keys"), "w", encoding="ascii") as file:
            file.write("# 2048 bits\n" + text("openssl", "sha1", "-r", input=modulus)[20:40] + "\n")
        gw.edit(r"^    keys: \{", "    keys: {reuse: refuse, blocklist: [known-keys], ")

    def test_s14_reuse(self):
        """S14: the key of one name is refused for another, 403 with a reason of its own; the same name may renew with it"""
        work = self.gw.work("s14")
        cert = self.enroll(work, "/CN=s14")
        self.assert_refused(make_csr(work, "/CN=s14-other"), (403,))
        self.assertTrue(wait_until(lambda: self.gw.metric(r'reason="key-reused"') == 1))
        self.assertTrue(wait_until(lambda: "the key is that of" in self.gw.log()))
        self.assertEqual(self.status(request("simplereenroll", make_csr(work, "/CN=s14")), cert=cert), 200)

    def test_s13_debian(self):
        """S13: a key of Debian's list, as openssl-blacklist has it, is 403"""
        work = self.gw.work("listed")
        self.assert_refused(make_csr(work, "/CN=listed", key="known.pem"), (403,))
        self.assertTrue(wait_until(lambda: "a key whose private key is known" in self.gw.log()))


class Slow(EstFlow):
    """limits.request: 2s."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"\Z", "limits: {request: 2s}\n")

    def test_s15_trickle(self):
        """S15: a body that comes an octet at a time is 408 when limits.request is over, though something comes all the time"""
        data = request("simpleenroll", make_csr(self.gw.work("trickle"), "/CN=trickle"), basic(self.gw.challenge()))
        head, body = data.split(b"\r\n\r\n", 1)
        self.assertGreater(len(body), 200, "which takes twenty seconds and more")
        sent, got = 0, b""
        with self.connect() as conn:
            conn.tls.sendall(head + b"\r\n\r\n")
            while not got and sent < len(body):
                try:
                    conn.tls.sendall(body[sent:sent + 1])
                    sent += 1
                    conn.tls.settimeout(0.1)
                    got = conn.tls.recv(100)
                except TimeoutError:
                    pass
                except OSError:  # the other side has ended the connection; what it said is still there to be read
                    got = conn.tls.recv(100)
                conn.tls.settimeout(30)
        self.assertTrue(got.startswith(b"HTTP/1.1 408 "), got)
        self.assertLess(sent, len(body))
        self.assertEqual(self.issued("trickle"), [])


class Behind(EstFlow):
    """The CA is another one, asked over EST through a proxy that has bad days."""

    @classmethod
    def configure(cls, gw):
        cls.ca = EstCa()
        cls.ca.configure(gw, "    limits: {wait: 2s, deadline: 20s}\n    breaker: {failures: 100, open: 1s}")

    @classmethod
    def tearDownClass(cls):
        cls.gw.close()
        cls.ca.close()

    def wait_issued(self, data, **options):
        """The body of the 200 that ends the 202s, each with an integer Retry-After."""
        statuses = []
        def collected():
            with self.connect(**options) as conn:
                status, headers, body = conn.ask(data)
            statuses.append((status, headers, body))
            if status == 202:
                self.assertGreater(int(headers["Retry-After"]), 0)
            return status == 200
        self.assertTrue(wait_until(collected, 90), statuses[-1:])
        return statuses[-1][2]

    def test_s17_wrong(self):
        """S17: another client's certificate from the CA never reaches the device, nor the inventory"""
        work = self.gw.work("s17")
        other = issue_elsewhere(self.ca, "/CN=s17-other", work)
        self.ca.proxy.reset(changed("wrong key", lambda s, h, b: (s, h, other)))
        data = request("simpleenroll", make_csr(work, "/CN=s17"), basic(self.gw.challenge()))
        for _ in range(3):
            with self.connect() as conn:
                status, _, body = conn.ask(data)
            self.assertIn(status, (202, 403, 503))
            self.assertLess(len(body), 200)
        self.assertEqual(self.issued("s17"), [])

    def test_s19_theft(self):
        """S19, RFC 7030 4.2.3: what waits is collected with the same credential, also on a new connection and after a restart, and
        by nobody else"""
        work = self.gw.work("s19")
        self.ca.proxy.reset(*[answers(202, ("Retry-After", "1"))] * ALWAYS)
        csr = make_csr(work, "/CN=s19-waits")
        mine = request("simpleenroll", csr, basic(self.gw.challenge()))
        with self.connect() as conn:
            status, headers, body = conn.ask(mine)
        self.assertEqual((status, headers["Content-Type"]), (202, "text/plain"))
        self.assertRegex(headers["Retry-After"], "^[0-9]+$")
        self.assertRegex(body, rb"^pending: .*\n$")
        for thief in (basic("WRONGCHALLENGE234567"), basic("WRONGCHALLENGE234567", "other")):
            self.assertEqual(self.status(request("simpleenroll", csr, thief)), 401)
        self.assertEqual(self.status(request("simpleenroll", csr)), 401)
        other = request("simpleenroll", make_csr(work, "/CN=s19-waits", key="other.pem"), basic(self.gw.secrets[-1]))
        self.assertEqual(self.status(other), 401, "another key by the same, spent credential")
        self.gw.stop()
        self.gw.start()
        self.assertEqual(self.status(mine), 202)
        self.ca.proxy.reset()
        first = self.wait_issued(mine)
        self.assertEqual(self.wait_issued(mine), first)
        self.assertEqual(self.status(request("simpleenroll", csr, basic("WRONGCHALLENGE234567"))), 401)
        self.assertEqual(len(self.issued("s19-waits")), 1)

    def test_s19_identity(self):
        """S19, RFC 7030 4.2.3: a renewal that waits is collected by its certificate and its key: the same CSR by another device is 403,
        another key is another request"""
        work, other = self.gw.work("s19-mine"), self.gw.work("s19-other")
        self.ca.proxy.reset()
        certs = []
        for where, subject in ((work, "/CN=s19-mine"), (other, "/CN=s19-other")):
            body = self.wait_issued(request("simpleenroll", make_csr(where, subject), basic(self.gw.challenge())))
            with open(os.path.join(where, "cert.pem"), "wb") as file:
                file.write(run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout)
            certs.append((os.path.join(where, "cert.pem"), os.path.join(where, "key.pem")))
        self.ca.proxy.reset(*[answers(202, ("Retry-After", "1"))] * ALWAYS)
        waits = request("simplereenroll", make_csr(work, "/CN=s19-mine", key="new.pem"))
        self.assertEqual(self.status(waits, cert=certs[0]), 202)
        self.assertEqual(self.status(waits, cert=certs[1]), 403)
        self.assertEqual(self.status(waits), 403)
        self.gw.stop(signal.SIGKILL)
        self.gw.start()
        self.assertEqual(self.status(waits, cert=certs[1]), 403)
        self.assertEqual(self.status(waits, cert=certs[0]), 202)
        self.ca.proxy.reset()
        keys = []
        for key in ("third.pem", "new.pem"):
            data = request("simplereenroll", make_csr(work, "/CN=s19-mine", key=key))
            body = self.wait_issued(data, cert=certs[0])
            pem = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout
            keys.append((text("openssl", "x509", "-noout", "-pubkey", input=pem),
                         text("openssl", "pkey", "-in", key, "-pubout", cwd=work)))
        self.assertEqual([got for got, _ in keys], [want for _, want in keys])
        self.assertEqual(self.status(waits, cert=certs[1]), 403)
        self.assertEqual(len(self.issued("s19-other")), 1)

    def test_s19_crowd(self):
        """S19: forty devices wait at once; each is told its own certificate and nobody else's, and the gateway keeps serving"""
        work, devices = self.gw.work("s19-crowd"), []
        self.ca.proxy.reset(*[answers(202, ("Retry-After", "2"))] * ALWAYS)
        for number in range(40):
            csr = make_csr(work, f"/CN=crowd-{number}", key=f"{number}.pem")
            devices.append((f"crowd-{number}", request("simpleenroll", csr, basic(self.gw.challenge()))))
        for subject, data in devices:
            self.assertEqual(self.status(data), 202, subject)
        self.assertEqual(self.status(request("cacerts")), 200)
        self.ca.proxy.reset()
        for subject, data in devices:
            pem = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(self.wait_issued(data))).stdout
            self.assertEqual(text("openssl", "x509", "-noout", "-subject", input=pem), f"subject=CN = {subject}\n")
        self.assertEqual(len(self.issued("CN=crowd-")), 40)

    def test_s23_replace(self):
        """S23: while the CA is gone a renewal waits and the old certificate stays good; afterwards the new one replaces it"""
        work = self.gw.work("s23")
        self.ca.proxy.reset()
        data = request("simpleenroll", make_csr(work, "/CN=s23"), basic(self.gw.challenge()))
        body = self.wait_issued(data)
        pem = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout
        with open(os.path.join(work, "cert.pem"), "wb") as file:
            file.write(pem)
        cert = (os.path.join(work, "cert.pem"), os.path.join(work, "key.pem"))
        self.ca.proxy.reset(*[answers(503, ("Retry-After", "1"))] * ALWAYS)
        again = request("simplereenroll", make_csr(work, "/CN=s23", key="new.pem"))
        self.assertEqual(self.status(again, cert=cert), 202)
        held = self.issued("s23")
        self.assertEqual((len(held), held[0].get("replaced_by") or ""), (1, ""))
        self.assertEqual(self.status(request("cacerts")), 200)
        self.ca.proxy.reset()
        self.wait_issued(again, cert=cert)
        self.assertEqual(len(self.issued("s23")), 2)

    def test_s23_reload(self):
        """S23: a faulty configuration changes nothing: cacerts is as before, and devices enroll"""
        work = self.gw.work("s23-reload")
        with self.connect() as conn:
            before = conn.ask(request("cacerts"))[2]
        with open(self.gw.conf, encoding="utf-8") as file:
            good = file.read()
        self.gw.edit(r"^profiles:", "nonsense: true\nprofiles:")
        failed = self.gw.metric(r'^scepter_reloads_total.*failed')
        self.gw.process.send_signal(signal.SIGHUP)
        self.assertTrue(wait_until(lambda: self.gw.metric(r'^scepter_reloads_total.*failed') > failed))
        with open(self.gw.conf, "w", encoding="utf-8") as file:
            file.write(good)
        with self.connect() as conn:
            self.assertEqual(conn.ask(request("cacerts"))[2], before)
        self.ca.proxy.reset()
        self.wait_issued(request("simpleenroll", make_csr(work, "/CN=after"), basic(self.gw.challenge())))


def is_prime(n):
    return pow(2, n - 1, n) == 1


def close_primes():
    """Primes that follow each other."""
    p = int(text("openssl", "prime", "-generate", "-bits", "1024"))
    q = p + 2
    while not is_prime(q):
        q += 2
    return p, q


def roca_primes():
    """k * M + (65537^a mod M), M the product of the first 126 primes (CVE-2017-15361)."""
    small = [n for n in range(2, 702) if all(n % d for d in range(2, int(n ** 0.5) + 1))]
    product = math.prod(small)
    primes = []
    while len(primes) < 2:
        k = secrets.randbelow((1 << 1024) // product - 1) + 1
        p = k * product + pow(65537, secrets.randbelow(1 << 62), product)
        if p >> 1022 == 3 and (p - 1) % 65537 and is_prime(p):
            primes.append(p)
    return primes


def rsa_key(path, p, q):
    """An RSA key of these primes."""
    d = pow(65537, -1, (p - 1) * (q - 1))
    values = (0, p * q, 65537, d, q, p, d % (q - 1), d % (p - 1), pow(p, -1, q))
    lines = ["asn1 = SEQUENCE:key", "[key]"] + [f"f{i} = INTEGER:{value}" for i, value in enumerate(values)]
    with open(path + ".cnf", "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    run("openssl", "asn1parse", "-genconf", path + ".cnf", "-noout", "-out", path + ".der")
    run("openssl", "rsa", "-inform", "DER", "-in", path + ".der", "-out", path)


if __name__ == "__main__":
    rows.main()
