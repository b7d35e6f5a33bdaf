#include "ra/store/sqlite_db.h"

#include "base/text.h"

#include <openssl/sha.h>
#include <string.h>

#define REASON_SUPERSEDED 4 /* CRLReason (RFC 5280 section 5.3.1) */

#define REQUEST_COLUMNS                                                                            \
    "SELECT r.id, r.profile, r.upstream, r.state, r.op, r.dedup, r.prover, r.txn, r.csr, "         \
    "r.handle, r.cookie, r.renews, r.origin, r.subject, r.reason, r.created, r.updated, "          \
    "r.next_at, r.attempt, r.lease_until, c.der, "                                                 \
    "coalesce(c.revoked_at = 0 AND c.replaced_by = '', 0), r.confirm, r.failures, r.told "         \
    "FROM request r LEFT JOIN cert c ON c.request = r.id "

#define CERT_COLUMNS                                                                               \
    "SELECT fingerprint, serial, profile, upstream, request, subject, sans, not_before, "          \
    "not_after, issued_at, delivered_at, revoked_at, revoked_reason, replaced_by, der FROM cert "

static void column_digest(sqlite3_stmt *stmt, int at, uint8_t out[RA_DIGEST_LEN])
{
    struct bytes data = db_column_bytes(stmt, at);
    memset(out, 0, RA_DIGEST_LEN);
    if (data.len == RA_DIGEST_LEN)
        memcpy(out, data.ptr, RA_DIGEST_LEN);
}

static bool column_buf(sqlite3_stmt *stmt, int at, struct buf *out)
{
    return buf_set(out, db_column_bytes(stmt, at));
}

static bool request_row(sqlite3_stmt *stmt, struct store_request *row, struct err *err)
{
    char state[16];
    db_column_text(stmt, 0, row->id, sizeof row->id);
    db_column_text(stmt, 1, row->profile, sizeof row->profile);
    db_column_text(stmt, 2, row->upstream, sizeof row->upstream);
    db_column_text(stmt, 3, state, sizeof state);
    row->op = (enum ra_op)sqlite3_column_int(stmt, 4);
    column_digest(stmt, 5, row->dedup);
    column_digest(stmt, 6, row->prover);
    bool ok = column_buf(stmt, 7, &row->txn) && column_buf(stmt, 8, &row->csr) &&
              column_buf(stmt, 9, &row->handle) && column_buf(stmt, 10, &row->cookie) &&
              column_buf(stmt, 20, &row->cert);
    db_column_text(stmt, 11, row->renews, sizeof row->renews);
    db_column_text(stmt, 12, row->origin, sizeof row->origin);
    db_column_text(stmt, 13, row->subject, sizeof row->subject);
    db_column_text(stmt, 14, row->reason, sizeof row->reason);
    row->created = sqlite3_column_int64(stmt, 15);
    row->updated = sqlite3_column_int64(stmt, 16);
    row->next_at = sqlite3_column_int64(stmt, 17);
    row->attempt = sqlite3_column_int(stmt, 18);
    row->lease_until = sqlite3_column_int64(stmt, 19);
    row->cert_live = sqlite3_column_int(stmt, 21);
    row->confirm = sqlite3_column_int(stmt, 22);
    row->failures = sqlite3_column_int(stmt, 23);
    row->told = sqlite3_column_int(stmt, 24);
    if (!ok || !txn_state_parse(state, &row->state))
        return err_set(err, ERR_LOCAL, "store: request %s cannot be read (state \"%s\")", row->id,
                       state);
    return true;
}

/* The first row of a bound statement. */
static bool request_first(struct db *db, sqlite3_stmt *stmt, struct store_request *ret,
                          struct err *err)
{
    struct store_request row = {0};
    bool found;
    *ret = row;
    if (!db_step(db, stmt, &found, err))
        return false;
    if (!found)
        return true;
    bool ok = request_row(stmt, &row, err);
    sqlite3_reset(stmt);
    if (!ok) {
        store_request_clear(&row);
        return false;
    }
    *ret = row;
    return true;
}

