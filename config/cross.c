#include "config/cross.h"

#include "base/clock.h"
#include "config/word.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTENERS_MAX 192
#define NEAR_MAX 256

/* A listener's URL and where it is written. */
struct listener {
    const struct cfg_url *url;
    const struct cfg_node *node;
};

static const struct cfg_node *list_get(const struct cfg_node *node, const char *key)
{
    const struct cfg_node *list = cfg_node_get(node, key);
    return list && list->kind == CFG_NODE_LIST ? list : NULL;
}

static bool is_text(const struct cfg_node *node)
{
    return node->kind == CFG_NODE_SCALAR && !cfg_node_is_empty(node);
}

/* Which entry of the map has the name that stands in the node. */
static bool name_find(const struct cfg_node *map, const struct cfg_node *name, size_t *ret)
{
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->items[i]->key, name->text) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static void fault_name(const struct cfg_node *map, const struct cfg_node *name, const char *what,
                       struct cfg_faults *faults)
{
    const char *names[NEAR_MAX];
    size_t count = 0;
    for (; count < map->count && count < NEAR_MAX; count++)
        names[count] = map->items[count]->key;
    const char *near = cfg_word_near(name->text, names, count);
    struct buf expected = {0};
    bool room = near ? buf_add_str(&expected, near) : buf_add_str(&expected, "one of ");
    if (room && !near)
        cfg_node_names(map, &expected);
    cfg_fault_value(faults, name, what, buf_str(&expected));
    buf_free(&expected);
}

/* The entry of a map that a node names; false with a fault. noun: "an upstream". */
static bool resolve(const struct cfg_node *map, const struct cfg_node *name, const char *noun,
                    size_t *ret, struct cfg_faults *faults)
{
    char what[32];
    bool found = is_text(name) && name_find(map, name, ret);
    snprintf(what, sizeof what, "is no %s", strchr(noun, ' ') + 1);
    if (!is_text(name) && name->kind != CFG_NODE_BAD)
        cfg_fault_key(faults, name, NULL, "names nothing; expected the name of %s", noun);
    else if (!found && name->kind != CFG_NODE_BAD)
        fault_name(map, name, what, faults);
    return found;
}

/* The upstream that a node names; false with a fault. */
static bool resolve_upstream(const struct cfg_node *upstreams, const struct cfg_node *name,
                             size_t *ret, struct cfg_faults *faults)
{
    return resolve(upstreams, name, "an upstream", ret, faults);
}

/* A route's upstream: a name, or a list of names whose later ones take the place of the first. */
static void resolve_pool(struct cfg_route *route, const struct cfg_node *at,
                         const struct cfg_node *upstreams, struct cfg_faults *faults)
{
    bool list = at->kind == CFG_NODE_LIST && at->count;
    size_t count = list ? at->count : 1, index;
    route->pool = mem_zalloc(count * sizeof *route->pool);
    for (size_t i = 0; i < count; i++) {
        const struct cfg_node *name = list ? at->items[i] : at;
        bool twice = false;
        if (!resolve_upstream(upstreams, name, &index, faults))
            continue;
        for (size_t k = 0; k < route->pool_count && !twice; k++)
            twice = route->pool[k] == index;
        if (twice)
            cfg_fault_value(faults, name, "occurs twice", NULL);
        else
            route->pool[route->pool_count++] = index;
    }
    if (route->pool_count)
        route->upstream = route->pool[0];
}

static void resolve_routes(struct cfg_profile *profile, const struct cfg_node *node,
                           const struct cfg_node *upstreams, struct cfg_faults *faults)
{
    const struct cfg_node *routes = list_get(node, "routes");
    const struct cfg_node *migrate = cfg_node_get(node, "migrate_to");
    for (size_t i = 0; i < profile->route_count; i++) {
        const struct cfg_node *at = cfg_node_get(routes->items[i], "upstream");
        if (at)
            resolve_pool(&profile->routes[i], at, upstreams, faults);
    }
    if (migrate)
        profile->migrate = resolve_upstream(upstreams, migrate, &profile->migrate_to, faults);
}

static bool index_is_new(const struct cfg_scep *scep, size_t index)
{
    for (size_t i = 0; i < scep->ra_count; i++) {
        if (scep->ra[i] == index)
            return false;
    }
    return true;
}

