#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Taking moves forward by exactly what was taken, or not at all. */
static void test_take(void **state)
{
    struct bytes cur = bytes_str("abcdef"), got;
    uint8_t one;
    (void)state;
    assert_true(bytes_take(&cur, 2, &got));
    assert_true(bytes_equal_str(got, "ab"));
    assert_true(bytes_take_u8(&cur, &one));
    assert_int_equal(one, 'c');
    assert_false(bytes_take(&cur, 4, &got));
    assert_false(bytes_take(&cur, SIZE_MAX, &got));
    assert_int_equal(cur.len, 3);
    assert_true(bytes_take(&cur, 3, &got));
    assert_true(bytes_take(&cur, 0, &got));
    assert_false(bytes_take_u8(&cur, &one));
}

/* Up to a stop byte, or all there is. */
static void test_take_until(void **state)
{
    struct bytes cur = bytes_str("a=b=c"), got;
    (void)state;
    assert_true(bytes_take_until(&cur, '=', &got));
    assert_true(bytes_equal_str(got, "a"));
    assert_true(bytes_take_until(&cur, '=', &got));
    assert_false(bytes_take_until(&cur, '=', &got));
    assert_true(bytes_equal_str(got, "c"));
    assert_int_equal(cur.len, 0);
    assert_false(bytes_take_until(&cur, '=', &got));
    assert_int_equal(got.len, 0);
}

/* Comparisons look at all of both. */
static void test_equal(void **state)
{
    (void)state;
    assert_true(bytes_equal_str(bytes_str(NULL), ""));
    assert_false(bytes_equal_str(bytes_str("GETX"), "GET"));
    assert_false(bytes_equal_str(bytes_str("GE"), "GET"));
    assert_true(bytes_equal_nocase(bytes_str("gEt"), "GET"));
    assert_false(bytes_equal_nocase(bytes_str("get "), "GET"));
    assert_true(bytes_starts(bytes_str("GETX"), "GET"));
    assert_false(bytes_starts(bytes_str("GE"), "GET"));
    assert_true(bytes_equal_secret(bytes_str("same"), bytes_str("same")));
    assert_false(bytes_equal_secret(bytes_str("same"), bytes_str("sama")));
    assert_false(bytes_equal_secret(bytes_str("same"), bytes_str("samesame")));
    assert_true(bytes_equal_str(bytes_trim(bytes_str(" \t\r\na b\n")), "a b"));
    assert_int_equal(bytes_trim(bytes_str(" \n")).len, 0);
}

/* A C string cannot hold a NUL, so bytes with one are not a string. */
static void test_to_str(void **state)
{
    (void)state;
    char *text = bytes_to_str(bytes_of("abc", 2));
    assert_string_equal(text, "ab");
    free(text);
    assert_null(bytes_to_str(bytes_of("a\0b", 3)));
    text = bytes_to_str(bytes_of(NULL, 0));
    assert_string_equal(text, "");
    free(text);
}

/* A buffer takes up to its ceiling, and what does not fit leaves it as it was. */
static void test_ceiling(void **state)
{
    struct buf buf = BUF_INIT(10);
    (void)state;
    assert_true(buf_add_str(&buf, "12345"));
    assert_false(buf_add_str(&buf, "123456"));
    assert_string_equal(buf_str(&buf), "12345");
    assert_false(buf_add_fmt(&buf, "%s", "123456"));
    assert_true(buf_add_fmt(&buf, "%d", 12345));
    assert_false(buf_add_u8(&buf, 0));
    assert_string_equal(buf_str(&buf), "1234512345");
    assert_false(buf_add(&buf, bytes_of("x", SIZE_MAX)));
    assert_true(buf_set(&buf, bytes_str("new")));
    assert_string_equal(buf_str(&buf), "new");
    buf_free(&buf);
    assert_string_equal(buf_str(&buf), "");
    assert_int_equal(buf.max, 10);
    buf_free(&buf);
}

/* A secret is wiped when it is cleared. */
static void test_secret(void **state)
{
    struct buf buf = BUF_SECRET(100);
    (void)state;
    assert_true(buf_add_str(&buf, "hunter2hunter2"));
    const uint8_t *at = buf.ptr;
    buf_clear(&buf);
    assert_int_equal(at[0], 0);
    assert_int_equal(at[13], 0);
    buf_free(&buf);
    assert_true(buf.secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),    cmocka_unit_test(test_take_until),
        cmocka_unit_test(test_equal),   cmocka_unit_test(test_to_str),
        cmocka_unit_test(test_ceiling), cmocka_unit_test(test_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
