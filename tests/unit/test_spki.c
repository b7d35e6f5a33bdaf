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

/* SubjectPublicKeyInfo of these parts; params is a whole element, or empty. */
static struct buf spki_of(int algorithm, struct bytes params, struct bytes key)
{
    struct buf out = {0}, bits = {0};
    assert_true(der_add_oid(&out, algorithm) && buf_add(&out, params) &&
                der_wrap(&out, 0, DER_SEQUENCE));
    assert_true(buf_add_u8(&bits, 0) && buf_add(&bits, key));
    assert_true(der_add(&out, DER_BIT_STRING, buf_bytes(&bits)) && der_wrap(&out, 0, DER_SEQUENCE));
    buf_free(&bits);
    return out;
}

static bool parts_parse(int algorithm, struct bytes params, struct bytes key)
{
    struct buf der = spki_of(algorithm, params, key);
    struct spki spki = {0};
    struct err err = {0};
    bool ok = spki_parse(buf_bytes(&der), &spki, &err);
    if (!ok) {
        assert_int_equal(err.kind, ERR_PEER);
        assert_null(spki.key);
    }
    spki_clear(&spki);
    buf_free(&der);
    return ok;
}

/* The public key's bits alone: what stands in the BIT STRING. */
static struct buf key_bits(EVP_PKEY *key)
{
    struct buf der = der_of(key), out = {0};
    struct bytes cur = buf_bytes(&der);
    struct der outer, algorithm, bits;
    assert_true(der_take(&cur, &outer) && der_take(&outer.content, &algorithm) &&
                der_take(&outer.content, &bits));
    assert_true(buf_set(&out, bytes_of(bits.content.ptr + 1, bits.content.len - 1)));
    buf_free(&der);
    return out;
}

/* A compressed point is the same key, with the same digest, and stays as it came; a hybrid one,
 * infinity, a cut one and none are refused. */
static void test_point_forms(void **state)
{
    static const uint8_t p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
    struct bytes curve = bytes_of(p256, sizeof p256);
    EVP_PKEY *key = make_ec("P-256");
    int type = NID_X9_62_id_ecPublicKey;
    (void)state;
    struct buf point = key_bits(key);
    assert_int_equal(point.ptr[0], 4);
    assert_true(parts_parse(type, curve, buf_bytes(&point)));
    assert_false(parts_parse(type, curve, bytes_of(point.ptr, point.len - 1)));
    assert_false(parts_parse(type, curve, bytes_of("\0", 1)));
    assert_false(parts_parse(type, curve, bytes_of(NULL, 0)));
    uint8_t odd = point.ptr[point.len - 1] & 1;
    point.ptr[0] = (uint8_t)(6 + odd);
    assert_false(parts_parse(type, curve, buf_bytes(&point)));
    point.ptr[0] = (uint8_t)(2 + odd);
    struct buf der = spki_of(type, curve, bytes_of(point.ptr, 33));
    struct spki spki;
    struct err err;
    assert_true(spki_parse(buf_bytes(&der), &spki, &err));
    assert_int_equal(EVP_PKEY_eq(spki.key, key), 1);
    assert_true(bytes_equal(buf_bytes(&spki.der), buf_bytes(&der)));
    struct buf usual_der = der_of(key);
    struct spki usual;
    uint8_t digest[SPKI_DIGEST_LEN];
    assert_true(spki_parse(buf_bytes(&usual_der), &usual, &err));
    assert_true(spki_equal(&spki, &usual));
    assert_true(EVP_Digest(usual_der.ptr, usual_der.len, digest, NULL, EVP_sha256(), NULL));
    assert_memory_equal(usual.digest, digest, sizeof digest);
    spki_clear(&usual);
    buf_free(&usual_der);
    spki_clear(&spki);
    buf_free(&der);
    buf_free(&point);
    EVP_PKEY_free(key);
}

/* Another key is another digest: of its kind, of another kind, and its own negative, which differs
 * from it only in how a compressed point begins. */
static void test_other_keys(void **state)
{
    static const uint8_t p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
    struct bytes curve = bytes_of(p256, sizeof p256);
    EVP_PKEY *keys[] = {make_ec("P-256"), make_ec("P-256"), make_ec("P-521"), make_rsa(2048),
                        make_ed25519()};
    struct spki spkis[7];
    struct err err;
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        struct buf der = der_of(keys[i]);
        assert_true(spki_parse(buf_bytes(&der), &spkis[i], &err));
        buf_free(&der);
    }
    struct buf point = key_bits(keys[0]);
    uint8_t first = (uint8_t)(2 + (point.ptr[point.len - 1] & 1));
    for (size_t i = 5; i < 7; i++) {
        point.ptr[0] = i == 5 ? first : first ^ 1;
        struct buf der = spki_of(NID_X9_62_id_ecPublicKey, curve, bytes_of(point.ptr, 33));
        assert_true(spki_parse(buf_bytes(&der), &spkis[i], &err));
        buf_free(&der);
    }
    for (size_t i = 0; i < 7; i++)
        for (size_t j = 0; j < 7; j++)
            assert_int_equal(spki_equal(&spkis[i], &spkis[j]),
                             i == j || (i + j == 5 && i * j == 0));
    for (size_t i = 0; i < 7; i++)
        spki_clear(&spkis[i]);
    for (size_t i = 0; i < 5; i++)
        EVP_PKEY_free(keys[i]);
    buf_free(&point);
}

