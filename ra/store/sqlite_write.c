#include "ra/store/sqlite_messages.h"

#include "base/clock.h"
#include "base/text.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define ORDER_LEASE_SECONDS 30
#define CHALLENGE_KEEP_SECONDS INT64_C(2592000) /* 30 days after its end */

/* Appends to the trail, inside the caller's transaction: nobody else can be writing. */
static bool audit_append(struct db *db, const struct audit_event *event, struct err *err)
{
    struct audit_record record = {.seq = 1, .at = clock_now()};
    struct buf text = {0};
    bool row, ok = false;
    sqlite3_stmt *last =
        db_prepare(db, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", err);
    if (!last || !db_step(db, last, &row, err))
        return false;
    if (row) {
        struct bytes hash = db_column_bytes(last, 1);
        record.seq = sqlite3_column_int64(last, 0) + 1;
        if (hash.len == AUDIT_HASH_LEN)
            memcpy(record.prev, hash.ptr, AUDIT_HASH_LEN);
        sqlite3_reset(last);
    }
    sqlite3_stmt *insert = db_prepare(
        db, "INSERT INTO audit (seq, at, text, prev, hash) VALUES (?1, ?2, ?3, ?4, ?5)", err);
    if (!insert)
        return false;
    if (!audit_text(event, &text)) {
        err_set(err, ERR_BUG, "an audit event that is too long");
        goto out;
    }
    record.text = buf_str(&text);
    if (!audit_hash(&record, record.hash)) {
        err_openssl(err, ERR_LOCAL, "hashing an audit record");
        goto out;
    }
    sqlite3_bind_int64(insert, 1, record.seq);
    sqlite3_bind_int64(insert, 2, record.at);
    db_bind_text(insert, 3, record.text);
    db_bind_bytes(insert, 4, bytes_of(record.prev, AUDIT_HASH_LEN));
    db_bind_bytes(insert, 5, bytes_of(record.hash, AUDIT_HASH_LEN));
    ok = db_run(db, insert, err);
out:
    buf_free(&text);
    return ok;
}

static enum db_write written(bool ok)
{
    return ok ? DB_WRITTEN : DB_FAILED;
}

/* Takes one use of a one-time challenge. *spent is false if there was none left. */
static bool challenge_spend(struct db *db, const uint8_t *digest, const char *request, bool *spent,
                            struct err *err)
{
    sqlite3_stmt *take = db_prepare(db,
                                    "UPDATE challenge SET uses_left = uses_left - 1 "
                                    "WHERE digest = ?1 AND uses_left > 0 AND expires > ?2",
                                    err);
    if (!take)
        return false;
    db_bind_bytes(take, 1, bytes_of(digest, RA_DIGEST_LEN));
    sqlite3_bind_int64(take, 2, clock_now());
    if (!db_run(db, take, err))
        return false;
    *spent = sqlite3_changes(db->handle) == 1;
    if (!*spent)
        return true;
    sqlite3_stmt *use =
        db_prepare(db, "INSERT INTO challenge_use (digest, request) VALUES (?1, ?2)", err);
    if (!use)
        return false;
    db_bind_bytes(use, 1, bytes_of(digest, RA_DIGEST_LEN));
    db_bind_text(use, 2, request);
    return db_run(db, use, err);
}

/* A request that came to nothing gives back the use of a challenge. */
static bool challenge_unspend(struct db *db, const char *request, struct err *err)
{
    sqlite3_stmt *give = db_prepare(db,
                                    "UPDATE challenge SET uses_left = uses_left + 1 WHERE "
                                    "uses_left >= 0 AND digest IN "
                                    "(SELECT digest FROM challenge_use WHERE request = ?1)",
                                    err);
    if (!give)
        return false;
    db_bind_text(give, 1, request);
    if (!db_run(db, give, err))
        return false;
    sqlite3_stmt *use = db_prepare(db, "DELETE FROM challenge_use WHERE request = ?1", err);
    if (!use)
        return false;
    db_bind_text(use, 1, request);
    return db_run(db, use, err);
}

static bool request_insert(struct db *db, const struct store_request *row, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(
        db,
        "INSERT INTO request (id, profile, upstream, state, op, dedup, prover, txn, csr, "
        "handle, cookie, renews, origin, subject, reason, created, updated, next_at, "
        "attempt, lease_until, device) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, "
        "?12, ?13, ?14, ?15, ?16, ?16, ?17, ?18, ?19, ?20)",
        err);
    if (!stmt)
        return false;
    int64_t now = clock_now();
    db_bind_text(stmt, 1, row->id);
    db_bind_text(stmt, 2, row->profile);
    db_bind_text(stmt, 3, row->upstream);
    db_bind_text(stmt, 4, txn_state_name(row->state));
    sqlite3_bind_int(stmt, 5, (int)row->op);
    db_bind_bytes(stmt, 6, bytes_of(row->dedup, RA_DIGEST_LEN));
    db_bind_bytes(stmt, 7, bytes_of(row->prover, RA_DIGEST_LEN));
    db_bind_bytes(stmt, 8, buf_bytes(&row->txn));
    db_bind_bytes(stmt, 9, buf_bytes(&row->csr));
    db_bind_bytes(stmt, 10, buf_bytes(&row->handle));
    db_bind_bytes(stmt, 11, buf_bytes(&row->cookie));
    db_bind_text(stmt, 12, row->renews);
    db_bind_text(stmt, 13, row->origin);
    db_bind_text(stmt, 14, row->subject);
    db_bind_text(stmt, 15, row->reason);
    sqlite3_bind_int64(stmt, 16, row->created);
    sqlite3_bind_int64(stmt, 17, row->next_at);
    sqlite3_bind_int(stmt, 18, row->attempt);
    sqlite3_bind_int64(stmt, 19,
                       row->state == TXN_ORDERED && row->attempt ? now + ORDER_LEASE_SECONDS : 0);
    db_bind_bytes(stmt, 20, bytes_of(row->device, RA_DIGEST_LEN));
    return db_run(db, stmt, err);
}

/* A row that no longer answers gives its deduplication key up to the new one. */
static bool dedup_release(struct db *db, const uint8_t *dedup, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db, "UPDATE request SET dedup = NULL WHERE dedup = ?1", err);
    if (!stmt)
        return false;
    db_bind_bytes(stmt, 1, bytes_of(dedup, RA_DIGEST_LEN));
    return db_run(db, stmt, err);
}

