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
    struct trust_terms terms = {&extra, extra != NULL, at, ignore};
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_chain),  cmocka_unit_test(test_look_alike),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
