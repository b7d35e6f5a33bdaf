#include "gateway/upstream/acme_ari.h"
#include "gateway/upstream/acme_step.h"
#include "tests/support/pki_make.h"

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

/* The value of a record is base64url of SHA-256 over token, dot and thumbprint (RFC 8555
 * section 8.4; computed with openssl dgst). */
static void test_dns01_value(void **state)
{
    struct buf value = {0};
    (void)state;
    assert_true(acme_dns01_value("token-1", "thumb_2", &value));
    assert_string_equal(buf_str(&value), "ppLR2msQnYOfJXLkjoP19QIWuNUWrhRrl4F9HnI4cIw");
    buf_free(&value);
}

static bool finds(const struct names *names, const char *name, bool wildcard, const char *want)
{
    size_t san = 99;
    return acme_dns01_san(names, &(struct acme_record){name, "token", wildcard}, &san) &&
           strcmp(names->sans[san].text, want) == 0;
}

/* A record is made for what the CSR asks for, whatever its case; for nothing else, and never for
 * what a program could take for something else than a host. */
static void test_dns01_san(void **state)
{
    const char *sans[] = {"dns:a.example", "dns:*.b.example", "ip:10.0.0.1", "dns:b.example"};
    static const char *const bad[] = {
        NULL,       "",           "example",     "x.a.example", "a.example.",  ".example",
        "10.0.0.1", "-a.example", "a.example x", "a.example;x", "*.b.example",
    };
    struct names names;
    struct err err;
    (void)state;
    assert_true(names_parse_text("", sans, 4, &names, &err));
    assert_true(finds(&names, "A.Example", false, "a.example"));
    assert_true(finds(&names, "b.example", true, "*.b.example"));
    assert_true(finds(&names, "b.example", false, "b.example"));
    assert_false(finds(&names, "a.example", true, "a.example"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (int wildcard = 0; wildcard < 2; wildcard++)
            if (acme_dns01_san(&names, &(struct acme_record){bad[i], "token", wildcard},
                               &(size_t){0}))
                fail_msg("\"%s\" is taken", bad[i] ? bad[i] : "nothing");
    names_clear(&names);
}

/* What is stored of an order is read back; what was stored before dns-01 was there as well; cut off
 * anywhere it is refused or names another order. */
static void test_ticket(void **state)
{
    struct ticket in = {1, 2, 3, 1, {0x80, 1}, 5, 1, "https://ca/order/1"}, out;
    struct buf text = {0};
    (void)state;
    assert_true(acme_ticket_has_records(&in));
    assert_true(acme_ticket_write(&in, &text));
    assert_true(acme_ticket_read(buf_bytes(&text), &out));
    assert_memory_equal(&in, &out, sizeof in);
    for (size_t len = 0; len < text.len; len++)
        if (acme_ticket_read(bytes_of(text.ptr, len), &out))
            assert_true(strlen(out.url) < strlen(in.url));
    assert_true(acme_ticket_read(bytes_str("1 1 2 3 1 https://ca/order/1"), &out));
    assert_true(out.finalized == 1 && !acme_ticket_has_records(&out) && out.cleaning == 0);
    assert_string_equal(out.url, in.url);
    /* Those of before do not say whether they were about to be finalized. */
    assert_true(acme_ticket_read(bytes_str("1 1 2 3 0 https://ca/order/1"), &out));
    assert_int_equal(out.finalized, ACME_ASKED);
    in.finalized = ACME_OPEN;
    assert_true(acme_ticket_write(&in, &text) && acme_ticket_read(buf_bytes(&text), &out));
    assert_int_equal(out.finalized, ACME_OPEN);
    assert_false(acme_ticket_read(bytes_str("4 1 2 3 1 https://ca/order/1"), &out));
    assert_false(acme_ticket_read(bytes_str("2 1 2 3 1 0f 0 0 https://ca/order/1"), &out));
    assert_false(acme_ticket_read(bytes_str("1 1 2 3 1 http://ca/order/1"), &out));
    buf_free(&text);
}

/* A certificate's identifier is the one of the example of RFC 9773 section 4.1, whose serial number
 * has a leading zero in DER; without a key identifier there is none. */
static void test_cert_id(void **state)
{
    static const char *const extensions[] = {
        "2.5.29.35", "DER:30:16:80:14:69:88:5B:6B:87:46:40:41:E1:B3:7B:84:7B:A0:AE:2C:DE:01:C8:D4",
        NULL};
    static const char *const anonymous[] = {"2.5.29.35", "DER:30:00", NULL};
    EVP_PKEY *key = make_ec("P-256");
    struct make_spec spec = {.subject = "CN=a", .serial = 0x87654321, .extensions = extensions};
    char id[ACME_CERT_ID_MAX] = "";
    (void)state;
    struct cert *cert = make_cert(&spec, key, NULL, NULL);
    assert_true(acme_cert_id(cert, id));
    assert_string_equal(id, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    cert_free(cert);
    spec.extensions = anonymous;
    cert = make_cert(&spec, key, NULL, NULL);
    assert_false(acme_cert_id(cert, id));
    cert_free(cert);
    spec.extensions = NULL;
    cert = make_cert(&spec, key, NULL, NULL);
    assert_false(acme_cert_id(cert, id));
    cert_free(cert);
    EVP_PKEY_free(key);
}

/* Times are RFC 3339, in any offset; what is no time, or has something behind it, is refused. */
static void test_time(void **state)
{
    static const char *const bad[] = {NULL,
                                      "",
                                      "2025",
                                      "2025-01-02",
                                      "2025-01-02T04:00:00",
                                      "2025-01-02T04:00:00Zx",
                                      "2025-01-02T04:00:00.Z ",
                                      "2025-13-02T04:00:00Z",
                                      "99999-01-02T04:00:00Z",
                                      "now"};
    int64_t at = 0;
    (void)state;
    assert_true(acme_time_read("2025-01-02T04:00:00Z", &at) && at == 1735790400);
    assert_true(acme_time_read("2025-01-02T04:00:00.123456Z", &at) && at == 1735790400);
    assert_true(acme_time_read("2025-01-02T06:30:00+02:30", &at) && at == 1735790400);
    assert_true(acme_time_read("2025-01-01T23:00:00-05:00", &at) && at == 1735790400);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (acme_time_read(bad[i], &at))
            fail_msg("\"%s\" is taken", bad[i] ? bad[i] : "nothing");
}

static bool reads(const char *text, size_t len, struct up_window *ret)
{
    struct json *json = NULL;
    struct err err;
    bool ok = json_parse(bytes_of(text, len), &json, &err) && acme_window_read(json, ret, &err);
    json_free(json);
    return ok;
}

/* A window ends after its start; where the CA explains it is shown if it is an https URL. Nothing
 * that is cut off, or has no window, counts. */
static void test_window(void **state)
{
    static const char good[] =
        "{\"suggestedWindow\":{\"start\":\"2025-01-02T04:00:00Z\","
        "\"end\":\"2025-01-03T04:00:00Z\"},\"explanationURL\":\"https://ca.example.com/why\"}";
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"suggestedWindow\":{}}",
        "{\"suggestedWindow\":[\"2025-01-02T04:00:00Z\",\"2025-01-03T04:00:00Z\"]}",
        "{\"suggestedWindow\":{\"start\":1735790400,\"end\":1735790500}}",
        "{\"suggestedWindow\":{\"start\":\"2025-01-02T04:00:00Z\","
        "\"end\":\"2025-01-02T04:00:00Z\"}}",
        "{\"suggestedWindow\":{\"start\":\"2025-01-03T04:00:00Z\","
        "\"end\":\"2025-01-02T04:00:00Z\"}}"};
    struct up_window window = {0};
    (void)state;
    assert_true(reads(good, strlen(good), &window));
    assert_true(window.start == 1735790400 && window.end == 1735790400 + 86400);
    assert_string_equal(window.why, "https://ca.example.com/why");
    for (size_t len = 0; len < strlen(good); len++)
        assert_false(reads(good, len, &window));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (reads(bad[i], strlen(bad[i]), &window))
            fail_msg("%s is taken", bad[i]);
    static const char script[] =
        "{\"suggestedWindow\":{\"start\":\"2025-01-02T04:00:00Z\","
        "\"end\":\"2025-01-03T04:00:00Z\"},\"explanationURL\":\"javascript:alert(1)\"}";
    assert_true(reads(script, strlen(script), &window));
    assert_string_equal(window.why, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http01_line), cmocka_unit_test(test_token),
        cmocka_unit_test(test_address),     cmocka_unit_test(test_url),
        cmocka_unit_test(test_dns01_value), cmocka_unit_test(test_dns01_san),
        cmocka_unit_test(test_ticket),      cmocka_unit_test(test_cert_id),
        cmocka_unit_test(test_time),        cmocka_unit_test(test_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