enum db_write db_write_order(struct db *db, void *arg, struct err *err)
{
    struct db_order *order = arg;
    const struct store_request *row = order->in->request;
    struct store_request old = {0};
    bool spent = true;
    if (!db_request_by_dedup(db, row->dedup, clock_now() - order->in->retry_window, &old, err))
        return DB_FAILED;
    if (old.id[0]) {
        order->result = STORE_DUPLICATE;
        memcpy(order->existing, old.id, sizeof order->existing);
        store_request_clear(&old);
        return DB_UNDO;
    }
    if (order->in->quota && !db_request_quota(db, order->in->quota, err))
        return DB_FAILED;
    if (order->in->quota && order->in->quota->oldest) {
        order->result = STORE_OVER_QUOTA;
        return DB_UNDO;
    }
    struct store_key_use *key = order->in->key;
    if (key && key->refuse && !db_key_used(db, key, err))
        return DB_FAILED;
    if (key && key->refuse && key->other) {
        order->result = STORE_KEY_USED;
        return DB_UNDO;
    }
    if (!dedup_release(db, row->dedup, err) || !request_insert(db, row, err) ||
        (key && !db_key_note(db, key, row->id, err)) ||
        (order->in->message && !db_message_note(db, order->in->message, row->id, err)) ||
        (order->in->spend && !challenge_spend(db, order->in->spend, row->id, &spent, err)))
        return DB_FAILED;
    if (!spent) {
        order->result = STORE_CHALLENGE_GONE;
        return DB_UNDO;
    }
    order->result = STORE_ORDERED;
    return written(audit_append(db, order->in->audit, err));
}

