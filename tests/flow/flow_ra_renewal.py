"""RAs that renew themselves: before their end, through any crash, and with an alarm where it does not work."""
import os
import re
import signal
import stat
import time
import unittest

from debug import DebugPage
from gateway import FlowTest, run, text

DAY = 86400
BOUNDARIES = ("ra-key", "prepared", "ordered", "answered", "recorded", "written", "ra-issued", "ra-kept", "ra-written")


class Renewal(FlowTest):
    upstream = "local"
    first, file, place, name = "ra/ra.pem", "ra/renewed.pem", 0, "main"  # the pair that is renewed, and where it is told

    @classmethod
    def configure(cls, gw):
        cls.page = DebugPage(os.path.join(gw.top, "page"))
        gw.env = cls.page.env
        gw.edit(r"^  main: \{certificate: ra/ra.pem, key: ra/ra.key\}$",
                f"  main:\n{cls.pairs(gw)}"
                f"    renew: {{upstream: {cls.upstream}, trust: [ca/root.pem], file: ra/renewed.pem, before: 30d}}")

    @classmethod
    def pairs(cls, gw):
        """The pairs of the RA, as the configuration has them."""
        return "    certificate: ra/ra.pem\n    key: ra/ra.key\n"

    def days_left(self, pem):
        """Days from now to the end of a certificate."""
        end = text("openssl", "x509", "-in", pem, "-noout", "-enddate").strip().removeprefix("notAfter=")
        return int((time.mktime(time.strptime(end, "%b %d %H:%M:%S %Y GMT")) - time.timezone - time.time()) / DAY)

    def go_to(self, pem, days, seconds=0):
        """Moves the clock to so many days before the end of a certificate, and some seconds more."""
        self.page.shift_clock((self.days_left(pem) - days) * DAY + seconds)

    def wait_for(self, true):
        end = time.monotonic() + 60
        while not true():
            self.assertLess(time.monotonic(), end, self.gw.log()[-4000:])
            time.sleep(0.05)

    def told(self):
        """SHA-256 of the pair's certificate that devices are told."""
        run("curl", "-sf", "-o", "bag.der", f"{self.gw.scep_url}?operation=GetCACert", cwd=self.gw.top)
        bag = text("openssl", "pkcs7", "-inform", "DER", "-in", "bag.der", "-print_certs", cwd=self.gw.top)
        with open(os.path.join(self.gw.top, "told.pem"), "w", encoding="ascii") as file:
            file.write(re.findall(r"-----BEGIN.*?-----END CERTIFICATE-----\n", bag, re.S)[self.place])
        return self.fingerprint(os.path.join(self.gw.top, "told.pem"))

    def fingerprint(self, pem):
        return text("openssl", "x509", "-in", pem, "-noout", "-fingerprint", "-sha256").strip()

    def own_certs(self):
        return self.gw.certs("--profile", f"ra:{self.name}")

    def enroll(self, name, ra):
        """A device that knows this RA alone."""
        env = {**os.environ, **self.gw.env}  # a challenge lives by the clock that was moved
        secret = self.gw.cli("challenge", "create", "--profile", "default", env=env).stdout.decode().strip()
        self.gw.secrets.append(secret)
        self.gw.scep_client("--subject", f"/CN={name}", "--recipient", ra, secret=secret)

    def assert_in_force(self, before=None):
        """The renewed pair is told, another than that of `before`, whole and closed to others; nothing is left beside it but the
        pair before."""
        renewed = self.gw.path(self.file)
        self.wait_for(lambda: os.path.exists(renewed) and self.fingerprint(renewed) != before and
                      self.told() == self.fingerprint(renewed))
        self.assertEqual(stat.S_IMODE(os.stat(renewed).st_mode), 0o600)
        self.assertEqual(text("openssl", "x509", "-in", renewed, "-noout", "-pubkey"),
                         text("openssl", "pkey", "-in", renewed, "-pubout"))
        self.wait_for(lambda: not os.path.exists(renewed + ".key"))
        self.assertNotIn("Extended Key Usage", text("openssl", "x509", "-in", renewed, "-noout", "-text"))  # as before
        return renewed


