/* Messages that led to requests, in the SQLite store. Internal to it. */
#ifndef RA_STORE_SQLITE_MESSAGES_H
#define RA_STORE_SQLITE_MESSAGES_H

#include "ra/store/sqlite_db.h"

bool db_message_seen(struct db *db, const struct store_message *message, bool *ret,
                     struct err *err);

/* Inside a write: a message led to a request; those of a refused one led to nothing. */
bool db_message_note(struct db *db, const struct store_message *message, const char *request,
                     struct err *err) MUST_USE;
bool db_message_forget(struct db *db, const char *request, struct err *err) MUST_USE;

struct db_message {
    const struct store_message *message;
    const char *id;
};
enum db_write db_write_message(struct db *db, void *arg, struct err *err); /* db_message */

#endif