enum db_write db_write_claim(struct db *db, void *arg, struct err *err)
{
    struct db_claim *claim = arg;
    bool row;
    sqlite3_stmt *stmt =
        db_prepare(db,
                   "UPDATE request SET lease_until = ?2 + ?3, attempt = attempt + 1 "
                   "WHERE id = ?1 AND lease_until <= ?2 AND "
                   "(state IN ('ordered', 'waiting', 'suspect') OR confirm = 1) RETURNING attempt",
                   err);
    if (!stmt)
        return DB_FAILED;
    db_bind_text(stmt, 1, claim->id);
    sqlite3_bind_int64(stmt, 2, clock_now());
    sqlite3_bind_int64(stmt, 3, claim->seconds);
    if (!db_step(db, stmt, &row, err))
        return DB_FAILED;
    claim->attempt = 0;
    if (row) {
        claim->attempt = sqlite3_column_int(stmt, 0);
        sqlite3_reset(stmt);
    }
    return DB_WRITTEN;
}

/* A request that is over needs its CSR no more, which may hold a challenge that is still good. */
static bool csr_forget(struct db *db, const char *id, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db, "UPDATE request SET csr = x'' WHERE id = ?1", err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, id);
    return db_run(db, stmt, err);
}

enum db_write db_write_move(struct db *db, void *arg, struct err *err)
{
    struct db_move *move = arg;
    const struct store_move *in = move->in;
    if (!txn_may_move(in->from, in->to)) {
        err_set(err, ERR_BUG, "request %s may not go from %s to %s", in->id,
                txn_state_name(in->from), txn_state_name(in->to));
        return DB_FAILED;
    }
    sqlite3_stmt *stmt =
        db_prepare(db,
                   "UPDATE request SET state = ?4, cookie = CASE WHEN ?5 THEN ?6 ELSE cookie END, "
                   "next_at = ?7, reason = coalesce(?8, reason), updated = ?9, lease_until = 0, "
                   "handle = coalesce(?10, handle), failures = ?11, wish = ?12, told = ?13 "
                   "WHERE id = ?1 AND attempt = ?2 AND state = ?3",
                   err);
    if (!stmt)
        return DB_FAILED;
    db_bind_text(stmt, 1, in->id);
    sqlite3_bind_int(stmt, 2, in->attempt);
    db_bind_text(stmt, 3, txn_state_name(in->from));
    db_bind_text(stmt, 4, txn_state_name(in->to));
    sqlite3_bind_int(stmt, 5, in->cookie.ptr != NULL);
    db_bind_bytes(stmt, 6, in->cookie);
    sqlite3_bind_int64(stmt, 7, in->next_at);
    db_bind_text(stmt, 8, in->reason);
    sqlite3_bind_int64(stmt, 9, clock_now());
    if (in->handle.ptr)
        db_bind_bytes(stmt, 10, in->handle);
    sqlite3_bind_int(stmt, 11, in->failures);
    sqlite3_bind_int(stmt, 12, in->wish);
    sqlite3_bind_int(stmt, 13, in->unspend);
    if (!db_run(db, stmt, err))
        return DB_FAILED;
    if (sqlite3_changes(db->handle) != 1) {
        move->result = STORE_FENCED;
        return DB_UNDO;
    }
    move->result = STORE_DONE;
    if (in->to == TXN_REFUSED && (!csr_forget(db, in->id, err) || !db_key_forget(db, in->id, err) ||
                                  !db_message_forget(db, in->id, err)))
        return DB_FAILED;
    if (in->unspend && !challenge_unspend(db, in->id, err))
        return DB_FAILED;
    return written(!in->audit || audit_append(db, in->audit, err));
}

