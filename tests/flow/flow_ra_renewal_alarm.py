"""RAs that cannot renew themselves: whatever the CA does, and whatever stands on the disk, there is an alarm soon, the old pair
serves on, and once the cause is gone the renewal goes through."""
import os
import re
import time
import unittest

from flow_ra_renewal import Renewal, Split
HOUR = 3600
CA = """#!/bin/sh
# The root CA, in the mood that a file names.
cd "$FOLDER" || exit 4
mood=$(cat mood)
[ "$mood" = unreachable ] && exit 3
[ "$CERTMONGER_OPERATION" = FETCH-ROOTS ] && { echo root; exec cat ca/root.pem; }
[ "$mood" = refuse ] && { echo "not this year"; exit 2; }
[ "$mood" = hold ] && { echo 1; echo a-cookie; exit 5; }
printf '%s' "$CERTMONGER_CSR" >csr
printf 'keyUsage=critical,%s\\n' "${mood#usage:}" >usage
exec openssl x509 -req -in csr -CA ca/root.pem -CAkey ca/root.key -days 2000 -set_serial "0x1$(openssl rand -hex 15)" \\
    -extfile usage
"""
SUITS = "usage:digitalSignature,keyEncipherment"


class Alarm(Renewal):
    upstream = "moody"

    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        program = gw.path("program")
        with open(os.open(program, os.O_WRONLY | os.O_CREAT, 0o755), "w", encoding="ascii") as file:
            file.write(CA)
        gw.edit(r"^upstreams:.*$", lambda found: f"{found[0]}\n  moody:\n    type: exec\n    command: [{program}]\n"
                f"    environment: [FOLDER={gw.dir}, \"PATH=/usr/bin:/bin\"]\n    limits: {{wait: 30s, deadline: 30s}}\n"
                "    breaker: {failures: 1000, open: 1s}")
        cls.mood(gw, SUITS)

    @staticmethod
    def mood(gw, mood):
        with open(gw.path("mood.new"), "w", encoding="ascii") as file:
            file.write(mood)
        os.replace(gw.path("mood.new"), gw.path("mood"))

    def warnings(self):
        return re.findall(r"level=warn event=ra-renewal .*", self.gw.log())

    def failing(self):
        return self.gw.metric(r'^scepter_ra_renewal_failing\{ra="main"\}')

    def assert_alarm(self, reason):
        """One warning that tells why; the old pair is told and serves."""
        self.wait_for(self.warnings)
        self.assertIn(reason, self.warnings()[0])
        self.assertEqual(self.failing(), 1)
        self.assertEqual(self.told(), self.fingerprint(self.gw.path("ra/ra.pem")))
        self.assertEqual(self.gw.admin("/readyz")[0], 200)
        self.enroll("meanwhile", self.gw.path("ra/ra.pem"))
        self.assertEqual(len(self.warnings()), 1)

    def assert_over(self, days, seconds):
        """What was in the way is gone, and it is time to try again."""
        self.go_to(self.gw.path("ra/ra.pem"), days, seconds)
        renewed = self.assert_in_force()
        self.wait_for(lambda: self.failing() == 0)
        self.enroll("after", renewed)


class Refuses(Alarm):
    def test_refused(self):
        """A CA that says no: the alarm is at once and has the CA's words; it is asked anew after an hour, not before."""
        self.mood(self.gw, "refuse")
        self.go_to(self.gw.path("ra/ra.pem"), 29)
        self.assert_alarm("not this year")
        self.mood(self.gw, SUITS)
        self.go_to(self.gw.path("ra/ra.pem"), 29, HOUR - 120)
        time.sleep(2.5)
        self.assertEqual(self.own_certs(), [])
        self.assert_over(29, HOUR + 120)
        self.assertEqual(len(self.own_certs()), 1)


class Unreachable(Alarm):
    def test_unreachable(self):
        """A CA that is not there: no alarm for a moment's absence, but one within minutes."""
        self.mood(self.gw, "unreachable")
        self.go_to(self.gw.path("ra/ra.pem"), 29)
        self.wait_for(lambda: self.gw.requests())
        self.assertEqual(self.warnings(), [])
        self.go_to(self.gw.path("ra/ra.pem"), 29, 640)
        self.assert_alarm("the CA has not answered")
        self.mood(self.gw, SUITS)
        self.assert_over(29, 2 * HOUR)
        self.assertEqual(len(self.own_certs()), 1)


