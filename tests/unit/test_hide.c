#include "gateway/upstream/hide.h"

#include "base/text.h"
#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *secret, const char *text, const char *shown)
{
    struct buf buf = {0};
    assert_true(buf_add_str(&buf, text));
    hide_secret(&buf, bytes_str(secret));
    assert_string_equal(buf_str(&buf), shown);
    buf_free(&buf);
}

/* A secret is hidden wherever it stands, as often as it does; the rest stays readable. */
static void test_whole(void **state)
{
    (void)state;
    check("hvs.CAESIJ1234567890", "permission denied for hvs.CAESIJ1234567890 at /sign",
          "permission denied for ******************** at /sign");
    check("hvs.CAESIJ1234567890", "hvs.CAESIJ1234567890hvs.CAESIJ1234567890",
          "****************************************");
    check("short", "a short word, short", "a ***** word, *****");
    check("aa", "aaa", "***");
    check("hvs.CAESIJ1234567890", "nothing of it", "nothing of it");
    check("", "an empty secret", "an empty secret");
    check("secret", "", "");
}

/* A piece of a long secret is hidden if it is long enough to help somebody, cut off at either end;
 * shorter ones are words that happen to be in it. */
static void test_piece(void **state)
{
    (void)state;
    check("0123456789abcdefghij", "begins 0123456789abc", "begins *************");
    check("0123456789abcdefghij", "ends 89abcdefghij.", "ends ************.");
    check("0123456789abcdefghij", "has 0123456789a, no more", "has 0123456789a, no more");
}

/* At every length of a text that was cut off within the secret, no piece of it is left. */
static void test_cut(void **state)
{
    static const char secret[] = "0123456789abcdefghij", text[] = "token 0123456789abcdefghij";
    (void)state;
    for (size_t len = 0; len <= strlen(text); len++) {
        struct buf buf = {0};
        assert_true(buf_add(&buf, bytes_of(text, len)));
        hide_secret(&buf, bytes_str(secret));
        assert_int_equal(buf.len, len);
        for (size_t at = 0; at + HIDE_PIECE <= strlen(secret); at++)
            assert_null(memmem(buf_str(&buf), len, secret + at, HIDE_PIECE));
        buf_free(&buf);
    }
}

/* A body without end costs no more than its beginning, and the rest is not kept. */
static void test_long(void **state)
{
    struct buf buf = {0};
    (void)state;
    for (size_t i = 0; i < HIDE_TEXT_MAX / 10 + 100; i++)
        assert_true(buf_add_str(&buf, "0123456789"));
    hide_secret(&buf, bytes_str("0123456789abcdef"));
    assert_int_equal(buf.len, HIDE_TEXT_MAX);
    buf_free(&buf);
}

/* An answer that is no error stays as it is: there may be a new token in it. */
static void test_answer(void **state)
{
    struct httpc_reply http = {.status = 200};
    (void)state;
    assert_true(buf_add_str(&http.body, "token 0123456789abcdef"));
    hide_in_error(&http, bytes_str("0123456789abcdef"));
    assert_string_equal(buf_str(&http.body), "token 0123456789abcdef");
    http.status = 400;
    hide_in_error(&http, bytes_str("0123456789abcdef"));
    assert_string_equal(buf_str(&http.body), "token ****************");
    httpc_reply_clear(&http);
}

/* A CSR is hidden in lines of base64, in one line of it, and in base64url. */
static void test_csr(void **state)
{
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr =
        make_csr(&(struct make_spec){.subject = "CN=a", .challenge = "the device's secret"}, key);
    static const unsigned columns[] = {0, 64, 76};
    (void)state;
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        struct buf text = {0};
        assert_true(text_base64_encode(csr_der_get(csr), columns[i], &text));
        hide_csr(&text, csr_der_get(csr));
        size_t left = 0;
        for (size_t at = 0; at < text.len; at++)
            left += text.ptr[at] != '*' && text.ptr[at] != '\n';
        assert_true(left < HIDE_PIECE); /* of the last line */
        buf_free(&text);
    }
    csr_free(csr);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole), cmocka_unit_test(test_piece),  cmocka_unit_test(test_cut),
        cmocka_unit_test(test_long),  cmocka_unit_test(test_answer), cmocka_unit_test(test_csr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
