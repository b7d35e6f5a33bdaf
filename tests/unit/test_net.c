#include "base/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

static struct net_addr addr(const char *text)
{
    struct net_addr address;
    assert_true(net_addr_parse(text, &address));
    return address;
}

static void assert_text(const char *text, const char *expected)
{
    char out[NET_TEXT_MAX];
    struct net_addr address = addr(text);
    net_addr_text(&address, out);
    assert_string_equal(out, expected);
}

/* Addresses are read and written; one that is mapped into IPv6 is the IPv4 address. */
static void test_text(void **state)
{
    (void)state;
    assert_text("192.0.2.1", "192.0.2.1");
    assert_text("2001:DB8:0::1", "2001:db8::1");
    assert_text("::ffff:192.0.2.1", "192.0.2.1");
    assert_text("::ffff:0:192.0.2.1", "::ffff:0:c000:201");
    struct net_addr ignored;
    static const char *const bad[] = {"",      "192.0.2",   "192.0.2.256", "01.2.3.4", "::g",
                                      "[::1]", "localhost", "192.0.2.1 ",  "::1%lo"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(net_addr_parse(bad[i], &ignored));
}

/* The peers of a socket: IPv4, IPv6, IPv4 inside IPv6, and a unix socket, which has no address. */
static void test_from(void **state)
{
    char out[NET_TEXT_MAX];
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(77)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(78)};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    (void)state;
    inet_pton(AF_INET, "192.0.2.9", &v4.sin_addr);
    struct net_addr address = net_addr_from((struct sockaddr *)&v4, sizeof v4);
    net_addr_text(&address, out);
    assert_string_equal(out, "192.0.2.9");
    assert_int_equal(address.port, 77);
    inet_pton(AF_INET6, "::ffff:192.0.2.10", &v6.sin6_addr);
    address = net_addr_from((struct sockaddr *)&v6, sizeof v6);
    assert_int_equal(address.family, NET_V4);
    assert_int_equal(address.port, 78);
    address = net_addr_from((struct sockaddr *)&local, sizeof(sa_family_t));
    net_addr_text(&address, out);
    assert_string_equal(out, "unix");
    assert_int_equal(net_addr_group(&address), 0);
}

/* One IPv4 address is a group, and so is one IPv6 /64; no group of one is one of the other. */
static void test_group(void **state)
{
    struct net_addr a = addr("192.0.2.1"), b = addr("192.0.2.2"), zero = addr("0.0.0.0");
    struct net_addr c = addr("2001:db8::1"), d = addr("2001:db8::ffff:1"),
                    e = addr("2001:db8:0:1::1");
    struct net_addr low = addr("0:0:c000:201::1");
    (void)state;
    assert_true(net_addr_group(&a) != net_addr_group(&b));
    assert_true(net_addr_group(&c) == net_addr_group(&d));
    assert_true(net_addr_group(&c) != net_addr_group(&e));
    assert_true(net_addr_group(&a) != net_addr_group(&low));
    assert_true(net_addr_group(&zero) != 0);
}

static bool has(const char *block, const char *address)
{
    struct net_block parsed;
    const char *wrong = net_block_parse(block, &parsed);
    if (wrong)
        fail_msg("%s %s", block, wrong);
    struct net_addr a = {.family = NET_UNIX};
    if (strcmp(address, "unix") != 0)
        a = addr(address);
    return net_blocks_have(&(struct net_blocks){&parsed, 1}, &a);
}

/* A block holds what its prefix says, of its own family only. */
static void test_blocks(void **state)
{
    (void)state;
    assert_true(has("10.0.0.0/8", "10.255.1.2"));
    assert_false(has("10.0.0.0/8", "11.0.0.0"));
    assert_true(has("10.1.2.128/25", "10.1.2.200"));
    assert_false(has("10.1.2.128/25", "10.1.2.127"));
    assert_true(has("10.1.2.3", "10.1.2.3"));
    assert_false(has("10.1.2.3", "10.1.2.2"));
    assert_true(has("0.0.0.0/0", "203.0.113.7"));
    assert_false(has("0.0.0.0/0", "2001:db8::1"));
    assert_true(has("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(has("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(has("::ffff:10.0.0.1", "10.0.0.1"));
    assert_true(has("unix", "unix"));
    assert_false(has("unix", "0.0.0.0"));
    assert_false(has("0.0.0.0/0", "unix"));
}

/* What is no block is told in words. */
static void test_bad_blocks(void **state)
{
    static const char *const bad[][2] = {
        {"", "is no address"},
        {"10.0.0.0/", "has no prefix length that fits at its end"},
        {"10.0.0.0/33", "has no prefix length that fits at its end"},
        {"10.0.0.0/-1", "has no prefix length that fits at its end"},
        {"10.0.0.0/8x", "has no prefix length that fits at its end"},
        {"::/129", "has no prefix length that fits at its end"},
        {"10.0.0.1/8", "has bits set beyond its prefix"},
        {"2001:db8::1/64", "has bits set beyond its prefix"},
        {"Unix", "is no address"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/8",
         "is no address"},
    };
    struct net_block ignored;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *wrong = net_block_parse(bad[i][0], &ignored);
        assert_non_null(wrong);
        assert_string_equal(wrong, bad[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),       cmocka_unit_test(test_from),
        cmocka_unit_test(test_group),      cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_bad_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
