#include "base/change.h"
#include "base/der.h"
#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The DER of a Name; of SEQUENCE { the names of these SANs }. */
static void add_name(struct buf *out, const char *subject)
{
    struct names names;
    struct err err;
    assert_true(names_parse_text(subject, NULL, 0, &names, &err));
    assert_true(buf_add(out, buf_bytes(&names.subject)));
    names_clear(&names);
}

static void add_sans(struct buf *out, const char *one, const char *two)
{
    const char *const sans[] = {one, two};
    struct names names;
    struct err err;
    size_t start = out->len;
    assert_true(names_parse_text("", sans, 2, &names, &err));
    for (size_t i = 0; i < names.san_count; i++)
        assert_true(buf_add(out, buf_bytes(&names.sans[i].der)));
    assert_true(der_wrap(out, start, DER_SEQUENCE));
    names_clear(&names);
}

/* Parses a copy of exactly that size, which is gone when it returns. */
static bool parse(struct bytes der, struct names *ret)
{
    struct err err;
    uint8_t *copy = malloc(der.len ? der.len : 1);
    assert_non_null(copy);
    if (der.len)
        memcpy(copy, der.ptr, der.len);
    bool ok = change_parse(bytes_of(copy, der.len), ret, &err);
    free(copy);
    return ok;
}

/* RFC 6402 section 2.8: subject and subjectAlt, or one of them; what is absent is empty. */
static void test_forms(void **state)
{
    struct buf der = {0};
    struct names names;
    (void)state;
    add_name(&der, "CN=new,O=Example");
    add_sans(&der, "dns:b.example", "dns:a.example");
    assert_true(der_wrap(&der, 0, DER_SEQUENCE));
    assert_true(parse(buf_bytes(&der), &names));
    assert_string_equal(names.subject_text, "CN=new,O=Example");
    assert_int_equal(names.san_count, 2);
    assert_string_equal(names.sans[0].text, "a.example");
    names_clear(&names);
    buf_clear(&der);
    add_name(&der, "CN=new");
    assert_true(der_wrap(&der, 0, DER_SEQUENCE));
    assert_true(parse(buf_bytes(&der), &names));
    assert_string_equal(names.subject_text, "CN=new");
    assert_int_equal(names.san_count, 0);
    names_clear(&names);
    buf_clear(&der);
    add_sans(&der, "ip:10.0.0.1", "dns:a.example");
    assert_true(der_wrap(&der, 0, DER_SEQUENCE));
    assert_true(parse(buf_bytes(&der), &names));
    assert_int_equal(names.attr_count, 0);
    assert_int_equal(names.san_count, 2);
    names_clear(&names);
    buf_free(&der);
}

/* Erratum 3943 of RFC 6402: subjectAlt with the tag [1], which replaces its own; not before the
 * subject, not around a SEQUENCE, not empty, not twice. */
static void test_tagged(void **state)
{
    struct buf name = {0}, sans = {0}, tagged = {0}, der = {0};
    struct names names;
    struct der element;
    add_name(&name, "CN=new");
    add_sans(&sans, "dns:b.example", "ip:10.0.0.1");
    struct bytes cursor = buf_bytes(&sans);
    assert_true(der_take(&cursor, &element) && der_add(&tagged, 0xa1, element.content));
    assert_true(buf_add(&der, buf_bytes(&name)) && buf_add(&der, buf_bytes(&tagged)) &&
                der_wrap(&der, 0, DER_SEQUENCE) && parse(buf_bytes(&der), &names));
    assert_string_equal(names.subject_text, "CN=new");
    assert_int_equal(names.san_count, 2);
    names_clear(&names);
    for (size_t len = 0; len < der.len; len++)
        assert_false(parse(bytes_of(der.ptr, len), &names));
    buf_clear(&der);
    assert_true(buf_add(&der, buf_bytes(&tagged)) && der_wrap(&der, 0, DER_SEQUENCE) &&
                parse(buf_bytes(&der), &names));
    assert_int_equal(names.attr_count, 0);
    assert_int_equal(names.san_count, 2);
    names_clear(&names);
    static const uint8_t empty[] = {0xa1, 0};
    struct buf explicit_tag = {0};
    assert_true(der_add(&explicit_tag, 0xa1, buf_bytes(&sans)));
    const struct bytes n = buf_bytes(&name), t = buf_bytes(&tagged), none = {0},
                       e = bytes_of(empty, sizeof empty), x = buf_bytes(&explicit_tag);
    const struct bytes rows[][2] = {{t, n},    {t, t}, {t, buf_bytes(&sans)}, {e, none}, {n, e},
                                    {x, none}, {n, x}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_clear(&der);
        assert_true(buf_add(&der, rows[i][0]) && buf_add(&der, rows[i][1]) &&
                    der_wrap(&der, 0, DER_SEQUENCE));
        if (parse(buf_bytes(&der), &names))
            fail_msg("row %zu", i);
    }
    buf_free(&explicit_tag);
    buf_free(&name);
    buf_free(&sans);
    buf_free(&tagged);
    buf_free(&der);
}

/* Neither, both in another order, twice the same, more behind them, or something else is refused.
 */
static void test_malformed(void **state)
{
    static const uint8_t not_names[] = {DER_SEQUENCE, 3, DER_INTEGER, 1, 1};
    struct buf name = {0}, sans = {0}, der = {0};
    struct names names;
    add_name(&name, "CN=new");
    add_sans(&sans, "dns:a.example", "dns:b.example");
    const struct bytes n = buf_bytes(&name), s = buf_bytes(&sans),
                       odd = bytes_of(not_names, sizeof not_names), none = {0};
    const struct bytes rows[][3] = {{none, none, none}, {s, n, none},  {n, n, none},
                                    {s, s, none},       {n, s, n},     {n, s, s},
                                    {odd, none, none},  {n, odd, none}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_clear(&der);
        for (size_t k = 0; k < 3; k++)
            assert_true(buf_add(&der, rows[i][k]));
        assert_true(der_wrap(&der, 0, DER_SEQUENCE));
        if (parse(buf_bytes(&der), &names))
            fail_msg("row %zu", i);
    }
    buf_clear(&der);
    assert_true(buf_add(&der, n) && buf_add(&der, s) && der_wrap(&der, 0, DER_SET));
    assert_false(parse(buf_bytes(&der), &names));
    buf_free(&name);
    buf_free(&sans);
    buf_free(&der);
}

/* What ends early is refused, at whatever length; so is what has more behind it. */
static void test_truncated(void **state)
{
    struct buf der = {0};
    struct names names;
    (void)state;
    add_name(&der, "CN=new,O=Example");
    add_sans(&der, "dns:b.example", "uri:urn:x:y");
    assert_true(der_wrap(&der, 0, DER_SEQUENCE));
    for (size_t len = 0; len < der.len; len++)
        assert_false(parse(bytes_of(der.ptr, len), &names));
    assert_true(buf_add_u8(&der, 0));
    assert_false(parse(buf_bytes(&der), &names));
    buf_free(&der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_tagged),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_truncated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
