"""Re-enrollment over EST: which names and keys a renewal may have (RFC 7030 section 4.2.2, RFC 6402 section 2.8)."""
import base64
import datetime
import json
import os
import re
import unittest

from der import change_subject_name, dns_names, name, resign
from est_wire import Tls12, basic, make_csr, request
from gateway import FlowTest, run, text
from pki import Ca

CN, O = "2.5.4.3", "2.5.4.10"


class Renewal(FlowTest):
    def status(self, data, **options):
        with Tls12(self.gw, **options) as conn:
            return conn.ask(data)[0]

    def save(self, work, body, file_name="cert.pem"):
        pem = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout
        with open(os.path.join(work, file_name), "wb") as file:
            file.write(pem)
        return os.path.join(work, file_name)

    def enroll(self, work, subject, **options):
        csr = make_csr(work, subject, **options)
        with Tls12(self.gw) as conn:
            status, _, body = conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))
        self.assertEqual(status, 200, body)
        return self.save(work, body), os.path.join(work, options.get("key", "key.pem"))

    def renew(self, work, csr, cert):
        """The subject and SANs of the new certificate."""
        with Tls12(self.gw, cert=cert) as conn:
            status, _, body = conn.ask(request("simplereenroll", csr))
        self.assertEqual(status, 200, body)
        path = self.save(work, body, "renewed.pem")
        self.gw.verify(path)
        shown = text("openssl", "x509", "-in", path, "-noout", "-subject", "-ext", "subjectAltName", "-nameopt", "compat")
        lines = [line.strip() for line in shown.splitlines()]
        return lines[0].split("=", 1)[1].strip().lstrip("/"), lines[2] if len(lines) > 2 else ""

