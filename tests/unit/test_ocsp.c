#include "base/clock.h"
#include "base/ocsp.h"
#include "tests/support/revocation_make.h"

#include <openssl/ocsp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(2000000000)
#define DAY INT64_C(86400)

struct asked {
    EVP_PKEY *key, *other_key, *responder_key;
    X509 *ca, *twin, *cert, *neighbour;
    struct ocsp_question *question;
};

static X509 *ca_of(const char *subject, EVP_PKEY *key)
{
    return make_x509(&(struct make_spec){.subject = subject,
                                         .ca = true,
                                         .not_before = NOW - 365 * DAY,
                                         .not_after = NOW + 365 * DAY},
                     key, NULL, NULL);
}

static X509 *issued(const struct asked *a, const struct make_spec *spec, EVP_PKEY *key)
{
    struct make_spec whole = *spec;
    whole.not_before = NOW - 100 * DAY;
    if (!whole.not_after)
        whole.not_after = NOW + DAY;
    return make_x509(&whole, key, a->ca, a->key);
}

static int setup(void **state)
{
    struct asked *a = mem_zalloc(sizeof *a);
    struct err err;
    clock_set(NOW);
    a->key = make_ec("P-256");
    a->other_key = make_ec("P-256");
    a->responder_key = make_ec("P-256");
    a->ca = ca_of("CN=ca", a->key);
    a->twin = ca_of("CN=ca", a->other_key);
    a->cert = issued(a, &(struct make_spec){.subject = "CN=d"}, a->other_key);
    a->neighbour = issued(a, &(struct make_spec){.subject = "CN=e"}, a->other_key);
    assert_true(ocsp_question_new(a->cert, a->ca, &a->question, &err));
    *state = a;
    return 0;
}

static int teardown(void **state)
{
    struct asked *a = *state;
    ocsp_question_free(a->question);
    EVP_PKEY_free(a->key);
    EVP_PKEY_free(a->other_key);
    EVP_PKEY_free(a->responder_key);
    X509_free(a->ca);
    X509_free(a->twin);
    X509_free(a->cert);
    X509_free(a->neighbour);
    free(a);
    clock_set(0);
    return 0;
}

static struct ocsp_spec spec_of(const struct asked *a)
{
    return (struct ocsp_spec){.subject = a->cert,
                              .issuer = a->ca,
                              .key = a->key,
                              .request = ocsp_question_der(a->question)};
}

static struct ocsp_answer answered(const struct asked *a, const struct ocsp_spec *spec)
{
    struct buf der = make_ocsp(spec);
    struct ocsp_answer answer;
    struct err err;
    if (!ocsp_response_read(buf_bytes(&der), a->question, clock_now(), &answer, &err))
        fail_msg("%s", err.text);
    buf_free(&der);
    return answer;
}

static void refused(const struct asked *a, const struct ocsp_spec *spec, const char *why)
{
    struct buf der = make_ocsp(spec);
    struct ocsp_answer answer;
    struct err err;
    if (ocsp_response_read(buf_bytes(&der), a->question, clock_now(), &answer, &err))
        fail_msg("taken, and should not be: %s", why);
    assert_int_equal(err.kind, ERR_PEER);
    if (!strstr(err.text, why))
        fail_msg("not \"%s\": %s", why, err.text);
    buf_free(&der);
}

/* Good, revoked and unknown arrive as such; of two answers the worse counts. */
static void test_status(void **state)
{
    struct asked *a = *state;
    struct ocsp_spec spec = spec_of(a);
    assert_int_equal(answered(a, &spec).status, OCSP_GOOD);
    assert_int_equal(answered(a, &spec).until, NOW + 3600);
    spec.also = V_OCSP_CERTSTATUS_REVOKED + 1;
    assert_int_equal(answered(a, &spec).status, OCSP_REVOKED);
    spec.also = 0;
    spec.status = V_OCSP_CERTSTATUS_REVOKED;
    assert_int_equal(answered(a, &spec).status, OCSP_REVOKED);
    spec.also = V_OCSP_CERTSTATUS_GOOD + 1;
    assert_int_equal(answered(a, &spec).status, OCSP_REVOKED);
    spec.status = V_OCSP_CERTSTATUS_UNKNOWN;
    assert_int_equal(answered(a, &spec).status, OCSP_UNKNOWN);
}

/* The asker's nonce is in what is signed, which helps to find a collision: SHA-1 is none. */
static void test_digest(void **state)
{
    struct asked *a = *state;
    struct ocsp_spec spec = spec_of(a);
    spec.md = EVP_sha384();
    assert_int_equal(answered(a, &spec).status, OCSP_GOOD);
    spec.md = EVP_sha1();
    refused(a, &spec, "an OCSP response signed with ecdsa-with-SHA1");
}

/* RFC 6960 section 4.2.2.2: who answers is the issuer or was told to by it, in a certificate for
 * that. */
