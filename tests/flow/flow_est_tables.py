"""The sentences of RFC 7030, 8951 and 9908 for a server, what clients want and what servers got wrong, each with the test that has it.

A row is printed as pass if its tests are there, are run by ctest, and say in their first line that they are about it; as
differs, with the reason, where the gateway does something else than the sentence.
"""
import ast
import os
import re
import unittest

import rows

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)

# (section, how strong, sentence, tests, why it differs)
SENTENCES = [
    ("RFC 7030 3.2.1", "", "a client is not sent elsewhere", "est_walk Whole.test_never_elsewhere"),
    ("RFC 7030 3.2.2", "MUST", "operations are below /.well-known/est/", "est_walk Whole.test_paths"),
    ("RFC 7030 3.2.2", "MUST NOT", "a label is no operation's name", "est_walk Whole.test_label_of_operation"),
    ("RFC 7030 3.2.2", "MUST", "there is service with and without a label", "est_walk Whole.test_paths, est_walk Labelled.test_paths",
     'without a label for the profile that has the label ""; none has to'),
    ("RFC 7030 3.2.2", "MAY", "several CAs, each with a label", "est_cacerts Labels.test_each"),
    ("RFC 7030 3.2.3", "MAY", "HTTP authentication in place of a certificate, or besides", "est_auth Both.test_both"),
    ("RFC 7030 3.2.3", "SHOULD", "Basic and Digest, asked for by WWW-Authenticate", "est_auth Digest.test_offered, est_auth Digest.test_curl"),
    ("RFC 7030 3.2.3", "MAY", "the user name is empty", "est_conformance Plain.test_empty_user"),
    ("RFC 7030 3.2.3", "MUST NOT", "rely on cookies, or send them", "est_walk Whole.test_never_elsewhere"),
    ("RFC 7030 3.2.3", "MUST NOT", "NULL and anonymous suites", "est_sessions Sessions.test_ciphers"),
    ("RFC 7030 3.2.4", "MUST", "the media type of each reply", "est_conformance Plain.test_replies"),
    ("RFC 7030 3.3", "MUST", "HTTPS, and nothing else", "est_walk Whole.test_https"),
    ("RFC 7030 3.3", "SHOULD", "sessions are resumed", "est_conformance Binding.test_unique_resumed, est_trust Trust.test_intermediates",
     "not that of a client that sends its chain, which a ticket would not hold"),
    ("RFC 7030 3.3.1", "MUST", "TLS 1.1 or later; since RFC 8996 1.2 or later", "est_conformance Plain.test_tls"),
    ("RFC 7030 3.3.1", "MUST", "the server's certificate is as RFC 5280 has it", "est_walk Whole.test_server"),
    ("RFC 7030 3.3.2", "MUST", "clients may authenticate with certificates, judged by RFC 5280",
     "est_trust Trust.test_purpose, est_trust Trust.test_intermediates"),
    ("RFC 7030 3.3.3", "MAY", "TLS without certificates", "est_sessions Sessions.test_ciphers", "not offered; OpenSSL deprecates SRP"),
    ("RFC 7030 3.4", "MUST", "the CSR's signature proves possession", "est_security Security.test_s11_signature"),
    ("RFC 7030 3.5", "MUST", "tls-unique in challengePassword is checked if it is there",
     "est_conformance Binding.test_unique_full, est_conformance Binding.test_unique_resumed, est_conformance Binding.test_relayed"),
    ("RFC 7030 3.5", "MAY", "a CSR without it is refused", "est_conformance Required.test_required"),
    ("RFC 7030 3.5", "SHOULD", "the refusal tells so in words", "est_walk Whole.test_informative"),
    ("RFC 7030 3.5", "MUST", "renegotiation is the secure one", "est_sessions Sessions.test_renegotiation"),
    ("RFC 7030 3.5", "MUST", "in a Full PKI Response a failed proof is popFailed", "est_fullcmc Local.test_crmf"),
    ("RFC 7030 3.5", "RECOMMENDED", "the CA is told that the binding was checked", "est_conformance Required.test_required",
     "no kind of upstream has a field for it; the CSR is handed on as it was signed"),
    ("RFC 7030 3.6", "MUST", "explicit and implicit anchors are told apart",
     "est_trust Trust.test_explicit, est_trust Trust.test_implicit"),
    ("RFC 7030 3.6.1", "", "the server's certificate has id-kp-cmcRA", "est_sessions Sessions.test_ciphers"),
    ("RFC 7030 3.7", "SHOULD", "an RA is one by a certificate of the EST CA alone", "est_security Security.test_s5_cmcra"),
    ("RFC 7030 4.1.2", "MUST", "cacerts is there", "est_conformance Plain.test_authorization_ignored"),
    ("RFC 7030 4.1.2", "SHOULD NOT", "cacerts asks for authentication", "est_conformance Plain.test_authorization_ignored"),
    ("RFC 7030 4.1.3", "MUST", "200 and a certs-only Simple PKI Response", "est_walk Whole.test_certs_only"),
    ("RFC 7030 4.1.3", "MUST", "the root, and all between it and what is issued",
     "est_cacerts Labels.test_each, est_cacerts Labels.test_issued"),
    ("RFC 7030 4.1.3", "SHOULD", "OldWithOld, OldWithNew and NewWithOld", "est_cacerts Local.test_rollover"),
    ("RFC 7030 4.2", "MUST", "simpleenroll and simplereenroll are there, and authenticate", "est Est.test_no_credential"),
    ("RFC 7030 4.2", "MAY", "an operator decides", "est_walk Labelled.test_approval", "approval is not in this version"),
    ("RFC 7030 4.2.1", "MUST", "the body is PKCS #10 of type application/pkcs10", "est_conformance Plain.test_leniency"),
    ("RFC 7030 4.2.1", "MAY", "a key that is not for signatures signs the CSR", "est_walk Whole.test_usage"),
    ("RFC 7030 4.2.2", "MUST", "subject and SANs are those of the certificate",
     "est_security Security.test_s1_names, est_security Security.test_s1_sets"),
    ("RFC 7030 4.2.2", "MAY", "ChangeSubjectName changes them", "est_renewal Names.test_change, est_renewal Refused.test_refused"),
    ("RFC 7030 4.2.2", "", "the same key renews, another rekeys", "est Est.test_reenroll"),
    ("RFC 7030 4.2.3", "MUST", "200, certs-only, the certificate alone",
     "est_conformance Plain.test_one_certificate, est_walk Whole.test_certs_only"),
    ("RFC 7030 4.2.3", "MUST", "a suitable 4xx or 5xx, with words for people", "est_conformance Plain.test_errors"),
    ("RFC 7030 4.2.3", "MUST", "202 has Retry-After", "est_security Behind.test_s19_theft"),
    ("RFC 7030 4.2.3", "MUST", "the server keeps all state of a retry, over connections and restarts",
     "est_security Behind.test_s19_identity, est_conformance Binding.test_repeat"),
    ("RFC 7030 4.3.1", "MUST", "what is no Full PKI Request is rejected", "est_fullcmc Local.test_messages"),
    ("RFC 7030 4.3.2", "MUST", "200 and a PKIResponse", "est_fullcmc Local.test_enroll"),
    ("RFC 7030 4.3.2", "", "what waits is 202 and Retry-After, as for simpleenroll", "est_fullcmc Remote.test_pending"),
    ("RFC 7030 4.3.2", "MUST", "an error is 4xx or 5xx and has a CMC body", "est_fullcmc Local.test_authorized"),
    ("RFC 7030 4.3.2", "", "where it is not served it is 501", "est_fullcmc Off.test_off"),
    ("RFC 7030 4.4", "MUST", "serverkeygen authenticates", "est_keygen Allow.test_methods"),
    ("RFC 7030 4.4", "MUST NOT", "suites without encryption", "est_sessions Sessions.test_ciphers"),
    ("RFC 7030 4.4", "", "keys are archived as policy has it: never", "est_keygen Allow.test_not_at_rest"),
    ("RFC 7030 4.4", "MAY", "it is off", "est_keygen Off.test_off"),
    ("RFC 7030 4.4.1", "MUST", "the CSR's key and signature are ignored", "est_keygen Allow.test_signature_ignored"),
    ("RFC 7030 4.4.1.1", "MUST", "DecryptKeyIdentifier: a secret key that is not known ends the request",
     "est_keygen Allow.test_shared, est_keygen Allow.test_s20_unknown"),
    ("RFC 7030 4.4.1.2", "MUST", "AsymmetricDecryptKeyIdentifier: so does a public one",
     "est_keygen Allow.test_certified, est_keygen Allow.test_s20_unknown"),
    ("RFC 7030 4.4.2", "MUST", "200 and multipart/mixed of two parts, a key in the clear as application/pkcs8",
     "est_keygen Allow.test_plain"),
    ("RFC 7030 4.4.2", "MUST", "EnvelopedData by agreement for a key that cannot transport", "est_keygen Allow.test_agreed"),
    ("RFC 7030 4.4.2", "MUST", "an error is 4xx or 5xx", "est_keygen Allow.test_s20_unknown"),
    ("RFC 7030 4.5.1", "SHOULD NOT", "csrattrs asks for authentication", "est_conformance Plain.test_authorization_ignored"),
    ("RFC 7030 4.5.2", "MUST", "200 and application/csrattrs", "est_conformance Binding.test_csrattrs"),
    ("RFC 9266 2", "", "tls-exporter binds on TLS 1.3", "est_conformance Binding.test_exporter"),
    ("RFC 7894 3.3", "", "estIdentityLinking holds the binding as well", "est_conformance Binding.test_linking"),
    ("RFC 6402 2.8", "", "ChangeSubjectName has the new names, all of them", "est_renewal Names.test_change"),
    ("RFC 9325 3.5", "MUST", "no renegotiation that a client begins", "est_sessions Sessions.test_renegotiation"),
    ("RFC 8446 8", "MUST NOT", "early data is taken: an enrollment can be replayed", "est_sessions Sessions.test_early_data"),
    ("RFC 5077 5.5", "", "tickets end with the configuration", "est_trust Reload.test_reload"),
    ("RFC 9110 15.5.6", "MUST", "405 has Allow: the methods of that operation, of each; HEAD is none of them",
     "est_conformance Plain.test_methods, http Methods.test_allow"),
    ("RFC 8951 3", "MUST", "Content-Transfer-Encoding is ignored", "est_conformance Plain.test_transfer_encoding"),
    ("RFC 8951 3", "MUST", "bodies are base64 of DER", "est_conformance Strict.test_strict, est_fullcmc Strict.test_strict, est_walk Whole.test_white_space",
     "DER and PEM are read as well, and counted, unless lenient: none"),
    ("RFC 8951 3.1", "SHOULD", "CR, LF, SP and TAB are tolerated", "est_walk Whole.test_white_space"),
    ("RFC 8951 3.2", "", "replies are base64, whatever their header says", "est_conformance Plain.test_replies",
     "Content-Transfer-Encoding is still sent: BouncyCastle and GlobalSign want it"),
    ("RFC 8951 4", "MUST", "200 if there are attributes; 204 or 404 if not",
     "est_conformance Binding.test_csrattrs, est_conformance Silent.test_no_attributes"),
    ("RFC 8951 4", "MUST", "a kind of key that is required is told", "est_csrattrs Attributes.test_as_told"),
    ("RFC 8951 4", "MUST", "challengePassword is listed where linking is required", "est_csrattrs Attributes.test_as_told",
     "estIdentityLinking (RFC 7894) in its place where challengePassword is a secret"),
    ("RFC 8951 4", "MAY", "a CSR without what was asked for is rejected", "est_csrattrs Attributes.test_deviations"),
    ("RFC 8951 5", "MAY", "errors are text/plain", "est_conformance Plain.test_errors"),
    ("RFC 9908 3.2", "MUST", "one extensionRequest with one Extensions, no extension twice, one kind of key",
     "est_csrattrs Attributes.test_as_told, unit test_est_csrattrs test_published"),
    ("RFC 9908 3.4", "MUST", "the template has version 0, subject and key where something is asked of them, a size of RSA as a dummy key",
     "est_csrattrs Attributes.test_as_told"),
    ("RFC 9908 3.4", "MUST", "an attribute of the subject is there if it is wanted, a value if it is the only one",
     "est_csrattrs Attributes.test_deviations"),
    ("RFC 9908 4", "MAY", "the plain form beside the template", "est_csrattrs Attributes.test_forms_agree"),
]

