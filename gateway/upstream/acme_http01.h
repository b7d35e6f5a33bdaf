/* Answers http-01 challenges (RFC 8555 section 8.3). What is answered is a function of the token
 * and the account's key, so nothing is stored: after a restart, and by another gateway with the
 * same account key, the answer is the same. Nothing but such answers is served. */
#ifndef GATEWAY_UPSTREAM_ACME_HTTP01_H
#define GATEWAY_UPSTREAM_ACME_HTTP01_H

#include "base/bytes.h"

struct http01;

/* "ADDRESS:PORT" or "[ADDRESS]:PORT"; what is wrong, or NULL (config/table.h). */
const char *http01_check(const char *address, char **stored);

/* Listens and answers on a thread of its own. Several may listen on the same address: so does the
 * next configuration while this one is still in use. thumbprint is copied. */
bool http01_start(const char *address, const char *thumbprint, struct http01 **ret,
                  struct err *err) MUST_USE;
void http01_stop(struct http01 *http01); /* NULL is allowed */

/* The token of a request's first line; false if it asks for anything else. For tests. */
bool http01_parse(struct bytes line, struct bytes *token) MUST_USE;
bool http01_token_fits(struct bytes token);

#endif
