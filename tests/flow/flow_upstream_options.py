"""What `scepter check` says of the options of each kind of upstream CA."""
import os
import re
import unittest

from gateway import SCEPTER, FlowTest, run, text

HTTPS_ONLY = {  # kind: the key of its URL
    "est": "url",
    "acme": "directory",
    "vault": "url",
    "ejbca": "url",
    "stepca": "url",
}
KINDS = {  # kind: keys without which it is nothing
    "local": ["certificate", "key"],
    "est": ["url", "trust"],
    "scep": ["url", "trust", "client"],
    "cmp": ["url", "chain"],
    "acme": ["directory", "account_key"],
    "exec": ["command"],
    "vault": ["url", "trust"],
    "ejbca": ["url", "trust", "client"],
    "stepca": ["url", "trust"],
}


class Options(FlowTest):
    serve = False

    def faults(self, *lines):
        """[(line, key, what is said)] of an upstream "plant" with these lines; line 1 is the first of them."""
        with open(self.gw.conf, encoding="utf-8") as file:
            before, after = file.read().split("\nprofiles:", 1)
        path = os.path.join(os.path.dirname(self.gw.conf), "tried.yaml")
        head = before + "\n  plant:\n"
        with open(path, "w", encoding="utf-8") as file:
            file.write(head + "".join(f"    {line}\n" for line in lines) + "\nprofiles:" + after)
        result = run(SCEPTER, "check", "-c", path, check=False)
        self.assertEqual(result.returncode, 1)
        found = re.findall(r"tried\.yaml:(\d+):\d+: upstreams\.plant\.?(\S*): (.*)", result.stderr.decode())
        return [(int(line) - head.count("\n"), key, said) for line, key, said in found]

    def test_unknown(self):
        """A key that a kind does not have is a fault at its line, and so is whatever would switch the check of the CA's TLS
        certificate off: there is no such key."""
        for kind in KINDS:
            wrong = ["colour: red", "verify: false", "insecure: true", "tls_verify: false", "insecure_skip_verify: true"]
            faults = self.faults(f"type: {kind}", *wrong)
            for number, line in enumerate(wrong, 2):
                key = line.split(":")[0]
                with self.subTest(kind=kind, key=key):
                    said = [said for at, name, said in faults if (at, name) == (number, key)]
                    self.assertEqual(len(said), 1, faults)
                    self.assertIn("is an unknown key", said[0])

    def test_missing(self):
        """All keys that a kind needs and that are missing are said, at the upstream's line."""
        for kind, keys in KINDS.items():
            with self.subTest(kind=kind):
                faults = self.faults(f"type: {kind}")
                missing = {name: at for at, name, said in faults if "is missing" in said}
                self.assertEqual({key: missing.get(key) for key in keys}, {key: 0 for key in keys}, faults)

    def test_values(self):
        """Values out of range are said at their lines, of each kind that has a line of requests."""
        wrong = ["limits: {inflight: 0, wait: soon,", "  deadline: 0s, queue: 0, rate: fast}", "breaker: {failures: 0,", "  open: 1y}"]
        where = {"limits.inflight": 2, "limits.wait": 2, "limits.deadline": 3, "limits.queue": 3, "limits.rate": 3,
                 "breaker.failures": 4, "breaker.open": 5}
        for kind in KINDS:
            if kind == "local":
                continue
            with self.subTest(kind=kind):
                faults = {name: at for at, name, _ in self.faults(f"type: {kind}", *wrong)}
                self.assertEqual({key: faults.get(key) for key in where}, where)

    def test_plain(self):
        """What we prove ourselves by with a password, a token or a certificate does not go over plain HTTP."""
        for kind, key in HTTPS_ONLY.items():
            with self.subTest(kind=kind):
                faults = self.faults(f"type: {kind}", f"{key}: http://ca.example.com/x")
                self.assertTrue([said for at, name, said in faults if (at, name) == (2, key) and "https" in said], faults)

    def test_reference(self):
        """Each kind's keys are in the generated reference."""
        reference = text(SCEPTER, "check", "--reference")
        for kind, keys in KINDS.items():
            page = reference.split(f"## upstreams.NAME of type {kind}\n", 1)[1].split("\n## ", 1)[0]
            for key in keys:
                self.assertIn(f"`{key}`", page)


if __name__ == "__main__":
    unittest.main(verbosity=2)
