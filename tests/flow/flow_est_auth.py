"""HTTP authentication in EST: Digest, with curl and by hand, and certificate and password together."""
import base64
import hashlib
import http.client
import http.server
import os
import ssl
import threading
import time
import unittest

from debug import DebugPage
from est_wire import GUESS_WAITS, Tls12, Tls13, basic, digest, guess, make_csr, request
from gateway import FlowTest, run, text

FIXED = "A-FIXED-CHALLENGE-1"
PASSWORD = "open sesame, please"


def ha1(name, user, password, realm="plant"):
    return hashlib.new(name, f"{user}:{realm}:{password}".encode()).hexdigest()


class Auth(FlowTest):
    def ask(self, data, **options):
        with Tls12(self.gw, **options) as conn:
            return conn.ask(data)

    def challenges(self, data, **options):
        """The WWW-Authenticate lines of a 401."""
        status, headers, body = self.ask(data, **options)
        self.assertEqual(status, 401, body)
        return headers["WWW-Authenticate"].split("\n")

    def issued(self, name):
        return [c for c in self.gw.certs() if c["subject"] == name]

    def save(self, work, body):
        pem = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout
        with open(os.path.join(work, "cert.pem"), "wb") as file:
            file.write(pem)
        return os.path.join(work, "cert.pem"), os.path.join(work, "key.pem")

    def curl(self, work, csr, *flags):
        with open(os.path.join(work, "sent"), "wb") as file:
            file.write(base64.b64encode(csr))
        return text("curl", "-sS", "--cacert", self.gw.root, "-o", "body", "-w", "%{http_code} %{num_connects}", "-H",
                    "Content-Type: application/pkcs10", "--data-binary", "@sent", f"{self.gw.est_url}/simpleenroll", *flags, cwd=work)


class Md5Only(http.server.BaseHTTPRequestHandler):
    """A way to the gateway on which SHA-256 is not heard of, so that curl must take MD5."""

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        conn = http.client.HTTPSConnection("127.0.0.1", self.server.gw.est_port,
                                           context=ssl.create_default_context(cafile=self.server.gw.root))
        conn.request("POST", self.path, body, dict(self.headers))
        reply = conn.getresponse()
        body = reply.read()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if "SHA-256" not in value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.server.seen.append(self.headers.get("Authorization", ""))
        conn.close()


