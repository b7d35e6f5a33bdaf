#include "base/der.h"

#include <openssl/objects.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define BYTES(...) bytes_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* An element is taken with its content; the rest stays. */
static void test_take(void **state)
{
    struct bytes cur = BYTES(0x04, 2, 'a', 'b', 0x05, 0);
    struct der element;
    (void)state;
    assert_true(der_next_is(cur, DER_OCTET_STRING));
    assert_false(der_take_tag(&cur, DER_INTEGER, &element));
    assert_true(der_take_tag(&cur, DER_OCTET_STRING, &element));
    assert_true(bytes_equal_str(element.content, "ab"));
    assert_int_equal(element.whole.len, 4);
    assert_true(der_take_tag(&cur, DER_NULL, &element));
    assert_false(der_take(&cur, &element));
    assert_false(der_next_is(cur, DER_NULL));
}

/* Truncated, over-long, high-tag and end-of-contents elements are refused and move nothing. */
static void test_refused(void **state)
{
    const struct bytes rows[] = {
        BYTES(0x04),
        BYTES(0x04, 3, 'a', 'b'),
        BYTES(0x04, 0x81),
        BYTES(0x04, 0x82, 1),
        BYTES(0x04, 0x85, 0, 0, 0, 0, 1),
        BYTES(0x1f, 1, 0),
        BYTES(0x00, 0),
        BYTES(0x04, 0x80, 0, 0),
        BYTES(0x30, 0x80, 0x05, 0),
        BYTES(0x04, 0x84, 0xff, 0xff, 0xff, 0xff),
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes cur = rows[i];
        struct der element;
        assert_false(der_take(&cur, &element));
        assert_ptr_equal(cur.ptr, rows[i].ptr);
        assert_false(der_check(rows[i], 32, 100));
    }
}

/* Indefinite lengths end at their own end-of-contents, also when nested. */
static void test_indefinite(void **state)
{
    struct bytes cur = BYTES(0x30, 0x80, 0x24, 0x80, 0x04, 1, 'x', 0, 0, 0x02, 1, 5, 0, 0, 0x05, 0);
    struct der outer, inner;
    (void)state;
    assert_true(der_take_tag(&cur, DER_SEQUENCE, &outer));
    assert_true(outer.indefinite);
    assert_int_equal(outer.content.len, 10);
    assert_int_equal(outer.whole.len, 14);
    assert_true(der_take(&outer.content, &inner));
    assert_int_equal(inner.content.len, 3);
    assert_true(der_take_tag(&outer.content, DER_INTEGER, &inner));
    assert_int_equal(outer.content.len, 0);
    assert_true(der_next_is(cur, DER_NULL));
}

/* Every truncation of a nested message is refused, and so are trailing bytes. */
static void test_check(void **state)
{
    const struct bytes rows[] = {
        BYTES(0x30, 7, 0x30, 5, 0x04, 1, 'x', 0x05, 0),
        BYTES(0x30, 0x80, 0x30, 0x80, 0x04, 1, 'x', 0, 0, 0x05, 0, 0, 0),
        BYTES(0x30, 8, 0x30, 0x80, 0x04, 1, 'x', 0, 0, 0x00 + 0x05),
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_true(der_check(rows[i], 8, 10));
        for (size_t n = 0; n < rows[i].len; n++)
            assert_false(der_check(bytes_of(rows[i].ptr, n), 8, 10));
        assert_false(der_check(rows[i], 1, 10));
        assert_false(der_check(rows[i], 8, 3));
    }
    assert_false(der_check(rows[2], 8, 10));
    assert_false(der_check(BYTES(0x05, 0, 0x05, 0), 8, 10));
    /* An inner element that runs past the outer one. */
    assert_false(der_check(BYTES(0x30, 3, 0x04, 3, 'a', 'b', 'c'), 8, 10));
}

/* A hundred thousand nested elements are refused at once, definite and indefinite. */
static void test_deep(void **state)
{
    size_t count = 100000;
    uint8_t *deep = malloc(2 * count);
    struct der element;
    struct timespec from, to;
    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (unsigned indefinite = 0; indefinite < 2; indefinite++) {
        for (size_t i = 0; i < count; i++) {
            deep[2 * i] = DER_SEQUENCE;
            deep[2 * i + 1] = indefinite ? 0x80 : 0x7f;
        }
        struct bytes cur = bytes_of(deep, 2 * count);
        assert_false(der_check(cur, 1000, SIZE_MAX));
        if (indefinite)
            assert_false(der_take(&cur, &element));
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_true(to.tv_sec - from.tv_sec < 2);
    free(deep);
}

/* What is written is read back, at every length where the length octets change. */
static void test_writer(void **state)
{
    static const size_t lengths[] = {0, 1, 127, 128, 255, 256, 65535, 65536};
    uint8_t *data = calloc(1, 65536);
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct buf out = {0};
        struct der outer, inner;
        assert_true(der_add(&out, DER_OCTET_STRING, bytes_of(data, lengths[i])));
        assert_true(der_wrap(&out, 0, DER_SEQUENCE));
        struct bytes cur = buf_bytes(&out);
        assert_true(der_check(cur, 4, 10));
        assert_true(der_take_tag(&cur, DER_SEQUENCE, &outer) && cur.len == 0);
        assert_true(der_take_tag(&outer.content, DER_OCTET_STRING, &inner));
        assert_int_equal(inner.content.len, lengths[i]);
        buf_free(&out);
    }
    struct buf out = {0};
    assert_true(der_add_oid(&out, NID_pkcs7_data));
    assert_true(
        bytes_equal(buf_bytes(&out), BYTES(6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1)));
    buf_free(&out);
    struct buf small = BUF_INIT(3);
    assert_false(der_add(&small, DER_OCTET_STRING, bytes_of(data, 2)));
    assert_int_equal(small.len, 0);
    buf_free(&small);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_indefinite), cmocka_unit_test(test_check),
        cmocka_unit_test(test_deep),       cmocka_unit_test(test_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