class Names(Renewal):
    """renewal.change_names: allow, and DNS names below example."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"same_key: allow", "same_key: allow, change_names: allow")
        gw.edit(r"^    san: .*$", "    san: {dns: [\"*.example\"]}")

    def test_canonical(self):
        """RFC 5280 7.1: case, spaces and string type make no other name; another order, or one RDN of two values, does"""
        work = self.gw.work("canonical")
        cert = self.enroll(work, "/O=Some One/CN=canon")
        base = make_csr(work, "/O=Some One/CN=canon", key="new.pem")
        for subject, wanted in ((name((O, "Some One"), (CN, "canon"), string=0x13), 200),
                                (name((O, "SOME  one"), (CN, "Canon")), 200),
                                (name((CN, "canon"), (O, "Some One")), 403),
                                (name((O, "Some One"), (CN, "canon"), (CN, "canon")), 403),
                                (name((O, "Some One")), 403), (name((O, "Someone"), (CN, "canon")), 403)):
            self.assertEqual(self.status(request("simplereenroll", resign(work, base, key="new.pem", subject=subject)), cert=cert),
                             wanted, subject)

    def test_change(self):
        """RFC 7030 4.2.2, RFC 6402 2.8: ChangeSubjectName has the new names, the CSR itself the old ones; what is absent ends"""
        work = self.gw.work("change")
        san = ["subjectAltName = DNS:old.example"]
        cert = self.enroll(work, "/CN=old", extensions=san)
        for number, (parts, wanted) in enumerate((
                ((name((CN, "new"), (O, "Plant")), dns_names("a.example", "b.example")),
                 ("CN=new/O=Plant", "DNS:a.example, DNS:b.example")),
                ((name((CN, "only"),),), ("CN=only", "")), ((dns_names("c.example"),), ("", "DNS:c.example")))):
            base = make_csr(work, "/CN=old", extensions=san, key=f"new-{number}.pem")
            csr = resign(work, base, key=f"new-{number}.pem", attributes=[change_subject_name(*parts)])
            self.assertEqual(self.renew(work, csr, cert), wanted)

    def test_change_repeated(self):
        """A renewal for new names that is repeated gets its certificate again; one for other new names another one"""
        work = self.gw.work("again")
        cert = self.enroll(work, "/CN=again")
        base = make_csr(work, "/CN=again", key="new.pem")
        bodies = []
        for new in ("again-1", "again-1", "again-2"):
            csr = resign(work, base, key="new.pem", attributes=[change_subject_name(name((CN, new)))])
            with Tls12(self.gw, cert=cert) as conn:
                status, _, body = conn.ask(request("simplereenroll", csr))
            self.assertEqual(status, 200)
            bodies.append(body)
        self.assertEqual(bodies[0], bodies[1])
        self.assertNotEqual(bodies[0], bodies[2])

    def test_change_refused(self):
        """RFC 6402 2.8, RFC 7030 4.2.1: new names that the profile does not allow, a CSR that already has them, and
        ChangeSubjectName without a renewal are 403"""
        work = self.gw.work("refused")
        cert = self.enroll(work, "/CN=refuse-me")
        base = make_csr(work, "/CN=refuse-me", key="new.pem")
        for csr in (resign(work, base, key="new.pem", attributes=[change_subject_name(name((CN, "x")), dns_names("x.test"))]),
                    resign(work, base, key="new.pem", attributes=[change_subject_name(name())]),
                    resign(work, make_csr(work, "/CN=changed", key="new.pem"), key="new.pem",
                           attributes=[change_subject_name(name((CN, "changed")))])):
            self.assertEqual(self.status(request("simplereenroll", csr), cert=cert), 403)
        csr = resign(work, base, key="new.pem", attributes=[change_subject_name(name((CN, "fresh")))])
        self.assertEqual(self.status(request("simpleenroll", csr, basic(self.gw.challenge()))), 403)
        self.assertEqual([c for c in self.gw.certs() if c["subject"] in ("CN=fresh", "CN=changed")], [])

    def test_change_malformed(self):
        """RFC 6402 2.8: a ChangeSubjectName that is empty, holds something else or is there twice is 400"""
        work = self.gw.work("malformed")
        cert = self.enroll(work, "/CN=malformed")
        base = make_csr(work, "/CN=malformed", key="new.pem")
        good = change_subject_name(name((CN, "x")))
        for attributes in ([change_subject_name()], [change_subject_name(b"\x04\x01x")], [good, good],
                           [change_subject_name(name((CN, "x")), name((CN, "y")))]):
            csr = resign(work, base, key="new.pem", attributes=attributes)
            self.assertEqual(self.status(request("simplereenroll", csr), cert=cert), 400)


def url64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def identifier(cert):
    """base64url(AKI).base64url(serial) of a PEM file, from what openssl prints."""
    shown = text("openssl", "x509", "-in", cert, "-noout", "-ext", "authorityKeyIdentifier", "-serial")
    aki = bytes.fromhex(re.search(r"((?:[0-9A-F]{2}:)+[0-9A-F]{2})", shown)[1].replace(":", ""))
    serial = bytes.fromhex(re.search(r"serial=([0-9A-F]+)", shown)[1])
    return url64(aki) + "." + url64((b"\0" if serial[0] & 0x80 else b"") + serial)


class Info(Renewal):
    """est.renewal_info in one profile, off in another that has the label other."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"auth: \[certificate, basic\]", r"\g<0>, renewal_info: true")
        with open(gw.conf, "a", encoding="utf-8") as file:
            file.write("  other:\n    routes: [{upstream: [local]}]\n    trust: [ca/root.pem]\n"
                       "    challenge: {kinds: [one-time]}\n    est: {labels: [other], auth: [basic]}\n"
                       "  third:\n    routes: [{upstream: [local]}]\n    trust: [ca/root.pem]\n"
                       "    challenge: {kinds: [one-time]}\n    est: {labels: [third], auth: [basic], renewal_info: true}\n")

    def ask(self, what, label="", method=None):
        with Tls12(self.gw) as conn:
            return conn.ask(request(f"renewal-info/{what}", label=label, method=method))

    def window(self, what):
        status, headers, body = self.ask(what)
        self.assertEqual((status, headers["Content-Type"]), (200, "application/json"))
        self.assertNotIn("Content-Transfer-Encoding", headers)
        self.assertTrue(60 <= int(headers["Retry-After"]) <= 21600)
        told = json.loads(body)
        self.assertEqual(list(told), ["suggestedWindow"])
        times = [datetime.datetime.strptime(told["suggestedWindow"][end], "%Y-%m-%dT%H:%M:%SZ") for end in ("start", "end")]
        self.assertLess(*times)
        return times

    def test_window(self):
        """RFC 7030 3.2.2: renewal-info (draft): plain JSON with a window in the last third of the life, the same each time, another
        for another"""
        windows = set()
        for number in range(4):
            work = self.gw.work(f"info-{number}")
            cert, _ = self.enroll(work, f"/CN=info-{number}")
            start, end = self.window(identifier(cert))
            self.assertEqual(self.window(identifier(cert)), [start, end])
            dates = text("openssl", "x509", "-in", cert, "-noout", "-dates")
            first, last = [datetime.datetime.strptime(line.split("=")[1], "%b %d %H:%M:%S %Y GMT") for line in dates.splitlines()]
            self.assertGreaterEqual(start, last - (last - first) / 3 - datetime.timedelta(seconds=1))
            self.assertLess(end, last)
            windows.add(start)
        self.assertEqual(len(windows), 4)

    def test_immediate(self):
        """renewal-info (draft): the window of a certificate that was replaced or revoked lies in the past"""
        work = self.gw.work("immediate")
        cert = self.enroll(work, "/CN=immediate")
        old = identifier(cert[0])
        self.assertGreater(self.window(old)[0], datetime.datetime.utcnow())
        self.renew(work, make_csr(work, "/CN=immediate", key="new.pem"), cert)
        self.assertLess(self.window(old)[1], datetime.datetime.utcnow())
        new = identifier(os.path.join(work, "renewed.pem"))
        self.assertGreater(self.window(new)[0], datetime.datetime.utcnow())
        serial = text("openssl", "x509", "-in", os.path.join(work, "renewed.pem"), "-noout", "-serial").strip().split("=")[1]
        self.gw.cli("cert", "revoke", serial.lower())
        self.assertLess(self.window(new)[1], datetime.datetime.utcnow())

    def test_unknown(self):
        """RFC 7030 3.2.2: renewal-info is 404 for what is malformed, unknown, another profile's or switched off, and 405 for POST"""
        work = self.gw.work("unknown")
        cert, _ = self.enroll(work, "/CN=unknown")
        good = identifier(cert)
        key, serial = good.split(".")
        for what in ("x", key, key + ".", "." + serial, good + ".", good + "=", key + "." + serial[:-4], "AAAA." + serial,
                     serial + "." + key, good + "/x", "a" * 300 + "." + serial):
            self.assertEqual(self.ask(what)[0], 404, what)
        for label in ("/other", "/third"):
            self.assertEqual(self.ask(good, label)[0], 404, label)
        self.assertEqual(self.ask(good, "/default")[0], 200)
        self.assertEqual(self.status(request("renewal-info")), 404)
        self.assertEqual(self.status(request("renewal-info/" + good, b"")), 405)