class Digest(Auth):
    """auth: [certificate, basic, digest] with users of digest forms, a fixed challenge, and one-time challenges."""

    @classmethod
    def configure(cls, gw):
        cls.page = DebugPage(os.path.join(gw.top, "debug"))
        gw.env = cls.page.env
        gw.secret_file("fixed", FIXED + "\n")
        gw.secret_file("users", f"carol:{{digest-sha256}}{ha1('sha256', 'carol', PASSWORD)}\n"
                                  f"old one:{{digest-md5}}{ha1('md5', 'old one', PASSWORD)}\n")
        gw.secrets += [FIXED, PASSWORD, ha1("sha256", "carol", PASSWORD), ha1("md5", "old one", PASSWORD)]
        gw.edit(r"auth: \[certificate, basic\]",
                "auth: [certificate, basic, digest], users: users, realm: plant, insecure_digest_md5: true")
        gw.edit(r"kinds: \[one-time\]", "kinds: [one-time, fixed], fixed_file: fixed")

    def test_offered(self):
        """RFC 7030 3.2.3, RFC 7616 3.3, 3.7, 5.6: the ways to prove oneself are in headers of their own, the strongest first; each
        has another nonce"""
        csr = make_csr(self.gw.work("offered"), "/CN=offered")
        lines = self.challenges(request("simpleenroll", csr))
        self.assertEqual([line.split(" ")[0] for line in lines], ["Digest", "Digest", "Basic"])
        for line, algorithm in zip(lines, ("SHA-256", "MD5")):
            self.assertRegex(line, rf'^Digest realm="plant", qop="auth", algorithm={algorithm}, nonce="[0-9a-f]{{64}}"$')
        self.assertEqual(len({line for line in lines + self.challenges(request("simpleenroll", csr))}), 5)

    def test_curl(self):
        """RFC 7030 3.2.3, RFC 7616 3.5, 3.6, quirk 15: curl --digest enrolls as a user of the file, and with a fixed challenge"""
        work = self.gw.work("curl")
        for user, password, name in (("carol", PASSWORD, "curl-1"), ("device-7", FIXED, "curl-2")):
            got = self.curl(work, make_csr(work, f"/CN={name}"), "--digest", "--user", f"{user}:{password}")
            self.assertEqual(got, "200 1", name)
            self.assertEqual(len(self.issued(f"CN={name}")), 1)
        got = self.curl(work, make_csr(work, "/CN=curl-3"), "--digest", "--user", "carol:close sesame")
        self.assertEqual(got.split()[0], "401")
        self.assertEqual(self.issued("CN=curl-3"), [])

    def test_curl_md5(self):
        """RFC 7616 3.3: curl that hears of MD5 alone enrolls with it"""
        work = self.gw.work("curl-md5")
        with http.server.HTTPServer(("127.0.0.1", 0), Md5Only) as server:
            server.gw, server.seen = self.gw, []
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            with open(os.path.join(work, "sent"), "wb") as file:
                file.write(base64.b64encode(make_csr(work, "/CN=md5-2")))
            got = text("curl", "-sS", "--digest", "--user", f"old one:{PASSWORD}", "-o", "body", "-w", "%{http_code}", "-H",
                       "Content-Type: application/pkcs10", "--data-binary", "@sent",
                       f"http://localhost:{server.server_port}/.well-known/est/simpleenroll", cwd=work)
            server.shutdown()
            thread.join()
        self.assertEqual(got, "200")
        self.assertIn("algorithm=MD5", server.seen[-1])
        self.assertEqual(len(self.issued("CN=md5-2")), 1)

    def test_curl_both(self):
        """RFC 7616 3.7: curl takes SHA-256 where both are offered"""
        work = self.gw.work("curl-both")
        shown = run("curl", "-sSv", "--cacert", self.gw.root, "--digest", "--user", f"carol:{PASSWORD}", "-H",
                    "Content-Type: application/pkcs10", "--data-binary", base64.b64encode(make_csr(work, "/CN=both-1")).decode(),
                    f"{self.gw.est_url}/simpleenroll").stderr.decode()
        self.assertRegex(shown, r"uthorization: Digest .*algorithm=SHA-256")
        self.assertEqual(len(self.issued("CN=both-1")), 1)

    def test_any(self):
        """curl --anyauth takes Digest of what is offered, and sends no password"""
        work = self.gw.work("anyauth")
        shown = run("curl", "-sSv", "--cacert", self.gw.root, "--anyauth", "--user", f"carol:{PASSWORD}", "-H",
                    "Content-Type: application/pkcs10", "--data-binary", base64.b64encode(make_csr(work, "/CN=any-1")).decode(),
                    f"{self.gw.est_url}/simpleenroll").stderr.decode()
        self.assertIn("uthorization: Digest", shown)
        self.assertNotIn("uthorization: Basic", shown)
        self.assertEqual(len(self.issued("CN=any-1")), 1)

    def test_md5(self):
        """RFC 7616 3.3: a device that knows MD5 alone is served where the operator asked for it"""
        csr = make_csr(self.gw.work("md5"), "/CN=md5-1")
        line = self.challenges(request("simpleenroll", csr))[1]
        self.assertEqual(self.ask(request("simpleenroll", csr, digest(line, "old one", PASSWORD)))[0], 200)

    def test_s8_replay(self):
        """S8, RFC 7616 3.3, 3.4, 5.5: a captured header is 401 stale=true on the same connection and on another one; the next count
        is good"""
        work = self.gw.work("replay")
        csr, other = make_csr(work, "/CN=replay-1"), make_csr(work, "/CN=replay-2")
        line = self.challenges(request("simpleenroll", csr))[0]
        captured = digest(line, "carol", PASSWORD)
        with Tls12(self.gw) as conn:
            self.assertEqual(conn.ask(request("simpleenroll", csr, captured))[0], 200)
            status, headers, _ = conn.ask(request("simpleenroll", other, captured))
            self.assertEqual(status, 401)
            self.assertIn("stale=true", headers["WWW-Authenticate"])
        for line_again in self.challenges(request("simpleenroll", other, captured))[:2]:
            self.assertIn("stale=true", line_again)
        with Tls13(self.gw) as conn:
            self.assertEqual(conn.ask(request("simpleenroll", other, captured))[0], 401)
        self.assertEqual(self.issued("CN=replay-2"), [])
        self.assertEqual(self.ask(request("simpleenroll", other, digest(line, "carol", PASSWORD, count=2)))[0], 200)
        self.assertEqual(self.ask(request("simpleenroll", other, digest(line, "carol", PASSWORD, count=2)))[0], 401)

    def test_s8_foreign(self):
        """S8, RFC 7616 3.3, 5.4: a nonce that is not ours, such as the time, is 401 stale=true at best"""
        csr = make_csr(self.gw.work("foreign"), "/CN=foreign-1")
        line = self.challenges(request("simpleenroll", csr))[0]
        nonce = line.split('nonce="')[1].split('"')[0]
        for wrong in (str(int(time.time())), "", "0" * 64, nonce[:-1], nonce + "0", nonce[:16] + "0" * 48):
            header = digest(line.replace(nonce, wrong), "carol", PASSWORD)
            status, headers, _ = self.ask(request("simpleenroll", csr, header))
            self.assertEqual(status, 401, wrong)
            self.assertIn("stale=true", headers["WWW-Authenticate"])
        self.assertEqual(self.issued("CN=foreign-1"), [])

    def test_bound(self):
        """RFC 7616 3.4, 3.4.6: another URI, realm, qop, method or algorithm, two headers, or a wrong password: 401 without stale"""
        csr = make_csr(self.gw.work("bound"), "/CN=bound-1")
        line = self.challenges(request("simpleenroll", csr))[0]
        good = digest(line, "carol", PASSWORD, count=9)
        for headers in ([digest(line, "carol", PASSWORD, target="/.well-known/est/default/simpleenroll")],
                        [digest(line, "carol", PASSWORD, target="/.well-known/est/simplereenroll")],
                        [digest(line, "carol", PASSWORD, method="GET")],
                        [digest(line, "carol", PASSWORD, changes=[("qop=auth", "qop=auth-int")])],
                        [digest(line, "carol", PASSWORD, changes=[(", qop=auth", "")])],
                        [digest(line, "carol", PASSWORD, changes=[("SHA-256", "SHA-256-sess")])],
                        [digest(line, "carol", PASSWORD, changes=[('realm="plant"', 'realm="est"')])],
                        [digest(line, "carol", "close sesame")], [digest(line, "nobody", PASSWORD)], [good, good],
                        [good, basic(FIXED)]):
            status, replied, _ = self.ask(request("simpleenroll", csr, *headers))
            self.assertEqual(status, 401, headers)
            self.assertNotIn("stale", replied["WWW-Authenticate"])
        self.assertEqual(self.issued("CN=bound-1"), [])
        self.gw.log_line('reason="bad-challenge"', "a Digest response that is wrong, or of somebody unknown")
        self.assertEqual(self.ask(request("simpleenroll", csr, good))[0], 200)

    def test_window(self):
        """RFC 7616 3.4, 5.5: counts may come out of order, each once, within 64 of the highest; zero and what is no count never"""
        work = self.gw.work("window")
        csr = make_csr(work, "/CN=window-1")
        line = self.challenges(request("simpleenroll", csr))[0]
        for count, wanted in ((5, 200), (3, 200), (5, 401), (3, 401), (4, 200), (0, 401), (100, 200), (37, 200), (36, 401), (37, 401),
                              (0xFFFFFFFF, 200), (100, 401), (0xFFFFFFFE, 200)):
            status, headers, _ = self.ask(request("simpleenroll", csr, digest(line, "carol", PASSWORD, count=count)))
            self.assertEqual(status, wanted, count)
            if wanted == 401:
                self.assertIn("stale=true", headers["WWW-Authenticate"])
        for wrong in ("nc=1", "nc=000000006", "nc=0000000g", "nc="):
            header = digest(line, "carol", PASSWORD, count=6, changes=[("nc=00000006", wrong)])
            status, headers, _ = self.ask(request("simpleenroll", csr, header))
            self.assertEqual(status, 401, wrong)
            self.assertNotIn("stale", headers["WWW-Authenticate"])

    def test_names(self):
        """RFC 7616 3.4, 3.4.4: userhash=false is as none; userhash=true and username*, which nobody asked for, are 401, as is a
        part twice"""
        csr = make_csr(self.gw.work("names"), "/CN=names-1")
        line = self.challenges(request("simpleenroll", csr))[0]
        self.assertNotIn("userhash", line)
        user = 'username="carol"'
        hashed = hashlib.sha256(b"carol:plant").hexdigest()
        for count, (new, wanted) in enumerate(((user + ", userhash=false", 200), (user + ", userhash=true", 401),
                                               (f'username="{hashed}", userhash=true', 401), ("username*=UTF-8''carol", 401),
                                               (user + ", username*=UTF-8''carol", 401), (user + ", " + user, 401),
                                               (user + ", opaque=x", 200), ("", 401)), 1):
            header = digest(line, "carol", PASSWORD, count=count, changes=[(user, new)])
            self.assertEqual(self.ask(request("simpleenroll", csr, header))[0], wanted, new)

    def test_charset(self):
        """RFC 7616 4: no charset is told; beside a fixed challenge any name's octets will do, but users of the file have ASCII names"""
        work = self.gw.work("charset")
        csr = make_csr(work, "/CN=charset-1")
        line = self.challenges(request("simpleenroll", csr))[0]
        self.assertNotIn("charset", line)
        self.assertEqual(self.ask(request("simpleenroll", csr, digest(line, "zoë", FIXED)))[0], 200)
        self.gw.secret_file("more", f"zoë:{{digest-sha256}}{ha1('sha256', 'zoë', PASSWORD)}\n")
        conf = os.path.join(self.gw.dir, "more.yaml")
        with open(self.gw.conf, encoding="utf-8") as file, open(conf, "w", encoding="utf-8") as out:
            out.write(file.read().replace("users: users", "users: more"))
        self.assertIn(b"line 1 is not NAME:HASH", run(os.environ["SCEPTER"], "check", "-c", conf, check=False).stderr)

    def test_one_time(self):
        """One-time challenges are kept as hashes: Digest cannot check them and spends nothing; Basic then does"""
        csr = make_csr(self.gw.work("one-time"), "/CN=one-time-1")
        secret = self.gw.challenge()
        line = self.challenges(request("simpleenroll", csr))[0]
        self.assertEqual(self.ask(request("simpleenroll", csr, digest(line, "device", secret)))[0], 401)
        self.assertEqual(self.ask(request("simpleenroll", csr, basic(secret)))[0], 200)

    def test_basic_user(self):
        """A digest form is no password for Basic, and neither is what it is made of"""
        csr = make_csr(self.gw.work("pass-the-hash"), "/CN=pass-the-hash")
        for password in (PASSWORD, ha1("sha256", "carol", PASSWORD)):
            self.assertEqual(self.ask(request("simpleenroll", csr, basic(password, "carol")))[0], 401)

    def test_guessing(self):
        """S9: after ten wrong Digest responses a user hears 429 with Retry-After, another user does not"""
        csr = make_csr(self.gw.work("guess"), "/CN=guess-1")

        def answer(password):
            line = self.challenges(request("simpleenroll", csr))[0]
            return self.ask(request("simpleenroll", csr, digest(line, "guesser", password)))

        guess(self.page, lambda: answer("a guess")[0])
        status, headers, _ = answer(FIXED)
        self.assertEqual(status, 429)
        self.assertGreater(int(headers["Retry-After"]), GUESS_WAITS[-1])
        line = self.challenges(request("simpleenroll", csr))[0]
        self.assertEqual(self.ask(request("simpleenroll", csr, digest(line, "other", FIXED)))[0], 200)

    def test_reload(self):
        """RFC 7616 3.3, 3.6, 5.4: a nonce ends with its configuration: stale=true, and curl goes on by itself"""
        work = self.gw.work("reload")
        csr = make_csr(work, "/CN=reload-1")
        line = self.challenges(request("simpleenroll", csr))[0]
        self.gw.reload()
        status, headers, _ = self.ask(request("simpleenroll", csr, digest(line, "carol", PASSWORD)))
        self.assertEqual(status, 401)
        self.assertIn("stale=true", headers["WWW-Authenticate"])
        fresh = headers["WWW-Authenticate"].split("\n")[0]
        self.assertEqual(self.ask(request("simpleenroll", csr, digest(fresh, "carol", PASSWORD)))[0], 200)


