#include "base/der.h"
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

/* A subject of one CN of this string type, which OpenSSL reads first: it refuses some itself. */
static bool subject_parses(int type, const char *value, int len, struct names *ret)
{
    struct buf der = {0};
    struct err err = {0};
    assert_true(der_add_oid(&der, NID_commonName) &&
                der_add(&der, (uint8_t)type, bytes_of(value, (size_t)len)) &&
                der_wrap(&der, 0, DER_SEQUENCE) && der_wrap(&der, 0, DER_SET) &&
                der_wrap(&der, 0, DER_SEQUENCE));
    const unsigned char *p = der.ptr;
    X509_NAME *subject = d2i_X509_NAME(NULL, &p, (long)der.len);
    bool ok = subject && names_parse(subject, NULL, ret, &err);
    if (subject && !ok)
        assert_int_equal(err.kind, ERR_PEER);
    X509_NAME_free(subject);
    buf_free(&der);
    return ok;
}

/* One name in four string types is one text and one subject. */
static void test_string_types(void **state)
{
    static const struct {
        int type;
        const char *value;
        int len;
    } rows[] = {
        {V_ASN1_PRINTABLESTRING, "r1", 2},
        {V_ASN1_UTF8STRING, "r1", 2},
        {V_ASN1_T61STRING, "r1", 2},
        {V_ASN1_BMPSTRING, "\0r\0001", 4},
    };
    struct names first;
    (void)state;
    assert_true(subject_parses(rows[0].type, rows[0].value, rows[0].len, &first));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct names names;
        assert_true(subject_parses(rows[i].type, rows[i].value, rows[i].len, &names));
        assert_string_equal(names_attr_get(&names, "CN"), "r1");
        assert_true(names_subject_equal(&first, &names));
        names_clear(&names);
    }
    names_clear(&first);
}

/* Text that is not text is refused in each string type; what is text comes out as UTF-8. */
static void test_odd_text(void **state)
{
    static const struct {
        int type;
        const char *value;
        int len;
    } bad[] = {
        {V_ASN1_UTF8STRING, "a\xff", 2},    {V_ASN1_UTF8STRING, "\xc0\x80", 2},
        {V_ASN1_UTF8STRING, "\xe2\x82", 2}, {V_ASN1_UTF8STRING, "a\x7f", 2},
        {V_ASN1_UTF8STRING, "a\x1b[2J", 5}, {V_ASN1_PRINTABLESTRING, "a\nb", 3},
        {V_ASN1_BMPSTRING, "\0a\0\0", 4},   {V_ASN1_BMPSTRING, "\0a\xd8\0", 4},
        {V_ASN1_OCTET_STRING, "a", 1},      {V_ASN1_T61STRING, "a\0b", 3},
    };
    struct names names;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (subject_parses(bad[i].type, bad[i].value, bad[i].len, &names))
            fail_msg("row %zu", i);
    assert_true(subject_parses(V_ASN1_T61STRING, "\xe4", 1, &names));
    assert_string_equal(names_attr_get(&names, "CN"), "\xc3\xa4");
    names_clear(&names);
    char *big = mem_zalloc(1026);
    memset(big, 'a', 1025);
    assert_true(subject_parses(V_ASN1_UTF8STRING, big, 1024, &names));
    names_clear(&names);
    assert_false(subject_parses(V_ASN1_UTF8STRING, big, 1025, &names));
    free(big);
}

/* A SAN list of one name. */
static bool san_parses(int type, const char *value, size_t len, struct names *ret)
{
    GENERAL_NAMES *sans = GENERAL_NAMES_new();
    GENERAL_NAME *san = GENERAL_NAME_new();
    ASN1_STRING *text =
        ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    X509_NAME *subject = X509_NAME_new();
    struct err err = {0};
    assert_int_equal(ASN1_STRING_set(text, value, (int)len), 1);
    GENERAL_NAME_set0_value(san, type, text);
    sk_GENERAL_NAME_push(sans, san);
    bool ok = names_parse(subject, sans, ret, &err);
    if (!ok)
        assert_int_equal(err.kind, ERR_PEER);
    GENERAL_NAMES_free(sans);
    X509_NAME_free(subject);
    return ok;
}

/* A SAN that is empty, not ASCII or has a control character, and an address of another length than
 * 4 or 16, are refused. */
static void test_odd_sans(void **state)
{
    static const int types[] = {GEN_DNS, GEN_EMAIL, GEN_URI};
    struct names names;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_true(san_parses(types[i], "a@b:c", 5, &names));
        assert_string_equal(names.sans[0].text, "a@b:c");
        names_clear(&names);
        assert_false(san_parses(types[i], "", 0, &names));
        assert_false(san_parses(types[i], "a\0b", 3, &names));
        assert_false(san_parses(types[i], "a\r\nb", 4, &names));
        assert_false(san_parses(types[i], "a\xff", 2, &names));
        assert_false(san_parses(types[i], "a\xc3\xa4", 3, &names));
    }
    for (size_t len = 0; len <= 33; len++) {
        bool ok = san_parses(GEN_IPADD,
                             "\x0a\0\0\1\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0"
                             "\0\0\0\0\0",
                             len, &names);
        assert_int_equal(ok, len == 4 || len == 16);
        if (ok) {
            assert_string_equal(names.sans[0].text, len == 4 ? "10.0.0.1" : "a00:1::1");
            names_clear(&names);
        }
    }
}

/* No control character of Unicode gets into a subject, whatever string carries it; the letters next
 * to them do. */
