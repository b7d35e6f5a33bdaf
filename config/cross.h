/* What concerns several sections: names that refer to each other, and doors that need listeners. */
#ifndef CONFIG_CROSS_H
#define CONFIG_CROSS_H

#include "config/config.h"
#include "config/node.h"

/* Turns the names of upstreams and RAs into indexes. cfg was filled from root: its arrays and the
 * nodes' items go together. */
void cfg_cross_resolve(struct cfg *cfg, const struct cfg_node *root, struct cfg_faults *faults);
void cfg_cross_check(const struct cfg *cfg, const struct cfg_node *root, struct cfg_faults *faults);

#endif
