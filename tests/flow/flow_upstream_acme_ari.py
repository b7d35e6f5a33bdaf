"""ACME renewal information (RFC 9773). Debian's pebble does not have it: the proxy before it adds it to the directory,
answers what is asked for, and keeps of new orders what they replace."""
import base64
import json
import os
import re
import unittest

import faults
from faults import Handler
from flow_upstream_acme import NEW_ORDER, AcmeProxy, AcmeTest, Pebble
from gateway import run

INFO = "/renewal-info"
WINDOW = {"start": "2031-01-02T04:00:00Z", "end": "2031-01-03T04:00:00Z"}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def cert_id(pem):
    """The identifier of a certificate as RFC 9773 section 4.1 has it, by what openssl prints."""
    text = run("openssl", "x509", "-in", pem, "-noout", "-serial", "-ext", "authorityKeyIdentifier").stdout.decode()
    serial = int(re.search(r"serial=([0-9A-F]+)", text)[1], 16)
    key = re.search(r"Authority Key Identifier:\s*\n\s*(?:keyid:)?([0-9A-F:]+)", text)[1]
    return f"{b64(bytes.fromhex(key.replace(':', '')))}.{b64(serial.to_bytes(serial.bit_length() // 8 + 1, 'big'))}"


class AriHandler(Handler):
    """GET of the directory and of renewal information; everything else is the CA's."""

    def do_GET(self):
        proxy = self.server.proxy
        if self.path.startswith(INFO + "/"):
            proxy.asked_info.append(self.path[len(INFO) + 1:])
            return self.answer(proxy.info_status, [("Content-Type", "application/json"), ("Retry-After", "21600")], proxy.info)
        status, headers, body = self.forward(None)
        if self.path == "/dir" and proxy.offers:
            body = json.dumps({**json.loads(body), "renewalInfo": f"https://127.0.0.1:{proxy.port}{INFO}"}).encode()
        return self.answer(status, headers, body)


class AriProxy(AcmeProxy):
    """replaces: of each new order that was not refused for its nonce; says_no: what is answered to those that have one."""

    offers = True

    def __init__(self, *args):
        super().__init__(*args)
        self.says_no = None
        self.orders = []
        self.asked_info = []
        self.info_status, self.info = 200, json.dumps({"suggestedWindow": WINDOW, "explanationURL": "https://ca.example.com/why"}).encode()

    def start(self):
        super().start()
        self.server.RequestHandlerClass = AriHandler

    def next(self, path):
        if NEW_ORDER not in path:
            return super().next(path)

        def keep(body):
            self.last = json.loads(unb64(json.loads(body)["payload"])).get("replaces")
            return body

        def note(status, headers, reply):
            if status != 201:
                return status, headers, reply
            self.orders.append(self.last)
            if self.last and self.says_no:
                code, problem = self.says_no
                headers = [(n, v) for n, v in headers if n.lower() not in ("content-type", "location")]
                return code, headers + [("Content-Type", "application/problem+json")], json.dumps(
                    {"type": f"urn:ietf:params:acme:error:{problem}", "detail": "no", "status": code}).encode()
            return status, headers, reply
        return faults.Fault("what is replaced is noted", True, before=keep, change=note)


class AriPebble(Pebble):
    proxy_class = AriProxy


