"""Exact HTTP: every request of tests/data/http against the three listeners, over plain TCP and over TLS."""
import concurrent.futures
import re
import socket
import ssl
import unittest

import http_corpus
from gateway import FlowTest

AT_ONCE = 16


class Listeners(FlowTest):
    def connect(self, listener):
        port = {"scep": self.gw.scep_port, "est": self.gw.est_port, "admin": self.gw.admin_port}[listener]
        raw = socket.create_connection(("127.0.0.1", port), timeout=http_corpus.REPLY_SECONDS)
        if listener == "scep":
            return raw
        return ssl.create_default_context(cafile=self.gw.root).wrap_socket(raw, server_hostname="127.0.0.1")


class Corpus(Listeners):
    limits = "first: 50s, request: 50s, idle: 50s"  # who sends slowly on a busy machine has the time for it

    @classmethod
    def configure(cls, gw):
        gw.edit(r"paths: \[", "paths: [/.well-known, ")
        gw.edit(r"\Z", f"limits: {{{cls.limits}}}\n")
        cases = http_corpus.load()
        cls.cases = [case for case in cases if 408 not in case.statuses["scep"]]
        cls.cut_short = [case for case in cases if 408 in case.statuses["scep"]]

    def run_corpus(self, listener, cases, piece=1 << 20):
        def judge(case):
            try:
                return http_corpus.fault(case, listener, self.connect(listener), piece)
            except AssertionError as error:
                return str(error)

        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            faults = list(pool.map(judge, cases))
        wrong = [f"{case.name} ({case.what}): {fault}" for case, fault in zip(cases, faults) if fault]
        if wrong:
            self.fail(f"{len(wrong)} of {len(faults)} on {listener}:\n" + "\n".join(wrong))
        self.assert_nothing_hidden()

    def assert_nothing_hidden(self):
        """No worker has seen a request that is hidden in another."""
        for operation in http_corpus.HIDDEN_OPERATIONS:
            self.assertNotIn(f'operation="{operation}"', self.gw.log())
        self.assertNotRegex(self.gw.log(), r"AddressSanitizer|runtime error:")