static bool cert_insert(struct db *db, const struct store_record *in,
                        const struct store_request *request, struct err *err)
{
    uint8_t issuer[SHA256_DIGEST_LENGTH];
    char fingerprint[2 * RA_DIGEST_LEN + 1];
    struct buf sans = BUF_INIT(sizeof((struct store_cert *)0)->sans - 1);
    struct bytes name = cert_issuer_get(in->cert);
    SHA256(name.ptr, name.len, issuer);
    text_hex(bytes_of(cert_fingerprint_get(in->cert), RA_DIGEST_LEN), fingerprint);
    bool all = names_san_text(cert_names_get(in->cert), &sans);
    sqlite3_stmt *stmt = db_prepare(
        db,
        "INSERT INTO cert (fingerprint, serial, issuer, profile, upstream, request, subject, sans, "
        "not_before, not_after, issued_at, delivered_at, revoked_at, revoked_reason, replaced_by, "
        "der) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, 0, 0, '', ?12)",
        err);
    if (!stmt) {
        buf_free(&sans);
        return false;
    }
    db_bind_text(stmt, 1, fingerprint);
    db_bind_text(stmt, 2, cert_serial_get(in->cert));
    db_bind_bytes(stmt, 3, bytes_of(issuer, sizeof issuer));
    db_bind_text(stmt, 4, request->profile);
    db_bind_text(stmt, 5, request->upstream);
    db_bind_text(stmt, 6, request->id);
    db_bind_text(stmt, 7, cert_names_get(in->cert)->subject_text);
    db_bind_text(stmt, 8, all ? buf_str(&sans) : "too many to list");
    sqlite3_bind_int64(stmt, 9, cert_not_before_get(in->cert));
    sqlite3_bind_int64(stmt, 10, cert_not_after_get(in->cert));
    sqlite3_bind_int64(stmt, 11, clock_now());
    db_bind_bytes(stmt, 12, cert_der_get(in->cert));
    buf_free(&sans);
    return db_run(db, stmt, err);
}

static bool cert_replace(struct db *db, const char *old, const struct cert *by, struct err *err)
{
    char fingerprint[2 * RA_DIGEST_LEN + 1];
    text_hex(bytes_of(cert_fingerprint_get(by), RA_DIGEST_LEN), fingerprint);
    sqlite3_stmt *stmt =
        db_prepare(db, "UPDATE cert SET replaced_by = ?2 WHERE fingerprint = ?1", err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, old);
    db_bind_text(stmt, 2, fingerprint);
    return db_run(db, stmt, err);
}

/* Its recorder keeps the lease, and confirms. */
static bool confirm_mark(struct db *db, const struct store_record *in, struct err *err)
{
    sqlite3_stmt *stmt =
        db_prepare(db, "UPDATE request SET confirm = 1, lease_until = ?2 WHERE id = ?1", err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, in->id);
    sqlite3_bind_int64(stmt, 2, clock_now() + ORDER_LEASE_SECONDS);
    return db_run(db, stmt, err);
}

enum db_write db_write_record(struct db *db, void *arg, struct err *err)
{
    struct db_record *record = arg;
    const struct store_record *in = record->in;
    struct store_request request = {0};
    struct db_move move = {.in = &(struct store_move){
                               .id = in->id,
                               .attempt = in->attempt,
                               .from = in->from,
                               .to = TXN_ISSUED,
                               .cookie = in->cookie,
                               .reason = "", /* what went wrong before is in the trail */
                               .audit = in->audit,
                           }};
    enum db_write result = db_write_move(db, &move, err);
    record->result = move.result;
    if (result != DB_WRITTEN)
        return result;
    if (!db_request_by_id(db, in->id, &request, err))
        return DB_FAILED;
    if (!cert_insert(db, in, &request, err)) {
        int code = sqlite3_extended_errcode(db->handle);
        bool seen = code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY;
        record->result = STORE_SERIAL_SEEN;
        result = seen ? DB_UNDO : DB_FAILED;
    } else {
        result =
            written(csr_forget(db, in->id, err) && (!in->confirm || confirm_mark(db, in, err)) &&
                    (!request.renews[0] || cert_replace(db, request.renews, in->cert, err)));
    }
    store_request_clear(&request);
    return result;
}

enum db_write db_write_confirm(struct db *db, void *arg, struct err *err)
{
    const struct store_confirm *in = arg;
    sqlite3_stmt *stmt = db_prepare(db,
                                    "UPDATE request SET confirm = ?3 > 0, next_at = ?3, "
                                    "reason = coalesce(?4, reason), lease_until = 0, "
                                    "failures = ?5, wish = ?6 "
                                    "WHERE id = ?1 AND attempt = ?2 AND confirm = 1",
                                    err);
    if (!stmt)
        return DB_FAILED;
    db_bind_text(stmt, 1, in->id);
    sqlite3_bind_int(stmt, 2, in->attempt);
    sqlite3_bind_int64(stmt, 3, in->again_at);
    db_bind_text(stmt, 4, in->reason);
    sqlite3_bind_int(stmt, 5, in->failures);
    sqlite3_bind_int(stmt, 6, in->wish);
    if (!db_run(db, stmt, err))
        return DB_FAILED;
    bool ours = sqlite3_changes(db->handle) == 1;
    return written(!ours || !in->audit || audit_append(db, in->audit, err));
}

