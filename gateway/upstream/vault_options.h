/* What the configuration says of an upstream of kind vault. */
#ifndef GATEWAY_UPSTREAM_VAULT_OPTIONS_H
#define GATEWAY_UPSTREAM_VAULT_OPTIONS_H

#include "gateway/upstream/relay.h"
#include "gateway/upstream/vault.h"

#define VAULT_NAME_MAX 120                        /* of each part of a path */
#define VAULT_PATH_MAX (3 * VAULT_NAME_MAX + 100) /* of what is behind /v1/ */

struct vault_approle {
    char *role_id;
    struct buf secret_id; /* secret */
    char *mount;
};

struct vault_tls {
    char *mount;
    char *name;
};

struct vault_options {
    struct cfg_line line; /* first */
    char *url, *name_space, *mount, *issuer, *role;
    bool verbatim;
    int64_t ttl; /* seconds; 0: the role's */
    struct cfg_certs trust;
    struct buf token; /* secret */
    struct vault_approle approle;
    struct relay_client client;
    struct vault_tls tls;
    struct cfg_certs chain;
};

#endif
