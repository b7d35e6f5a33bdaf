"""EST against its RFCs and against what servers got wrong: a row a test, printed as pass or FAIL."""
import base64
import os

import rows
from der import SEQUENCE, SET, oid, resign, write
from est_rows import EstFlow
from est_wire import LINKING, Tls12, Tls13, basic, keep_connections, make_csr, read_head, request
from gateway import FlowTest, run, text
from http_corpus import wait_until


class Binding(FlowTest):
    """binding: optional; challengePassword is the binding."""

    @classmethod
    def configure(cls, gw):
        path = gw.work("registrar")
        cls.ra = os.path.join(path, "ra.pem"), os.path.join(path, "ra.key")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ra.key", "-out", "ra.pem", "-subj", "/CN=RA", cwd=path)
        gw.edit(r"auth: \[certificate, basic\]", r"\g<0>, binding: optional, csrattrs: both")
        gw.edit(r"^    eku: .*$", rf"\g<0>\n    registrars: [{cls.ra[0]}]")
        keep_connections(gw)

    def enroll(self, conn, work, subject, *attributes, expect):
        csr = make_csr(work, subject, attributes=attributes)
        status, _, body = conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))
        self.assertEqual(status, expect, body)

    def test_unique_full(self):
        """RFC 7030 3.3, 3.5, 4.2: tls-unique of a full TLS 1.2 handshake, in challengePassword"""
        work = self.gw.work("unique")
        with Tls12(self.gw) as conn:
            self.enroll(conn, work, "/CN=pop-1", f"challengePassword = {conn.binding}", expect=200)

    def test_unique_resumed(self):
        """RFC 7030 3.3, 3.5, RFC 5929 3: tls-unique of a resumed handshake is the server's Finished"""
        work = self.gw.work("resumed")
        with Tls12(self.gw) as first:
            old = first.binding
            first.ask(request("cacerts"))
            with Tls12(self.gw, session=first.tls.session, context=first.context) as conn:
                self.assertTrue(conn.tls.session_reused)
                self.assertNotEqual(conn.binding, old)
                self.enroll(conn, work, "/CN=pop-2", f"challengePassword = {conn.binding}", expect=200)
                self.enroll(conn, work, "/CN=pop-2b", f"challengePassword = {old}", expect=400)

    def test_exporter(self):
        """RFC 9266 2, 3, 4.1: tls-exporter on TLS 1.3, in challengePassword and in estIdentityLinking, for each request of a connection"""
        work = self.gw.work("exporter")
        for oid in ("challengePassword", LINKING):
            with Tls13(self.gw) as conn:
                self.enroll(conn, work, "/CN=pop-3", f"{oid} = {conn.binding}", expect=200)
        with Tls13(self.gw) as one, Tls13(self.gw) as other:
            self.enroll(one, work, "/CN=pop-4", f"challengePassword = {other.binding}", expect=400)
            for number in range(2):
                self.enroll(one, work, f"/CN=pop-4-{number}", f"challengePassword = {one.binding}", expect=200)

    def test_exporter_legacy(self):
        """RFC 9266 4.2: on TLS 1.2, where the exporter has a value too, it is no binding"""
        work = self.gw.work("legacy")
        with Tls13(self.gw, version="-tls1_2") as conn:
            for name in ("challengePassword", LINKING):
                self.enroll(conn, work, "/CN=pop-12", f"{name} = {conn.binding}", expect=400)

    def test_linking(self):
        """RFC 7894 3, 3.3, 4: the binding in estIdentityLinking, UTF8String or PrintableString; each is judged, so a wrong one beside a
        right one is refused"""
        work = self.gw.work("linking")
        with Tls12(self.gw) as conn:
            self.enroll(conn, work, "/CN=pop-5", f"{LINKING} = {conn.binding}", expect=200)
            self.enroll(conn, work, "/CN=pop-6", f"challengePassword = {conn.binding}", f"{LINKING} = AAAA", expect=400)
            self.enroll(conn, work, "/CN=pop-6", f"{LINKING} = {conn.binding}", "challengePassword = AAAA", expect=400)
            self.enroll(conn, work, "/CN=pop-6", f"{LINKING} = {conn.binding}", f"challengePassword = {conn.binding}", expect=200)
            for kind in (0x0C, 0x13):
                value = write(SEQUENCE, oid(LINKING), write(SET, write(kind, conn.binding.encode())))
                csr = resign(work, make_csr(work, f"/CN=linking-{kind}"), attributes=[value])
                self.assertEqual(conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))[0], 200, kind)

    def test_other_challenges(self):
        """RFC 7894 3.1, 3.2, 4: otpChallenge and revocationChallenge are judged by nobody here, so a CSR that holds one is refused, however
        well it is bound, and nothing is spent"""
        work = self.gw.work("others")
        secret = self.gw.challenge()
        with Tls12(self.gw) as conn:
            bound = f"{LINKING} = {conn.binding}"
            for other in ("1.2.840.113549.1.9.16.2.56", "1.2.840.113549.1.9.16.2.57"):
                csr = make_csr(work, "/CN=others", attributes=[bound, f"{other} = {secret}"])
                self.assertEqual(conn.ask(request("simpleenroll", csr, basic(secret)))[0], 403, other)
            csr = make_csr(work, "/CN=others", attributes=[bound])
            self.assertEqual(conn.ask(request("simpleenroll", csr, basic(secret)))[0], 200)

    def test_relayed(self):
        """RFC 7030 3.5, 4.2, 6, quirk 19: a CSR that is bound to another connection is refused, and nothing is spent"""
        work = self.gw.work("relayed")
        secret = self.gw.challenge()
        with Tls12(self.gw) as victim, Tls12(self.gw) as thief:
            csr = make_csr(work, "/CN=pop-7", attributes=[f"challengePassword = {victim.binding}"])
            self.assertEqual(thief.ask(request("simpleenroll", csr, basic(secret)))[0], 400)
            self.assertEqual(victim.ask(request("simpleenroll", csr, basic(secret)))[0], 200)
        self.assertTrue(wait_until(lambda: self.gw.metric(r'reason="bad-binding"') > 0))

    def test_registrar(self):
        """RFC 7030 3.7, RFC 7894 4: an RA's word does not count for a binding: what it brings is bound to its own connection, or not"""
        work = self.gw.work("by-registrar")
        with Tls12(self.gw, cert=self.ra) as conn, Tls12(self.gw) as device:
            for attribute, wanted in ((f"challengePassword = {device.binding}", 400), (f"{LINKING} = {device.binding}", 400),
                                      (f"challengePassword = {conn.binding}", 200), (None, 200)):
                csr = make_csr(work, "/CN=by-registrar", attributes=[attribute] if attribute else [])
                self.assertEqual(conn.ask(request("simpleenroll", csr))[0], wanted, attribute)

    def test_prefix(self):
        """S6, RFC 7030 3.5: a prefix of the binding, one with a suffix and an empty octet string are no binding"""
        work = self.gw.work("prefix")
        with Tls12(self.gw) as conn:
            value = base64.b64decode(conn.binding)
            for wrong in (value[:-1], value + b"x", value[:1], value + value):
                self.enroll(conn, work, "/CN=pop-8", f"challengePassword = {base64.b64encode(wrong).decode()}", expect=400)

    def test_values(self):
        """S6, RFC 7030 3.5: challengePassword without a value, with two, or of a type that is no text is 400; BMPString is text"""
        work = self.gw.work("values")
        kind = oid("1.2.840.113549.1.9.7")
        with Tls12(self.gw) as conn:
            right = write(0x13, conn.binding.encode())
            wide = write(0x1E, conn.binding.encode("utf-16-be"))
            for number, (values, wanted) in enumerate((((), 400), ((right, right), 400), ((right, write(0x13, b"AAAA")), 400),
                                                       ((write(0x02, b"\x01"),), 400), ((b"\x05\x00",), 400), ((wide,), 200))):
                csr = resign(work, make_csr(work, f"/CN=values-{number}"), attributes=[write(SEQUENCE, kind, write(SET, *values))])
                status, _, body = conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))
                self.assertEqual(status, wanted, (number, body))

    def test_repeat(self):
        """RFC 7030 4.2.3: a repetition that is bound to its own connection gets the first one's certificate"""
        work = self.gw.work("repeat")
        secret, replies = self.gw.challenge(), []
        for _ in range(2):
            with Tls12(self.gw) as conn:
                csr = make_csr(work, "/CN=pop-9", attributes=[f"challengePassword = {conn.binding}"])
                replies.append(conn.ask(request("simpleenroll", csr, basic(secret))))
        self.assertEqual([reply[0] for reply in replies], [200, 200])
        self.assertEqual(replies[0][2], replies[1][2])

    def test_csrattrs(self):
        """RFC 7030 4.5.2, RFC 8951 4, RFC 9908 3: csrattrs without authentication, exact headers, binding listed, template there"""
        with Tls12(self.gw) as conn:
            status, headers, body = conn.ask(request("csrattrs"))
        self.assertEqual(status, 200)
        self.assertEqual(headers["Content-Type"], "application/csrattrs")
        self.assertEqual(headers["Content-Transfer-Encoding"], "base64")
        shown = text("openssl", "asn1parse", "-inform", "DER", input=base64.b64decode(body))
        self.assertIn("challengePassword", shown)
        self.assertIn("1.2.840.113549.1.9.16.2.61", shown)
        self.assertEqual((shown.count("Extension Request"), shown.count("1.2.840.113549.1.9.16.2.62")), (1, 1))


