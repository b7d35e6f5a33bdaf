"""SCEP and those who attack it: each test is an incident of some server, or what would be one, against the real binary.

What must not happen is counted: orders in the store, certificates in the inventory, exchanges with the upstream CA, which
is a program here that writes down all that it is asked and would issue whatever a CSR says."""
import concurrent.futures
import os
import re
import time
import unittest

import der
from forgeries import BMP_STRING, GenerousCa, csr_with_challenge, lookalike, rsa_key
from gateway import run, text
from scep_wire import ENVELOPED, TYPE, CertRep, Party, ScepTest, connect, post

EXT_REQUEST, MS_EXT_REQUEST = "1.2.840.113549.1.9.14", "1.3.6.1.4.1.311.2.1.14"
UPN = "1.3.6.1.4.1.311.20.2.3"
SID = "S-1-5-21-1111111111-2222222222-3333333333-500"

class Watched(ScepTest):
    """Whatever is refused leaves no trace where it counts."""

    @classmethod
    def configure(cls, gw):
        cls.ca = GenerousCa(gw)

    def setUp(self):
        self.party = Party(self.gw, "attacker")

    def marks(self):
        return (*self.counts(), self.ca.asked())

    def assert_refused(self, answer, outcomes=("badRequest",), why=None):
        self.assertIn(answer.outcome, outcomes, f"{why} {answer.line}\n{self.gw.log()[-1500:]}")


class Types(Watched):
    """CVE-2026-30836: what is no request must not be taken for one that needs no authorization."""

    UNLISTED = ("0", "1", "2", "3", "4", "16", "18", "23", "24", "99", "19 ", " 19", "019", "+19", "1 9", "19.0", "0x13", "-1",
                "A")

    @staticmethod
    def attribute(*values):
        return der.write(der.SEQUENCE, der.oid(TYPE), der.write(der.SET, *values)).hex()

    def test_unlisted(self):
        """A message type that is not served gets badRequest with a CSR and a challenge that are fine; nothing is ordered,
        issued or asked, and the challenge is still good."""
        secret = self.gw.challenge()
        self.party.csr("/CN=type-1", secret)
        before = self.marks()
        for kind in self.UNLISTED:
            self.assert_refused(self.party.forge("csr=csr.der", f"type={kind}"), why=repr(kind))
        self.assertEqual(self.marks(), before)
        self.assertEqual(self.party.forge("csr=csr.der").outcome, "SUCCESS")
        self.assertEqual([new - old for new, old in zip(self.marks(), before)], [1, 1, 1, 1])

    def test_doubled(self):
        """No type, two values, the attribute twice, and one that is no PrintableString are no types either."""
        self.party.csr("/CN=type-2", self.gw.challenge())
        pkcs_req, other = der.write(der.PRINTABLE, b"19"), der.write(der.PRINTABLE, b"18")
        before = self.marks()
        for words in (["type="], ["type=", "more=" + self.attribute(pkcs_req, other)],
                      ["type=", "more=" + self.attribute(pkcs_req, pkcs_req)], ["type=", "more=" + self.attribute()],
                      ["type=19", "more=" + self.attribute(pkcs_req)], ["type=19", "more=" + self.attribute(other)],
                      ["type=18", "more=" + self.attribute(pkcs_req)], ["type=", "more=" + self.attribute(der.number(19))],
                      ["type=", "more=" + self.attribute(der.write(der.UTF8, b"19"))]):
            self.assert_refused(self.party.forge("csr=csr.der", *words), ("badRequest", "badMessageCheck", "400"), words)
        self.assertEqual(self.marks(), before)

    def test_types_without_evidence(self):
        """Every type from 0 to 30 with a fine CSR and no challenge: nothing is ordered, issued or asked."""
        self.party.csr("/CN=type-3")
        before = self.marks()
        for kind in range(31):
            answer = self.party.forge("csr=csr.der", f"type={kind}")
            self.assertNotIn(answer.outcome, ("SUCCESS", "PENDING", "200"), f"{kind} {answer.line}")
        self.assertEqual(self.marks(), before)


