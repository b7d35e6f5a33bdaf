"""Devices that know nothing but old algorithms: served only where a profile says so, and each use shows."""
import unittest
import urllib.request

from gateway import FlowTest


class Legacy(FlowTest):
    """The default profile takes everything old, and a second one nothing."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"scep: \{paths: \[/scep/default, /cgi-bin/pkiclient.exe\]", "scep: {legacy: des-md5, paths: [/scep/default]")
        with open(gw.conf, encoding="utf-8") as file:
            text = file.read()
        profile = text[text.index("  default:"):]
        modern = profile.replace("  default:", "  modern:", 1).replace("/scep/default", "/scep/modern").replace(
            "legacy: des-md5, ", "")
        modern = modern[:modern.index("    est:")] if "    est:" in modern else modern
        with open(gw.conf, "w", encoding="utf-8") as file:
            file.write(text.rstrip("\n") + "\n" + modern)

    def caps(self, profile):
        with urllib.request.urlopen(self.gw.scep_url.replace("default", profile) + "?operation=GetCACaps", timeout=60) as reply:
            return reply.read().decode().split()

    def use(self, algorithms):
        return self.gw.metric(rf'scepter_scep_legacy_total\{{algorithms="{algorithms}"')

    def test_old_and_new(self):
        """Single DES with MD5 and 3DES with SHA-1 are mirrored, logged and counted; AES with SHA-256 beside them is not (quirk 2)."""
        for digest, cipher, words in (("md5", "des", "md5 des"), ("sha1", "des3", "sha1 des3"), ("sha1", "aes128", "sha1"),
                                      ("sha256", "aes128", None)):
            before = self.use(words) if words else self.use("[^\"]*")
            self.gw.scep_client("--subject", f"/CN=old-{digest}-{cipher}", "--digest", digest, "--cipher", cipher,
                                secret=self.gw.challenge())
            line = self.gw.log_line(f"old-{digest}-{cipher}", "PKCSReq")
            after = self.use(words) if words else self.use("[^\"]*")
            self.assertEqual(after - before, 1 if words else 0)
            if words:
                self.assertRegex(line, rf'legacy="?{words}"?')
            else:
                self.assertNotIn("legacy=", line)

    def test_other_profile(self):
        """The same process refuses all of it in a profile that does not ask for it, and does not offer it."""
        self.assertIn("SHA-1", self.caps("default"))
        self.assertNotIn("SHA-1", self.caps("modern"))
        self.assertNotIn("DES3", self.caps("modern"))
        url = self.gw.scep_url.replace("default", "modern")
        for digest, cipher in (("md5", "des"), ("sha1", "aes128"), ("sha256", "des3"), ("sha256", "des")):
            refused = self.gw.scep_client("--url", url, "--subject", "/CN=old-1", "--digest", digest, "--cipher", cipher,
                                          secret="WHATEVERWHATEVER2345", check=False)
            self.assertIn(b"status=FAILURE fail=badAlg", refused.stdout, (digest, cipher))


if __name__ == "__main__":
    unittest.main()
