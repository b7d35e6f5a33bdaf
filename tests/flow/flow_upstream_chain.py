"""What CAs tell of themselves: a certificate that does not chain to the profile's trust is told to no device."""
import os
import unittest

from flow_upstream_ejbca import EjbcaCa
from flow_upstream_stepca import StepCa
from flow_upstream_vault import VaultCa
from gateway import run
from upstream import PATIENT, UpstreamTest


class PlantedTest(UpstreamTest):
    """The CA, or who speaks for it, plants two roots in its chain: a stranger's, and one with the name of the real root."""

    limits = PATIENT

    @classmethod
    def planted_ca(cls):
        """A CA whose double answers with more certificates than it has."""
        ca = cls.kind()
        folder = ca.ca.dir
        planted = []
        for name, subject in (("stranger", "/CN=stranger"), ("impostor", "/O=Double/CN=root")):
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                f"{name}.key", "-out", f"{name}.pem", "-days", 30, "-subj", subject, cwd=folder)
            planted.append(ca.ca.text(f"{name}.pem"))
        honest = ca.double.answer

        def answer(*words):
            status, reply = honest(*words)
            cls.plant(ca.double, reply or {}, planted)
            return status, reply
        ca.double.answer = answer
        return ca

    @classmethod
    def make_ca(cls):
        return cls.planted_ca()

    def told(self, name, *curl):
        """The certificates in what a door answers, as DER in hex."""
        path = os.path.join(self.work, name)
        run("curl", "-sSf", "-o", path, *curl)
        with open(path, "rb") as file:
            data = file.read()
        if not data.startswith(b"\x30"):
            run("openssl", "base64", "-d", "-in", path, "-out", path + ".der")
            path += ".der"
        text = run("openssl", "pkcs7", "-inform", "DER", "-in", path, "-print_certs").stdout.decode()
        blocks = [f"-----BEGIN CERTIFICATE-----{b.split('-----END')[0]}-----END CERTIFICATE-----\n"
                  for b in text.split("-----BEGIN CERTIFICATE-----")[1:]]
        return {self.print_of(block) for block in blocks}

    @staticmethod
    def print_of(pem):
        return run("openssl", "x509", "-noout", "-fingerprint", "-sha256", input=pem.encode()).stdout.decode().strip()

    def check_told(self):
        self.enroll("device")
        self.verify("device")
        known = {self.print_of(self.ca.ca.text(f"{name}.pem")) for name in ("root", "issuing")}
        est = self.told("cacerts", "--cacert", self.gw.root, f"{self.gw.est_url}/cacerts")
        self.assertEqual(est, known)
        scep = self.told("getcacert", f"{self.gw.scep_url}?operation=GetCACert")
        with open(self.gw.path("ra/ra.pem"), encoding="ascii") as file:
            ra = self.print_of(file.read())
        self.assertEqual(scep - {ra}, known)
        for operation in ("GetCACert", "cacerts"):
            self.assertIn("left out", self.gw.log_line(f'operation="{operation}"', 'outcome="answered"', "does not chain to trust"))


class Vault(PlantedTest):
    kind = VaultCa

    @staticmethod
    def plant(_, reply, planted):
        if "ca_chain" in (reply.get("data") or {}):
            reply["data"]["ca_chain"] += planted

    def test_told(self):
        """By the issuer's page of Vault."""
        self.check_told()


class Ejbca(PlantedTest):
    class kind(EjbcaCa):
        def configure(self, gw, more=""):
            super().configure(gw, more)
            gw.edit(rf"chain: \[{self.chain}, {self.root}\]", f"chain: [{self.root}]")

    @staticmethod
    def plant(double, reply, planted):
        if reply.get("certificate_chain"):
            reply["certificate_chain"] += [double.der(pem) for pem in planted]

    def test_told(self):
        """By the chain that EJBCA sends along with a certificate."""
        self.check_told()


class Stepca(PlantedTest):
    kind = StepCa

    @staticmethod
    def plant(_, reply, planted):
        if "crts" in reply:
            reply["crts"] += planted

    def test_told(self):
        """By step-ca's list of roots."""
        self.check_told()


class Unknown(PlantedTest):
    """Nothing of the chain is trusted."""

    kind = StepCa

    @staticmethod
    def plant(double, reply, planted):
        if "crts" in reply:
            reply["crts"] = list(planted)

    def knows_ca(self):
        return "chains to the trust of" in self.gw.log() or super().knows_ca()

    def test_told(self):
        """Then a device is told nothing, rather than a stranger's root, and the operator reads why."""
        for url in (f"{self.gw.scep_url}?operation=GetCACert", f"{self.gw.est_url}/cacerts"):
            code = run("curl", "-sS", "--cacert", self.gw.root, "-o", "/dev/null", "-w", "%{http_code}", url).stdout
            self.assertRegex(code.decode(), "^5")


if __name__ == "__main__":
    unittest.main(verbosity=2)