bool db_request_by_dedup(struct db *db, const uint8_t *dedup, int64_t since,
                         struct store_request *ret, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(
        db,
        REQUEST_COLUMNS "WHERE r.dedup = ?1 AND "
                        "(r.state IN ('held', 'ordered', 'waiting', 'suspect') OR "
                        "(r.state = 'issued' AND c.issued_at >= ?2 AND c.revoked_at = 0 AND "
                        "c.replaced_by = ''))",
        err);
    if (!stmt)
        return false;
    db_bind_bytes(stmt, 1, bytes_of(dedup, RA_DIGEST_LEN));
    sqlite3_bind_int64(stmt, 2, since);
    return request_first(db, stmt, ret, err);
}

bool db_request_last(struct db *db, const uint8_t *dedup, struct store_request *ret,
                     struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db, REQUEST_COLUMNS "WHERE r.dedup = ?1", err);
    if (!stmt)
        return false;
    db_bind_bytes(stmt, 1, bytes_of(dedup, RA_DIGEST_LEN));
    return request_first(db, stmt, ret, err);
}

bool db_request_by_txn(struct db *db, const struct store_txn_key *key, struct store_request *ret,
                       struct err *err)
{
    sqlite3_stmt *stmt =
        db_prepare(db,
                   REQUEST_COLUMNS "WHERE r.profile = ?1 AND r.txn = ?2 AND r.prover = ?3 "
                                   "ORDER BY r.created DESC, r.updated DESC LIMIT 1",
                   err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, key->profile);
    db_bind_bytes(stmt, 2, key->txn);
    db_bind_bytes(stmt, 3, bytes_of(key->prover, RA_DIGEST_LEN));
    return request_first(db, stmt, ret, err);
}

bool db_request_by_id(struct db *db, const char *id, struct store_request *ret, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db, REQUEST_COLUMNS "WHERE r.id = ?1", err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, id);
    return request_first(db, stmt, ret, err);
}

bool db_request_list(struct db *db, const struct store_filter *filter,
                     bool (*each)(const struct store_request *request, void *arg), void *arg,
                     struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db,
                                    REQUEST_COLUMNS "WHERE (?1 IS NULL OR r.profile = ?1) AND "
                                                    "(?2 IS NULL OR r.upstream = ?2) "
                                                    "ORDER BY r.created DESC, r.id LIMIT ?3",
                                    err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, filter->profile);
    db_bind_text(stmt, 2, filter->upstream);
    sqlite3_bind_int(stmt, 3, filter->limit ? filter->limit : -1);
    bool row, go_on = true, ok;
    while ((ok = db_step(db, stmt, &row, err)) && row && go_on) {
        struct store_request request = {0};
        ok = request_row(stmt, &request, err);
        go_on = ok && each(&request, arg);
        store_request_clear(&request);
        if (!ok)
            break;
    }
    sqlite3_reset(stmt);
    return ok;
}

bool db_request_due(struct db *db, const struct store_due *due, struct store_ids *ret,
                    struct err *err)
{
    sqlite3_stmt *stmt =
        db_prepare(db,
                   "SELECT id FROM request INDEXED BY request_due WHERE "
                   "(state IN ('ordered', 'waiting', 'suspect') OR confirm = 1) AND upstream = ?1 "
                   "AND (state = 'ordered' AND failures > 0) = ?4 "
                   "AND next_at <= ?2 AND lease_until <= ?2 ORDER BY next_at LIMIT ?3",
                   err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, due->upstream);
    sqlite3_bind_int64(stmt, 2, due->now);
    sqlite3_bind_int64(stmt, 3, (int64_t)ret->max);
    sqlite3_bind_int(stmt, 4, due->retries);
    bool row, ok;
    ret->count = 0;
    while ((ok = db_step(db, stmt, &row, err)) && row && ret->count < ret->max)
        db_column_text(stmt, 0, ret->ids[ret->count++], RA_ID_LEN + 1);
    sqlite3_reset(stmt);
    return ok;
}

