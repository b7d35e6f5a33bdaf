#include "gateway/upstream/jose.h"

#include "base/text.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#define P256_LEN 32
#define P256_SIGNATURE_MAX 80
#define ED25519_LEN 32
#define RSA_BITS_MIN 2048

bool jose_encode(struct bytes in, struct buf *out)
{
    struct buf text = {.secret = out->secret};
    bool ok = text_base64_encode(in, 0, &text);
    while (ok && text.len && text.ptr[text.len - 1] == '=')
        text.len--;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '+')
            text.ptr[i] = '-';
        else if (text.ptr[i] == '/')
            text.ptr[i] = '_';
    }
    ok = ok && buf_add(out, buf_bytes(&text));
    buf_free(&text);
    return ok;
}

static bool is_p256(EVP_PKEY *key)
{
    char name[32] = "";
    return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, name, sizeof name, NULL) == 1 &&
           strcmp(name, SN_X9_62_prime256v1) == 0;
}

const char *jose_alg(const struct jose_signer *signer)
{
    if (!signer->key)
        return signer->secret.len ? "HS256" : NULL;
    if (is_p256(signer->key))
        return "ES256";
    if (EVP_PKEY_is_a(signer->key, "ED25519"))
        return "EdDSA";
    bool rsa = EVP_PKEY_is_a(signer->key, "RSA") && EVP_PKEY_get_bits(signer->key) >= RSA_BITS_MIN;
    return rsa ? "RS256" : NULL;
}

/* len 0: as long as it is. */
static bool set_number(struct json *jwk, const char *name, EVP_PKEY *key, const char *param,
                       size_t len)
{
    BIGNUM *number = NULL;
    struct buf text = {0};
    bool ok = EVP_PKEY_get_bn_param(key, param, &number) == 1;
    if (ok && !len)
        len = (size_t)BN_num_bytes(number);
    unsigned char *raw = mem_zalloc(len + 1);
    ok = ok && BN_bn2binpad(number, raw, (int)len) == (int)len &&
         jose_encode(bytes_of(raw, len), &text);
    if (ok)
        json_set_text(jwk, name, buf_str(&text));
    free(raw);
    BN_free(number);
    buf_free(&text);
    return ok;
}

/* RFC 8037 section 2. */
static bool set_ed25519(struct json *jwk, EVP_PKEY *key)
{
    unsigned char raw[ED25519_LEN];
    size_t len = sizeof raw;
    struct buf text = {0};
    bool ok =
        EVP_PKEY_get_raw_public_key(key, raw, &len) == 1 && jose_encode(bytes_of(raw, len), &text);
    json_set_text(jwk, "crv", "Ed25519");
    json_set_text(jwk, "kty", "OKP");
    if (ok)
        json_set_text(jwk, "x", buf_str(&text));
    buf_free(&text);
    return ok;
}

struct json *jose_jwk(EVP_PKEY *key)
{
    struct json *jwk = json_new_object();
    bool ok = false;
    if (is_p256(key)) {
        json_set_text(jwk, "crv", "P-256");
        json_set_text(jwk, "kty", "EC");
        ok = set_number(jwk, "x", key, OSSL_PKEY_PARAM_EC_PUB_X, P256_LEN) &&
             set_number(jwk, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y, P256_LEN);
    } else if (EVP_PKEY_is_a(key, "ED25519")) {
        ok = set_ed25519(jwk, key);
    } else if (EVP_PKEY_is_a(key, "RSA")) {
        ok = set_number(jwk, "e", key, OSSL_PKEY_PARAM_RSA_E, 0);
        json_set_text(jwk, "kty", "RSA");
        ok = ok && set_number(jwk, "n", key, OSSL_PKEY_PARAM_RSA_N, 0);
    }
    if (ok)
        return jwk;
    json_free(jwk);
    return NULL;
}

bool jose_thumbprint(EVP_PKEY *key, struct buf *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct buf text = {0};
    struct json *jwk = jose_jwk(key);
    bool ok = jwk && json_print_compact(jwk, &text) &&
              EVP_Digest(text.ptr, text.len, digest, &len, EVP_sha256(), NULL) == 1 &&
              jose_encode(bytes_of(digest, len), out);
    json_free(jwk);
    buf_free(&text);
    return ok;
}

