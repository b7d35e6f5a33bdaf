"""HAProxy and nginx as docs/edge.md configures them: its snippets, and the processes that run with them."""
import os
import re
import socket
import subprocess
import time

DOCUMENT = os.path.join(os.path.dirname(__file__), "../../docs/edge.md")
EDGE = "127.0.0.5"
CLIENT = "127.0.0.7"
START_SECONDS = 60


def snippet(name):
    """The block of the document below `snippet: NAME`."""
    with open(DOCUMENT, encoding="utf-8") as file:
        found = re.findall(r"<!-- snippet: " + re.escape(name) + r" -->\n```\w+\n(.*?)^```$", file.read(), re.S | re.M)
    if len(found) != 1:
        raise AssertionError(f"docs/edge.md has {len(found)} snippets {name}")
    return found[0]


def put(config, *changes):
    """Replaces texts; each must be there."""
    for old, new in changes:
        if old not in config:
            raise AssertionError(f"{old!r} is not in the snippet:\n{config}")
        config = config.replace(old, new)
    return config


def open_text(path):
    with open(path, encoding="ascii") as file:
        return file.read()


class Edge:
    """One process of an edge; its log is a file."""

    def __init__(self, gw, *command, log):
        self.log_path = log
        with open(os.path.join(gw.top, "edge.out"), "ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait(self, port):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the edge ended with {self.process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the edge does not listen")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
