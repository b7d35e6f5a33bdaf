"""The front: sockets of every kind, certificates by name and by key, tickets, and no lost reply."""
import ctypes
import json
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import unittest

from gateway import SCEPTER, FlowTest, Gateway, free_ports, run, text
from http_corpus import wait_until

CAPS = b"GET /scep/default?operation=GetCACaps HTTP/1.1\r\nHost: x\r\n%s\r\n"
CACERTS = b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\n%s\r\n"
CLOSE = b"Connection: close\r\n"
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27  # of Linux
PROMPT = 0.8  # seconds; who has asked for nothing for one may be left at the drain


def read_reply(s):
    """One reply: (status, head, body). EOFError: the peer was gone before its first byte."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(65536)
        if not more:
            raise EOFError(data)
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields[b"content-length"])
    while len(body) < length:
        more = s.recv(65536)
        if not more:
            raise AssertionError(f"a reply was cut off: {head} {len(body)}")
        body += more
    return int(head.split(b" ")[1]), head, body


def client_context(gw, **versions):
    context = ssl.create_default_context(cafile=gw.root)
    context.check_hostname = False
    for name, value in versions.items():
        setattr(context, name, value)
    return context


def self_signed(gw, name, key, dns):
    """A certificate of the tree's root for further TLS identities; its path without the suffix."""
    path = gw.path("tls", name)
    algorithm = ["-newkey", "rsa:2048"] if key == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    run("openssl", "req", "-x509", *algorithm, "-nodes", "-keyout", path + ".key", "-out", path + ".pem", "-days", "30",
        "-subj", f"/CN={name}", "-addext", "subjectAltName=" + ",".join("DNS:" + d for d in dns))
    os.chmod(path + ".key", 0o600)
    return {"certificate": path + ".pem", "key": path + ".key"}


class Sockets(FlowTest):
    """IPv6 and unix sockets beside IPv4, for SCEP, EST and the admin listener."""

    @classmethod
    def configure(cls, gw):
        cls.six = free_ports(1)[0]
        cls.scep_path, cls.est_path = os.path.join(gw.top, "scep.sock"), os.path.join(gw.top, "est.sock")
        gw.edit(r"^  scep: +\[(.*)\]", rf'  scep: [\1, "http://[::1]:{cls.six}", "http://unix:{cls.scep_path}"]')
        gw.edit(r"^  est: +\[(.*)\]", rf'  est: [\1, "https://unix:{cls.est_path}"]')

    def test_ipv6(self):
        """SCEP over IPv6; the log names the peer's address."""
        with socket.create_connection(("::1", self.six)) as s:
            s.sendall(CAPS % CLOSE)
            self.assertEqual(read_reply(s)[0], 200)
        self.assertTrue(wait_until(lambda: 'client="::1"' in self.gw.log()))  # written once the reply is on its way

    def test_unix(self):
        """SCEP over a unix socket; the log says so. Only its owner and group can connect."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.scep_path)
            s.sendall(CAPS % CLOSE)
            self.assertEqual(read_reply(s)[0], 200)
        self.assertTrue(wait_until(lambda: 'client="unix"' in self.gw.log()))
        self.assertEqual(os.stat(self.scep_path).st_mode & 0o777, 0o660)

    def test_unix_tls(self):
        """EST with TLS over a unix socket."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.est_path)
            with client_context(self.gw).wrap_socket(s) as t:
                t.sendall(CACERTS % CLOSE)
                self.assertEqual(read_reply(t)[0], 200)

    def test_zz_files(self):
        """The sockets' files go with the process; one that a killed process left is taken over."""
        self.gw.stop()
        self.assertFalse(os.path.exists(self.scep_path))
        self.gw.start()
        self.gw.stop(signal.SIGKILL)
        self.assertTrue(os.path.exists(self.scep_path))
        self.gw.start()
        self.test_unix()


