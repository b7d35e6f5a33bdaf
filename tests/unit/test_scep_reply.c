#include "scep/attrs.h"
#include "scep/msg.h"
#include "tests/support/pki_make.h"
#include "tests/support/scep_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    EVP_PKEY *key, *other_key;
    struct cert *ca, *other;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    struct make_spec spec = {.subject = "CN=ca", .serial = 7}, other = {.subject = "CN=other"};
    f->key = make_rsa(2048);
    f->other_key = make_rsa(2048);
    f->ca = make_cert(&spec, f->key, NULL, NULL);
    f->other = make_cert(&other, f->other_key, NULL, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY_free(f->key);
    EVP_PKEY_free(f->other_key);
    cert_free(f->ca);
    cert_free(f->other);
    free(f);
    return 0;
}

/* A FAILURE as NDES writes it: one byte of content, no certificate, and a reason of its own. */
static void make_failure(const struct fixture *f, const char *hresult, struct buf *der)
{
    static const struct bytes no_bag = {0};
    struct buf more = {0};
    assert_true(scep_attr_add(&more, SCEP_ATTR_STATUS, bytes_str("2")) &&
                scep_attr_add(&more, SCEP_ATTR_FAIL, bytes_str("2")) &&
                scep_attr_add(&more, SCEP_ATTR_FAIL_TEXT, bytes_str("no")) &&
                scep_attr_add(&more, SCEP_ATTR_HRESULT, bytes_str(hresult)));
    struct scep_make make = {
        .type = "3",
        .txn = bytes_str("txn"),
        .nonce = bytes_str("0123456789abcdef"),
        .more = buf_bytes(&more),
        .content = bytes_of("", 1),
        .signer = f->ca,
        .key = f->key,
        .certs = &no_bag,
        .digest = NID_sha1,
    };
    scep_make(&make, der);
    buf_free(&more);
}

static struct scep_msg *reply_parse(struct bytes der, struct cert *const *certs, size_t count)
{
    struct scep_known known = {certs, count};
    struct scep_msg *msg = NULL;
    struct err err = {0};
    bool ok = scep_reply_parse(der, &known, &msg, &err);
    assert_true(ok == (msg != NULL));
    assert_true(ok || (err.kind == ERR_PEER && err.text[0]));
    return msg;
}

/* An answer without its signer's certificate is verified with the one of those known that it names;
 * to a message, which nobody is known for, the same is refused. */
static void test_known(void **state)
{
    struct fixture *f = *state;
    struct buf der = {0};
    struct cert *certs[] = {f->other, f->ca};
    struct err err = {0};
    enum scep_fail fail;
    bool partial;
    make_failure(f, "-2147024809", &der);
    struct scep_msg *msg = reply_parse(buf_bytes(&der), certs, 2);
    uint32_t hresult = 0;
    assert_non_null(msg);
    assert_ptr_equal(scep_msg_signer_get(msg), f->ca);
    assert_int_equal(scep_msg_status_get(msg), SCEP_FAILURE);
    assert_int_equal(scep_msg_content_get(msg).len, 1);
    assert_true(bytes_equal_str(scep_msg_fail_text_get(msg), "no"));
    assert_true(scep_msg_hresult_get(msg, &hresult) && hresult == 0x80070057);
    scep_msg_free(msg);
    assert_null(reply_parse(buf_bytes(&der), certs, 1));
    assert_null(reply_parse(buf_bytes(&der), NULL, 0));
    assert_false(scep_msg_parse(buf_bytes(&der), &msg, &partial, &fail, &err));
    assert_true(partial);
    scep_msg_free(msg);
    buf_free(&der);
}

/* The name alone proves nothing: another key under the same name and serial did not sign it. */
static void test_namesake(void **state)
{
    struct fixture *f = *state;
    struct make_spec spec = {.subject = "CN=ca", .serial = 7};
    struct cert *namesake = make_cert(&spec, f->other_key, NULL, NULL);
    struct buf der = {0};
    make_failure(f, "1", &der);
    struct cert *both[] = {f->ca, namesake};
    assert_null(reply_parse(buf_bytes(&der), &namesake, 1));
    assert_null(reply_parse(buf_bytes(&der), both, 2)); /* which of them is meant? */
    cert_free(namesake);
    buf_free(&der);
}

/* Cut off anywhere it is refused, and nothing is left of it. */
static void test_truncated(void **state)
{
    struct fixture *f = *state;
    struct buf der = {0};
    make_failure(f, "-1", &der);
    for (size_t n = 0; n < der.len; n++)
        assert_null(reply_parse(bytes_of(der.ptr, n), &f->ca, 1));
    buf_free(&der);
}

/* An HRESULT is a decimal number of 32 bits, or there is none. */
static void test_hresult(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        uint32_t value;
    } rows[] = {
        {"0", true, 0},
        {"-1", true, 0xffffffff},
        {"-2147483648", true, 0x80000000},
        {"4294967295", true, 0xffffffff},
        {"-2147483649", false, 0},
        {"4294967296", false, 0},
        {"99999999999", false, 0},
        {"-99999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"--1", false, 0},
        {"0x80070057", false, 0},
        {" 1", false, 0},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf der = {0};
        uint32_t value = 0;
        make_failure(f, rows[i].text, &der);
        struct scep_msg *msg = reply_parse(buf_bytes(&der), &f->ca, 1);
        if (!msg || scep_msg_hresult_get(msg, &value) != rows[i].ok || value != rows[i].value)
            fail_msg("\"%s\" gives %x", rows[i].text, value);
        scep_msg_free(msg);
        buf_free(&der);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_namesake),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_hresult),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
