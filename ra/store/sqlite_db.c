#include "ra/store/sqlite_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUSY_MS 10000

bool db_fault(struct db *db, struct err *err, const char *what)
{
    return err_set(err, ERR_LOCAL, "store: %s: %s", what,
                   db->handle ? sqlite3_errmsg(db->handle) : "no memory");
}

bool db_exec(struct db *db, const char *sql, struct err *err)
{
    return sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK || db_fault(db, err, sql);
}

/* SQLite would create the file with the umask's mode. A file that exists must not be opened here:
 * closing any descriptor of it would drop the POSIX locks of this process's other connections, and
 * another process could then believe that it is the last one and remove the WAL under us. */
static bool create_private(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    else if (errno != EEXIST)
        return err_set(err, ERR_LOCAL, "store: %s: %s", path, strerror(errno));
    return true;
}

bool db_open(const char *path, struct db **ret, struct err *err)
{
    if (!create_private(path, err))
        return false;
    struct db *db = mem_zalloc(sizeof *db);
    int version;
    if (sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        db_fault(db, err, path);
        db_close(db);
        return false;
    }
    sqlite3_busy_timeout(db->handle, BUSY_MS);
    sqlite3_extended_result_codes(db->handle, 1);
    /* What a later program made is not changed in any way, its journal mode neither. */
    if (!db_version_check(db, &version, err) || !db_exec(db, "PRAGMA journal_mode = WAL", err) ||
        !db_exec(db, "PRAGMA synchronous = FULL", err) ||
        !db_exec(db, "PRAGMA secure_delete = ON", err) ||
        !db_exec(db, "PRAGMA foreign_keys = ON", err)) {
        db_close(db);
        return false;
    }
    *ret = db;
    return true;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    for (size_t i = 0; i < db->cached; i++)
        sqlite3_finalize(db->cache[i].stmt);
    sqlite3_close(db->handle);
    free(db);
}

sqlite3_stmt *db_prepare(struct db *db, const char *sql, struct err *err)
{
    for (size_t i = 0; i < db->cached; i++) {
        if (db->cache[i].sql == sql) {
            sqlite3_reset(db->cache[i].stmt);
            sqlite3_clear_bindings(db->cache[i].stmt);
            return db->cache[i].stmt;
        }
    }
    sqlite3_stmt *stmt;
    if (db->cached == DB_STATEMENTS_MAX) {
        err_set(err, ERR_BUG, "store: more than %d statements", DB_STATEMENTS_MAX);
        return NULL;
    }
    if (sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) !=
        SQLITE_OK) {
        db_fault(db, err, "preparing a statement");
        return NULL;
    }
    db->cache[db->cached].sql = sql;
    db->cache[db->cached++].stmt = stmt;
    return stmt;
}

bool db_step(struct db *db, sqlite3_stmt *stmt, bool *row, struct err *err)
{
    int code = sqlite3_step(stmt);
    *row = code == SQLITE_ROW;
    if (code == SQLITE_ROW)
        return true;
    if (code != SQLITE_DONE)
        db_fault(db, err, "running a statement");
    sqlite3_reset(stmt);
    return code == SQLITE_DONE;
}

bool db_run(struct db *db, sqlite3_stmt *stmt, struct err *err)
{
    bool row;
    if (!db_step(db, stmt, &row, err))
        return false;
    if (row)
        sqlite3_reset(stmt);
    return true;
}

void db_bind_text(sqlite3_stmt *stmt, int at, const char *text)
{
    if (text)
        sqlite3_bind_text(stmt, at, text, -1, SQLITE_TRANSIENT);
    else
        sqlite3_bind_null(stmt, at);
}

void db_bind_bytes(sqlite3_stmt *stmt, int at, struct bytes data)
{
    if (data.len)
        sqlite3_bind_blob64(stmt, at, data.ptr, data.len, SQLITE_TRANSIENT);
    else
        sqlite3_bind_zeroblob(stmt, at, 0);
}

struct bytes db_column_bytes(sqlite3_stmt *stmt, int at)
{
    const void *data = sqlite3_column_blob(stmt, at);
    return bytes_of(data, data ? (size_t)sqlite3_column_bytes(stmt, at) : 0);
}

void db_column_text(sqlite3_stmt *stmt, int at, char *out, size_t size)
{
    const unsigned char *text = sqlite3_column_text(stmt, at);
    snprintf(out, size, "%s", text ? (const char *)text : "");
}
