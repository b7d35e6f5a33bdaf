#include "tests/support/ra_device.h"

#include <stdio.h>
#include <string.h>

/* While it is pending the device hears the time to come back, never below 5 s nor above an hour,
 * and the CA is left alone until then. */
static void test_pending(void **state)
{
    static const struct {
        int wish, told;
    } rows[] = {{1, 5}, {5, 5}, {90, 90}, {3600, 3600}, {90000, 3600}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world *w = *state;
        char subject[16];
        snprintf(subject, sizeof subject, "CN=r%zu", i);
        struct csr *csr = world_csr(subject, NULL, w->key);
        struct ra_request request = world_enroll(w, csr);
        w->ca[0].submit = UP_PENDING;
        w->ca[0].cookie = "ticket";
        w->ca[0].retry_after = rows[i].wish;
        for (int repeat = 0; repeat < 2; repeat++) {
            struct ra_outcome outcome = world_submit(w, &request);
            assert_int_equal(outcome.status, RA_PENDING);
            assert_int_equal(outcome.retry_after, rows[i].told);
            assert_int_equal(outcome.repeated, repeat);
            world_state(w, outcome.request_id, TXN_WAITING);
            ra_outcome_clear(&outcome);
        }
        assert_int_equal(w->ca[0].submitted, i + 1);
        assert_int_equal(w->ca[0].polled, 0);
        assert_int_equal(world_sweep(w), 0);
        csr_free(csr);
    }
}

/* A CA that wants to be left alone for a year is asked again after a day: whoever waits for a
 * certificate does not wait for a mistake. */
static void test_long_wish(void **state)
{
    static const enum up_result results[] = {UP_PENDING, UP_RETRY};
    struct world *w = *state;
    for (size_t i = 0; i < 2; i++) {
        struct csr *csr = world_csr(i ? "CN=retry" : "CN=pending", NULL, w->key);
        struct ra_request request = world_enroll(w, csr);
        struct device d = {.w = w};
        w->ca[0].submit = results[i];
        w->ca[0].retry_after = 365 * 86400;
        world_pending(w, &request, d.id);
        assert_in_range(next_at(&d) - clock_now(), 86000, 86400);
        csr_free(csr);
    }
}

/* When its time has come a waiting request is polled with its cookie: by the sweep, or by the
 * device that comes back. */
static void test_polled(void **state)
{
    struct world *w = *state;
    w->ca[0].cookie = "ticket one";
    w->ca[0].retry_after = 30;
    struct device d = device_pending(w, UP_PENDING, 0);
    d.ca->poll = UP_PENDING;
    d.ca->cookie = "ticket two";
    sweep_due(&d);
    assert_true(bytes_equal_str(buf_bytes(&d.ca->last_cookie), "ticket one"));
    world_state(w, d.id, TXN_WAITING);
    d.ca->cookie = NULL; /* no new one: the old one stays */
    sweep_due(&d);
    assert_true(bytes_equal_str(buf_bytes(&d.ca->last_cookie), "ticket two"));
    clock_set(next_at(&d));
    d.ca->poll = UP_ISSUED;
    struct cert *cert = world_issue(w, &d.request);
    assert_true(bytes_equal_str(buf_bytes(&d.ca->last_cookie), "ticket two"));
    assert_true(spki_equal(cert_spki_get(cert), csr_spki_get(d.csr)));
    world_state(w, d.id, TXN_ISSUED);
    assert_int_equal(d.ca->submitted, 1);
    assert_int_equal(d.ca->polled, 3);
    assert_int_equal(world_sweep(w), 0);
    cert_free(cert);
    device_close(&d);
}

/* A CertPoll for a request whose time has come drives it as well. */
static void test_polled_by_txn(void **state)
{
    struct world *w = *state;
    struct device d = device_pending(w, UP_PENDING, 0);
    char id[RA_ID_LEN + 1];
    d.request.op = RA_POLL;
    d.request.csr = NULL;
    d.ca->poll = UP_ISSUED;
    clock_set(next_at(&d) - 1);
    world_pending(w, &d.request, id);
    assert_string_equal(id, d.id);
    assert_int_equal(d.ca->polled, 0);
    clock_set(next_at(&d));
    cert_free(world_issue(w, &d.request));
    assert_int_equal(d.ca->polled, 1);
    device_close(&d);
}