class Holds(Alarm):
    def test_held(self):
        """A CA that asks for time has a day of it."""
        self.mood(self.gw, "hold")
        self.go_to(self.gw.path("ra/ra.pem"), 29)
        self.wait_for(lambda: [r for r in self.gw.requests() if r["state"] == "waiting"])
        self.go_to(self.gw.path("ra/ra.pem"), 29, 23 * HOUR)
        time.sleep(2.5)
        self.assertEqual((self.warnings(), self.failing()), ([], 0))
        self.go_to(self.gw.path("ra/ra.pem"), 29, 25 * HOUR)
        self.assert_alarm("the CA asks for time")


class DoesNotSuit(Alarm):
    def test_usage(self):
        """A certificate whose keyUsage does not suit SCEP is not put into force nor written: an alarm at once, and another key
        a day later."""
        self.mood(self.gw, "usage:digitalSignature")
        self.go_to(self.gw.path("ra/ra.pem"), 29)
        self.assert_alarm("keyUsage")
        self.assertFalse(os.path.exists(self.gw.path("ra/renewed.pem")))
        self.assertEqual(len(self.own_certs()), 1)
        self.mood(self.gw, SUITS)
        self.assert_over(28, HOUR)
        self.assertEqual(len(self.own_certs()), 2)


class Half(Split, Alarm):
    """A CA that gives every RA the usages of one that signs."""
    days = (1800, 365)

    def test_half(self):
        """An RA of two pairs whose second one cannot be renewed: the alarm names it, the first one is not due, and what
        decrypts today goes on; a CA that minds the usage ends it."""
        encrypt = self.gw.path("ra/encrypt.pem")
        self.mood(self.gw, "usage:digitalSignature")
        self.go_to(encrypt, 29)
        self.wait_for(self.warnings)
        self.assertIn('ra="main:encryption"', self.warnings()[0])
        self.assertIn("keyUsage", self.warnings()[0])
        gauge = r'^scepter_ra_renewal_failing\{ra="%s"\}'
        self.assertEqual([self.gw.metric(gauge % name) for name in ("main", "main:encryption")], [0, 1])
        self.enroll("meanwhile", encrypt)
        self.mood(self.gw, "usage:keyEncipherment")
        self.go_to(encrypt, 28, HOUR)
        self.place, self.file, self.name = 1, "ra/renewed.pem.encryption", "main:encryption"
        self.enroll("after", self.assert_in_force())
        self.wait_for(lambda: self.gw.metric(gauge % "main:encryption") == 0)
        self.assertFalse(os.path.exists(self.gw.path("ra/renewed.pem")))


class CannotBeLoaded(Alarm):
    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        gw.take_fixed("FIXEDSECRET234567890")

    def test_loaded(self):
        """A pair that is written while the settings cannot be loaded: an alarm within minutes, no second certificate, and in
        force once they can."""
        os.rename(self.gw.path("secrets"), self.gw.path("kept"))
        self.go_to(self.gw.path("ra/ra.pem"), 29)
        self.wait_for(lambda: os.path.exists(self.gw.path("ra/renewed.pem")))
        self.wait_for(lambda: "level=error event=reload" in self.gw.log())
        self.go_to(self.gw.path("ra/ra.pem"), 29, 120)
        self.wait_for(self.warnings)
        self.wait_for(lambda: self.gw.log().count("the configuration before stays in force") == 2)
        self.go_to(self.gw.path("ra/ra.pem"), 29, 300)
        self.wait_for(lambda: self.gw.log().count("the configuration before stays in force") == 3)
        self.assertIn("could not be loaded", self.warnings()[0])
        self.assertEqual(self.failing(), 1)
        self.assertEqual(self.told(), self.fingerprint(self.gw.path("ra/ra.pem")))
        os.rename(self.gw.path("kept"), self.gw.path("secrets"))
        self.assert_over(29, 600)
        self.assertEqual(len(self.own_certs()), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
