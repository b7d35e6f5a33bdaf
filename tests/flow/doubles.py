"""Doubles of CAs that Debian does not have, written from their documentation: what they share.

A double issues with the openssl command and a CA made at test time, and demands what the documents say that the real
one demands. It is not the real one: what the documents do not say, it cannot show.
"""
import http.server
import json
import os
import re
import shutil
import socketserver
import ssl
import tempfile
import threading

from faults import FaultProxy
from gateway import free_ports, run
from upstream import UpstreamTest


class Refusal(Exception):
    """An answer other than 2xx."""

    def __init__(self, status, body):
        super().__init__(status)
        self.status = status
        self.body = body


class IssuingCa:
    """Root, issuing CA and a TLS server's certificate, in a folder of its own."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="scepter-double-")
        self.lock = threading.Lock()
        self.certs = []  # of PEM, in the order of issuing
        self.make("root", None, "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign")
        self.make("issuing", "root", "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign")
        self.make("server", "root", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth")
        self.make("client", "root", "extendedKeyUsage=clientAuth")
        self.root, self.chain = self.path("root.pem"), self.path("issuing.pem")

    def path(self, name):
        return os.path.join(self.dir, name)

    def text(self, name):
        with open(self.path(name), encoding="ascii") as file:
            return file.read()

    def make(self, name, ca, extensions):
        with open(self.path(f"{name}.ext"), "w", encoding="ascii") as file:
            file.write(extensions + "\nsubjectKeyIdentifier=hash\n" + ("authorityKeyIdentifier=keyid\n" if ca else ""))
        by = ["-CA", f"{ca}.pem", "-CAkey", f"{ca}.key"] if ca else ["-signkey", f"{name}.key"]
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
            "-subj", f"/O=Double/CN={name}", "-out", f"{name}.csr", cwd=self.dir)
        run("openssl", "x509", "-req", "-in", f"{name}.csr", "-days", 30, "-out", f"{name}.pem", "-extfile", f"{name}.ext", *by,
            cwd=self.dir)

    def issue(self, csr):
        """A leaf for a CSR in PEM, its names copied."""
        with self.lock:
            serial = len(self.certs) + 1
            with open(self.path(f"{serial}.req"), "w", encoding="ascii") as file:
                file.write(csr)
            with open(self.path("leaf.ext"), "w", encoding="ascii") as file:
                file.write("basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n"
                           "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
            run("openssl", "req", "-in", f"{serial}.req", "-verify", "-noout", cwd=self.dir)
            run("openssl", "x509", "-req", "-in", f"{serial}.req", "-days", 5, "-CA", "issuing.pem", "-CAkey", "issuing.key",
                "-set_serial", "0x" + os.urandom(16).hex(), "-copy_extensions", "copy", "-extfile", "leaf.ext", "-out", f"{serial}.pem", cwd=self.dir)
            self.certs.append(self.text(f"{serial}.pem"))
            return self.certs[-1]

    def issue_elsewhere(self, subject):
        """A leaf for another key."""
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "other.key",
            "-subj", subject, "-out", "other.csr", cwd=self.dir)
        return self.issue(self.text("other.csr"))

    def ask(self, pem, *flags):
        """One line that openssl x509 says of a certificate."""
        return run("openssl", "x509", "-noout", *flags, input=pem.encode()).stdout.decode().strip()

    def issued(self, name):
        with self.lock:
            return sum(self.ask(pem, "-subject", "-nameopt", "RFC2253") == f"subject=CN={name}" for pem in self.certs)

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class DoubleHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass

    def run(self):
        double = self.server.double
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            status, answer = double.answer(self.command, self.path, self.headers, body)
        except Refusal as refusal:
            status, answer = refusal.status, refusal.body
        except Exception as error:  # pylint: disable=broad-except
            double.errors.append(repr(error))
            status, answer = 500, {"error": repr(error)}
        data = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        if data:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = run


class Double(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """An HTTPS server; a subclass has answer(method, path, headers, body) -> (status, JSON or None)."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port, ca):
        super().__init__(("127.0.0.1", port), DoubleHandler)
        self.ca = ca
        self.double = self
        self.errors = []  # of the double itself: its tests must see none
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(ca.path("server.pem"), ca.path("server.key"))
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def handle_error(self, request, client_address):
        pass

    def close(self):
        self.shutdown()
        self.server_close()
        self.thread.join()


def member(body, name):
    """A text member that has to be there."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refusal(400, {"errors": [f"missing {name}"]})
    return value


def is_csr(pem):
    return re.fullmatch(r"-----BEGIN CERTIFICATE REQUEST-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE REQUEST-----\n?", pem)


class DoubleCa:
    """A CA that issues by a double, and the proxy in front of it, which has bad days on paths with `only` in them."""

    def __init__(self, only):
        self.ca = IssuingCa()
        self.port, port = free_ports(2)
        self.double = self.make_double(port)
        self.proxy = FaultProxy(self.port, port, self.ca.path("server.pem"), self.ca.path("server.key"), only=only)
        self.root, self.chain = self.ca.root, self.ca.chain

    def make_double(self, port):
        raise NotImplementedError

    def know_clients(self):
        """From now on the proxy asks for a certificate."""
        self.proxy.server_context.load_verify_locations(self.root)
        self.proxy.server_context.verify_mode = ssl.CERT_REQUIRED

    def issued(self, name):
        return self.ca.issued(name)

    def close(self):
        self.proxy.close()
        self.double.close()
        self.ca.close()
        assert not self.double.errors, self.double.errors


class DoubleTest(UpstreamTest):
    def kill_while_asking(self, name, there=None):
        super().kill_while_asking(name, there or (lambda: self.ca.issued(name)))