bool db_request_quota(struct db *db, struct store_quota *quota, struct err *err)
{
    bool row;
    sqlite3_stmt *stmt = db_prepare(db,
                                    "SELECT created FROM request WHERE device = ?1 AND "
                                    "device != x'' AND created > ?2 ORDER BY created DESC "
                                    "LIMIT 1 OFFSET ?3",
                                    err);
    quota->oldest = 0;
    if (!stmt)
        return false;
    db_bind_bytes(stmt, 1, bytes_of(quota->device, RA_DIGEST_LEN));
    sqlite3_bind_int64(stmt, 2, quota->since);
    sqlite3_bind_int64(stmt, 3, quota->most - 1);
    if (!db_step(db, stmt, &row, err))
        return false;
    if (row) {
        quota->oldest = sqlite3_column_int64(stmt, 0);
        sqlite3_reset(stmt);
    }
    return true;
}

bool db_request_counts(struct db *db, int64_t counts[TXN_STATE_COUNT], struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db, "SELECT state, count(*) FROM request GROUP BY state", err);
    if (!stmt)
        return false;
    memset(counts, 0, TXN_STATE_COUNT * sizeof *counts);
    bool row, ok;
    while ((ok = db_step(db, stmt, &row, err)) && row) {
        char name[16];
        enum txn_state state;
        db_column_text(stmt, 0, name, sizeof name);
        if (txn_state_parse(name, &state))
            counts[state] = sqlite3_column_int64(stmt, 1);
    }
    return ok;
}

static bool cert_row(sqlite3_stmt *stmt, struct store_cert *row)
{
    db_column_text(stmt, 0, row->fingerprint, sizeof row->fingerprint);
    db_column_text(stmt, 1, row->serial, sizeof row->serial);
    db_column_text(stmt, 2, row->profile, sizeof row->profile);
    db_column_text(stmt, 3, row->upstream, sizeof row->upstream);
    db_column_text(stmt, 4, row->request, sizeof row->request);
    db_column_text(stmt, 5, row->subject, sizeof row->subject);
    db_column_text(stmt, 6, row->sans, sizeof row->sans);
    row->not_before = sqlite3_column_int64(stmt, 7);
    row->not_after = sqlite3_column_int64(stmt, 8);
    row->issued_at = sqlite3_column_int64(stmt, 9);
    row->delivered_at = sqlite3_column_int64(stmt, 10);
    row->revoked_at = sqlite3_column_int64(stmt, 11);
    row->revoked_reason = sqlite3_column_int(stmt, 12);
    db_column_text(stmt, 13, row->replaced_by, sizeof row->replaced_by);
    return column_buf(stmt, 14, &row->der);
}

/* Whoever revokes the newest certificate of a device means the device, which may keep older ones.
 */
bool db_heir_revoked(struct db *db, const char *by, const char *profile, bool *ret, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(
        db,
        "WITH RECURSIVE heir (fingerprint) AS (SELECT ?1 UNION SELECT c.fingerprint FROM heir h "
        "JOIN request r ON r.renews = h.fingerprint AND r.renews != '' "
        "JOIN cert c ON c.request = r.id) "
        "SELECT 1 FROM heir h JOIN cert c ON c.fingerprint = h.fingerprint "
        "WHERE h.fingerprint != ?1 AND c.revoked_at != 0 AND c.revoked_reason != ?2 "
        "AND c.profile = ?3 LIMIT 1",
        err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, by);
    sqlite3_bind_int(stmt, 2, REASON_SUPERSEDED);
    db_bind_text(stmt, 3, profile);
    bool ok = db_step(db, stmt, ret, err);
    sqlite3_reset(stmt);
    return ok;
}

/* The first row of a bound statement. */
static bool cert_first(struct db *db, sqlite3_stmt *stmt, struct store_cert *ret, bool *found,
                       struct err *err)
{
    struct store_cert row = {0};
    if (!db_step(db, stmt, found, err))
        return false;
    if (!*found)
        return true;
    bool ok = cert_row(stmt, &row);
    sqlite3_reset(stmt);
    if (!ok)
        err_set(err, ERR_LOCAL, "store: certificate %s cannot be read", row.fingerprint);
    ok = ok && db_heir_revoked(db, row.fingerprint, row.profile, &row.heir_revoked, err);
    if (ok)
        *ret = row;
    else
        store_cert_clear(&row);
    return ok;
}

