/* The PROXY protocol, versions 1 and 2: the address of the client, told by an edge in front of us.
 * https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt */
#ifndef GATEWAY_PROXY_H
#define GATEWAY_PROXY_H

#include "base/net.h"

#define PROXY_MAX ((size_t)536) /* the longest header that is read: version 2 with some TLVs */

enum proxy_result {
    PROXY_DONE = 0,
    PROXY_MORE, /* so far a beginning of one */
    PROXY_BAD,  /* none, or one that cannot be understood: the connection must end (section 2) */
};

/* data: what the connection has brought, borrowed. On PROXY_DONE *len is the header's length, and
 * *address is set unless the edge speaks for itself (LOCAL, UNKNOWN, a unix peer). */
enum proxy_result proxy_parse(struct bytes data, size_t *len, struct net_addr *address);

#endif