class Required(FlowTest):
    """binding: required in a profile whose csrattrs ask for one kind of key and some names."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"auth: \[certificate, basic\]", r"\g<0>, binding: required, csrattrs: both")
        gw.edit(r"^    keys: .*$", "    keys: {ec: [P-384]}\n    subject: {CN: \"[a-z0-9-]+\", O: Example}")
        keep_connections(gw)

    def test_required(self):
        """RFC 7030 3.5: what is not bound is refused, with a password or with a certificate"""
        work = self.gw.work("required")
        with Tls12(self.gw) as conn:
            csr = make_csr(work, "/CN=req-1/O=Example", curve="P-384")
            self.assertEqual(conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))[0], 400)
            bound = make_csr(work, "/CN=req-1/O=Example", attributes=[f"challengePassword = {conn.binding}"])
            status, _, body = conn.ask(request("simpleenroll", bound, basic(self.gw.challenge())))
        self.assertEqual(status, 200)
        pem = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout
        with open(os.path.join(work, "cert.pem"), "wb") as file:
            file.write(pem)
        cert = (os.path.join(work, "cert.pem"), os.path.join(work, "key.pem"))
        with Tls12(self.gw, cert=cert) as conn:
            self.assertEqual(conn.ask(request("simplereenroll", csr))[0], 400)
            bound = make_csr(work, "/CN=req-1/O=Example", attributes=[f"challengePassword = {conn.binding}"])
            self.assertEqual(conn.ask(request("simplereenroll", bound))[0], 200)

    def test_as_told(self):
        """RFC 7030 4.5.2: a CSR that does as csrattrs says is accepted, one with another key is not"""
        work = self.gw.work("told")
        eku = ["extendedKeyUsage = clientAuth"]
        with Tls12(self.gw) as conn:
            told = base64.b64decode(conn.ask(request("csrattrs"))[2])
            shown = text("openssl", "asn1parse", "-inform", "DER", input=told)
            for word in ("secp384r1", "commonName", "organizationName", "challengePassword", "UTF8STRING        :Example"):
                self.assertIn(word, shown)
            bound = [f"challengePassword = {conn.binding}"]
            csr = make_csr(work, "/CN=told-1/O=Example", attributes=bound, extensions=eku, curve="P-384")
            self.assertEqual(conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))[0], 200)
            csr = make_csr(work, "/CN=told-1/O=Example", attributes=bound, key="other.pem")
            self.assertEqual(conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))[0], 403)


class Secret(FlowTest):
    """challenge_password: secret, as EJBCA and Aruba fleets have it."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"auth: \[certificate, basic\]", r"\g<0>, challenge_password: secret")
        keep_connections(gw)

    def test_secret(self):
        """Quirk 13: challengePassword as the enrollment secret: right 200, wrong 401, spent 401, none 401"""
        work = self.gw.work("secret")
        secret = self.gw.challenge()
        with Tls12(self.gw) as conn:
            for wanted, attributes, name in ((401, (), "s-1"), (401, ["challengePassword = NOTTHECHALLENGE22222"], "s-1"),
                                             (200, [f"challengePassword = {secret}"], "s-1"),
                                             (401, [f"challengePassword = {secret}"], "s-2")):
                csr = make_csr(work, f"/CN={name}", attributes=attributes)
                self.assertEqual(conn.ask(request("simpleenroll", csr))[0], wanted, attributes)


    def test_listed(self):
        """RFC 7894 4: where challengePassword is a secret, csrattrs does not list it; estIdentityLinking it does, if a binding is wanted,
        each time"""
        for mode, wanted in (("none", (False, False)), ("required", (False, True)), ("none", (False, False))):
            self.gw.edit(r"challenge_password: secret(, binding: \w+)?", f"challenge_password: secret, binding: {mode}")
            self.gw.reload()
            for _ in range(2):
                with Tls12(self.gw) as conn:
                    status, _, body = conn.ask(request("csrattrs"))
                shown = text("openssl", "asn1parse", "-inform", "DER", input=base64.b64decode(body)) if status == 200 else ""
                self.assertEqual(("challengePassword" in shown, LINKING in shown), wanted, (mode, shown))


