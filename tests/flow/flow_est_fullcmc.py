"""fullcmc (RFC 7030 section 4.3): messages made here, signed and read back by openssl cms, sent by curl."""
import base64
import os
import signal
import unittest

from est_wire import make_csr
from flow_est_keygen import der, der_split
from flow_upstream_exec import LocalSubmit
from gateway import FlowTest, run, text
from http_corpus import wait_until
from pki import Ca

PKI_DATA, PKI_RESPONSE = "1.3.6.1.5.5.7.12.2", "1.3.6.1.5.5.7.12.3"
RESPONSE_TYPE = "application/pkcs7-mime; smime-type=CMC-response"
SUCCESS, FAILED, PENDING = 0, 2, 3
NO_SUPPORT = 4
BAD_MESSAGE_CHECK, BAD_REQUEST, UNSUPPORTED_EXT, BAD_IDENTITY, POP_REQUIRED, POP_FAILED, NO_KEY_REUSE = 1, 2, 5, 7, 8, 9, 10
DATA_RETURN, TRANSACTION, SENDER_NONCE, RECIPIENT_NONCE, POP_WITNESS, QUERY, STATUS_V2 = 4, 5, 6, 7, 11, 21, 25


def integer(value):
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def id_cmc(number):
    return bytes.fromhex("06082b060105050707") + bytes([number])


def control(number, kind, value):
    return der(0x30, integer(number), id_cmc(kind), der(0x31, value))


def pkcs10(number, csr):
    return der(0xa0, integer(number), csr)


def pki_data(controls=(), requests=(), messages=()):
    return der(0x30, der(0x30, *controls), der(0x30, *requests), der(0x30, *messages), der(0x30))


def items(data):
    """[(tag, content)] of what stands in a content."""
    found = []
    while data:
        tag, content, data = der_split(data)
        found.append((tag, content))
    return found


class Reply:
    """A PKIResponse: statuses {bodyPartID: (status, failInfo or token or None)} and the other controls {kind: value}."""

    def __init__(self, data):
        (tag, content), = items(data)
        controls, nested, others = items(content)
        assert tag == 0x30 and nested[1] == others[1] == b""
        self.status, self.controls = {}, {}
        for _, one in items(controls[1]):
            _, (_, oid), (_, values) = items(one)
            assert oid[:-1] == id_cmc(0)[2:-1], oid
            if oid[-1] == STATUS_V2:
                self.take_status(values)
            else:
                self.controls[oid[-1]] = values

    def take_status(self, values):
        (_, info), = items(values)
        code, ids, *more = items(info)
        detail = None
        for tag, value in more:
            if tag == 2:
                detail = int.from_bytes(value, "big")
            if tag == 0x30:
                token, time = items(value)
                assert time[0] == 0x18 and len(time[1]) == 15, time
                detail = token[1]
        for _, number in items(ids[1]):
            self.status[int.from_bytes(number, "big")] = (int.from_bytes(code[1], "big"), detail)


