"""The recipes of docs/devices.md: each is loaded as it stands, serves, and lets in what it says."""
import os
import re
import subprocess
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
        gw.secret_file("secrets", "FIXEDSECRET234567890\n", "FIXEDSECRET234567890")
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
        """No recipe of the page is left out here; scepter check has no fault to find; each path answers (quirk 7)."""
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
        """3DES and SHA-1 pass in the profiles that say so and are mirrored; the others say badAlg (quirk 6)."""
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
        """What Windows is told has the usages that it looks for (quirk 18)."""
        work = self.gw.work("told")
        run("curl", "-sf", "-o", "bag.der", f"{self.url('windows')}?operation=GetCACert", cwd=work)
        bag = text("openssl", "pkcs7", "-inform", "DER", "-in", "bag.der", "-print_certs", cwd=work)
        first = text("openssl", "x509", "-noout", "-ext", "keyUsage,extendedKeyUsage", input=bag.encode())
        for usage in ("Digital Signature", "Key Encipherment", "TLS Web Server Authentication"):
            self.assertIn(usage, first)


class Quirks(FlowTest):
    """What is told of clients that need no recipe, or that none helps."""

    def test_chromeos(self):
        """ChromeOS (smallstep/certificates #908): a message whose digest does not match is refused, for who signed it cannot be
        told; the challenge in it is left, and the log says why."""
        device, secret = Party(self.gw, "chromeos"), self.gw.challenge()
        device.csr("/CN=chromeos", secret)
        self.assertEqual(device.forge("csr=csr.der", "txn=chromeos-1", "wrong_digest=1").outcome, "badMessageCheck")
        self.gw.log_line('transaction="chromeos-1"', 'reason="bad-message"', "content verify error")
        self.assertEqual([c for c in self.gw.certs() if c["subject"] == "CN=chromeos"], [])
        self.assertEqual(device.forge("csr=csr.der", "txn=chromeos-2").outcome, "SUCCESS")

    def test_long_challenge(self):
        """Windows with Intune: a challenge of several KiB is read. Nobody here knows it, so it lets in nobody; nor is it in the
        way of who renews by his certificate."""
        device, secret = Party(self.gw, "intune"), "INTUNE7" * 700
        device.csr("/CN=intune", secret)
        self.assertEqual(device.forge("csr=csr.der", "txn=intune-1").outcome, "badRequest")
        self.gw.log_line('transaction="intune-1"', 'reason="bad-challenge"', "the profile knows no such challenge")
        issued = device.enroll("/CN=intune")
        device.csr("/CN=intune", secret)
        self.assertEqual(device.forge("csr=csr.der", "txn=intune-2", f"signer={issued}").outcome, "SUCCESS")

    def test_polycom(self):
        """Polycom: RSA keys of 2048 bits at most, also those that it is told by GetCACert: what init makes has them."""
        work = self.gw.work("polycom")
        run("curl", "-sf", "-o", "bag.der", f"{self.gw.scep_url}?operation=GetCACert", cwd=work)
        bag = text("openssl", "pkcs7", "-inform", "DER", "-in", "bag.der", "-print_certs", "-text", "-noout", cwd=work)
        self.assertEqual(re.findall(r"Public-Key: \((\d+) bit\)", bag), ["2048"] * 3)


class WindowsTls(FlowTest):
    """SCEP over HTTPS, as Windows speaks it."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"scep:  \[http:", "scep:  [https:")

    def s_client(self, lines, *flags):
        """What openssl shows of a connection on TLS 1.2, to its end."""
        with subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{self.gw.scep_port}", "-tls1_2", "-msg", *flags],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            process.stdin.write(lines)
            process.stdin.flush()
            return process.stdout.read().decode(errors="replace")

    def test_no_renegotiation(self):
        """Windows (0x80072f78): the server never renegotiates on TLS 1.2, whatever is asked on the connection, and who asks it
        to hears no."""
        asked = b"".join(b"GET /scep/default?operation=%s HTTP/1.1\r\nHost: x\r\n%s\r\n" % each for each in (
            (b"GetCACaps&message=default", b""), (b"GetCACert", b""), (b"GetCACaps", b"Connection: close\r\n")))
        shown = self.s_client(asked, "-nocommands")
        self.assertEqual(len(re.findall(r"HTTP/1\.1 200", shown)), 3, shown)
        self.assertEqual(len(re.findall(r"<<<.*, ServerHello$", shown, re.M)), 1, shown)
        self.assertNotIn("HelloRequest", shown)
        shown = self.s_client(b"R\n")
        self.assertIn("RENEGOTIATING", shown)
        self.assertRegex(shown, "no[ _]renegotiation")


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
