"""kill -9 at any moment: what a device was told is in the store, and nothing is issued twice."""
import collections
import os
import random
import signal
import subprocess
import time
import unittest

from gateway import SCEP_CLIENT, FlowTest

ENROLLMENTS = 500
KILLS = 8


class Crash(FlowTest):
    def test_kill_during_enrollments(self):
        """kill -9 during 500 enrollments, restart, retry: every certificate that a client received is in the
        inventory, and no request was issued twice."""
        challenges = self.gw.challenges_file(ENROLLMENTS)
        journal = os.path.join(self.gw.top, "journal")
        client = subprocess.Popen([SCEP_CLIENT, "--url", self.gw.scep_url, "--subject", "/CN=crash", "--count",
                                   str(ENROLLMENTS), "--parallel", "4", "--challenges", challenges, "--journal", journal],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        chance = random.Random(1)
        kills = 0
        while client.poll() is None and kills < KILLS:
            time.sleep(0.3 + chance.random())
            if client.poll() is not None:
                break
            self.gw.stop(signal.SIGKILL)
            kills += 1
            self.gw.start()
        output = client.communicate(timeout=600)[0].decode()
        self.assertEqual(client.returncode, 0, output[-3000:] + self.gw.log()[-3000:])
        self.assertGreaterEqual(kills, 3, "the run was over before it was disturbed")

        with open(journal, encoding="utf-8") as file:
            received = [line.split() for line in file]
        self.assertEqual(len(received), ENROLLMENTS)
        inventory = self.gw.certs()
        known = {c["fingerprint"] for c in inventory}
        for fingerprint, *_ in received:
            self.assertIn(fingerprint, known)
        self.assertEqual(len(inventory), ENROLLMENTS, "one certificate for each device")
        self.assertEqual(len({c["serial"] for c in inventory}), ENROLLMENTS)
        subjects = collections.Counter(c["subject"] for c in inventory)
        self.assertEqual(max(subjects.values()), 1)
        states = collections.Counter(r["state"] for r in self.gw.requests())
        self.assertEqual(states, {"issued": ENROLLMENTS})
        self.gw.cli("audit", "verify")


if __name__ == "__main__":
    unittest.main(verbosity=2)
