"""Families of SCEP clients: what they show, what they are told, and what only a profile that names them allows."""
import base64
import os
import re
import socket
import unittest
import urllib.parse
import urllib.request

from gateway import FlowTest, run
from scep_wire import CertRep


def windows_signer(work):
    """A certificate as Windows makes it for each attempt, with a key of its own."""
    paths = os.path.join(work, "signer.pem"), os.path.join(work, "signer.key")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=SCEP Protocol Certificate", "-days", "365",
        "-addext", "authorityKeyIdentifier=critical,keyid:always", "-out", paths[0], "-keyout", paths[1])
    return paths


class Family(FlowTest):
    def test_user_agent(self):
        """User-Agent and message= tell the family, which stands in the log."""
        for query, agent, family in (("GetCACert&message=r1", "Mozilla/4.0 (compatible; MSIE 5.0; Cisco PKI)", "cisco-ios"),
                                     ("GetCACert&message=DummyCAIdentity", None, "mikrotik"),
                                     ("GetCACert&message=r2", "curl/8", "generic")):
            request = urllib.request.Request(self.gw.scep_url + "?operation=" + query, headers={"User-Agent": agent or ""})
            with urllib.request.urlopen(request, timeout=60) as reply:
                self.assertEqual(reply.headers["Content-Type"], "application/x-x509-ca-ra-cert")
            self.gw.log_line(f'operation="GetCACert" outcome="answered" family="{family}"')

    def test_fail_text(self):
        """A refused device is told the id of its request, under which the log has the reason."""
        work = self.gw.work("text")
        self.gw.scep_client("--subject", "/CN=text-1", "--save-request", "request", "--no-send", secret="WRONGWRONG234567",
                            cwd=work)
        with open(os.path.join(work, "request"), "rb") as file:
            request = urllib.request.Request(self.gw.scep_url + "?operation=PKIOperation", data=file.read())
        with urllib.request.urlopen(request, timeout=60) as reply:
            told = re.search(rb"the log has the reason under id ([0-9a-f]{16})", reply.read())
        self.assertTrue(told)
        self.gw.log_line(f'id="{told.group(1).decode()}"', 'reason="bad-challenge"')

    def test_windows_unnamed(self):
        """Whoever looks like Windows may not sign with another key than the CSR's: the challenge is left, and the log says
        what would let it pass."""
        work = self.gw.work("windows")
        secret = self.gw.challenge()
        cert, key = windows_signer(work)
        refused = self.gw.scep_client("--subject", "/CN=windows-1", "--renew", cert, key, "--type", "19", secret=secret,
                                      check=False)
        self.assertIn(b"status=FAILURE fail=badRequest", refused.stdout)
        self.gw.log_line("windows-1", "scep.client: windows")
        self.gw.scep_client("--subject", "/CN=windows-1", secret=secret)


class Windows(FlowTest):
    @classmethod
    def configure(cls, gw):
        gw.edit(r"ra: \[main\]\}", "ra: [main], client: windows, legacy: des3-sha1}")

    def test_enroll(self):
        """A profile for Windows issues to the CSR's key though another one signed with SHA-1, repeats it, and renews (quirk 17)."""
        work = self.gw.work("windows")
        secret = self.gw.challenge()
        cert, key = windows_signer(work)
        flags = ("--subject", "/CN=windows-2", "--renew", cert, key, "--type", "19", "--digest", "sha1")
        first = self.gw.scep_client(*flags, "--key-out", "key.pem", "--out", "first.pem", secret=secret, cwd=work)
        again = self.gw.scep_client(*flags, "--key", "key.pem", "--out", "again.pem", secret=secret, cwd=work)
        self.assertEqual(first.stdout, again.stdout)
        self.gw.verify(os.path.join(work, "first.pem"))
        self.gw.scep_client("--subject", "/CN=windows-2", "--renew", "first.pem", "key.pem", "--out", "next.pem", cwd=work)
        unpaid = self.gw.scep_client(*flags[:-2], "--txn", "other", check=False, cwd=work)
        self.assertIn(b"status=FAILURE fail=badRequest", unpaid.stdout)