class Names(Watched):
    """VU#971035: a challenge is for the names that it was made for; and what a CSR may ask for beside names."""

    @classmethod
    def configure(cls, gw):
        super().configure(gw)
        gw.edit(r"max: 8\}", 'uri: ["*", "tag:*"], max: 2}')
        gw.edit(r"challenge: \{", "challenge: {mismatches: 11, ")

    def test_challenge_for_other_names(self):
        """A challenge made for a CN serves no other CN, no SAN more, no EKU that the profile does not list; the tries, fewer
        than the profile bears, do not spend it, and reach nobody."""
        secret = self.gw.challenge("--subject", "CN=names-1")
        before = self.marks()
        for subject, extensions in (("/CN=names-2", ()), ("/CN=names-10", ()), ("/CN=names-1/O=x", ()), ("/O=x/CN=names-1", ()),
                                    ("/CN=names-1/CN=names-2", ()), ("/CN=names", ()), ("/OU=names-1", ()),
                                    ("/CN=names-1", ["subjectAltName = DNS:victim.example"]),
                                    ("/CN=names-1", ["subjectAltName = URI:https://victim.example/"]),
                                    ("/CN=names-1", ["subjectAltName = DNS:names-1"]),
                                    ("/CN=names-1", ["extendedKeyUsage = clientAuth,serverAuth"])):
            self.party.csr(subject, secret, extensions=extensions)
            self.assert_refused(self.party.forge("csr=csr.der"), why=(subject, extensions))
        self.assertEqual(self.marks(), before)
        self.party.csr("/CN=names-1", secret)
        self.assertEqual(self.party.forge("csr=csr.der").outcome, "SUCCESS")

    DANGEROUS = (
        ("basicConstraints = CA:TRUE", b"\x55\x1d\x13\x04\x05\x30\x03\x01\x01\xff"),
        ("basicConstraints = critical,CA:TRUE,pathlen:0", None),
        ("extendedKeyUsage = clientAuth,1.3.6.1.5.5.7.3.28", der.oid("1.3.6.1.5.5.7.3.28")),
        ("extendedKeyUsage = anyExtendedKeyUsage", der.oid("2.5.29.37.0")),
        ("extendedKeyUsage = 1.3.6.1.4.1.311.20.2.1", der.oid("1.3.6.1.4.1.311.20.2.1")),
        ("1.3.6.1.4.1.311.25.2 = ASN1:UTF8String:" + SID, der.oid("1.3.6.1.4.1.311.25.2")),
        ("subjectAltName = @names\n[names]\nURI = tag:microsoft.com,2022-09-14:sid:" + SID, SID.encode()),
        ("subjectAltName = @names\n[names]\nURI = TAG:Microsoft.com,2022-09-14:SID:" + SID, None),
        (f"subjectAltName = otherName:{UPN};UTF8:administrator@ad.example", b"administrator@ad.example"),
        ("keyUsage = keyCertSign", None),
        ("keyUsage = digitalSignature,cRLSign", None),
        ("subjectAltName = DNS:a.example,DNS:b.example,DNS:one-more.example", b"one-more.example"),
        ("1.2.3.4.5.6 = critical,DER:0500", der.oid("1.2.3.4.5.6")),
        ("1.2.3.4.5.7 = DER:0500", der.oid("1.2.3.4.5.7")),
        ("nameConstraints = permitted;DNS:.example", der.oid("2.5.29.30")),
        ("certificatePolicies = 2.5.29.32.0", der.oid("2.5.29.32")),
        ("noCheck = ignored", der.oid("1.3.6.1.5.5.7.48.1.5")),
        ("authorityInfoAccess = OCSP;URI:http://evil.example/", b"evil.example"),
        ("crlDistributionPoints = URI:http://evil.example/crl", b"evil.example"),
    )

    def test_dangerous_extensions(self):
        """CA:TRUE, cmcRA, anyExtendedKeyUsage, the enrollment agent's EKU, a SID as extension or URI, a UPN, keyCertSign,
        one SAN more, unknown extensions: refused, and nothing of it reaches the CA, which would grant it."""
        before = self.marks()
        for number, (extension, _) in enumerate(self.DANGEROUS):
            self.party.csr(f"/CN=dangerous-{number}", self.gw.challenge(), extensions=[extension])
            self.assert_refused(self.party.forge("csr=csr.der"), why=extension)
        self.assertEqual(self.marks(), before)
        saw = self.ca.saw()
        self.assertNotIn(b"dangerous-", saw)
        for extension, trace in self.DANGEROUS:
            if trace:
                self.assertNotIn(trace, saw, extension)

    def test_two_lists(self):
        """What stands in a second list of extensions, in either attribute for them, is not passed by: two lists are refused."""
        before = self.marks()
        fine = der.write(der.SEQUENCE, der.oid("2.5.29.15"), der.write(der.OCTET_STRING, b"\x03\x02\x07\x80"))
        evil = der.write(der.SEQUENCE, der.oid("2.5.29.19"), der.write(der.OCTET_STRING, b"\x30\x03\x01\x01\xff"))
        for number, types in enumerate(((EXT_REQUEST, MS_EXT_REQUEST), (MS_EXT_REQUEST, EXT_REQUEST),
                                        (EXT_REQUEST, EXT_REQUEST), (EXT_REQUEST,), (MS_EXT_REQUEST,))):
            values = [der.write(der.SEQUENCE, fine), der.write(der.SEQUENCE, evil)]
            attributes = [der.write(der.SEQUENCE, der.oid(kind), der.write(der.SET, value))
                          for kind, value in zip(types, values)]
            if len(types) == 1:
                attributes = [der.write(der.SEQUENCE, der.oid(types[0]), der.write(der.SET, *values))]
            self.party.csr(f"/CN=lists-{number}", self.gw.challenge())
            csr = der.resign(self.party.dir, self.party.load("csr.der"), attributes=attributes)
            self.party.keep("csr.der", csr)
            self.assert_refused(self.party.forge("csr=csr.der"), ("badMessageCheck",), types)
        self.assertEqual(self.marks(), before)

    def test_the_ca_would(self):
        """What the CA is asked for, it grants: its silence above is the gateway's doing."""
        before = self.marks()
        self.party.enroll("/CN=granted-1", extensions=["subjectAltName = DNS:a.example", "keyUsage = digitalSignature"])
        self.assertIn(b"granted-1", self.ca.saw())
        self.assertIn(b"a.example", self.ca.saw())
        self.assertEqual(self.marks()[3], before[3] + 1)
        self.assertIn("DNS:a.example", text("openssl", "x509", "-in", self.party.path("issued.pem"), "-noout", "-text"))

    def test_renewal_with_more(self):
        """A certificate that renews brings its own names, and not one extension more that is dangerous."""
        issued = self.party.enroll("/CN=more-1")
        before = self.marks()
        for extension in ("basicConstraints = CA:TRUE", "subjectAltName = DNS:more.example", "keyUsage = keyCertSign",
                          "1.3.6.1.4.1.311.25.2 = ASN1:UTF8String:" + SID, "extendedKeyUsage = anyExtendedKeyUsage"):
            self.party.csr("/CN=more-1", extensions=[extension])
            for kind in ("17", "19"):
                self.assert_refused(self.party.forge("csr=csr.der", f"type={kind}", f"signer={issued}"), why=extension)
        self.assertEqual(self.marks(), before)


