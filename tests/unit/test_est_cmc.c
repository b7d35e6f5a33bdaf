/* Full CMC requests from bytes to parts: what is taken, and what is refused with which code. */
#include "est/cmc.h"

#include "base/der.h"
#include "base/text.h"
#include "tests/support/cmc_make.h"

#include <openssl/cms.h>
#include <openssl/objects.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NONCE "\x04\x04\x01\x02\x03\x04"
#define USAGE "300e0603551d0f0101ff040403020780" /* keyUsage digitalSignature, critical */

struct fixture {
    EVP_PKEY *key, *other;
    X509 *cert;
    struct buf csr, data;
    struct buf parsed; /* what the parts of the last one point into */
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    struct cmc cmc = {0};
    f->key = make_ec("P-256");
    f->other = make_ec("P-256");
    f->cert = make_x509(&(struct make_spec){.subject = "CN=ra"}, f->key, NULL, NULL);
    f->csr = make_req_der(&(struct make_spec){.subject = "CN=device"}, f->other);
    cmc_add_control(&cmc, 1, CMC_SENDER_NONCE, bytes_of(NONCE, 6));
    cmc_add_pkcs10(&cmc, 2, buf_bytes(&f->csr));
    f->data = cmc_data(&cmc);
    cmc_free(&cmc);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY_free(f->key);
    EVP_PKEY_free(f->other);
    X509_free(f->cert);
    buf_free(&f->csr);
    buf_free(&f->data);
    buf_free(&f->parsed);
    free(f);
    return 0;
}

static struct buf sign(const struct fixture *f, struct cmc_sign how)
{
    if (!how.cert)
        how.cert = f->cert;
    if (!how.key)
        how.key = f->key;
    return cmc_sign(buf_bytes(&f->data), &how);
}

/* The code with which it is refused, or -1. */
static int open_code(struct bytes der)
{
    struct est_cmc_message message;
    enum est_cmc_fail fail;
    struct err err = {0};
    bool ok = est_cmc_open(der, &message, &fail, &err);
    assert_true(ok || (err.kind == ERR_PEER && err.text[0]));
    est_cmc_message_clear(&message);
    return ok ? -1 : (int)fail;
}

/* A good message gives its signer, its content and its time. */
static void test_open(void **state)
{
    struct fixture *f = *state;
    struct buf der = sign(f, (struct cmc_sign){.time = 1700000000});
    struct est_cmc_message message;
    enum est_cmc_fail fail;
    struct err err;
    struct cert *want;
    assert_true(cert_from_x509(f->cert, &want, &err));
    assert_true(est_cmc_open(buf_bytes(&der), &message, &fail, &err));
    assert_true(bytes_equal(cert_der_get(message.signer), cert_der_get(want)));
    assert_true(bytes_equal(buf_bytes(&message.content), buf_bytes(&f->data)));
    assert_true(message.content.secret);
    assert_int_equal(message.signing_time, 1700000000);
    est_cmc_message_clear(&message);
    cert_free(want);
    buf_free(&der);
}

/* What else is in the bag comes along with the signer, whatever order they stand in. */
static void test_open_along(void **state)
{
    struct fixture *f = *state;
    static const char *const subjects[] = {"CN=a", "CN=a much longer name than the signer has"};
    for (size_t i = 0; i < 2; i++) {
        X509 *ca = make_x509(&(struct make_spec){.subject = subjects[i]}, f->other, NULL, NULL);
        struct buf der = sign(f, (struct cmc_sign){.along = ca});
        struct est_cmc_message message;
        enum est_cmc_fail fail;
        struct err err;
        struct cert *want;
        assert_true(cert_from_x509(ca, &want, &err));
        assert_true(est_cmc_open(buf_bytes(&der), &message, &fail, &err));
        assert_string_equal(cert_names_get(message.signer)->subject_text, "CN=ra");
        assert_int_equal(message.along_count, 1);
        assert_true(bytes_equal(cert_der_get(message.along[0]), cert_der_get(want)));
        est_cmc_message_clear(&message);
        cert_free(want);
        buf_free(&der);
        X509_free(ca);
    }
}

