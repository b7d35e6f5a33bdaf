#include "tests/support/ra_world.h"

#include <openssl/sha.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

/* A message that a registrar signed at a time, and that is sent at others. */
struct message {
    struct world *w;
    EVP_PKEY *key;
    struct cert *ra;
    struct csr *csr;
    struct ra_request request;
};

static struct message message_open(struct world *w)
{
    const struct make_spec spec = {
        .subject = "CN=ra", .not_before = NOW - DAY, .not_after = NOW + 100 * DAY};
    struct message m = {.w = w, .key = make_ec("P-256")};
    m.ra = make_cert(&spec, m.key, NULL, NULL);
    m.csr = world_csr("CN=r1", NULL, w->key);
    w->profiles[0].registrars.items = mem_zalloc(sizeof m.ra);
    w->profiles[0].registrars.items[0] = m.ra;
    w->profiles[0].registrars.count = 1;
    m.request = world_request(w, m.csr);
    m.request.evidence =
        (struct ra_evidence){.holder = m.ra, .over_cms = true, .other_key = true, .signed_at = NOW};
    return m;
}

static void message_close(struct message *m)
{
    free(m->w->profiles[0].registrars.items);
    m->w->profiles[0].registrars = (struct cfg_certs){0};
    csr_free(m->csr);
    cert_free(m->ra);
    EVP_PKEY_free(m->key);
}

/* While the certificate is good, the message gets it again; once it is revoked, nothing, whenever
 * it comes and whoever's clock is ahead. */
static void test_revoked(void **state)
{
    struct world *w = *state;
    struct message m = message_open(w);
    m.request.evidence.signed_at = NOW + 300;
    struct cert *first = world_issue(w, &m.request), *again = world_issue(w, &m.request);
    assert_true(world_same_cert(first, again));
    world_revoke(w, first, 1);
    for (int64_t hours = 0; hours < 24; hours += 6) {
        clock_set(NOW + hours * 3600);
        world_refused(w, &m.request, RA_UNKNOWN_TXN);
    }
    world_restart(w);
    m.request = world_request(w, m.csr);
    m.request.evidence = (struct ra_evidence){
        .holder = m.ra, .over_cms = true, .other_key = true, .signed_at = NOW + 300};
    world_refused(w, &m.request, RA_UNKNOWN_TXN);
    assert_int_equal(w->ca[0].submitted, 1);
    cert_free(first);
    cert_free(again);
    message_close(&m);
}

/* Who signs anew, or proves to be the signer by TLS, is issued another one; the old message then
 * gets that, and nothing once that is revoked, too. */
static void test_anew(void **state)
{
    struct world *w = *state;
    struct message m = message_open(w);
    struct cert *first = world_issue(w, &m.request);
    world_revoke(w, first, 1);
    clock_set(NOW + 3600);
    m.request.evidence.signed_at = NOW + 3600;
    struct cert *second = world_issue(w, &m.request);
    assert_false(world_same_cert(first, second));
    m.request.evidence.signed_at = NOW;
    struct cert *old = world_issue(w, &m.request);
    assert_true(world_same_cert(second, old));
    world_revoke(w, second, 1);
    world_refused(w, &m.request, RA_UNKNOWN_TXN);
    m.request.evidence.signed_at = 0;
    struct cert *third = world_issue(w, &m.request);
    assert_int_equal(w->ca[0].submitted, 3);
    cert_free(first);
    cert_free(second);
    cert_free(old);
    cert_free(third);
    message_close(&m);
}

/* Nor does the old message get another one where the CA refused what was signed anew. */
static void test_refused_since(void **state)
{
    struct world *w = *state;
    struct message m = message_open(w);
    struct cert *first = world_issue(w, &m.request);
    world_revoke(w, first, 1);
    clock_set(NOW + 3600);
    m.request.evidence.signed_at = NOW + 3600;
    w->ca[0].submit = UP_REFUSED;
    world_refused(w, &m.request, RA_UPSTREAM_REFUSED);
    w->ca[0].submit = UP_ISSUED;
    m.request.evidence.signed_at = NOW;
    world_refused(w, &m.request, RA_UNKNOWN_TXN);
    m.request.evidence.signed_at = NOW + 3600;
    cert_free(world_issue(w, &m.request));
    cert_free(first);
    message_close(&m);
}

static const uint8_t messages[4][RA_DIGEST_LEN] = {{1}, {2}, {3}, {4}};

/* As SCEP has it: a message whose signature says nothing of its time. */
static struct cert *issue(const struct world *w, struct ra_request request, const uint8_t *message)
{
    request.evidence.message = message;
    return world_issue(w, &request);
}