static void resolve_ra(struct cfg_scep *scep, const struct cfg_node *item,
                       const struct cfg_node *ras, struct cfg_faults *faults)
{
    size_t index;
    if (!is_text(item)) {
        if (item->kind != CFG_NODE_BAD)
            cfg_fault(faults, item, "is no name; expected an entry of ra");
    } else if (!name_find(ras, item, &index)) {
        fault_name(ras, item, "is no entry of ra", faults);
    } else if (!index_is_new(scep, index)) {
        cfg_fault_value(faults, item, "occurs twice", NULL);
    } else {
        scep->ra[scep->ra_count++] = index;
    }
}

static void resolve_ras(struct cfg_profile *profile, const struct cfg_node *node,
                        const struct cfg_node *ras, struct cfg_faults *faults)
{
    const struct cfg_node *list = cfg_node_get(cfg_node_get(node, "scep"), "ra");
    if (!list || list->kind == CFG_NODE_BAD)
        return;
    if (list->kind != CFG_NODE_LIST || !list->count) {
        cfg_fault_key(faults, list, NULL, "%s; expected a list of names of entries of ra",
                      list->kind == CFG_NODE_LIST ? "holds nothing" : "is no list");
        return;
    }
    if (!ras || ras->kind != CFG_NODE_MAP || !ras->count) {
        if (!ras || ras->kind == CFG_NODE_MAP)
            cfg_fault(faults, list,
                      "names entries of ra, and there are none; expected a section "
                      "ra in the file");
        return;
    }
    if (list->count > CFG_SCEP_RAS_MAX) {
        cfg_fault_key(faults, list, NULL, "holds %zu names; expected at most %d", list->count,
                      CFG_SCEP_RAS_MAX);
        return;
    }
    profile->scep.ra = mem_zalloc(list->count * sizeof(size_t));
    for (size_t i = 0; i < list->count; i++)
        resolve_ra(&profile->scep, list->items[i], ras, faults);
}

/* Devices must be told what to encrypt to. */
static void check_told(const struct cfg *cfg, const struct cfg_scep *scep,
                       const struct cfg_node *node, struct cfg_faults *faults)
{
    bool there = false;
    for (size_t i = 0; i < scep->told.count; i++)
        there = there || scep->told.order[i] == CFG_TOLD_ENCRYPTION;
    if (scep->told.count && !there && scep->ra_count &&
        cfg->ras[scep->ra[0]].encryption.chain.count)
        cfg_fault(faults, cfg_node_get(node, "getcacert"),
                  "leaves out encryption, and the first RA has such a pair; expected it");
}

/* The CA to come. Its RA tells who asks for it, so it cannot be one of those of today. */
static void resolve_next(struct cfg_scep *scep, const struct cfg_node *node,
                         const struct cfg_node *root, struct cfg_faults *faults)
{
    const struct cfg_node *upstreams = cfg_node_get(root, "upstreams");
    const struct cfg_node *ras = cfg_node_get(root, "ra");
    const struct cfg_node *upstream = cfg_node_get(node, "upstream"),
                          *ra = cfg_node_get(node, "ra");
    struct cfg_next *next = &scep->next;
    if (upstream && upstreams && upstreams->kind == CFG_NODE_MAP && upstreams->count)
        next->upstream_given = resolve_upstream(upstreams, upstream, &next->upstream, faults);
    if (ra && ras && ras->kind == CFG_NODE_MAP && ras->count)
        next->ra_given = resolve(ras, ra, "an entry of ra", &next->ra, faults);
    if (next->ra_given && !index_is_new(scep, next->ra))
        cfg_fault_value(faults, ra, "is among the RAs of today", "another entry of ra");
}

static bool same_file(const struct cfg_identity *a, const struct cfg_identity *b)
{
    for (size_t i = 0; i < CFG_RA_ROLES; i++)
        for (size_t k = 0; k < CFG_RA_ROLES; k++)
            if (a->renew.pairs[i].file && b->renew.pairs[k].file &&
                strcmp(a->renew.pairs[i].file, b->renew.pairs[k].file) == 0)
                return true;
    return false;
}

/* One would become the other, and its key would be lost. */
static void check_files(const struct cfg *cfg, const struct cfg_node *ras,
                        struct cfg_faults *faults)
{
    for (size_t i = 0; i < cfg->ra_count; i++)
        for (size_t k = 0; k < i; k++)
            if (same_file(&cfg->ras[i], &cfg->ras[k]))
                cfg_fault(faults, cfg_node_get(cfg_node_get(ras->items[i], "renew"), "file"),
                          "is where %s keeps a renewed pair; expected another name",
                          cfg->ras[k].name);
}

