#include "scep/password.h"

#include "scep/algs.h"

#include <openssl/crypto.h>
#include <openssl/objects.h>
#include <openssl/rand.h>
#include <string.h>

#define SALT_LEN 16
#define CHECK_LEN 3 /* octets of the key whose complement goes before it */

static const struct {
    int prf, digest;
} prfs[] = {
    {NID_hmacWithSHA1, NID_sha1}, /* the default of RFC 8018; HMAC does not need its collisions */
    {NID_hmacWithSHA256, NID_sha256},
    {NID_hmacWithSHA384, NID_sha384},
    {NID_hmacWithSHA512, NID_sha512},
};

static const EVP_MD *prf_digest(int prf)
{
    for (size_t i = 0; i < sizeof prfs / sizeof prfs[0]; i++)
        if (prfs[i].prf == prf)
            return EVP_get_digestbynid(prfs[i].digest);
    return NULL;
}

/* A positive INTEGER of at most three octets. */
static bool take_number(struct bytes *cur, int *ret)
{
    struct der number;
    if (!der_take_tag(cur, DER_INTEGER, &number) || number.content.len < 1 ||
        number.content.len > 3 || number.content.ptr[0] & 0x80)
        return false;
    *ret = 0;
    for (size_t i = 0; i < number.content.len; i++)
        *ret = *ret << 8 | number.content.ptr[i];
    return true;
}

/* PBKDF2-params. key_len: 0 if it does not say. */
static bool take_derivation(struct bytes cur, struct scep_pwri *found, int *key_len)
{
    struct der salt, params;
    *key_len = 0;
    found->prf = NID_hmacWithSHA1;
    if (!der_take_tag(&cur, DER_OCTET_STRING, &salt) || !take_number(&cur, &found->iterations) ||
        (der_next_is(cur, DER_INTEGER) && !take_number(&cur, key_len)))
        return false;
    if (cur.len && (!cms_algorithm_take(&cur, &found->prf, &params) || cur.len ||
                    (params.tag != 0 && params.tag != DER_NULL)))
        return false;
    found->salt = salt.content;
    return prf_digest(found->prf) && salt.content.len >= SCEP_PWRI_SALT_MIN &&
           salt.content.len <= SCEP_PWRI_SALT_MAX &&
           found->iterations >= SCEP_PWRI_ITERATIONS_MIN &&
           found->iterations <= SCEP_PWRI_ITERATIONS_MAX;
}

/* id-alg-PWRI-KEK (RFC 3211 section 2.3), whose parameter is the cipher that wraps. */
static bool take_wrap(struct bytes *cur, enum scep_ciphers ciphers, struct scep_pwri *found)
{
    struct der params, iv;
    int wrap;
    if (!cms_algorithm_take(cur, &wrap, &params) || wrap != NID_id_alg_PWRI_KEK)
        return false;
    struct bytes whole = params.whole;
    if (!cms_algorithm_take(&whole, &found->cipher, &iv) || iv.tag != DER_OCTET_STRING)
        return false;
    found->iv = iv.content;
    size_t block = scep_cipher_block(found->cipher, ciphers);
    return block && iv.content.len == block && scep_cipher_get(found->cipher);
}