class Split:
    """An RA of two pairs."""

    @classmethod
    def pairs(cls, gw):
        for name, usage, days in (("sign", "digitalSignature", cls.days[0]), ("encrypt", "keyEncipherment", cls.days[1])):
            run("openssl", "req", "-new", "-newkey", "rsa:2048", "-noenc", "-subj", f"/CN=RA that does {name}", "-keyout",
                f"{name}.key", "-out", f"{name}.csr", cwd=gw.path("ra"))
            with open(gw.path(f"ra/{name}.ext"), "w", encoding="ascii") as file:
                file.write(f"keyUsage=critical,{usage}\nbasicConstraints=critical,CA:FALSE\n")
            run("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "../ca/issuing.pem", "-CAkey", "../ca/issuing.key",
                "-days", days, "-extfile", f"{name}.ext", "-out", f"{name}.pem", cwd=gw.path("ra"))
            os.chmod(gw.path(f"ra/{name}.key"), 0o600)
        return ("    certificate: ra/sign.pem\n    key: ra/sign.key\n"
                "    encryption: {certificate: ra/encrypt.pem, key: ra/encrypt.key}\n")


class Encryption(Split):
    """Its second pair ends long before the first one."""
    first, file, place, name, days = "ra/encrypt.pem", "ra/renewed.pem.encryption", 1, "main:encryption", (1800, 365)


class Renews(Renewal):
    def test_twice(self):
        """Not before it is due; then once, without a signal; the old pair goes on decrypting, and so do both before it after
        the next renewal. It is in the inventory and in the audit trail, and the operator's edits wait for his reload."""
        first = self.gw.path(self.first)
        self.go_to(first, 31)
        time.sleep(2.5)
        self.assertEqual(self.own_certs(), [])
        self.assertEqual(self.gw.metric(rf'^scepter_ra_renewal_failing\{{ra="{self.name}"\}}'), 0)
        self.gw.edit("same_key: allow", "same_key: nonsense")
        self.go_to(first, 29)
        renewed = self.assert_in_force()
        self.gw.edit("same_key: nonsense", "same_key: allow")
        self.assertEqual(len(self.own_certs()), 1)
        self.assertEqual(text("openssl", "x509", "-in", renewed, "-noout", "-subject"),
                         text("openssl", "x509", "-in", first, "-noout", "-subject"))
        self.assertEqual(text("openssl", "x509", "-in", renewed, "-noout", "-ext", "keyUsage"),
                         text("openssl", "x509", "-in", first, "-noout", "-ext", "keyUsage"))
        for number, ra in enumerate((first, renewed)):
            self.enroll(f"twice-{number}", ra)
        time.sleep(2.5)
        self.assertEqual(len(self.own_certs()), 1)

        second = os.path.join(self.gw.top, "second.pem")
        with open(second, "w", encoding="ascii") as file:
            file.write(text("openssl", "x509", "-in", renewed))
        self.go_to(renewed, 29)
        self.wait_for(lambda: len(self.own_certs()) == 2)
        self.assert_in_force(self.fingerprint(second))
        self.assertEqual(self.fingerprint(renewed + ".before"), self.fingerprint(second))
        for number, ra in enumerate((first, second, renewed)):
            self.enroll(f"more-{number}", ra)
        audit = text("grep", "-c", "event=ra-renewed", self.gw.log_path).strip()
        self.assertEqual(audit, "2")
        self.gw.cli("audit", "verify")
        self.assertNotIn("ra-renewal", self.gw.log())
        self.gw.stop()
        self.gw.start()
        self.assertEqual(self.told(), self.fingerprint(renewed))


class Crashes(Renewal):
    def test_boundaries(self):
        """Killed at each step, it ends with one new certificate, its key, and nothing twice."""
        pem = self.gw.path(self.first)
        for number, boundary in enumerate(BOUNDARIES):
            with self.subTest(boundary):
                before = self.fingerprint(pem)
                self.page.stop_at(boundary)
                self.go_to(pem, 29)
                self.assertEqual(self.gw.process.wait(60), -signal.SIGKILL, boundary)
                self.gw.process = None
                self.page.stop_at()
                self.gw.start()
                self.wait_for(lambda: len(self.own_certs()) == number + 1)
                pem = self.assert_in_force(before)
                self.enroll(f"crash-{number}", pem)
                self.assertEqual(len(self.own_certs()), number + 1)
                self.assertEqual([r for r in self.gw.requests() if r["state"] != "issued"], [])


