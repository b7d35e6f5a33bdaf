#include "tests/support/seed_key.h"
#include "tests/support/must.h"

#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRIME_LEN 128
#define EXPONENT 65537
enum { N, E, D, P, Q, DP, DQ, INVERSE, NUMBERS };

/* The first prime from the number of `which` on whose predecessor has no factor in common with the
 * exponent. */
static void prime_find(BIGNUM *prime, const char *word, int which, BN_CTX *ctx)
{
    uint8_t octets[PRIME_LEN];
    for (size_t i = 0; i < PRIME_LEN / SHA256_DIGEST_LENGTH; i++) {
        char text[128];
        int len = snprintf(text, sizeof text, "%s/%d/%zu", word, which, i);
        SHA256((const uint8_t *)text, (size_t)len, octets + i * SHA256_DIGEST_LENGTH);
    }
    octets[0] |= 0xc0;
    octets[PRIME_LEN - 1] |= 1;
    MUST(BN_bin2bn(octets, sizeof octets, prime));
    while (BN_check_prime(prime, ctx, NULL) != 1 || BN_mod_word(prime, EXPONENT) == 1)
        MUST(BN_add_word(prime, 2));
}

static void numbers_find(BIGNUM *numbers[NUMBERS], const char *word)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *p1 = BN_new(), *q1 = BN_new(), *phi = BN_new();
    for (size_t i = 0; i < NUMBERS; i++)
        numbers[i] = BN_new();
    prime_find(numbers[P], word, 0, ctx);
    prime_find(numbers[Q], word, 1, ctx);
    MUST(BN_set_word(numbers[E], EXPONENT) && BN_mul(numbers[N], numbers[P], numbers[Q], ctx) &&
         BN_sub(p1, numbers[P], BN_value_one()) && BN_sub(q1, numbers[Q], BN_value_one()) &&
         BN_mul(phi, p1, q1, ctx) && BN_mod_inverse(numbers[D], numbers[E], phi, ctx) &&
         BN_mod(numbers[DP], numbers[D], p1, ctx) && BN_mod(numbers[DQ], numbers[D], q1, ctx) &&
         BN_mod_inverse(numbers[INVERSE], numbers[Q], numbers[P], ctx));
    BN_free(p1);
    BN_free(q1);
    BN_free(phi);
    BN_CTX_free(ctx);
}

EVP_PKEY *seed_key(const char *word)
{
    static const char *const names[NUMBERS] = {
        [N] = OSSL_PKEY_PARAM_RSA_N,          [E] = OSSL_PKEY_PARAM_RSA_E,
        [D] = OSSL_PKEY_PARAM_RSA_D,          [P] = OSSL_PKEY_PARAM_RSA_FACTOR1,
        [Q] = OSSL_PKEY_PARAM_RSA_FACTOR2,    [DP] = OSSL_PKEY_PARAM_RSA_EXPONENT1,
        [DQ] = OSSL_PKEY_PARAM_RSA_EXPONENT2, [INVERSE] = OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
    };
    BIGNUM *numbers[NUMBERS];
    EVP_PKEY *key = NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    numbers_find(numbers, word);
    for (size_t i = 0; i < NUMBERS; i++)
        MUST(OSSL_PARAM_BLD_push_BN(build, names[i], numbers[i]));
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    MUST(params && EVP_PKEY_fromdata_init(ctx) == 1 &&
         EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) == 1);
    for (size_t i = 0; i < NUMBERS; i++)
        BN_clear_free(numbers[i]);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(ctx);
    return key;
}