/* The CAs that RAs ask for their own certificates. */
static void resolve_renewals(struct cfg *cfg, const struct cfg_node *root,
                             struct cfg_faults *faults)
{
    const struct cfg_node *ras = cfg_node_get(root, "ra");
    const struct cfg_node *upstreams = cfg_node_get(root, "upstreams");
    for (size_t i = 0; i < cfg->ra_count; i++) {
        const struct cfg_node *at = cfg_node_get(cfg_node_get(ras->items[i], "renew"), "upstream");
        if (at && upstreams && upstreams->kind == CFG_NODE_MAP && upstreams->count)
            (void)resolve_upstream(upstreams, at, &cfg->ras[i].renew.upstream, faults);
    }
    check_files(cfg, ras, faults);
}

static void resolve_signer(struct cfg_profile *profile, const struct cfg_node *node,
                           const struct cfg_node *ras, struct cfg_faults *faults)
{
    const struct cfg_node *name = cfg_node_get(cfg_node_get(node, "est"), "signer");
    if (!name || name->kind == CFG_NODE_BAD)
        return;
    if (!is_text(name) || !ras || ras->kind != CFG_NODE_MAP)
        cfg_fault_key(faults, name, NULL, "names nothing; expected an entry of ra");
    else if (!name_find(ras, name, &profile->est.signer))
        fault_name(ras, name, "is no entry of ra", faults);
    else
        profile->est.signer_given = true;
}

void cfg_cross_resolve(struct cfg *cfg, const struct cfg_node *root, struct cfg_faults *faults)
{
    resolve_renewals(cfg, root, faults);
    const struct cfg_node *profiles = cfg_node_get(root, "profiles");
    const struct cfg_node *upstreams = cfg_node_get(root, "upstreams");
    for (size_t i = 0; i < cfg->profile_count; i++) {
        const struct cfg_node *node = profiles->items[i];
        if (upstreams && upstreams->kind == CFG_NODE_MAP && upstreams->count)
            resolve_routes(&cfg->profiles[i], node, upstreams, faults);
        resolve_ras(&cfg->profiles[i], node, cfg_node_get(root, "ra"), faults);
        check_told(cfg, &cfg->profiles[i].scep, cfg_node_get(node, "scep"), faults);
        resolve_next(&cfg->profiles[i].scep, cfg_node_get(cfg_node_get(node, "scep"), "next"), root,
                     faults);
        resolve_signer(&cfg->profiles[i], node, cfg_node_get(root, "ra"), faults);
    }
}

static size_t listeners_add(const struct cfg_urls *urls, const struct cfg_node *list,
                            struct listener *all, size_t count)
{
    for (size_t i = 0; i < urls->count && count < LISTENERS_MAX; i++) {
        if (urls->items[i].host)
            all[count++] = (struct listener){&urls->items[i], list->items[i]};
    }
    return count;
}

static bool same_socket(const struct cfg_url *a, const struct cfg_url *b)
{
    if (a->local || b->local)
        return a->local && b->local && strcmp(a->host, b->host) == 0;
    bool a6 = strchr(a->host, ':'), b6 = strchr(b->host, ':');
    const char *any = a6 ? "::" : "0.0.0.0";
    return a->port == b->port && a6 == b6 &&
           (strcmp(a->host, b->host) == 0 || strcmp(a->host, any) == 0 ||
            strcmp(b->host, any) == 0);
}

/* Whether nobody is between the peer and a listener here. */
static bool is_near(const struct cfg_url *url)
{
    return url->local || strncmp(url->host, "127.", 4) == 0 || strcmp(url->host, "::1") == 0;
}

/* Certificates are proved by TLS; without it, an edge must say that it did so, and by a way on
 * which nobody else can. */
