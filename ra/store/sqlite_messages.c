#include "ra/store/sqlite_messages.h"

#include <stdlib.h>
#include <string.h>

/* Messages that led to a request, so that none of them is worth another one. So many of each
 * request are remembered one by one, with what became of it; what a sender signs anew beyond that
 * goes into a Bloom filter, which never takes an old message for a new one, and the other way round
 * seldom. */

#define MESSAGES_MAX 64
#define CROWD_BYTES ((size_t)16384)
#define CROWD_MARKS 4 /* bits of each message */

/* Which bit; a digest is as good as so many random numbers. */
static uint32_t mark_of(const uint8_t *digest, size_t i)
{
    uint32_t bit = 0;
    for (size_t k = 0; k < sizeof bit; k++)
        bit = bit << 8 | digest[sizeof bit * i + k];
    return bit % (uint32_t)(8 * CROWD_BYTES);
}

static bool crowd_has(const uint8_t *crowd, const uint8_t *digest)
{
    for (size_t i = 0; i < CROWD_MARKS; i++) {
        uint32_t bit = mark_of(digest, i);
        if (!(crowd[bit / 8] >> bit % 8 & 1))
            return false;
    }
    return true;
}

static void crowd_mark(uint8_t *crowd, const uint8_t *digest)
{
    for (size_t i = 0; i < CROWD_MARKS; i++) {
        uint32_t bit = mark_of(digest, i);
        crowd[bit / 8] = (uint8_t)(crowd[bit / 8] | 1u << bit % 8);
    }
}

/* *row: the statement stands on the sender's filter, which the caller reads, and resets. */
static bool crowd_find(struct db *db, const uint8_t *sender, sqlite3_stmt **stmt, bool *row,
                       struct err *err)
{
    *stmt = db_prepare(db, "SELECT seen FROM message_crowd WHERE sender = ?1", err);
    if (!*stmt)
        return false;
    db_bind_bytes(*stmt, 1, bytes_of(sender, RA_DIGEST_LEN));
    if (!db_step(db, *stmt, row, err))
        return false;
    if (!*row || db_column_bytes(*stmt, 0).len == CROWD_BYTES)
        return true;
    sqlite3_reset(*stmt);
    return err_set(err, ERR_LOCAL, "store: a row of message_crowd that is not %zu octets long",
                   CROWD_BYTES);
}

static bool crowd_add(struct db *db, const struct store_message *message, struct err *err)
{
    uint8_t *crowd = mem_zalloc(CROWD_BYTES);
    sqlite3_stmt *find, *put = NULL;
    bool row, ok = crowd_find(db, message->sender, &find, &row, err);
    if (ok && row) {
        memcpy(crowd, db_column_bytes(find, 0).ptr, CROWD_BYTES);
        sqlite3_reset(find);
    }
    crowd_mark(crowd, message->digest);
    if (ok)
        put = db_prepare(db, "INSERT OR REPLACE INTO message_crowd (sender, seen) VALUES (?1, ?2)",
                         err);
    if (put) {
        db_bind_bytes(put, 1, bytes_of(message->sender, RA_DIGEST_LEN));
        db_bind_bytes(put, 2, bytes_of(crowd, CROWD_BYTES));
    }
    ok = put && db_run(db, put, err);
    free(crowd);
    return ok;
}

bool db_message_seen(struct db *db, const struct store_message *message, bool *ret, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db,
                                    "SELECT 1 FROM message m JOIN request r ON r.id = m.request "
                                    "WHERE m.digest = ?1 AND r.state != 'refused'",
                                    err);
    bool row;
    if (!stmt)
        return false;
    db_bind_bytes(stmt, 1, bytes_of(message->digest, RA_DIGEST_LEN));
    bool ok = db_step(db, stmt, ret, err);
    sqlite3_reset(stmt);
    if (!ok || *ret)
        return ok;
    if (!crowd_find(db, message->sender, &stmt, &row, err))
        return false;
    *ret = row && crowd_has(db_column_bytes(stmt, 0).ptr, message->digest);
    sqlite3_reset(stmt);
    return true;
}

static bool count_of(struct db *db, const char *request, int64_t *ret, struct err *err)
{
    bool row;
    sqlite3_stmt *stmt = db_prepare(db, "SELECT count(*) FROM message WHERE request = ?1", err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, request);
    if (!db_step(db, stmt, &row, err))
        return false;
    *ret = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return true;
}

bool db_message_note(struct db *db, const struct store_message *message, const char *request,
                     struct err *err)
{
    int64_t count;
    if (!count_of(db, request, &count, err))
        return false;
    if (count >= MESSAGES_MAX)
        return crowd_add(db, message, err);
    sqlite3_stmt *stmt =
        db_prepare(db, "INSERT OR REPLACE INTO message (digest, request) VALUES (?1, ?2)", err);
    if (!stmt)
        return false;
    db_bind_bytes(stmt, 1, bytes_of(message->digest, RA_DIGEST_LEN));
    db_bind_text(stmt, 2, request);
    return db_run(db, stmt, err);
}

bool db_message_forget(struct db *db, const char *request, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db, "DELETE FROM message WHERE request = ?1", err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, request);
    return db_run(db, stmt, err);
}

enum db_write db_write_message(struct db *db, void *arg, struct err *err)
{
    const struct db_message *in = arg;
    return db_message_note(db, in->message, in->id, err) ? DB_WRITTEN : DB_FAILED;
}
