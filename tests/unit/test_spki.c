#include "base/der.h"
#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct buf der_of(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    struct buf buf = {0};
    int len = i2d_PUBKEY(key, &der);
    assert_true(len > 0 && buf_set(&buf, bytes_of(der, (size_t)len)));
    OPENSSL_free(der);
    return buf;
}

static void check_kind(EVP_PKEY *key, enum spki_kind kind, int bits, const char *curve)
{
    struct buf der = der_of(key);
    struct spki spki;
    struct err err;
    if (!spki_parse(buf_bytes(&der), &spki, &err))
        fail_msg("%s", err.text);
    assert_int_equal(spki.kind, kind);
    assert_int_equal(spki.bits, bits);
    assert_true(curve ? strcmp(spki.curve, curve) == 0 : spki.curve == NULL);
    assert_int_equal(EVP_PKEY_eq(spki.key, key), 1);
    assert_true(bytes_equal(buf_bytes(&spki.der), buf_bytes(&der)));
    for (size_t n = 0; n < der.len; n++) {
        struct spki cut;
        assert_false(spki_parse(bytes_of(der.ptr, n), &cut, &err));
    }
    assert_true(buf_add_u8(&der, 0));
    struct spki more;
    assert_false(spki_parse(buf_bytes(&der), &more, &err));
    spki_clear(&spki);
    buf_free(&der);
    EVP_PKEY_free(key);
}

/* Each kind of key is made again from its bits; truncated or with more behind it, it is none. */
static void test_kinds(void **state)
{
    (void)state;
    check_kind(make_rsa(2048), SPKI_RSA, 2048, NULL);
    check_kind(make_ec("P-256"), SPKI_EC, 256, "P-256");
    check_kind(make_ec("P-384"), SPKI_EC, 384, "P-384");
    check_kind(make_ec("secp256k1"), SPKI_EC, 256, "secp256k1");
    check_kind(make_ed25519(), SPKI_ED25519, 256, NULL);
}

/* An algorithm that we do not know is no error, and no key. */
static void test_unknown(void **state)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    struct buf der = der_of(key);
    struct spki spki;
    struct err err;
    (void)state;
    assert_true(spki_parse(buf_bytes(&der), &spki, &err));
    assert_int_equal(spki.kind, SPKI_OTHER);
    assert_null(spki.key);
    spki_clear(&spki);
    buf_free(&der);
    EVP_PKEY_free(key);
}

/* A point that is not on its curve is refused. */
static void test_off_curve(void **state)
{
    EVP_PKEY *key = make_ec("P-256");
    struct buf der = der_of(key);
    struct spki spki;
    struct err err;
    (void)state;
    der.ptr[der.len - 1] ^= 1;
    assert_false(spki_parse(buf_bytes(&der), &spki, &err));
    assert_non_null(strstr(err.text, "P-256"));
    buf_free(&der);
    EVP_PKEY_free(key);
}

/* SubjectPublicKeyInfo of an RSA key with this modulus length and exponent. */
static bool rsa_parses(size_t modulus, const uint8_t *exponent, size_t exponent_len)
{
    struct buf der = {0};
    uint8_t *n = calloc(1, modulus + 1);
    memset(n + 1, 0xff, modulus);
    struct spki spki = {0};
    struct err err;
    assert_true(der_add(&der, DER_INTEGER, bytes_of(n, modulus + 1)) &&
                der_add(&der, DER_INTEGER, bytes_of(exponent, exponent_len)) &&
                der_wrap(&der, 0, DER_SEQUENCE));
    struct buf bits = {0}, out = {0};
    assert_true(buf_add_u8(&bits, 0) && buf_add(&bits, buf_bytes(&der)));
    assert_true(der_add_oid(&out, NID_rsaEncryption) &&
                der_add(&out, DER_NULL, bytes_of(NULL, 0)) && der_wrap(&out, 0, DER_SEQUENCE) &&
                der_add(&out, DER_BIT_STRING, buf_bytes(&bits)) && der_wrap(&out, 0, DER_SEQUENCE));
    bool ok = spki_parse(buf_bytes(&out), &spki, &err);
    spki_clear(&spki);
    buf_free(&der);
    buf_free(&bits);
    buf_free(&out);
    free(n);
    return ok;
}

/* Exponents that are even, one or huge, and moduli over 8192 bits, are refused. */
static void test_rsa_bounds(void **state)
{
    static const uint8_t usual[] = {1, 0, 1}, three[] = {3}, one[] = {1}, even[] = {1, 0, 0};
    static const uint8_t huge[] = {1, 0, 0, 0, 0, 0, 0, 0, 1};
    (void)state;
    assert_true(rsa_parses(256, usual, sizeof usual));
    assert_true(rsa_parses(256, three, sizeof three));
    assert_true(rsa_parses(1024, usual, sizeof usual));
    assert_false(rsa_parses(1025, usual, sizeof usual));
    assert_false(rsa_parses(256, one, sizeof one));
    assert_false(rsa_parses(256, even, sizeof even));
    assert_false(rsa_parses(256, huge, sizeof huge));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_off_curve),
        cmocka_unit_test(test_rsa_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