class Told(FlowTest):
    """A profile that lists what GetCACert tells, for devices that encrypt to the first."""

    @classmethod
    def configure(cls, gw):
        for name, usage in (("sign", "digitalSignature"), ("encrypt", "keyEncipherment")):
            run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN=RA that does {name}", "-days", "300",
                "-addext", f"keyUsage=critical,{usage}", "-addext", "basicConstraints=critical,CA:FALSE", "-out", f"{name}.pem",
                "-keyout", f"{name}.key", cwd=gw.path("ra"))
            os.chmod(gw.path(f"ra/{name}.key"), 0o600)
        gw.edit(r"^  main: .*$", "  main: {certificate: ra/sign.pem, key: ra/sign.key, encryption: {certificate: ra/encrypt.pem,"
                " key: ra/encrypt.key}}")
        gw.edit(r"ra: \[main\]\}", "ra: [main], getcacert: [encryption, ra, root, issuer]}")

    def test_order(self):
        """They are told in the profile's order, and what is encrypted to the first is understood."""
        work = self.gw.work("told")
        run("curl", "-sf", "-o", "bag.der", f"{self.gw.scep_url}?operation=GetCACert", cwd=work)
        bag = run("openssl", "pkcs7", "-inform", "DER", "-in", "bag.der", "-print_certs", "-noout", cwd=work).stdout.decode()
        self.assertEqual(re.findall(r"^subject=CN = (.*)$", bag, re.M),
                         ["RA that does encrypt", "RA that does sign", "scepter root CA", "scepter issuing CA"])
        self.gw.scep_client("--subject", "/CN=first-1", "--recipient", self.gw.path("ra/encrypt.pem"),
                            secret=self.gw.challenge(), cwd=work)


class MikroTik(FlowTest):
    """RouterOS that uses GET, MD5 and single DES, in a profile that names it: a PKIOperation does not show who sends it."""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"ra: \[main\]\}", "ra: [main], client: mikrotik, legacy: des-md5}")

    def get(self, operation, message):
        """A request as it sends them: HTTP/1.0 without more. Status and body of the reply."""
        query = urllib.parse.urlencode({"operation": operation, "message": message})
        with socket.create_connection(("127.0.0.1", self.gw.scep_port), timeout=30) as connection:
            connection.sendall(f"GET /scep/default?{query} HTTP/1.0\r\n\r\n".encode())
            reply = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = reply.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def test_enroll(self):
        """It enrolls by GET, is answered with its algorithms, and asks for a next CA that there is not."""
        work = self.gw.work("mikrotik")
        self.assertEqual(self.get("GetCACert", "DummyCAIdentity")[0], 200)
        self.gw.scep_client("--subject", "/CN=mikrotik-1", "--digest", "md5", "--cipher", "des", "--txn", os.urandom(32).hex(),
                            "--save-request", "request", "--no-send", secret=self.gw.challenge(), cwd=work)
        with open(os.path.join(work, "request"), "rb") as file:
            message = base64.b64encode(file.read())
        for _ in range(2):
            status, body = self.get("PKIOperation", message)
            reply = CertRep(body)
            self.assertEqual((status, reply.outcome), (200, "SUCCESS"), self.gw.log()[-1500:])
            self.assertEqual((reply.signers[0][2][0].oid, reply.envelope[2][1][0].oid), ("1.2.840.113549.2.5", "1.3.14.3.2.7"))
        self.gw.log_line("mikrotik-1", 'family="mikrotik"', 'legacy="md5 des"')
        self.assertEqual(len([c for c in self.gw.certs() if c["subject"] == "CN=mikrotik-1"]), 1)
        self.assertEqual(self.get("GetNextCACert", "DummyCAIdentity")[0], 404)


if __name__ == "__main__":
    unittest.main()
