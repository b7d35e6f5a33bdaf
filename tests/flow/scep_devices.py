"""Rows of flow_scep_conformance.py: what clients in the field do, and HTTP as they speak it."""
import base64
import os
import re
import socket
import ssl
import urllib.parse

from forgeries import GenerousCa
from gateway import run, text
from http_corpus import wait_until
from scep_wire import PKIOP, RECIPIENT_NONCE, TXN, CertRep, Wire, connect, post, segments


class Quirks(Wire):
    """What clients in the field do, each row with the client that does it."""

    def test_ios_get(self):
        """Cisco IOS: HTTP/1.0, message= of its trustpoint, pkiclient.exe behind the path, %0A in the base64 of a GET (quirk 1)"""
        status, _, body, _ = self.talk(b"GET /scep/default/pkiclient.exe?operation=GetCACert&message=my-trustpoint HTTP/1.0\r\n"
                                       b"User-Agent: Mozilla/4.0 (compatible; MSIE 5.0; Cisco PKI)\r\n\r\n")
        self.assertEqual((status, body), (200, self.get("operation=GetCACert")[2]))
        value = base64.encodebytes(self.request("/CN=ios-get")).decode()
        target = "/scep/default/pkiclient.exe?operation=PKIOperation&message=" + urllib.parse.quote(value, safe="")
        status, headers, body, _ = self.talk(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        self.assertEqual((status, headers["Content-Type"], CertRep(body).outcome), (200, "application/x-pki-message", "SUCCESS"))

    def test_ios_signer(self):
        """Cisco IOS and ASA: the self-signed signer has another subject than the CSR; keys are compared, not names (quirk 3)"""
        self.device.self_sign("/unstructuredName=router.example", out="ios.pem")
        self.device.csr("/CN=ios-signer", self.gw.challenge())
        self.assert_outcome("SUCCESS", "csr=csr.der", "signer=ios.pem")

    def test_long_serial(self):
        """certmonger: a self-signed signer whose serial number is a digest, 32 octets, the first bit set or not"""
        for number, serial in enumerate(("0x" + "f1" * 32, "0x" + "71" * 32)):
            run("openssl", "req", "-x509", "-key", "key.pem", "-out", "long.pem", "-subj", "/CN=long", "-set_serial", serial,
                cwd=self.device.dir)
            self.device.csr(f"/CN=long-serial-{number}", self.gw.challenge())
            self.assert_outcome("SUCCESS", "csr=csr.der", "signer=long.pem", f"txn=long-{number}")

    def test_renewal_by_pkcsreq(self):
        """Cisco IOS, Apple: renewal as PKCSReq signed by the current certificate, without a challenge (quirk 4)"""
        issued = self.device.enroll("/CN=pkcsreq-renewal")
        run("openssl", "genrsa", "-out", "next.pem", "2048", cwd=self.device.dir)
        self.device.csr("/CN=pkcsreq-renewal", key="next.pem")
        self.assert_outcome("SUCCESS", "csr=csr.der", "type=19", f"signer={issued}", "txn=pkcsreq-renewal")

    def test_leaf_only(self):
        """Juniper: CertRep holds the leaf alone, which is the default (quirk 6)"""
        self.device.csr("/CN=juniper", self.gw.challenge())
        self.assertEqual(self.assert_outcome("SUCCESS", "csr=csr.der")["certs"], "1")

    def test_message_parameter(self):
        """IOS, MikroTik, sscep, Windows, certmonger: message= of GetCACaps, GetCACert and GetNextCACert means nothing (quirks 9,
        20 and 22)"""
        for message in ("DummyCAIdentity", "CAIdentifier", "default", "0", "1", "", "my-ca", "CN%3Dx"):
            for operation, status in (("GetCACaps", 200), ("GetCACert", 200), ("GetNextCACert", 404)):
                self.assertEqual(self.get(f"operation={operation}&message={message}")[0], status, (operation, message))

    def test_sscep(self):
        """sscep: POST without Content-Type; GET with a raw / and %0A each 64 characters; it matches media types exactly (quirk 10)"""
        message = self.request("/CN=sscep")
        status, kind, body = post(self.gw, message, headers={})
        self.assertEqual((status, kind, CertRep(body).outcome), (200, "application/x-pki-message", "SUCCESS"))
        value = base64.b64encode(message).decode()
        value = "".join(value[i:i + 64] + "\n" for i in range(0, len(value), 64))
        escaped = value.replace("+", "%2B").replace("=", "%3D").replace("\n", "%0A")
        status, kind, body = self.get(f"operation=PKIOperation&message={escaped}")
        self.assertEqual((status, kind, CertRep(body).outcome), (200, "application/x-pki-message", "SUCCESS"))

    def test_strongswan(self):
        """strongSwan: HTTP/1.1 without Host; an empty Content-Type; transactionID as it was sent (quirk 11)"""
        status, _, body, _ = self.talk(b"GET /scep/default?operation=GetCACaps HTTP/1.1\r\nConnection: close\r\n\r\n")
        self.assertEqual((status, b"SHA-384" in body), (200, True))
        message = self.request("/CN=strongswan")
        status, _, body, _ = self.talk(b"POST %s HTTP/1.1\r\nContent-Type:\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                                       % (PKIOP.encode(), len(message), message))
        self.assertEqual((status, CertRep(body).outcome, CertRep(body).text(TXN)), (200, "SUCCESS", "/CN=strongswan"))

    def test_apple_get(self):
        """Apple: in a GET + and / are raw and = is escaped (quirk 15)"""
        value = base64.b64encode(self.request("/CN=apple-get")).decode().replace("=", "%3D")
        self.assertEqual(CertRep(self.get(f"operation=PKIOperation&message={value}")[2]).outcome, "SUCCESS")

    def test_apple_nonce(self):
        """Apple, old: a senderNonce of 8 octets comes back as it is (quirk 15)"""
        reply = self.granted("/CN=apple-nonce", "nonce=0102030405060708")
        self.assertEqual(reply.value(RECIPIENT_NONCE).hex(), "0102030405060708")

    def test_apple_ber(self):
        """Apple, jscep: indefinite lengths and constructed OCTET STRINGs (quirks 12 and 15)"""
        self.granted("/CN=apple-ber", "ber=1")

    def test_windows_signer(self):
        """Windows: a self-signed signer with a critical authorityKeyIdentifier (quirk 17)"""
        self.device.keep("windows.cnf", b"[req]\nprompt = no\ndistinguished_name = dn\nx509_extensions = e\n[dn]\n"
                         b"CN = SCEP Protocol Certificate\n[e]\nsubjectKeyIdentifier = hash\n"
                         b"keyUsage = digitalSignature,keyEncipherment\n"
                         b"authorityKeyIdentifier = critical,DER:30:06:80:04:01:02:03:04\n")
        run("openssl", "req", "-x509", "-config", "windows.cnf", "-key", "key.pem", "-out", "windows.pem", cwd=self.device.dir)
        self.assertIn("critical", text("openssl", "x509", "-in", self.device.path("windows.pem"), "-noout", "-text"))
        self.device.csr("/CN=windows-signer", self.gw.challenge())
        self.assert_outcome("SUCCESS", "csr=csr.der", "signer=windows.pem", f"txn={os.urandom(20).hex().upper()}")

    def test_oaep(self):
        """Windows: RSAES-OAEP with SHA-1; others with SHA-256 (quirks 17 and 32)"""
        for number, digest in enumerate(("SHA1", "SHA256")):
            self.granted(f"/CN=oaep-{number}", f"oaep={digest}")

    def test_txn(self):
        """micromdm's client: a base64 transactionID; OpenXPKI's clients: hex; FortiGate: upper-case hex (quirks 8 and 23)"""
        for number, txn in enumerate(("q2/+Zg4f5nO0jNlEmRJ1fQ==", "0a1b2c", "0A1B2C", "a device, 12:34")):
            self.device.csr(f"/CN=txn-{number}", self.gw.challenge())
            self.assertEqual(self.assert_outcome("SUCCESS", "csr=csr.der", f"txn={txn}")["txn"], "same")

    def test_micromdm_get(self):
        """micromdm's client, older: base64url in a GET, with and without padding (quirk 23)"""
        value = base64.urlsafe_b64encode(self.request("/CN=url-alphabet")).decode()
        for form in (value, value.rstrip("=")):
            self.assertEqual(CertRep(self.get(f"operation=PKIOperation&message={form}")[2]).outcome, "SUCCESS")

    def test_recipient_by_ski(self):
        """the recipient named by its key identifier; among others that are none of ours (quirks 28 and 32)"""
        self.granted("/CN=by-ski", "recipient_by_ski=1")
        self.granted("/CN=by-ski-signer", "by_ski=1")

    def test_encrypted_to_the_ca(self):
        """who encrypts to the issuing CA instead of the RA hears badMessageCheck, and the log says why (quirk 28)"""
        self.device.csr("/CN=to-the-ca", self.gw.challenge())
        self.assert_outcome("badMessageCheck", "csr=csr.der", f"recipient={self.gw.path('ca/issuing.pem')}")
        self.gw.log_line("addressed to none of the profile's RA keys")

    def test_unsorted(self):
        """SCEPy: signed attributes that are not sorted (quirk 30)"""
        self.granted("/CN=unsorted", "unsorted=1")

    def test_next_ca(self):
        """MikroTik polls GetNextCACert: never a server error (quirk 9)"""
        for _ in range(5):
            self.assertEqual(self.get("operation=GetNextCACert&message=DummyCAIdentity")[0], 404)

    def test_capabilities_by_post(self):
        """POST of anything but a PKIOperation is 400, HEAD has no body"""
        self.assertEqual(post(self.gw, b"", path="/scep/default?operation=GetCACaps")[0], 400)
        with connect(self.gw) as connection:
            connection.sendall(b"HEAD /scep/default?operation=GetCACaps HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            data = b""
            while piece := connection.recv(65536):
                data += piece
        self.assertTrue(data.startswith(b"HTTP/1.1 200 ") and data.endswith(b"\r\n\r\n"), data)


class Http(Wire):
    """HTTP as devices speak it."""

    FORMS = {
        "percent-encoded": lambda v: urllib.parse.quote(v, safe=""),
        "in lower-case escapes": lambda v: re.sub("%..", lambda m: m[0].lower(), urllib.parse.quote(v, safe="")),
        "not escaped at all": lambda v: v,
        "+ turned into a space, escaped": lambda v: v.replace("+", "%20"),
        "escaped twice": lambda v: urllib.parse.quote(urllib.parse.quote(v, safe=""), safe=""),
        "only + escaped": lambda v: v.replace("+", "%2B"),
        "every character escaped": lambda v: "".join(f"%{ord(c):02X}" for c in v),
        "lines with %0A": lambda v: "%0A".join(v[i:i + 64] for i in range(0, len(v), 64)).replace("+", "%2B"),
        "lines with %0D%0A": lambda v: "%0D%0A".join(v[i:i + 76] for i in range(0, len(v), 76)).replace("+", "%2B"),
        "a line end at the end": lambda v: v.replace("+", "%2B") + "%0A",
        "-_ for +/": lambda v: v.replace("+", "-").replace("/", "_"),
        "-_ without padding": lambda v: v.replace("+", "-").replace("/", "_").rstrip("="),
        "without padding": lambda v: v.replace("+", "%2B").rstrip("="),
    }

    def encoded(self, subject):
        """Base64 of a request with all that can go wrong in it; of one that is longer, where a length has no padding."""
        secret = self.gw.challenge()
        for more in range(60):
            value = base64.b64encode(self.request(subject, f"txn={subject}{'x' * more}", secret=secret)).decode()
            if "+" in value and "/" in value and value.endswith("="):
                return value
        raise AssertionError("no such base64")

    def test_forms(self):
        """GET: base64 percent-encoded once, twice or not at all, + raw or as a space, in lines, -_, without padding (quirk 26)"""
        value = self.encoded("/CN=forms")
        for form, change in self.FORMS.items():
            status, kind, body = self.get("operation=PKIOperation&message=" + change(value))
            self.assertEqual((status, kind), (200, "application/x-pki-message"), form)
            self.assertEqual(CertRep(body).outcome, "SUCCESS", form)
        self.assertEqual(self.get("message=" + urllib.parse.quote(value) + "&operation=PKIOperation")[0], 200)
        self.assertEqual(len([c for c in self.gw.certs() if c["subject"] == "CN=forms"]), 1)

    def test_broken_forms(self):
        """GET: what is no base64 in any of these forms is 400: a wrong character, a bad escape, a length that cannot be (quirk 26)"""
        value = urllib.parse.quote(self.encoded("/CN=broken-forms"), safe="")
        for broken in (value + "!", value[:-1] + "%", value[:100] + "%00" + value[100:], value[:100] + "*" + value[101:], "A",
                       "", "%zz"):
            self.assertEqual(self.get(f"operation=PKIOperation&message={broken}")[0], 400, broken[-10:])
        self.assertEqual([c for c in self.gw.certs() if "broken-forms" in c["subject"]], [])

    def test_versions(self):
        """HTTP/1.0 and HTTP/1.1 without Host, GET and POST (quirks 24 and 27)"""
        message = self.request("/CN=versions")
        value = urllib.parse.quote(base64.b64encode(message), safe="").encode()
        for version, close in ((b"1.0", b""), (b"1.1", b"Connection: close\r\n"), (b"1.1", b"Host: x\r\nConnection: close\r\n")):
            status, _, body, _ = self.talk(b"GET %s&message=%s HTTP/%s\r\n%s\r\n" % (PKIOP.encode(), value, version, close))
            self.assertEqual((status, CertRep(body).outcome), (200, "SUCCESS"), version + close)
            status, _, body, _ = self.talk(b"POST %s HTTP/%s\r\n%sContent-Length: %d\r\n\r\n%s"
                                           % (PKIOP.encode(), version, close, len(message), message))
            self.assertEqual((status, CertRep(body).outcome), (200, "SUCCESS"), version + close)

    def test_long_line(self):
        """A request line of 16 KiB is read, one of more is 414 (quirk 27)"""
        value = urllib.parse.quote(base64.b64encode(self.request("/CN=long-line")), safe="")
        for extra, wanted in ((0, 200), (1, 414)):
            start, end = f"GET {PKIOP}&message={value}&x=", " HTTP/1.1\r\n"
            line = start + "x" * (16384 - len(start) - len(end) + extra) + end
            status, _, body, _ = self.talk((line + "Host: x\r\nConnection: close\r\n\r\n").encode())
            self.assertEqual(status, wanted)
            if wanted == 200:
                self.assertEqual(CertRep(body).outcome, "SUCCESS")

    def test_content_types(self):
        """POST with no Content-Type or any other (quirks 23 and 27)"""
        message = self.request("/CN=content-types")
        for kind in (None, "", "application/x-pki-message", "application/octet-stream", "application/x-www-form-urlencoded",
                     "application/pkcs7", "text/plain", "APPLICATION/X-PKI-MESSAGE; charset=utf-8", "nonsense"):
            headers = {} if kind is None else {"Content-Type": kind}
            status, replied, body = post(self.gw, message, headers=headers)
            self.assertEqual((status, replied, CertRep(body).outcome), (200, "application/x-pki-message", "SUCCESS"), kind)

    def test_expect(self):
        """Expect: 100-continue is answered 100 before the body comes, then 200 (quirk 27)"""
        message = self.request("/CN=expect")
        with connect(self.gw) as connection:
            connection.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n"
                               b"Content-Length: %d\r\n\r\n" % (PKIOP.encode(), len(message)))
            self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 100 "))
            connection.sendall(message)
            reply = b""
            while piece := connection.recv(65536):
                reply += piece
        self.assertTrue(reply.startswith(b"HTTP/1.1 200 "))
        self.assertEqual(CertRep(reply.partition(b"\r\n\r\n")[2]).outcome, "SUCCESS")

    def test_chunked(self):
        """A chunked POST, in pieces of any size"""
        message = self.request("/CN=chunked")
        for size in (1, 100, 1000, len(message)):
            pieces = [message[i:i + size] for i in range(0, len(message), size)]
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
            status, _, body, _ = self.talk(b"POST " + PKIOP.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                           b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
            self.assertEqual((status, CertRep(body).outcome), (200, "SUCCESS"), size)

    def test_connection(self):
        """Connection: close and HTTP/1.0 end the connection after the reply, HTTP/1.1 keeps it for the next request (quirk 27)"""
        message = self.request("/CN=connection")
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % (PKIOP.encode(), len(message))
        _, headers, _, _ = self.talk(head + b"Connection: close\r\n\r\n" + message)
        self.assertEqual(headers["Connection"], "close")
        self.talk(head + b"\r\n" + message, keep=True)
        with connect(self.gw) as connection:
            for _ in range(3):
                connection.sendall(head + b"\r\n" + message)
                self.assertTrue(connection.recv(1 << 20).startswith(b"HTTP/1.1 200 "))

    def test_cut_off(self):
        """A body that ends early is never issued, and neither is one with more behind it"""
        message = self.request("/CN=cut-off")
        with connect(self.gw) as connection:
            connection.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                               % (PKIOP.encode(), len(message), message[:-1]))
        self.assertEqual(post(self.gw, message[:-1])[0], 400)
        self.assertEqual(post(self.gw, message + b"\0")[0], 400)
        self.assertEqual([c for c in self.gw.certs() if "cut-off" in c["subject"]], [])


class Answers(Wire):
    """Every answer: exact media type without parameters, Content-Length, nothing chunked, header and body in one write."""

    @classmethod
    def configure(cls, gw):
        cls.ca = GenerousCa(gw)
        gw.edit(r"(scep: \{paths: .*ra: \[main\])\}", r"\1, next: {certificates: [ca/root.pem]}}")
        gw.edit(r"\Z", "limits: {body: 64KiB}\n")

    def answered(self, row, data, status, kind, outcome=None):
        """The row, of an answer on a connection that ends and of one that is kept."""
        head, rest = data.split(b"\r\n", 1)
        with self.subTest(row):
            for number in range(3):
                got, headers, body, at_once = self.talk(head + b"\r\nConnection: close\r\n" + rest)
                self.assertEqual((got, headers.get("Content-Type")), (status, kind), body[:100])
                self.assertEqual(int(headers["Content-Length"]), len(body))
                self.assertNotIn("Transfer-Encoding", headers)
                self.assertTrue(at_once, f"more than one write, {number}")
                self.assertEqual(CertRep(body).outcome if outcome else None, outcome)

    @staticmethod
    def get_line(query, path="/scep/default", method="GET"):
        return f"{method} {path}?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    @staticmethod
    def post_of(message):
        return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (PKIOP.encode(), len(message), message)

    def test_messages(self):
        signed = "application/x-pki-message"
        message = self.request("/CN=answers")
        self.answered("one write: SUCCESS", self.post_of(message), 200, signed, "SUCCESS")
        value = urllib.parse.quote(base64.b64encode(message).decode(), safe="")
        self.answered("one write: SUCCESS to a GET", self.get_line(f"operation=PKIOperation&message={value}"), 200, signed, "SUCCESS")
        self.device.csr("/CN=answers-2", "NOTACHALLENGE2222222")
        self.answered("one write: FAILURE", self.post_of(self.device.message("csr=csr.der")), 200, signed, "badRequest")
        self.answered("one write: FAILURE of an envelope that is broken", self.post_of(self.device.message("csr=csr.der", "fault=3")),
                      200, signed, "badMessageCheck")
        self.ca.mark("hold", True)
        self.answered("one write: PENDING", self.post_of(self.request("/CN=answers-3")), 200, signed, "PENDING")
        self.ca.mark("hold", False)

    def test_others(self):
        self.assertTrue(wait_until(lambda: self.get("operation=GetCACert")[0] == 200, 60), "the CA has told its certificates")
        for name, status, kind in (("GetCACaps", 200, "text/plain"), ("GetCACert", 200, "application/x-x509-ca-ra-cert"),
                                   ("GetNextCACert", 200, "application/x-x509-next-ca-cert")):
            self.answered(f"one write: {name}", self.get_line(f"operation={name}"), status, kind)

    def test_errors(self):
        for row, data, status in (
                ("no SCEP message: 400", self.post_of(b"no message"), 400), ("no body: 400", self.post_of(b""), 400),
                ("GET without a message: 400", self.get_line("operation=PKIOperation"), 400),
                ("another operation: 400", self.get_line("operation=GetEverything"), 400),
                ("another path: 404", self.get_line("operation=GetCACaps", "/nowhere"), 404),
                ("another method: 405", self.get_line("operation=GetCACaps", method="PUT"), 405)):
            self.answered(f"one write: {row}", data, status, "text/plain")
        for row, data, status in (
                ("a long request line: 414", self.get_line("operation=GetCACaps&x=" + "x" * 20000), 414),
                ("a long body: 413", b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" % PKIOP.encode(), 413),
                ("a header that is none: 400", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400)):
            self.answered(f"one write: {row}, without a body", data, status, None)

    def test_rates(self):
        ask = self.get_line("operation=GetCACaps")
        self.gw.edit(r"^limits: .*", "limits: {rate_per_address: 1/min}")
        self.gw.reload()
        while self.talk(ask.replace(b"x\r\n", b"x\r\nConnection: close\r\n", 1))[0] == 200:
            pass
        self.answered("one write: beyond the rate of an address: 429", ask, 429, "text/plain")
        self.gw.edit(r"^limits: .*", "limits: {}")
        self.gw.edit(r"^    trust: ", "    rate: 1/min\n    trust: ")
        self.gw.reload()
        while self.talk(ask.replace(b"x\r\n", b"x\r\nConnection: close\r\n", 1))[0] == 200:
            pass
        self.answered("one write: beyond the rate of a profile: 503", ask, 503, "text/plain")
        self.gw.edit(r"^    rate: .*\n", "")
        self.gw.reload()

    def test_two_writes_are_seen(self):
        """one write: a server that sends its header and then its body is seen to do so"""
        for writes in (1, 2):
            with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
                peer, _ = server.accept()
                with peer:
                    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for _ in range(writes):
                        peer.sendall(b"x" * (6000 // writes))
                got = b""
                while len(got) < 6000:
                    got += client.recv(6000)
                self.assertEqual(segments(client), writes)


class Tls(Wire):
    """SCEP over HTTPS, where nobody needs it."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"scep:  \[http:", "scep:  [https:")

    def test_no_certificate_request(self):
        """Apple: the SCEP listener never asks for a client certificate, on TLS 1.2 and 1.3; Windows: TLS 1.2 is on (quirks 16 and
        20)"""
        for version in ("-tls1_2", "-tls1_3"):
            shown = run("openssl", "s_client", "-connect", f"127.0.0.1:{self.gw.scep_port}", version, "-msg", "-CAfile",
                        self.gw.root, input=b"GET /scep/default?operation=GetCACaps HTTP/1.0\r\n\r\n")
            shown = shown.stdout.decode(errors="replace")
            self.assertIn("ServerHello", shown)
            self.assertNotIn("CertificateRequest", shown)
        context = ssl.create_default_context(cafile=self.gw.root)
        with socket.create_connection(("127.0.0.1", self.gw.scep_port), timeout=30) as raw, \
                context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            tls.sendall(b"GET /scep/default?operation=GetCACaps HTTP/1.0\r\n\r\n")
            self.assertIn(b"SCEPStandard", tls.recv(65536), "one TLS record")
