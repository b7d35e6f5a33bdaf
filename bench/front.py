"""The front beside nginx with the same certificates, each with a line in its log for each request: requests per second and server time per request, in rounds that
take turns, so that whatever else the machine does hits both. The ratio is the median of the rounds' ratios."""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../tests/flow"))

from gateway import Gateway, free_ports, run  # noqa: E402

LOAD = os.environ["LOAD"]
SCEP_PATH, EST_PATH = "/scep/default?operation=GetCACaps", "/.well-known/est/cacerts"

NGINX = """
worker_processes 2; pid {top}/pid; error_log {top}/error.log; daemon off;
events {{ worker_connections 4096; }}
http {{
    access_log {top}/access.log; root {top}/html; default_type application/x-pki-message;
    client_body_temp_path {top}/b; proxy_temp_path {top}/p; fastcgi_temp_path {top}/f; uwsgi_temp_path {top}/u;
    scgi_temp_path {top}/s;
    server {{ listen 127.0.0.1:{plain}; }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {tree}/tls/server.pem; ssl_certificate_key {tree}/tls/server.key;
        ssl_protocols TLSv1.2 TLSv1.3; ssl_verify_client optional; ssl_client_certificate {tree}/ca/root.pem;
        ssl_verify_depth 3;
    }}
}}
"""


class Nginx:
    """nginx with the answers of the gateway as files."""

    def __init__(self, gw):
        self.top = tempfile.mkdtemp(prefix="scepter-bench-")
        os.chmod(self.top, 0o755)
        self.plain, self.tls = free_ports(2)
        for url, path in ((gw.scep_url + "?operation=GetCACaps", "scep/default"),
                          (gw.est_url + "/cacerts", ".well-known/est/cacerts")):
            target = os.path.join(self.top, "html", path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(run("curl", "-sS", "--fail", "--cacert", gw.root, url).stdout)
        conf = os.path.join(self.top, "nginx.conf")
        with open(conf, "w", encoding="ascii") as file:
            file.write(NGINX.format(top=self.top, plain=self.plain, tls=self.tls, tree=gw.dir))
        self.process = subprocess.Popen(["nginx", "-c", conf], stderr=subprocess.DEVNULL)
        time.sleep(0.5)

    def pids(self):
        return text_lines("pgrep", "-P", str(self.process.pid))

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.top, ignore_errors=True)


def text_lines(*command):
    return run(*command).stdout.decode().split()


def cpu_seconds(pids):
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def client_chain(gw):
    """A client's chain and key under the tree's issuing CA."""
    work = gw.work("client")
    key, csr, leaf, chain = (os.path.join(work, name) for name in ("key.pem", "csr.pem", "leaf.pem", "chain.pem"))
    run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
        "-out", csr, "-subj", "/CN=bench")
    run("openssl", "x509", "-req", "-in", csr, "-CA", gw.path("ca/issuing.pem"), "-CAkey", gw.path("ca/issuing.key"),
        "-CAcreateserial", "-days", "2", "-out", leaf)
    with open(chain, "wb") as out:
        for path in (leaf, gw.path("ca/issuing.pem")):
            with open(path, "rb") as file:
                out.write(file.read())
    return chain, key


def wrk(url, seconds, *flags):
    out = run("wrk", "-t2", "-c32", f"-d{int(seconds)}s", *flags, url).stdout.decode()
    bad = re.search(r"Non-2xx.*|Socket errors.*", out)
    if bad and not re.search(r"connect 0, read 0, write 0, timeout 0", bad[0]):
        raise AssertionError(out)
    return int(re.search(r"(\d+) requests in", out)[1])


def load(port, seconds, version, *identity):
    done, failed, median, late = map(int, text_lines(LOAD, "127.0.0.1", str(port), EST_PATH, str(seconds), "16", version,
                                                     *identity))
    if failed:
        raise AssertionError(f"{failed} requests failed")
    return done, median, late


def cases(gw, nginx, seconds):
    """name -> a function of 0 (the gateway) or 1 (nginx): requests in that time."""
    identity = client_chain(gw)
    plain, tls = (gw.scep_port, nginx.plain), (gw.est_port, nginx.tls)
    return {
        "http, new connections": lambda i: wrk(f"http://127.0.0.1:{plain[i]}{SCEP_PATH}", seconds, "-H", "Connection: close"),
        "http, kept": lambda i: wrk(f"http://127.0.0.1:{plain[i]}{SCEP_PATH}", seconds),
        "tls 1.3, new": lambda i: load(tls[i], seconds, "1.3")[0],
        "tls 1.3, new, mTLS": lambda i: load(tls[i], seconds, "1.3", *identity)[0],
        "tls 1.2, new": lambda i: load(tls[i], seconds, "1.2")[0],
        "tls 1.2, new, mTLS": lambda i: load(tls[i], seconds, "1.2", *identity)[0],
        "https, kept": lambda i: wrk(f"https://127.0.0.1:{tls[i]}{EST_PATH}", seconds),
    }


def measure(ask, gw, nginx, seconds, rounds):
    rates, times = ([], []), ([], [])
    for _ in range(rounds):
        for i, pids in ((0, [gw.process.pid]), (1, nginx.pids())):
            before = cpu_seconds(pids)
            count = ask(i)
            rates[i].append(count / seconds)
            times[i].append(1e6 * (cpu_seconds(pids) - before) / max(count, 1))
    ratios = sorted(a / b for a, b in zip(*rates))
    return ([statistics.median(r) for r in rates], [statistics.median(t) for t in times], statistics.median(ratios),
            ratios[0], ratios[-1])


def main():
    parser = argparse.ArgumentParser(prog="./dev bench front", description=__doc__)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rsa", action="store_true", help="an RSA-2048 server certificate instead of P-256")
    args = parser.parse_args()
    gw = Gateway()
    if args.rsa:
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", gw.path("tls/server.key"), "-out",
            gw.path("tls/server.pem"), "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-addext", "basicConstraints=critical,CA:TRUE")
        shutil.copy(gw.path("tls/server.pem"), gw.root + ".tls")
        gw.root = gw.root + ".tls"
    try:
        gw.start()
        nginx = Nginx(gw)
        try:
            print(f"{'':22} {'scepter/s':>10} {'nginx/s':>9} {'ratio':>6} {'(spread)':>12} {'cpu us':>7} {'nginx':>6}")
            for name, ask in cases(gw, nginx, args.seconds).items():
                rates, times, ratio, least, most = measure(ask, gw, nginx, args.seconds, args.rounds)
                print(f"{name:22} {rates[0]:10.0f} {rates[1]:9.0f} {ratio:6.2f} {f'({least:.2f}-{most:.2f})':>12} "
                      f"{times[0]:7.0f} {times[1]:6.0f}", flush=True)
        finally:
            nginx.close()
    finally:
        gw.close()


if __name__ == "__main__":
    main()
