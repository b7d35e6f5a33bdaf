#include "base/der.h"
#include "base/pem.h"
#include "scep/check.h"
#include "scep/msg.h"
#include "tests/support/pki_make.h"

#include <openssl/cms.h>
#include <openssl/objects.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TXN "a/b+c="
#define NONCE "0123456789abcdef"
#define THEIR_NONCE "fedcba98"

struct fixture {
    EVP_PKEY *ra_key, *device_key, *ec_key;
    struct cert *ra, *device, *ec;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    f->ra_key = make_rsa(2048);
    f->device_key = make_rsa(2048);
    f->ec_key = make_ec("P-256");
    f->ra = make_cert(&(struct make_spec){.subject = "CN=ra"}, f->ra_key, NULL, NULL);
    f->device = make_cert(&(struct make_spec){.subject = "CN=device"}, f->device_key, NULL, NULL);
    f->ec = make_cert(&(struct make_spec){.subject = "CN=ec"}, f->ec_key, NULL, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY_free(f->ra_key);
    EVP_PKEY_free(f->device_key);
    EVP_PKEY_free(f->ec_key);
    cert_free(f->ra);
    cert_free(f->device);
    cert_free(f->ec);
    free(f);
    return 0;
}

static struct scep_out reply(const struct fixture *f, enum scep_status status)
{
    return (struct scep_out){
        .type = SCEP_CERTREP,
        .txn = bytes_str(TXN),
        .sender_nonce = bytes_str(NONCE),
        .recipient_nonce = bytes_str(THEIR_NONCE),
        .status = status,
        .algs = {NID_sha256, NID_aes_128_cbc},
        .signer = {f->ra, f->ra_key},
    };
}

static struct scep_out request(const struct fixture *f, enum scep_type type)
{
    return (struct scep_out){
        .type = type,
        .txn = bytes_str(TXN),
        .sender_nonce = bytes_str(NONCE),
        .content = bytes_str("a request"),
        .recipient = f->ra,
        .algs = {NID_sha256, NID_aes_128_cbc},
        .signer = {f->device, f->device_key},
    };
}

/* No element anywhere has an indefinite length. */
static void assert_definite(struct bytes cur)
{
    struct der item;
    while (cur.len) {
        assert_true(der_take(&cur, &item));
        assert_false(item.indefinite);
        if (item.tag & 0x20)
            assert_definite(item.content);
    }
}

/* Encodes, looks at the form, and decodes again. */
static struct scep_msg *there_and_back(const struct scep_out *out)
{
    struct buf der = {0};
    struct scep_msg *msg = NULL;
    struct cms_signed found;
    struct err err;
    enum scep_fail fail;
    bool partial;
    if (!scep_msg_encode(out, &der, &err))
        fail_msg("%s", err.text);
    assert_definite(buf_bytes(&der));
    assert_true(scep_signed_take(buf_bytes(&der), &found, &err));
    assert_int_equal(found.cert_count, 1);
    assert_true(bytes_equal(found.certs[0], cert_der_get(out->signer.cert)));
    if (cert_spki_get(out->signer.cert)->kind == SPKI_RSA)
        assert_int_equal(found.signature, NID_rsaEncryption);
    if (!scep_msg_parse(buf_bytes(&der), &msg, &partial, &fail, &err))
        fail_msg("%s", err.text);
    assert_int_equal(scep_msg_type_get(msg), out->type);
    assert_true(bytes_equal(scep_msg_txn_get(msg), out->txn));
    assert_true(bytes_equal(scep_msg_nonce_get(msg), out->sender_nonce));
    assert_true(bytes_equal(scep_msg_recipient_nonce_get(msg), out->recipient_nonce));
    assert_int_equal(scep_msg_algs_get(msg).digest, out->algs.digest);
    buf_free(&der);
    return msg;
}

static void assert_content(const struct scep_msg *msg, struct scep_key key, int want_cipher,
                           const char *want)
{
    struct scep_opener opener = {&key, 1, true};
    struct buf content = {0};
    struct err err;
    int cipher;
    if (!scep_msg_open(msg, &opener, &content, &cipher, &err))
        fail_msg("%s", err.text);
    assert_int_equal(cipher, want_cipher);
    assert_true(bytes_equal_str(buf_bytes(&content), want));
    buf_free(&content);
}

/* Requests of every kind, with every digest and cipher, are read as they were written. */
static void test_requests(void **state)
{
    static const enum scep_type types[] = {SCEP_PKCSREQ, SCEP_RENEWALREQ, SCEP_CERTPOLL,
                                           SCEP_GETCERT, SCEP_GETCRL};
    static const int digests[] = {NID_sha1, NID_sha256, NID_sha384, NID_sha512};
    static const int ciphers[] = {NID_aes_128_cbc, NID_aes_256_cbc, NID_des_ede3_cbc};
    struct fixture *f = *state;
    for (size_t t = 0; t < 5; t++)
        for (size_t d = 0; d < 4; d++)
            for (size_t c = 0; c < 3; c++) {
                struct scep_out out = request(f, types[t]);
                out.algs = (struct scep_algs){digests[d], ciphers[c]};
                struct scep_msg *msg = there_and_back(&out);
                assert_int_equal(scep_msg_status_get(msg), -1);
                assert_content(msg, (struct scep_key){f->ra, f->ra_key}, ciphers[c], "a request");
                scep_msg_free(msg);
            }
}

/* A SUCCESS carries the content for the device, and nothing about a failure. */
static void test_success(void **state)
{
    struct fixture *f = *state;
    struct scep_out out = reply(f, SCEP_SUCCESS);
    out.content = bytes_str("certificates");
    out.recipient = f->device;
    struct scep_msg *msg = there_and_back(&out);
    assert_int_equal(scep_msg_status_get(msg), SCEP_SUCCESS);
    assert_int_equal(scep_msg_fail_get(msg), -1);
    assert_content(msg, (struct scep_key){f->device, f->device_key}, NID_aes_128_cbc,
                   "certificates");
    scep_msg_free(msg);
}

/* PENDING and FAILURE have no envelope (RFC 8894 section 3.3.2); failInfo comes with FAILURE only.
 */
static void test_no_envelope(void **state)
{
    struct fixture *f = *state;
    struct scep_out out = reply(f, SCEP_PENDING);
    struct scep_msg *msg = there_and_back(&out);
    assert_int_equal(scep_msg_status_get(msg), SCEP_PENDING);
    assert_int_equal(scep_msg_fail_get(msg), -1);
    assert_int_equal(scep_msg_content_get(msg).len, 0);
    scep_msg_free(msg);
    for (int fail = SCEP_BAD_ALG; fail <= SCEP_BAD_CERT_ID; fail++) {
        out = reply(f, SCEP_FAILURE);
        out.fail = (enum scep_fail)fail;
        out.fail_text = fail % 2 ? "why" : NULL;
        msg = there_and_back(&out);
        assert_int_equal(scep_msg_status_get(msg), SCEP_FAILURE);
        assert_int_equal(scep_msg_fail_get(msg), fail);
        assert_int_equal(scep_msg_content_get(msg).len, 0);
        scep_msg_free(msg);
    }
}

/* An RA with an EC key signs with ECDSA; a reply for an EC key cannot be made. */
static void test_ec(void **state)
{
    struct fixture *f = *state;
    struct scep_out out = reply(f, SCEP_PENDING);
    out.signer = (struct scep_key){f->ec, f->ec_key};
    scep_msg_free(there_and_back(&out));
    struct buf der = {0};
    struct err err = {0};
    out = reply(f, SCEP_SUCCESS);
    out.content = bytes_str("certificates");
    out.recipient = f->ec;
    assert_false(scep_msg_encode(&out, &der, &err));
    assert_int_equal(err.kind, ERR_PEER);
    assert_int_equal(der.len, 0);
    buf_free(&der);
}

/* OpenSSL reads the same message and writes it back byte for byte: it is DER, attributes in order.
 */
static void test_openssl_agrees(void **state)
{
    struct fixture *f = *state;
    struct scep_out outs[] = {request(f, SCEP_PKCSREQ), reply(f, SCEP_FAILURE)};
    for (size_t i = 0; i < 2; i++) {
        struct buf der = {0};
        struct err err;
        assert_true(scep_msg_encode(&outs[i], &der, &err));
        const unsigned char *p = der.ptr;
        unsigned char *again = NULL;
        CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.len);
        assert_non_null(cms);
        assert_int_equal(CMS_verify(cms, NULL, NULL, NULL, NULL, CMS_NO_SIGNER_CERT_VERIFY), 1);
        int len = i2d_CMS_ContentInfo(cms, &again);
        assert_true(bytes_equal(bytes_of(again, (size_t)len), buf_bytes(&der)));
        CMS_SignerInfo *info = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
        X509_ATTRIBUTE *earlier = NULL;
        for (int n = 0; n < CMS_signed_get_attr_count(info); n++) {
            X509_ATTRIBUTE *attribute = CMS_signed_get_attr(info, n);
            unsigned char *a = NULL, *b = NULL;
            if (earlier) {
                int a_len = i2d_X509_ATTRIBUTE(earlier, &a),
                    b_len = i2d_X509_ATTRIBUTE(attribute, &b);
                assert_true(memcmp(a, b, (size_t)(a_len < b_len ? a_len : b_len)) < 0);
            }
            OPENSSL_free(a);
            OPENSSL_free(b);
            earlier = attribute;
        }
        OPENSSL_free(again);
        CMS_ContentInfo_free(cms);
        buf_free(&der);
    }
}

