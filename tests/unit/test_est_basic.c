#include "base/text.h"
#include "est/basic.h"

#include <crypt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* "Basic " and the base64 of the credentials. */
static struct buf header_of(struct bytes credentials)
{
    struct buf header = {0};
    assert_true(buf_add_str(&header, "Basic "));
    assert_true(text_base64_encode(credentials, 0, &header));
    return header;
}

/* Parses a copy of exactly that size, which is gone when it returns. */
static bool parse(struct bytes header, struct est_basic *ret)
{
    uint8_t *copy = malloc(header.len ? header.len : 1);
    assert_non_null(copy);
    if (header.len)
        memcpy(copy, header.ptr, header.len);
    bool ok = est_basic_parse(bytes_of(copy, header.len), ret);
    free(copy);
    return ok;
}

static bool parse_credentials(struct bytes credentials, struct est_basic *ret)
{
    struct buf header = header_of(credentials);
    bool ok = parse(buf_bytes(&header), ret);
    buf_free(&header);
    return ok;
}

/* User and password are split at the first colon; either may be empty (RFC 7030 section 3.2.3). */
static void test_split(void **state)
{
    static const char *const rows[][3] = {
        {"user:pass", "user", "pass"},
        {"device:CHALLENGE234567ABCDE", "device", "CHALLENGE234567ABCDE"},
        {"user:pa:ss:", "user", "pa:ss:"},
        {":secret", "", "secret"},
        {"user:", "user", ""},
        {":", "", ""},
        {" user : pass ", " user ", " pass "},
        {"us\xc3\xa9r:p\xc3\xa4ss", "us\xc3\xa9r", "p\xc3\xa4ss"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct est_basic basic = {0};
        if (!parse_credentials(bytes_str(rows[i][0]), &basic))
            fail_msg("'%s' is refused", rows[i][0]);
        assert_true(bytes_equal_str(basic.user, rows[i][1]));
        assert_true(bytes_equal_str(basic.password, rows[i][2]));
        assert_true(basic.text.secret);
        est_basic_clear(&basic);
        assert_null(basic.text.ptr);
        assert_int_equal(basic.password.len, 0);
    }
}

/* The scheme's name is compared without regard to case (RFC 9110 section 11.1). */
static void test_scheme_case(void **state)
{
    static const char *const rows[] = {
        "Basic dXNlcjpwYXNz", "basic dXNlcjpwYXNz",   "BASIC dXNlcjpwYXNz",
        "bAsIc dXNlcjpwYXNz", "Basic   dXNlcjpwYXNz",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct est_basic basic = {0};
        if (!parse(bytes_str(rows[i]), &basic))
            fail_msg("'%s' is refused", rows[i]);
        assert_true(bytes_equal_str(basic.user, "user"));
        assert_true(bytes_equal_str(basic.password, "pass"));
        est_basic_clear(&basic);
    }
}

/* Whatever is not one well-formed Basic credential is none. */
static void test_malformed(void **state)
{
    static const char *const rows[] = {
        "",
        " ",
        "X",
        "Basic",
        "Basic ",
        "Basic    ",
        "BasicdXNlcjpwYXNz",
        "Basi dXNlcjpwYXNz",
        "Basicx dXNlcjpwYXNz",
        "Basic:dXNlcjpwYXNz",
        "Basic !!!",
        "Basic dXNlcg==", /* no colon */
        "Basic dXNlcjpwYXNz!",
        "Basic dXNlcjpwYXN",
        "Basic dXNlcjpwYX==",
        "Basic dXNlcjpwYXNz====",
        "Basic dXNl cjpwYXNz",
        "Basic dXNlcjpwYXNz dXNlcjpwYXNz",
        "Basic dXNlcjpwYXNz, Basic dXNlcjpwYXNz",
        "Basic dXNlcjpwYXNz,realm=\"est\"",
        "Basic user:pass",
        "Basic =",
        "Digest username=\"user\"",
        "Bearer dXNlcjpwYXNz",
        "dXNlcjpwYXNz",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct est_basic basic = {0};
        if (parse(bytes_str(rows[i]), &basic))
            fail_msg("'%s' is taken for a credential", rows[i]);
        est_basic_clear(&basic);
    }
}

/* A NUL in user or password is refused: crypt(3) would compare only what stands before it. */
static void test_nul(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } rows[] = {{"us\0er:pass", 10}, {"user:pa\0ss", 10}, {"user:pass\0", 10}, {"\0user:pass", 10}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct est_basic basic = {0};
        assert_false(parse_credentials(bytes_of(rows[i].text, rows[i].len), &basic));
        est_basic_clear(&basic);
    }
}

