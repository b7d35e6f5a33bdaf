#include "ra/store/sqlite_messages.h"

#include "base/permit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define READERS_MAX 8
#define GROUP_MAX 256u
#define QUEUE_MAX 4096u

typedef enum db_write (*write_fn)(struct db *db, void *arg, struct err *err);

/* A write that waits for the writer. Lives on the stack of who waits, or on the heap (detached). */
struct job {
    struct job *next;
    write_fn run;
    void *arg;
    struct err err;
    bool ok, done;
    bool detached; /* nobody waits: the writer frees it, and arg */
};

extern const struct store_vt store_sqlite;

struct sqlite {
    struct store base;
    char *path;
    int lock_fd; /* of the serving process; -1 otherwise */

    pthread_t writer;
    pthread_mutex_t mutex; /* guards the queue */
    pthread_cond_t work, done;
    struct job *first, *last;
    unsigned queued;
    bool stop;
    struct db *write_db;

    pthread_mutex_t readers_mutex;
    pthread_cond_t reader_free;
    struct db *idle[READERS_MAX];
    unsigned idle_count, open_count;
};

/* Writer */

/* Takes up to GROUP_MAX jobs; false when it is time to end and nothing is left. */
static bool group_take(struct sqlite *s, struct job **group)
{
    pthread_mutex_lock(&s->mutex);
    while (!s->first && !s->stop)
        pthread_cond_wait(&s->work, &s->mutex);
    *group = s->first;
    struct job *last = s->first;
    unsigned n = 0;
    for (struct job *job = s->first; job && n < GROUP_MAX; job = job->next, n++)
        last = job;
    if (last) {
        s->first = last->next;
        last->next = NULL;
        s->queued -= n;
    }
    pthread_mutex_unlock(&s->mutex);
    return *group != NULL;
}

/* Each job in a savepoint: one that fails does not take the others with it. */
static void job_run(struct db *db, struct job *job)
{
    job->ok = db_exec(db, "SAVEPOINT job", &job->err);
    if (!job->ok)
        return;
    enum db_write result = job->run(db, job->arg, &job->err);
    job->ok = result != DB_FAILED;
    struct err ignored;
    if (result != DB_WRITTEN && !db_exec(db, "ROLLBACK TO job", job->ok ? &job->err : &ignored))
        job->ok = false;
    if (!db_exec(db, "RELEASE job", job->ok ? &job->err : &ignored))
        job->ok = false;
}

/* False if a fault made SQLite end the transaction on its own (disk full, I/O error): what ran
 * after that would be committed by itself. */
static bool group_jobs(struct db *db, struct job *group, struct err *err)
{
    for (struct job *job = group; job; job = job->next) {
        job_run(db, job);
        if (sqlite3_get_autocommit(db->handle)) {
            *err = job->err;
            return false;
        }
    }
    return true;
}

static void group_run(struct db *db, struct job *group)
{
    struct err err = {0};
    bool ok = db_exec(db, "BEGIN IMMEDIATE", &err);
    if (ok) {
        ok = group_jobs(db, group, &err) && db_exec(db, "COMMIT", &err);
        if (!ok)
            sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    }
    for (struct job *job = group; job && !ok; job = job->next) {
        job->ok = false;
        job->err = err;
    }
}

/* Only after the commit does anybody hear of a write. */
static void group_release(struct sqlite *s, struct job *group)
{
    pthread_mutex_lock(&s->mutex);
    for (struct job *job = group, *next; job; job = next) {
        next = job->next; /* a waiter may free its job as soon as it is done */
        if (job->detached) {
            free(job->arg);
            free(job);
        } else {
            job->done = true;
        }
    }
    pthread_cond_broadcast(&s->done);
    pthread_mutex_unlock(&s->mutex);
}

static void *writer_main(void *arg)
{
    struct sqlite *s = arg;
    struct job *group;
    while (group_take(s, &group)) {
        group_run(s->write_db, group);
        group_release(s, group);
    }
    return NULL;
}

/* False if the queue is full or the store is closing. */
static bool job_push(struct sqlite *s, struct job *job)
{
    if (s->queued >= QUEUE_MAX || s->stop)
        return false;
    if (s->first)
        s->last->next = job;
    else
        s->first = job;
    s->last = job;
    s->queued++;
    pthread_cond_signal(&s->work);
    return true;
}

