#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(1800000000)
#define YEAR INT64_C(31536000)

/* A root, an issuing CA below it, and a leaf. */
struct fixture {
    EVP_PKEY *root_key, *ca_key, *leaf_key;
    X509 *root, *ca;
    struct cert *root_cert, *ca_cert;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    struct make_spec root = {.subject = "CN=root",
                             .ca = true,
                             .key_usage = "keyCertSign",
                             .not_before = NOW - YEAR,
                             .not_after = NOW + 10 * YEAR};
    struct make_spec ca = root;
    struct err err;
    f->root_key = make_ec("P-256");
    f->ca_key = make_rsa(2048);
    f->leaf_key = make_ec("P-256");
    f->root = make_x509(&root, f->root_key, NULL, NULL);
    ca.subject = "CN=issuing";
    f->ca = make_x509(&ca, f->ca_key, f->root, f->root_key);
    assert_true(cert_from_x509(f->root, &f->root_cert, &err) &&
                cert_from_x509(f->ca, &f->ca_cert, &err));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    cert_free(f->root_cert);
    cert_free(f->ca_cert);
    X509_free(f->root);
    X509_free(f->ca);
    EVP_PKEY_free(f->root_key);
    EVP_PKEY_free(f->ca_key);
    EVP_PKEY_free(f->leaf_key);
    free(f);
    return 0;
}

static struct cert *leaf(const struct fixture *f, int64_t from, int64_t to)
{
    struct make_spec spec = {
        .subject = "CN=leaf,O=x", .sans = "DNS:leaf.example", .not_before = from, .not_after = to};
    return make_cert(&spec, f->leaf_key, f->ca, f->ca_key);
}

/* Names, key, issuer, serial, times and fingerprint are those of the certificate. */
static void test_fields(void **state)
{
    struct fixture *f = *state;
    struct cert *cert = leaf(f, NOW, NOW + YEAR);
    assert_string_equal(cert_names_get(cert)->subject_text, "CN=leaf,O=x");
    assert_int_equal(cert_names_get(cert)->san_count, 1);
    assert_int_equal(EVP_PKEY_eq(cert_spki_get(cert)->key, f->leaf_key), 1);
    assert_int_equal(cert_not_before_get(cert), NOW);
    assert_int_equal(cert_not_after_get(cert), NOW + YEAR);
    assert_int_equal(strlen(cert_serial_get(cert)), 32);
    assert_false(cert_is_ca(cert));
    assert_false(cert_is_self_signed(cert));
    assert_true(cert_is_ca(f->root_cert));
    assert_true(cert_is_self_signed(f->root_cert));
    assert_true(
        bytes_equal(cert_issuer_get(cert), buf_bytes(&cert_names_get(f->ca_cert)->subject)));
    uint8_t digest[32];
    unsigned len;
    struct bytes der = cert_der_get(cert);
    EVP_Digest(der.ptr, der.len, digest, &len, EVP_sha256(), NULL);
    assert_memory_equal(cert_fingerprint_get(cert), digest, 32);
    cert_free(cert);
}

/* Every truncation is refused, and so is anything behind the certificate, nothing, and too much. */
static void test_refused(void **state)
{
    struct fixture *f = *state;
    struct bytes der = cert_der_get(f->ca_cert);
    struct buf more = {0};
    struct cert *cert;
    struct err err;
    for (size_t n = 0; n < der.len; n++)
        assert_false(cert_parse(bytes_of(der.ptr, n), &cert, &err));
    assert_true(buf_set(&more, der) && buf_add_u8(&more, 0));
    assert_false(cert_parse(buf_bytes(&more), &cert, &err));
    uint8_t *big = calloc(1, CERT_MAX + 1);
    memcpy(big, der.ptr, der.len);
    assert_false(cert_parse(bytes_of(big, CERT_MAX + 1), &cert, &err));
    assert_non_null(strstr(err.text, "65537"));
    free(big);
    buf_free(&more);
}

static bool trusted(struct cert *anchor, const struct cert *cert, struct cert *extra, int64_t at,
                    bool ignore)
{
    struct trust *trust = trust_new(&anchor, 1);
    struct trust_terms terms = {&extra, extra != NULL, at, ignore, false};
    struct err err;
    bool ok = trust_check(trust, cert, &terms, &err);
    trust_free(trust);
    return ok;
}

/* A chain ends in an anchor, also in an intermediate one, and passes only through what is given. */
static void test_chain(void **state)
{
    struct fixture *f = *state;
    struct cert *cert = leaf(f, NOW - 10, NOW + YEAR);
    assert_true(trusted(f->root_cert, cert, f->ca_cert, NOW, false));
    assert_false(trusted(f->root_cert, cert, NULL, NOW, false));
    assert_true(trusted(f->ca_cert, cert, NULL, NOW, false));
    cert_free(cert);
}