static void check_est(const struct cfg *cfg, const struct cfg_node *listen,
                      struct cfg_faults *faults)
{
    const struct cfg_node *list = list_get(listen, "est");
    for (size_t i = 0; list && i < cfg->listen.est.count; i++) {
        const struct cfg_url *url = &cfg->listen.est.items[i];
        if (!url->host || url->tls)
            continue;
        if (!cfg->edge.client_cert.count)
            cfg_fault_value(faults, list->items[i], "is not https",
                            "https, or an edge in front (edge.client_cert)");
        else if (!is_near(url))
            cfg_fault_value(faults, list->items[i], "is not https",
                            "https and edge.certificates, or a unix socket or loopback address");
    }
}

/* A certificate that chains to an edge's anchors is an edge's if it has the name: devices, who may
 * get names, must not have such. */
static void check_apart(const struct cfg *cfg, const struct cfg_certs *certs, const char *profile,
                        const struct cfg_node *at, struct cfg_faults *faults)
{
    const struct trust_terms terms = {.at = clock_now(), .ignore_expiry = true};
    struct err ignored;
    for (size_t i = 0; i < certs->count; i++)
        if (trust_check(cfg->edge.certificates.trust, certs->items[i], &terms, &ignored))
            cfg_fault_key(faults, at, NULL,
                          "is trusted for devices, too (\"%s\" in profile %s); expected CAs that "
                          "issue to edges alone",
                          cert_names_get(certs->items[i])->subject_text, profile);
}

static void check_edges(const struct cfg *cfg, const struct cfg_node *root,
                        struct cfg_faults *faults)
{
    const struct cfg_node *node = cfg_node_get(cfg_node_get(root, "edge"), "certificates");
    const struct cfg_node *at = cfg_node_get(node, "trust");
    bool tls = false;
    for (size_t i = 0; i < cfg->listen.est.count; i++)
        tls = tls || cfg->listen.est.items[i].tls || !cfg->listen.est.items[i].host;
    if (node && !tls && cfg->listen.est.count)
        cfg_fault_key(faults, node, NULL, "is not used; expected an https listener in listen.est");
    for (size_t i = 0; i < cfg->profile_count && cfg->edge.certificates.trust; i++) {
        const struct cfg_profile *profile = &cfg->profiles[i];
        check_apart(cfg, &profile->trust_certs, profile->name, at, faults);
        for (size_t k = 0; k < profile->anchor_count; k++) {
            check_apart(cfg, &profile->anchors[k].certificates, profile->name, at, faults);
            check_apart(cfg, &profile->anchors[k].intermediates, profile->name, at, faults);
        }
    }
}

/* A connection that nothing can be bound to, because TLS ends before us, gets nothing issued. */
static void check_bindings(const struct cfg *cfg, const struct cfg_node *profiles,
                           struct cfg_faults *faults)
{
    bool tls = !cfg->listen.est.count;
    for (size_t i = 0; i < cfg->listen.est.count; i++)
        tls = tls || cfg->listen.est.items[i].tls || !cfg->listen.est.items[i].host;
    for (size_t i = 0; i < cfg->profile_count && !tls; i++)
        if (cfg->profiles[i].est.binding == CFG_BINDING_REQUIRED)
            cfg_fault_key(faults, cfg_node_get(cfg_node_get(profiles->items[i], "est"), "binding"),
                          NULL,
                          "is required and TLS ends before us; expected an https listener in "
                          "listen.est");
}

/* Full CMC replies and encrypted keys are signed, by the TLS server if nobody else is named. */
static void check_signers(const struct cfg *cfg, const struct cfg_node *profiles,
                          struct cfg_faults *faults)
{
    int kind = cfg->tls.identity.key ? EVP_PKEY_get_base_id(cfg->tls.identity.key) : EVP_PKEY_NONE;
    bool signs = kind == EVP_PKEY_RSA || kind == EVP_PKEY_EC;
    if (cfg->tls_given && !cfg->tls.identity.key)
        return; /* it has a fault of its own */
    for (size_t i = 0; i < cfg->profile_count && !signs; i++) {
        const struct cfg_node *est = cfg_node_get(profiles->items[i], "est");
        const struct cfg_est *conf = &cfg->profiles[i].est;
        bool keygen = conf->keygen != CFG_KEYGEN_OFF;
        if ((keygen || conf->fullcmc != CFG_FULLCMC_OFF) && !cfg_node_get(est, "signer"))
            cfg_fault_key(
                faults, cfg_node_get(est, keygen ? "keygen" : "fullcmc"), NULL,
                "has nothing to sign with; expected signer, or tls with an RSA or EC key");
    }
}

