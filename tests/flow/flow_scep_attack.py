"""SCEP and those who attack it: each test is an incident of some server, or what would be one, against the real binary. Who asks
for what is not his is here, who abuses the wire in flow_scep_attack_wire.py; the table of known flaws says where each is tested.

What must not happen is counted: orders in the store, certificates in the inventory, exchanges with the upstream CA, which
is a program here that writes down all that it is asked and would issue whatever a CSR says."""
import os
import time

import der
import rows
from forgeries import BMP_STRING, GenerousCa, csr_with_challenge, lookalike
from gateway import run, text
from scep_references import FLAWS
from scep_wire import TYPE, CertRep, Party, ScepTest

EXT_REQUEST, MS_EXT_REQUEST = "1.2.840.113549.1.9.14", "1.3.6.1.4.1.311.2.1.14"
UPN = "1.3.6.1.4.1.311.20.2.3"
SID = "S-1-5-21-1111111111-2222222222-3333333333-500"

Known = rows.elsewhere(FLAWS)


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
        """A message type that is not served gets badRequest with a CSR and a challenge that are fine; nothing is ordered, issued
        or asked, and the challenge is still good (flaw 2)."""
        secret = self.gw.challenge()
        self.party.csr("/CN=type-1", secret)
        before = self.marks()
        for kind in self.UNLISTED:
            self.assert_refused(self.party.forge("csr=csr.der", f"type={kind}"), why=repr(kind))
        self.assertEqual(self.marks(), before)
        self.assertEqual(self.party.forge("csr=csr.der").outcome, "SUCCESS")
        self.assertEqual([new - old for new, old in zip(self.marks(), before)], [1, 1, 1, 1])

    def test_doubled(self):
        """No type, two values, the attribute twice, and one that is no PrintableString are no types either (flaw 2)."""
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
        """Every type from 0 to 30 with a fine CSR and no challenge: nothing is ordered, issued or asked (flaw 2)."""
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
        """A challenge made for a CN serves no other CN, no SAN more, no EKU that the profile does not list; the tries, fewer than
        the profile bears, do not spend it, and neither does what is no request; they reach nobody (flaw 1)."""
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
        self.party.csr("/CN=names-1", secret)
        torn = bytearray(self.party.load("csr.der"))
        torn[-1] ^= 1
        self.party.keep("torn.der", bytes(torn))
        for words in (["csr=torn.der"], ["csr=csr.der", "fault=3"], ["csr=csr.der", "bare=1"], ["csr=csr.der", "digest=SHA1"]):
            self.assert_refused(self.party.forge(*words), ("badMessageCheck", "badAlg"), words)
        self.assertEqual(self.marks(), before)
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
        """CA:TRUE, cmcRA, anyExtendedKeyUsage, the enrollment agent's EKU, a SID as extension or URI, a UPN, keyCertSign, one SAN
        more, unknown extensions: refused, and nothing of it reaches the CA, which would grant it (flaw 9)."""
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
        """What stands in a second list of extensions, in either attribute for them, is not passed by: two lists are refused (flaw
        9)."""
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
        """What the CA is asked for, it grants: its silence above is the gateway's doing (flaw 9)."""
        before = self.marks()
        self.party.enroll("/CN=granted-1", extensions=["subjectAltName = DNS:a.example", "keyUsage = digitalSignature"])
        self.assertIn(b"granted-1", self.ca.saw())
        self.assertIn(b"a.example", self.ca.saw())
        self.assertEqual(self.marks()[3], before[3] + 1)
        self.assertIn("DNS:a.example", text("openssl", "x509", "-in", self.party.path("issued.pem"), "-noout", "-text"))

    def test_renewal_with_more(self):
        """A certificate that renews brings its own names, and not one extension more that is dangerous (flaw 9)."""
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
        """CVE-2025-44005: no challenge, an empty one, a blank one and one in an odd string type authorize nothing (flaw 3)."""
        values = (None, der.write(der.UTF8), der.write(der.PRINTABLE), der.write(der.UTF8, b" "), der.write(BMP_STRING),
                  der.write(BMP_STRING, b"\0\0"), der.write(der.UTF8, b"\0"), der.write(der.NULL), der.write(der.OCTET_STRING))
        for number, value in enumerate(values):
            self.attacker.keep("csr.der", csr_with_challenge(self.attacker, f"/CN=empty-{number}", value))
            self.assert_nothing(self.attacker, "csr=csr.der", outcomes=("badRequest", "badMessageCheck"))
        good = der.write(BMP_STRING, self.gw.challenge().encode("utf-16-be"))
        self.attacker.keep("csr.der", csr_with_challenge(self.attacker, "/CN=empty-good", good))
        self.assertEqual(self.attacker.forge("csr=csr.der").outcome, "SUCCESS")

    def test_two_challenges(self):
        """A right challenge beside a wrong one, as a second attribute or a second value, is none, and is not spent (quirk 33,
        flaw 3)."""
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
        """A file of fixed challenges with none in it is a fault of the configuration; blank lines are no challenges (flaw 3)."""
        with open(self.gw.conf, encoding="utf-8") as file:
            good = file.read()
        for content, code in (("", 1), ("\n", 1), (" \n", 1), ("\n\nAFIXEDCHALLENGE22222\n\n", 0)):
            self.gw.secret_file("empty-secrets", content)
            conf = self.gw.path("empty.yaml")
            with open(conf, "w", encoding="utf-8") as file:
                file.write(good.replace("challenge: {kinds: [one-time], ttl: 1h", "challenge: {kinds: [fixed], fixed_file: "
                                        "empty-secrets, ttl: 1h"))
            result = run(os.environ["SCEPTER"], "check", "-c", conf, check=False)
            self.assertEqual(result.returncode, code, repr(content))
            if code:
                self.assertIn(b"fixed_file", result.stdout + result.stderr, repr(content))

    def test_two_signers(self):
        """Two SignerInfos, none, none of the bag's certificates, and an empty bag are no message (flaw 5)."""
        self.attacker.csr("/CN=signers-1", self.gw.challenge())
        for words in (["signers=2"], ["signers=8"], ["signers=-1"], ["bag="], [f"bag={self.victim.path('cert.pem')}"],
                      ["wrong_digest=1"], ["no_attributes=1"], ["content_type="],
                      ["content_type=1.2.840.113549.1.7.3"], ["outer_type=1.2.840.113549.1.7.3"]):
            self.assert_nothing(self.attacker, "csr=csr.der", *words, outcomes=("badMessageCheck", "400"))

    def test_victim_in_the_bag(self):
        """With a victim's issued certificate in the bag, first or last, the attacker is still only the attacker: no renewal of
        the victim's, and a reply that only the attacker's own key opens (flaw 5)."""
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
        """Two certificates that both answer to the signer's identifier, by issuer and serial number or by key identifier, are
        refused, whichever comes first (flaw 5)."""
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
        """RFC 8894 2.4: a self-signed certificate with the victim's name renews nothing and enrolls nothing (flaw 4)."""
        self.victim.enroll("/CN=victim-3")
        self.attacker.csr("/CN=victim-3")
        fake = self.attacker.self_sign("/CN=victim-3", out="fake.pem")
        for kind in ("17", "19"):
            self.assert_nothing(self.attacker, "csr=csr.der", f"type={kind}", f"signer={fake}")

    def test_other_ca(self):
        """A certificate by a CA that nobody named renews nothing, whatever names it has (flaw 4)."""
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
        """A revoked certificate renews nothing, by either type (flaw 4)."""
        issued = self.victim.enroll("/CN=victim-5")
        serial = text("openssl", "x509", "-in", issued, "-noout", "-serial").strip().split("=")[1]
        self.gw.cli("cert", "revoke", serial.lower())
        self.victim.csr("/CN=victim-5")
        for kind in ("17", "19"):
            self.assert_nothing(self.victim, "csr=csr.der", f"type={kind}", f"signer={issued}")

    def test_expired(self):
        """A certificate whose time is over renews nothing, by either type (flaw 4)."""
        issued = self.victim.enroll("/CN=victim-6", url=self.url("short"), secret=self.secret("short"))
        time.sleep(5)
        self.victim.csr("/CN=victim-6")
        for kind in ("17", "19"):
            self.assert_nothing(self.victim, "csr=csr.der", f"type={kind}", f"signer={issued}", url=self.url("short"))
        self.gw.log_line("victim-6", "has expired")

    def test_other_profile(self):
        """A certificate of one profile renews nothing in another, though the same CA issued it (flaw 4)."""
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


if __name__ == "__main__":
    rows.main()