static void refused(const struct world *w, struct ra_request request, const uint8_t *message,
                    enum ra_reason reason)
{
    request.evidence.message = message;
    world_refused(w, &request, reason);
}

static struct ra_request by_holder(const struct world *w, const struct csr *csr,
                                   struct cert *holder)
{
    struct ra_request request = world_request(w, csr);
    request.evidence.holder = holder;
    request.evidence.over_cms = true;
    return request;
}

static struct ra_request by_challenge(const struct world *w, const struct csr *csr,
                                      struct cert *holder)
{
    struct ra_request request = by_holder(w, csr, holder);
    request.evidence.challenge = bytes_str(FIXED_CHALLENGE);
    return request;
}

/* A message with a challenge that is never spent gets its certificate again after retry_window as
 * well, and nothing once that was revoked; whoever makes another message gets another one. */
static void test_challenge(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct cert *signer = world_signer("CN=r1", w->key);
    struct cert *first = issue(w, by_challenge(w, csr, signer), messages[0]);
    clock_set(NOW + 2 * DAY);
    struct cert *again = issue(w, by_challenge(w, csr, signer), messages[0]);
    assert_true(world_same_cert(first, again));
    world_revoke(w, first, 1);
    refused(w, by_challenge(w, csr, signer), messages[0], RA_BAD_CHALLENGE);
    world_restart(w);
    refused(w, by_challenge(w, csr, signer), messages[0], RA_BAD_CHALLENGE);
    assert_int_equal(w->ca[0].submitted, 1);
    struct cert *second = issue(w, by_challenge(w, csr, signer), messages[1]);
    assert_false(world_same_cert(first, second));
    world_revoke(w, second, 1);
    for (size_t i = 0; i < 2; i++)
        refused(w, by_challenge(w, csr, signer), messages[i], RA_BAD_CHALLENGE);
    assert_int_equal(w->ca[0].submitted, 2);
    cert_free(first);
    cert_free(again);
    cert_free(second);
    cert_free(signer);
    csr_free(csr);
}

/* Nor do messages renew twice, though the certificate that signed them is good: not when what they
 * led to was replaced, neither the first one nor one that repeated it. */
static void test_renewal(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct csr *next = world_csr("CN=r1", NULL, w->other_key);
    struct cert *signer = world_signer("CN=r1", w->key);
    struct cert *held = issue(w, by_challenge(w, csr, signer), NULL);
    struct cert *renewed = issue(w, by_holder(w, next, held), messages[0]);
    struct cert *again = issue(w, by_holder(w, next, held), messages[1]);
    assert_true(world_same_cert(renewed, again));
    clock_set(NOW + 2 * DAY);
    for (size_t i = 0; i < 2; i++) {
        cert_free(again);
        again = issue(w, by_holder(w, next, held), messages[i]);
        assert_true(world_same_cert(renewed, again));
    }
    struct cert *third = issue(w, by_holder(w, csr, renewed), messages[2]);
    for (size_t i = 0; i < 2; i++)
        refused(w, by_holder(w, next, held), messages[i], RA_BAD_RENEWAL);
    assert_int_equal(w->ca[0].submitted, 3);
    struct cert *anew = issue(w, by_holder(w, next, held), messages[3]);
    assert_int_equal(w->ca[0].submitted, 4);
    cert_free(held);
    cert_free(renewed);
    cert_free(again);
    cert_free(third);
    cert_free(anew);
    cert_free(signer);
    csr_free(csr);
    csr_free(next);
}

/* What the CA refused led to nothing: the same message may ask again. */
static void test_after_refusal(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct cert *signer = world_signer("CN=r1", w->key);
    w->ca[0].submit = UP_REFUSED;
    refused(w, by_challenge(w, csr, signer), messages[0], RA_UPSTREAM_REFUSED);
    w->ca[0].submit = UP_ISSUED;
    struct cert *first = issue(w, by_challenge(w, csr, signer), messages[0]);
    clock_set(NOW + 2 * DAY);
    struct cert *again = issue(w, by_challenge(w, csr, signer), messages[0]);
    assert_true(world_same_cert(first, again));
    assert_int_equal(w->ca[0].submitted, 2);
    cert_free(first);
    cert_free(again);
    cert_free(signer);
    csr_free(csr);
}