/* By a key identifier, by RSA, with SHA-384 and SHA-512: all the same. */
static void test_open_kinds(void **state)
{
    static const char *const ski[] = {"subjectKeyIdentifier", "01:02:03", NULL};
    struct fixture *f = *state;
    EVP_PKEY *rsa = make_rsa(2048);
    X509 *cert =
        make_x509(&(struct make_spec){.subject = "CN=rsa", .extensions = ski}, rsa, NULL, NULL);
    const struct cmc_sign rows[] = {
        {.cert = cert, .key = rsa},
        {.cert = cert, .key = rsa, .flags = CMS_USE_KEYID},
        {.md = EVP_sha384()},
        {.md = EVP_sha512()},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf der = sign(f, rows[i]);
        assert_int_equal(open_code(buf_bytes(&der)), -1);
        buf_free(&der);
    }
    X509_free(cert);
    EVP_PKEY_free(rsa);
}

/* A serial number of 32 octets that DER writes with one for the sign, as programs make them that
 * draw one of 256 bits. */
static void test_open_long_serial(void **state)
{
    struct fixture *f = *state;
    unsigned char octets[32];
    memset(octets, 0x91, sizeof octets);
    BIGNUM *number = BN_bin2bn(octets, sizeof octets, NULL);
    X509 *cert = X509_dup(f->cert);
    assert_non_null(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)));
    assert_true(X509_sign(cert, f->key, EVP_sha256()) > 0);
    struct buf der = sign(f, (struct cmc_sign){.cert = cert});
    assert_int_equal(open_code(buf_bytes(&der)), -1);
    buf_free(&der);
    X509_free(cert);
    BN_free(number);
}

/* RFC 5272 section 3.2: SHA-1, another content, no signed attributes, two signers, and a signer
 * whose certificate is not there. */