static void test_responder(void **state)
{
    struct asked *a = *state;
    struct ocsp_spec spec = spec_of(a);
    X509 *delegated =
        issued(a, &(struct make_spec){.subject = "CN=o", .eku = "OCSPSigning"}, a->responder_key);
    X509 *plain = issued(a, &(struct make_spec){.subject = "CN=o"}, a->responder_key);
    X509 *late = issued(
        a, &(struct make_spec){.subject = "CN=o", .eku = "OCSPSigning", .not_after = NOW - 1},
        a->responder_key);
    X509 *stranger = make_x509(&(struct make_spec){.subject = "CN=o",
                                                   .eku = "OCSPSigning",
                                                   .not_before = NOW - DAY,
                                                   .not_after = NOW + DAY},
                               a->responder_key, a->twin, a->other_key);
    X509 *const no[] = {plain, late, stranger};
    spec.signer = delegated;
    spec.key = a->responder_key;
    assert_int_equal(answered(a, &spec).status, OCSP_GOOD);
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        spec.signer = no[i];
        refused(a, &spec, "does not vouch for");
    }
    spec.signer = a->twin;
    spec.key = a->other_key;
    refused(a, &spec, "does not vouch for");
    X509_free(delegated);
    X509_free(plain);
    X509_free(late);
    X509_free(stranger);
}

/* An answer about another certificate, or about one of the same serial by another CA, is none. */
static void test_about(void **state)
{
    struct asked *a = *state;
    struct ocsp_spec spec = spec_of(a);
    spec.subject = a->neighbour;
    refused(a, &spec, "about another certificate");
    spec = spec_of(a);
    spec.issuer = a->twin;
    spec.signer = a->ca;
    refused(a, &spec, "");
}

/* A nonce may be left out, as cached answers do; another one is a replay. */
static void test_nonce(void **state)
{
    struct asked *a = *state;
    struct ocsp_spec spec = spec_of(a);
    spec.request = (struct bytes){0};
    assert_int_equal(answered(a, &spec).status, OCSP_GOOD);
    spec.other_nonce = true;
    refused(a, &spec, "to another request");
}

/* Valid from thisUpdate to nextUpdate; without one for a minute, if it is young. */
static void test_times(void **state)
{
    struct asked *a = *state;
    struct ocsp_spec spec = spec_of(a);
    spec.this_update = NOW + 301;
    refused(a, &spec, "from the future");
    spec.this_update = NOW - DAY;
    spec.next_update = NOW;
    refused(a, &spec, "has expired");
    spec.next_update = NOW + 1;
    assert_int_equal(answered(a, &spec).until, NOW + 1);
    spec.next_update = -1;
    refused(a, &spec, "has expired");
    spec.this_update = NOW - 3600;
    assert_int_equal(answered(a, &spec).until, NOW + 60);
}

/* Of a certificate that has expired, a responder knows only as far back as it says. */
static void test_expired(void **state)
{
    struct asked *a = *state;
    struct ocsp_spec spec = spec_of(a);
    int64_t end = NOW + DAY;
    clock_set(end + 100);
    assert_int_equal(answered(a, &spec).status, OCSP_UNKNOWN);
    spec.cutoff = end + 1;
    assert_int_equal(answered(a, &spec).status, OCSP_UNKNOWN);
    spec.cutoff = end;
    assert_int_equal(answered(a, &spec).status, OCSP_GOOD);
    spec.status = V_OCSP_CERTSTATUS_REVOKED;
    spec.cutoff = 0;
    assert_int_equal(answered(a, &spec).status, OCSP_REVOKED);
}

/* A critical extension that nobody knows refuses the answer, and so does a failure. */
static void test_odd(void **state)
{
    struct asked *a = *state;
    static const uint8_t try_later[] = {0x30, 0x03, 0x0a, 0x01, 0x03};
    struct ocsp_spec spec = spec_of(a);
    struct ocsp_answer answer;
    struct err err;
    spec.critical = true;
    refused(a, &spec, "critical extension");
    assert_false(
        ocsp_response_read(bytes_of(try_later, sizeof try_later), a->question, NOW, &answer, &err));
    assert_non_null(strstr(err.text, "trylater"));
}

/* An answer that is cut off anywhere, has a byte behind it or a bit changed is never GOOD where it
 * was not. */
static void test_damaged(void **state)
{
    struct asked *a = *state;
    struct ocsp_spec spec = spec_of(a);
    spec.status = V_OCSP_CERTSTATUS_REVOKED;
    struct buf der = make_ocsp(&spec);
    struct ocsp_answer answer;
    struct err err;
    for (size_t len = 0; len < der.len; len++) {
        uint8_t *copy = malloc(len ? len : 1);
        assert_non_null(copy);
        memcpy(copy, der.ptr, len);
        assert_false(ocsp_response_read(bytes_of(copy, len), a->question, NOW, &answer, &err));
        free(copy);
    }
    for (size_t at = 0; at < der.len; at++) {
        der.ptr[at] ^= 1;
        if (ocsp_response_read(buf_bytes(&der), a->question, NOW, &answer, &err))
            assert_int_equal(answer.status, OCSP_REVOKED); /* of what is not signed */
        der.ptr[at] ^= 1;
    }
    assert_true(buf_add_u8(&der, 0));
    assert_false(ocsp_response_read(buf_bytes(&der), a->question, NOW, &answer, &err));
    buf_free(&der);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_status),  TEST(test_digest), TEST(test_responder),
        TEST(test_about),   TEST(test_nonce),  TEST(test_times),
        TEST(test_expired), TEST(test_odd),    TEST(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
