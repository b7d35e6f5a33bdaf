/* The one-time tokens of step-ca's JWK and X5C provisioners, and the handle that lets one be made
 * again. */
#ifndef GATEWAY_UPSTREAM_STEPCA_TOKEN_H
#define GATEWAY_UPSTREAM_STEPCA_TOKEN_H

#include "base/csr.h"
#include "gateway/upstream/jose.h"
#include "gateway/upstream/stepca_options.h"

#define STEPCA_ID_LEN 64 /* hex digits of a token's identifier */
#define STEPCA_KID_MAX 256

/* When a request was ordered, and the identifier that its tokens have: as text "1700000000.HEX". */
struct stepca_handle {
    int64_t at; /* unix seconds */
    char id[STEPCA_ID_LEN + 1];
};

/* A new one; ERR_LOCAL: no randomness. */
bool stepca_handle_make(struct stepca_handle *ret, struct err *err) MUST_USE;
bool stepca_handle_print(const struct stepca_handle *handle, struct buf *out) MUST_USE;
/* text: from the store. False if it is none. */
bool stepca_handle_parse(struct bytes text, struct stepca_handle *ret) MUST_USE;

/* What a token allows. */
struct stepca_claims {
    const char *url; /* of what it is for */
    const char *kid; /* as the provisioner's key is called */
    const char *id;
    const char *serial;    /* to revoke: decimal */
    const struct csr *csr; /* to sign: its names, and it alone; or NULL */
    int64_t issued_at, expires_at;
};

/* In compact form; a secret. */
bool stepca_token_make(const struct stepca_options *options, const struct stepca_claims *claims,
                       struct buf *out, struct err *err) MUST_USE;

/* A page of the list of provisioners: *kid is how ours is called there, empty if it is not on the
 * page; *cursor is the next page's, empty if this is the last. False: it is no such page. */
bool stepca_provisioner_find(const struct stepca_options *options, const struct json_value *page,
                             struct buf *kid, struct buf *cursor, struct err *err) MUST_USE;

#endif
