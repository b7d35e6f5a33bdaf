#include "est/renewal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DAY INT64_C(86400)

/* Whatever the life and the place, the window is one: it ends after it begins, lies in the time in
 * which the certificate may be renewed, and before its end. */
static void test_inside(void **state)
{
    static const int64_t lives[] = {1, 2, 3, 10, 60, 3600, DAY, 90 * DAY, 3650 * DAY};
    static const int64_t allowed[] = {0, 1, 60, DAY, 30 * DAY};
    (void)state;
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++) {
        for (size_t k = 0; k < sizeof allowed / sizeof allowed[0]; k++) {
            for (uint32_t place = 0; place < 4000000000u; place += 12345678) {
                struct ra_window w = ra_window_of(1000, 1000 + lives[i], allowed[k], place);
                if (w.end <= w.start || w.start < 1000 || w.retry_after < 60 ||
                    w.retry_after > 21600 || (lives[i] > 2 && w.end > 1000 + lives[i]))
                    fail_msg("life %lld, allowed %lld, place %u", (long long)lives[i],
                             (long long)allowed[k], place);
                if (lives[i] > 2 && w.start < 1000 + lives[i] * 2 / 3 - 1)
                    fail_msg("too early: %lld", (long long)w.start);
                if (allowed[k] && lives[i] > 2 && w.start < 1000 + lives[i] - allowed[k])
                    fail_msg("not allowed yet: %lld", (long long)w.start);
            }
        }
    }
}

/* A thousand certificates of one day do not begin at one time. */
static void test_spread(void **state)
{
    unsigned hours[24 * 30] = {0}, used = 0;
    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        struct ra_window w = ra_window_of(0, 90 * DAY, 0, i * 2654435761u);
        size_t hour = (size_t)((w.start - 60 * DAY) / 3600);
        assert_true(hour < sizeof hours / sizeof hours[0]);
        used += hours[hour]++ == 0;
    }
    assert_true(used > 200);
}

static bool parse(const char *id, char *serial, struct buf *key_id)
{
    /* A copy of exactly that size, which is gone when it returns. */
    size_t len = strlen(id);
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, id, len);
    buf_clear(key_id);
    bool ok = est_renewal_id(bytes_of(copy, len), key_id, serial);
    free(copy);
    return ok;
}

/* RFC 9773 section 4.1 has the same identifier and this example. */
static void test_id(void **state)
{
    static const char *const bad[] = {
        "",
        ".",
        "aYhba4dGQEHhs3uEe6CuLN4ByNQ",
        "aYhba4dGQEHhs3uEe6CuLN4ByNQ.",
        ".AIdlQyE",
        "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE=",
        "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdl.QyE",
        "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdl QyE",
        "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdl+QyE",
        "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AAdlQyE",
        "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "aYhba4dGQEHhs3uEe6CuLN4ByNQaYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE",
    };
    static const char good[] = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE";
    char serial[CERT_SERIAL_TEXT_MAX];
    struct buf key_id = BUF_INIT(20);
    (void)state;
    assert_true(parse(good, serial, &key_id));
    assert_string_equal(serial, "87654321");
    assert_int_equal(key_id.len, 20);
    assert_int_equal(key_id.ptr[0], 0x69);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (parse(bad[i], serial, &key_id))
            fail_msg("%s", bad[i]);
    for (size_t len = 0; len < 28; len++) {
        char cut[sizeof good];
        memcpy(cut, good, len);
        cut[len] = 0;
        assert_false(parse(cut, serial, &key_id));
    }
    buf_free(&key_id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inside),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
