"""Whose certificate counts, on real TLS connections and in SCEP: anchors, their classes, and revocation by CRL and OCSP."""
import base64
import os
import signal
import socket
import ssl
import time

import der
import rows
from est_wire import Tls12, basic, keep_connections, make_csr, read_reply, request
from gateway import FlowTest, free_ports, run, text
from http_corpus import wait_until
from pki import Ca, Web, rewritten

CMC_RA = "extendedKeyUsage = clientAuth,1.3.6.1.5.5.7.3.28"
WAIT = 90  # seconds, for what goes on behind the requests; a source that failed is left alone for 5 and more


class Trust(FlowTest):
    """Profile default: an own CA of before, manufacturers, and CAs checked by OCSP. Profile other: none of it."""

    @classmethod
    def configure(cls, gw):
        top = gw.work("pki")
        cls.web = Web()
        cls.addClassCleanup(cls.web.close)
        cls.own = Ca(top, "own", "/CN=Own CA")
        cls.twin = Ca(top, "twin", "/CN=Own CA")  # a look-alike
        cls.maker = Ca(top, "maker", "/O=Maker/CN=Root")
        cls.sub = Ca(top, "sub", "/O=Maker/CN=Sub", above=cls.maker)
        cls.hard = Ca(top, "hard", "/CN=Hard")
        cls.soft = Ca(top, "soft", "/CN=Soft")
        cls.bad = [Ca(top, f"bad{i}", f"/CN=Bad {i}") for i in range(3)]
        cls.web.cas.update(hard=cls.hard, soft=cls.soft)
        cls.web.crls["own.crl"] = cls.own.crl()
        cls.web.crls["bad0.crl"] = cls.bad[0].crl("-crlsec", "1")
        cls.web.crls["bad1.crl"] = Ca(top, "bad1-twin", "/CN=Bad 1").crl()
        time.sleep(1.1)  # now the first has expired
        url = cls.web.url
        gw.edit(r"^    trust: \[ca/root.pem\].*$", f"""    trust: [ca/root.pem]
    anchors:
      - {{certificates: [{cls.own.cert}], class: explicit, crl: ["{url}/own.crl"], refresh: 1s}}
      - {{certificates: [{cls.maker.cert}], class: implicit, names: serial, revocation: none}}
      - {{certificates: [{cls.hard.cert}], class: implicit, ocsp: "{url}/ocsp/hard", refresh: 1s}}
      - {{certificates: [{cls.soft.cert}], class: implicit, revocation: soft_fail, ocsp: "{url}/ocsp/soft", refresh: 1s}}
      - {{certificates: [{cls.bad[0].cert}], class: explicit, crl: ["{url}/bad0.crl"], refresh: 1s}}
      - {{certificates: [{cls.bad[1].cert}], class: explicit, crl: ["{url}/bad1.crl"], refresh: 1s}}
      - {{certificates: [{cls.bad[2].cert}], class: explicit, crl: ["{url}/bad2.crl"], refresh: 1s}}""")
        with open(gw.conf, "a", encoding="utf-8") as file:
            file.write("""  other:
    routes: [{upstream: [local]}]
    trust: [ca/root.pem]
    san: {dns: ["*"]}
    challenge: {kinds: [one-time]}
    est: {labels: [other], auth: [certificate, basic]}
    scep: {paths: [/scep/other], ra: [main]}
  ra:
    routes: [{upstream: [local]}]
    trust: [ca/root.pem]
    anchors:
""" + f"""      - {{certificates: [{cls.own.cert}], class: explicit, crl: ["{url}/own.crl"], refresh: 1s}}
      - {{certificates: [{cls.maker.cert}], class: implicit, names: serial, revocation: none}}
    cmc_ra: true
    est: {{labels: [ra], auth: [certificate], csrattrs: both}}
""")
        keep_connections(gw)

    @classmethod
    def setUpClass(cls):
        """Until the own CA's list is there, its devices hear 503."""
        super().setUpClass()
        cert = cls.own.issue("ready", "/CN=ready")
        data = request("simplereenroll", make_csr(cls.gw.work("ready"), "/CN=ready"))

        def ready():
            with Tls12(cls.gw, cert=cert) as conn:
                return conn.ask(data)[0] == 200
        try:
            assert wait_until(ready, WAIT), cls.gw.log()[-2000:]
        except BaseException:
            cls.gw.close()
            raise

    # What is asked

    def post(self, conn, operation, subject, *, name, extensions=(), label=""):
        csr = make_csr(self.gw.work(name), subject, extensions=extensions, key="new.key")
        return conn.ask(request(operation, csr, label=label))

    def once(self, cert, operation, subject, expect, **options):
        """On a connection of its own."""
        with Tls12(self.gw, cert=cert) as conn:
            status, headers, body = self.post(conn, operation, subject, name=options.pop("name", "once"), **options)
        self.assertEqual(status, expect, (subject, body, self.gw.log()[-600:]))
        if status == 503:
            self.assertGreater(int(headers["Retry-After"]), 0)
        return body

    def until(self, cert, operation, subject, expect, *, meanwhile=None, **options):
        """Until what goes on behind the requests has been done; meanwhile: the one other status that may come before."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            with Tls12(self.gw, cert=cert) as conn:
                status, _, body = self.post(conn, operation, subject, name=options.get("name", "until"))
            if status == expect:
                return
            self.assertEqual(status, meanwhile or status, body)
            time.sleep(0.3)
        self.fail(f"{status} instead of {expect}: {body}\n{self.gw.log()[-2000:]}")

    def held(self, name):
        """(certificate, key) from the inventory, and its serial."""
        work = self.gw.work(name)
        csr = make_csr(work, f"/CN={name}")
        with Tls12(self.gw) as conn:
            status, _, body = conn.ask(request("simpleenroll", csr, basic(self.gw.challenge())))
        self.assertEqual(status, 200, body)
        pem = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(body)).stdout
        cert = os.path.join(work, "cert.pem")
        with open(cert, "wb") as file:
            file.write(pem)
        serial = text("openssl", "x509", "-in", cert, "-noout", "-serial").strip().split("=")[1].lower()
        return (cert, os.path.join(work, "key.pem")), serial

    def context(self, cert, version):
        context = ssl.create_default_context(cafile=self.gw.root)
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(*cert)
        return context

    def revoked_everywhere(self, cert, subject, revoke, name):
        """Renews on a connection, then revokes: the same connection, resumed sessions and new ones are refused."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(cert, version)
            with Tls12(self.gw, context=context) as conn:
                if revoke:
                    self.assertEqual(self.post(conn, "simplereenroll", subject, name=name)[0], 200)
                    revoke()
                    revoke = None
                    self.assertEqual(self.post(conn, "simplereenroll", subject, name=name + "-again")[0], 403)
                self.assertEqual(self.post(conn, "simplereenroll", subject, name=name)[0], 403, "the old answer")
                self.assertEqual(self.post(conn, "simpleenroll", subject, name=name)[0], 403)
                session = conn.tls.session
            with Tls12(self.gw, context=context, session=session) as conn:
                self.assertTrue(conn.tls.session_reused)
                self.assertEqual(self.post(conn, "simplereenroll", subject, name=name)[0], 403)
            with Tls12(self.gw, context=context) as conn:
                self.assertEqual(self.post(conn, "simplereenroll", subject, name=name)[0], 403)

    # Explicit anchors

    def test_explicit(self):
        """RFC 7030 3.1, 3.3.2, S1: a certificate of the profile's own CA renews for its own names, in any order, and for no
        others"""
        cert = self.own.issue("e1", "/O=Plant/CN=e1", ["subjectAltName = DNS:a.e1,DNS:b.e1"])
        for subject, san in (("/O=Plant/CN=e2", "DNS:a.e1,DNS:b.e1"), ("/CN=e1/O=Plant", "DNS:a.e1,DNS:b.e1"),
                             ("/O=Plant/CN=e1", "DNS:a.e1,DNS:b.e1,DNS:c"), ("/O=Plant/CN=e1", "DNS:a.e1")):
            self.once(cert, "simplereenroll", subject, 403, extensions=[f"subjectAltName = {san}"])
        self.once(cert, "simplereenroll", "/O=Plant/CN=e1", 200, extensions=["subjectAltName = DNS:b.e1,DNS:a.e1"])
        self.assertEqual([c["subject"] for c in self.gw.certs() if "e1" in c["subject"]], ["O=Plant,CN=e1"])
        shown = self.gw.requests()
        self.assertTrue(any(r["subject"] == "O=Plant,CN=e1" and r["operation"] == "renew" for r in shown), shown)

    def test_label(self):
        """S2, RFC 7030 3.3.2: what counts with one label counts with no other"""
        cert = self.own.issue("l1", "/CN=l1")
        self.once(cert, "simplereenroll", "/CN=l1", 403, label="/other")
        self.once(cert, "simpleenroll", "/CN=l1", 401, label="/other")
        held, _ = self.held("l2")
        self.once(held, "simplereenroll", "/CN=l2", 403, label="/other")
        self.once(cert, "simplereenroll", "/CN=l1", 200, label="/default")

    def test_look_alike(self):
        """S2: a CA of the same name with another key is nobody"""
        self.once(self.twin.issue("t1", "/CN=t1"), "simplereenroll", "/CN=t1", 403)
        self.once(self.twin.issue("t2", "/CN=t2"), "simpleenroll", "/CN=t2", 401)

    def test_serial_alone(self):
        """S24: the same serial and name by another CA is another certificate"""
        held, serial = self.held("s1")
        forged = self.twin.issue("s1", "/CN=s1", serial=serial)
        self.assertEqual(text("openssl", "x509", "-in", forged[0], "-noout", "-serial").strip().lower(), f"serial={serial}")
        self.once(forged, "simplereenroll", "/CN=s1", 403)
        self.once(held, "simplereenroll", "/CN=s1", 200)

    def test_validity(self):
        """S4, RFC 7030 3.3.2: expired and not yet valid: never, with either class"""
        for ca, name in ((self.own, "v-own"), (self.maker, "v-maker")):
            subject = f"/CN={name}/serialNumber=v"
            for span in ({"start": -9, "end": -1}, {"start": 1, "end": 9}):
                cert = ca.issue(f"{name}{span['end']}", subject, **span)
                self.once(cert, "simplereenroll", subject, 403)
                self.once(cert, "simpleenroll", subject, 403 if ca is self.own and span["end"] == -1 else 401)

    def test_purpose(self):
        """RFC 7030 3.3.2: a certificate for servers is no client's"""
        self.once(self.own.issue("p1", "/CN=p1", ["extendedKeyUsage = serverAuth"]), "simplereenroll", "/CN=p1", 403)

    # Implicit anchors

    def test_implicit(self):
        """RFC 7030 3.3.2: a manufacturer's certificate enrolls for the device of its serial number, and renews nothing"""
        cert = self.maker.issue("m1", "/O=Maker/serialNumber=4711")
        self.once(cert, "simplereenroll", "/O=Maker/serialNumber=4711", 403)
        self.once(cert, "simpleenroll", "/CN=m1/serialNumber=4712", 403)
        self.once(cert, "simpleenroll", "/CN=m1", 403)
        self.once(cert, "simpleenroll", "/serialNumber=4711/serialNumber=4712", 403)
        self.once(cert, "simpleenroll", "/CN=m1/serialNumber=4711", 200)
        self.assertIn("the chain is whole", self.gw.cli("audit", "verify").stdout.decode())

    def test_registrar(self):
        """S5: cmcRA of a manufacturer makes nobody a registrar, bad possession is refused, and no device may ask for it"""
        cert = self.maker.issue("r1", "/O=Maker/serialNumber=r1", [CMC_RA])
        self.once(cert, "simpleenroll", "/CN=anybody", 403)
        csr = bytearray(make_csr(self.gw.work("r1"), "/CN=r1/serialNumber=r1"))
        csr[-1] ^= 1
        with Tls12(self.gw, cert=cert) as conn:
            self.assertEqual(conn.ask(request("simpleenroll", bytes(csr)))[0], 400)
        self.once(cert, "simpleenroll", "/CN=r1/serialNumber=r1", 403, extensions=[CMC_RA])
        self.once(self.own.issue("r2", "/CN=r2", [CMC_RA]), "simpleenroll", "/CN=anybody", 403)

    def test_cmc_ra(self):
        """RFC 7030 3.7: with cmc_ra, cmcRA of an explicit anchor makes a registrar, until it is revoked; cmcRA of another CA
        does not, nor does another usage; and not even through a registrar does a device get cmcRA"""
        ra = self.own.issue("cmc-1", "/CN=cmc-1", [CMC_RA])
        self.once(ra, "simpleenroll", "/CN=of-cmc-1", 200, label="/ra")
        self.once(ra, "simpleenroll", "/CN=of-cmc-1", 403)
        self.once(ra, "simplereenroll", "/CN=of-cmc-2", 403, label="/ra")
        self.once(self.own.issue("cmc-2", "/CN=cmc-2"), "simpleenroll", "/CN=of-cmc-2", 403, label="/ra")
        for cert in (self.maker.issue("cmc-3", "/serialNumber=cmc-3", [CMC_RA]), self.twin.issue("cmc-4", "/CN=cmc-4", [CMC_RA])):
            self.once(cert, "simpleenroll", "/CN=of-cmc-2", 403, label="/ra")
        self.once(ra, "simpleenroll", "/CN=of-cmc-2", 403, label="/ra", extensions=[CMC_RA])
        with Tls12(self.gw) as conn:
            status, _, body = conn.ask(request("csrattrs", label="/ra"))
        self.assertEqual(status, 200)
        attributes = base64.b64decode(body)
        self.assertIn(der.oid("1.3.6.1.5.5.7.3.2"), attributes)
        self.assertNotIn(der.oid("1.3.6.1.5.5.7.3.28"), attributes)
        self.own.revoke(ra[0])
        self.web.crls["own.crl"] = self.own.crl()
        end = time.monotonic() + WAIT
        while self.ask_label(ra, "/CN=of-cmc-3") != 403:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.3)

    def ask_label(self, cert, subject):
        with Tls12(self.gw, cert=cert) as conn:
            return self.post(conn, "simpleenroll", subject, name="label", label="/ra")[0]

    def test_intermediates(self):
        """RFC 7030 3.3, 3.3.2: the chain passes through what the device sends; such a session is not resumed, as it would be lost"""
        cert, key = self.sub.issue("i1", "/serialNumber=i1")
        self.once((cert, key), "simpleenroll", "/CN=i1/serialNumber=i1", 401)
        both = self.sub.path("i1-chain.pem")
        with open(both, "w", encoding="ascii") as file:
            for path in (cert, self.sub.cert):
                with open(path, encoding="ascii") as part:
                    file.write(part.read())
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context((both, key), version)
            session = None
            for round_ in range(2):
                with Tls12(self.gw, context=context, session=session) as conn:
                    self.assertFalse(conn.tls.session_reused)
                    status, _, body = self.post(conn, "simpleenroll", "/CN=i1/serialNumber=i1", name=f"i1-{round_}")
                    self.assertEqual(status, 200, body)
                    session = conn.tls.session

    # Revocation

    def test_inventory_revoked(self):
        """S3, S18: revoked here, refused at once: on the same connection, resumed and new ones, also what was answered before"""
        cert, serial = self.held("x1")
        self.revoked_everywhere(cert, "/CN=x1", lambda: self.gw.cli("cert", "revoke", serial), "x1")

    def test_crl(self):
        """S3: revoked by the CRL of its CA, once that was fetched: on the same connection, resumed and new ones"""
        cert = self.own.issue("c1", "/CN=c1")

        def revoke():
            self.own.revoke(cert[0])
            self.web.crls["own.crl"] = self.own.crl()
            self.until(cert, "simplereenroll", "/CN=c1", 403, name="c1-poll")

        self.revoked_everywhere(cert, "/CN=c1", revoke, "c1")
        self.assertGreater(self.gw.metric(r'revocation_checks_total\{status="revoked"'), 0)

    def test_heir_revoked(self):
        """S3: who revokes what a device got by its manufacturer's certificate means the device, however that certificate is written"""
        cert = self.maker.issue("h1", "/O=Maker/serialNumber=h1")
        self.once(cert, "simpleenroll", "/CN=h1/serialNumber=h1", 200)
        serial = [c["serial"] for c in self.gw.certs() if "h1" in c["subject"]][0]
        self.gw.cli("cert", "revoke", serial)
        self.once(cert, "simpleenroll", "/CN=h1/serialNumber=h1", 403)
        self.once(cert, "simpleenroll", "/CN=h1/serialNumber=h1", 403, name="h1-new")
        copy = rewritten(cert[0]), cert[1]
        self.once(copy, "simpleenroll", "/CN=h1/serialNumber=h1", 403, name="h1-copy")

    def test_crl_bad(self):
        """S3: an expired CRL, one by a look-alike and none at all decide nothing: 503, until there is a good one"""
        certs = [ca.issue("k", "/CN=k") for ca in self.bad]
        for ca, cert in zip(self.bad, certs):
            self.once(cert, "simplereenroll", "/CN=k", 503, name=ca.name)
        self.assertTrue(wait_until(lambda: "event=revocation" in self.gw.log()))
        for ca, cert in zip(self.bad, certs):
            self.web.crls[f"{ca.name}.crl"] = ca.crl()
        for ca, cert in zip(self.bad, certs):
            self.until(cert, "simplereenroll", "/CN=k", 200, name=ca.name)

    def test_ocsp(self):
        """S3: a responder's good and revoked, by openssl ocsp; revoked there later, refused once the answer is old"""
        cert = self.hard.issue("o1", "/CN=o1")
        self.until(cert, "simpleenroll", "/CN=o1", 200)
        self.hard.revoke(cert[0])
        self.until(cert, "simpleenroll", "/CN=o1", 403)
        other = self.hard.issue("o2", "/CN=o2")
        self.until(other, "simpleenroll", "/CN=o3", 403, meanwhile=503)  # the responder's answer may be late
        self.assertGreater(self.gw.metric(r'revocation_fetches_total\{kind="ocsp",result="fine"'), 0)

    def test_ocsp_down(self):
        """S3: without its responder hard_fail tells a device to come again, soft_fail lets it pass and counts that"""
        hard, soft = self.hard.issue("d1", "/CN=d1"), self.soft.issue("d2", "/CN=d2")
        self.web.down.update(("/ocsp/hard", "/ocsp/soft"))
        allowed = self.gw.metric("revocation_allowed_total")
        self.once(soft, "simpleenroll", "/CN=d2", 200)
        self.assertGreater(self.gw.metric("revocation_allowed_total"), allowed)
        self.assertTrue(wait_until(lambda: "revocation is not known" in self.gw.log()))
        self.once(hard, "simpleenroll", "/CN=d1", 503)
        self.web.down.clear()
        self.until(hard, "simpleenroll", "/CN=d1", 200)
        self.soft.revoke(soft[0])
        self.until(soft, "simpleenroll", "/CN=d2", 403, name="d2-later")

    # SCEP

    def scep(self, cert, subject, kind, url="/scep/default"):
        """(status, fail) of a request signed with a certificate; http's status if there is no message."""
        result = run(os.environ["SCEP_CLIENT"], "--url", f"http://127.0.0.1:{self.gw.scep_port}{url}", "--subject", subject,
                     "--renew", *cert, "--type", kind, "--key-type", "rsa2048", check=False)
        words = dict(word.split("=", 1) for word in result.stdout.decode().split() if "=" in word)
        return words.get("status"), words.get("http")

    def test_scep(self):
        """RFC 8894 2.3: a foreign certificate as the signer: of the own CA it renews, of a manufacturer it enrolls"""
        own = self.own.issue("sc1", "/CN=sc1", kind="RSA")
        maker = self.maker.issue("sc2", "/serialNumber=sc2", kind="RSA")
        twin = self.twin.issue("sc3", "/CN=sc1", kind="RSA")
        rows = [(own, "/CN=sc9", "17", "FAILURE"), (own, "/CN=sc9", "19", "FAILURE"), (own, "/CN=sc1", "17", "SUCCESS"),
                (own, "/CN=sc1", "19", "SUCCESS"), (maker, "/CN=sc2/serialNumber=sc2", "17", "FAILURE"),
                (maker, "/CN=sc2/serialNumber=sc3", "19", "FAILURE"), (maker, "/CN=sc2/serialNumber=sc2", "19", "SUCCESS"),
                (twin, "/CN=sc1", "17", "FAILURE"), (twin, "/CN=sc1", "19", "FAILURE")]
        for cert, subject, kind, expect in rows:
            status, http = self.scep(cert, subject, kind)
            self.assertEqual((status, http), (expect, "200"), (subject, kind, self.gw.log()[-800:]))
        self.assertEqual(self.scep(own, "/CN=sc1", "17", "/scep/other")[0], "FAILURE")

    def test_scep_bag(self):
        """RFC 8894 2.3: the signer's chain passes through the message's certificate bag, in which the signer is the one named"""
        cert, key = self.sub.issue("sb1", "/serialNumber=sb1", kind="RSA")
        work = self.gw.work("sb1")
        with open(os.path.join(work, "csr.der"), "wb") as file:
            file.write(make_csr(work, "/CN=sb1/serialNumber=sb1"))
        for bag, expect in (([cert], 2), ([self.twin.cert, cert], 2), ([self.sub.cert, self.twin.cert, cert], 0)):
            shown = text(os.environ["SCEP_FORGE"], self.gw.scep_url, f"signer={cert}", f"key={key}", "type=19",
                         f"txn=bag{len(bag)}", "nonce=" + "ab" * 16, f"csr={work}/csr.der", *[f"bag={path}" for path in bag])
            self.assertIn(f" status={expect} ", shown, self.gw.log()[-600:])

    def test_scep_revoked(self):
        """RFC 8894 2.3, S3: revoked by the CRL: FAILURE; could not be checked: 503, which is no answer to the request"""
        cert = self.own.issue("sr1", "/CN=sr1", kind="RSA")
        self.assertEqual(self.scep(cert, "/CN=sr1", "17")[0], "SUCCESS")
        self.own.revoke(cert[0])
        self.web.crls["own.crl"] = self.own.crl()
        self.assertTrue(wait_until(lambda: self.scep(cert, "/CN=sr1", "17")[0] == "FAILURE", WAIT))
        hard = self.hard.issue("sr2", "/CN=sr2", kind="RSA")
        self.web.down.add("/ocsp/hard")
        self.assertEqual(self.scep(hard, "/CN=sr2", "19")[1], "503")
        self.web.down.clear()
        self.assertTrue(wait_until(lambda: self.scep(hard, "/CN=sr2", "19")[0] == "SUCCESS", WAIT))


