/* The tables of the whole file. */
#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include "config/table.h"

/* struct cfg. The rows listen, tls, ... in the order of the reference. */
extern const struct cfg_key cfg_schema[];

/* Its sections about what comes before a profile is known. */
extern const struct cfg_key cfg_listen_keys[], cfg_tls_keys[], cfg_limits_keys[], cfg_edge_keys[];

#endif