static bool write_wait(struct store *store, write_fn run, void *arg, struct err *err)
{
    struct sqlite *s = (struct sqlite *)store;
    struct job job = {.run = run, .arg = arg};
    pthread_mutex_lock(&s->mutex);
    bool pushed = job_push(s, &job);
    permit_pause();
    while (pushed && !job.done)
        pthread_cond_wait(&s->done, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
    permit_resume();
    if (!pushed)
        return err_set(err, ERR_LOCAL, "store: %u writes are waiting already", QUEUE_MAX);
    if (!job.ok)
        *err = job.err;
    return job.ok;
}

/* Readers */

static struct db *reader_take(struct sqlite *s, struct err *err)
{
    struct db *db = NULL;
    pthread_mutex_lock(&s->readers_mutex);
    bool wait = !s->idle_count && s->open_count == READERS_MAX;
    if (wait)
        permit_pause();
    while (!s->idle_count && s->open_count == READERS_MAX)
        pthread_cond_wait(&s->reader_free, &s->readers_mutex);
    if (s->idle_count)
        db = s->idle[--s->idle_count];
    else
        s->open_count++;
    pthread_mutex_unlock(&s->readers_mutex);
    if (wait)
        permit_resume();
    if (db || db_open(s->path, &db, err))
        return db;
    pthread_mutex_lock(&s->readers_mutex);
    s->open_count--;
    pthread_cond_signal(&s->reader_free);
    pthread_mutex_unlock(&s->readers_mutex);
    return NULL;
}

static void reader_give(struct sqlite *s, struct db *db)
{
    pthread_mutex_lock(&s->readers_mutex);
    s->idle[s->idle_count++] = db;
    pthread_cond_signal(&s->reader_free);
    pthread_mutex_unlock(&s->readers_mutex);
}

/* Runs `call`, an expression over `db`, on a reader's connection and returns its value. */
#define WITH_READER(store, err, call)                                                              \
    do {                                                                                           \
        struct db *db = reader_take((struct sqlite *)(store), (err));                              \
        if (!db)                                                                                   \
            return false;                                                                          \
        bool ok_ = (call);                                                                         \
        reader_give((struct sqlite *)(store), db);                                                 \
        return ok_;                                                                                \
    } while (0)

static bool request_by_dedup(struct store *store, const uint8_t *dedup, int64_t since,
                             struct store_request *ret, struct err *err)
{
    WITH_READER(store, err, db_request_by_dedup(db, dedup, since, ret, err));
}

static bool request_last(struct store *store, const uint8_t *dedup, struct store_request *ret,
                         struct err *err)
{
    WITH_READER(store, err, db_request_last(db, dedup, ret, err));
}

static bool message_seen(struct store *store, const struct store_message *message, bool *ret,
                         struct err *err)
{
    WITH_READER(store, err, db_message_seen(db, message, ret, err));
}

static bool request_by_txn(struct store *store, const struct store_txn_key *key,
                           struct store_request *ret, struct err *err)
{
    WITH_READER(store, err, db_request_by_txn(db, key, ret, err));
}

static bool request_by_id(struct store *store, const char *id, struct store_request *ret,
                          struct err *err)
{
    WITH_READER(store, err, db_request_by_id(db, id, ret, err));
}

static bool request_list(struct store *store, const struct store_filter *filter,
                         bool (*each)(const struct store_request *request, void *arg), void *arg,
                         struct err *err)
{
    WITH_READER(store, err, db_request_list(db, filter, each, arg, err));
}

static bool request_due(struct store *store, const struct store_due *due, struct store_ids *ret,
                        struct err *err)
{
    WITH_READER(store, err, db_request_due(db, due, ret, err));
}

static bool key_used(struct store *store, struct store_key_use *use, struct err *err)
{
    WITH_READER(store, err, db_key_used(db, use, err));
}

static bool request_quota(struct store *store, struct store_quota *quota, struct err *err)
{
    WITH_READER(store, err, db_request_quota(db, quota, err));
}

static bool request_counts(struct store *store, int64_t counts[TXN_STATE_COUNT], struct err *err)
{
    WITH_READER(store, err, db_request_counts(db, counts, err));
}

static bool cert_find(struct store *store, const uint8_t *fingerprint, struct store_cert *ret,
                      bool *found, struct err *err)
{
    WITH_READER(store, err, db_cert_find(db, fingerprint, ret, found, err));
}

static bool cert_find_copy(struct store *store, const struct cert *cert, struct store_cert *ret,
                           bool *found, struct err *err)
{
    WITH_READER(store, err, db_cert_find_copy(db, cert, ret, found, err));
}

static bool cert_by_serial(struct store *store, const struct store_serial *key,
                           bool (*each)(const struct store_cert *cert, void *arg), void *arg,
                           struct err *err)
{
    WITH_READER(store, err, db_cert_by_serial(db, key, each, arg, err));
}

static bool heir_revoked(struct store *store, const char *by, const char *profile, bool *ret,
                         struct err *err)
{
    WITH_READER(store, err, db_heir_revoked(db, by, profile, ret, err));
}

static bool cert_list(struct store *store, const struct store_filter *filter,
                      bool (*each)(const struct store_cert *cert, void *arg), void *arg,
                      struct err *err)
{
    WITH_READER(store, err, db_cert_list(db, filter, each, arg, err));
}

static bool challenge_find(struct store *store, const uint8_t *digest, struct store_challenge *ret,
                           bool *found, struct err *err)
{
    WITH_READER(store, err, db_challenge_find(db, digest, ret, found, err));
}

static bool challenge_spent_by(struct store *store, const uint8_t *digest, const char *request_id,
                               bool *ret, struct err *err)
{
    WITH_READER(store, err, db_challenge_spent_by(db, digest, request_id, ret, err));
}

static bool memory_get(struct store *store, const char *upstream, struct buf *ret, struct err *err)
{
    WITH_READER(store, err, db_memory_get(db, upstream, ret, err));
}

static bool audit_walk(struct store *store,
                       bool (*each)(const struct audit_record *record, void *arg), void *arg,
                       struct err *err)
{
    WITH_READER(store, err, db_audit_walk(db, each, arg, err));
}

/* Writes */

static bool order(struct store *store, const struct store_order *in,
                  enum store_order_result *result, char existing[RA_ID_LEN + 1], struct err *err)
{
    struct db_order job = {.in = in};
    if (!write_wait(store, db_write_order, &job, err))
        return false;
    *result = job.result;
    memcpy(existing, job.existing, sizeof job.existing);
    return true;
}

static bool claim(struct store *store, const char *id, int64_t seconds, int *attempt,
                  struct err *err)
{
    struct db_claim job = {.id = id, .seconds = seconds};
    if (!write_wait(store, db_write_claim, &job, err))
        return false;
    *attempt = job.attempt;
    return true;
}

static bool move(struct store *store, const struct store_move *in, enum store_write *result,
                 struct err *err)
{
    struct db_move job = {.in = in};
    if (in->to == TXN_ISSUED) /* that takes a certificate: record */
        return err_set(err, ERR_BUG, "request %s cannot be issued by a move", in->id);
    if (!write_wait(store, db_write_move, &job, err))
        return false;
    *result = job.result;
    return true;
}

static bool record(struct store *store, const struct store_record *in, enum store_write *result,
                   struct err *err)
{
    struct db_record job = {.in = in};
    if (!write_wait(store, db_write_record, &job, err))
        return false;
    *result = job.result;
    return true;
}

static bool confirm(struct store *store, const struct store_confirm *in, struct err *err)
{
    struct store_confirm job = *in;
    return write_wait(store, db_write_confirm, &job, err);
}

static bool wake(struct store *store, int64_t until, struct err *err)
{
    return write_wait(store, db_write_wake, &until, err);
}

static bool take_txn(struct store *store, const char *request_id, struct bytes txn, struct err *err)
{
    struct db_txn job = {.id = request_id, .txn = txn};
    return write_wait(store, db_write_txn, &job, err);
}

static bool refusal_told(struct store *store, const char *request_id, struct err *err)
{
    char id[RA_ID_LEN + 1];
    snprintf(id, sizeof id, "%s", request_id);
    return write_wait(store, db_write_refusal_told, id, err);
}

static bool message_add(struct store *store, const struct store_message *message,
                        const char *request_id, struct err *err)
{
    struct db_message job = {message, request_id};
    return write_wait(store, db_write_message, &job, err);
}

static void delivered(struct store *store, const char *request_id)
{
    struct sqlite *s = (struct sqlite *)store;
    struct job *job = mem_zalloc(sizeof *job);
    *job = (struct job){.run = db_write_delivered, .arg = mem_strdup(request_id), .detached = true};
    pthread_mutex_lock(&s->mutex);
    bool pushed = job_push(s, job);
    pthread_mutex_unlock(&s->mutex);
    if (!pushed) {
        free(job->arg);
        free(job);
    }
}

static bool challenge_add(struct store *store, const struct store_challenge *challenge,
                          const struct audit_event *audit, struct err *err)
{
    struct db_challenge_add job = {.challenge = challenge, .audit = audit};
    return write_wait(store, db_write_challenge, &job, err);
}

static bool challenge_miss(struct store *store, const struct store_miss *miss, bool *spent,
                           struct err *err)
{
    struct db_miss job = {.in = miss};
    bool ok = write_wait(store, db_write_miss, &job, err);
    *spent = job.spent;
    return ok;
}

static bool cert_revoke(struct store *store, const struct store_revoke *revoke, bool *found,
                        struct err *err)
{
    struct db_revoke job = {.in = revoke};
    if (!write_wait(store, db_write_revoke, &job, err))
        return false;
    *found = job.found;
    return true;
}

static bool memory_set(struct store *store, const char *upstream, struct bytes memory,
                       struct err *err)
{
    struct db_memory job = {upstream, memory};
    return write_wait(store, db_write_memory, &job, err);
}

static bool audit_add(struct store *store, const struct audit_event *audit, struct err *err)
{
    struct audit_event event = *audit;
    return write_wait(store, db_write_audit, &event, err);
}

static bool health(struct store *store, struct err *err)
{
    int64_t counts[TXN_STATE_COUNT];
    return write_wait(store, db_write_probe, NULL, err) && request_counts(store, counts, err);
}

/* Life */

/* One serving process to a database. */
static bool lock_take(struct sqlite *s, struct err *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.lock", s->path);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return err_set(err, ERR_LOCAL, "store: %s: %s", path, strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, ERR_LOCAL, "store: another process serves from this store: lock %s: %s",
                       path, strerror(errno));
    return true;
}

