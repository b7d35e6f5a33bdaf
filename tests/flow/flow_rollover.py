"""RAs and CAs change while devices go on, by the very steps of docs/operations.md; and RAs with two pairs of keys."""
import os
import re
import subprocess
import textwrap
import time
import unittest

from gateway import SCEP_CLIENT, FlowTest, run, text

DOCS = os.path.join(os.path.dirname(__file__), "../../docs/operations.md")
HELPER = "/usr/lib/certmonger/scep-submit"


def section(title):
    """What stands under a heading of the page."""
    with open(DOCS, encoding="utf-8") as file:
        return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", file.read(), re.M | re.S)[1]


def blocks(title):
    """The code in it, each block without its indentation; a block goes over empty lines."""
    found, current = [], []
    for line in section(title).splitlines() + ["end"]:
        if line.startswith("    ") or (not line and current):
            current.append(line)
        elif current:
            found.append(textwrap.dedent("\n".join(current)).strip())
            current = []
    return found


def shell(gw, code):
    """A block of commands, in the folder of the configuration."""
    run("sh", "-e", "-c", code, cwd=gw.dir)


def item(code, key):
    """The line of a block of configuration that begins with the key."""
    return re.search(rf"^ *({re.escape(key)}: .*)$", code, re.M)[1]


class Rollover(FlowTest):
    def put(self, code, *keys):
        """Lines of a block into the configuration, in place of those that begin with the same key."""
        for key in keys:
            self.gw.edit(rf"^( *){key}: .*$", lambda found, line=item(code, key): found[1] + line)

    def add(self, section_name, line):
        self.gw.edit(rf"^{section_name}:.*$", lambda found: f"{found[0]}\n  {line}")

    def issuer(self, cert, cwd):
        return text("openssl", "x509", "-in", cert, "-noout", "-issuer", "-nameopt", "RFC2253", cwd=cwd).strip()

    def told(self, work):
        """Subjects of what GetCACert tells, in order, by certmonger's helper."""
        pem = text(HELPER, "-C", "-u", self.gw.scep_url)
        names = []
        for block in pem.split("-----END CERTIFICATE-----")[:-1]:
            with open(os.path.join(work, "one.pem"), "w", encoding="ascii") as file:
                file.write(block.lstrip() + "-----END CERTIFICATE-----\n")
            names.append(text("openssl", "x509", "-in", "one.pem", "-noout", "-subject", "-nameopt", "RFC2253",
                              cwd=work).strip().removeprefix("subject=CN="))
        return names


    def logged(self, word):
        """The line of the log, which is written after the reply."""
        end = time.monotonic() + 60
        while word not in self.gw.log():
            self.assertLess(time.monotonic(), end, self.gw.log()[-3000:])
            time.sleep(0.05)
        return [line for line in self.gw.log().splitlines() if word in line][-1]


class Ra(Rollover):
    def test_steps(self):
        """The steps of the page: the new RA is told; a device that knows only the old one is answered by it; once it is
        taken out, the log names it."""
        code = blocks("Rolling over an RA")
        work = self.gw.work("ra")
        old, new = self.gw.path("ra/ra.pem"), self.gw.path("ra/ra-2.pem")
        shell(self.gw, code[0])
        self.add("ra", item(code[1], "second"))
        self.put(code[1], "main")
        self.gw.edit(r"ra: \[main\]", re.search(r"ra: \[.*?\]", code[1])[0])
        self.gw.reload()
        self.assertEqual(self.told(work)[0], "scepter RA 2")
        for number, ra in enumerate((new, old)):
            self.gw.scep_client("--subject", f"/CN=ra-{number}", "--recipient", ra, secret=self.gw.challenge(), cwd=work)
        self.swan(work, old)

        self.gw.edit(r"ra: \[second, main\]", "ra: [second]")
        self.gw.reload()
        refused = self.gw.scep_client("--subject", "/CN=ra-2", "--recipient", old, check=False,
                                      secret=self.gw.challenge(), cwd=work)
        self.assertIn("status=FAILURE fail=badMessageCheck", refused.stdout.decode())
        line = self.logged('reason="wrong-recipient"')
        serial = text("openssl", "x509", "-in", old, "-noout", "-serial").strip().removeprefix("serial=").lower()
        self.assertIn(serial, line)
        self.assertIn("scepter issuing CA", line)
        self.assertGreaterEqual(self.gw.metric(r'^scepter_requests_total.*reason="wrong-recipient"'), 1)

    def swan(self, work, old):
        """strongSwan pins the certificate that it verifies with: the old one."""
        run("openssl", "x509", "-in", old, "-outform", "DER", "-out", "old.der", cwd=work)
        run("pki", "--scepca", "--url", self.gw.scep_url, "--caout", "ca.der", "--raout", "ra.der", "--force", cwd=work)
        with open(os.path.join(work, "key.der"), "wb") as key:
            key.write(run("pki", "--gen", "--type", "rsa", "--size", "2048").stdout)
        run("pki", "--scep", "--url", self.gw.scep_url, "--in", "key.der", "--dn", "CN=swan-old", "--password",
            self.gw.challenge(), "--cacert-enc", "old.der", "--cacert-sig", "old.der", "--cacert", "ca.der", "--cacert",
            "ca-1.der", "--interval", "1", "--maxpolltime", "5", cwd=work)


