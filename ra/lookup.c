#include "ra/lookup.h"

#include "base/clock.h"
#include "ra/prove.h"
#include "ra/work.h"

#include <openssl/err.h>
#include <string.h>

bool ra_lookup_may(struct ra *ra, const struct ra_request *request, bool *ret,
                   struct ra_outcome *outcome, struct err *err)
{
    struct ra_case c = {.store = ra->store, .request = request};
    int64_t grace = request->profile->renewal.grace_after_expiry, now = clock_now();
    *ret = false;
    if (!ra_case_open(&c, err))
        return false;
    const struct store_cert *held = &c.held.cert;
    bool unchecked = c.held.found && c.foreign.standing == RA_UNCHECKED;
    if (unchecked)
        err_set(err, ERR_UPSTREAM, "certificate %s: %.250s", held->serial, c.foreign.detail);
    else if (!c.held.found)
        ra_refuse(outcome, RA_UNKNOWN_CERT,
                  "the signer holds no certificate that was issued for this profile");
    else if (ra_case_barred(&c) || held->heir_revoked)
        ra_refuse(outcome, RA_UNKNOWN_CERT, "the signer's certificate %s has been revoked",
                  held->serial);
    else if (now < held->not_before || now > held->not_after + grace)
        ra_refuse(outcome, RA_UNKNOWN_CERT, "the signer's certificate %s is not valid now",
                  held->serial);
    else
        *ret = true;
    ra_case_clear(&c);
    return !unchecked;
}

static X509_NAME *name_of(struct bytes der)
{
    const unsigned char *p = der.ptr;
    X509_NAME *name = d2i_X509_NAME(NULL, &p, (long)der.len);
    if (name && p != der.ptr + der.len) {
        X509_NAME_free(name);
        name = NULL;
    }
    ERR_clear_error();
    return name;
}

/* RFC 5280 section 7.1: string types and case do not matter. */
static bool names_equal(struct bytes a, const X509_NAME *b)
{
    X509_NAME *name = name_of(a);
    bool equal = name && X509_NAME_cmp(name, b) == 0;
    X509_NAME_free(name);
    return equal;
}

/* A certificate of the inventory, looked for by its serial number. */
struct search {
    const struct ra_wanted *wanted;
    struct cert *found;
    unsigned matches;
    struct err err;
    bool broken;
};

static bool look_at(const struct store_cert *row, void *arg)
{
    struct search *search = arg;
    struct cert *cert;
    if (!cert_parse(buf_bytes(&row->der), &cert, &search->err)) {
        search->broken = true;
        return false;
    }
    struct bytes issuer = search->wanted->issuer;
    if (issuer.ptr && !names_equal(issuer, X509_get_issuer_name(cert_x509_get(cert)))) {
        cert_free(cert);
        return true;
    }
    cert_free(search->found);
    search->found = cert;
    search->matches++;
    return true;
}

bool ra_lookup_cert(struct ra *ra, const struct ra_request *request, const struct ra_wanted *wanted,
                    struct ra_outcome *outcome, struct err *err)
{
    struct search search = {.wanted = wanted};
    struct store_serial key = {request->profile->name, wanted->serial};
    bool ok = ra->store->vt->cert_by_serial(ra->store, &key, look_at, &search, err);
    if (ok && search.broken) {
        *err = search.err;
        ok = false;
    }
    if (ok && search.matches == 1) {
        outcome->status = RA_ISSUED;
        outcome->cert = search.found;
        return true;
    }
    cert_free(search.found);
    if (ok)
        ra_refuse(outcome, RA_UNKNOWN_CERT, "the profile has %s certificate with serial %s",
                  search.matches ? "more than one" : "no such", wanted->serial);
    return ok;
}

static bool issues_by(const struct ra_settings *settings, size_t upstream, struct bytes issuer)
{
    struct upstream *up = settings->upstreams[upstream];
    const struct cfg_certs *chain = NULL;
    struct err ignored;
    return up->vt->chain && up->vt->chain(up, &chain, &ignored) && chain && chain->count &&
           names_equal(issuer, X509_get_subject_name(cert_x509_get(chain->items[0])));
}

/* Which CA is meant: one that issues for the profile and has the name, or without a name the one
 * that issued the holder's certificate. */
static bool find_ca(const struct ra_request *request, const struct ra_wanted *wanted,
                    const char *lineage, size_t *ret)
{
    const struct cfg_profile *profile = request->profile;
    const struct ra_settings *settings = request->settings;
    const struct cfg_next *next = &profile->scep.next;
    if (ra_upstream_find(settings, lineage, ret) &&
        (!wanted->issuer.ptr || issues_by(settings, *ret, wanted->issuer)))
        return true;
    if (!wanted->issuer.ptr)
        return false;
    for (size_t r = 0; r < profile->route_count; r++)
        for (size_t i = 0; i < profile->routes[r].pool_count; i++)
            if (issues_by(settings, *ret = profile->routes[r].pool[i], wanted->issuer))
                return true;
    if (profile->migrate && issues_by(settings, *ret = profile->migrate_to, wanted->issuer))
        return true;
    return next->upstream_given && issues_by(settings, *ret = next->upstream, wanted->issuer);
}

bool ra_lookup_crl(struct ra *ra, const struct ra_request *request, const struct ra_wanted *wanted,
                   struct ra_crl *ret, struct err *err)
{
    struct ra_case c = {.store = ra->store, .request = request};
    size_t at;
    if (!ra_case_open(&c, err))
        return false;
    bool found = find_ca(request, wanted, c.held.found ? c.held.cert.upstream : "", &at);
    ra_case_clear(&c);
    if (!found) {
        ra_refuse(&ret->outcome, RA_UNKNOWN_CERT, "no CA of the profile has that name");
        return true;
    }
    if (!request->settings->upstreams[at]->vt->crl) {
        ra_refuse(&ret->outcome, RA_UNKNOWN_CERT, "upstream %s publishes its CRLs itself",
                  request->settings->cfg->upstreams[at].name);
        return true;
    }
    return crls_get(ra, request->settings, at, &ret->der, err);
}
