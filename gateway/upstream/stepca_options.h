/* What the configuration says of an upstream of kind stepca. */
#ifndef GATEWAY_UPSTREAM_STEPCA_OPTIONS_H
#define GATEWAY_UPSTREAM_STEPCA_OPTIONS_H

#include "gateway/upstream/relay.h"
#include "gateway/upstream/stepca.h"

struct stepca_jwk {
    EVP_PKEY *key;
};

struct stepca_options {
    struct cfg_line line; /* first */
    char *url, *provisioner;
    struct cfg_certs trust;
    struct stepca_jwk jwk;   /* either this */
    struct relay_client x5c; /* or that has a key */
    int64_t validity;        /* seconds; 0: the provisioner's */
    struct cfg_certs chain;
};

#endif
