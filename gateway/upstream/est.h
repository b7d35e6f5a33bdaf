/* A CA that speaks EST (RFC 7030): we are its RA. */
#ifndef GATEWAY_UPSTREAM_EST_H
#define GATEWAY_UPSTREAM_EST_H

#include "config/table.h"
#include "ra/upstream.h"

extern const struct cfg_kind est_kind;
extern const struct upstream_vt est_vt;

#endif
