#include "base/weak.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>

#define EXPONENT_MIN 65537
#define FERMAT_STEPS 128
#define SQUARES_64 UINT64_C(0x0202021202030213) /* bit k: k is a square modulo 64 */
#define NEWTON_STEPS 16384                      /* far more than it ever takes */

static const unsigned char primes[] = {
    3,  5,  7,  11, 13, 17,  19,  23,  29,  31,  37,  41,  43,  47,  53,  59,  61,  67,  71,
    73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
};
#define PRIMES (sizeof primes / sizeof primes[0])

/* Whether value is a power of 65537 modulo prime. */
static bool is_power(BN_ULONG value, unsigned prime)
{
    unsigned power = 1;
    do {
        if (power == value)
            return true;
        power = power * (EXPONENT_MIN % prime) % prime;
    } while (power != 1);
    return false;
}

/* Primes of that form are k M + (65537^a mod M), M a product of small primes; so the modulus is a
 * power of 65537 for each of them (Nemec et al., CCS 2017, section 2.3). By chance, so is one
 * modulus in 2^27. */
static bool is_roca(const BIGNUM *n)
{
    for (size_t i = 0; i < PRIMES; i++)
        if (!is_power(BN_mod_word(n, primes[i]), primes[i]))
            return false;
    return true;
}

static bool has_small_factor(const BIGNUM *n)
{
    if (!BN_is_odd(n))
        return true;
    for (size_t i = 0; i < PRIMES; i++)
        if (BN_mod_word(n, primes[i]) == 0)
            return true;
    return false;
}

/* root = floor(sqrt(n)) by Newton's method from above. False: OpenSSL failed. */
static bool square_root(const BIGNUM *n, BIGNUM *root, BIGNUM *next, BN_CTX *ctx)
{
    BN_zero(root);
    if (BN_is_zero(n))
        return true;
    if (!BN_set_bit(root, (BN_num_bits(n) + 1) / 2))
        return false;
    for (unsigned i = 0; i < NEWTON_STEPS; i++) {
        if (!BN_div(next, NULL, n, root, ctx) || !BN_add(next, next, root) ||
            !BN_rshift1(next, next))
            return false;
        if (BN_cmp(next, root) >= 0)
            return true;
        BN_swap(root, next);
    }
    return false;
}

/* Most numbers are not by their remainders alone. */
static bool may_be_square(const BIGNUM *n)
{
    static const unsigned char moduli[] = {63, 65, 11};
    unsigned low = 0;
    for (int i = 0; i < 6; i++)
        low |= (unsigned)BN_is_bit_set(n, i) << i;
    if (!(SQUARES_64 >> low & 1))
        return false;
    for (size_t i = 0; i < sizeof moduli; i++) {
        BN_ULONG rest = BN_mod_word(n, moduli[i]);
        bool found = false;
        for (unsigned k = 0; k < moduli[i] && !found; k++)
            found = k * k % moduli[i] == rest;
        if (!found)
            return false;
    }
    return true;
}

enum found { FOUND_NOTHING = 0, FOUND_FACTORS, FOUND_FAULT };

static enum found is_square(const BIGNUM *n, BN_CTX *ctx)
{
    enum found found = FOUND_NOTHING;
    if (!may_be_square(n))
        return FOUND_NOTHING;
    BN_CTX_start(ctx);
    BIGNUM *root = BN_CTX_get(ctx), *other = BN_CTX_get(ctx);
    if (!other || !square_root(n, root, other, ctx) || !BN_sqr(other, root, ctx))
        found = FOUND_FAULT;
    else if (BN_cmp(other, n) == 0)
        found = FOUND_FACTORS;
    BN_CTX_end(ctx);
    return found;
}

/* n = a^2 - b^2 with a near the root of n: primes that are close (CVE-2022-26320). */
static enum found fermat(const BIGNUM *n, BN_CTX *ctx)
{
    BIGNUM *a = BN_CTX_get(ctx), *square = BN_CTX_get(ctx), *step = BN_CTX_get(ctx);
    if (!step || !square_root(n, a, step, ctx) || !BN_sqr(square, a, ctx))
        return FOUND_FAULT;
    if (BN_cmp(square, n) == 0)
        return FOUND_FACTORS;
    if (!BN_add_word(a, 1) || !BN_sqr(square, a, ctx) || !BN_sub(square, square, n) ||
        !BN_lshift1(step, a) || !BN_add_word(step, 1))
        return FOUND_FAULT;
    for (unsigned i = 0; i < FERMAT_STEPS; i++) {
        enum found found = is_square(square, ctx);
        if (found != FOUND_NOTHING)
            return found;
        if (!BN_add(square, square, step) || !BN_add_word(step, 2)) /* (a+1)^2 = a^2 + 2a + 1 */
            return FOUND_FAULT;
    }
    return FOUND_NOTHING;
}

static bool check_rsa(const BIGNUM *n, const BIGNUM *e, BN_CTX *ctx, struct err *err)
{
    if (BN_num_bits(e) <= 16 || !BN_is_odd(e))
        return err_set(err, ERR_PEER, "an RSA key with the exponent %lu, at least %d is safe",
                       (unsigned long)BN_get_word(e), EXPONENT_MIN);
    if (has_small_factor(n))
        return err_set(err, ERR_PEER, "an RSA key whose modulus has a small factor");
    if (is_roca(n))
        return err_set(err, ERR_PEER, "an RSA key as Infineon's weak library made them (ROCA)");
    enum found found = fermat(n, ctx);
    if (found == FOUND_FAULT)
        return err_openssl(err, ERR_PEER, "an RSA key that cannot be examined");
    return found == FOUND_NOTHING ||
           err_set(err, ERR_PEER, "an RSA key whose primes are too close together");
}

bool weak_check(const struct spki *spki, struct err *err)
{
    BIGNUM *n = NULL, *e = NULL;
    if (spki->kind != SPKI_RSA)
        return true;
    BN_CTX *ctx = BN_CTX_new();
    if (!ctx)
        err_no_memory();
    BN_CTX_start(ctx);
    bool ok = EVP_PKEY_get_bn_param(spki->key, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
              EVP_PKEY_get_bn_param(spki->key, OSSL_PKEY_PARAM_RSA_E, &e) == 1;
    ok = ok ? check_rsa(n, e, ctx, err)
            : err_openssl(err, ERR_PEER, "an RSA key that cannot be examined");
    BN_CTX_end(ctx);
    BN_CTX_free(ctx);
    BN_free(n);
    BN_free(e);
    return ok;
}
