"""Whether a SCEP server tells how an envelope is broken: by what it answers, or by how long it takes.

Envelopes are broken in each way that only the server's key shows: a transport key that is no PKCS#1 or OAEP block, that is
too short, that is another one; padding of the content that ends with 0 or beyond its block; content that is no CSR; a CSR whose
signature is wrong. Messages of all kinds go over one connection in rounds, each round in an order of its own, so that what
disturbs the machine disturbs all of them alike."""
import math
import os
import random
import time

from gateway import run
from scep_wire import CertRep, Party, connect

REFERENCE = "another key"
VARIANTS = {
    "no PKCS#1 block": ["plain=csr.der", "fault=1"],
    "short key": ["plain=csr.der", "fault=2"],
    REFERENCE: ["plain=csr.der", "fault=3"],
    "padding 0": ["plain=csr.der", "fault=4"],
    "padding 200": ["plain=csr.der", "fault=5"],
    "no CSR": ["plain=noise.der"],
    "torn CSR": ["plain=torn.der"],
    "no OAEP block": ["plain=csr.der", "oaep=SHA256", "fault=1"],
    "another key by OAEP": ["plain=csr.der", "oaep=SHA256", "fault=3"],
    "another key again": ["plain=csr.der", "fault=3"],  # the same once more: shows what noise is
}
# The same in a question for a certificate, from a device that may ask: a CSR behind right padding is no answer either.
LOOKUPS = {name: words for name, words in VARIANTS.items() if "CSR" not in name and "OAEP" not in name}
LOOKUPS["a CSR"] = ["plain=csr.der"]
LOOKUPS["no question"] = ["plain=noise.der"]
PASSWORD = "a torn key"  # the reference among envelopes that a password closes
HEAD = (b"POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-pki-message\r\n"
        b"Content-Length: %d\r\n\r\n")


def broken_messages(gw, copies, lookup=False):
    """Of each variant so many messages, all of the same transaction, and of the same length but for OAEP's parameters."""
    party = Party(gw, "oracle")
    more = ["type=21", f"signer={party.enroll('/CN=oracle')}"] if lookup else []
    party.csr("/CN=oracle", gw.challenge())
    csr = party.load("csr.der")
    party.keep("noise.der", os.urandom(len(csr)))
    party.keep("torn.der", csr[:-9] + bytes([csr[-9] ^ 1]) + csr[-8:])
    messages = {}
    for number, (name, words) in enumerate((LOOKUPS if lookup else VARIANTS).items()):
        party.run_forge(None, [*words, *more, f"save=broken{number}", f"copies={copies}"])
        messages[name] = [party.load(f"broken{number}.{i}") for i in range(copies)]
    for oaep in (False, True):
        lengths = {len(message) for name, all_of_one in messages.items() for message in all_of_one if ("OAEP" in name) == oaep}
        if len(lengths) > 1:
            raise AssertionError(f"lengths {lengths} would tell")
    return messages


def flipped(data, part, at, mask=1):
    """The data with bits of an octet of a part turned."""
    octets = bytearray(part)
    octets[at] ^= mask
    if data.count(part) != 1:
        raise AssertionError("not one such part")
    return data.replace(part, bytes(octets))


def broken_passwords(gw, copies, secret):
    """A captured envelope that is closed with a password, broken, and signed by somebody else."""
    party = Party(gw, "captor")
    run("openssl", "genrsa", "-out", "device.pem", "2048", cwd=party.dir)
    messages = {name: [] for name in (PASSWORD, "another password", "padding 200", "no CSR", "torn CSR", PASSWORD + " again")}
    for number in range(copies):
        gw.scep_client("--subject", "/CN=captured", "--key", "device.pem", "--by-password", "--no-send", "--save-request",
                       "captured.der", secret=secret, cwd=party.dir)
        gw.scep_client("--subject", "/CN=captured", "--key", "device.pem", "--by-password", "--no-send", "--save-request",
                       "wrong.der", secret="X" * len(secret), cwd=party.dir)
        captured, wrong = (CertRep(party.load(name)).parts[2][1][0].content for name in ("captured.der", "wrong.der"))
        envelope = CertRep(party.load("captured.der")).envelope
        key, content = envelope[1][0].items[-1].content, envelope[2][2].content
        torn = flipped(captured, key, number % len(key))
        for name, data in zip(messages, (torn, wrong, flipped(captured, content, -17, 0xc8), flipped(captured, content, 0),
                                         flipped(captured, content, -64), torn)):
            party.keep("envelope.der", data)
            messages[name].append(party.message("plain=envelope.der", "bare=1"))
    return messages


class Asker:
    """One connection, opened again when the server has had enough of it."""

    def __init__(self, gw):
        self.gw, self.connection = gw, None

    def ask(self, message):
        """(nanoseconds until the whole reply is there, its body)"""
        for _ in range(3):
            if not self.connection:
                self.connection = connect(self.gw)
            start = time.perf_counter_ns()
            try:
                self.connection.sendall(HEAD % len(message) + message)
                data = self.receive()
            except OSError:
                data = None
            end = time.perf_counter_ns()
            if data is not None:
                return end - start, data
            self.connection.close()
            self.connection = None
        raise AssertionError("no reply")

    def receive(self):
        data = b""
        while True:
            piece = self.connection.recv(65536)
            if not piece:
                return None
            data += piece
            head, found, body = data.partition(b"\r\n\r\n")
            if found and len(body) >= int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
                return body

    def close(self):
        if self.connection:
            self.connection.close()


def measure(gw, messages, rounds):
    """The times of each variant, and the set of answers without what has to differ."""
    asker, answers = Asker(gw), set()
    times = {name: [] for name in messages}
    names = list(messages)
    try:
        for turn in range(-20, rounds):
            random.shuffle(names)
            for name in names:
                spent, body = asker.ask(random.choice(messages[name]))
                if turn >= 0:
                    times[name].append(spent)
                if turn % 50 == 0:
                    answers.add(CertRep(body).masked())
    finally:
        asker.close()
    return times, answers


def rank_score(a, b):
    """Mann and Whitney's z: how many standard deviations the ranks of a in a and b together are off what chance gives."""
    joined = sorted([(value, 0) for value in a] + [(value, 1) for value in b])
    rank_sum = sum(rank for rank, (_, which) in enumerate(joined, 1) if which == 0)
    mean = len(a) * (len(a) + len(b) + 1) / 2
    return (rank_sum - mean) / math.sqrt(len(b) * mean / 6)


def quantile(values, share):
    return sorted(values)[int(share * (len(values) - 1))]


def table(times, reference=REFERENCE):
    """(name, lower quartile and median in microseconds, differences to the reference's, z)"""
    reference = times[reference]
    for name, values in times.items():
        quarter, median = (quantile(values, share) / 1000 for share in (0.25, 0.5))
        yield (name, quarter, median, quarter - quantile(reference, 0.25) / 1000, median - quantile(reference, 0.5) / 1000,
               rank_score(values, reference))