class FullCmc:
    """What the tests of several gateways share."""

    @staticmethod
    def registrar(gw, name):
        path = gw.work(name)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ra.key",
            "-out", "ra.pem", "-subj", f"/CN={name}", "-days", "2", "-addext", "extendedKeyUsage=1.3.6.1.5.5.7.3.28", cwd=path)
        return os.path.join(path, "ra.pem"), os.path.join(path, "ra.key")

    def csr(self, work, subject, key="device.key"):
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
            "-subj", subject, "-outform", "DER", "-out", "csr.der", cwd=work)
        with open(os.path.join(work, "csr.der"), "rb") as file:
            return file.read()

    def crmf(self, work, number, subject, popo="signature", fields=2):
        """crm [1]: a CertReqMsg with the subject and the key of a CSR, or the first of these, and a signature by openssl."""
        parts = items(items(items(self.csr(work, subject))[0][1])[0][1])
        name, spki = der(0x30, parts[1][1]), parts[2][1]
        request = der(0x30, integer(number), der(0x30, *[der(0xa5, name), der(0xa6, spki)][:fields]))
        if popo != "signature":
            return der(0xa1, request, popo)
        with open(os.path.join(work, "tbs"), "wb") as file:
            file.write(request)
        signature = run("openssl", "dgst", "-sha256", "-sign", "device.key", "tbs", cwd=work).stdout
        algorithm = bytes.fromhex("300a06082a8648ce3d040302")
        return der(0xa1, request, der(0xa1, algorithm, der(3, b"\0" + signature)))

    def sign(self, work, data, who, *flags):
        with open(os.path.join(work, "data.der"), "wb") as file:
            file.write(data)
        run("openssl", "cms", "-sign", "-binary", "-nodetach", "-nosmimecap", "-econtent_type", PKI_DATA, "-in", "data.der",
            "-signer", who[0], "-inkey", who[1], "-md", "sha256", "-outform", "DER", "-out", "message.der", *flags, cwd=work)
        with open(os.path.join(work, "message.der"), "rb") as file:
            return file.read()

    def send(self, work, message, *flags):
        """(HTTP status, Reply); the reply's signature is verified by openssl, and its certificates are in got.pem."""
        with open(os.path.join(work, "sent"), "wb") as file:
            file.write(base64.encodebytes(message))
        status = int(text("curl", "-sS", "--cacert", self.gw.root, "-D", "headers", "-o", "body", "-w", "%{http_code}",
                          "--data-binary", "@sent", *flags, "-H", "Content-Type: application/pkcs7-mime; smime-type=CMC-request",
                          f"{self.gw.est_url}/fullcmc", cwd=work))
        with open(os.path.join(work, "headers"), encoding="ascii") as file:
            headers = dict(line.strip().split(": ", 1) for line in file if ": " in line)
        with open(os.path.join(work, "body"), "rb") as file:
            body = file.read()
        self.assertEqual(headers["Content-Type"], RESPONSE_TYPE, body)
        self.assertEqual(headers["Content-Transfer-Encoding"], "base64")
        self.assertEqual(int(headers["Content-Length"]), len(body))
        self.assertEqual("Retry-After" in headers, status in (202, 503), headers)
        self.assertGreater(int(headers.get("Retry-After", 1)), 0)
        with open(os.path.join(work, "reply.der"), "wb") as file:
            file.write(base64.b64decode(body))
        shown = text("openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", "reply.der", cwd=work)
        self.assertIn(PKI_RESPONSE, shown)
        run("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "reply.der", "-CAfile", self.gw.root, "-purpose",
            "any", "-certsout", "got.pem", "-signer", "signer.pem", "-out", "response.der", cwd=work)
        self.assertEqual(text("openssl", "x509", "-in", "signer.pem", "-noout", "-fingerprint", cwd=work),
                         text("openssl", "x509", "-in", self.gw.path("tls/server.pem"), "-noout", "-fingerprint"))
        with open(os.path.join(work, "response.der"), "rb") as file:
            return status, Reply(file.read())

    def subjects(self, work):
        """Of the certificates that came with the last reply."""
        with open(os.path.join(work, "got.pem"), encoding="ascii") as file:
            blocks = file.read().split("-----END CERTIFICATE-----")[:-1]
        self.pems = {}
        for block in blocks:
            pem = block[block.index("-----BEGIN"):] + "-----END CERTIFICATE-----\n"
            name = text("openssl", "x509", "-noout", "-subject", input=pem.encode()).strip().split("=", 1)[1]
            self.pems[name.replace(" ", "")] = pem
        return sorted(self.pems)

    def ask(self, work, who, *requests, controls=(), flags=()):
        return self.send(work, self.sign(work, pki_data(controls, requests), who), *flags)

    def issued(self, subject):
        return [c for c in self.gw.certs() if c["subject"] == subject]


