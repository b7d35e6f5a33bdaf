#include "ra/check.h"

#include "base/clock.h"

#include <stdio.h>

#define CHECK_MS 2000 /* that a device's thread waits for CRLs and OCSP, in all */

static struct revocation_source source_of(const struct cfg_checking *conf)
{
    return (struct revocation_source){
        .crl = (const char *const *)conf->crl.items,
        .crl_count = conf->crl.count,
        .crl_under = (const char *const *)conf->crl_under.items,
        .crl_under_count = conf->crl_under.count,
        .ocsp = conf->ocsp,
        .refresh = conf->refresh,
    };
}

static bool is_known(const struct ra_check *check, X509 *x509)
{
    for (size_t i = 0; i < check->known->count; i++)
        if (X509_cmp(cert_x509_get(check->known->items[i]), x509) == 0)
            return true;
    return false;
}

enum revocation_status ra_check_chain(const struct ra_settings *settings,
                                      const struct ra_check *check, STACK_OF(X509) * chain,
                                      char detail[RA_DETAIL_MAX])
{
    struct revocation *revocation = settings->revocation;
    struct revocation_source source = source_of(check->conf);
    int64_t deadline = clock_mono_ms() + CHECK_MS;
    *detail = 0;
    if (check->conf->revocation == CFG_REVOCATION_NONE)
        return REVOCATION_GOOD;
    for (int i = 0; i + 1 < sk_X509_num(chain); i++) {
        struct revocation_pair pair = {sk_X509_value(chain, i), sk_X509_value(chain, i + 1)};
        struct err why = {.text = "nothing can be asked"};
        enum revocation_status status =
            revocation ? revocation_check(revocation, &source, &pair, deadline, &why)
                       : REVOCATION_UNKNOWN;
        if (status == REVOCATION_GOOD ||
            (status == REVOCATION_UNKNOWN && i && is_known(check, pair.subject)))
            continue;
        snprintf(detail, RA_DETAIL_MAX, "%s: %.200s",
                 status == REVOCATION_REVOKED ? "has been revoked" : "revocation is not known",
                 why.text);
        if (status == REVOCATION_REVOKED || check->conf->revocation == CFG_REVOCATION_HARD_FAIL)
            return status;
    }
    if (revocation && *detail)
        revocation_allowed(revocation);
    return REVOCATION_GOOD;
}

static void watch(struct revocation *revocation, const struct cfg_checking *conf,
                  const struct cfg_certs *issuers)
{
    struct revocation_source source = source_of(conf);
    for (size_t i = 0; conf->revocation != CFG_REVOCATION_NONE && i < issuers->count; i++) {
        X509 *issuer = cert_keyed_get(issuers->items[i]);
        if (issuer && cert_is_ca(issuers->items[i]))
            revocation_watch(revocation, &source, issuer);
    }
}

void ra_checks_watch(const struct ra_settings *settings)
{
    const struct cfg *cfg = settings->cfg;
    if (!settings->revocation)
        return;
    for (size_t i = 0; i < cfg->profile_count; i++)
        for (size_t k = 0; k < cfg->profiles[i].anchor_count; k++) {
            const struct cfg_anchor *anchor = &cfg->profiles[i].anchors[k];
            watch(settings->revocation, &anchor->checking, &anchor->certificates);
            watch(settings->revocation, &anchor->checking, &anchor->intermediates);
        }
    watch(settings->revocation, &cfg->edge.certificates.checking,
          &cfg->edge.certificates.trust_certs);
}
