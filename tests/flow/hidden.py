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


def reaches(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def serve(path, port):
    """Inside: each connection to the unix socket, which is there as soon as the server listens, goes to it."""
    while not reaches(port):
        time.sleep(0.05)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen(64)
    os.rename(path + ".new", path)
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
        end = time.monotonic() + 60
        while not os.path.exists(self.path):
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{command} does not serve")
            time.sleep(0.05)

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
