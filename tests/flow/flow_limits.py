"""Who asks too often hears so before anything is computed for him, and hinders nobody else."""
import http.client
import os
import re
import ssl
import subprocess
import time
import unittest

from est_wire import Tls12, basic, make_csr, request
from gateway import SCEPTER, FlowTest, Gateway, run


def until_refused(test, ask, burst, seconds, start):
    """Asks as long as the status is 200; the answer that is another, and how many came before: no more than the burst, and one
    for each so many seconds since the start."""
    served = 0
    while (answer := ask())[0] == 200:
        served += 1
        test.assertLessEqual(served, burst + (time.monotonic() - start) / seconds + 1)
    return answer, served


class Limits(FlowTest):
    @classmethod
    def configure(cls, gw):
        gw.edit(r"^profiles:", "limits: {rate_per_address: 20/min}\nprofiles:")

    def ask(self, path, source="127.0.0.1"):
        """(status, Retry-After or None) of a SCEP GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gw.scep_port, timeout=30, source_address=(source, 0))
        connection.request("GET", path)
        reply = connection.getresponse()
        reply.read()
        connection.close()
        return reply.status, reply.headers.get("Retry-After")

    def test_address(self):
        """An address beyond its rate hears 429 with the seconds to wait, over both doors; another address is served; and after
        these seconds it is as well (flaw 15)."""
        start = time.monotonic()
        (status, wait), served = until_refused(self, lambda: self.ask("/scep/default?operation=GetCACaps", "127.0.0.2"), 20, 3, start)
        self.assertGreaterEqual(served, 20)
        self.assertEqual(status, 429)
        self.assertIn(wait, ("1", "2", "3"))
        self.assertEqual(self.ask("/scep/default?operation=GetCACaps", "127.0.0.3")[0], 200)

        context = ssl.create_default_context(cafile=self.gw.root)
        connection = http.client.HTTPSConnection("127.0.0.1", self.gw.est_port, timeout=30, context=context,
                                                 source_address=("127.0.0.2", 0))

        def by_est():
            connection.request("GET", "/.well-known/est/cacerts")
            reply = connection.getresponse()
            reply.read()
            return reply.status, reply.headers.get("Retry-After")

        (status, wait), _ = until_refused(self, by_est, 20 - served, 3, start)
        self.assertEqual(status, 429)
        time.sleep(int(wait))
        self.assertEqual(by_est()[0], 200)
        connection.close()
        self.assertGreater(self.gw.metric(r'scepter_requests_total.*reason="too-many-requests"'), 0)

    def test_operators(self):
        """The rate is that of devices: health and metrics are asked as often as one likes."""
        for _ in range(30):
            self.assertEqual(self.gw.admin("/healthz")[0], 200)


class Chains(FlowTest):
    """What clients send in the handshake, before anybody knows them."""

    CONNECTIONS = 40

    @classmethod
    def configure(cls, gw):
        # What is free is to be given back, with a sanitizer as well.
        gw.env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=1"

    def made(self, name, subject="/CN=a"):
        work = self.gw.work("chains")
        files = os.path.join(work, name + ".pem"), os.path.join(work, name + ".key")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", subject, "-out", files[0], "-keyout", files[1])
        return files

    def sent(self, name, count):
        """One certificate, and itself so many times behind it."""
        cert, key = self.made(name)
        with open(cert, encoding="ascii") as file:
            one = file.read()
        with open(cert, "w", encoding="ascii") as file:
            file.write(one * (count + 1))
        return cert, key

    def grown(self, cert):
        """By how many KiB the server grows with so many clients that send this."""
        before = self.gw.resident()
        connections = [Tls12(self.gw, cert=cert) for _ in range(self.CONNECTIONS)]
        after = self.gw.resident()
        for connection in connections:
            connection.close()
        return after - before

    def test_memory(self):
        """Of a client's chain no more is kept than anybody reads: 70 certificates cost what a few do."""
        few, many = self.sent("few", 8), self.sent("many", 70)
        self.grown(few)  # and what the first ones make grow
        self.assertLess(self.grown(many) - self.grown(few), 60 * self.CONNECTIONS)

    def test_refused(self):
        """A chain of more than 32 KiB, and a certificate with more names than anybody reads, end the handshake; the next client is
        served."""
        long = self.sent("long", 100)
        named = self.made("named", "".join(f"/OU={i}" for i in range(70)))
        fine = self.made("fine", "".join(f"/OU={i}" for i in range(60)))
        for cert in long, named:
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                Tls12(self.gw, cert=cert)
        with Tls12(self.gw, cert=fine) as connection:
            self.assertEqual(connection.ask(request("cacerts"))[0], 200)


