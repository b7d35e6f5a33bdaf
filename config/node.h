/* YAML as a tree of nodes that remember where they stood, and the faults found in it. */
#ifndef CONFIG_NODE_H
#define CONFIG_NODE_H

#include "base/bytes.h"

#define CFG_FILE_MAX ((size_t)1 << 20)
#define CFG_NODES_MAX ((size_t)50000)
#define CFG_DEPTH_MAX ((size_t)32)
#define CFG_MAP_MAX ((size_t)4096) /* keys of one map */
#define CFG_KEY_MAX ((size_t)128)  /* bytes of a map's key */

enum cfg_node_kind {
    CFG_NODE_BAD = 0, /* already reported: whoever meets it says nothing */
    CFG_NODE_SCALAR,
    CFG_NODE_LIST,
    CFG_NODE_MAP,
    CFG_NODE_UNREAD, /* does not outlive the parser */
};

struct cfg_node {
    enum cfg_node_kind kind;
    const struct cfg_node *parent; /* NULL at the root */
    size_t line, column;           /* from 1 */
    size_t index;                  /* which item of a list it is, from 0 */
    char *key;                     /* below a map; else NULL */
    size_t key_line, key_column;
    char *text;              /* CFG_NODE_SCALAR: UTF-8 */
    bool quoted;             /* CFG_NODE_SCALAR: written in any style but plain */
    struct cfg_node **items; /* CFG_NODE_LIST; CFG_NODE_MAP: the values, keys unique */
    size_t count;
    bool duplicate; /* its key occurred before; does not outlive the parser */
};

/* What is wrong with one file. */
struct cfg_faults;

/* path: of the file, as the operator wrote it: begins every fault; relative names in the file are
 * relative to its folder. */
struct cfg_faults *cfg_faults_new(const char *path) MUST_USE;
void cfg_faults_free(struct cfg_faults *faults);
size_t cfg_faults_count(const struct cfg_faults *faults);
/* Every fault, a line each, in the order of the file. */
void cfg_faults_print(const struct cfg_faults *faults, struct buf *out);
/* A name written in the file as an absolute path that the caller frees. */
char *cfg_path_resolve(const struct cfg_faults *faults, const char *name) MUST_USE;

/* "FILE:LINE:COLUMN: key.path: " and the text, which says what is wrong and what was expected. For
 * a judge: no secret may be in it. Control characters are escaped. */
void cfg_fault(struct cfg_faults *faults, const struct cfg_node *node, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* The same at the node's own key (if it has one): for what concerns the whole node. child, or NULL,
 * is the name of a key that is not in the node and should be. */
void cfg_fault_key(struct cfg_faults *faults, const struct cfg_node *node, const char *child,
                   const char *fmt, ...) PRINTF_LIKE(4, 5);
/* A value that will not do: "WHAT ("value"); expected FORM". The value is cut short, and left out
 * if it looks like a private key; expected may be NULL. */
void cfg_fault_value(struct cfg_faults *faults, const struct cfg_node *node, const char *what,
                     const char *expected);
/* Where there is no node: syntax, or the file itself. */
void cfg_fault_at(struct cfg_faults *faults, size_t line, size_t column, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* "lab, plant": the names of a map's entries, for faults. */
void cfg_node_names(const struct cfg_node *map, struct buf *out);

/* One YAML document, at most CFG_FILE_MAX bytes. Anchors, aliases, tags, keys that are not text,
 * keys that occur twice and further documents are faults. NULL if no tree could be made (then there
 * is at least one fault); a tree may come with faults. */
struct cfg_node *cfg_node_parse(struct bytes text, struct cfg_faults *faults) MUST_USE;
void cfg_node_free(struct cfg_node *node); /* NULL is allowed */

/* The value under a key; NULL if there is none, or node is NULL or no map. */
const struct cfg_node *cfg_node_get(const struct cfg_node *node, const char *key);
/* A scalar that is written as nothing at all ("key:"). */
bool cfg_node_is_empty(const struct cfg_node *node);

#endif
