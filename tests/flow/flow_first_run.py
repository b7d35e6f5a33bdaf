"""What ./dev up --once runs, on a tree of the test's own: one device over each protocol."""
import os
import subprocess
import tempfile
import unittest

from gateway import SCEPTER, free_ports

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class FirstRun(unittest.TestCase):
    def test_once(self):
        """It ends with 0 and prints one line for each certificate, also when the tree is there already."""
        with tempfile.TemporaryDirectory(prefix="scepter-flow-") as top:
            ports = ",".join(str(p) for p in free_ports(3))
            env = {**os.environ, "SCEPTER": SCEPTER, "RUN": os.path.join(top, "run"), "PORTS": ports}
            for _ in range(2):
                result = subprocess.run([os.path.join(SOURCE, "tests/support/first_run"), "--once"], env=env,
                                        capture_output=True, timeout=300, check=False)
                lines = result.stdout.decode().splitlines()
                self.assertEqual(result.returncode, 0, result.stderr.decode())
                self.assertEqual([line.split()[0] for line in lines], ["SCEP", "EST"], lines)
                for line, name in zip(lines, ("scep-device", "est-device")):
                    self.assertIn(name, line)


if __name__ == "__main__":
    unittest.main(verbosity=2)
