"""A CA that takes connections and never answers, beside one that works."""
import os
import statistics
import subprocess
import time
import unittest

import faults
from faults import FaultProxy
from flow_upstream_est import EstCa
from gateway import SCEP_CLIENT, Gateway, free_ports


class Silent(FaultProxy):
    """In front of the same CA: tells its certificates, and never answers whoever wants one."""

    def __init__(self, ca):
        super().__init__(free_ports(1)[0], ca.gw.est_port, ca.gw.path("tls/server.pem"), ca.gw.path("tls/server.key"))

    def next(self, path):
        return faults.HANG


def profiles(gw, ca, dead):
    """Besides the default profile, whose CA works, one that is routed to the dead CA."""
    with open(gw.conf, encoding="utf-8") as file:
        text = file.read()
    upstream = f"""  silent:
    type: est
    url: https://127.0.0.1:{dead.port}/.well-known/est
    trust: [{ca.root}]
    basic: {{user: ra, password_file: plant.password}}
    limits: {{wait: 8s, deadline: 30s}}
profiles:"""
    start = text.index("  default:", text.index("\nprofiles:"))
    profile = text[start:].replace("  default:", "  dead:", 1).replace("upstream: [plant]", "upstream: [silent]")
    profile = profile.replace("/scep/default, /cgi-bin/pkiclient.exe", "/scep/dead").replace('["", default]', "[dead]")
    with open(gw.conf, "w", encoding="utf-8") as file:
        file.write(text.replace("profiles:", upstream, 1) + "\n" + profile)


class Pair:
    """A gateway with a CA that works and one that does not."""

    def __init__(self):
        self.ca, self.gw = EstCa(), Gateway()
        self.dead = Silent(self.ca)
        self.ca.configure(self.gw)
        profiles(self.gw, self.ca, self.dead)
        self.gw.start()
        self.secrets = {profile: self.gw.cli("challenge", "create", "--profile", profile, "--uses", "1000000").stdout.decode().strip()
                        for profile in ("default", "dead")}
        self.rounds = 0

    def devices(self, profile, count, parallel):
        self.rounds += 1
        return subprocess.Popen([SCEP_CLIENT, "--url", f"http://127.0.0.1:{self.gw.scep_port}/scep/{profile}", "--challenge-env", "C",
                                 "--subject", f"/CN=round-{self.rounds}", "--count", str(count), "--parallel", str(parallel)],
                                env={**os.environ, "C": self.secrets[profile]}, stdout=subprocess.DEVNULL)

    def rate(self, count):
        """Certificates a second through the CA that works."""
        start = time.monotonic()
        devices = self.devices("default", count, 4)
        if devices.wait(300):
            raise RuntimeError("not every device got its certificate")
        return count / (time.monotonic() - start)

    def asked_dead(self):
        return len(self.gw.requests("--upstream", "silent"))

    def rate_beside_dead(self, count):
        before = self.asked_dead()
        waiting = self.devices("dead", 1000, 4)
        end = time.monotonic() + 60
        try:
            while self.asked_dead() < before + 4:
                if time.monotonic() > end:
                    raise RuntimeError("nobody asks the dead CA")
                time.sleep(0.1)
            return self.rate(count)
        finally:
            waiting.kill()
            waiting.wait()

    def close(self):
        self.dead.close()
        self.gw.close()
        self.ca.close()


class Dead(unittest.TestCase):
    def test_throughput(self):
        """Devices of a dead CA, some waiting and some polling, do not hold up those of another: its rate stays what it is
        alone. (Within 10 %, says the benchmark `dead`; here others use the machine, now more and now less. Whoever stood in line
        behind the dead CA would wait for seconds.)"""
        pair = Pair()
        self.addCleanup(pair.close)
        pair.rate(20)
        rounds = [(pair.rate_beside_dead(60), pair.rate(60)) for _ in range(5)]
        beside, alone = (statistics.median(rates) for rates in zip(*rounds))
        self.assertGreater(beside / alone, 0.6, rounds)
        self.assertTrue([r for r in pair.gw.requests() if r["upstream"] == "silent"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
