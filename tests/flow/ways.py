"""How each kind of CA is asked and answers, for the fault matrix: which of its exchanges is the order, which others there are,
and how a certificate of our making gets into an answer of its own."""
import base64
import json
import os

import faults
from cas import CAS
from gateway import run

SCEP_ANSWER = os.environ["SCEP_ANSWER"]


class Way:
    order = ""  # part of the order's path
    recovers = False  # can say what became of a request
    tls = True
    none = {}  # faults that it cannot have, and why
    auxiliary = {}  # what else is asked: part of its path; before the order
    after = {}  # and after it

    def __init__(self, kind):
        self.ca = CAS[kind]()

    def signers(self):
        """(root, issuing), each certificate and key."""
        ca = self.ca.ca  # of a double
        return tuple((ca.path(f"{name}.pem"), ca.path(f"{name}.key")) for name in ("root", "issuing"))

    def orders(self):
        """Those that the CA took."""
        return sum(self.order in path and status // 100 == 2 for path, status in self.ca.proxy.paths)

    def put_in(self, leaf, chain):
        """The fault by which the CA's answer holds this certificate, and these above it."""
        return faults.changed("another certificate",
                              lambda status, headers, body: (status, headers, self.wrap(body, leaf, chain)))

    def prepare(self, what):
        """Before a device meets a fault of that exchange."""


def pkcs7(pems):
    return run("openssl", "crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin", "-outform", "DER", input="".join(pems).encode()).stdout


def gateway_signers(gw):
    return tuple((gw.path(f"ca/{name}.pem"), gw.path(f"ca/{name}.key")) for name in ("root", "issuing"))


class Est(Way):
    order = "simpleenroll"
    auxiliary = {"GET cacerts": "/cacerts"}

    def signers(self):
        return gateway_signers(self.ca.gw)

    @staticmethod
    def wrap(_, leaf, chain):
        return base64.encodebytes(pkcs7([leaf, *chain]))


class Scep(Way):
    order = "PKIOperation"
    recovers = True
    tls = False
    auxiliary = {"GET GetCACaps": "GetCACaps", "GET GetCACert": "GetCACert"}

    def signers(self):
        return gateway_signers(self.ca.gw)

    def wrap(self, _, leaf, chain):
        """Signed by the RA of the second gateway, for the one of the first."""
        gw = self.ca.gw
        folder, ra = gw.work("wrap"), (gw.path("ra/ra.pem"), gw.path("ra/ra.key"))
        for name, data in (("request", self.ca.proxy.bodies[-1]), ("certs", pkcs7([leaf, *chain]))):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)
        asked = dict(word.split("=", 1) for word in run(SCEP_ANSWER, "read", "request", *ra, ".", cwd=folder).stdout.decode().split())
        run(SCEP_ANSWER, "write", "answer", f"signer={ra[0]}", f"key={ra[1]}", f"txn={asked['txn']}", "status=0",
            f"recipient_nonce={asked['nonce']}", "content=certs", "recipient=sender.pem", cwd=folder)
        with open(os.path.join(folder, "answer"), "rb") as file:
            return file.read()


WAYS = {"est": Est, "scep": Scep}