class Grace(Renewal):
    """renewal.grace_after_expiry: 2d, an explicit anchor and an implicit one."""

    @classmethod
    def configure(cls, gw):
        top = gw.work("pki")
        cls.own, cls.maker = Ca(top, "own", "/CN=Own CA"), Ca(top, "maker", "/O=Maker/CN=Root")
        gw.edit(r"grace_after_expiry: 0d", "grace_after_expiry: 2d")
        gw.edit(r"^    trust: \[ca/root.pem\].*$", f"""    trust: [ca/root.pem]
    anchors:
      - {{certificates: [{cls.own.cert}], class: explicit, revocation: none}}
      - {{certificates: [{cls.maker.cert}], class: implicit, names: same, revocation: none}}""")

    def test_grace(self):
        """S4: past its end, within the grace, a certificate of the explicit anchor renews; later, too early, or of another class never"""
        work = self.gw.work("grace")
        for number, (ca, start, end, operation, wanted) in enumerate((
                (self.own, -9, -1, "simplereenroll", 200), (self.own, -9, -1.99, "simplereenroll", 200),
                (self.own, -9, -2.01, "simplereenroll", 403), (self.own, -9, -3, "simplereenroll", 403),
                (self.own, 1, 9, "simplereenroll", 403), (self.own, -9, -1, "simpleenroll", 200),
                (self.maker, -9, -1, "simplereenroll", 403), (self.maker, -9, -1, "simpleenroll", 401),
                (self.maker, -9, 9, "simpleenroll", 200))):
            cert = ca.issue(f"g{number}", f"/CN=g{number}", start=start, end=end)
            csr = make_csr(work, f"/CN=g{number}", key="new.pem")
            self.assertEqual(self.status(request(operation, csr), cert=cert), wanted, (ca.name, start, end, operation))
        other = self.own.issue("o1", "/CN=o1", start=-9, end=-1)
        self.assertEqual(self.status(request("simplereenroll", make_csr(work, "/CN=o2", key="new.pem")), cert=other), 403)


class Refused(Renewal):
    """The tree that init makes: change_names is refuse."""

    def test_refused(self):
        """RFC 7030 4.2.2: where names may not change, ChangeSubjectName is 403, and no certificate with the old names comes"""
        work = self.gw.work("no")
        cert = self.enroll(work, "/CN=no")
        csr = resign(work, make_csr(work, "/CN=no", key="new.pem"), key="new.pem",
                     attributes=[change_subject_name(name((CN, "yes")))])
        before = len(self.gw.certs())
        self.assertEqual(self.status(request("simplereenroll", csr), cert=cert), 403)
        self.assertEqual(len(self.gw.certs()), before)


if __name__ == "__main__":
    unittest.main()
