#include "ra/anchor.h"

#include "base/clock.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_MS 2000 /* that a device's thread waits for CRLs and OCSP, in all */
#define SERIAL_ATTR "serialNumber"

/* One certificate against one anchor. */
struct judging {
    const struct ra_request *request;
    const struct cfg_anchor *anchor;
    bool known;
    struct ra_foreign *ret;
};

const char *ra_anchor_class_name(const struct cfg_anchor *anchor)
{
    return anchor->class == CFG_ANCHOR_EXPLICIT ? "explicit" : "implicit";
}

static struct revocation_source source_of(const struct cfg_anchor *anchor)
{
    return (struct revocation_source){
        .crl = (const char *const *)anchor->crl.items,
        .crl_count = anchor->crl.count,
        .crl_under = (const char *const *)anchor->crl_under.items,
        .crl_under_count = anchor->crl_under.count,
        .ocsp = anchor->ocsp,
        .refresh = anchor->refresh,
    };
}

static bool is_configured(const struct cfg_anchor *anchor, X509 *x509)
{
    for (size_t i = 0; i < anchor->intermediates.count; i++)
        if (X509_cmp(cert_x509_get(anchor->intermediates.items[i]), x509) == 0)
            return true;
    return false;
}

/* Every certificate below the anchor. One that the operator has configured need not be vouched for,
 * and still may not be revoked. */
static void judge_revocation(struct judging *j, STACK_OF(X509) * chain)
{
    struct revocation *revocation = j->request->settings->revocation;
    struct revocation_source source = source_of(j->anchor);
    int64_t deadline = clock_mono_ms() + CHECK_MS;
    struct ra_foreign *ret = j->ret;
    for (int i = 0; i + 1 < sk_X509_num(chain) && ret->standing == RA_TRUSTED; i++) {
        struct revocation_pair pair = {sk_X509_value(chain, i), sk_X509_value(chain, i + 1)};
        struct err why = {.text = "nothing can be asked"};
        enum revocation_status status =
            revocation ? revocation_check(revocation, &source, &pair, deadline, &why)
                       : REVOCATION_UNKNOWN;
        if (status == REVOCATION_REVOKED)
            ret->standing = RA_REVOKED;
        else if (status == REVOCATION_GOOD || (i && is_configured(j->anchor, pair.subject)))
            continue;
        else if (j->anchor->revocation == CFG_REVOCATION_HARD_FAIL)
            ret->standing = RA_UNCHECKED;
        snprintf(ret->detail, sizeof ret->detail, "%s: %.200s",
                 status == REVOCATION_REVOKED ? "has been revoked" : "revocation is not known",
                 why.text);
    }
    if (revocation && ret->standing == RA_TRUSTED && ret->detail[0])
        revocation_allowed(revocation);
}

/* Those that the operator knows come first. */
static size_t collect_extra(const struct judging *j, struct cert ***ret)
{
    const struct cfg_certs *known = &j->anchor->intermediates;
    const struct ra_evidence *evidence = &j->request->evidence;
    size_t along = evidence->along_count < RA_ALONG_MAX ? evidence->along_count : RA_ALONG_MAX;
    size_t count = known->count + along;
    *ret = mem_zalloc((count + 1) * sizeof(struct cert *));
    for (size_t i = 0; i < count; i++)
        (*ret)[i] = i < known->count ? known->items[i] : evidence->along[i - known->count];
    return count;
}

