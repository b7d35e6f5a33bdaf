/* A CA that speaks SCEP (RFC 8894): we are its RA, with a certificate and transactions of our own.
 */
#ifndef GATEWAY_UPSTREAM_SCEP_H
#define GATEWAY_UPSTREAM_SCEP_H

#include "config/table.h"
#include "ra/upstream.h"

extern const struct cfg_kind scep_kind;
extern const struct upstream_vt scep_vt;

#endif
