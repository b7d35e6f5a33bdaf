#include "ra/chain.h"

#include "base/clock.h"

#include <stdio.h>

static bool is_anchor(const struct cfg_profile *profile, const struct cert *cert)
{
    for (size_t i = 0; i < profile->trust_certs.count; i++)
        if (bytes_equal(cert_der_get(profile->trust_certs.items[i]), cert_der_get(cert)))
            return true;
    return false;
}

/* What a chain may pass through. A root that is no anchor leads nowhere, and hides the certificate
 * by which an older root vouches for it (RFC 4210 section 4.4). */
static size_t find_links(const struct cfg_certs *chain, struct cert *links[RA_CHAIN_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < chain->count && count < RA_CHAIN_MAX; i++)
        if (!cert_is_self_signed(chain->items[i]))
            links[count++] = chain->items[i];
    return count;
}

/* Another certificate of the same authority: by name and key. */
static bool is_same(const struct cert *a, const struct cert *b)
{
    return names_subject_equal(cert_names_get(a), cert_names_get(b)) &&
           spki_equal(cert_spki_get(a), cert_spki_get(b));
}

/* A root is trusted as well if a certificate for its name and key is. */
static void judge(const struct cfg_profile *profile, const struct cfg_certs *chain,
                  bool trusted[RA_CHAIN_MAX])
{
    struct cert *links[RA_CHAIN_MAX];
    struct trust_terms terms = {.extra = links,
                                .extra_count = find_links(chain, links),
                                .at = clock_now(),
                                .ignore_expiry = true};
    bool chains[RA_CHAIN_MAX];
    struct err ignored;
    for (size_t i = 0; i < chain->count; i++)
        trusted[i] = chains[i] = is_anchor(profile, chain->items[i]) ||
                                 trust_check(profile->trust, chain->items[i], &terms, &ignored);
    for (size_t i = 0; i < chain->count; i++)
        for (size_t k = 0; k < chain->count && !trusted[i]; k++)
            trusted[i] = chains[k] && is_same(chain->items[i], chain->items[k]) &&
                         cert_is_self_signed(chain->items[i]);
}

bool ra_chain_told(const struct ra_settings *settings, const struct cfg_profile *profile,
                   size_t upstream, struct ra_chain *ret, struct err *err)
{
    struct upstream *up = settings->upstreams[upstream];
    const struct cfg_certs *chain = NULL;
    bool trusted[RA_CHAIN_MAX], ours = up->vt->caps & UP_INLINE;
    *ret = (struct ra_chain){0};
    if (!up->vt->chain)
        return err_set(err, ERR_LOCAL, "upstream %s has no certificates", up->name);
    if (!up->vt->chain(up, &chain, err))
        return false;
    if (!chain || chain->count > RA_CHAIN_MAX)
        return err_set(err, ERR_UPSTREAM, "upstream %s has no certificates, or more than %d",
                       up->name, RA_CHAIN_MAX);
    if (!ours)
        judge(profile, chain, trusted);
    for (size_t i = 0; i < chain->count; i++) {
        if (ours || trusted[i])
            ret->certs[ret->count++] = chain->items[i];
        else
            ret->left_out = chain->items[i];
    }
    return ret->count ||
           err_set(err, ERR_UPSTREAM, "no certificate of upstream %s chains to the trust of %s",
                   up->name, profile->name);
}

void ra_chain_left_out(const struct ra_chain *chain, char ret[RA_CHAIN_TEXT_MAX])
{
    ret[0] = 0;
    if (chain->left_out)
        snprintf(ret, RA_CHAIN_TEXT_MAX, "left out, for it does not chain to trust: %.120s",
                 cert_names_get(chain->left_out)->subject_text);
}
