"""EST clients that Debian has no package of: their requests as their sources write them, and readers as strict as theirs.

libest (Cisco IOS is taken to be like it; nobody has a trace of one), GlobalSign's estclient in Go, and BouncyCastle's ESTService.
"""
import base64
import os
import re

import rows
from est_rows import EstFlow
from est_wire import basic, make_csr
from gateway import run, text

CERTS_ONLY = "application/pkcs7-mime; smime-type=certs-only"


def lines(data, columns, end):
    encoded = base64.b64encode(data)
    return b"".join(encoded[i:i + columns] + end for i in range(0, len(encoded), columns))


class Libest:
    """est_client.c: User-Agent, Connection: close, */*; OpenSSL's base64 BIO in lines of 64, both ways."""

    closes = True

    def write(self, gw, path, csr, auth):
        body = lines(csr, 64, b"\n") if csr is not None else b""
        head = [f"{'POST' if csr is not None else 'GET'} {path} HTTP/1.1", "User-Agent: Cisco EST client 1.0", "Connection: close",
                f"Host: localhost:{gw.est_port}", "Accept: */*"]
        head += ["Content-Type: application/pkcs10", f"Content-Length: {len(body)}"] if csr is not None else []
        return "\r\n".join(head + auth).encode() + b"\r\n\r\n" + body

    def read(self, head, body, kind):
        """Names with their case, the type from its first octet on, and what the BIO makes of the body."""
        assert f"\r\nContent-Type: {kind}" in head, head
        assert f"\r\nContent-Length: {len(body)}\r\n" in head, head
        return run("openssl", "base64", "-d", input=body).stdout


class GlobalSign:
    """client.go over net/http, which does not know how long the body is: lines of 76 with CRLF, in chunks."""

    closes = False

    def write(self, gw, path, csr, auth):
        accept = "application/csrattrs" if path.endswith("csrattrs") else "application/pkcs7-mime"
        head = [f"{'POST' if csr is not None else 'GET'} {path} HTTP/1.1", f"Host: localhost:{gw.est_port}",
                "User-Agent: GlobalSign EST Client v1.0.6 github.com/globalsign/est", f"Accept: {accept}", *auth]
        if csr is None:
            return "\r\n".join(head + ["Accept-Encoding: gzip"]).encode() + b"\r\n\r\n"
        head += ["Content-Type: application/pkcs10", "Content-Transfer-Encoding: base64", "Transfer-Encoding: chunked",
                 "Accept-Encoding: gzip"]
        body = lines(csr, 76, b"\r\n")
        return "\r\n".join(head).encode() + b"\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)

    def read(self, head, body, kind):
        """The type parsed, Content-Transfer-Encoding as it has to be, and Go's decoder, which skips CR and LF alone."""
        assert re.search(r"(?i)\r\nContent-Type: *" + re.escape(kind.split(";")[0]) + r"\s*(;|\r)", head), head
        assert re.search(r"(?i)\r\nContent-Transfer-Encoding: *base64\r", head), head
        assert "Content-Encoding" not in head, head
        return base64.b64decode(body.replace(b"\r", b"").replace(b"\n", b""), validate=True)


class BouncyCastle:
    """ESTService.java and CTEBase64InputStream.java: no User-Agent, 48 octets a line; reads a line or 1024 octets at a time."""

    closes = True

    def write(self, gw, path, csr, auth):
        head = [f"{'POST' if csr is not None else 'GET'} {path} HTTP/1.1"]
        body = b""
        if csr is not None:
            body = lines(csr, 64, b"\n")
            head += ["Content-Type: application/pkcs10", f"Content-Length: {len(body)}", "Content-Transfer-Encoding: base64"]
        return "\r\n".join(head + auth + ["Connection: close", f"Host: localhost:{gw.est_port}"]).encode() + b"\r\n\r\n" + body

    def read(self, head, body, kind):
        """Heads of fewer than 1024 octets a line, base64 only if the reply says so, as much as Content-Length says."""
        assert max(map(len, head.split("\r\n"))) < 1024
        assert re.search(r"(?i)\r\ncontent-transfer-encoding: *base64\r", head), head
        assert re.search(rf"(?i)\r\ncontent-type: *{re.escape(kind)}\r", head), head
        assert int(re.search(r"(?i)\r\ncontent-length: *(\d+)\r", head)[1]) == len(body)
        return b"".join(base64.b64decode(piece, validate=True) for piece in re.findall(rb"[^\n]{1,1024}", body))


