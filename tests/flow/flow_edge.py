"""Behind an edge: the configurations of docs/edge.md in real HAProxy and nginx, in front of the gateway.

The snippets are taken from the document; only addresses, ports, paths and times are put in. Edges reach the
gateway from an address of their own, as they do in the field, and clients come from another one.
"""
import base64
import concurrent.futures
import os
import re
import signal
import socket
import ssl
import time
import unittest

import http_corpus
from edges import CLIENT, EDGE, Edge, open_text, put, snippet
from est_wire import keep_connections
from gateway import Gateway, free_ports, run, text

AT_ONCE = 16


class Behind:
    """A gateway and an edge in front of it. A class below says which, and another what is tried."""

    snippet = None       # the name's first part
    kind = None          # haproxy or nginx
    local = False        # unix sockets between edge and gateway
    ends_tls = False     # the edge does
    knows_client = True  # the gateway hears the client's address
    v1 = False

    @classmethod
    def setUpClass(cls):
        cls.gw = Gateway()
        cls.edge = None
        try:
            cls.edge_scep, cls.edge_est = free_ports(2)
            cls.cases = http_corpus.load()
            cls.configure_gateway()
            cls.gw.start()
            cls.edge = cls.start_haproxy() if cls.kind == "haproxy" else cls.start_nginx()
            cls.edge.wait(cls.edge_est)
        except BaseException:
            cls.show()
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        try:
            if cls.edge:
                cls.edge.stop()
        finally:
            cls.gw.close()

    @classmethod
    def show(cls):
        for path in (cls.gw.log_path, os.path.join(cls.gw.top, "edge.out")):
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    print(file.read()[-3000:])

    @classmethod
    def path(cls, name):
        return os.path.join(cls.gw.top, name)

    @classmethod
    def listeners(cls):
        """Where the gateway listens: text of the document, text here."""
        scep, est = f"127.0.0.1:{cls.gw.scep_port}", f"127.0.0.1:{cls.gw.est_port}"
        if not cls.ends_tls:
            return [("10.0.0.11:8080", scep), ("10.0.0.11:8443", est)]
        if cls.local:
            scep, est = "unix:" + cls.path("scep.sock"), "unix:" + cls.path("est.sock")
        return [("unix:/run/scepter/scep.sock", scep), ("unix:/run/scepter/est.sock", est)]

    @classmethod
    def text(cls, end):
        """The edge's configuration, as the document has it."""
        return snippet(cls.snippet + end)

    @classmethod
    def configure_gateway(cls):
        changes = cls.listeners() + [("127.0.0.1:9443", f"127.0.0.1:{cls.gw.admin_port}")]
        if not cls.local:
            changes.append(('"unix"' if cls.ends_tls else '"10.0.0.5"', f'"{EDGE}"'))
        section = put(snippet(cls.snippet + ".yaml"), *changes)
        cls.gw.edit(r"^listen:\n(?:  .*\n)+", section)
        cls.gw.edit(r"paths: \[", "paths: [/.well-known, ")
        cls.gw.edit(r"\Z", "limits: {first: 8s, request: 8s, idle: 20s}\n")

    @classmethod
    def write(cls, name, content):
        with open(cls.path(name), "w", encoding="utf-8") as file:
            file.write(content)
        return cls.path(name)

    @classmethod
    def certificates(cls):
        """What an edge that ends TLS needs."""
        key = open_text(cls.gw.path("tls/server.key"))
        cls.write("devices.pem", open_text(cls.gw.path("ca/issuing.pem")) + open_text(cls.gw.root))
        cls.write("edge.pem", open_text(cls.gw.path("tls/server.pem")) + key)
        cls.write("edge.key", key)

    @classmethod
    def start_haproxy(cls):
        config = put(cls.text(".haproxy.cfg"), ("bind :443", f"bind 127.0.0.1:{cls.edge_est}"),
                     ("bind :80", f"bind 127.0.0.1:{cls.edge_scep}"), ("defaults\n", f"defaults\n    source {EDGE}\n"))
        config = put(config, *([word.replace("unix:", "unix@") for word in pair] for pair in cls.listeners()))
        if cls.ends_tls:
            cls.certificates()
            config = put(config, ("/etc/haproxy/", cls.gw.top + "/"), ("http-request 10s", "http-request 6s"))
        if cls.v1:
            config = put(config, ("send-proxy-v2", "send-proxy"))
        log = cls.path("edge.out")
        return Edge(cls.gw, "haproxy", "-db", "-f",
                    cls.write("haproxy.cfg", "global\n    log stdout format raw local0\n" + config), log=log)

    @classmethod
    def start_nginx(cls):
        log = cls.path("edge.log")
        config = put(cls.text(".nginx.conf"), ("listen 443", f"listen 127.0.0.1:{cls.edge_est}"),
                     ("listen 80", f"listen 127.0.0.1:{cls.edge_scep}"))
        config = put(config, *cls.listeners())
        if not cls.local:
            block = "http {\n" if cls.ends_tls else "stream {\n"
            config = put(config, (block, f"{block}    proxy_bind {EDGE};\n"))
        module = "stream"
        if cls.ends_tls:
            cls.certificates()
            cls.write("rfc9440.js", snippet("rfc9440.js"))
            temporary = "".join(f"    {kind}_temp_path {cls.gw.top}/nginx-{kind};\n"
                                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            config = put(config, ("/etc/nginx/", cls.gw.top + "/"), ("timeout 10s", "timeout 6s"),
                         ("http {\n", "http {\n    log_format edge '$status $request';\n"
                                      f"    access_log {log} edge;\n" + temporary))
            module = "http_js"
        head = (f"load_module /usr/lib/nginx/modules/ngx_{module}_module.so;\npid {cls.gw.top}/nginx.pid;\n"
                f"error_log {cls.gw.top}/edge.out info;\nworker_processes 2;\ndaemon off;\nevents {{}}\n")
        if os.geteuid() == 0:
            head += "user root;\n"  # the sockets are in a folder of ours
        return Edge(cls.gw, "nginx", "-p", cls.gw.top, "-e", cls.path("edge.out"), "-c",
                    cls.write("nginx.conf", head + config), log=log)

    # Clients.

    def connect(self, listener, certificate=None):
        raw = socket.create_connection(("127.0.0.1", self.edge_scep if listener == "scep" else self.edge_est),
                                       timeout=http_corpus.REPLY_SECONDS, source_address=(CLIENT, 0))
        if listener == "scep":
            return raw
        context = ssl.create_default_context(cafile=self.gw.root)
        if certificate:
            context.load_cert_chain(*certificate)
        return context.wrap_socket(raw, server_hostname="127.0.0.1")

    def curl(self, work, operation, body, *flags):
        with open(os.path.join(work, "sent"), "wb") as file:
            file.write(body)
        status = text("curl", "-sS", "--cacert", self.gw.root, "--interface", CLIENT, "-o", "reply", "-w", "%{http_code}",
                      "--data-binary", "@sent", "-H", "Content-Type: application/pkcs10", *flags,
                      f"https://127.0.0.1:{self.edge_est}/.well-known/est/{operation}", cwd=work)
        with open(os.path.join(work, "reply"), "rb") as file:
            return int(status), file.read()

    def csr(self, work, subject, key):
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
            "-subj", subject, "-outform", "DER", "-out", "csr.der", cwd=work)
        with open(os.path.join(work, "csr.der"), "rb") as file:
            return base64.encodebytes(file.read())

    def save(self, work, reply, name):
        with open(os.path.join(work, "p7.der"), "wb") as file:
            file.write(base64.b64decode(reply))
        run("openssl", "pkcs7", "-inform", "DER", "-in", "p7.der", "-print_certs", "-out", name, cwd=work)
        self.verify(os.path.join(work, name))

    def verify(self, path):
        self.gw.verify(path)

    def enroll(self, work, subject):
        secret = self.gw.challenge()
        status, reply = self.curl(work, "simpleenroll", self.csr(work, subject, "key.pem"), "--user", f"device:{secret}")
        self.assertEqual(status, 200, reply)
        self.save(work, reply, "cert.pem")
        return os.path.join(work, "cert.pem"), os.path.join(work, "key.pem")

    def told(self, certificate):
        """RFC 9440 section 2.2."""
        der = run("openssl", "x509", "-in", certificate, "-outform", "DER").stdout
        return "Client-Cert: :" + base64.b64encode(der).decode() + ":"

    def request_lines(self, operation):
        return [line for line in self.gw.log().splitlines() if "event=request" in line and f'operation="{operation}"' in line]

    def assert_client(self, operation):
        """Every request of that operation was logged with the client's address, or the edge's where that is all
        that can be known."""
        self.assertTrue(http_corpus.wait_until(lambda: self.request_lines(operation)))
        address = CLIENT if self.knows_client else "unix" if self.local else EDGE
        for line in self.request_lines(operation):
            self.assertIn(f'client="{address}"', line)

    def run_corpus(self, judge):
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            work = [(case, listener, pool.submit(judge, case, listener)) for listener in ("scep", "est") for case in self.cases]
            wrong = []
            for case, listener, future in work:
                try:
                    fault = future.result()
                except AssertionError as error:
                    fault = str(error)
                if fault:
                    wrong.append(f"{listener} {case.name} ({case.what}): {fault}")
        if wrong:
            self.fail(f"{len(wrong)} of {len(work)}:\n" + "\n".join(wrong))


