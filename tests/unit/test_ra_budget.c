#include "base/clock.h"
#include "config/table.h"
#include "ra/line.h"
#include "tests/support/ra_world.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WAIT_SECONDS 20

static const struct cfg_key no_keys[] = {{0}};
static const struct cfg_kind remote = {
    .type = "fake", .keys = no_keys, .options_size = sizeof(struct cfg_line), .remote = true};

/* A device whose request has to be tried again, at a CA whose budget of retries is used up, hears
 * PENDING at once: nobody works at its request, so there is nothing to wait for. */
static void test_empty(void **state)
{
    struct world *w = *state;
    struct cfg_line line = {.inflight = 1,
                            .queue = 5,
                            .wait = WAIT_SECONDS,
                            .deadline = 5,
                            .failures = 100,
                            .open_seconds = 1};
    struct csr *csr = world_csr("CN=r1", "DNS:a", w->key);
    struct ra_request request = world_enroll(w, csr);
    char id[RA_ID_LEN + 1];
    request.txn = bytes_str("transaction-1");
    w->ca[0].submit = UP_RETRY;
    world_pending(w, &request, id);
    w->conf[0].kind = &remote;
    w->conf[0].options = &line;
    ra_apply(w->ra, &w->settings);
    clock_set(clock_now() + 3600);
    while (lines_retry(ra_lines_get(w->ra), w->conf[0].name))
        ;
    unsigned submitted = w->ca[0].submitted;
    int64_t start = clock_mono_ms();
    world_pending(w, &request, id);
    assert_true(clock_mono_ms() - start < WAIT_SECONDS * 1000 / 2);
    assert_int_equal(w->ca[0].submitted, submitted);
    csr_free(csr);
}

/* As an operator does with a suspect one: it is sent as if for the first time. */
static void approve(const struct world *w, const char *id)
{
    struct store_move move = {
        .id = id, .from = TXN_SUSPECT, .to = TXN_ORDERED, .next_at = clock_now()};
    enum store_write result;
    struct err err;
    assert_true(w->store->vt->claim(w->store, id, 10, &move.attempt, &err));
    assert_true(w->store->vt->move(w->store, &move, &result, &err));
    assert_int_equal(result, STORE_DONE);
}

/* Until nothing stands in the CA's line. */
static void wait_until_idle(const struct world *w)
{
    int64_t end = clock_mono_ms() + 60000;
    struct line_state state;
    do {
        usleep(10000);
        assert_true(lines_state(ra_lines_get(w->ra), w->conf[0].name, &state));
        assert_true(clock_mono_ms() < end);
    } while (state.waiting || state.running);
}

/* More requests than a sweep takes wait for a budget of retries that is used up. One that is sent
 * for the first time does not stand behind them. */
static void test_starved(void **state)
{
    enum { STARVED = 1100, QUEUE = 2000, SWEEPS = 20 };
    struct world *w = *state;
    struct cfg_line line = {.inflight = 1,
                            .queue = QUEUE,
                            .wait = 1,
                            .deadline = 5,
                            .failures = 100000,
                            .open_seconds = 1};
    char id[RA_ID_LEN + 1], subject[32];
    for (unsigned i = 0; i < STARVED + 1; i++) {
        w->ca[0].submit = i == STARVED ? UP_UNKNOWN : UP_RETRY;
        snprintf(subject, sizeof subject, "CN=r%u", i);
        struct csr *csr = world_csr(subject, NULL, w->key);
        struct ra_request request = world_enroll(w, csr);
        world_pending(w, &request, id);
        csr_free(csr);
    }
    w->conf[0].kind = &remote;
    w->conf[0].options = &line;
    ra_apply(w->ra, &w->settings);
    clock_set(clock_now() + 3600);
    while (lines_retry(ra_lines_get(w->ra), w->conf[0].name))
        ;
    approve(w, id);
    w->ca[0].submit = UP_ISSUED;
    for (int i = 0; i < SWEEPS && world_inventory(w) == 0; i++) {
        (void)world_sweep(w);
        wait_until_idle(w);
    }
    world_state(w, id, TXN_ISSUED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_starved, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
