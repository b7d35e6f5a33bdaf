"""Edges that end TLS and speak TLS to the gateway, by docs/edge.md, and who pretends to be one."""
import os
import time
import unittest

import flow_edge
from edges import EDGE, open_text, put, snippet
from est_rows import EstFlow
from est_wire import keep_connections, make_csr, request
from http_corpus import wait_until
from pki import Ca, Web

NAME = "edge-1.example.com"
CLIENT_AUTH = "extendedKeyUsage = clientAuth"


def san(name):
    return f"subjectAltName = DNS:{name}"


class Mutual(flow_edge.Enrolls):
    """Everything that holds behind every edge holds here."""

    ends_tls = True

    @classmethod
    def listeners(cls):
        return [("10.0.0.11:8080", f"127.0.0.1:{cls.gw.scep_port}"), ("10.0.0.11:8443", f"127.0.0.1:{cls.gw.est_port}")]

    @classmethod
    def configure_gateway(cls):
        ca = Ca(cls.gw.top, "edges", "/CN=Edges")
        cert, key = ca.issue("edge-1", "/CN=edge", [CLIENT_AUTH, san(NAME)])
        web = Web()
        cls.addClassCleanup(web.close)
        web.crls["edge-ca.crl"] = ca.crl()
        cls.write("edge-client.pem", open_text(cert) + open_text(key))
        cls.write("edge-client.key", open_text(key))
        cls.write("gateway-root.pem", open_text(cls.gw.root))
        section = put(snippet("mutual.yaml"), *cls.listeners(), ("127.0.0.1:9443", f"127.0.0.1:{cls.gw.admin_port}"),
                      ("edge-ca.pem", ca.cert), ("http://pki.example.com", web.url), ("10.0.0.5", EDGE if cls.knows_client else "127.0.0.99"))
        cls.gw.edit(r"^listen:\n(?:  .*\n)+", section)
        cls.gw.edit(r"paths: \[", "paths: [/.well-known, ")

    def setUp(self):
        """Until the CRL of the edges' CA is there, all that they hand on is answered 503."""
        self.assertTrue(wait_until(lambda: self.gw.metric('revocation_kept.what="crls"') == 1), self.gw.log()[-1500:])


class HaproxyMutual(Mutual, unittest.TestCase):
    kind = "haproxy"

    @classmethod
    def text(cls, end):
        front = snippet("ended-haproxy" + end).partition("\nbackend est\n")[0] + "\n"
        return front + put(snippet("mutual" + end), ("gateway.example.com", "localhost"))


class NginxMutual(Mutual, unittest.TestCase):
    kind, knows_client = "nginx", False

    @classmethod
    def text(cls, end):
        mutual = put(snippet("mutual" + end), ("gateway.example.com", "localhost"))
        return put(snippet("ended-nginx" + end), ("http {\n", "http {\n" + mutual),
                   ("unix:/run/scepter/est.sock", "10.0.0.11:8443"), ("unix:/run/scepter/scep.sock", "10.0.0.11:8080"),
                   ("proxy_pass http://est", "proxy_pass https://est"))


