#include "gateway/proxy.h"

#include <string.h>

#define V1_MAX 107 /* section 2.1: with CRLF */
#define V2_HEAD 16
#define V2_LOCAL 0x20
#define V2_PROXY 0x21
#define V2_TCP4 0x11
#define V2_TCP6 0x21

static const uint8_t v2_magic[12] = "\r\n\r\n\0\r\nQUIT\n";

/* Decimal from 0 to 65535 without leading zeros. */
static bool port_parse(struct bytes text, uint16_t *ret)
{
    unsigned long value = 0;
    if (text.len == 0 || text.len > 5 || (text.len > 1 && text.ptr[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        value = value * 10 + (unsigned long)(text.ptr[i] - '0');
    }
    *ret = (uint16_t)value;
    return value <= 65535;
}

static bool address_parse(struct bytes text, enum net_family family, struct net_addr *ret)
{
    char copy[NET_TEXT_MAX];
    if (text.len >= sizeof copy || memchr(text.ptr, 0, text.len))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    bool v6 = memchr(text.ptr, ':', text.len);
    return v6 == (family == NET_V6) && net_addr_parse(copy, ret);
}

/* "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443", without the CRLF. */
static enum proxy_result line_parse(struct bytes line, struct net_addr *address)
{
    struct bytes word[6];
    struct net_addr from, to;
    uint16_t from_port, to_port;
    if (bytes_starts(line, "PROXY UNKNOWN") && (line.len == 13 || line.ptr[13] == ' '))
        return PROXY_DONE;
    for (unsigned i = 0; i < 6; i++)
        if (bytes_take_until(&line, ' ', &word[i]) == (i == 5))
            return PROXY_BAD;
    bool v4 = bytes_equal_str(word[1], "TCP4");
    if (!bytes_equal_str(word[0], "PROXY") || (!v4 && !bytes_equal_str(word[1], "TCP6")))
        return PROXY_BAD;
    enum net_family family = v4 ? NET_V4 : NET_V6;
    if (!address_parse(word[2], family, &from) || !address_parse(word[3], family, &to) ||
        !port_parse(word[4], &from_port) || !port_parse(word[5], &to_port))
        return PROXY_BAD;
    *address = from;
    address->port = from_port;
    return PROXY_DONE;
}

static enum proxy_result v1_parse(struct bytes data, size_t *len, struct net_addr *address)
{
    const struct bytes start = bytes_str("PROXY ");
    struct bytes cur = bytes_of(data.ptr, data.len < V1_MAX ? data.len : V1_MAX), line;
    if (memcmp(data.ptr, start.ptr, data.len < start.len ? data.len : start.len) != 0)
        return PROXY_BAD;
    if (!bytes_take_until(&cur, '\n', &line))
        return data.len < V1_MAX ? PROXY_MORE : PROXY_BAD;
    *len = line.len + 1;
    if (line.ptr[line.len - 1] != '\r')
        return PROXY_BAD;
    return line_parse(bytes_of(line.ptr, line.len - 1), address);
}

static bool take_u16(struct bytes *cur, uint16_t *ret)
{
    uint8_t high, low;
    if (!bytes_take_u8(cur, &high) || !bytes_take_u8(cur, &low))
        return false;
    *ret = (uint16_t)(high << 8 | low);
    return true;
}

/* Source, destination, source port, destination port; what follows are TLVs. */
static enum proxy_result v2_address(struct bytes cur, size_t width, struct net_addr *address)
{
    struct bytes from, to;
    uint16_t port;
    if (!bytes_take(&cur, width, &from) || !bytes_take(&cur, width, &to) ||
        !take_u16(&cur, &port) || cur.len < sizeof port)
        return PROXY_BAD;
    *address = width == 4 ? net_addr_v4(from.ptr, port) : net_addr_v6(from.ptr, port);
    return PROXY_DONE;
}

static enum proxy_result v2_parse(struct bytes data, size_t *len, struct net_addr *address)
{
    struct bytes cur = data, magic, rest;
    uint8_t command, family;
    uint16_t rest_len;
    if (!bytes_take(&cur, sizeof v2_magic, &magic) || !bytes_take_u8(&cur, &command) ||
        !bytes_take_u8(&cur, &family) || !take_u16(&cur, &rest_len))
        return PROXY_MORE;
    if ((command != V2_LOCAL && command != V2_PROXY) || rest_len > PROXY_MAX - V2_HEAD)
        return PROXY_BAD;
    if (!bytes_take(&cur, rest_len, &rest))
        return PROXY_MORE;
    *len = data.len - cur.len;
    if (command == V2_PROXY && family == V2_TCP4)
        return v2_address(rest, 4, address);
    if (command == V2_PROXY && family == V2_TCP6)
        return v2_address(rest, 16, address);
    return PROXY_DONE; /* section 2.2: any other family is accepted and not used */
}

enum proxy_result proxy_parse(struct bytes data, size_t *len, struct net_addr *address)
{
    size_t magic = data.len < sizeof v2_magic ? data.len : sizeof v2_magic;
    if (data.len == 0)
        return PROXY_MORE;
    return memcmp(data.ptr, v2_magic, magic) == 0 ? v2_parse(data, len, address)
                                                  : v1_parse(data, len, address);
}
