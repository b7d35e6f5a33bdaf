#include "ra/ra.h"

#include "base/clock.h"
#include "ra/check.h"
#include "ra/message.h"
#include "ra/order.h"
#include "ra/policy.h"
#include "ra/prove_all.h"
#include "ra/rename.h"
#include "ra/retire.h"
#include "ra/reuse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_SECONDS 86400 /* who waits for longer waits for an operator's decision */
#define LINES_STOP_MS 35000 /* the service manager waits no longer than 90 s for all */

struct ra *ra_new(struct store *store, void (*told)(const char *about, const struct err *err))
{
    struct ra *ra = mem_zalloc(sizeof *ra);
    struct line_work work = {work_run, work_over, work_probe, ra};
    ra->store = store;
    ra->told = told;
    ra->lines = lines_new(&work);
    ra->crls = crls_new();
    ra->keys = keyring_new();
    link_init(&ra->waits);
    pthread_mutex_init(&ra->mutex, NULL);
    return ra;
}

bool ra_free(struct ra *ra)
{
    if (!ra)
        return true;
    if (!lines_free(ra->lines, LINES_STOP_MS))
        return false;
    crls_free(ra->crls);
    keyring_free(ra->keys);
    pthread_mutex_destroy(&ra->mutex);
    free(ra);
    return true;
}

void ra_apply(struct ra *ra, struct ra_settings *settings)
{
    work_recall(ra, settings);
    lines_configure(ra->lines, settings);
    ra_checks_watch(settings);
}

bool ra_retry(struct ra *ra, struct err *err)
{
    return ra->store->vt->wake(ra->store, clock_now() + RETRY_SECONDS, err);
}

struct store *ra_store_get(struct ra *ra)
{
    return ra->store;
}

struct lines *ra_lines_get(struct ra *ra)
{
    return ra->lines;
}

/* A device may repeat with a new transactionID, and then polls by that one. */
static bool take_txn(struct ra *ra, const struct ra_request *request,
                     const struct store_request *row, struct err *err)
{
    if (request->op == RA_POLL || !request->txn.len || txn_is_final(row->state) ||
        bytes_equal(request->txn, buf_bytes(&row->txn)))
        return true;
    if (request->txn.len > RA_TXN_MAX)
        return err_set(err, ERR_PEER, "a transactionID of %zu octets", request->txn.len);
    return ra->store->vt->take_txn(ra->store, row->id, request->txn, err);
}

static bool claim_now(struct ra *ra, const struct ra_settings *settings, struct store_request *row,
                      struct ra_outcome *outcome, struct err *err)
{
    struct work_end end = {.outcome = *outcome};
    char id[RA_ID_LEN + 1];
    memcpy(id, row->id, sizeof id);
    bool ok = work_claim(ra, settings, row, &end, err);
    if (end.claimed)
        work_over(ra, id);
    *outcome = end.outcome;
    return ok;
}

/* The answer to a repetition or a poll: what the row says, after a wait if a thread of ours is at
 * it, or after driving it if nobody is. */
static bool answer_row(struct ra *ra, const struct ra_request *request, const char *id,
                       struct ra_outcome *outcome, struct err *err)
{
    struct store_request row = {0};
    const struct ra_settings *settings = request->settings;
    bool ok = ra_message_note(ra->store, request, id, err) &&
              ra->store->vt->request_by_id(ra->store, id, &row, err);
    bool line = ok && row.id[0] && ra_has_line(settings, row.upstream);
    if (ok && !line) {
        store_request_clear(&row);
        ok = work_wait(ra, id, &row, err);
    }
    ok = ok && take_txn(ra, request, &row, err);
    bool open = ok && (row.state == TXN_ORDERED || row.state == TXN_WAITING) &&
                row.next_at <= clock_now() && row.lease_until <= clock_now();
    bool ends = ok && retire_wants(ra, settings, &row);
    if (ok && line && !ends)
        ok = work_by_line(ra, settings, &row, outcome, err);
    else if (open || ends)
        ok = claim_now(ra, settings, &row, outcome, err);
    else if (ok)
        ok = ra_outcome_of_row(request->settings, &row, outcome, err);
    outcome->repeated = true;
    store_request_clear(&row);
    return ok;
}