class Tls(FlowTest):
    """Several certificates, and tickets."""

    @classmethod
    def configure(cls, gw):
        others = [self_signed(gw, "rsa", "rsa", ["a.example", "b.example"]),
                  self_signed(gw, "ec", "ec", ["a.example", "b.example"]),
                  self_signed(gw, "wild", "ec", ["*.wild.example"])]
        gw.edit(r"^tls:\n", "tls:\n  others: " + json.dumps(others) + "\n")

    def subject(self, *flags):
        """Who the server says that it is."""
        out = run("openssl", "s_client", "-connect", f"127.0.0.1:{self.gw.est_port}", *flags, input=b"").stdout
        return text("openssl", "x509", "-noout", "-subject", input=out).strip().rsplit("= ", 1)[-1]

    def test_names(self):
        """The host that a client names picks the certificate; an unknown one, or none, the server's own."""
        own = self.subject("-noservername")
        self.assertNotIn(own, ("rsa", "ec", "wild"))
        self.assertEqual(self.subject("-servername", "x.wild.example"), "wild")
        self.assertEqual(self.subject("-servername", "x.y.wild.example"), own)
        self.assertEqual(self.subject("-servername", "nobody.example"), own)

    def test_kinds_of_key(self):
        """RSA and EC certificates for one name: the client's signature algorithms decide, on TLS 1.2 and 1.3."""
        for version in ("-tls1_2", "-tls1_3"):
            for name in ("a.example", "b.example"):
                self.assertEqual(self.subject("-servername", name, version, "-sigalgs", "ECDSA+SHA256"), "ec")
                self.assertEqual(self.subject("-servername", name, version, "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"), "rsa")

    def connect(self, context, session=None):
        with socket.create_connection(("127.0.0.1", self.gw.est_port)) as s:
            with context.wrap_socket(s, session=session) as t:
                t.sendall(CACERTS % CLOSE)
                self.assertEqual(read_reply(t)[0], 200)
                return t.session, t.session_reused

    def test_tickets(self):
        """A session is resumed by its ticket, on TLS 1.2 and 1.3; not after a reload, and not on another listener."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = client_context(self.gw, minimum_version=version, maximum_version=version)
            session, reused = self.connect(context)
            self.assertFalse(reused)
            self.assertTrue(self.connect(context, session)[1], version)
            reloads = self.gw.log().count("event=reloaded")
            self.gw.process.send_signal(signal.SIGHUP)
            self.assertTrue(wait_until(lambda n=reloads: self.gw.log().count("event=reloaded") > n))
            self.assertFalse(self.connect(context, session)[1], version)

    def test_resumed_certificate(self):
        """A client certificate counts on a resumed session as on the first."""
        work = self.gw.work("resumed")
        key, csr, cert = (os.path.join(work, name) for name in ("key.pem", "csr.pem", "cert.pem"))
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
            "-out", csr, "-subj", "/CN=resumed")
        body = run("openssl", "req", "-in", csr, "-outform", "DER").stdout
        p7 = run("curl", "-sS", "--fail", "--cacert", self.gw.root, "-u", f"resumed:{self.gw.challenge()}", "-H",
                 "Content-Type: application/pkcs10", "--data-binary", "@-", self.gw.est_url + "/simpleenroll",
                 input=run("openssl", "base64", input=body).stdout).stdout
        run("openssl", "pkcs7", "-inform", "DER", "-print_certs", "-out", cert,
            input=run("openssl", "base64", "-d", input=p7).stdout)
        context = client_context(self.gw)
        context.load_cert_chain(cert, key)
        post = (b"POST /.well-known/est/simplereenroll HTTP/1.1\r\nHost: x\r\nContent-Type: application/pkcs10\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n")
        encoded = run("openssl", "base64", input=body).stdout
        session = None
        for reused in (False, True):
            with socket.create_connection(("127.0.0.1", self.gw.est_port)) as s:
                with context.wrap_socket(s, session=session) as t:
                    t.sendall(post % len(encoded) + encoded)
                    self.assertEqual(read_reply(t)[0], 200)
                    self.assertEqual(t.session_reused, reused)
                    session = t.session

    def test_plain_on_tls(self):
        """Plain HTTP on a TLS port hears 400 in plain HTTP."""
        with socket.create_connection(("127.0.0.1", self.gw.est_port)) as s:
            s.sendall(CACERTS % CLOSE)
            self.assertEqual(read_reply(s)[0], 400)


class Staple(FlowTest):
    """OCSP responses of Debian's responder, shown to those who ask."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"^tls:\n", f"tls:\n  staple: {gw.path('tls', 'server.ocsp')}\n")
        cls.answer(gw, "V")

    @classmethod
    def answer(cls, gw, status, *flags, cert="tls/server.pem"):
        """Has the tree's issuing CA answer for a certificate that is valid (V) or revoked (R)."""
        work = gw.work("ocsp")
        serial = text("openssl", "x509", "-noout", "-serial", "-in", gw.path(cert)).strip().split("=")[1]
        with open(os.path.join(work, "index"), "w", encoding="ascii") as file:
            revoked = "240101000000Z" if status == "R" else ""
            file.write(f"{status}\t491231235959Z\t{revoked}\t{serial}\tunknown\t/CN=x\n")
        with open(os.path.join(work, "index.attr"), "w", encoding="ascii") as file:
            file.write("unique_subject = no\n")
        run("openssl", "ocsp", "-issuer", gw.path("ca/issuing.pem"), "-cert", gw.path(cert), "-reqout", "request", cwd=work)
        run("openssl", "ocsp", "-index", "index", "-CA", gw.path("ca/issuing.pem"), "-rsigner", gw.path("ca/issuing.pem"),
            "-rkey", gw.path("ca/issuing.key"), "-reqin", "request", "-respout", gw.path("tls/server.ocsp"),
            *(flags or ("-nmin", "60")), cwd=work)

    def shown(self):
        out = text("openssl", "s_client", "-connect", f"127.0.0.1:{self.gw.est_port}", "-status", input=b"")
        if "OCSP response: no response sent" in out:
            return None
        return "Cert Status: good" in out

    def test_shown(self):
        """A good response is shown; after a reload the new one; one that says revoked, is about another certificate,
        or is no response at all is not, and the log says why."""
        self.assertTrue(self.shown())
        self.answer(self.gw, "R")
        self.gw.reload()
        self.assertIsNone(self.shown())
        self.assertIn("it says revoked", self.gw.log())
        self.answer(self.gw, "V", cert="operator/operator.pem")
        self.gw.reload()
        self.assertIsNone(self.shown())
        self.assertIn("another certificate", self.gw.log())
        with open(self.gw.path("tls/server.ocsp"), "wb") as file:
            file.write(b"nonsense")
        self.gw.reload()
        self.assertIsNone(self.shown())
        self.assertIn("no OCSP response", self.gw.log())
        self.answer(self.gw, "V")
        self.gw.reload()
        self.assertTrue(self.shown())


