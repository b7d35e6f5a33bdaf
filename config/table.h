/* The tables that describe the configuration: one row per key. Loader, reference page and JSON
 * Schema all read them, so they cannot drift. */
#ifndef CONFIG_TABLE_H
#define CONFIG_TABLE_H

#include "config/config.h"
#include "config/node.h"

enum cfg_type {
    CFG_STRING = 0, /* char * */
    CFG_BOOL,       /* bool */
    CFG_INT,        /* int64_t within min..max */
    CFG_DURATION,   /* int64_t seconds within min..max */
    CFG_SIZE,       /* int64_t bytes within min..max */
    CFG_ENUM,       /* int, one of words (in their order) */
    CFG_STRINGS,    /* struct cfg_strings, each one of words if there are any; no two equal */
    CFG_CERT_FILE,  /* struct cfg_certs: a PEM file with one or more certificates */
    CFG_CERT_FILES, /* struct cfg_certs: a list of such files */
    CFG_KEY_FILE,   /* EVP_PKEY *: a PEM private key that only its owner can read */
    CFG_SECRET,     /* struct buf: a file with one secret, guarded alike; a NUL is behind it */
    CFG_SECTION,    /* an embedded struct, its keys in sub */
    CFG_LIST,       /* an array of structs and its count: a list of sections */
    CFG_MAP,        /* the same: a map of names to sections; the struct begins with char *name */
    CFG_CUSTOM,     /* read does it; without read the loader does it elsewhere */
};

/* For a key that is judged and not kept. */
#define CFG_NO_FIELD SIZE_MAX

struct cfg_key {
    const char *name; /* NULL ends the table */
    enum cfg_type type;
    bool required;
    size_t offset;    /* into the struct that the table fills */
    int64_t min, max; /* numbers: the range, both 0: any from 0; lists: at least min items */
    const char *def;  /* as it would be written, or NULL: zero */
    const char *const *words;  /* CFG_ENUM, CFG_STRINGS: ends with NULL */
    const struct cfg_key *sub; /* CFG_SECTION, CFG_LIST, CFG_MAP */
    const char *meaning;       /* one sentence for the reference */
    const char *form;          /* how it is written ("a path such as /x"); CFG_STRINGS: one item */
    const char *json;          /* CFG_CUSTOM: its JSON Schema */
    size_t count_offset;       /* CFG_LIST, CFG_MAP: of the size_t that counts the items */
    size_t item_size;          /* CFG_LIST, CFG_MAP */
    /* CFG_STRING, items of CFG_STRINGS: what is wrong with it ("is no path"), or NULL if nothing.
     * May set *stored to what is kept instead, allocated. May be NULL. */
    const char *(*check)(const char *text, char **stored);
    /* CFG_CUSTOM. False: there is a fault. */
    bool (*read)(const struct cfg_node *node, void *field, struct cfg_faults *faults);
    void (*clear)(void *field); /* CFG_CUSTOM: frees what read allocated; also if it did not run */
    /* CFG_SECTION, items of CFG_LIST and CFG_MAP that are written: what concerns several keys. */
    void (*judge)(void *field, struct cfg_faults *faults, const struct cfg_node *node);
};

/* The rows that every kind of upstream begins with whose CA is asked over a network. */
extern const struct cfg_key cfg_line_limits[], cfg_line_breaker[];
#define CFG_LINE_KEYS                                                                              \
    {.name = "limits",                                                                             \
     .type = CFG_SECTION,                                                                          \
     .offset = 0,                                                                                  \
     .sub = cfg_line_limits,                                                                       \
     .meaning = "How much is asked of the CA."},                                                   \
    {                                                                                              \
        .name = "breaker", .type = CFG_SECTION, .offset = 0, .sub = cfg_line_breaker,              \
        .meaning = "When a CA that fails is left alone."                                           \
    }

/* Fills the zeroed struct at base from a map; node NULL fills in the defaults only. A key named
 * `also` (or NULL) is somebody else's and not unknown. */
void cfg_table_fill(const struct cfg_key *keys, const struct cfg_node *node, void *base,
                    const char *also, struct cfg_faults *faults);
/* Frees what cfg_table_fill allocated inside the struct. */
void cfg_table_clear(const struct cfg_key *keys, void *base);

/* The fault if a map's entry has a key that cannot be a name: names stand in logs and rows. */
void cfg_name_check(const struct cfg_node *node, struct cfg_faults *faults);

/* How the key is written, for a fault or the reference: "a duration from 1m to 30d". */
void cfg_key_form(const struct cfg_key *key, struct buf *out);

/* For a judge: the fault if the command, unless it is empty, begins with anything but a program's
 * absolute path. node: the list that its words were read from. */
void cfg_judge_command(const struct cfg_strings *command, const struct cfg_node *node,
                       struct cfg_faults *faults);

/* For a judge: a fault for each certificate of the chain that did not issue leaf or one before it.
 * node: the list that the chain was read from. */
void cfg_judge_chain(const struct cert *leaf, const struct cfg_certs *chain,
                     const struct cfg_node *node, struct cfg_faults *faults);

/* For a judge: the fault if the key is not that of the first certificate. node is the section with
 * `key` in it. True if chain and key are there and belong together. */
bool cfg_judge_pair(const struct cfg_certs *chain, const EVP_PKEY *key, const struct cfg_node *node,
                    struct cfg_faults *faults);

#endif
