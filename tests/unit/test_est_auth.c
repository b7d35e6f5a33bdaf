#include "tests/support/est_calls.h"

#include "base/clock.h"
#include "base/text.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW INT64_C(2000000000)
#define TARGET "/.well-known/est/vpn/simpleenroll"

/* carol is known by the hash of carol:est:open sesame. */
static struct cfg_user users[2];
static struct buf fixed;
static struct est_nonces *nonces;

static void hash_hex(const char *text, char out[65])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len;
    assert_int_equal(EVP_Digest(text, strlen(text), digest, &len, EVP_sha256(), NULL), 1);
    text_hex(bytes_of(digest, len), out);
}

static int setup(void **state)
{
    static char name[] = "carol", ha1[65];
    est_calls_setup(state);
    struct fixture *f = *state;
    hash_hex("carol:est:open sesame", ha1);
    users[0] = f->user;
    users[1] = (struct cfg_user){.name = name, .ha1 = {ha1}};
    f->profile.est.users = users;
    f->profile.est.user_count = 2;
    assert_true(buf_set(&fixed, bytes_str("fixed-challenge")));
    f->profile.challenge.fixed = &fixed;
    f->profile.challenge.fixed_count = 1;
    return 0;
}

static int teardown(void **state)
{
    buf_free(&fixed);
    return est_calls_teardown(state);
}

static int reset(void **state)
{
    struct fixture *f = *state;
    est_calls_reset(state);
    f->profile.est.auth_digest = true;
    f->profile.est.digest_md5 = false;
    f->profile.est.auth_require = CFG_REQUIRE_ANY;
    f->profile.challenge.kinds[CFG_CHALLENGE_FIXED] = true;
    est_nonces_free(nonces);
    nonces = est_nonces_new();
    clock_set(NOW);
    return 0;
}

static int forget(void **state)
{
    (void)state;
    clock_set(0);
    est_nonces_free(nonces);
    nonces = NULL;
    return 0;
}

static struct est_call digest_call(const struct fixture *f, enum est_op op)
{
    struct est_call call = call_of(f, op);
    call.nonces = nonces;
    call.target = bytes_str(TARGET);
    return call;
}

/* What a client answers to the first challenge of a reply, for the URI TARGET and POST. */
static void answer(const struct est_reply *reply, const char *user, const char *password,
                   unsigned count, char out[1024])
{
    char nonce[EST_NONCE_LEN + 1], text[1024], ha1[65], ha2[65], response[65];
    const char *at = strstr(reply->authenticate, "nonce=\"");
    assert_non_null(at);
    snprintf(nonce, sizeof nonce, "%s", at + strlen("nonce=\""));
    snprintf(text, sizeof text, "%s:est:%s", user, password);
    hash_hex(text, ha1);
    hash_hex("POST:" TARGET, ha2);
    snprintf(text, sizeof text, "%s:%s:%08x:c0ffee:auth:%s", ha1, nonce, count, ha2);
    hash_hex(text, response);
    snprintf(out, 1024,
             "Digest username=\"%s\", realm=\"est\", nonce=\"%s\", uri=\"" TARGET
             "\", algorithm=SHA-256, qop=auth, nc=%08x, cnonce=\"c0ffee\", response=\"%s\"",
             user, nonce, count, response);
}

static struct est_reply handle_header(const struct fixture *f, struct est_call *call,
                                      const char *header)
{
    call->authorization = bytes_str(header);
    call->authorizations = 1;
    return handle(f, call);
}

/* The first header that a client of the name sends. */
static void first_header(const struct fixture *f, const char *user, const char *password,
                         char out[1024])
{
    struct est_call call = digest_call(f, EST_SIMPLEENROLL);
    struct est_reply reply = handle(f, &call);
    assert_int_equal(reply.status, 401);
    answer(&reply, user, password, 1, out);
    est_reply_clear(&reply);
}

