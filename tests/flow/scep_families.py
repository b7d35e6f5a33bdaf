"""Rows of flow_scep_conformance.py: what profiles do for families of devices, and for their old algorithms."""
import os
import re

import der
from gateway import run
from scep_wire import FAIL_TEXT, CertRep, Party, Wire, post


def add_profile(gw, name, text):
    """A profile like default but for these lines, over SCEP alone."""
    with open(gw.conf, encoding="utf-8") as file:
        conf = file.read()
    profile = re.search(r"^  default:\n(?:    .*\n|\n)*", conf, re.M)[0].replace("  default:", f"  {name}:", 1)
    keys = ["est", *(line.split(":")[0] for line in text.splitlines())]
    profile = re.sub(rf"^    (?:{'|'.join(keys)}): .*\n", "", profile, flags=re.M)
    with open(gw.conf, "w", encoding="utf-8") as file:
        file.write(conf.rstrip("\n") + "\n" + profile + "".join(f"    {line}\n" for line in text.splitlines()))


class Families(Wire):
    """Profiles that name the family of their devices."""

    @classmethod
    def configure(cls, gw):
        for name, more in (("cisco-vpn", ""), ("juniper", ", legacy: des3-sha1"), ("windows", ", legacy: des3-sha1"),
                           ("apple", ", root: exclude"), ("cisco-ios", ", legacy: des-md5")):
            add_profile(gw, name, f"scep: {{paths: [/scep/{name}], ra: [main], client: {name}{more}}}")

    def url(self, name):
        return self.gw.scep_url.replace("default", name)

    def ask(self, name, *words, secret=None):
        """The reply to a PKCSReq at the profile."""
        secret = secret or self.gw.cli("challenge", "create", "--profile", name).stdout.decode().strip()
        self.gw.secrets.append(secret)
        self.device.csr(f"/CN={name}-{os.urandom(4).hex()}", secret)
        return self.device.forge("csr=csr.der", f"txn={os.urandom(8).hex()}", "reply=reply.der", *words, url=self.url(name))

    def test_chain(self):
        """Cisco's VPN client wants its CA in the CertRep, behind the leaf; Juniper rejects one: each gets its own (quirk 5)"""
        for name, count in (("cisco-vpn", "2"), ("juniper", "1"), ("default", "1")):
            answer = self.ask(name)
            self.assertEqual((answer.outcome, answer["certs"], answer["first"][:-9]), ("SUCCESS", count, f"CN={name}"))

    def test_fail_text(self):
        """3.2.1.4 failInfoText is a UTF8String; clients of the drafts' time hear none"""
        for name in ("default", "apple", "juniper"):
            self.assertEqual(self.ask(name, secret="NOTACHALLENGE2222222").outcome, "badRequest")
            values = CertRep(self.device.load("reply.der")).values
            self.assertEqual([value.tag for value in values.get(FAIL_TEXT, [])], [der.UTF8] if name == "default" else [], name)

    def test_windows(self):
        """2.3, Windows: the signer's key MUST be the CSR's, but for Windows in a profile that names it"""
        other = Party(self.gw, "other", "/CN=SCEP Protocol Certificate")
        signed = (f"signer={other.path('cert.pem')}", f"key={other.path('key.pem')}")
        for name, outcome in (("windows", "SUCCESS"), ("default", "badRequest"), ("apple", "badRequest")):
            self.assertEqual(self.ask(name, *signed).outcome, outcome, name)

    def test_root(self):
        """OpenXPKI #73, step-ca #1723: GetCACert is RA, issuing CA, root, in this order; a profile may leave the root out (quirks
        12 and 31)"""
        wanted = [run("openssl", "x509", "-in", self.gw.path(path), "-outform", "DER").stdout
                  for path in ("ra/ra.pem", "ca/issuing.pem", "ca/root.pem")]
        for name, count in (("default", 3), ("apple", 2)):
            status, kind, body = self.get("operation=GetCACert", f"/scep/{name}")
            self.assertEqual((status, kind), (200, "application/x-x509-ca-ra-cert"))
            self.assertEqual(self.degenerate(body), wanted[:count])

    def test_des(self):
        """2.9, old Cisco IOS: single DES and MD5 MUST NOT be supported, but where a profile asks for it, mirrored and logged
        (quirks 2 and 32)"""
        for digest, cipher, oids in (("md5", "des", ("1.2.840.113549.2.5", "1.3.14.3.2.7")),
                                     ("sha1", "des3", ("1.3.14.3.2.26", "1.2.840.113549.3.7"))):
            count = rf'scepter_scep_legacy_total\{{algorithms="{digest} {cipher}"'
            before = self.gw.metric(count)
            secret = self.gw.cli("challenge", "create", "--profile", "cisco-ios").stdout.decode().strip()
            self.gw.scep_client("--url", self.url("cisco-ios"), "--subject", f"/CN={digest}", "--digest", digest, "--cipher",
                                cipher, "--no-send", "--save-request", "request.der", secret=secret, cwd=self.device.dir)
            reply = CertRep(post(self.gw, self.device.load("request.der"), path="/scep/cisco-ios")[2])
            self.assertEqual(reply.outcome, "SUCCESS", self.gw.log()[-1500:])
            self.assertEqual((reply.signers[0][2][0].oid, reply.envelope[2][1][0].oid), oids)
            self.assertEqual(self.gw.metric(count), before + 1)
        for name in ("default", "cisco-vpn"):
            self.assertEqual(self.ask(name, "digest=MD5").outcome, "badAlg")
