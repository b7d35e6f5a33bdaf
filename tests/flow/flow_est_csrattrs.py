"""What csrattrs says is what the judge accepts: a client that does as it is told, and nothing else, over several profiles."""
import base64
import os

import rows
from der import BIT_STRING, CONTEXT, OCTET_STRING, PRINTABLE, SEQUENCE, SET, UTF8, dns_names, number, oid, read, write
from est_rows import EstFlow
from est_wire import LINKING, basic, keep_connections, request
from gateway import run

PASSWORD, EXTENSIONS, TEMPLATE = "1.2.840.113549.1.9.7", "1.2.840.113549.1.9.14", "1.2.840.113549.1.9.16.2.61"
EXTENSIONS_TEMPLATE = "1.2.840.113549.1.9.16.2.62"
EC, RSA, ED25519 = "1.2.840.10045.2.1", "1.2.840.113549.1.1.1", "1.3.101.112"
CURVES = {"P-256": "1.2.840.10045.3.1.7", "P-384": "1.3.132.0.34", "P-521": "1.3.132.0.35"}
CN, C, LOCALITY, OU, SERIAL = "2.5.4.3", "2.5.4.6", "2.5.4.7", "2.5.4.11", "2.5.4.5"
SAN, EKU, BASIC, USAGE = "2.5.29.17", "2.5.29.37", "2.5.29.19", "2.5.29.15"
KEYS = {"P-256": (EC, CURVES["P-256"]), "P-384": (EC, CURVES["P-384"]), "P-521": (EC, CURVES["P-521"]), "2048": (RSA, 2048),
        "3072": (RSA, 3072), "ed25519": (ED25519, None)}

# Of a profile: its YAML, what a device fills in where it is told no value, a SAN of its own and one that the profile refuses.
PROFILES = {
    "curve": ('keys: {ec: [P-384]}\n    subject: {CN: "[a-z0-9-]+", O: Example}', {CN: "told"}, None, None),
    "size": ('keys: {rsa: 3072-4096}\n    subject: {CN: "^t[a-z]+$"}\n    san: {dns: ["*.vpn.example"], max: 1}\n'
             '    eku: [clientAuth, ikeIntermediate]', {CN: "told"}, "a.vpn.example", "a.other.example"),
    "edwards": ('keys: {ed25519: true}\n    subject: {C: DE, O: "^Example$", OU: "(one|two)", serialNumber: "[0-9]{4}"}',
                {OU: "two", SERIAL: "4711"}, None, None),
    "free": ('san: {dns: ["*"]}\n    eku: [clientAuth, serverAuth]', {}, "free.example", None),
    "kinds": ('keys: {ec: [P-256, P-521], rsa: 2048-3072}\n    subject: {CN: "[a-z]+", OU: fixed}', {CN: "told"}, None, None),
    "bound": ('keys: {ec: [P-256]}\n    subject: {CN: "[a-z]+"}', {CN: "told"}, None, None),
    "linked": ('keys: {ec: [P-256]}\n    subject: {CN: "[a-z]+"}', {CN: "told"}, None, None),
}
EST = {"bound": ", binding: required", "linked": ", binding: required, challenge_password: secret"}
FORMS = ("plain", "template", "both")


def name_of(rdns):
    def value(kind, text):
        return write(PRINTABLE if kind in (C, SERIAL) else UTF8, text.encode())
    return write(SEQUENCE, *(write(SET, write(SEQUENCE, oid(kind), value(kind, text))) for kind, text in rdns))


def only(node):
    """The one value of an attribute (RFC 9908 section 3.2)."""
    kind, values = node.items
    assert values.tag == SET and len(values.items) == 1, node.whole.hex()
    return kind.oid, values[0]


class Wish:
    """What a server asks of a CSR: subject attributes with a value or None, the key, extensions with a value or None, a binding."""

    def __init__(self, rdns=(), key=None, extensions=(), binding=None):
        self.rdns, self.key, self.extensions, self.binding = list(rdns), key, dict(extensions), binding

    def take_extensions(self, value):
        for extension in value.items:
            kind, *rest = extension.items
            assert kind.oid not in self.extensions, "an extension twice"
            self.extensions[kind.oid] = rest[-1].content if rest else None
            assert not rest or rest[-1].tag == OCTET_STRING

    def take_key(self, key):
        assert self.key is None, "two kinds of keys"
        self.key = key