class Evidence(ScepTest):
    """Challenges, signers and who they are."""

    SHORT = """  short:
    routes: [{upstream: [local]}]
    trust: [ca/root.pem]
    validity: 3s
    challenge: {kinds: [one-time]}
    renewal: {grace_after_expiry: 0d}
    scep: {paths: [/scep/short], ra: [main]}
  tenant:
    routes: [{upstream: [local]}]
    trust: [ca/root.pem]
    challenge: {kinds: [one-time]}
    scep: {paths: [/scep/tenant], ra: [main]}
"""

    @classmethod
    def configure(cls, gw):
        gw.edit(r"\Z", cls.SHORT)

    def setUp(self):
        self.victim, self.attacker = Party(self.gw, "victim"), Party(self.gw, "attacker")

    def url(self, profile):
        return f"http://127.0.0.1:{self.gw.scep_port}/scep/{profile}"

    def assert_nothing(self, party, *words, outcomes=("badRequest",), url=None):
        before = self.counts()
        answer = party.forge(*words, url=url)
        self.assertIn(answer.outcome, outcomes, f"{words} {answer.line}\n{self.gw.log()[-1500:]}")
        self.assertEqual(self.counts(), before, words)

    def test_empty_challenge(self):
        """CVE-2025-44005: no challenge, an empty one, a blank one and one in an odd string type authorize nothing."""
        values = (None, der.write(der.UTF8), der.write(der.PRINTABLE), der.write(der.UTF8, b" "), der.write(BMP_STRING),
                  der.write(BMP_STRING, b"\0\0"), der.write(der.UTF8, b"\0"), der.write(der.NULL), der.write(der.OCTET_STRING))
        for number, value in enumerate(values):
            self.attacker.keep("csr.der", csr_with_challenge(self.attacker, f"/CN=empty-{number}", value))
            self.assert_nothing(self.attacker, "csr=csr.der", outcomes=("badRequest", "badMessageCheck"))
        good = der.write(BMP_STRING, self.gw.challenge().encode("utf-16-be"))
        self.attacker.keep("csr.der", csr_with_challenge(self.attacker, "/CN=empty-good", good))
        self.assertEqual(self.attacker.forge("csr=csr.der").outcome, "SUCCESS")

    def test_two_challenges(self):
        """A right challenge beside a wrong one, as a second attribute or a second value, is none, and is not spent."""
        secret = self.gw.challenge()
        right, wrong = (der.write(der.UTF8, text.encode()) for text in (secret, "NOTACHALLENGE2222222"))
        kind = der.oid("1.2.840.113549.1.9.7")
        for sets in ([[right], [wrong]], [[wrong], [right]], [[right, wrong]], [[right], [right]], [[right, right]], [[]]):
            self.attacker.csr("/CN=two-1")
            attributes = [der.write(der.SEQUENCE, kind, der.write(der.SET, *values)) for values in sets]
            csr = der.resign(self.attacker.dir, self.attacker.load("csr.der"), attributes=attributes)
            self.attacker.keep("csr.der", csr)
            self.assert_nothing(self.attacker, "csr=csr.der", outcomes=("badMessageCheck",))
        self.attacker.csr("/CN=two-1", secret)
        self.assertEqual(self.attacker.forge("csr=csr.der").outcome, "SUCCESS")

    def test_empty_fixed_challenge(self):
        """A file of fixed challenges with none in it is a fault of the configuration; blank lines are no challenges."""
        with open(self.gw.conf, encoding="utf-8") as file:
            good = file.read()
        for content, code in (("", 1), ("\n", 1), (" \n", 1), ("\n\nAFIXEDCHALLENGE22222\n\n", 0)):
            path = self.gw.path("empty-secrets")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                file.write(content)
            conf = self.gw.path("empty.yaml")
            with open(conf, "w", encoding="utf-8") as file:
                file.write(good.replace("challenge: {kinds: [one-time], ttl: 1h", "challenge: {kinds: [fixed], fixed_file: "
                                        "empty-secrets, ttl: 1h"))
            result = run(os.environ["SCEPTER"], "check", "-c", conf, check=False)
            self.assertEqual(result.returncode, code, repr(content))
            if code:
                self.assertIn(b"fixed_file", result.stdout + result.stderr, repr(content))

    def test_two_signers(self):
        """Two SignerInfos, none, none of the bag's certificates, and an empty bag are no message."""
        self.attacker.csr("/CN=signers-1", self.gw.challenge())
        for words in (["signers=2"], ["signers=8"], ["signers=-1"], ["bag="], [f"bag={self.victim.path('cert.pem')}"],
                      ["wrong_digest=1"], ["no_attributes=1"], ["content_type="],
                      ["content_type=1.2.840.113549.1.7.3"], ["outer_type=1.2.840.113549.1.7.3"]):
            self.assert_nothing(self.attacker, "csr=csr.der", *words, outcomes=("badMessageCheck", "400"))

    def test_victim_in_the_bag(self):
        """With a victim's issued certificate in the bag, first or last, the attacker is still only the attacker: no renewal
        of the victim's, and a reply that only the attacker's own key opens."""
        issued = self.victim.enroll("/CN=victim-1")
        self.attacker.csr("/CN=victim-1")
        own = self.attacker.path("cert.pem")
        for bag in ([issued, own], [own, issued], [issued, issued, own]):
            for kind in ("17", "19"):
                self.assert_nothing(self.attacker, "csr=csr.der", f"type={kind}", *[f"bag={path}" for path in bag])
        for bag in ([issued], [issued, own], [own, issued]):
            self.assert_nothing(self.attacker, "csr=csr.der", f"signer={issued}", *[f"bag={path}" for path in bag],
                                outcomes=("badMessageCheck",))
        self.attacker.csr("/CN=bag-1", self.gw.challenge())
        answer = self.attacker.forge("csr=csr.der", f"bag={issued}", f"bag={own}", "reply=reply.der")
        self.assertEqual(answer.outcome, "SUCCESS")
        recipients = CertRep(self.attacker.load("reply.der")).envelope[1].items
        self.assertEqual(len(recipients), 1)
        serial = text("openssl", "x509", "-in", own, "-noout", "-serial").strip().split("=")[1]
        self.assertEqual(recipients[0][1][1].number, int(serial, 16))

    def test_lookalike_in_the_bag(self):
        """Two certificates that both answer to the signer's identifier, by issuer and serial number or by key identifier,
        are refused, whichever comes first."""
        issued = self.victim.enroll("/CN=victim-2")
        serial = text("openssl", "x509", "-in", issued, "-noout", "-serial").strip().split("=")[1]
        ski = text("openssl", "x509", "-in", issued, "-noout", "-ext", "subjectKeyIdentifier").split()[-1]
        fake = lookalike(self.gw, self.attacker, "/CN=victim-2", serial, ski)
        self.attacker.csr("/CN=victim-2")
        for flags in ([], ["by_ski=1"]):
            for bag in ([issued, fake], [fake, issued]):
                for kind in ("17", "19"):
                    self.assert_nothing(self.attacker, "csr=csr.der", f"type={kind}", f"signer={fake}", *flags,
                                        *[f"bag={path}" for path in bag], outcomes=("badMessageCheck",))
            self.assert_nothing(self.attacker, "csr=csr.der", "type=17", f"signer={fake}", *flags)
            self.assert_nothing(self.attacker, "csr=csr.der", "type=19", f"signer={fake}", *flags)

    def test_self_signed_same_name(self):
        """RFC 8894 2.4: a self-signed certificate with the victim's name renews nothing and enrolls nothing."""
        self.victim.enroll("/CN=victim-3")
        self.attacker.csr("/CN=victim-3")
        fake = self.attacker.self_sign("/CN=victim-3", out="fake.pem")
        for kind in ("17", "19"):
            self.assert_nothing(self.attacker, "csr=csr.der", f"type={kind}", f"signer={fake}")

    def test_other_ca(self):
        """A certificate by a CA that nobody named renews nothing, whatever names it has."""
        self.victim.enroll("/CN=victim-4")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", 3,
            "-subj", "/CN=Other CA", cwd=self.attacker.dir)
        self.attacker.csr("/CN=victim-4")
        run("openssl", "x509", "-req", "-inform", "DER", "-in", "csr.der", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", 3,
            "-out", "foreign.pem", cwd=self.attacker.dir)
        for kind in ("17", "19"):
            self.assert_nothing(self.attacker, "csr=csr.der", f"type={kind}", "signer=foreign.pem", "bag=foreign.pem",
                                "bag=ca.pem")

    def test_revoked(self):
        """A revoked certificate renews nothing, by either type."""
        issued = self.victim.enroll("/CN=victim-5")
        serial = text("openssl", "x509", "-in", issued, "-noout", "-serial").strip().split("=")[1]
        self.gw.cli("cert", "revoke", serial.lower())
        self.victim.csr("/CN=victim-5")
        for kind in ("17", "19"):
            self.assert_nothing(self.victim, "csr=csr.der", f"type={kind}", f"signer={issued}")

    def test_expired(self):
        """A certificate whose time is over renews nothing, by either type."""
        issued = self.victim.enroll("/CN=victim-6", url=self.url("short"), secret=self.secret("short"))
        time.sleep(5)
        self.victim.csr("/CN=victim-6")
        for kind in ("17", "19"):
            self.assert_nothing(self.victim, "csr=csr.der", f"type={kind}", f"signer={issued}", url=self.url("short"))
        self.assertIn("has expired", self.gw.log())

    def test_other_profile(self):
        """A certificate of one profile renews nothing in another, though the same CA issued it."""
        issued = self.victim.enroll("/CN=victim-7", url=self.url("tenant"), secret=self.secret("tenant"))
        self.victim.csr("/CN=victim-7")
        for kind in ("17", "19"):
            self.assert_nothing(self.victim, "csr=csr.der", f"type={kind}", f"signer={issued}")
        answer = self.victim.forge("csr=csr.der", "type=17", f"signer={issued}", url=self.url("tenant"))
        self.assertEqual(answer.outcome, "SUCCESS")

    def test_challenge_of_another_profile(self):
        """A challenge of one profile is none in another."""
        self.attacker.csr("/CN=tenants-1", self.secret("tenant"))
        self.assert_nothing(self.attacker, "csr=csr.der")
        self.assertEqual(self.attacker.forge("csr=csr.der", url=self.url("tenant")).outcome, "SUCCESS")

    def secret(self, profile):
        value = self.gw.cli("challenge", "create", "--profile", profile).stdout.decode().strip()
        self.gw.secrets.append(value)
        return value

    def test_foreign_key_renewed(self):
        """RFC 8894 7.6: who renews shows the new key's signature as well; a CSR that another key signed is refused."""
        issued = self.victim.enroll("/CN=victim-8")
        self.attacker.csr("/CN=victim-8")
        whole = bytearray(self.attacker.load("csr.der"))
        whole[-1] ^= 1
        self.victim.keep("csr.der", bytes(whole))
        for kind in ("17", "19"):
            self.assert_nothing(self.victim, "csr=csr.der", f"type={kind}", f"signer={issued}", outcomes=("badMessageCheck",))

    def test_stolen_envelope(self):
        """Another's envelope in a message of one's own gets nothing: who signs the message has the key of the CSR."""
        self.victim.csr("/CN=victim-9", self.gw.challenge())
        self.victim.message("csr=csr.der")
        run("openssl", "cms", "-verify", "-inform", "DER", "-in", "message.der", "-noverify", "-out", "envelope.der",
            cwd=self.victim.dir)
        fake = self.attacker.self_sign("/CN=victim-9", out="fake.pem")
        for kind in ("17", "19"):
            self.assert_nothing(self.attacker, f"plain={self.victim.path('envelope.der')}", "bare=1", f"type={kind}",
                                f"signer={fake}")
        self.assertEqual(self.victim.forge("csr=csr.der").outcome, "SUCCESS")


