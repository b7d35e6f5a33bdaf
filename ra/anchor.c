#include "ra/anchor.h"

#include "base/clock.h"
#include "ra/check.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void judge_revocation(struct judging *j, STACK_OF(X509) * chain)
{
    static const enum ra_standing standings[] = {[REVOCATION_GOOD] = RA_TRUSTED,
                                                 [REVOCATION_REVOKED] = RA_REVOKED,
                                                 [REVOCATION_UNKNOWN] = RA_UNCHECKED};
    const struct ra_check check = {&j->anchor->checking, &j->anchor->intermediates};
    j->ret->standing =
        standings[ra_check_chain(j->request->settings, &check, chain, j->ret->detail)];
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
    j->ret->anchor = anchor;
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
