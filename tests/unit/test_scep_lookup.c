#include "tests/support/scep_calls.h"

#include "base/clock.h"
#include "base/der.h"
#include "base/pem.h"

#include <openssl/cms.h>
#include <openssl/objects.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const types[] = {"21", "22"};

/* A message of that type whose envelope, made as seal says, holds this content. */
static struct scep_reply ask(struct fixture *f, const char *type, struct bytes content,
                             const struct scep_make_envelope *seal)
{
    struct scep_make make = good(f);
    struct buf envelope = sealed(f, seal, content);
    make.type = type;
    make.content = buf_bytes(&envelope);
    struct scep_reply reply = post_made(f, &make, NULL);
    buf_free(&envelope);
    return reply;
}

/* What the SUCCESS in a reply holds for the device. Clears the reply. */
static struct buf opened(struct fixture *f, struct scep_reply *reply)
{
    struct scep_msg *msg = rep_of(f, reply);
    struct scep_key key = {f->device, f->device_key};
    struct scep_opener opener = {&key, 1, SCEP_CIPHERS_AES};
    struct buf bag = {0};
    struct err err;
    int cipher;
    assert_int_equal(scep_msg_status_get(msg), SCEP_SUCCESS);
    assert_true(scep_msg_open(msg, &opener, &bag, &cipher, &err));
    assert_string_equal(reply->note.outcome, "answered");
    assert_string_equal(reply->delivers, "");
    scep_msg_free(msg);
    scep_reply_clear(reply);
    return bag;
}

/* A GetCert gets the certificate alone, enveloped to the signer; its issuer and serial number reach
 * the lookup, and the signer as evidence. */
static void test_cert(void **state)
{
    struct fixture *f = *state;
    struct buf content = {0};
    struct cert **certs;
    size_t count;
    struct err err;
    asked.may = true;
    asked.cert = f->issued;
    assert_true(scep_wanted_encode(f->issued, &content));
    struct scep_reply reply = ask(f, "21", buf_bytes(&content), NULL);
    assert_string_equal(reply.note.operation, "GetCert");
    struct buf bag = opened(f, &reply);
    assert_true(scep_certs_decode(buf_bytes(&bag), &certs, &count, &err));
    assert_int_equal(count, 1);
    assert_true(bytes_equal(cert_der_get(certs[0]), cert_der_get(f->issued)));
    assert_string_equal(asked.serial, cert_serial_get(f->issued));
    assert_false(asked.any_issuer);
    assert_true(bytes_equal(buf_bytes(&asked.holder), cert_der_get(f->device)));
    assert_int_equal(asked.calls, 0);
    pem_certs_free(certs, count);
    buf_free(&bag);
    buf_free(&content);
}

static struct buf crl_make(struct fixture *f)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *now = ASN1_TIME_set(NULL, 1700000000);
    unsigned char *der = NULL;
    struct buf out = {0};
    assert_true(X509_CRL_set_issuer_name(crl, X509_get_subject_name(cert_x509_get(f->issuer))) &&
                X509_CRL_set1_lastUpdate(crl, now) && X509_CRL_set1_nextUpdate(crl, now) &&
                X509_CRL_sign(crl, f->ca_key, EVP_sha256()));
    int len = i2d_X509_CRL(crl, &der);
    assert_true(len > 0 && buf_set(&out, bytes_of(der, (size_t)len)));
    OPENSSL_free(der);
    ASN1_TIME_free(now);
    X509_CRL_free(crl);
    return out;
}