/* Users of 256 bytes and passwords of 512 are taken, longer ones are not. */
static void test_ceilings(void **state)
{
    static const struct {
        size_t user, password;
        bool fine;
    } rows[] = {
        {EST_USER_MAX, EST_PASSWORD_MAX, true},
        {EST_USER_MAX + 1, 4, false},
        {4, EST_PASSWORD_MAX + 1, false},
        {EST_USER_MAX + 1, EST_PASSWORD_MAX + 1, false},
        {0, (size_t)1 << 20, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct est_basic basic = {0};
        size_t len = rows[i].user + 1 + rows[i].password;
        char *text = malloc(len);
        assert_non_null(text);
        memset(text, 'a', len);
        text[rows[i].user] = ':';
        assert_int_equal(parse_credentials(bytes_of(text, len), &basic), rows[i].fine);
        if (rows[i].fine) {
            assert_int_equal(basic.user.len, rows[i].user);
            assert_int_equal(basic.password.len, rows[i].password);
        }
        est_basic_clear(&basic);
        free(text);
    }
}

/* A header cut anywhere is refused, or stands for a shorter password and never for the same. */
static void test_truncated(void **state)
{
    struct buf header = header_of(bytes_str("device:CHALLENGE234567ABCDE"));
    (void)state;
    for (size_t n = 0; n < header.len; n++) {
        struct est_basic basic = {0};
        if (parse(bytes_of(header.ptr, n), &basic)) {
            assert_true(bytes_equal_str(basic.user, "device"));
            assert_true(basic.password.len < 20);
        }
        est_basic_clear(&basic);
    }
    buf_free(&header);
}

static char *hash_of(const char *password, const char *setting)
{
    struct crypt_data *data = mem_zalloc(sizeof *data);
    const char *hash = crypt_r(password, setting, data);
    assert_non_null(hash);
    assert_true(hash[0] == '$');
    char *copy = mem_strdup(hash);
    free(data);
    return copy;
}

/* The name of the user that these credentials prove, or NULL. */
static const char *check(struct cfg_user *users, size_t count, const char *credentials)
{
    struct cfg_profile profile = {.est = {.users = users, .user_count = count}};
    struct est_basic basic = {0};
    assert_true(parse_credentials(bytes_str(credentials), &basic));
    const struct cfg_user *user = est_basic_check(&profile, &basic);
    est_basic_clear(&basic);
    return user ? user->name : NULL;
}

/* Only the user of that name with that password is proved, whatever scheme the hash has. */
static void test_check(void **state)
{
    struct cfg_user users[] = {
        {.name = "alice", .hash = hash_of("correct horse", "$6$rounds=1000$saltsalt$")},
        {.name = "bob", .hash = hash_of("b:attery", "$5$rounds=1000$pepper$")},
        {.name = "carol", .hash = hash_of("", "$6$rounds=1000$empty$")},
        {.name = "dave", .hash = hash_of("staple", "$y$j75$LdJMENpBABJJ3hIHjB1Bi.$")},
    };
    static const char *const right[][2] = {{"alice:correct horse", "alice"},
                                           {"bob:b:attery", "bob"},
                                           {"carol:", "carol"},
                                           {"dave:staple", "dave"}};
    static const char *const wrong[] = {
        "alice:wrong",
        "alice:",
        "alice:correct hors",
        "alice:correct horse ",
        "Alice:correct horse",
        "alic:correct horse",
        "alicee:correct horse",
        ":correct horse",
        "bob:correct horse",
        "alice:b:attery",
        "mallory:correct horse",
        ":",
        "carol:x",
    };
    (void)state;
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        const char *name = check(users, 4, right[i][0]);
        if (!name)
            fail_msg("%s is refused", right[i][0]);
        assert_string_equal(name, right[i][1]);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (check(users, 4, wrong[i]))
            fail_msg("%s is accepted", wrong[i]);
    assert_null(check(NULL, 0, "alice:correct horse"));
    for (size_t i = 0; i < 4; i++)
        free(users[i].hash);
}

/* A hash that crypt(3) cannot read matches no password, not even its own failure token. */
static void test_bad_hashes(void **state)
{
    static const char *const hashes[] = {"", "*", "*0", "*1", "!", "x", "secret", "$6$", "$9$a$b"};
    static const char *const passwords[] = {"", "*0", "*1", "*", "!", "x", "secret", "$6$"};
    (void)state;
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++) {
        struct cfg_user user = {.name = "alice", .hash = mem_strdup(hashes[i])};
        for (size_t j = 0; j < sizeof passwords / sizeof passwords[0]; j++) {
            char credentials[64];
            snprintf(credentials, sizeof credentials, "alice:%s", passwords[j]);
            if (check(&user, 1, credentials))
                fail_msg("hash '%s' is matched by '%s'", hashes[i], passwords[j]);
        }
        free(user.hash);
    }
}

/* A hash cut short matches nothing: hashes are compared whole. */
static void test_cut_hash(void **state)
{
    char *hash = hash_of("correct horse", "$6$rounds=1000$saltsalt$");
    (void)state;
    for (size_t n = strlen(hash) - 1; n > strlen(hash) - 8; n--) {
        hash[n] = '\0';
        struct cfg_user user = {.name = "alice", .hash = hash};
        assert_null(check(&user, 1, "alice:correct horse"));
    }
    free(hash);
}

static int64_t cpu_ns(struct cfg_user *users, size_t count, const char *credentials)
{
    int64_t best = INT64_MAX;
    for (int round = 0; round < 5; round++) {
        struct timespec from, to;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        assert_null(check(users, count, credentials));
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        int64_t ns = (to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec - from.tv_nsec;
        if (ns < best)
            best = ns;
    }
    return best;
}

/* An unknown user costs about what a wrong password costs, so time does not tell who exists. */
static void test_time(void **state)
{
    struct cfg_user users[] = {
        {.name = "alice", .hash = hash_of("correct horse", "$6$rounds=20000$saltsalt$")},
        {.name = "bob", .hash = hash_of("battery", "$6$rounds=20000$pepper$")},
    };
    (void)state;
    int64_t wrong = cpu_ns(users, 2, "alice:wrong");
    int64_t unknown = cpu_ns(users, 2, "mallory:wrong");
    int64_t empty = cpu_ns(users, 2, ":wrong");
    assert_true(unknown > wrong / 2 && unknown < wrong * 2);
    assert_true(empty > wrong / 2 && empty < wrong * 2);
    free(users[0].hash);
    free(users[1].hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),     cmocka_unit_test(test_scheme_case),
        cmocka_unit_test(test_malformed), cmocka_unit_test(test_nul),
        cmocka_unit_test(test_ceilings),  cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_check),     cmocka_unit_test(test_bad_hashes),
        cmocka_unit_test(test_cut_hash),  cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