class Load(threading.Thread):
    """Requests one after the other, on new connections or a kept one, until told to end. A reply that is cut off, or
    does not come though the request was sent on a new connection, is a failure; a refused connection ends it."""

    def __init__(self, address, request, context=None, keep=False, refused_is_failure=False):
        super().__init__()
        self.address, self.request, self.context, self.keep = address, request, context, keep
        self.refused_is_failure, self.ended = refused_is_failure, threading.Event()
        self.count, self.failures = 0, []

    def open(self):
        s = socket.create_connection(self.address, timeout=60)
        self.opened = time.monotonic()
        return self.context.wrap_socket(s) if self.context else s

    def once(self, s, fresh):
        """Whether the connection may be used again."""
        try:
            s.sendall(self.request % (b"" if self.keep else CLOSE))
            fresh = fresh and time.monotonic() - self.opened < PROMPT
            status, head, _ = read_reply(s)
        except (EOFError, ConnectionError, ssl.SSLEOFError):
            if fresh:
                raise
            return False  # a kept connection may end between requests (RFC 9112 section 9.5)
        if status != 200:
            self.failures.append(head)
        self.count += 1
        return self.keep and b"connection: close" not in head.lower()

    def run(self):
        s = None
        while not self.ended.is_set():
            try:
                fresh = s is None
                s = s or self.open()
                if not self.once(s, fresh):
                    s.close()
                    s = None
            except ConnectionRefusedError:
                if self.refused_is_failure:
                    self.failures.append("refused")
                return
            except Exception as error:
                self.failures.append(repr(error))
                return
        if s:
            s.close()


