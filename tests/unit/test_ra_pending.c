#include "tests/support/ra_world.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define MANY 10000
#define THREADS 16
#define EVERY 997 /* of which these are looked at one by one */

static int setup(void **state)
{
    if (world_setup(state) != 0)
        return -1;
    struct world *w = *state;
    w->ca[0].submit = UP_PENDING;
    w->ca[0].poll = UP_PENDING;
    w->ca[0].sleep_ms = 1; /* for a crowd: then it keeps no handle */
    return 0;
}

static struct csr *csr_of(const struct world *w, unsigned n)
{
    char subject[32];
    snprintf(subject, sizeof subject, "CN=device-%u", n);
    return world_csr(subject, NULL, w->key);
}

/* Asks as user n, which is as much of an identity as a certificate is. */
static struct ra_outcome ask_as(const struct world *w, const struct csr *csr, unsigned n)
{
    char user[32];
    struct ra_request request = world_request(w, csr);
    snprintf(user, sizeof user, "user-%u", n);
    request.evidence.principal = user;
    request.evidence.user = bytes_str(user);
    return world_submit(w, &request);
}

static void assert_waits(const struct world *w, unsigned n, char id[RA_ID_LEN + 1])
{
    struct csr *csr = csr_of(w, n);
    struct ra_outcome outcome = ask_as(w, csr, n);
    assert_int_equal(outcome.status, RA_PENDING);
    memcpy(id, outcome.request_id, RA_ID_LEN + 1);
    ra_outcome_clear(&outcome);
    csr_free(csr);
}

struct asker {
    const struct world *w;
    unsigned first;
    pthread_t thread;
    unsigned wrong; /* threads do not assert */
};

static void *ask_all(void *arg)
{
    struct asker *asker = arg;
    for (unsigned n = asker->first; n < MANY; n += THREADS) {
        struct csr *csr = csr_of(asker->w, n);
        struct ra_outcome outcome = ask_as(asker->w, csr, n);
        asker->wrong += outcome.status != RA_PENDING;
        ra_outcome_clear(&outcome);
        csr_free(csr);
    }
    return NULL;
}

/* S19: ten thousand requests wait, each for whoever sent it. The same one again is the same
 * request, somebody else's is another and gets nothing of it, also after a restart; and the one
 * that the CA then issues for goes to its own. */
static void test_many(void **state)
{
    struct world *w = *state;
    char id[RA_ID_LEN + 1], again[RA_ID_LEN + 1];
    struct asker askers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        askers[i] = (struct asker){.w = w, .first = i};
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_all, &askers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_int_equal(askers[i].wrong, 0);
    }
    assert_int_equal(world_requests(w), MANY);
    for (unsigned n = 0; n < MANY; n += EVERY) {
        assert_waits(w, n, id);
        world_restart(w);
        assert_waits(w, n, again);
        assert_string_equal(id, again);
    }
    assert_int_equal(world_requests(w), MANY);
    assert_int_equal(w->ca[0].submitted, MANY);
    struct csr *csr = csr_of(w, EVERY);
    struct ra_outcome other = ask_as(w, csr, 1);
    assert_int_equal(other.status, RA_PENDING);
    assert_waits(w, EVERY, id);
    assert_string_not_equal(other.request_id, id);
    ra_outcome_clear(&other);
    assert_int_equal(world_requests(w), MANY + 1);
    w->ca[0].poll = UP_ISSUED;
    struct store_request row = world_row(w, id);
    clock_set(row.next_at);
    store_request_clear(&row);
    struct ra_outcome mine = ask_as(w, csr, EVERY);
    for (unsigned tries = 0; mine.status == RA_PENDING && tries < 100; tries++) {
        ra_outcome_clear(&mine);
        assert_true(world_sweep(w) > 0);
        mine = ask_as(w, csr, EVERY);
    }
    assert_int_equal(mine.status, RA_ISSUED);
    assert_string_equal(mine.request_id, id);
    ra_outcome_clear(&mine);
    csr_free(csr);
}

/* A CA that takes longer than a repetition is answered is not asked twice either: what it issues is
 * the answer, for retry_window from then on. */
