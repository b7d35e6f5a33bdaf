/* RAs that renew themselves: the pairs that were written, and the rules for their own requests. */
#ifndef CONFIG_RENEWED_H
#define CONFIG_RENEWED_H

#include "config/config.h"
#include "config/node.h"

/* What the renewed pair is kept as before the last renewal. */
#define CFG_RENEWED_BEFORE ".before"

/* What stands behind renew.file for the second pair of an RA that has one. */
#define CFG_RENEWED_ENCRYPTION ".encryption"

/* keyUsage bits of an RA's pair, for faults and for CAs (OpenSSL's configuration). */
struct cfg_ra_usage {
    uint32_t need, never;
    const char *expected, *asked;
};
/* What a pair of that role must have. split: the RA has two. */
const struct cfg_ra_usage *cfg_ra_usage(enum cfg_ra_role role, bool split);
bool cfg_ra_usage_suits(const struct cfg_ra_usage *usage, const struct cert *cert);

/* How many pairs the RA has; and one of them, borrowed. */
size_t cfg_ra_pairs(const struct cfg_identity *ra);
struct cfg_pair cfg_ra_pair(const struct cfg_identity *ra, enum cfg_ra_role role);

/* Reads the files of renewed pairs, and of those before them, where they are there. The pair whose
 * certificate begins last becomes the RA's, the others renew.pairs[].former. */
void cfg_renewed_take(struct cfg_identity *ra, struct cfg_faults *faults,
                      const struct cfg_node *node);
void cfg_renewed_clear(struct cfg_identity *ra);

/* Adds a profile for each RA that renews itself, of a configuration without faults. */
void cfg_own_profiles(struct cfg *cfg);

#endif
