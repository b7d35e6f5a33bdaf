/* RAs that renew themselves: the pairs that were written, and the rules for their own requests. */
#ifndef CONFIG_RENEWED_H
#define CONFIG_RENEWED_H

#include "config/config.h"
#include "config/node.h"

/* What the renewed pair is kept as before the last renewal. */
#define CFG_RENEWED_BEFORE ".before"

/* Reads ra->renew.file and the one before it where they are there. The pair whose certificate
 * begins last becomes ra->chain and ra->key, the others ra->former. */
void cfg_renewed_take(struct cfg_identity *ra, struct cfg_faults *faults,
                      const struct cfg_node *node);
void cfg_renewed_clear(struct cfg_identity *ra);

/* Adds a profile for each RA that renews itself, of a configuration without faults. */
void cfg_own_profiles(struct cfg *cfg);

#endif