class ProfileLimits(FlowTest):
    @classmethod
    def configure(cls, gw):
        gw.edit(r"^    challenge:", "    rate: 30/min\n    quota: {per_device: 2/day}\n    challenge:")
        with open(gw.conf, encoding="utf-8") as file:
            text = file.read()
        profile = re.search(r"^  default:\n((?:    .*\n|\n)+)", text, re.M).group(1)
        other = re.sub(r"rate: .*|quota: .*", "", profile)
        other = re.sub(r"paths: \[.*?\]", "paths: [/scep/other]", other)
        other = re.sub(r"labels: \[.*?\]", "labels: [other]", other)
        with open(gw.conf, "a", encoding="utf-8") as file:
            file.write("  other:\n" + other)

    def enroll(self, *, subject="/CN=loop-1", work=None, user="loop-1"):
        """(status, headers, body) of an EST enrollment with a new key and challenge."""
        work = work or self.gw.work(f"est-{time.monotonic_ns()}")
        csr = make_csr(work, subject)
        context = ssl.create_default_context(cafile=self.gw.root)
        connection = http.client.HTTPSConnection("127.0.0.1", self.gw.est_port, timeout=30, context=context)
        name, value = basic(self.gw.challenge(), user).split(": ")
        connection.request("POST", "/.well-known/est/simpleenroll", body=csr,
                           headers={name: value, "Content-Type": "application/pkcs10"})
        reply = connection.getresponse()
        body = reply.read()
        connection.close()
        return reply.status, reply.headers, body

    def test_a_quota(self):
        """A device that asks for a third certificate in a day is refused by both doors, by 429 with Retry-After and by FAILURE;
        another device is not; the inventory has two, and it shows in the metrics."""
        self.assertEqual(self.enroll()[0], 200)
        self.assertEqual(self.enroll()[0], 200)
        status, headers, body = self.enroll()
        self.assertEqual(status, 429)
        self.assertIn(b"over-quota", body)
        self.assertTrue(86000 < int(headers["Retry-After"]) <= 86400, headers["Retry-After"])
        secret = self.gw.challenge()
        refused = self.gw.scep_client("--subject", "/CN=loop-1", check=False, secret=secret)
        self.assertIn("status=FAILURE fail=badRequest", refused.stdout.decode())
        self.assertEqual(self.enroll(subject="/CN=other-1", user="other-1")[0], 200)
        self.assertEqual(len([c for c in self.gw.certs() if "loop-1" in c["subject"]]), 2)
        self.assertEqual(self.gw.metric(r'scepter_requests_total.*reason="over-quota"'), 2)
        # The challenge of a refusal is not spent: it serves another device.
        self.gw.scep_client("--subject", "/CN=loop-2", secret=secret)

    def test_b_rate(self):
        """A profile beyond its rate answers 503 with Retry-After, whoever asks; another profile is served."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gw.scep_port, timeout=30)

        def ask(path):
            connection.request("GET", path + "?operation=GetCACaps")
            reply = connection.getresponse()
            reply.read()
            return reply.status, reply.headers.get("Retry-After")

        (status, wait), _ = until_refused(self, lambda: ask("/scep/default"), 30, 2, time.monotonic())
        self.assertEqual(status, 503)
        self.assertIn(wait, ("1", "2"))
        self.assertEqual(ask("/scep/other")[0], 200)
        self.assertGreater(self.gw.metric(r'scepter_requests_total.*reason="profile-busy"'), 0)
        connection.close()


class Guesses(FlowTest):
    """Somebody has a challenge and tries for whom it is."""

    def ask(self, name, secret):
        answer = self.gw.scep_client("--subject", f"/CN={name}", secret=secret, check=False)
        return answer.stdout.decode()

    def test_guesses(self):
        """Five names that it is not for spend a challenge, over either door: then it is of no use for the right one, and the
        trail tells. A device that says the same wrong name again and again has its challenge left."""
        guessed, honest = (self.gw.challenge("--subject", f"CN={name}") for name in ("guessed", "honest"))
        for _ in range(7):
            self.assertIn("fail=badRequest", self.ask("Honest", honest))
        self.assertIn("status=SUCCESS", self.ask("honest", honest))
        for number in range(4):
            self.assertIn("fail=badRequest", self.ask(f"guess-{number}", guessed))
        self.gw.log_line("guess-3", "the challenge is for")
        work = self.gw.work("guesses")
        run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=guess-4", "-keyout", "key.pem", "-out",
            "csr.pem", cwd=work)
        run("sh", "-c", "openssl req -in csr.pem -outform DER | openssl base64 > csr.b64", cwd=work)
        status = run("curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "--cacert", self.gw.root, "--user",
                     f"guess-4:{guessed}", "--data-binary", "@csr.b64", "-H", "Content-Type: application/pkcs10",
                     f"{self.gw.est_url}/simpleenroll", cwd=work).stdout.decode()
        self.assertEqual(status, "401")
        self.assertIn("fail=badRequest", self.ask("guessed", guessed))
        self.gw.log_line('subject="CN=guessed"', "too many names")
        self.assertEqual([c for c in self.gw.certs() if c["subject"] == "CN=guessed"], [])
        self.gw.cli("audit", "verify")


class Check(unittest.TestCase):
    def test_check(self):
        """The words of the documentation are taken, and a quota without a unit is a fault with its line."""
        gw = Gateway()
        try:
            gw.edit(r"^    challenge:", "    quota: {per_device: 5/day}\n    rate: 50/s\n    challenge:")
            gw.cli("check")
            gw.edit("5/day", "5")
            result = subprocess.run([SCEPTER, "check", "-c", gw.conf], capture_output=True, timeout=60, check=False)
            self.assertEqual(result.returncode, 1)
            self.assertIn("per_device: is no rate", (result.stdout + result.stderr).decode())
        finally:
            gw.close()


if __name__ == "__main__":
    unittest.main()
