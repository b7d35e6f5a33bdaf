#include "gateway/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BODY_MAX 100

static const struct frame_rules rules = {BODY_MAX, true};

/* All at once; and byte by byte, which must come to the same. */
static enum frame_result scan(struct bytes data, struct frame *frame)
{
    struct frame slow = {0};
    enum frame_result slow_result = FRAME_MORE;
    *frame = (struct frame){0};
    enum frame_result result = frame_scan(frame, &rules, data);
    for (size_t i = 1; i <= data.len && slow_result == FRAME_MORE; i++)
        slow_result = frame_scan(&slow, &rules, bytes_of(data.ptr, i));
    assert_int_equal(slow_result, result);
    assert_int_equal(slow.status, frame->status);
    assert_int_equal(slow.total, frame->total);
    return result;
}

static void assert_rewritten(const char *request, size_t rest, bool keep_certificate,
                             const char *expected)
{
    struct frame frame;
    struct buf out = {0};
    if (scan(bytes_str(request), &frame) != FRAME_DONE)
        fail_msg("not taken (%d): %s", frame.status, request);
    assert_int_equal(frame.total, strlen(request) - rest);
    assert_true(frame_rewrite(&frame, bytes_str(request), keep_certificate, &out));
    assert_string_equal(buf_str(&out), expected);
    buf_free(&out);
    for (size_t i = 0; i < frame.total; i++) {
        struct frame cut = {0};
        if (frame_scan(&cut, &rules, bytes_of(request, i)) != FRAME_MORE)
            fail_msg("cut at %zu: %s", i, request);
    }
}

/* What is left for CivetWeb: one way to say it, whatever way it was said in. */
static void test_rewrite(void **state)
{
    (void)state;
    assert_rewritten("GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n", 0, false,
                     "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_rewritten("GET /a HTTP/1.0\r\n\r\nGET", 3, false, "GET /a HTTP/1.1\r\n\r\n");
    assert_rewritten("\r\nGET /a HTTP/1.0\r\n\r\n", 0, false, "GET /a HTTP/1.1\r\n\r\n");
    assert_rewritten("GET HTTP://ca.example:80/a?http://b/ HTTP/1.1\r\nHost:x\r\n\r\n", 0, false,
                     "GET /a?http://b/ HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_rewritten("GET https://x HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n", 0, false,
                     "GET / HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n");
    assert_rewritten("GET http://x?y HTTP/1.1\r\nHost:\r\nA:\t b\tc \t\r\n\r\n", 0, false,
                     "GET /?y HTTP/1.1\r\nHost: \r\nA: b c\r\n\r\n");
    assert_rewritten(
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 003\r\n"
        "Connection: keep-alive, TE\r\nExpect: 100-Continue\r\nTE: trailers\r\n\r\nabcd",
        1, false, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert_rewritten("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
                     "3\r\nabc\r\n0A\r\n0123456789\r\n000\r\nDigest: x\r\n\r\n",
                     0, false,
                     "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\nabc0123456789");
}

/* Methods that nothing here has are one method to whoever reads them, and are framed like others.
 */
static void test_methods(void **state)
{
    static const char *const methods[] = {"OPTIONS", "PUT", "get", "GETX", "HEADER", "POS", "!"};
    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        char request[128];
        snprintf(request, sizeof request,
                 "%s /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabGET", methods[i]);
        assert_rewritten(request, 3, false,
                         "OPTIONS /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
    }
    assert_rewritten("HEAD /a HTTP/1.0\r\n\r\n", 0, false, "HEAD /a HTTP/1.1\r\n\r\n");
    assert_rewritten("PUT /a HTTP/1.0\r\n\r\n", 0, false, "OPTIONS /a HTTP/1.1\r\n\r\n");
}

/* An edge's word about the client's certificate stays only where it counts. */
static void test_client_cert(void **state)
{
    static const char request[] = "GET /a HTTP/1.1\r\nHost: x\r\nclient-cert: :AA==:\r\n"
                                  "Client-Cert-Chain: :AA==:\r\nClient-Certs: y\r\n\r\n";
    (void)state;
    assert_rewritten(request, 0, false, "GET /a HTTP/1.1\r\nHost: x\r\nClient-Certs: y\r\n\r\n");
    assert_rewritten(request, 0, true, request);
}

/* Whether the connection can go on. */
static void test_keep(void **state)
{
    static const struct {
        const char *request;
        bool keep;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: x\r\nConnection: te , close\r\nConnection: keep-alive\r\n\r\n",
         false},
        {"GET / HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false},
    };
    struct frame frame;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(scan(bytes_str(rows[i].request), &frame), FRAME_DONE);
        assert_int_equal(frame.keep, rows[i].keep);
    }
}

/* 100 Continue is owed for a body that is announced and fits, on HTTP/1.1. */
static void test_expects(void **state)
{
    static const struct {
        const char *request;
        bool expects;
    } rows[] = {
        {"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", true},
        {"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
         true},
        {"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", false},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", false},
    };
    struct frame frame;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(scan(bytes_str(rows[i].request), &frame), FRAME_MORE);
        assert_true(frame.head_done);
        assert_int_equal(frame.expects, rows[i].expects);
    }
}