class Pretenders(EstFlow):
    """Client-Cert over TLS at the gateway itself."""

    @classmethod
    def configure(cls, gw):
        cls.ca = Ca(gw.top, "edges", "/CN=Edges")
        cls.edge = cls.ca.issue("edge", "/CN=edge", [CLIENT_AUTH, san(NAME)])
        cls.lone = Ca(gw.top, "lone", "/CN=Lone").issue("lone", "/CN=lone", [CLIENT_AUTH, san(NAME)])
        trust = f"{cls.ca.cert}, {cls.lone[0]}, ca/issuing.pem"
        gw.edit(r"\Z", f"edge: {{certificates: {{trust: [{trust}], names: [{NAME}, edge-2.example.com], revocation: none}}}}\n")
        gw.edit(r"est: +\{", "est: {keygen: allow, ")
        keep_connections(gw)

    told = flow_edge.Behind.told

    def device(self, name):
        """(certificate, key), and a CSR of the same subject."""
        work = self.gw.work(name)
        return self.enroll(work, f"/CN={name}"), make_csr(work, f"/CN={name}", key="new.pem")

    def renew(self, cert, csr, *fields):
        return self.status(request("simplereenroll", csr, *fields), cert=cert)

    def test_edge(self):
        """An edge's word counts, by its CA and by its own certificate, on kept connections and resumed sessions;
        without the header the device has no certificate, and the edge's own is not the device's."""
        holder, csr = self.device("told-1")
        told = self.told(holder[0])
        for edge in (self.edge, self.lone):
            self.assertEqual(self.renew(edge, csr, told), 200)
            self.assertEqual(self.renew(edge, csr), 403)
            self.assertEqual(self.status(request("simpleenroll", csr), cert=edge), 401)
            self.assertEqual(self.status(request("cacerts"), cert=edge), 200)
        with self.connect(cert=self.edge) as conn:
            for fields, status in (([], 403), ([told], 200), ([], 403), (["Client-Cert: :AA==:"], 400)):
                self.assertEqual(conn.ask(request("simplereenroll", csr, *fields))[0], status)
            session, context = conn.tls.session, conn.context
        for fields, status in (([told], 200), ([], 403)):
            with self.connect(session=session, context=context) as conn:
                self.assertTrue(conn.tls.session_reused)
                self.assertEqual(conn.ask(request("simplereenroll", csr, *fields))[0], status)
        self.assertEqual(self.issued("CN=edge"), [])

    def test_malformed(self):
        """An edge's header that is broken, or there twice, is 400."""
        holder, csr = self.device("told-2")
        field = self.told(holder[0])
        value = field.partition(": ")[2]
        for broken in ("", ":", value[:-1], value + ", " + value, ":AAAA:"):
            self.assertEqual(self.renew(self.edge, csr, f"Client-Cert: {broken}"), 400, broken)
        self.assertEqual(self.renew(self.edge, csr, field, field), 400)
        self.assertEqual(self.renew(self.edge, csr, field, "Client-Cert-Chain: x"), 400)

    def test_pretenders(self):
        """Whoever is no edge is believed nothing: no certificate, a device's own, another CA's with an edge's name, one
        of the edges' CA with another name, as commonName alone or by a wildcard, for servers only, or expired."""
        victim, csr = self.device("told-3")
        mine, own = self.device("told-4")
        wrong = [None, mine, Ca(self.gw.top, "other", "/CN=Edges").issue("e", "/CN=edge", [CLIENT_AUTH, san(NAME)]),
                 self.ca.issue("name", "/CN=edge", [CLIENT_AUTH, san("edge-9.example.com")]),
                 self.ca.issue("cn", f"/CN={NAME}", [CLIENT_AUTH]),
                 self.ca.issue("wild", "/CN=edge", [CLIENT_AUTH, san("*.example.com")]),
                 self.ca.issue("server", "/CN=edge", ["extendedKeyUsage = serverAuth", san(NAME)]),
                 self.ca.issue("old", "/CN=edge", [CLIENT_AUTH, san(NAME)], start=-9, end=-1)]
        for cert in wrong:
            for field in (self.told(victim[0]), "Client-Cert: nonsense"):
                self.assertEqual(self.renew(cert, csr, field), 403, cert)
        self.assertEqual(self.status(request("simpleenroll", csr, self.told(victim[0]))), 401)
        self.assertEqual(self.renew(mine, own, self.told(victim[0])), 200, "the device's own counts")
        self.assertEqual(len(self.issued("told-3")), 1)

    def test_device_with_name(self):
        """A device that got an edge's name is no edge, even where its CA is listed; what is listed itself is an edge's,
        whoever issued it."""
        victim, csr = self.device("told-7")
        work = self.gw.work("pretender")
        mine = self.enroll(work, "/CN=pretender", extensions=[san(NAME)])
        self.assertEqual(self.renew(mine, csr, self.told(victim[0])), 403)
        self.gw.log_line("is no edge's")
        self.gw.edit(r"ca/issuing\.pem\], names", f"ca/issuing.pem, {mine[0]}], names")
        self.gw.reload()
        self.assertEqual(self.renew(mine, csr, self.told(victim[0])), 200)

    def test_name_taken_out(self):
        """A reload that takes a name out ends the edge's word, on a connection that it has open."""
        holder, csr = self.device("told-5")
        second = self.ca.issue("edge-2", "/CN=edge", [CLIENT_AUTH, san("edge-2.example.com")])
        with self.connect(cert=second) as conn:
            self.assertEqual(conn.ask(request("simplereenroll", csr, self.told(holder[0])))[0], 200)
            self.gw.edit(r", edge-2.example.com\]", "]")
            self.gw.reload()
            self.assertEqual(conn.ask(request("simplereenroll", csr, self.told(holder[0])))[0], 403)

    def test_no_binding(self):
        """What an edge hands on is bound to no TLS connection, and no key is sent through it in the clear."""
        holder, csr = self.device("told-6")
        self.assertEqual(self.status(request("serverkeygen", csr, self.told(holder[0])), cert=self.edge), 400)
        self.gw.edit(r"est: \{", "est: {binding: required, ")
        self.gw.reload()
        with self.connect(cert=self.edge) as conn:
            bound = make_csr(self.gw.work("bound"), "/CN=told-6", attributes=[f"challengePassword = {conn.binding}"])
            self.assertEqual(conn.ask(request("simplereenroll", bound, self.told(holder[0])))[0], 400)
        self.gw.log_line("on a connection that nothing can be bound to")
        self.gw.edit("binding: required, ", "")
        self.gw.reload()


