#include "tests/support/ra_world.h"

#include <string.h>

/* A device that asks with the fixed challenge. */
struct device {
    struct world *w;
    struct fake_ca *ca;
    struct csr *csr;
    struct ra_request request;
    char id[RA_ID_LEN + 1]; /* of its request, once there is one */
};

static struct device device_open(struct world *w)
{
    struct device d = {.w = w, .ca = &w->ca[0], .csr = world_csr("CN=r1", "DNS:a", w->key)};
    d.request = world_enroll(w, d.csr);
    return d;
}

/* Its request is pending at the CA, which says so again whenever it is asked. */
static struct device device_pending(struct world *w)
{
    struct device d = device_open(w);
    d.ca->submit = d.ca->poll = UP_PENDING;
    world_pending(w, &d.request, d.id);
    return d;
}

static void device_close(struct device *d)
{
    csr_free(d->csr);
}

/* When the next try is due, and one driver sweeps. */
static void sweep_due(const struct device *d)
{
    struct store_request row = world_row(d->w, d->id);
    clock_set(row.next_at);
    store_request_clear(&row);
    assert_int_equal(world_sweep(d->w), 1);
}

/* A CA that takes longer than the retry window is not asked twice: what is open answers, however
 * old it is. */
static void test_open_window(void **state)
{
    struct world *w = *state;
    struct device d = device_pending(w);
    char id[RA_ID_LEN + 1];
    for (int day = 0; day < 3; day++) {
        clock_set(clock_now() + DAY);
        world_pending(w, &d.request, id);
        assert_string_equal(id, d.id);
    }
    assert_int_equal(d.ca->submitted, 1);
    assert_int_equal(world_requests(w), 1);
    device_close(&d);
}

/* What a dead process may have sent is not sent again because its upstream or profile was missing
 * for a while: it is asked for. */
static void test_crash_orphan(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    d.ca->vt.caps = UP_RECOVER;
    d.ca->recover = UP_ISSUED;
    world_left_behind(w, d.csr, d.id);
    world_restart(w);
    w->conf[0].name = "renamed";
    assert_int_equal(world_sweep(w), 0);
    w->conf[0].name = "first";
    w->profiles[0].name = "renamed";
    assert_int_equal(world_sweep(w), 1);
    world_state(w, d.id, TXN_SUSPECT);
    w->profiles[0].name = "a";
    sweep_due(&d);
    world_state(w, d.id, TXN_ISSUED);
    assert_int_equal(d.ca->submitted, 0);
    assert_int_equal(d.ca->recovered, 1);
    device_close(&d);
}

/* However often a CA says the same, and however long a profile is missing, the trail says it
 * once. */
static void test_trail_once(void **state)
{
    struct world *w = *state;
    struct device d = device_pending(w);
    struct audit_summary summary;
    struct err err = {0};
    for (int i = 0; i < 5; i++)
        sweep_due(&d);
    assert_int_equal(d.ca->polled, 5);
    w->profiles[0].name = "renamed";
    for (int i = 0; i < 5; i++)
        sweep_due(&d);
    assert_true(audit_verify(w->store, &summary, &err));
    assert_int_equal(summary.records, 3); /* ordered, waiting, orphaned */
    device_close(&d);
}

/* A device that repeats its request with another transactionID may poll by that one. */
static void test_new_txn(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    char id[RA_ID_LEN + 1];
    d.ca->submit = d.ca->poll = UP_PENDING;
    d.request.txn = bytes_str("one");
    world_pending(w, &d.request, d.id);
    d.request.txn = bytes_str("two");
    world_pending(w, &d.request, id);
    d.request.op = RA_POLL;
    world_pending(w, &d.request, id);
    assert_string_equal(id, d.id);
    device_close(&d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_open_window),
        TEST(test_crash_orphan),
        TEST(test_trail_once),
        TEST(test_new_txn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
