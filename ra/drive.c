#include "ra/drive.h"

#include "base/clock.h"
#include "base/debug.h"
#include "base/text.h"
#include "ra/policy.h"
#include "ra/prove.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#define BACKOFF_FIRST_SECONDS 5
#define BACKOFF_MAX_SECONDS 600
#define NEVER_SECONDS INT64_C(315360000) /* until an operator decides */
#define SUPERSEDED 4                     /* CRLReason, RFC 5280 section 5.3.1 */
#define WISH_MAX_SECONDS 86400 /* a CA's Retry-After: a mistake in it must not lose the request */
#define DOUBT_SECONDS 86400    /* in which a CA that has answered knows what it confirmed */
#define RETRY_AFTER_MIN 5
#define RETRY_AFTER_MAX 3600

/* Seconds until the next of so many tries: doubling, capped, with full jitter. */
static int64_t backoff(int tries)
{
    int64_t limit = BACKOFF_FIRST_SECONDS;
    uint32_t noise = 0;
    for (int i = 1; i < tries && limit < BACKOFF_MAX_SECONDS; i++)
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

/* In a row, with what was said now. That a request still waits is no failure. */
static int failures(const struct ra_drive *drive)
{
    bool fine = drive->said.result == UP_PENDING || drive->said.result == UP_REFUSED ||
                drive->said.result == UP_LOST;
    return fine ? 0 : drive->row->failures + 1;
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
        .handle = buf_bytes(&reply->handle),
        .next_at = next_at,
        .failures = failures(drive),
        .wish = reply->retry_after > 0,
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

/* What is wrong with a certificate. */
enum fault {
    FAULT_NONE = 0,
    FAULT_OLD,    /* it is one that the CA issued before; nothing has been issued */
    FAULT_SERIAL, /* another certificate has its serial number */
    FAULT_WRONG,  /* it is not what was asked for */
};

/* FENCED: another driver was faster, and says what becomes of it. */
static bool record(const struct ra_drive *drive, const struct up_reply *reply, bool confirm,
                   enum store_write *result, struct err *err)
{
    char detail[128];
    snprintf(detail, sizeof detail, "serial %s by %s", cert_serial_get(reply->cert),
             drive->row->upstream);
    struct audit_event event = event_of(drive, "issued", detail);
    struct store_record in = {
        .id = drive->row->id,
        .attempt = drive->row->attempt,
        .from = drive->row->state,
        .cert = reply->cert,
        .confirm = confirm,
        .cookie = buf_bytes(&reply->cookie),
        .audit = &event,
    };
    return drive->store->vt->record(drive->store, &in, result, err);
}

/* The serial number is in the inventory: is it this very certificate? */
static bool judge_seen(const struct ra_drive *drive, const struct cert *cert, enum fault *fault,
                       struct err *why, struct err *err)
{
    struct store_cert seen = {0};
    bool found;
    if (!drive->store->vt->cert_find(drive->store, cert_fingerprint_get(cert), &seen, &found, err))
        return false;
    store_cert_clear(&seen);
    *fault = found ? FAULT_OLD : FAULT_SERIAL;
    if (found)
        err_set(why, ERR_UPSTREAM, "the CA answered with certificate %s, which it issued before",
                cert_serial_get(cert));
    else
        err_set(why, ERR_UPSTREAM, "the CA used serial number %s twice", cert_serial_get(cert));
    return true;
}

/* Whether the CA took a certificate back that nobody shall have. */
static bool take_back(const struct ra_drive *drive, const struct up_reply *reply, bool unconfirmed,
                      struct err *err)
{
    struct upstream *up = drive->settings->upstreams[drive->upstream];
    if (unconfirmed && up->vt->confirm)
        return up->vt->confirm(up, buf_bytes(&reply->cookie), false, drive->deadline, err) ==
               UP_ISSUED;
    return up->vt->revoke && (up->vt->caps & UP_REVOKE) && reply->cert &&
           up->vt->revoke(up, reply->cert, SUPERSEDED, drive->deadline, err);
}

static bool recovers(const struct ra_drive *drive)
{
    return drive->settings->upstreams[drive->upstream]->vt->recover;
}

/* When a CA may be asked what became of a request; one that cannot say leaves it to an operator. */
static int64_t again_at(const struct ra_drive *drive, int tries)
{
    return clock_now() + (recovers(drive) ? backoff(tries) : NEVER_SECONDS);
}

/* The request is over if nothing is left of the certificate, else SUSPECT: an operator must look.
 */
static bool reject(const struct ra_drive *drive, struct up_reply *reply, enum fault fault,
                   const struct err *why, struct err *err)
{
    struct err failed = {0};
    bool unconfirmed = drive->said.result == UP_UNCONFIRMED;
    bool gone = fault == FAULT_OLD;
    if (fault == FAULT_WRONG)
        gone = take_back(drive, reply, unconfirmed, &failed);
    snprintf(reply->reason, sizeof reply->reason, "%.150s%s%.60s", why->text,
             fault != FAULT_WRONG ? ""
             : gone               ? "; the CA has taken it back"
                                  : "; the CA has not taken it back: ",
             failed.text);
    return move_to(drive, gone ? TXN_REFUSED : TXN_SUSPECT, again_at(drive, failures(drive)), reply,
                   err);
}

/* Whether it is in vain to send a confirmation again. Who only cannot be reached is asked as long
 * as the certificate is good; who answers with what is no answer, for a day. */
static bool is_in_vain(const struct ra_drive *drive, enum up_result result, const struct cert *cert)
{
    bool old =
        txn_is_final(drive->row->state) && clock_now() - drive->row->updated >= DOUBT_SECONDS;
    return result == UP_REFUSED || (result == UP_UNKNOWN && old) ||
           cert_not_after_get(cert) <= clock_now();
}

/* A confirmation that fails is tried again, from the row, or it has come to its end, which an
 * operator must know of: the CA may revoke the certificate that the device has (RFC 4210 section
 * 5.1.1.2), or may have heard of it before. */
static bool confirm(struct ra_drive *drive, struct bytes cookie, const struct cert *cert,
                    struct err *err)
{
    struct upstream *up = drive->settings->upstreams[drive->upstream];
    struct err failed = {0};
    struct store_confirm in = {.id = drive->row->id, .attempt = drive->row->attempt};
    struct audit_event event = event_of(drive, "unconfirmed", failed.text);
    enum up_result result = UP_ISSUED;
    if (up->vt->confirm)
        result = up->vt->confirm(up, cookie, true, drive->deadline, &failed);
    if (result != UP_ISSUED && is_in_vain(drive, result, cert)) {
        struct err *said = &drive->said.unheard;
        err_set(said, failed.kind,
                "certificate %s is not confirmed any more: see whether the CA revoked it (%.140s)",
                cert_serial_get(cert), failed.text);
        failed = *said;
        in.audit = &event;
    } else if (result != UP_ISSUED) {
        in.wish = failed.retry_after > 0;
        in.failures = txn_is_final(drive->row->state) ? drive->row->failures + 1 : 1;
        in.again_at =
            clock_now() + (failed.retry_after > 0 ? failed.retry_after : backoff(in.failures));
    }
    in.reason = failed.text; /* empty, if it heard at last */
    debug_boundary("confirmed");
    return drive->store->vt->confirm(drive->store, &in, err);
}

/* Of a row that is over. */
static bool confirm_row(struct ra_drive *drive, struct err *err)
{
    struct cert *cert = NULL;
    bool ok = cert_parse(buf_bytes(&drive->row->cert), &cert, err) &&
              confirm(drive, buf_bytes(&drive->row->cookie), cert, err);
    cert_free(cert);
    return ok;
}

/* The certificate is checked and recorded before anyone hears of it, and before it is confirmed. */
static bool take_cert(struct ra_drive *drive, struct up_reply *reply, struct err *err)
{
    bool unconfirmed = drive->said.result == UP_UNCONFIRMED;
    enum store_write result = STORE_DONE;
    enum fault fault = FAULT_NONE;
    struct err why = {0};
    if (!check_reply(drive, reply, &why))
        fault = FAULT_WRONG;
    else if (!record(drive, reply, unconfirmed, &result, err))
        return false;
    if (result == STORE_SERIAL_SEEN && !judge_seen(drive, reply->cert, &fault, &why, err))
        return false;
    if (fault != FAULT_NONE)
        return reject(drive, reply, fault, &why, err);
    debug_boundary("recorded");
    /* Who was fenced says nothing: the other driver confirms what it recorded. */
    return !unconfirmed || result == STORE_FENCED ||
           confirm(drive, buf_bytes(&reply->cookie), reply->cert, err);
}

/* Where a request goes of which nobody knows what became. What waits at the CA can be asked for
 * again; what may have left is sent again only if that cannot issue twice. */
static enum txn_state state_unknown(const struct ra_drive *drive)
{
    const struct upstream *up = drive->settings->upstreams[drive->upstream];
    if (drive->row->state == TXN_WAITING ||
        (drive->row->state == TXN_SUSPECT && !drive->said.asked))
        return drive->row->state;
    return up->vt->caps & UP_RESUBMIT_SAFE ? TXN_ORDERED : TXN_SUSPECT;
}

static bool apply(struct ra_drive *drive, enum up_result result, struct up_reply *reply,
                  struct err *err)
{
    enum txn_state state = drive->row->state;
    int tries = result == UP_PENDING ? drive->row->attempt : failures(drive);
    int64_t wait = reply->retry_after > 0 ? reply->retry_after : backoff(tries);
    if (wait > WISH_MAX_SECONDS)
        wait = WISH_MAX_SECONDS;
    int64_t next_at = clock_now() + wait;
    switch (result) {
    case UP_ISSUED:
    case UP_UNCONFIRMED:
        return take_cert(drive, reply, err);
    case UP_PENDING: /* of a suspect: its certificate is yet to be recovered */
        return move_to(drive, state == TXN_SUSPECT ? TXN_SUSPECT : TXN_WAITING, next_at, reply,
                       err);
    case UP_REFUSED:
        return move_to(drive, TXN_REFUSED, 0, reply, err);
    case UP_LOST:
        return move_to(drive, TXN_SUSPECT, clock_now() + NEVER_SECONDS, reply, err);
    case UP_RETRY: /* nothing happened: as before, later */
        return move_to(drive, state, next_at, reply, err);
    default: /* whom nobody can ask what became of it keeps why it is suspect */
        if (state_unknown(drive) == TXN_SUSPECT && (!drive->said.asked || !recovers(drive)))
            next_at = again_at(drive, 1);
        return move_to(drive, state_unknown(drive), next_at, reply, err);
    }
}

/* By the row's state. SUSPECT is never blindly sent again. */
static enum up_result ask(struct ra_drive *drive, const struct up_order *order,
                          struct up_reply *reply)
{
    struct upstream *up = drive->settings->upstreams[drive->upstream];
    const struct store_request *row = drive->row;
    bool may_send = drive->fresh || (up->vt->caps & UP_RESUBMIT_SAFE);
    drive->said.asked = true;
    if (row->state == TXN_WAITING && up->vt->poll)
        return up->vt->poll(up, order, buf_bytes(&row->cookie), drive->deadline, reply);
    if (row->state == TXN_ORDERED && may_send)
        return up->vt->submit(up, order, buf_bytes(&row->handle), drive->deadline, reply);
    if (up->vt->recover) {
        /* "Later" is no answer to what became of it. */
        enum up_result result =
            up->vt->recover(up, order, buf_bytes(&row->handle), drive->deadline, reply);
        return result == UP_RETRY ? UP_UNKNOWN : result;
    }
    drive->said.asked = false;
    snprintf(reply->reason, sizeof reply->reason,
             "%s cannot say what became of it: see whether it issued, then approve or deny",
             up->name);
    return UP_UNKNOWN;
}

/* The certificate that is renewed, for a CA that issued it and wants to know. */
static bool find_renewed(const struct ra_drive *drive, struct cert **ret, struct err *err)
{
    const struct upstream *up = drive->settings->upstreams[drive->upstream];
    struct buf fingerprint = {0};
    struct store_cert seen = {0};
    bool ok = true, found = false;
    if ((up->vt->caps & UP_RENEWS) && text_unhex(bytes_str(drive->row->renews), &fingerprint) &&
        fingerprint.len == RA_DIGEST_LEN)
        ok = drive->store->vt->cert_find(drive->store, fingerprint.ptr, &seen, &found, err);
    if (ok && found && strcmp(seen.upstream, drive->row->upstream) == 0)
        ok = cert_parse(buf_bytes(&seen.der), ret, err);
    store_cert_clear(&seen);
    buf_free(&fingerprint);
    return ok;
}

static bool ask_and_apply(struct ra_drive *drive, struct err *err)
{
    struct cert *renews = NULL;
    if (!find_renewed(drive, &renews, err))
        return false;
    struct up_order order = {
        .request_id = drive->row->id,
        .csr = drive->csr,
        .profile = drive->profile,
        .renews = renews,
    };
    struct up_reply reply = {0};
    debug_boundary("claimed");
    drive->said.result = ask(drive, &order, &reply);
    debug_boundary("answered");
    drive->said.retry_after = reply.retry_after;
    bool ok = apply(drive, drive->said.result, &reply, err);
    debug_boundary("written");
    up_reply_clear(&reply);
    cert_free(renews);
    return ok;
}

bool ra_drive(struct ra_drive *drive, struct ra_outcome *outcome, struct err *err)
{
    struct store_request now = {0};
    bool ok = txn_is_final(drive->row->state) ? confirm_row(drive, err) : ask_and_apply(drive, err);
    ok = ok && drive->store->vt->request_by_id(drive->store, drive->row->id, &now, err) &&
         ra_outcome_of_row(drive->settings, &now, outcome, err);
    store_request_clear(&now);
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
        outcome->told = row->told;
        return true;
    default:
        outcome->status = RA_PENDING;
        outcome->retry_after = retry_after(row->next_at);
        outcome->with_ca = row->state == TXN_WAITING;
        snprintf(outcome->detail, sizeof outcome->detail, "%s", row->reason);
        return true;
    }
}
