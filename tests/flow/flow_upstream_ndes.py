"""Challenges that the upstream CA wants: brokered from a page like NDES's, or passed through, with Debian's scepserver as the CA."""
import json
import os
import time
import unittest

from double_ndes import PASSWORD, USER, Page
from doubles import IssuingCa
from flow_upstream_scep import use_scep
from faults import FaultProxy
from gateway import free_ports, run, secret_file
from hidden import Hidden
from upstream import UpstreamTest

USER_TEXT = USER.replace("\\", "\\\\")  # as re.sub wants it


class Ndes:
    """scepserver, which asks a program whether a CSR's challenge is one that the page showed."""

    flags = ()

    def __init__(self):
        self.tls = IssuingCa()
        self.port, self.page_port = free_ports(2)

    def configure(self, gw, more=""):
        folder = gw.work("scepserver")
        self.page = Page(self.page_port, os.path.join(folder, "passwords"), self.tls.path("server.pem"), self.tls.path("server.key"))
        run("scepserver", "ca", "-init", "-keySize", "2048", cwd=folder)
        self.depot = os.path.join(folder, "depot")
        self.root = self.chain = os.path.join(self.depot, "ca.pem")
        self.server = Hidden(folder, 8080, "scepserver", "-depot", "depot", "-port", "8080", "-allowrenew", "0",
                             *self.judge(folder))
        self.proxy = FaultProxy(self.port, self.server.path, only="PKIOperation")
        gw.edit(r"^    est: \{", "    est: {challenge_password: secret, ")
        use_scep(gw, self.port, "/scep", self.root, f"    legacy: true\n{self.option(gw)}\n{more}")

    def judge(self, folder):
        return ["-csrverifierexec", self.page.verifier(os.path.join(folder, "verifier"))]

    def password_file(self, gw, text=PASSWORD):
        path = os.path.join(gw.work("ra"), "ndes.password")
        secret_file(path, text + "\n")
        return path

    def option(self, gw):
        return f"""    challenge: broker
    admin:
      url: https://127.0.0.1:{self.page_port}/certsrv/mscep_admin
      trust: [{self.tls.root}]
      user: {USER_TEXT}
      password_file: {self.password_file(gw)}"""

    def issued(self, name):
        with open(os.path.join(self.depot, "index.txt"), encoding="utf-8") as file:
            return sum(line.rstrip().endswith(f"CN={name}") for line in file)

    def close(self):
        self.proxy.close()
        self.server.close()
        self.page.close()
        self.tls.close()


class NdesTest(UpstreamTest):
    make_ca = Ndes

    def setUp(self):
        super().setUp()
        self.page = self.ca.page
        self.page.reset()
        for name in self.page.unused():
            os.unlink(os.path.join(self.page.folder, name))
        with open(self.gw.conf, encoding="utf-8") as file:
            self.conf = file.read()

    def tearDown(self):
        with open(self.gw.conf, "w", encoding="utf-8") as file:
            file.write(self.conf)

    def mint(self, *flags):
        """(exit code, what was printed, what was complained)"""
        result = self.gw.cli("challenge", "create", "--profile", "default", *flags, check=False)
        return result.returncode, result.stdout.decode().strip(), result.stderr.decode().strip()

    def refused(self, text, *flags, code=3):
        """Nothing is handed out, and the reason says so."""
        result = self.mint(*flags)
        self.assertEqual(result[:2], (code, ""), result)
        self.assertIn(text, result[2])
        self.assertNotIn(PASSWORD, result[2])
        return result[2]


