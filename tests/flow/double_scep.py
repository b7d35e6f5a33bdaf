"""A double of a SCEP CA that answers as NDES and old CAs do, after captured answers of theirs. It is none of them, and was never
compared with one."""
import base64
import http.server
import os
import socketserver
import threading
import urllib.parse

from doubles import IssuingCa
from gateway import run

SCEP_ANSWER = os.environ["SCEP_ANSWER"]
CERT_POLL = "20"
CAPS = b"POSTPKIOperation\r\nSHA-256\r\nAES\r\nRenewal\r\n"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, media="application/x-pki-message"):
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        ca = self.server.ca
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        operation = query.get("operation", [""])[0]
        if operation == "GetCACaps":
            status, body, *media = ca.caps
            self.answer(status, body, *(media or ["text/plain"]))
        elif operation == "GetCACert":
            self.answer(200, ca.chain_der, "application/x-x509-ca-ra-cert")
        elif operation == "PKIOperation":
            ca.ways.append("GET")
            self.exchange(base64.b64decode(query["message"][0], validate=True))
        else:
            self.answer(404, b"")

    def do_POST(self):
        self.server.ca.ways.append("POST")
        self.exchange(self.rfile.read(int(self.headers["Content-Length"])))

    def exchange(self, message):
        ca = self.server.ca
        self.answer(200, ca.exchange(message), ca.media)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False


class OddCa(IssuingCa):
    """words are those of scep_answer, for every answer; failure makes it one of these."""

    def __init__(self, port):
        super().__init__()
        for name in ("ra", "stranger"):
            with open(self.path(f"{name}.ext"), "w", encoding="ascii") as file:
                file.write("keyUsage=digitalSignature,keyEncipherment\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
            run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-subj", f"/CN={name}", "-out",
                f"{name}.csr", cwd=self.dir)
            run("openssl", "x509", "-req", "-in", f"{name}.csr", "-days", 30, "-out", f"{name}.pem", "-extfile", f"{name}.ext",
                "-CA", "issuing.pem", "-CAkey", "issuing.key", cwd=self.dir)
        self.chain_der = self.pkcs7("ra.pem", "issuing.pem", "root.pem")
        self.exchange_lock = threading.Lock()
        self.got = {}  # transactionID -> certificate in PEM
        self.reset()
        self.server = Server(("127.0.0.1", port), Handler)
        self.server.ca = self
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def reset(self):
        self.caps = (200, CAPS)
        self.words = []
        self.by = "ra"
        self.failure = None  # words of a FAILURE
        self.old = None  # a PEM that it answers with, whatever is asked
        self.order = ("leaf", "issuing.pem")  # of the certificates in an answer
        self.tail = b""  # behind them
        self.media = "application/x-pki-message"
        self.ways, self.read = [], []

    def pkcs7(self, *names):
        files = [word for name in names for word in ("-certfile", name)]
        return run("openssl", "crl2pkcs7", "-nocrl", *files, "-outform", "DER", cwd=self.dir).stdout

    def exchange(self, message):
        with self.exchange_lock:
            with open(self.path("request.der"), "wb") as file:
                file.write(message)
            line = run(SCEP_ANSWER, "read", "request.der", "ra.pem", "ra.key", ".", cwd=self.dir).stdout.decode()
            asked = dict(word.split("=", 1) for word in line.split())
            self.read.append(asked)
            words = [f"signer={self.by}.pem", f"key={self.by}.key", f"txn={asked['txn']}", f"recipient_nonce={asked['nonce']}"]
            words += ["status=2", *self.failure] if self.failure else ["status=0", *self.certificates(asked)]
            run(SCEP_ANSWER, "write", "answer.der", *words, *self.words, cwd=self.dir)
            with open(self.path("answer.der"), "rb") as file:
                return file.read()

    def certificates(self, asked):
        """A CertPoll is answered with what the transaction has got."""
        pem = self.old or (self.got[asked["txn"]] if asked["type"] == CERT_POLL else None)
        if not pem:
            run("openssl", "req", "-inform", "DER", "-in", "csr.der", "-out", "asked.csr", cwd=self.dir)
            pem = self.got[asked["txn"]] = self.issue(self.text("asked.csr"))
        with open(self.path("leaf.pem"), "w", encoding="ascii") as file:
            file.write(pem)
        with open(self.path("certs.der"), "wb") as file:
            file.write(self.pkcs7(*("leaf.pem" if name == "leaf" else name for name in self.order)) + self.tail)
        return ["content=certs.der", "recipient=sender.pem"]

    def one_byte(self):
        """The content of NDES's FAILURE."""
        with open(self.path("one.byte"), "wb") as file:
            file.write(b"\0")
        return "content=one.byte"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        super().close()
