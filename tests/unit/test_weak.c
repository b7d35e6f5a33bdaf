#include "base/weak.h"
#include "tests/support/pki_make.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define BITS 2048

/* Whether the key with this modulus and exponent is refused, and says this. */
static void assert_weak(const BIGNUM *n, unsigned long exponent, const char *want)
{
    struct spki spki = {0};
    struct err err;
    unsigned char *der = NULL;
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    assert_true(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
                OSSL_PARAM_BLD_push_ulong(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    assert_true(EVP_PKEY_fromdata_init(ctx) == 1 &&
                EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) == 1);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(ctx);
    int len = i2d_PUBKEY(key, &der);
    assert_true(len > 0 && spki_parse(bytes_of(der, (size_t)len), &spki, &err));
    bool ok = weak_check(&spki, &err);
    if (want) {
        assert_false(ok);
        assert_int_equal(err.kind, ERR_PEER);
        if (!strstr(err.text, want))
            fail_msg("\"%s\" does not say \"%s\"", err.text, want);
    } else {
        assert_true(ok);
    }
    spki_clear(&spki);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
}

static BIGNUM *random_prime(int bits)
{
    BIGNUM *p = BN_new();
    assert_int_equal(BN_generate_prime_ex(p, bits, 0, NULL, NULL, NULL), 1);
    return p;
}

/* The next prime above p + distance. */
static BIGNUM *prime_after(const BIGNUM *p, int distance_bits, BN_CTX *ctx)
{
    BIGNUM *q = BN_dup(p), *distance = BN_new();
    assert_true(distance_bits < 2 || BN_rand(distance, distance_bits, 0, 0) == 1);
    assert_true(BN_add(q, q, distance) && BN_set_bit(q, 0));
    do
        assert_true(BN_add_word(q, 2));
    while (BN_check_prime(q, ctx, NULL) != 1);
    BN_free(distance);
    return q;
}

/* A prime as Infineon's library made them: k M + (65537^a mod M), M the product of the first 126
 * primes for RSA keys of 2048 bits. */
static BIGNUM *roca_prime(BN_CTX *ctx)
{
    BIGNUM *m = BN_new(), *base = BN_new(), *a = BN_new(), *k = BN_new(), *p = BN_new();
    unsigned found = 1;
    assert_true(BN_set_word(m, 2) && BN_set_word(base, 65537));
    for (unsigned candidate = 3; found < 126; candidate += 2) {
        bool prime = true;
        for (unsigned d = 3; d * d <= candidate && prime; d += 2)
            prime = candidate % d != 0;
        if (!prime)
            continue;
        assert_true(BN_mul_word(m, candidate));
        found++;
    }
    do {
        assert_true(BN_rand(a, 100, 0, 0) && BN_mod_exp(p, base, a, m, ctx) &&
                    BN_rand(k, BITS / 2 - BN_num_bits(m), 0, 0) && BN_mul(k, k, m, ctx) &&
                    BN_add(p, p, k));
    } while (BN_check_prime(p, ctx, NULL) != 1);
    BN_free(m), BN_free(base), BN_free(a), BN_free(k);
    return p;
}

static void assert_product(const BIGNUM *p, const BIGNUM *q, const char *want, BN_CTX *ctx)
{
    BIGNUM *n = BN_new();
    assert_int_equal(BN_mul(n, p, q, ctx), 1);
    assert_weak(n, 65537, want);
    BN_free(n);
}

/* Keys as they should be pass: RSA, EC, Ed25519. */
static void test_good(void **state)
{
    EVP_PKEY *keys[] = {make_rsa(2048), make_rsa(3072), make_ec("P-256"), make_ed25519()};
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct spki spki = {0};
        struct err err;
        unsigned char *der = NULL;
        int len = i2d_PUBKEY(keys[i], &der);
        assert_true(spki_parse(bytes_of(der, (size_t)len), &spki, &err));
        assert_true(weak_check(&spki, &err));
        spki_clear(&spki);
        OPENSSL_free(der);
        EVP_PKEY_free(keys[i]);
    }
}

/* Both primes of Infineon's form: refused, and by name. */
static void test_roca(void **state)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *p = roca_prime(ctx), *q = roca_prime(ctx), *good = random_prime(BITS / 2);
    (void)state;
    assert_product(p, q, "ROCA", ctx);
    assert_product(p, good, NULL, ctx);
    BN_free(p), BN_free(q), BN_free(good), BN_CTX_free(ctx);
}

/* Primes that follow each other, or are half their length apart, or the same: refused; far ones
 * pass.
 */
static void test_close_primes(void **state)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *p = random_prime(BITS / 2);
    BIGNUM *next = prime_after(p, 1, ctx), *near = prime_after(p, 500, ctx),
           *far = random_prime(BITS / 2);
    (void)state;
    assert_product(p, next, "close", ctx);
    assert_product(p, near, "close", ctx);
    assert_product(p, p, "close", ctx);
    assert_product(p, far, NULL, ctx);
    BN_free(p), BN_free(next), BN_free(near), BN_free(far), BN_CTX_free(ctx);
}

/* Small exponents and small factors are refused. */
static void test_small(void **state)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *p = random_prime(BITS / 2), *q = random_prime(BITS / 2), *n = BN_new();
    (void)state;
    assert_int_equal(BN_mul(n, p, q, ctx), 1);
    assert_weak(n, 3, "exponent 3");
    assert_weak(n, 17, "exponent 17");
    assert_weak(n, 65535, "exponent 65535");
    assert_weak(n, 65537, NULL);
    assert_true(BN_mul_word(n, 163));
    assert_weak(n, 65537, "small factor");
    BN_free(p), BN_free(q), BN_free(n), BN_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_roca),
        cmocka_unit_test(test_close_primes),
        cmocka_unit_test(test_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