class Local(FullCmc, FlowTest):
    """The local CA behind."""

    @classmethod
    def configure(cls, gw):
        cls.ra, cls.stranger = cls.registrar(gw, "registrar"), cls.registrar(gw, "stranger")
        gw.edit(r"(labels: \[[^]]*\],)", r"\1 fullcmc: allow,")
        gw.edit(r"^    eku: .*$", rf"\g<0>\n    registrars: [{cls.ra[0]}]")
        gw.edit(r"same_key: allow", "same_key: refuse")

    def test_enroll(self):
        """RFC 7030 4.3.2, RFC 5272 4.2, 6.1, 6.6: a PKCS #10 request by an RA: success, its certificate with its chain, the nonce
        reflected"""
        work = self.gw.work("enroll")
        nonce = der(4, b"nonce-of-the-ra")
        status, reply = self.ask(work, self.ra, pkcs10(7, self.csr(work, "/CN=cmc-1")),
                                 controls=[control(1, SENDER_NONCE, nonce), control(2, TRANSACTION, integer(4711))])
        self.assertEqual((status, reply.status), (200, {7: (SUCCESS, None)}))
        self.assertEqual((reply.controls[RECIPIENT_NONCE], reply.controls[TRANSACTION]), (nonce, integer(4711)))
        self.assertEqual(len(reply.controls[SENDER_NONCE]), 18)
        self.assertIn("CN=cmc-1", self.subjects(work))
        self.assertGreaterEqual(len(self.pems), 3, "with issuing CA and root")
        with open(os.path.join(work, "cert.pem"), "w", encoding="ascii") as file:
            file.write(self.pems["CN=cmc-1"])
        self.gw.verify(os.path.join(work, "cert.pem"))
        self.assertEqual(text("openssl", "pkey", "-in", "device.key", "-pubout", cwd=work),
                         text("openssl", "x509", "-in", "cert.pem", "-noout", "-pubkey", cwd=work))

    def test_batch(self):
        """RFC 5272 3.2: several requests of both forms in one message, each with its own status; all are recorded as delivered"""
        work = self.gw.work("batch")
        requests = [pkcs10(1, self.csr(work, "/CN=batch-1")), self.crmf(work, 2, "/CN=batch-2"),
                    self.crmf(work, 3, "/CN=batch-3", popo=der(0x80)), pkcs10(200, self.csr(work, "/CN=batch-4"))]
        status, reply = self.ask(work, self.ra, *requests)
        self.assertEqual(status, 200)
        self.assertEqual(reply.status, {1: (SUCCESS, None), 2: (SUCCESS, None), 3: (FAILED, POP_FAILED), 200: (SUCCESS, None)})
        self.assertEqual([s for s in self.subjects(work) if "batch" in s], ["CN=batch-1", "CN=batch-2", "CN=batch-4"])
        self.assertTrue(wait_until(lambda: all(c["delivered_at"] for c in self.gw.certs() if "batch" in c["subject"])))
        self.assertEqual(len([c for c in self.gw.certs() if "batch" in c["subject"]]), 3)

    def test_crmf(self):
        """RFC 7030 3.5, RFC 4211 4.1, RFC 5272 3.2.1.2.2: CRMF with a signature is issued by the local CA; without proof
        popRequired, wrong popFailed"""
        work = self.gw.work("crmf")
        status, reply = self.ask(work, self.ra, self.crmf(work, 5, "/CN=crmf-1"))
        self.assertEqual((status, reply.status), (200, {5: (SUCCESS, None)}))
        self.subjects(work)
        with open(os.path.join(work, "cert.pem"), "w", encoding="ascii") as file:
            file.write(self.pems["CN=crmf-1"])
        self.gw.verify(os.path.join(work, "cert.pem"))
        self.assertEqual(text("openssl", "pkey", "-in", "device.key", "-pubout", cwd=work),
                         text("openssl", "x509", "-in", "cert.pem", "-noout", "-pubkey", cwd=work))
        for popo, code in ((b"", POP_REQUIRED), (der(0x80), POP_FAILED),
                           (der(0xa1, bytes.fromhex("300a06082a8648ce3d040302"), der(3, b"\0" + bytes(70))), POP_FAILED)):
            status, reply = self.ask(work, self.ra, self.crmf(work, 5, "/CN=crmf-2", popo=popo))
            self.assertEqual((status, reply.status), (400, {5: (FAILED, code)}))
        self.assertEqual(self.issued("CN=crmf-2"), [])

    def test_authorized(self):
        """RFC 7030 4.3.2: signed by anybody but a registrar it is refused with a CMC body, cmcRA in the certificate or not"""
        work = self.gw.work("authorized")
        csr = self.csr(work, "/CN=nobody")
        status, reply = self.ask(work, self.stranger, pkcs10(1, csr))
        self.assertEqual((status, reply.status), (403, {1: (FAILED, BAD_IDENTITY)}))
        status, reply = self.ask(work, self.stranger, pkcs10(1, csr), flags=["--cert", self.ra[0], "--key", self.ra[1]])
        self.assertEqual((status, reply.status), (403, {1: (FAILED, BAD_IDENTITY)}), "TLS by the registrar does not make up for it")
        self.assertTrue(wait_until(lambda: "nothing that authorizes an enrollment" in self.gw.log()))
        self.assertEqual(self.issued("CN=nobody"), [])

    def test_renewal(self):
        """RFC 5272 3.2: a certificate of ours renews itself by Full CMC, for its own names only; where a new key is wanted, its own is
        noKeyReuse"""
        work = self.gw.work("renewal")
        self.ask(work, self.ra, pkcs10(1, self.csr(work, "/CN=renews", key="old.key")))
        self.subjects(work)
        with open(os.path.join(work, "old.pem"), "w", encoding="ascii") as file:
            file.write(self.pems["CN=renews"])
        own = (os.path.join(work, "old.pem"), os.path.join(work, "old.key"))
        status, reply = self.ask(work, own, pkcs10(1, self.csr(work, "/CN=other")))
        self.assertEqual((status, reply.status[1][0]), (403, FAILED))
        same = run("openssl", "req", "-new", "-key", "old.key", "-subj", "/CN=renews", "-outform", "DER", cwd=work).stdout
        status, reply = self.ask(work, own, pkcs10(1, same))
        self.assertEqual((status, reply.status), (403, {1: (FAILED, NO_KEY_REUSE)}))
        status, reply = self.ask(work, own, pkcs10(1, self.csr(work, "/CN=renews")))
        self.assertEqual((status, reply.status), (200, {1: (SUCCESS, None)}))
        self.assertEqual(len(self.issued("CN=renews")), 2)

    def test_repeat(self):
        """The same message again, because the reply was lost, gets the same certificate"""
        work = self.gw.work("repeat")
        message = self.sign(work, pki_data(requests=[pkcs10(1, self.csr(work, "/CN=repeat"))]), self.ra)
        pems = []
        for _ in range(2):
            self.assertEqual(self.send(work, message)[0], 200)
            self.subjects(work)
            pems.append(self.pems["CN=repeat"])
        self.assertEqual(pems[0], pems[1])
        self.assertEqual(len(self.issued("CN=repeat")), 1)

    def test_replay(self):
        """A message that somebody recorded gets nothing once its certificate is revoked; the RA itself, by TLS, another one"""
        work = self.gw.work("replay")
        message = self.sign(work, pki_data(requests=[pkcs10(1, self.csr(work, "/CN=replay"))]), self.ra)
        self.assertEqual(self.send(work, message)[0], 200)
        self.gw.cli("cert", "revoke", self.issued("CN=replay")[0]["serial"], "--reason", "keyCompromise")
        for _ in range(2):
            status, reply = self.send(work, message)
            self.assertEqual((status, reply.status), (403, {1: (FAILED, BAD_REQUEST)}))
            self.gw.log_line("expected a message that is signed anew")
        self.assertEqual(len(self.issued("CN=replay")), 1)
        self.assertEqual(self.send(work, message, "--cert", self.ra[0], "--key", self.ra[1])[0], 200)
        self.assertEqual(len(self.issued("CN=replay")), 2)

    def test_policy(self):
        """S12: what the profile does not allow an RA does not get either: CA:TRUE, a weak key, two names of one"""
        work = self.gw.work("policy")
        run("openssl", "req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", "w.key", "-subj", "/CN=weak", "-outform", "DER",
            "-out", "w.der", cwd=work)
        run("openssl", "req", "-new", "-key", "w.key", "-subj", "/CN=ca", "-addext", "basicConstraints=CA:TRUE", "-outform",
            "DER", "-out", "ca.der", cwd=work)
        for name in ("w.der", "ca.der"):
            with open(os.path.join(work, name), "rb") as file:
                status, reply = self.ask(work, self.ra, pkcs10(3, file.read()))
            self.assertEqual((status, reply.status[3][0]), (403, FAILED), name)
        self.assertEqual(self.issued("CN=weak") + self.issued("CN=ca"), [])

    def test_messages(self):
        """RFC 7030 4.3.1, RFC 5272 3.2, 3.2.1.1, 3.2.1.3.4: a wrong signature is badMessageCheck, an unknown control badRequest by
        its id; no body is plain text"""
        work = self.gw.work("messages")
        data = pki_data(requests=[pkcs10(1, self.csr(work, "/CN=messages"))])
        message = bytearray(self.sign(work, data, self.ra))
        message[-4] ^= 1
        self.assertEqual((self.send(work, bytes(message))[0], self.send(work, bytes(message))[1].status),
                         (400, {0: (FAILED, BAD_MESSAGE_CHECK)}))
        for body in (b"nothing", data, bytes(message[:-1])):
            status, reply = self.send(work, body)
            self.assertEqual((status, reply.status), (400, {0: (FAILED, BAD_REQUEST)}), body[:20])
        unknown = pki_data([control(9, 17, der(0x30))], [pkcs10(1, self.csr(work, "/CN=messages"))])
        status, reply = self.send(work, self.sign(work, unknown, self.ra))
        self.assertEqual((status, reply.status), (400, {9: (FAILED, BAD_REQUEST)}))
        self.assertEqual(self.issued("CN=messages"), [])

    def test_controls(self):
        """RFC 5272 3.2.1.1, 6.1, 6.4, 6.6, 6.8: what stands in dataReturn comes back; a control that is malformed, or there twice, fails
        the whole message by its id, and so does the RA's word for a key (lraPOPWitness): popFailed"""
        work = self.gw.work("controls")
        request = pkcs10(1, self.csr(work, "/CN=controls"))
        state, nonce = control(2, DATA_RETURN, der(4, b"state of the RA")), control(3, SENDER_NONCE, der(4, b"nonce"))
        for wrong, outcome in ((control(9, DATA_RETURN, der(12, b"x")), BAD_REQUEST), (control(9, TRANSACTION, der(4, b"x")), BAD_REQUEST),
                               (control(9, SENDER_NONCE, der(4, b"another")), BAD_REQUEST), (control(9, QUERY, der(2, b"x")), BAD_REQUEST),
                               (control(9, POP_WITNESS, der(0x30, integer(0), der(0x30, integer(1)))), POP_FAILED)):
            status, reply = self.ask(work, self.ra, request, controls=[nonce, wrong])
            self.assertEqual((status, reply.status), (400, {9: (FAILED, outcome)}))
            self.assertEqual(reply.controls[RECIPIENT_NONCE], der(4, b"nonce"))
        self.assertEqual(self.issued("CN=controls"), [])
        status, reply = self.ask(work, self.ra, request, controls=[state, nonce])
        self.assertEqual((status, reply.status, reply.controls[DATA_RETURN]), (200, {1: (SUCCESS, None)}, der(4, b"state of the RA")))

    def test_parts(self):
        """RFC 5272 3.2.1, 3.2.2: a request in another form is noSupport, and no other is taken up; an id twice, or 0, is no PKIData;
        messages inside are refused rather than ignored"""
        work = self.gw.work("parts")
        csr = self.csr(work, "/CN=parts")
        other = der(0xa2, integer(2), bytes.fromhex("06032a0304"), der(5))
        inner = der(0x30, integer(3), der(0x30, bytes.fromhex("06092a864886f70d010701"), der(0xa0, der(4, b"x"))))
        for data, status, told in ((pki_data(requests=[pkcs10(1, csr), other]), 501, {2: (NO_SUPPORT, None)}),
                                   (pki_data(requests=[pkcs10(1, csr), pkcs10(1, csr)]), 400, {0: (FAILED, BAD_REQUEST)}),
                                   (pki_data([control(1, TRANSACTION, integer(1))], [pkcs10(1, csr)]), 400, {0: (FAILED, BAD_REQUEST)}),
                                   (pki_data(requests=[pkcs10(0, csr)]), 400, {0: (FAILED, BAD_REQUEST)}),
                                   (pki_data(requests=[pkcs10(1, csr)], messages=[inner]), 400, {3: (FAILED, BAD_REQUEST)})):
            got, reply = self.send(work, self.sign(work, data, self.ra))
            self.assertEqual((got, reply.status), (status, told))
        self.assertEqual(self.issued("CN=parts"), [])

    def test_codes(self):
        """RFC 5272 3.2.1.2.1, 3.2.1.2.2: an extension that is not granted is unsupportedExt, and not left out; a CSR without a
        subject is badRequest, where the profile wants one, and so is a CRMF template without subject or key"""
        work = self.gw.work("codes")
        for extension in ("basicConstraints=CA:TRUE", "1.2.3.4=ASN1:NULL"):
            csr = run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "k", "-subj",
                      "/CN=codes", "-addext", extension, "-outform", "DER", cwd=work).stdout
            status, reply = self.ask(work, self.ra, pkcs10(1, csr))
            self.assertEqual((status, reply.status), (403, {1: (FAILED, UNSUPPORTED_EXT)}), extension)
        status, reply = self.ask(work, self.ra, pkcs10(1, self.csr(work, "/")))
        self.assertEqual((status, reply.status), (403, {1: (FAILED, BAD_REQUEST)}))
        for fields in range(2):
            status, reply = self.ask(work, self.ra, self.crmf(work, 2, "/CN=codes", fields=fields))
            self.assertEqual((status, reply.status), (400, {2: (FAILED, BAD_REQUEST)}), fields)
        self.assertEqual(self.issued("CN=codes") + self.issued(""), [])

    def test_hostile(self):
        """RFC 7030 6: damaged messages, thousands of them, are refused or mean the same; the server lives"""
        work = self.gw.work("hostile")
        message = self.sign(work, pki_data(requests=[pkcs10(1, self.csr(work, "/CN=hostile"))]), self.stranger)
        config = []
        for i in range(0, len(message), 3):
            bad = bytearray(message)
            bad[i] ^= 1 << (i % 8)
            with open(os.path.join(work, f"bad.{i}"), "wb") as file:
                file.write(base64.b64encode(bytes(bad)))
            config += [f'url = "{self.gw.est_url}/fullcmc"', f'data-binary = "@bad.{i}"', 'output = "/dev/null"', "next"]
        with open(os.path.join(work, "config"), "w", encoding="ascii") as file:
            file.write("\n".join(f'{line}\ncacert = "{self.gw.root}"' if line.startswith("url") else line for line in config[:-1]))
        codes = text("curl", "-sS", "-w", "%{stderr}", "-K", "config", cwd=work, timeout=900)
        self.assertEqual(codes, "")
        self.assertEqual(self.issued("CN=hostile"), [])
        self.assertEqual(self.gw.admin("/healthz")[0], 200)


