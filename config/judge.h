/* What concerns several keys of one section (the judge of a row, config/table.h). */
#ifndef CONFIG_JUDGE_H
#define CONFIG_JUDGE_H

#include "config/node.h"

/* field: struct cfg_tls, cfg_edge_certificates, cfg_identity, cfg_pair, cfg_next, cfg_keys,
 * cfg_route, cfg_challenge, cfg_scep, cfg_est, cfg_anchor, cfg_profile. */
void cfg_judge_tls(void *field, struct cfg_faults *faults, const struct cfg_node *node);
void cfg_judge_tls_other(void *field, struct cfg_faults *faults, const struct cfg_node *node);
void cfg_judge_edge(void *field, struct cfg_faults *faults, const struct cfg_node *node);
void cfg_judge_ra(void *field, struct cfg_faults *faults, const struct cfg_node *node);
void cfg_judge_encryption(void *field, struct cfg_faults *faults, const struct cfg_node *node);
void cfg_judge_scep(void *field, struct cfg_faults *faults, const struct cfg_node *node);
void cfg_judge_next(void *field, struct cfg_faults *faults, const struct cfg_node *node);
void cfg_judge_keys(void *field, struct cfg_faults *faults, const struct cfg_node *node);
void cfg_judge_match(void *field, struct cfg_faults *faults, const struct cfg_node *node);
void cfg_judge_challenge(void *field, struct cfg_faults *faults, const struct cfg_node *node);
void cfg_judge_est(void *field, struct cfg_faults *faults, const struct cfg_node *node);
void cfg_judge_anchor(void *field, struct cfg_faults *faults, const struct cfg_node *node);
void cfg_judge_profile(void *field, struct cfg_faults *faults, const struct cfg_node *node);

#endif