class UnderLoad(Rollover):
    def test_no_request_is_lost(self):
        """RA keys change again and again, with an overlap, while eight devices at a time enroll: 200 get their certificates, and
        no request is refused or fails (quirk 28)."""
        code = blocks("Rolling over an RA")
        shell(self.gw, code[0])
        self.add("ra", item(code[1], "second"))
        challenges = self.gw.challenges_file(200)
        journal = os.path.join(self.gw.top, "journal")
        # Devices that fetched the RA's certificate before the first change.
        bulk = subprocess.Popen([SCEP_CLIENT, "--url", self.gw.scep_url, "--subject", "/CN=load-%", "--count", "200",
                                 "--parallel", "8", "--challenges", challenges, "--journal", journal],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        lists, turns = ["[main]", "[second, main]", "[main, second]"], 0
        while bulk.poll() is None:
            now, then = lists[0 if turns == 0 else 1 + (turns - 1) % 2], lists[1 + turns % 2]
            self.gw.edit(re.escape(f"ra: {now}"), f"ra: {then}")
            self.gw.reload()
            turns += 1
        out, err = bulk.communicate()
        self.assertEqual(bulk.returncode, 0, out + err)
        self.assertGreater(turns, 3)
        self.assertEqual(len([c for c in self.gw.certs() if "load-" in c["subject"]]), 200)
        self.assertEqual(self.gw.metric(r'^scepter_requests_total\{door="scep".*outcome="(refused|error)"'), 0)


class Ca(Rollover):
    def test_steps(self):
        """The steps of the page: the next CA is announced and issues what is encrypted to its RA; on the day it issues
        everything, certificates of the old CA renew there, and both CAs make their CRL."""
        code = blocks("Rolling over a CA")
        work = self.gw.work("ca")
        self.assertEqual(self.gw.scep_client("--next", "next.pem", check=False, cwd=work).stdout.decode(),
                         "certificates=0 http=404\n")
        self.assertNotIn("GetNextCACert", text(HELPER, "-c", "-u", self.gw.scep_url))
        self.gw.scep_client("--subject", "/CN=early", "--key-out", "early.key", "--out", "early.pem",
                            secret=self.gw.challenge(), cwd=work)

        shell(self.gw, code[0])
        for name, key in (("ra", "next"), ("upstreams", "coming")):
            self.add(name, re.search(rf"^ *({key}: {{(?:certificate|type).*)$", code[1], re.M)[1])
        self.gw.edit(r"ra: \[main\]", re.search(r"ra: \[main\], next: \{.*?\}", code[1])[0])
        self.gw.reload()
        self.assertIn("GetNextCACert", text(HELPER, "-c", "-u", self.gw.scep_url))
        self.assertEqual(self.told(work)[0], "scepter RA")
        self.announced(work)
        self.rolls(work)

        day = code[2]
        self.put(day, "routes")
        self.gw.edit(r"^( *)routes: .*$", lambda found: f"{found[0]}\n{found[1]}{item(day, 'migrate_to')}")
        self.gw.edit(r"ra: \[main\], next: \{.*?\}", re.search(r"ra: \[.*?\]", day)[0])
        self.gw.reload()
        self.assertEqual(self.told(work)[0], "scepter RA of CA 2")
        self.assertNotIn("GetNextCACert", text(HELPER, "-c", "-u", self.gw.scep_url))
        self.after(work)

    def announced(self, work):
        """What GetNextCACert says, verified by OpenSSL as a device would: signed by the RA that chains to the root."""
        self.assertEqual(self.gw.scep_client("--next", "next.pem", cwd=work).stdout.decode(), "certificates=3 http=200\n")
        run("curl", "-sf", "-o", "next.der", f"{self.gw.scep_url}?operation=GetNextCACert&message=x", cwd=work)
        with open(os.path.join(work, "cas.pem"), "w", encoding="ascii") as file:
            file.write(text("cat", self.gw.root, self.gw.path("ca/issuing.pem")))
        run("openssl", "cms", "-verify", "-inform", "DER", "-in", "next.der", "-binary", "-purpose", "any", "-CAfile",
            "cas.pem", "-out", "bag.der", cwd=work)
        bag = text("openssl", "pkcs7", "-inform", "DER", "-in", "bag.der", "-print_certs", "-noout", cwd=work)
        self.assertEqual(re.findall(r"^subject=CN = (.*)$", bag, re.M),
                         ["scepter RA of CA 2", "scepter issuing CA 2", "scepter root CA"])

    def rolls(self, work):
        """A device stores a certificate of the next CA, by renewal and by challenge; others get today's."""
        early = ("--subject", "/CN=early", "--renew", "early.pem", "early.key")
        self.gw.scep_client(*early, "--key-out", "stored.key", "--recipient", "next.pem", "--out", "stored.pem", cwd=work)
        self.assertEqual(self.issuer("stored.pem", work), "issuer=CN=scepter issuing CA 2")
        self.gw.scep_client(*early, "--out", "today.pem", cwd=work)
        self.assertEqual(self.issuer("today.pem", work), "issuer=CN=scepter issuing CA")
        self.gw.scep_client("--subject", "/CN=fresh", "--recipient", "next.pem", "--out", "fresh.pem",
                            secret=self.gw.challenge(), cwd=work)
        self.assertEqual(self.issuer("fresh.pem", work), "issuer=CN=scepter issuing CA 2")
        refused = self.gw.scep_client("--subject", "/CN=none", "--recipient", "next.pem", check=False, cwd=work)
        self.assertIn("status=FAILURE fail=badRequest", refused.stdout.decode())

    def after(self, work):
        for name, flags in (("early", ("--renew", "early.pem", "early.key")), ("early", ("--renew", "stored.pem", "stored.key")),
                            ("late", ("--recipient", self.gw.path("ra/ra.pem"))), ("later", ())):
            secret = None if "--renew" in flags else self.gw.challenge()
            self.gw.scep_client("--subject", f"/CN={name}", *flags, "--out", "after.pem", secret=secret, cwd=work)
            self.assertEqual(self.issuer("after.pem", work), "issuer=CN=scepter issuing CA 2", (name, flags))
        for upstream in ("local", "coming"):
            self.gw.cli("cert", "crl", "--upstream", upstream)


class Window(Rollover):
    @classmethod
    def configure(cls, gw):
        gw.edit(r"renewal: \{", "renewal: {window: 1d, ")

    def test_next_comes_early(self):
        """Outside of renewal.window a device stores one certificate of the next CA, and renews by neither CA."""
        code, work = blocks("Rolling over a CA"), self.gw.work("window")
        self.gw.scep_client("--subject", "/CN=early", "--key-out", "early.key", "--out", "early.pem",
                            secret=self.gw.challenge(), cwd=work)
        shell(self.gw, code[0])
        for name, key in (("ra", "next"), ("upstreams", "coming")):
            self.add(name, re.search(rf"^ *({key}: {{(?:certificate|type).*)$", code[1], re.M)[1])
        self.gw.edit(r"ra: \[main\]", re.search(r"ra: \[main\], next: \{.*?\}", code[1])[0])
        self.gw.reload()
        early, to_next = ("--subject", "/CN=early", "--renew"), ("--recipient", self.gw.path("ra/next.pem"))
        self.refused(*early, "early.pem", "early.key", cwd=work)
        self.gw.scep_client(*early, "early.pem", "early.key", *to_next, "--key-out", "stored.key", "--out", "stored.pem", cwd=work)
        self.assertEqual(self.issuer("stored.pem", work), "issuer=CN=scepter issuing CA 2")
        for signer in ("early", "stored"):
            self.refused(*early, f"{signer}.pem", f"{signer}.key", *to_next, cwd=work)
        self.assertEqual(len([c for c in self.gw.certs() if c["subject"] == "CN=early"]), 2)

    def refused(self, *words, cwd):
        answer = self.gw.scep_client(*words, check=False, cwd=cwd)
        self.assertIn("status=FAILURE fail=badRequest", answer.stdout.decode())


class Split(Rollover):
    @classmethod
    def configure(cls, gw):
        for name, usage in (("sign", "digitalSignature"), ("encrypt", "keyEncipherment")):
            shell(gw, f"""openssl req -new -newkey rsa:2048 -noenc -subj "/CN=RA that does {name}" -keyout ra/{name}.key -out ra/{name}.csr
                printf 'keyUsage=critical,{usage}\nbasicConstraints=critical,CA:FALSE\n' > ra/{name}.ext
                openssl x509 -req -in ra/{name}.csr -CA ca/issuing.pem -CAkey ca/issuing.key -days 365 -extfile ra/{name}.ext -out ra/{name}.pem
                chmod 0600 ra/{name}.key""")
        code = blocks("Rolling over an RA")[-1]
        gw.edit(r"^ra:.*\n.*$", lambda _: code)

    def test_told(self):
        """AirWatch: GetCACert tells what signs, what is encrypted to, then the CA (quirk 25)."""
        names = self.told(self.gw.work("told"))
        self.assertEqual(sorted(names), sorted(["RA that does encrypt", "RA that does sign", "scepter issuing CA",
                                                "scepter root CA"]))
        work = self.gw.work("told-in-order")
        run("curl", "-sf", "-o", "bag.der", f"{self.gw.scep_url}?operation=GetCACert", cwd=work)
        bag = text("openssl", "pkcs7", "-inform", "DER", "-in", "bag.der", "-print_certs", "-noout", cwd=work)
        self.assertEqual(re.findall(r"^subject=CN = (.*)$", bag, re.M),
                         ["RA that does sign", "RA that does encrypt", "scepter issuing CA", "scepter root CA"])

    def test_enroll(self):
        """A client that chooses by keyUsage enrolls; what is encrypted to the signing certificate is refused (quirk 25)."""
        work = self.gw.work("client")
        self.gw.scep_client("--subject", "/CN=split-1", secret=self.gw.challenge(), cwd=work)
        refused = self.gw.scep_client("--subject", "/CN=split-2", "--recipient", self.gw.path("ra/sign.pem"), check=False,
                                      secret=self.gw.challenge(), cwd=work)
        self.assertIn("status=FAILURE fail=badMessageCheck", refused.stdout.decode())

    def test_strongswan(self):
        """strongSwan fetches both certificates, encrypts to one and verifies with the other."""
        work = self.gw.work("swan")
        run("pki", "--scepca", "--url", self.gw.scep_url, "--caout", "ca.der", "--raout", "ra.der", "--force", cwd=work)
        told = {}
        for name in [name for name in os.listdir(work) if name.startswith("ra")]:
            told[text("openssl", "x509", "-inform", "DER", "-in", name, "-noout", "-subject", cwd=work).split()[-1]] = name
        self.assertEqual(set(told), {"sign", "encrypt"})
        with open(os.path.join(work, "key.der"), "wb") as key:
            key.write(run("pki", "--gen", "--type", "rsa", "--size", "2048").stdout)
        cert = run("pki", "--scep", "--url", self.gw.scep_url, "--in", "key.der", "--dn", "CN=swan-split", "--password",
                   self.gw.challenge(), "-e", told["encrypt"], "-s", told["sign"], "--cacert", "ca.der", "--cacert",
                   "ca-1.der", "--interval", "1", "--maxpolltime", "5", cwd=work).stdout
        with open(os.path.join(work, "cert.der"), "wb") as file:
            file.write(cert)
        self.gw.verify(os.path.join(work, "cert.der"), "DER")

    def test_certmonger(self):
        """certmonger's helper enrolls with the encryption certificate that it is told, and verifies the reply by the chain."""
        work = self.gw.work("monger")
        pem = text(HELPER, "-C", "-u", self.gw.scep_url)
        found = [b.lstrip() + "-----END CERTIFICATE-----\n" for b in pem.split("-----END CERTIFICATE-----")[:-1]]
        for name, block in zip(("ra.pem", "b.pem", "c.pem", "d.pem"), found):
            with open(os.path.join(work, name), "w", encoding="ascii") as file:
                file.write(block)
        self.gw.scep_client("--subject", "/CN=monger-split", "--save-request", "request.der", "--key-out", "key.pem",
                            "--signer-out", "signer.pem", "--no-send", secret=self.gw.challenge(), cwd=work)
        run("openssl", "pkcs7", "-inform", "DER", "-in", "request.der", "-out", "request.pem", cwd=work)
        with open(os.path.join(work, "others.pem"), "w", encoding="ascii") as file:
            file.write("".join(found[1:]))
        reply = run(HELPER, "-p", "-u", self.gw.scep_url, "-r", "ra.pem", "-N", self.gw.root, "-I", "others.pem",
                    "request.pem", cwd=work)
        with open(os.path.join(work, "envelope.pem"), "wb") as file:
            file.write(reply.stdout.replace(b"PKCS7", b"CMS"))
        run("openssl", "cms", "-decrypt", "-inform", "PEM", "-in", "envelope.pem", "-recip", "signer.pem", "-inkey",
            "key.pem", "-out", "bag.der", cwd=work)


if __name__ == "__main__":
    unittest.main(verbosity=2)
