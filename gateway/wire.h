/* The one list of kinds, and the object graph built from a configuration. */
#ifndef GATEWAY_WIRE_H
#define GATEWAY_WIRE_H

#include "ra/ra.h"

/* The kinds of upstream CA, for cfg_load. */
const struct cfg_kinds *wire_kinds(void);
/* Their names, separated by spaces. */
void wire_kind_names(struct buf *out);

/* Of a kind; NULL if it is none of ours. */
const struct upstream_vt *wire_vt(const struct cfg_kind *kind);

/* Opens the connectors of a configuration, whose certificates must chain to the trust of the
 * profiles that they issue for. Takes cfg over, also on failure; faults_text then has every fault,
 * a line each, like those of cfg_load. */
bool wire_settings(struct cfg *cfg, uint64_t generation, struct ra_settings **ret,
                   struct buf *faults_text) MUST_USE;

#endif