/* A poll that fails changes nothing but the time of the next; what the CA has, it still has. */
static void test_poll_fails(void **state)
{
    struct world *w = *state;
    static const enum up_result fails[] = {UP_RETRY, UP_UNKNOWN};
    static const unsigned caps[] = {0, UP_RESUBMIT_SAFE};
    w->ca[0].cookie = "ticket";
    struct device d = device_pending(w, UP_PENDING, 0);
    d.ca->cookie = NULL;
    for (size_t i = 0; i < 4; i++) {
        d.ca->poll = fails[i % 2];
        d.ca->vt.caps = caps[i / 2];
        sweep_due(&d);
        world_state(w, d.id, TXN_WAITING);
        assert_true(next_at(&d) > clock_now());
        assert_true(bytes_equal_str(buf_bytes(&d.ca->last_cookie), "ticket"));
    }
    assert_int_equal(d.ca->submitted, 1);
    d.ca->poll = UP_REFUSED;
    sweep_due(&d);
    world_state(w, d.id, TXN_REFUSED);
    device_close(&d);
}

/* A CA that refuses is believed, its reason is kept, and a poll hears of it; asking anew is a new
 * request. */
static void test_refused(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    d.ca->submit = UP_REFUSED;
    struct ra_outcome outcome = world_submit(w, &d.request);
    assert_int_equal(outcome.status, RA_REFUSED);
    assert_int_equal(outcome.reason, RA_UPSTREAM_REFUSED);
    assert_string_equal(outcome.detail, "the CA says refused");
    world_state(w, outcome.request_id, TXN_REFUSED);
    ra_outcome_clear(&outcome);
    struct ra_request poll = d.request;
    poll.op = RA_POLL;
    world_refused(w, &poll, RA_UPSTREAM_REFUSED);
    assert_int_equal(d.ca->submitted, 1);
    d.ca->submit = UP_ISSUED;
    cert_free(world_issue(w, &d.request));
    assert_int_equal(world_requests(w), 2);
    device_close(&d);
}

/* "Later, nothing happened" is tried again with the same handle, also at a CA that would issue
 * twice, at growing intervals that end at ten minutes, anywhere between nothing and that. */
static void test_retry(void **state)
{
    struct world *w = *state;
    struct device d = device_pending(w, UP_RETRY, 0);
    char handle[64];
    snprintf(handle, sizeof handle, HANDLE "%s", d.id);
    for (int64_t limit = 5; limit < 2000; limit *= 2) {
        int64_t wait = next_at(&d) - clock_now();
        assert_in_range(wait, 1, limit < 600 ? limit : 600);
        world_state(w, d.id, TXN_ORDERED);
        sweep_due(&d);
        assert_true(bytes_equal_str(buf_bytes(&d.ca->last_handle), handle));
    }
    int64_t shortest = 600, longest = 0;
    for (int i = 0; i < 64; i++) {
        int64_t wait = next_at(&d) - clock_now();
        shortest = wait < shortest ? wait : shortest;
        longest = wait > longest ? wait : longest;
        sweep_due(&d);
    }
    assert_in_range(shortest, 1, 200); /* full jitter: one in 10^11 runs has none of these */
    assert_in_range(longest, 400, 600);
    d.ca->submit = UP_ISSUED;
    unsigned submitted = d.ca->submitted;
    clock_set(next_at(&d));
    cert_free(world_issue(w, &d.request)); /* the device comes before the sweep */
    assert_int_equal(d.ca->submitted, submitted + 1);
    assert_int_equal(d.ca->recovered, 0);
    assert_int_equal(d.ca->prepared, 1);
    device_close(&d);
}

/* Polls that find the request still waiting are no failures: one that fails after days of them is
 * tried again within seconds, and the next one after it somewhat later. */
static void test_retry_after_polls(void **state)
{
    struct world *w = *state;
    struct device d = device_pending(w, UP_PENDING, 0);
    for (int round = 0; round < 8; round++) {
        d.ca->poll = UP_PENDING;
        for (int i = 0; i < 12; i++)
            sweep_due(&d);
        d.ca->poll = round % 2 ? UP_RETRY : UP_UNKNOWN;
        for (int64_t limit = 5; limit < 50; limit *= 2) {
            sweep_due(&d);
            assert_in_range(next_at(&d) - clock_now(), 1, limit);
        }
    }
    device_close(&d);
}

/* When a request left and no answer came, a CA that would issue twice is only asked what became of
 * it, until it says so. */
