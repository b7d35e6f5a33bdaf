/* EJBCA by its REST interface. */
#ifndef GATEWAY_UPSTREAM_EJBCA_H
#define GATEWAY_UPSTREAM_EJBCA_H

#include "config/table.h"
#include "ra/upstream.h"

extern const struct cfg_kind ejbca_kind;
extern const struct upstream_vt ejbca_vt;

#endif
