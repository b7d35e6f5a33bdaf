#include "tests/support/est_calls.h"

#include <string.h>

/* cacerts gives anyone the chain of every CA that the profile uses, each certificate once, the
 * issuer first, under the bare media type (RFC 7030 section 4.1.3). */
static void test_cacerts(void **state)
{
    struct fixture *f = *state;
    struct cert *want[] = {f->ca[ISSUING], f->ca[ROOT], f->ca[OTHER]};
    struct est_call call = call_of(f, EST_CACERTS);
    struct est_reply reply = handle(f, &call);
    assert_certs(&reply, want, 3);
    assert_string_equal(reply.content_type, "application/pkcs7-mime");
    assert_true(longest_line(&reply.body) <= 64);
    assert_string_equal(reply.note.operation, "cacerts");
    assert_string_equal(reply.note.outcome, "answered");
    est_reply_clear(&reply);

    f->profile.route_count = 1;
    reply = handle(f, &call);
    assert_certs(&reply, want, 2);
    est_reply_clear(&reply);
    f->profile.route_count = 3;
    assert_int_equal(asked.calls, 0);
}

/* cacerts looks at no credential: a wrong one, or two, change nothing. */
static void test_cacerts_credentials(void **state)
{
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_CACERTS);
    call.authorization = bytes_str("X");
    call.authorizations = 2;
    call.peer = f->device;
    f->profile.est.auth_certificate = f->profile.est.auth_basic = false;
    struct est_reply reply = handle(f, &call);
    assert_int_equal(reply.status, 200);
    assert_null(reply.authenticate);
    est_reply_clear(&reply);
}

/* A CSR is signed over SHA-2, as EST's clients do it: for one over SHA-1 or MD5 there is 400, and
 * the log says why. */
static void test_old_digests(void **state)
{
    static const char *const digests[] = {"SHA1", "MD5", "SHA256", "SHA512"};
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_SIMPLEENROLL);
    EVP_PKEY *key = make_rsa(2048);
    for (size_t i = 0; i < sizeof digests / sizeof digests[0]; i++) {
        struct make_spec spec = {.subject = "CN=x", .digest = digests[i]};
        struct buf der = make_req_der(&spec, key);
        call.body = buf_bytes(&der);
        struct est_reply reply = handle_basic(f, &call, "x:" CHALLENGE);
        assert_int_equal(reply.status, i < 2 ? 400 : 200);
        if (i < 2) {
            assert_string_equal(reply.note.reason, "bad-possession");
            assert_non_null(strstr(reply.note.detail, "a CSR signed with RSA-"));
        }
        est_reply_clear(&reply);
        buf_free(&der);
    }
    assert_int_equal(asked.calls, 2);
    EVP_PKEY_free(key);
}

/* A method that an operation does not have is 405 with the one it has; methods are compared whole.
 */
static void test_methods(void **state)
{
    static const struct {
        enum est_op op;
        const char *method, *allow;
    } rows[] = {
        {EST_CACERTS, "HEAD", "GET"},         {EST_CSRATTRS, "HEAD", "GET"},
        {EST_CACERTS, "POST", "GET"},         {EST_CACERTS, "GETX", "GET"},
        {EST_CACERTS, "get", "GET"},          {EST_CACERTS, "PUT", "GET"},
        {EST_SIMPLEENROLL, "GET", "POST"},    {EST_SIMPLEENROLL, "POSTX", "POST"},
        {EST_SIMPLEENROLL, "PUT", "POST"},    {EST_SIMPLEENROLL, "HEAD", "POST"},
        {EST_SIMPLEREENROLL, "GET", "POST"},  {EST_SIMPLEREENROLL, "DELETE", "POST"},
        {EST_SIMPLEREENROLL, "post", "POST"}, {EST_SIMPLEENROLL, "", "POST"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct est_call call = call_of(f, rows[i].op);
        call.method = rows[i].method;
        call.peer = f->device;
        struct est_reply reply = handle(f, &call);
        assert_int_equal(reply.status, 405);
        assert_non_null(reply.allow);
        assert_string_equal(reply.allow, rows[i].allow);
        assert_plain(&reply);
        est_reply_clear(&reply);
    }
    assert_int_equal(asked.calls, 0);
}

/* csrattrs that are not there are 404 without a body, other optional operations 501. */
static void test_optional(void **state)
{
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_CSRATTRS);
    struct est_reply reply = handle(f, &call);
    assert_int_equal(reply.status, 404);
    assert_int_equal(reply.body.len, 0);
    assert_null(reply.content_type);
    est_reply_clear(&reply);
    static const enum est_op ops[] = {EST_FULLCMC, EST_SERVERKEYGEN};
    for (size_t i = 0; i < 2; i++) {
        call = call_of(f, ops[i]);
        call.peer = f->device;
        reply = handle(f, &call);
        assert_int_equal(reply.status, 501);
        assert_plain(&reply);
        est_reply_clear(&reply);
    }
    assert_int_equal(asked.calls, 0);
}

