/* From path to profile. */
#ifndef GATEWAY_ROUTE_H
#define GATEWAY_ROUTE_H

#include "config/config.h"
#include "est/door.h"

/* The profile whose longest SCEP path this is, or begins at a '/'. Paths with escapes, backslashes
 * or dot segments belong to nobody: what stands in front of us might read them differently. */
const struct cfg_profile *route_scep(const struct cfg *cfg, struct bytes path);

/* An EST path's profile; NULL if it is no EST path or nobody has the label. label "" is the path
 * without one. */
const struct cfg_profile *route_est(const struct cfg *cfg, struct bytes path, enum est_op *op,
                                    char label[EST_LABEL_MAX + 1]);

#endif