class Enrolls(Behind):
    """What holds behind every edge."""

    def test_est(self):
        """EST enrolls with a challenge, re-enrolls with the certificate, and the log has the right address."""
        work = self.gw.work("est")
        holder = self.enroll(work, "/CN=edge-1")
        status, reply = self.curl(work, "simplereenroll", self.csr(work, "/CN=edge-1", "new.pem"), "--cert", holder[0],
                                  "--key", holder[1])
        self.assertEqual(status, 200, reply)
        self.save(work, reply, "new-cert.pem")
        self.assertEqual(len([c for c in self.gw.certs() if "edge-1" in c["subject"]]), 2)
        self.assert_client("simpleenroll")
        self.assert_client("simplereenroll")

    def test_est_resumed(self):
        """A resumed TLS session still has its certificate: the second request on one re-enrolls too."""
        work = self.gw.work("resumed")
        holder = self.enroll(work, "/CN=edge-2")
        context = ssl.create_default_context(cafile=self.gw.root)
        context.load_cert_chain(*holder)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context.minimum_version = context.maximum_version = version
            session, resumed = None, []
            body = self.csr(work, "/CN=edge-2", "other.pem")
            for _ in range(2):
                raw = socket.create_connection(("127.0.0.1", self.edge_est), timeout=20, source_address=(CLIENT, 0))
                with context.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as tls:
                    client = http_corpus.Client(tls)
                    client.send(b"POST /.well-known/est/simplereenroll HTTP/1.1\r\nHost: gateway\r\n"
                                b"Content-Type: application/pkcs10\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                    self.assertEqual(client.reply().status, 200, version)
                    session = tls.session
                    resumed.append(tls.session_reused)
            self.assertEqual(resumed, [False, True], version)

    def test_est_without(self):
        """Without certificate and password nothing is issued, and somebody else's certificate is not the key."""
        work = self.gw.work("without")
        self.assertEqual(self.curl(work, "simpleenroll", self.csr(work, "/CN=edge-3", "key.pem"))[0], 401)
        self.assertEqual(self.curl(work, "simplereenroll", self.csr(work, "/CN=edge-3", "key.pem"))[0], 403)
        self.assertEqual([c for c in self.gw.certs() if "edge-3" in c["subject"]], [])

    def test_forged(self):
        """A device's own Client-Cert, in whatever spelling, is nobody's: 401 with it alone, 403 for a renewal, and
        beside a real certificate the real one counts."""
        work, other = self.gw.work("forged"), self.gw.work("forger")
        victim = self.told(self.enroll(work, "/CN=edge-victim")[0])
        name, value = victim.split(": ", 1)
        mine = self.enroll(other, "/CN=edge-forger")
        forms = [victim, f"client-cert: {value}", f"CLIENT-CERT:{value}", f"Client_Cert: {value}",
                 f"{name}:\t{value}"]
        body = self.csr(work, "/CN=edge-victim", "stolen.pem")
        for form in forms:
            self.assertEqual(self.curl(work, "simpleenroll", body, "-H", form)[0], 401, form)
            self.assertEqual(self.curl(work, "simplereenroll", body, "-H", form)[0], 403, form)
        twice = ["-H", victim, "-H", f"Client-Cert-Chain: {value}", "-H", f"client-cert: {value}"]
        self.assertEqual(self.curl(work, "simpleenroll", body, *twice)[0], 401)
        holder = ["--cert", mine[0], "--key", mine[1]]
        self.assertEqual(self.curl(work, "simplereenroll", body, "-H", victim, *holder)[0], 403)
        own = self.csr(other, "/CN=edge-forger", "new.pem")
        self.assertEqual(self.curl(other, "simplereenroll", own, "-H", victim, *holder)[0], 200)
        self.assertEqual(len([c for c in self.gw.certs() if "edge-victim" in c["subject"]]), 1)

    def test_foreign(self):
        """A client certificate of the device's own making re-enrolls nothing."""
        work = self.gw.work("foreign")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "own-key.pem", "-out", "own.pem",
            "-subj", "/CN=edge-4", "-days", "1", cwd=work)
        result = run("curl", "-sS", "--cacert", self.gw.root, "--cert", "own.pem", "--key", "own-key.pem", "-o", "reply",
                     "-w", "%{http_code}", "--data-binary", self.csr(work, "/CN=edge-4", "new.pem").decode(), "-H",
                     "Content-Type: application/pkcs10",
                     f"https://127.0.0.1:{self.edge_est}/.well-known/est/simplereenroll", cwd=work, check=False)
        self.assertIn(result.stdout, (b"000", b"400", b"403"))
        self.assertEqual([c for c in self.gw.certs() if "edge-4" in c["subject"]], [])

    def test_scep(self):
        """SCEP enrolls with a challenge and renews with the certificate, and the log has the right address."""
        work = self.gw.work("scep")
        secret = self.gw.challenge()
        url = ["--url", f"http://127.0.0.1:{self.edge_scep}/scep/default"]
        self.gw.scep_client(*url, "--subject", "/CN=edge-5", "--out", "cert.pem", "--key-out", "key.pem", secret=secret,
                            cwd=work)
        self.gw.verify(os.path.join(work, "cert.pem"))
        self.gw.scep_client(*url, "--subject", "/CN=edge-5", "--renew", "cert.pem", "key.pem", "--out", "new.pem",
                            cwd=work)
        self.gw.verify(os.path.join(work, "new.pem"))
        with http_corpus.Client(self.connect("scep")) as client:
            self.assertEqual(http_corpus.probe(client, "/scep/default?operation=GetNextCACert").status // 100, 4)
        self.assert_client("GetNextCACert")


class PassedThrough(Enrolls):
    snippet = "passed-through"

    def test_corpus(self):
        """Every malformed and odd request gets the same answer as from the gateway alone."""
        self.run_corpus(lambda case, listener: http_corpus.fault(case, listener, self.connect(listener)))
        for operation in http_corpus.HIDDEN_OPERATIONS:
            self.assertEqual(self.request_lines(operation), [])

    def test_not_proxied(self):
        """From the edge's address a connection without a PROXY header is closed without a word, which the log has; from
        another one a PROXY header is malformed."""
        for header, source, status in ((b"", EDGE, None), (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "127.0.0.1", 400),
                                       (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", EDGE, 200)):
            raw = socket.create_connection(("127.0.0.1", self.gw.scep_port), timeout=20, source_address=(source, 0))
            with http_corpus.Client(raw) as client:
                client.send(header)
                reply = http_corpus.probe(client)
                self.assertEqual(reply and reply.status, status, (header, source))
        self.gw.log_line("event=request", f'client="{EDGE}"', 'reason="no PROXY header, and edge.proxy_protocol names the peer"')
        with socket.create_connection(("127.0.0.1", self.gw.scep_port), timeout=20, source_address=(EDGE, 0)) as raw:
            self.assertEqual(raw.recv(1), b"")
        self.gw.log_line("event=request", f'client="{EDGE}"', 'reason="no PROXY header in time, and')


class Ended(Enrolls):
    """The edge speaks HTTP: it may answer itself, but must not be the accomplice of a request in a request."""

    ends_tls = True
    # Read leniently by both, so that what follows is a request of its own for them, which they log and frame anew.
    # The gateway alone answers all of them with 400 or 411 and nothing more.
    lenient = ("cl-absent-post-body", "lf-end", "chunk-extension", "chunk-extension-last", "chunk-size-space-after",
               "chunk-size-zeros", "chunk-size-lf", "chunk-end-lf", "chunk-last-lf", "chunk-trailer-fold",
               "chunk-trailer-lf")
    # Ours to answer: an edge that decodes paths or joins what it should not would change these answers.
    exact = ("body-limit", "chunk-good", "chunk-request", "body-request", "headers-64", "pipelined", "pipelined-post",
             "pipelined-three", "expect-continue", "health")
    more_lenient = ()
    hostless = 200  # what a SCEP client hears that sends no Host
    bare = ()  # answered without a head, as HTTP/0.9 has it

    def judge(self, case, listener):
        with http_corpus.Client(self.connect(listener)) as client:
            client.send(case.raw)
            if case.name in self.bare:
                while client.more():
                    pass
                return f"{client.data[:80]}" if b"HTTP/" in client.data else None
            two = case.name in self.lenient + self.more_lenient
            replies = client.replies(case.head, 2 if two else len(case.statuses[listener]) if case.name in self.exact else 1)
        final = [reply.status for reply in replies if reply.status >= 200]
        if case.name in self.exact and final != case.statuses[listener]:
            return f"answered {final} instead of {case.statuses[listener]}"
        if case.name.startswith("path-") and 200 in final and 200 not in case.statuses[listener]:
            return "the path was changed"
        if case.name == "host-none" and listener == "scep" and final != [self.hostless]:
            return f"answered {final}"
        if len(final) > len(case.statuses[listener]) + two or two and len(final) != 2:
            return f"answered {final}"
        # Whoever comes next on a connection that edge and gateway keep gets the answer to the own request.
        for _ in range(2):
            with http_corpus.Client(self.connect(listener)) as client:
                reply = http_corpus.probe(client)
            if reply is None or reply.status != 200 or (b"POSTPKIOperation" not in reply.body) == (listener == "scep"):
                return f"the next client gets {reply and (reply.status, reply.body[:80])}"
        return None

    def hidden_seen(self):
        """Requests that the corpus hides: how often the gateway answered one, and how often the edge knows of it."""
        return (sum(len(self.request_lines(operation)) for operation in http_corpus.HIDDEN_OPERATIONS),
                len(re.findall(r"csrattrs\?operation=GetCACert ", self.edge.log())))

    def test_corpus(self):
        """No request reaches the gateway that the edge does not know of, none is answered twice, and the next client
        on a shared connection gets its own answer."""
        self.run_corpus(self.judge)
        expected = 2 * len(self.lenient + self.more_lenient)
        http_corpus.wait_until(lambda: self.hidden_seen() == (expected, expected))
        self.assertEqual(self.hidden_seen(), (expected, expected))


class HaproxyV2(PassedThrough, unittest.TestCase):
    kind = "haproxy"


class HaproxyV1(PassedThrough, unittest.TestCase):
    kind, v1 = "haproxy", True


class NginxStream(PassedThrough, unittest.TestCase):
    kind = "nginx"


class HaproxyEnded(Ended, unittest.TestCase):
    """Debian's 2.6.12 reads a Content-Length of 2^64 + 3 as 3 and hands it on as it is written."""

    kind, snippet, local = "haproxy", "ended-haproxy", True
    more_lenient = ("cl-overflow", "method-connect")


class NginxEnded(Ended, unittest.TestCase):
    kind, snippet, local, knows_client = "nginx", "ended-nginx", True, False
    more_lenient = ("chunk-trailer-bad",)
    bare = ("http09",)
    hostless = 400


class HaproxyLoopback(Enrolls, unittest.TestCase):
    kind, snippet, ends_tls = "haproxy", "ended-haproxy", True


class NginxLoopback(Enrolls, unittest.TestCase):
    kind, snippet, ends_tls, knows_client = "nginx", "ended-nginx", True, False


class Expires(Behind):
    """Certificates end within seconds, and may be renewed for a day."""

    @classmethod
    def configure_gateway(cls):
        super().configure_gateway()
        cls.gw.edit(r"grace_after_expiry: 0d", "grace_after_expiry: 1d")
        cls.gw.edit(r"validity: 90d", "validity: 3s")

    def verify(self, path):
        """But for its time, which may be over already."""
        run("openssl", "verify", "-x509_strict", "-no_check_time", "-CAfile", self.gw.root, "-untrusted",
            self.gw.path("ca/issuing.pem"), path)

    def test_expired(self):
        """Within the grace, a certificate that has ended re-enrolls through an edge that leaves this to the gateway."""
        work = self.gw.work("expired")
        holder = self.enroll(work, "/CN=edge-6")
        ended = ["openssl", "x509", "-in", holder[0], "-checkend", "0"]
        self.assertTrue(http_corpus.wait_until(lambda: run(*ended, check=False).returncode == 1))
        time.sleep(1)  # of those who see it end a second later
        status, _ = self.curl(work, "simplereenroll", self.csr(work, "/CN=edge-6", "new.pem"), "--cert", holder[0], "--key",
                              holder[1])
        self.assertEqual(status, self.expired_status)


class HaproxyV2Expires(Expires, unittest.TestCase):
    kind, snippet, expired_status = "haproxy", "passed-through", 200


class HaproxyEndedExpires(Expires, unittest.TestCase):
    kind, snippet, local, ends_tls, expired_status = "haproxy", "ended-haproxy", True, True, 200


class NginxEndedExpires(Expires, unittest.TestCase):
    """nginx refuses it, as the document says."""

    kind, snippet, local, ends_tls, expired_status = "nginx", "ended-nginx", True, True, 400


class Told(Behind, unittest.TestCase):
    """Client-Cert at the gateway itself: one edge that passes TLS through and also ends it."""

    @classmethod
    def setUpClass(cls):
        cls.gw = Gateway()
        try:
            cls.told_port, = free_ports(1)
            cls.gw.edit(r"^  est:   \[", f"  est: [http://127.0.0.1:{cls.told_port}, ")
            cls.gw.edit(r"\Z", f'edge: {{proxy_protocol: ["{EDGE}"], client_cert: ["{EDGE}"]}}\n')
            keep_connections(cls.gw)
            cls.gw.start()
        except BaseException:
            cls.show()
            cls.gw.close()
            raise
        cls.edge, cls.edge_est = None, cls.gw.est_port  # curl goes to the gateway, from an address that is no edge's

    def ask(self, connection, operation, body, *fields):
        """The status of one request on a connection that is ended then."""
        with http_corpus.Client(connection) as client:
            head = [f"POST /.well-known/est/{operation} HTTP/1.1", "Host: gateway", "Content-Type: application/pkcs10",
                    f"Content-Length: {len(body)}", "Connection: close", *fields]
            client.send("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            reply = client.reply()
            self.assertIsNone(client.reply())
            return reply and reply.status

    def basic(self):
        """A password that would enroll."""
        return "Authorization: Basic " + base64.b64encode(f"device:{self.gw.challenge()}".encode()).decode()

    def through_edge(self, port, whose=f"TCP4 {CLIENT} 127.0.0.1 4711 443"):
        """A connection of the edge, which says whose it is."""
        raw = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(EDGE, 0))
        raw.sendall(f"PROXY {whose}\r\n".encode())
        return raw

    def passed_through(self, certificate=None, **options):
        """The client's own TLS in a connection of the edge."""
        context = ssl.create_default_context(cafile=self.gw.root)
        if certificate:
            context.load_cert_chain(*certificate)
        return context.wrap_socket(self.through_edge(self.gw.est_port, **options), server_hostname="127.0.0.1")

    def test_told(self):
        """The edge's word counts: its Client-Cert re-enrolls, and a broken or doubled one is malformed."""
        work = self.gw.work("told")
        holder = self.enroll(work, "/CN=told-1")
        body = self.csr(work, "/CN=told-1", "new.pem")
        field = self.told(holder[0])
        name, value = field.split(": ", 1)
        self.assertEqual(self.ask(self.through_edge(self.told_port), "simplereenroll", body, field), 200)
        self.assertEqual(self.ask(self.through_edge(self.told_port), "simplereenroll", body), 403)
        for broken in ("", ":", "::", value[1:], value[:-1], value[:-9] + ":", value[:40] + "!" + value[41:], value + ";a=1",
                       value + ", " + value, ":AAAA:", value[:-1] + "AAAA:"):
            self.assertEqual(self.ask(self.through_edge(self.told_port), "simplereenroll", body, f"{name}: {broken}"), 400,
                             broken)
        self.assertEqual(self.ask(self.through_edge(self.told_port), "simplereenroll", body, field, field), 400)

    def test_told_by_others(self):
        """The http listener of EST is for edges: others hear 403, whatever they say and know."""
        work = self.gw.work("others")
        holder = self.enroll(work, "/CN=told-2")
        body = self.csr(work, "/CN=told-2", "new.pem")

        def direct():
            return socket.create_connection(("127.0.0.1", self.told_port), timeout=20, source_address=(CLIENT, 0))

        for operation in ("simplereenroll", "simpleenroll"):
            self.assertEqual(self.ask(direct(), operation, body, self.told(holder[0])), 403, operation)
            self.assertEqual(self.ask(direct(), operation, body, self.told(holder[0]), self.basic()), 403, operation)
        self.assertEqual(len([c for c in self.gw.certs() if "told-2" in c["subject"]]), 1)

    def test_taken_out(self):
        """An edge that a reload takes out of client_cert says nothing more, also on a connection that it keeps."""
        work = self.gw.work("taken-out")
        holder = self.enroll(work, "/CN=told-6")
        body = self.csr(work, "/CN=told-6", "new.pem")
        head = "\r\n".join(["POST /.well-known/est/simplereenroll HTTP/1.1", "Host: gateway", "Content-Type: application/pkcs10",
                            f"Content-Length: {len(body)}", self.told(holder[0])])
        with http_corpus.Client(self.through_edge(self.told_port)) as client:
            def ask():
                client.send(head.encode() + b"\r\n\r\n" + body)
                return client.reply().status

            self.assertEqual(ask(), 200)
            self.configure_edges(CLIENT)
            self.addCleanup(self.configure_edges, EDGE)
            status = []
            self.assertTrue(http_corpus.wait_until(lambda: status and status[-1] != 200 or status.append(ask())))
            self.assertEqual(status[-1], 403)

    def configure_edges(self, address):
        self.gw.edit(r"client_cert: .*\]", f'client_cert: ["{address}"]')
        reloads = self.gw.log().count("event=reloaded")
        self.gw.process.send_signal(signal.SIGHUP)
        self.assertTrue(http_corpus.wait_until(lambda: self.gw.log().count("event=reloaded") > reloads))

    def test_told_in_tls(self):
        """In TLS that ends at the gateway the header is as if it were not there, whoever comes: 401."""
        work = self.gw.work("in-tls")
        holder = self.enroll(work, "/CN=told-5")
        body = self.csr(work, "/CN=told-5", "new.pem")
        for form in (self.told(holder[0]), "Client-Cert: nonsense"):
            raw = socket.create_connection(("127.0.0.1", self.gw.est_port), timeout=20, source_address=(CLIENT, 0))
            tls = ssl.create_default_context(cafile=self.gw.root).wrap_socket(raw, server_hostname="127.0.0.1")
            self.assertEqual(self.ask(tls, "simpleenroll", body, form), 401, form)

    def test_passed_through_and_told(self):
        """In TLS that the edge passes through, Client-Cert is the client's own word: it does not count, and the
        certificate of the TLS client does."""
        work, other = self.gw.work("through"), self.gw.work("through-other")
        victim, mine = self.enroll(work, "/CN=told-3"), self.enroll(other, "/CN=told-4")
        body = self.csr(work, "/CN=told-3", "stolen.pem")
        self.assertEqual(self.ask(self.passed_through(), "simpleenroll", body, self.told(victim[0])), 401)
        self.assertEqual(self.ask(self.passed_through(whose="UNKNOWN"), "simpleenroll", body, self.told(victim[0])), 401)
        self.assertEqual(self.ask(self.passed_through(), "simplereenroll", body, self.told(victim[0])), 403)
        self.assertEqual(self.ask(self.passed_through(mine), "simplereenroll", body, self.told(victim[0])), 403)
        own = self.csr(other, "/CN=told-4", "new.pem")
        self.assertEqual(self.ask(self.passed_through(mine), "simplereenroll", own), 200)
        self.assertEqual(self.ask(self.passed_through(mine), "simplereenroll", own, self.told(victim[0])), 200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
