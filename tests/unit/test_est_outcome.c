#include "tests/support/est_calls.h"

#include <string.h>

/* A client without User-Agent gets one unbroken line and a newline: strongSwan reads nothing else.
 */
static void test_one_line(void **state)
{
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_CACERTS);
    call.user_agent = false;
    struct est_reply reply = handle(f, &call);
    assert_int_equal(longest_line(&reply.body), reply.body.len - 1);
    est_reply_clear(&reply);
    call = call_of(f, EST_SIMPLEENROLL);
    call.user_agent = false;
    reply = handle_basic(f, &call, "device:" CHALLENGE);
    assert_int_equal(reply.status, 200);
    assert_int_equal(longest_line(&reply.body), reply.body.len - 1);
    est_reply_clear(&reply);
}

/* A CA whose chain cannot be had is our fault, for the device to try again later. */
static void test_cacerts_fault(void **state)
{
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_CACERTS);
    asked.chain_fails = true;
    struct est_reply reply = handle(f, &call);
    assert_int_equal(reply.status, 503);
    assert_int_equal(reply.retry_after, 30);
    assert_true(reply.note.fault);
    assert_non_null(strstr(reply.note.detail, OPERATOR_TEXT));
    assert_plain(&reply);
    est_reply_clear(&reply);
}

/* A Basic password that no user has is the challenge; the reply holds the issued certificate only
 * and says which request it delivers. */
static void test_challenge(void **state)
{
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_SIMPLEENROLL);
    struct est_reply reply = handle_basic(f, &call, "device:" CHALLENGE);
    assert_certs(&reply, &f->issued, 1);
    assert_string_equal(reply.content_type, "application/pkcs7-mime; smime-type=certs-only");
    assert_true(longest_line(&reply.body) <= 64);
    assert_string_equal(reply.delivers, REQUEST_ID);
    assert_string_equal(reply.note.request_id, REQUEST_ID);
    assert_string_equal(reply.note.outcome, "issued");
    assert_string_equal(reply.note.operation, "simpleenroll");
    assert_false(reply.note.fault);
    assert_null(strstr(reply.note.detail, CHALLENGE));
    est_reply_clear(&reply);

    assert_int_equal(asked.calls, 1);
    assert_int_equal(asked.op, RA_ENROLL);
    assert_null(asked.holder);
    assert_string_equal(asked.challenge, CHALLENGE);
    assert_string_equal(asked.user, "device");
    assert_string_equal(asked.principal, "");
    assert_string_equal(asked.label, "vpn");
    assert_string_equal(asked.origin, "192.0.2.7");
    assert_int_equal(asked.txn_len, 0);
    assert_true(bytes_equal(buf_bytes(&asked.csr), buf_bytes(&f->csr_der)));
}

/* A body that is no CSR, or a CSR that its own key did not sign, is 400 and never asked for. */
static void test_bad_csr(void **state)
{
    static const char *const bodies[] = {"", "not a request", "MAA=", "====", "\r\n"};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct est_call call = call_of(f, EST_SIMPLEENROLL);
        call.body = bytes_str(bodies[i]);
        struct est_reply reply = handle_basic(f, &call, "device:" CHALLENGE);
        assert_int_equal(reply.status, 400);
        assert_plain(&reply);
        assert_true(reply.note.detail[0] != '\0');
        est_reply_clear(&reply);
    }
    struct buf forged = {0};
    assert_true(buf_set(&forged, buf_bytes(&f->csr_der)));
    forged.ptr[forged.len - 1] ^= 1;
    struct est_call call = call_of(f, EST_SIMPLEREENROLL);
    call.peer = f->device;
    call.body = buf_bytes(&forged);
    struct est_reply reply = handle(f, &call);
    assert_int_equal(reply.status, 400);
    assert_plain(&reply);
    est_reply_clear(&reply);
    buf_free(&forged);
    assert_int_equal(asked.calls, 0);
}

/* Every reason has its status; the device hears the reason's code and the request's id, the
 * operator the detail. */
