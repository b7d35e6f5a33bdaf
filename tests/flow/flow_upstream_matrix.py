"""Every door against every kind of upstream CA: enrollment and renewal by real clients, printed as a table."""
import base64
import glob
import os
import time
import unittest

from cas import CAS
from gateway import Gateway, run

PATIENCE = 120


def by_scep(gw, work, device, old=None):
    """strongSwan, which polls as often as it is told to wait."""
    end = time.monotonic() + PATIENCE
    while run("pki", "--scepca", "--url", gw.scep_url, "--caout", "ca.der", "--raout", "ra.der", "--force", cwd=work,
              check=False).returncode:
        assert time.monotonic() < end
        time.sleep(0.5)
    trust = [word for ca in sorted(glob.glob(os.path.join(work, "ca*.der"))) for word in ("--cacert", ca)]
    key, cert = (os.path.join(work, f"{'renewed' if old else 'enrolled'}.{what}") for what in ("key", "der"))
    with open(key, "wb") as file:
        file.write(run("pki", "--gen", "--type", "rsa", "--size", "2048").stdout)
    proof = ["--cert", old[0], "--key", old[1]] if old else ["--password", gw.challenge()]
    with open(cert, "wb") as file:
        file.write(run("pki", "--scep", "--url", gw.scep_url, "--in", key, "--cacert-enc", "ra.der", "--cacert-sig", "ra.der", *trust,
                       "--cipher", "aes", "--interval", "1", "--maxpolltime", PATIENCE, "--dn", f"CN={device}", "--san", device,
                       *proof, cwd=work, timeout=PATIENCE + 30).stdout)
    return cert, key


def by_est(gw, work, device, old=None):
    """openssl and curl, which asks again after 202."""
    key, cert = (os.path.join(work, f"{'renewed' if old else 'enrolled'}.{what}") for what in ("key", "pem"))
    run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", f"/CN={device}", "-addext",
        f"subjectAltName=DNS:{device}", "-outform", "DER", "-out", "csr.der", cwd=work)
    with open(os.path.join(work, "csr.der"), "rb") as file:
        body = base64.encodebytes(file.read())
    proof = ["--cert", old[0], "--key", old[1]] if old else ["--user", f"{device}:{gw.challenge()}"]
    end, status = time.monotonic() + PATIENCE, b"202"
    while status == b"202" and time.monotonic() < end:
        status = run("curl", "-sS", "--cacert", gw.root, *proof, "--data-binary", "@-", "-H", "Content-Type: application/pkcs10", "-o",
                     "p7", "-w", "%{http_code}", f"{gw.est_url}/{'simplereenroll' if old else 'simpleenroll'}", input=body,
                     cwd=work).stdout
        time.sleep(1 if status == b"202" else 0)
    assert status == b"200", status
    with open(os.path.join(work, "p7"), "rb") as file:
        run("openssl", "pkcs7", "-inform", "DER", "-print_certs", "-out", cert, input=base64.b64decode(file.read()))
    return cert, key


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
                cells = [self.enroll_and_renew(gw, ca, kind, door) for door in DOORS]
            finally:
                ca.close()
                gw.close()
            rows.append(f"{kind:20} " + " ".join(f"{cell:18}" for cell in cells))
        print("\n" + " " * 21 + " ".join(f"{door:18}" for door in DOORS) + "\n" + "\n".join(rows), flush=True)

    def enroll_and_renew(self, gw, ca, kind, door):
        with self.subTest(ca=kind, door=door):
            work, device = gw.work(f"matrix-{door}"), f"{door.lower()}.example.com"
            first = DOORS[door](gw, work, device)
            second = DOORS[door](gw, work, device, first)
            serials = set()
            for cert, _ in (first, second):
                run("openssl", "x509", "-in", cert, "-out", "one.pem", cwd=work)
                run("openssl", "verify", "-CAfile", ca.root, "-untrusted", ca.chain, "one.pem", cwd=work)
                serials.add(run("openssl", "x509", "-in", cert, "-noout", "-serial").stdout)
            self.assertEqual(len(serials), 2)
            mine = [c for c in gw.certs() if c["subject"] == f"CN={device}"]
            self.assertEqual(len(mine), 2)
            self.assertEqual(sum(bool(c.get("replaced_by")) for c in mine), 1)
            return "enrolls, renews"
        return "FAILS"


if __name__ == "__main__":
    unittest.main(verbosity=2)