/* Without a credential, what is taken is asked for, strongest first (RFC 7616 section 3.7). */
static void test_asked(void **state)
{
    struct fixture *f = *state;
    struct est_call call = digest_call(f, EST_SIMPLEENROLL);
    f->profile.est.digest_md5 = true;
    struct est_reply reply = handle(f, &call);
    assert_int_equal(reply.status, 401);
    const char *sha = strstr(reply.authenticate, "Digest realm=\"est\", qop=\"auth\", "
                                                 "algorithm=SHA-256, nonce=\"");
    const char *md5 = strstr(reply.authenticate, "\nDigest realm=\"est\", qop=\"auth\", "
                                                 "algorithm=MD5, nonce=\"");
    const char *basic = strstr(reply.authenticate, "\nBasic realm=\"est\"");
    assert_true(sha == reply.authenticate && md5 > sha && basic > md5);
    assert_null(strstr(reply.authenticate, "stale"));
    assert_true(strlen(reply.authenticate) < 500);
    est_reply_clear(&reply);
    f->profile.est.auth_basic = f->profile.est.digest_md5 = false;
    reply = handle(f, &call);
    assert_null(strstr(reply.authenticate, "Basic"));
    assert_null(strstr(reply.authenticate, "MD5"));
    est_reply_clear(&reply);
}

/* A right response proves the user of the file, or carries the fixed challenge it was made with. */
static void test_right(void **state)
{
    struct fixture *f = *state;
    struct est_call call = digest_call(f, EST_SIMPLEENROLL);
    char header[1024];
    first_header(f, "carol", "open sesame", header);
    struct est_reply reply = handle_header(f, &call, header);
    assert_int_equal(reply.status, 200);
    assert_string_equal(asked.principal, "carol");
    assert_string_equal(asked.challenge, "");
    est_reply_clear(&reply);
    first_header(f, "device", "fixed-challenge", header);
    reply = handle_header(f, &call, header);
    assert_int_equal(reply.status, 200);
    assert_string_equal(asked.principal, "");
    assert_string_equal(asked.challenge, "fixed-challenge");
    assert_string_equal(asked.user, "device");
    est_reply_clear(&reply);
}

/* A header that was used before, or whose nonce is old, is refused with stale=true: a new nonce
 * helps who knows the password. Nothing reaches the ra. */
static void test_replayed(void **state)
{
    struct fixture *f = *state;
    struct est_call call = digest_call(f, EST_SIMPLEENROLL);
    char header[1024], later[1024];
    first_header(f, "carol", "open sesame", header);
    first_header(f, "carol", "open sesame", later);
    struct est_reply reply = handle_header(f, &call, header);
    assert_int_equal(reply.status, 200);
    est_reply_clear(&reply);
    for (int i = 0; i < 2; i++) {
        reply = handle_header(f, &call, i ? later : header);
        assert_int_equal(reply.status, 401);
        assert_non_null(strstr(reply.authenticate, "stale=true"));
        assert_int_equal(asked.calls, 1);
        clock_set(NOW + EST_NONCE_SECONDS + 1);
        est_reply_clear(&reply);
    }
}

/* A wrong response is refused without stale, also beside an old nonce; the eleventh waits. */
static void test_wrong(void **state)
{
    struct fixture *f = *state;
    struct est_call call = digest_call(f, EST_SIMPLEENROLL);
    char header[1024];
    call.guard = est_guard_new();
    for (int i = 0; i < EST_GUARD_USER_TRIES; i++) {
        first_header(f, "carol", "close sesame", header);
        struct est_reply reply = handle_header(f, &call, header);
        assert_int_equal(reply.status, 401);
        assert_null(strstr(reply.authenticate, "stale"));
        est_reply_clear(&reply);
    }
    first_header(f, "carol", "open sesame", header);
    struct est_reply reply = handle_header(f, &call, header);
    assert_int_equal(reply.status, 429);
    assert_true(reply.retry_after > 0);
    est_reply_clear(&reply);
    first_header(f, "device", "fixed-challenge", header);
    reply = handle_header(f, &call, header);
    assert_int_equal(reply.status, 200);
    est_reply_clear(&reply);
    est_guard_free(call.guard);
}

/* A header for another URI, realm or algorithm, and one that is malformed, are as good as none, and
 * so is every Digest header where the profile does not take it. */
