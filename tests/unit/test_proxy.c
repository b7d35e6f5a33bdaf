#include "gateway/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MAGIC "\r\n\r\n\0\r\nQUIT\n"
#define V2(bytes) bytes_of(MAGIC bytes, sizeof(MAGIC bytes) - 1)

static enum proxy_result parse(struct bytes data, size_t *len, char text[NET_TEXT_MAX + 8])
{
    char address_text[NET_TEXT_MAX];
    struct net_addr address = {.family = NET_UNIX};
    *len = 0;
    enum proxy_result result = proxy_parse(data, len, &address);
    net_addr_text(&address, address_text);
    snprintf(text, NET_TEXT_MAX + 8, "%s %u", address_text, address.port);
    return result;
}

static void assert_done(struct bytes header, const char *expected)
{
    uint8_t data[PROXY_MAX + 16];
    char text[NET_TEXT_MAX + 8];
    size_t len;
    memcpy(data, header.ptr, header.len);
    memcpy(data + header.len, "GET / HTTP", 10);
    assert_int_equal(parse(bytes_of(data, header.len + 10), &len, text), PROXY_DONE);
    assert_int_equal(len, header.len);
    assert_string_equal(text, expected);
    /* Every beginning of it asks for more, and nothing else. */
    for (size_t i = 0; i < header.len; i++)
        if (parse(bytes_of(data, i), &len, text) != PROXY_MORE)
            fail_msg("cut at %zu of %zu", i, header.len);
}

/* Version 1: both families, UNKNOWN with and without more, the longest line. */
static void test_v1(void **state)
{
    (void)state;
    assert_done(bytes_str("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"), "192.0.2.1 56324");
    assert_done(bytes_str("PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n"), "2001:db8::7 0");
    assert_done(bytes_str("PROXY UNKNOWN\r\n"), "unix 0");
    assert_done(bytes_str("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"),
                "unix 0");
    assert_done(bytes_str("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                          "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535");
}

/* Version 2: both families, with TLVs, LOCAL, and families that are not used. */
static void test_v2(void **state)
{
    (void)state;
    assert_done(V2("\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"),
                "192.0.2.1 56324");
    assert_done(V2("\x21\x11\0\x10\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb\x04\0\x01z"),
                "192.0.2.1 56324");
    assert_done(V2("\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
                   "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xdc\x04\x01\xbb"),
                "2001:db8::7 56324");
    assert_done(V2("\x20\0\0\0"), "unix 0");
    assert_done(V2("\x20\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"), "unix 0");
    assert_done(V2("\x21\x31\0\x01z"), "unix 0");
}

/* Everything else ends the connection: who must speak the protocol and does not is no edge. */
static void test_bad(void **state)
{
    static const char *const lines[] = {
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1  198.51.100.1 1 2\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 \r\n",
        "PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2                                                     "
        "  "
        "                          ",
    };
    const struct bytes others[] = {
        V2("\x11\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"), /* version 1 */
        V2("\x22\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"), /* no command */
        V2("\x21\x11\0\x0b\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01"),     /* too short */
        V2("\x21\x21\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"),
        V2("\x21\x11\x02\x09"), /* more than is read */
    };
    char text[NET_TEXT_MAX + 8];
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (parse(bytes_str(lines[i]), &len, text) != PROXY_BAD)
            fail_msg("taken: %s", lines[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (parse(others[i], &len, text) != PROXY_BAD)
            fail_msg("taken: binary %zu", i);
    assert_int_equal(parse(bytes_of("PROXY UNKNOWN\0\r\n", 16), &len, text), PROXY_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_v1), cmocka_unit_test(test_v2),
                                       cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