bool db_cert_find(struct db *db, const uint8_t *fingerprint, struct store_cert *ret, bool *found,
                  struct err *err)
{
    char hex[2 * RA_DIGEST_LEN + 1];
    text_hex(bytes_of(fingerprint, RA_DIGEST_LEN), hex);
    sqlite3_stmt *stmt = db_prepare(db, CERT_COLUMNS "WHERE fingerprint = ?1", err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, hex);
    return cert_first(db, stmt, ret, found, err);
}

bool db_cert_find_copy(struct db *db, const struct cert *cert, struct store_cert *ret, bool *found,
                       struct err *err)
{
    uint8_t issuer[SHA256_DIGEST_LENGTH];
    struct bytes name = cert_issuer_get(cert);
    struct store_cert row = {0};
    struct cert *same = NULL;
    SHA256(name.ptr, name.len, issuer);
    sqlite3_stmt *stmt = db_prepare(db, CERT_COLUMNS "WHERE issuer = ?1 AND serial = ?2", err);
    if (!stmt)
        return false;
    db_bind_bytes(stmt, 1, bytes_of(issuer, sizeof issuer));
    db_bind_text(stmt, 2, cert_serial_get(cert));
    if (!cert_first(db, stmt, &row, found, err))
        return false;
    bool ok = !*found || cert_parse(buf_bytes(&row.der), &same, err);
    *found = *found && ok && bytes_equal(cert_tbs_get(same), cert_tbs_get(cert));
    if (*found)
        *ret = row;
    else
        store_cert_clear(&row);
    cert_free(same);
    return ok;
}

/* Steps through the rows and resets the statement. */
static bool each_cert(struct db *db, sqlite3_stmt *stmt,
                      bool (*each)(const struct store_cert *cert, void *arg), void *arg,
                      struct err *err)
{
    bool row, go_on = true, ok;
    while ((ok = db_step(db, stmt, &row, err)) && row && go_on) {
        struct store_cert cert = {0};
        ok = cert_row(stmt, &cert) || err_set(err, ERR_LOCAL, "store: a certificate too large");
        go_on = ok && each(&cert, arg);
        store_cert_clear(&cert);
        if (!ok)
            break;
    }
    sqlite3_reset(stmt);
    return ok;
}

bool db_cert_by_serial(struct db *db, const struct store_serial *key,
                       bool (*each)(const struct store_cert *cert, void *arg), void *arg,
                       struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db,
                                    CERT_COLUMNS "WHERE serial = ?1 AND +profile = ?2 "
                                                 "ORDER BY issued_at DESC, fingerprint LIMIT ?3",
                                    err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, key->serial);
    db_bind_text(stmt, 2, key->profile);
    sqlite3_bind_int(stmt, 3, STORE_SERIAL_MAX);
    return each_cert(db, stmt, each, arg, err);
}

bool db_cert_list(struct db *db, const struct store_filter *filter,
                  bool (*each)(const struct store_cert *cert, void *arg), void *arg,
                  struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(
        db,
        CERT_COLUMNS "WHERE (?1 IS NULL OR profile = ?1) AND (?2 IS NULL OR upstream = ?2) AND "
                     "(?3 IS NULL OR serial = ?3 OR substr(fingerprint, 1, length(?3)) = ?3) AND "
                     "(?4 = 0 OR not_after < ?4) AND (?5 = 0 OR revoked_at != 0) "
                     "ORDER BY issued_at DESC, fingerprint LIMIT ?6",
        err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, filter->profile);
    db_bind_text(stmt, 2, filter->upstream);
    db_bind_text(stmt, 3, filter->serial);
    sqlite3_bind_int64(stmt, 4, filter->expires_before);
    sqlite3_bind_int(stmt, 5, filter->revoked_only);
    sqlite3_bind_int(stmt, 6, filter->limit ? filter->limit : -1);
    return each_cert(db, stmt, each, arg, err);
}

