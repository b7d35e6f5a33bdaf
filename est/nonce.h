/* Nonces for HTTP Digest (RFC 7616 section 3.3). Nothing is kept of one that was only handed out:
 * it carries its own time and is signed. Of those that were used with a right password it is kept
 * how often; thread-safe, of a fixed size, and what had to be forgotten counts as used. */
#ifndef EST_NONCE_H
#define EST_NONCE_H

#include "base/bytes.h"

#define EST_NONCE_SECONDS 300 /* how long one is good */
#define EST_NONCE_WINDOW 64   /* counts may come out of order by less than this */
#define EST_NONCE_LEN 64      /* hexadecimal digits */

struct est_nonces;

struct est_nonces *est_nonces_new(void) MUST_USE;
void est_nonces_free(struct est_nonces *nonces); /* NULL is allowed */

/* A new one, of this generation of the configuration. */
bool est_nonce_make(struct est_nonces *nonces, uint64_t generation, char out[EST_NONCE_LEN + 1],
                    struct err *err) MUST_USE;
/* Whether the nonce is one of ours, of this generation, not too old, and was not used with this
 * count before; then it is from now on. */
bool est_nonce_use(struct est_nonces *nonces, uint64_t generation, struct bytes nonce,
                   uint32_t count) MUST_USE;

#endif
