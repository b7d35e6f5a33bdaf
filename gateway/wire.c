#include "gateway/wire.h"

#include "base/clock.h"
#include "config/node.h"
#include "gateway/upstream/acme.h"
#include "gateway/upstream/cmp.h"
#include "gateway/upstream/ejbca.h"
#include "gateway/upstream/est.h"
#include "gateway/upstream/exec.h"
#include "gateway/upstream/local.h"
#include "gateway/upstream/scep.h"
#include "gateway/upstream/stepca.h"
#include "gateway/upstream/vault.h"
#include "gateway/wire_challenge.h"
#include "scep/door.h"

#include <string.h>

/* A kind stands here and nowhere else. */
static const struct cfg_kind *const kinds[] = {&local_kind, &est_kind,    &scep_kind,
                                               &cmp_kind,   &acme_kind,   &vault_kind,
                                               &ejbca_kind, &stepca_kind, &exec_kind};
static const struct upstream_vt *const vts[] = {&local_vt, &est_vt,   &scep_vt,   &cmp_vt, &acme_vt,
                                                &vault_vt, &ejbca_vt, &stepca_vt, &exec_vt};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

const struct cfg_kinds *wire_kinds(void)
{
    static const struct cfg_kinds list = {kinds, COUNT(kinds)};
    return &list;
}

void wire_kind_names(struct buf *out)
{
    bool room = true;
    for (size_t i = 0; i < COUNT(vts) && room; i++)
        room = buf_add_fmt(out, "%s%s", i ? " " : "", vts[i]->type);
}

const struct upstream_vt *wire_vt(const struct cfg_kind *kind)
{
    for (size_t i = 0; i < COUNT(vts); i++)
        if (strcmp(vts[i]->type, kind->type) == 0)
            return vts[i];
    return NULL;
}

/* One profile that is checked, and where it stands. */
struct check {
    const struct ra_settings *settings;
    const struct cfg_profile *profile;
    const struct cfg_node *node;
    struct cfg_faults *faults;
};

/* What an upstream CA issues has to chain to the trust of each profile that it issues for:
 * otherwise every request would end SUSPECT, with its challenge spent. A CA that cannot say its
 * chain now is judged by what it issues. */
static void check_trust(const struct check *check, size_t upstream, const struct cfg_node *at)
{
    struct upstream *up = check->settings->upstreams[upstream];
    const struct cfg_certs *chain = NULL;
    struct trust_terms terms = {.at = clock_now(), .ignore_expiry = true};
    struct err err;
    if (!up->vt->chain || !up->vt->chain(up, &chain, &err) || !chain || !chain->count)
        return;
    terms.extra = chain->items;
    terms.extra_count = chain->count;
    if (!trust_check(check->profile->trust, chain->items[0], &terms, &err))
        cfg_fault(check->faults, at,
                  "upstream %s does not chain to the trust of profile %s: %s; expected its root "
                  "in trust",
                  up->name, check->profile->name, err.text);
}

/* A profile whose revocations have to reach the CA goes to CAs that can be told. */
static void check_revoke(const struct check *check, size_t upstream)
{
    const struct upstream *up = check->settings->upstreams[upstream];
    if (check->profile->revoke == CFG_REVOKE_UPSTREAM && !(up->vt->caps & (UP_REVOKE | UP_INLINE)))
        cfg_fault(check->faults, cfg_node_get(check->node, "revoke"),
                  "is upstream, and upstream %s cannot be told of a revocation (type %s); "
                  "expected local",
                  up->name, up->vt->type);
}

/* at: where the profile names the upstream. */
static void check_upstream(const struct check *check, size_t upstream, const struct cfg_node *at)
{
    check_trust(check, upstream, at);
    check_revoke(check, upstream);
}

static void check_route(const struct check *check, size_t index)
{
    const struct cfg_route *route = &check->profile->routes[index];
    const struct cfg_node *at =
        cfg_node_get(cfg_node_get(check->node, "routes")->items[index], "upstream");
    for (size_t i = 0; i < route->pool_count; i++)
        check_upstream(check, route->pool[i], at->kind == CFG_NODE_LIST ? at->items[i] : at);
}

static void check_profile(const struct check *check)
{
    const struct cfg_profile *profile = check->profile;
    const struct cfg_next *next = &profile->scep.next;
    const struct cfg_node *scep = cfg_node_get(check->node, "scep");
    struct err err;
    for (size_t i = 0; i < profile->route_count; i++)
        check_route(check, i);
    if (profile->migrate)
        check_upstream(check, profile->migrate_to, cfg_node_get(check->node, "migrate_to"));
    if (next->upstream_given)
        check_upstream(check, next->upstream, cfg_node_get(cfg_node_get(scep, "next"), "upstream"));
    wire_challenge_check(check->settings, profile, check->node, check->faults);
    if (!scep_door_check(profile, &err))
        cfg_fault(check->faults, cfg_node_get(scep, "legacy"), "%s", err.text);
}

/* An RA's own profile has one upstream, where its renewals go. */
static void check_renewals(const struct check *check)
{
    const struct cfg *cfg = check->settings->cfg;
    const struct cfg_node *ras = cfg_node_get(cfg->tree, "ra");
    for (size_t i = 0; i < cfg->ra_count; i++) {
        const struct cfg_node *renew = cfg_node_get(ras->items[i], "renew");
        for (size_t k = 0; renew && k < CFG_RA_ROLES; k++)
            if (&cfg->profiles[cfg->ras[i].renew.pairs[k].profile] == check->profile)
                check_upstream(check, cfg->ras[i].renew.upstream, cfg_node_get(renew, "upstream"));
    }
}

static void check_profiles(const struct ra_settings *settings, struct cfg_faults *faults)
{
    const struct cfg_node *profiles = cfg_node_get(settings->cfg->tree, "profiles");
    for (size_t i = 0; i < settings->cfg->profile_count; i++) {
        const struct cfg_profile *profile = &settings->cfg->profiles[i];
        const struct check check = {settings, profile, cfg_node_get(profiles, profile->name),
                                    faults};
        if (profile->own)
            check_renewals(&check);
        else
            check_profile(&check);
    }
}

static void open_upstreams(struct ra_settings *settings, struct cfg_faults *faults)
{
    const struct cfg *cfg = settings->cfg;
    const struct cfg_node *nodes = cfg_node_get(cfg->tree, "upstreams");
    settings->upstreams = mem_zalloc(cfg->upstream_count * sizeof(struct upstream *));
    for (size_t i = 0; i < cfg->upstream_count; i++) {
        const struct cfg_upstream *conf = &cfg->upstreams[i];
        const struct upstream_vt *vt = wire_vt(conf->kind);
        struct err err = {0};
        if (!vt || !vt->open(conf, &settings->upstreams[i], &err))
            cfg_fault_key(faults, cfg_node_get(nodes, conf->name), NULL, "cannot be opened: %s",
                          err.text);
    }
}

bool wire_settings(struct cfg *cfg, uint64_t generation, struct ra_settings **ret,
                   struct buf *faults_text)
{
    struct ra_settings *settings = mem_zalloc(sizeof *settings);
    struct cfg_faults *faults = cfg_faults_new(cfg->written);
    settings->count = 1;
    settings->generation = generation;
    settings->cfg = cfg;
    open_upstreams(settings, faults);
    if (!cfg_faults_count(faults))
        check_profiles(settings, faults);
    cfg_faults_print(faults, faults_text);
    bool ok = !cfg_faults_count(faults);
    cfg_faults_free(faults);
    if (ok)
        *ret = settings;
    else
        ra_settings_free(settings);
    return ok;
}