class Broker(NdesTest):
    def test_enroll(self):
        """A challenge that the page shows is handed out, opens our door, and satisfies the CA: each once."""
        secret = self.gw.challenge()
        self.assertEqual(secret, self.page.last)
        self.assertEqual(self.page.unused(), [secret])
        self.enroll("brokered", secret=secret)
        self.verify("brokered")
        self.check_once("brokered")
        self.assertEqual(self.page.unused(), [])
        self.enroll("again", code=2, secret=secret)
        self.assertEqual(self.ca.proxy.asked, 1)
        self.assertEqual(self.ca.issued("again"), 0)

    def test_bound(self):
        """A brokered challenge is bound to names like one of ours: the CA never hears of another device that has it."""
        secret = self.gw.challenge("--subject", "CN=this-one")
        self.enroll("another", code=2, secret=secret)
        self.assertEqual(self.ca.proxy.asked, 0)
        self.assertEqual(self.page.unused(), [secret])
        self.enroll("this-one", secret=secret)
        self.check_once("this-one")

    def test_guessed(self):
        """A challenge that the page showed to somebody else does not open our door."""
        self.page.body()
        self.enroll("guessed", code=2, secret=self.page.last)
        self.assertEqual(self.ca.proxy.asked, 0)

    def test_gone_at_the_ca(self):
        """A challenge that the CA forgot (NDES was restarted) is refused by it, and the device is told so."""
        secret = self.gw.challenge()
        os.unlink(os.path.join(self.page.folder, secret))
        self.enroll("forgotten", code=2, secret=secret)
        self.assertIn("FAILURE", self.request("forgotten")["reason"])
        self.assertEqual(self.ca.issued("forgotten"), 0)

    def test_expiry(self):
        """It lives as long as the page says, or as the profile says if that is shorter."""
        for minutes, flags, seconds in ((2, (), 120), (60, ("--ttl", "5m"), 300)):
            self.page.minutes = minutes
            code, text, _ = self.mint("--json", *flags)
            self.assertEqual(code, 0)
            expires = time.mktime(time.strptime(json.loads(text)["expires"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
            self.assertAlmostEqual(expires - time.time(), seconds, delta=20)

    def test_charsets(self):
        """UTF-16LE with and without a byte order mark and UTF-8 with and without one are read; UTF-16BE is refused."""
        for encoding in ("utf-16le", "utf-16", "utf-8", "utf-8-sig"):
            self.page.encoding = encoding
            self.assertEqual(self.mint()[:2], (0, self.page.last))
        self.page.most = 100
        self.page.encoding = "utf-16be"
        self.refused("neither UTF-16LE nor UTF-8")

    def test_page_errors(self):
        """What the page says in place of a challenge is told; a page that is none, or shows none, gives none."""
        self.page.most = 0
        self.refused("The password cache is full.")
        self.page.allowed = False
        self.refused("You do not have sufficient permission")
        for body, text in ((b"", "shows no challenge"), (os.urandom(4096), ""), (b"<html>It works!</html>", "shows no challenge"),
                           (b"x" * 300000, "too large"), (b"The enrollment challenge password is: <B> ", "is none"),
                           (b"The enrollment challenge password is: <B> <I>ABCDEFGH</I> </B>", "is none")):
            self.page.text = body
            self.refused(text)
        for status in (404, 500, 503):
            self.page.status = status
            self.refused(f"answers {status}")

    def test_one_for_all(self):
        """A page whose one password serves everybody is not brokered: it would let in whoever has seen it."""
        self.page.reusable = "1ED0DD50F7459D6E"
        self.refused("UseSinglePassword")

    def test_handed_out_before(self):
        """A challenge that was handed out before is not handed out again."""
        secret = self.gw.challenge()
        self.page.text = self.page.body().replace(self.page.last.encode("utf-16le"), secret.encode("utf-16le"))
        self.refused("handed out before")

    def test_credentials(self):
        """The page's 401 is told, without the password; a page that wants another way of logging in gets no password."""
        self.ca.password_file(self.gw, "wrong " + PASSWORD)
        self.refused("does not let us in")
        self.ca.password_file(self.gw)
        self.page.auth = "NTLM"
        self.refused("does not let us in")

    def test_ntlm(self):
        """By NTLM the password proves itself and is never sent; a wrong one is refused."""
        self.gw.edit(r"^      user: ", "      auth: ntlm\n      user: ")
        self.page.auth = "NTLM"
        result = self.mint()
        self.assertEqual(result[:2], (0, self.page.last), (result, self.page.ways))
        self.assertEqual(set(self.page.ways), {"NTLM"})
        self.ca.password_file(self.gw, "wrong " + PASSWORD)
        self.addCleanup(self.ca.password_file, self.gw)
        self.refused("does not let us in")
        self.page.auth = "Basic"
        self.refused("does not let us in")
        self.assertNotIn("Basic", self.page.ways)

    def test_negotiate_without_ticket(self):
        """Without a Kerberos ticket Negotiate gets nowhere, and falls back to nothing."""
        self.gw.edit(r"^      user: .*\n      password_file: .*", "      auth: negotiate")
        self.refused("does not let us in")
        self.assertEqual(set(self.page.ways) - {"", "Negotiate"}, set())

    def test_redirect(self):
        """The folder leads to the folder with a slash, at the same server: where an answer points, no password goes."""
        other = Page(free_ports(1)[0], self.gw.work("elsewhere"))
        self.addCleanup(other.close)
        self.page.elsewhere = f"http://127.0.0.1:{other.server.server_address[1]}/certsrv/mscep_admin/"
        self.assertEqual(self.mint()[:2], (0, self.page.last))
        self.assertEqual(other.asked, 0)

    def test_other_server(self):
        """A server whose certificate does not chain to trust is not told the password."""
        self.gw.edit(rf"^      trust: \[{self.ca.tls.root}\]", f"      trust: [{self.ca.root}]")
        self.refused("certificate")
        self.assertEqual(self.page.asked, 0)

    def test_no_page(self):
        """A page that cannot be reached is told as such."""
        self.gw.edit(rf"127.0.0.1:{self.ca.page_port}/", f"127.0.0.1:{free_ports(1)[0]}/")
        self.refused("asking the CA for a challenge")

    def test_uses(self):
        """A challenge of the CA's counts once: more uses, or names that are none, are refused before the page is asked."""
        self.refused("takes each once", "--uses", "2", code=1)
        self.refused("", "--subject", "no name", code=2)
        self.assertEqual(self.page.asked, 0)

    def test_upstream_test(self):
        """upstream test --enroll uses a challenge of the CA's as well."""
        result = self.gw.cli("upstream", "test", "plant", "--enroll")
        self.assertIn(b"BEGIN CERTIFICATE", result.stdout)
        self.assertEqual(self.page.unused(), [])

    def test_plain_http(self):
        """Without TLS the page is asked only if the key is called insecure."""
        plain = Page(free_ports(1)[0], self.page.folder)
        self.addCleanup(plain.close)
        self.gw.edit(r"^      url: https://127.*", f"      url: http://127.0.0.1:{plain.server.server_address[1]}/certsrv/mscep_admin")
        self.check("insecure_url")
        self.refused("insecure_url", code=1)
        self.assertEqual(plain.asked, 0)
        self.gw.edit(r"^      url: http://127", "      insecure_url: http://127")
        self.check(None)
        self.assertEqual(self.mint()[:2], (0, plain.last))

    def check(self, text, *edits):
        """What `scepter check` says to the configuration with these edits, at a line that has the key; None: nothing."""
        with open(self.gw.conf, encoding="utf-8") as file:
            old = file.read()
        for edit in edits:
            self.gw.edit(*edit)
        with open(self.gw.conf, encoding="utf-8") as file:
            lines = file.read().splitlines()
        result = self.gw.cli("check", check=False)
        with open(self.gw.conf, "w", encoding="utf-8") as file:
            file.write(old)
        self.assertEqual(result.returncode, 1 if text else 0, result.stderr)
        self.assertIn((text or "").encode(), result.stderr)
        for fault in result.stderr.decode().splitlines():
            _, number, _, key, *_ = fault.removeprefix(self.gw.conf).split(":")
            keys = [word.partition("[")[0] for word in key.strip().split(".")]
            self.assertTrue(keys[-1] in lines[int(number) - 1] or keys[-2] in lines[int(number) - 1], fault)

    def test_impossible(self):
        """What cannot work with a broker is refused when the configuration is loaded, and at every command."""
        admin = r"^    admin:\n(      .*\n)+"
        self.check(None)
        self.check("admin: is missing", (admin, ""))
        self.check("admin: is not used", ("challenge: broker", "challenge: none"))
        self.check("user: is missing", (r"^      user: .*\n", ""))
        self.check("password_file: is not used", (r"^      user: .*\n", "      auth: negotiate\n"))
        self.check("trust: is missing", (rf"^      trust: \[{self.ca.tls.root}\]\n", ""))
        self.check("has no URL", (r"^      url: https://127.*\n", ""))
        self.check("has two URLs", (r"^      user: ", "      insecure_url: http://127.0.0.1/\n      user: "))
        self.check("insecure_url: is https", (r"^      url: https", "      insecure_url: https"))
        secrets = os.path.join(self.gw.work("ra"), "fixed")
        secret_file(secrets, "a-fixed-challenge\n")
        fixed = f"{{fixed_file: {secrets}, "
        self.check("which knows no others", (r"challenge: \{kinds: \[one-time\]", f"challenge: {fixed}kinds: [fixed]"))
        self.check("which knows no others", (r"challenge: \{kinds: \[one-time\]", f"challenge: {fixed}kinds: [fixed, one-time]"))
        self.check("takes each once", ("uses: 1", "uses: 2"))
        self.check("takes it for its own secret", ("challenge_password: secret", "challenge_password: binding"))
        self.check("takes it for its own secret", ("challenge_password: secret", "challenge_password: refuse"))
        second = (r"^upstreams:", f"""upstreams:
  second:
    type: scep
    url: http://127.0.0.1:{self.ca.port}/scep
    trust: [{self.ca.root}]
    client: {{certificate: {self.gw.work("ra")}/ra.pem, key: {self.gw.work("ra")}/ra.key}}
    challenge: passthrough""")
        pool = (r"upstream: \[plant\]", "upstream: [plant, second]")
        self.check("which would refuse them", second, pool)
        self.check("which would refuse them", second, (r"^    keys: ", "    migrate_to: second\n    keys: "))
        self.check(None, second, pool, ("challenge: passthrough", "challenge: none"))


class OneSecret(Ndes):
    """scepserver with one challenge for all, which the profile knows as well."""

    secret = "1ED0DD50F7459D6E"

    def judge(self, folder):
        return ["-challenge", self.secret]

    def option(self, gw):
        path = os.path.join(gw.work("ra"), "fixed")
        secret_file(path, f"{self.secret}\na-secret-of-ours-alone\n")
        gw.edit(r"challenge: \{kinds: \[one-time\]", f"challenge: {{fixed_file: {path}, kinds: [fixed]")
        return "    challenge: passthrough"


class Passthrough(NdesTest):
    make_ca = OneSecret

    def test_enroll(self):
        """The device's challenge is judged by us and by the CA: it needs to satisfy both."""
        self.enroll("both", secret=OneSecret.secret)
        self.verify("both")
        self.check_once("both")
        self.enroll("ours", code=2, secret="a-secret-of-ours-alone")
        self.assertIn("FAILURE", self.request("ours")["reason"])
        self.assertEqual(self.ca.proxy.asked, 2)
        self.enroll("neither", code=2, secret="1ED0DD50F7459D6F")
        self.assertEqual(self.ca.proxy.asked, 2)

    def test_one_time(self):
        """One-time challenges of ours, which such a CA cannot know, are refused when the configuration is loaded."""
        self.gw.edit(r"kinds: \[fixed\]", "kinds: [fixed, one-time]")
        result = self.gw.cli("check", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"would have to know as well", result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
