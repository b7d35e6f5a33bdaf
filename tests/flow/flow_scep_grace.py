"""Certificates that have ended renew over SCEP within renewal.grace_after_expiry, and not a moment longer."""
import os
import unittest

from debug import DebugPage
from gateway import FlowTest

HOUR, DAY = 3600, 86400
LIFE = 90 * DAY


class Grace(FlowTest):
    @classmethod
    def configure(cls, gw):
        cls.page = DebugPage(os.path.join(gw.top, "page"))
        gw.env = cls.page.env
        gw.edit(r"grace_after_expiry: 0d", "grace_after_expiry: 1d")

    def setUp(self):
        self.work = self.gw.work(self.id().rsplit(".", 1)[1])
        self.page.shift_clock(0)

    def enroll(self, name):
        self.gw.scep_client("--subject", f"/CN={name}", "--key-out", f"{name}.key", "--out", f"{name}.pem",
                            secret=self.gw.challenge(), cwd=self.work)

    def renew(self, name, kind, check=True):
        return self.gw.scep_client("--subject", f"/CN={name}", "--renew", f"{name}.pem", f"{name}.key", "--type", kind, "--out",
                                   "renewed.pem", check=check, cwd=self.work).stdout

    def test_within(self):
        """An hour before the grace is over, by RenewalReq and by PKCSReq."""
        for kind in ("17", "19"):
            self.enroll(f"within-{kind}")
        self.page.shift_clock(LIFE + DAY - HOUR)
        for kind in ("17", "19"):
            self.assertIn(b"status=SUCCESS", self.renew(f"within-{kind}", kind))

    def test_beyond(self):
        """An hour after it: badRequest, and the log says that the certificate has expired."""
        self.enroll("beyond")
        before = len(self.gw.certs())
        self.page.shift_clock(LIFE + DAY + HOUR)
        for kind in ("17", "19"):
            self.assertIn(b"status=FAILURE fail=badRequest", self.renew("beyond", kind, check=False))
            self.gw.log_line("CN=beyond", "has expired")
        self.assertEqual(len(self.gw.certs()), before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
