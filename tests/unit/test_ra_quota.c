#include "tests/support/ra_world.h"

#include <pthread.h>
#include <stdio.h>

#define CROWD 20
#define MOST 3

static int setup(void **state)
{
    if (world_setup(state) != 0)
        return -1;
    struct world *w = *state;
    for (unsigned i = 0; i < WORLD_PROFILES; i++)
        w->profiles[i].quota_device = (struct rate){MOST, DAY};
    return 0;
}

/* A request like the others for the same names, with a key of its own. */
static struct ra_outcome ask(struct world *w, unsigned profile, const char *subject,
                             const char *sans)
{
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr = world_csr(subject, sans, key);
    struct ra_request request = world_enroll(w, csr);
    request.profile = &w->profiles[profile];
    struct ra_outcome outcome = world_submit(w, &request);
    csr_free(csr);
    EVP_PKEY_free(key);
    return outcome;
}

static void asks(struct world *w, const char *subject, const char *sans, enum ra_status status)
{
    struct ra_outcome outcome = ask(w, 0, subject, sans);
    assert_int_equal(outcome.status, status);
    if (status == RA_REFUSED)
        assert_int_equal(outcome.reason, RA_OVER_QUOTA);
    ra_outcome_clear(&outcome);
}

/* A device that asks with ever new keys gets what its quota allows; the CA hears nothing of more,
 * and is not even prepared for it. */
static void test_looping(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < MOST; i++)
        asks(w, "CN=loop", NULL, RA_ISSUED);
    for (unsigned i = 0; i < 10; i++)
        asks(w, "CN=loop", NULL, RA_REFUSED);
    assert_int_equal(w->ca[0].submitted, MOST);
    assert_int_equal(w->ca[0].prepared, MOST);
    assert_int_equal(world_requests(w), MOST);
}

/* The window slides: the next may come when the oldest has left it, and the refusal says when. */
static void test_window(void **state)
{
    struct world *w = *state;
    asks(w, "CN=slow", NULL, RA_ISSUED);
    clock_set(NOW + 3600);
    asks(w, "CN=slow", NULL, RA_ISSUED);
    asks(w, "CN=slow", NULL, RA_ISSUED);
    struct ra_outcome outcome = ask(w, 0, "CN=slow", NULL);
    assert_int_equal(outcome.reason, RA_OVER_QUOTA);
    assert_int_equal(outcome.retry_after, DAY - 3600);
    ra_outcome_clear(&outcome);
    clock_set(NOW + DAY - 1);
    asks(w, "CN=slow", NULL, RA_REFUSED);
    clock_set(NOW + DAY);
    asks(w, "CN=slow", NULL, RA_ISSUED);
    asks(w, "CN=slow", NULL, RA_REFUSED);
}

/* Other subjects, other SANs and other profiles are other devices. */
static void test_others(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < MOST; i++)
        asks(w, "CN=one", "DNS:a", RA_ISSUED);
    asks(w, "CN=one", "DNS:a", RA_REFUSED);
    asks(w, "CN=two", "DNS:a", RA_ISSUED);
    asks(w, "CN=one", "DNS:b", RA_ISSUED);
    asks(w, "CN=one", NULL, RA_ISSUED);
    struct ra_outcome outcome = ask(w, 1, "CN=one", "DNS:a");
    assert_int_equal(outcome.status, RA_ISSUED);
    ra_outcome_clear(&outcome);
}

/* The order of SANs makes no other device. */
static void test_order(void **state)
{
    struct world *w = *state;
    asks(w, "CN=one", "DNS:a,DNS:b", RA_ISSUED);
    asks(w, "CN=one", "DNS:b,DNS:a", RA_ISSUED);
    asks(w, "CN=one", "DNS:a,DNS:b", RA_ISSUED);
    asks(w, "CN=one", "DNS:b,DNS:a", RA_REFUSED);
}

/* The same request again is answered from its row, however often: nothing is used up. */
static void test_repetition(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=again", NULL, w->key);
    struct ra_request request = world_enroll(w, csr);
    for (unsigned i = 0; i < 3 * MOST; i++)
        cert_free(world_issue(w, &request));
    asks(w, "CN=again", NULL, RA_ISSUED);
    asks(w, "CN=again", NULL, RA_ISSUED);
    asks(w, "CN=again", NULL, RA_REFUSED);
    csr_free(csr);
}

/* A refusal spends no challenge: it is good when the device may ask again. */
static void test_challenge_kept(void **state)
{
    struct world *w = *state;
    char secret[CHALLENGE_LEN + 1];
    world_mint(w, "CN=kept", secret);
    for (unsigned i = 0; i < MOST; i++)
        asks(w, "CN=kept", NULL, RA_ISSUED);
    struct csr *csr = world_csr("CN=kept", NULL, w->key);
    struct ra_request request = world_request(w, csr);
    request.evidence.challenge = bytes_str(secret);
    world_refused(w, &request, RA_OVER_QUOTA);
    clock_set(NOW + 1800);
    w->profiles[0].quota_device.seconds = 1800;
    cert_free(world_issue(w, &request));
    csr_free(csr);
}

/* What the CA refuses counts as well: it is the CA that the quota is for. */
static void test_refused_counts(void **state)
{
    struct world *w = *state;
    w->ca[0].submit = UP_REFUSED;
    for (unsigned i = 0; i < MOST; i++) {
        struct ra_outcome outcome = ask(w, 0, "CN=no", NULL);
        assert_int_equal(outcome.reason, RA_UPSTREAM_REFUSED);
        ra_outcome_clear(&outcome);
    }
    asks(w, "CN=no", NULL, RA_REFUSED);
}

struct asker {
    pthread_t thread;
    struct world *w;
    struct csr *csr;
    struct ra_outcome outcome;
};

static void *ask_once(void *arg)
{
    struct asker *asker = arg;
    struct ra_request request = world_enroll(asker->w, asker->csr);
    struct err err;
    if (!ra_submit(asker->w->ra, &request, &asker->outcome, &err))
        asker->outcome.status = RA_PENDING;
    return NULL;
}

/* Twenty at the same moment get exactly what the quota allows, and the CA is asked no more often.
 */
static void test_crowd(void **state)
{
    struct world *w = *state;
    struct asker askers[CROWD] = {0};
    EVP_PKEY *keys[CROWD];
    unsigned issued = 0, over = 0;
    for (unsigned i = 0; i < CROWD; i++) {
        keys[i] = make_ec("P-256");
        askers[i].w = w;
        askers[i].csr = world_csr("CN=crowd", NULL, keys[i]);
    }
    for (unsigned i = 0; i < CROWD; i++)
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_once, &askers[i]), 0);
    for (unsigned i = 0; i < CROWD; i++) {
        pthread_join(askers[i].thread, NULL);
        issued += askers[i].outcome.status == RA_ISSUED;
        over += askers[i].outcome.reason == RA_OVER_QUOTA;
        ra_outcome_clear(&askers[i].outcome);
        csr_free(askers[i].csr);
        EVP_PKEY_free(keys[i]);
    }
    assert_int_equal(issued, MOST);
    assert_int_equal(over, CROWD - MOST);
    assert_int_equal(w->ca[0].submitted, MOST);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_looping),        TEST(test_window),     TEST(test_others),
        TEST(test_order),          TEST(test_repetition), TEST(test_challenge_kept),
        TEST(test_refused_counts), TEST(test_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
