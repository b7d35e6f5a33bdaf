"""The recipes of docs/devices.md: each is loaded as it stands, serves, and lets in what it says."""
import os
import re
import unittest

from gateway import FlowTest, run, text
from scep_families import add_profile
from scep_wire import Party

DOCUMENT = os.path.join(os.path.dirname(__file__), "../../docs/devices.md")
RECIPES = ("cisco-ios", "cisco-vpn", "juniper", "globalprotect", "mikrotik", "sscep", "apple", "windows", "ndes-paths")


def snippets():
    """Name and text of each."""
    with open(DOCUMENT, encoding="utf-8") as file:
        return dict(re.findall(r"<!-- snippet: (\S+) -->\n```\w+\n(.*?)^```$", file.read(), re.S | re.M))


class Devices(FlowTest):
    """A profile for each recipe, all in one configuration."""

    @classmethod
    def configure(cls, gw):
        with open(os.open(gw.path("secrets"), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write("FIXEDSECRET234567890\n")
        gw.secrets.append("FIXEDSECRET234567890")
        cls.snippets = snippets()
        cls.paths = {}
        for name in RECIPES:
            recipe = cls.snippets[name + ".yaml"]
            cls.paths[name] = re.search(r"paths: \[(.*?)\]", recipe)[1]
            add_profile(gw, name, recipe)
        run("sh", "-e", "-c", cls.snippets["windows-ra.sh"], cwd=gw.dir)
        gw.edit(r"^ra:.*$", r"\g<0>\n  windows: {certificate: ra/windows.pem, key: ra/windows.key}")
        gw.edit(r"ra: \[main\], client: windows", "ra: [windows, main], client: windows")

    def url(self, name):
        return f"http://127.0.0.1:{self.gw.scep_port}{self.paths[name]}"

    def test_all(self):
        """No recipe of the page is left out here; scepter check has no fault to find; each path answers."""
        self.assertEqual(sorted(self.snippets), sorted([f"{name}.yaml" for name in RECIPES] + ["windows-ra.sh"]))
        self.gw.cli("check")
        for name in RECIPES:
            for path in ("", "/pkiclient.exe"):
                caps = text("curl", "-sf", f"{self.url(name)}{path}?operation=GetCACaps&message=x").split()
                self.assertIn("Renewal", caps)
                self.assertEqual("DES3" in caps, "legacy" in self.snippets[name + ".yaml"], name)

    def enroll(self, name, *words):
        """One device of the profile; what scep_forge says of the reply."""
        party = Party(self.gw, "device-" + name)
        secret = "FIXEDSECRET234567890"
        if "fixed" not in self.snippets[name + ".yaml"]:
            secret = self.gw.cli("challenge", "create", "--profile", name).stdout.decode().strip()
        self.gw.secrets.append(secret)
        party.csr(f"/CN=device-{name}", secret)
        return party.forge("csr=csr.der", f"txn={name}", *words, url=self.url(name))

    def test_enroll(self):
        """A device of each profile enrolls; the reply has the CA where that is wanted, and nowhere else."""
        for name in RECIPES:
            answer = self.enroll(name)
            self.assertEqual((answer.outcome, answer["first"]), ("SUCCESS", f"CN=device-{name}"), answer.line)
            self.assertEqual(answer["certs"], "2" if name == "cisco-vpn" else "1", name)

    def test_old_algorithms(self):
        """3DES and SHA-1 pass in the profiles that say so and are mirrored; the others say badAlg."""
        for name in RECIPES:
            answer = self.enroll(name, "cipher=DES-EDE3-CBC", "digest=SHA1")
            if "legacy" in self.snippets[name + ".yaml"]:
                self.assertEqual((answer.outcome, answer["cipher"], answer["digest"]), ("SUCCESS", "DES-EDE3-CBC", "SHA1"), name)
            else:
                self.assertEqual(answer.outcome, "badAlg", name)

    def test_other_signer(self):
        """A message that is signed with another key than its CSR's passes in the profile for Windows alone."""
        for name in RECIPES:
            signer = Party(self.gw, "signer-" + name, "/CN=SCEP Protocol Certificate")
            answer = self.enroll(name, f"signer={signer.path('cert.pem')}", f"key={signer.path('key.pem')}")
            self.assertEqual(answer.outcome, "SUCCESS" if name == "windows" else "badRequest", name)

    def test_windows_ra(self):
        """What Windows is told has the usages that it looks for."""
        work = self.gw.work("told")
        run("curl", "-sf", "-o", "bag.der", f"{self.url('windows')}?operation=GetCACert", cwd=work)
        bag = text("openssl", "pkcs7", "-inform", "DER", "-in", "bag.der", "-print_certs", cwd=work)
        first = text("openssl", "x509", "-noout", "-ext", "keyUsage,extendedKeyUsage", input=bag.encode())
        for usage in ("Digital Signature", "Key Encipherment", "TLS Web Server Authentication"):
            self.assertIn(usage, first)


class Warned(FlowTest):
    """A profile for Windows with an RA that it refuses."""

    @classmethod
    def configure(cls, gw):
        add_profile(gw, "windows", snippets()["windows.yaml"])

    def test_warned(self):
        """scepter check tells what Windows misses, with the line, and has no fault to find; serve has it in the log."""
        checked = self.gw.cli("check")
        self.assertRegex(checked.stderr.decode(), r"scepter\.yaml:\d+:\d+: profiles\.windows\.scep\.ra: warning: main has neither")
        self.assertEqual(checked.stderr.count(b"\n"), 1, checked.stderr)
        self.assertIn(b": ok", checked.stdout)
        self.gw.log_line("level=warn", "event=configuration", "main has neither serverAuth")


if __name__ == "__main__":
    unittest.main(verbosity=2)