/* A GetCRL gets the CRL and nothing else in a degenerate SignedData, as OpenSSL reads it. */
static void test_crl(void **state)
{
    struct fixture *f = *state;
    struct buf content = {0}, crl = crl_make(f);
    asked.may = true;
    asked.crl = buf_bytes(&crl);
    assert_true(scep_wanted_encode(f->issued, &content));
    struct scep_reply reply = ask(f, "22", buf_bytes(&content), NULL);
    assert_string_equal(reply.note.operation, "GetCRL");
    struct buf bag = opened(f, &reply);
    const unsigned char *p = bag.ptr;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)bag.len);
    assert_non_null(cms);
    assert_ptr_equal(p, bag.ptr + bag.len);
    assert_null(CMS_get1_certs(cms));
    assert_int_equal(sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)), 0);
    STACK_OF(X509_CRL) *crls = CMS_get1_crls(cms);
    assert_int_equal(sk_X509_CRL_num(crls), 1);
    unsigned char *der = NULL;
    int len = i2d_X509_CRL(sk_X509_CRL_value(crls, 0), &der);
    assert_true(bytes_equal(bytes_of(der, (size_t)len), buf_bytes(&crl)));
    OPENSSL_free(der);
    sk_X509_CRL_pop_free(crls, X509_CRL_free);
    CMS_ContentInfo_free(cms);
    buf_free(&bag);
    buf_free(&crl);
    buf_free(&content);
}

/* Who may not ask, and what is not found, get badCertId and no difference; what could not be
 * decided is 503. */
static void test_refused(void **state)
{
    struct fixture *f = *state;
    struct buf content = {0};
    assert_true(scep_wanted_encode(f->issued, &content));
    for (size_t i = 0; i < 2; i++) {
        asked.may = asked.fails = asked.lookup_fails = false;
        struct scep_reply stranger = ask(f, types[i], buf_bytes(&content), NULL);
        asked.may = true;
        struct scep_reply nothing = ask(f, types[i], buf_bytes(&content), NULL);
        assert_int_equal(stranger.body.len, nothing.body.len);
        assert_string_equal(stranger.note.reason, "unknown-certificate");
        assert_failure(f, &stranger, SCEP_BAD_CERT_ID);
        assert_failure(f, &nothing, SCEP_BAD_CERT_ID);
        for (int which = 0; which < 2; which++) {
            asked.fails = which == 0;
            asked.lookup_fails = which == 1;
            struct scep_reply reply = ask(f, types[i], buf_bytes(&content), NULL);
            assert_int_equal(reply.status, 503);
            assert_true(reply.note.fault);
            scep_reply_clear(&reply);
        }
    }
    assert_int_equal(asked.calls, 0);
    buf_free(&content);
}

/* The RA's name stands for any CA of the profile: clients are seen to write it. */
static void test_ra_named(void **state)
{
    struct fixture *f = *state;
    const struct names *names = cert_names_get(f->ra[RA_OLD]);
    static const uint8_t serial[] = {DER_INTEGER, 2, 0, 0x81};
    for (size_t i = 0; i < 2; i++) {
        struct buf content = {0};
        assert_true(buf_set(&content, buf_bytes(&names->subject)) &&
                    buf_add(&content, bytes_of(serial, sizeof serial)) &&
                    der_wrap(&content, 0, DER_SEQUENCE));
        asked.may = true;
        struct scep_reply reply = ask(f, types[i], buf_bytes(&content), NULL);
        assert_failure(f, &reply, SCEP_BAD_CERT_ID);
        assert_true(asked.any_issuer);
        assert_string_equal(asked.serial, "81");
        buf_free(&content);
    }
}

/* A content that is none, and an envelope that cannot be opened, get the same badMessageCheck and
 * look nothing up; a stranger's is not even opened. */
