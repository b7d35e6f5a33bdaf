#include "est/door.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LABEL_63 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

static bool parse(const char *path, enum est_op *op, char label[EST_LABEL_MAX + 1])
{
    return est_path_parse(bytes_str(path), op, label);
}

/* Every operation is known with and without a label. */
static void test_operations(void **state)
{
    static const struct {
        const char *name;
        enum est_op op;
    } rows[] = {
        {"cacerts", EST_CACERTS},
        {"simpleenroll", EST_SIMPLEENROLL},
        {"simplereenroll", EST_SIMPLEREENROLL},
        {"csrattrs", EST_CSRATTRS},
        {"fullcmc", EST_FULLCMC},
        {"serverkeygen", EST_SERVERKEYGEN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[128], label[EST_LABEL_MAX + 1] = "untouched";
        enum est_op op = EST_OP_COUNT;
        snprintf(path, sizeof path, "/.well-known/est/%s", rows[i].name);
        assert_true(parse(path, &op, label));
        assert_int_equal(op, rows[i].op);
        assert_string_equal(label, "");
        assert_string_equal(est_op_name(op), rows[i].name);

        op = EST_OP_COUNT;
        snprintf(path, sizeof path, "/.well-known/est/vpn/%s", rows[i].name);
        assert_true(parse(path, &op, label));
        assert_int_equal(op, rows[i].op);
        assert_string_equal(label, "vpn");
    }
}

/* A label has 1 to 64 characters of the unreserved set, and may be written percent-encoded. */
static void test_labels(void **state)
{
    static const char *const rows[][2] = {
        {"/.well-known/est/a/cacerts", "a"},
        {"/.well-known/est/Plant-7.west_2~b/cacerts", "Plant-7.west_2~b"},
        {"/.well-known/est/" LABEL_63 "x/cacerts", LABEL_63 "x"},
        {"/.well-known/est/cacertsX/cacerts", "cacertsX"},
        {"/.well-known/est/cacert/cacerts", "cacert"},
        {"/.well-known/est/CACERTS/cacerts", "CACERTS"},
        {"/.well-known/est/est/cacerts", "est"},
        {"/.well-known/est/...a/cacerts", "...a"},
        {"/.well-known/est/%76pn/cacerts", "vpn"},
        {"/.well-known/est/v%70%6E/cacerts", "vpn"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char label[EST_LABEL_MAX + 1] = "";
        enum est_op op = EST_OP_COUNT;
        if (!parse(rows[i][0], &op, label))
            fail_msg("%s is refused", rows[i][0]);
        assert_int_equal(op, EST_CACERTS);
        assert_string_equal(label, rows[i][1]);
    }
}

/* Whatever is not exactly /.well-known/est[/LABEL]/OPERATION is refused. */
static void test_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "/",
        "*",
        ".well-known/est/cacerts",
        "/.well-known",
        "/.well-known/",
        "/.well-known/est",
        "/.well-known/est/",
        "/.well-known/est//",
        "/.well-known/est/renewal-info",
        "/.well-known/est/renewal-info/",
        "/.well-known/est/renewal-info/a/b",
        "/.well-known/est/vpn/renewal-info",
        "/.well-known/est/vpn/renewal-info/",
        "/.well-known/est/vpn/renewal-info/a/",
        "/.well-known/est/cacerts/a",
        "/.well-known/est/vpn",
        "/.well-known/est/vpn/",
        "/.well-known/est/vpn/nothing",
        "/.well-known/est/nothing",
        /* an operation is compared whole and in its case */
        "/.well-known/est/cacertsX",
        "/.well-known/est/cacert",
        "/.well-known/est/CACERTS",
        "/.well-known/est/simpleenrollX",
        "/.well-known/est/cacerts/",
        "/.well-known/est/vpn/cacerts/",
        "/.well-known/est/vpn/cacertsX",
        "/.well-known/est/vpncacerts",
        "/.well-known/est/cacerts?x=1",
        "/.well-known/est/cacerts#x",
        "/.well-known/est/cacerts ",
        "/.well-known/est/cacerts%00",
        "/.well-known/est/cacerts%20",
        "/.well-known/est/cacerts%",
        /* the prefix too */
        "/.well-known/estX/cacerts",
        "/.well-known/es/cacerts",
        "/.well-known//est/cacerts",
        "//.well-known/est/cacerts",
        "/.WELL-KNOWN/est/cacerts",
        "/.well-known/EST/cacerts",
        "/x/.well-known/est/cacerts",
        "/.well-known%2fest/cacerts",
        /* empty segments, dot segments, more segments */
        "/.well-known/est//cacerts",
        "/.well-known/est/vpn//cacerts",
        "/.well-known/est/./cacerts",
        "/.well-known/est/../cacerts",
        "/.well-known/est/%2e/cacerts",
        "/.well-known/est/%2e%2e/cacerts",
        "/.well-known/est/%2E./cacerts",
        "/.well-known/est/a/b/cacerts",
        "/.well-known/est/vpn/../cacerts",
        "/.well-known/est/vpn/cacerts/cacerts",
        /* what only decoding reveals, and what decoding twice would reveal */
        "/.well-known/est/a%2fb/cacerts",
        "/.well-known/est/a%2Fb/cacerts",
        "/.well-known/est/vpn%2fcacerts",
        "/.well-known/est/%2fcacerts",
        "/.well-known/est/a%5cb/cacerts",
        "/.well-known/est/a\\b/cacerts",
        "/.well-known/est/a%00/cacerts",
        "/.well-known/est/%2576pn/cacerts",
        "/.well-known/est/%252e%252e/cacerts",
        "/.well-known/est/a%/cacerts",
        "/.well-known/est/a%7/cacerts",
        "/.well-known/est/a%zz/cacerts",
        /* characters that no label has */
        "/.well-known/est/a b/cacerts",
        "/.well-known/est/a%20b/cacerts",
        "/.well-known/est/a+b/cacerts",
        "/.well-known/est/a;b/cacerts",
        "/.well-known/est/a:b/cacerts",
        "/.well-known/est/a@b/cacerts",
        "/.well-known/est/a%0ab/cacerts",
        "/.well-known/est/\xc3\xa9/cacerts",
        "/.well-known/est/%c3%a9/cacerts",
        "/.well-known/est/a\"b/cacerts",
        /* a label is no operation, RFC 7030 section 3.2.2 */
        "/.well-known/est/cacerts/cacerts",
        "/.well-known/est/simpleenroll/cacerts",
        "/.well-known/est/simplereenroll/cacerts",
        "/.well-known/est/csrattrs/cacerts",
        "/.well-known/est/fullcmc/cacerts",
        "/.well-known/est/serverkeygen/cacerts",
        "/.well-known/est/%63acerts/cacerts",
        /* 65 characters, and 65 only after decoding */
        "/.well-known/est/" LABEL_63 "xy/cacerts",
        "/.well-known/est/" LABEL_63 "x%79/cacerts",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char label[EST_LABEL_MAX + 1] = "";
        enum est_op op = EST_OP_COUNT;
        if (parse(rows[i], &op, label))
            fail_msg("%s is taken for %s of label '%s'", rows[i], est_op_name(op), label);
    }
}

