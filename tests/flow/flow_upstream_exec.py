"""CAs behind programs: certmonger's local-submit as it is, and helpers that answer in every way a helper can."""
import os
import re
import time
import unittest

from gateway import run
from upstream import UpstreamTest, use_upstream

HELPER = """#!/bin/sh
# A helper in front of certmonger's own: what it does the first time is in a file named after the subject.
name=${CERTMONGER_REQ_SUBJECT#CN=}
[ "$CERTMONGER_OPERATION" = FETCH-ROOTS ] && exec /usr/lib/certmonger/local-submit -d "$STATE"
env > "$STATE/env.$name"
echo "$1" > "$STATE/argument"
ls -l /proc/$$/fd > "$STATE/fds.$name"
echo "$CERTMONGER_OPERATION $CERTMONGER_CA_COOKIE" >> "$STATE/asked.$name"
[ -e "$STATE/held.$name" ] && eval "$(cat "$STATE/held.$name")"
if [ -e "$STATE/plan.$name" ]; then
    plan=$(cat "$STATE/plan.$name")
    rm "$STATE/plan.$name"
    eval "$plan"
fi
CERTMONGER_OPERATION=SUBMIT exec /usr/lib/certmonger/local-submit -d "$STATE"
"""

ARGUMENT = "$(touch $STATE/shell) `touch $STATE/shell`; touch $STATE/shell"


class LocalSubmit:
    """certmonger's own CA, and the helper in front of it."""

    proxy = None

    def configure(self, gw, more=""):
        self.state = gw.work("state")
        helper = os.path.join(gw.work("bin"), "helper")
        with open(helper, "w", encoding="ascii") as file:
            file.write(HELPER)
        os.chmod(helper, 0o755)
        roots = run("/usr/lib/certmonger/local-submit", "-d", self.state, env={"CERTMONGER_OPERATION": "FETCH-ROOTS"})
        self.root = self.chain = os.path.join(gw.work("bin"), "root.pem")
        text = roots.stdout.decode()
        with open(self.root, "w", encoding="ascii") as file:
            file.write(text[text.index("-----BEGIN"):])
        use_upstream(gw, self.root, f"""
    type: exec
    command: [{helper}, "{ARGUMENT}"]
    environment: [STATE={self.state}]
    profile: of-routers
{more}""")

    def plan(self, name, *lines):
        with open(os.path.join(self.state, f"plan.{name}"), "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")

    def hold(self, name, *lines):
        """Until it is released it does this each time it is asked for this device: the CA takes its time, if nothing else is said."""
        with open(os.path.join(self.state, f"held.{name}"), "w", encoding="ascii") as file:
            file.write("\n".join(lines or ("echo 2", "echo later", "exit 5")) + "\n")

    def release(self, name):
        os.remove(os.path.join(self.state, f"held.{name}"))

    def asked(self, name):
        with open(os.path.join(self.state, f"asked.{name}"), encoding="ascii") as file:
            return [line.split() for line in file]

    def issued(self, name):
        return len(self.asked(name)) if os.path.exists(os.path.join(self.state, f"asked.{name}")) else 0

    def close(self):
        pass


