#include "ra/prove.h"

#include "base/clock.h"
#include "ra/challenge/challenge.h"
#include "ra/drive.h"

#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ra_authorization {
    enum ra_op op;
    const char *by;
    char renews[2 * RA_DIGEST_LEN + 1];
    bool spends;
    uint8_t digest[RA_DIGEST_LEN];
};

void ra_refuse(struct ra_outcome *outcome, enum ra_reason reason, const char *fmt, ...)
{
    va_list args;
    outcome->status = RA_REFUSED;
    outcome->reason = reason;
    va_start(args, fmt);
    vsnprintf(outcome->detail, sizeof outcome->detail, fmt, args);
    va_end(args);
}

bool ra_case_open(struct ra_case *c, struct err *err)
{
    const struct cert *holder = c->request->evidence.holder;
    struct ra_held *held = &c->held;
    *held = (struct ra_held){0};
    if (!holder)
        return true;
    if (!c->store->vt->cert_find(c->store, cert_fingerprint_get(holder), &held->cert, &held->found,
                                 err))
        return false;
    if (held->found && strcmp(held->cert.profile, c->request->profile->name) != 0)
        ra_case_clear(c);
    return true;
}

void ra_case_clear(struct ra_case *c)
{
    store_cert_clear(&c->held.cert);
    c->held.found = false;
}

/* The chain of the CA that issued it, if that CA is still there: a trust anchor may be above it. */
static bool chains(const struct ra_request *request, const struct store_cert *held, struct err *err)
{
    const struct ra_settings *settings = request->settings;
    const struct cfg_certs *chain = NULL;
    struct trust_terms terms = {.at = clock_now(), .ignore_expiry = true};
    size_t at;
    if (ra_upstream_find(settings, held->upstream, &at)) {
        struct upstream *up = settings->upstreams[at];
        if (up->vt->chain && up->vt->chain(up, &chain, err) && chain) {
            terms.extra = chain->items;
            terms.extra_count = chain->count;
        }
    }
    return trust_check(request->profile->trust, request->evidence.holder, &terms, err);
}

/* Every rule of renewal by possession. Leaves outcome untouched if they all hold. */
static void judge_renewal(const struct ra_request *request, const struct ra_held *held,
                          struct ra_outcome *outcome)
{
    const struct cfg_renewal *rule = &request->profile->renewal;
    const struct cert *holder = request->evidence.holder;
    int64_t now = clock_now(), end = held->cert.not_after;
    struct err err;
    if (held->cert.revoked_at)
        ra_refuse(outcome, RA_BAD_RENEWAL, "certificate %s has been revoked", held->cert.serial);
    else if (held->cert.heir_revoked)
        ra_refuse(outcome, RA_BAD_RENEWAL, "what certificate %s was renewed to has been revoked",
                  held->cert.serial);
    else if (now < held->cert.not_before)
        ra_refuse(outcome, RA_BAD_RENEWAL, "certificate %s is not valid yet", held->cert.serial);
    else if (now > end + rule->grace_after_expiry)
        ra_refuse(outcome, RA_BAD_RENEWAL, "certificate %s has expired", held->cert.serial);
    else if (rule->window && now < end - rule->window)
        ra_refuse(outcome, RA_BAD_RENEWAL, "certificate %s may not be renewed yet",
                  held->cert.serial);
    else if (!chains(request, &held->cert, &err))
        ra_refuse(outcome, RA_BAD_RENEWAL, "%s", err.text);
    else if (!names_subject_equal(cert_names_get(holder), csr_names_get(request->csr)))
        ra_refuse(outcome, RA_NAMES_CHANGED, "renewal of \"%s\" asks for the subject \"%s\"",
                  held->cert.subject, csr_names_get(request->csr)->subject_text);
    else if (!names_san_equal(cert_names_get(holder), csr_names_get(request->csr)))
        ra_refuse(outcome, RA_NAMES_CHANGED, "renewal of \"%s\" asks for other SANs",
                  held->cert.subject);
    else if (rule->same_key == CFG_SAME_KEY_REFUSE && request->op != RA_KEYGEN &&
             spki_equal(cert_spki_get(holder), csr_spki_get(request->csr)))
        ra_refuse(outcome, RA_BAD_KEY, "renewal with the same key is not allowed");
}

static struct ra_authorization *authorize(enum ra_op op, const char *by)
{
    struct ra_authorization *authorization = mem_zalloc(sizeof *authorization);
    authorization->op = op;
    authorization->by = by;
    return authorization;
}