class Transactions(ScepTest):
    """transactionIDs are no secrets, and messages can be recorded."""

    def setUp(self):
        self.victim, self.attacker = Party(self.gw, "victim"), Party(self.gw, "attacker")

    def poll(self, party, subject, txn):
        self.attacker.keep("names.der", der.write(der.SEQUENCE, der.common_name("/CN=x"), der.common_name(subject)))
        return party.forge(f"plain={self.attacker.path('names.der')}", "type=20", f"txn={txn}")

    def test_polled_by_another(self):
        """Who polls a victim's transactionID with a key of its own hears badCertId, as for one that does not exist."""
        self.victim.csr("/CN=squat-1", self.gw.challenge())
        self.assertEqual(self.victim.forge("csr=csr.der", "txn=squat-1").outcome, "SUCCESS")
        before = self.counts()
        fake = self.attacker.self_sign("/CN=squat-1")
        self.assertTrue(fake)
        self.assertEqual(self.poll(self.attacker, "/CN=squat-1", "squat-1").outcome, "badCertId")
        self.assertEqual(self.poll(self.attacker, "/CN=squat-1", "no-such").outcome, "badCertId")
        self.assertEqual(self.poll(self.victim, "/CN=squat-1", "squat-1").outcome, "SUCCESS")
        self.assertEqual(self.counts(), before)

    def test_squatted(self):
        """An attacker who enrolls first under the transactionID that the victim will use does not stop the victim, learns
        nothing of it, and each polls its own."""
        self.attacker.csr("/CN=squatter", self.gw.challenge())
        self.assertEqual(self.attacker.forge("csr=csr.der", "txn=squat-2").outcome, "SUCCESS")
        self.victim.csr("/CN=squat-2", self.gw.challenge())
        self.assertEqual(self.victim.forge("csr=csr.der", "txn=squat-2")["first"], "CN=squat-2")
        self.assertEqual(self.poll(self.victim, "/CN=squat-2", "squat-2")["first"], "CN=squat-2")
        self.assertEqual(self.poll(self.attacker, "/CN=squat-2", "squat-2")["first"], "CN=squatter")

    def test_squatted_with_nothing(self):
        """Refused requests under the victim's transactionID leave nothing behind that could stop or answer the victim."""
        self.attacker.csr("/CN=squat-3", "NOTACHALLENGE2222222")
        for _ in range(5):
            self.assertEqual(self.attacker.forge("csr=csr.der", "txn=squat-3").outcome, "badRequest")
        self.assertEqual(self.poll(self.victim, "/CN=squat-3", "squat-3").outcome, "badCertId")
        self.victim.csr("/CN=squat-3", self.gw.challenge())
        self.assertEqual(self.victim.forge("csr=csr.der", "txn=squat-3").outcome, "SUCCESS")

    def test_replayed(self):
        """A message recorded and sent again, from another address, gets the same certificate enveloped to the same key; it is
        counted, and nothing is issued."""
        self.victim.csr("/CN=replay-1", self.gw.challenge())
        message = self.victim.message("csr=csr.der", "txn=replay-1")
        first = post(self.gw, message)
        before = self.counts()
        repeated = self.gw.metric('^scepter_requests_total.*"PKCSReq".*issued')
        again = [post(self.gw, message, source=f"127.0.0.{n}") for n in (2, 3, 2)]
        for status, kind, _ in [first, *again]:
            self.assertEqual((status, kind), (200, "application/x-pki-message"))
        opened = self.victim.open(first[2])
        self.assertIn(b"BEGIN CERTIFICATE", opened)
        for reply in again:
            self.assertEqual(self.victim.open(reply[2]), opened)
            self.assertEqual(CertRep(reply[2]).envelope[1][0][1].whole, CertRep(first[2]).envelope[1][0][1].whole)
        self.assertEqual(self.counts(), before)
        self.assertEqual(self.gw.metric('^scepter_requests_total.*"PKCSReq".*issued'), repeated + 3)
        self.assertRegex(self.gw.log(), r'client="127\.0\.0\.2".*transaction="replay-1".*reason="repeated"')

    def test_replayed_refusal(self):
        """A refused message stays refused however often it comes; one recorded before a challenge was made is no use after."""
        secret = self.gw.challenge("--subject", "CN=replay-2")
        self.attacker.csr("/CN=replay-other", secret)
        message = self.attacker.message("csr=csr.der", "txn=replay-2")
        before = self.counts()
        for n in (1, 2, 3):
            self.assertEqual(CertRep(post(self.gw, message, source=f"127.0.0.{n}")[2]).outcome, "badRequest")
        self.assertEqual(self.counts(), before)

    def test_replayed_at_once(self):
        """Thirty copies of one message at the same moment, from thirty addresses, are one certificate."""
        self.victim.csr("/CN=replay-3", self.gw.challenge())
        message = self.victim.message("csr=csr.der", "txn=replay-3")
        before = self.counts()
        with concurrent.futures.ThreadPoolExecutor(30) as pool:
            replies = list(pool.map(lambda n: post(self.gw, message, source=f"127.0.1.{n}"), range(1, 31)))
        outcomes = {CertRep(body).outcome for _, _, body in replies}
        self.assertLessEqual(outcomes, {"SUCCESS", "PENDING"})
        opened = {self.victim.open(body) for _, _, body in replies[:10] if CertRep(body).outcome == "SUCCESS"}
        self.assertEqual(len(opened), 1)
        after = self.counts()
        self.assertEqual((after[0] - before[0], after[1] - before[1]), (1, 1))