enum db_write db_write_txn(struct db *db, void *arg, struct err *err)
{
    const struct db_txn *in = arg;
    sqlite3_stmt *stmt = db_prepare(db, "UPDATE request SET txn = ?2 WHERE id = ?1", err);
    if (!stmt)
        return DB_FAILED;
    db_bind_text(stmt, 1, in->id);
    db_bind_bytes(stmt, 2, in->txn);
    return written(db_run(db, stmt, err));
}

enum db_write db_write_refusal_told(struct db *db, void *arg, struct err *err)
{
    sqlite3_stmt *stmt =
        db_prepare(db, "UPDATE request SET told = 1 WHERE id = ?1 AND state = 'refused'", err);
    if (!stmt)
        return DB_FAILED;
    db_bind_text(stmt, 1, arg);
    return written(db_run(db, stmt, err));
}

static bool challenge_purge(struct db *db, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db, "DELETE FROM challenge WHERE expires < ?1", err);
    if (!stmt)
        return false;
    sqlite3_bind_int64(stmt, 1, clock_now() - CHALLENGE_KEEP_SECONDS);
    return db_run(db, stmt, err);
}

enum db_write db_write_challenge(struct db *db, void *arg, struct err *err)
{
    const struct db_challenge_add *add = arg;
    const struct store_challenge *row = add->challenge;
    sqlite3_stmt *stmt =
        db_prepare(db,
                   "INSERT INTO challenge (digest, profile, subject, sans, created, expires, "
                   "uses_left) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                   err);
    if (!stmt)
        return DB_FAILED;
    db_bind_bytes(stmt, 1, bytes_of(row->digest, RA_DIGEST_LEN));
    db_bind_text(stmt, 2, row->profile);
    db_bind_text(stmt, 3, row->subject);
    db_bind_text(stmt, 4, row->sans);
    sqlite3_bind_int64(stmt, 5, row->created);
    sqlite3_bind_int64(stmt, 6, row->expires);
    sqlite3_bind_int(stmt, 7, row->uses_left);
    return written(db_run(db, stmt, err) && challenge_purge(db, err) &&
                   audit_append(db, add->audit, err));
}

static bool miss_add(struct db *db, const struct store_miss *in, bool *added, struct err *err)
{
    sqlite3_stmt *stmt =
        db_prepare(db, "INSERT OR IGNORE INTO challenge_miss (digest, names) VALUES (?1, ?2)", err);
    if (!stmt)
        return false;
    db_bind_bytes(stmt, 1, bytes_of(in->digest, RA_DIGEST_LEN));
    db_bind_bytes(stmt, 2, bytes_of(in->names, RA_DIGEST_LEN));
    bool ok = db_run(db, stmt, err);
    *added = sqlite3_changes(db->handle) == 1;
    return ok;
}

enum db_write db_write_miss(struct db *db, void *arg, struct err *err)
{
    struct db_miss *miss = arg;
    bool added;
    if (!miss_add(db, miss->in, &added, err))
        return DB_FAILED;
    if (!added)
        return DB_UNDO;
    sqlite3_stmt *stmt =
        db_prepare(db,
                   "UPDATE challenge SET uses_left = ?3 WHERE digest = ?1 AND uses_left > 0 AND "
                   "(SELECT count(*) FROM challenge_miss WHERE digest = ?1) >= ?2",
                   err);
    if (!stmt)
        return DB_FAILED;
    db_bind_bytes(stmt, 1, bytes_of(miss->in->digest, RA_DIGEST_LEN));
    sqlite3_bind_int64(stmt, 2, miss->in->limit);
    sqlite3_bind_int(stmt, 3, STORE_CHALLENGE_BURNT);
    if (!db_run(db, stmt, err))
        return DB_FAILED;
    miss->spent = sqlite3_changes(db->handle) == 1;
    return written(!miss->spent || audit_append(db, miss->in->audit, err));
}

enum db_write db_write_revoke(struct db *db, void *arg, struct err *err)
{
    struct db_revoke *revoke = arg;
    sqlite3_stmt *stmt = db_prepare(db,
                                    "UPDATE cert SET revoked_at = ?2, revoked_reason = ?3 "
                                    "WHERE fingerprint = ?1 AND revoked_at = 0",
                                    err);
    if (!stmt)
        return DB_FAILED;
    db_bind_text(stmt, 1, revoke->in->fingerprint);
    sqlite3_bind_int64(stmt, 2, clock_now());
    sqlite3_bind_int(stmt, 3, revoke->in->reason);
    if (!db_run(db, stmt, err))
        return DB_FAILED;
    revoke->found = sqlite3_changes(db->handle) == 1;
    return revoke->found ? written(audit_append(db, revoke->in->audit, err)) : DB_UNDO;
}

enum db_write db_write_memory(struct db *db, void *arg, struct err *err)
{
    const struct db_memory *in = arg;
    sqlite3_stmt *stmt =
        db_prepare(db, "INSERT OR REPLACE INTO memory (upstream, memory) VALUES (?1, ?2)", err);
    if (!stmt)
        return DB_FAILED;
    db_bind_text(stmt, 1, in->upstream);
    db_bind_bytes(stmt, 2, in->memory);
    return written(db_run(db, stmt, err));
}

enum db_write db_write_audit(struct db *db, void *arg, struct err *err)
{
    return written(audit_append(db, arg, err));
}

enum db_write db_write_delivered(struct db *db, void *arg, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(
        db, "UPDATE cert SET delivered_at = ?2 WHERE request = ?1 AND delivered_at = 0", err);
    if (!stmt)
        return DB_FAILED;
    db_bind_text(stmt, 1, arg);
    sqlite3_bind_int64(stmt, 2, clock_now());
    return written(db_run(db, stmt, err));
}

/* What was written in the future was written before the clock was set back: the time of its next
 * try says nothing, so that is now. */
static bool heed_clock(struct db *db, struct err *err)
{
    sqlite3_stmt *stmt =
        db_prepare(db,
                   "UPDATE request SET next_at = ?1 WHERE next_at > ?1 AND updated > ?1 AND "
                   "(state IN ('ordered', 'waiting', 'suspect') OR confirm = 1)",
                   err);
    if (!stmt)
        return false;
    sqlite3_bind_int64(stmt, 1, clock_now());
    return db_run(db, stmt, err);
}

/* Keys that were made here went with the process that made them: what still waits for a certificate
 * of one is looked at now. */
static bool wake_keyless(struct db *db, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db,
                                    "UPDATE request SET next_at = ?1 WHERE next_at > ?1 AND "
                                    "op = ?2 AND state IN ('ordered', 'waiting')",
                                    err);
    if (!stmt)
        return false;
    sqlite3_bind_int64(stmt, 1, clock_now());
    sqlite3_bind_int(stmt, 2, RA_KEYGEN);
    return db_run(db, stmt, err);
}

