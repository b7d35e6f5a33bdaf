#include "scep/query.h"

#include "base/text.h"
#include "scep/scep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Bytes whose base64 has '+', '/' and '='. */
static const uint8_t message[] = {0xfb, 0xef, 0xbe, 0xff, 0xff, 0xff, 0x3e,
                                  0x3f, 0x00, 0x01, 0xfa, 0xfb, 0xfc};
#define BASE64 "++++////Pj8AAfr7/A=="

static void assert_message(const char *query)
{
    struct buf der = BUF_INIT(SCEP_MSG_MAX);
    struct err err;
    if (!scep_query_message(bytes_str(query), &der, &err))
        fail_msg("%s: %s", query, err.text);
    if (!bytes_equal(buf_bytes(&der), bytes_of(message, sizeof message)))
        fail_msg("%s is read as something else", query);
    buf_free(&der);
}

/* The operation is known by its exact name; the first one counts. */
static void test_operation(void **state)
{
    static const struct {
        const char *query;
        enum scep_operation want;
    } rows[] = {
        {"operation=GetCACaps", SCEP_OP_GETCACAPS},
        {"operation=GetCACaps&message=default", SCEP_OP_GETCACAPS},
        {"message=0&operation=GetCACert", SCEP_OP_GETCACERT},
        {"operation=GetNextCACert&message=x", SCEP_OP_GETNEXTCACERT},
        {"operation=PKIOperation", SCEP_OP_PKIOPERATION},
        {"operation=PKIOperation&operation=GetCACaps", SCEP_OP_PKIOPERATION},
        {"operation=getcacaps", SCEP_OP_UNKNOWN},
        {"operation=GetCACapsX", SCEP_OP_UNKNOWN},
        {"operation=GetCACap", SCEP_OP_UNKNOWN},
        {"operation=", SCEP_OP_UNKNOWN},
        {"operation=-", SCEP_OP_UNKNOWN},
        {"operation=GetCACaps ", SCEP_OP_UNKNOWN},
        {"operation=GetCRL", SCEP_OP_UNKNOWN},
        {"Operation=GetCACaps", SCEP_OP_NONE},
        {"xoperation=GetCACaps", SCEP_OP_NONE},
        {"operation", SCEP_OP_NONE},
        {"", SCEP_OP_NONE},
        {"&&&", SCEP_OP_NONE},
        {"=GetCACaps", SCEP_OP_NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (scep_query_operation(bytes_str(rows[i].query)) != rows[i].want)
            fail_msg("%s", rows[i].query);
}

/* However a client wrote its base64 into the query, the same message comes out. */
static void test_forms(void **state)
{
    static const char *const queries[] = {
        /* as the standard has it: everything that is not unreserved is escaped */
        "operation=PKIOperation&message=%2B%2B%2B%2B%2F%2F%2F%2FPj8AAfr7%2FA%3D%3D",
        "operation=PKIOperation&message=%2b%2b%2b%2b%2f%2f%2f%2fPj8AAfr7%2fA%3d%3d",
        /* not at all */
        "operation=PKIOperation&message=" BASE64,
        /* Apple: '+' and '/' raw, '=' escaped */
        "operation=PKIOperation&message=++++////Pj8AAfr7/A%3D%3D",
        /* sscep: '/' raw, lines of 64 */
        "message=%2B%2B%2B%2B////Pj8A%0AAfr7/A%3D%3D%0A",
        "message=%2B%2B%2B%2B////Pj8A%0D%0AAfr7/A%3D%3D%0D%0A",
        /* twice, by a library and by a program */
        "message=%252B%252B%252B%252B%252F%252F%252F%252FPj8AAfr7%252FA%253D%253D",
        /* '+' taken for an escaped space by something in between */
        "message=    ////Pj8AAfr7/A==",
        "message=%20%20%20%20////Pj8AAfr7/A==",
        /* the URL alphabet, without padding */
        "message=----____Pj8AAfr7_A",
        "message=----____Pj8AAfr7_A%3D%3D",
        /* without padding, and with something behind it */
        "message=++++////Pj8AAfr7/A",
        "message=" BASE64 "&x=y",
        "message=" BASE64 "&message=AAAA",
    };
    (void)state;
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++)
        assert_message(queries[i]);
}

/* No message, no base64, or a bad escape is an error. */
static void test_refused(void **state)
{
    static const char *const queries[] = {
        "",
        "operation=PKIOperation",
        "message",
        "message=",
        "message=&message=AAAA",
        "Message=AAAA",
        "message=%",
        "message=%2",
        "message=%zz",
        "message=AAAA%00",
        "message=AA*A",
        "message=A",
        "message=AAAAA",
        "message=%25%25%25",
        "message=AAAA%2500",
        "message=AA==AAAA",
    };
    (void)state;
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        struct buf der = BUF_INIT(SCEP_MSG_MAX);
        struct err err = {0};
        if (scep_query_message(bytes_str(queries[i]), &der, &err))
            fail_msg("%s is accepted", queries[i]);
        assert_int_equal(err.kind, ERR_PEER);
        assert_true(err.text[0]);
        buf_free(&der);
    }
}

/* Cut short anywhere, nothing is read beyond the end. */
static void test_truncated(void **state)
{
    static const char query[] = "operation=PKIOperation&message=%252B%2B++////Pj8AAfr7/A%3D%3D";
    (void)state;
    for (size_t n = 0; n < sizeof query; n++) {
        uint8_t *copy = mem_zalloc(n + 1);
        struct buf der = BUF_INIT(SCEP_MSG_MAX);
        struct err err;
        memcpy(copy, query, n);
        scep_query_operation(bytes_of(copy, n));
        if (scep_query_message(bytes_of(copy, n), &der, &err))
            assert_true(der.len <= sizeof message + 2);
        buf_free(&der);
        free(copy);
    }
}

/* The ceiling of the caller's buffer holds. */
static void test_ceiling(void **state)
{
    (void)state;
    struct buf der = BUF_INIT(sizeof message - 1), big = {0};
    struct err err = {0};
    assert_false(scep_query_message(bytes_str("message=" BASE64), &der, &err));
    buf_free(&der);
    assert_true(buf_add_str(&big, "message="));
    while (big.len < SCEP_MSG_MAX * 5)
        assert_true(buf_add_str(&big, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    der = BUF_INIT(SCEP_MSG_MAX);
    assert_false(scep_query_message(buf_bytes(&big), &der, &err));
    assert_int_equal(err.kind, ERR_PEER);
    buf_free(&der);
    buf_free(&big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operation), cmocka_unit_test(test_forms),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