static void test_controls(void **state)
{
    static const struct {
        int type;
        const char *value;
        int len;
        bool fine;
    } rows[] = {
        {V_ASN1_UTF8STRING, "a\x1f", 2, false},
        {V_ASN1_UTF8STRING, "a\x7f", 2, false},
        {V_ASN1_UTF8STRING, "\xc2\x80", 2, false},
        {V_ASN1_UTF8STRING, "a\xc2\x9bm", 4, false},
        {V_ASN1_UTF8STRING, "a\xc2\x9f", 3, false},
        {V_ASN1_UTF8STRING, "\xc2\xa0", 2, true},
        {V_ASN1_UTF8STRING, "\xc3\x9b", 2, true},
        {V_ASN1_T61STRING,
         "\x9b"
         "2J",
         3, false},
        {V_ASN1_BMPSTRING, "\0\x9b", 2, false},
        {V_ASN1_BMPSTRING, "\0\xfb", 2, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        X509_NAME *subject = X509_NAME_new();
        struct names names;
        struct err err;
        assert_int_equal(X509_NAME_add_entry_by_NID(subject, NID_description, rows[i].type,
                                                    (const unsigned char *)rows[i].value,
                                                    rows[i].len, -1, 0),
                         1);
        if (names_parse(subject, NULL, &names, &err) != rows[i].fine)
            fail_msg("row %zu", i);
        if (rows[i].fine)
            names_clear(&names);
        else
            assert_non_null(strstr(err.text, "control character"));
        X509_NAME_free(subject);
    }
}

/* A kind of SAN that we do not know is kept as the hex of its DER. */
static void test_other_san(void **state)
{
    static const uint8_t der[] = {0x30, 5, 0x88, 3, 0x2a, 3, 4};
    const unsigned char *p = der;
    GENERAL_NAMES *sans = d2i_GENERAL_NAMES(NULL, &p, sizeof der);
    X509_NAME *subject = X509_NAME_new();
    struct names names;
    struct err err;
    struct buf text = {0};
    (void)state;
    assert_non_null(sans);
    assert_true(names_parse(subject, sans, &names, &err));
    assert_int_equal(names.sans[0].kind, SAN_OTHER);
    assert_true(names_san_text(&names, &text));
    assert_string_equal(buf_str(&text), "other:88032a0304");
    buf_free(&text);
    names_clear(&names);
    GENERAL_NAMES_free(sans);
    X509_NAME_free(subject);
}

/* As many attributes and SANs as the ceilings say, and not one more. */
static void test_ceilings(void **state)
{
    X509_NAME *subject = X509_NAME_new();
    GENERAL_NAMES *sans = GENERAL_NAMES_new();
    struct names names;
    struct err err;
    (void)state;
    for (int i = 0; i <= NAMES_ATTR_MAX; i++) {
        if (i == NAMES_ATTR_MAX) {
            assert_true(names_parse(subject, sans, &names, &err));
            assert_int_equal(names.attr_count, NAMES_ATTR_MAX);
            names_clear(&names);
        }
        X509_NAME_add_entry_by_txt(subject, "OU", MBSTRING_UTF8, (const unsigned char *)"x", 1, -1,
                                   0);
    }
    assert_false(names_parse(subject, sans, &names, &err));
    assert_non_null(strstr(err.text, "65"));
    X509_NAME_free(subject);
    subject = X509_NAME_new();
    for (int i = 0; i <= NAMES_SAN_MAX; i++) {
        if (i == NAMES_SAN_MAX) {
            assert_true(names_parse(subject, sans, &names, &err));
            assert_int_equal(names.san_count, NAMES_SAN_MAX);
            names_clear(&names);
        }
        sk_GENERAL_NAME_push(sans, a2i_GENERAL_NAME(NULL, NULL, NULL, GEN_DNS, "a.example", 0));
    }
    assert_false(names_parse(subject, sans, &names, &err));
    assert_non_null(strstr(err.text, "129"));
    GENERAL_NAMES_free(sans);
    X509_NAME_free(subject);
}

/* The text of a subject reads back as that subject, whatever its values hold. */
static void test_text_round_trip(void **state)
{
    static const char *const subjects[] = {"",
                                           "CN=r1",
                                           "CN=a\\,b,O=c\\\\d",
                                           "CN=a=b+c,O=\"q\" #x",
                                           "CN=\xc3\xa4,OU=one,OU=two",
                                           "1.2.3.4=x"};
    (void)state;
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
        struct names names = parse(subjects[i], NULL, 0);
        assert_string_equal(names.subject_text, subjects[i]);
        struct names again = parse(names.subject_text, NULL, 0);
        assert_true(names_subject_equal(&names, &again));
        names_clear(&names);
        names_clear(&again);
    }
}

/* SANs that do not fit where they are written are an error, not a shorter list. */
static void test_san_text_room(void **state)
{
    struct names names = parse("", SANS("dns:a.example", "dns:b.example"));
    struct buf small = BUF_INIT(20), none = BUF_INIT(20);
    struct names empty = {0};
    (void)state;
    assert_false(names_san_text(&names, &small));
    assert_true(names_san_text(&empty, &none));
    assert_int_equal(none.len, 0);
    names_clear(&names);
    names_clear(NULL);
    buf_free(&small);
    buf_free(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),         cmocka_unit_test(test_refused),
        cmocka_unit_test(test_subject_equal), cmocka_unit_test(test_san_equal),
        cmocka_unit_test(test_nul),           cmocka_unit_test(test_string_types),
        cmocka_unit_test(test_odd_text),      cmocka_unit_test(test_odd_sans),
        cmocka_unit_test(test_controls),      cmocka_unit_test(test_other_san),
        cmocka_unit_test(test_ceilings),      cmocka_unit_test(test_text_round_trip),
        cmocka_unit_test(test_san_text_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
