#include "tests/support/scep_calls.h"

#include <openssl/objects.h>
#include <stdlib.h>
#include <string.h>

#define SECRET "P\xc3\xa4ssw\xc3\xb6rt_@*1" /* as UTF-8 */
#define PLAIN "PASSWORT 12345"

/* A challengePassword as it stands in an attribute. */
struct value {
    int type; /* V_ASN1_... */
    const char *text;
    int len;
    const char *means; /* NULL: it is refused */
};

/* A PKCSReq whose CSR holds these challenges in one attribute. */
static struct scep_reply ask_door(const struct fixture *f, const struct value *values, size_t count)
{
    struct make_spec spec = {.subject = "CN=device"};
    X509_REQ *req = make_req(&spec, f->device_key);
    unsigned char *text = NULL;
    struct buf csr = {0};
    X509_ATTRIBUTE *attribute = X509_ATTRIBUTE_create_by_NID(
        NULL, NID_pkcs9_challengePassword, values[0].type, values[0].text, values[0].len);
    assert_non_null(attribute);
    for (size_t i = 1; i < count; i++)
        assert_int_equal(
            X509_ATTRIBUTE_set1_data(attribute, values[i].type, values[i].text, values[i].len), 1);
    assert_int_equal(X509_REQ_add1_attr(req, attribute), 1);
    X509_ATTRIBUTE_free(attribute);
    assert_true(X509_REQ_sign(req, f->device_key, EVP_sha256()) > 0);
    int len = i2d_X509_REQ(req, &text);
    assert_true(len > 0 && buf_set(&csr, bytes_of(text, (size_t)len)));
    struct buf envelope = sealed(f, NULL, buf_bytes(&csr));
    struct scep_make make = good(f);
    make.content = buf_bytes(&envelope);
    struct scep_reply reply = post_made(f, &make, NULL);
    OPENSSL_free(text);
    X509_REQ_free(req);
    buf_free(&csr);
    buf_free(&envelope);
    return reply;
}

/* Whatever string type carries it, validators get the same UTF-8. */
static void test_types(void **state)
{
    static const struct value values[] = {
        {V_ASN1_PRINTABLESTRING, PLAIN, sizeof PLAIN - 1, PLAIN},
        /* Windows writes characters into a PrintableString that it cannot hold. */
        {V_ASN1_PRINTABLESTRING, "A_@*1", 5, "A_@*1"},
        {V_ASN1_IA5STRING, "A_@*1", 5, "A_@*1"},
        {V_ASN1_UTF8STRING, SECRET, sizeof SECRET - 1, SECRET},
        {V_ASN1_T61STRING, "P\xe4ssw\xf6rt_@*1", 12, SECRET}, /* Latin-1, as everybody takes it */
        {V_ASN1_BMPSTRING, "\0P\0\xe4\0s\0s\0w\0\xf6\0r\0t\0_\0@\0*\0001", 24, SECRET},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct scep_reply reply = ask_door(f, &values[i], 1);
        if (strcmp(reply.note.outcome, "issued") != 0)
            fail_msg("%zu: %s", i, reply.note.detail);
        assert_success(f, &reply, &f->issued, 1);
        assert_string_equal(asked.challenge, values[i].means);
    }
}

/* What is no text of its type, holds a NUL, or has two values reaches nobody. */
static void test_refused(void **state)
{
    static const struct {
        struct value values[2];
        size_t count;
    } rows[] = {
        {{{V_ASN1_UTF8STRING, "\xff\xfe", 2, NULL}}, 1},
        {{{V_ASN1_UTF8STRING, "a\0b", 3, NULL}}, 1},
        {{{V_ASN1_BMPSTRING, "\0a\0\0\0b", 6, NULL}}, 1},
        {{{V_ASN1_OCTET_STRING, "abc", 3, NULL}}, 1},
        {{{V_ASN1_UNIVERSALSTRING, "\0\0\0A", 4, NULL}}, 1},
        {{{V_ASN1_UTF8STRING, "one", 3, NULL}, {V_ASN1_UTF8STRING, "one", 3, NULL}}, 2},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scep_reply reply = ask_door(f, rows[i].values, rows[i].count);
        assert_string_equal(reply.note.reason, "bad-envelope");
        assert_failure(f, &reply, SCEP_BAD_MESSAGE_CHECK);
    }
    assert_int_equal(asked.calls, 0);
}

/* Intune's challenges have some 5 KB; they reach the validators whole. */
static void test_long(void **state)
{
    static const size_t lens[] = {256, 5120, CSR_CHALLENGE_MAX};
    struct fixture *f = *state;
    char *text = mem_zalloc(CSR_CHALLENGE_MAX + 2);
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        memset(text, 0, CSR_CHALLENGE_MAX + 2);
        for (size_t n = 0; n < lens[i]; n++)
            text[n] = (char)('A' + (int)(n % 26));
        struct value value = {V_ASN1_PRINTABLESTRING, text, (int)lens[i], text};
        struct scep_reply reply = ask_door(f, &value, 1);
        assert_success(f, &reply, &f->issued, 1);
        assert_string_equal(asked.challenge, text);
    }
    unsigned calls = asked.calls;
    memset(text, 'A', CSR_CHALLENGE_MAX + 1);
    struct value value = {V_ASN1_PRINTABLESTRING, text, (int)CSR_CHALLENGE_MAX + 1, NULL};
    struct scep_reply reply = ask_door(f, &value, 1);
    assert_failure(f, &reply, SCEP_BAD_MESSAGE_CHECK);
    assert_int_equal(asked.calls, calls);
    free(text);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, scep_calls_reset)
    const struct CMUnitTest tests[] = {T(test_types), T(test_refused), T(test_long)};
    return cmocka_run_group_tests(tests, scep_calls_setup, scep_calls_teardown);
}
