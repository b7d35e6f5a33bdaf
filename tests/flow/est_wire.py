"""EST requests on connections of one's own: TLS by Python's ssl (1.2, tls-unique) or openssl s_client (1.3, tls-exporter)."""
import base64
import hashlib
import os
import re
import socket
import ssl
import subprocess

from gateway import run

LINKING = "1.2.840.113549.1.9.16.2.58"


def keep_connections(gw):
    """Before the start: what a test does while it has a connection open may take as long as it takes."""
    gw.edit(r"\Z", "limits: {handshake: 60s, first: 60s, idle: 5m}\n")


GUESS_TRIES, GUESS_WAITS, GUESS_WAIT_MAX = 10, (2, 4, 8, 16, 32), 60  # est/guard.h


def guess(page, wrong):
    """Gives so many wrong answers that the next one is not looked at for a minute, whatever the machine does meanwhile. wrong()
    gives one, and is the status; the clock of the page moves to the end of each wait before that. How long the last one is
    says how many were free."""
    for _ in range(GUESS_TRIES):
        assert wrong() == 401
    for seconds in GUESS_WAITS:
        page.shift_clock(page.shifted + seconds)
        assert wrong() == 401


def make_csr(work, subject, *, attributes=(), extensions=(), key="key.pem", curve="P-256"):
    """DER of a CSR with these attributes ("oid = text") and extensions, and its key in the folder."""
    lines = ["[req]", "prompt = no", "distinguished_name = dn", "string_mask = utf8only"]
    if attributes:
        lines.append("attributes = attributes")
    if extensions:
        lines.append("req_extensions = extensions")
    lines += ["[dn]"] + [part.replace("=", " = ", 1) for part in subject.split("/") if part]
    lines += ["[attributes]"] + list(attributes) + ["[extensions]"] + list(extensions)
    with open(os.path.join(work, "req.cnf"), "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    if not os.path.exists(os.path.join(work, key)):
        run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out", key, cwd=work)
    return run("openssl", "req", "-new", "-config", "req.cnf", "-key", key, "-outform", "DER", cwd=work).stdout


def request(operation, csr=None, *headers, label="", method=None):
    """The bytes of one HTTP request."""
    body = base64.b64encode(csr) if csr is not None else b""
    method = method or ("POST" if csr is not None else "GET")
    lines = [f"{method} /.well-known/est{label}/{operation} HTTP/1.1", "Host: localhost", "User-Agent: test", *headers]
    if csr is not None:
        lines += ["Content-Type: application/pkcs10", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def basic(secret, user="device"):
    return "Authorization: Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def digest(challenge, user, password, *, count=1, target="/.well-known/est/simpleenroll", method="POST", changes=()):
    """The Authorization header that answers one Digest challenge (RFC 7616 3.4); changes are made in its text."""
    values = dict(re.findall(r'(\w+)="?([^",]*)"?', challenge))
    name = values["algorithm"]

    def h(*parts):
        return hashlib.new({"SHA-256": "sha256", "MD5": "md5"}[name], ":".join(parts).encode()).hexdigest()

    nc = f"{count:08x}"
    response = h(h(user, values["realm"], password), values["nonce"], nc, "c0ffee", "auth", h(method, target))
    header = (f'Authorization: Digest username="{user}", realm="{values["realm"]}", nonce="{values["nonce"]}", uri="{target}",'
              f' algorithm={name}, qop=auth, nc={nc}, cnonce="c0ffee", response="{response}"')
    for old, new in changes:
        assert old in header, old
        header = header.replace(old, new)
    return header


def read_head(file):
    """(status, headers); a header that is there more than once has a line each."""
    status = int(file.readline().split()[1])
    headers = {}
    while True:
        line = file.readline().decode().strip()
        if not line:
            return status, headers
        name, value = line.split(": ", 1)
        headers[name] = headers[name] + "\n" + value if name in headers else value


def read_reply(file):
    """(status, headers, body)"""
    status, headers = read_head(file)
    return status, headers, file.read(int(headers.get("Content-Length", "0")))


class Tls12:
    """One connection of TLS 1.2, from an address of the loopback; resumed if a session is given."""

    def __init__(self, gw, session=None, context=None, cert=None, origin="127.0.0.1"):
        self.context = context or ssl.create_default_context(cafile=gw.root)
        if not context:
            self.context.maximum_version = ssl.TLSVersion.TLSv1_2
        if cert:
            self.context.load_cert_chain(*cert)
        raw = socket.create_connection(("127.0.0.1", gw.est_port), timeout=30, source_address=(origin, 0))
        self.tls = self.context.wrap_socket(raw, server_hostname="localhost", session=session)
        self.file = self.tls.makefile("rb")

    @property
    def binding(self):
        return base64.b64encode(self.tls.get_channel_binding("tls-unique")).decode()

    def ask(self, data):
        self.tls.sendall(data)
        return read_reply(self.file)

    def close(self):
        self.file.close()
        self.tls.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Tls13:
    """One connection of TLS 1.3, or another version, by openssl s_client, which tells the exporter's value (RFC 9266)."""

    def __init__(self, gw, *flags, version="-tls1_3"):
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{gw.est_port}", "-CAfile", gw.root, version, "-nocommands",
             "-ign_eof", "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32", *flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for line in self.process.stdout:
            found = re.match(rb"\s*Keying material: ([0-9A-F]+)", line)
            if found:
                self.binding = base64.b64encode(bytes.fromhex(found[1].decode())).decode()
            if line == b"---\n" and hasattr(self, "binding"):
                break

    def ask(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()
        while True:  # what s_client says of tickets comes before
            line = self.process.stdout.readline()
            if not line or b"HTTP/1.1 " in line:
                break
        status = int(line[line.index(b"HTTP/1.1 "):].split()[1])
        return status, {}, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
