#include "base/der.h"
#include "base/pem.h"
#include "scep/attrs.h"
#include "scep/check.h"
#include "scep/msg.h"
#include "tests/support/pki_make.h"
#include "tests/support/scep_make.h"

#include <glob.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Shapes that OpenSSL's CMS and PKCS#7 functions have fallen over. Each is built twice, with the
 * flaw and without, and refused by the structural check with it: before OpenSSL sees it. The same
 * shapes are seeds of the fuzz target (tests/data/fuzz/scep_check/cve-*). */

struct fixture {
    EVP_PKEY *key;
    struct cert *cert;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    f->key = make_rsa(2048);
    f->cert = make_cert(&(struct make_spec){.subject = "CN=one"}, f->key, NULL, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY_free(f->key);
    cert_free(f->cert);
    free(f);
    return 0;
}

static void add_number(struct buf *buf, uint8_t number)
{
    assert_true(der_add(buf, DER_INTEGER, bytes_of(&number, 1)));
}

/* SEQUENCE { OID of nid, params } */
static void add_algorithm(struct buf *buf, int nid, struct bytes params)
{
    size_t start = buf->len;
    assert_true(der_add_oid(buf, nid) && buf_add(buf, params) &&
                der_wrap(buf, start, DER_SEQUENCE));
}

/* An envelope whose parts are given whole: one RecipientInfo, and the content's algorithm. */
struct parts {
    int type; /* NID */
    struct bytes recipient, algorithm;
    bool mac;
};

static struct buf envelope(const struct parts *parts)
{
    static const uint8_t sealed[16];
    struct buf out = {0};
    assert_true(der_add_oid(&out, parts->type));
    size_t data = out.len;
    add_number(&out, 0);
    size_t recipients = out.len;
    assert_true(buf_add(&out, parts->recipient) && der_wrap(&out, recipients, DER_SET));
    size_t content = out.len;
    assert_true(der_add_oid(&out, NID_pkcs7_data) && buf_add(&out, parts->algorithm) &&
                der_add(&out, DER_CONTEXT(0), bytes_of(sealed, sizeof sealed)) &&
                der_wrap(&out, content, DER_SEQUENCE));
    if (parts->mac)
        assert_true(der_add(&out, DER_OCTET_STRING, bytes_of(sealed, sizeof sealed)));
    assert_true(der_wrap(&out, data, DER_SEQUENCE) &&
                der_wrap(&out, data, DER_CONTEXT_CONSTRUCTED(0)) &&
                der_wrap(&out, 0, DER_SEQUENCE));
    return out;
}

static void add_identifier(struct buf *buf, const struct cert *cert)
{
    unsigned char *serial = NULL;
    int len = i2d_ASN1_INTEGER(X509_get0_serialNumber(cert_x509_get(cert)), &serial);
    size_t start = buf->len;
    assert_true(len > 0 && buf_add(buf, cert_issuer_get(cert)) &&
                buf_add(buf, bytes_of(serial, (size_t)len)) && der_wrap(buf, start, DER_SEQUENCE));
    OPENSSL_free(serial);
}

/* KeyTransRecipientInfo with that whole algorithm. */
static struct buf transport(const struct cert *cert, struct bytes algorithm)
{
    struct buf out = {0};
    add_number(&out, 0);
    add_identifier(&out, cert);
    assert_true(buf_add(&out, algorithm) && der_add(&out, DER_OCTET_STRING, bytes_str("key")) &&
                der_wrap(&out, 0, DER_SEQUENCE));
    return out;
}

static struct buf cipher_algorithm(int nid, size_t iv)
{
    static const uint8_t zeros[512];
    struct buf params = {0}, out = {0};
    assert_true(der_add(&params, DER_OCTET_STRING, bytes_of(zeros, iv)));
    add_algorithm(&out, nid, buf_bytes(&params));
    buf_free(&params);
    return out;
}

static struct buf rsa_algorithm(void)
{
    struct buf out = {0};
    add_algorithm(&out, NID_rsaEncryption, bytes_of("\x05\x00", 2));
    return out;
}

static void assert_enveloped(struct buf *der, bool fine)
{
    struct err err = {0};
    bool ok = scep_check_enveloped(buf_bytes(der), SCEP_CIPHERS_DES, &err);
    if (ok != fine)
        fail_msg("%s", ok ? "taken" : err.text);
    assert_true(ok || err.kind == ERR_PEER);
    assert_false(scep_check_signed(buf_bytes(der), &err));
    assert_int_equal(ERR_peek_error(), 0);
    buf_free(der);
}

/* An envelope with this algorithm of a KeyTransRecipientInfo. */
static struct buf with_transport(const struct fixture *f, struct bytes algorithm)
{
    struct buf recipient = transport(f->cert, algorithm);
    struct buf cipher = cipher_algorithm(NID_aes_128_cbc, 16);
    struct buf out = envelope(
        &(struct parts){NID_pkcs7_enveloped, buf_bytes(&recipient), buf_bytes(&cipher), false});
    buf_free(&recipient);
    buf_free(&cipher);
    return out;
}

/* CVE-2026-28390: RSAES-OAEP whose pSourceFunc has no parameters. */
static void test_oaep_source(void **state)
{
    struct fixture *f = *state;
    for (int fine = 0; fine < 2; fine++) {
        struct buf source = {0}, algorithm = {0};
        add_algorithm(&source, NID_pSpecified, fine ? bytes_of("\x04\x00", 2) : (struct bytes){0});
        assert_true(der_wrap(&source, 0, DER_CONTEXT_CONSTRUCTED(2)) &&
                    der_wrap(&source, 0, DER_SEQUENCE));
        add_algorithm(&algorithm, NID_rsaesOaep, buf_bytes(&source));
        struct buf der = with_transport(f, buf_bytes(&algorithm));
        assert_enveloped(&der, fine);
        buf_free(&source);
        buf_free(&algorithm);
    }
}

/* CVE-2026-28389: KeyAgreeRecipientInfo whose keyEncryptionAlgorithm has no parameters; with them
 * it is refused as well, and so is CVE-2026-63072's, whose key is wrapped with padding. */
static void test_key_agreement(void **state)
{
    struct fixture *f = *state;
    static const uint8_t point[65] = {4};
    static const int wraps[] = {NID_undef, NID_id_aes128_wrap, NID_id_aes128_wrap_pad};
    for (size_t i = 0; i < sizeof wraps / sizeof wraps[0]; i++) {
        struct buf info = {0}, wrap = {0}, cipher = cipher_algorithm(NID_aes_128_cbc, 16);
        add_number(&info, 3);
        size_t originator = info.len;
        add_algorithm(&info, NID_X9_62_id_ecPublicKey, (struct bytes){0});
        assert_true(der_add(&info, DER_BIT_STRING, bytes_of(point, sizeof point)) &&
                    der_wrap(&info, originator, DER_CONTEXT_CONSTRUCTED(1)) &&
                    der_wrap(&info, originator, DER_CONTEXT_CONSTRUCTED(0)));
        if (wraps[i] != NID_undef)
            add_algorithm(&wrap, wraps[i], (struct bytes){0});
        add_algorithm(&info, NID_dhSinglePass_stdDH_sha256kdf_scheme, buf_bytes(&wrap));
        size_t keys = info.len;
        add_identifier(&info, f->cert);
        assert_true(der_add(&info, DER_OCTET_STRING, bytes_str("key")) &&
                    der_wrap(&info, keys, DER_SEQUENCE) && der_wrap(&info, keys, DER_SEQUENCE) &&
                    der_wrap(&info, 0, DER_CONTEXT_CONSTRUCTED(1)));
        struct buf der = envelope(
            &(struct parts){NID_pkcs7_enveloped, buf_bytes(&info), buf_bytes(&cipher), false});
        assert_enveloped(&der, false);
        buf_free(&info);
        buf_free(&wrap);
        buf_free(&cipher);
    }
}

/* CVE-2025-15467 and CVE-2026-34182: AuthEnvelopedData, with an IV that overflows where AEAD's is
 * kept, and with a cipher that has no tag; and their ciphers in a plain EnvelopedData. */
static void test_auth_enveloped(void **state)
{
    static const struct {
        int type, cipher;
        size_t iv;
        bool mac, fine;
    } rows[] = {
        {NID_id_smime_ct_authEnvelopedData, NID_aes_256_gcm, 300, true, false},
        {NID_id_smime_ct_authEnvelopedData, NID_aes_256_gcm, 12, true, false},
        {NID_id_smime_ct_authEnvelopedData, NID_aes_128_cbc, 16, true, false},
        {NID_id_smime_ct_authEnvelopedData, NID_aes_128_cbc, 16, false, false},
        {NID_pkcs7_enveloped, NID_aes_256_gcm, 300, false, false},
        {NID_pkcs7_enveloped, NID_aes_256_gcm, 12, false, false},
        {NID_pkcs7_enveloped, NID_aes_128_cbc, 300, false, false},
        {NID_pkcs7_enveloped, NID_aes_128_cbc, 16, true, false},
        {NID_pkcs7_enveloped, NID_aes_128_cbc, 16, false, true},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf rsa = rsa_algorithm(), recipient = transport(f->cert, buf_bytes(&rsa));
        struct buf cipher = cipher_algorithm(rows[i].cipher, rows[i].iv);
        struct buf der = envelope(
            &(struct parts){rows[i].type, buf_bytes(&recipient), buf_bytes(&cipher), rows[i].mac});
        assert_enveloped(&der, rows[i].fine);
        buf_free(&rsa);
        buf_free(&recipient);
        buf_free(&cipher);
    }
}

/* A PasswordRecipientInfo, and where it has its flaw. */
struct password {
    bool no_derivation;
    int cipher; /* wraps the key */
    size_t iv, wrapped;
};

static struct buf by_password(const struct password *password)
{
    static const uint8_t zeros[512];
    struct buf info = {0}, kek = cipher_algorithm(password->cipher, password->iv);
    add_number(&info, 0);
    size_t derivation = info.len;
    assert_true(der_add_oid(&info, NID_id_pbkdf2));
    size_t params = info.len;
    assert_true(der_add(&info, DER_OCTET_STRING, bytes_of(zeros, 8)) &&
                der_add(&info, DER_INTEGER, bytes_of("\x08\x00", 2)) &&
                der_wrap(&info, params, DER_SEQUENCE) &&
                der_wrap(&info, derivation, DER_CONTEXT_CONSTRUCTED(0)));
    if (password->no_derivation)
        info.len = derivation;
    add_algorithm(&info, NID_id_alg_PWRI_KEK, buf_bytes(&kek));
    assert_true(der_add(&info, DER_OCTET_STRING, bytes_of(zeros, password->wrapped)) &&
                der_wrap(&info, 0, DER_CONTEXT_CONSTRUCTED(3)));
    buf_free(&kek);
    return info;
}

static void assert_password(const struct password *password, bool fine)
{
    struct buf info = by_password(password), cipher = cipher_algorithm(NID_aes_128_cbc, 16);
    struct buf der =
        envelope(&(struct parts){NID_pkcs7_enveloped, buf_bytes(&info), buf_bytes(&cipher), false});
    assert_enveloped(&der, fine);
    buf_free(&info);
    buf_free(&cipher);
}

/* CVE-2025-9230: a PasswordRecipientInfo whose wrapped key is shorter than two blocks or no whole
 * blocks; longer than any key is refused, too. */
static void test_password(void **state)
{
    static const struct {
        size_t wrapped;
        bool fine;
    } rows[] = {{0, false}, {1, false},  {8, false}, {16, false}, {31, false},
                {32, true}, {33, false}, {64, true}, {80, false}, {300, false}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_password(
            &(struct password){.cipher = NID_aes_128_cbc, .iv = 16, .wrapped = rows[i].wrapped},
            rows[i].fine);
}

/* CVE-2026-9076: a PasswordRecipientInfo whose key is wrapped by a cipher without blocks. */
static void test_password_stream(void **state)
{
    static const int ciphers[] = {NID_aes_128_cfb128, NID_aes_256_cfb128, NID_aes_256_ofb128,
                                  NID_aes_128_gcm, NID_rc4};
    static const size_t wrapped[] = {1, 2, 7, 32};
    (void)state;
    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++)
        for (size_t k = 0; k < sizeof wrapped / sizeof wrapped[0]; k++)
            assert_password(
                &(struct password){.cipher = ciphers[i], .iv = 16, .wrapped = wrapped[k]}, false);
}

/* CVE-2026-42766: a PasswordRecipientInfo without its keyDerivationAlgorithm, which is optional. */
static void test_password_derivation(void **state)
{
    (void)state;
    for (int none = 0; none < 2; none++)
        assert_password(
            &(struct password){
                .no_derivation = none, .cipher = NID_aes_128_cbc, .iv = 16, .wrapped = 32},
            !none);
}

/* CVE-2026-63072: a key that is wrapped with padding (RFC 5649), for which OpenSSL's buffer was too
 * short: in a KEKRecipientInfo, which is refused whatever wraps. */
static void test_key_wrap(void **state)
{
    static const int wraps[] = {NID_id_aes128_wrap_pad, NID_id_aes256_wrap_pad, NID_id_aes128_wrap,
                                NID_id_smime_alg_CMS3DESwrap};
    static const uint8_t zeros[64];
    (void)state;
    for (size_t i = 0; i < sizeof wraps / sizeof wraps[0]; i++)
        for (size_t wrapped = 0; wrapped <= sizeof zeros; wrapped += 8) {
            struct buf info = {0}, cipher = cipher_algorithm(NID_aes_128_cbc, 16);
            add_number(&info, 4);
            size_t id = info.len;
            assert_true(der_add(&info, DER_OCTET_STRING, bytes_str("key")) &&
                        der_wrap(&info, id, DER_SEQUENCE));
            add_algorithm(&info, wraps[i], (struct bytes){0});
            assert_true(der_add(&info, DER_OCTET_STRING, bytes_of(zeros, wrapped)) &&
                        der_wrap(&info, 0, DER_CONTEXT_CONSTRUCTED(2)));
            struct buf der = envelope(
                &(struct parts){NID_pkcs7_enveloped, buf_bytes(&info), buf_bytes(&cipher), false});
            assert_enveloped(&der, false);
            buf_free(&info);
            buf_free(&cipher);
        }
}

/* A SignedData, and its digestAlgorithms and messageDigest somewhere within. */
static struct buf signed_message(const struct fixture *f)
{
    struct scep_make make = {.type = "19",
                             .txn = bytes_str("1"),
                             .content = bytes_str("content"),
                             .signer = f->cert,
                             .key = f->key};
    struct buf der = {0};
    scep_make(&make, &der);
    return der;
}

static void assert_signed(struct bytes der, bool fine)
{
    struct scep_msg *msg = NULL;
    enum scep_fail fail;
    struct err err = {0};
    bool partial, ok = scep_check_signed(der, &err);
    if (ok != fine)
        fail_msg("%s", ok ? "taken" : err.text);
    assert_int_equal(scep_msg_parse(der, &msg, &partial, &fail, &err), fine);
    assert_int_equal(ERR_peek_error(), 0);
    scep_msg_free(msg);
}

/* CVE-2026-45447: a SignedData whose digestAlgorithms are empty. */
static void test_no_digests(void **state)
{
    struct fixture *f = *state;
    struct buf der = signed_message(f), out = {0};
    struct bytes cur = buf_bytes(&der);
    struct der info, oid, explicit, data, version, digests;
    assert_signed(buf_bytes(&der), true);
    assert_true(der_take(&cur, &info) && der_take(&info.content, &oid) &&
                der_take(&info.content, &explicit) && der_take(&explicit.content, &data) &&
                der_take(&data.content, &version) && der_take(&data.content, &digests));
    assert_true(buf_set(&out, oid.whole));
    size_t at = out.len;
    assert_true(buf_add(&out, version.whole) && der_add(&out, DER_SET, (struct bytes){0}) &&
                buf_add(&out, data.content) && der_wrap(&out, at, DER_SEQUENCE) &&
                der_wrap(&out, at, DER_CONTEXT_CONSTRUCTED(0)) && der_wrap(&out, 0, DER_SEQUENCE));
    assert_signed(buf_bytes(&out), false);
    buf_free(&der);
    buf_free(&out);
}

/* CVE-2026-22796: a messageDigest attribute of another type, with several values, or doubled. The
 * signature would fail as well; it is not come to. */
static void test_digest_type(void **state)
{
    static const uint8_t tags[] = {DER_INTEGER, DER_NULL, DER_OID, DER_BIT_STRING, DER_SEQUENCE, 1};
    struct fixture *f = *state;
    struct buf der = signed_message(f);
    struct cms_signed found;
    struct bytes digest;
    struct err err;
    assert_true(scep_signed_take(buf_bytes(&der), &found, &err) &&
                scep_attr_find(found.attributes, SCEP_ATTR_MESSAGE_DIGEST, &digest));
    assert_int_equal(digest.len, 32);
    for (size_t i = 0; i < sizeof tags; i++) {
        der.ptr[digest.ptr - der.ptr - 2] = tags[i];
        assert_false(scep_check_signed(buf_bytes(&der), &err));
    }
    der.ptr[digest.ptr - der.ptr - 2] = DER_OCTET_STRING;
    assert_true(scep_check_signed(buf_bytes(&der), &err));
    buf_free(&der);

    struct buf twice = {0};
    assert_true(scep_attr_add(&twice, SCEP_ATTR_MESSAGE_DIGEST, bytes_str("another")));
    struct scep_make make = {.type = "19",
                             .txn = bytes_str("1"),
                             .content = bytes_str("content"),
                             .more = buf_bytes(&twice),
                             .signer = f->cert,
                             .key = f->key};
    scep_make(&make, &der);
    assert_signed(buf_bytes(&der), false);
    buf_free(&der);
    buf_free(&twice);
}

/* The seeds that carry these shapes are refused both ways. */
static void test_seeds(void **state)
{
    glob_t found;
    (void)state;
    assert_int_equal(glob(TEST_DATA "/fuzz/scep_check/cve-*", 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 10);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct buf der = {0};
        struct err err = {0};
        assert_true(pem_file_read(found.gl_pathv[i], SCEP_MSG_MAX, &der, &err));
        assert_false(scep_check_signed(buf_bytes(&der), &err));
        assert_false(scep_check_enveloped(buf_bytes(&der), SCEP_CIPHERS_DES, &err));
        buf_free(&der);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oaep_source),     cmocka_unit_test(test_key_agreement),
        cmocka_unit_test(test_auth_enveloped),  cmocka_unit_test(test_password),
        cmocka_unit_test(test_password_stream), cmocka_unit_test(test_password_derivation),
        cmocka_unit_test(test_key_wrap),        cmocka_unit_test(test_no_digests),
        cmocka_unit_test(test_digest_type),     cmocka_unit_test(test_seeds),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
