"""Every door against every kind of upstream CA: enrollment and renewal, printed as a table."""
import base64
import os
import unittest

from flow_upstream_est import EstCa
from flow_upstream_exec import LocalSubmit
from flow_upstream_scep import ScepServer, SecondGateway
from gateway import Gateway, run


class Local:
    """The CA whose key the gateway holds."""

    def configure(self, gw, more=""):
        self.root, self.chain = gw.root, gw.path("ca/issuing.pem")

    def close(self):
        pass


def by_scep(gw, work, name, old=None):
    """The project's own client over SCEP."""
    pem, key = os.path.join(work, f"{name}.pem"), os.path.join(work, f"{name}.key")
    flags = ["--renew", *old] if old else []
    gw.scep_client("--subject", "/CN=device-by-scep", "--key-out", key, "--out", pem, *flags,
                   secret=None if old else gw.challenge())
    return pem, key


def by_est(gw, work, name, old=None):
    """openssl and curl over EST."""
    pem, key = os.path.join(work, f"{name}.pem"), os.path.join(work, f"{name}.key")
    run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", "/CN=device-by-est", "-outform", "DER",
        "-out", "csr.der", cwd=work)
    with open(os.path.join(work, "csr.der"), "rb") as file:
        body = base64.encodebytes(file.read())
    proof = ["--cert", old[0], "--key", old[1]] if old else ["--user", f"device:{gw.challenge()}"]
    reply = run("curl", "-sS", "--fail", "--cacert", gw.root, *proof, "--data-binary", "@-", "-H", "Content-Type: application/pkcs10",
                f"{gw.est_url}/{'simplereenroll' if old else 'simpleenroll'}", input=body)
    with open(os.path.join(work, "p7"), "wb") as file:
        file.write(base64.b64decode(reply.stdout))
    run("openssl", "pkcs7", "-inform", "DER", "-in", "p7", "-print_certs", "-out", pem, cwd=work)
    return pem, key


CAS = {"local": Local, "est": EstCa, "scep (gateway)": SecondGateway, "scep (scepserver)": ScepServer, "exec": LocalSubmit}
DOORS = {"SCEP": by_scep, "EST": by_est}


class Matrix(unittest.TestCase):
    def test_matrix(self):
        """A device enrolls and renews by each door at each kind of CA; the certificates are the CA's."""
        rows = []
        for kind, make_ca in CAS.items():
            gw, ca = Gateway(), make_ca()
            try:
                ca.configure(gw)
                gw.start()
                cells = [self.enroll_and_renew(gw, ca, door) for door in DOORS]
            finally:
                ca.close()
                gw.close()
            rows.append(f"{kind:20} " + " ".join(f"{cell:18}" for cell in cells))
        print("\n" + " " * 21 + " ".join(f"{door:18}" for door in DOORS) + "\n" + "\n".join(rows), flush=True)

    def enroll_and_renew(self, gw, ca, door):
        with self.subTest(ca=type(ca).__name__, door=door):
            work = gw.work(f"matrix-{door}")
            first = DOORS[door](gw, work, "first")
            second = DOORS[door](gw, work, "second", first)
            serials = set()
            for pem, _ in (first, second):
                run("openssl", "verify", "-CAfile", ca.root, "-untrusted", ca.chain, pem)
                serials.add(run("openssl", "x509", "-in", pem, "-noout", "-serial").stdout)
            self.assertEqual(len(serials), 2)
            mine = [c for c in gw.certs() if c["subject"] == f"CN=device-by-{door.lower()}"]
            self.assertEqual(len(mine), 2)
            self.assertEqual(sum(bool(c.get("replaced_by")) for c in mine), 1)
            return "enrolls, renews"
        return "FAILS"


if __name__ == "__main__":
    unittest.main(verbosity=2)