QUIRKS = [
    (1, "BouncyCastle: Content-Length, Content-Transfer-Encoding, nothing in a 404",
     "est_conformance Plain.test_replies, est_conformance Silent.test_no_attributes"),
    (2, "strongSwan reads twice", "est_conformance Plain.test_one_record, est_conformance Plain.test_replies"),
    (3, "strongSwan polls on new connections", "est_conformance Plain.test_polls"),
    (4, "libest compares headers by the letter", "est_conformance Plain.test_replies"),
    (5, "libest wants lines, strongSwan none", "est_conformance Plain.test_one_line, est_conformance Plain.test_replies"),
    (6, "old BouncyCastle: cacerts has a bare type", "est_conformance Plain.test_replies"),
    (7, "Azure and scripts send PEM", "est_conformance Plain.test_leniency"),
    (8, "aziot sends Basic to cacerts, and renews by simpleenroll",
     "est_conformance Plain.test_authorization_ignored, est_conformance Plain.test_polls"),
    (9, "scripts strip newlines, send DER, no type", "est_conformance Plain.test_leniency"),
    (10, "parameters in the media type", "est_conformance Plain.test_leniency"),
    (11, "GlobalSign wants Content-Transfer-Encoding in each part", "est_keygen Allow.test_plain"),
    (12, "PrivateKeyInfo, and a length that is right", "est_keygen Allow.test_plain"),
    (13, "Aruba: three labels, cacerts each time, a secret in challengePassword (EC keys alone below an EC CA: the profile's keys)",
     "est_walk Whole.test_aliases, est_conformance Secret.test_secret"),
    (14, "a CSR's hash is not the CA's", "est_walk Whole.test_hashes"),
    (15, "Digest alone", "est_auth Digest.test_curl"),
    (16, "the chain with the certificate", "est_conformance Plain.test_chain_sent"),
    (17, "strongSwan takes the first certificate", "est_conformance Plain.test_one_certificate"),
    (18, "the server's whole chain", "est_conformance Plain.test_tls"),
    (19, "a proxy that ends TLS between", "est_walk Whole.test_informative, est_conformance Binding.test_relayed"),
    (20, "anonymous cacerts, 200 for an enrollment", "est_conformance Plain.test_authorization_ignored, est_conformance Plain.test_replies"),
    (21, "headers of a proxy that is none", "est_security Security.test_s21_headers"),
    (22, "a certificate is asked for in the first handshake", "est_conformance Plain.test_tls"),
    (23, "no other form of reply", "est_walk Whole.test_certs_only"),
]

