/* The tables of the whole file. */
#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include "config/table.h"

/* struct cfg. The rows listen, tls, ... in the order of the reference. */
extern const struct cfg_key cfg_schema[];

/* Its sections about what comes before a profile is known. */
extern const struct cfg_key cfg_listen_keys[], cfg_tls_keys[], cfg_limits_keys[], cfg_edge_keys[];

/* One entry of ra: struct cfg_identity. */
extern const struct cfg_key cfg_ra_keys[];

/* How a profile is reached: struct cfg_scep, struct cfg_est. */
extern const struct cfg_key cfg_scep_keys[], cfg_est_keys[];

/* Certificates that the gateway did not issue: struct cfg_anchor. */
extern const struct cfg_key cfg_anchor_keys[];

/* The JSON Schema of a list of two or three words, and of a file's name. */
#define JSON_WORDS(a, b) JSON_LIST("\"" a "\", \"" b "\"")
#define JSON_WORDS3(a, b, c) JSON_LIST("\"" a "\", \"" b "\", \"" c "\"")
#define JSON_LIST(words)                                                                           \
    "{\"type\": \"array\", \"minItems\": 1, \"items\": {\"enum\": [" words "]}}"
#define JSON_FILE "{\"type\": \"string\"}"

#endif