/* RFC 7518 section 3.4: r and s at full length, not DER. */
static bool raw_of_der(const unsigned char *der, size_t len, struct buf *out)
{
    unsigned char raw[2 * P256_LEN];
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)len);
    bool ok = pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, P256_LEN) == P256_LEN &&
              BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + P256_LEN, P256_LEN) == P256_LEN &&
              buf_add(out, bytes_of(raw, sizeof raw));
    ECDSA_SIG_free(pair);
    return ok;
}

static bool sign_by_key(EVP_PKEY *key, struct bytes input, struct buf *out)
{
    size_t len = EVP_PKEY_get_size(key) > 0 ? (size_t)EVP_PKEY_get_size(key) : P256_SIGNATURE_MAX;
    unsigned char *signature = mem_zalloc(len);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const EVP_MD *md = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256(); /* it has its own */
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, md, NULL, key) == 1 &&
              EVP_DigestSign(ctx, signature, &len, input.ptr, input.len) == 1;
    if (ok)
        ok =
            is_p256(key) ? raw_of_der(signature, len, out) : buf_add(out, bytes_of(signature, len));
    EVP_MD_CTX_free(ctx);
    free(signature);
    return ok;
}

static bool sign_by_secret(struct bytes secret, struct bytes input, struct buf *out)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    return HMAC(EVP_sha256(), secret.ptr, (int)secret.len, input.ptr, input.len, mac, &len) &&
           buf_add(out, bytes_of(mac, len));
}

/* The three parts in base64url. */
static bool sign(const struct jose_signer *signer, struct json *header, struct bytes payload,
                 struct buf parts[3], struct err *err)
{
    struct buf text = {0}, input = {0}, signature = {0};
    const char *alg = jose_alg(signer);
    if (!alg)
        return err_set(err, ERR_CONFIG, "a key that signs by none of ES256, EdDSA and RS256");
    json_set_text(header, "alg", alg);
    bool ok = json_print_compact(header, &text) && jose_encode(buf_bytes(&text), &parts[0]) &&
              jose_encode(payload, &parts[1]) && buf_add(&input, buf_bytes(&parts[0])) &&
              buf_add_u8(&input, '.') && buf_add(&input, buf_bytes(&parts[1]));
    ok = ok && (signer->key ? sign_by_key(signer->key, buf_bytes(&input), &signature)
                            : sign_by_secret(signer->secret, buf_bytes(&input), &signature));
    ok = ok && jose_encode(buf_bytes(&signature), &parts[2]);
    buf_free(&text);
    buf_free(&input);
    buf_free(&signature);
    return ok || err_openssl(err, ERR_LOCAL, "cannot sign by %s", alg);
}

static void parts_free(struct buf parts[3])
{
    for (size_t i = 0; i < 3; i++)
        buf_free(&parts[i]);
}

bool jose_sign_compact(const struct jose_signer *signer, struct json *header, struct bytes payload,
                       struct buf *out, struct err *err)
{
    struct buf parts[3] = {0};
    bool ok = sign(signer, header, payload, parts, err);
    if (ok &&
        !buf_add_fmt(out, "%s.%s.%s", buf_str(&parts[0]), buf_str(&parts[1]), buf_str(&parts[2])))
        ok = err_set(err, ERR_LOCAL, "a token that is too large");
    parts_free(parts);
    return ok;
}

bool jose_sign_flat(const struct jose_signer *signer, struct json *header, struct bytes payload,
                    struct json **ret, struct err *err)
{
    struct buf parts[3] = {0};
    bool ok = sign(signer, header, payload, parts, err);
    if (ok) {
        *ret = json_new_object();
        json_set_text(*ret, "protected", buf_str(&parts[0]));
        json_set_text(*ret, "payload", buf_str(&parts[1]));
        json_set_text(*ret, "signature", buf_str(&parts[2]));
    }
    parts_free(parts);
    return ok;
}