class UpstreamAcmeAri(AcmeTest):
    make_ca = AriPebble

    def setUp(self):
        super().setUp()
        self.ca.proxy.orders.clear()
        self.ca.proxy.asked_info.clear()
        self.ca.proxy.says_no = None

    def pem(self, name):
        return os.path.join(self.work, f"{self.subject(name)}.pem")

    def serial(self, name):
        return run("openssl", "x509", "-in", self.pem(name), "-noout", "-serial").stdout.decode().strip().split("=")[1]

    def issue(self, name):
        self.ask(name)
        self.collect(name)

    def renew(self, name):
        """By a new key; the certificate that is renewed stays where it is."""
        new = os.path.join(self.work, f"{name}-new.key")
        old_key = os.path.join(self.work, f"{self.subject(name)}.key")
        self.gw.scep_client("--subject", f"/CN={self.subject(name)}", "--san", f"dns:{self.subject(name)}", "--key-out", new,
                            "--out", os.path.join(self.work, f"{name}-new.pem"), "--renew", self.pem(name), old_key, check=False)
        self.wait_for(lambda: [r["state"] for r in self.gw.requests() if r["subject"] == f"CN={self.subject(name)}"] ==
                      ["issued", "issued"], 120)

    def test_replaces(self):
        """An enrollment replaces nothing; a renewal says which certificate it replaces."""
        self.issue("replaced")
        self.assertEqual(self.ca.proxy.orders, [None])
        self.renew("replaced")
        self.assertEqual(self.ca.proxy.orders, [None, cert_id(self.pem("replaced"))])

    def test_refused(self):
        """A CA that does not take what is replaced, whatever it calls that, is asked for an order without it, once."""
        for code, problem in ((409, "alreadyReplaced"), (400, "malformed"), (403, "unauthorized"), (404, "malformed")):
            with self.subTest(problem=problem, code=code):
                self.ca.proxy.orders.clear()
                self.ca.proxy.reset()
                name = f"{problem.lower()}-{code}"
                self.issue(name)
                self.ca.proxy.says_no = code, problem
                self.renew(name)
                self.assertEqual(self.ca.proxy.orders, [None, cert_id(self.pem(name)), None])
                self.ca.proxy.says_no = None

    def test_window(self):
        """An operator reads when the CA wants a certificate renewed, and why; the CA was asked for this one."""
        self.issue("windowed")
        serial = self.serial("windowed")
        text = self.gw.cli("cert", "show", serial, "--window").stdout.decode()
        self.assertRegex(text, r"Renew: +from 2031-01-02T04:00:00Z to 2031-01-03T04:00:00Z, see https://ca.example.com/why\n")
        said = json.loads(self.gw.cli("cert", "show", serial, "--window", "--json").stdout)
        self.assertEqual(said["window"], {**WINDOW, "why": "https://ca.example.com/why"})
        self.assertEqual(self.ca.proxy.asked_info, [cert_id(self.pem("windowed"))] * 2)
        self.assertNotIn("window", json.loads(self.gw.cli("cert", "show", serial, "--json").stdout))

    def test_no_window(self):
        """A CA that answers with an error, or with a window that ends before it starts: the command says so, and ends with 3."""
        self.issue("windowless")
        serial = self.serial("windowless")
        good = self.ca.proxy.info
        for status, body, said in ((404, b"{}", "404"), (200, b"<html>", "reading"), (200, b'{"suggestedWindow":{}}', "window"),
                                   (200, json.dumps({"suggestedWindow": {"start": WINDOW["end"], "end": WINDOW["start"]}}).encode(), "window")):
            with self.subTest(body=body):
                self.ca.proxy.info_status, self.ca.proxy.info = status, body
                result = self.gw.cli("cert", "show", serial, "--window", check=False)
                self.assertEqual(result.returncode, 3)
                self.assertIn(said, result.stderr.decode())
        self.ca.proxy.info_status, self.ca.proxy.info = 200, good


class NotOffering(AriProxy):
    offers = False


class PlainPebble(Pebble):
    proxy_class = NotOffering


class WithoutAri(UpstreamAcmeAri):
    """The same CA without renewal information in its directory."""

    make_ca = PlainPebble

    def test_replaces(self):
        """Such a CA is not told what is replaced: it would not know the member."""
        self.issue("silent")
        self.renew("silent")
        self.assertEqual(self.ca.proxy.orders, [None, None])

    def test_window(self):
        """The operator hears that the CA says nothing, and the CA is not asked."""
        self.issue("unsaid")
        result = self.gw.cli("cert", "show", self.serial("unsaid"), "--window", check=False)
        self.assertEqual(result.returncode, 3)
        self.assertIn("renewalInfo", result.stderr.decode())
        self.assertEqual(self.ca.proxy.asked_info, [])

    test_no_window = test_refused = None


if __name__ == "__main__":
    unittest.main(verbosity=2)
