"""Runs a server that would listen on every address in a network of its own, and leads to it by a unix socket."""
import os
import socket
import subprocess
import sys
import threading
import time


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for sock in (source, target):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(path, port):
    """Inside: each connection to the unix socket goes to the server."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    while True:
        client, _ = listener.accept()
        server = socket.socket()
        try:
            server.connect(("127.0.0.1", port))
        except OSError:
            client.close()
            continue
        for pair in ((client, server), (server, client)):
            threading.Thread(target=copy, args=pair, daemon=True).start()


class Hidden:
    """path is where to connect; the command listens on port."""

    def __init__(self, folder, port, *command):
        self.path = os.path.join(folder, "socket")
        self.log = open(os.path.join(folder, "server.log"), "wb")
        flags = ["--net", "--pid"]  # the server is in a process space of its own, and ends with it
        if subprocess.run(["unshare", *flags, "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
            flags.append("--map-root-user")
        self.process = subprocess.Popen(["unshare", *flags, "--kill-child", "--fork", sys.executable, __file__, self.path,
                                         str(port), *command], cwd=folder, stdout=self.log, stderr=self.log)
        end = time.monotonic() + 20
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{command} does not serve")
            time.sleep(0.05)

    def answers(self):
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.settimeout(2)
                sock.connect(self.path)
                sock.settimeout(0.3)
                return sock.recv(1) != b""
            except TimeoutError:
                return True  # it waits for a request
            except OSError:
                return False

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


def main():
    path, port, *command = sys.argv[1:]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = subprocess.Popen(command)
    try:
        serve(path, int(port))
    finally:
        server.kill()


if __name__ == "__main__":
    main()
