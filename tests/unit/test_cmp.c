#include "gateway/upstream/cmp_session.h"

#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t tid[16] = {1, 2, 3};

static struct csr *request(EVP_PKEY *key)
{
    struct make_spec spec = {.subject = "CN=r", .challenge = "not-to-be-kept"};
    return make_csr(&spec, key);
}

static void make(struct bytes csr, struct bytes second, struct buf *out)
{
    struct cmp_session session = {.tid = bytes_of(tid, sizeof tid)};
    assert_true(cmp_cookie_make(&session, csr, bytes_str("first"), second, out));
}

/* What is kept of a transaction is read again, and holds no challenge. */
static void test_cookie(void **state)
{
    (void)state;
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr = request(key);
    static const char *const seconds[] = {"", "second"};
    for (size_t i = 0; i < 2; i++) {
        struct buf out = {0};
        struct cmp_cookie was;
        make(csr_der_get(csr), bytes_str(seconds[i]), &out);
        assert_true(cmp_cookie_read(buf_bytes(&out), &was));
        assert_true(bytes_equal(was.tid, bytes_of(tid, sizeof tid)));
        assert_true(bytes_equal_str(was.answers[0], "first"));
        assert_true(bytes_equal_str(was.answers[1], seconds[i]));
        assert_null(memmem(out.ptr, out.len, "not-to-be-kept", 14));
        const unsigned char *p = was.csr.ptr;
        X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)was.csr.len);
        assert_non_null(req);
        assert_int_equal(X509_REQ_get_attr_count(req), 0);
        X509_REQ_free(req);
        buf_free(&out);
    }
    csr_free(csr);
    EVP_PKEY_free(key);
}

/* Nothing that was cut off is a cookie, but where it ends after the first answer; nor is one with
 * something behind it. */
static void test_truncated(void **state)
{
    (void)state;
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr = request(key);
    struct buf one = {0}, two = {0};
    struct cmp_cookie was;
    make(csr_der_get(csr), (struct bytes){0}, &one);
    make(csr_der_get(csr), bytes_str("second"), &two);
    for (size_t len = 0; len < two.len; len++)
        assert_int_equal(cmp_cookie_read(bytes_of(two.ptr, len), &was), len == one.len);
    assert_true(buf_add_u8(&two, 0));
    assert_false(cmp_cookie_read(buf_bytes(&two), &was));
    buf_free(&one);
    buf_free(&two);
    csr_free(csr);
    EVP_PKEY_free(key);
}

/* A cookie is made of a CSR only, and has a ceiling. */
static void test_limits(void **state)
{
    (void)state;
    static uint8_t large[4 * CMP_ANSWER_MAX];
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr = request(key);
    struct cmp_session session = {.tid = bytes_of(tid, sizeof tid)};
    struct buf out = {0};
    assert_false(
        cmp_cookie_make(&session, bytes_str("no CSR"), bytes_str("a"), bytes_str(""), &out));
    buf_clear(&out);
    assert_false(cmp_cookie_make(&session, csr_der_get(csr), bytes_of(large, sizeof large),
                                 bytes_str(""), &out));
    buf_free(&out);
    csr_free(csr);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cookie),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
