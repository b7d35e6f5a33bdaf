/* The page on which Microsoft's NDES shows one-time challenges to those who may hand them out
 * (/certsrv/mscep_admin), and its look-alikes. */
#ifndef GATEWAY_UPSTREAM_NDES_H
#define GATEWAY_UPSTREAM_NDES_H

#include "gateway/upstream/scep_options.h"

#define NDES_SECRET_MIN 8
#define NDES_SECRET_MAX 128

/* body: the page, untrusted, in UTF-16LE (as NDES sends it, with or without a byte order mark) or
 * in UTF-8. On success secret holds the challenge: NDES_SECRET_MIN to NDES_SECRET_MAX printable
 * ASCII characters; *life is for how many seconds the CA takes it, 0 if the page does not say.
 * Secret is made secret. ERR_UPSTREAM: the page shows none, says why not, or shows one that is for
 * everybody. */
bool ndes_page_read(struct bytes body, struct buf *secret, int64_t *life, struct err *err) MUST_USE;

/* A client of one such page. Thread-safe. admin is borrowed until ndes_free. */
struct ndes;
bool ndes_new(const struct scep_admin *admin, struct ndes **ret, struct err *err) MUST_USE;
void ndes_free(struct ndes *ndes); /* NULL is allowed */

/* Asks the page for a challenge, which from then on takes one of the few places that NDES has for
 * those that nobody used yet. Otherwise as ndes_page_read. */
bool ndes_challenge(struct ndes *ndes, int64_t deadline, struct buf *secret, int64_t *life,
                    struct err *err) MUST_USE;

#endif
