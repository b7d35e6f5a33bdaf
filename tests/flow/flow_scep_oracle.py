"""Decryption oracles: however an envelope is broken, the answer is the same, and takes as long."""
import unittest

import oracle
from scep_wire import ScepTest

ROUNDS = 500
COPIES = 8
CHANCE = 5  # standard deviations


class Oracle(ScepTest):
    lookup = False
    rounds = ROUNDS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        messages = oracle.broken_messages(cls.gw, COPIES, cls.lookup)
        cls.before = cls.counts(cls)
        cls.times, cls.answers = oracle.measure(cls.gw, messages, cls.rounds)

    def test_answers(self):
        """All broken envelopes are answered with the same octets but for nonce, time and signature: badMessageCheck."""
        self.assertEqual(len(self.answers), 1)
        self.assertIn(b"\x13\x011", next(iter(self.answers)))
        self.assertEqual(self.counts(), self.before)

    def test_times(self):
        """No broken envelope is told from another by the time of its answer."""
        told = {row[0]: row[1:] for row in oracle.table(self.times) if abs(row[-1]) > CHANCE}
        self.assertEqual(told, {})

    def test_times_would_tell(self):
        """The comparison sees a shift of half the width that the middle half of the times has."""
        reference = self.times[oracle.REFERENCE]
        shift = (oracle.quantile(reference, 0.75) - oracle.quantile(reference, 0.25)) / 2
        shifted = [value + shift for value in self.times["another key again"]]
        self.assertGreater(oracle.rank_score(shifted, reference), CHANCE)


class Lookup(Oracle):
    """The same in GetCert messages of a device that may ask."""

    lookup = True
    rounds = ROUNDS // 2


if __name__ == "__main__":
    unittest.main(verbosity=2)