/* An issuer of the same name with another key is another issuer. */
static void test_look_alike(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY *key = make_rsa(2048);
    struct make_spec spec = {
        .subject = "CN=issuing", .ca = true, .not_before = NOW - YEAR, .not_after = NOW + YEAR};
    struct cert *other = make_cert(&spec, key, NULL, NULL);
    struct cert *cert = leaf(f, NOW - 10, NOW + YEAR);
    assert_false(trusted(other, cert, NULL, NOW, false));
    assert_false(trusted(f->root_cert, cert, other, NOW, false));
    cert_free(other);
    cert_free(cert);
    EVP_PKEY_free(key);
}

/* Only the leaf's own expiry can be overlooked, and only when asked. */
static void test_times(void **state)
{
    struct fixture *f = *state;
    struct cert *expired = leaf(f, NOW - 100, NOW - 10), *early = leaf(f, NOW + 10, NOW + YEAR);
    assert_false(trusted(f->root_cert, expired, f->ca_cert, NOW, false));
    assert_true(trusted(f->root_cert, expired, f->ca_cert, NOW, true));
    assert_false(trusted(f->root_cert, early, f->ca_cert, NOW, false));
    assert_false(trusted(f->root_cert, early, f->ca_cert, NOW, true));
    assert_false(trusted(f->root_cert, expired, f->ca_cert, NOW + 11 * YEAR, true));
    cert_free(expired);
    cert_free(early);
}

/* An expired issuer ends a chain, as an intermediate and as the anchor, whatever is overlooked. */
static void test_expired_issuer(void **state)
{
    struct fixture *f = *state;
    struct make_spec spec = {.subject = "CN=issuing",
                             .ca = true,
                             .key_usage = "keyCertSign",
                             .not_before = NOW - YEAR,
                             .not_after = NOW - 10};
    struct cert *expired = make_cert(&spec, f->ca_key, f->root, f->root_key);
    spec.not_before = NOW + 10;
    spec.not_after = NOW + YEAR;
    struct cert *early = make_cert(&spec, f->ca_key, f->root, f->root_key);
    struct cert *cert = leaf(f, NOW - 10, NOW + YEAR);
    for (int ignore = 0; ignore < 2; ignore++) {
        assert_false(trusted(f->root_cert, cert, expired, NOW, ignore));
        assert_false(trusted(expired, cert, NULL, NOW, ignore));
        assert_false(trusted(f->root_cert, cert, early, NOW, ignore));
        assert_false(trusted(early, cert, NULL, NOW, ignore));
        assert_true(trusted(f->root_cert, cert, f->ca_cert, NOW, ignore));
    }
    cert_free(expired);
    cert_free(early);
    cert_free(cert);
}

/* A leaf issues nothing, and what is given on the way is never an anchor. */
static void test_no_issuer(void **state)
{
    struct fixture *f = *state;
    struct make_spec middle = {
        .subject = "CN=middle", .not_before = NOW - 10, .not_after = NOW + YEAR};
    struct make_spec below = middle;
    below.subject = "CN=below";
    X509 *x509 = make_x509(&middle, f->leaf_key, f->root, f->root_key);
    struct cert *below_cert = make_cert(&below, f->ca_key, x509, f->leaf_key), *middle_cert;
    struct err err;
    assert_true(cert_from_x509(x509, &middle_cert, &err));
    assert_true(trusted(f->root_cert, middle_cert, NULL, NOW, false));
    assert_false(trusted(f->root_cert, below_cert, middle_cert, NOW, false));
    struct cert *own = make_cert(&below, f->leaf_key, NULL, NULL);
    assert_false(trusted(f->root_cert, own, own, NOW, true));
    cert_free(own);
    cert_free(below_cert);
    cert_free(middle_cert);
    X509_free(x509);
}

/* Nobody is trusted without an anchor; the reason names the certificate. */
static void test_no_anchor(void **state)
{
    struct fixture *f = *state;
    struct trust *trust = trust_new(NULL, 0), *second = trust_ref(trust);
    struct trust_terms terms = {&f->ca_cert, 1, NOW, true, false};
    struct cert *cert = leaf(f, NOW - 10, NOW + YEAR);
    struct err err = {0};
    assert_ptr_equal(trust, second);
    trust_free(second);
    assert_false(trust_check(trust, cert, &terms, &err));
    assert_int_equal(err.kind, ERR_PEER);
    assert_non_null(strstr(err.text, cert_serial_get(cert)));
    assert_non_null(strstr(err.text, "CN=leaf,O=x"));
    trust_free(trust);
    trust_free(NULL);
    cert_free(cert);
}

/* No certificate with a changed byte is trusted, expired ones overlooked or not. */
static void test_changes(void **state)
{
    struct fixture *f = *state;
    struct cert *cert = leaf(f, NOW - 10, NOW + YEAR), *changed;
    struct buf der = {0};
    struct err err;
    size_t parsed = 0;
    assert_true(buf_set(&der, cert_der_get(cert)));
    for (size_t n = 0; n < der.len; n++) {
        der.ptr[n] ^= 1;
        if (cert_parse(buf_bytes(&der), &changed, &err)) {
            parsed++;
            if (trusted(f->ca_cert, changed, NULL, NOW, true))
                fail_msg("trusted with byte %zu changed", n);
            cert_free(changed);
        }
        der.ptr[n] ^= 1;
    }
    assert_true(parsed > 100);
    buf_free(&der);
    cert_free(cert);
}

