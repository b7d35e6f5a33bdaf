#include "gateway/wire.h"

#include "base/clock.h"
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

/* What an upstream CA issues has to chain to the trust of each profile that it issues for:
 * otherwise every request would end SUSPECT, with its challenge spent. A CA that cannot say its
 * chain now is judged by what it issues. */
static bool check_trust(const struct ra_settings *settings, const struct cfg_profile *profile,
                        size_t upstream, struct err *err)
{
    struct upstream *up = settings->upstreams[upstream];
    const struct cfg_certs *chain = NULL;
    struct trust_terms terms = {.at = clock_now(), .ignore_expiry = true};
    struct err ignored;
    if (!up->vt->chain || !up->vt->chain(up, &chain, &ignored) || !chain || !chain->count)
        return true;
    terms.extra = chain->items;
    terms.extra_count = chain->count;
    if (trust_check(profile->trust, chain->items[0], &terms, err))
        return true;
    err->kind = ERR_CONFIG;
    return err_within(err, "checking upstream %s against the trust of profile %s", up->name,
                      profile->name);
}

static bool check_profile(const struct ra_settings *settings, const struct cfg_profile *profile,
                          struct err *err)
{
    for (size_t r = 0; r < profile->route_count; r++)
        for (size_t i = 0; i < profile->routes[r].pool_count; i++)
            if (!check_trust(settings, profile, profile->routes[r].pool[i], err))
                return false;
    const struct cfg_next *next = &profile->scep.next;
    return (!profile->migrate || check_trust(settings, profile, profile->migrate_to, err)) &&
           (!next->upstream_given || check_trust(settings, profile, next->upstream, err)) &&
           wire_challenge_check(settings, profile, err);
}

static bool check_profiles(const struct ra_settings *settings, struct err *err)
{
    for (size_t i = 0; i < settings->cfg->profile_count; i++)
        if (!check_profile(settings, &settings->cfg->profiles[i], err))
            return false;
    return true;
}

bool wire_settings(struct cfg *cfg, uint64_t generation, struct ra_settings **ret, struct err *err)
{
    struct ra_settings *settings = mem_zalloc(sizeof *settings);
    settings->count = 1;
    settings->generation = generation;
    settings->cfg = cfg;
    settings->upstreams = mem_zalloc(cfg->upstream_count * sizeof(struct upstream *));
    for (size_t i = 0; i < cfg->upstream_count; i++) {
        const struct cfg_upstream *conf = &cfg->upstreams[i];
        const struct upstream_vt *vt = wire_vt(conf->kind);
        if (!vt || !vt->open(conf, &settings->upstreams[i], err)) {
            err_within(err, "opening upstream %s", conf->name);
            ra_settings_free(settings);
            return false;
        }
    }
    if (!check_profiles(settings, err)) {
        ra_settings_free(settings);
        return false;
    }
    *ret = settings;
    return true;
}