static bool submit_poll(struct ra *ra, const struct ra_case *c, struct ra_outcome *outcome,
                        struct err *err)
{
    const struct ra_request *request = c->request;
    struct store_request row = {0};
    uint8_t prover[RA_DIGEST_LEN];
    struct store_txn_key key = {request->profile->name, request->txn, prover};
    if (c->foreign.standing == RA_UNCHECKED)
        return err_set(err, ERR_UPSTREAM, "%s", c->foreign.detail);
    if (ra_case_barred(c)) {
        ra_refuse(outcome, RA_BAD_RENEWAL, "the certificate presented has been revoked");
        return true;
    }
    if (request->txn.len && ra_request_prover(request, prover) &&
        !ra->store->vt->request_by_txn(ra->store, &key, &row, err))
        return false;
    if (!row.id[0]) {
        ra_refuse(outcome, RA_UNKNOWN_TXN, "no such transaction of this key");
        return true;
    }
    /* Of a certificate that is revoked by now, the key is still good for signing another one. */
    if (row.renews[0] && !ra_case_came_by(c, row.renews)) {
        ra_refuse(outcome, RA_UNKNOWN_TXN,
                  "a transaction of this key that came by another certificate");
        store_request_clear(&row);
        return true;
    }
    char id[RA_ID_LEN + 1];
    memcpy(id, row.id, sizeof id);
    store_request_clear(&row);
    return answer_row(ra, request, id, outcome, err);
}

/* A refusal of something that was authorized is worth a record. */
static bool refuse_audited(struct ra *ra, const struct ra_request *request,
                           const struct ra_outcome *outcome, struct err *err)
{
    char subject[sizeof((struct store_request *)0)->subject];
    snprintf(subject, sizeof subject, "%s", csr_wanted_get(request->csr)->subject_text);
    struct audit_event event = {
        .event = "refused",
        .profile = request->profile->name,
        .origin = request->origin,
        .subject = subject,
        .detail = outcome->detail,
    };
    return ra->store->vt->audit_add(ra->store, &event, err);
}

/* What is asked of the next CA goes there, whatever it renews (RFC 8894 section 5.1). Else a
 * renewal goes to the CA that issued, as long as it is configured, or to the one that the profile
 * moves to; anything else by the routes. Of a pool, the first that is not failing or full: once
 * ordered, a request stays where it is. */
static bool choose_upstream(struct ra *ra, struct ra_ordering *ordering)
{
    const struct ra_request *request = ordering->request;
    const struct cfg *cfg = request->settings->cfg;
    size_t found;
    if (request->next && request->profile->scep.next.upstream_given) {
        ordering->upstream = request->profile->scep.next.upstream;
        return true;
    }
    if (ordering->lineage && request->profile->migrate) {
        ordering->upstream = request->profile->migrate_to;
        return true;
    }
    if (ordering->lineage &&
        ra_upstream_find(request->settings, ordering->lineage, &ordering->upstream))
        return true;
    if (!policy_route(request->profile, request->csr, request->label, &found))
        return false;
    const struct cfg_route *route = &request->profile->routes[found];
    ordering->upstream = route->upstream;
    for (size_t i = 0; i < route->pool_count; i++) {
        if (!lines_busy(ra->lines, cfg->upstreams[route->pool[i]].name)) {
            ordering->upstream = route->pool[i];
            break;
        }
    }
    return true;
}

/* What a device proved otherwise, such as by CRMF, has no CSR that could be relayed. */
static bool takes_csr(const struct ra_ordering *ordering)
{
    const struct ra_request *request = ordering->request;
    const struct upstream *up = request->settings->upstreams[ordering->upstream];
    return request->op == RA_KEYGEN || csr_is_signed(request->csr) || up->vt->caps & UP_UNSIGNED;
}

/* What may be refused before the device's quota counts: outcome says so. False: could not decide.
 */