/* Two encodings of the same differ: nonce apart, key and IV are fresh. */
static void test_fresh(void **state)
{
    struct fixture *f = *state;
    struct scep_out out = request(f, SCEP_PKCSREQ);
    struct scep_msg *first = there_and_back(&out), *second = there_and_back(&out);
    struct bytes a = scep_msg_content_get(first), b = scep_msg_content_get(second);
    assert_int_equal(a.len, b.len);
    assert_memory_not_equal(a.ptr + a.len - 16, b.ptr + b.len - 16, 16);
    scep_msg_free(first);
    scep_msg_free(second);
}

/* A ceiling that is too low for the message is an error, never a shorter message. */
static void test_ceiling(void **state)
{
    struct fixture *f = *state;
    struct scep_out out = request(f, SCEP_PKCSREQ);
    for (size_t max = 1; max < 1500; max += 37) {
        struct buf der = BUF_INIT(max);
        struct err err = {0};
        assert_false(scep_msg_encode(&out, &der, &err));
        assert_int_equal(err.kind, ERR_LOCAL);
        buf_free(&der);
    }
}

/* A bag comes back in its order, however many of up to eight there are. */
static void test_bag(void **state)
{
    struct fixture *f = *state;
    struct bytes certs[SCEP_CERTS_MAX + 1];
    for (size_t i = 0; i < SCEP_CERTS_MAX + 1; i++)
        certs[i] = cert_der_get(i % 3 == 0 ? f->device : i % 3 == 1 ? f->ec : f->ra);
    for (size_t n = 1; n <= SCEP_CERTS_MAX + 1; n++) {
        struct buf der = {0};
        struct cert **back = NULL;
        size_t count = 0;
        struct err err = {0};
        assert_true(pem_certs_only_encode(certs, n, &der));
        bool ok = scep_certs_decode(buf_bytes(&der), &back, &count, &err);
        assert_int_equal(ok, n <= SCEP_CERTS_MAX);
        assert_int_equal(count, ok ? n : 0);
        for (size_t i = 0; i < count; i++)
            assert_true(bytes_equal(cert_der_get(back[i]), certs[i]));
        if (ok)
            pem_certs_free(back, count);
        buf_free(&der);
    }
}