static int64_t count_of(const struct world *w, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open(strchr(w->url, ':') + 1, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return count;
}

static void run(const struct world *w, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(strchr(w->url, ':') + 1, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* The message that a device in a loop signed as its n-th. */
static const uint8_t *nth(unsigned n, uint8_t out[RA_DIGEST_LEN])
{
    SHA256((const uint8_t *)&n, sizeof n, out);
    return out;
}

enum { LOOP = 10000, KEPT = 64 };
static const unsigned replayed[] = {0, 1, KEPT - 1, KEPT, LOOP / 2, LOOP - 1};

static void refused_all(const struct world *w, const struct csr *csr, struct cert *signer)
{
    uint8_t digest[RA_DIGEST_LEN];
    for (size_t i = 0; i < sizeof replayed / sizeof replayed[0]; i++)
        refused(w, by_challenge(w, csr, signer), nth(replayed[i], digest), RA_BAD_CHALLENGE);
}

/* A device that signs each of ten thousand repetitions anew gets one certificate, and fills no
 * store: whichever of its messages comes again, after retry_window and a restart, gets that
 * certificate, or nothing once that is revoked; whoever signs anew then gets another one. */
static void test_crowd(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct csr *other = world_csr("CN=r2", NULL, w->other_key);
    struct cert *signer = world_signer("CN=r1", w->key);
    struct cert *other_signer = world_signer("CN=r2", w->other_key);
    uint8_t digest[RA_DIGEST_LEN];
    struct cert *first = issue(w, by_challenge(w, csr, signer), nth(0, digest));
    for (unsigned i = 1; i < LOOP; i++) {
        struct cert *again = issue(w, by_challenge(w, csr, signer), nth(i, digest));
        assert_true(world_same_cert(first, again));
        cert_free(again);
    }
    assert_int_equal(count_of(w, "SELECT count(*) FROM message"), KEPT);
    assert_int_equal(count_of(w, "SELECT count(*) FROM message_crowd"), 1);
    assert_int_equal(count_of(w, "SELECT length(seen) FROM message_crowd"), 16384);
    world_restart(w);
    clock_set(NOW + 2 * DAY);
    for (size_t i = 0; i < sizeof replayed / sizeof replayed[0]; i++) {
        struct cert *again = issue(w, by_challenge(w, csr, signer), nth(replayed[i], digest));
        assert_true(world_same_cert(first, again));
        cert_free(again);
    }
    world_revoke(w, first, 1);
    refused_all(w, csr, signer);
    world_restart(w);
    refused_all(w, csr, signer);
    assert_int_equal(w->ca[0].submitted, 1);
    cert_free(issue(w, by_challenge(w, other, other_signer), nth(LOOP / 2, digest)));
    struct cert *second = issue(w, by_challenge(w, csr, signer), nth(LOOP, digest));
    assert_false(world_same_cert(first, second));
    world_revoke(w, second, 1);
    refused_all(w, csr, signer);
    refused(w, by_challenge(w, csr, signer), nth(LOOP, digest), RA_BAD_CHALLENGE);
    assert_int_equal(w->ca[0].submitted, 3);
    cert_free(first);
    cert_free(second);
    cert_free(signer);
    cert_free(other_signer);
    csr_free(csr);
    csr_free(other);
}

/* What a device sent for a request that was refused is forgotten with it, also what a store of
 * before remembers. */
static void test_refused_forgotten(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct cert *signer = world_signer("CN=r1", w->key);
    struct ra_request request = by_challenge(w, csr, signer);
    char id[RA_ID_LEN + 1];
    w->ca[0].submit = w->ca[0].poll = UP_PENDING;
    for (size_t i = 0; i < 3; i++) {
        request.evidence.message = messages[i];
        world_pending(w, &request, id);
    }
    assert_int_equal(count_of(w, "SELECT count(*) FROM message"), 3);
    w->ca[0].poll = UP_REFUSED;
    clock_set(NOW + 3600);
    assert_int_equal(world_sweep(w), 1);
    world_state(w, id, TXN_REFUSED);
    assert_int_equal(count_of(w, "SELECT count(*) FROM message"), 0);
    /* As version 8 had it. */
    run(w, "ALTER TABLE request DROP COLUMN wish; ALTER TABLE request DROP COLUMN told; "
           "DROP INDEX message_request; DROP TABLE message_crowd; PRAGMA user_version = 8; "
           "INSERT INTO message SELECT x'01', id FROM request");
    world_restart(w);
    assert_int_equal(count_of(w, "SELECT count(*) FROM message"), 0);
    cert_free(signer);
    csr_free(csr);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_revoked),       TEST(test_anew),
                                       TEST(test_refused_since), TEST(test_challenge),
                                       TEST(test_renewal),       TEST(test_after_refusal),
                                       TEST(test_crowd),         TEST(test_refused_forgotten)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