static void test_content(void **state)
{
    struct fixture *f = *state;
    struct scep_make_envelope bad = {.recipient = f->ra[RA_NEW], .fault = SCEP_MAKE_BAD_PAD};
    struct buf content = {0};
    assert_true(scep_wanted_encode(f->issued, &content));
    for (size_t i = 0; i < 2; i++) {
        asked.may = true;
        asked.lookups = 0;
        struct scep_reply csr = ask(f, types[i], buf_bytes(&f->csr), NULL);
        struct scep_reply pad = ask(f, types[i], buf_bytes(&content), &bad);
        assert_int_equal(csr.body.len, pad.body.len);
        assert_string_equal(csr.note.reason, pad.note.reason);
        assert_failure(f, &csr, SCEP_BAD_MESSAGE_CHECK);
        assert_failure(f, &pad, SCEP_BAD_MESSAGE_CHECK);
        assert_int_equal(asked.lookups, 2); /* whether they may */
        asked.may = false;
        pad = ask(f, types[i], buf_bytes(&content), &bad);
        assert_failure(f, &pad, SCEP_BAD_CERT_ID);
    }
    buf_free(&content);
}

/* Nor do they differ in time: either answer is begun when a multiple of 10 ms has passed since the
 * message came. Holders of certificates could otherwise decrypt what others sent. */
static void test_content_time(void **state)
{
    struct fixture *f = *state;
    const struct scep_make_envelope seals[] = {
        {.recipient = f->ra[RA_NEW]}, {.recipient = f->ra[RA_NEW], .fault = SCEP_MAKE_BAD_PAD}};
    asked.may = true;
    for (size_t i = 0; i < 20; i++) {
        struct scep_make make = good(f);
        struct buf envelope = sealed(f, &seals[i % 2], buf_bytes(&f->csr));
        make.type = types[i / 2 % 2];
        make.content = buf_bytes(&envelope);
        struct buf message = message_of(f, &make, NULL);
        int64_t start = clock_mono_ns();
        struct scep_reply reply = post(f, buf_bytes(&message));
        assert_true(clock_mono_ns() - start >= 10000000);
        assert_failure(f, &reply, SCEP_BAD_MESSAGE_CHECK);
        buf_free(&message);
        buf_free(&envelope);
    }
}

static bool decodes(struct bytes der, char serial[CERT_SERIAL_TEXT_MAX])
{
    struct bytes issuer;
    struct err err;
    return scep_wanted_decode(der, &issuer, serial, &err);
}

/* The content is read whole or not at all: every truncation, every byte behind it, numbers that are
 * negative, empty or too long. */
static void test_decode(void **state)
{
    struct fixture *f = *state;
    char serial[CERT_SERIAL_TEXT_MAX];
    struct buf whole = {0};
    assert_true(scep_wanted_encode(f->issued, &whole));
    assert_true(decodes(buf_bytes(&whole), serial));
    for (size_t len = 0; len < whole.len; len++) {
        uint8_t *cut = mem_zalloc(len ? len : 1);
        memcpy(cut, whole.ptr, len);
        assert_false(decodes(bytes_of(cut, len), serial));
        free(cut);
    }
    assert_true(buf_add_u8(&whole, 0));
    assert_false(decodes(buf_bytes(&whole), serial));
    buf_free(&whole);

    static const struct {
        size_t len;
        uint8_t first;
        bool fine;
    } rows[] = {{0, 0, false}, {1, 0, true},     {1, 0x7f, true},  {1, 0x80, false},
                {2, 0, true},  {32, 0x7f, true}, {33, 0x00, true}, {33, 0x7f, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t octets[40];
        struct buf der = {0};
        memset(octets, 0x91, sizeof octets);
        octets[0] = rows[i].first;
        assert_true(buf_set(&der, cert_issuer_get(f->issuer)) &&
                    der_add(&der, DER_INTEGER, bytes_of(octets, rows[i].len)) &&
                    der_wrap(&der, 0, DER_SEQUENCE));
        assert_int_equal(decodes(buf_bytes(&der), serial), rows[i].fine);
        buf_free(&der);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, scep_calls_reset)
    const struct CMUnitTest tests[] = {T(test_cert),     T(test_crl),     T(test_refused),
                                       T(test_ra_named), T(test_content), T(test_content_time),
                                       T(test_decode)};
    return cmocka_run_group_tests(tests, scep_calls_setup, scep_calls_teardown);
}