/* A NUL or another byte anywhere in a good path makes it another path or none, never the same. */
static void test_changed_bytes(void **state)
{
    static const char good[] = "/.well-known/est/vpn/simpleenroll";
    (void)state;
    for (size_t at = 0; at < sizeof good - 1; at++) {
        for (unsigned value = 0; value < 256; value++) {
            char path[sizeof good];
            memcpy(path, good, sizeof good);
            if ((uint8_t)path[at] == value)
                continue;
            path[at] = (char)value;
            char label[EST_LABEL_MAX + 1] = "";
            enum est_op op = EST_OP_COUNT;
            if (est_path_parse(bytes_of(path, sizeof good - 1), &op, label))
                assert_string_not_equal(label, "vpn");
        }
    }
}

/* A NUL is in no label, first, last or alone, written or encoded. */
static void test_nul(void **state)
{
    static const struct {
        const char *path;
        size_t len;
    } rows[] = {
        {"/.well-known/est/v\0n/cacerts", 28},  {"/.well-known/est/vpn\0/cacerts", 29},
        {"/.well-known/est/\0vpn/cacerts", 29}, {"/.well-known/est/\0/cacerts", 26},
        {"/.well-known/est/vpn/cacerts\0", 29}, {"/.well-known/est/vpn%00/cacerts", 31},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char label[EST_LABEL_MAX + 1] = "";
        enum est_op op = EST_OP_COUNT;
        assert_false(est_path_parse(bytes_of(rows[i].path, rows[i].len), &op, label));
    }
}

/* No truncation of a good path is a path: neither the label nor half an operation is one. */
static void test_truncated(void **state)
{
    static const char *const good[] = {
        "/.well-known/est/simplereenroll",
        "/.well-known/est/vpn/serverkeygen",
        "/.well-known/est/%76%70n/cacerts",
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t len = strlen(good[i]);
        for (size_t n = 0; n <= len; n++) {
            char *copy = malloc(n ? n : 1); /* exactly n, so that a sanitizer sees reads beyond */
            assert_non_null(copy);
            memcpy(copy, good[i], n);
            char label[EST_LABEL_MAX + 1] = "";
            enum est_op op = EST_OP_COUNT;
            assert_int_equal(est_path_parse(bytes_of(copy, n), &op, label), n == len);
            free(copy);
        }
    }
}

/* A path of a megabyte is refused like any other. */
static void test_long(void **state)
{
    size_t len = (size_t)1 << 20;
    char *path = malloc(len);
    char label[EST_LABEL_MAX + 1] = "";
    enum est_op op = EST_OP_COUNT;
    (void)state;
    assert_non_null(path);
    memset(path, 'a', len);
    memcpy(path, "/.well-known/est/", 17);
    memcpy(path + len - 8, "/cacerts", 8);
    assert_false(est_path_parse(bytes_of(path, len), &op, label));
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations), cmocka_unit_test(test_labels),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_changed_bytes),
        cmocka_unit_test(test_nul),        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
