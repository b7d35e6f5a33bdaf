#include "gateway/wire.h"

#include "base/clock.h"
#include "gateway/upstream/local.h"

#include <string.h>

/* A kind stands here and nowhere else: its table in kinds, its functions at the same place in vts.
 */
static const struct upstream_vt *const vts[] = {&local_vt};

const struct cfg_kinds *wire_kinds(void)
{
    static const struct cfg_kinds list = {&local_kind, 1};
    return &list;
}

const char *wire_kind_names(void)
{
    return local_vt.type;
}

static const struct upstream_vt *vt_of(const struct cfg_kind *kind)
{
    for (size_t i = 0; i < sizeof vts / sizeof vts[0]; i++)
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

static bool check_profiles(const struct ra_settings *settings, struct err *err)
{
    const struct cfg *cfg = settings->cfg;
    for (size_t i = 0; i < cfg->profile_count; i++) {
        const struct cfg_profile *profile = &cfg->profiles[i];
        for (size_t r = 0; r < profile->route_count; r++)
            if (!check_trust(settings, profile, profile->routes[r].upstream, err))
                return false;
    }
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
        const struct upstream_vt *vt = vt_of(conf->kind);
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
