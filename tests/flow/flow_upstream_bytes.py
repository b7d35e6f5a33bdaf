"""What a CA gets is the CSR that the device sent, octet for octet, whatever its valid DER looks like: by both doors, to a CA of each
kind. The proxy in front of the CA keeps what passes; a SCEP message is opened there with the CA's own key."""
import base64
import json
import os
import re
import unittest

import der
from cas import CAS
from est_wire import Tls12, basic, make_csr, request
from gateway import run
from scep_wire import Party
from upstream import PATIENT, UpstreamTest

CHALLENGE, UNSTRUCTURED, EXTENSIONS, MS_EXTENSIONS = ("1.2.840.113549.1.9.7", "1.2.840.113549.1.9.2", "1.2.840.113549.1.9.14",
                                                      "1.3.6.1.4.1.311.2.1.14")
BMP, T61, IA5 = 30, 20, 22


def attribute(kind, value):
    return der.write(der.SEQUENCE, der.oid(kind), der.write(der.SET, value))


def san(*names):
    return der.write(der.SEQUENCE, der.write(der.SEQUENCE, der.oid("2.5.29.17"), der.write(der.OCTET_STRING, der.dns_names(*names))))


class Bytes:
    """For any CA; seen(name) are the CSRs that it got since the last reset."""

    domain = ""

    limits = PATIENT

    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        gw.edit(*cls.LENIENT)

    LENIENT = (r"^    keys: ", "    ignore_extensions: [unstructuredName]\n    keys: ")

    def csr(self, party, subject, attributes, string=der.UTF8, digest="sha256", null=True):
        """A CSR with its attributes in this order."""
        spki = run("openssl", "pkey", "-in", "key.pem", "-pubout", "-outform", "DER", cwd=party.dir).stdout
        info = der.write(der.SEQUENCE, der.number(0), der.name(("2.5.4.3", subject), string=string), spki,
                         der.write(der.CONTEXT, *attributes))
        signature = run("openssl", "dgst", f"-{digest}", "-sign", "key.pem", input=info, cwd=party.dir).stdout
        kind = der.oid({"sha256": "1.2.840.113549.1.1.11", "sha512": "1.2.840.113549.1.1.13"}[digest])
        algorithm = der.write(der.SEQUENCE, kind, *([der.write(der.NULL)] if null else []))
        return der.write(der.SEQUENCE, info, algorithm, der.write(der.BIT_STRING, b"\0" + signature))

    def variants(self, party, prefix, secret):
        """(name, CSR): secret None for a door where the challenge is no part of it."""
        def made(name, *attributes, challenge=der.UTF8, first=False, **more):
            name = f"{prefix}-{name}{self.domain}"
            own = [attribute(CHALLENGE, der.write(challenge, secret().encode("utf-16-be" if challenge == BMP else "ascii")))] \
                if secret else []
            parts = own + list(attributes) if first else list(attributes) + own
            return name, self.csr(party, name, parts, **more)

        names, plain = attribute(EXTENSIONS, san("b.example", "a.example")), attribute(UNSTRUCTURED, der.write(IA5, b"a name"))
        yield made("no-more-attributes")
        yield made("sorted", plain, names)
        yield made("not-sorted", names, plain, first=True)
        yield made("not-sorted-2", plain, names, first=True)
        yield made("microsoft", attribute(MS_EXTENSIONS, san("c.example")))
        yield made("empty-list", attribute(EXTENSIONS, der.write(der.SEQUENCE)))
        yield made("printable-name", challenge=der.PRINTABLE, string=der.PRINTABLE)
        yield made("t61-name", challenge=T61, string=T61)
        yield made("ia5", challenge=IA5)
        yield made("bmp", challenge=BMP)
        yield made("sha512", digest="sha512")
        yield made("no-null", null=False)

    def assert_relayed(self, name, csr, send):
        with self.subTest(name):
            self.reset()
            send(csr)
            self.assertEqual(self.seen(name), [csr], self.gw.log()[-1500:])
            self.assertEqual(self.ca.issued(name), 1)

    def reset(self):
        self.ca.proxy.reset()

    def test_scep(self):
        """From a SCEP device (flaw 17)."""
        party = Party(self.gw, "scep-device")

        def send(csr):
            party.keep("csr.der", csr)
            self.assertEqual(party.forge("csr=csr.der", "txn=" + csr[-8:].hex()).outcome, "SUCCESS", self.gw.log()[-1500:])

        for name, csr in self.variants(party, "scep", self.gw.challenge):
            self.assert_relayed(name, csr, send)

    def test_est(self):
        """From an EST device: no attributes at all is a list with nothing in it."""
        party = Party(self.gw, "est-device")

        def send(csr):
            with Tls12(self.gw) as conn:
                status, _, body = conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))
            self.assertEqual(status, 200, body)

        for name, csr in self.variants(party, "est", None):
            self.assert_relayed(name, csr, send)
        self.assert_relayed("ec", make_csr(self.gw.work("ec"), "/CN=ec"), send)


class ToGateway(Bytes):
    """A CA that is a gateway itself."""

    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        cls.ca.gw.edit(*cls.LENIENT)
        cls.ca.gw.stop()
        cls.ca.gw.start()


class ToEst(ToGateway, UpstreamTest):
    make_ca = CAS["est"]

    def seen(self, name):
        return [base64.b64decode(body) for body in self.ca.proxy.bodies]


class ToScep(ToGateway, UpstreamTest):
    make_ca = CAS["scep"]

    def seen(self, name):
        """The CSRs in the messages that passed."""
        found = []
        for body in self.ca.proxy.bodies:
            envelope = run("openssl", "cms", "-verify", "-inform", "DER", "-noverify", input=body, cwd=self.work).stdout
            found.append(run("openssl", "cms", "-decrypt", "-inform", "DER", "-recip", self.ca.gw.path("ra/ra.pem"), "-inkey",
                             self.ca.gw.path("ra/ra.key"), input=envelope, cwd=self.work).stdout)
        return found


class ToCmp(Bytes, UpstreamTest):
    """p10cr has the CSR as it is in its body (RFC 4210 section 5.2.1); of what else is sent nothing looks like one."""

    make_ca = CAS["cmp"]
    P10CR = 0xA4  # PKIBody [4]

    def seen(self, name):
        found = []
        for body in self.ca.proxy.bodies:
            part = der.read(body)[1]
            if part.tag == self.P10CR:
                found.append(part.content)
        return found


def pem_csrs(text):
    return [base64.b64decode(body) for body in re.findall(r"BEGIN (?:NEW )?CERTIFICATE REQUEST-----([^-]*)-----END", text)]


class ToRest(Bytes):
    """JSON with the CSR as PEM in one of its texts."""

    def seen(self, name):
        return [csr for body in self.ca.proxy.bodies for value in json.loads(body or "{}").values() for csr in pem_csrs(str(value))]


class ToVault(ToRest, UpstreamTest):
    make_ca = CAS["vault"]


class ToEjbca(ToRest, UpstreamTest):
    make_ca = CAS["ejbca"]


class ToStepca(ToRest, UpstreamTest):
    make_ca = CAS["stepca"]


class ToHelper(Bytes, UpstreamTest):
    make_ca = CAS["exec"]

    def setUp(self):
        self.begin()

    def reset(self):
        pass

    def seen(self, name):
        with open(os.path.join(self.ca.state, f"env.{name}"), encoding="ascii") as file:
            return pem_csrs(file.read())


del ToGateway, ToRest


if __name__ == "__main__":
    unittest.main(verbosity=2)
