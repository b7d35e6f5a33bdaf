#include "ra/order.h"

#include "base/clock.h"
#include "base/debug.h"
#include "base/text.h"
#include "ra/keygen.h"
#include "ra/message.h"
#include "ra/policy.h"
#include "ra/retire.h"
#include "ra/reuse.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ra_order_refuse_quota(const struct ra_ordering *ordering, struct ra_outcome *outcome)
{
    const struct rate *rate = &ordering->request->profile->quota_device;
    if (!ordering->quota.oldest)
        return false;
    ra_refuse(outcome, RA_OVER_QUOTA, "the device has asked for %lld certificates in %lld s",
              (long long)rate->count, (long long)rate->seconds);
    outcome->retry_after = (int)(ordering->quota.oldest - ordering->quota.since);
    return true;
}

bool ra_order_quota(struct ra *ra, struct ra_ordering *ordering, struct err *err)
{
    const struct rate *rate = &ordering->request->profile->quota_device;
    if (!ra_request_device(ordering->request, ordering->device))
        return err_openssl(err, ERR_LOCAL, "digesting a device");
    ordering->quota = (struct store_quota){
        .device = ordering->device, .most = rate->count, .since = clock_now() - rate->seconds};
    return !rate->count || ra->store->vt->request_quota(ra->store, &ordering->quota, err);
}

static bool fill_row(struct ra_ordering *ordering, struct err *err)
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
    row->op = request->op == RA_KEYGEN ? RA_KEYGEN : ra_authorization_op(ordering->authorization);
    row->attempt = ra_has_line(request->settings, row->upstream) ? 0 : 1;
    row->created = clock_now();
    snprintf(row->renews, sizeof row->renews, "%s",
             ra_authorization_renews(ordering->authorization));
    snprintf(row->origin, sizeof row->origin, "%s", request->origin ? request->origin : "");
    snprintf(row->subject, sizeof row->subject, "%s", csr_wanted_get(request->csr)->subject_text);
    row->txn.max = RA_TXN_MAX;
    if (!buf_set(&row->txn, request->txn))
        return err_set(err, ERR_PEER, "a transactionID of %zu octets", request->txn.len);
    memcpy(row->dedup, ordering->dedup, sizeof row->dedup);
    memcpy(row->device, ordering->device, sizeof row->device);
    return buf_set(&row->csr, csr_der_get(ordering->csr)) &&
           (ra_request_prover(request, row->prover) ||
            err_set(err, ERR_BUG, "a request without evidence"));
}

/* Writes the order down, durable before the CA is asked. */
static bool write_order(struct ra *ra, struct ra_ordering *ordering, struct err *err)
{
    const struct ra_request *request = ordering->request;
    struct store_request *row = &ordering->row;
    struct upstream *up = request->settings->upstreams[ordering->upstream];
    struct up_order up_order = {
        .request_id = row->id, .csr = ordering->csr, .profile = request->profile};
    char detail[RA_DETAIL_MAX], reuse[RA_DETAIL_MAX];
    struct store_message message;
    if (request->evidence.message && !ra_message_of(request, &message, err))
        return false;
    if (!up->vt->prepare(up, &up_order, &row->handle, err))
        return false;
    debug_boundary("prepared");
    ra_reuse_text(&ordering->key, reuse);
    snprintf(detail, sizeof detail, "%s by %s from %s%s%.120s%s%.50s", ra_op_name(row->op),
             ra_authorization_by(ordering->authorization), up->name,
             csr_change_has(request->csr) ? "; for new names" : "", reuse,
             *ordering->ignored ? "; ignored extensions: " : "", ordering->ignored);
    struct audit_event event = {"ordered",   row->id,      row->profile,
                                row->origin, row->subject, detail};
    struct store_order order = {
        .request = row,
        .spend = ra_authorization_spends(ordering->authorization),
        .retry_window = request->profile->retry_window,
        .quota = ordering->quota.most ? &ordering->quota : NULL,
        .key = &ordering->key,
        .message = request->evidence.message ? &message : NULL,
        .audit = &event,
    };
    if (!ra->store->vt->order(ra->store, &order, &ordering->result, ordering->existing, err))
        return false;
    debug_boundary("ordered");
    return true;
}

