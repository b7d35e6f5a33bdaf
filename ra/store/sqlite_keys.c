#include "ra/store/sqlite_db.h"

#include "base/identity.h"

#include <string.h>

/* Who used a public key: the digests of the key and of the names, of each request that was not
 * refused. */

/* Two ranges of the index: a device that always has the same key is not read through. */
bool db_key_used(struct db *db, struct store_key_use *use, struct err *err)
{
    bool row;
    sqlite3_stmt *stmt =
        db_prepare(db,
                   "SELECT r.subject FROM (SELECT request FROM key_use WHERE spki = ?1 AND "
                   "identity < ?2 UNION ALL SELECT request FROM key_use WHERE spki = ?1 AND "
                   "identity > ?2) k JOIN request r ON r.id = k.request LIMIT 1",
                   err);
    use->other = false;
    if (!stmt)
        return false;
    db_bind_bytes(stmt, 1, bytes_of(use->spki, RA_DIGEST_LEN));
    db_bind_bytes(stmt, 2, bytes_of(use->identity, RA_DIGEST_LEN));
    if (!db_step(db, stmt, &row, err))
        return false;
    if (row) {
        use->other = true;
        db_column_text(stmt, 0, use->subject, sizeof use->subject);
        sqlite3_reset(stmt);
    }
    return true;
}

bool db_key_note(struct db *db, const struct store_key_use *use, const char *request,
                 struct err *err)
{
    sqlite3_stmt *stmt =
        db_prepare(db, "INSERT INTO key_use (spki, identity, request) VALUES (?1, ?2, ?3)", err);
    if (!stmt)
        return false;
    db_bind_bytes(stmt, 1, bytes_of(use->spki, RA_DIGEST_LEN));
    db_bind_bytes(stmt, 2, bytes_of(use->identity, RA_DIGEST_LEN));
    db_bind_text(stmt, 3, request);
    return db_run(db, stmt, err);
}

bool db_key_forget(struct db *db, const char *request, struct err *err)
{
    sqlite3_stmt *stmt = db_prepare(db, "DELETE FROM key_use WHERE request = ?1", err);
    if (!stmt)
        return false;
    db_bind_text(stmt, 1, request);
    return db_run(db, stmt, err);
}

static void answer_digest(sqlite3_context *context, const uint8_t *digest)
{
    if (digest)
        sqlite3_result_blob(context, digest, RA_DIGEST_LEN, SQLITE_TRANSIENT);
    else
        sqlite3_result_null(context);
}

static struct bytes value_bytes(sqlite3_value *value)
{
    const void *blob = sqlite3_value_blob(value);
    return bytes_of(blob, (size_t)sqlite3_value_bytes(value));
}

/* key_of(what, blob): digest of the key or of the names of a certificate or a CSR; NULL if it
 * cannot be read. what is two letters: c or r (request), k or n. */
static void key_of(sqlite3_context *context, int count, sqlite3_value **values)
{
    const char *what = (const char *)sqlite3_value_text(values[0]);
    struct bytes der = value_bytes(values[1]);
    struct cert *cert = NULL;
    struct csr *csr = NULL;
    struct err err;
    uint8_t digest[IDENTITY_LEN];
    (void)count;
    bool is_cert = what && what[0] == 'c';
    bool ok = is_cert ? cert_parse(der, &cert, &err) : csr_parse(der, &csr, &err);
    if (ok && what && what[1] == 'k') {
        answer_digest(context, is_cert ? cert_spki_get(cert)->digest : csr_spki_get(csr)->digest);
    } else if (ok) {
        const struct names *names = is_cert ? cert_names_get(cert) : csr_wanted_get(csr);
        answer_digest(context, identity_digest(names, digest, &err) ? digest : NULL);
    } else {
        answer_digest(context, NULL);
    }
    cert_free(cert);
    csr_free(csr);
}

bool db_key_function(struct db *db, struct err *err)
{
    return sqlite3_create_function(db->handle, "key_of", 2, SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL,
                                   key_of, NULL, NULL) == SQLITE_OK ||
           db_fault(db, err, "registering key_of");
}