class NothingLost(unittest.TestCase):
    def setUp(self):
        self.gw = Gateway()

    def tearDown(self):
        self.gw.close()

    def loads(self, **flags):
        context = client_context(self.gw)
        scep, est = ("127.0.0.1", self.gw.scep_port), ("127.0.0.1", self.gw.est_port)
        loads = [Load(scep, CAPS, **flags), Load(scep, CAPS, keep=True, **flags), Load(est, CACERTS, context, **flags),
                 Load(est, CACERTS, context, keep=True, **flags)]
        for load in loads:
            load.start()
        return loads

    def under_way(self, loads, more):
        """Each of them gets so many answers more, unless it fails."""
        least = [(load, load.count + more) for load in loads]
        wait_until(lambda: all(load.count >= count or not load.is_alive() for load, count in least))

    def finish(self, loads, least):
        for load in loads:
            load.ended.set()
        for load in loads:
            load.join()
            self.assertEqual(load.failures, [])
            self.assertGreater(load.count, least)

    def test_reload(self):
        """Ten reloads under load, with other limits each: no request fails, kept connections go on."""
        self.gw.start()
        loads = self.loads()
        for turn in range(10):
            self.gw.edit(r"(?ms)\A(.*?)(^limits:.*?\n)?\Z", rf"\g<1>limits: {{idle: {turn + 3}s}}\n")
            self.gw.process.send_signal(signal.SIGHUP)
            self.under_way(loads, 2)
            self.assertTrue(wait_until(lambda n=turn + 1: self.gw.log().count("event=reloaded") == n))
        self.finish(loads, 20)
        self.assertEqual(self.gw.log().count("event=reloaded"), 10)

    def test_drain(self):
        """SIGTERM under load: every request that was sent gets its whole reply; then connections are refused."""
        self.gw.start()
        for _ in range(3):
            loads = self.loads()
            self.under_way(loads, 6)
            began = time.monotonic()
            self.gw.stop()
            self.assertLess(time.monotonic() - began, 18)  # limits.drain is 20 s
            self.assertNotIn("limits.drain", self.gw.log())
            self.finish(loads, 5)
            self.gw.start()

    def test_drain_waits(self):
        """A request whose head came before SIGTERM is answered after it, though its body comes slowly; then the
        process ends."""
        self.gw.start()
        with socket.create_connection(("127.0.0.1", self.gw.scep_port)) as s:
            s.sendall(b"POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
            time.sleep(0.3)
            self.gw.process.send_signal(signal.SIGTERM)
            time.sleep(1)
            self.assertIsNone(self.gw.process.poll())
            s.sendall(b"cd")
            status, head, _ = read_reply(s)
            self.assertEqual(status, 400)
            self.assertIn(b"Connection: close", head)
        self.gw.stop()

    def halfway(self, address):
        """A client whose handshake stands still, since the server's answer is lost; and how it goes on, which says whether it
        was in time: the server's kernel sends its answer once more after a second, and later than that is too late."""
        deaf = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # BPF: return 0
        s = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.addCleanup(s.close)
        s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(deaf)))
        s.setblocking(False)
        began = time.monotonic()
        self.assertRaises(BlockingIOError, s.connect, address)
        time.sleep(0.1)

        def go_on():
            s.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
            heard = time.monotonic() - began
            s.settimeout(10)
            status = None
            try:
                self.assertEqual(select.select([], [s], [], 10)[1], [s])
                s.sendall(CAPS % CLOSE)
                asked = time.monotonic() - began
                status = read_reply(s)[0]
            except (OSError, EOFError):
                asked = time.monotonic() - began
            if heard < 0.9 and asked < 1 + PROMPT:
                self.assertEqual(status, 200)
                return True
            return False

        return go_on

    def drain_halfway(self, address, path):
        """Whether that was in time."""
        go_on = self.halfway(address)
        self.gw.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        status = None
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                s.sendall(CAPS % CLOSE)
                status = read_reply(s)[0]
        except (OSError, EOFError):
            pass
        if not go_on():
            return False
        self.assertEqual(status, 200)
        return True

    def test_drain_halfway(self):
        """Who was halfway through TCP's handshake at SIGTERM, since a packet was lost, is served like who had ended it;
        so is who comes by a unix socket meanwhile. Also where /proc shows processes and nothing else, as under systemd."""
        path, port = os.path.join(self.gw.top, "scep"), self.gw.scep_port
        self.gw.edit(r"^  scep: .*$", f"  scep: [http://127.0.0.1:{port}, 'http://[::1]:{port}', http://unix:{path}]")
        hide = 'mount --rbind /proc "$0" && mount -t tmpfs none /proc && ln -s "$0/self" /proc/self && exec "$@"'
        space = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        for host, wrapper in (("127.0.0.1", []), ("::1", []), ("127.0.0.1", [*space, "sh", "-c", hide, self.gw.work("proc")])):
            with self.subTest(host=host, wrapper=wrapper):
                done = False
                end = time.monotonic() + 60
                while not done:
                    self.assertLess(time.monotonic(), end, "this machine is never in time")
                    # Who looks for leaks wants the whole of /proc.
                    self.gw.start(wrapper=wrapper, env={"ASAN_OPTIONS": "detect_leaks=0"} if wrapper else {})
                    done = self.drain_halfway((host, port), path)
                    self.gw.stop()

    def test_drain_never(self):
        """Who never ends TCP's handshake does not have others cut off, however short limits.drain is."""
        with open(self.gw.conf, "a", encoding="utf-8") as file:
            file.write("limits: {drain: 2s}\n")
        self.gw.start()
        with socket.create_connection(("127.0.0.1", self.gw.scep_port)) as s:
            s.sendall(CAPS % b"")
            self.assertEqual(read_reply(s)[0], 200)
            self.halfway(("127.0.0.1", self.gw.scep_port))
            self.gw.stop()
        self.assertNotIn("limits.drain", self.gw.log())

    def test_drain_ends(self):
        """A request that never ends holds the process no longer than limits.drain."""
        with open(self.gw.conf, "a", encoding="utf-8") as file:
            file.write("limits: {drain: 2s}\n")
        self.gw.start()
        with socket.create_connection(("127.0.0.1", self.gw.scep_port)) as s:
            s.sendall(b"POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
            time.sleep(0.3)
            began = time.monotonic()
            self.gw.stop()
            self.assertLess(time.monotonic() - began, 20)  # limits.request is 30 s
        self.assertIn("limits.drain", self.gw.log())

    def test_activation(self):
        """Restarts under load on sockets of the service manager: nobody is refused, nothing fails."""
        sockets = []
        for host, port in (("0.0.0.0", self.gw.scep_port), ("0.0.0.0", self.gw.est_port), ("127.0.0.1", self.gw.admin_port)):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((host, port))
            s.listen(1024)
            sockets.append(s)
        wrapper = ("import fcntl, os, sys\n"
                   "fds = [int(fd) for fd in sys.argv[1].split(',')]\n"
                   "high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]\n"
                   "for i, fd in enumerate(high): os.dup2(fd, 3 + i, inheritable=True)\n"
                   "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))\n"
                   "os.execv(sys.argv[2], sys.argv[2:])\n")

        def start():
            with open(self.gw.log_path, "ab") as log:
                self.gw.process = subprocess.Popen(
                    [sys.executable, "-c", wrapper, ",".join(str(s.fileno()) for s in sockets), SCEPTER, "serve", "-c",
                     self.gw.conf], stdout=log, stderr=log, pass_fds=[s.fileno() for s in sockets])
            self.gw.wait_ready()

        start()
        loads = self.loads(refused_is_failure=True)
        for _ in range(3):
            self.under_way(loads, 3)
            self.gw.stop()
            start()
        self.under_way(loads, 3)
        self.finish(loads, 10)
        for s in sockets:
            s.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
