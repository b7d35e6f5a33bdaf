"""SCEP as the tests of attackers and of conformance need it: messages of tests/support/scep_forge, requests on sockets of
one's own, and replies read by openssl and by der.py, not by the gateway's codec."""
import http.client
import os
import re
import socket
import struct

import der
from est_wire import make_csr
from gateway import FlowTest, run, text

FORGE = os.environ["SCEP_FORGE"]
PKI_MESSAGE = "application/x-pki-message"
PKIOP = "/scep/default?operation=PKIOperation"
DATA, SIGNED, ENVELOPED = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.3"
CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4", "1.2.840.113549.1.9.5"
SCEP = "2.16.840.1.113733.1.9."
TYPE, STATUS, FAIL, SENDER_NONCE, RECIPIENT_NONCE, TXN = (SCEP + n for n in "234567")
FAIL_TEXT = "1.3.6.1.5.5.7.24.1"
SUCCESS, FAILURE, PENDING = "0", "2", "3"
BAD_ALG, BAD_MESSAGE_CHECK, BAD_REQUEST, BAD_TIME, BAD_CERT_ID = "01234"
OUTCOMES = {SUCCESS: "SUCCESS", PENDING: "PENDING"}
FAILS = {BAD_ALG: "badAlg", BAD_MESSAGE_CHECK: "badMessageCheck", BAD_REQUEST: "badRequest", BAD_TIME: "badTime",
         BAD_CERT_ID: "badCertId"}


class Answer:
    """What scep_forge says of a reply."""

    def __init__(self, line):
        self.line = line
        self.words = dict(re.findall(r"(\w+)=(.*?)(?= \w+=|$)", line))

    def __getitem__(self, name):
        return self.words[name]

    @property
    def outcome(self):
        """SUCCESS, PENDING, badRequest, ..., or the HTTP status of what is no CertRep."""
        if "status" not in self.words:
            return self["http"]
        return OUTCOMES.get(self["status"]) or FAILS[self["fail"]]