static bool serial_parses(const char *hex, const char *text)
{
    EVP_PKEY *key = make_ed25519();
    X509 *x509 = make_x509(&(struct make_spec){.subject = "CN=s"}, key, NULL, NULL);
    BIGNUM *number = NULL;
    struct cert *cert;
    struct err err;
    assert_true(BN_hex2bn(&number, hex) && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)));
    assert_true(X509_sign(x509, key, NULL) > 0);
    bool ok = cert_from_x509(x509, &cert, &err);
    if (ok) {
        assert_string_equal(cert_serial_get(cert), text);
        cert_free(cert);
    }
    BN_free(number);
    X509_free(x509);
    EVP_PKEY_free(key);
    return ok;
}

/* A serial is lower-case hex of even length; up to 32 octets of it are handled. */
static void test_serials(void **state)
{
    (void)state;
    assert_true(serial_parses("0", "00"));
    assert_true(serial_parses("A1F", "0a1f"));
    assert_true(serial_parses("80", "80"));
    assert_true(serial_parses("-5", "-05"));
    static const char longest[] = "ffffffffffffffffffffffffffffffff"
                                  "ffffffffffffffffffffffffffffffff";
    assert_true(serial_parses(longest, longest));
    assert_false(serial_parses("1ffffffffffffffffffffffffffffffff"
                               "ffffffffffffffffffffffffffffffff",
                               ""));
}

/* A subjectAltName that is no list of names, and names that are refused, refuse the certificate. */
static void test_bad_san(void **state)
{
    static const char *const rows[] = {"DER:0500", "DER:308203", "DER:30040302ff00",
                                       "DER:30048202ff61", "DER:3007870501020304ff"};
    struct fixture *f = *state;
    struct cert *cert;
    struct err err;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *const more[] = {"2.5.29.17", rows[i], NULL};
        X509 *x509 = make_x509(&(struct make_spec){.subject = "CN=s", .extensions = more},
                               f->leaf_key, NULL, NULL);
        if (cert_from_x509(x509, &cert, &err))
            fail_msg("%s", rows[i]);
        assert_int_equal(err.kind, ERR_PEER);
        X509_free(x509);
    }
}

/* CA:TRUE makes a CA, whatever the keyUsage says; without basicConstraints there is none. */
static void test_is_ca(void **state)
{
    struct fixture *f = *state;
    static const struct {
        bool ca;
        const char *key_usage;
        bool expected;
    } cases[] = {{true, NULL, true},
                 {true, "keyCertSign", true},
                 {true, "digitalSignature", true},
                 {false, "keyCertSign", false},
                 {false, NULL, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct make_spec spec = {
            .subject = "CN=x", .ca = cases[i].ca, .key_usage = cases[i].key_usage};
        struct cert *cert = make_cert(&spec, f->leaf_key, f->ca, f->ca_key);
        if (cert_is_ca(cert) != cases[i].expected)
            fail_msg("case %zu", i);
        cert_free(cert);
    }
}

/* A certificate lives until its last count is dropped, and has its key decoded once. */
static void test_counts(void **state)
{
    struct fixture *f = *state;
    struct cert *cert = leaf(f, NOW, NOW + YEAR);
    assert_ptr_equal(cert_ref(cert), cert);
    cert_free(cert);
    X509 *keyed = cert_keyed_get(cert);
    assert_non_null(keyed);
    assert_ptr_equal(cert_keyed_get(cert), keyed);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(keyed), f->leaf_key), 1);
    cert_free(cert);
    cert_free(NULL);
}

/* A key of a kind that we do not know does not make a certificate unreadable. */
static void test_unknown_key(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    struct make_spec spec = {.subject = "CN=x", .not_before = NOW - 10, .not_after = NOW + YEAR};
    struct cert *cert = make_cert(&spec, key, f->ca, f->ca_key);
    assert_int_equal(cert_spki_get(cert)->kind, SPKI_OTHER);
    assert_false(cert_is_self_signed(cert));
    assert_true(trusted(f->ca_cert, cert, NULL, NOW, false));
    cert_free(cert);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_chain),       cmocka_unit_test(test_look_alike),
        cmocka_unit_test(test_times),       cmocka_unit_test(test_expired_issuer),
        cmocka_unit_test(test_no_issuer),   cmocka_unit_test(test_no_anchor),
        cmocka_unit_test(test_changes),     cmocka_unit_test(test_serials),
        cmocka_unit_test(test_bad_san),     cmocka_unit_test(test_counts),
        cmocka_unit_test(test_unknown_key), cmocka_unit_test(test_is_ca),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