/* Whether the certificate chains to one of the anchor's; then all is said. */
static bool judge_anchor(struct judging *j)
{
    const struct cfg_anchor *anchor = j->anchor;
    struct trust_terms terms = {.at = clock_now(),
                                .client = !j->known,
                                .ignore_expiry = anchor->class == CFG_ANCHOR_EXPLICIT};
    struct cert **extra;
    STACK_OF(X509) *chain = NULL;
    struct err err;
    terms.extra_count = collect_extra(j, &extra);
    terms.extra = extra;
    for (size_t i = 0; i < anchor->certificates.count && !chain; i++) {
        j->ret->root = anchor->certificates.items[i];
        if (!trust_path(anchor->trusts[i], j->request->evidence.holder, &terms, &chain, &err) &&
            (!j->ret->detail[0] || !strstr(err.text, "unable to get")))
            snprintf(j->ret->detail, sizeof j->ret->detail, "%.250s", err.text);
    }
    free(extra);
    if (!chain)
        return false;
    j->ret->standing = RA_TRUSTED;
    j->ret->anchor = anchor;
    j->ret->detail[0] = 0;
    if (anchor->revocation != CFG_REVOCATION_NONE)
        judge_revocation(j, chain);
    sk_X509_pop_free(chain, X509_free);
    return true;
}

void ra_foreign_judge(const struct ra_request *request, bool known, struct ra_foreign *ret)
{
    static const enum cfg_anchor_class order[] = {CFG_ANCHOR_EXPLICIT, CFG_ANCHOR_IMPLICIT};
    const struct cfg_profile *profile = request->profile;
    const struct cert *holder = request->evidence.holder;
    *ret = (struct ra_foreign){.standing = RA_STRANGER};
    /* What a device signed itself, as it does for SCEP, is nobody's. */
    if (!profile->anchor_count || !holder ||
        bytes_equal(cert_issuer_get(holder), buf_bytes(&cert_names_get(holder)->subject)))
        return;
    for (size_t k = 0; k < sizeof order / sizeof order[0]; k++)
        for (size_t i = 0; i < profile->anchor_count; i++) {
            struct judging j = {request, &profile->anchors[i], known, ret};
            if (j.anchor->class == order[k] && judge_anchor(&j))
                return;
        }
    ret->root = NULL;
}

/* The one value of the attribute; NULL if there is none, or another beside it. */
static const char *only_serial(const struct names *names)
{
    const char *found = NULL;
    for (size_t i = 0; i < names->attr_count; i++) {
        if (strcmp(names->attrs[i].type, SERIAL_ATTR) != 0)
            continue;
        if (found)
            return NULL;
        found = names->attrs[i].value;
    }
    return found;
}

bool ra_anchor_names_fit(const struct cfg_anchor *anchor, const struct cert *holder,
                         const struct csr *csr, struct err *err)
{
    const struct names *mine = cert_names_get(holder), *asked = csr_names_get(csr);
    const char *serial;
    switch (anchor->names) {
    case CFG_ANCHOR_ANY:
        return true;
    case CFG_ANCHOR_SERIAL:
        serial = only_serial(mine);
        return (serial && only_serial(asked) && strcmp(serial, only_serial(asked)) == 0) ||
               err_set(err, ERR_PEER,
                       "the holder of \"%s\" asks for \"%s\": not the one serialNumber",
                       mine->subject_text, asked->subject_text);
    default:
        return (names_subject_equal(mine, asked) && names_san_equal(mine, asked)) ||
               err_set(err, ERR_PEER, "the holder of \"%s\" asks for \"%s\", or for other SANs",
                       mine->subject_text, asked->subject_text);
    }
}

static void watch_anchor(const struct cfg_anchor *anchor, struct revocation *revocation)
{
    struct revocation_source source = source_of(anchor);
    const struct cfg_certs *all[] = {&anchor->certificates, &anchor->intermediates};
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++)
        for (size_t i = 0; i < all[k]->count; i++) {
            X509 *issuer = cert_keyed_get(all[k]->items[i]);
            if (issuer)
                revocation_watch(revocation, &source, issuer);
        }
}

void ra_anchors_watch(const struct ra_settings *settings)
{
    const struct cfg *cfg = settings->cfg;
    if (!settings->revocation)
        return;
    for (size_t i = 0; i < cfg->profile_count; i++)
        for (size_t k = 0; k < cfg->profiles[i].anchor_count; k++)
            if (cfg->profiles[i].anchors[k].revocation != CFG_REVOCATION_NONE)
                watch_anchor(&cfg->profiles[i].anchors[k], settings->revocation);
}
