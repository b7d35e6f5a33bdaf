#include "base/csr.h"
#include "scep/msg.h"
#include "tests/support/pki_make.h"
#include "tests/support/scep_make.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CLOSED "the envelope cannot be decrypted"

enum { OLD = 0, NEW, STRANGER, KEY_COUNT };

struct fixture {
    EVP_PKEY *device_key, *keys[KEY_COUNT];
    struct cert *device, *certs[KEY_COUNT];
    struct buf csr;
};

static int setup(void **state)
{
    static const char *const names[KEY_COUNT] = {"CN=old RA", "CN=new RA", "CN=stranger"};
    static const char *const skis[KEY_COUNT] = {"0a0b0c", "1a1b1c", "2a2b2c"};
    struct fixture *f = mem_zalloc(sizeof *f);
    struct make_spec device = {.subject = "CN=device"};
    f->device_key = make_rsa(2048);
    f->device = make_cert(&device, f->device_key, NULL, NULL);
    f->csr = make_req_der(&device, f->device_key);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const char *extensions[] = {"subjectKeyIdentifier", skis[i], NULL};
        struct make_spec spec = {.subject = names[i], .extensions = extensions};
        f->keys[i] = make_rsa(2048);
        f->certs[i] = make_cert(&spec, f->keys[i], NULL, NULL);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY_free(f->device_key);
    cert_free(f->device);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        EVP_PKEY_free(f->keys[i]);
        cert_free(f->certs[i]);
    }
    buf_free(&f->csr);
    free(f);
    return 0;
}

/* A message around an envelope, parsed. */
static struct scep_msg *message(const struct fixture *f, struct bytes envelope)
{
    struct buf der = {0};
    struct scep_msg *msg = NULL;
    struct err err;
    enum scep_fail fail;
    bool partial;
    struct scep_make make = {.type = "19",
                             .txn = bytes_str("1"),
                             .content = envelope,
                             .signer = f->device,
                             .key = f->device_key};
    scep_make(&make, &der);
    assert_true(scep_msg_parse(buf_bytes(&der), &msg, &partial, &fail, &err));
    buf_free(&der);
    return msg;
}

struct opened {
    bool ok;
    int cipher;
    struct buf content;
    struct err err;
};

/* With the old and the new key of the RA. */
static struct opened open_bytes(const struct fixture *f, struct bytes envelope, bool allow_des3)
{
    struct scep_key keys[2] = {{f->certs[OLD], f->keys[OLD]}, {f->certs[NEW], f->keys[NEW]}};
    struct scep_opener opener = {keys, 2, allow_des3};
    struct scep_msg *msg = message(f, envelope);
    struct opened o = {0};
    o.ok = scep_msg_open(msg, &opener, &o.content, &o.cipher, &o.err);
    assert_int_equal(ERR_peek_error(), 0);
    scep_msg_free(msg);
    return o;
}

static struct opened open_made(const struct fixture *f, const struct scep_make_envelope *make,
                               bool allow_des3)
{
    struct buf envelope = {0};
    scep_make_envelope(make, buf_bytes(&f->csr), &envelope);
    struct opened o = open_bytes(f, buf_bytes(&envelope), allow_des3);
    buf_free(&envelope);
    return o;
}

static void assert_opens(const struct fixture *f, const struct scep_make_envelope *make)
{
    struct opened o = open_made(f, make, true);
    if (!o.ok)
        fail_msg("closed: %s", o.err.text);
    assert_true(bytes_equal(buf_bytes(&o.content), buf_bytes(&f->csr)));
    assert_int_equal(o.cipher, make->cipher ? make->cipher : NID_aes_128_cbc);
    assert_true(o.content.secret);
    buf_free(&o.content);
}

/* Whichever of the RA's keys it is for, named either way, by PKCS#1 v1.5 or OAEP, with each cipher:
 * an envelope opens. */
static void test_opens(void **state)
{
    static const int ciphers[] = {NID_aes_128_cbc, NID_aes_192_cbc, NID_aes_256_cbc,
                                  NID_des_ede3_cbc};
    static const int transports[] = {0, NID_sha1, NID_sha256};
    struct fixture *f = *state;
    for (size_t k = OLD; k <= NEW; k++)
        for (size_t c = 0; c < 4; c++)
            for (size_t t = 0; t < 3; t++)
                for (int by_ski = 0; by_ski < 2; by_ski++) {
                    struct scep_make_envelope make = {.recipient = f->certs[k],
                                                      .cipher = ciphers[c],
                                                      .oaep = transports[t],
                                                      .by_ski = by_ski};
                    assert_opens(f, &make);
                }
}

/* RSAES-OAEP with its parameters left out where they are the default (Windows) or all written, and
 * with a mask by another digest than the hash's (Android's key store). */
