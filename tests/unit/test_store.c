#include "base/clock.h"
#include "base/permit.h"
#include "tests/support/store_box.h"

#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROUP 40
#define BIG ((size_t)100000)
#define QUEUE 8192 /* more than the store lets wait */

static const struct audit_event event = {.event = "tried"};

/* A connection behind the store's back. */
static sqlite3 *raw_open(const struct box *box)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(box->path, &db), SQLITE_OK);
    return db;
}

static void raw_exec(sqlite3 *db, const char *sql)
{
    char *text = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s: %s", sql, text);
}

static void raw(const struct box *box, const char *sql)
{
    sqlite3 *db = raw_open(box);
    raw_exec(db, sql);
    sqlite3_close(db);
}

static void check_raw(const struct box *box, const char *sql, const char *want)
{
    sqlite3 *db = raw_open(box);
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 0), want);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

static void check_refused(const char *url, bool serve, enum err_kind kind, const char *text)
{
    struct store *store = NULL;
    struct err err = {0};
    if (store_open(url, serve, &store, &err))
        fail_msg("%s is opened", url);
    assert_null(store);
    assert_int_equal(err.kind, kind);
    if (!strstr(err.text, text))
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
}

/* A new database has the current schema, in WAL mode; opening it again changes nothing. */
static void test_new(void **state)
{
    struct box *box = *state;
    for (int again = 0; again < 2; again++) {
        box_open(box, true);
        check_raw(box, "PRAGMA user_version", "11");
        check_raw(box, "PRAGMA journal_mode", "wal");
        check_raw(box, "PRAGMA integrity_check", "ok");
        assert_int_equal(box_audited(box), again);
        box_add(box, (unsigned)again, TXN_ORDERED);
        box_close(box);
    }
}

/* Nobody else can read the files of a store, whatever the umask. */
static void test_modes(void **state)
{
    static const char *const ends[] = {"", "-wal", "-shm", ".lock"};
    struct box *box = *state;
    mode_t old = umask(0);
    box_open(box, true);
    umask(old);
    box_add(box, 1, TXN_ORDERED);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct stat st;
        char path[96];
        snprintf(path, sizeof path, "%s%s", box->path, ends[i]);
        if (stat(path, &st) != 0 || (st.st_mode & 07777) != 0600)
            fail_msg("%s: mode %o", path, st.st_mode & 07777);
    }
}

/* An empty database is brought to the current version. */
static void test_version_zero(void **state)
{
    struct box *box = *state;
    raw(box, "PRAGMA user_version = 0; VACUUM");
    box_open(box, true);
    check_raw(box, "PRAGMA user_version", "11");
    box_add(box, 1, TXN_ORDERED);
    assert_true(box_has(box, 1));
}

/* While another process holds the database the queue fills up to its limit; then writes are refused
 * at once instead of piling up. What got in is done when the database is free. */
static void test_full(void **state)
{
    struct box *box = *state;
    struct err err = {0};
    char id[RA_ID_LEN + 1];
    box_open(box, true);
    box_bring(box, 1, TXN_ISSUED);
    box_id(1, id);
    int64_t audited = box_audited(box);
    sqlite3 *other = raw_open(box);
    raw_exec(other, "BEGIN IMMEDIATE");
    for (int i = 0; i < QUEUE; i++)
        box->store->vt->delivered(box->store, id);
    assert_false(box->store->vt->audit_add(box->store, &event, &err));
    assert_non_null(strstr(err.text, "waiting already"));
    raw_exec(other, "ROLLBACK");
    sqlite3_close(other);
    assert_int_equal(box_audited(box), audited);
    while (!box->store->vt->audit_add(box->store, &event, &err)) /* the queue empties */
        usleep(10000);
    assert_int_equal(box_audited(box), audited + 1);
}

/* What every scrape and every start asks is answered from an index, however many requests there
 * have been. */
