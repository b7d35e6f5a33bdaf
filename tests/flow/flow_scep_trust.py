"""Renewal over SCEP by certificates of other CAs that the profile trusts: revoked ones never, by CRL or by OCSP; and what cannot be
checked as the anchor says."""
import unittest

from http_corpus import wait_until
from pki import Ca, Web
from scep_wire import Party, ScepTest

WAIT = 90  # seconds, for what goes on behind the requests
SOURCES = ("crl", "ocsp")
MODES = ("hard_fail", "soft_fail")
ALL = [(source, mode) for source in SOURCES for mode in MODES]


class Trust(ScepTest):
    """An anchor for each source of revocation in each mode, whose CA signs certificates that may renew here."""

    @classmethod
    def configure(cls, gw):
        top = gw.work("pki")
        cls.web = Web()
        cls.addClassCleanup(cls.web.close)
        cls.cas, anchors = {}, []
        for source, mode in ALL:
            name = f"{source}-{mode[:4]}"
            ca = cls.cas[source, mode] = cls.web.cas[name] = Ca(top, name, f"/CN={name}")
            where = f'crl: ["{cls.web.url}/{name}.crl"]' if source == "crl" else f'ocsp: "{cls.web.url}/ocsp/{name}"'
            anchors.append(f"      - {{certificates: [{ca.cert}], class: explicit, revocation: {mode}, {where}, refresh: 1s}}")
        gw.edit(r"^    trust: \[ca/root.pem\].*$", "    trust: [ca/root.pem]\n    anchors:\n" + "\n".join(anchors))

    def setUp(self):
        self.web.down.clear()
        self.publish()

    def publish(self):
        """What the CAs say now."""
        for (source, _), ca in self.cas.items():
            if source == "crl":
                self.web.crls[f"{ca.name}.crl"] = ca.crl()

    def holder(self, source, mode, name):
        """Somebody with a certificate of that CA: (certificate, key), subject, and a party that makes requests."""
        party = Party(self.gw, f"{name}-{source}-{mode}")
        subject = f"/CN={name}-{source}-{mode[:4]}"
        return self.cas[source, mode].issue(name, subject, kind="RSA"), subject, party

    def renew(self, holder, kind):
        """What a renewal for the party's new key brings."""
        (cert, key), subject, party = holder
        party.csr(subject)
        return party.forge("csr=csr.der", f"type={kind}", f"signer={cert}", f"key={key}", f"txn={subject}").outcome

    def assert_comes(self, holder, outcome):
        """It does, with either message type, once what goes on behind the requests has been done."""
        self.assertTrue(wait_until(lambda: self.renew(holder, "17") == outcome, WAIT),
                        f"{self.renew(holder, '17')} instead of {outcome}\n{self.gw.log()[-2000:]}")
        self.assertEqual(self.renew(holder, "19"), outcome)

    def issued(self, holder):
        return len([c for c in self.gw.certs() if c["subject"] == holder[1][1:]])

    def test_revoked_before(self):
        """Who was revoked before we ever heard of the certificate gets no renewal, by either message type (flaw 4)."""
        for source, mode in ALL:
            with self.subTest(source=source, mode=mode):
                good, first, bad = (self.holder(source, mode, name) for name in ("good", "first", "bad"))
                for holder in (first, bad):
                    self.cas[source, mode].revoke(holder[0][0])
                self.publish()
                self.assert_comes(first, "badRequest")  # so the CRL of now is there
                self.assert_comes(bad, "badRequest")
                self.assert_comes(good, "SUCCESS")
                self.assertIn("revoked", self.gw.log_line(f'subject="{bad[1][1:]}"', "badRequest"))
                if mode == "hard_fail":
                    self.assertEqual(self.issued(bad), 0)

    def test_revoked_after(self):
        """Who renewed, which RenewalReq and PKCSReq do once for the same key, and was revoked since renews no more, and is not
        given again what was issued."""
        for source, mode in ALL:
            with self.subTest(source=source, mode=mode):
                holder = self.holder(source, mode, "later")
                self.assert_comes(holder, "SUCCESS")
                self.assertEqual(self.issued(holder), 1)
                self.cas[source, mode].revoke(holder[0][0])
                self.publish()
                self.assert_comes(holder, "badRequest")
                self.assertEqual(self.issued(holder), 1)

    def test_responder_down(self):
        """While its responder is silent, hard_fail has no answer (503), and soft_fail lets a certificate pass and counts that;
        when it speaks again the good one renews, and the revoked one does not."""
        for mode in MODES:
            with self.subTest(mode=mode):
                self.web.down.add(f"/ocsp/{self.cas['ocsp', mode].name}")
                good, bad = self.holder("ocsp", mode, "down"), self.holder("ocsp", mode, "down-bad")
                self.cas["ocsp", mode].revoke(bad[0][0])
                self.assert_unchecked((good, bad), mode)
                self.web.down.clear()
                self.assert_comes(good, "SUCCESS")
                self.assert_comes(bad, "badRequest")

    def assert_unchecked(self, holders, mode):
        allowed = self.gw.metric("revocation_allowed_total")
        for holder in holders:
            if mode == "soft_fail":
                self.assert_comes(holder, "SUCCESS")
                continue
            for kind in ("17", "19"):
                self.assertEqual(self.renew(holder, kind), "503")
            self.assertEqual(self.issued(holder), 0)
        counted = self.gw.metric("revocation_allowed_total") > allowed
        self.assertEqual(counted, mode == "soft_fail")


class NoCrl(Trust):
    """CRLs that were not there since the start, each test with a CA of its own."""

    test_revoked_before = test_revoked_after = test_responder_down = None

    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        cls.web.down.update(f"/{cls.cas['crl', mode].name}.crl" for mode in MODES)

    def setUp(self):
        self.publish()

    def assert_until_it_comes(self, mode):
        good, bad = self.holder("crl", mode, "none"), self.holder("crl", mode, "none-bad")
        self.cas["crl", mode].revoke(bad[0][0])
        self.assert_unchecked((good, bad), mode)
        self.publish()
        self.web.down.discard(f"/{self.cas['crl', mode].name}.crl")
        self.assert_comes(good, "SUCCESS")
        self.assert_comes(bad, "badRequest")

    def test_hard(self):
        """hard_fail has no answer (503) until there is a CRL, which then decides."""
        self.assert_until_it_comes("hard_fail")

    def test_soft(self):
        """soft_fail lets everybody pass and counts that until there is a CRL, which then decides."""
        self.assert_until_it_comes("soft_fail")


if __name__ == "__main__":
    unittest.main(verbosity=2)