/* A curve is given by its name and nothing else, and must be one that there is. */
static void test_curve_params(void **state)
{
    static const uint8_t null[] = {5, 0}, explicit[] = {0x30, 3, 2, 1, 1};
    static const uint8_t no_curve[] = {6, 3, 0x55, 4, 3}, unknown[] = {6, 3, 0x2a, 3, 4};
    EVP_PKEY *key = make_ec("P-256");
    struct buf point = key_bits(key);
    struct bytes bits = buf_bytes(&point);
    int type = NID_X9_62_id_ecPublicKey;
    (void)state;
    assert_false(parts_parse(type, bytes_of(NULL, 0), bits));
    assert_false(parts_parse(type, bytes_of(null, sizeof null), bits));
    assert_false(parts_parse(type, bytes_of(explicit, sizeof explicit), bits));
    assert_false(parts_parse(type, bytes_of(no_curve, sizeof no_curve), bits));
    assert_false(parts_parse(type, bytes_of(unknown, sizeof unknown), bits));
    buf_free(&point);
    EVP_PKEY_free(key);
}

/* Ed25519 has no parameters and exactly 32 octets. */
static void test_ed25519(void **state)
{
    static const uint8_t null[] = {5, 0};
    EVP_PKEY *key = make_ed25519();
    struct buf bits = key_bits(key);
    (void)state;
    assert_true(parts_parse(NID_ED25519, bytes_of(NULL, 0), buf_bytes(&bits)));
    assert_false(parts_parse(NID_ED25519, bytes_of(null, sizeof null), buf_bytes(&bits)));
    assert_false(parts_parse(NID_ED25519, bytes_of(NULL, 0), bytes_of(bits.ptr, 31)));
    assert_true(buf_add_u8(&bits, 0));
    assert_false(parts_parse(NID_ED25519, bytes_of(NULL, 0), buf_bytes(&bits)));
    buf_free(&bits);
    EVP_PKEY_free(key);
}

/* One RSA key has one digest, with NULL parameters or none; any others are refused, and so is what
 * stands behind the key. */
static void test_rsa_params(void **state)
{
    static const uint8_t null[] = {5, 0}, long_null[] = {5, 1, 0}, oid[] = {6, 1, 0x2a};
    EVP_PKEY *key = make_rsa(2048), *other = make_rsa(2048);
    struct buf bits = key_bits(key), other_bits = key_bits(other);
    struct bytes none = bytes_of(NULL, 0), usual = bytes_of(null, sizeof null);
    struct buf with = spki_of(NID_rsaEncryption, usual, buf_bytes(&bits));
    struct buf without = spki_of(NID_rsaEncryption, none, buf_bytes(&bits));
    struct buf third = spki_of(NID_rsaEncryption, usual, buf_bytes(&other_bits));
    struct spki a, b, c;
    struct err err;
    (void)state;
    assert_true(spki_parse(buf_bytes(&with), &a, &err) &&
                spki_parse(buf_bytes(&without), &b, &err) &&
                spki_parse(buf_bytes(&third), &c, &err));
    assert_true(spki_equal(&a, &b));
    assert_false(spki_equal(&a, &c));
    assert_false(
        parts_parse(NID_rsaEncryption, bytes_of(long_null, sizeof long_null), buf_bytes(&bits)));
    assert_false(parts_parse(NID_rsaEncryption, bytes_of(oid, sizeof oid), buf_bytes(&bits)));
    assert_true(buf_add_u8(&bits, 0));
    assert_false(parts_parse(NID_rsaEncryption, usual, buf_bytes(&bits)));
    spki_clear(&a);
    spki_clear(&b);
    spki_clear(&c);
    buf_free(&with);
    buf_free(&without);
    buf_free(&third);
    buf_free(&bits);
    buf_free(&other_bits);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

/* Every kind has its name, and a number that is none does not read beyond the table. */
static void test_kind_names(void **state)
{
    (void)state;
    assert_string_equal(spki_kind_name(SPKI_RSA), "rsa");
    assert_string_equal(spki_kind_name(SPKI_OTHER), "other");
    assert_string_equal(spki_kind_name(SPKI_KIND_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_off_curve),    cmocka_unit_test(test_rsa_bounds),
        cmocka_unit_test(test_point_forms),  cmocka_unit_test(test_other_keys),
        cmocka_unit_test(test_curve_params), cmocka_unit_test(test_ed25519),
        cmocka_unit_test(test_rsa_params),   cmocka_unit_test(test_kind_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
