#include "scep/keys.h"

#include "base/clock.h"

static void add(struct scep_keys *keys, const struct cfg_identity *ra)
{
    const struct cfg_pair *own = &ra->encryption;
    struct scep_key sign = {ra->chain.items[0], ra->key};
    keys->sign[keys->count] = sign;
    keys->open[keys->count] =
        own->chain.count ? (struct scep_key){own->chain.items[0], own->key} : sign;
    keys->count++;
    for (size_t i = 0; i < ra->former_count; i++) {
        const struct cfg_pair *former = &ra->former[i];
        struct scep_key key = {former->chain.items[0], former->key};
        keys->sign[keys->count] = keys->open[keys->count] = key;
        keys->count++;
    }
}

void scep_keys_take(const struct scep_call *call, struct scep_keys *ret)
{
    const struct cfg_scep *conf = &call->profile->scep;
    const struct cfg_identity *ras = call->settings->cfg->ras;
    ret->count = 0;
    for (size_t i = 0; i < conf->ra_count && i < CFG_SCEP_RAS_MAX; i++)
        add(ret, &ras[conf->ra[i]]);
    ret->next = conf->next.ra_given ? ret->count : SIZE_MAX;
    if (conf->next.ra_given)
        add(ret, &ras[conf->next.ra]);
}

const struct scep_key *scep_keys_signer(const struct scep_keys *keys, size_t i)
{
    bool ended = clock_now() > cert_not_after_get(keys->sign[i].cert);
    return &keys->sign[ended ? 0 : i];
}
