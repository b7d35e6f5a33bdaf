/* What a CA says goes to the log and into the store: nothing that was a secret when we sent it may
 * come back in it. */
#ifndef GATEWAY_UPSTREAM_HIDE_H
#define GATEWAY_UPSTREAM_HIDE_H

#include "base/httpc.h"

/* Overwrites with asterisks whatever of the secret stands in the text: all of it, and each piece of
 * HIDE_PIECE bytes or more. Text behind HIDE_TEXT_MAX is cut off. An empty secret hides nothing. */
void hide_secret(struct buf *text, struct bytes secret);
#define HIDE_PIECE 12
#define HIDE_TEXT_MAX ((size_t)64 << 10)

/* The same in the body of an answer that is an error; other answers stay as they are. */
void hide_in_error(struct httpc_reply *http, struct bytes secret);

/* A CSR, which may hold a challengePassword, as it goes over the wire: base64 in lines or in one,
 * base64url. */
void hide_csr(struct buf *text, struct bytes der);

#endif
