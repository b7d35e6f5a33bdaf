#include "scep/keys.h"

#include "base/clock.h"

static struct scep_key key_of(const struct cfg_pair *pair)
{
    return (struct scep_key){pair->chain.items[0], pair->key};
}

/* Of two pairs, each has its own past. What a device encrypts to the one before the last, it
 * verifies with the one before the last. */
static struct scep_key former_signer(const struct cfg_identity *ra, size_t renewals_ago)
{
    const struct cfg_renewed *signs = &ra->renew.pairs[CFG_RA_SIGNS];
    size_t at = signs->former_count > renewals_ago ? signs->former_count - renewals_ago : 0;
    return signs->former_count ? key_of(&signs->former[at])
                               : (struct scep_key){ra->chain.items[0], ra->key};
}

static void add(struct scep_keys *keys, const struct cfg_identity *ra)
{
    bool split = ra->encryption.chain.count;
    const struct cfg_renewed *opens = &ra->renew.pairs[split ? CFG_RA_DECRYPTS : CFG_RA_SIGNS];
    struct scep_key sign = {ra->chain.items[0], ra->key};
    keys->sign[keys->count] = sign;
    keys->open[keys->count++] = split ? key_of(&ra->encryption) : sign;
    for (size_t i = 0; i < opens->former_count; i++) {
        keys->sign[keys->count] = former_signer(ra, opens->former_count - i);
        keys->open[keys->count++] = key_of(&opens->former[i]);
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