static bool judge(struct ra *ra, struct ra_ordering *ordering, const struct policy_result *policy,
                  struct ra_outcome *outcome, struct err *err)
{
    const struct ra_request *request = ordering->request;
    enum ra_op op = ra_authorization_op(ordering->authorization);
    if (policy->verdict == POLICY_REFUSE) {
        ra_refuse(outcome, policy->reason, "%s", policy->detail);
        return true;
    }
    if (!choose_upstream(ra, ordering)) {
        ra_refuse(outcome, RA_NO_ROUTE, "no route of the profile takes this request");
        return true;
    }
    if (!takes_csr(ordering)) {
        ra_refuse(outcome, RA_NO_ROUTE, "upstream %s takes only what a device signed itself",
                  request->settings->upstreams[ordering->upstream]->name);
        return true;
    }
    if (!ra_rename_judge(request, op, request->settings->upstreams[ordering->upstream], outcome))
        return true;
    if (request->op == RA_KEYGEN)
        return true;
    if (!ra_reuse_find(ra->store, request, request->csr, &ordering->key, err))
        return false;
    (void)ra_reuse_refuse(&ordering->key, outcome);
    return true;
}

static bool judge_and_order(struct ra *ra, struct ra_ordering *ordering, struct ra_outcome *outcome,
                            struct err *err)
{
    const struct ra_request *request = ordering->request;
    struct policy_result *policy = mem_zalloc(sizeof *policy);
    ordering->csr = request->csr;
    ordering->ignored = policy->ignored;
    if (request->op == RA_KEYGEN)
        policy_judge_wish(request->profile, request->csr, policy);
    else
        policy_judge(request->profile, request->csr, policy);
    bool ok = judge(ra, ordering, policy, outcome, err);
    if (ok && outcome->status == RA_REFUSED)
        ok = refuse_audited(ra, request, outcome, err);
    else
        ok = ok && ra_order_quota(ra, ordering, err) &&
             (ra_order_refuse_quota(ordering, outcome) || ra_order(ra, ordering, outcome, err));
    if (ok && ordering->result == STORE_DUPLICATE)
        ok = answer_row(ra, request, ordering->existing, outcome, err);
    ra_ordering_clear(ordering);
    free(policy);
    return ok;
}

/* Is this a repetition that its row can answer? A message that comes again is one at any time. */
static bool find_repeated(struct ra *ra, struct ra_case *c, char id[RA_ID_LEN + 1], struct err *err)
{
    const struct ra_request *request = c->request;
    int64_t since = c->seen ? 0 : clock_now() - request->profile->retry_window;
    struct store_request row = {0};
    bool may = false;
    *id = 0;
    if (!c->store->vt->request_by_dedup(c->store, c->dedup, since, &row, err))
        return false;
    bool ok = !row.id[0] || ra_may_repeat(c, &row, &may, err);
    /* A certificate without its key is no answer; it has to be asked for anew. */
    bool stale =
        request->op == RA_KEYGEN && row.state == TXN_ISSUED && !keyring_has(ra->keys, row.id);
    if (ok && may)
        memcpy(stale ? c->stale : id, row.id, sizeof row.id);
    store_request_clear(&row);
    return ok;
}

/* A refusal that came while the device waited is the answer to its repetition, once: then the
 * request is a new one, for what was wrong may have been mended. */
static bool hear_refusal(const struct ra_case *c, bool *ret, struct ra_outcome *outcome,
                         struct err *err)
{
    const struct ra_request *request = c->request;
    struct store_request row = {0};
    *ret = false;
    if (!c->store->vt->request_last(c->store, c->dedup, &row, err))
        return false;
    bool ok = true;
    if (row.id[0] && row.state == TXN_REFUSED && !row.told &&
        row.updated >= clock_now() - request->profile->retry_window)
        ok = ra_may_repeat(c, &row, ret, err);
    if (ok && *ret) {
        ok = ra_outcome_of_row(request->settings, &row, outcome, err);
        outcome->repeated = true;
    }
    store_request_clear(&row);
    return ok;
}

/* Of a soft_fail, for the operator's log. */
static void note_unchecked(const struct ra_case *c, struct ra_outcome *outcome)
{
    size_t len = strlen(outcome->detail);
    if (c->foreign.standing == RA_TRUSTED && c->foreign.detail[0] && outcome->status != RA_REFUSED)
        snprintf(outcome->detail + len, sizeof outcome->detail - len, "; %.150s",
                 c->foreign.detail);
}

