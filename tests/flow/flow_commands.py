"""The command line: init, check, cert, audit, version, and their exit codes."""
import json
import os
import sqlite3
import stat
import unittest

from gateway import SCEPTER, FlowTest, run, text

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Commands(FlowTest):
    def test_init(self):
        """RFC 8894 2.2: init makes the tree, keys that only the owner reads, and refuses a folder that is not empty."""
        for name in ("ca/root", "ca/issuing", "ra/ra", "tls/server", "operator/operator"):
            self.assertTrue(os.path.exists(self.gw.path(name + ".pem")))
            mode = os.stat(self.gw.path(name + ".key")).st_mode
            self.assertEqual(stat.S_IMODE(mode), 0o600, name)
        self.assertTrue(os.path.isdir(self.gw.path("state")))
        again = run(SCEPTER, "init", self.gw.dir, check=False)
        self.assertEqual(again.returncode, 1)
        self.assertIn(b"not empty", again.stderr)

    def test_usage(self):
        """Unknown commands and options are usage errors; help is not."""
        self.assertEqual(run(SCEPTER, check=False).returncode, 2)
        self.assertEqual(run(SCEPTER, "frobnicate", check=False).returncode, 2)
        self.assertEqual(run(SCEPTER, "check", "--nonsense", check=False).returncode, 2)
        self.assertEqual(run(SCEPTER, "--help").returncode, 0)

    def test_version(self):
        """version names OpenSSL, the kinds of store and the kinds of upstream."""
        shown = text(SCEPTER, "version")
        for word in ("scepter 0.1.0", "OpenSSL 3", "sqlite", "local"):
            self.assertIn(word, shown)

    def test_check(self):
        """check accepts what init made, prints every fault with its line and exits 1, and 1 for a missing file."""
        self.assertEqual(self.gw.cli("check").returncode, 0)
        broken = self.gw.path("broken.yaml")
        with open(self.gw.conf, encoding="utf-8") as file:
            lines = file.read().split("\n")
        lines.append("listne: {}")
        lines.append("limits: {body: many}")
        with open(broken, "w", encoding="utf-8") as file:
            file.write("\n".join(lines))
        result = run(SCEPTER, "check", "-c", broken, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"broken.yaml:{len(lines) - 1}:1: listne: ", result.stderr.decode())
        self.assertIn(f"broken.yaml:{len(lines)}:", result.stderr.decode())
        with open(self.gw.conf, encoding="utf-8") as file:
            text_ = file.read()
        with open(broken, "w", encoding="utf-8") as file:  # what the CA issues would be believed by no profile
            file.write(text_.replace("trust: [ca/root.pem]", "trust: [operator/operator.pem]"))
        result = run(SCEPTER, "check", "-c", broken, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"upstream local against the trust of profile default", result.stderr)
        self.assertEqual(run(SCEPTER, "check", "-c", self.gw.path("missing.yaml"), check=False).returncode, 1)

    def test_reference_is_current(self):
        """The committed reference page and JSON Schema are what the tables say."""
        for flag, name in (("--reference", "configuration.md"), ("--schema", "scepter.schema.json")):
            with open(os.path.join(SOURCE, "docs", name), encoding="utf-8") as file:
                self.assertEqual(text(SCEPTER, "check", flag), file.read(), f"run ./dev docs: {name}")
        json.loads(text(SCEPTER, "check", "--schema"))

    def test_challenge(self):
        """A challenge is letters and digits only; a wrong profile is refused by name (quirk 19)."""
        self.assertRegex(self.gw.challenge(), r"^[A-Z0-9]{16,64}$")
        wrong = self.gw.cli("challenge", "create", "--profile", "nobody", check=False)
        self.assertEqual(wrong.returncode, 1)
        self.assertIn(b"nobody", wrong.stderr)

    def test_certificates(self):
        """cert list, show, revoke and crl: what was issued can be found, shown as PEM, revoked, and is on the CRL."""
        work = self.gw.work("certs")
        self.gw.scep_client("--subject", "/CN=listed-1", "--san", "dns:listed-1.example", "--out", "cert.pem",
                            secret=self.gw.challenge(), cwd=work)
        cert = [c for c in self.gw.certs() if "listed-1" in c["subject"]][0]
        self.assertEqual(cert["profile"], "default")
        self.assertIn("listed-1", self.gw.cli("cert", "list").stdout.decode())
        pem = self.gw.cli("cert", "show", cert["serial"], "--pem").stdout
        with open(os.path.join(work, "cert.pem"), "rb") as file:
            self.assertEqual(pem, file.read())
        self.assertEqual(self.gw.cli("cert", "show", "00ff00ff", check=False).returncode, 1)
        self.gw.cli("cert", "revoke", cert["serial"], "--reason", "keyCompromise")
        crl = os.path.join(work, "crl.pem")
        upstream = cert["upstream"]
        with open(crl, "wb") as file:
            file.write(self.gw.cli("cert", "crl", "--upstream", upstream, "--pem").stdout)
        shown = text("openssl", "crl", "-in", crl, "-noout", "-text", "-CAfile", self.gw.path("ca/issuing.pem"))
        self.assertIn(cert["serial"].upper(), shown.upper())
        self.assertIn("Key Compromise", shown)
        bad = run("openssl", "verify", "-CAfile", self.gw.root, "-untrusted", self.gw.path("ca/issuing.pem"), "-crl_check",
                  "-CRLfile", crl, os.path.join(work, "cert.pem"), check=False)
        self.assertIn(b"revoked", bad.stderr + bad.stdout)

    def test_zz_audit(self):
        """audit verify finds the trail whole, and a changed or removed record by its number."""
        whole = json.loads(self.gw.cli("audit", "verify", "--json").stdout)
        self.assertGreater(whole["records"], 1)
        self.gw.stop()
        database = self.gw.path("state/scepter.db")
        with sqlite3.connect(database) as db:
            text_before = db.execute("SELECT text FROM audit WHERE seq = 2").fetchone()[0]
            db.execute("UPDATE audit SET text = replace(text, 'a', 'b') WHERE seq = 2")
        broken = self.gw.cli("audit", "verify", check=False)
        self.assertEqual(broken.returncode, 1)
        self.assertIn(b"2", broken.stderr)
        with sqlite3.connect(database) as db:
            db.execute("UPDATE audit SET text = ? WHERE seq = 2", (text_before,))
        self.gw.cli("audit", "verify")
        with sqlite3.connect(database) as db:
            db.execute("DELETE FROM audit WHERE seq = 1")
        self.assertEqual(self.gw.cli("audit", "verify", check=False).returncode, 1)

    def test_store_unreachable(self):
        """A store that cannot be opened is exit code 3."""
        conf = self.gw.path("nostore.yaml")
        with open(self.gw.conf, encoding="utf-8") as file:
            content = file.read()
        os.makedirs(self.gw.path("state/dir.db"), exist_ok=True)
        with open(conf, "w", encoding="utf-8") as file:
            file.write(content.replace("state/scepter.db", "state/dir.db"))
        result = run(SCEPTER, "cert", "list", "-c", conf, check=False)
        self.assertEqual(result.returncode, 3, result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