class Anchored(FullCmc, FlowTest):
    """Signers whose certificates others issued: an explicit anchor, and an implicit one with a CA below it."""

    @classmethod
    def configure(cls, gw):
        top = gw.work("pki")
        cls.own, cls.maker = Ca(top, "own", "/CN=Own CA"), Ca(top, "maker", "/O=Maker/CN=Root")
        cls.sub = Ca(top, "sub", "/O=Maker/CN=Sub", above=cls.maker)
        gw.edit(r"(labels: \[[^]]*\],)", r"\1 fullcmc: allow,")
        gw.edit(r"^    trust: \[ca/root.pem\].*$", f"""    trust: [ca/root.pem]
    anchors:
      - {{certificates: [{cls.own.cert}], class: explicit, revocation: none}}
      - {{certificates: [{cls.maker.cert}], class: implicit, names: serial, revocation: none}}
    cmc_ra: true""")

    def test_cmc_ra(self):
        """RFC 7030 3.7, 4.3: with cmc_ra, a signer with id-kp-cmcRA of the profile's own CA enrolls others"""
        work = self.gw.work("cmc-ra")
        who = self.own.issue("ra1", "/CN=ra1", ["extendedKeyUsage = clientAuth,1.3.6.1.5.5.7.3.28"])
        status, reply = self.ask(work, who, pkcs10(1, self.csr(work, "/CN=by-ra1")))
        self.assertEqual((status, reply.status), (200, {1: (SUCCESS, None)}))

    def test_explicit(self):
        """RFC 7030 3.3.2, 4.3: a signer of the profile's own CA of before renews itself, for its own names only"""
        work = self.gw.work("explicit")
        who = self.own.issue("x1", "/CN=x1")
        status, reply = self.ask(work, who, pkcs10(1, self.csr(work, "/CN=x2")))
        self.assertEqual((status, reply.status[1][0]), (403, FAILED))
        status, reply = self.ask(work, who, pkcs10(1, self.csr(work, "/CN=x1")))
        self.assertEqual((status, reply.status), (200, {1: (SUCCESS, None)}))
        self.assertEqual((len(self.issued("CN=x1")), self.issued("CN=x2")), (1, []))

    def test_implicit(self):
        """RFC 7030 3.3.2, 4.3: a manufacturer's certificate enrolls for its own device and nobody else's; cmcRA in it changes nothing"""
        work = self.gw.work("implicit")
        who = self.maker.issue("i1", "/O=Maker/serialNumber=4711", ["extendedKeyUsage = clientAuth,1.3.6.1.5.5.7.3.28"])
        status, reply = self.ask(work, who, pkcs10(1, self.csr(work, "/CN=i1/serialNumber=4712")))
        self.assertEqual((status, reply.status[1][0]), (403, FAILED))
        status, reply = self.ask(work, who, pkcs10(1, self.csr(work, "/CN=i1/serialNumber=4711")))
        self.assertEqual((status, reply.status), (200, {1: (SUCCESS, None)}))

    def test_chain(self):
        """RFC 5652 5.1: the chain passes through the message's own certificates; without them the signer is a stranger"""
        work = self.gw.work("chain")
        who = self.sub.issue("c1", "/serialNumber=c1")
        status, reply = self.ask(work, who, pkcs10(1, self.csr(work, "/CN=c1/serialNumber=c1")))
        self.assertEqual((status, reply.status), (403, {1: (FAILED, BAD_IDENTITY)}))
        message = self.sign(work, pki_data(requests=[pkcs10(1, self.csr(work, "/CN=c1/serialNumber=c1"))]), who,
                            "-certfile", self.sub.cert)
        status, reply = self.send(work, message)
        self.assertEqual((status, reply.status), (200, {1: (SUCCESS, None)}))


