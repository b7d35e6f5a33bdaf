/* Network addresses: of peers, in lists of blocks, and as text. */
#ifndef BASE_NET_H
#define BASE_NET_H

#include "base/bytes.h"

#include <sys/socket.h>

enum net_family {
    NET_UNIX = 0, /* a peer on a unix socket has no address */
    NET_V4,
    NET_V6,
};

struct net_addr {
    enum net_family family;
    uint8_t bytes[16]; /* network order; the first 4 for NET_V4 */
    uint16_t port;
};

/* A range of addresses in CIDR form, or every unix peer. */
struct net_block {
    enum net_family family;
    uint8_t bytes[16];
    unsigned bits;
};

struct net_blocks {
    struct net_block *items;
    size_t count;
};

#define NET_TEXT_MAX 46 /* an address with its NUL */

/* An IPv4 address mapped into IPv6 comes out as NET_V4. Any family but the two is NET_UNIX. */
struct net_addr net_addr_from(const struct sockaddr *address, socklen_t len);
/* "192.0.2.1", "2001:db8::1"; false on anything else. The port is 0. */
bool net_addr_parse(const char *text, struct net_addr *ret) MUST_USE;
/* 4 or 16 bytes in network order. */
struct net_addr net_addr_v4(const uint8_t bytes[4], uint16_t port);
struct net_addr net_addr_v6(const uint8_t bytes[16], uint16_t port);
/* The address without its port; "unix" for a unix peer. */
void net_addr_text(const struct net_addr *address, char out[NET_TEXT_MAX]);

/* What one network of a user can hold: an IPv4 address, or an IPv6 /64. 0 for a unix peer. */
uint64_t net_addr_group(const struct net_addr *address);

/* "10.0.0.0/8", "10.0.0.5", "2001:db8::/32", "unix". What is wrong ("is no address"), or NULL;
 * bits beyond the prefix are an error, since nobody can tell what was meant. */
const char *net_block_parse(const char *text, struct net_block *ret);
bool net_blocks_have(const struct net_blocks *blocks, const struct net_addr *address);

#endif
