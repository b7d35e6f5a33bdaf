/* What is allowed and will not work with some devices. */
#ifndef CONFIG_LINT_H
#define CONFIG_LINT_H

#include "config/config.h"
#include "config/node.h"

/* Adds to warnings what SCEP devices are known to refuse in the RAs of a configuration without
 * faults, and what ends soon. */
void cfg_lint(const struct cfg *cfg, const struct cfg_node *root, struct cfg_faults *warnings);

#endif