/* A user of the profile's file is a principal with the right password, and nobody with another. */
static void test_principal(void **state)
{
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_SIMPLEENROLL);
    struct est_reply reply = handle_basic(f, &call, "alice:correct horse");
    assert_int_equal(reply.status, 200);
    assert_string_equal(asked.principal, "alice");
    assert_string_equal(asked.challenge, "");
    est_reply_clear(&reply);
    reply = handle_basic(f, &call, "alice:wrong");
    assert_string_equal(asked.principal, "");
    assert_string_equal(asked.challenge, "wrong");
    assert_string_equal(asked.user, "alice");
    est_reply_clear(&reply);
    reply = handle_basic(f, &call, "bob:correct horse");
    assert_string_equal(asked.principal, "");
    est_reply_clear(&reply);
}

/* A TLS client certificate proves its key, by TLS and not by CMS. */
static void test_certificate(void **state)
{
    static const enum est_op ops[] = {EST_SIMPLEENROLL, EST_SIMPLEREENROLL};
    struct fixture *f = *state;
    for (size_t i = 0; i < 2; i++) {
        struct est_call call = call_of(f, ops[i]);
        call.peer = f->device;
        struct est_reply reply = handle(f, &call);
        assert_certs(&reply, &f->issued, 1);
        assert_string_equal(reply.content_type, "application/pkcs7-mime; smime-type=certs-only");
        assert_ptr_equal(asked.holder, f->device);
        assert_false(asked.over_cms);
        assert_string_equal(asked.challenge, "");
        est_reply_clear(&reply);
    }
    assert_int_equal(asked.calls, 2);
    assert_int_equal(asked.op, RA_RENEW);
}

/* What the profile does not let authenticate is not evidence. */
static void test_auth_off(void **state)
{
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_SIMPLEENROLL);
    f->profile.est.auth_certificate = false;
    call.peer = f->device;
    struct est_reply reply = handle_basic(f, &call, "device:" CHALLENGE);
    assert_int_equal(reply.status, 200);
    assert_null(asked.holder);
    est_reply_clear(&reply);

    f->profile.est.auth_certificate = true;
    f->profile.est.auth_basic = false;
    reply = handle_basic(f, &call, "alice:correct horse");
    assert_int_equal(reply.status, 200);
    assert_string_equal(asked.challenge, "");
    assert_string_equal(asked.principal, "");
    est_reply_clear(&reply);

    call.peer = NULL;
    reply = handle_basic(f, &call, "alice:correct horse");
    assert_int_equal(reply.status, 403);
    assert_null(reply.authenticate);
    est_reply_clear(&reply);
}

/* Without a credential the answer is 401 and how, if Basic is on; 403 if nothing could help. */
static void test_no_credential(void **state)
{
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_SIMPLEENROLL);
    struct est_reply reply = handle(f, &call);
    assert_int_equal(reply.status, 401);
    assert_string_equal(reply.authenticate, "Basic realm=\"est\"");
    assert_string_equal(reply.note.outcome, "refused");
    assert_plain(&reply);
    est_reply_clear(&reply);

    f->profile.est.auth_basic = false;
    reply = handle(f, &call);
    assert_int_equal(reply.status, 403);
    assert_null(reply.authenticate);
    assert_plain(&reply);
    est_reply_clear(&reply);
}

