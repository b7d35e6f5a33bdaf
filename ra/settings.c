#include "ra/ra.h"

#include <stdlib.h>

struct ra_settings *ra_settings_ref(struct ra_settings *settings)
{
    atomic_fetch_add(&settings->count, 1);
    return settings;
}

void ra_settings_free(struct ra_settings *settings)
{
    if (!settings || atomic_fetch_sub(&settings->count, 1) != 1)
        return;
    for (size_t i = 0; settings->upstreams && i < settings->cfg->upstream_count; i++)
        if (settings->upstreams[i])
            settings->upstreams[i]->vt->close(settings->upstreams[i]);
    free(settings->upstreams);
    cfg_free(settings->cfg);
    free(settings);
}
