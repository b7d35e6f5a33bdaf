/* The tables that describe the configuration: one row per key. Loader, reference page and JSON
 * Schema all read them, so they cannot drift. */
#ifndef CONFIG_TABLE_H
#define CONFIG_TABLE_H

#include "base/bytes.h"

enum cfg_type {
    CFG_STRING = 0, /* char * */
    CFG_BOOL,       /* bool */
    CFG_INT,        /* int64_t within min..max */
    CFG_DURATION,   /* int64_t seconds within min..max */
    CFG_SIZE,       /* int64_t bytes within min..max */
    CFG_ENUM,       /* int, one of words (in their order) */
    CFG_STRINGS,    /* struct cfg_strings */
    CFG_CERT_FILE,  /* struct cfg_certs: a PEM file with one or more certificates */
    CFG_CERT_FILES, /* struct cfg_certs: a list of such files */
    CFG_KEY_FILE,   /* EVP_PKEY *: a PEM private key that only its owner can read */
    CFG_SECTION,    /* an embedded struct, its keys in sub */
    CFG_CUSTOM,     /* read does it */
};

struct cfg_node;   /* config/node.h: a YAML node that remembers file, line and column */
struct cfg_faults; /* config/node.h */

struct cfg_key {
    const char *name; /* NULL ends the table */
    enum cfg_type type;
    size_t offset; /* into the struct that the table fills */
    bool required;
    int64_t min, max;          /* for numbers; both 0: any from 0 */
    const char *def;           /* as it would be written, or NULL */
    const char *const *words;  /* CFG_ENUM: ends with NULL */
    const struct cfg_key *sub; /* CFG_SECTION */
    const char *meaning;       /* one sentence for the reference */
    const char *form;          /* CFG_CUSTOM and others: how it is written, for the reference */
    bool (*read)(const struct cfg_node *node, void *field, struct cfg_faults *faults);
};

#endif
