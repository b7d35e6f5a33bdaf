#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool decodes(const char *text, enum text_base64 form, const char *to)
{
    struct buf out = BUF_INIT(1000);
    struct err err;
    bool ok = text_base64_decode(bytes_str(text), form, &out, &err) &&
              (!to || bytes_equal_str(buf_bytes(&out), to));
    buf_free(&out);
    return ok;
}

/* RFC 4648 section 10, both ways. */
static void test_base64_vectors(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = {0};
        assert_true(text_base64_encode(bytes_str(rows[i][0]), 0, &out));
        assert_string_equal(buf_str(&out), rows[i][1]);
        buf_free(&out);
        assert_true(decodes(rows[i][1], TEXT_BASE64_STRICT, rows[i][0]));
    }
}

/* Strict means canonical: nothing but the alphabet, the padding that belongs there, no stray bits.
 */
static void test_base64_strict(void **state)
{
    static const char *const bad[] = {
        "Zg",    "Zg=",     "Zg===", "Z",    "Zh==",     "Zm9=", "Zm9v\n",   " Zm9v",
        "Zm9v=", "Zm9vZg=", "Zm-v",  "Zm_v", "Zg==Zg==", "=Zg=", "Zm9v\x80", "====",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(decodes(bad[i], TEXT_BASE64_STRICT, NULL));
}

/* White space anywhere where it is allowed; the URL alphabet and missing padding only when lenient.
 */
static void test_base64_forms(void **state)
{
    (void)state;
    assert_true(decodes(" Z\tm9\r\nv Yg = =\n", TEXT_BASE64_SPACE, "foob"));
    assert_false(decodes("Zm9vYg", TEXT_BASE64_SPACE, NULL));
    assert_true(decodes("Zm9v Yg", TEXT_BASE64_LENIENT, "foob"));
    assert_true(decodes("_-_-", TEXT_BASE64_LENIENT, "\xff\xef\xfe"));
    assert_false(decodes("Zm9v!", TEXT_BASE64_LENIENT, NULL));
    assert_false(decodes("Z", TEXT_BASE64_LENIENT, NULL));
}

/* Every truncation of a strict text decodes or is refused, and lines are as long as asked. */
static void test_base64_lines(void **state)
{
    uint8_t data[100];
    struct buf out = {0};
    struct err err;
    (void)state;
    memset(data, 0xa5, sizeof data);
    assert_true(text_base64_encode(bytes_of(data, sizeof data), 64, &out));
    const char *text = buf_str(&out);
    assert_int_equal(text[64], '\n');
    assert_int_equal(text[129], '\n');
    assert_int_equal(text[out.len - 1], '\n');
    for (size_t n = 0; n < out.len; n++) {
        struct buf back = BUF_INIT(200);
        if (text_base64_decode(bytes_of(out.ptr, n), TEXT_BASE64_SPACE, &back, &err))
            assert_true(back.len <= sizeof data &&
                        memcmp(back.ptr ? back.ptr : data, data, back.len) == 0);
        buf_free(&back);
    }
    buf_free(&out);
    struct buf full = BUF_INIT(2);
    assert_false(text_base64_decode(bytes_str("Zm9v"), TEXT_BASE64_STRICT, &full, &err));
    buf_free(&full);
}

/* Hex of either case in, lower case out; a refusal leaves what was there. */
static void test_hex(void **state)
{
    char hex[7];
    struct buf out = BUF_INIT(10);
    (void)state;
    text_hex(bytes_of("\x00\xab\xff", 3), hex);
    assert_string_equal(hex, "00abff");
    assert_true(text_unhex(bytes_str("00aBFf"), &out));
    assert_memory_equal(out.ptr, "\x00\xab\xff", 3);
    assert_false(text_unhex(bytes_str("0"), &out));
    assert_false(text_unhex(bytes_str("0g"), &out));
    assert_int_equal(out.len, 3);
    buf_free(&out);
}

/* Percent-decoding happens once; '+' stays; a NUL or a bad escape is refused. */
static void test_percent(void **state)
{
    struct buf out = BUF_INIT(100);
    (void)state;
    assert_true(text_percent_decode(bytes_str("a%2Bb+c%2541"), &out));
    assert_string_equal(buf_str(&out), "a+b+c%41");
    assert_false(text_percent_decode(bytes_str("%00"), &out));
    assert_false(text_percent_decode(bytes_of("a\0b", 3), &out));
    assert_false(text_percent_decode(bytes_str("%4"), &out));
    assert_false(text_percent_decode(bytes_str("%zz"), &out));
    buf_free(&out);
}

/* Nothing but printable ASCII comes out, and quotes cannot close the value. */
static void test_escape(void **state)
{
    struct buf out = {0};
    (void)state;
    text_escape(bytes_of("a\"b\\\n\x1b\x00\xff", 8), 100, &out);
    assert_string_equal(buf_str(&out), "a\\\"b\\\\\\x0a\\x1b\\x00\\xff");
    buf_clear(&out);
    text_escape(bytes_str("abcdef"), 3, &out);
    assert_string_equal(buf_str(&out), "abc...");
    buf_free(&out);
}

/* Where the buffer ends first, the cut is marked too, and no escape is cut in two. */
static void test_escape_ceiling(void **state)
{
    static const char *const rows[] = {
        "",    "",         "",          "...",        "...",         "...",
        "...", "\\x0a...", "\\x0aa...", "\\x0aab...", "\\x0aabcdef", "\\x0aabcdef",
    };
    (void)state;
    for (size_t max = 1; max < sizeof rows / sizeof rows[0]; max++) {
        struct buf out = BUF_INIT(max);
        text_escape(bytes_str("\nabcdef"), 100, &out);
        assert_string_equal(buf_str(&out), rows[max]);
        buf_free(&out);
    }
    struct buf exact = BUF_INIT(6);
    text_escape(bytes_str("abcdef"), 6, &exact);
    assert_string_equal(buf_str(&exact), "abcdef");
    buf_free(&exact);
    exact = BUF_INIT(7);
    text_escape(bytes_str("abcdefg"), 6, &exact);
    assert_string_equal(buf_str(&exact), "abcd...");
    buf_free(&exact);
}

/* A number and one unit, nothing around them. */
static void test_durations_and_sizes(void **state)
{
    static const char *const bad[] = {
        "", "d", "1", "1x", "-1d", "1 d", "1.5h", "1dd", "99999999999999999999s"};
    int64_t n;
    (void)state;
    assert_true(text_duration("90d", &n) && n == INT64_C(90) * 86400);
    assert_true(text_duration("8h", &n) && n == INT64_C(8) * 3600);
    assert_true(text_duration("0s", &n) && n == 0);
    assert_true(text_duration("2w", &n) && n == INT64_C(14) * 86400);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(text_duration(bad[i], &n));
    assert_true(text_size("128KiB", &n) && n == 131072);
    assert_true(text_size("512", &n) && n == 512);
    assert_false(text_size("1kb", &n));
    assert_false(text_size("KiB", &n));
    assert_false(text_size(NULL, &n));
    assert_false(text_size("-1", &n));
    assert_false(text_size("9223372036854775807GiB", &n));
    assert_false(text_duration(NULL, &n));
    assert_true(text_duration("1y", &n) && n == INT64_C(365) * 86400);
    char time[TEXT_TIME_MAX];
    text_time(1795443181, time);
    assert_string_equal(time, "2026-11-23T14:13:01Z");
    text_time(-1, time);
    assert_string_equal(time, "1969-12-31T23:59:59Z");
    text_time(INT64_MAX, time);
    assert_memory_equal(time, "@", 1);
}

/* A star stands for at least one character of one label; alone it is everything. */
static void test_glob(void **state)
{
    static const struct {
        const char *pattern, *name;
        bool match;
    } rows[] = {
        {"*", "a.b.c", true},
        {"*.vpn.example.com", "r1.VPN.example.com", true},
        {"*.vpn.example.com", "a.b.vpn.example.com", false},
        {"*.vpn.example.com", ".vpn.example.com", false},
        {"*.vpn.example.com", "vpn.example.com", false},
        {"r*.example", "r1.example", true},
        {"r*.example", "r.example", false},
        {"r*x.example", "rxxx.example", true},
        {"r*x.example", "rxxy.example", false},
        {"a.example", "a.example", true},
        {"a.example", "a.example.org", false},
        {"a.example", "xa.example", false},
        {"*.*", "a.b", true},
        {"*.*", "a.b.c", false},
        {"", "", true},
        {"", "a", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (text_glob(rows[i].pattern, rows[i].name) != rows[i].match)
            fail_msg("%s against %s", rows[i].pattern, rows[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64_vectors),
        cmocka_unit_test(test_base64_strict),
        cmocka_unit_test(test_base64_forms),
        cmocka_unit_test(test_base64_lines),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_percent),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_escape_ceiling),
        cmocka_unit_test(test_durations_and_sizes),
        cmocka_unit_test(test_glob),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
