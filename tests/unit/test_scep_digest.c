#include "scep/msg.h"
#include "tests/support/pki_make.h"
#include "tests/support/scep_make.h"

#include <openssl/objects.h>
#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    EVP_PKEY *key, *other_key;
    struct cert *device, *other;
    struct scep_make good;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    f->key = make_rsa(2048);
    f->other_key = make_rsa(2048);
    f->device = make_cert(&(struct make_spec){.subject = "CN=device"}, f->key, NULL, NULL);
    f->other = make_cert(&(struct make_spec){.subject = "CN=other"}, f->other_key, NULL, NULL);
    f->good = (struct scep_make){.type = "19",
                                 .txn = bytes_str("1"),
                                 .nonce = bytes_str("0123456789abcdef"),
                                 .content = bytes_str("content"),
                                 .signer = f->device,
                                 .key = f->key};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY_free(f->key);
    EVP_PKEY_free(f->other_key);
    cert_free(f->device);
    cert_free(f->other);
    free(f);
    return 0;
}

/* False if the message is refused, or is no request. */
static bool digest_of(struct bytes der, uint8_t digest[SHA256_DIGEST_LENGTH])
{
    struct scep_msg *msg = NULL;
    enum scep_fail fail;
    struct err err;
    bool partial, ok = scep_msg_parse(der, &msg, &partial, &fail, &err);
    ok = ok && scep_msg_type_get(msg) >= 0;
    if (ok)
        memcpy(digest, scep_msg_digest_get(msg), SHA256_DIGEST_LENGTH);
    scep_msg_free(msg);
    return ok;
}

static void digest_made(const struct scep_make *make, uint8_t digest[SHA256_DIGEST_LENGTH])
{
    struct buf der = {0};
    scep_make(make, &der);
    assert_true(digest_of(buf_bytes(&der), digest));
    buf_free(&der);
}

/* Whoever captured a message can write it otherwise, in BER, with other certificates, with a bit
 * turned that nobody signed, and it is the same message. */
static void test_same(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[SHA256_DIGEST_LENGTH], found[SHA256_DIGEST_LENGTH];
    struct buf der = {0}, ber = {0};
    scep_make(&f->good, &der);
    assert_true(digest_of(buf_bytes(&der), digest));
    scep_make_indefinite(buf_bytes(&der), &ber);
    assert_true(digest_of(buf_bytes(&ber), found));
    assert_memory_equal(found, digest, sizeof digest);

    const struct bytes certs[] = {cert_der_get(f->other), cert_der_get(f->device)};
    struct scep_make more = f->good;
    more.certs = certs;
    more.cert_count = 2;
    digest_made(&more, found);
    assert_memory_equal(found, digest, sizeof digest);

    size_t taken = 0;
    for (size_t n = 0; n < der.len; n++)
        for (unsigned bit = 0; bit < 8; bit++) {
            der.ptr[n] ^= (uint8_t)(1u << bit);
            if (digest_of(buf_bytes(&der), found)) {
                assert_memory_equal(found, digest, sizeof digest);
                taken++;
            }
            der.ptr[n] ^= (uint8_t)(1u << bit);
        }
    assert_true(taken > 1000); /* in the certificate, which is not signed with the message */
    buf_free(&der);
    buf_free(&ber);
}

/* Whoever signs anew makes another message, whichever of its parts is another one. */
static void test_other(void **state)
{
    enum { COUNT = 6 };
    struct fixture *f = *state;
    uint8_t digests[COUNT][SHA256_DIGEST_LENGTH];
    struct scep_make makes[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        makes[i] = f->good;
    makes[1].type = "17";
    makes[2].txn = bytes_str("2");
    makes[3].content = bytes_str("contend");
    makes[4].digest = NID_sha512;
    makes[5].signer = f->other;
    makes[5].key = f->other_key;
    for (size_t i = 0; i < COUNT; i++) {
        digest_made(&makes[i], digests[i]);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(digests[i], digests[k], SHA256_DIGEST_LENGTH);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same), cmocka_unit_test(test_other)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