static bool prove_challenge(struct store *store, const struct ra_request *request,
                            struct ra_authorization **ret, struct ra_outcome *outcome,
                            struct err *err)
{
    struct challenge_verdict verdict;
    if (!challenge_judge(store, request, &verdict, err))
        return false;
    if (!verdict.accepted) {
        ra_refuse(outcome, RA_BAD_CHALLENGE, "%s", verdict.detail);
        return true;
    }
    *ret = authorize(RA_ENROLL, "challenge");
    (*ret)->spends = verdict.spends;
    memcpy((*ret)->digest, verdict.digest, sizeof verdict.digest);
    return true;
}

/* Another RA, by one of the certificates that the profile lists. */
static bool is_registrar(const struct ra_request *request)
{
    const struct cfg_certs *all = &request->profile->registrars;
    const struct cert *holder = request->evidence.holder;
    int64_t now = clock_now();
    for (size_t i = 0; holder && i < all->count; i++)
        if (bytes_equal(cert_der_get(all->items[i]), cert_der_get(holder)))
            return now >= cert_not_before_get(holder) && now <= cert_not_after_get(holder);
    return false;
}

bool ra_prove(struct ra_case *c, struct ra_authorization **ret, struct ra_outcome *outcome,
              struct err *err)
{
    const struct ra_request *request = c->request;
    const struct ra_evidence *evidence = &request->evidence;
    const struct ra_held *held = &c->held;
    *ret = NULL;
    if (request->op != RA_RENEW && is_registrar(request)) {
        *ret = authorize(RA_ENROLL, "registrar");
        return true;
    }
    if (held->found) {
        struct ra_outcome renewal = {.status = RA_ISSUED};
        judge_renewal(request, held, &renewal);
        if (renewal.status != RA_REFUSED) {
            *ret = authorize(RA_RENEW, "renewal");
            snprintf((*ret)->renews, sizeof(*ret)->renews, "%s", held->cert.fingerprint);
            return true;
        }
        if (request->op == RA_RENEW || (!evidence->principal && !evidence->challenge.len)) {
            *outcome = renewal;
            return true;
        }
    } else if (request->op == RA_RENEW) {
        ra_refuse(outcome, RA_BAD_RENEWAL,
                  "the certificate presented is not one that was issued for this profile");
        return true;
    } else if (evidence->holder && evidence->over_cms &&
               !spki_equal(cert_spki_get(evidence->holder), csr_spki_get(request->csr))) {
        ra_refuse(outcome, RA_BAD_KEY, "the message is signed with another key than the CSR's");
        return true;
    }
    if (evidence->principal) {
        *ret = authorize(RA_ENROLL, "user");
        return true;
    }
    if (evidence->challenge.len)
        return prove_challenge(c->store, request, ret, outcome, err);
    if (evidence->over_cms)
        ra_refuse(outcome, RA_BAD_CHALLENGE, "there is no challenge");
    else
        ra_refuse(outcome, RA_NO_EVIDENCE, "nothing that authorizes an enrollment");
    return true;
}

void ra_authorization_free(struct ra_authorization *authorization)
{
    free(authorization);
}

const char *ra_authorization_by(const struct ra_authorization *authorization)
{
    return authorization->by;
}

enum ra_op ra_authorization_op(const struct ra_authorization *authorization)
{
    return authorization->op;
}

const char *ra_authorization_renews(const struct ra_authorization *authorization)
{
    return authorization->renews;
}

const uint8_t *ra_authorization_spends(const struct ra_authorization *authorization)
{
    return authorization->spends ? authorization->digest : NULL;
}

void ra_authorization_spend(struct ra_authorization *authorization,
                            const uint8_t digest[RA_DIGEST_LEN])
{
    authorization->spends = true;
    memcpy(authorization->digest, digest, RA_DIGEST_LEN);
}

bool ra_may_repeat(struct store *store, const struct ra_request *request, const char *id, bool *ret,
                   struct err *err)
{
    const struct ra_evidence *evidence = &request->evidence;
    struct challenge_verdict verdict;
    uint8_t digest[RA_DIGEST_LEN];
    *ret = true;
    if ((evidence->holder && !evidence->both) || evidence->principal)
        return true;
    SHA256(evidence->challenge.ptr, evidence->challenge.len, digest);
    if (!store->vt->challenge_spent_by(store, digest, id, ret, err))
        return false;
    if (*ret)
        return true;
    if (!challenge_judge(store, request, &verdict, err))
        return false;
    *ret = verdict.accepted;
    return true;
}