CLASSES = [
    (1, "re-enrollment for others", "est_security Security.test_s1_names, est_trust Trust.test_explicit"),
    (2, "anchors of another label, a look-alike CA",
     "est_trust Trust.test_label, est_trust Trust.test_look_alike, est_security Security.test_s2_lookalike"),
    (3, "revoked certificates", "est_security Security.test_s3_revoked, est_trust Trust.test_inventory_revoked, est_trust Trust.test_crl, "
     "est_trust Trust.test_crl_bad, est_trust Trust.test_ocsp, est_trust Trust.test_ocsp_down"),
    (4, "expired, or not valid yet", "est_trust Trust.test_validity, est_renewal Grace.test_grace"),
    (5, "cmcRA by anybody", "est_security Security.test_s5_cmcra, est_trust Trust.test_registrar"),
    (6, "a binding compared in part", "est_conformance Binding.test_prefix, est_conformance Binding.test_values"),
    (7, "a malformed Authorization header", "est_security Security.test_s7_authorization"),
    (8, "Digest replayed", "est_auth Digest.test_s8_replay, est_auth Digest.test_s8_foreign"),
    (9, "guessing", "est_security Security.test_s9_guessing, est_auth Digest.test_guessing"),
    (10, "secrets in logs and replies", "est_security Security.test_s10_secrets"),
    (11, "the CSR's signature", "est_security Security.test_s11_signature"),
    (12, "dangerous extensions", "est_security Security.test_s12_extensions, est_fullcmc Local.test_policy"),
    (13, "weak keys",
     "est_security Security.test_s13_keys, est_security Security.test_s13_parsed, est_security Reuse.test_s13_debian"),
    (14, "keys of others", "est_security Reuse.test_s14_reuse"),
    (15, "bombs, lengths, slow bodies",
     "est_security Security.test_s15_white, est_security Security.test_s15_bodies, est_security Slow.test_s15_trickle"),
    (16, "bodies that end early", "est_security Security.test_s15_bodies"),
    (17, "another's certificate from the CA", "est_security Behind.test_s17_wrong"),
    (18, "resumed sessions, reloads",
     "est_security Security.test_s3_revoked, est_trust Trust.test_inventory_revoked, est_trust Reload.test_reload"),
    (19, "what waits, for others or in thousands", "est_security Behind.test_s19_theft, est_security Behind.test_s19_identity, "
     "est_security Behind.test_s19_crowd, est_security Security.test_s19_same_csr, est_keygen Waiting.test_pending_theft, "
     "est_fullcmc Remote.test_pending, unit test_ra_pending test_many"),
    (20, "serverkeygen", "est_security Security.test_s20_keygen, est_keygen Off.test_off, est_keygen Allow.test_s20_unknown, "
     "est_keygen Encrypted.test_must"),
    (21, "identity by headers", "est_security Security.test_s21_headers"),
    (22, "labels and paths", "est_security Security.test_s22_labels"),
    (23, "reloads and replacements that lose what was", "est_security Behind.test_s23_replace, est_security Behind.test_s23_reload"),
    (24, "identity by the serial alone", "est_trust Trust.test_serial_alone, est_security Security.test_s2_lookalike"),
]

