"""The service: readiness, reload, drain, the admin listener, the notify protocol."""
import os
import signal
import socket
import subprocess
import threading
import unittest

from gateway import SCEP_CLIENT, FlowTest, Gateway, free_ports, run
from http_corpus import wait_until


class Load(threading.Thread):
    """cacerts and capabilities in a loop; every answer that is not 200 is kept."""

    def __init__(self, gw):
        super().__init__()
        self.gw, self.ended, self.count, self.failures = gw, threading.Event(), 0, []

    def run(self):
        while not self.ended.is_set():
            result = run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", self.gw.root,
                         self.gw.est_url + "/cacerts", check=False)
            if result.stdout != b"200":
                self.failures.append(result.stdout + result.stderr)
            self.count += 1

    def finish(self):
        self.ended.set()
        self.join()


class Service(FlowTest):
    def test_admin(self):
        """healthz and readyz answer 200; metrics count requests by operation and outcome."""
        self.assertEqual(self.gw.admin("/healthz")[0], 200)
        self.assertEqual(self.gw.admin("/readyz")[0], 200)
        before = self.gw.metric(r'^scepter_requests_total\{.*operation="PKCSReq",outcome="issued"')
        self.gw.scep_client("--subject", "/CN=metric-1", secret=self.gw.challenge())
        self.assertEqual(self.gw.metric(r'^scepter_requests_total\{.*operation="PKCSReq",outcome="issued"'), before + 1)
        self.assertEqual(self.gw.admin("/nothing")[0], 404)

    def test_reload_under_load(self):
        """SIGHUP swaps the settings under load without a failed request, and a faulty file changes nothing."""
        load = Load(self.gw)
        load.start()
        try:
            for turn in range(5):
                self.gw.edit(r"^(\s*challenge:.*ttl: )\w+", rf"\g<1>{turn + 1}h")
                count = load.count
                self.gw.reload()
                self.assertTrue(wait_until(lambda n=count + 3: load.count >= n))
            with open(self.gw.conf, encoding="utf-8") as file:
                good = file.read()
            with open(self.gw.conf, "a", encoding="utf-8") as file:
                file.write("nonsense: true\n")
            self.gw.process.send_signal(signal.SIGHUP)
            self.gw.log_line("event=reload ", "stays in force")
            with open(self.gw.conf, "w", encoding="utf-8") as file:
                file.write(good)
            self.assertIn("nonsense", self.gw.log())
            self.gw.scep_client("--subject", "/CN=reload-1", secret=self.gw.challenge())
        finally:
            load.finish()
        self.assertEqual(load.failures, [])
        self.assertGreater(load.count, 10)
        self.assertGreaterEqual(self.gw.log().count("event=reloaded"), 5)

    def test_second_server(self):
        """A second process on the same store is refused and says why."""
        gw = self.gw
        other = os.path.join(gw.dir, "second.yaml")
        with open(gw.conf, encoding="utf-8") as file:
            text = file.read()
        for port, free in zip((gw.scep_port, gw.est_port, gw.admin_port), free_ports(3)):
            text = text.replace(str(port), str(free))
        with open(other, "w", encoding="utf-8") as file:
            file.write(text)
        result = run(os.environ["SCEPTER"], "serve", "-c", other, check=False)
        self.assertEqual(result.returncode, 3)
        self.assertIn(b"lock", result.stderr)


class Lifecycle(unittest.TestCase):
    def setUp(self):
        self.gw = Gateway()

    def tearDown(self):
        self.gw.close()

    def test_notify(self):
        """READY=1 is told when the listeners answer, RELOADING=1 around a reload, STOPPING=1 at the end."""
        path = os.path.join(self.gw.top, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            notify.settimeout(10)
            self.gw.start({"NOTIFY_SOCKET": path})
            self.gw.reload()
            self.gw.stop()
            told = []
            notify.settimeout(0.2)
            try:
                while True:
                    told.append(notify.recv(4096).decode())
            except TimeoutError:
                pass
        words = "\n".join(told).split("\n")
        for word in ("READY=1", "RELOADING=1", "STOPPING=1"):
            self.assertIn(word, words)

    def test_drain(self):
        """SIGTERM under load: every enrollment that got an answer is recorded, none is cut off in the middle, exit 0."""
        self.gw.start()
        challenges = self.gw.challenges_file(100)
        journal = os.path.join(self.gw.top, "journal")
        client = subprocess.Popen([SCEP_CLIENT, "--url", self.gw.scep_url, "--subject", "/CN=drain", "--count", "100",
                                   "--parallel", "4", "--challenges", challenges, "--journal", journal],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertTrue(wait_until(lambda: os.path.exists(journal) and os.path.getsize(journal)))
        self.gw.stop()
        self.gw.start()
        output = client.communicate(timeout=300)[0].decode()
        self.assertEqual(client.returncode, 0, output)
        self.assertNotIn("partial", output)
        self.assertEqual(len(self.gw.certs()), 100)

    def test_start_without_port(self):
        """A port that is taken is an error that names it."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.gw.scep_port))
            taken.listen()
            result = run(os.environ["SCEPTER"], "serve", "-c", self.gw.conf, check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(str(self.gw.scep_port).encode(), result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
