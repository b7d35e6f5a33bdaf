/* The store's SQL on one connection, used by one thread at a time. Internal to the SQLite store. */
#ifndef RA_STORE_SQLITE_DB_H
#define RA_STORE_SQLITE_DB_H

#include "ra/store/store.h"

#include <sqlite3.h>

#define DB_STATEMENTS_MAX 64

struct db {
    sqlite3 *handle;
    struct {
        const char *sql; /* compared by address: a literal */
        sqlite3_stmt *stmt;
    } cache[DB_STATEMENTS_MAX];
    size_t cached;
};

/* path: created with mode 0600 if missing. */
bool db_open(const char *path, struct db **ret, struct err *err) MUST_USE;
void db_close(struct db *db);
/* ERR_LOCAL with SQLite's text. Always false. */
bool db_fault(struct db *db, struct err *err, const char *what);
bool db_exec(struct db *db, const char *sql, struct err *err) MUST_USE;
/* A reset statement without bindings; sql must be a literal. NULL with err on failure. */
sqlite3_stmt *db_prepare(struct db *db, const char *sql, struct err *err) MUST_USE;
/* Runs a statement that returns no row, and resets it. */
bool db_run(struct db *db, sqlite3_stmt *stmt, struct err *err) MUST_USE;
/* Whether there is a(nother) row. Resets the statement when there is none. */
bool db_step(struct db *db, sqlite3_stmt *stmt, bool *row, struct err *err) MUST_USE;

void db_bind_text(sqlite3_stmt *stmt, int at, const char *text); /* NULL: NULL */
void db_bind_bytes(sqlite3_stmt *stmt, int at, struct bytes data);
struct bytes db_column_bytes(sqlite3_stmt *stmt, int at); /* borrowed until the next step */
void db_column_text(sqlite3_stmt *stmt, int at, char *out, size_t size);

/* Refuses a schema of a later program. */
bool db_version_check(struct db *db, int *version, struct err *err) MUST_USE;
/* Brings the schema to the current version; refuses a newer one. */
bool db_migrate(struct db *db, struct err *err) MUST_USE;

/* Reads. */
bool db_request_last(struct db *db, const uint8_t *dedup, struct store_request *ret,
                     struct err *err) MUST_USE;
bool db_request_by_dedup(struct db *db, const uint8_t *dedup, int64_t since,
                         struct store_request *ret, struct err *err);
bool db_request_by_txn(struct db *db, const struct store_txn_key *key, struct store_request *ret,
                       struct err *err);
bool db_request_by_id(struct db *db, const char *id, struct store_request *ret, struct err *err);
bool db_request_list(struct db *db, const struct store_filter *filter,
                     bool (*each)(const struct store_request *request, void *arg), void *arg,
                     struct err *err);
bool db_request_due(struct db *db, const struct store_due *due, struct store_ids *ret,
                    struct err *err);
bool db_request_quota(struct db *db, struct store_quota *quota, struct err *err);
bool db_key_used(struct db *db, struct store_key_use *use, struct err *err);
bool db_request_counts(struct db *db, int64_t counts[TXN_STATE_COUNT], struct err *err);
bool db_cert_by_serial(struct db *db, const struct store_serial *key,
                       bool (*each)(const struct store_cert *cert, void *arg), void *arg,
                       struct err *err) MUST_USE;
bool db_heir_revoked(struct db *db, const char *by, const char *profile, bool *ret,
                     struct err *err);
bool db_cert_find_copy(struct db *db, const struct cert *cert, struct store_cert *ret, bool *found,
                       struct err *err);
bool db_cert_find(struct db *db, const uint8_t *fingerprint, struct store_cert *ret, bool *found,
                  struct err *err);
bool db_cert_list(struct db *db, const struct store_filter *filter,
                  bool (*each)(const struct store_cert *cert, void *arg), void *arg,
                  struct err *err);
bool db_challenge_find(struct db *db, const uint8_t *digest, struct store_challenge *ret,
                       bool *found, struct err *err);
bool db_challenge_spent_by(struct db *db, const uint8_t *digest, const char *request_id, bool *ret,
                           struct err *err);
bool db_memory_get(struct db *db, const char *upstream, struct buf *ret, struct err *err);
bool db_audit_walk(struct db *db, bool (*each)(const struct audit_record *record, void *arg),
                   void *arg, struct err *err);

/* Inside a write: a request uses a key; it does so no more. */
bool db_key_note(struct db *db, const struct store_key_use *use, const char *request,
                 struct err *err) MUST_USE;
bool db_key_forget(struct db *db, const char *request, struct err *err) MUST_USE;
/* What a step of the schema needs to read certificates. */
bool db_key_function(struct db *db, struct err *err) MUST_USE;

/* What became of a write inside the writer's transaction. */
enum db_write { DB_WRITTEN = 0, DB_UNDO, DB_FAILED }; /* UNDO: no fault, but roll it back */

struct db_order {
    const struct store_order *in;
    enum store_order_result result;
    char existing[RA_ID_LEN + 1];
};
struct db_claim {
    const char *id;
    int64_t seconds;
    int attempt; /* 0: somebody else has it */
};
struct db_move {
    const struct store_move *in;
    enum store_write result;
};
struct db_record {
    const struct store_record *in;
    enum store_write result;
};
struct db_txn {
    const char *id;
    struct bytes txn;
};
struct db_memory {
    const char *upstream;
    struct bytes memory;
};
struct db_challenge_add {
    const struct store_challenge *challenge;
    const struct audit_event *audit;
};
struct db_miss {
    const struct store_miss *in;
    bool spent;
};
struct db_revoke {
    const struct store_revoke *in;
    bool found;
};

/* Writes: each takes its struct above. */
enum db_write db_write_order(struct db *db, void *arg, struct err *err);
enum db_write db_write_claim(struct db *db, void *arg, struct err *err);
enum db_write db_write_move(struct db *db, void *arg, struct err *err);
enum db_write db_write_record(struct db *db, void *arg, struct err *err);
enum db_write db_write_confirm(struct db *db, void *arg, struct err *err); /* store_confirm */
enum db_write db_write_txn(struct db *db, void *arg, struct err *err);
enum db_write db_write_refusal_told(struct db *db, void *arg, struct err *err); /* char *id */
enum db_write db_write_challenge(struct db *db, void *arg, struct err *err);
enum db_write db_write_miss(struct db *db, void *arg, struct err *err);
enum db_write db_write_revoke(struct db *db, void *arg, struct err *err);
enum db_write db_write_memory(struct db *db, void *arg, struct err *err);
enum db_write db_write_audit(struct db *db, void *arg, struct err *err);     /* audit_event */
enum db_write db_write_delivered(struct db *db, void *arg, struct err *err); /* char *id */
enum db_write db_write_wake(struct db *db, void *arg, struct err *err);      /* int64_t */
enum db_write db_write_free_leases(struct db *db, void *arg, struct err *err);
enum db_write db_write_probe(struct db *db, void *arg, struct err *err);

#endif