class Revoked(EstFlow):
    """Edges whose certificates are checked by a CRL, with hard_fail."""

    told = flow_edge.Behind.told

    @classmethod
    def configure(cls, gw):
        cls.web = Web()
        cls.addClassCleanup(cls.web.close)
        cls.ca = Ca(gw.top, "edges", "/CN=Edges")
        cls.sub = Ca(gw.top, "sub", "/CN=Sub", above=cls.ca)
        cls.edges = [cls.ca.issue(f"edge-{i}", f"/CN=edge-{i}", [CLIENT_AUTH, san(NAME)]) for i in range(3)]
        cls.listed = Ca(gw.top, "other", "/CN=Other").issue("listed", "/CN=listed", [CLIENT_AUTH, san(NAME)])
        cls.web.crls["edges.crl"] = cls.ca.crl()
        gw.edit(r"\Z", f"edge: {{certificates: {{trust: [{cls.ca.cert}, {cls.listed[0]}], names: [{NAME}], "
                       f'crl: ["{cls.web.url}/edges.crl"], refresh: 1s}}}}\n')
        keep_connections(gw)

    def setUp(self):
        self.web.down.clear()
        self.web.crls["edges.crl"] = self.ca.crl()
        self.gw.reload()

    def device(self, name):
        work = self.gw.work(name)
        return self.told(self.enroll(work, f"/CN={name}")[0]), make_csr(work, f"/CN={name}", key="new.pem")

    def renew(self, edge, device):
        return self.status(request("simplereenroll", device[1], device[0]), cert=edge)

    def until(self, edge, device, expect):
        """Until what goes on behind the requests has been done."""
        end = time.monotonic() + 90
        status = None
        while status != expect and time.monotonic() < end:
            status = self.renew(edge, device)
            time.sleep(0 if status == expect else 0.3)
        self.assertEqual(status, expect, self.gw.log()[-1500:])

    def test_revoked(self):
        """An edge that its CA has revoked is believed nothing, on connections and sessions that it has open; the others
        are."""
        device = self.device("revoked-1")
        self.until(self.edges[0], device, 200)
        with self.connect(cert=self.edges[0]) as conn:
            self.assertEqual(conn.ask(request("simplereenroll", device[1], device[0]))[0], 200)
            session, context = conn.tls.session, conn.context
            self.ca.revoke(self.edges[0][0])
            self.web.crls["edges.crl"] = self.ca.crl()
            self.until(self.edges[0], device, 403)
            self.assertEqual(conn.ask(request("simplereenroll", device[1], device[0]))[0], 403)
        with self.connect(session=session, context=context) as conn:
            self.assertTrue(conn.tls.session_reused)
            self.assertEqual(conn.ask(request("simplereenroll", device[1], device[0]))[0], 403)
        self.gw.log_line("has been revoked")
        self.assertEqual(self.renew(self.edges[1], device), 200)

    def test_unknown(self):
        """Whether an edge is revoked could not be learnt: it and its devices hear 503, until there is a good CRL, or
        soft_fail lets it pass and counts that. An edge whose own certificate is listed needs no CRL."""
        device = self.device("revoked-2")
        self.web.crls["none.crl"] = b"none"
        self.gw.edit("edges.crl", "none.crl")
        self.gw.reload()
        with self.connect(cert=self.edges[2]) as conn:
            status, headers, _ = conn.ask(request("simplereenroll", device[1], device[0]))
        self.assertEqual((status, headers["Retry-After"]), (503, "30"))
        self.assertEqual(self.status(request("cacerts"), cert=self.edges[2]), 503)
        self.assertEqual(self.renew(self.listed, device), 200)
        self.gw.log_line("revocation is not known")
        allowed = self.gw.metric("revocation_allowed_total")
        self.gw.edit("refresh: 1s", "refresh: 1s, revocation: soft_fail")
        self.gw.reload()
        self.assertEqual(self.renew(self.edges[2], device), 200)
        self.assertGreater(self.gw.metric("revocation_allowed_total"), allowed)
        self.gw.edit("refresh: 1s, revocation: soft_fail", "refresh: 1s")
        self.web.crls["none.crl"] = self.ca.crl()
        self.gw.reload()
        self.until(self.edges[2], device, 200)
        self.gw.edit("none.crl", "edges.crl")
        self.gw.reload()

    def test_intermediate(self):
        """A CA between, which is sent along, is checked as well."""
        device = self.device("revoked-3")
        cert, key = self.sub.issue("below", "/CN=below", [CLIENT_AUTH, san(NAME)])
        chain = os.path.join(self.gw.work("chain"), "chain.pem")
        with open(chain, "w", encoding="ascii") as file:
            file.write(open_text(cert) + open_text(self.sub.cert))
        self.assertEqual(self.renew((chain, key), device), 503, "nobody vouches for the edge itself")
        self.web.crls["sub.crl"] = self.sub.crl()
        self.gw.edit(r"/edges\.crl\"\]", f'/edges.crl", "{self.web.url}/sub.crl"]')
        self.gw.reload()
        self.until((chain, key), device, 200)
        self.ca.revoke(self.sub.cert)
        self.web.crls["edges.crl"] = self.ca.crl()
        self.until((chain, key), device, 403)


if __name__ == "__main__":
    unittest.main(verbosity=2)