class Exec(UpstreamTest):
    make_ca = LocalSubmit

    def setUp(self):
        self.begin()

    def verify(self, name):
        run("openssl", "verify", "-CAfile", self.ca.root, os.path.join(self.work, f"{name}.pem"))

    def test_enroll(self):
        """A device gets a certificate of certmonger's own CA; the helper sees the request and nothing of ours."""
        os.environ["OF_THE_SERVER"] = "not for helpers"
        self.enroll("plain", "--san", "dns:plain.example", "--san", "ip:10.0.0.1")
        self.verify("plain")
        with open(os.path.join(self.ca.state, "env.plain"), encoding="ascii") as file:
            env = file.read()
        for line in ("CERTMONGER_OPERATION=SUBMIT", "CERTMONGER_REQ_SUBJECT=CN=plain", "CERTMONGER_REQ_HOSTNAME=plain.example",
                     "CERTMONGER_REQ_IP_ADDRESS=10.0.0.1", "CERTMONGER_CA_PROFILE=of-routers", "CERTMONGER_CA_NICKNAME=plant",
                     "-----BEGIN CERTIFICATE REQUEST-----"):
            self.assertIn(line, env)
        for name in ("HOME=", "SCEPTER=", "NOTIFY_SOCKET", "OF_THE_SERVER"):
            self.assertNotIn(name, env)
        with open(os.path.join(self.ca.state, "fds.plain"), encoding="ascii") as file:
            open_files = re.findall(r" (\d+) -> (.*)", file.read())
        others = [where for fd, where in open_files if int(fd) > 2 and not where.endswith("/helper")]
        self.assertLessEqual([where[:5] for where in others], ["pipe:"], open_files)  # the shell's own, while it runs ls
        self.assertEqual(dict(open_files)["0"], os.devnull)

    def test_no_shell(self):
        """An argument is what it is: no shell reads it."""
        self.enroll("arguments")
        with open(os.path.join(self.ca.state, "argument"), encoding="ascii") as file:
            self.assertEqual(file.read(), ARGUMENT + "\n")
        self.assertFalse(os.path.exists(os.path.join(self.ca.state, "shell")))

    def test_codes(self):
        """Rejected refuses the device; unreachable and unconfigured are tried again; codes that nobody knows and
        crashes are suspect."""
        for name, code in (("no", 2), ("needs-scep", 16), ("needs-key", 17)):
            self.ca.plan(name, "echo because of this >&2", f"exit {code}")
            self.enroll(name, code=2)
            self.assertIn("because of this", self.request(name)["reason"])
        for name, code in (("unreachable", 3), ("unconfigured", 4), ("unsupported", 6)):
            self.ca.plan(name, f"exit {code}")
            self.enroll(name, code=3)
            self.wait_state(name, "issued")
            self.enroll(name, "--poll")
            self.assertEqual(len(self.ca.asked(name)), 2)
        for name, plan, says in (("odd", "exit 99", "code 99"), ("crash", "kill -SEGV $$", "helper"), ("silent", "exit 0", "prints"),
                                 ("chatty", "yes; exit 0", "prints too much"), ("slow", "sleep 60", "took too long"),
                                 ("no-cookie", "exit 1", "no cookie")):
            self.ca.plan(name, plan)
            self.enroll(name, code=3)
            self.wait_state(name, "suspect")
            time.sleep(0.5)
            self.assertEqual(len(self.ca.asked(name)), 1)
            self.assertIn(says, self.request(name)["reason"])

    def test_wait(self):
        """A helper that says wait is asked again with its cookie, after its delay, and after a restart."""
        self.ca.plan("later", "echo 15", "echo 'cookie of later'", "exit 5")
        self.ca.plan("waits", "echo cookie-of-waits", "exit 1")
        self.enroll("later", code=3)
        self.assertEqual(self.state("later"), "waiting")
        self.enroll("waits", code=3)
        self.gw.stop(9)
        self.gw.start()
        for name in ("later", "waits"):
            self.wait_state(name, "issued")
            self.enroll(name, "--poll")
            self.verify(name)
        self.assertEqual(self.ca.asked("later"), [["SUBMIT"], ["POLL", "cookie", "of", "later"]])
        first, *polls = self.ca.asked("waits")
        self.assertEqual(first, ["SUBMIT"])
        self.assertIn(polls, ([["POLL", "cookie-of-waits"]] * n for n in (1, 2)))  # twice if the kill came in between

    def test_children_end(self):
        """What a helper leaves behind when its time is over is ended with it."""
        pid_file = os.path.join(self.ca.state, "left")
        self.ca.plan("forks", f"sleep 300 & echo $! > {pid_file}; wait")
        self.enroll("forks", code=3)
        self.wait_state("forks", "suspect")
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        self.wait_for(lambda: self.has_ended(pid))

    @staticmethod
    def has_ended(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                return file.read().split()[2] == "Z"
        except OSError:
            return True


if __name__ == "__main__":
    unittest.main(verbosity=2)
