#include "gateway/upstream/acme_client.h"
#include "gateway/upstream/acme_http01.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool asks(const char *line)
{
    struct bytes token;
    return http01_parse(bytes_str(line), &token);
}

/* A challenge is asked for by GET, at its one place, with a token that is one; nothing cut off is.
 */
static void test_http01_line(void **state)
{
    (void)state;
    static const char line[] = "GET /.well-known/acme-challenge/aZ09-_ HTTP/1.1\r";
    struct bytes token;
    assert_true(http01_parse(bytes_str(line), &token));
    assert_true(bytes_equal_str(token, "aZ09-_"));
    for (size_t len = 0; len < strlen("GET /.well-known/acme-challenge/aZ09-_ HTTP/1."); len++)
        assert_false(http01_parse(bytes_of(line, len), &token));
    assert_false(asks("GETX /.well-known/acme-challenge/a HTTP/1.1\r"));
    assert_false(asks("POST /.well-known/acme-challenge/a HTTP/1.1\r"));
    assert_false(asks("GET /.well-known/acme-challenge/ HTTP/1.1\r"));
    assert_false(asks("GET /.well-known/acme-challenge/a/b HTTP/1.1\r"));
    assert_false(asks("GET /.well-known/acme-challenge/a?b HTTP/1.1\r"));
    assert_false(asks("GET /.well-known/acme-challenge/a%2e HTTP/1.1\r"));
    assert_false(asks("GET /other HTTP/1.1\r"));
}

/* A token has from 1 to 128 characters of base64url. */
static void test_token(void **state)
{
    (void)state;
    char text[129];
    memset(text, 'a', sizeof text);
    assert_true(http01_token_fits(bytes_of(text, 128)));
    assert_false(http01_token_fits(bytes_of(text, 129)));
    assert_false(http01_token_fits(bytes_of("", 0)));
    assert_false(http01_token_fits(bytes_of("a\0b", 3)));
    assert_false(http01_token_fits(bytes_of("a=", 2)));
}

/* Listeners are addresses with ports. */
static void test_address(void **state)
{
    (void)state;
    static const char *const bad[] = {"",          ":80",     "127.0.0.1",     "127.0.0.1:",
                                      "[::1]",     "[::1",    "127.0.0.1:0",   "127.0.0.1:65536",
                                      "name:80",   "[::1]80", "127.0.0.1:80x", "::1:80",
                                      "[127.0.0.1"};
    assert_null(http01_check("127.0.0.1:80", NULL));
    assert_null(http01_check("[::1]:65535", NULL));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (!http01_check(bad[i], NULL))
            fail_msg("%s is taken", bad[i]);
}

/* What a CA names is asked only if it is a plain https URL. */
static void test_url(void **state)
{
    (void)state;
    char text[ACME_URL_MAX + 1] = "https://a/";
    assert_true(acme_url_fits("https://a/b?c"));
    assert_false(acme_url_fits(NULL));
    assert_false(acme_url_fits(""));
    assert_false(acme_url_fits("https://"));
    assert_false(acme_url_fits("http://a/b"));
    assert_false(acme_url_fits("file:///etc/passwd"));
    assert_false(acme_url_fits("https://a/ b"));
    assert_false(acme_url_fits("https://a/\r\nX: y"));
    memset(text + 10, 'a', sizeof text - 11);
    assert_false(acme_url_fits(text));
    text[ACME_URL_MAX - 1] = 0;
    assert_true(acme_url_fits(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http01_line),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_address),
        cmocka_unit_test(test_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