static void test_none(void **state)
{
    static const char *const changes[][2] = {
        {TARGET, "/.well-known/est/other/simpleenroll"},
        {"realm=\"est\"", "realm=\"tse\""},
        {"SHA-256", "MD5"},
        {"qop=auth", "qop=auth-int"},
        {"Digest", "Digestx"},
    };
    struct fixture *f = *state;
    struct est_call call = digest_call(f, EST_SIMPLEENROLL);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char header[1024], tail[1024];
        first_header(f, "carol", "open sesame", header);
        char *at = strstr(header, changes[i][0]);
        snprintf(tail, sizeof tail, "%s%s", changes[i][1], at + strlen(changes[i][0]));
        memcpy(at, tail, strlen(tail) + 1);
        struct est_reply reply = handle_header(f, &call, header);
        assert_int_equal(reply.status, 401);
        assert_string_equal(reply.note.reason, "no-evidence");
        est_reply_clear(&reply);
    }
    char header[1024];
    first_header(f, "carol", "open sesame", header);
    f->profile.est.auth_digest = false;
    struct est_reply reply = handle_header(f, &call, header);
    assert_int_equal(reply.status, 401);
    assert_string_equal(reply.authenticate, "Basic realm=\"est\"");
    est_reply_clear(&reply);
    assert_int_equal(asked.calls, 0);
}

/* A certificate is enough in spite of a wrong Digest beside it, and gets no help from it. */
static void test_certificate_besides(void **state)
{
    struct fixture *f = *state;
    struct est_call call = digest_call(f, EST_SIMPLEENROLL);
    char header[1024];
    first_header(f, "carol", "close sesame", header);
    call.peer = f->device;
    struct est_reply reply = handle_header(f, &call, header);
    assert_int_equal(reply.status, 200);
    assert_ptr_equal(asked.holder, f->device);
    assert_string_equal(asked.principal, "");
    assert_false(asked.both);
    est_reply_clear(&reply);
}

/* Where both are needed: no certificate is 403, no, malformed, doubled or wrong HTTP authentication
 * 401 with what is taken; both together go to the ra, which is told that both are needed. */
static void test_both(void **state)
{
    static const enum est_op ops[] = {EST_SIMPLEENROLL, EST_SIMPLEREENROLL};
    struct fixture *f = *state;
    char header[1024];
    first_header(f, "carol", "open sesame", header);
    f->profile.est.auth_require = CFG_REQUIRE_ALL;
    for (size_t i = 0; i < 2; i++) {
        static const char *const bad[] = {"X", "Basic !!!", "Digest x", "Bearer x", ""};
        struct est_call call = digest_call(f, ops[i]);
        struct est_reply reply = handle_header(f, &call, header);
        assert_int_equal(reply.status, 403);
        assert_null(reply.authenticate);
        est_reply_clear(&reply);
        call.peer = f->device;
        for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
            reply = handle_header(f, &call, bad[k]);
            assert_int_equal(reply.status, 401);
            assert_non_null(reply.authenticate);
            est_reply_clear(&reply);
        }
        call.authorizations = 0;
        reply = handle(f, &call);
        assert_int_equal(reply.status, 401);
        assert_non_null(reply.authenticate);
        est_reply_clear(&reply);
        assert_int_equal(asked.calls, 0);
    }
    struct est_call call = digest_call(f, EST_SIMPLEREENROLL);
    call.peer = f->device;
    struct est_reply reply = handle_basic(f, &call, "alice:correct horse");
    assert_int_equal(reply.status, 200);
    assert_string_equal(asked.principal, "alice");
    assert_ptr_equal(asked.holder, f->device);
    assert_true(asked.both);
    est_reply_clear(&reply);
}

/* Where both are needed, a Digest that is wrong beside a certificate is 401 and not enough. */
static void test_both_wrong(void **state)
{
    struct fixture *f = *state;
    struct est_call call = digest_call(f, EST_SIMPLEENROLL);
    char header[1024];
    first_header(f, "carol", "close sesame", header);
    f->profile.est.auth_require = CFG_REQUIRE_ALL;
    call.peer = f->device;
    struct est_reply reply = handle_header(f, &call, header);
    assert_int_equal(reply.status, 401);
    assert_int_equal(asked.calls, 0);
    est_reply_clear(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_asked, reset, forget),
        cmocka_unit_test_setup_teardown(test_right, reset, forget),
        cmocka_unit_test_setup_teardown(test_replayed, reset, forget),
        cmocka_unit_test_setup_teardown(test_wrong, reset, forget),
        cmocka_unit_test_setup_teardown(test_none, reset, forget),
        cmocka_unit_test_setup_teardown(test_certificate_besides, reset, forget),
        cmocka_unit_test_setup_teardown(test_both, reset, forget),
        cmocka_unit_test_setup_teardown(test_both_wrong, reset, forget),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