class Strict(FullCmc, FlowTest):
    """challenge_password: refuse; and est.lenient, as it is and as none."""

    @classmethod
    def configure(cls, gw):
        cls.ra = cls.registrar(gw, "registrar")
        gw.edit(r"(labels: \[[^]]*\],)", r"\1 fullcmc: allow, challenge_password: refuse,")
        gw.edit(r"^    eku: .*$", rf"\g<0>\n    registrars: [{cls.ra[0]}]")

    def test_password(self):
        """RFC 7030 3.5: where challengePassword has no meaning a CSR that holds one is refused, by whomever it comes"""
        work = self.gw.work("password")
        requests = [pkcs10(1, make_csr(work, "/CN=with", attributes=["challengePassword = anything"])),
                    pkcs10(2, make_csr(work, "/CN=without"))]
        status, reply = self.ask(work, self.ra, *requests)
        self.assertEqual((status, reply.status), (200, {1: (FAILED, BAD_REQUEST), 2: (SUCCESS, None)}))
        self.assertEqual((len(self.issued("CN=with")), len(self.issued("CN=without"))), (0, 1))
        self.gw.log_line("challengePassword, which the profile refuses")

    def post(self, work, body, *flags):
        with open(os.path.join(work, "raw"), "wb") as file:
            file.write(body)
        status = text("curl", "-sS", "--cacert", self.gw.root, "-o", "body", "-w", "%{http_code} %{content_type}",
                      "--data-binary", "@raw", *flags, f"{self.gw.est_url}/fullcmc", cwd=work)
        self.assertIn(RESPONSE_TYPE, status, "with a CMC body, whatever it is")
        return int(status[:3])

    def counted(self):
        return [self.gw.metric(f'scepter_est_lenient_total.kind="{kind}"') for kind in ("der", "pem", "no-media-type")]

    def test_strict(self):
        """RFC 8951 3: a message in DER or without a media type is read and counted, or refused where the profile insists"""
        work = self.gw.work("strict")
        message = self.sign(work, pki_data(requests=[pkcs10(1, self.csr(work, "/CN=lenient"))]), self.ra)
        rows = [(message, ["-H", "Content-Type: application/pkcs7-mime"], 400), (base64.b64encode(message), ["-H", "Content-Type:"], 415),
                (base64.b64encode(message), ["-H", "Content-Type: application/pkcs7-mime"], 200)]
        self.assertEqual([self.post(work, body, *flags) for body, flags, _ in rows], [200] * 3)
        self.assertTrue(wait_until(lambda: self.counted() == [1, 0, 1]), self.counted())
        self.assertEqual(self.post(work, b"-----BEGIN CMS-----\n" + base64.encodebytes(message) + b"-----END CMS-----\n",
                                   "-H", "Content-Type: application/pkcs7-mime"), 400, "PEM is none of a CMC message's forms")
        self.gw.edit(r"fullcmc: allow,", "fullcmc: allow, lenient: none,")
        generation = self.gw.metric("scepter_generation ")
        self.gw.process.send_signal(signal.SIGHUP)
        self.assertTrue(wait_until(lambda: self.gw.metric("scepter_generation ") > generation))
        for body, flags, wanted in rows:
            self.assertEqual(self.post(work, body, *flags), wanted, flags)
        self.assertEqual(self.counted(), [1, 0, 1])