class Http(Corpus):
    def test_scep(self):
        """Each request on the plain SCEP listener gets exactly its statuses, and the connection ends or stays in
        step as the table says."""
        self.run_corpus("scep", self.cases)

    def test_est(self):
        """The same over TLS on the EST listener, where connections are kept as they are asked to be (RFC 7030 3.2)."""
        self.run_corpus("est", self.cases)

    def test_admin(self):
        """The same over TLS on the operators' listener."""
        self.run_corpus("admin", self.cases)

    def test_pieces(self):
        """It does not matter in which pieces a request comes: 1, 3 or 7 bytes at a time give the same answers."""
        short = [case for case in self.cases if len(case.raw) < 800 and b"100-continue" not in case.raw]
        self.assertGreater(len(short), 200)
        for piece in (1, 3, 7):
            self.run_corpus("scep", short, piece)
        self.run_corpus("est", short, 5)

    def test_hidden_is_seen_when_it_is_asked(self):
        """The operations that the corpus hides are logged when they are asked for, so their absence means something."""
        gw = self.gw
        try:
            with http_corpus.Client(self.connect("scep")) as client:
                self.assertEqual(http_corpus.probe(client, "/.well-known/est/x?operation=GetCACert").status, 200)
            with http_corpus.Client(self.connect("est")) as client:
                self.assertEqual(http_corpus.probe(client, "/.well-known/est/csrattrs").status, 200)
            for operation in http_corpus.HIDDEN_OPERATIONS:
                self.assertTrue(http_corpus.wait_until(lambda o=operation: f'operation="{o}"' in gw.log()), operation)
        finally:
            with open(gw.log_path, "w", encoding="ascii"):
                pass  # the other tests look for them

    def test_counted(self):
        """Each refusal of the front counts as malformed, and nothing else does."""
        before = self.gw.metric("^scepter_requests_malformed_total")
        for name in ("cl-te", "fold", "host-two", "headers-65", "method-connect", "http10", "body-request"):
            case = next(case for case in self.cases if case.name == name)
            self.assertIsNone(http_corpus.fault(case, "scep", self.connect("scep")), name)
        http_corpus.wait_until(lambda: self.gw.metric("^scepter_requests_malformed_total") >= before + 5)
        self.assertEqual(self.gw.metric("^scepter_requests_malformed_total"), before + 5)

    def test_continue(self):
        """A client that waits for 100 Continue gets one once its size is known to be fine, then its answer."""
        for listener, status in (("scep", 400), ("est", 401)):
            with http_corpus.Client(self.connect(listener)) as client:
                client.send(b"POST /.well-known/est/simpleenroll?operation=PKIOperation HTTP/1.1\r\nHost: g\r\n"
                            b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
                self.assertEqual(client.reply().status, 100)
                client.send(b"abc")
                self.assertEqual(client.reply().status, status)
                self.assertEqual(http_corpus.probe(client).status, 200)

    def test_plain_on_tls(self):
        """Plain HTTP on a TLS listener hears 400 and nothing more, and the request in it is not served; TLS on a plain one
        is 400 as well. The log says which it was."""
        for port in (self.gw.est_port, self.gw.admin_port):
            raw = socket.create_connection(("127.0.0.1", port), timeout=http_corpus.REPLY_SECONDS)
            with http_corpus.Client(raw) as client:
                self.assertEqual(http_corpus.probe(client).status, 400)
                self.assertIsNone(client.reply())
        self.gw.log_line('status=400 detail="no TLS, and the listener is https"')
        with self.assertRaises(ssl.SSLError), ssl.create_default_context().wrap_socket(
                socket.create_connection(("127.0.0.1", self.gw.scep_port), timeout=http_corpus.REPLY_SECONDS),
                server_hostname="localhost"):
            pass
        self.gw.log_line('status=400 detail="TLS, and the listener is http"')

    def test_refusals_are_logged(self):
        """A refusal has its line in the log: the client's address, why, and nothing of what was sent."""
        with http_corpus.Client(self.connect("scep")) as client:
            client.send(b"GET /secret-target HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            self.assertEqual(client.reply().status, 400)
        line = re.compile(r'event=request client="127\.0\.0\.1" outcome="refused" reason="Bad Request" status=400')
        self.assertTrue(http_corpus.wait_until(lambda: line.search(self.gw.log())))
        self.assertNotIn("secret-target", self.gw.log())


class Late(Corpus):
    limits = "first: 4s, request: 4s, idle: 5s"

    def test_cut_short(self):
        """What does not come to its end is answered 408 when its time is over."""
        self.assertGreater(len(self.cut_short), 2)
        for listener in http_corpus.LISTENERS:
            self.run_corpus(listener, self.cut_short)

    def test_silence(self):
        """A connection that says nothing is closed without a word when limits.first is over."""
        for listener in http_corpus.LISTENERS:
            with http_corpus.Client(self.connect(listener)) as client:
                self.assertIsNone(client.reply(), listener)

    def test_kept_and_silent(self):
        """So is one that is kept and says nothing more, when limits.idle is over."""
        with http_corpus.Client(self.connect("scep")) as client:
            self.assertEqual(http_corpus.probe(client, close=False).status, 200)
            self.assertIsNone(client.reply())


class Methods(Listeners):
    @classmethod
    def configure(cls, gw):
        gw.edit(r"est: \{", "est: {keygen: allow, fullcmc: allow, renewal_info: true, ")

    def test_allow(self):
        """RFC 9110 15.5.6: whatever is asked by a method that its path does not have is answered 405 with the methods that it has, on a
        connection that is kept and in step; a path that nobody has is 404."""
        est = "/.well-known/est/"
        paths = [("scep", "/scep/default?operation=GetCACaps", 405, "GET, HEAD, POST"), ("scep", "/nobody", 404, None),
                 ("est", est + "renewal-info/AA.AA", 405, "GET"), ("est", est + "renewal-info", 404, None),
                 ("est", est + "cacertsX", 404, None), ("est", est + "nobody/cacerts", 404, None), ("est", "/", 404, None)]
        paths += [("est", est + label + name, 405, "GET") for name in ("cacerts", "csrattrs") for label in ("", "default/")]
        paths += [("est", est + name, 405, "POST") for name in ("simpleenroll", "default/simplereenroll", "serverkeygen", "fullcmc")]
        paths += [("admin", path, 405, "GET, HEAD") for path in ("/healthz", "/readyz", "/metrics")] + [("admin", "/x", 404, None)]
        for listener, path, status, allow in paths:
            methods = ["PUT", "DELETE", "OPTIONS", "BREW", "get", "HEADER"]
            methods += ["HEAD"] if listener == "est" else []
            methods += ["POST"] if allow and "POST" not in allow else ["GET"] if allow and "GET" not in allow else []
            with http_corpus.Client(self.connect(listener)) as client:
                for method in methods:
                    for fields, body in (("", b""), ("Content-Length: 3\r\n", b"abc"),
                                         ("Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n")):
                        if method == "POST" and not body:
                            continue  # 411
                        client.send(f"{method} {path} HTTP/1.1\r\nHost: g\r\n{fields}\r\n".encode() + body)
                        reply = client.reply(method == "HEAD")
                        self.assertEqual((reply.status, reply.fields.get("allow")), (status, allow), (method, path, fields))
                client.send(f"DELETE {path} HTTP/1.0\r\nHost: g\r\nContent-Length: 3\r\n\r\nabc".encode())
                reply = client.reply()
                self.assertEqual((reply.status, reply.fields.get("allow")), (status, allow), path)
                self.assertIsNone(client.reply(), "HTTP/1.0 is not kept")


if __name__ == "__main__":
    unittest.main(verbosity=2)
