#include "gateway/wire.h"

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
    *ret = settings;
    return true;
}
