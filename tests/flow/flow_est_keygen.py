"""serverkeygen (RFC 7030 section 4.4) with curl and openssl, and parsers as strict as those of EST's clients."""
import base64
import os
import re
import signal
import unittest

from flow_upstream_exec import LocalSubmit
from gateway import FlowTest, run, text
from http_corpus import wait_until

SHARED_ID = b"device-1"
SHARED_KEY = bytes(range(32))
OID_SHARED = bytes.fromhex("060b2a864886f70d0109100225")
OID_CERTIFIED = bytes.fromhex("060b2a864886f70d0109100236")
OID_CAPABILITIES = bytes.fromhex("06092a864886f70d01090f")
AES256, AES256_WRAP, DES3 = "060960864801650304012a", "060960864801650304012d", "06082a864886f70d0307"
KEY_TYPE = "application/pkcs7-mime; smime-type=server-generated-key"
CERT_TYPE = "application/pkcs7-mime; smime-type=certs-only"


def der(tag, *contents):
    content = b"".join(contents)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    octets = (len(content).bit_length() + 7) // 8
    return bytes([tag, 0x80 | octets]) + len(content).to_bytes(octets, "big") + content


def der_split(data):
    """(tag, content, what is behind it)"""
    tag, length, at = data[0], data[1], 2
    if length & 0x80:
        at = 2 + (length & 0x7f)
        length = int.from_bytes(data[2:at], "big")
    assert at + length <= len(data)
    return tag, data[at:at + length], data[at + length:]


def with_attributes(csr, *attributes):
    """The CSR with more attributes; its signature is wrong from then on, which serverkeygen ignores."""
    _, content, _ = der_split(csr)
    _, info, behind = der_split(content)
    parts = []
    while info and info[0] != 0xa0:
        _, _, rest = der_split(info)
        parts.append(info[:len(info) - len(rest)])
        info = rest
    old = der_split(info)[1] if info else b""
    return der(0x30, der(0x30, *parts, der(0xa0, old, *attributes)), behind)


def attribute(oid, value):
    return der(0x30, oid, der(0x31, value))


def capabilities(*oids):
    return attribute(OID_CAPABILITIES, der(0x30, *(der(0x30, bytes.fromhex(oid)) for oid in oids)))


def multipart(headers, body):
    """The parts of a multipart/mixed body, [(headers, content)]. As strict as the strictest of libest (type of a part
    exact, length exact), globalsign (Content-Transfer-Encoding in each part, Go's reader) and BouncyCastle (CRLF,
    the closing delimiter, nothing behind it)."""
    assert int(headers["Content-Length"]) == len(body)
    assert "Content-Transfer-Encoding" not in headers and "Transfer-Encoding" not in headers
    found = re.fullmatch(r"multipart/mixed; boundary=([A-Za-z0-9'()+_,./:=?-]{1,70})", headers["Content-Type"])
    delimiter = b"--" + found[1].encode()
    assert body.startswith(delimiter + b"\r\n"), "no preamble"
    assert body.endswith(b"\r\n" + delimiter + b"--\r\n"), "no epilogue"
    inner = body[len(delimiter) + 2:-len(delimiter) - 6]
    parts = []
    for part in inner.split(b"\r\n" + delimiter + b"\r\n"):
        assert delimiter not in part
        head, content = part.split(b"\r\n\r\n", 1)
        lines = [line.split(": ", 1) for line in head.decode("ascii").split("\r\n")]
        assert [name for name, _ in lines] == ["Content-Type", "Content-Transfer-Encoding"], lines
        assert lines[1][1] == "base64"
        assert re.fullmatch(rb"([A-Za-z0-9+/]{1,64}={0,2}\n)+", content), content
        parts.append((lines[0][1], base64.b64decode(content, validate=False)))
    return parts