class RenewsEncryption(Encryption, Renews):
    """The same of the pair that decrypts, while the one that signs is far from its end."""

    def tearDown(self):
        super().tearDown()
        self.assertFalse(os.path.exists(self.gw.path("ra/renewed.pem")))


class CrashesEncryption(Encryption, Crashes):
    """The same of the pair that decrypts."""


class RenewsBoth(Split, Renewal):
    days = (365, 365)

    def answered_by(self, work, name, recipient):
        """Subject and fingerprint of who signed the reply to what was encrypted to that certificate."""
        env = {**os.environ, **self.gw.env}
        secret = self.gw.cli("challenge", "create", "--profile", "default", env=env).stdout.decode().strip()
        self.gw.secrets.append(secret)
        self.gw.scep_client("--subject", f"/CN={name}", "--recipient", recipient, "--save-request", "request", "--no-send",
                            secret=secret, cwd=work)
        run("curl", "-sf", "--data-binary", "@request", "-o", "reply", f"{self.gw.scep_url}?operation=PKIOperation", cwd=work)
        run("openssl", "cms", "-verify", "-inform", "DER", "-in", "reply", "-noverify", "-signer", "signer.pem", "-out",
            os.devnull, cwd=work)
        return self.fingerprint(os.path.join(work, "signer.pem"))

    def test_both(self):
        """Both are renewed, each with its keyUsage, and told together. A device that knows the two before is understood and
        answered by the one that it knows; after a restart, too."""
        work = self.gw.work("both")
        files = {"sign": self.gw.path("ra/renewed.pem"), "encrypt": self.gw.path("ra/renewed.pem.encryption")}
        self.go_to(self.gw.path("ra/sign.pem"), 29)
        self.assert_in_force()
        self.place, self.file, self.name = 1, "ra/renewed.pem.encryption", "main:encryption"
        self.assert_in_force()
        self.assertEqual(len(self.own_certs()), 1)
        for name, usage in (("sign", "Digital Signature"), ("encrypt", "Key Encipherment")):
            shown = text("openssl", "x509", "-in", files[name], "-noout", "-subject", "-ext", "keyUsage")
            self.assertIn(f"RA that does {name}\n", shown)
            self.assertEqual(shown.rstrip().splitlines()[-1].strip(), usage)
        for round_number in range(2):
            for era, pair in (("old", {name: self.gw.path(f"ra/{name}.pem") for name in files}), ("new", files)):
                self.assertEqual(self.answered_by(work, f"{era}-{round_number}", pair["encrypt"]),
                                 self.fingerprint(pair["sign"]))
            if not round_number:
                self.gw.stop()
                self.gw.start()
        self.gw.cli("audit", "verify")


class Fails(Renewal):
    upstream = "dead"

    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        gw.edit(r"^upstreams:.*$", lambda found: f"{found[0]}\n  dead: {{type: exec, command: [/bin/false]}}")

    def test_alarm(self):
        """A CA that never answers has ten minutes; then there is a warning, one a day, and the gauge says 1. The gateway stays
        ready and serves, and one key waits beside the file."""
        pem = self.gw.path("ra/ra.pem")
        self.go_to(pem, 29)
        self.wait_for(lambda: os.path.exists(self.gw.path("ra/renewed.pem.key")))
        time.sleep(3)
        self.assertEqual(self.warnings(), 0)
        self.go_to(pem, 29, 540)
        time.sleep(3)
        self.assertEqual(self.warnings(), 0)
        for warned, (days, seconds) in enumerate(((29, 640), (27, 0), (26, 0)), 1):
            self.go_to(pem, days, seconds)
            self.wait_for(lambda count=warned: self.warnings() == count)
            self.assertEqual(self.gw.metric(r'^scepter_ra_renewal_failing\{ra="main"\}'), 1)
        time.sleep(2)
        self.assertEqual(self.warnings(), 3)
        self.assertEqual(self.gw.admin("/readyz")[0], 200)
        self.enroll("served", pem)
        self.gw.cli("check")
        self.assertFalse(os.path.exists(self.gw.path("ra/renewed.pem")))
        self.assertEqual(stat.S_IMODE(os.stat(self.gw.path("ra/renewed.pem.key")).st_mode), 0o600)

    def warnings(self):
        return len(re.findall(r"level=warn event=ra-renewal ", self.gw.log()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