WAITING = [
    ("simpleenroll waits for its credential and key, over connections and a restart", "est_security Behind.test_s19_theft"),
    ("simplereenroll for its certificate and key, over connections and kill -9", "est_security Behind.test_s19_identity"),
    ("serverkeygen for its credential; a restart loses the key, and what comes is revoked",
     "est_keygen Waiting.test_pending, est_keygen Waiting.test_pending_theft, est_keygen Waiting.test_pending_lost"),
    ("fullcmc for its signer, by the token, over connections and kill -9", "est_fullcmc Remote.test_pending"),
]

DIGEST = [
    ("a nonce ends after a while", "unit test_est_nonce test_ends"), ("a nonce ends with its configuration", "est_auth Digest.test_reload"),
    ("a count is used once, within a window", "est_auth Digest.test_window, unit test_est_nonce test_counts"),
    ("a replay is stale=true", "est_auth Digest.test_s8_replay"), ("a foreign nonce is stale=true", "est_auth Digest.test_s8_foreign"),
    ("another realm, URI, method or qop is no proof", "est_auth Digest.test_bound"),
    ("MD5 only where the operator wants it", "est_auth DigestPlain.test_md5_not_offered, est_auth Digest.test_md5"),
    ("userhash is not asked for", "est_auth Digest.test_names"),
]


