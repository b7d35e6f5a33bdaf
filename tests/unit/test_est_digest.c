#include "est/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* RFC 7616 section 3.9.1 */
#define REALM "http-auth@example.org"
#define URI "/dir/index.html"
#define NONCE "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
#define CNONCE "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
#define SHA256 "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
#define MD5 "8ca523f5e9506fed4657c9700eebdbec"
#define HEADER(algorithm, response)                                                                \
    "Digest username=\"Mufasa\", realm=\"" REALM "\", uri=\"" URI "\", algorithm=" algorithm       \
    ", nonce=\"" NONCE "\", nc=00000001, cnonce=\"" CNONCE "\", qop=auth, response=\"" response    \
    "\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""

static char realm[] = REALM;
static struct buf fixed[2];
static const struct cfg_profile profile = {
    .challenge = {.kinds = {[CFG_CHALLENGE_FIXED] = true}, .fixed = fixed, .fixed_count = 2},
    .est = {.realm = realm, .auth_digest = true, .digest_md5 = true},
};
static const struct est_digest_ask ask = {&profile, "GET", {(const uint8_t *)URI, sizeof URI - 1}};

static int make_secrets(void **state)
{
    (void)state;
    assert_true(buf_set(&fixed[0], bytes_str("Circle of Life")));
    assert_true(buf_set(&fixed[1], bytes_str("another secret")));
    return 0;
}

static int drop_secrets(void **state)
{
    (void)state;
    buf_free(&fixed[0]);
    buf_free(&fixed[1]);
    return 0;
}

/* Parses a copy of exactly that size, which is gone when it returns. */
static bool parse(struct bytes header, struct est_digest *ret)
{
    struct err err;
    uint8_t *copy = malloc(header.len ? header.len : 1);
    assert_non_null(copy);
    if (header.len)
        memcpy(copy, header.ptr, header.len);
    bool ok = est_digest_parse(bytes_of(copy, header.len), ret, &err);
    free(copy);
    return ok;
}

static bool right(const char *header, const struct est_digest_ask *of, struct est_digest_proof *ret)
{
    struct est_digest digest;
    struct err err;
    return parse(bytes_str(header), &digest) && est_digest_fits(&digest, of, &err) &&
           est_digest_check(&digest, of, ret);
}

/* RFC 7616 section 3.6: the RFC's two responses are right, for the fixed challenge that is their
 * password. */
static void test_published(void **state)
{
    static const char *const headers[] = {HEADER("SHA-256", SHA256), HEADER("MD5", MD5)};
    struct est_digest_proof proof;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_true(right(headers[i], &ask, &proof));
        assert_null(proof.user);
        assert_true(bytes_equal_str(proof.challenge, "Circle of Life"));
    }
}

/* Another method, URI, realm, algorithm, nonce, count or user makes it wrong. */
static void test_bound(void **state)
{
    static const char *const changes[][2] = {
        {"Mufasa", "Mufasb"},
        {"nc=00000001", "nc=00000002"},
        {"7ypf", "7ypg"},
        {"f2/w", "f2/x"},
        {"http-auth", "http-authx"},
        {"/dir/index", "/dir/indey"},
        {"753927", "753928"},
        {"SHA-256", "MD5"},
    };
    struct est_digest_proof proof;
    struct est_digest_ask post = ask, other = ask;
    (void)state;
    post.method = "POST";
    assert_false(right(HEADER("SHA-256", SHA256), &post, &proof));
    other.target = bytes_str(URI "?x");
    assert_false(right(HEADER("SHA-256", SHA256), &other, &proof));
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char header[1024] = HEADER("SHA-256", SHA256);
        char *at = strstr(header, changes[i][0]);
        assert_non_null(at);
        char tail[1024];
        snprintf(tail, sizeof tail, "%s%s", changes[i][1], at + strlen(changes[i][0]));
        memcpy(at, tail, strlen(tail) + 1);
        if (right(header, &ask, &proof))
            fail_msg("%s", header);
    }
}

/* MD5 is refused unless it was asked for. */
static void test_md5_off(void **state)
{
    struct cfg_profile strict = profile;
    struct est_digest_ask of = ask;
    struct est_digest_proof proof;
    (void)state;
    strict.est.digest_md5 = false;
    of.profile = &strict;
    assert_false(right(HEADER("MD5", MD5), &of, &proof));
    assert_true(right(HEADER("SHA-256", SHA256), &of, &proof));
}

/* A user with the hash of NAME:REALM:PASSWORD is proved by it; one with only a salted hash, or with
 * that of the other algorithm, is not. */
static void test_users(void **state)
{
    char name[] = "Mufasa", salted[] = "$6$x", md5[] = "3d78807defe7de2157e2b0b6573a855f";
    char sha256[] = "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232";
    struct cfg_user user = {.name = name, .hash = salted};
    struct cfg_profile of_users = profile;
    struct est_digest_ask of = ask;
    struct est_digest_proof proof;
    (void)state;
    of_users.challenge.kinds[CFG_CHALLENGE_FIXED] = false;
    of_users.est.users = &user;
    of_users.est.user_count = 1;
    of.profile = &of_users;
    assert_false(right(HEADER("SHA-256", SHA256), &of, &proof));
    user.ha1[CFG_DIGEST_SHA256] = sha256;
    assert_true(right(HEADER("SHA-256", SHA256), &of, &proof));
    assert_ptr_equal(proof.user, &user);
    assert_int_equal(proof.challenge.len, 0);
    assert_false(right(HEADER("MD5", MD5), &of, &proof));
    user.ha1[CFG_DIGEST_MD5] = md5;
    assert_true(right(HEADER("MD5", MD5), &of, &proof));
    name[0] = 'N';
    assert_false(right(HEADER("MD5", MD5), &of, &proof));
}