/* Asks the CA for what was ordered, here or by its line. */
static bool drive_ordered(struct ra *ra, struct ra_ordering *ordering, struct ra_outcome *outcome,
                          struct err *err)
{
    const struct ra_request *request = ordering->request;
    struct store_request *row = &ordering->row;
    char reuse[RA_DETAIL_MAX];
    struct ra_drive drive = {.store = ra->store,
                             .settings = request->settings,
                             .profile = request->profile,
                             .upstream = ordering->upstream,
                             .row = row,
                             .csr = ordering->csr,
                             .fresh = true};
    if (row->attempt == 0 ? !work_by_line(ra, request->settings, row, outcome, err)
                          : !work_drive(ra, &drive, outcome, err))
        return false;
    if (outcome->status == RA_ISSUED) {
        ra_reuse_text(&ordering->key, reuse);
        snprintf(outcome->detail, sizeof outcome->detail, "%.120s%s%.100s", reuse,
                 *ordering->ignored ? "; ignored extensions: " : "", ordering->ignored);
    }
    return true;
}

/* Somebody else's order of the same moment may have been first: then there is none of ours. */
static bool order_and_drive(struct ra *ra, struct ra_ordering *ordering, struct ra_outcome *outcome,
                            struct err *err)
{
    bool written = write_order(ra, ordering, err);
    if (!written || ordering->result != STORE_ORDERED)
        keyring_drop(ra->keys, ordering->row.id);
    if (!written)
        return false;
    switch (ordering->result) {
    case STORE_ORDERED:
        return drive_ordered(ra, ordering, outcome, err);
    case STORE_DUPLICATE:
        return true;
    case STORE_CHALLENGE_GONE:
        ra_refuse(outcome, RA_BAD_CHALLENGE, "the challenge was used at this very moment");
        return true;
    case STORE_OVER_QUOTA:
        return ra_order_refuse_quota(ordering, outcome) ||
               err_set(err, ERR_BUG, "a quota that is passed by nothing");
    case STORE_KEY_USED:
        return ra_reuse_refuse(&ordering->key, outcome) ||
               err_set(err, ERR_BUG, "a key that is reused by nobody");
    }
    return err_set(err, ERR_BUG, "an order that ended in nothing known");
}

/* The key that a request leaves to us, and a CSR for it, judged like any other. */
static bool make_key(struct ra *ra, struct ra_ordering *ordering, EVP_PKEY **key, struct err *err)
{
    const struct ra_request *request = ordering->request;
    struct keygen_plan plan;
    if (!keyring_make_begin(ra->keys))
        return err_set(err, ERR_LOCAL, "too many keys are being made");
    bool ok = keygen_plan(&request->profile->keys, csr_spki_get(request->csr), &plan, err) &&
              keygen_key(&plan, key, err);
    keyring_make_end(ra->keys);
    if (!ok || !keygen_csr(request->csr, *key, &ordering->made, err))
        return false;
    struct policy_result *policy = mem_zalloc(sizeof *policy);
    policy_judge(request->profile, ordering->made, policy);
    ok = policy->verdict != POLICY_REFUSE ||
         err_set(err, ERR_BUG, "a CSR of our own is refused: %s", policy->detail);
    free(policy);
    ordering->csr = ordering->made;
    return ok;
}

/* In this order: what the request had before is revoked when its successor can be made, and before
 * it is ordered, so that there are never two. */
static bool order_made(struct ra *ra, struct ra_ordering *ordering, struct ra_outcome *outcome,
                       struct err *err)
{
    const struct ra_request *request = ordering->request;
    struct keyring_owner owner = {0};
    EVP_PKEY *key = NULL;
    snprintf(owner.profile, sizeof owner.profile, "%s", request->profile->name);
    if (!ra_request_prover(request, owner.prover))
        return err_set(err, ERR_BUG, "a request without evidence");
    bool ok = keyring_may(ra->keys, &owner, err) && make_key(ra, ordering, &key, err) &&
              ra_reuse_find(ra->store, request, ordering->csr, &ordering->key, err) &&
              fill_row(ordering, err) && keyring_put(ra->keys, &owner, ordering->row.id, key, err);
    EVP_PKEY_free(key);
    if (ok && *ordering->stale)
        ok = retire_cert(ra, request->settings, ordering->stale, err);
    if (!ok)
        keyring_drop(ra->keys, ordering->row.id);
    return ok && order_and_drive(ra, ordering, outcome, err);
}

bool ra_order(struct ra *ra, struct ra_ordering *ordering, struct ra_outcome *outcome,
              struct err *err)
{
    if (ordering->request->op == RA_KEYGEN)
        return order_made(ra, ordering, outcome, err);
    return fill_row(ordering, err) && order_and_drive(ra, ordering, outcome, err);
}

void ra_ordering_clear(struct ra_ordering *ordering)
{
    store_request_clear(&ordering->row);
    csr_free(ordering->made);
}
