"""The command line: init, check, cert, audit, version, and their exit codes."""
import json
import os
import re
import sqlite3
import stat
import unittest

from gateway import SCEPTER, FlowTest, run, text

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


COMMANDS = ("init", "serve", "check", "challenge", "cert", "request", "upstream", "audit", "version")
CREATE = ("challenge", "create", "--profile", "default")
ASIDE = "; -c FILE names the configuration"

# What is typed, and the one line that is said of it.
MISUSED = (
    (("frobnicate",), ': there is no command "frobnicate"'),
    (("certt",), ': there is no command "certt"; expected cert'),
    (("help", "nope"), ': there is no command "nope"'),
    (("init",), "init: DIR is missing"),
    (("init", "a", "b"), 'init: "b" is not expected'),
    (("init", "a", "--host", "a b"), 'init: --host "a b": expected a DNS name'),
    (("init", "a", "--ports", "1,2"), 'init: --ports "1,2": expected three ports, each another, such as 8080,8443,9443'),
    (("init", "a", "--ca-key", "x"), 'init: --ca-key "x": expected rsa2048 or p256'),
    (("init", "a", "--json"), "init: --json is not for this command"),
    (("serve", "x"), f'serve: "x" is not expected{ASIDE}'),
    (("serve", "--json"), "serve: --json is not for this command"),
    (("check", "x"), f'check: "x" is not expected{ASIDE}'),
    (("check", "--nonsense"), "check: there is no option --nonsense"),
    (("check", "--reference", "--schema"), "check: --reference and --schema exclude each other"),
    (("check", "--schema", "-c", "x"), "check: --config and --schema exclude each other"),
    (("challenge",), "challenge: expected create"),
    (("challenge", "list"), 'challenge: there is no "list"; expected create'),
    (("challenge", "create"), "challenge create: --profile is missing"),
    ((*CREATE, "x"), f'challenge create: "x" is not expected{ASIDE}'),
    ((*CREATE, "--profile", "x"), "challenge create: --profile occurs twice"),
    ((*CREATE, "--uses", "0"), 'challenge create: --uses "0": expected a number from 1 to 1000000'),
    ((*CREATE, "--uses", ""), 'challenge create: --uses "": expected a number from 1 to 1000000'),
    ((*CREATE, "--ttl", "5"), 'challenge create: --ttl "5": expected a time such as 30m, 8h or 7d, at most 365d'),
    ((*CREATE, "--ttl", "366d"), 'challenge create: --ttl "366d": expected a time such as 30m, 8h or 7d, at most 365d'),
    ((*CREATE, "--san", ""), 'challenge create: --san "": expected a name such as dns:a.example'),
    ((*CREATE, "--san", "dns:"), 'challenge create: --san "dns:": "dns:" is not a SAN such as dns:a.example'),
    ((*CREATE, "--subject", "x"), 'challenge create: --subject "x": "x" is not a subject such as CN=r1,O=Example'),
    ((*CREATE, "--sna", "x"), "challenge create: there is no option --sna; expected --san"),
    (("cert",), "cert: expected list, show, revoke or crl"),
    (("cert", "lst"), 'cert: there is no "lst"; expected list'),
    (("cert", "list", "x"), f'cert list: "x" is not expected{ASIDE}'),
    (("cert", "list", "--", "--json"), f'cert list: "--json" is not expected{ASIDE}'),
    (("cert", "list", "-c"), "cert list: --config needs a value"),
    (("cert", "list", "--profile"), "cert list: --profile needs a value"),
    (("cert", "list", "--json=1"), "cert list: --json takes no value"),
    (("cert", "list", "--re"), "cert list: --re may be --revoked or --reason"),
    (("cert", "list", "-x"), "cert list: there is no option -x"),
    (("cert", "list", "--json", "-xh"), "cert list: there is no option -x"),
    (("cert", "list", "--pem"), "cert list: --pem is not for this command"),
    (("cert", "list", "--json", "--json"), "cert list: --json occurs twice"),
    (("cert", "list", "--expires-within", "5"), 'cert list: --expires-within "5": expected a time such as 12h or 30d'),
    (("cert", "show"), "cert show: SERIAL or FINGERPRINT is missing"),
    (("cert", "show", "00ff00ff", "x"), 'cert show: "x" is not expected'),
    (("cert", "show", "00ff00ff", "--pem", "--json"), "cert show: --pem and --json exclude each other"),
    (("cert", "show", "00ff00ff", "--pem", "--window"), "cert show: --pem and --window exclude each other"),
    (("cert", "revoke", "00ff00ff", "--reason", "x"), 'cert revoke: --reason "x": expected unspecified, keyCompromise, '
     'affiliationChanged, superseded or cessationOfOperation'),
    (("cert", "crl"), "cert crl: --upstream is missing"),
    (("request", "show"), "request show: ID is missing"),
    (("request", "list", "--state", "lost"), 'request list: --state "lost": expected held, ordered, waiting, suspect, issued or '
     'refused'),
    (("request", "list", "--reason", "x"), "request list: --reason is not for this command"),
    (("upstream",), "upstream: expected list or test"),
    (("upstream", "test"), "upstream test: NAME is missing"),
    (("upstream", "test", "local", "--san", "x"), "upstream test: --san is for --enroll, which is missing"),
    (("upstream", "test", "local", "--enroll", "--san", "dns:"),
     'upstream test: --san "dns:": "dns:" is not a SAN such as dns:a.example'),
    (("audit",), "audit: expected verify"),
    (("audit", "verify", "--profile", "x"), "audit verify: there is no option --profile"),
    (("version", "-c", "x"), "version: --config is not for this command"),
)


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
        """What is missing, doubled, contradictory, unknown or of a wrong value is said in one line, then where the usage
        is told; the exit code is 2. Help is none of this."""
        for words, said in MISUSED:
            with self.subTest(" ".join(words)):
                result = run(SCEPTER, *words, check=False)
                self.assertEqual((result.returncode, result.stdout), (2, b""))
                name = words[0] if words[0] in COMMANDS else ""
                self.assertEqual(result.stderr.decode().splitlines(), [
                    f"scepter {said}".replace("scepter : ", "scepter: "),
                    f"usage: see scepter {name} --help".replace("  ", " ")])
        self.assertEqual(run(SCEPTER, check=False).returncode, 2)
        for words in (("--help",), ("-h",), ("help",), *((name, "--help") for name in COMMANDS), ("help", "cert"),
                      ("cert", "list", "-h")):
            self.assertEqual(run(SCEPTER, *words).stderr, b"", words)

    def test_order(self):
        """Options may stand before the verb and behind it, as a value of their own or after =."""
        all_of_it = self.gw.cli("cert", "list", "--json").stdout
        for words in (("-c", self.gw.conf, "list", "--profile=default", "--json"),
                      ("--json", "list", "--profile", "default", f"--config={self.gw.conf}")):
            self.assertEqual(run(SCEPTER, "cert", *words).stdout, all_of_it)

    def test_unknown_names(self):
        """A profile or an upstream that neither is configured nor has left anything in the store is said; what it left is
        shown when it is gone from the configuration."""
        for words in (("cert", "list", "--profile"), ("request", "list", "--profile"), ("cert", "list", "--upstream"),
                      ("challenge", "create", "--profile"), ("cert", "crl", "--upstream"), ("upstream", "test")):
            result = self.gw.cli(*words, "nope", check=False)
            self.assertEqual((result.returncode, result.stdout), (1, b""), words)
            what = "profile" if words[-1] == "--profile" else "upstream"
            self.assertIn(f'there is no {what} "nope" in '.encode(), result.stderr)
        near = self.gw.cli("cert", "list", "--profile", "defualt", "--json", check=False)
        self.assertTrue(near.stderr.endswith(b"; expected default\n"), near.stderr)
        self.gw.scep_client("--subject", "/CN=left-1", "--out", "cert.pem", secret=self.gw.challenge(), cwd=self.gw.work("left"))
        renamed = self.gw.path("renamed.yaml")
        with open(self.gw.conf, encoding="utf-8") as file:
            content = file.read()
        with open(renamed, "w", encoding="utf-8") as file:
            file.write(content.replace("  default:\n", "  other:\n").replace("[local]", "[ours]").replace("  local:\n", "  ours:\n"))
        for kind in ("cert", "request"):
            self.assertIn("CN=left-1", text(SCEPTER, kind, "list", "-c", renamed, "--profile", "default"))
            self.assertEqual(json.loads(text(SCEPTER, kind, "list", "-c", renamed, "--profile", "other", "--json")), [])
        self.assertIn("CN=left-1", text(SCEPTER, "cert", "list", "-c", renamed, "--upstream", "local"))

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
        at = {name: next(number for number, line in enumerate(text_.splitlines(), 1) if name in line)
              for name in ("routes:", "trust:")}
        said = "upstream[0]: upstream local does not chain to the trust of profile default: "
        self.assertRegex(result.stderr.decode(), rf"broken.yaml:{at['routes:']}:\d+: profiles.default.routes\[0\].{re.escape(said)}")
        with open(broken, "w", encoding="utf-8") as file:  # all of them are said
            file.write(text_.replace("trust: [ca/root.pem]", "trust: [operator/operator.pem]\n    migrate_to: local"))
        lines = run(SCEPTER, "check", "-c", broken, check=False).stderr.decode().splitlines()
        self.assertEqual([line.split(":")[1] for line in lines], [str(at["routes:"]), str(at["trust:"] + 1)])
        self.assertIn("profiles.default.migrate_to: upstream local does not chain", lines[1])
        self.assertEqual(run(SCEPTER, "check", "-c", self.gw.path("missing.yaml"), check=False).returncode, 1)

    def test_check_files(self):
        """check says of every file what serve would fail for or leave out, with its line: a TLS certificate that OpenSSL
        refuses, a staple that is none, a folder for a store, one for a program."""
        with open(self.gw.conf, encoding="utf-8") as file:
            content = file.read()
        run("openssl", "req", "-x509", "-newkey", "rsa:1024", "-noenc", "-keyout", self.gw.path("weak.key"), "-out",
            self.gw.path("weak.pem"), "-subj", "/CN=localhost", "-days", "9")
        run("openssl", "pkey", "-in", self.gw.path("tls/server.key"), "-pubout", "-out", self.gw.path("tls/staple"))
        other = "  other: {type: exec, command: [/tmp]}\n\nprofiles:"
        rows = ((("tls/server.", "weak."), 1, "tls:", "tls: cannot be used: setting up TLS: ee key too small"),
                (("  key: tls/server.key", "  key: tls/server.key\n  staple: tls/staple"), 0, "staple:",
                 "tls.staple: warning: is not shown: "),
                (("sqlite:state/scepter.db", "sqlite:state"), 1, "store:",
                 'store: is no regular file ("sqlite:state"); expected sqlite:PATH'),
                (("\nprofiles:", other), 1, "other:", 'upstreams.other.command[0]: names nothing that can be run ("/tmp")'))
        conf = self.gw.path("files.yaml")
        for (old, new), code, key, said in rows:
            with open(conf, "w", encoding="utf-8") as file:
                file.write(content.replace(old, new))
            at = next(n for n, line in enumerate(content.replace(old, new).splitlines(), 1) if key in line)
            result = run(SCEPTER, "check", "-c", conf, check=False)
            self.assertEqual(result.returncode, code, said)
            self.assertRegex(result.stderr.decode(), rf"^{re.escape(conf)}:{at}:\d+: {re.escape(said)}")
            self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)

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
        nobody = self.gw.cli("cert", "show", "00ff00ff", check=False)
        self.assertEqual(nobody.returncode, 1)
        self.assertIn(b'no certificate with the serial number "00ff00ff", or a fingerprint that begins so', nobody.stderr)
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

    def aside(self, name, change):
        """A configuration whose store is a copy of the gateway's after this statement."""
        with open(self.gw.conf, encoding="utf-8") as file:
            content = file.read()
        with sqlite3.connect(self.gw.path("state/scepter.db")) as db, sqlite3.connect(self.gw.path(f"state/{name}.db")) as copy:
            db.backup(copy)
            copy.execute(change)
        with open(self.gw.path(f"{name}.yaml"), "w", encoding="utf-8") as file:
            file.write(content.replace("state/scepter.db", f"state/{name}.db"))
        return self.gw.path(f"{name}.yaml")

    def test_requests(self):
        """request list tells why, filters by state and upstream, and as text ends no line with a blank; show is text, or JSON."""
        for name in ("asked-1", "asked-2"):
            self.gw.scep_client("--subject", f"/CN={name}", "--out", "cert.pem", secret=self.gw.challenge(),
                                cwd=self.gw.work(name))
        conf = self.aside("asked", "UPDATE request SET state = 'suspect', reason = 'the CA hung up' WHERE subject = 'CN=asked-2'")
        listed = text(SCEPTER, "request", "list", "-c", conf)
        self.assertRegex(listed, r"(?m)^[0-9a-f]{32}  suspect   \S+Z  enroll  default       CN=asked-2 +the CA hung up$")
        self.assertRegex(listed, r"(?m)^[0-9a-f]{32}  issued    \S+Z  enroll  default       CN=asked-1$")
        rows = json.loads(text(SCEPTER, "request", "list", "-c", conf, "--json", "--state", "suspect", "--upstream", "local"))
        self.assertEqual([row["reason"] for row in rows], ["the CA hung up"])
        self.assertNotIn("asked-1", text(SCEPTER, "request", "list", "-c", conf, "--state", "suspect"))
        shown = text(SCEPTER, "request", "show", "-c", conf, rows[0]["id"])
        self.assertIn("State:        suspect\nReason:       the CA hung up\n", shown)
        self.assertEqual(json.loads(text(SCEPTER, "request", "show", "-c", conf, rows[0]["id"], "--json")), rows[0])
        serial = self.gw.certs()[0]["serial"]
        for printed in (listed, shown, text(SCEPTER, "cert", "show", "-c", conf, serial), text(SCEPTER, "cert", "list", "-c", conf)):
            self.assertEqual([line for line in printed.splitlines() if line.endswith(" ")], [])

    def test_unreachable(self):
        """What of a CA could not be reached is named once."""
        conf = self.gw.path("vault.yaml")
        with open(os.open(self.gw.path("token"), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write("a-token-of-nobody\n")
        with open(self.gw.conf, encoding="utf-8") as file:
            content = file.read()
        with open(conf, "w", encoding="utf-8") as file:
            file.write(content.replace("\nprofiles:", "  gone: {type: vault, url: \"https://127.0.0.1:1/\", mount: pki, role: x, "
                                       "trust: [ca/root.pem], token_file: token}\n\nprofiles:"))
        result = run(SCEPTER, "upstream", "test", "gone", "-c", conf, check=False)
        self.assertEqual(result.returncode, 3)
        self.assertEqual(result.stderr.count(b"https://127.0.0.1:1/"), 1, result.stderr)

    def test_singular(self):
        """One record is no records."""
        conf = self.aside("single", "DELETE FROM audit WHERE seq > 1")
        self.assertRegex(text(SCEPTER, "audit", "verify", "-c", conf), r"^1 record, the chain is whole, head ")

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
        with open(self.gw.path("state/text.db"), "w", encoding="ascii") as file:
            file.write("this is no database\n")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(content.replace("state/scepter.db", "state/text.db"))
        result = run(SCEPTER, "cert", "list", "-c", conf, check=False)
        self.assertEqual(result.returncode, 3, result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