class Refusing(EstFlow):
    """challenge_password: refuse."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"auth: \[certificate, basic\]", r"\g<0>, challenge_password: refuse, binding: optional")
        keep_connections(gw)

    def test_refuse(self):
        """RFC 7894 4, RFC 7030 3.5: where challengePassword has no meaning a CSR that holds one is 400, the right binding too;
        linking is not"""
        work = self.gw.work("refusing")
        for attribute, wanted in ((None, 200), ("challengePassword = anything", 400), ("challengePassword = {}", 400),
                                  (LINKING + " = {}", 200), (LINKING + " = AAAA", 400)):
            with self.connect() as conn:
                attributes = [attribute.format(conn.binding)] if attribute else []
                csr = make_csr(work, "/CN=refusing", attributes=attributes)
                status, _, body = conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))
            self.assertEqual(status, wanted, (attribute, body))


def post(csr, kind, *headers, operation="simpleenroll"):
    """The bytes of a POST with that body, as it is, and that media type, or none."""
    head = [b"POST /.well-known/est/%s HTTP/1.1" % operation.encode(), b"Host: localhost", *(h.encode() for h in headers)]
    head += [b"Content-Type: " + kind] if kind else []
    return b"\r\n".join(head) + b"\r\nContent-Length: %d\r\n\r\n" % len(csr) + csr


def wrapped(text, columns, end):
    return end.join(text[i:i + columns] for i in range(0, len(text), columns)) + end


class Silent(EstFlow):
    """csrattrs: none."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"auth: \[certificate, basic\]", r"\g<0>, csrattrs: none")

    def test_no_attributes(self):
        """RFC 7030 4.5.2, RFC 8951 4, quirk 1: without attributes csrattrs is 404 (or 204) without a body"""
        with self.connect() as conn:
            status, headers, body = conn.ask(request("csrattrs"))
        self.assertEqual((status, headers.get("Content-Length"), body), (404, "0", b""))
        self.assertNotIn("Content-Type", headers)


