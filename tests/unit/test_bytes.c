#include "base/bytes.h"

#include <openssl/err.h>
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
    assert_false(bytes_equal_nocase(bytes_of("ge\0", 3), "GET"));
    assert_false(bytes_equal_str(bytes_of("GET\0", 4), "GET"));
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

/* A buffer grows through many sizes, a secret one too, and keeps what it holds. */
static void test_growth(void **state)
{
    (void)state;
    for (unsigned secret = 0; secret < 2; secret++) {
        struct buf buf = {.secret = secret};
        for (unsigned i = 0; i < 5000; i++)
            assert_true(buf_add_u8(&buf, (uint8_t)(i % 251)));
        assert_int_equal(buf.len, 5000);
        for (unsigned i = 0; i < 5000; i++)
            assert_int_equal(buf.ptr[i], i % 251);
        buf_free(&buf);
        assert_null(buf.ptr);
    }
}

/* Without a ceiling of its own a buffer has the common one. */
static void test_default_ceiling(void **state)
{
    struct buf buf = {0};
    uint8_t *much = calloc(1, BUF_MAX_DEFAULT + 1);
    (void)state;
    assert_false(buf_add(&buf, bytes_of(much, BUF_MAX_DEFAULT + 1)));
    assert_true(buf_add(&buf, bytes_of(much, BUF_MAX_DEFAULT)));
    assert_false(buf_add_u8(&buf, 0));
    buf_free(&buf);
    free(much);
}

/* Errors keep their kind, say what was being done, and fit however long their parts are. */
static void test_err(void **state)
{
    char *value = calloc(1, 2001);
    struct err err;
    (void)state;
    memset(value, 'v', 2000);
    assert_false(err_set(&err, ERR_CONFIG, "bad value %d", 7));
    assert_false(err_within(&err, "reading %s", "x.yaml"));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_string_equal(err.text, "while reading x.yaml: bad value 7");
    assert_false(err_set(&err, ERR_PEER, "%s", value));
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_false(err_within(&err, "%s", value));
    assert_memory_equal(err.text, "while v", 7);
    assert_non_null(strstr(err.text, "v: v"));
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    free(value);
}

/* OpenSSL's reasons are appended, and none is left for the next error. */
static void test_err_openssl(void **state)
{
    struct err err;
    (void)state;
    ERR_raise_data(ERR_LIB_USER, ERR_R_PASSED_NULL_PARAMETER, "first=%d", 1);
    ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE);
    assert_false(err_openssl(&err, ERR_LOCAL, "no key"));
    assert_int_equal(err.kind, ERR_LOCAL);
    assert_string_equal(err.text, "no key: passed a null parameter (first=1): malloc failure");
    assert_int_equal(ERR_peek_error(), 0);
    assert_string_equal(err_kind_name(ERR_UPSTREAM), "upstream");
    assert_string_equal(err_kind_name(ERR_KIND_COUNT), "unknown");
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
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_take_until),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_to_str),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_default_ceiling),
        cmocka_unit_test(test_err),
        cmocka_unit_test(test_err_openssl),
        cmocka_unit_test(test_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