static void test_unknown(void **state)
{
    struct world *w = *state;
    struct device d = device_pending(w, UP_UNKNOWN, UP_RECOVER);
    static const enum up_result vague[] = {UP_UNKNOWN, UP_RETRY, UP_PENDING};
    char id[RA_ID_LEN + 1];
    world_state(w, d.id, TXN_SUSPECT);
    check_reason(&d, "the CA says unknown");
    for (size_t i = 0; i < 3; i++) {
        d.ca->recover = vague[i];
        sweep_due(&d);
        world_state(w, d.id, TXN_SUSPECT);
        clock_set(next_at(&d));
        world_pending(w, &d.request, id); /* the device's return is no reason to send it */
        assert_string_equal(id, d.id);
    }
    assert_int_equal(d.ca->recovered, 3);
    d.ca->recover = UP_ISSUED;
    sweep_due(&d);
    world_state(w, d.id, TXN_ISSUED);
    cert_free(world_issue(w, &d.request));
    assert_int_equal(d.ca->submitted, 1);
    device_close(&d);
}

/* A recovery may also end in a refusal. */
static void test_unknown_refused(void **state)
{
    struct world *w = *state;
    struct device d = device_pending(w, UP_UNKNOWN, UP_RECOVER);
    d.ca->recover = UP_REFUSED;
    sweep_due(&d);
    world_state(w, d.id, TXN_REFUSED);
    assert_int_equal(d.ca->submitted, 1);
    device_close(&d);
}

/* A CA that can neither be asked nor asked again keeps it suspect, for an operator. */
static void test_unknown_for_good(void **state)
{
    struct world *w = *state;
    struct device d = device_pending(w, UP_UNKNOWN, 0);
    d.ca->vt.recover = NULL;
    d.ca->submit = UP_ISSUED;
    for (int i = 0; i < 5; i++) {
        sweep_due(&d);
        world_state(w, d.id, TXN_SUSPECT);
        check_reason(&d, "first cannot say what became of it");
    }
    assert_int_equal(d.ca->submitted, 1);
    device_close(&d);
}

/* What is suspect at a CA that cannot be asked keeps its reason: the operator reads what happened.
 */
static void test_unknown_keeps_reason(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    d.ca->submit = UP_UNKNOWN;
    d.ca->vt.recover = NULL;
    world_pending(w, &d.request, d.id);
    clock_set(clock_now() + 365 * DAY);
    assert_int_equal(world_sweep(w), 0);
    world_state(w, d.id, TXN_SUSPECT);
    check_reason(&d, "the CA says unknown");
    device_close(&d);
}

/* What a CA forgets that may have issued is suspect, also at one that is otherwise asked again. */
static void test_lost(void **state)
{
    struct world *w = *state;
    struct device d = device_pending(w, UP_PENDING, UP_RESUBMIT_SAFE);
    d.ca->vt.recover = NULL;
    d.ca->poll = UP_LOST;
    sweep_due(&d);
    check_reason(&d, "the CA says lost");
    assert_true(next_at(&d) > clock_now() + 3650 * DAY - 1);
    for (int i = 0; i < 3; i++) {
        world_state(w, d.id, TXN_SUSPECT);
        sweep_due(&d);
    }
    assert_int_equal(d.ca->submitted, 1);
    assert_int_equal(d.ca->polled, 1);
    device_close(&d);
}

/* A CA at which the same handle twice issues once is sent the same handle again. */
static void test_unknown_safe(void **state)
{
    struct world *w = *state;
    struct device d = device_pending(w, UP_UNKNOWN, UP_RESUBMIT_SAFE | UP_RECOVER);
    char handle[64];
    world_state(w, d.id, TXN_ORDERED);
    d.ca->submit = UP_ISSUED;
    sweep_due(&d);
    snprintf(handle, sizeof handle, HANDLE "%s", d.id);
    assert_true(bytes_equal_str(buf_bytes(&d.ca->last_handle), handle));
    world_state(w, d.id, TXN_ISSUED);
    assert_int_equal(d.ca->submitted, 2);
    assert_int_equal(d.ca->recovered, 0);
    assert_int_equal(d.ca->prepared, 1);
    device_close(&d);
}