class Strict(EstFlow):
    """est.lenient: none."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"auth: \[certificate, basic\]", r"\g<0>, lenient: none")

    def test_strict(self):
        """RFC 8951 3: DER and PEM are 400 and no media type is 415 where the profile insists; base64 is fine in any layout"""
        work = self.gw.work("strict")
        csr = make_csr(work, "/CN=strict")
        pem = run("openssl", "req", "-inform", "DER", input=csr).stdout
        one = base64.b64encode(csr)
        secret = basic(self.gw.challenge())
        for body, kind, wanted in ((csr, b"application/pkcs10", 400), (pem, b"application/pkcs10", 400), (one, None, 415),
                                   (one, b"application/pkcs10", 200), (wrapped(one, 76, b"\r\n"), b"application/pkcs10", 200),
                                   (wrapped(one, 64, b"\n"), b"application/pkcs10; x=y", 200),
                                   (wrapped(one, 1, b"\t"), b"application/pkcs10", 200)):
            self.assertEqual(self.status(post(body, kind, secret)), wanted, (body[:20], kind))
        self.assertEqual(self.gw.metric("scepter_est_lenient_total"), 0)


class Plain(EstFlow):
    """The tree that init makes."""

    @classmethod
    def configure(cls, gw):
        keep_connections(gw)

    def test_not_looked_at(self):
        """RFC 7030 3.5: without binding in the profile nobody looks at what stands in challengePassword or estIdentityLinking"""
        work = self.gw.work("unbound")
        with self.connect() as one, self.connect() as other:
            for number, attributes in enumerate(([f"challengePassword = {other.binding}"], ["challengePassword = anything"],
                                                 [f"{LINKING} = {other.binding}"])):
                csr = make_csr(work, f"/CN=unbound-{number}", attributes=attributes)
                self.assertEqual(one.ask(request("simpleenroll", csr, basic(self.gw.challenge())))[0], 200, attributes)

    def test_methods(self):
        """RFC 9110 15.5.6: a method that an operation does not have, HEAD among them, is 405 with Allow"""
        for operation, method, allow in (("cacerts", "POST", "GET"), ("csrattrs", "POST", "GET"), ("cacerts", "HEAD", "GET"),
                                         ("csrattrs", "HEAD", "GET"), ("simpleenroll", "GET", "POST"),
                                         ("simplereenroll", "GET", "POST"), ("simpleenroll", "HEAD", "POST")):
            with self.connect() as conn:
                conn.tls.sendall(request(operation, b"" if method == "POST" else None, method=method))
                status, headers = read_head(conn.file)
            self.assertEqual((status, headers.get("Allow")), (405, allow), (operation, method))
        for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "BREW", "get"):
            for operation, allow in (("cacerts", "GET"), ("simpleenroll", "POST")):
                with self.connect() as conn:
                    conn.tls.sendall(request(operation, method=method))
                    status, headers = read_head(conn.file)
                self.assertEqual((status, headers.get("Allow")), (405, allow), (operation, method))

    def test_authorization_ignored(self):
        """RFC 7030 4.1.2, 4.5, quirks 8 and 20: cacerts and csrattrs ask for no authentication and look at none, right or wrong"""
        for operation in ("cacerts", "csrattrs"):
            for headers in ([], [basic("no challenge")], ["Authorization: X"], ["authorization: Basic !"]):
                self.assertEqual(self.status(request(operation, None, *headers)), 200, (operation, headers))

    def test_empty_user(self):
        """RFC 7030 3.2.3: the user name may be empty"""
        csr = make_csr(self.gw.work("nobody"), "/CN=nobody")
        self.assertEqual(self.status(request("simpleenroll", csr, basic(self.gw.challenge(), ""))), 200)

    def test_transfer_encoding(self):
        """RFC 8951 3: Content-Transfer-Encoding plays no part, whatever it says; header names have no case; Accept neither"""
        work = self.gw.work("cte")
        csr = base64.b64encode(make_csr(work, "/CN=cte"))
        secret = basic(self.gw.challenge())
        for header in ("Content-Transfer-Encoding: base64", "content-transfer-encoding: binary", "CONTENT-TRANSFER-ENCODING: 7bit",
                       "Accept: application/x-pem-file"):
            with self.connect() as conn:
                status, headers, _ = conn.ask(post(csr, b"application/pkcs10", secret, header))
            self.assertEqual((status, headers["Content-Type"]), (200, "application/pkcs7-mime; smime-type=certs-only"))

    def test_errors(self):
        """RFC 8951 5.1, RFC 7030 4.2.3: an error is 4xx with a line of text/plain and no Content-Transfer-Encoding"""
        csr = base64.b64encode(make_csr(self.gw.work("errors"), "/CN=errors"))
        for data, wanted in ((post(csr[:-8], b"application/pkcs10", basic(self.gw.challenge())), 400),
                             (post(csr, b"application/pkcs10"), 401), (post(csr, b"text/html"), 415),
                             (post(csr, b"application/pkcs10", operation="simplereenroll"), 403)):
            with self.connect() as conn:
                status, headers, body = conn.ask(data)
            self.assertEqual((status, headers["Content-Type"]), (wanted, "text/plain"))
            self.assertNotIn("Content-Transfer-Encoding", headers)
            self.assertEqual(body.count(b"\n"), 1)

    def test_expect(self):
        """RFC 9110 10.1.1, RFC 7030 A.4: who waits for 100 Continue hears it before the body"""
        csr = make_csr(self.gw.work("expect"), "/CN=expect")
        data = request("simpleenroll", csr, basic(self.gw.challenge()), "Expect: 100-continue")
        head, body = data.split(b"\r\n\r\n", 1)
        with self.connect() as conn:
            conn.tls.sendall(head + b"\r\n\r\n")
            self.assertEqual(conn.file.readline(), b"HTTP/1.1 100 Continue\r\n")
            self.assertEqual(conn.file.readline(), b"\r\n")
            self.assertEqual(conn.ask(body)[0], 200)

    def test_chunked(self):
        """RFC 9112 7.1: a body in chunks is the body, wherever it is cut"""
        csr = base64.b64encode(make_csr(self.gw.work("chunked"), "/CN=chunked"))
        head = request("simpleenroll", None, basic(self.gw.challenge()), "Content-Type: application/pkcs10",
                       "Transfer-Encoding: chunked", method="POST")
        for size in (1000, 7, 1):
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(csr[i:i + size]), csr[i:i + size]) for i in range(0, len(csr), size))
            self.assertEqual(self.status(head + chunks + b"0\r\n\r\n"), 200, size)

    def test_one_record(self):
        """Quirk 2: strongSwan reads twice: head and body of every reply come in one TLS record"""
        csr = make_csr(self.gw.work("record"), "/CN=record")
        for data in (request("cacerts"), request("csrattrs"), request("simpleenroll", csr, basic(self.gw.challenge()))):
            with self.connect() as conn:
                conn.tls.sendall(data)
                reply = conn.tls.recv(65536)
            head, body = reply.split(b"\r\n\r\n", 1)
            self.assertIn(b"Content-Length: %d\r\n" % len(body), head + b"\r\n")
            self.assertTrue(body.endswith(b"\n"))

    def test_polls(self):
        """RFC 7030 3.2.2, quirks 3 and 8: the same bytes on new connections get the same certificate; simpleenroll by a known one
        renews it"""
        work = self.gw.work("polls")
        data = request("simpleenroll", make_csr(work, "/CN=polls"), basic(self.gw.challenge()))
        bodies = []
        for _ in range(3):
            with self.connect() as conn:
                bodies.append(conn.ask(data)[2])
        self.assertEqual(len(set(bodies)), 1)
        with open(os.path.join(work, "cert.pem"), "wb") as file:
            file.write(run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(bodies[0])).stdout)
        cert = (os.path.join(work, "cert.pem"), os.path.join(work, "key.pem"))
        self.assertEqual(self.status(request("simpleenroll", make_csr(work, "/CN=polls", key="new.pem")), cert=cert), 200)
        self.assertTrue([c for c in self.issued("CN=polls") if c.get("replaced_by")])

    def test_chain_sent(self):
        """Quirk 16: a client that sends its chain with its certificate is judged by the first one"""
        work = self.gw.work("chain")
        cert, key = self.enroll(work, "/CN=chain")
        with open(cert, "ab") as out, open(self.gw.path("ca/issuing.pem"), "rb") as one, open(self.gw.root, "rb") as two:
            out.write(one.read() + two.read())
        csr = make_csr(work, "/CN=chain", key="new.pem")
        self.assertEqual(self.status(request("simplereenroll", csr), cert=(cert, key)), 200)

    def test_tls(self):
        """RFC 7030 3.3, RFC 8996, quirks 18 and 22: TLS 1.2 and up; the whole chain is sent, a certificate is asked
        for at once"""
        where = f"127.0.0.1:{self.gw.est_port}"
        for version in ("-tls1", "-tls1_1"):
            shown = run("openssl", "s_client", "-connect", where, version, "-cipher", "ALL:@SECLEVEL=0", check=False, input=b"")
            self.assertNotEqual(shown.returncode, 0)
        for version in ("-tls1_2", "-tls1_3"):
            shown = text("openssl", "s_client", "-connect", where, version, "-CAfile", self.gw.root, "-showcerts", input=b"")
            self.assertIn("Verify return code: 0 (ok)", shown)
            self.assertGreaterEqual(shown.count("BEGIN CERTIFICATE"), 2)
            self.assertIn("Client Certificate Types" if version == "-tls1_2" else "Requested Signature Algorithms", shown)
            self.assertNotIn("Max Early Data: 1", shown)

    def test_replies(self):
        """RFC 7030 3.2.4, 4.1.3, 4.2.3, RFC 8951 3.2, quirks 1, 2, 4, 5, 6 and 20: 200, exact media types, Content-Length, lines of
        64, a head below 1 KiB, nothing chunked"""
        work = self.gw.work("replies")
        csr = make_csr(work, "/CN=replies")
        for data, kind in ((request("cacerts"), "application/pkcs7-mime"), (request("csrattrs"), "application/csrattrs"),
                           (request("simpleenroll", csr, basic(self.gw.challenge())),
                            "application/pkcs7-mime; smime-type=certs-only")):
            with self.connect() as conn:
                status, headers, body = conn.ask(data)
            self.assertEqual((status, headers["Content-Type"]), (200, kind))
            self.assertEqual(headers["Content-Transfer-Encoding"], "base64")
            self.assertNotIn("Transfer-Encoding", headers)
            self.assertLess(sum(len(name) + len(value) + 4 for name, value in headers.items()), 900)
            self.assertTrue(body.endswith(b"\n") and max(map(len, body.splitlines())) <= 64)

    def test_one_line(self):
        """RFC 8951 3.1, quirk 5 and its opposite: who says no User-Agent, as strongSwan, gets base64 in one line with a newline;
        others lines of 64"""
        csr = make_csr(self.gw.work("line"), "/CN=line")
        for data in (request("cacerts"), request("csrattrs"), request("simpleenroll", csr, basic(self.gw.challenge()))):
            bodies = []
            for one in (data, data.replace(b"User-Agent: test\r\n", b"")):
                with self.connect() as conn:
                    status, _, body = conn.ask(one)
                self.assertEqual(status, 200)
                bodies.append(body)
            self.assertEqual((bodies[1].count(b"\n"), bodies[1][-1:]), (1, b"\n"))
            self.assertEqual(bodies[0].replace(b"\n", b""), bodies[1][:-1])
            self.assertLessEqual(max(map(len, bodies[0].splitlines())), 64)

    def test_one_certificate(self):
        """Quirk 17, RFC 7030 4.2.3: an enrollment's reply has the certificate alone"""
        work = self.gw.work("alone")
        cert, _ = self.enroll(work, "/CN=alone")
        with open(cert, encoding="ascii") as file:
            self.assertEqual(file.read().count("BEGIN CERTIFICATE"), 1)

    def test_leniency(self):
        """Quirks 7, 9, 10, RFC 7030 4.2.1, RFC 8951 3: PEM, DER, any line breaks, parameters, no media type; a wrong one is 415"""
        work = self.gw.work("lenient")
        csr = make_csr(work, "/CN=lenient")
        pem = run("openssl", "req", "-inform", "DER", input=csr).stdout
        auth = basic(self.gw.challenge()).encode()
        one = base64.b64encode(csr)
        for body, kind, wanted in ((one, b"application/pkcs10; charset=x", 200), (one, b"APPLICATION/PKCS10", 200),
                                   (one, None, 200), (one, b"text/plain", 415), (pem, b"application/pkcs10", 200),
                                   (csr, b"application/pkcs10", 200), (b"\r\n\t ".join([one[:7], one[7:]]), None, 200),
                                   (one[:9] + b"!" + one[9:], None, 400), (b"", None, 400)):
            head = [b"POST /.well-known/est/simpleenroll HTTP/1.1", b"host: localhost", auth,
                    b"content-length: %d" % len(body)] + ([b"Content-Type: " + kind] if kind else [])
            self.assertEqual(self.status(b"\r\n".join(head) + b"\r\n\r\n" + body), wanted, (body[:30], kind))
        for kind in ("der", "pem"):
            self.assertEqual(self.gw.metric(f'scepter_est_lenient_total.kind="{kind}"'), 1, kind)
        self.assertEqual(self.gw.metric('scepter_est_lenient_total.kind="no-media-type"'), 2)


if __name__ == "__main__":
    rows.main()