bool scep_pwri_take(struct bytes *cur, enum scep_ciphers ciphers, struct scep_pwri *ret)
{
    struct der outer, version, derivation, oid, params, wrapped;
    struct scep_pwri found;
    int key_len;
    if (!der_take_tag(cur, SCEP_PWRI_TAG, &outer) ||
        !der_take_tag(&outer.content, DER_INTEGER, &version) || version.content.len != 1 ||
        version.content.ptr[0] != 0 ||
        !der_take_tag(&outer.content, DER_CONTEXT_CONSTRUCTED(0), &derivation) ||
        !der_take_tag(&derivation.content, DER_OID, &oid) ||
        cms_oid_nid(oid.whole) != NID_id_pbkdf2 ||
        !der_take_tag(&derivation.content, DER_SEQUENCE, &params) || derivation.content.len ||
        !take_derivation(params.content, &found, &key_len) ||
        !take_wrap(&outer.content, ciphers, &found) ||
        !der_take_tag(&outer.content, DER_OCTET_STRING, &wrapped) || outer.content.len)
        return false;
    found.wrapped = wrapped.content;
    if (key_len && key_len != EVP_CIPHER_get_key_length(scep_cipher_get(found.cipher)))
        return false;
    if (wrapped.content.len < 2 * found.iv.len || wrapped.content.len % found.iv.len ||
        wrapped.content.len > SCEP_PWRI_WRAPPED_MAX)
        return false;
    *ret = found;
    return true;
}

/* The key encryption key of a password. */
static bool derive(const struct scep_pwri *pwri, struct bytes password, uint8_t *kek)
{
    int len = EVP_CIPHER_get_key_length(scep_cipher_get(pwri->cipher));
    return PKCS5_PBKDF2_HMAC((const char *)password.ptr, (int)password.len, pwri->salt.ptr,
                             (int)pwri->salt.len, pwri->iterations, prf_digest(pwri->prf), len,
                             kek) == 1;
}

