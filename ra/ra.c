#include "ra/ra.h"

#include "base/clock.h"
#include "base/text.h"
#include "ra/drive.h"
#include "ra/policy.h"
#include "ra/prove.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LEASE_SECONDS 30
#define INLINE_WAIT_MS 8000
#define SWEEP_MAX 64
#define ORPHAN_AGAIN_SECONDS 600

struct ra {
    struct store *store;
    pthread_mutex_t mutex;
    pthread_cond_t moved; /* some request has been driven */
};

struct ra *ra_new(struct store *store)
{
    pthread_condattr_t attr;
    struct ra *ra = mem_zalloc(sizeof *ra);
    ra->store = store;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&ra->mutex, NULL);
    pthread_cond_init(&ra->moved, &attr);
    pthread_condattr_destroy(&attr);
    return ra;
}

void ra_free(struct ra *ra)
{
    if (!ra)
        return;
    pthread_mutex_destroy(&ra->mutex);
    pthread_cond_destroy(&ra->moved);
    free(ra);
}

struct store *ra_store_get(struct ra *ra)
{
    return ra->store;
}

/* Drives, and wakes those who wait for this row. */
static bool drive_row(struct ra *ra, const struct ra_drive *drive, struct ra_outcome *outcome,
                      struct err *err)
{
    bool ok = ra_drive(drive, outcome, err);
    pthread_mutex_lock(&ra->mutex);
    pthread_cond_broadcast(&ra->moved);
    pthread_mutex_unlock(&ra->mutex);
    return ok;
}

/* Reads the row until it is final, free to be claimed, or the time is over. */
static bool wait_row(struct ra *ra, const char *id, struct store_request *row, struct err *err)
{
    int64_t end = clock_mono_ms() + INLINE_WAIT_MS;
    for (;;) {
        pthread_mutex_lock(&ra->mutex); /* before reading: a move after it wakes us */
        bool ok = ra->store->vt->request_by_id(ra->store, id, row, err);
        bool over = !ok || !row->id[0] || txn_is_final(row->state) ||
                    row->lease_until <= clock_now() || clock_mono_ms() >= end;
        if (!over) {
            struct timespec until = {.tv_sec = end / 1000 + 1};
            pthread_cond_timedwait(&ra->moved, &ra->mutex, &until);
        }
        pthread_mutex_unlock(&ra->mutex);
        if (!ok)
            return false;
        if (!row->id[0])
            return err_set(err, ERR_LOCAL, "request %s has gone from the store", id);
        if (over)
            return true;
        store_request_clear(row);
    }
}

/* The claimed row as it is now. fresh: whoever drove it before put it back in good order, so what
 * it sent had no effect. */
static bool reread(struct ra *ra, struct store_request *row, int attempt, bool *fresh,
                   struct err *err)
{
    char id[RA_ID_LEN + 1];
    *fresh = row->lease_until == 0 && attempt == row->attempt + 1;
    memcpy(id, row->id, sizeof id);
    store_request_clear(row);
    return ra->store->vt->request_by_id(ra->store, id, row, err) &&
           (row->id[0] || err_set(err, ERR_LOCAL, "request %s has gone from the store", id));
}

/* A claimed row whose profile or upstream is not configured any more waits until it is again. If a
 * dead process may have sent it, it is SUSPECT from now on: the lease that says so is given up. */
static bool put_back_orphan(struct ra *ra, const struct ra_drive *drive, struct err *err)
{
    static const char *const why = "its profile or upstream is not in the configuration any more";
    const struct store_request *row = drive->row;
    struct audit_event event = {.event = "orphaned", .request = row->id};
    struct store_move move = {
        .id = row->id,
        .attempt = row->attempt,
        .from = row->state,
        .to = row->state == TXN_ORDERED && !drive->fresh ? TXN_SUSPECT : row->state,
        .next_at = clock_now() + ORPHAN_AGAIN_SECONDS,
        .reason = why,
        .audit = strcmp(row->reason, why) == 0 ? NULL : &event,
    };
    enum store_write result;
    return ra->store->vt->move(ra->store, &move, &result, err);
}

/* Takes a row that nobody drives, whose time has come, and drives it. If somebody else was faster,
 * or its profile or upstream no longer exist, the outcome is what the row says. */