class Keygen:
    """What the tests of several gateways share."""

    def make_csr(self, work, subject, *flags, key="own.pem", alg=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        run("openssl", "req", "-new", "-newkey", *alg, "-nodes", "-keyout", key, "-subj", subject, "-outform", "DER",
            "-out", "csr.der", *flags, cwd=work)
        with open(os.path.join(work, "csr.der"), "rb") as file:
            return file.read()

    def call(self, work, csr, *flags, operation="serverkeygen"):
        """(status, headers, body)"""
        with open(os.path.join(work, "sent"), "wb") as file:
            file.write(base64.encodebytes(csr))
        status = int(text("curl", "-sS", "--cacert", self.gw.root, "-D", "headers", "-o", "body", "-w", "%{http_code}",
                          "--data-binary", "@sent", *flags, "-H", "Content-Type: application/pkcs10",
                          f"{self.gw.est_url}/{operation}", cwd=work))
        with open(os.path.join(work, "headers"), encoding="ascii") as file:
            headers = dict(line.strip().split(": ", 1) for line in file if ": " in line)
        with open(os.path.join(work, "body"), "rb") as file:
            return status, headers, file.read()

    def user(self, secret=None):
        return ["--user", f"device:{secret or self.gw.challenge()}"]

    def write(self, work, name, data):
        with open(os.path.join(work, name), "wb") as file:
            file.write(data)
        return name

    def take(self, work, reply, key_type="application/pkcs8"):
        """What the key's part holds; cert.pem is written and verified."""
        status, headers, body = reply
        self.assertEqual(status, 200, body)
        parts = multipart(headers, body)
        self.assertEqual([kind for kind, _ in parts], [key_type, CERT_TYPE])
        self.write(work, "p7.der", parts[1][1])
        pem = run("openssl", "pkcs7", "-inform", "DER", "-in", "p7.der", "-print_certs", cwd=work).stdout
        self.assertEqual(pem.count(b"BEGIN CERTIFICATE"), 1)
        self.write(work, "cert.pem", pem)
        return parts[0][1]

    def check_key(self, work, key):
        """A PrivateKeyInfo in DER, for the certificate."""
        self.write(work, "key.der", key)
        tag, content, behind = der_split(key)
        self.assertEqual((tag, behind, content[:3]), (0x30, b"", b"\x02\x01\x00"))
        self.assertEqual(der_split(content[3:])[0], 0x30, "an AlgorithmIdentifier: not the traditional form")
        run("openssl", "pkey", "-inform", "DER", "-in", "key.der", "-out", "key.pem", cwd=work)
        self.assertEqual(text("openssl", "pkey", "-in", "key.pem", "-pubout", cwd=work),
                         text("openssl", "x509", "-in", "cert.pem", "-noout", "-pubkey", cwd=work))
        self.gw.secrets.append(base64.b64encode(key).decode()[-60:])
        self.gw.secrets.append(key[-24:].hex())

    def check_signed(self, work, signed):
        """A SignedData by the TLS server over an AsymmetricKeyPackage; the key in it."""
        self.write(work, "signed.der", der(0x30, bytes.fromhex("06092a864886f70d010702"), der(0xa0, signed)))
        shown = text("openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", "signed.der", cwd=work)
        self.assertIn("2.16.840.1.101.2.1.2.78.5", shown)
        run("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "signed.der", "-CAfile", self.gw.root,
            "-purpose", "any", "-out", "package.der", "-signer", "signer.pem", cwd=work)
        self.assertEqual(text("openssl", "x509", "-in", "signer.pem", "-noout", "-fingerprint", cwd=work),
                         text("openssl", "x509", "-in", self.gw.path("tls/server.pem"), "-noout", "-fingerprint"))
        with open(os.path.join(work, "package.der"), "rb") as file:
            tag, key, behind = der_split(file.read())
        self.assertEqual((tag, behind), (0x30, b""))
        return key


class Off(Keygen, FlowTest):
    def test_off(self):
        """S20, RFC 7030 4.4, 6: without est.keygen nobody makes keys: 501, and nothing is issued"""
        work = self.gw.work("off")
        self.assertEqual(self.call(work, self.make_csr(work, "/CN=off"), *self.user())[0], 501)
        self.assertEqual(self.gw.certs(), [])


class Allow(Keygen, FlowTest):
    @classmethod
    def configure(cls, gw):
        gw.secret_file("shared", f"{SHARED_ID.hex()}:{SHARED_KEY.hex()}\n", SHARED_KEY.hex())
        hashed = text("openssl", "passwd", "-6", "-stdin", input=b"correct horse\n").strip()
        gw.secret_file("users", f"alice:{hashed}\n")
        gw.edit(r"(labels: \[[^]]*\],)", r"\1 users: users, keygen: allow, keygen_keys: shared,")

    def test_plain(self):
        """RFC 7030 4.4.1, 4.4.2, quirks 11 and 12: PrivateKeyInfo and certificate, in exactly two parts; the key is of the CSR's
        kind and not its own"""
        for name, alg, kind in (("ec", ("ec", "-pkeyopt", "ec_paramgen_curve:P-384"), "ASN1 OID: secp384r1"),
                                ("rsa", ("rsa:2048",), "Public-Key: (2048 bit)"),
                                ("weak", ("rsa:1024",), "Public-Key: (2048 bit)")):
            work = self.gw.work(name)
            csr = self.make_csr(work, f"/CN=plain-{name}", "-addext", f"subjectAltName=DNS:{name}.example", alg=alg)
            self.check_key(work, self.take(work, self.call(work, csr, *self.user())))
            self.gw.verify(os.path.join(work, "cert.pem"))
            shown = text("openssl", "x509", "-in", "cert.pem", "-noout", "-text", cwd=work)
            self.assertIn(kind, shown)
            self.assertIn(f"Subject: CN = plain-{name}\n", shown)
            self.assertIn(f"DNS:{name}.example\n", shown)
            self.assertNotEqual(text("openssl", "pkey", "-in", "own.pem", "-pubout", cwd=work),
                                text("openssl", "pkey", "-in", "key.pem", "-pubout", cwd=work))

    def test_signature_ignored(self):
        """RFC 7030 4.4.1: the CSR's signature is ignored; its names are judged like any other's, with nothing issued"""
        work = self.gw.work("ignored")
        csr = bytearray(self.make_csr(work, "/CN=ignored"))
        csr[-3] ^= 1
        self.check_key(work, self.take(work, self.call(work, bytes(csr), *self.user())))
        bad = self.make_csr(work, "/CN=refused", "-addext", "basicConstraints=CA:TRUE")
        self.assertEqual(self.call(work, bad, *self.user())[0], 403)
        self.assertEqual([c for c in self.gw.certs() if "refused" in c["subject"]], [])

    def test_methods(self):
        """RFC 7030 4.4: only POST; the media type is that of a CSR; without a credential 401, and nothing is made"""
        work = self.gw.work("methods")
        csr = self.make_csr(work, "/CN=methods")
        self.assertEqual(text("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", self.gw.root,
                              self.gw.est_url + "/serverkeygen"), "405")
        self.assertEqual(self.call(work, csr, *self.user(), "-H", "Content-Type: text/plain")[0], 415)
        status, headers, _ = self.call(work, csr)
        self.assertEqual((status, headers["WWW-Authenticate"][:5]), (401, "Basic"))
        self.assertEqual(self.call(work, csr, *self.user("WRONGCHALLENGE234567"))[0], 401)
        self.assertEqual([c for c in self.gw.certs() if "methods" in c["subject"]], [])

    def test_shared(self):
        """RFC 7030 4.4.1.1, 4.4.2: with DecryptKeyIdentifier the key is in an envelope that openssl opens with the shared key alone"""
        work = self.gw.work("shared")
        csr = with_attributes(self.make_csr(work, "/CN=shared"), attribute(OID_SHARED, der(4, SHARED_ID)),
                              capabilities(AES256, AES256_WRAP))
        envelope = self.take(work, self.call(work, csr, *self.user()), KEY_TYPE)
        self.write(work, "env.der", envelope)
        shown = text("openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", "env.der", cwd=work)
        for word in ("d.kekri", "id-aes256-wrap", "aes-256-cbc", "pkcs7-signedData"):
            self.assertIn(word, shown)
        opened = ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", "env.der", "-secretkeyid", SHARED_ID.hex()]
        wrong = run(*opened, "-secretkey", bytes(32).hex(), cwd=work, check=False)
        self.assertNotEqual(wrong.returncode, 0)
        signed = run(*opened, "-secretkey", SHARED_KEY.hex(), cwd=work).stdout
        self.check_key(work, self.check_signed(work, signed))

    def test_certified(self):
        """RFC 7030 4.4.1.2, 4.4.2: with AsymmetricDecryptKeyIdentifier the key is (ktri) for the certificate that the device presents"""
        work = self.gw.work("certified")
        first = self.make_csr(work, "/CN=certified", key="old.pem", alg=("rsa:2048",))
        status, _, body = self.call(work, first, *self.user(), operation="simpleenroll")
        self.assertEqual(status, 200, body)
        self.write(work, "old.der", base64.b64decode(body))
        self.write(work, "old-cert.pem", run("openssl", "pkcs7", "-inform", "DER", "-in", "old.der", "-print_certs", cwd=work).stdout)
        ski = bytes.fromhex(text("openssl", "x509", "-in", "old-cert.pem", "-noout", "-ext", "subjectKeyIdentifier",
                                 cwd=work).splitlines()[1].strip().replace(":", ""))
        holder = ["--cert", "old-cert.pem", "--key", "old.pem"]
        csr = with_attributes(self.make_csr(work, "/CN=certified"), attribute(OID_CERTIFIED, der(4, ski)))
        self.write(work, "env.der", self.take(work, self.call(work, csr, *holder), KEY_TYPE))
        shown = text("openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", "env.der", cwd=work)
        for word in ("d.ktri", "aes-256-cbc"):
            self.assertIn(word, shown)
        signed = run("openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", "env.der", "-recip", "old-cert.pem",
                     "-inkey", "old.pem", cwd=work).stdout
        self.check_key(work, self.check_signed(work, signed))
        row = [c for c in self.gw.certs() if "certified" in c["subject"]]
        self.assertEqual(len(row), 2, "a renewal")
        other = with_attributes(self.make_csr(work, "/CN=certified"), attribute(OID_CERTIFIED, der(4, bytes(20))))
        self.assertEqual(self.call(work, other, *holder)[0], 400)

    def test_agreed(self):
        """RFC 7030 4.4.2: for a certificate with an EC key the envelope is by key agreement (kari), which its holder alone opens"""
        work = self.gw.work("agreed")
        first = self.make_csr(work, "/CN=agreed", "-addext", "keyUsage=digitalSignature,keyAgreement", key="old.pem")
        status, _, body = self.call(work, first, *self.user(), operation="simpleenroll")
        self.assertEqual(status, 200, body)
        self.write(work, "old-cert.pem", run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout)
        ski = bytes.fromhex(text("openssl", "x509", "-in", "old-cert.pem", "-noout", "-ext", "subjectKeyIdentifier",
                                 cwd=work).splitlines()[1].strip().replace(":", ""))
        csr = with_attributes(self.make_csr(work, "/CN=agreed"), attribute(OID_CERTIFIED, der(4, ski)))
        self.write(work, "env.der", self.take(work, self.call(work, csr, "--cert", "old-cert.pem", "--key", "old.pem"), KEY_TYPE))
        shown = text("openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", "env.der", cwd=work)
        self.assertIn("d.kari", shown)
        self.assertNotIn("d.ktri", shown)
        opened = ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", "env.der"]
        self.assertNotEqual(run(*opened, "-inkey", "own.pem", cwd=work, check=False).returncode, 0)
        signed = run(*opened, "-recip", "old-cert.pem", "-inkey", "old.pem", cwd=work).stdout
        self.check_key(work, self.check_signed(work, signed))

    def test_usage(self):
        """RFC 7030 4.4.1.2: nothing is encrypted to a certificate that is for signatures only: 400, and nothing is issued"""
        work = self.gw.work("for-signatures")
        for alg in (("rsa:2048",), ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
            name = "for-signatures-" + alg[0].split(":")[0]
            first = self.make_csr(work, f"/CN={name}", "-addext", "keyUsage=digitalSignature", key="old.pem", alg=alg)
            status, _, body = self.call(work, first, *self.user(), operation="simpleenroll")
            self.assertEqual(status, 200, body)
            self.write(work, "old-cert.pem", run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout)
            ski = bytes.fromhex(text("openssl", "x509", "-in", "old-cert.pem", "-noout", "-ext", "subjectKeyIdentifier",
                                     cwd=work).splitlines()[1].strip().replace(":", ""))
            csr = with_attributes(self.make_csr(work, f"/CN={name}"), attribute(OID_CERTIFIED, der(4, ski)))
            self.assertEqual(self.call(work, csr, "--cert", "old-cert.pem", "--key", "old.pem")[0], 400, name)
            self.assertEqual(len([c for c in self.gw.certs() if name in c["subject"]]), 1)

    def test_s20_unknown(self):
        """S20, RFC 7030 4.4.1.1, 4.4.1.2, 4.4.2, RFC 8951 5.2: an identifier that is not known, malformed or weak is 400: no key,
        no certificate, nothing spent"""
        work = self.gw.work("s20")
        secret = self.gw.challenge()
        plain = self.make_csr(work, "/CN=s20")
        shared = attribute(OID_SHARED, der(4, SHARED_ID))
        for attributes in ([attribute(OID_SHARED, der(4, b"device-2"))], [attribute(OID_SHARED, der(4))],
                           [attribute(OID_SHARED, der(12, SHARED_ID))], [shared, capabilities(DES3)],
                           [der(0x30, OID_SHARED, der(0x31, der(4, SHARED_ID), der(4, SHARED_ID + b"2")))],
                           [shared, attribute(OID_CERTIFIED, der(4, SHARED_ID))],
                           [attribute(OID_CERTIFIED, der(4, SHARED_ID))]):
            status, headers, body = self.call(work, with_attributes(plain, *attributes), *self.user(secret))
            self.assertEqual((status, headers["Content-Type"]), (400, "text/plain"), attributes)
            self.assertLess(len(body), 100)
        self.assertEqual([c for c in self.gw.certs() if "s20" in c["subject"]], [])
        self.check_key(work, self.take(work, self.call(work, plain, *self.user(secret))))

    def test_lost_reply(self):
        """A repetition with the same, spent challenge gets the same key and certificate; with another CSR it is refused"""
        work = self.gw.work("lost")
        secret = self.gw.challenge()
        csr = self.make_csr(work, "/CN=lost")
        first, again = self.call(work, csr, *self.user(secret)), self.call(work, csr, *self.user(secret))
        self.check_key(work, self.take(work, first))
        self.assertEqual(first[2], again[2])
        self.assertEqual(self.call(work, self.make_csr(work, "/CN=lost"), *self.user(secret))[0], 401)
        self.assertEqual(len([c for c in self.gw.certs() if "lost" in c["subject"]]), 1)

    def test_restart(self):
        """kill -9 loses the key: a spent challenge is refused then; a user gets another key, and the first certificate is revoked"""
        work = self.gw.work("restart")
        secret, alice = self.gw.challenge(), ["--user", "alice:correct horse"]
        spent, csr = self.make_csr(work, "/CN=spent"), self.make_csr(work, "/CN=again")
        self.assertEqual(self.call(work, spent, *self.user(secret))[0], 200)
        first = self.call(work, csr, *alice)
        self.check_key(work, self.take(work, first))
        self.gw.stop(signal.SIGKILL)
        self.gw.start()
        self.assertEqual(self.call(work, spent, *self.user(secret))[0], 401)
        second = self.call(work, csr, *alice)
        self.check_key(work, self.take(work, second))
        self.assertNotEqual(first[2], second[2])
        serial = text("openssl", "x509", "-in", "cert.pem", "-noout", "-serial", cwd=work).strip().split("=")[1].lower()
        states = {c["serial"] == serial: bool(c["revoked_at"]) for c in self.gw.certs() if "again" in c["subject"]}
        self.assertEqual(states, {True: False, False: True})
        self.assertEqual([c["revoked_at"] for c in self.gw.certs() if "spent" in c["subject"]], [None])
        self.gw.cli("audit", "verify")

    def test_not_at_rest(self):
        """RFC 7030 4.4: no private key is in the store, its log or anything else of the working tree"""
        work = self.gw.work("rest")
        csr = self.make_csr(work, "/CN=rest")
        key = self.take(work, self.call(work, csr, *self.user()))
        self.check_key(work, key)
        secret = bytes.fromhex(re.search(r"OCTET STRING +\[HEX DUMP\]:([0-9A-F]+)|priv:\n((?: .*\n)+)", text(
            "openssl", "pkey", "-in", "key.pem", "-noout", "-text", cwd=work))[2].replace(":", "").replace(" ", "").replace("\n", ""))
        for folder, _, names in os.walk(self.gw.dir):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    self.assertNotIn(secret[-24:], file.read(), name)


class Encrypted(Keygen, FlowTest):
    @classmethod
    def configure(cls, gw):
        gw.edit(r"(labels: \[[^]]*\],)", r"\1 keygen: encrypted,")

    def test_must(self):
        """S20, RFC 7030 6: keygen: encrypted sends no key in the clear: 400 to whoever names none"""
        work = self.gw.work("must")
        self.assertEqual(self.call(work, self.make_csr(work, "/CN=must"), *self.user())[0], 400)
        self.assertEqual(self.gw.certs(), [])


class Waiting(Keygen, FlowTest):
    """A CA that takes its time: certmonger's, by a helper that answers late."""

    @classmethod
    def configure(cls, gw):
        cls.ca = LocalSubmit()
        cls.ca.configure(gw, "    limits: {wait: 2s, deadline: 20s}\n    breaker: {failures: 100, open: 1s}")
        gw.edit(r"(labels: \[[^]]*\],)", r"\1 keygen: allow,")

    def ask_until(self, work, csr, user, statuses):
        """The first reply that is none of these, each of which says when to ask again."""
        def ask():
            self.reply = self.call(work, csr, *user)
            if self.reply[0] in statuses:
                self.assertRegex(self.reply[1]["Retry-After"], r"^[0-9]+$")
            return self.reply[0] not in statuses
        self.assertTrue(wait_until(ask, 120), self.gw.log()[-3000:])
        return self.reply

    def test_pending(self):
        """RFC 7030 4.2.3: 202 while the CA takes its time; the key waits for the certificate"""
        work = self.gw.work("pending")
        self.ca.hold("pending")
        csr, user = self.make_csr(work, "/CN=pending"), self.user()
        status, headers, body = self.call(work, csr, *user)
        self.assertEqual(status, 202, body)
        self.assertNotIn(b"multipart", body)
        self.ca.release("pending")
        self.check_key(work, self.take(work, self.ask_until(work, csr, user, [202])))
        self.assertEqual(len([c for c in self.gw.certs() if "CN=pending" in c["subject"]]), 1)

    def test_pending_theft(self):
        """S19, RFC 7030 4.2.3: a key that waits is collected with the same credential alone, not by a wrong or another one"""
        work, other = self.gw.work("theft"), self.gw.work("theft-other")
        self.ca.hold("theft")
        csr, user = self.make_csr(work, "/CN=theft"), self.user()
        self.assertEqual(self.call(work, csr, *user)[0], 202)
        self.assertEqual(self.call(other, csr, *self.user("WRONGCHALLENGE234567"))[0], 401)
        self.assertEqual(self.call(other, csr)[0], 401)
        self.ca.release("theft")
        mine = self.ask_until(work, csr, user, [202])
        self.check_key(work, self.take(work, mine))
        self.assertEqual(self.call(other, csr, *self.user("WRONGCHALLENGE234567"))[0], 401)
        self.assertEqual(self.call(other, csr)[0], 401)
        another = self.make_csr(other, "/CN=theft")  # of the same name by whoever may have it: a request of its own
        status, _, body = self.ask_until(other, another, self.user(), [202])
        self.assertEqual(status, 200, body)
        self.assertNotEqual(body, mine[2])

    def test_pending_lost(self):
        """RFC 7030 4.2.3: if the process is killed meanwhile, what the CA issues is revoked, and the device, whose challenge is
        spent, hears 401"""
        work = self.gw.work("pending-lost")
        self.ca.hold("gone")
        csr, user = self.make_csr(work, "/CN=gone"), self.user()
        self.assertEqual(self.call(work, csr, *user)[0], 202)
        self.assertTrue(wait_until(lambda: [r["state"] for r in self.gw.requests() if r["subject"] == "CN=gone"] == ["waiting"]))
        self.gw.stop(signal.SIGKILL)
        self.ca.release("gone")
        self.gw.start()
        self.assertEqual(self.ask_until(work, csr, user, [202])[0], 401)
        self.assertTrue(wait_until(lambda: [bool(c["revoked_at"]) for c in self.gw.certs() if "CN=gone" in c["subject"]] == [True]))
        self.assertTrue(wait_until(lambda: "whose key is lost, is not revoked there" in self.gw.log()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
