#include "ra/retire.h"

#include "base/clock.h"
#include "base/permit.h"
#include "base/text.h"
#include "ra/prove.h"

#include <stdio.h>
#include <string.h>

#define SUPERSEDED 4 /* CRLReason, RFC 5280 section 5.3.1: the device may still renew */
#define REVOKE_MS 5000
#define AGAIN_SECONDS 5

static const char lost[] = "the key that was made for it is lost";

/* What an operator should know, since the CA does not. */
static void tell(struct ra *ra, const char *upstream, const struct cert *cert, const char *why)
{
    struct err err;
    err_set(&err, ERR_UPSTREAM, "certificate %s, whose key is lost, is not revoked there: %s",
            cert_serial_get(cert), why);
    if (ra->told)
        ra->told(upstream, &err);
}

/* A CA of ours reads the inventory. */
static void tell_ca(struct ra *ra, const struct ra_settings *settings,
                    const struct store_request *row, const struct cert *cert)
{
    struct err err = {0};
    size_t at;
    if (!ra_upstream_find(settings, row->upstream, &at))
        return;
    struct upstream *up = settings->upstreams[at];
    bool line = cfg_upstream_line(&settings->cfg->upstreams[at]);
    if (up->vt->caps & UP_INLINE)
        return;
    if (!up->vt->revoke || !(up->vt->caps & UP_REVOKE)) {
        tell(ra, up->name, cert, "it cannot be told");
    } else if (line && !work_waits_begin(ra, up->name)) {
        tell(ra, up->name, cert, "too many wait for it");
    } else {
        permit_pause();
        bool ok = up->vt->revoke(up, cert, SUPERSEDED, clock_mono_ms() + REVOKE_MS, &err);
        permit_resume();
        if (line)
            work_waits_end(ra, up->name, !ok);
        if (!ok)
            tell(ra, up->name, cert, err.text);
    }
}

static bool revoke(struct ra *ra, const struct ra_settings *settings,
                   const struct store_request *row, const struct cert *cert, struct err *err)
{
    char fingerprint[2 * RA_DIGEST_LEN + 1], detail[RA_DETAIL_MAX];
    text_hex(bytes_of(cert_fingerprint_get(cert), RA_DIGEST_LEN), fingerprint);
    snprintf(detail, sizeof detail, "serial %s: %s", cert_serial_get(cert), lost);
    struct audit_event event = {
        .event = "revoked",
        .request = row->id,
        .profile = row->profile,
        .origin = row->origin,
        .subject = row->subject,
        .detail = detail,
    };
    struct store_revoke in = {fingerprint, SUPERSEDED, &event};
    bool found = false;
    if (!ra->store->vt->cert_revoke(ra->store, &in, &found, err))
        return false;
    if (found)
        tell_ca(ra, settings, row, cert);
    return true;
}

bool retire_cert(struct ra *ra, const struct ra_settings *settings, const char *id, struct err *err)
{
    struct store_request row = {0};
    struct cert *cert = NULL;
    bool ok = ra->store->vt->request_by_id(ra->store, id, &row, err);
    if (ok && row.cert.len)
        ok = cert_parse(buf_bytes(&row.cert), &cert, err) && revoke(ra, settings, &row, cert, err);
    cert_free(cert);
    store_request_clear(&row);
    return ok;
}

static void ask_again(struct ra_outcome *outcome)
{
    cert_free(outcome->cert);
    outcome->cert = NULL;
    outcome->status = RA_PENDING;
    outcome->reason = RA_OK;
    outcome->retry_after = AGAIN_SECONDS;
    snprintf(outcome->detail, sizeof outcome->detail, "%s", lost);
}

bool retire_unkept(struct ra *ra, const struct ra_drive *drive, struct ra_outcome *outcome,
                   struct err *err)
{
    const struct store_request *row = drive->row;
    /* What is only confirmed now was issued, and perhaps delivered, before. */
    if (row->op != RA_KEYGEN || txn_is_final(row->state) || outcome->status != RA_ISSUED ||
        keyring_has(ra->keys, row->id))
        return true;
    ask_again(outcome);
    return retire_cert(ra, drive->settings, row->id, err);
}

/* Of a row that was put back in good order. What failed at a CA to which the same may be sent twice
 * may have left, and issued. */
static bool is_unsent(const struct upstream *up, const struct store_request *row)
{
    return row->state == TXN_ORDERED && (!row->failures || !(up->vt->caps & UP_RESUBMIT_SAFE));
}

bool retire_wants(struct ra *ra, const struct ra_settings *settings,
                  const struct store_request *row)
{
    size_t at;
    return row->op == RA_KEYGEN && !row->lease_until && !keyring_has(ra->keys, row->id) &&
           ra_upstream_find(settings, row->upstream, &at) &&
           is_unsent(settings->upstreams[at], row);
}

/* row: as it is now; empty if it has gone. */
static void look_after(struct ra *ra, const struct ra_settings *settings, const char *id,
                       const struct store_request *row)
{
    const struct cfg_profile *profile = cfg_profile_get(settings->cfg, row->profile);
    if (!row->id[0] || row->state == TXN_REFUSED)
        keyring_drop(ra->keys, id);
    else if (row->state == TXN_ISSUED)
        keyring_settle(ra->keys, id, profile ? profile->retry_window : 0);
}

bool retire_keys(struct ra *ra, const struct ra_settings *settings, struct err *err)
{
    char id[RA_ID_LEN + 1];
    bool ok = true;
    keyring_purge(ra->keys);
    while (ok && keyring_open_next(ra->keys, id)) {
        struct store_request row = {0};
        ok = ra->store->vt->request_by_id(ra->store, id, &row, err);
        if (ok)
            look_after(ra, settings, id, &row);
        store_request_clear(&row);
    }
    return ok;
}

/* The last poll was answered, so nothing that we sent is on its way. */
static bool is_idle(const struct ra_drive *drive)
{
    const struct store_request *row = drive->row;
    struct upstream *up = drive->settings->upstreams[drive->upstream];
    const struct up_order order = {
        .request_id = row->id, .csr = drive->csr, .profile = drive->profile};
    return row->state == TXN_WAITING && row->failures == 0 && up->vt->idle &&
           up->vt->idle(up, &order, buf_bytes(&row->cookie), drive->deadline);
}

bool retire_unsent(struct ra *ra, const struct ra_drive *drive)
{
    const struct store_request *row = drive->row;
    return row->op == RA_KEYGEN && drive->fresh && !keyring_has(ra->keys, row->id) &&
           (is_unsent(drive->settings->upstreams[drive->upstream], row) || is_idle(drive));
}

bool retire_end(struct ra *ra, const struct ra_drive *drive, struct ra_outcome *outcome,
                struct err *err)
{
    const struct store_request *row = drive->row;
    struct audit_event event = {
        .event = txn_state_name(TXN_REFUSED),
        .request = row->id,
        .profile = row->profile,
        .origin = row->origin,
        .subject = row->subject,
        .detail = lost,
    };
    struct store_move move = {
        .id = row->id,
        .attempt = row->attempt,
        .from = row->state,
        .to = TXN_REFUSED,
        .reason = lost,
        .unspend = true,
        .audit = &event,
    };
    enum store_write result;
    memcpy(outcome->request_id, row->id, sizeof outcome->request_id);
    ask_again(outcome);
    return ra->store->vt->move(ra->store, &move, &result, err);
}