static void test_oaep(void **state)
{
    static const int digests[] = {NID_sha1, NID_sha256, NID_sha384, NID_sha512};
    struct fixture *f = *state;
    for (size_t d = 0; d < 4; d++)
        for (size_t m = 0; m < 4; m++)
            for (int whole = 0; whole < 2; whole++) {
                struct scep_make_envelope make = {.recipient = f->certs[NEW],
                                                  .oaep = digests[d],
                                                  .mask = digests[m],
                                                  .whole = whole};
                assert_opens(f, &make);
            }
}

/* An envelope that names its recipient eight times opens as well. */
static void test_many_recipients(void **state)
{
    struct fixture *f = *state;
    struct scep_make_envelope make = {.recipient = f->certs[NEW], .recipients = 8};
    assert_opens(f, &make);
}

/* 3DES stays closed unless it is allowed. */
static void test_des3(void **state)
{
    struct fixture *f = *state;
    struct scep_make_envelope make = {.recipient = f->certs[OLD], .cipher = NID_des_ede3_cbc};
    struct opened o = open_made(f, &make, false);
    assert_false(o.ok);
    assert_int_equal(o.err.kind, ERR_PEER);
    assert_int_equal(o.content.len, 0);
    buf_free(&o.content);
}

/* Indefinite lengths and ciphertext in segments open as well (Apple). */
static void test_indefinite(void **state)
{
    struct fixture *f = *state;
    static const int transports[] = {0, NID_sha1};
    for (size_t i = 0; i < 2; i++) {
        struct buf envelope = {0}, ber = {0};
        struct scep_make_envelope make = {.recipient = f->certs[NEW], .oaep = transports[i]};
        scep_make_envelope(&make, buf_bytes(&f->csr), &envelope);
        scep_make_indefinite(buf_bytes(&envelope), &ber);
        assert_false(bytes_equal(buf_bytes(&envelope), buf_bytes(&ber)));
        struct opened o = open_bytes(f, buf_bytes(&ber), false);
        if (!o.ok)
            fail_msg("closed: %s", o.err.text);
        assert_true(bytes_equal(buf_bytes(&o.content), buf_bytes(&f->csr)));
        buf_free(&o.content);
        buf_free(&envelope);
        buf_free(&ber);
    }
}

/* However decryption fails, the error is the same one. It may even succeed with garbage, which is
 * then no certification request. */
static void test_alike(void **state)
{
    static const int transports[] = {0, NID_sha1};
    struct fixture *f = *state;
    unsigned closed = 0;
    for (int round = 0; round < 4; round++)
        for (size_t t = 0; t < 2; t++)
            for (int fault = SCEP_MAKE_BAD_BLOCK; fault < SCEP_MAKE_FAULT_COUNT; fault++) {
                struct csr *csr = NULL;
                struct err ignored;
                struct scep_make_envelope make = {.recipient = f->certs[OLD],
                                                  .oaep = transports[t],
                                                  .fault = (enum scep_make_fault)fault};
                struct opened o = open_made(f, &make, false);
                if (o.ok) {
                    assert_false(csr_parse(buf_bytes(&o.content), &csr, &ignored));
                } else {
                    assert_string_equal(o.err.text, CLOSED);
                    assert_int_equal(o.err.kind, ERR_PEER);
                    closed++;
                }
                assert_int_equal(o.cipher, NID_aes_128_cbc);
                buf_free(&o.content);
            }
    assert_true(closed > 30); /* of 40; one in 256 garbles looks well padded */
}

/* An envelope for somebody else says so to the operator. */
static void test_stranger(void **state)
{
    struct fixture *f = *state;
    for (int by_ski = 0; by_ski < 2; by_ski++) {
        struct scep_make_envelope make = {.recipient = f->certs[STRANGER], .by_ski = by_ski};
        struct opened o = open_made(f, &make, false);
        assert_false(o.ok);
        assert_int_equal(o.err.kind, ERR_PEER);
        assert_non_null(strstr(o.err.text, "none of"));
        buf_free(&o.content);
    }
}

/* Content that is no envelope, or none at all, is refused. */
static void test_no_envelope(void **state)
{
    struct fixture *f = *state;
    struct opened o = open_bytes(f, buf_bytes(&f->csr), true);
    assert_false(o.ok);
    assert_int_equal(o.cipher, NID_undef);
    o = open_bytes(f, bytes_of("", 0), true);
    assert_false(o.ok);
    assert_int_equal(o.content.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens),           cmocka_unit_test(test_oaep),
        cmocka_unit_test(test_many_recipients), cmocka_unit_test(test_des3),
        cmocka_unit_test(test_indefinite),      cmocka_unit_test(test_alike),
        cmocka_unit_test(test_stranger),        cmocka_unit_test(test_no_envelope),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