/* A certificate that waits for confirmation is in the store before it is confirmed. */
static void test_unconfirmed(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    d.ca->submit = UP_UNCONFIRMED;
    d.ca->cookie = "confirm me";
    cert_free(world_issue(w, &d.request));
    assert_int_equal(d.ca->accepted, 1);
    assert_int_equal(d.ca->rejected, 0);
    assert_true(d.ca->recorded_first);
    assert_true(bytes_equal_str(buf_bytes(&d.ca->last_cookie), "confirm me"));
    device_close(&d);
}

/* Time passes, and another driver takes the row and finishes it, while this one waits. */
static void overtake(struct world *w, const char *id)
{
    struct err err = {0};
    int attempt;
    w->ca[0].hook = NULL;
    clock_set(clock_now() + 3600);
    assert_true(w->store->vt->claim(w->store, id, 30, &attempt, &err));
    assert_int_equal(attempt, 2);
}

/* Who lost the lease writes nothing any more, whatever the CA answered, and confirms nothing. */
static void test_fenced(void **state)
{
    struct world *w = *state;
    static const enum up_result results[] = {UP_ISSUED, UP_UNCONFIRMED, UP_PENDING, UP_REFUSED,
                                             UP_RETRY,  UP_UNKNOWN,     UP_LOST};
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        char subject[16], id[RA_ID_LEN + 1];
        snprintf(subject, sizeof subject, "CN=r%zu", i);
        struct csr *csr = world_csr(subject, NULL, w->key);
        struct ra_request request = world_enroll(w, csr);
        w->ca[0].submit = results[i];
        w->ca[0].hook = overtake;
        world_pending(w, &request, id);
        struct store_request row = world_row(w, id);
        assert_int_equal(row.state, TXN_ORDERED);
        assert_int_equal(row.attempt, 2);
        assert_true(row.lease_until > clock_now());
        store_request_clear(&row);
        csr_free(csr);
    }
    assert_int_equal(world_inventory(w), 0);
    assert_int_equal(w->ca[0].accepted, 0);
    assert_int_equal(w->ca[0].rejected, 0);
}

/* A row that a dead process left behind is sent again only to a CA that issues once. */
static void test_crash_safe(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    d.ca->vt.caps = UP_RESUBMIT_SAFE;
    world_left_behind(w, d.csr, d.id);
    assert_int_equal(world_sweep(w), 0); /* its lease is not over */
    world_restart(w);
    assert_int_equal(world_sweep(w), 1);
    world_state(w, d.id, TXN_ISSUED);
    cert_free(world_issue(w, &d.request));
    assert_int_equal(d.ca->submitted, 1);
    assert_int_equal(d.ca->prepared, 0);
    device_close(&d);
}

/* What may have issued is sent again also if the key that was made for it is lost by then, and
 * revoked: it does not end as if nothing had been sent, neither by itself nor when its device asks
 * for it. */
static void test_unknown_keyless(void **state)
{
    struct world *w = *state;
    for (int asks = 0; asks < 2; asks++) {
        struct device d = device_open(w);
        d.request.op = RA_KEYGEN;
        d.ca->vt.caps = UP_RESUBMIT_SAFE;
        d.ca->submit = UP_UNKNOWN;
        world_pending(w, &d.request, d.id);
        world_restart(w);
        d.ca->submit = UP_ISSUED;
        if (asks)
            world_pending(w, &d.request, d.id);
        else
            assert_int_equal(world_sweep(w), 1);
        world_state(w, d.id, TXN_ISSUED);
        assert_int_equal(world_audited(w, "revoked"), 1 + asks);
        assert_int_equal(world_inventory(w), 1 + asks);
        device_close(&d);
    }
}

/* Otherwise it is asked what became of it, and never sent: the dead process may have sent it. */
static void test_crash_unsafe(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    d.ca->vt.caps = UP_RECOVER;
    d.ca->recover = UP_RETRY; /* cannot be asked now */
    world_left_behind(w, d.csr, d.id);
    world_restart(w);
    assert_int_equal(world_sweep(w), 1);
    world_state(w, d.id, TXN_SUSPECT);
    sweep_due(&d);
    world_state(w, d.id, TXN_SUSPECT);
    d.ca->recover = UP_ISSUED;
    sweep_due(&d);
    world_state(w, d.id, TXN_ISSUED);
    assert_int_equal(d.ca->submitted, 0);
    device_close(&d);
}

/* The device may be the first to come back after a crash; and without a restart the lease ends. */
static void test_crash_device(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    d.ca->vt.caps = UP_RECOVER;
    d.ca->recover = UP_ISSUED;
    world_left_behind(w, d.csr, d.id);
    clock_set(NOW + 3600);
    cert_free(world_issue(w, &d.request));
    assert_int_equal(d.ca->submitted, 0);
    assert_int_equal(d.ca->recovered, 1);
    device_close(&d);
}

