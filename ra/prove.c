#include "ra/prove.h"

#include "base/clock.h"
#include "base/text.h"
#include "ra/drive.h"

#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SKEW_SECONDS 300 /* a signer's clock may be so far ahead */

struct ra_authorization {
    enum ra_op op;
    char by[RA_DETAIL_MAX];
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

static bool is_enrollment(const struct ra_request *request)
{
    return request->op == RA_ENROLL || request->op == RA_KEYGEN;
}

/* Among the registrars, and asks for another device. */
static bool is_listed(const struct ra_request *request)
{
    const struct cfg_certs *all = &request->profile->registrars;
    for (size_t i = 0; is_enrollment(request) && i < all->count; i++)
        if (bytes_equal(cert_der_get(all->items[i]), cert_der_get(request->evidence.holder)))
            return true;
    return false;
}

/* By its fingerprint, as nearly always. An anchor may stand above a copy that is written in another
 * way, which is no other certificate. */
static bool find_held(const struct ra_case *c, struct ra_held *held, struct err *err)
{
    const struct store_vt *vt = c->store->vt;
    const struct cert *holder = c->request->evidence.holder;
    uint8_t digest[RA_DIGEST_LEN];
    if (!vt->cert_find(c->store, cert_fingerprint_get(holder), &held->cert, &held->found, err) ||
        (!held->found && c->request->profile->anchor_count &&
         !vt->cert_find_copy(c->store, holder, &held->cert, &held->found, err)))
        return false;
    if (held->found) {
        snprintf(held->by, sizeof held->by, "%s", held->cert.fingerprint);
    } else {
        struct bytes tbs = cert_tbs_get(holder);
        SHA256(tbs.ptr, tbs.len, digest);
        text_hex(bytes_of(digest, sizeof digest), held->by);
    }
    return true;
}

bool ra_case_open(struct ra_case *c, struct err *err)
{
    const struct cert *holder = c->request->evidence.holder;
    struct ra_held *held = &c->held;
    *held = (struct ra_held){0};
    c->foreign = (struct ra_foreign){.standing = RA_STRANGER};
    if (!holder)
        return true;
    if (!find_held(c, held, err))
        return false;
    held->revoked = held->found && held->cert.revoked_at;
    held->elsewhere = held->found && strcmp(held->cert.profile, c->request->profile->name) != 0;
    if (held->elsewhere)
        ra_case_clear(c);
    if (!held->revoked)
        ra_foreign_judge(c->request, held->found || is_listed(c->request), &c->foreign);
    return true;
}

bool ra_case_renews(const struct ra_case *c)
{
    return c->held.found ||
           (c->foreign.standing != RA_STRANGER && c->foreign.anchor->class == CFG_ANCHOR_EXPLICIT);
}

bool ra_case_barred(const struct ra_case *c)
{
    return c->held.revoked || c->foreign.standing == RA_REVOKED ||
           c->foreign.standing == RA_UNCHECKED;
}

/* Rows of former versions have a fingerprint also of a certificate that is not in the inventory. */
static void former_by(const struct ra_case *c, char out[2 * RA_DIGEST_LEN + 1])
{
    text_hex(bytes_of(cert_fingerprint_get(c->request->evidence.holder), RA_DIGEST_LEN), out);
}

bool ra_case_came_by(const struct ra_case *c, const char *by)
{
    char former[2 * RA_DIGEST_LEN + 1];
    if (!c->request->evidence.holder)
        return false;
    former_by(c, former);
    return strcmp(by, c->held.by) == 0 || strcmp(by, former) == 0;
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

/* A certificate of the CA to come is wanted when that CA is announced, whenever the one of today
 * ends (RFC 8894 section 5.1). Once for each: what was renewed already waits for its window. */
static bool window_lifted(const struct ra_case *c)
{
    const struct ra_request *request = c->request;
    const struct cfg_next *next = &request->profile->scep.next;
    const struct store_cert *held = &c->held.cert;
    return request->next && next->upstream_given && c->held.found && !held->replaced_by[0] &&
           strcmp(held->upstream, request->settings->cfg->upstreams[next->upstream].name) != 0;
}

/* What a renewal is asked for, by which certificate, and when. */
static void judge_asked(const struct ra_case *c, struct ra_outcome *outcome)
{
    const struct ra_request *request = c->request;
    const struct cfg_renewal *rule = &request->profile->renewal;
    const struct cert *holder = request->evidence.holder;
    const char *serial = cert_serial_get(holder), *subject = cert_names_get(holder)->subject_text;
    int64_t now = clock_now(), end = cert_not_after_get(holder);
    if (now < cert_not_before_get(holder))
        ra_refuse(outcome, RA_BAD_RENEWAL, "certificate %s is not valid yet", serial);
    else if (now > end + rule->grace_after_expiry)
        ra_refuse(outcome, RA_BAD_RENEWAL, "certificate %s has expired", serial);
    else if (rule->window && now < end - rule->window && !window_lifted(c))
        ra_refuse(outcome, RA_BAD_RENEWAL, "certificate %s may not be renewed yet", serial);
    else if (!names_subject_equal(cert_names_get(holder), csr_names_get(request->csr)))
        ra_refuse(outcome, RA_NAMES_CHANGED, "renewal of \"%s\" asks for the subject \"%s\"",
                  subject, csr_names_get(request->csr)->subject_text);
    else if (!names_san_equal(cert_names_get(holder), csr_names_get(request->csr)))
        ra_refuse(outcome, RA_NAMES_CHANGED, "renewal of \"%s\" asks for other SANs", subject);
    else if (rule->same_key == CFG_SAME_KEY_REFUSE && request->op != RA_KEYGEN &&
             spki_equal(cert_spki_get(holder), csr_spki_get(request->csr)))
        ra_refuse(outcome, RA_KEY_REUSED, "renewal with the same key is not allowed");
}

/* Every rule of renewal by possession. Leaves outcome untouched if they all hold. */
static void judge_renewal(const struct ra_case *c, struct ra_outcome *outcome)
{
    const struct ra_held *held = &c->held;
    struct err err;
    if (held->cert.revoked_at)
        ra_refuse(outcome, RA_BAD_RENEWAL, "certificate %s has been revoked", held->cert.serial);
    else if (held->cert.heir_revoked)
        ra_refuse(outcome, RA_BAD_RENEWAL, "what certificate %s was renewed to has been revoked",
                  held->cert.serial);
    else if (c->foreign.standing == RA_REVOKED)
        ra_refuse(outcome, RA_BAD_RENEWAL, "certificate %s %s", held->cert.serial,
                  c->foreign.detail);
    else if (!chains(c->request, &held->cert, &err))
        ra_refuse(outcome, RA_BAD_RENEWAL, "%s", err.text);
    else
        judge_asked(c, outcome);
}

/* What the certificate was used to ask for has been revoked. */
static bool foreign_barred(const struct ra_case *c, bool *ret, struct err *err)
{
    const struct store_vt *vt = c->store->vt;
    const char *profile = c->request->profile->name;
    char former[2 * RA_DIGEST_LEN + 1];
    former_by(c, former);
    return vt->heir_revoked(c->store, c->held.by, profile, ret, err) &&
           (*ret || vt->heir_revoked(c->store, former, profile, ret, err));
}

/* By a certificate that an anchor of the profile stands for: a renewal if it is of the profile's
 * own CA, else an enrollment. Leaves outcome untouched if all rules hold. False: could not decide.
 */
static bool judge_foreign(const struct ra_case *c, struct ra_outcome *outcome, struct err *err)
{
    const struct ra_foreign *foreign = &c->foreign;
    const struct ra_request *request = c->request;
    const struct cert *holder = request->evidence.holder;
    const char *serial = cert_serial_get(holder);
    bool barred = false;
    struct err why;
    if (!foreign_barred(c, &barred, err))
        return false;
    if (foreign->standing == RA_REVOKED)
        ra_refuse(outcome, RA_BAD_RENEWAL, "certificate %s %s", serial, foreign->detail);
    else if (barred)
        ra_refuse(outcome, RA_BAD_RENEWAL,
                  "what certificate %s was used to ask for has been revoked", serial);
    else if (foreign->anchor->class == CFG_ANCHOR_EXPLICIT && c->held.elsewhere)
        ra_refuse(outcome, RA_BAD_RENEWAL, "certificate %s was issued for another profile", serial);
    else if (foreign->anchor->class == CFG_ANCHOR_EXPLICIT)
        judge_asked(c, outcome);
    else if (request->op == RA_RENEW)
        ra_refuse(outcome, RA_BAD_RENEWAL,
                  "certificate %s is of an implicit anchor: it may enroll, "
                  "and renew nothing",
                  serial);
    else if (!ra_anchor_names_fit(foreign->anchor, holder, request->csr, &why))
        ra_refuse(outcome, RA_NAMES_CHANGED, "%s", why.text);
    return true;
}

static struct ra_authorization *authorize(enum ra_op op, const char *by)
{
    struct ra_authorization *authorization = mem_zalloc(sizeof *authorization);
    authorization->op = op;
    snprintf(authorization->by, sizeof authorization->by, "%s", by);
    return authorization;
}

/* Remembers by what it came. */
static struct ra_authorization *authorize_foreign(const struct ra_case *c)
{
    const struct ra_foreign *foreign = &c->foreign;
    const struct cert *holder = c->request->evidence.holder;
    struct ra_authorization *authorization =
        authorize(ra_case_renews(c) ? RA_RENEW : RA_ENROLL, "");
    snprintf(authorization->by, sizeof authorization->by,
             "certificate %.66s of the %s anchor \"%.100s\"%s", cert_serial_get(holder),
             ra_anchor_class_name(foreign->anchor), cert_names_get(foreign->root)->subject_text,
             foreign->detail[0] ? ", revocation unchecked" : "");
    snprintf(authorization->renews, sizeof authorization->renews, "%s", c->held.by);
    return authorization;
}

bool ra_prove_challenge(struct store *store, const struct ra_request *request,
                        struct challenge_verdict *ret, struct ra_outcome *outcome, struct err *err)
{
    bool spent = false;
    if (!challenge_judge(store, request, ret, err) ||
        (ret->missed && !challenge_miss(store, request, ret, &spent, err)))
        return false;
    if (!ret->accepted)
        ra_refuse(outcome, RA_BAD_CHALLENGE, "%s%s",
                  spent ? "spent now, after too many names: " : "", ret->detail);
    return true;
}

static bool prove_challenge(struct store *store, const struct ra_request *request,
                            struct ra_authorization **ret, struct ra_outcome *outcome,
                            struct err *err)
{
    struct challenge_verdict verdict;
    if (!ra_prove_challenge(store, request, &verdict, outcome, err))
        return false;
    if (!verdict.accepted)
        return true;
    *ret = authorize(RA_ENROLL, "challenge");
    (*ret)->spends = verdict.spends;
    memcpy((*ret)->digest, verdict.digest, sizeof verdict.digest);
    return true;
}

static bool has_cmc_ra(const struct cert *cert)
{
    EXTENDED_KEY_USAGE *usages =
        X509_get_ext_d2i(cert_x509_get(cert), NID_ext_key_usage, NULL, NULL);
    bool found = false;
    for (int i = 0; i < sk_ASN1_OBJECT_num(usages) && !found; i++)
        found = OBJ_obj2nid(sk_ASN1_OBJECT_value(usages, i)) == NID_cmcRA;
    sk_ASN1_OBJECT_pop_free(usages, ASN1_OBJECT_free);
    return found;
}

/* RFC 7030 section 3.7: the profile's own CA made it an RA's, if the profile goes by that. What was
 * handed out here is a device's, whatever its CA has put in. */
static bool is_cmc_ra(const struct ra_case *c)
{
    const struct ra_request *request = c->request;
    return request->profile->cmc_ra && is_enrollment(request) && !c->held.found &&
           !c->held.elsewhere && c->foreign.standing != RA_STRANGER &&
           c->foreign.anchor->class == CFG_ANCHOR_EXPLICIT && has_cmc_ra(request->evidence.holder);
}

/* Another RA: by one of the certificates that the profile lists, or by id-kp-cmcRA of its own CA.
 */
static bool is_registrar(const struct ra_case *c)
{
    const struct cert *holder = c->request->evidence.holder;
    int64_t now = clock_now();
    return holder && (is_listed(c->request) || is_cmc_ra(c)) && !c->held.revoked &&
           c->foreign.standing != RA_REVOKED && now >= cert_not_before_get(holder) &&
           now <= cert_not_after_get(holder);
}

/* By the certificate alone. *ret if it authorizes; else *outcome says why not, RA_ISSUED if there
 * is nothing to say of it. */
static bool prove_holder(const struct ra_case *c, struct ra_authorization **ret,
                         struct ra_outcome *outcome, struct err *err)
{
    const struct ra_request *request = c->request;
    *outcome = (struct ra_outcome){.status = RA_ISSUED};
    if (c->held.found) {
        judge_renewal(c, outcome);
        if (outcome->status == RA_REFUSED)
            return true;
        *ret = authorize(RA_RENEW, "renewal");
        snprintf((*ret)->renews, sizeof(*ret)->renews, "%s", c->held.cert.fingerprint);
    } else if (c->foreign.standing != RA_STRANGER) {
        if (!judge_foreign(c, outcome, err))
            return false;
        if (outcome->status != RA_REFUSED)
            *ret = authorize_foreign(c);
    } else if (request->op == RA_RENEW) {
        const struct cert *holder = request->evidence.holder;
        ra_refuse(outcome, RA_BAD_RENEWAL,
                  "the certificate presented (%.100s) is not one that was issued for this "
                  "profile%s%.150s",
                  holder ? cert_names_get(holder)->subject_text : "none",
                  c->foreign.detail[0] ? ": " : "", c->foreign.detail);
    }
    return true;
}

/* Without a certificate that counts: by what the message carries. */
static bool prove_carried(const struct ra_case *c, struct ra_authorization **ret,
                          struct ra_outcome *outcome, struct err *err)
{
    const struct ra_evidence *evidence = &c->request->evidence;
    if (evidence->principal) {
        *ret = authorize(RA_ENROLL, c->request->profile->own ? "gateway" : "user");
        return true;
    }
    if (evidence->challenge.len)
        return prove_challenge(c->store, c->request, ret, outcome, err);
    if (evidence->over_cms && !c->request->label) /* SCEP, where there is nothing else */
        ra_refuse(outcome, RA_BAD_CHALLENGE, "there is no challenge");
    else
        ra_refuse(outcome, RA_NO_EVIDENCE, "nothing that authorizes an enrollment%s%.150s",
                  c->foreign.detail[0] ? ": " : "", c->foreign.detail);
    return true;
}

/* Signed over CMS with a key that has nothing to do with the CSR's: neither is it the same, nor
 * that of a certificate of the same name, which a device may hold from before. Whoever captured an
 * envelope could sign it anew and spend its challenge. */
static bool is_wrong_key(const struct ra_case *c)
{
    const struct ra_evidence *evidence = &c->request->evidence;
    const struct cert *holder = evidence->holder;
    const struct csr *csr = c->request->csr;
    if (!holder || !evidence->over_cms || evidence->other_key ||
        spki_equal(cert_spki_get(holder), csr_spki_get(csr)))
        return false;
    return !c->held.found || c->held.revoked ||
           !names_subject_equal(cert_names_get(holder), csr_names_get(csr));
}

/* "Could not check" is another answer than "no". */
static bool unchecked(const struct ra_case *c, struct err *err)
{
    return err_set(err, ERR_UPSTREAM, "certificate %s: %.250s",
                   cert_serial_get(c->request->evidence.holder), c->foreign.detail);
}

/* A signed message that anybody may send again gets one certificate and no other, also once that
 * was revoked or replaced: who wants another one signs anew, and what was signed before that counts
 * no more, whatever has become of the later one. outcome is a refusal then, and else left alone.
 * False: could not decide. */
static bool judge_replay(const struct ra_case *c, struct ra_outcome *outcome, struct err *err)
{
    struct store_request row = {0};
    int64_t at = c->request->evidence.signed_at;
    if (!at)
        return true;
    if (!c->store->vt->request_last(c->store, c->dedup, &row, err))
        return false;
    if (row.id[0] && row.state == TXN_ISSUED && row.created >= at - SKEW_SECONDS)
        ra_refuse(outcome, RA_UNKNOWN_TXN,
                  "the certificate that this message was signed for was revoked or replaced since; "
                  "expected a message that is signed anew");
    else if (row.id[0] && row.created > at + SKEW_SECONDS)
        ra_refuse(outcome, RA_UNKNOWN_TXN,
                  "the same was asked for after this message was signed; expected a message that "
                  "is signed anew");
    store_request_clear(&row);
    return true;
}

bool ra_prove(struct ra_case *c, struct ra_authorization **ret, struct ra_outcome *outcome,
              struct err *err)
{
    const struct ra_request *request = c->request;
    const struct ra_evidence *evidence = &request->evidence;
    struct ra_outcome by_holder;
    *ret = NULL;
    if (!judge_replay(c, outcome, err))
        return false;
    if (outcome->status == RA_REFUSED)
        return true;
    if (is_registrar(c)) {
        if (c->foreign.standing == RA_UNCHECKED)
            return unchecked(c, err);
        *ret = authorize(RA_ENROLL, "registrar");
        return true;
    }
    if (!prove_holder(c, ret, &by_holder, err))
        return false;
    bool carried = request->op != RA_RENEW && (evidence->principal || evidence->challenge.len);
    bool wrong_key = is_wrong_key(c);
    if (*ret && c->foreign.standing == RA_UNCHECKED) {
        ra_authorization_free(*ret);
        *ret = NULL;
        if (!carried || wrong_key)
            return unchecked(c, err);
    }
    if (*ret)
        return true;
    if (by_holder.status == RA_REFUSED && !carried) {
        *outcome = by_holder;
        return true;
    }
    if (wrong_key) {
        ra_refuse(outcome, RA_BAD_KEY, "the message is signed with another key than the CSR's");
        return true;
    }
    return prove_carried(c, ret, outcome, err);
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

bool ra_may_repeat(const struct ra_case *c, const struct store_request *row, bool *ret,
                   struct err *err)
{
    struct store *store = c->store;
    const struct ra_request *request = c->request;
    const struct ra_evidence *evidence = &request->evidence;
    struct challenge_verdict verdict;
    uint8_t digest[RA_DIGEST_LEN];
    *ret = true;
    bool barred = ra_case_barred(c);
    if (evidence->both && barred) {
        *ret = false;
        return true;
    }
    if ((evidence->holder && !evidence->both && !barred) || evidence->principal)
        return true;
    *ret = evidence->challenge.len;
    if (!*ret)
        return true;
    SHA256(evidence->challenge.ptr, evidence->challenge.len, digest);
    if (!store->vt->challenge_spent_by(store, digest, row->id, ret, err))
        return false;
    if (*ret)
        return true;
    if (!challenge_judge(store, request, &verdict, err))
        return false;
    *ret = verdict.accepted && !(verdict.spends && row->state == TXN_REFUSED);
    return true;
}
