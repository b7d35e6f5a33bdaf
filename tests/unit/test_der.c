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
        BYTES(0x04, 0xff, 0),
        BYTES(0x30, 0x80, 0x05, 0, 0, 0x81, 0),
        BYTES(0x30, 0x80, 0x05, 0, 0, 1, 0, 0, 0),
        BYTES(0x30, 0x80, 0x05, 0, 0, 0x80, 0, 0, 0, 0),
        BYTES(0x30, 0x80, 0x1f, 1, 0, 0, 0),
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
    for (size_t n = 0; n < outer.whole.len; n++) {
        struct bytes less = bytes_of(outer.whole.ptr, n);
        assert_false(der_take(&less, &inner));
        assert_int_equal(less.len, n);
    }
}

/* BER may write a length in more octets than it takes. */
static void test_long_length(void **state)
{
    struct bytes in = BYTES(0x30, 0x84, 0, 0, 0, 4, 0x04, 0x82, 0, 0), cur = in;
    struct der outer, inner;
    (void)state;
    assert_true(der_check(in, 2, 2));
    assert_true(der_take_tag(&cur, DER_SEQUENCE, &outer));
    assert_false(outer.indefinite);
    assert_true(der_take_tag(&outer.content, DER_OCTET_STRING, &inner));
    assert_int_equal(inner.content.len, 0);
}

/* Indefinite lengths are followed DER_DEPTH_MAX deep and no deeper. */
static void test_depth(void **state)
{
    (void)state;
    for (size_t depth = DER_DEPTH_MAX; depth <= DER_DEPTH_MAX + 1; depth++) {
        uint8_t nested[4 * (DER_DEPTH_MAX + 1)] = {0};
        struct der element;
        for (size_t i = 0; i < depth; i++) {
            nested[2 * i] = DER_SEQUENCE;
            nested[2 * i + 1] = 0x80;
        }
        struct bytes cur = bytes_of(nested, 4 * depth);
        assert_int_equal(der_check(cur, 1000, 1000), depth == DER_DEPTH_MAX);
        assert_int_equal(der_take(&cur, &element), depth == DER_DEPTH_MAX);
    }
}

/* Every truncation of a nested message is refused, and so are trailing bytes. */
static void test_check(void **state)
{
    const struct bytes rows[] = {
        BYTES(0x30, 7, 0x30, 5, 0x04, 1, 'x', 0x05, 0),
        BYTES(0x30, 0x80, 0x30, 0x80, 0x04, 1, 'x', 0, 0, 0x05, 0, 0, 0),
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(der_check(rows[i], 8, 10));
        for (size_t n = 0; n < rows[i].len; n++)
            assert_false(der_check(bytes_of(rows[i].ptr, n), 8, 10));
        assert_false(der_check(rows[i], 1, 10));
        assert_false(der_check(rows[i], 8, 3));
    }
    assert_false(der_check(BYTES(0x05, 0, 0x05, 0), 8, 10));
    /* A lone identifier behind the inner element. */
    assert_false(der_check(BYTES(0x30, 8, 0x30, 0x80, 0x04, 1, 'x', 0, 0, 0x05), 8, 10));
    /* An inner element that runs past the outer one. */
    assert_false(der_check(BYTES(0x30, 3, 0x04, 3, 'a', 'b', 'c'), 8, 10));
    /* The same where the inner one ends beyond it, at its end-of-contents. */
    assert_false(der_check(BYTES(0x30, 4, 0x30, 0x80, 0x05, 0, 0, 0), 8, 10));
    assert_false(der_check(BYTES(0x30, 0x80, 0x30, 4, 0x30, 0x80, 0x05, 0, 0, 0, 0, 0), 8, 10));
    /* End-of-contents where nothing is open. */
    assert_false(der_check(BYTES(0x30, 2, 0, 0), 8, 10));
}

/* Elements of definite length, each within the one before, in long form. */
static void nest_definite(uint8_t *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = 6 * (count - i - 1);
        const uint8_t header[6] = {DER_SEQUENCE,         0x84,
                                   (uint8_t)(len >> 24), (uint8_t)(len >> 16),
                                   (uint8_t)(len >> 8),  (uint8_t)len};
        memcpy(out + 6 * i, header, sizeof header);
    }
}

/* That this thread has computed. */
static double seconds_since(struct timespec from)
{
    struct timespec to;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

/* A hundred thousand nested elements are refused at once, definite and indefinite. */
static void test_deep(void **state)
{
    size_t count = 100000;
    uint8_t *deep = calloc(6, count);
    struct der element;
    struct timespec from;
    (void)state;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    nest_definite(deep, count);
    assert_false(der_check(bytes_of(deep, 6 * count), 1000, SIZE_MAX));
    assert_true(der_check(bytes_of(deep + 6 * (count - DER_DEPTH_MAX), (size_t)6 * DER_DEPTH_MAX),
                          1000, SIZE_MAX));
    for (size_t i = 0; i < 4 * count; i++)
        deep[i] = i >= 2 * count ? 0 : i % 2 ? 0x80 : DER_SEQUENCE;
    struct bytes cur = bytes_of(deep, 4 * count);
    assert_false(der_check(cur, 1000, SIZE_MAX));
    assert_false(der_take(&cur, &element));
    assert_true(seconds_since(from) < 2);
    free(deep);
}

/* A hundred thousand siblings inside indefinite lengths as deep as they may be cost one pass a
 * level, and the ceiling on elements is exact. */
static void test_wide(void **state)
{
    size_t count = 100000, depth = DER_DEPTH_MAX - 1, len = 4 * (depth + count);
    uint8_t *wide = calloc(1, len);
    struct timespec from;
    struct der element;
    (void)state;
    for (size_t i = 0; i < 2 * depth; i++)
        wide[i] = i % 2 ? 0x80 : DER_SEQUENCE;
    for (size_t i = 0; i < count; i++) {
        wide[2 * depth + 4 * i] = DER_SEQUENCE;
        wide[2 * depth + 4 * i + 1] = 0x80;
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    struct bytes cur = bytes_of(wide, len);
    assert_true(der_check(cur, DER_DEPTH_MAX, count + depth));
    assert_false(der_check(cur, DER_DEPTH_MAX, count + depth - 1));
    for (size_t i = 0; i < depth; i++) {
        assert_true(der_take(&cur, &element));
        assert_int_equal(cur.len, 0);
        cur = element.content;
    }
    assert_int_equal(cur.len, 4 * count);
    for (size_t i = 0; i < count; i++)
        assert_true(der_take(&cur, &element));
    assert_int_equal(cur.len, 0);
    assert_true(seconds_since(from) < 5);
    free(wide);
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
    assert_false(der_add_oid(&out, NID_undef));
    assert_int_equal(out.len, 0);
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
        cmocka_unit_test(test_indefinite), cmocka_unit_test(test_long_length),
        cmocka_unit_test(test_depth),      cmocka_unit_test(test_check),
        cmocka_unit_test(test_deep),       cmocka_unit_test(test_wide),
        cmocka_unit_test(test_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