static void test_open_refused(void **state)
{
    struct fixture *f = *state;
    X509 *second = make_x509(&(struct make_spec){.subject = "CN=two"}, f->key, NULL, NULL);
    const struct {
        struct cmc_sign how;
        int code;
    } rows[] = {
        {{.md = EVP_sha1()}, EST_CMC_BAD_ALG},
        {{.type = "1.2.840.113549.1.7.1"}, EST_CMC_BAD_REQUEST},
        {{.type = "1.3.6.1.5.5.7.12.3"}, EST_CMC_BAD_REQUEST},
        {{.flags = CMS_NOATTR}, EST_CMC_BAD_REQUEST},
        {{.second = second}, EST_CMC_BAD_REQUEST},
        {{.no_cert = true}, EST_CMC_BAD_MESSAGE_CHECK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf der = sign(f, rows[i].how);
        assert_int_equal(open_code(buf_bytes(&der)), rows[i].code);
        buf_free(&der);
    }
    X509_free(second);
}

/* A message that is cut short anywhere is refused. */
static void test_open_truncated(void **state)
{
    struct fixture *f = *state;
    struct buf der = sign(f, (struct cmc_sign){0});
    for (size_t len = 0; len < der.len; len++) {
        uint8_t *exact = malloc(len ? len : 1); /* reading behind it is an error */
        assert_non_null(exact);
        memcpy(exact, der.ptr, len);
        assert_int_not_equal(open_code(bytes_of(exact, len)), -1);
        free(exact);
    }
    buf_free(&der);
}

/* With a bit flipped anywhere it is refused, or has the same content by the same key. A certificate
 * that was changed beside its key is another one, which nobody knows. */
static void test_open_flipped(void **state)
{
    struct fixture *f = *state;
    struct buf der = sign(f, (struct cmc_sign){0});
    struct est_cmc_message message;
    enum est_cmc_fail fail;
    struct err err;
    struct cert *want;
    assert_true(cert_from_x509(f->cert, &want, &err));
    for (size_t i = 0; i < der.len; i++) {
        der.ptr[i] ^= (uint8_t)(1u << (i % 8));
        if (est_cmc_open(buf_bytes(&der), &message, &fail, &err)) {
            assert_true(spki_equal(cert_spki_get(message.signer), cert_spki_get(want)));
            assert_true(bytes_equal(buf_bytes(&message.content), buf_bytes(&f->data)));
        }
        est_cmc_message_clear(&message);
        der.ptr[i] ^= (uint8_t)(1u << (i % 8));
    }
    cert_free(want);
    buf_free(&der);
}

static bool parse(struct fixture *f, const struct cmc *cmc, struct est_cmc_data *ret)
{
    struct err err = {0};
    buf_free(&f->parsed);
    f->parsed = cmc_data(cmc);
    bool ok = est_cmc_parse(buf_bytes(&f->parsed), ret, &err);
    assert_true(ok || err.kind == ERR_PEER);
    return ok;
}

/* Controls, requests of each form and messages inside are found, with their ids. */
static void test_parse(void **state)
{
    struct fixture *f = *state;
    struct cmc cmc = {0};
    struct est_cmc_data *data = mem_zalloc(sizeof *data);
    cmc_add_control(&cmc, 1, CMC_SENDER_NONCE, bytes_of(NONCE, 6));
    cmc_add_control(&cmc, 4294967295u, "1.2.3.4", bytes_str(""));
    cmc_add_pkcs10(&cmc, 128, buf_bytes(&f->csr));
    cmc_add_crmf(&cmc, 300, &(struct cmc_crmf){.key = f->key, .popo = 1});
    cmc_add_other(&cmc, 5);
    cmc_add_nested(&cmc, 6);
    assert_true(parse(f, &cmc, data));
    assert_int_equal(data->control_count, 2);
    assert_int_equal(data->controls[0].nid, NID_id_cmc_senderNonce);
    assert_true(bytes_equal(data->controls[0].values, bytes_of(NONCE, 6)));
    assert_int_equal(data->controls[1].id, 4294967295u);
    assert_int_equal(data->controls[1].nid, NID_undef);
    assert_int_equal(data->request_count, 3);
    assert_int_equal(data->requests[0].id, 128);
    assert_true(bytes_equal(data->requests[0].der, buf_bytes(&f->csr)));
    assert_int_equal(data->requests[1].kind, EST_CMC_CRMF);
    assert_int_equal(data->requests[1].id, 300);
    assert_int_equal(data->requests[2].kind, EST_CMC_OTHER);
    assert_int_equal(data->nested_count, 1);
    assert_int_equal(data->nested[0], 6);
    cmc_free(&cmc);
    free(data);
}

/* An id twice, the reserved id 0, one beyond 32 bits, and more parts than are handled. */
static void test_parse_refused(void **state)
{
    struct fixture *f = *state;
    struct est_cmc_data *data = mem_zalloc(sizeof *data);
    struct cmc twice = {0}, zero = {0}, many = {0}, crowd = {0};
    cmc_add_control(&twice, 7, CMC_SENDER_NONCE, bytes_of(NONCE, 6));
    cmc_add_pkcs10(&twice, 7, buf_bytes(&f->csr));
    assert_false(parse(f, &twice, data));
    cmc_add_pkcs10(&zero, 0, buf_bytes(&f->csr));
    assert_false(parse(f, &zero, data));
    for (uint32_t i = 1; i <= EST_CMC_REQUESTS_MAX; i++)
        cmc_add_other(&many, i);
    assert_true(parse(f, &many, data));
    cmc_add_other(&many, 100);
    assert_false(parse(f, &many, data));
    for (uint32_t i = 1; i <= EST_CMC_CONTROLS_MAX + 1; i++)
        cmc_add_control(&crowd, i, CMC_QUERY, bytes_of(NONCE, 6));
    assert_false(parse(f, &crowd, data));
    struct bytes wide = bytes_of("\x02\x05\x01\x00\x00\x00\x00", 7);
    struct bytes negative = bytes_of("\x02\x01\xff", 3), none = bytes_of("\x02\x00", 2);
    uint32_t id;
    assert_false(est_cmc_take_id(&wide, &id));
    assert_false(est_cmc_take_id(&negative, &id));
    assert_false(est_cmc_take_id(&none, &id));
    cmc_free(&twice);
    cmc_free(&zero);
    cmc_free(&many);
    cmc_free(&crowd);
    free(data);
}

/* A PKIData that is cut short anywhere is refused. */
static void test_parse_truncated(void **state)
{
    struct fixture *f = *state;
    struct est_cmc_data *data = mem_zalloc(sizeof *data);
    for (size_t len = 0; len < f->data.len; len++) {
        struct err err;
        assert_false(est_cmc_parse(bytes_of(f->data.ptr, len), data, &err));
    }
    free(data);
}

/* The code with which a CRMF request is refused, or -1. */
static int crmf_code(const struct cmc_crmf *crmf)
{
    struct buf der = cmc_crmf_make(3, crmf);
    struct csr *csr = NULL;
    enum est_cmc_fail fail;
    struct err err = {0};
    bool ok = est_crmf_csr(buf_bytes(&der), &csr, &fail, &err);
    assert_true(ok || (err.kind == ERR_PEER && err.text[0] && !csr));
    csr_free(csr);
    buf_free(&der);
    return ok ? -1 : (int)fail;
}

/* A CRMF request becomes a CSR with its subject, its key and its extensions, which says itself
 * that it has no signature: a door that wants one refuses it. */
static void test_crmf(void **state)
{
    EVP_PKEY *keys[] = {make_ec("P-256"), make_rsa(2048), make_ed25519()};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct buf der =
            cmc_crmf_make(3, &(struct cmc_crmf){.key = keys[i], .popo = 1, .extension = USAGE});
        struct csr *csr, *again;
        enum est_cmc_fail fail;
        struct err err;
        if (!est_crmf_csr(buf_bytes(&der), &csr, &fail, &err))
            fail_msg("%s", err.text);
        assert_string_equal(csr_names_get(csr)->subject_text, "CN=device");
        assert_int_equal(EVP_PKEY_eq(csr_spki_get(csr)->key, keys[i]), 1);
        assert_int_equal(sk_X509_EXTENSION_num(csr_extensions_get(csr)), 1);
        assert_false(csr_is_signed(csr));
        assert_false(csr_pop_check(csr, &err));
        assert_true(csr_parse(csr_der_get(csr), &again, &err)); /* as from the store */
        assert_false(csr_is_signed(again));
        csr_free(again);
        csr_free(csr);
        buf_free(&der);
        EVP_PKEY_free(keys[i]);
    }
}

