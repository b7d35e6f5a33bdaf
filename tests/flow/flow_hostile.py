"""Broken messages against the real server, which runs under the sanitizers here."""
import http.client
import os
import re
import socket
import unittest

from gateway import FlowTest


class Hostile(FlowTest):
    def post(self, connection, body):
        connection.request("POST", "/scep/default?operation=PKIOperation", body,
                           {"Content-Type": "application/x-pki-message"})
        reply = connection.getresponse()
        return reply.status, reply.read()

    def send_all(self, messages):
        """Every message is answered; the number of answers by status."""
        seen = {}
        connection = http.client.HTTPConnection("127.0.0.1", self.gw.scep_port, timeout=30)
        for message in messages:
            try:
                status, _ = self.post(connection, message)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection.close()  # a kept connection may be closed between requests: once more on a new one
                connection = http.client.HTTPConnection("127.0.0.1", self.gw.scep_port, timeout=30)
                status, _ = self.post(connection, message)
            seen[status] = seen.get(status, 0) + 1
        connection.close()
        return seen

    def broken(self):
        return [c for c in self.gw.certs() if "broken-1" in c["subject"]]

    def test_truncations_and_changes(self):
        """Every truncation and every single-byte change of a good PKCSReq is answered, and at most the one
        request that it was is issued."""
        work = self.gw.work("broken")
        self.gw.scep_client("--subject", "/CN=broken-1", "--save-request", "request.der", "--no-send",
                            secret=self.gw.challenge("--uses", "1000"), cwd=work)
        with open(os.path.join(work, "request.der"), "rb") as file:
            good = file.read()
        seen = self.send_all(good[:n] for n in range(len(good)))
        self.assertEqual(sum(seen.values()), len(good))
        self.assertEqual(self.broken(), [], "no truncation is issued")

        changed = (good[:n] + bytes([good[n] ^ (1 << n % 8)]) + good[n + 1:] for n in range(len(good)))
        seen = self.send_all(changed)
        self.assertEqual(sum(seen.values()), len(good))
        self.assertNotIn(500, seen)
        self.assertLessEqual(len(self.broken()), 1, "a change that is issued decodes to the same request")
        self.assertLessEqual(len([r for r in self.gw.requests() if "broken-1" in r["subject"]]), 1)

        self.assertIn("status=SUCCESS", self.gw.scep_client("--send", "request.der", cwd=work).stdout.decode())
        self.assertEqual(len(self.broken()), 1)
        self.assertNotRegex(self.gw.log(), r"AddressSanitizer|runtime error:")

    def test_log_lines_cannot_be_forged(self):
        """Line ends, quotes and escapes in a subject, a path and a query stay inside their log line."""
        work = self.gw.work("forge")
        self.gw.scep_client("--subject", "/CN=forge\x1b[2J\"x", check=False, secret=self.gw.challenge(), cwd=work)
        for path in (b"/scep/default?operation=\x7f%0alevel=error", b"/scep/%0a\"x?operation=GetCACaps"):
            with socket.create_connection(("127.0.0.1", self.gw.scep_port), timeout=30) as raw:
                raw.sendall(b"GET " + path + b" HTTP/1.0\r\n\r\n")
                self.assertRegex(raw.recv(4096), rb"^(HTTP/1.[01] 4|$)")
        for line in self.gw.log().rpartition("\n")[0].splitlines():  # what is behind the last line end is being written
            self.assertRegex(line, r"^time=\S+ level=(debug|info|warn|error) event=\S+")
            self.assertTrue(re.fullmatch(r"[\x20-\x7e]*", line), line)

    def test_message_types(self):
        """Message types that are not requests, numbers that are none, and none at all issue nothing (flaw 2)."""
        work = self.gw.work("types")
        secret = self.gw.challenge()
        fails = dict.fromkeys(("0", "3", "16", "18", "23", "19 ", "019", "", "abc"), "badRequest")
        fails["21"] = fails["22"] = "badCertId"  # who has no certificate here may look nothing up
        for kind, fail in fails.items():
            reply = self.gw.scep_client("--subject", "/CN=types-1", "--type", kind, check=False, secret=secret, cwd=work)
            self.assertIn(f"status=FAILURE fail={fail}", reply.stdout.decode(), kind)
        self.assertEqual([c for c in self.gw.certs() if "types-1" in c["subject"]], [])
        self.gw.scep_client("--subject", "/CN=types-1", "--type", "19", secret=secret, cwd=work)


if __name__ == "__main__":
    unittest.main(verbosity=2)