class Reload(FlowTest):
    """An anchor that is taken away."""

    @classmethod
    def configure(cls, gw):
        cls.own = Ca(gw.work("pki"), "own", "/CN=Own CA")
        gw.edit(r"^    trust: \[ca/root.pem\].*$", f"""    trust: [ca/root.pem]
    anchors: [{{certificates: [{cls.own.cert}], class: explicit, revocation: none}}]""")
        keep_connections(gw)

    def test_reload(self):
        """S18, RFC 5077 5.5: taken away by a reload, an anchor counts no more on a kept connection, and no session of before is resumed"""
        cert = self.own.issue("w1", "/CN=w1")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=self.gw.root)
            context.minimum_version = context.maximum_version = version
            context.load_cert_chain(*cert)
            work = self.gw.work("w1")
            with Tls12(self.gw, context=context) as conn:
                csr = make_csr(work, "/CN=w1", key=f"{version}.key")
                self.assertEqual(conn.ask(request("simplereenroll", csr))[0], 200)
                session = conn.tls.session
                with Tls12(self.gw, context=context, session=session) as again:
                    self.assertTrue(again.tls.session_reused)
                    self.assertEqual(again.ask(request("simplereenroll", csr))[0], 200)
                generation = self.gw.metric("scepter_generation ")
                self.gw.edit(r"^    anchors:", "    #anchors:")
                self.gw.process.send_signal(signal.SIGHUP)
                self.assertTrue(wait_until(lambda old=generation: self.gw.metric("scepter_generation ") > old))
                fresh = make_csr(work, "/CN=w1", key=f"{version}-b.key")
                self.assertEqual(conn.ask(request("simplereenroll", fresh))[0], 403)
            with Tls12(self.gw, context=context, session=session) as conn:
                self.assertFalse(conn.tls.session_reused)
                self.assertEqual(conn.ask(request("simplereenroll", fresh))[0], 403)
            generation = self.gw.metric("scepter_generation ")
            self.gw.edit(r"^    #anchors:", "    anchors:")
            self.gw.process.send_signal(signal.SIGHUP)
            self.assertTrue(wait_until(lambda old=generation: self.gw.metric("scepter_generation ") > old))


