#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct names parse(const char *subject, const char *const *sans, size_t count)
{
    struct names names;
    struct err err;
    if (!names_parse_text(subject, sans, count, &names, &err))
        fail_msg("%s", err.text);
    return names;
}

#define SANS(...)                                                                                  \
    (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

/* Attributes and SANs come out as an operator wrote them, SANs sorted and with their kinds. */
static void test_parse(void **state)
{
    struct names names =
        parse("CN=r1,O=A\\, B,serialNumber=7",
              SANS("b.example", "10.0.0.1", "a@b.c", "uri:urn:x", "dns:a.example", "::1"));
    struct buf text = {0};
    (void)state;
    assert_int_equal(names.attr_count, 3);
    assert_string_equal(names_attr_get(&names, "O"), "A, B");
    assert_string_equal(names_attr_get(&names, "serialNumber"), "7");
    assert_null(names_attr_get(&names, "OU"));
    assert_string_equal(names.subject_text, "CN=r1,O=A\\, B,serialNumber=7");
    assert_true(names_san_text(&names, &text));
    assert_string_equal(buf_str(&text),
                        "dns:a.example,dns:b.example,ip:10.0.0.1,ip:::1,email:a@b.c,uri:urn:x");
    buf_free(&text);
    names_clear(&names);
}

/* What is no subject or SAN is refused. */
static void test_refused(void **state)
{
    struct names names;
    struct err err;
    static const char *const subjects[] = {"CN",        "CN=",     "=x", "NOSUCH=x",
                                           "CN=a,,O=b", "CN=a\nb", "x"};
    static const char *const sans[] = {"", "dns:", "ip:300.0.0.1", "ip:x", "a\nb"};
    (void)state;
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        if (names_parse_text(subjects[i], NULL, 0, &names, &err))
            fail_msg("%s", subjects[i]);
    for (size_t i = 0; i < sizeof sans / sizeof sans[0]; i++)
        if (names_parse_text("", &sans[i], 1, &names, &err))
            fail_msg("%s", sans[i]);
}

/* String types and case do not make a subject another one; order and values do. */
static void test_subject_equal(void **state)
{
    struct names a = parse("CN=Router One,O=x", NULL, 0), b = parse("CN=router  one,O=X", NULL, 0);
    struct names c = parse("O=x,CN=Router One", NULL, 0), d = parse("CN=Router One", NULL, 0);
    (void)state;
    assert_true(names_subject_equal(&a, &b));
    assert_false(names_subject_equal(&a, &c));
    assert_false(names_subject_equal(&a, &d));
    names_clear(&a);
    names_clear(&b);
    names_clear(&c);
    names_clear(&d);
}

/* SANs are sets: order and repetition do not count, kinds do. */
static void test_san_equal(void **state)
{
    struct names a = parse("", SANS("dns:a", "dns:b")),
                 b = parse("", SANS("dns:B", "dns:a", "dns:a"));
    struct names c = parse("", SANS("dns:a")), d = parse("", SANS("dns:a", "uri:b")),
                 e = parse("", NULL, 0);
    (void)state;
    assert_true(names_san_equal(&a, &b));
    assert_true(names_san_equal(&b, &a));
    assert_false(names_san_equal(&a, &c));
    assert_false(names_san_equal(&c, &a));
    assert_false(names_san_equal(&a, &d));
    assert_false(names_san_equal(&c, &e));
    assert_true(names_san_equal(&e, &e));
    names_clear(&a);
    names_clear(&b);
    names_clear(&c);
    names_clear(&d);
    names_clear(&e);
}

/* A name with a NUL inside is refused: it would end early elsewhere. */
static void test_nul(void **state)
{
    GENERAL_NAMES *sans = GENERAL_NAMES_new();
    GENERAL_NAME *san = GENERAL_NAME_new();
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    X509_NAME *subject = X509_NAME_new();
    struct names names;
    struct err err;
    (void)state;
    ASN1_STRING_set(value, "good.example\0.evil", 18);
    GENERAL_NAME_set0_value(san, GEN_DNS, value);
    sk_GENERAL_NAME_push(sans, san);
    assert_false(names_parse(subject, sans, &names, &err));
    GENERAL_NAMES_free(sans);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)"a\0b", 3, -1,
                               0);
    assert_false(names_parse(subject, NULL, &names, &err));
    X509_NAME_free(subject);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),         cmocka_unit_test(test_refused),
        cmocka_unit_test(test_subject_equal), cmocka_unit_test(test_san_equal),
        cmocka_unit_test(test_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
