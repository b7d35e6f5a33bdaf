"""CAs that are not the gateway's, by `openssl ca`, and a web server of their own for CRLs and OCSP.

OCSP answers are made by `openssl ocsp` for each request; its own server would listen on every address.
"""
import http.server
import os
import ssl
import tempfile
import threading
import time

import der
from gateway import run

CONF = """
[ca]
default_ca = me
[me]
dir = {dir}
database = {dir}/index.txt
new_certs_dir = {dir}
serial = {dir}/serial
crlnumber = {dir}/crlnumber
certificate = {dir}/ca.pem
private_key = {dir}/ca.key
default_md = sha256
default_days = 30
default_crl_days = 1
unique_subject = no
policy = any
copy_extensions = none
email_in_dn = no
[any]
countryName = optional
organizationName = optional
commonName = optional
serialNumber = optional
[req]
prompt = no
distinguished_name = dn
[dn]
CN = unused
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
"""


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def rewritten(cert):
    """A file with the same certificate of a P-256 CA as its holder can write it as well: (r, s) is as good as (r, n - s)."""
    with open(cert, encoding="ascii") as file:
        tbs, algorithm, signature = der.read(ssl.PEM_cert_to_DER_cert(file.read())).items
    r, s = der.read(signature.content[1:]).items
    value = der.write(der.SEQUENCE, r.whole, der.number(P256_ORDER - s.number))
    copy = der.write(der.SEQUENCE, tbs.whole, algorithm.whole, der.write(der.BIT_STRING, b"\0", value))
    with open(cert + ".copy", "w", encoding="ascii") as file:
        file.write(ssl.DER_cert_to_PEM_cert(copy))
    return cert + ".copy"


def stamp(days):
    """A time so many days from now, as `openssl ca` takes it."""
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400))


class Ca:
    """A CA in a folder of its own, below another one or self-signed."""

    def __init__(self, top, name, subject, above=None):
        self.dir = os.path.join(top, name)
        self.name, self.above = name, above
        os.makedirs(self.dir)
        self.write("openssl.cnf", CONF.format(dir=self.dir))
        self.write("index.txt", "")
        self.write("serial", os.urandom(8).hex() if above is None else "01" + os.urandom(7).hex())
        self.write("crlnumber", "01")
        self.cert, self.key_path = self.path("ca.pem"), self.path("ca.key")
        self.make_key(self.key_path)
        flags = ["-x509", "-days", "30", "-extensions", "root"] if above is None else []
        run("openssl", "req", "-new", "-config", self.path("openssl.cnf"), "-subj", subject, "-key", self.key_path, *flags,
            "-out", self.cert if above is None else self.path("ca.csr"))
        if above:
            above.sign(self.path("ca.csr"), self.cert, ["basicConstraints = critical,CA:TRUE", "keyUsage = keyCertSign,cRLSign"])

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as file:
            file.write(text)

    @staticmethod
    def make_key(path, kind="EC"):
        option = "ec_paramgen_curve:P-256" if kind == "EC" else "rsa_keygen_bits:2048"
        run("openssl", "genpkey", "-algorithm", kind, "-pkeyopt", option, "-out", path)

    def sign(self, csr, out, extensions, start=-1, end=30, serial=None):
        self.write("ext", "\n".join(extensions) + "\n")
        if serial:
            self.write("serial", serial)
        run("openssl", "ca", "-batch", "-config", self.path("openssl.cnf"), "-in", csr, "-out", out, "-notext", "-preserveDN",
            "-extfile", self.path("ext"), "-startdate", stamp(start), "-enddate", stamp(end))

    def issue(self, name, subject, extensions=("extendedKeyUsage = clientAuth",), kind="EC", **options):
        """(certificate, key) of a device."""
        cert, key, csr = self.path(name + ".pem"), self.path(name + ".key"), self.path(name + ".csr")
        self.make_key(key, kind)
        run("openssl", "req", "-new", "-config", self.path("openssl.cnf"), "-subj", subject, "-key", key, "-out", csr)
        self.sign(csr, cert, ["basicConstraints = CA:FALSE", *extensions], **options)
        return cert, key

    def revoke(self, cert):
        run("openssl", "ca", "-config", self.path("openssl.cnf"), "-revoke", cert)

    def crl(self, *flags):
        """A new one, as DER."""
        run("openssl", "ca", "-config", self.path("openssl.cnf"), "-gencrl", *flags, "-out", self.path("crl.pem"))
        return run("openssl", "crl", "-in", self.path("crl.pem"), "-outform", "DER").stdout

    def ocsp(self, request):
        """What a responder says to it."""
        with tempfile.TemporaryDirectory(dir=self.dir) as work:
            asked, answer = os.path.join(work, "request"), os.path.join(work, "answer")
            with open(asked, "wb") as file:
                file.write(request)
            run("openssl", "ocsp", "-index", self.path("index.txt"), "-CA", self.cert, "-rsigner", self.cert, "-rkey",
                self.key_path, "-reqin", asked, "-respout", answer, "-nmin", "10")
            with open(answer, "rb") as file:
                return file.read()


class Web:
    """Serves /NAME.crl from crls, and POST /ocsp/NAME by cas, on a port of 127.0.0.1; while down, 503."""

    def __init__(self):
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, body, kind):
                self.send_response(503 if body is None else 200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def do_GET(self):
                web.asked.append(self.path)
                self.answer(None if self.path in web.down else web.crls.get(self.path[1:]), "application/pkix-crl")

            def do_POST(self):
                web.asked.append(self.path)
                request = self.rfile.read(int(self.headers["Content-Length"]))
                ca = web.cas.get(self.path.rpartition("/")[2])
                self.answer(ca.ocsp(request) if ca and self.path not in web.down else None, "application/ocsp-response")

        self.crls, self.cas, self.down, self.asked = {}, {}, set(), []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