static void test_reasons(void **state)
{
    static const int statuses[RA_REASON_COUNT] = {
        [RA_NO_EVIDENCE] = 401,   [RA_BAD_CHALLENGE] = 401,    [RA_BAD_RENEWAL] = 403,
        [RA_NAMES_CHANGED] = 403, [RA_BAD_KEY] = 403,          [RA_BAD_NAMES] = 403,
        [RA_BAD_EXTENSION] = 403, [RA_NO_ROUTE] = 403,         [RA_UNKNOWN_TXN] = 403,
        [RA_UNKNOWN_CERT] = 403,  [RA_UPSTREAM_REFUSED] = 403, [RA_DENIED] = 403,
        [RA_OVER_QUOTA] = 429,    [RA_KEY_REUSED] = 403,
    };
    struct fixture *f = *state;
    for (unsigned reason = RA_OK + 1; reason < RA_REASON_COUNT; reason++) {
        const char *name = ra_reason_name((enum ra_reason)reason);
        struct est_call call = call_of(f, EST_SIMPLEENROLL);
        asked.answer = (struct ra_outcome){
            .status = RA_REFUSED, .reason = (enum ra_reason)reason, .request_id = REQUEST_ID};
        struct est_reply reply = handle_basic(f, &call, "device:" CHALLENGE);
        if (reply.status != statuses[reason])
            fail_msg("%s is answered with %d", name, reply.status);
        assert_true((reply.authenticate != NULL) == (reply.status == 401));
        assert_true(holds(&reply.body, name));
        assert_true(holds(&reply.body, REQUEST_ID));
        assert_plain(&reply);
        assert_string_equal(reply.note.outcome, "refused");
        assert_string_equal(reply.note.reason, name);
        assert_non_null(strstr(reply.note.detail, OPERATOR_TEXT));
        assert_false(reply.note.fault);
        assert_string_equal(reply.delivers, "");
        est_reply_clear(&reply);
    }
}

/* A certificate that is refused is 403, or 401 if a password could help instead; never a 401 that
 * names no way. */
static void test_certificate_refused(void **state)
{
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_SIMPLEREENROLL);
    call.peer = f->device;
    asked.answer = (struct ra_outcome){.status = RA_REFUSED, .reason = RA_BAD_RENEWAL};
    struct est_reply reply = handle(f, &call);
    assert_int_equal(reply.status, 403);
    assert_null(reply.authenticate);
    est_reply_clear(&reply);
    call = call_of(f, EST_SIMPLEENROLL);
    call.peer = f->device;
    f->profile.est.auth_basic = false;
    static const enum ra_reason reasons[] = {RA_NO_EVIDENCE, RA_BAD_CHALLENGE, RA_BAD_RENEWAL};
    for (size_t i = 0; i < 3; i++) {
        asked.answer.reason = reasons[i];
        reply = handle(f, &call);
        assert_int_equal(reply.status, 403);
        assert_null(reply.authenticate);
        est_reply_clear(&reply);
    }
}

/* PENDING is 202 with Retry-After, which must be there even if nobody said when. */
static void test_pending(void **state)
{
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_SIMPLEENROLL);
    asked.answer =
        (struct ra_outcome){.status = RA_PENDING, .retry_after = 77, .request_id = REQUEST_ID};
    struct est_reply reply = handle_basic(f, &call, "device:" CHALLENGE);
    assert_int_equal(reply.status, 202);
    assert_int_equal(reply.retry_after, 77);
    assert_string_equal(reply.note.outcome, "pending");
    assert_false(holds(&reply.body, "refused"));
    assert_string_equal(reply.delivers, "");
    assert_plain(&reply);
    est_reply_clear(&reply);
    asked.answer.retry_after = 0;
    reply = handle_basic(f, &call, "device:" CHALLENGE);
    assert_int_equal(reply.status, 202);
    assert_true(reply.retry_after > 0);
    est_reply_clear(&reply);
}

/* What could not be decided is 503: the device may retry, and nothing of ours is told. */
static void test_fault(void **state)
{
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_SIMPLEENROLL);
    asked.fails = true;
    struct est_reply reply = handle_basic(f, &call, "device:" CHALLENGE);
    assert_int_equal(reply.status, 503);
    assert_int_equal(reply.retry_after, 30);
    assert_null(reply.authenticate);
    assert_true(reply.note.fault);
    assert_string_equal(reply.note.outcome, "error");
    assert_non_null(strstr(reply.note.detail, OPERATOR_TEXT));
    assert_plain(&reply);
    est_reply_clear(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_one_line, est_calls_reset),
        cmocka_unit_test_setup(test_cacerts_fault, est_calls_reset),
        cmocka_unit_test_setup(test_challenge, est_calls_reset),
        cmocka_unit_test_setup(test_bad_csr, est_calls_reset),
        cmocka_unit_test_setup(test_reasons, est_calls_reset),
        cmocka_unit_test_setup(test_certificate_refused, est_calls_reset),
        cmocka_unit_test_setup(test_pending, est_calls_reset),
        cmocka_unit_test_setup(test_fault, est_calls_reset),
    };
    return cmocka_run_group_tests(tests, est_calls_setup, est_calls_teardown);
}
