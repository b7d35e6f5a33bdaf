#include "ra/drive.h"

#include "base/clock.h"
#include "ra/policy.h"
#include "ra/prove.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#define SUBMIT_MS 25000 /* shorter than a lease: who claims after it meets nobody */
#define BACKOFF_FIRST_SECONDS 5
#define BACKOFF_MAX_SECONDS 600
#define SUSPECT_AGAIN_SECONDS 60
#define RETRY_AFTER_MIN 5
#define RETRY_AFTER_MAX 3600

/* Seconds until the next try: doubling, capped, with full jitter. */
static int64_t backoff(int attempt)
{
    int64_t limit = BACKOFF_FIRST_SECONDS;
    uint32_t noise = 0;
    for (int i = 1; i < attempt && limit < BACKOFF_MAX_SECONDS; i++)
        limit *= 2;
    if (limit > BACKOFF_MAX_SECONDS)
        limit = BACKOFF_MAX_SECONDS;
    (void)RAND_bytes((unsigned char *)&noise, sizeof noise); /* none: no jitter, no harm */
    return 1 + noise % limit;
}

static int retry_after(int64_t next_at)
{
    int64_t seconds = next_at - clock_now();
    if (seconds < RETRY_AFTER_MIN)
        return RETRY_AFTER_MIN;
    return seconds > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : (int)seconds;
}

static struct audit_event event_of(const struct ra_drive *drive, const char *event,
                                   const char *detail)
{
    return (struct audit_event){
        .event = event,
        .request = drive->row->id,
        .profile = drive->row->profile,
        .origin = drive->row->origin,
        .subject = drive->row->subject,
        .detail = detail,
    };
}

/* A move; fenced means that another driver was faster, and then the row says what to tell. */
static bool move_to(const struct ra_drive *drive, enum txn_state to, int64_t next_at,
                    const struct up_reply *reply, struct err *err)
{
    struct audit_event event = event_of(drive, txn_state_name(to), reply->reason);
    /* Polls go on for days: what they only confirm is not told to the trail again. */
    bool same = to == drive->row->state && strcmp(reply->reason, drive->row->reason) == 0;
    struct store_move move = {
        .id = drive->row->id,
        .attempt = drive->row->attempt,
        .from = drive->row->state,
        .to = to,
        .cookie = buf_bytes(&reply->cookie),
        .next_at = next_at,
        .reason = reply->reason,
        .audit = same ? NULL : &event,
    };
    enum store_write result;
    return drive->store->vt->move(drive->store, &move, &result, err);
}

static bool check_reply(const struct ra_drive *drive, const struct up_reply *reply, struct err *err)
{
    struct upstream *up = drive->settings->upstreams[drive->upstream];
    const struct cfg_certs *chain = NULL;
    if (!reply->cert)
        return err_set(err, ERR_BUG, "%s says issued and gives no certificate", up->name);
    if (up->vt->chain && !up->vt->chain(up, &chain, err))
        return false;
    return policy_check_issued(drive->profile, drive->csr, reply->cert, chain, err);
}

/* What became of a certificate. */
enum recorded { RECORDED = 0, RECORD_REJECTED, RECORD_FENCED };

/* The certificate is checked and recorded before anyone hears of it. One that is wrong, or whose
 * serial number was seen before, makes the request SUSPECT: an operator must look. FENCED: another
 * driver was faster, and nothing is known of this certificate. */
static bool record_cert(const struct ra_drive *drive, struct up_reply *reply,
                        enum recorded *recorded, struct err *err)
{
    char detail[128];
    struct err wrong = {0};
    enum store_write result = STORE_DONE;
    *recorded = RECORDED;
    if (check_reply(drive, reply, &wrong)) {
        snprintf(detail, sizeof detail, "serial %s by %s", cert_serial_get(reply->cert),
                 drive->row->upstream);
        struct audit_event event = event_of(drive, "issued", detail);
        struct store_record record = {
            .id = drive->row->id,
            .attempt = drive->row->attempt,
            .from = drive->row->state,
            .cert = reply->cert,
            .audit = &event,
        };
        if (!drive->store->vt->record(drive->store, &record, &result, err))
            return false;
        if (result == STORE_FENCED)
            *recorded = RECORD_FENCED;
        if (result != STORE_SERIAL_SEEN)
            return true;
        err_set(&wrong, ERR_UPSTREAM, "the CA used serial number %s twice",
                cert_serial_get(reply->cert));
    }
    *recorded = RECORD_REJECTED;
    snprintf(reply->reason, sizeof reply->reason, "%.250s", wrong.text);
    return move_to(drive, TXN_SUSPECT, clock_now() + SUSPECT_AGAIN_SECONDS, reply, err);
}

/* Who was fenced says nothing: the other driver confirms what it recorded. */
static bool confirm_cert(const struct ra_drive *drive, const struct up_reply *reply,
                         enum recorded recorded, struct err *err)
{
    struct upstream *up = drive->settings->upstreams[drive->upstream];
    return !up->vt->confirm || recorded == RECORD_FENCED ||
           up->vt->confirm(up, buf_bytes(&reply->cookie), recorded == RECORDED,
                           clock_mono_ms() + SUBMIT_MS, err);
}

