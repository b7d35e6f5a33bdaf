"""docs/est.md: every YAML in it is a good configuration, and every shell command does what the page says."""
import os
import re
import subprocess
import unittest

from gateway import SCEPTER, FlowTest, run, text

DOCUMENT = os.path.join(os.path.dirname(__file__), "../../docs/est.md")
PASSWORD = "open sesame, please"
FIXED = "A-FIXED-CHALLENGE-1"


def snippets(kind):
    """{name: text} of the blocks below `snippet: NAME.KIND`; every block of the page is one."""
    with open(DOCUMENT, encoding="utf-8") as file:
        page = file.read()
    found = re.findall(r"<!-- snippet: ([a-z]+)\.(\w+) -->\n```(\w+)\n(.*?)^```$", page, re.S | re.M)
    assert page.count("```") == 2 * len(found), "a block without a name"
    assert all(ending == language for _, ending, language, _ in found)
    return {name: block for name, ending, _, block in found if ending == kind}


class Page(FlowTest):
    def shell(self, block, work, **env):
        """Runs the commands, of which none may fail."""
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=work, env={**os.environ, **env},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stdout.decode(errors="replace")[-2000:])

    def profile(self, block):
        """The configuration that init makes, with the block's keys instead of its profile's own."""
        with open(self.gw.conf, encoding="utf-8") as file:
            config = file.read()
        for key in re.findall(r"^(\w+):", block, re.M):
            config = re.sub(rf"^    {key}:.*\n", "", config, flags=re.M)
        path = self.gw.path("snippet.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(config + "".join(f"    {line}\n" for line in block.splitlines()))
        return run(SCEPTER, "check", "-c", path, check=False)

    def users(self, block):
        """The files of users and challenges that a configuration names, made by the page's own commands."""
        self.gw.secret_file("est-users", "")
        self.gw.secret_file("challenges", FIXED + "\n")
        for name in ("users", "digest") if "digest" in block else ("users",):
            self.shell(snippets("sh")[name], self.gw.dir, PASSWORD=PASSWORD)


class Configurations(Page):
    def test_yaml(self):
        """Each is what scepter check finds no fault in, with the files that the page's own commands make"""
        self.gw.secret_file("shared", "")
        self.shell(snippets("sh")["keygen"], self.gw.dir)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            self.gw.path("ra/edge-ra.key"), "-out", self.gw.path("ra/edge-ra.pem"), "-subj", "/CN=edge-ra", "-days", "2")
        blocks = snippets("yaml")
        self.assertGreaterEqual(len(blocks), 10)
        for name, block in blocks.items():
            with self.subTest(name):
                self.users(block)
                done = self.profile(block)
                self.assertEqual(done.returncode, 0, (done.stdout + done.stderr).decode())
        self.assertNotEqual(self.profile("est: {labels: [vpn], nonsense: true}").returncode, 0, "faults are found")

    def test_users(self):
        """The users that its commands write enroll, by Basic and by Digest, and with another password they do not"""
        block = snippets("yaml")["digest"]
        self.users(block)
        self.assertEqual(self.profile(block).returncode, 0)
        os.replace(self.gw.path("snippet.yaml"), self.gw.conf)
        self.gw.stop()
        self.gw.start()
        work = self.gw.work("users")
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem",
            "-subj", "/CN=user-1", "-outform", "DER", "-out", "csr.der", cwd=work)
        for user, flag, password, wanted in (("alice", "--basic", PASSWORD, "200"), ("carol", "--digest", PASSWORD, "200"),
                                             ("device", "--digest", FIXED, "200"), ("carol", "--digest", "no", "401"),
                                             ("alice", "--basic", "no", "401")):
            got = text("curl", "-sS", "--cacert", self.gw.root, "-o", "/dev/null", "-w", "%{http_code}", flag, "--user",
                       f"{user}:{password}", "--data-binary", "@csr.der", "-H", "Content-Type: application/pkcs10",
                       f"{self.gw.est_url}/vpn/simpleenroll", cwd=work)
            self.assertEqual(got, wanted, (user, flag))


class Clients(Page):
    """The tree that init makes."""

    def recipe(self, name):
        work = self.gw.work(name)
        with open(self.gw.root, "rb") as old, open(os.path.join(work, "root.pem"), "wb") as new:
            new.write(old.read())
        self.shell(snippets("sh")[name], work, CHALLENGE=self.gw.challenge(), EST=self.gw.est_url,
                   SERVER=f"https://127.0.0.1:{self.gw.est_port}")
        return work

    def test_curl(self):
        """curl enrolls and renews as written"""
        work = self.recipe("curl")
        for name in ("cert.pem", "renewed.pem"):
            self.gw.verify(os.path.join(work, name))
        self.assertEqual(len([c for c in self.gw.certs() if c["subject"] == "CN=device-1"]), 2)

    def test_strongswan(self):
        """strongSwan fetches the chain, enrolls and renews as written"""
        work = self.recipe("strongswan")
        for name in ("cert.der", "renewed.der"):
            self.gw.verify(os.path.join(work, name), "DER")
        self.assertEqual(len([c for c in self.gw.certs() if c["subject"] == "CN=gateway-1"]), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
