"""What attackers bring: keys, certificates and requests as no honest client makes them, and a CA that grants everything."""
import os

import der
from gateway import run, text
from upstream import use_upstream

BMP_STRING = 30

GENEROUS_CA = """#!/bin/sh
# Issues whatever is asked for, and keeps what it was asked; not while there is a file hold, and never while there is one
# that is called refuse.
cd "$STATE" || exit 4
[ "$CERTMONGER_OPERATION" = FETCH-ROOTS ] && exec cat roots
[ -e refuse ] && exit 2
[ -e hold ] && { echo 1; echo a-cookie; exit 5; }
env > "asked.$$"
echo "$CERTMONGER_CSR" > "csr.$$"
exec openssl x509 -req -in "csr.$$" -CA ca.pem -CAkey ca.key -days 30 -copy_extensions copyall \\
    -set_serial "0x1$(openssl rand -hex 15)"
"""


class GenerousCa:
    """An upstream CA without any judgement of its own, behind a program."""

    def __init__(self, gw):
        self.state = gw.work("generous")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", 60,
            "-subj", "/CN=Generous", "-addext", "keyUsage=critical,keyCertSign,cRLSign", cwd=self.state)
        with open(self.path("ca.pem"), encoding="ascii") as file, open(self.path("roots"), "w", encoding="ascii") as roots:
            roots.write("Generous\n" + file.read())
        program = self.path("program")
        with open(program, "w", encoding="ascii") as file:
            file.write(GENEROUS_CA)
        os.chmod(program, 0o755)
        use_upstream(gw, self.path("ca.pem"), f"""
    type: exec
    command: [{program}]
    environment: [STATE={self.state}, "PATH=/usr/bin:/bin"]
    limits: {{wait: 30s, deadline: 30s}}""", name="generous")

    def path(self, name):
        return os.path.join(self.state, name)

    def mark(self, name, there):
        """Makes or removes the file hold or refuse."""
        if there:
            with open(self.path(name), "w", encoding="ascii"):
                pass
        elif os.path.exists(self.path(name)):
            os.unlink(self.path(name))

    def asked(self):
        return len([name for name in os.listdir(self.state) if name.startswith("asked.")])

    def saw(self):
        """All that it was ever asked, CSRs in DER as well."""
        seen = b""
        for name in sorted(os.listdir(self.state)):
            if name.startswith(("asked.", "csr.")):
                with open(self.path(name), "rb") as file:
                    seen += file.read()
            if name.startswith("csr."):
                seen += run("openssl", "req", "-in", self.path(name), "-outform", "DER").stdout
        return seen


def rsa_key(path, bits, exponent_bits=17):
    """An RSA key from eight primes, which are found faster than two; p and q are products, and openssl does not mind."""
    primes = set()
    while len(primes) < 8:
        primes.add(int(text("openssl", "prime", "-generate", "-bits", bits // 8)))
    primes = sorted(primes)
    p = q = order_p = order_q = 1
    for number, prime in enumerate(primes):
        if number % 2:
            p, order_p = p * prime, order_p * (prime - 1)
        else:
            q, order_q = q * prime, order_q * (prime - 1)
    e = 65537 if exponent_bits == 17 else (1 << exponent_bits) + 1
    while True:
        try:
            d = pow(e, -1, order_p * order_q)
            break
        except ValueError:
            e += 2
    values = (0, p * q, e, d, p, q, d % order_p, d % order_q, pow(q, -1, p))
    with open(path, "wb") as file:
        file.write(run("openssl", "rsa", "-inform", "DER", input=der.write(der.SEQUENCE, *map(der.number, values))).stdout)


def csr_with_challenge(party, subject, value):
    """A CSR whose challengePassword is this element, or that has none."""
    spki = run("openssl", "pkey", "-in", "key.pem", "-pubout", "-outform", "DER", cwd=party.dir).stdout
    attribute = der.write(der.SEQUENCE, der.oid("1.2.840.113549.1.9.7"), der.write(der.SET, value)) if value is not None else b""
    info = der.write(der.SEQUENCE, der.number(0), der.common_name(subject), spki, der.write(0xa0, attribute))
    return der.write(der.SEQUENCE, info, *party.sign(info))


def lookalike(gw, party, subject, serial, ski):
    """A certificate by a CA of the attacker's that has our issuer's name, the victim's serial number, name and key identifier,
    and the attacker's key."""
    issuer = text("openssl", "x509", "-in", gw.path("ca/issuing.pem"), "-noout", "-subject", "-nameopt", "compat")
    issuer = "/" + issuer.strip().split("=", 1)[1].strip().lstrip("/").replace(", ", "/").replace(" = ", "=")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "our-ca.key", "-out", "our-ca.pem", "-days", 3,
        "-subj", issuer, cwd=party.dir)
    party.csr(subject)
    party.keep("fake.ext", f"subjectKeyIdentifier={ski}\n".encode())
    run("openssl", "x509", "-req", "-inform", "DER", "-in", "csr.der", "-CA", "our-ca.pem", "-CAkey", "our-ca.key", "-days", 2,
        "-set_serial", "0x" + serial, "-extfile", "fake.ext", "-out", "fake.pem", cwd=party.dir)
    assert text("openssl", "x509", "-in", party.path("fake.pem"), "-noout", "-issuer") == \
        text("openssl", "x509", "-in", gw.path("ca/issuing.pem"), "-noout", "-subject").replace("subject=", "issuer=")
    return party.path("fake.pem")
