#include "config/config.h"

#include "base/pem.h"
#include "config/cross.h"
#include "config/lint.h"
#include "config/renewed.h"
#include "config/schema.h"
#include "config/word.h"

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What cfg_ref and cfg_free count; callers see the first member. */
struct counted {
    struct cfg cfg;
    atomic_int count;
};

static const struct cfg_kind *kind_find(const struct cfg_kinds *kinds, const char *type)
{
    for (size_t i = 0; i < kinds->count; i++) {
        if (strcmp(kinds->items[i]->type, type) == 0)
            return kinds->items[i];
    }
    return NULL;
}

/* "one of local, est" */
static void kinds_form(const struct cfg_kinds *kinds, struct buf *out)
{
    bool room = buf_add_str(out, kinds->count > 1 ? "one of " : "");
    for (size_t i = 0; i < kinds->count && room; i++)
        room = buf_add_fmt(out, "%s%s", i ? ", " : "", kinds->items[i]->type);
}

/* The kind that `type` names; NULL with a fault. */
static const struct cfg_kind *kind_read(const struct cfg_node *node, const struct cfg_kinds *kinds,
                                        struct cfg_faults *faults)
{
    const struct cfg_kind *kind = NULL;
    const struct cfg_node *type = cfg_node_get(node, "type");
    struct buf form = {0};
    kinds_form(kinds, &form);
    if (type && type->kind == CFG_NODE_SCALAR)
        kind = kind_find(kinds, type->text);
    if (!type)
        cfg_fault_key(faults, node, "type", "is missing; expected %s", buf_str(&form));
    else if (!kind && type->kind != CFG_NODE_BAD)
        cfg_fault_value(faults, type, "is no kind of upstream", buf_str(&form));
    buf_free(&form);
    return kind;
}

static void upstream_read(const struct cfg_node *node, const struct cfg_kinds *kinds,
                          struct cfg_upstream *upstream, struct cfg_faults *faults)
{
    upstream->name = mem_strdup(node->key);
    cfg_name_check(node, faults);
    if (node->kind != CFG_NODE_MAP) {
        if (node->kind != CFG_NODE_BAD)
            cfg_fault_key(faults, node, NULL, "is no map; expected one with a type");
        return;
    }
    const struct cfg_kind *kind = kind_read(node, kinds, faults);
    if (!kind)
        return;
    upstream->kind = kind;
    upstream->options = mem_zalloc(kind->options_size);
    cfg_table_fill(kind->keys, node, upstream->options, "type", faults);
    if (kind->judge)
        kind->judge(upstream->options, faults, node);
}

/* Every entry gets its place, also one with faults: index and node go together. */
static void upstreams_read(const struct cfg_node *root, const struct cfg_kinds *kinds,
                           struct cfg *cfg, struct cfg_faults *faults)
{
    const struct cfg_node *node = cfg_node_get(root, "upstreams");
    if (!node || node->kind == CFG_NODE_BAD)
        return;
    if (node->kind != CFG_NODE_MAP || !node->count) {
        cfg_fault_key(faults, node, NULL,
                      "holds no upstream; expected a map of names, each with a "
                      "type");
        return;
    }
    cfg->upstreams = mem_zalloc(node->count * sizeof *cfg->upstreams);
    cfg->upstream_count = node->count;
    for (size_t i = 0; i < node->count; i++)
        upstream_read(node->items[i], kinds, &cfg->upstreams[i], faults);
}

static void tree_read(const struct cfg_node *root, const struct cfg_kinds *kinds, struct cfg *cfg,
                      struct cfg_faults *faults)
{
    if (root->kind != CFG_NODE_MAP) {
        cfg_fault_at(faults, root->line, root->column,
                     "is no map; expected listen, store, "
                     "upstreams, profiles and more");
        return;
    }
    cfg_table_fill(cfg_schema, root, cfg, NULL, faults);
    cfg->tls_given = cfg_node_get(root, "tls");
    cfg->tls.min_version = cfg->tls.min_version ? TLS1_3_VERSION : TLS1_2_VERSION;
    upstreams_read(root, kinds, cfg, faults);
    cfg_cross_resolve(cfg, root, faults);
    cfg_cross_check(cfg, root, faults);
}

