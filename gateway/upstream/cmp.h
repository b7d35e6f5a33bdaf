/* A CA that speaks CMP (RFC 4210, RFC 9480) over HTTP (RFC 6712): we are its RA. */
#ifndef GATEWAY_UPSTREAM_CMP_H
#define GATEWAY_UPSTREAM_CMP_H

#include "config/table.h"
#include "ra/upstream.h"

extern const struct cfg_kind cmp_kind;
extern const struct upstream_vt cmp_vt;

#endif