enum db_write db_write_wake(struct db *db, void *arg, struct err *err)
{
    const int64_t *until = arg;
    sqlite3_stmt *stmt =
        db_prepare(db,
                   "UPDATE request SET next_at = ?1 WHERE next_at > ?1 AND next_at <= ?2 AND "
                   "failures > 0 AND wish = 0 AND "
                   "(state IN ('ordered', 'waiting', 'suspect') OR confirm = 1)",
                   err);
    if (!stmt)
        return DB_FAILED;
    sqlite3_bind_int64(stmt, 1, clock_now());
    sqlite3_bind_int64(stmt, 2, *until);
    return written(db_run(db, stmt, err));
}

enum db_write db_write_free_leases(struct db *db, void *arg, struct err *err)
{
    (void)arg; /* not 0, which says that the driver put it back itself */
    return written(db_exec(db,
                           "UPDATE request SET lease_until = 1 WHERE lease_until > 1 AND "
                           "(state IN ('ordered', 'waiting', 'suspect') OR confirm = 1)",
                           err) &&
                   heed_clock(db, err) && wake_keyless(db, err));
}

enum db_write db_write_probe(struct db *db, void *arg, struct err *err)
{
    (void)arg;
    return written(db_exec(db, "DELETE FROM challenge WHERE 0", err));
}