/* A request whose upstream or profile is no longer configured stays as it is, until it is again. */
static void test_orphan(void **state)
{
    struct world *w = *state;
    struct device d = device_pending(w, UP_PENDING, 0);
    d.ca->poll = UP_ISSUED;
    w->conf[0].name = "renamed";
    clock_set(next_at(&d));
    assert_int_equal(world_sweep(w), 0);
    w->conf[0].name = "first";
    w->profiles[0].name = "renamed";
    sweep_due(&d);
    check_reason(&d, "not in the configuration");
    world_state(w, d.id, TXN_WAITING);
    assert_int_equal(d.ca->polled, 0);
    w->profiles[0].name = "a";
    sweep_due(&d);
    world_state(w, d.id, TXN_ISSUED);
    device_close(&d);
}

/* One row that cannot be driven does not keep the others from it. */
static void test_sweep_goes_on(void **state)
{
    struct world *w = *state;
    struct store_request bad = {.state = TXN_ORDERED, .attempt = 1, .created = NOW};
    struct audit_event event = {.event = "ordered"};
    struct store_order order = {.request = &bad, .retry_window = DAY, .audit = &event};
    enum store_order_result result;
    char existing[RA_ID_LEN + 1], good[RA_ID_LEN + 1];
    struct err err = {0};
    size_t moved;
    snprintf(bad.id, sizeof bad.id, "%032d", 0); /* the first by any order */
    snprintf(bad.profile, sizeof bad.profile, "a");
    snprintf(bad.upstream, sizeof bad.upstream, "first");
    assert_true(buf_set(&bad.csr, bytes_str("no CSR")));
    assert_true(w->store->vt->order(w->store, &order, &result, existing, &err));
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    w->ca[0].vt.caps = UP_RESUBMIT_SAFE;
    world_left_behind(w, csr, good);
    world_restart(w);
    assert_false(ra_sweep(w->ra, &w->settings, &moved, &err));
    assert_non_null(strstr(err.text, bad.id));
    assert_int_equal(moved, 1);
    world_state(w, good, TXN_ISSUED);
    world_state(w, bad.id, TXN_ORDERED);
    store_request_clear(&bad);
    csr_free(csr);
}

/* Delivery is noted, once, for the certificate of that request. */
static void test_delivered(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    struct ra_outcome outcome = world_submit(w, &d.request);
    struct store_cert held = {0};
    struct err err = {0};
    bool found;
    clock_set(NOW + 7);
    ra_delivered(w->ra, outcome.request_id);
    world_restart(w); /* closing waits for the writer */
    assert_true(
        w->store->vt->cert_find(w->store, cert_fingerprint_get(outcome.cert), &held, &found, &err));
    assert_true(found);
    assert_int_equal(held.delivered_at, NOW + 7);
    store_cert_clear(&held);
    ra_outcome_clear(&outcome);
    device_close(&d);
}

/* The trail of all this is whole. */
static void test_trail(void **state)
{
    struct world *w = *state;
    struct device d = device_pending(w, UP_RETRY, 0);
    struct audit_summary summary;
    struct err err = {0};
    d.ca->submit = UP_PENDING;
    sweep_due(&d);
    d.ca->poll = UP_ISSUED;
    sweep_due(&d);
    if (!audit_verify(w->store, &summary, &err))
        fail_msg("%s", err.text);
    assert_int_equal(summary.records, 4); /* ordered, ordered again, waiting, issued */
    device_close(&d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pending),         TEST(test_polled),           TEST(test_long_wish),
        TEST(test_polled_by_txn),   TEST(test_poll_fails),       TEST(test_refused),
        TEST(test_retry),           TEST(test_unknown),          TEST(test_retry_after_polls),
        TEST(test_unknown_refused), TEST(test_unknown_for_good), TEST(test_unknown_safe),
        TEST(test_unconfirmed),     TEST(test_fenced),           TEST(test_lost),
        TEST(test_crash_safe),      TEST(test_crash_unsafe),     TEST(test_crash_device),
        TEST(test_orphan),          TEST(test_sweep_goes_on),    TEST(test_delivered),
        TEST(test_trail),           TEST(test_unknown_keyless),  TEST(test_unknown_keeps_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