/* Where a request goes of which nobody knows what became. What waits at the CA can be asked for
 * again; what may have left is sent again only if that cannot issue twice. */
static enum txn_state state_unknown(const struct ra_drive *drive)
{
    const struct upstream *up = drive->settings->upstreams[drive->upstream];
    if (drive->row->state == TXN_WAITING)
        return TXN_WAITING;
    return up->vt->caps & UP_RESUBMIT_SAFE ? TXN_ORDERED : TXN_SUSPECT;
}

static bool apply(const struct ra_drive *drive, enum up_result result, struct up_reply *reply,
                  struct err *err)
{
    enum txn_state state = drive->row->state;
    enum recorded recorded;
    int64_t wait = reply->retry_after > 0 ? reply->retry_after : backoff(drive->row->attempt);
    int64_t next_at = clock_now() + wait;
    switch (result) {
    case UP_ISSUED:
        return record_cert(drive, reply, &recorded, err);
    case UP_UNCONFIRMED:
        return record_cert(drive, reply, &recorded, err) &&
               confirm_cert(drive, reply, recorded, err);
    case UP_PENDING: /* of a suspect: its certificate is yet to be recovered */
        return move_to(drive, state == TXN_SUSPECT ? TXN_SUSPECT : TXN_WAITING, next_at, reply,
                       err);
    case UP_REFUSED:
        return move_to(drive, TXN_REFUSED, 0, reply, err);
    case UP_RETRY: /* nothing happened: as before, later */
        return move_to(drive, state, next_at, reply, err);
    default:
        return move_to(drive, state_unknown(drive), next_at, reply, err);
    }
}

/* By the row's state. SUSPECT is never blindly sent again. */
static enum up_result ask(const struct ra_drive *drive, const struct up_order *order,
                          struct up_reply *reply)
{
    struct upstream *up = drive->settings->upstreams[drive->upstream];
    const struct store_request *row = drive->row;
    int64_t deadline = clock_mono_ms() + SUBMIT_MS;
    bool may_send = drive->fresh || (up->vt->caps & UP_RESUBMIT_SAFE);
    if (row->state == TXN_WAITING && up->vt->poll)
        return up->vt->poll(up, order, buf_bytes(&row->cookie), deadline, reply);
    if (row->state == TXN_ORDERED && may_send)
        return up->vt->submit(up, order, buf_bytes(&row->handle), deadline, reply);
    if (up->vt->recover) {
        /* "Later" is no answer to what became of it. */
        enum up_result result =
            up->vt->recover(up, order, buf_bytes(&row->handle), deadline, reply);
        return result == UP_RETRY ? UP_UNKNOWN : result;
    }
    snprintf(reply->reason, sizeof reply->reason, "%s cannot say what became of it", up->name);
    return UP_UNKNOWN;
}

bool ra_drive(const struct ra_drive *drive, struct ra_outcome *outcome, struct err *err)
{
    struct up_order order = {
        .request_id = drive->row->id,
        .csr = drive->csr,
        .profile = drive->profile,
    };
    struct up_reply reply = {0};
    struct store_request now = {0};
    enum up_result result = ask(drive, &order, &reply);
    bool ok = apply(drive, result, &reply, err) &&
              drive->store->vt->request_by_id(drive->store, drive->row->id, &now, err) &&
              ra_outcome_of_row(drive->settings, &now, outcome, err);
    store_request_clear(&now);
    up_reply_clear(&reply);
    return ok;
}

bool ra_upstream_find(const struct ra_settings *settings, const char *name, size_t *ret)
{
    for (size_t i = 0; i < settings->cfg->upstream_count; i++) {
        if (strcmp(settings->cfg->upstreams[i].name, name) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

bool ra_outcome_of_row(const struct ra_settings *settings, const struct store_request *row,
                       struct ra_outcome *outcome, struct err *err)
{
    memcpy(outcome->request_id, row->id, sizeof outcome->request_id);
    switch (row->state) {
    case TXN_ISSUED:
        if (!row->cert_live) {
            ra_refuse(outcome, RA_UNKNOWN_TXN, "its certificate was revoked or replaced since");
            return true;
        }
        outcome->status = RA_ISSUED;
        outcome->reason = RA_OK;
        if (!ra_upstream_find(settings, row->upstream, &outcome->upstream))
            outcome->upstream = SIZE_MAX;
        return cert_parse(buf_bytes(&row->cert), &outcome->cert, err);
    case TXN_REFUSED:
        ra_refuse(outcome, RA_UPSTREAM_REFUSED, "%s", row->reason);
        return true;
    default:
        outcome->status = RA_PENDING;
        outcome->retry_after = retry_after(row->next_at);
        snprintf(outcome->detail, sizeof outcome->detail, "%s", row->reason);
        return true;
    }
}
