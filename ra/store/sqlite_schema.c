#include "ra/store/sqlite_db.h"

#include <stdio.h>

/* Step n brings a database from version n to n + 1. Steps are never changed, only added. */
static const char *const steps[] = {
    "CREATE TABLE request ("
    "  id TEXT PRIMARY KEY, profile TEXT NOT NULL, upstream TEXT NOT NULL, state TEXT NOT NULL,"
    "  op INTEGER NOT NULL, dedup BLOB UNIQUE, prover BLOB NOT NULL, txn BLOB NOT NULL,"
    "  csr BLOB NOT NULL, handle BLOB NOT NULL, cookie BLOB NOT NULL, renews TEXT NOT NULL,"
    "  origin TEXT NOT NULL, subject TEXT NOT NULL, reason TEXT NOT NULL,"
    "  created INTEGER NOT NULL, updated INTEGER NOT NULL, next_at INTEGER NOT NULL,"
    "  attempt INTEGER NOT NULL, lease_until INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX request_txn ON request (profile, txn, prover, created);"
    "CREATE INDEX request_created ON request (created);"
    "CREATE INDEX request_open ON request (next_at) WHERE state IN ('ordered', 'waiting', "
    "'suspect');"
    "CREATE TABLE cert ("
    "  fingerprint TEXT PRIMARY KEY, serial TEXT NOT NULL, issuer BLOB NOT NULL,"
    "  profile TEXT NOT NULL, upstream TEXT NOT NULL,"
    "  request TEXT NOT NULL REFERENCES request (id), subject TEXT NOT NULL, sans TEXT NOT NULL,"
    "  not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, issued_at INTEGER NOT NULL,"
    "  delivered_at INTEGER NOT NULL, revoked_at INTEGER NOT NULL,"
    "  revoked_reason INTEGER NOT NULL, replaced_by TEXT NOT NULL, der BLOB NOT NULL,"
    "  UNIQUE (issuer, serial));"
    "CREATE UNIQUE INDEX cert_request ON cert (request);"
    "CREATE INDEX cert_serial ON cert (serial);"
    "CREATE INDEX cert_not_after ON cert (not_after);"
    "CREATE TABLE challenge ("
    "  digest BLOB PRIMARY KEY, profile TEXT NOT NULL, subject TEXT NOT NULL, sans TEXT NOT NULL,"
    "  created INTEGER NOT NULL, expires INTEGER NOT NULL, uses_left INTEGER NOT NULL)"
    "  WITHOUT ROWID;"
    "CREATE INDEX challenge_expires ON challenge (expires);"
    "CREATE TABLE challenge_use ("
    "  digest BLOB NOT NULL REFERENCES challenge (digest) ON DELETE CASCADE,"
    "  request TEXT NOT NULL, PRIMARY KEY (digest, request)) WITHOUT ROWID;"
    "CREATE TABLE audit ("
    "  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, text TEXT NOT NULL, prev BLOB NOT NULL,"
    "  hash BLOB NOT NULL);",
    "CREATE INDEX request_renews ON request (renews) WHERE renews != '';"
    "CREATE INDEX request_state ON request (state);",
    "ALTER TABLE request ADD COLUMN confirm INTEGER NOT NULL DEFAULT 0;"
    "DROP INDEX request_open;"
    "CREATE INDEX request_due ON request (upstream, next_at) WHERE "
    "state IN ('ordered', 'waiting', 'suspect') OR confirm = 1;"
    "CREATE TABLE memory (upstream TEXT PRIMARY KEY, memory BLOB NOT NULL) WITHOUT ROWID;",
    "ALTER TABLE request ADD COLUMN device BLOB NOT NULL DEFAULT x'';"
    "CREATE INDEX request_device ON request (device, created) WHERE device != x'';",
    "CREATE TABLE key_use ("
    "  spki BLOB NOT NULL, identity BLOB NOT NULL, request TEXT NOT NULL,"
    "  PRIMARY KEY (spki, identity, request)) WITHOUT ROWID;"
    "CREATE INDEX key_use_request ON key_use (request);"
    "INSERT OR IGNORE INTO key_use SELECT key_of('ck', der), key_of('cn', der), request FROM cert;"
    "INSERT OR IGNORE INTO key_use SELECT key_of('rk', csr), key_of('rn', csr), id FROM request "
    "WHERE state IN ('held', 'ordered', 'waiting', 'suspect');",
    "ALTER TABLE request ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;"
    "DROP INDEX request_due;"
    "CREATE INDEX request_due ON request (upstream, (state = 'ordered' AND failures > 0), next_at) "
    "WHERE state IN ('ordered', 'waiting', 'suspect') OR confirm = 1;",
    "CREATE TABLE challenge_miss ("
    "  digest BLOB NOT NULL REFERENCES challenge (digest) ON DELETE CASCADE,"
    "  names BLOB NOT NULL, PRIMARY KEY (digest, names)) WITHOUT ROWID;",
    "CREATE TABLE message (digest BLOB PRIMARY KEY, request TEXT NOT NULL) WITHOUT ROWID;",
    "DELETE FROM message WHERE request IN (SELECT id FROM request WHERE state = 'refused');"
    "CREATE INDEX message_request ON message (request);"
    "CREATE TABLE message_crowd (sender BLOB PRIMARY KEY, seen BLOB NOT NULL);",
    "ALTER TABLE request ADD COLUMN wish INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE request ADD COLUMN told INTEGER NOT NULL DEFAULT 0;"
    "UPDATE request SET told = 1 WHERE state = 'refused';",
};

#define VERSION ((int)(sizeof steps / sizeof steps[0]))

static bool version_get(struct db *db, int *ret, struct err *err)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(db->handle, "PRAGMA user_version", -1, &stmt, NULL) != SQLITE_OK)
        return db_fault(db, err, "reading the schema's version");
    bool ok = sqlite3_step(stmt) == SQLITE_ROW;
    *ret = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    return ok || db_fault(db, err, "reading the schema's version");
}

bool db_version_check(struct db *db, int *version, struct err *err)
{
    if (!version_get(db, version, err))
        return false;
    return *version <= VERSION ||
           err_set(err, ERR_LOCAL,
                   "store: schema version %d is newer than this program, which knows %d", *version,
                   VERSION);
}

static bool steps_run(struct db *db, int from, struct err *err)
{
    char pragma[64];
    for (int version = from; version < VERSION; version++) {
        snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", version + 1);
        if (!db_exec(db, steps[version], err) || !db_exec(db, pragma, err))
            return err_within(err, "bringing the schema to version %d", version + 1);
    }
    return true;
}

bool db_migrate(struct db *db, struct err *err)
{
    int version = 0;
    if (!db_exec(db, "BEGIN IMMEDIATE", err))
        return false;
    bool ok = db_version_check(db, &version, err) && db_key_function(db, err) &&
              steps_run(db, version, err) && db_exec(db, "COMMIT", err);
    if (!ok)
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    return ok;
}