static void text_read(struct bytes text, const char *path, const struct cfg_kinds *kinds,
                      struct cfg *cfg, struct cfg_faults *faults)
{
    struct cfg_node *root = cfg_node_parse(text, faults);
    if (root)
        tree_read(root, kinds, cfg, faults);
    if (root && !cfg_faults_count(faults)) {
        struct cfg_faults *warnings = cfg_faults_new(path);
        cfg_lint(cfg, root, warnings);
        cfg_faults_print(warnings, &cfg->warnings);
        cfg_faults_free(warnings);
    }
    cfg->tree = root;
}

static struct cfg *cfg_new(const char *path, const struct cfg_faults *faults)
{
    struct counted *counted = mem_zalloc(sizeof *counted);
    const char *slash = strrchr(path, '/');
    counted->count = 1;
    counted->cfg.written = mem_strdup(path);
    counted->cfg.path = cfg_path_resolve(faults, path[0] == '/' || !slash ? path : slash + 1);
    return &counted->cfg;
}

bool cfg_load_text(struct bytes text, const char *path, const struct cfg_kinds *kinds,
                   struct cfg **ret, struct buf *faults_text)
{
    struct cfg_faults *faults = cfg_faults_new(path);
    struct cfg *cfg = cfg_new(path, faults);
    text_read(text, path, kinds, cfg, faults);
    bool ok = cfg_faults_count(faults) == 0;
    if (ok)
        cfg_own_profiles(cfg);
    cfg_faults_print(faults, faults_text);
    cfg_faults_free(faults);
    if (ok)
        *ret = cfg;
    else
        cfg_free(cfg);
    return ok;
}

bool cfg_load(const char *path, const struct cfg_kinds *kinds, struct cfg **ret,
              struct buf *faults_text)
{
    struct buf text = BUF_INIT(CFG_FILE_MAX);
    struct err err;
    bool ok = pem_file_read(path, CFG_FILE_MAX, &text, &err);
    if (ok)
        ok = cfg_load_text(buf_bytes(&text), path, kinds, ret, faults_text);
    else if (!buf_add_fmt(faults_text, "%s\n", err.text))
        buf_clear(faults_text);
    buf_free(&text);
    return ok;
}

struct cfg *cfg_ref(struct cfg *cfg)
{
    struct counted *counted = (struct counted *)cfg;
    atomic_fetch_add(&counted->count, 1);
    return cfg;
}

static void upstreams_clear(struct cfg *cfg)
{
    for (size_t i = 0; i < cfg->upstream_count; i++) {
        struct cfg_upstream *upstream = &cfg->upstreams[i];
        if (upstream->options)
            cfg_table_clear(upstream->kind->keys, upstream->options);
        free(upstream->options);
        free(upstream->name);
    }
    free(cfg->upstreams);
}

static void anchors_clear(const struct cfg_profile *profile)
{
    for (size_t i = 0; i < profile->anchor_count; i++) {
        struct cfg_anchor *anchor = &profile->anchors[i];
        for (size_t k = 0; anchor->trusts && k < anchor->certificates.count; k++)
            trust_free(anchor->trusts[k]);
        free(anchor->trusts);
    }
}

void cfg_free(struct cfg *cfg)
{
    struct counted *counted = (struct counted *)cfg;
    if (!cfg || atomic_fetch_sub(&counted->count, 1) != 1)
        return;
    for (size_t i = 0; i < cfg->profile_count; i++) {
        for (size_t r = 0; r < cfg->profiles[i].route_count; r++)
            free(cfg->profiles[i].routes[r].pool);
        trust_free(cfg->profiles[i].trust);
        anchors_clear(&cfg->profiles[i]);
        free(cfg->profiles[i].scep.ra);
    }
    trust_free(cfg->edge.certificates.trust);
    upstreams_clear(cfg);
    for (size_t i = 0; i < cfg->ra_count; i++)
        cfg_renewed_clear(&cfg->ras[i]);
    cfg_table_clear(cfg_schema, cfg);
    buf_free(&cfg->warnings);
    cfg_node_free(cfg->tree);
    free(cfg->written);
    free(cfg->path);
    free(counted);
}

const struct cfg_line *cfg_upstream_line(const struct cfg_upstream *upstream)
{
    return upstream->kind && upstream->kind->remote ? upstream->options : NULL;
}

const struct cfg_profile *cfg_profile_get(const struct cfg *cfg, const char *name)
{
    for (size_t i = 0; i < cfg->profile_count; i++) {
        if (strcmp(cfg->profiles[i].name, name) == 0)
            return &cfg->profiles[i];
    }
    return NULL;
}
