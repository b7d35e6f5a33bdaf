"""Certificates that a CA could issue and should not: what its answer holds when it makes a mistake."""
import os

from gateway import run

LEAF = """basicConstraints=CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName=DNS:{name}{more}
"""
MIDDLE = """basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """Speaks for a CA with its keys; root and issuing: the paths (certificate, key)."""

    def __init__(self, folder, root, issuing):
        self.dir, self.issuing = folder, issuing
        self.request("hidden", "/CN=an issuing CA that nobody was told of")
        self.sign("hidden", root, MIDDLE, "-days", 30)
        self.hidden = (self.path("hidden.pem"), self.path("hidden.key"))

    def path(self, name):
        return os.path.join(self.dir, name)

    def text(self, name):
        with open(self.path(name), encoding="ascii") as file:
            return file.read()

    def text_of_issuing(self):
        with open(self.issuing[0], encoding="ascii") as file:
            return file.read()

    def request(self, name, subject):
        run("openssl", "req", "-new", *NEW_KEY, "-keyout", f"{name}.key", "-subj", subject, "-outform", "DER", "-out", f"{name}.csr",
            cwd=self.dir)

    def sign(self, name, by, extensions, *flags, serial=None):
        with open(self.path(f"{name}.ext"), "w", encoding="ascii") as file:
            file.write(extensions)
        run("openssl", "x509", "-req", "-inform", "DER", "-in", f"{name}.csr", "-CA", by[0], "-CAkey", by[1], "-extfile", f"{name}.ext",
            "-out", f"{name}.pem", "-set_serial", f"0x{serial or os.urandom(15).hex()}", *flags, cwd=self.dir)
        return self.text(f"{name}.pem")

    def leaf(self, name, csr, *flags, more="", by=None, days=5, serial=None):
        with open(self.path(f"{name}.csr"), "wb") as file:
            file.write(csr)
        return self.sign(name, by or self.issuing, LEAF.format(name=name, more=more), "-days", days, *flags, serial=serial)

    def wrong_key(self, name, _):
        self.request(f"{name}.other", f"/CN={name}")
        with open(self.path(f"{name}.other.csr"), "rb") as file:
            return self.leaf(name, file.read())

    def wrong_subject(self, name, csr):
        return self.leaf(name, csr, "-subj", f"/O=Elsewhere/CN={name}")

    def added_san(self, name, csr):
        return self.leaf(name, csr, more=",DNS:elsewhere.example.com")

    def expired(self, name, csr):
        return self.leaf(name, csr, days=-1)

    def orphan(self, name, csr):
        return self.leaf(name, csr, by=self.hidden)

    def no_chain(self, name, csr):
        return self.leaf(name, csr)

    def serial_again(self, name, csr):
        """serial: of a certificate that the gateway has had of this CA."""
        return self.leaf(name, csr, serial=self.serial)