class DigestPlain(Auth):
    """digest as it is without insecure_digest_md5."""

    @classmethod
    def configure(cls, gw):
        gw.secret_file("fixed", FIXED + "\n")
        gw.secrets.append(FIXED)
        gw.edit(r"auth: \[certificate, basic\]", "auth: [digest], realm: plant")
        gw.edit(r"kinds: \[one-time\]", "kinds: [fixed], fixed_file: fixed")

    def test_md5_not_offered(self):
        """RFC 7616 3.3: MD5 is neither offered nor taken, said or meant, unless the operator wants it"""
        csr = make_csr(self.gw.work("no-md5"), "/CN=no-md5")
        line, = self.challenges(request("simpleenroll", csr))
        self.assertIn("algorithm=SHA-256", line)
        self.assertNotIn("MD5", line)
        md5 = line.replace("algorithm=SHA-256", "algorithm=MD5")
        for changes in ((), [(" algorithm=MD5,", "")]):
            self.assertEqual(self.ask(request("simpleenroll", csr, digest(md5, "carol", FIXED, changes=changes)))[0], 401, changes)
        self.assertEqual(self.ask(request("simpleenroll", csr, basic(FIXED, "carol")))[0], 401, "nor is Basic")
        self.assertEqual(self.ask(request("simpleenroll", csr, digest(line, "carol", FIXED)))[0], 200)