/* simplereenroll needs the certificate: a password cannot help, so it is 403 and not 401. */
static void test_reenroll_without_certificate(void **state)
{
    static const char *const credentials[] = {"device:" CHALLENGE, "alice:correct horse"};
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_SIMPLEREENROLL);
    struct est_reply reply = handle(f, &call);
    assert_int_equal(reply.status, 403);
    assert_null(reply.authenticate);
    est_reply_clear(&reply);
    for (size_t i = 0; i < 2; i++) {
        reply = handle_basic(f, &call, credentials[i]);
        assert_int_equal(reply.status, 403);
        assert_null(reply.authenticate);
        assert_plain(&reply);
        est_reply_clear(&reply);
    }
    f->profile.est.auth_certificate = false;
    call.peer = f->device;
    reply = handle(f, &call);
    assert_int_equal(reply.status, 403);
    est_reply_clear(&reply);
}

/* A malformed Authorization header, or two of them, is as good as none. */
static void test_malformed_authorization(void **state)
{
    static const char *const headers[] = {"X", "Basic", "Basic !!!", "Basic dXNlcg==", ""};
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_SIMPLEENROLL);
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        call.authorization = bytes_str(headers[i]);
        call.authorizations = 1;
        struct est_reply reply = handle(f, &call);
        assert_int_equal(reply.status, 401);
        assert_non_null(reply.authenticate);
        est_reply_clear(&reply);
    }
    struct buf header = header_of("alice:correct horse");
    call.authorization = buf_bytes(&header);
    call.authorizations = 2;
    struct est_reply reply = handle(f, &call);
    assert_int_equal(reply.status, 401);
    est_reply_clear(&reply);
    call.peer = f->device;
    reply = handle(f, &call);
    assert_int_equal(reply.status, 200);
    assert_ptr_equal(asked.holder, f->device);
    assert_string_equal(asked.principal, "");
    assert_string_equal(asked.challenge, "");
    est_reply_clear(&reply);
    buf_free(&header);
}

/* The media type is compared whole, without regard to case and parameters; none is tolerated. */
static void test_media_type(void **state)
{
    static const struct {
        const char *type;
        int status;
    } rows[] = {
        {"application/pkcs10", 200},
        {"Application/PKCS10", 200},
        {"application/pkcs10; charset=utf-8", 200},
        {"application/pkcs10;smime-type=x", 200},
        {" application/pkcs10 ; a=b", 200},
        {"", 200},
        {"application/pkcs10x", 415},
        {"application/pkcs1", 415},
        {"application/pkcs10/x", 415},
        {"application/pkcs7-mime", 415},
        {"application/octet-stream", 415},
        {"text/html", 415},
        {"text/html; application/pkcs10", 415},
        {"application/", 415},
        {"; application/pkcs10", 415},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct est_call call = call_of(f, EST_SIMPLEENROLL);
        call.content_type = bytes_str(rows[i].type);
        call.peer = f->device;
        unsigned before = asked.calls;
        struct est_reply reply = handle(f, &call);
        if (reply.status != rows[i].status)
            fail_msg("'%s' is answered with %d", rows[i].type, reply.status);
        assert_int_equal(asked.calls, before + (rows[i].status == 200));
        est_reply_clear(&reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_cacerts, est_calls_reset),
        cmocka_unit_test_setup(test_cacerts_credentials, est_calls_reset),
        cmocka_unit_test_setup(test_old_digests, est_calls_reset),
        cmocka_unit_test_setup(test_methods, est_calls_reset),
        cmocka_unit_test_setup(test_optional, est_calls_reset),
        cmocka_unit_test_setup(test_principal, est_calls_reset),
        cmocka_unit_test_setup(test_certificate, est_calls_reset),
        cmocka_unit_test_setup(test_auth_off, est_calls_reset),
        cmocka_unit_test_setup(test_no_credential, est_calls_reset),
        cmocka_unit_test_setup(test_reenroll_without_certificate, est_calls_reset),
        cmocka_unit_test_setup(test_malformed_authorization, est_calls_reset),
        cmocka_unit_test_setup(test_media_type, est_calls_reset),
    };
    return cmocka_run_group_tests(tests, est_calls_setup, est_calls_teardown);
}
