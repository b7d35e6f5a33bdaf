#include "base/text.h"
#include "tests/support/est_calls.h"

#include <string.h>

static const char unique[] = "twelve bytes";                       /* as long as tls-unique */
static const char exporter[] = "thirty-two bytes of an exporter."; /* as long as tls-exporter */
#define UNIQUE "dHdlbHZlIGJ5dGVz"
#define EXPORTER "dGhpcnR5LXR3byBieXRlcyBvZiBhbiBleHBvcnRlci4="

/* The status and the log's reason for a simpleenroll with this challengePassword or none (NULL). */
static int enroll(struct fixture *f, const char *password, int type, struct bytes binding,
                  const char **reason)
{
    struct make_spec spec = {.subject = "CN=device", .challenge = password, .challenge_type = type};
    struct buf der = make_req_der(&spec, f->key);
    struct est_call call = call_of(f, EST_SIMPLEENROLL);
    call.body = buf_bytes(&der);
    call.binding = binding;
    call.peer = f->device;
    struct est_reply reply = handle(f, &call);
    int status = reply.status;
    *reason = reply.note.reason;
    if (status != 200)
        assert_plain(&reply);
    est_reply_clear(&reply);
    buf_free(&der);
    return status;
}

static int reset(void **state)
{
    struct fixture *f = *state;
    f->profile.est.binding = CFG_BINDING_NONE;
    f->profile.est.challenge_password = CFG_PASSWORD_BINDING;
    return est_calls_reset(state);
}

/* A binding is whole or it is none: RFC 7030 section 3.5, and S6 of what servers got wrong. */
static void test_exact(void **state)
{
    static const struct {
        const char *password;
        int type, status;
    } rows[] = {
        {UNIQUE, 0, 200},
        {UNIQUE, V_ASN1_UTF8STRING, 200},
        {UNIQUE, V_ASN1_BMPSTRING, 400},
        {UNIQUE "IQ==", 0, 400},
        {"dHdlbHZlIGJ5dGVzIQ==", 0, 400},
        {"dHdlbHZlIGJ5dGU=", 0, 400},
        {"dA==", 0, 400},
        {UNIQUE "\n", V_ASN1_UTF8STRING, 400},
        {" " UNIQUE, 0, 400},
        {unique, 0, 400},
        {EXPORTER, 0, 400},
        {"!!!!", V_ASN1_UTF8STRING, 400},
    };
    struct fixture *f = *state;
    const char *reason;
    f->profile.est.binding = CFG_BINDING_OPTIONAL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned before = asked.calls;
        int status = enroll(f, rows[i].password, rows[i].type, bytes_str(unique), &reason);
        if (status != rows[i].status)
            fail_msg("'%s' is answered with %d", rows[i].password, status);
        assert_int_equal(asked.calls, before + (status == 200));
        if (status != 200)
            assert_string_equal(reason, "bad-binding");
    }
    assert_int_equal(enroll(f, EXPORTER, 0, bytes_str(exporter), &reason), 200);
    assert_int_equal(enroll(f, UNIQUE, 0, bytes_str(exporter), &reason), 400);
}

/* Without one: optional lets it pass, required does not; one that cannot be checked never passes,
 * unless the profile does not look. */
static void test_modes(void **state)
{
    struct fixture *f = *state;
    const char *reason;
    assert_int_equal(enroll(f, "anything", 0, bytes_str(unique), &reason), 200);
    f->profile.est.binding = CFG_BINDING_OPTIONAL;
    assert_int_equal(enroll(f, NULL, 0, bytes_str(unique), &reason), 200);
    assert_int_equal(enroll(f, UNIQUE, 0, bytes_str(""), &reason), 400);
    f->profile.est.binding = CFG_BINDING_REQUIRED;
    assert_int_equal(enroll(f, NULL, 0, bytes_str(unique), &reason), 400);
    assert_string_equal(reason, "bad-binding");
    assert_int_equal(enroll(f, NULL, 0, bytes_str(""), &reason), 400);
    assert_int_equal(enroll(f, UNIQUE, 0, bytes_str(""), &reason), 400);
    assert_int_equal(enroll(f, UNIQUE, 0, bytes_str(unique), &reason), 200);
}

/* challengePassword that is a secret authorizes like a Basic password, and is no binding; one that
 * the profile refuses is refused whatever it holds. */
static void test_password(void **state)
{
    struct fixture *f = *state;
    const char *reason;
    struct make_spec spec = {.subject = "CN=device", .challenge = CHALLENGE};
    struct buf der = make_req_der(&spec, f->key);
    f->profile.est.challenge_password = CFG_PASSWORD_SECRET;
    struct est_call call = call_of(f, EST_SIMPLEENROLL);
    call.body = buf_bytes(&der);
    struct est_reply reply = handle(f, &call);
    assert_int_equal(reply.status, 200);
    assert_string_equal(asked.challenge, CHALLENGE);
    est_reply_clear(&reply);
    call.body = buf_bytes(&f->csr); /* has none */
    reply = handle(f, &call);
    assert_int_equal(reply.status, 401);
    est_reply_clear(&reply);
    f->profile.est.binding = CFG_BINDING_REQUIRED;
    assert_int_equal(enroll(f, UNIQUE, 0, bytes_str(unique), &reason), 400);
    f->profile.est.binding = CFG_BINDING_NONE;
    f->profile.est.challenge_password = CFG_PASSWORD_REFUSE;
    assert_int_equal(enroll(f, UNIQUE, 0, bytes_str(unique), &reason), 400);
    assert_int_equal(enroll(f, NULL, 0, bytes_str(unique), &reason), 200);
    buf_free(&der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_exact, reset),
        cmocka_unit_test_setup(test_modes, reset),
        cmocka_unit_test_setup(test_password, reset),
    };
    return cmocka_run_group_tests(tests, est_calls_setup, est_calls_teardown);
}
