/* OCSP responses for our own certificates (RFC 6066 section 8, RFC 6960), from files that somebody
 * keeps fresh. */
#ifndef GATEWAY_STAPLE_H
#define GATEWAY_STAPLE_H

#include "config/config.h"

#include <openssl/ssl.h>

struct staple;

/* Reads the response and checks that it is the issuer's (the second certificate of the chain, or
 * who it delegated to), about this certificate, good, and not over. The caller owns *ret. */
bool staple_load(const struct cfg_identity *identity, struct staple **ret,
                 struct err *err) MUST_USE;
void staple_free(struct staple *staple); /* NULL is allowed */

/* What a ClientHello that asks for a response is shown; nothing once the response is over. */
bool staple_show(const struct staple *staple, SSL *ssl);

#endif