static void test_long(void **state)
{
    struct world *w = *state;
    int64_t window = w->profiles[0].retry_window;
    struct csr *csr = csr_of(w, 1);
    char id[RA_ID_LEN + 1];
    w->ca[0].submit = w->ca[0].poll = UP_PENDING;
    assert_waits(w, 1, id);
    w->ca[0].poll = UP_ISSUED;
    clock_set(NOW + 3 * window);
    assert_int_equal(world_sweep(w), 1);
    clock_set(NOW + 4 * window);
    struct ra_outcome mine = ask_as(w, csr, 1);
    assert_int_equal(mine.status, RA_ISSUED);
    assert_string_equal(mine.request_id, id);
    assert_int_equal(w->ca[0].submitted, 1);
    ra_outcome_clear(&mine);
    csr_free(csr);
}

/* A refusal that comes while the device waits is the answer to its repetition, once, also when the
 * challenge that it had is spent; what it asks then is new. */
static void test_refused_meanwhile(void **state)
{
    struct world *w = *state;
    char secret[CHALLENGE_LEN + 1], id[RA_ID_LEN + 1];
    struct csr *csr = world_csr("CN=meanwhile", NULL, w->key);
    struct ra_request by_user = world_request(w, csr), by_secret = by_user;
    by_user.evidence.principal = "alice";
    struct ra_request *requests[] = {&by_user, &by_secret};
    for (size_t i = 0; i < 2; i++) {
        struct ra_request *request = requests[i];
        world_mint(w, NULL, secret);
        by_secret.evidence.challenge = bytes_str(secret);
        w->ca[0].submit = UP_PENDING;
        w->ca[0].poll = UP_REFUSED;
        world_pending(w, request, id);
        clock_set(clock_now() + DAY / 2);
        assert_int_equal(world_sweep(w), 1);
        world_state(w, id, TXN_REFUSED);
        unsigned submitted = w->ca[0].submitted;
        if (i)
            world_restart(w);
        struct ra_outcome outcome = world_submit(w, request);
        assert_int_equal(outcome.status, RA_REFUSED);
        assert_int_equal(outcome.reason, RA_UPSTREAM_REFUSED);
        assert_string_equal(outcome.request_id, id);
        ra_outcome_clear(&outcome);
        assert_int_equal(w->ca[0].submitted, submitted);
        if (request == &by_secret) {
            world_refused(w, request, RA_BAD_CHALLENGE);
            continue;
        }
        w->ca[0].submit = UP_ISSUED;
        cert_free(world_issue(w, request));
    }
    csr_free(csr);
}

/* Nobody hears a refusal twice, nor one that is older than a repetition is answered, nor one of
 * what another challenge was spent for. */
static void test_refused_before(void **state)
{
    struct world *w = *state;
    char secret[2][CHALLENGE_LEN + 1], id[RA_ID_LEN + 1];
    struct csr *csr = world_csr("CN=before", NULL, w->key);
    struct ra_request request = world_request(w, csr);
    w->ca[0].submit = UP_REFUSED;
    request.evidence.principal = "alice";
    world_refused(w, &request, RA_UPSTREAM_REFUSED);
    world_refused(w, &request, RA_UPSTREAM_REFUSED);
    assert_int_equal(w->ca[0].submitted, 2);
    w->ca[0].submit = UP_PENDING;
    w->ca[0].poll = UP_REFUSED;
    world_pending(w, &request, id);
    clock_set(clock_now() + 60);
    assert_int_equal(world_sweep(w), 1);
    clock_set(clock_now() + w->profiles[0].retry_window + 1);
    world_pending(w, &request, id);
    clock_set(clock_now() + 60);
    assert_int_equal(world_sweep(w), 1);
    for (size_t i = 0; i < 2; i++)
        world_mint(w, NULL, secret[i]);
    request.evidence.principal = NULL;
    request.evidence.challenge = bytes_str(secret[0]);
    world_pending(w, &request, id);
    clock_set(clock_now() + 60);
    assert_int_equal(world_sweep(w), 1);
    request.evidence.challenge = bytes_str(secret[1]);
    w->ca[0].submit = UP_ISSUED;
    cert_free(world_issue(w, &request));
    csr_free(csr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many, setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_long, setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_refused_meanwhile, setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_refused_before, setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