class Both(Auth):
    """auth_require: all, after devices were enrolled with any."""

    @classmethod
    def configure(cls, gw):
        hash_ = text("openssl", "passwd", "-6", "-stdin", input=PASSWORD.encode()).strip()
        gw.secret_file("users", f"carol:{hash_}\n")
        gw.secrets.append(PASSWORD)
        gw.edit(r"auth: \[certificate, basic\]", r"\g<0>, users: users, auth_require: any")

    def test_both(self):
        """RFC 7030 3.2.3, 3.7: where both are needed, neither a certificate nor a password is enough; both are, for each of their
        kinds"""
        work = self.gw.work("both")
        status, _, body = self.ask(request("simpleenroll", make_csr(work, "/CN=both"), basic(PASSWORD, "carol")))
        self.assertEqual(status, 200)
        cert = self.save(work, body)
        strange = self.gw.work("strange")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "s.key", "-out", "s.pem", "-subj", "/CN=both",
            cwd=strange)
        stranger = (os.path.join(strange, "s.pem"), os.path.join(strange, "s.key"))
        self.gw.edit("auth_require: any", "auth_require: all")
        self.gw.reload()
        csr = make_csr(work, "/CN=both", key="next.pem")
        spent = self.gw.challenge()
        good = basic(PASSWORD, "carol")
        issued = len(self.gw.certs())
        for operation in ("simpleenroll", "simplereenroll"):
            self.assertEqual(self.ask(request(operation, csr, good))[0], 403, operation)
            # S7: libest let a certificate with a malformed header through.
            for headers in ([], ["Authorization: X"], ["Authorization: Basic !!!"], ["Authorization: Bearer x"], [good, good],
                            [basic("close sesame", "carol")], [basic("AAAAAAAAAAAAAAAAAAAA")]):
                status, replied, _ = self.ask(request(operation, csr, *headers), cert=cert)
                self.assertEqual(status, 401, (operation, headers))
                self.assertTrue(replied["WWW-Authenticate"].startswith("Basic "))
            self.assertEqual(self.ask(request(operation, csr, good), cert=stranger)[0], 403, operation)
        self.assertEqual(len(self.gw.certs()), issued)
        self.assertEqual(self.ask(request("simplereenroll", csr, good), cert=cert)[0], 200)
        # The challenge is spent by that renewal, and answers its repetition only.
        other = make_csr(work, "/CN=both", key="other.pem")
        status, _, body = self.ask(request("simplereenroll", other, basic(spent)), cert=cert)
        self.assertEqual(status, 200)
        again = self.ask(request("simplereenroll", other, basic(spent)), cert=cert)
        self.assertEqual((again[0], again[2]), (200, body))
        self.assertEqual(self.ask(request("simplereenroll", other, basic("AAAAAAAAAAAAAAAAAAAA")), cert=cert)[0], 401)
        third = make_csr(work, "/CN=both", key="third.pem")
        self.assertEqual(self.ask(request("simplereenroll", third, basic(spent)), cert=cert)[0], 401)


if __name__ == "__main__":
    unittest.main()