class Party:
    """Somebody with an RSA key and a self-signed certificate for it; its files are key.pem and cert.pem in a folder."""

    def __init__(self, gw, name, subject=None, bits=2048):
        self.gw, self.dir = gw, gw.work(name)
        self.subject = subject or f"/CN={name}"
        if not os.path.exists(self.path("key.pem")):
            run("openssl", "genrsa", "-out", "key.pem", bits, cwd=self.dir)
        self.self_sign(self.subject)

    def path(self, name):
        return os.path.join(self.dir, name)

    def self_sign(self, subject, *, key="key.pem", out="cert.pem"):
        run("openssl", "req", "-x509", "-key", key, "-out", out, "-days", 3, "-subj", subject, cwd=self.dir)
        return self.path(out)

    def sign(self, data, key="key.pem"):
        """AlgorithmIdentifier and BIT STRING of a signature."""
        signature = run("openssl", "dgst", "-sha256", "-sign", key, input=data, cwd=self.dir).stdout
        algorithm = der.write(der.SEQUENCE, der.oid("1.2.840.113549.1.1.11"), der.write(der.NULL))
        return algorithm, der.write(der.BIT_STRING, b"\0" + signature)

    def signed_by_hand(self, message, *, cert, key):
        """The message, signed by others: with keys that scep_forge does not touch."""
        info = der.read(message)
        version, digests, content, _, signers = info[1][0].items
        _, _, digest, attributes, _, _ = signers[0].items
        certificate = run("openssl", "x509", "-in", cert, "-outform", "DER", cwd=self.dir).stdout
        tbs = der.read(certificate)[0].items
        signer = der.write(der.SEQUENCE, tbs[3].whole, tbs[1].whole)
        algorithm, bits = self.sign(der.write(der.SET, attributes.content), key)
        infos = der.write(der.SEQUENCE, der.number(1), signer, digest.whole, attributes.whole, algorithm,
                          der.write(der.OCTET_STRING, der.read(bits).content[1:]))
        signed = der.write(der.SEQUENCE, version.whole, digests.whole, content.whole, der.write(0xa0, certificate),
                           der.write(der.SET, infos))
        return der.write(der.SEQUENCE, info[0].whole, der.write(0xa0, signed))

    def csr(self, subject=None, secret=None, *, attributes=(), extensions=(), key="key.pem"):
        """The path of a CSR."""
        attributes = [*attributes] + ([f"challengePassword = {secret}"] if secret is not None else [])
        data = make_csr(self.dir, subject or self.subject, attributes=attributes, extensions=extensions, key=key)
        return self.keep("csr.der", data)

    def keep(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)

    def load(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def run_forge(self, url, words):
        """scep_forge with this signer and key, if the words do not say otherwise."""
        words = [str(word) for word in words]
        for word, value in (("signer", "cert.pem"), ("key", "key.pem")):
            if not any(given.startswith(word + "=") for given in words):
                words.append(f"{word}={value}")
        return text(FORGE, url or self.gw.scep_url, *words, cwd=self.dir).strip()

    def forge(self, *words, url=None):
        """One message; what came back."""
        return Answer(self.run_forge(url, words))

    def message(self, *words, url=None):
        """The octets of a message that is not sent."""
        self.run_forge(url, (*words, "save=message.der"))
        return self.load("message.der")

    def enroll(self, subject=None, *, secret=None, url=None, extensions=(), out="issued.pem"):
        """A certificate of the gateway's, opened by openssl; its path."""
        self.csr(subject, secret or self.gw.challenge(), extensions=extensions)
        answer = self.forge("csr=csr.der", "reply=reply.der", f"txn={os.urandom(8).hex()}", url=url)
        if answer.outcome != "SUCCESS":
            raise AssertionError(f"{answer.line}\n{self.gw.log()[-3000:]}")
        return self.keep(out, self.open(self.load("reply.der")))

    def open(self, reply, cert="cert.pem", key="key.pem", ra=None):
        """The PEM of the certificates in a CertRep, as openssl verifies and decrypts it."""
        ra = ra or self.gw.path("ra/ra.pem")
        self.keep("opened.der", reply)
        run("openssl", "cms", "-verify", "-inform", "DER", "-in", "opened.der", "-noverify", "-nointern", "-certfile", ra,
            "-out", "envelope.der", cwd=self.dir)
        run("openssl", "cms", "-decrypt", "-inform", "DER", "-in", "envelope.der", "-recip", cert, "-inkey", key,
            "-out", "bag.der", cwd=self.dir)
        return run("openssl", "pkcs7", "-inform", "DER", "-in", "bag.der", "-print_certs", cwd=self.dir).stdout


class CertRep:
    """A reply as octets: strict DER throughout, or it is no reply."""

    def __init__(self, data):
        self.data = data
        info = der.read(data)
        assert [info[0].oid, info[1].tag] == [SIGNED, 0xa0]
        self.signed = info[1][0]
        self.parts = self.signed.items
        assert self.parts[2][0].oid == DATA
        self.certs = self.parts[3].items if self.parts[3].tag == 0xa0 else []
        self.signers = self.parts[-1].items
        self.attributes = self.signers[0][3]
        self.values = {}
        for attribute in self.attributes.items:
            assert attribute[0].oid not in self.values, "an attribute twice"
            self.values[attribute[0].oid] = attribute[1].items

    def value(self, name):
        """The one value's content."""
        values = self.values[name]
        assert len(values) == 1
        return values[0].content

    def text(self, name):
        return self.value(name).decode("ascii")

    @property
    def envelope(self):
        """The EnvelopedData, or None. Content that is left out and an empty string are the same."""
        encapsulated = self.parts[2].items
        if len(encapsulated) == 1 or not encapsulated[1][0].content:
            return None
        info = der.read(encapsulated[1][0].content)
        assert info[0].oid == ENVELOPED
        return info[1][0]

    @property
    def outcome(self):
        status = self.text(STATUS)
        return OUTCOMES.get(status) or FAILS[self.text(FAIL)]

    def masked(self):
        """The octets without what has to differ: senderNonce, signingTime, the signature, the id in failInfoText."""
        data = self.data
        parts = [self.value(SENDER_NONCE), self.value(SIGNING_TIME), self.signers[0][5].content]
        if FAIL_TEXT in self.values:
            parts.append(self.value(FAIL_TEXT)[-16:])
        for content in parts:
            assert data.count(content) == 1
            data = data.replace(content, bytes(len(content)))
        return data


def post(gw, body, *, source="127.0.0.1", path=PKIOP, headers=None):
    """(status, Content-Type, body) of one POST from that address."""
    connection = http.client.HTTPConnection("127.0.0.1", gw.scep_port, timeout=60, source_address=(source, 0))
    try:
        connection.request("POST", path, body, {"Content-Type": PKI_MESSAGE} if headers is None else headers)
        reply = connection.getresponse()
        return reply.status, reply.getheader("Content-Type"), reply.read()
    finally:
        connection.close()


def segments(connection):
    """How many TCP segments with data have come: on loopback one for each write of up to 64 KiB (tcpi_data_segs_in)."""
    return struct.unpack_from("=I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 152)[0]


def connect(gw):
    return socket.create_connection(("127.0.0.1", gw.scep_port), timeout=30)


class ScepTest(FlowTest):
    """At the end of a class, no secret of it is in the log or the metrics, and no sanitizer has spoken."""

    @classmethod
    def tearDownClass(cls):
        try:
            seen = cls.gw.log() + (cls.gw.admin("/metrics")[1] if cls.gw.process else "")
            for secret in cls.gw.secrets:
                for form in (secret, secret.lower(), secret.encode().hex()):
                    assert form not in seen, f"the secret {secret} is in the log or the metrics"
            assert not re.search(r"AddressSanitizer|runtime error:", seen), seen[-5000:]
        finally:
            super().tearDownClass()

    def counts(self):
        """What has been ordered and issued so far, and how often upstream CAs were asked."""
        return (len(self.gw.requests()), len(self.gw.certs()), self.gw.metric("^scepter_upstream_asked_total"))


class Wire(ScepTest):
    """Raw requests and one device."""

    def setUp(self):
        self.device = Party(self.gw, "device")

    def talk(self, data, keep=False):
        """(status, headers, body, whether all of it came in one write); the server closes the connection, or keeps it."""
        with connect(self.gw) as connection:
            connection.sendall(data)
            reply = connection.recv(1 << 20)
            connection.settimeout(0.3 if keep else 30)
            try:
                while piece := connection.recv(1 << 20):
                    reply += piece
                ended = True
            except socket.timeout:
                ended = False
            writes = segments(connection)
        self.assertEqual(ended, not keep, reply[:300])
        head, _, body = reply.partition(b"\r\n\r\n")
        lines = head.decode("ascii").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        self.assertEqual(len(headers), len(lines) - 1, "a header twice")
        self.assertEqual(len(body), int(headers["Content-Length"]))
        return int(lines[0].split()[1]), headers, body, writes == 1

    def get(self, query, path="/scep/default"):
        status, headers, body, _ = self.talk(f"GET {path}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return status, headers.get("Content-Type"), body

    def request(self, subject, *words, secret=None, extensions=()):
        """A PKCSReq that will be granted, as octets."""
        self.device.csr(subject, secret or self.gw.challenge(), extensions=extensions)
        return self.device.message("csr=csr.der", f"txn={subject}", *words)

    def granted(self, subject, *words, **options):
        """The CertRep to such a request."""
        status, _, body = post(self.gw, self.request(subject, *words, **options))
        self.assertEqual(status, 200, self.gw.log()[-1500:])
        reply = CertRep(body)
        self.assertEqual(reply.outcome, "SUCCESS", self.gw.log()[-1500:])
        return reply

    def assert_outcome(self, outcome, *words, party=None, url=None):
        answer = (party or self.device).forge(*words, url=url)
        self.assertEqual(answer.outcome, outcome, f"{words} {answer.line}\n{self.gw.log()[-1500:]}")
        return answer

    def poll(self, subject, txn, *words, party=None):
        names = der.write(der.SEQUENCE, der.common_name("/CN=some other CA"), der.common_name(subject))
        party = party or self.device
        party.keep("names.der", names)
        return party.forge("plain=names.der", "type=20", f"txn={txn}", *words)

    def degenerate(self, data):
        """The certificates of a degenerate SignedData."""
        info = der.read(data)
        self.assertEqual(info[0].oid, SIGNED)
        parts = info[1][0].items
        self.assertEqual([item.oid for item in parts[2].items], [DATA], "content")
        self.assertEqual(parts[1].content, b"", "digestAlgorithms")
        self.assertEqual((parts[-1].tag, parts[-1].content), (der.SET, b""), "signers")
        return [item.whole for item in parts[3].items]
