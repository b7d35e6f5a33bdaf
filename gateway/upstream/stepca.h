/* An upstream CA that is smallstep's step-ca: /1.0/sign with a token of a JWK or X5C provisioner,
 * which it takes once. */
#ifndef GATEWAY_UPSTREAM_STEPCA_H
#define GATEWAY_UPSTREAM_STEPCA_H

#include "config/table.h"
#include "ra/upstream.h"

extern const struct cfg_kind stepca_kind;
extern const struct upstream_vt stepca_vt;

#endif