def docstrings(path):
    """{Class.test: docstring} of a program, without running it."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    return {f"{cls.name}.{test.name}": ast.get_docstring(test) or "" for cls in tree.body if isinstance(cls, ast.ClassDef)
            for test in cls.body if isinstance(test, ast.FunctionDef)}


def flow_named(place):
    """The first line of a flow's test, which ctest runs."""
    flow, test = place.split(" ")
    with open(os.path.join(TESTS, "CMakeLists.txt"), encoding="utf-8") as file:
        assert f"scepter_flow({flow})\n" in file.read(), f"{flow} is not run"
    return docstrings(os.path.join(HERE, f"flow_{flow}.py"))[test]


def unit_named(place):
    """The comment above a CMocka test that its program runs."""
    _, program, test = place.split(" ")
    with open(os.path.join(TESTS, "unit", program + ".c"), encoding="utf-8") as file:
        source = file.read()
    assert f"cmocka_unit_test({test})" in source or re.search(rf"cmocka_unit_test_\w+\({test},", source), f"{test} is not run"
    return re.search(rf"(/\*(?:(?!\*/).)*\*/)\nstatic void {test}\(", source, re.S)[1]


def is_about(said, key):
    """Whether the words before a test's colon name the key: "S9", "quirk 11", "RFC 7030 4.1.3"."""
    words = re.sub(r"\s+", " ", said)
    if key.startswith("quirk"):
        return key.split(" ")[1] in [n for found in re.findall(r"[Qq]uirks?((?: |,|and|\d+)+)", words) for n in re.findall(r"\d+", found)]
    if key.startswith("RFC"):
        number, section = key.split(" ")[1:]
        return re.search(rf"\b{number} (?:(?!RFC)[\d., ])*(?<![\d.]){re.escape(section)}(?![\d.]*\d)", words) is not None
    return re.search(rf"\b{key}\b", words) is not None


class Tables(unittest.TestCase):
    def check(self, places, key):
        for place in places.split(", "):
            said = unit_named(place) if place.startswith("unit ") else flow_named(place)
            if key and not place.startswith("unit "):
                self.assertTrue(is_about(said, key), f"{place} does not say that it is about {key}: {said}")


def add_row(key, sentence, places, why=None):
    """A test of its own; why the gateway differs, if it does."""
    def row(self):
        self.check(places, key)
    row.word = "differs" if why else "pass"
    row.__doc__ = f"{sentence}: {why + ': ' if why else ''}{places}"
    setattr(Tables, f"test_{len(vars(Tables)):03}", row)


def add_all():
    for section, strength, sentence, places, *why in SENTENCES:
        add_row(section, f"{section} {strength + ' ' if strength else ''}{sentence}", places, *why)
    for table, word in ((QUIRKS, "quirk "), (CLASSES, "S")):
        assert [row[0] for row in table] == list(range(1, len(table) + 1)), "a number is missing"
        for at, sentence, places in table:
            add_row(f"{word}{at}", f"{word}{at} {sentence}", places)
    for table, word in ((WAITING, "202"), (DIGEST, "Digest")):
        for sentence, places in table:
            add_row(None, f"{word}: {sentence}", places)


add_all()

if __name__ == "__main__":
    rows.main()
