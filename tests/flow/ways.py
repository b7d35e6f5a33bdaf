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
    auxiliary = {}  # what else is asked: part of its path
    before = {}  # what is asked right before that, if anything: part of its path, and of its answer
    planned = ()  # the same as auxiliary, right after the order and on its path
    timed = ()  # the same, when it is time for it
    after = ""  # what is asked before the order: part of its path
    meanwhile = "ordered"  # what a request is while another exchange fails

    def __init__(self, kind):
        self.ca = CAS[kind.split()[0]]()

    def signers(self):
        """(root, issuing), each certificate and key."""
        ca = self.ca.ca  # of a double
        return tuple((ca.path(f"{name}.pem"), ca.path(f"{name}.key")) for name in ("root", "issuing"))

    def orders(self):
        """Those that the CA took."""
        return sum(self.order in path and status // 100 == 2 for path, status in self.ca.proxy.paths)

    def expected(self, fault, ended):
        """How many orders the CA takes, exactly: one, unless the only one did not reach it."""
        return int(fault.asks or ended == "once")

    def issues(self, fault, ended):
        """How many certificates it issues."""
        return self.expected(fault, ended)

    def mistake(self, _, leaf, chain):
        """The CA's next answer holds this certificate, and these above it."""
        self.ca.proxy.reset(faults.changed("another certificate",
                                           lambda status, headers, body: (status, headers, self.wrap(body, leaf, chain))))

    def serial(self, pem):
        return run("openssl", "x509", "-noout", "-serial", input=pem.encode()).stdout.decode().strip().split("=")[1]

    def took_back(self, pem):
        """Whether the CA was told that nobody shall have it."""
        return False

    def begin(self):
        """Before each device."""

    def known(self, gw):
        """Whether a gateway that starts has asked what it asks by itself: then devices get the CA's certificates."""
        return run("curl", "-fsS", "-o", os.devnull, f"{gw.scep_url}?operation=GetCACert", check=False).returncode == 0

    def answered(self, path):
        """Whether the CA said yes to that."""
        return any(note.path.endswith(path) and (note.status or 0) // 100 == 2 for note in self.ca.proxy.notes)

    def set_clock(self, shift):
        """Of the CA, where its clock matters."""

    def befall(self, name, what):
        """What is no matter of a proxy."""

    def over(self, _):
        """Whether nothing is left to be told to the CA."""
        return True

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


# messageType (RFC 8894 section 3.2.1.2): the attribute with "19" in it.
PKCS_REQ = bytes.fromhex("060a6086480186f8450109023104") + b"\x13\x0219"


class Scep(Way):
    order = "PKIOperation"
    recovers = True
    tls = False
    auxiliary = {"GET GetCACaps": "GetCACaps", "GET GetCACert": "GetCACert"}
    before = {"GET GetCACert": ("GetCACaps",)}

    def signers(self):
        return gateway_signers(self.ca.gw)

    def orders(self):
        """CertPoll goes the same way."""
        proxy = self.ca.proxy
        return sum(PKCS_REQ in body and status // 100 == 2 for (_, status), body in zip(proxy.paths, proxy.heard))

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


class Vault(Way):
    order = "/sign/"
    auxiliary = {"POST login": "/login", "GET issuer": "/issuer/"}
    before = {"GET issuer": ("/login",)}
    timed = ("POST renew-self",)
    lease = 24  # seconds

    def prepare(self, what):
        if what in self.timed:
            self.ca.double.lease = self.lease

    def time(self):
        """When a token is two thirds over it is renewed, and not before. We had got it at the latest when we used it."""
        double = self.ca.double
        return double.used + self.lease * 2 / 3 + 0.1, double.authed + self.lease

    @staticmethod
    def wrap(body, leaf, chain):
        answer = json.loads(body)
        answer["data"].update(certificate=leaf, issuing_ca=chain[0] if chain else "", ca_chain=chain)
        return json.dumps(answer).encode()


    def took_back(self, pem):
        return pem.strip() in (c.strip() for c in self.ca.double.revoked)


class Ejbca(Way):
    order = "pkcs10enroll"
    recovers = True
    auxiliary = {"POST search": "certificate/search"}
    before = {"POST search": ("pkcs10enroll",)}
    meanwhile = "suspect"

    def known(self, _):
        return self.answered("/v1/ca")

    def prepare(self, what):
        """A search is for what was lost."""
        self.ca.proxy.reset(faults.LOSE)

    def wrap(self, body, leaf, chain):
        answer, der = json.loads(body), self.ca.double.der
        answer.update(certificate=der(leaf), certificate_chain=[der(pem) for pem in chain])
        return json.dumps(answer).encode()


    def took_back(self, pem):
        return (self.serial(pem), "SUPERSEDED") in self.ca.double.revoked


class Finalize(Ejbca):
    """EJBCA's administrators approve at once: what issues is finalizing."""

    order = "/finalize"
    after = "pkcs10enroll"
    auxiliary = before = {}

    def __init__(self, kind):
        super().__init__(kind)
        self.ca.proxy.only = self.order
        self.ca.double.approval = "approved"


class Stepca(Way):
    order = "/1.0/sign"
    recovers = True
    auxiliary = {"GET provisioners": "/provisioners", "GET intermediates": "/intermediates", "GET roots": "/roots"}
    before = {"GET provisioners": ("/health",), "GET intermediates": ("cursor=3",), "GET roots": ("/intermediates",)}

    @staticmethod
    def wrap(body, leaf, chain):
        answer = {name: value for name, value in json.loads(body).items() if name != "ca"}
        answer.update(crt=leaf, certChain=[leaf, *chain])
        return json.dumps(answer).encode()


    def set_clock(self, shift):
        self.ca.double.ahead = shift

    def took_back(self, pem):
        return str(int(self.serial(pem), 16)) in self.ca.double.revoked


class Acme(Way):
    order = "/finalize-order/"
    auxiliary = {"GET directory": "/dir", "HEAD newNonce": "/nonce-plz", "POST newAccount": "/sign-me-up", "POST newOrder": "/order-plz",
                 "POST authorization": "/authZ/", "POST challenge": "/chalZ/", "POST order": "/my-order/", "POST certificate": "/certZ/"}
    before = {"HEAD newNonce": ("/dir",), "POST newAccount": ("/nonce-plz",), "POST newOrder": ("/sign-me-up",),
              "POST authorization": ("/my-order/",), "POST challenge": ("/authZ/",), "POST order": ("/order-plz",),
              "POST certificate": ("/my-order/", b'"certificate"')}

    def __init__(self, kind):
        super().__init__(kind)
        self.ca.proxy.only = self.order

    def known(self, _):
        return self.answered("/sign-me-up")

    def signers(self):
        for name in ("root", "intermediate"):
            with open(self.ca.path(f"{name}.key"), "wb") as file:
                file.write(self.ca.manage(f"/{name}-keys/0"))
        return tuple((self.ca.path(f"{name}.pem"), self.ca.path(f"{name}.key")) for name in ("root", "intermediate"))

    def mistake(self, _, leaf, chain):
        """In what is downloaded; a rejected nonce is not what is meant."""
        def change(status, headers, body):
            if status == 200:
                self.ca.proxy.only = self.order
                return status, headers, "".join([leaf, *chain]).encode()
            self.ca.proxy.plan.append(fault)
            return status, headers, body
        fault = faults.changed("another certificate", change)
        self.ca.proxy.plan_at("/certZ/", fault)

    def took_back(self, pem):
        """pebble knows no certificate of ours: what it was asked is what counts."""
        return any("/revoke-cert" in path for path, _ in self.ca.proxy.paths)


class Cmp(Way):
    order = "/pkix"
    planned = ("POST certConf",)
    recovers = True
    tls = False
    modes = {"another key": "key", "another subject": "subject", "a SAN more": "san", "an expired certificate": "expired",
             "a serial number seen before": "serial", "no chain in the answer": "", "a chain known nowhere": "orphan"}

    def signers(self):
        return tuple((self.ca.path(f"{name}.pem"), self.ca.path(f"{name}.key")) for name in ("root", "ca"))

    def known(self, _):
        return self.answered("/pkix")

    def orders(self):
        return self.ca.asked(4) - self.before

    def over(self, name):
        return bool(self.ca.lines("confirmed", name))

    def begin(self):
        self.ca.mode()
        self.before = self.ca.asked(4)

    def mistake(self, name, *_):
        """Its answers are protected: it makes the mistake itself."""
        self.ca.proxy.reset()
        self.ca.mode(self.modes[name])

    def took_back(self, _):
        return bool(self.ca.lines("rejected"))


ISSUE = 'issue() { CERTMONGER_OPERATION=SUBMIT /usr/lib/certmonger/local-submit -d "$STATE"; }'


class Helper:
    """In the proxy's place: there is none."""

    def __init__(self):
        self.plan, self.connections, self.notes, self.trap = [], [], [], None

    def reset(self, *_):
        pass


class Exec(Way):
    none = {fault.name: "n/a: exec has no network" for fault in
            (faults.REFUSED, faults.CUT, faults.EARLY, faults.REFUSE, faults.WITHIN, faults.HEAD)}
    none.update({f"{status} with Retry-After": "n/a: a helper says no time without a cookie" for status in (429, 503)})
    does = {  # a helper instead of that
        faults.LOSE.name: "issue > /dev/null; kill -KILL $$",
        faults.HALF.name: "issue | head -c 300; exit 0",
        faults.TWICE.name: 'cert=$(issue); echo "$cert"; echo "$cert"; exit 0',
        faults.SLOW.name: "issue | head -c 300; sleep 60",
        faults.EMPTY.name: "issue > /dev/null; exit 0",
        faults.GARBAGE.name: "issue > /dev/null; head -c 3000 /dev/urandom; exit 0",
        faults.HANG.name: "sleep 60",
        faults.HANG_AFTER.name: "issue > /dev/null; sleep 60",
        "503": "exit 3",
        "500": "exit 99",
        "401": "exit 4",
    }

    def __init__(self, kind):
        super().__init__(kind)
        self.ca.proxy = Helper()
        self.ca.issued = self.issued
        self.vain = set()  # names for which the first call issued nothing

    def issued(self, name):
        return len(self.ca.asked(name)) - (name in self.vain) if os.path.exists(os.path.join(self.ca.state, f"asked.{name}")) else 0

    def orders(self):
        return len(self.ca.asked(self.name))

    def expected(self, fault, ended):
        """The helper is what is asked, and is asked again when it says that nothing happened."""
        return 2 if fault.status in (503, 401) else 1

    def issues(self, fault, ended):
        return int(fault.asks or ended == "once")

    def signers(self):
        path = os.path.join(self.ca.state, "signer.pem")
        run("openssl", "pkcs12", "-in", os.path.join(self.ca.state, "creds"), "-nodes", "-passin", "pass:", "-out", path)
        return ((self.ca.root, path),) * 2

    def befall(self, name, what):
        self.name = name
        if what in self.does:
            self.ca.plan(name, ISSUE, self.does[what])
            if "issue" not in self.does[what]:
                self.vain.add(name)

    def mistake(self, what, leaf, chain):
        path = os.path.join(self.ca.state, "mistake.pem")
        with open(path, "w", encoding="ascii") as file:
            file.write("".join([leaf, *chain]))
        self.ca.plan(self.name, ISSUE, f"issue > /dev/null; cat {path}; exit 0")


WAYS = {"est": Est, "scep": Scep, "cmp": Cmp, "acme": Acme, "vault": Vault, "ejbca": Ejbca, "ejbca finalize": Finalize,
        "stepca": Stepca, "exec": Exec}