static void test_plans(void **state)
{
    static const char *const rows[] = {
        "EXPLAIN QUERY PLAN SELECT state, count(*) FROM request GROUP BY state",
        "EXPLAIN QUERY PLAN UPDATE request SET lease_until = 1 WHERE lease_until > 1 AND "
        "state IN ('ordered', 'waiting', 'suspect')",
    };
    struct box *box = *state;
    box_open(box, true);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sqlite3 *db = raw_open(box);
        sqlite3_stmt *stmt;
        assert_int_equal(sqlite3_prepare_v2(db, rows[i], -1, &stmt, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        assert_non_null(strstr((const char *)sqlite3_column_text(stmt, 3), "INDEX request_state"));
        sqlite3_finalize(stmt);
        sqlite3_close(db);
    }
}

/* A database of a later program is refused, with both versions, and left as it is. */
static void test_newer(void **state)
{
    struct box *box = *state;
    raw(box, "CREATE TABLE later (x); PRAGMA user_version = 12");
    check_refused(box->url, true, ERR_LOCAL, "version 12 is newer");
    check_refused(box->url, false, ERR_LOCAL, "knows 11");
    check_raw(box, "PRAGMA user_version", "12");
    check_raw(box, "SELECT group_concat(name) FROM sqlite_master", "later");
    check_raw(box, "PRAGMA journal_mode", "delete");
}

/* A step of the schema that fails half way leaves nothing behind. */
static void test_half(void **state)
{
    struct box *box = *state;
    raw(box, "CREATE TABLE audit (x)"); /* the last table that the first step makes */
    check_refused(box->url, true, ERR_LOCAL, "bringing the schema to version 1");
    check_raw(box, "PRAGMA user_version", "0");
    check_raw(box, "SELECT group_concat(name) FROM sqlite_master", "audit");
    raw(box, "DROP TABLE audit");
    box_open(box, true);
    box_add(box, 1, TXN_ORDERED);
}

/* What cannot be opened is refused with the path or SQLite's reason in the text. */
static void test_unopenable(void **state)
{
    struct box *box = *state;
    char url[128];
    FILE *file = fopen(box->path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is not a database\n", file);
    fclose(file);
    check_refused(box->url, true, ERR_LOCAL, "not a database");
    snprintf(url, sizeof url, "sqlite:%s/missing/store.db", box->dir);
    check_refused(url, true, ERR_LOCAL, "/missing/store.db");
    check_refused(url, false, ERR_LOCAL, "/missing/store.db");
    snprintf(url, sizeof url, "sqlite:%s", box->dir);
    check_refused(url, false, ERR_LOCAL, "unable to open");
    check_refused("oracle:x", true, ERR_CONFIG, "oracle:x");
    check_refused("sqlite", true, ERR_CONFIG, "known: sqlite");
    check_refused("sqlite3:x", true, ERR_CONFIG, "sqlite3:x");
    check_refused("", true, ERR_CONFIG, "\"\"");
}

/* One process serves from a store; a second is refused with the lock's path, until the first ends.
 */
static void test_second_server(void **state)
{
    struct box *box = *state;
    struct store *first = box->store;
    char lock[96];
    snprintf(lock, sizeof lock, "%s.lock", box->path);
    check_refused(box->url, true, ERR_LOCAL, lock);
    box_add(box, 1, TXN_ORDERED); /* the first does not mind */
    store_close(first);
    box_open(box, true);
    assert_true(box_has(box, 1));
}

/* Beside the serving process another one may read and write, and each sees what the other wrote. */
static void test_beside(void **state)
{
    struct box *box = *state, other = *box;
    box_open(&other, false);
    box_add(box, 1, TXN_ORDERED);
    assert_true(box_has(&other, 1));
    box_add(&other, 2, TXN_ORDERED);
    assert_true(box_has(box, 2));
    box_close(&other);
    box_add(box, 3, TXN_ORDERED);
    box_open(&other, false);
    assert_int_equal(box_audited(&other), 3);
    box_close(&other);
}

/* Only a serving process may take the leases of a dead one away; of requests that nobody drove it
 * does not say that somebody did. */
static void test_leases(void **state)
{
    struct box *box = *state;
    box_add(box, 1, TXN_ORDERED);
    box_bring(box, 2, TXN_WAITING);
    for (int serve = 0; serve < 2; serve++) {
        box_close(box);
        box_open(box, serve);
        struct store_request driven = box_row(box, 1), free_one = box_row(box, 2);
        assert_int_equal(driven.lease_until, serve ? 1 : BOX_NOW + BOX_LEASE);
        assert_int_equal(free_one.lease_until, 0);
        store_request_clear(&driven);
        store_request_clear(&free_one);
    }
}

/* A row that this program cannot read is an error which names it, not some other state. */
static void test_bad_row(void **state)
{
    struct box *box = *state;
    struct store_request row = {0};
    struct err err = {0};
    char id[RA_ID_LEN + 1];
    box_id(1, id);
    box_add(box, 1, TXN_ORDERED);
    raw(box, "UPDATE request SET state = 'shipped'");
    assert_false(box->store->vt->request_by_id(box->store, id, &row, &err));
    assert_int_equal(err.kind, ERR_LOCAL);
    assert_non_null(strstr(err.text, id));
    assert_non_null(strstr(err.text, "shipped"));
    assert_string_equal(row.id, "");
}

/* A store that works is healthy, and says so without writing anything; one that lost its tables is
 * not. */
static void test_health(void **state)
{
    struct box *box = *state;
    struct err err = {0};
    assert_true(box->store->vt->health(box->store, &err));
    assert_int_equal(box_audited(box), 0);
    raw(box, "DROP TABLE challenge_use; DROP TABLE challenge");
    assert_false(box->store->vt->health(box->store, &err));
    assert_int_equal(err.kind, ERR_LOCAL);
    assert_non_null(strstr(err.text, "challenge"));
}

/* Commits in the write-ahead log: frames of this log that end a transaction. See SQLite's file
 * format, section 4.1. */
static unsigned commits(const struct box *box)
{
    uint8_t head[32], frame[24];
    char path[96];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s-wal", box->path);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(head, sizeof head, 1, file), 1);
    long page = (long)head[10] << 8 | head[11];
    assert_int_equal(page, 4096);
    while (fread(frame, sizeof frame, 1, file) == 1 && memcmp(head + 16, frame + 8, 8) == 0) {
        count += (frame[4] | frame[5] | frame[6] | frame[7]) != 0;
        assert_int_equal(fseek(file, page, SEEK_CUR), 0);
    }
    fclose(file);
    return count;
}

/* One order in a thread of its own. */
struct worker {
    pthread_t thread;
    struct store *store;
    struct store_request request;
    enum store_order_result result;
    bool ok;
    _Atomic bool began, done;
    struct permits *permits; /* one, which the store has it give back once it stands in the queue */
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    char existing[RA_ID_LEN + 1];
    permit_take(worker->permits);
    worker->began = true;
    worker->ok = box_try(worker->store, &worker->request, NULL, &worker->result, existing);
    worker->done = true;
    permit_give(worker->permits);
    return NULL;
}

/* Starts an order while the writer cannot go on; it stands in the queue at the end. */
static void work_start(struct worker *worker, struct store *store, struct store_request request)
{
    *worker = (struct worker){.store = store, .request = request, .permits = permits_new(1)};
    if (pthread_create(&worker->thread, NULL, work, worker) != 0)
        abort();
    while (!worker->began)
        usleep(1000);
    permit_take(worker->permits);
    permit_give(worker->permits);
}

static void work_end(struct worker *worker)
{
    pthread_join(worker->thread, NULL);
    permits_free(worker->permits);
    store_request_clear(&worker->request);
}

/* Whoever comes while the disk is busy shares the next commit, and nobody hears of it before. */
static void test_group(void **state)
{
    struct box *box = *state;
    struct worker *workers = mem_zalloc(GROUP * sizeof *workers);
    sqlite3 *db = raw_open(box);
    unsigned before = commits(box);
    raw_exec(db, "BEGIN IMMEDIATE");
    for (unsigned n = 0; n < GROUP; n++)
        work_start(&workers[n], box->store, box_request(n, TXN_ORDERED));
    for (unsigned n = 0; n < GROUP; n++)
        assert_false(workers[n].done);
    assert_false(box_has(box, 0)); /* readers do not wait, and see nothing yet */
    raw_exec(db, "ROLLBACK");
    for (unsigned n = 0; n < GROUP; n++) {
        work_end(&workers[n]);
        assert_true(workers[n].ok);
        assert_int_equal(workers[n].result, STORE_ORDERED);
        assert_true(box_has(box, n));
    }
    assert_in_range(commits(box) - before, 1, 2); /* the writer may have taken the first alone */
    assert_int_equal(box_audited(box), GROUP);
    sqlite3_close(db);
    free(workers);
}

/* Of every four: two that are the same, one whose id is taken, and a good one. */
static struct store_request mixed(unsigned n)
{
    struct store_request request = box_request(n % 4 == 1 ? n - 1 : n, TXN_ORDERED);
    box_id(n % 4 == 2 ? 1000 : n, request.id);
    return request;
}

/* A write that fails, or is refused, takes none of those with it that share its commit. */
static void test_group_fault(void **state)
{
    struct box *box = *state;
    struct worker *workers = mem_zalloc(GROUP * sizeof *workers);
    sqlite3 *db = raw_open(box);
    box_add(box, 1000, TXN_HELD);
    raw_exec(db, "BEGIN IMMEDIATE");
    for (unsigned n = 0; n < GROUP; n++)
        work_start(&workers[n], box->store, mixed(n));
    raw_exec(db, "ROLLBACK");
    for (unsigned n = 0; n < GROUP; n++) {
        work_end(&workers[n]);
        assert_int_equal(workers[n].ok, n % 4 != 2);
        assert_int_equal(box_has(box, n), workers[n].ok && workers[n].result == STORE_ORDERED);
    }
    for (unsigned n = 0; n < GROUP; n += 4) { /* of the two, whichever came first */
        assert_int_equal(workers[n].result + workers[n + 1].result, STORE_DUPLICATE);
        assert_int_equal(workers[n + 3].result, STORE_ORDERED);
    }
    assert_int_equal(box_audited(box), 1 + GROUP / 2);
    sqlite3_close(db);
    free(workers);
}

/* From now on this process's files cannot grow beyond the log's size and some more; -1: they can.
 */
static void disk_limit(const struct box *box, long more)
{
    struct rlimit limit;
    struct stat st;
    char path[96];
    snprintf(path, sizeof path, "%s-wal", box->path);
    if (stat(path, &st) != 0 || getrlimit(RLIMIT_FSIZE, &limit) != 0)
        abort();
    limit.rlim_cur = more < 0 ? limit.rlim_max : (rlim_t)(st.st_size + more);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        abort();
}

static struct store_request big_request(unsigned n)
{
    struct store_request request = box_request(n, TXN_ORDERED);
    while (request.csr.len < BIG)
        if (!buf_add_str(&request.csr, "0123456789"))
            abort();
    return request;
}

/* Orders big requests until one fails; that one's number. */
static unsigned fill(const struct box *box)
{
    for (unsigned n = 1;; n++) {
        struct store_request request = big_request(n);
        struct store_order order = {
            .request = &request, .retry_window = BOX_WINDOW, .audit = &event};
        enum store_order_result result;
        struct err err = {0};
        char existing[RA_ID_LEN + 1];
        bool ok = box->store->vt->order(box->store, &order, &result, existing, &err);
        store_request_clear(&request);
        if (ok && n < 100)
            continue;
        assert_false(ok);
        assert_int_equal(err.kind, ERR_LOCAL);
        assert_non_null(strstr(err.text, "I/O error"));
        return n;
    }
}

/* When the disk is full a write fails and says why, reads go on, what was promised stays; when
 * there is room again the store works again. */
static void test_disk_full(void **state)
{
    struct box *box = *state;
    box_add(box, 0, TXN_ORDERED);
    disk_limit(box, 5 * (long)BIG);
    unsigned failed = fill(box);
    assert_true(failed > 1);
    assert_true(box_has(box, 0));
    disk_limit(box, -1);
    assert_false(box_has(box, failed));
    box_add(box, failed, TXN_ORDERED);
    for (unsigned n = 0; n <= failed; n++)
        assert_true(box_has(box, n));
    assert_int_equal(box_audited(box), failed + 1);
}

/* When the disk fills up in the middle of a group, SQLite undoes the group's transaction at once.
 * What comes after that in the group must not be written either: its callers hear that it failed.
 */
static void test_disk_full_group(void **state)
{
    struct box *box = *state;
    struct worker *workers = mem_zalloc(GROUP * sizeof *workers);
    sqlite3 *db = raw_open(box);
    unsigned ok = 0;
    box_add(box, 1000, TXN_ORDERED);
    raw_exec(db, "BEGIN IMMEDIATE");
    for (unsigned n = 0; n < GROUP; n++) /* the first ones do not fit into SQLite's cache */
        work_start(&workers[n], box->store,
                   n < GROUP - 10 ? big_request(n) : box_request(n, TXN_ORDERED));
    disk_limit(box, 5 * (long)BIG);
    raw_exec(db, "ROLLBACK");
    for (unsigned n = 0; n < GROUP; n++)
        work_end(&workers[n]);
    disk_limit(box, -1);
    for (unsigned n = 0; n < GROUP; n++) {
        ok += workers[n].ok;
        if (box_has(box, n) != workers[n].ok)
            fail_msg("request %u is there, but its caller heard that it failed", n);
    }
    assert_true(ok < GROUP);
    assert_int_equal(box_audited(box), 1 + ok);
    box_add(box, 2000, TXN_ORDERED);
    sqlite3_close(db);
    free(workers);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
#define TEST_CLOSED(name) cmocka_unit_test_setup_teardown(name, box_setup_closed, box_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_CLOSED(test_new),
        TEST_CLOSED(test_modes),
        TEST_CLOSED(test_version_zero),
        TEST_CLOSED(test_plans),
        TEST_CLOSED(test_full),
        TEST_CLOSED(test_newer),
        TEST_CLOSED(test_half),
        TEST_CLOSED(test_unopenable),
        TEST(test_second_server),
        TEST(test_beside),
        TEST(test_leases),
        TEST(test_bad_row),
        TEST(test_health),
        TEST(test_group),
        TEST(test_group_fault),
        TEST(test_disk_full),
        TEST(test_disk_full_group),
    };
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of write() */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