def read_template(value):
    """RFC 9908 section 3.4: CertificationRequestInfoTemplate."""
    wish, (version, *rest) = Wish(), value.items
    assert version.number == 0
    assert rest[-1].tag == 0xA1, "attributes are not optional"
    assert len(rest) <= 3
    for part in rest[:-1]:
        if part.tag == SEQUENCE:
            assert part is rest[0] and part.items, "a subject that asks for nothing is absent"
            for rdn in part.items:
                (kind, *text), = [single.items for single in rdn.items]
                wish.rdns.append((kind.oid, text[0].content.decode() if text else None))
        else:
            algorithm, *dummy = part.items
            kind = algorithm[0].oid
            assert part.tag == 0xA0 and bool(dummy) == (kind == RSA), "a public key is there for the size of RSA alone"
            if kind == RSA:
                modulus = read(dummy[0].content[1:])[0]
                wish.take_key((RSA, modulus.number.bit_length()))
            else:
                wish.take_key((kind, algorithm[1].oid if kind == EC else None))
    asked = [only(attribute) for attribute in rest[-1].items]
    assert len([kind for kind, _ in asked if kind in (EXTENSIONS, EXTENSIONS_TEMPLATE)]) <= 1
    for kind, content in asked:
        assert kind in (EXTENSIONS, EXTENSIONS_TEMPLATE), kind
        wish.take_extensions(content)
        assert (None in wish.extensions.values()) == (kind == EXTENSIONS_TEMPLATE), "a template where a value is left out alone"
    return wish


def read_attributes(der):
    """(plain, template or None); RFC 8951 section 4, RFC 9908 section 3.2."""
    plain, template, seen = Wish(), None, set()
    for item in read(der).items:
        kind = item.oid if item.tag == 6 else item[0].oid
        assert kind not in seen, "twice " + kind
        seen.add(kind)
        if item.tag == 6 and kind in (PASSWORD, LINKING):
            plain.binding = kind
        elif item.tag == 6 and kind == ED25519:
            plain.take_key((ED25519, None))
        elif item.tag == 6:
            plain.rdns.append((kind, None))
        elif kind == EXTENSIONS:
            plain.take_extensions(only(item)[1])
        elif kind == TEMPLATE:
            template = read_template(only(item)[1])
        else:
            plain.take_key((kind, only(item)[1].number if kind == RSA else only(item)[1].oid))
    return plain, template


