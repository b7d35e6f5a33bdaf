/* A CA that speaks ACME (RFC 8555). */
#ifndef GATEWAY_UPSTREAM_ACME_H
#define GATEWAY_UPSTREAM_ACME_H

#include "config/table.h"
#include "ra/upstream.h"

extern const struct cfg_kind acme_kind;
extern const struct upstream_vt acme_vt;

#endif
