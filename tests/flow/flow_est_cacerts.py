"""cacerts while a root is replaced (RFC 7030 section 4.1.3, RFC 4210 section 4.4), of a local CA and of one behind another RA."""
import base64
import os

import rows
from est_rows import EstFlow
from est_wire import Tls12, basic, make_csr, request
from flow_upstream_est import EstCa
from gateway import run, text
from http_corpus import wait_until
from pki import Ca

EXTENSIONS = "basicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\nsubjectKeyIdentifier = hash\n"


def der(path):
    return run("openssl", "x509", "-in", path, "-outform", "DER").stdout


def make_rollover(gw):
    """new.pem (NewWithNew), new-by-old.pem, old-by-new.pem in the tree's ca folder; all have the old root's name."""
    folder = gw.path("ca")
    with open(os.path.join(folder, "ext.cnf"), "w", encoding="ascii") as file:
        file.write(EXTENSIONS)
    subject = text("openssl", "x509", "-in", "root.pem", "-noout", "-subject", "-nameopt", "compat", cwd=folder).strip()
    subject = subject.split("=", 1)[1].strip()
    subject = subject if subject.startswith("/") else "/" + subject.replace(", ", "/")
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "new.key", cwd=folder)
    for key in ("root", "new"):
        run("openssl", "req", "-new", "-key", f"{key}.key", "-subj", subject, "-out", f"{key}.csr", cwd=folder)
    for csr, out, by in (("new", "new", ["-signkey", "new.key"]), ("new", "new-by-old", ["-CA", "root.pem", "-CAkey", "root.key"]),
                         ("root", "old-by-new", ["-CA", "new.pem", "-CAkey", "new.key"])):
        run("openssl", "x509", "-req", "-in", f"{csr}.csr", "-days", "7300", "-extfile", "ext.cnf", *by, "-out", f"{out}.pem",
            cwd=folder)
    gw.edit(r"^    chain: \[ca/root.pem\]$", r"\g<0>\n    rollover: [ca/new.pem, ca/new-by-old.pem, ca/old-by-new.pem]")


def cacerts(gw, label="", **options):
    """(status, headers, [DER])"""
    with Tls12(gw, **options) as conn:
        status, headers, body = conn.ask(request("cacerts", label=label))
    if status != 200:
        return status, headers, []
    pem = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout.decode()
    blocks = [b[b.index("-----BEGIN"):] + "-----END CERTIFICATE-----\n" for b in pem.split("-----END CERTIFICATE-----")[:-1]]
    return status, headers, [run("openssl", "x509", "-outform", "DER", input=b.encode()).stdout for b in blocks]


class Local(EstFlow):
    @classmethod
    def configure(cls, gw):
        make_rollover(gw)

    def test_rollover(self):
        """RFC 7030 4.1.3: cacerts has root, intermediate, OldWithNew, NewWithOld and NewWithNew, each once, for anyone, by any label"""
        names = ("issuing", "root", "new", "new-by-old", "old-by-new")
        wanted = [der(self.gw.path("ca", f"{name}.pem")) for name in names]
        work = self.gw.work("device")
        for label in ("", "/default"):
            status, headers, certs = cacerts(self.gw, label)
            self.assertEqual((status, headers["Content-Type"]), (200, "application/pkcs7-mime"))
            self.assertEqual(headers["Cache-Control"], "max-age=3600")
            self.assertEqual(certs[0], wanted[0])
            self.assertEqual(sorted(certs), sorted(wanted))
        cert, key = self.enroll(work, "/CN=rollover")
        self.assertEqual(cacerts(self.gw, cert=(cert, key))[0], 200)
        # A device that trusts one of the roots alone finds a way to it by what cacerts gave.
        with open(os.path.join(work, "all.pem"), "wb") as file:
            for one in (wanted[0], wanted[3], wanted[4]):  # roots are no intermediates
                file.write(run("openssl", "x509", "-inform", "DER", input=one).stdout)
        for anchor in ("root", "new"):
            run("openssl", "verify", "-CAfile", self.gw.path("ca", f"{anchor}.pem"), "-untrusted", os.path.join(work, "all.pem"), cert)

    def test_enroll_alone(self):
        """RFC 7030 4.2.3: an enrollment's reply has none of them, and is not to be kept"""
        work = self.gw.work("alone")
        with Tls12(self.gw) as conn:
            status, headers, body = conn.ask(request("simpleenroll", make_csr(work, "/CN=alone"), basic(self.gw.challenge())))
        self.assertEqual((status, headers["Cache-Control"]), (200, "no-store"))
        pem = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout
        self.assertEqual(pem.count(b"BEGIN CERTIFICATE"), 1)