class Attributes(EstFlow):
    """A label for each profile and each form."""

    @classmethod
    def configure(cls, gw):
        work, text = gw.work("keys"), ""
        for name, (kind, detail) in KEYS.items():
            option = {EC: ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" + name], ED25519: ["-algorithm", "ED25519"],
                      RSA: ["-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{detail}"]}[kind]
            run("openssl", "genpkey", *option, "-out", name, cwd=work)
        for name, (yaml, *_) in PROFILES.items():
            for form in FORMS:
                text += (f"  {name}-{form}:\n    routes: [{{upstream: [local]}}]\n    trust: [ca/root.pem]\n    {yaml}\n"
                         f"    challenge: {{kinds: [one-time]}}\n"
                         f"    est: {{labels: [{name}-{form}], auth: [basic], csrattrs: {form}{EST.get(name, '')}}}\n")
        with open(gw.conf, "a", encoding="utf-8") as file:
            file.write(text)
        keep_connections(gw)

    def told(self, label):
        with self.connect() as conn:
            status, headers, body = conn.ask(request("csrattrs", label="/" + label))
        self.assertEqual((status, headers["Content-Type"]), (200, "application/csrattrs"))
        return read_attributes(base64.b64decode(body))

    def csr(self, wish, key, bound):
        """DER, by the key of that name."""
        path = os.path.join(self.gw.work("keys"), key)
        spki = run("openssl", "pkey", "-in", path, "-pubout", "-outform", "DER").stdout
        attributes = []
        extensions = [write(SEQUENCE, oid(kind), write(OCTET_STRING, value)) for kind, value in wish.extensions.items()]
        if extensions:
            attributes.append(write(SEQUENCE, oid(EXTENSIONS), write(SET, write(SEQUENCE, *extensions))))
        if wish.binding:
            attributes.append(write(SEQUENCE, oid(wish.binding), write(SET, write(PRINTABLE, bound.encode()))))
        info = write(SEQUENCE, number(0), name_of(wish.rdns), spki, write(CONTEXT, *sorted(attributes)))
        kind = KEYS[key][0]
        if kind == ED25519:
            with open(path + ".tbs", "wb") as file:
                file.write(info)
            signature = run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", path, "-in", path + ".tbs").stdout
        else:
            signature = run("openssl", "dgst", "-sha256", "-sign", path, input=info).stdout
        algorithm = {EC: oid("1.2.840.10045.4.3.2"), RSA: oid("1.2.840.113549.1.1.11") + b"\x05\x00", ED25519: oid(ED25519)}[kind]
        return write(SEQUENCE, info, write(SEQUENCE, algorithm), write(BIT_STRING, b"\x00", signature))

    def ask(self, label, wish, key):
        secret = self.gw.cli("challenge", "create", "--profile", label).stdout.decode().strip()
        with self.connect() as conn:
            csr = self.csr(wish, key, conn.binding)
            status, _, body = conn.ask(request("simpleenroll", csr, basic(secret), label="/" + label))
        return status, body

    def filled(self, profile, plain, template, known=None):
        """What a client makes of it that knows the template, or the plain form alone; known: values that it has been told elsewhere."""
        _, fill, san, _ = PROFILES[profile]
        source = template or plain
        rdns = [(kind, value or fill.get(kind) or (known or {})[kind]) for kind, value in source.rdns] or [(CN, "anything")]
        wish = Wish(rdns, source.key, source.extensions, plain.binding)
        if SAN in wish.extensions:
            self.assertIsNone(wish.extensions[SAN])
            wish.extensions[SAN] = dns_names(san)
        return wish

    def key_for(self, wish):
        return next((name for name, key in KEYS.items() if key == wish.key), "P-256")

    def test_as_told(self):
        """RFC 7894 4, RFC 7030 4.5.2, RFC 8951 4, RFC 9908 3.2, 3.4: a CSR that is as csrattrs says is accepted, in each form, over
        seven profiles"""
        for profile in PROFILES:
            _, template = self.told(profile + "-template")
            values = dict(template.rdns)
            for form in FORMS:
                label = f"{profile}-{form}"
                plain, template = self.told(label)
                self.assertEqual(template is None, form == "plain", label)
                wish = self.filled(profile, plain, template, values)
                self.assertEqual(self.ask(label, wish, self.key_for(wish))[0], 200, (label, self.gw.log()[-500:]))

    def test_forms_agree(self):
        """RFC 9908 4: the template and the plain form beside it ask for the same key, subject attributes and usages"""
        for profile in PROFILES:
            plain, template = self.told(profile + "-both")
            self.assertEqual([kind for kind, _ in plain.rdns], [kind for kind, _ in template.rdns], profile)
            self.assertEqual(plain.key, template.key, profile)
            self.assertEqual(plain.extensions, {k: v for k, v in template.extensions.items() if k != SAN}, profile)

    def deviations(self, profile, wish):
        """(what, wish, key): each CSR that is not as told in one thing."""
        good = self.key_for(wish)
        for at, (kind, value) in enumerate(wish.rdns if PROFILES[profile][1] else ()):
            yield f"without {kind}", Wish(wish.rdns[:at] + wish.rdns[at + 1:], wish.key, wish.extensions, wish.binding), good
            other = wish.rdns[:at] + [(kind, "XX" if kind == C else value.upper() + "!")] + wish.rdns[at + 1:]
            yield f"other {kind}", Wish(other, wish.key, wish.extensions, wish.binding), good
            added = wish.rdns + [(LOCALITY, "Elsewhere")]
            yield "another attribute", Wish(added, wish.key, wish.extensions, wish.binding), good
        for name, key in KEYS.items():
            weaker = key[0] != (wish.key or key)[0] or (key[1] or 0) != ((wish.key or key)[1] or 0)
            if weaker:
                yield f"key {name}", wish, name
        ekus = [usage.whole for usage in read(wish.extensions[EKU]).items]
        for what, extra in (("emailProtection", {EKU: write(SEQUENCE, *ekus, oid("1.3.6.1.5.5.7.3.4"))}),
                            ("anyExtendedKeyUsage", {EKU: write(SEQUENCE, oid("2.5.29.37.0"))}),
                            ("cmcRA", {EKU: write(SEQUENCE, *ekus, oid("1.3.6.1.5.5.7.3.28"))}),
                            ("CA:TRUE", {BASIC: write(SEQUENCE, b"\x01\x01\xff")}),
                            ("keyCertSign", {USAGE: write(BIT_STRING, b"\x02\x04")}), ("unknown", {"1.2.3.4": b"\x05\x00"})):
            yield what, Wish(wish.rdns, wish.key, {**wish.extensions, **extra}, wish.binding), good
        names = PROFILES[profile][3] if SAN in wish.extensions else "none.example"
        if names:
            yield "SAN", Wish(wish.rdns, wish.key, {**wish.extensions, SAN: dns_names(names)}, wish.binding), good
        if wish.binding:
            yield "unbound", Wish(wish.rdns, wish.key, wish.extensions), good

    def test_deviations(self):
        """RFC 7030 3.5, RFC 8951 4, RFC 9908 3.4: each CSR that is in one thing not as csrattrs says is refused, and nothing is issued"""
        before = len(self.gw.certs())
        for profile in PROFILES:
            label, count = profile + "-both", 0
            plain, template = self.told(label)
            for what, wish, key in self.deviations(profile, self.filled(profile, plain, template)):
                status, body = self.ask(label, wish, key)
                self.assertEqual(status, 400 if what == "unbound" else 403, (label, what, body))
                count += 1
            self.assertGreaterEqual(count, 6, profile)
        self.assertEqual(len(self.gw.certs()), before)


if __name__ == "__main__":
    rows.main()
