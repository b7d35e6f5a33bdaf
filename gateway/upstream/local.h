/* The local CA: an issuing key that the gateway itself holds. */
#ifndef GATEWAY_UPSTREAM_LOCAL_H
#define GATEWAY_UPSTREAM_LOCAL_H

#include "config/table.h"
#include "ra/upstream.h"

/* The options of `type: local`. */
struct local_options {
    struct cfg_certs certificate; /* the issuing CA's, one */
    EVP_PKEY *key;
    struct cfg_certs chain; /* above it, up to the root */
    struct cfg_certs rollover;
    int64_t validity;     /* seconds */
    int64_t backdate;     /* seconds that notBefore lies in the past */
    int64_t crl_validity; /* seconds until nextUpdate */
    char *crl_url;        /* CRL distribution point in certificates, or NULL */
};

extern const struct cfg_kind local_kind;
extern const struct upstream_vt local_vt;

#endif