/* One CBC pass without padding. */
struct pass {
    const EVP_CIPHER *cipher;
    const uint8_t *key;
    int encrypt;
};
static bool run(const struct pass *pass, const uint8_t *iv, struct bytes in, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0;
    bool ok = ctx &&
              EVP_CipherInit_ex(ctx, pass->cipher, NULL, pass->key, iv, pass->encrypt) == 1 &&
              EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
              EVP_CipherUpdate(ctx, out, &len, in.ptr, (int)in.len) == 1 && (size_t)len == in.len;
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

/* RFC 3211 section 2.3.2: the last block gives the IV of the outer pass. */
static bool unwrap_blocks(const struct scep_pwri *pwri, const struct pass *pass, uint8_t *out)
{
    uint8_t outer[SCEP_PWRI_WRAPPED_MAX];
    struct bytes in = pwri->wrapped;
    size_t block = pwri->iv.len, last = in.len - block;
    bool ok = run(pass, in.ptr + last - block, bytes_of(in.ptr + last, block), outer + last) &&
              run(pass, outer + last, bytes_of(in.ptr, last), outer) &&
              run(pass, pwri->iv.ptr, bytes_of(outer, in.len), out);
    OPENSSL_cleanse(outer, sizeof outer);
    return ok;
}

bool scep_pwri_unwrap(const struct scep_pwri *pwri, struct bytes password, uint8_t *key, size_t len)
{
    uint8_t kek[EVP_MAX_KEY_LENGTH], plain[SCEP_PWRI_WRAPPED_MAX] = {0};
    struct pass pass = {scep_cipher_get(pwri->cipher), kek, 0};
    unsigned wrong = 1;
    if (len >= CHECK_LEN && 1 + CHECK_LEN + len <= pwri->wrapped.len &&
        derive(pwri, password, kek) && unwrap_blocks(pwri, &pass, plain)) {
        wrong = plain[0] ^ (unsigned)len;
        for (size_t i = 0; i < CHECK_LEN; i++)
            wrong |= (unsigned)(plain[1 + i] ^ plain[1 + CHECK_LEN + i]) ^ 0xffu;
    }
    if (!wrong)
        memcpy(key, plain + 1 + CHECK_LEN, len);
    OPENSSL_cleanse(kek, sizeof kek);
    OPENSSL_cleanse(plain, sizeof plain);
    return !wrong;
}

/* RFC 3211 section 2.3.1: length, check value, key, random octets to whole blocks, at least two. */
static bool wrap(const struct scep_pwri *pwri, struct bytes password, struct bytes key,
                 struct buf *out)
{
    uint8_t kek[EVP_MAX_KEY_LENGTH], plain[SCEP_PWRI_WRAPPED_MAX], inner[SCEP_PWRI_WRAPPED_MAX];
    struct pass pass = {scep_cipher_get(pwri->cipher), kek, 1};
    size_t block = pwri->iv.len, used = 1 + CHECK_LEN + key.len;
    size_t len = (used + block - 1) / block * block;
    len = len < 2 * block ? 2 * block : len;
    bool ok = key.len >= CHECK_LEN && len <= sizeof plain && RAND_bytes(plain, sizeof plain) == 1 &&
              derive(pwri, password, kek);
    if (ok) {
        plain[0] = (uint8_t)key.len;
        for (size_t i = 0; i < CHECK_LEN; i++)
            plain[1 + i] = (uint8_t)~key.ptr[i];
        memcpy(plain + 1 + CHECK_LEN, key.ptr, key.len);
        ok = run(&pass, pwri->iv.ptr, bytes_of(plain, len), inner) &&
             run(&pass, inner + len - block, bytes_of(inner, len), plain) &&
             der_add(out, DER_OCTET_STRING, bytes_of(plain, len));
    }
    OPENSSL_cleanse(kek, sizeof kek);
    OPENSSL_cleanse(plain, sizeof plain);
    OPENSSL_cleanse(inner, sizeof inner);
    return ok;
}

/* [0] keyDerivationAlgorithm. */
static bool add_derivation(struct buf *out, const struct scep_pwri *pwri)
{
    /* Within our bounds a count has two octets and no sign. */
    const uint8_t count[] = {(uint8_t)(pwri->iterations >> 8), (uint8_t)pwri->iterations};
    size_t start = out->len;
    if (!der_add_oid(out, NID_id_pbkdf2))
        return false;
    size_t params = out->len;
    return der_add(out, DER_OCTET_STRING, pwri->salt) &&
           der_add(out, DER_INTEGER, bytes_of(count, sizeof count)) &&
           (pwri->prf == NID_hmacWithSHA1 || scep_algorithm_add(out, pwri->prf, true)) &&
           der_wrap(out, params, DER_SEQUENCE) && der_wrap(out, start, DER_CONTEXT_CONSTRUCTED(0));
}

static bool add_wrap(struct buf *out, const struct scep_pwri *pwri)
{
    size_t start = out->len;
    if (!der_add_oid(out, NID_id_alg_PWRI_KEK))
        return false;
    size_t cipher = out->len;
    return der_add_oid(out, pwri->cipher) && der_add(out, DER_OCTET_STRING, pwri->iv) &&
           der_wrap(out, cipher, DER_SEQUENCE) && der_wrap(out, start, DER_SEQUENCE);
}

bool scep_pwri_add(struct buf *out, const struct scep_password *by, struct bytes key)
{
    static const uint8_t version_0[] = {DER_INTEGER, 1, 0};
    uint8_t salt[SALT_LEN], iv[EVP_MAX_IV_LENGTH];
    size_t block = scep_cipher_block(by->cipher, SCEP_CIPHERS_DES), start = out->len;
    struct scep_pwri pwri = {.salt = bytes_of(salt, sizeof salt),
                             .iterations = by->iterations,
                             .prf = by->prf,
                             .cipher = by->cipher,
                             .iv = bytes_of(iv, block)};
    return block && scep_cipher_get(by->cipher) && prf_digest(by->prf) &&
           by->iterations >= SCEP_PWRI_ITERATIONS_MIN &&
           by->iterations <= SCEP_PWRI_ITERATIONS_MAX && RAND_bytes(salt, sizeof salt) == 1 &&
           RAND_bytes(iv, sizeof iv) == 1 && buf_add(out, bytes_of(version_0, sizeof version_0)) &&
           add_derivation(out, &pwri) && add_wrap(out, &pwri) &&
           wrap(&pwri, by->secret, key, out) && der_wrap(out, start, SCEP_PWRI_TAG);
}
