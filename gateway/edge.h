/* Edges: proxies that end TLS with devices and tell whose certificate they saw (RFC 9440). */
#ifndef GATEWAY_EDGE_H
#define GATEWAY_EDGE_H

#include "gateway/http.h"
#include "gateway/tls.h"
#include "ra/ra.h"

/* Whether this is the certificate of an edge, for whoever has proved its key by TLS: it is good for
 * a client now, chains to an anchor for edges, through certificates along if need be, has one of
 * their DNS names, and is not revoked. One that an upstream CA has issued is a device's, unless it
 * is itself an anchor; that, and what is revoked or could not be checked, is logged. Waits for CRLs
 * and OCSP as a device's request does. */
enum http_edge edge_judge(const struct ra_settings *settings, const struct cert *cert,
                          struct cert *const *along, size_t along_count);

/* What an edge tells. Owned. */
struct edge_told {
    struct cert *certificate; /* NULL: the client has none */
    struct cert *chain[TLS_ALONG_MAX];
    size_t chain_count;
};

/* False: the headers are malformed, there twice, or hold more than TLS_ALONG_MAX. *ret is to be
 * cleared in any case. */
bool edge_told_read(const struct http_headers *headers, struct edge_told *ret) MUST_USE;
void edge_told_clear(struct edge_told *told);

#endif