/* Not audited: whoever captured a message may send it any number of times. */
static void refuse_seen(const struct ra_authorization *authorization, struct ra_outcome *outcome)
{
    bool renews = ra_authorization_op(authorization) == RA_RENEW;
    ra_refuse(outcome, renews ? RA_BAD_RENEWAL : RA_BAD_CHALLENGE,
              "the certificate that this message led to was revoked or replaced since; "
              "expected a message that is signed anew");
}

/* Proves, judges and orders what is not a repetition. */
static bool submit_new(struct ra *ra, struct ra_case *c, struct ra_outcome *outcome,
                       struct err *err)
{
    struct ra_authorization *authorization;
    char id[RA_ID_LEN + 1];
    if (!ra_prove_all(c, &authorization, outcome, err))
        return false;
    struct ra_ordering ordering = {.request = c->request,
                                   .authorization = authorization,
                                   .dedup = c->dedup,
                                   .stale = c->stale};
    bool ok = true;
    if (authorization && c->seen) {
        refuse_seen(authorization, outcome);
    } else if (authorization) {
        if (c->held.found && *ra_authorization_renews(authorization))
            ordering.lineage = c->held.cert.upstream;
        ok = judge_and_order(ra, &ordering, outcome, err);
        note_unchecked(c, outcome);
    } else if (outcome->reason == RA_BAD_CHALLENGE) {
        /* The same request, a moment ago, may have spent the challenge since we looked. */
        ok = find_repeated(ra, c, id, err);
        if (ok && *id) {
            *outcome = (struct ra_outcome){.status = RA_PENDING};
            ok = answer_row(ra, c->request, id, outcome, err);
        }
    }
    ra_authorization_free(authorization);
    return ok;
}

/* The key beside the certificate. */
static bool add_key(struct ra *ra, struct ra_outcome *outcome, struct err *err)
{
    if (outcome->status == RA_PENDING && !keyring_has(ra->keys, outcome->request_id))
        snprintf(outcome->detail, sizeof outcome->detail,
                 "its key is lost: it has to end before another one is made");
    if (outcome->status != RA_ISSUED)
        return true;
    outcome->key = keyring_get(ra->keys, outcome->request_id);
    return outcome->key || err_set(err, ERR_LOCAL, "the key of request %s has just been forgotten",
                                   outcome->request_id);
}

static bool submit(struct ra *ra, struct ra_case *c, struct ra_outcome *outcome, struct err *err)
{
    char id[RA_ID_LEN + 1];
    bool heard = false;
    if (!find_repeated(ra, c, id, err))
        return false;
    if (*id)
        return answer_row(ra, c->request, id, outcome, err);
    if (!c->seen && !hear_refusal(c, &heard, outcome, err))
        return false;
    return heard || submit_new(ra, c, outcome, err);
}

bool ra_submit(struct ra *ra, const struct ra_request *request, struct ra_outcome *outcome,
               struct err *err)
{
    uint8_t prover[RA_DIGEST_LEN], dedup[RA_DIGEST_LEN];
    struct ra_case c = {.store = ra->store, .request = request, .dedup = dedup};
    bool ok;
    *outcome = (struct ra_outcome){.status = RA_PENDING};
    if (request->op != RA_POLL && !ra_request_prover(request, prover)) {
        ra_refuse(outcome, RA_NO_EVIDENCE, "neither a certificate nor a secret was presented");
        return true;
    }
    if (!ra_case_open(&c, err))
        return false;
    if (request->op == RA_POLL)
        ok = submit_poll(ra, &c, outcome, err);
    else
        ok = ra_message_seen(ra->store, request, &c.seen, err) &&
             ra_request_dedup(request, ra_case_renews(&c) ? request->evidence.holder : NULL, dedup,
                              err) &&
             submit(ra, &c, outcome, err);
    ra_case_clear(&c);
    if (ok && outcome->reason == RA_UPSTREAM_REFUSED && !outcome->told)
        ok = ra->store->vt->refusal_told(ra->store, outcome->request_id, err);
    return ok && (request->op != RA_KEYGEN || add_key(ra, outcome, err));
}

void ra_delivered(struct ra *ra, const char *request_id)
{
    keyring_delivered(ra->keys, request_id);
    ra->store->vt->delivered(ra->store, request_id);
}