class Off(FullCmc, FlowTest):
    def test_off(self):
        """RFC 7030 4.3.2: where it is not served it is 501"""
        self.assertEqual(text("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", self.gw.root, "--data", "x",
                              self.gw.est_url + "/fullcmc"), "501")


class Remote(FullCmc, FlowTest):
    """A CA that is relayed to, and takes its time: certmonger's."""

    @classmethod
    def configure(cls, gw):
        cls.ra, cls.second = cls.registrar(gw, "registrar"), cls.registrar(gw, "second")
        cls.ca = LocalSubmit()
        cls.ca.configure(gw, "    limits: {wait: 2s, deadline: 20s}\n    breaker: {failures: 100, open: 1s}")
        gw.edit(r"(labels: \[[^]]*\],)", r"\1 fullcmc: allow,")
        gw.edit(r"^    eku: .*$", rf"\g<0>\n    registrars: [{cls.ra[0]}, {cls.second[0]}]")

    def test_pending(self):
        """S19, RFC 7030 4.3.2, 4.2.3, RFC 5272 6.13: 202 and pending with a token; another RA gets nothing for it, its own the
        certificate, also after kill -9, by a query or by the same message"""
        work = self.gw.work("pending")
        self.ca.hold("waits")
        message = self.sign(work, pki_data(requests=[pkcs10(1, self.csr(work, "/CN=waits"))]), self.ra)
        status, reply = self.send(work, message)
        self.assertEqual((status, reply.status[1][0]), (202, PENDING))
        token = reply.status[1][1]
        self.assertTrue(wait_until(lambda: self.gw.requests()[0]["state"] == "waiting"), self.gw.requests())
        self.gw.stop(signal.SIGKILL)
        self.gw.start()
        status, reply = self.send(work, message)
        self.assertEqual((status, reply.status), (202, {1: (PENDING, token)}))
        query = [control(6, QUERY, der(4, token))]
        status, reply = self.ask(work, self.second, controls=query)
        self.assertEqual((status, reply.status), (403, {6: (FAILED, BAD_REQUEST)}))
        status, reply = self.ask(work, self.ra, controls=[control(6, QUERY, der(4, b"another"))])
        self.assertEqual((status, reply.status), (403, {6: (FAILED, BAD_REQUEST)}))
        self.ca.release("waits")

        def collected():
            self.last = self.ask(work, self.ra, controls=query)
            waits = self.last[1].status[6][0] == PENDING
            self.assertEqual(self.last[0], 202 if waits else 200)
            return not waits
        self.assertTrue(wait_until(collected, 120), self.gw.log()[-3000:])
        self.assertEqual((self.last[0], self.last[1].status), (200, {6: (SUCCESS, None)}))
        self.assertIn("CN=waits", self.subjects(work))
        status, reply = self.send(work, message)
        self.assertEqual((status, reply.status), (200, {1: (SUCCESS, None)}))
        self.assertIn("CN=waits", self.subjects(work))
        self.assertEqual(len(self.issued("CN=waits")), 1)

    def test_crmf(self):
        """A CRMF request has no CSR that could be relayed: refused before the CA hears of it"""
        work = self.gw.work("crmf")
        status, reply = self.ask(work, self.ra, self.crmf(work, 5, "/CN=not-relayed"))
        self.assertEqual((status, reply.status), (403, {5: (FAILED, BAD_REQUEST)}))
        self.assertEqual(self.ca.issued("not-relayed"), 0)
        self.assertTrue(wait_until(lambda: "takes only what a device signed itself" in self.gw.log()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