static bool claim_and_drive(struct ra *ra, const struct ra_settings *settings,
                            struct store_request *row, struct ra_outcome *outcome, struct err *err)
{
    struct ra_drive drive = {
        .store = ra->store,
        .settings = settings,
        .profile = cfg_profile_get(settings->cfg, row->profile),
        .row = row,
    };
    struct csr *csr = NULL;
    int attempt;
    if (!ra->store->vt->claim(ra->store, row->id, LEASE_SECONDS, &attempt, err))
        return false;
    if (!attempt)
        return ra_outcome_of_row(settings, row, outcome, err);
    if (!reread(ra, row, attempt, &drive.fresh, err))
        return false;
    if (!drive.profile || !ra_upstream_find(settings, row->upstream, &drive.upstream))
        return put_back_orphan(ra, &drive, err) && ra_outcome_of_row(settings, row, outcome, err);
    bool ok = csr_parse(buf_bytes(&row->csr), &csr, err);
    drive.csr = csr;
    ok = ok && drive_row(ra, &drive, outcome, err);
    csr_free(csr);
    return ok;
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

/* The answer to a repetition or a poll: what the row says, after a wait if a thread of ours is at
 * it, or after driving it if nobody is. */
static bool answer_row(struct ra *ra, const struct ra_request *request, const char *id,
                       struct ra_outcome *outcome, struct err *err)
{
    struct store_request row = {0};
    bool ok = wait_row(ra, id, &row, err) && take_txn(ra, request, &row, err);
    bool open = ok && (row.state == TXN_ORDERED || row.state == TXN_WAITING) &&
                row.next_at <= clock_now() && row.lease_until <= clock_now();
    if (open)
        ok = claim_and_drive(ra, request->settings, &row, outcome, err);
    else if (ok)
        ok = ra_outcome_of_row(request->settings, &row, outcome, err);
    outcome->repeated = true;
    store_request_clear(&row);
    return ok;
}

static bool submit_poll(struct ra *ra, const struct ra_request *request, struct ra_outcome *outcome,
                        struct err *err)
{
    struct store_request row = {0};
    uint8_t prover[RA_DIGEST_LEN];
    struct store_txn_key key = {request->profile->name, request->txn, prover};
    if (request->txn.len && ra_request_prover(request, prover) &&
        !ra->store->vt->request_by_txn(ra->store, &key, &row, err))
        return false;
    if (!row.id[0]) {
        ra_refuse(outcome, RA_UNKNOWN_TXN, "no such transaction of this key");
        return true;
    }
    char id[RA_ID_LEN + 1];
    memcpy(id, row.id, sizeof id);
    store_request_clear(&row);
    return answer_row(ra, request, id, outcome, err);
}

/* What a new request is ordered with. */
struct ordering {
    const struct ra_request *request;
    const struct ra_authorization *authorization;
    const uint8_t *dedup;
    const char *lineage; /* upstream that issued what is being renewed, or NULL */
    size_t upstream;
    struct store_request row;
};

static bool fill_row(struct ordering *ordering, struct err *err)
{
    const struct ra_request *request = ordering->request;
    struct store_request *row = &ordering->row;
    uint8_t id[RA_ID_LEN / 2];
    if (RAND_bytes(id, sizeof id) != 1)
        return err_openssl(err, ERR_LOCAL, "no random bytes for a request id");
    text_hex(bytes_of(id, sizeof id), row->id);
    snprintf(row->profile, sizeof row->profile, "%s", request->profile->name);
    snprintf(row->upstream, sizeof row->upstream, "%s",
             request->settings->cfg->upstreams[ordering->upstream].name);
    row->state = TXN_ORDERED;
    row->op = ra_authorization_op(ordering->authorization);
    row->attempt = 1;
    row->created = clock_now();
    snprintf(row->renews, sizeof row->renews, "%s",
             ra_authorization_renews(ordering->authorization));
    snprintf(row->origin, sizeof row->origin, "%s", request->origin ? request->origin : "");
    snprintf(row->subject, sizeof row->subject, "%s", csr_names_get(request->csr)->subject_text);
    row->txn.max = RA_TXN_MAX;
    if (!buf_set(&row->txn, request->txn))
        return err_set(err, ERR_PEER, "a transactionID of %zu octets", request->txn.len);
    memcpy(row->dedup, ordering->dedup, sizeof row->dedup);
    return buf_set(&row->csr, csr_der_get(request->csr)) &&
           (ra_request_prover(request, row->prover) ||
            err_set(err, ERR_BUG, "a request without evidence"));
}

/* Durable first; only then is the CA asked. */
static bool order_and_drive(struct ra *ra, struct ordering *ordering, const char *ignored,
                            struct ra_outcome *outcome, struct err *err)
{
    const struct ra_request *request = ordering->request;
    const struct ra_settings *settings = request->settings;
    struct upstream *up = settings->upstreams[ordering->upstream];
    struct store_request *row = &ordering->row;
    struct up_order up_order = {row->id, request->csr, request->profile};
    char detail[RA_DETAIL_MAX], existing[RA_ID_LEN + 1];
    enum store_order_result result;
    if (!up->vt->prepare(up, &up_order, &row->handle, err))
        return false;
    snprintf(detail, sizeof detail, "%s by %s from %s%s%.100s", ra_op_name(row->op),
             ra_authorization_by(ordering->authorization), up->name,
             *ignored ? "; ignored extensions: " : "", ignored);
    struct audit_event event = {"ordered",   row->id,      row->profile,
                                row->origin, row->subject, detail};
    struct store_order order = {
        .request = row,
        .spend = ra_authorization_spends(ordering->authorization),
        .retry_window = request->profile->retry_window,
        .audit = &event,
    };
    if (!ra->store->vt->order(ra->store, &order, &result, existing, err))
        return false;
    if (result == STORE_DUPLICATE)
        return answer_row(ra, request, existing, outcome, err);
    if (result == STORE_CHALLENGE_GONE) {
        ra_refuse(outcome, RA_BAD_CHALLENGE, "the challenge was used at this very moment");
        return true;
    }
    struct ra_drive drive = {.store = ra->store,
                             .settings = settings,
                             .profile = request->profile,
                             .upstream = ordering->upstream,
                             .row = row,
                             .csr = request->csr,
                             .fresh = true};
    if (!drive_row(ra, &drive, outcome, err))
        return false;
    if (*ignored && outcome->status == RA_ISSUED)
        snprintf(outcome->detail, sizeof outcome->detail, "; ignored extensions: %.200s", ignored);
    return true;
}

/* A refusal of something that was authorized is worth a record. */
static bool refuse_audited(struct ra *ra, const struct ra_request *request,
                           const struct ra_outcome *outcome, struct err *err)
{
    char subject[sizeof((struct store_request *)0)->subject];
    snprintf(subject, sizeof subject, "%s", csr_names_get(request->csr)->subject_text);
    struct audit_event event = {
        .event = "refused",
        .profile = request->profile->name,
        .origin = request->origin,
        .subject = subject,
        .detail = outcome->detail,
    };
    return ra->store->vt->audit_add(ra->store, &event, err);
}

/* A renewal goes to the CA that issued, as long as it is configured; anything else by the routes.
 */
static bool choose_upstream(struct ordering *ordering)
{
    const struct ra_request *request = ordering->request;
    size_t route;
    if (ordering->lineage &&
        ra_upstream_find(request->settings, ordering->lineage, &ordering->upstream))
        return true;
    if (!policy_route(request->profile, request->csr, request->label, &route))
        return false;
    ordering->upstream = request->profile->routes[route].upstream;
    return true;
}

static bool judge_and_order(struct ra *ra, struct ordering *ordering, struct ra_outcome *outcome,
                            struct err *err)
{
    const struct ra_request *request = ordering->request;
    struct policy_result *policy = mem_zalloc(sizeof *policy);
    bool ok;
    policy_judge(request->profile, request->csr, policy);
    if (policy->verdict == POLICY_REFUSE) {
        ra_refuse(outcome, policy->reason, "%s", policy->detail);
        ok = refuse_audited(ra, request, outcome, err);
    } else if (!choose_upstream(ordering)) {
        ra_refuse(outcome, RA_NO_ROUTE, "no route of the profile takes this request");
        ok = refuse_audited(ra, request, outcome, err);
    } else {
        ok =
            fill_row(ordering, err) && order_and_drive(ra, ordering, policy->ignored, outcome, err);
    }
    store_request_clear(&ordering->row);
    free(policy);
    return ok;
}

/* Is this a repetition that its row can answer? */
static bool find_repeated(const struct ra_case *c, const uint8_t *dedup, char id[RA_ID_LEN + 1],
                          struct err *err)
{
    const struct ra_request *request = c->request;
    int64_t since = clock_now() - request->profile->retry_window;
    struct store_request row = {0};
    bool may = false;
    *id = 0;
    if (!c->store->vt->request_by_dedup(c->store, dedup, since, &row, err))
        return false;
    bool ok = !row.id[0] || ra_may_repeat(c->store, request, row.id, &may, err);
    if (ok && may)
        memcpy(id, row.id, sizeof row.id);
    store_request_clear(&row);
    return ok;
}

/* Proves, judges and orders what is not a repetition. */
static bool submit_new(struct ra *ra, struct ra_case *c, const uint8_t *dedup,
                       struct ra_outcome *outcome, struct err *err)
{
    struct ra_authorization *authorization;
    char id[RA_ID_LEN + 1];
    if (!ra_prove(c, &authorization, outcome, err))
        return false;
    struct ordering ordering = {
        .request = c->request, .authorization = authorization, .dedup = dedup};
    bool ok = true;
    if (authorization) {
        if (*ra_authorization_renews(authorization))
            ordering.lineage = c->held.cert.upstream;
        ok = judge_and_order(ra, &ordering, outcome, err);
    } else if (outcome->reason == RA_BAD_CHALLENGE) {
        /* The same request, a moment ago, may have spent the challenge since we looked. */
        ok = find_repeated(c, dedup, id, err);
        if (ok && *id) {
            *outcome = (struct ra_outcome){.status = RA_PENDING};
            ok = answer_row(ra, c->request, id, outcome, err);
        }
    }
    ra_authorization_free(authorization);
    return ok;
}

bool ra_submit(struct ra *ra, const struct ra_request *request, struct ra_outcome *outcome,
               struct err *err)
{
    struct ra_case c;
    uint8_t prover[RA_DIGEST_LEN], dedup[RA_DIGEST_LEN];
    char id[RA_ID_LEN + 1];
    *outcome = (struct ra_outcome){.status = RA_PENDING};
    c.store = ra->store;
    c.request = request;
    if (request->op == RA_POLL)
        return submit_poll(ra, request, outcome, err);
    if (!ra_request_prover(request, prover)) {
        ra_refuse(outcome, RA_NO_EVIDENCE, "neither a certificate nor a secret was presented");
        return true;
    }
    if (!ra_case_open(&c, err))
        return false;
    bool ok =
        ra_request_dedup(request, c.held.found ? request->evidence.holder : NULL, dedup, err) &&
        find_repeated(&c, dedup, id, err);
    if (ok)
        ok = *id ? answer_row(ra, request, id, outcome, err)
                 : submit_new(ra, &c, dedup, outcome, err);
    ra_case_clear(&c);
    return ok;
}

/* Claims and drives one row; one that is faulty does not stop the others. */
static bool sweep_row(struct ra *ra, const struct ra_settings *settings, const char *id,
                      struct err *err)
{
    struct store_request row = {0};
    struct ra_outcome outcome = {0};
    bool ok = ra->store->vt->request_by_id(ra->store, id, &row, err) &&
              (!row.id[0] || claim_and_drive(ra, settings, &row, &outcome, err));
    ra_outcome_clear(&outcome);
    store_request_clear(&row);
    return ok || err_within(err, "driving request %s", id);
}

bool ra_sweep(struct ra *ra, const struct ra_settings *settings, size_t *moved, struct err *err)
{
    struct store_ids due = {.max = SWEEP_MAX};
    due.ids = mem_zalloc(SWEEP_MAX * sizeof *due.ids);
    *moved = 0;
    bool ok = ra->store->vt->request_due(ra->store, clock_now(), &due, err);
    for (size_t i = 0; i < due.count; i++) {
        if (sweep_row(ra, settings, due.ids[i], err))
            ++*moved;
        else
            ok = false;
    }
    free(due.ids);
    return ok;
}

void ra_delivered(struct ra *ra, const char *request_id)
{
    ra->store->vt->delivered(ra->store, request_id);
}
