#include "gateway/upstream/jose.h"

#include "base/text.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/param_build.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct bytes decode(struct bytes text, struct buf *out)
{
    struct err err;
    assert_true(text_base64_decode(text, TEXT_BASE64_LENIENT, out, &err));
    return buf_bytes(out);
}

/* The three parts of a token, whose signature verifies by the key; the header says alg. */
static void check(EVP_PKEY *key, const char *alg)
{
    struct jose_signer signer = {.key = key};
    struct json *header = json_new_object(), *said;
    struct buf out = {0}, raw[3] = {0};
    struct err err;
    struct bytes cur, part[3];
    json_set_text(header, "kid", "a\"b");
    assert_true(jose_sign_compact(&signer, header, bytes_str("{\"a\":1}"), &out, &err));
    cur = buf_bytes(&out);
    assert_true(bytes_take_until(&cur, '.', &part[0]));
    assert_true(bytes_take_until(&cur, '.', &part[1]));
    part[2] = cur;
    struct bytes input = bytes_of(out.ptr, part[0].len + 1 + part[1].len);
    assert_true(json_parse(decode(part[0], &raw[0]), &said, &err));
    assert_string_equal(json_text(json_get(json_root(said), "alg")), alg);
    assert_string_equal(json_text(json_get(json_root(said), "kid")), "a\"b");
    assert_true(bytes_equal_str(decode(part[1], &raw[1]), "{\"a\":1}"));
    struct bytes signature = decode(part[2], &raw[2]);
    unsigned char der[128], *p = der;
    if (strcmp(alg, "ES256") == 0) {
        assert_int_equal(signature.len, 64);
        ECDSA_SIG *pair = ECDSA_SIG_new();
        ECDSA_SIG_set0(pair, BN_bin2bn(signature.ptr, 32, NULL),
                       BN_bin2bn(signature.ptr + 32, 32, NULL));
        int len = i2d_ECDSA_SIG(pair, &p);
        assert_true(len > 0);
        signature = bytes_of(der, (size_t)len);
        ECDSA_SIG_free(pair);
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const EVP_MD *md = strcmp(alg, "EdDSA") == 0 ? NULL : EVP_sha256();
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, md, NULL, key), 1);
    assert_int_equal(EVP_DigestVerify(ctx, signature.ptr, signature.len, input.ptr, input.len), 1);
    EVP_MD_CTX_free(ctx);
    json_free(header);
    json_free(said);
    buf_free(&out);
    for (size_t i = 0; i < 3; i++)
        buf_free(&raw[i]);
}

/* Tokens by P-256, Ed25519 and RSA keys verify, also when r or s has leading zeros. */
static void test_sign(void **state)
{
    (void)state;
    EVP_PKEY *ec = EVP_EC_gen("P-256"), *rsa = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    for (int i = 0; i < 600; i++)
        check(ec, "ES256");
    EVP_PKEY *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    check(rsa, "RS256");
    check(ed, "EdDSA");
    EVP_PKEY_free(ed);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(rsa);
}

/* By the key of RFC 7515 appendix A.1; what is expected was computed by Python's hmac. */
static void test_secret(void **state)
{
    (void)state;
    static const char key[] = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75"
                              "aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    struct buf secret = {0}, out = {0};
    struct err err;
    struct json *header = json_new_object();
    struct jose_signer signer = {.secret = decode(bytes_str(key), &secret)};
    assert_true(jose_sign_compact(&signer, header, bytes_str("x"), &out, &err));
    assert_string_equal(buf_str(&out),
                        "eyJhbGciOiJIUzI1NiJ9.eA.vXMQjj-kSz8YEl0-cH3HXFkMsKzwf9MeJo4AokQzlgQ");
    json_free(header);
    buf_free(&secret);
    buf_free(&out);
}

/* The example of RFC 7638 section 3.1. */
static void test_thumbprint(void **state)
{
    (void)state;
    static const char n[] = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7"
                            "aPFFxuhDR1L6tSoc_BJEC"
                            "PebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_"
                            "RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2Qvz"
                            "qY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyr"
                            "dkt-bFTWhAI4vMQFh6WeZ"
                            "u0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    struct buf raw = {0}, out = {0};
    struct bytes modulus = decode(bytes_str(n), &raw);
    BIGNUM *number = BN_bin2bn(modulus.ptr, (int)modulus.len, NULL), *e = BN_new();
    BN_set_word(e, 65537);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, number);
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *key = NULL;
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
    assert_true(jose_thumbprint(key, &out));
    assert_string_equal(buf_str(&out), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(number);
    BN_free(e);
    buf_free(&raw);
    buf_free(&out);
}

/* The example of RFC 8037 appendix A.3. */
static void test_thumbprint_ed25519(void **state)
{
    (void)state;
    struct buf raw = {0}, out = {0};
    struct bytes x = decode(bytes_str("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"), &raw);
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x.ptr, x.len);
    assert_non_null(key);
    assert_true(jose_thumbprint(key, &out));
    assert_string_equal(buf_str(&out), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    EVP_PKEY_free(key);
    buf_free(&raw);
    buf_free(&out);
}

/* Other keys sign nothing. */
static void test_other_keys(void **state)
{
    (void)state;
    EVP_PKEY *keys[] = {EVP_EC_gen("P-384"), EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024),
                        EVP_PKEY_Q_keygen(NULL, NULL, "ED448")};
    for (size_t i = 0; i < 3; i++) {
        struct jose_signer signer = {.key = keys[i]};
        struct json *header = json_new_object(), *ret;
        struct err err;
        assert_null(jose_alg(&signer));
        assert_false(jose_sign_flat(&signer, header, bytes_str(""), &ret, &err));
        json_free(header);
        EVP_PKEY_free(keys[i]);
    }
}

/* What JSON must not be, and what is not there. */
static void test_json(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[\"x\",{\"n\":7}],\"t\":true}";
    static const char *const bad[] = {"", "{", "7", "{\"a\":1,\"a\":2}", "{} x", "[\"\\u0000\"]"};
    struct json *json;
    struct err err;
    int64_t number;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(json_parse(bytes_str(bad[i]), &json, &err));
    for (size_t len = 0; len < sizeof text - 1; len++)
        assert_false(json_parse(bytes_of(text, len), &json, &err));
    assert_true(json_parse(bytes_str(text), &json, &err));
    const struct json_value *root = json_root(json), *a = json_get(root, "a");
    assert_string_equal(json_text(json_at(a, 0)), "x");
    assert_true(json_integer_get(json_get(json_at(a, 1), "n"), &number) && number == 7);
    assert_true(json_holds(json_get(root, "t")));
    assert_null(json_at(a, 2));
    assert_null(json_at(root, 0));
    assert_null(json_get(a, "x"));
    assert_null(json_text(json_get(json_get(root, "none"), "more")));
    assert_false(json_integer_get(NULL, &number));
    assert_false(json_holds(json_at(a, 0)));
    json_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sign),       cmocka_unit_test(test_secret),
        cmocka_unit_test(test_thumbprint), cmocka_unit_test(test_thumbprint_ed25519),
        cmocka_unit_test(test_other_keys), cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