bool db_challenge_find(struct db *db, const uint8_t *digest, struct store_challenge *ret,
                       bool *found, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db,
                                    "SELECT profile, subject, sans, created, expires, uses_left "
                                    "FROM challenge WHERE digest = ?1",
                                    err);
    if (!stmt)
        return false;
    db_bind_bytes(stmt, 1, bytes_of(digest, RA_DIGEST_LEN));
    if (!db_step(db, stmt, found, err))
        return false;
    if (!*found)
        return true;
    memcpy(ret->digest, digest, RA_DIGEST_LEN);
    db_column_text(stmt, 0, ret->profile, sizeof ret->profile);
    db_column_text(stmt, 1, ret->subject, sizeof ret->subject);
    db_column_text(stmt, 2, ret->sans, sizeof ret->sans);
    ret->created = sqlite3_column_int64(stmt, 3);
    ret->expires = sqlite3_column_int64(stmt, 4);
    ret->uses_left = sqlite3_column_int(stmt, 5);
    sqlite3_reset(stmt);
    return true;
}

bool db_challenge_spent_by(struct db *db, const uint8_t *digest, const char *request_id, bool *ret,
                           struct err *err)
{
    sqlite3_stmt *stmt =
        db_prepare(db, "SELECT 1 FROM challenge_use WHERE digest = ?1 AND request = ?2", err);
    if (!stmt)
        return false;
    db_bind_bytes(stmt, 1, bytes_of(digest, RA_DIGEST_LEN));
    db_bind_text(stmt, 2, request_id);
    bool ok = db_step(db, stmt, ret, err);
    sqlite3_reset(stmt);
    return ok;
}

static bool column_is_digest(sqlite3_stmt *stmt, int at)
{
    return sqlite3_column_type(stmt, at) == SQLITE_BLOB &&
           sqlite3_column_bytes(stmt, at) == RA_DIGEST_LEN;
}

/* What no writer of ours leaves (a NUL in the text, a digest of another length) must not read like
 * what one does: such a record gets a text that its hash does not fit. */
static struct audit_record audit_row(sqlite3_stmt *stmt)
{
    struct audit_record record = {
        .seq = sqlite3_column_int64(stmt, 0),
        .at = sqlite3_column_int64(stmt, 1),
        .text = "",
    };
    const char *text = (const char *)sqlite3_column_text(stmt, 2);
    column_digest(stmt, 3, record.prev);
    column_digest(stmt, 4, record.hash);
    if (text && strlen(text) == (size_t)sqlite3_column_bytes(stmt, 2) &&
        sqlite3_column_type(stmt, 1) == SQLITE_INTEGER && column_is_digest(stmt, 3) &&
        column_is_digest(stmt, 4))
        record.text = text;
    return record;
}

bool db_memory_get(struct db *db, const char *upstream, struct buf *ret, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db, "SELECT memory FROM memory WHERE upstream = ?1", err);
    bool row, ok;
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, upstream);
    ok = db_step(db, stmt, &row, err);
    if (!ok || !row)
        return ok;
    ok = column_buf(stmt, 0, ret);
    sqlite3_reset(stmt);
    return ok || err_set(err, ERR_LOCAL, "store: what upstream %s remembers is too long", upstream);
}

bool db_audit_walk(struct db *db, bool (*each)(const struct audit_record *record, void *arg),
                   void *arg, struct err *err)
{
    sqlite3_stmt *stmt =
        db_prepare(db, "SELECT seq, at, text, prev, hash FROM audit ORDER BY seq", err);
    if (!stmt)
        return false;
    bool row, go_on = true, ok;
    while ((ok = db_step(db, stmt, &row, err)) && row && go_on) {
        struct audit_record record = audit_row(stmt);
        go_on = each(&record, arg);
    }
    sqlite3_reset(stmt);
    return ok;
}
