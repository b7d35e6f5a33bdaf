"""What a TLS connection may not do (RFC 9325, RFC 8446 section 8), and large requests: a row a test, printed as pass or FAIL."""
import base64
import json
import os
import subprocess

import rows
from der import SEQUENCE, SET, oid, read, resign, write
from est_rows import EstFlow
from est_wire import Tls13, basic, make_csr, request
from flow_front import self_signed
from gateway import run, text

EARLY_DATA = 0xAF  # [15] maxEarlyData in OpenSSL's form of a session, which the client alone keeps
IGNORED = "1.3.6.1.4.1.55555.1"


class Sessions(EstFlow):
    """The tree that init makes, and one extension that means nothing."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"^    eku: .*$", rf"\g<0>\n    ignore_extensions: [{IGNORED}]")
        gw.edit(r"^tls:\n", "tls:\n  others: " + json.dumps([self_signed(gw, "rsa", "rsa", ["rsa.example"])]) + "\n")

    def s_client(self, work, *flags, stdin=b""):
        """What it prints of a connection on which it says stdin and then waits for the end."""
        with subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{self.gw.est_port}", "-CAfile", self.gw.root,
                               "-ign_eof", *flags], cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as process:
            return process.communicate(stdin, timeout=60)[0].decode(errors="replace")

    def allow_early_data(self, work):
        """session.pem with the server's word that early data is fine, which it never gave."""
        der = run("openssl", "sess_id", "-in", "session.pem", "-outform", "DER", cwd=work).stdout
        parts = read(der).items
        self.assertNotIn(EARLY_DATA, [part.tag for part in parts], "the ticket allows early data")
        before = [part.whole for part in parts if part.tag < EARLY_DATA]
        after = [part.whole for part in parts if part.tag > EARLY_DATA]
        forged = write(0x30, *before, write(EARLY_DATA, write(2, b"\x40\x00")), *after)
        lines = base64.encodebytes(forged).decode()
        with open(os.path.join(work, "forged.pem"), "w", encoding="ascii") as file:
            file.write(f"-----BEGIN SSL SESSION PARAMETERS-----\n{lines}-----END SSL SESSION PARAMETERS-----\n")

    def test_early_data(self):
        """RFC 7030 3.3, RFC 8446 8: no ticket allows early data, and a client that sends a request as such all the same is not heard"""
        work = self.gw.work("early")
        end = request("cacerts", None, "Connection: close")
        shown = self.s_client(work, "-tls1_3", "-nocommands", "-sess_out", "session.pem", stdin=end)
        self.assertIn("HTTP/1.1 200", shown)
        early = request("simpleenroll", make_csr(work, "/CN=early"), basic(self.gw.challenge()))
        with open(os.path.join(work, "early"), "wb") as file:
            file.write(early)
        self.allow_early_data(work)
        shown = self.s_client(work, "-tls1_3", "-nocommands", "-sess_in", "forged.pem", "-early_data", "early", stdin=end)
        self.assertRegex(shown, "Early data was (rejected|not sent)")
        self.assertNotIn("Early data was not sent", shown, "the test's client did not dare")
        self.assertEqual(shown.count("HTTP/1.1 200"), 1, "the request after the handshake is answered, the early one is not")
        self.assertIn("application/pkcs7-mime\r\n", shown)
        self.assertEqual(self.issued("early"), [])

    def test_renegotiation(self):
        """RFC 9325 3.5, RFC 7030 3.5: a client that renegotiates is told no; nothing is asked on what would come of it"""
        work = self.gw.work("renegotiation")
        with subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{self.gw.est_port}", "-tls1_2"], cwd=work,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            process.stdin.write(b"R\n")
            process.stdin.flush()
            shown = process.stdout.read().decode(errors="replace")  # to its end, which is the refusal
        self.assertIn("RENEGOTIATING", shown)
        self.assertRegex(shown, "no renegotiation")
        with Tls13(self.gw) as conn:
            self.assertEqual(conn.ask(request("cacerts"))[0], 200)

    def test_ciphers(self):
        """RFC 7030 3.2.3, 3.3.3, 3.6.1, 4.4, 6, RFC 9325 4.1: no weak cipher suites, none without forward secrecy; the server has
        id-kp-cmcRA"""
        work = self.gw.work("ciphers")
        flags = ("-nocommands", "-tls1_2", "-servername", "rsa.example")
        for suites in ("aNULL", "eNULL", "3DES:RC4:DES:EXPORT:MD5", "kRSA", "PSK:SRP"):
            shown = self.s_client(work, *flags, "-cipher", suites + ":@SECLEVEL=0")
            self.assertIn("Cipher is (NONE)" if "CONNECTED" in shown else "no cipher", shown, suites)
        shown = self.s_client(work, *flags, stdin=request("cacerts", None, "Connection: close"))
        self.assertIn("HTTP/1.1 200", shown)
        self.assertRegex(shown, "Cipher is ECDHE-RSA-.*(GCM|POLY1305)")
        shown = self.s_client(work, "-nocommands")
        usages = text("openssl", "x509", "-noout", "-ext", "extendedKeyUsage", input=shown.encode())
        self.assertIn("1.3.6.1.5.5.7.3.28", usages.replace("CMC Registration Authority", "1.3.6.1.5.5.7.3.28"))
        self.assertIn("TLS Web Server Authentication", usages)

    def test_large(self):
        """A CSR of 90 KiB goes the whole path: a good key gets its certificate, a weak one hears of the key; over the ceiling 413"""
        work = self.gw.work("large")
        run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out", "weak.pem", cwd=work)
        for subject, key, wanted in (("large", "key.pem", 200), ("weak", "weak.pem", 403)):
            filler = write(SEQUENCE, oid(IGNORED), write(SET, write(4, os.urandom(90 << 10))))
            csr = resign(work, make_csr(work, f"/CN={subject}", key=key), key=key, attributes=[filler])
            self.assertGreater(len(base64.b64encode(csr)), 120 << 10)
            with self.connect() as conn:
                status, _, body = conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))
            self.assertEqual(status, wanted, (body, self.gw.log()[-600:]))
            self.assertEqual(len(self.issued(f"CN={subject}")), wanted == 200)
        self.assertEqual(body.split(b" (")[0], b"refused: bad-key\n"[:-1])
        self.assertEqual(self.status(request("simpleenroll", bytes(100 << 10), basic(self.gw.challenge()))), 413)

    def padded(self, work, octets):
        """A CSR of exactly so many octets, by a filler."""
        def make(size):
            filler = write(SEQUENCE, oid(IGNORED), write(SET, write(4, os.urandom(size))))
            return resign(work, make_csr(work, "/CN=bound"), attributes=[filler])
        size = octets - 400
        for _ in range(200):  # an ECDSA signature has a length of its own each time
            csr = make(size)
            if len(csr) == octets:
                return csr
            size += octets - len(csr)
        raise AssertionError("no CSR of that size")

    def test_bound(self):
        """A body of 128 KiB exactly is read and its CSR issued; one octet more is 413, white space or not, with a length and in chunks"""
        work, ceiling = self.gw.work("bound"), 128 << 10
        exact = base64.b64encode(self.padded(work, 3 * ceiling // 4))
        self.assertEqual(len(exact), ceiling)
        over = base64.b64encode(self.padded(work, 3 * ceiling // 4 + 1))
        head = request("simpleenroll", None, basic(self.gw.challenge()), "Content-Type: application/pkcs10", method="POST")[:-2]
        for body, wanted in ((exact, 200), (exact + b"\n", 413), (over, 413)):
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 8000]), body[i:i + 8000]) for i in range(0, len(body), 8000))
            for data in (head + b"Content-Length: %d\r\n\r\n" % len(body) + body,
                         head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"):
                self.assertEqual(self.status(data), wanted, (len(body), self.gw.log()[-600:]))
        self.assertEqual(len(self.issued("CN=bound")), 1)

    def test_post_quantum(self):
        """CSRs with keys and signatures as large as those of ML-DSA-87 and SLH-DSA-256f are read, and refused for their key"""
        work = self.gw.work("quantum")
        plain = read(make_csr(work, "/CN=quantum"))
        for name, key, signature in (("2.16.840.1.101.3.4.3.19", 2592, 4627), ("2.16.840.1.101.3.4.3.24", 64, 49856)):
            algorithm = write(SEQUENCE, oid(name))
            version, subject, _, attributes = plain[0].items
            spki = write(SEQUENCE, algorithm, write(3, b"\0" + os.urandom(key)))
            csr = write(SEQUENCE, write(SEQUENCE, version.whole, subject.whole, spki, attributes.whole), algorithm,
                        write(3, b"\0" + os.urandom(signature)))
            with self.connect() as conn:
                status, _, body = conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))
            self.assertEqual(status, 400, body)
            self.assertEqual(body.split(b" (")[0], b"refused: bad-possession", (name, self.gw.log()[-600:]))
        self.assertEqual(self.issued("quantum"), [])


if __name__ == "__main__":
    rows.main()