/* Escapes in quotes are undone; names of parameters have no case; what nobody knows is passed over;
 * parameters may come in any order and with any spaces. */
static void test_forms(void **state)
{
    struct est_digest digest;
    (void)state;
    assert_true(
        parse(bytes_str("dIgEsT\t "
                        ",uri=\"/a\\\"b\", QOP=\"auth\" ,nc=0000000A,cnonce=\"c\",,"
                        "  nonce = \"n\",new=thing, realm=\"\\r\\\\\",response=\"" MD5 "\","
                        "username=\"a \\\"b\\\" \xc3\xa9\", algorithm=md5, userhash=false ,"),
              &digest) == false); /* a tab does not end the scheme */
    assert_true(
        parse(bytes_str("dIgEsT "
                        ",uri=\"/a\\\"b\", QOP=\"auth\" ,nc=0000000A,cnonce=\"c\",,"
                        "  nonce = \"n\",new=thing, realm=\"\\r\\\\\",response=\"" MD5 "\","
                        "username=\"a \\\"b\\\" \xc3\xa9\", algorithm=md5, userhash=false ,"),
              &digest));
    assert_string_equal(digest.uri, "/a\"b");
    assert_string_equal(digest.realm, "r\\");
    assert_string_equal(digest.user, "a \"b\" \xc3\xa9");
    assert_int_equal(digest.count, 10);
    assert_int_equal(digest.hash, CFG_DIGEST_MD5);
}

/* A parameter that is missing, twice there, too long or of another form refuses the header. */
static void test_malformed(void **state)
{
    static const char *const changes[][2] = {
        {"username=\"Mufasa\", ", ""},
        {"realm=\"" REALM "\", ", ""},
        {"uri=\"" URI "\", ", ""},
        {"nonce=\"" NONCE "\", ", ""},
        {", cnonce=\"" CNONCE "\"", ""},
        {", nc=00000001", ""},
        {", qop=auth", ""},
        {", response=\"" SHA256 "\"", ""},
        {"qop=auth", "qop=auth-int"},
        {"qop=auth", "qop=auth, qop=auth"},
        {"qop=auth", "qop=\"auth"},
        {"qop=auth", "qop="},
        {"qop=auth", "qop=auth x"},
        {"qop=auth", "qop"},
        {"qop=auth", "qop=auth, userhash=true"},
        {"qop=auth", "qop=auth, username*=UTF-8''x"},
        {"nc=00000001", "nc=1"},
        {"nc=00000001", "nc=000000001"},
        {"nc=00000001", "nc=0000000g"},
        {"SHA-256", "SHA-256-sess"},
        {"SHA-256", "SHA-512-256"},
        {"SHA-256", "SHA-25"},
        {"753927", "75392"},
        {"Mufasa", "Mufasa:x"},
        {"Mufasa", "Muf\x01sa"},
        {"Digest ", "Digest"},
        {"Digest ", "Basic "},
    };
    struct est_digest digest;
    (void)state;
    assert_true(parse(bytes_str(HEADER("SHA-256", SHA256)), &digest));
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char header[1024] = HEADER("SHA-256", SHA256), tail[1024];
        char *at = strstr(header, changes[i][0]);
        assert_non_null(at);
        snprintf(tail, sizeof tail, "%s%s", changes[i][1], at + strlen(changes[i][0]));
        memcpy(at, tail, strlen(tail) + 1);
        if (parse(bytes_str(header), &digest))
            fail_msg("%s", header);
    }
}

/* Nobody makes a value longer than its field, or a list without an end. */
static void test_ceilings(void **state)
{
    struct buf header = {0};
    struct est_digest digest;
    (void)state;
    assert_true(buf_add_str(&header, HEADER("SHA-256", SHA256)));
    for (int i = 0; i < 22; i++)
        assert_true(buf_add_str(&header, ", x=y"));
    assert_true(parse(buf_bytes(&header), &digest));
    assert_true(buf_add_str(&header, ", x=y"));
    assert_false(parse(buf_bytes(&header), &digest));
    buf_clear(&header);
    assert_true(buf_add_str(&header, "Digest username=\""));
    for (int i = 0; i < EST_USER_MAX + 1; i++)
        assert_true(buf_add_str(&header, "a"));
    assert_true(buf_add_str(&header, "\", "));
    const char *rest = strstr(HEADER("SHA-256", SHA256), "realm");
    assert_true(buf_add_str(&header, rest));
    assert_false(parse(buf_bytes(&header), &digest));
    buf_free(&header);
}

/* A header that ends early is refused, at whatever length, or means the same. */
static void test_truncated(void **state)
{
    static const char header[] = HEADER("SHA-256", SHA256);
    size_t whole = (size_t)(strstr(header, ", opaque") - header);
    struct est_digest digest;
    (void)state;
    for (size_t len = 0; len < sizeof header - 1; len++) {
        bool ok = parse(bytes_of(header, len), &digest);
        if (len < whole && ok)
            fail_msg("%zu bytes are enough", len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published), cmocka_unit_test(test_bound),
        cmocka_unit_test(test_md5_off),   cmocka_unit_test(test_users),
        cmocka_unit_test(test_forms),     cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_ceilings),  cmocka_unit_test(test_truncated),
    };
    return cmocka_run_group_tests(tests, make_secrets, drop_secrets);
}