/* A bag that is cut short anywhere is refused. */
static void test_bag_truncated(void **state)
{
    struct fixture *f = *state;
    struct bytes certs[2] = {cert_der_get(f->device), cert_der_get(f->ra)};
    struct buf der = {0};
    assert_true(pem_certs_only_encode(certs, 2, &der));
    for (size_t n = 0; n < der.len; n++) {
        struct cert **back = NULL;
        size_t count = 0;
        struct err err = {0};
        assert_false(scep_certs_decode(bytes_of(der.ptr, n), &back, &count, &err));
        assert_int_equal(err.kind, ERR_PEER);
        assert_null(back);
    }
    buf_free(&der);
}

/* IssuerAndSubject is a SEQUENCE of the two names (RFC 8894 section 3.3.3). */
static void test_poll(void **state)
{
    struct fixture *f = *state;
    struct buf der = {0};
    struct bytes issuer = cert_issuer_get(f->ra), subject = cert_issuer_get(f->device), cur;
    struct der outer, name;
    assert_true(scep_poll_content(issuer, subject, &der));
    cur = buf_bytes(&der);
    assert_true(der_take_tag(&cur, DER_SEQUENCE, &outer) && cur.len == 0);
    assert_true(der_take(&outer.content, &name) && bytes_equal(name.whole, issuer));
    assert_true(der_take(&outer.content, &name) && bytes_equal(name.whole, subject));
    assert_int_equal(outer.content.len, 0);
    buf_free(&der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),       cmocka_unit_test(test_success),
        cmocka_unit_test(test_no_envelope),    cmocka_unit_test(test_ec),
        cmocka_unit_test(test_openssl_agrees), cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_ceiling),        cmocka_unit_test(test_bag),
        cmocka_unit_test(test_bag_truncated),  cmocka_unit_test(test_poll),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
