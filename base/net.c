#include "base/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX_MAX 4

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

struct net_addr net_addr_v4(const uint8_t bytes[4], uint16_t port)
{
    struct net_addr address = {.family = NET_V4, .port = port};
    memcpy(address.bytes, bytes, 4);
    return address;
}

struct net_addr net_addr_v6(const uint8_t bytes[16], uint16_t port)
{
    struct net_addr address = {.family = NET_V6, .port = port};
    if (memcmp(bytes, mapped, sizeof mapped) == 0)
        return net_addr_v4(bytes + sizeof mapped, port);
    memcpy(address.bytes, bytes, 16);
    return address;
}

struct net_addr net_addr_from(const struct sockaddr *address, socklen_t len)
{
    if (len >= sizeof(struct sockaddr_in) && address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        uint8_t bytes[4];
        memcpy(bytes, &v4.sin_addr, sizeof bytes);
        return net_addr_v4(bytes, ntohs(v4.sin_port));
    }
    if (len >= sizeof(struct sockaddr_in6) && address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        return net_addr_v6(v6.sin6_addr.s6_addr, ntohs(v6.sin6_port));
    }
    return (struct net_addr){.family = NET_UNIX};
}

bool net_addr_parse(const char *text, struct net_addr *ret)
{
    uint8_t bytes[16];
    if (inet_pton(AF_INET, text, bytes) == 1)
        *ret = net_addr_v4(bytes, 0);
    else if (inet_pton(AF_INET6, text, bytes) == 1)
        *ret = net_addr_v6(bytes, 0);
    else
        return false;
    return true;
}

void net_addr_text(const struct net_addr *address, char out[NET_TEXT_MAX])
{
    int family = address->family == NET_V4 ? AF_INET : AF_INET6;
    if (address->family == NET_UNIX || !inet_ntop(family, address->bytes, out, NET_TEXT_MAX))
        memcpy(out, "unix", sizeof "unix");
}

uint64_t net_addr_group(const struct net_addr *address)
{
    uint64_t group = 0;
    if (address->family == NET_UNIX)
        return 0;
    for (unsigned i = 0; i < (address->family == NET_V4 ? 4 : 8); i++)
        group = group << 8 | address->bytes[i];
    /* Beside IPv4 stands a prefix of ff00::/8, which is no source of a connection. */
    return address->family == NET_V4 ? group | UINT64_C(0xffffffff) << 32 : group;
}

/* Whether all bits from `bits` on are zero. */
static bool tail_is_zero(const struct net_block *block, unsigned width)
{
    for (unsigned bit = block->bits; bit < width; bit++)
        if (block->bytes[bit / 8] >> (7 - bit % 8) & 1)
            return false;
    return true;
}

static bool prefix_parse(const char *text, unsigned width, unsigned *ret)
{
    char *end;
    if (text[0] < '0' || text[0] > '9' || strlen(text) > PREFIX_MAX)
        return false;
    unsigned long bits = strtoul(text, &end, 10);
    *ret = (unsigned)bits;
    return !*end && bits <= width;
}

const char *net_block_parse(const char *text, struct net_block *ret)
{
    char host[NET_TEXT_MAX];
    struct net_addr address;
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (strcmp(text, "unix") == 0) {
        *ret = (struct net_block){.family = NET_UNIX};
        return NULL;
    }
    if (len >= sizeof host)
        return "is no address";
    memcpy(host, text, len);
    host[len] = 0;
    if (!net_addr_parse(host, &address))
        return "is no address";
    unsigned width = address.family == NET_V4 ? 32 : 128;
    struct net_block block = {.family = address.family, .bits = width};
    memcpy(block.bytes, address.bytes, sizeof block.bytes);
    if (slash && !prefix_parse(slash + 1, width, &block.bits))
        return "has no prefix length that fits at its end";
    if (!tail_is_zero(&block, width))
        return "has bits set beyond its prefix";
    *ret = block;
    return NULL;
}

static bool block_has(const struct net_block *block, const struct net_addr *address)
{
    unsigned whole = block->bits / 8, rest = block->bits % 8;
    if (block->family != address->family || memcmp(block->bytes, address->bytes, whole) != 0)
        return false;
    return !rest || (block->bytes[whole] ^ address->bytes[whole]) >> (8 - rest) == 0;
}

bool net_blocks_have(const struct net_blocks *blocks, const struct net_addr *address)
{
    for (size_t i = 0; i < blocks->count; i++)
        if (block_has(&blocks->items[i], address))
            return true;
    return false;
}