static void check_listeners(const struct cfg *cfg, const struct cfg_node *listen,
                            struct cfg_faults *faults)
{
    struct listener all[LISTENERS_MAX];
    size_t count = listeners_add(&cfg->listen.scep, cfg_node_get(listen, "scep"), all, 0);
    count = listeners_add(&cfg->listen.est, cfg_node_get(listen, "est"), all, count);
    count = listeners_add(&cfg->listen.admin, cfg_node_get(listen, "admin"), all, count);
    bool told = cfg->tls_given;
    for (size_t i = 0; i < count; i++) {
        bool used = false;
        for (size_t j = 0; j < i && !used; j++)
            used = same_socket(all[i].url, all[j].url);
        if (used)
            cfg_fault_value(faults, all[i].node, "has a port that is used already", "another port");
        if (all[i].url->tls && !told)
            cfg_fault_value(faults, all[i].node, "needs a certificate",
                            "a section tls in the file");
        told = told || all[i].url->tls;
    }
}

/* A door of a profile without a listener, or a listener without a profile behind it. */
static void check_door(const struct cfg_node *root, const char *door, struct cfg_faults *faults)
{
    const struct cfg_node *listen = cfg_node_get(root, "listen");
    const struct cfg_node *profiles = cfg_node_get(root, "profiles");
    const struct cfg_node *listener = cfg_node_get(listen, door);
    bool used = false;
    if (!listen || listen->kind != CFG_NODE_MAP || !profiles || profiles->kind != CFG_NODE_MAP)
        return;
    for (size_t i = 0; i < profiles->count; i++) {
        const struct cfg_node *at = cfg_node_get(profiles->items[i], door);
        if (at && !listener)
            cfg_fault_key(faults, at, NULL, "has no listener; expected listen.%s", door);
        used = used || at;
    }
    if (listener && !used && profiles->count)
        cfg_fault_key(faults, listener, NULL, "serves no profile; expected one with %s", door);
}

/* Which profile before this one has the text in that list of that section; NULL: none. */
static const char *taken_by(const struct cfg_node *profiles, size_t before,
                            const char *const way[2], const char *text)
{
    for (size_t i = 0; i < before; i++) {
        const struct cfg_node *list = list_get(cfg_node_get(profiles->items[i], way[0]), way[1]);
        for (size_t j = 0; list && j < list->count; j++) {
            const struct cfg_node *item = list->items[j];
            if (item->kind == CFG_NODE_SCALAR && strcmp(item->text, text) == 0)
                return profiles->items[i]->key;
        }
    }
    return NULL;
}

/* An URL leads to one profile. */
static void check_unique(const struct cfg_node *profiles, const char *const way[2],
                         struct cfg_faults *faults)
{
    for (size_t i = 0; i < profiles->count; i++) {
        const struct cfg_node *list = list_get(cfg_node_get(profiles->items[i], way[0]), way[1]);
        for (size_t j = 0; list && j < list->count; j++) {
            const struct cfg_node *item = list->items[j];
            const char *other =
                item->kind == CFG_NODE_SCALAR ? taken_by(profiles, i, way, item->text) : NULL;
            if (other)
                cfg_fault(faults, item,
                          "belongs to the profile %s already (\"%s\"); expected one "
                          "that no profile has",
                          other, item->text);
        }
    }
}

void cfg_cross_check(const struct cfg *cfg, const struct cfg_node *root, struct cfg_faults *faults)
{
    static const char *const paths[2] = {"scep", "paths"}, *const labels[2] = {"est", "labels"};
    const struct cfg_node *listen = cfg_node_get(root, "listen");
    const struct cfg_node *profiles = cfg_node_get(root, "profiles");
    if (listen && listen->kind == CFG_NODE_MAP) {
        if (!cfg_node_get(listen, "scep") && !cfg_node_get(listen, "est"))
            cfg_fault_key(faults, listen, NULL, "opens no door; expected scep, est or both");
        check_listeners(cfg, listen, faults);
        check_est(cfg, listen, faults);
        check_edges(cfg, root, faults);
    }
    check_door(root, "scep", faults);
    check_door(root, "est", faults);
    if (profiles && profiles->kind == CFG_NODE_MAP) {
        check_unique(profiles, paths, faults);
        check_unique(profiles, labels, faults);
        check_bindings(cfg, profiles, faults);
        check_signers(cfg, profiles, faults);
    }
}