class Injection(ScepTest):
    """Paths and message= are looked up, never used."""

    TARGETS = (
        b"/scep/../../../../etc/passwd?operation=GetCACert", b"/scep/default/../../../etc/passwd?operation=GetCACert",
        b"/scep/default%2f..%2f..%2fca%2fissuing.key?operation=GetCACert", b"/scep/%00default?operation=GetCACert",
        b"/scep/default%00.pem?operation=GetCACert", b"/scep/default%0d%0aX-Evil:%201?operation=GetCACert",
        b"/scep/default'--?operation=GetCACert", b"/scep/default;id?operation=GetCACert", b"/scep/tenant?operation=GetCACert",
        b"/scep/CN=scepter%20RA,O=x?operation=GetCACert", b"/scep/defaul?operation=GetCACert", b"/scep/?operation=GetCACert",
    )
    MESSAGES = (
        b"../../../../etc/passwd", b"..%2f..%2fca%2fissuing.key", b"%00", b"default%00x",
        b"%0d%0aX-Evil:%201%0d%0a%0d%0aGET%20/",
        b"CN=Issuing%20CA,O=Example", b"'%20OR%20'1'='1", b"$(id)", b"%25%30%30", b"%", b"%zz", b"A" * 12000, b"%41" * 4000,
    )

    def ask(self, target):
        with connect(self.gw) as connection:
            connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            data = b""
            while piece := connection.recv(65536):
                data += piece
        return data

    def test_paths(self):
        """No path but a profile's reaches anything: 400 or 404, nothing of it in the headers, nothing of a file in the body."""
        for target in self.TARGETS:
            reply = self.ask(target)
            self.assertRegex(reply, rb"^HTTP/1\.1 40[04] ", target)
            self.assertNotRegex(reply, rb"(?i)evil|root:|PRIVATE|CERTIFICATE", target)

    def test_messages(self):
        """message= of an operation that has none means nothing, whatever stands in it: the same answer as without."""
        for operation in (b"GetCACert", b"GetCACaps"):
            plain = self.ask(b"/scep/default?operation=" + operation).partition(b"\r\n\r\n")[2]
            for message in self.MESSAGES:
                reply = self.ask(b"/scep/default?operation=" + operation + b"&message=" + message)
                head, _, body = reply.partition(b"\r\n\r\n")
                self.assertRegex(head, rb"^HTTP/1\.1 200 ", message[:40])
                self.assertNotIn(b"Evil", head)
                self.assertEqual(body, plain, message[:40])

    def test_pki_operation(self):
        """The same as the message of a PKIOperation is refused in words that do not depend on it."""
        for message in self.MESSAGES:
            reply = self.ask(b"/scep/default?operation=PKIOperation&message=" + message)
            self.assertRegex(reply, rb"^HTTP/1\.1 400 ", message[:40])
            self.assertTrue(reply.endswith(b"\r\n\r\nnot a SCEP message\n"), reply[-100:])

    def test_long(self):
        """64 KiB of message= is 414, and the server goes on."""
        for fill in (b"A", b"%41", b"../"):
            reply = self.ask(b"/scep/default?operation=GetCACert&message=" + fill * (65536 // len(fill)))
            self.assertRegex(reply, rb"^(HTTP/1\.1 414 |$)")
        self.assertRegex(self.ask(b"/scep/default?operation=GetCACaps"), rb"^HTTP/1\.1 200 ")

    def test_transaction(self):
        """transactionIDs are octets: with paths, line ends, quotes and 256 octets they come back as they are, and each stays
        inside its log line; a longer one is no message."""
        party = Party(self.gw, "odd")
        for number, txn in enumerate(("../../x", "a\nlevel=error", "'; DROP TABLE request; --", '"', "%00", "Zm9v/+==",
                                      "x" * 256)):
            party.csr(f"/CN=odd-{number}", self.gw.challenge())
            answer = party.forge("csr=csr.der", f"txn={txn}", "reply=reply.der")
            self.assertEqual((answer.outcome, answer["txn"]), ("SUCCESS", "same"), txn)
        party.csr("/CN=odd-long", self.gw.challenge())
        self.assertEqual(party.forge("csr=csr.der", "txn=" + "x" * 257).outcome, "400")
        for line in self.gw.log().splitlines():
            self.assertTrue(re.fullmatch(r"time=\S+ level=(debug|info|warn|error) event=\S+[\x20-\x7e]*", line), line)


class Size(ScepTest):
    """Huge, deep and slow to compute. The body limit is out of the way, so that the parsers see what comes."""

    PATIENCE = 10  # seconds, with sanitizers on a busy machine

    @classmethod
    def configure(cls, gw):
        gw.edit(r"\Z", "limits: {body: 16MiB}\n")

    def setUp(self):
        self.party = Party(self.gw, "big")

    def assert_quick(self, status, body, statuses=(400, 413)):
        """Answered soon, and so is whoever comes after it."""
        start = time.monotonic()
        got, _, reply = post(self.gw, body)
        self.assertIn(got, statuses, (body[:20], reply[:80]))
        self.assertLess(time.monotonic() - start, self.PATIENCE, body[:20])
        self.assertIsNone(self.gw.process.poll())
        return reply

    @staticmethod
    def nested(depth):
        """So many SEQUENCEs, each in the other."""
        heads, length = [b"\x05\x00"], 2
        for _ in range(depth):
            heads.append(der.head(der.SEQUENCE, length))
            length += len(heads[-1])
        return b"".join(reversed(heads))

    def test_deep(self):
        """100,000 levels, of definite and of indefinite length, bare, as SignedData and as a constructed string: refused."""
        signed = der.oid("1.2.840.113549.1.7.2")
        deep = self.nested(100000)
        open_ended = b"\x30\x80" * 100000
        for body in (deep, open_ended, open_ended + b"\x00\x00" * 100000, b"\x24\x80" * 100000, b"\xa0\x80" * 100000,
                     der.write(der.SEQUENCE, signed, der.write(0xa0, deep)), b"\x30\x80" + signed + b"\xa0\x80" + open_ended,
                     self.nested(33), self.nested(200), self.nested(30000)):
            self.assert_quick(400, body)

    def test_deep_inside(self):
        """The same within a signed message, as its envelope and as the CSR in it."""
        self.party.keep("deep.der", self.nested(20000))
        self.party.keep("open.der", b"\x30\x80" * 30000)
        before = self.counts()
        for name_ in ("deep.der", "open.der"):
            for words in ([f"plain={name_}", "bare=1"], [f"plain={name_}"]):
                start = time.monotonic()
                self.assertEqual(self.party.forge(*words).outcome, "badMessageCheck", words)
                self.assertLess(time.monotonic() - start, self.PATIENCE)
        self.assertEqual(self.counts(), before)

    def test_huge(self):
        """8 MB of one element, of a million small ones, and of lengths that lie: refused soon, without the memory for it."""
        before = self.gw.resident()
        for body in (der.write(der.SEQUENCE, bytes(8 << 20)), der.write(der.SEQUENCE, b"\x05\x00" * (4 << 20)),
                     b"\x30\x84\x7f\xff\xff\xff" + bytes(8 << 20), b"\x30\x88" + b"\xff" * 8, b"\x30\x84\xff\xff\xff\xff",
                     b"\x30\x80" + b"\x04\x01x" * (2 << 20)):
            self.assert_quick(400, body)
        self.assertLess(self.gw.resident() - before, 300 << 10)

    def test_many(self):
        """Nine certificates in the bag, nine recipients of the envelope: more than are looked at."""
        self.party.csr("/CN=many-1", self.gw.challenge())
        before = self.counts()
        self.assertEqual(self.party.forge("csr=csr.der", *["bag=cert.pem"] * 8).outcome, "badMessageCheck")
        self.assertEqual(self.party.forge("csr=csr.der", "recipients=9").outcome, "badMessageCheck")
        self.assertEqual(self.counts(), before)
        self.assertEqual(self.party.forge("csr=csr.der", "recipients=8").outcome, "SUCCESS")

    def test_cut_ciphertext(self):
        """Ciphertexts that are no whole blocks, or nothing, are refused before anything is decrypted."""
        self.party.csr("/CN=blocks-1", self.gw.challenge())
        message = CertRep(self.party.message("csr=csr.der"))
        version, recipients, content = message.envelope.items
        kind, algorithm, sealed = content.items
        before = self.counts()
        for length in (0, 1, 15, 17, len(sealed.content) - 1):
            cut = der.write(der.SEQUENCE, kind.whole, algorithm.whole, der.write(0x80, sealed.content[:length]))
            data = der.write(der.SEQUENCE, version.whole, recipients.whole, cut)
            self.party.keep("cut.der", der.write(der.SEQUENCE, der.oid(ENVELOPED), der.write(0xa0, data)))
            self.assertEqual(self.party.forge("plain=cut.der", "bare=1").outcome, "badMessageCheck", length)
        self.assertEqual(self.counts(), before)
        self.assertNotIn("cannot be decrypted", self.gw.log())

    def test_unbounded_chunks(self):
        """100 MB in chunks are refused when they pass the limit, not when they end."""
        with connect(self.gw) as connection:
            connection.sendall(b"POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\n"
                               b"Transfer-Encoding: chunked\r\n\r\n")
            chunk, sent = b"100000\r\n" + bytes(1 << 20) + b"\r\n", 0
            try:
                while sent < 100:
                    connection.sendall(chunk)
                    sent += 1
            except OSError:
                pass
            self.assertLess(sent, 60)

    def test_16k_keys(self):
        """An RSA key of 16,384 bits, as the signer's, as the CSR's, or both, properly signed: refused, and soon."""
        rsa_key(self.party.path("big.pem"), 16384)
        self.party.self_sign("/CN=big", key="big.pem", out="big-cert.pem")
        before = self.counts()
        for signer, key in (("cert.pem", "big.pem"), ("big-cert.pem", "big.pem"), ("big-cert.pem", "key.pem")):
            self.party.csr("/CN=big-1", self.gw.challenge(), key=key)
            message = self.party.message("csr=csr.der")
            if signer != "cert.pem":
                message = self.party.signed_by_hand(message, cert=signer, key="big.pem")
                run("openssl", "cms", "-verify", "-inform", "DER", "-noverify", "-out", "/dev/null", input=message)
            start = time.monotonic()
            self.assertEqual(CertRep(post(self.gw, message)[2]).outcome, "badMessageCheck", (signer, key))
            self.assertLess(time.monotonic() - start, self.PATIENCE)
        self.assertEqual(self.counts(), before)

    def test_slow_exponents(self):
        """A public exponent as long as its modulus makes verifying as slow as signing: refused, though rightly signed."""
        rsa_key(self.party.path("slow.pem"), 3072, exponent_bits=3000)
        self.party.self_sign("/CN=slow", key="slow.pem", out="slow-cert.pem")
        self.party.csr("/CN=slow", self.gw.challenge(), key="slow.pem")
        message = self.party.signed_by_hand(self.party.message("csr=csr.der"), cert="slow-cert.pem", key="slow.pem")
        run("openssl", "cms", "-verify", "-inform", "DER", "-noverify", "-out", "/dev/null", input=message)
        before = self.counts()
        self.assertEqual(CertRep(post(self.gw, message)[2]).outcome, "badMessageCheck")
        self.assertEqual(self.counts(), before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