class Clients(EstFlow):
    """The tree that init makes, and a label."""

    def ask(self, client, path, *, csr=None, kind=None, auth=(), cert=None):
        """What the client makes of a 200."""
        with self.connect(cert=cert) as conn:
            conn.tls.sendall(client.write(self.gw, "/.well-known/est" + path, csr, list(auth)))
            reply = conn.file.read() if client.closes else self.one_reply(conn.file)
        head, body = reply.split(b"\r\n\r\n", 1)
        head = head.decode("ascii") + "\r\n"
        self.assertTrue(head.startswith("HTTP/1.1 200 "), (head, body))
        return client.read(head, body, kind)

    @staticmethod
    def one_reply(file):
        """Of a connection that is kept."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += file.readline()
        return head + file.read(int(re.search(rb"Content-Length: (\d+)", head)[1]))

    def certificates(self, der):
        return run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=der).stdout

    def life(self, client, name, label=""):
        """cacerts, csrattrs, an enrollment with Basic and a renewal with the certificate, as the client does them."""
        work = self.gw.work(name)
        roots = self.certificates(self.ask(client, label + "/cacerts", kind="application/pkcs7-mime"))
        self.assertEqual(roots.count(b"BEGIN CERTIFICATE"), 2)
        self.assertEqual(self.ask(client, label + "/csrattrs", kind="application/csrattrs")[0], 0x30)
        csr = make_csr(work, f"/CN={name}")
        got = self.certificates(self.ask(client, label + "/simpleenroll", csr=csr, kind=CERTS_ONLY, auth=[basic(self.gw.challenge())]))
        self.assertEqual(got.count(b"BEGIN CERTIFICATE"), 1)
        path = os.path.join(work, "cert.pem")
        with open(path, "wb") as file:
            file.write(got)
        self.gw.verify(path)
        csr = make_csr(work, f"/CN={name}", key="new.pem")
        got = self.certificates(self.ask(client, label + "/simplereenroll", csr=csr, kind=CERTS_ONLY,
                                         cert=(path, os.path.join(work, "key.pem"))))
        self.assertEqual(text("openssl", "x509", "-noout", "-pubkey", input=got),
                         text("openssl", "pkey", "-in", "new.pem", "-pubout", cwd=work))

    def test_libest(self):
        """libest's estclient, and Cisco IOS as far as it is like it: with and without a label"""
        self.life(Libest(), "libest")
        self.life(Libest(), "ios", "/default")

    def test_globalsign(self):
        """GlobalSign's estclient: lines of 76 with CRLF, in chunks; Content-Transfer-Encoding wanted in the reply"""
        self.life(GlobalSign(), "globalsign", "/default")

    def test_bouncy_castle(self):
        """BouncyCastle's ESTService: without User-Agent it gets one line, which it reads in pieces of 1024"""
        self.life(BouncyCastle(), "bouncy")

    def test_strongswan(self):
        """strongSwan's pki --est and --estca are there, as Debian 12's 5.9.8 has them; flow_est.py enrolls and renews with them"""
        found = re.search(r"strongSwan (\d+)\.(\d+)\.(\d+)", run("pki", "--help", check=False).stdout.decode())
        self.assertGreaterEqual(tuple(map(int, found.groups())), (5, 9, 8))
        for command in ("--est", "--estca"):
            shown = run("pki", command, "--help", check=False)
            self.assertIn(f"pki {command} --url", (shown.stdout + shown.stderr).decode())


if __name__ == "__main__":
    rows.main()
