"""Decryption oracles: however an envelope is broken, the answer is the same, and takes as long."""
import unittest

import oracle
from scep_wire import ScepTest

ROUNDS = 500
COPIES = 8
CHANCE = 5  # standard deviations


class Oracle(ScepTest):
    lookup = False
    rounds, reference = ROUNDS, oracle.REFERENCE

    @classmethod
    def messages(cls):
        return oracle.broken_messages(cls.gw, COPIES, cls.lookup)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        messages = cls.messages()
        cls.before = cls.counts(cls)
        cls.times, cls.answers = oracle.measure(cls.gw, messages, cls.rounds)

    def test_answers(self):
        """All broken envelopes are answered with the same octets but for nonce, time and signature: badMessageCheck (flaws 6 and
        7)."""
        self.assertEqual(len(self.answers), 1)
        self.assertIn(b"\x13\x011", next(iter(self.answers)))
        self.assertEqual(self.counts(), self.before)

    def test_times(self):
        """No broken envelope is told from another by the time of its answer (flaw 6)."""
        told = {row[0]: row[1:] for row in oracle.table(self.times, self.reference) if abs(row[-1]) > CHANCE}
        self.assertEqual(told, {})

    def test_times_would_tell(self):
        """The comparison sees a shift of half the width that the middle half of the times has, however noisy they are: these
        times themselves are shifted, so that two measurements of the same do not differ by chance."""
        reference = self.times[self.reference]
        shift = (oracle.quantile(reference, 0.75) - oracle.quantile(reference, 0.25)) / 2
        shifted = [value + shift for value in reference]
        self.assertGreater(oracle.rank_score(shifted, reference), CHANCE)


class Lookup(Oracle):
    """The same in GetCert messages of a device that may ask."""

    lookup = True
    rounds = ROUNDS // 2


class Passwords(Oracle):
    """Envelopes that the fixed challenge closes: not to know it looks and takes like any other fault of them."""

    SECRET = "FIXEDSECRET234567890"
    rounds, reference = ROUNDS // 2, oracle.PASSWORD

    @classmethod
    def configure(cls, gw):
        gw.take_fixed(cls.SECRET)

    @classmethod
    def messages(cls):
        return oracle.broken_passwords(cls.gw, COPIES, cls.SECRET)


if __name__ == "__main__":
    unittest.main(verbosity=2)
