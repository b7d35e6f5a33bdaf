/* HashiCorp Vault or OpenBao with their PKI engine. */
#ifndef GATEWAY_UPSTREAM_VAULT_H
#define GATEWAY_UPSTREAM_VAULT_H

#include "config/table.h"
#include "ra/upstream.h"

extern const struct cfg_kind vault_kind;
extern const struct upstream_vt vault_vt;

#endif