class Labels(EstFlow):
    """A CA for each label: the one that init makes with its rollover, two of others' roots, and one label with two of them."""

    @classmethod
    def configure(cls, gw):
        top = gw.work("pki")
        make_rollover(gw)
        cls.cas, upstreams, profiles = {}, "", ""
        for name in ("plant", "depot"):
            root = Ca(top, name + "-root", f"/O={name}/CN=Root")
            cls.cas[name] = Ca(top, name, f"/O={name}/CN=Issuing", above=root)
            upstreams += (f"  {name}: {{type: local, certificate: {cls.cas[name].cert}, key: {cls.cas[name].key_path}, "
                          f"chain: [{root.cert}], validity: 1d}}\n")
        for label, names in (("plant", ["plant"]), ("depot", ["depot"]), ("both", ["plant", "depot"])):
            trust = ", ".join(cls.cas[name].above.cert for name in names)
            first = f"{{match: {{key: rsa}}, upstream: [{names[0]}]}}, " if len(names) > 1 else ""
            profiles += (f"  {label}:\n    routes: [{first}{{upstream: [{names[-1]}]}}]\n    trust: [{trust}]\n    san: {{dns: [\"*\"]}}\n"
                         f"    challenge: {{kinds: [one-time]}}\n    est: {{labels: [{label}], auth: [certificate, basic]}}\n")
        gw.edit(r"^profiles:.*$", upstreams + "\nprofiles:")
        with open(gw.conf, "a", encoding="utf-8") as file:
            file.write(profiles)

    def chain_of(self, name):
        return [der(self.cas[name].cert), der(self.cas[name].above.cert)]

    def test_each(self):
        """RFC 7030 3.2.2, 4.1.3: each label's cacerts has its own CA's chain, and its rollover, exactly; nothing of another label's"""
        own = [der(self.gw.path("ca", f"{name}.pem")) for name in ("issuing", "root", "new", "new-by-old", "old-by-new")]
        for label, wanted in (("", own), ("/default", own), ("/plant", self.chain_of("plant")), ("/depot", self.chain_of("depot")),
                              ("/both", self.chain_of("plant") + self.chain_of("depot"))):
            status, headers, certs = cacerts(self.gw, label)
            self.assertEqual((status, headers["Cache-Control"]), (200, "max-age=3600"), label)
            self.assertEqual(sorted(certs), sorted(wanted), label)
            self.assertIn(certs[0], wanted[::2] if label == "/both" else wanted[:1], "an issuing CA comes first")

    def test_issued(self):
        """RFC 7030 4.1.3: what a label issues chains to the root of that label's cacerts, and to no other label's"""
        work, roots = self.gw.work("each"), {"default": self.gw.root}
        roots.update((name, ca.above.cert) for name, ca in self.cas.items())
        for label in roots:
            secret = self.gw.cli("challenge", "create", "--profile", label).stdout.decode().strip()
            csr = make_csr(work, f"/CN={label}")
            for name, data in (("cert", request("simpleenroll", csr, basic(secret), label="/" + label)),
                               ("chain", request("cacerts", label="/" + label))):
                with Tls12(self.gw) as conn:
                    status, _, body = conn.ask(data)
                self.assertEqual(status, 200, (body, self.gw.log()[-900:]))
                with open(os.path.join(work, name + ".pem"), "wb") as file:
                    file.write(run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout)
            for other, root in roots.items():
                done = run("openssl", "verify", "-CAfile", root, "-untrusted", "chain.pem", "cert.pem", cwd=work, check=False)
                self.assertEqual(done.returncode == 0, other == label, (label, other, done.stderr))


class Faulty(EstFlow):
    serve = False

    def test_leaf(self):
        """A rollover certificate that is no CA's is a fault of the configuration"""
        self.gw.edit(r"^    chain: \[ca/root.pem\]$", r"\g<0>\n    rollover: [tls/server.pem]")
        shown = self.gw.cli("check", check=False)
        self.assertEqual(shown.returncode, 1)
        self.assertIn(b"holds a certificate that is no CA's", shown.stdout + shown.stderr)


class Remote(EstFlow):
    """The CA is another gateway, asked over EST."""

    @classmethod
    def configure(cls, gw):
        cls.ca = EstCa()
        cls.ca.gw.stop()
        make_rollover(cls.ca.gw)
        cls.ca.gw.start()
        cls.ca.configure(gw)

    @classmethod
    def tearDownClass(cls):
        cls.gw.close()
        cls.ca.close()

    def test_whole(self):
        """What an EST CA's cacerts gives is passed on whole, the issuer first, also when the CA is gone after a restart"""
        self.assertTrue(wait_until(lambda: len(cacerts(self.gw)[2]) == 5, 30))
        wanted = cacerts(self.ca.gw)[2]
        certs = cacerts(self.gw)[2]
        self.assertEqual(sorted(certs), sorted(wanted))
        self.assertEqual(certs[0], der(self.ca.gw.path("ca/issuing.pem")))
        self.gw.stop()
        self.ca.gw.stop()
        self.gw.start()
        self.assertEqual(cacerts(self.gw)[2], certs)


if __name__ == "__main__":
    rows.main()