class Edge(FlowTest):
    """An edge at 127.0.0.1 that ends TLS and tells certificate and chain (RFC 9440)."""

    @classmethod
    def configure(cls, gw):
        top = gw.work("pki")
        cls.maker = Ca(top, "maker", "/O=Maker/CN=Root")
        cls.sub = Ca(top, "sub", "/O=Maker/CN=Sub", above=cls.maker)
        cls.port, = free_ports(1)
        gw.edit(r"^  est:   \[", f"  est: [http://127.0.0.1:{cls.port}, ")
        gw.edit(r"\Z", 'edge: {client_cert: ["127.0.0.1"]}\n')
        gw.edit(r"^    trust: \[ca/root.pem\].*$", f"""    trust: [ca/root.pem]
    anchors: [{{certificates: [{cls.maker.cert}], class: implicit, names: serial, revocation: none}}]""")

    @staticmethod
    def value(path):
        der = run("openssl", "x509", "-in", path, "-outform", "DER").stdout
        return f":{base64.b64encode(der).decode()}:"

    def test_chain(self):
        """RFC 9440 2.3: the chain goes through Client-Cert-Chain; one that is broken, doubled or too long is malformed"""
        cert, _ = self.sub.issue("g1", "/serialNumber=g1")
        own, sub, root = (self.value(path) for path in (cert, self.sub.cert, self.maker.cert))
        csr = make_csr(self.gw.work("g1"), "/CN=g1/serialNumber=g1")
        rows = [((), 401), ((f"Client-Cert-Chain: {root}",), 401), ((f"Client-Cert-Chain: {sub}, {root}, ",), 400),
                ((f"Client-Cert-Chain: {sub}", f"Client-Cert-Chain: {root}"), 400),
                (("Client-Cert-Chain: " + ", ".join([sub] * 9),), 400), (("Client-Cert-Chain: ::",), 400),
                (("Client-Cert-Chain: " + ", ".join([sub] * 8),), 200), ((f"Client-Cert-Chain: {root},{sub}",), 200)]
        for fields, expect in rows:
            with socket.create_connection(("127.0.0.1", self.port), timeout=30) as conn, conn.makefile("rb") as file:
                conn.sendall(request("simpleenroll", csr, f"Client-Cert: {own}", *fields))
                status, _, body = read_reply(file)
            self.assertEqual(status, expect, (fields, body, self.gw.log()[-600:]))


if __name__ == "__main__":
    rows.main()
