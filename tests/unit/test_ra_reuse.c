#include "tests/support/ra_world.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static struct ra_outcome enroll(struct world *w, const char *subject, EVP_PKEY *key)
{
    struct csr *csr = world_csr(subject, NULL, key);
    struct ra_request request = world_enroll(w, csr);
    struct ra_outcome outcome = world_submit(w, &request);
    csr_free(csr);
    return outcome;
}

static void assert_enrolled(struct world *w, const char *subject, EVP_PKEY *key, const char *detail)
{
    struct ra_outcome outcome = enroll(w, subject, key);
    assert_int_equal(outcome.status, RA_ISSUED);
    assert_string_equal(outcome.detail, detail);
    ra_outcome_clear(&outcome);
}

static void assert_reused(struct world *w, const char *subject, EVP_PKEY *key, const char *by)
{
    struct ra_outcome outcome = enroll(w, subject, key);
    assert_int_equal(outcome.status, RA_REFUSED);
    assert_int_equal(outcome.reason, RA_KEY_REUSED);
    assert_non_null(strstr(outcome.detail, by));
    ra_outcome_clear(&outcome);
}

static int64_t key_uses(const struct world *w)
{
    char path[96];
    sqlite3 *db;
    sqlite3_stmt *stmt;
    snprintf(path, sizeof path, "%s", strchr(w->url, ':') + 1);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM key_use", -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return count;
}

/* Where the profile refuses it, a key that has a certificate gets none for other names, also from
 * another profile and after a restart; the same names in other letters are the same. */
static void test_refused(void **state)
{
    struct world *w = *state;
    w->profiles[0].keys.reuse = CFG_REUSE_REFUSE;
    assert_enrolled(w, "CN=first", w->key, "");
    assert_reused(w, "CN=second", w->key, "CN=first");
    world_restart(w);
    assert_reused(w, "CN=second", w->key, "CN=first");
    assert_enrolled(w, "CN=FIRST", w->key, "");
    assert_enrolled(w, "CN=second", w->other_key, "");
    assert_int_equal(w->ca[0].submitted, 3);
    assert_int_equal(world_audited(w, "refused"), 2);
}

/* By default it is allowed, and both the trail and the log say whose key it is as well. */
static void test_noted(void **state)
{
    struct world *w = *state;
    assert_enrolled(w, "CN=first", w->key, "");
    assert_enrolled(w, "CN=second", w->key, "; the key is also that of \"CN=first\"");
}

/* A renewal with the same key and names reuses nothing. */
static void test_renewed(void **state)
{
    struct world *w = *state;
    w->profiles[0].keys.reuse = CFG_REUSE_REFUSE;
    struct ra_outcome first = enroll(w, "CN=first", w->key);
    struct csr *csr = world_csr("CN=first", NULL, w->key);
    struct ra_request request = world_renew(w, first.cert, csr);
    struct ra_outcome outcome = world_submit(w, &request);
    assert_int_equal(outcome.status, RA_ISSUED);
    assert_string_equal(outcome.detail, "");
    ra_outcome_clear(&outcome);
    ra_outcome_clear(&first);
    csr_free(csr);
}

/* A request that waits holds its key; once the CA refused it, it does no more. */
static void test_open(void **state)
{
    struct world *w = *state;
    w->profiles[0].keys.reuse = CFG_REUSE_REFUSE;
    w->ca[0].submit = UP_PENDING;
    struct ra_outcome outcome = enroll(w, "CN=first", w->key);
    assert_int_equal(outcome.status, RA_PENDING);
    ra_outcome_clear(&outcome);
    assert_reused(w, "CN=second", w->key, "CN=first");
    w->ca[0].poll = UP_REFUSED;
    clock_set(NOW + DAY);
    assert_int_equal(world_sweep(w), 1);
    assert_int_equal(key_uses(w), 0);
    w->ca[0].submit = UP_ISSUED;
    assert_enrolled(w, "CN=second", w->key, "");
}

/* A database from before there was the index is given one, from its certificates and its open
 * requests. */
static void test_migrated(void **state)
{
    struct world *w = *state;
    char path[96];
    sqlite3 *db;
    assert_enrolled(w, "CN=first", w->key, "");
    w->ca[0].submit = UP_PENDING;
    struct ra_outcome outcome = enroll(w, "CN=waiting", w->other_key);
    ra_outcome_clear(&outcome);
    snprintf(path, sizeof path, "%s", strchr(w->url, ':') + 1);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(
            db,
            "DROP TABLE key_use; DROP TABLE challenge_miss; DROP TABLE message; "
            "DROP TABLE message_crowd; "
            "DROP INDEX request_due; "
            "ALTER TABLE request DROP COLUMN failures; ALTER TABLE request DROP COLUMN wish; "
            "ALTER TABLE request DROP COLUMN told; "
            "CREATE INDEX request_due ON request (upstream, next_at); "
            "PRAGMA user_version = 4",
            NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
    world_restart(w);
    assert_int_equal(key_uses(w), 2);
    w->profiles[0].keys.reuse = CFG_REUSE_REFUSE;
    w->ca[0].submit = UP_ISSUED;
    assert_reused(w, "CN=second", w->key, "CN=first");
    assert_reused(w, "CN=second", w->other_key, "CN=waiting");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refused, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_noted, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_renewed, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_open, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_migrated, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