/* RFC 5272 section 3.2.1.2.2: without possession nothing goes: none, the RA's word, or another
 * key's signature; and what the template may not ask for is refused, not ignored. */
static void test_crmf_refused(void **state)
{
    struct fixture *f = *state;
    const struct {
        struct cmc_crmf crmf;
        int code;
    } rows[] = {
        {{.key = f->key, .popo = 1}, -1},
        {{.key = f->key, .popo = 1, .field = "800102"}, -1}, /* version 3 */
        {{.key = f->key, .popo = -1}, EST_CMC_POP_REQUIRED},
        {{.key = f->key, .popo = 0}, EST_CMC_POP_FAILED},
        {{.key = f->key, .popo = 1, .signer = f->other}, EST_CMC_POP_FAILED},
        {{.key = f->key, .popo = 1, .controls = true}, EST_CMC_BAD_REQUEST},
        {{.key = f->key, .popo = 1, .reg_info = true}, EST_CMC_BAD_REQUEST},
        {{.key = f->key, .popo = 1, .field = "800101"}, EST_CMC_BAD_REQUEST}, /* version 2 */
        {{.key = f->key, .popo = 1, .field = "810101"}, EST_CMC_BAD_REQUEST}, /* serial number */
        {{.key = f->key,
          .popo = 1,
          .field = "a302"
                   "3000"},
         EST_CMC_BAD_REQUEST}, /* issuer */
        {{.key = f->key,
          .popo = 1,
          .field = "a502"
                   "3000"},
         EST_CMC_BAD_REQUEST}, /* 2 subjects */
        {{.key = f->key, .popo = 1, .extension = "3000"}, EST_CMC_BAD_REQUEST},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (crmf_code(&rows[i].crmf) != rows[i].code)
            fail_msg("row %zu: %d", i, crmf_code(&rows[i].crmf));
}

/* A CRMF request that is cut short anywhere, or has a bit flipped in what is signed, is refused. */
static void test_crmf_damaged(void **state)
{
    struct fixture *f = *state;
    struct buf der =
        cmc_crmf_make(3, &(struct cmc_crmf){.key = f->key, .popo = 1, .extension = USAGE});
    struct bytes cur = buf_bytes(&der);
    struct der request;
    struct csr *csr;
    enum est_cmc_fail fail;
    struct err err;
    assert_true(der_take(&cur, &request));
    for (size_t len = 0; len < der.len; len++)
        assert_false(est_crmf_csr(bytes_of(der.ptr, len), &csr, &fail, &err));
    for (size_t i = 0; i < request.whole.len; i++) {
        der.ptr[i] ^= (uint8_t)(1u << (i % 8));
        assert_false(est_crmf_csr(buf_bytes(&der), &csr, &fail, &err));
        der.ptr[i] ^= (uint8_t)(1u << (i % 8));
    }
    buf_free(&der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),          cmocka_unit_test(test_open_along),
        cmocka_unit_test(test_open_kinds),    cmocka_unit_test(test_open_long_serial),
        cmocka_unit_test(test_open_refused),  cmocka_unit_test(test_open_truncated),
        cmocka_unit_test(test_open_flipped),  cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refused), cmocka_unit_test(test_parse_truncated),
        cmocka_unit_test(test_crmf),          cmocka_unit_test(test_crmf_refused),
        cmocka_unit_test(test_crmf_damaged),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