#define POST "POST / HTTP/1.1\r\nHost: x\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

struct refusal {
    int status;
    const char *request;
};

static const struct refusal refusals[] = {
    {400, "GET /\r\n"},
    {400, "GET / \r\n"},
    {400, "GET  / HTTP/1.1\r\n"},
    {400, "GET /\tHTTP/1.1\r\n"},
    {400, " GET / HTTP/1.1\r\n"},
    {400, "GET / HTTP/1.1 \r\n"},
    {400, "GET / HTTP/1.2\r\n"},
    {400, "GET / http/1.1\r\n"},
    {400, "GET / HTTP/0.9\r\n"},
    {400, "GET / HTTP/1.10\r\n"},
    {505, "GET / HTTP/2.0\r\n"},
    {505, "PRI * HTTP/2.0\r\n"},
    {400, "GET / HTTP/1.1\nHost: x\r\n"},
    {400, "\n"},
    {400, "\r\n\r\n\r\n"},
    {400, "G(T / HTTP/1.1\r\n"},
    {400, "OPTIONS * HTTP/1.1\r\n"},
    {400, "CONNECT x:443 HTTP/1.1\r\n"},
    {400, "GET * HTTP/1.1\r\n"},
    {400, "GET a HTTP/1.1\r\n"},
    {400, "GET http:/a HTTP/1.1\r\n"},
    {400, "GET http:// HTTP/1.1\r\n"},
    {400, "GET http://?a HTTP/1.1\r\n"},
    {400, "GET http:///a HTTP/1.1\r\n"},
    {400, "GET ftp://a/b HTTP/1.1\r\n"},
    {400, "GET /#x HTTP/1.1\r\n"},
    {400, "GET /\xc3\xa4 HTTP/1.1\r\n"},
    {400, "GET /a%00 HTTP/1.1\r\n"},
    {400, "GET /a%2fb HTTP/1.1\r\n"},
    {400, "GET /a%5Cb HTTP/1.1\r\n"},
    {400, "GET /a\\b HTTP/1.1\r\n"},
    {400, "GET /a%2 HTTP/1.1\r\n"},
    {400, "GET /a%zz HTTP/1.1\r\n"},
    {400, "GET /a/../b HTTP/1.1\r\n"},
    {400, "GET /a/.%2E HTTP/1.1\r\n"},
    {400, "GET /./a HTTP/1.1\r\n"},
    {400, "GET /. HTTP/1.1\r\n"},
    {400, "GET http://a/../b HTTP/1.1\r\n"},
    {400, "GET / HTTP/1.1\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\r\nHOST: y\r\n"},
    {400, "GET / HTTP/1.1\r\nHost : x\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a b\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a/b\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a@b\r\n"},
    {400, "GET / HTTP/1.1\r\nHost x\r\n"},
    {400, "GET / HTTP/1.1\r\n: x\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\r\n\tfolded\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\nA: b\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\rA: b\r\n"},
    {400, "GET / HTTP/1.1\r\nA: \x01\r\n"},
    {400, "GET / HTTP/1.1\r\nA: \x7f\r\n"},
    {400, "GET / HTTP/1.1\r\nA\xe9: b\r\n"},
    {417, "GET / HTTP/1.1\r\nExpect: 200-ok\r\n"},
    {411, POST "\r\n"},
    {413, POST "Content-Length: 101\r\n\r\n"},
    {413, POST "Content-Length: 99999999999999999999999999\r\n"},
    {400, POST "Content-Length: 3\r\nContent-Length: 3\r\n"},
    {400, POST "Content-Length: 3, 3\r\n"},
    {400, POST "Content-Length: +3\r\n"},
    {400, POST "Content-Length: -3\r\n"},
    {400, POST "Content-Length: 0x3\r\n"},
    {400, POST "Content-Length: 3a\r\n"},
    {400, POST "Content-Length:\r\n"},
    {400, POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {400, POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"},
    {400, POST "Transfer-Encoding: gzip, chunked\r\n"},
    {400, POST "Transfer-Encoding: identity\r\n"},
    {400, POST "Transfer-Encoding: xchunked\r\n"},
    {400, POST "Transfer-Encoding: \x0b"
               "chunked\r\n"},
    {400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"},
    {400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {400, CHUNKED "\r\n"},
    {400, CHUNKED "g\r\n"},
    {400, CHUNKED "-1\r\n"},
    {400, CHUNKED "0x1\r\n"},
    {400, CHUNKED " 1\r\n"},
    {400, CHUNKED "1 \r\n"},
    {400, CHUNKED "1;a=b\r\n"},
    {400, CHUNKED "1\nx\r\n"},
    {400, CHUNKED "1\r\nxy\r\n"},
    {400, CHUNKED "1\r\nx\n0"},
    {400, CHUNKED "000000001\r\n"},
    {413, CHUNKED "ffffffff\r\n"},
    {413, CHUNKED "65\r\n"},
    {413, CHUNKED "32\r\n12345678901234567890123456789012345678901234567890\r\n33\r\n"},
    {400, CHUNKED "0\r\n folded\r\n"},
    {400, CHUNKED "0\r\nGET / HTTP/1.1\r\n"},
    {400, CHUNKED "0\r\nA: b\nC: d\r\n"},
};

/* What could be read in two ways, or not at all, is refused with the status that fits. */
static void test_refused(void **state)
{
    struct frame frame;
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *row = &refusals[i];
        enum frame_result result = scan(bytes_str(row->request), &frame);
        if (result != FRAME_REFUSED || frame.status != row->status || frame.keep)
            fail_msg("%d, expected %d: %s", frame.status, row->status, row->request);
    }
    assert_int_equal(scan(bytes_of("GET / HTTP/1.1\r\nA: b\0c\r\n", 24), &frame), FRAME_REFUSED);
    assert_int_equal(scan(bytes_of("GET /\0 HTTP/1.1\r\n", 17), &frame), FRAME_REFUSED);
}

/* Dots that are no dot segments, and escapes that hide nothing, are fine. */
static void test_paths(void **state)
{
    static const char *const paths[] = {"/a.b/..c/d../...", "/.well-known/est", "/a%20b%2E", "//",
                                        "/a?%2f..%00\\"};
    struct frame frame;
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        char request[128];
        snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", paths[i]);
        if (scan(bytes_str(request), &frame) != FRAME_DONE)
            fail_msg("refused: %s", paths[i]);
    }
}

static struct buf repeat(const char *before, const char *each, size_t count, const char *after)
{
    struct buf out = {0};
    assert_true(buf_add_str(&out, before));
    for (size_t i = 0; i < count; i++)
        assert_true(buf_add_str(&out, each));
    assert_true(buf_add_str(&out, after));
    return out;
}

static int status_of(struct buf request)
{
    struct frame frame = {0};
    enum frame_result result = frame_scan(&frame, &rules, buf_bytes(&request));
    buf_free(&request);
    return result == FRAME_DONE ? 200 : frame.status;
}

/* The last that is taken, and the first that is not: line, head, headers, trailer. Also if the line
 * never ends. */
static void test_ceilings(void **state)
{
    const size_t line = FRAME_LINE_MAX - strlen("GET / HTTP/1.0\r\n");
    (void)state;
    assert_int_equal(status_of(repeat("GET /", "a", line, " HTTP/1.0\r\n\r\n")), 200);
    assert_int_equal(status_of(repeat("GET /", "a", line + 1, " HTTP/1.0\r\n\r\n")), 414);
    assert_int_equal(status_of(repeat("GET /", "a", FRAME_LINE_MAX, "")), 414);
    assert_int_equal(status_of(repeat("GET / HTTP/1.0\r\n", "a: b\r\n", 64, "\r\n")), 200);
    assert_int_equal(status_of(repeat("GET / HTTP/1.0\r\n", "a: b\r\n", 65, "\r\n")), 431);
    const size_t head = FRAME_HEAD_MAX - strlen("GET / HTTP/1.0\r\na: \r\n\r\n");
    assert_int_equal(status_of(repeat("GET / HTTP/1.0\r\na: ", "b", head, "\r\n\r\n")), 200);
    assert_int_equal(status_of(repeat("GET / HTTP/1.0\r\na: ", "b", head + 1, "\r\n\r\n")), 431);
    assert_int_equal(status_of(repeat("GET / HTTP/1.0\r\na: ", "b", FRAME_HEAD_MAX, "")), 431);
    assert_int_equal(status_of(repeat(CHUNKED "0\r\n", "a: b\r\n", 682, "\r\n")), 200);
    assert_int_equal(status_of(repeat(CHUNKED "0\r\n", "a: b\r\n", 683, "\r\n")), 400);
    assert_int_equal(status_of(repeat(CHUNKED "0\r\na: ", "b", FRAME_TRAILER_MAX, "")), 400);
}

/* Where Host is not needed, HTTP/1.1 without it is taken. */
static void test_host(void **state)
{
    const struct frame_rules lenient = {BODY_MAX, false};
    struct frame frame = {0};
    (void)state;
    assert_int_equal(frame_scan(&frame, &lenient, bytes_str("GET / HTTP/1.1\r\n\r\n")), FRAME_DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rewrite),  cmocka_unit_test(test_client_cert),
        cmocka_unit_test(test_keep),     cmocka_unit_test(test_expects),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_paths),
        cmocka_unit_test(test_ceilings), cmocka_unit_test(test_host),
        cmocka_unit_test(test_methods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