static void sqlite_close(struct store *store)
{
    struct sqlite *s = (struct sqlite *)store;
    if (s->writer) {
        pthread_mutex_lock(&s->mutex);
        s->stop = true;
        pthread_cond_signal(&s->work);
        pthread_mutex_unlock(&s->mutex);
        pthread_join(s->writer, NULL);
    }
    for (unsigned i = 0; i < s->idle_count; i++)
        db_close(s->idle[i]);
    db_close(s->write_db);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->done);
    pthread_mutex_destroy(&s->readers_mutex);
    pthread_cond_destroy(&s->reader_free);
    free(s->path);
    free(s);
}

static bool sqlite_open(const char *url, bool serve, struct store **ret, struct err *err)
{
    struct sqlite *s = mem_zalloc(sizeof *s);
    s->base.vt = &store_sqlite;
    s->path = mem_strdup(url);
    s->lock_fd = -1;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->done, NULL);
    pthread_mutex_init(&s->readers_mutex, NULL);
    pthread_cond_init(&s->reader_free, NULL);
    if ((serve && !lock_take(s, err)) || !db_open(s->path, &s->write_db, err) ||
        !db_migrate(s->write_db, err))
        goto fail;
    if (serve && db_write_free_leases(s->write_db, NULL, err) != DB_WRITTEN)
        goto fail;
    if (pthread_create(&s->writer, NULL, writer_main, s) != 0) {
        s->writer = 0;
        err_set(err, ERR_LOCAL, "store: no thread for the writer");
        goto fail;
    }
    *ret = &s->base;
    return true;
fail:
    sqlite_close(&s->base);
    return false;
}

const struct store_vt store_sqlite = {
    .scheme = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .request_by_dedup = request_by_dedup,
    .request_last = request_last,
    .message_seen = message_seen,
    .request_by_txn = request_by_txn,
    .request_by_id = request_by_id,
    .request_list = request_list,
    .request_due = request_due,
    .request_quota = request_quota,
    .key_used = key_used,
    .request_counts = request_counts,
    .cert_find = cert_find,
    .cert_find_copy = cert_find_copy,
    .cert_by_serial = cert_by_serial,
    .heir_revoked = heir_revoked,
    .cert_list = cert_list,
    .challenge_find = challenge_find,
    .challenge_spent_by = challenge_spent_by,
    .memory_get = memory_get,
    .audit_walk = audit_walk,
    .order = order,
    .claim = claim,
    .move = move,
    .record = record,
    .confirm = confirm,
    .wake = wake,
    .take_txn = take_txn,
    .refusal_told = refusal_told,
    .message_add = message_add,
    .delivered = delivered,
    .challenge_add = challenge_add,
    .challenge_miss = challenge_miss,
    .cert_revoke = cert_revoke,
    .memory_set = memory_set,
    .audit_add = audit_add,
    .health = health,
};
