#include "tests/support/ra_device.h"

#include <stdio.h>
#include <string.h>

static bool keep_id(const struct store_request *request, void *arg)
{
    memcpy(arg, request->id, sizeof request->id);
    return true;
}

/* A wrong certificate that waits for confirmation is rejected, and the request is over. */
static void test_unconfirmed_wrong(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    d.ca->subject = "CN=someone else";
    d.ca->submit = UP_UNCONFIRMED;
    world_refused(w, &d.request, RA_UPSTREAM_REFUSED);
    assert_int_equal(d.ca->accepted, 0);
    assert_int_equal(d.ca->rejected, 1);
    assert_int_equal(world_requests(w), 1);
    device_close(&d);
}

/* A CA that does not take its wrong certificate back leaves the request to an operator. */
static void test_wrong_stays(void **state)
{
    struct world *w = *state;
    w->ca[0].subject = "CN=someone else";
    w->ca[0].confirm = UP_REFUSED;
    struct device d = device_pending(w, UP_UNCONFIRMED, 0);
    world_state(w, d.id, TXN_SUSPECT);
    check_reason(&d, "has not taken it back: no confirmation today");
    device_close(&d);
}

/* A confirmation that fails is tried again until the CA hears it; the device has its certificate.
 */
static void test_confirm_again(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    d.ca->submit = UP_UNCONFIRMED;
    d.ca->cookie = "confirm me";
    d.ca->confirm = UP_RETRY;
    cert_free(world_issue(w, &d.request));
    struct store_filter filter = {.limit = 1};
    struct err err = {0};
    assert_true(w->store->vt->request_list(w->store, &filter, keep_id, d.id, &err));
    for (int i = 0; i < 3; i++)
        sweep_due(&d);
    assert_int_equal(d.ca->accepted, 4);
    d.ca->confirm = UP_ISSUED;
    world_restart(w);
    sweep_due(&d);
    assert_int_equal(d.ca->accepted, 5);
    assert_true(bytes_equal_str(buf_bytes(&d.ca->last_cookie), "confirm me"));
    clock_set(clock_now() + DAY);
    assert_int_equal(world_sweep(w), 0);
    assert_int_equal(d.ca->submitted, 1);
    world_state(w, d.id, TXN_ISSUED);
    device_close(&d);
}

static bool find_unconfirmed(const struct audit_record *record, void *arg)
{
    *(unsigned *)arg += strstr(record->text, "\"unconfirmed\"") != NULL;
    return true;
}

static unsigned unconfirmed_told(struct world *w)
{
    unsigned told = 0;
    struct err err = {0};
    assert_true(w->store->vt->audit_walk(w->store, find_unconfirmed, &told, &err));
    return told;
}

/* One that has failed for some time ends where the CA says for sure that it does not take it, after
 * a day of vague answers, or with the certificate; never since the CA cannot be reached. The trail
 * says so. */
static void test_confirm_in_vain(void **state)
{
    struct world *w = *state;
    static const struct {
        enum up_result first, then;
        int64_t after;
        bool over;
    } all[] = {
        {UP_REFUSED, UP_REFUSED, 0, true},        {UP_RETRY, UP_REFUSED, 600, true},
        {UP_RETRY, UP_RETRY, 80 * DAY, false},    {UP_RETRY, UP_RETRY, 90 * DAY, true},
        {UP_RETRY, UP_UNKNOWN, 600, false},       {UP_RETRY, UP_UNKNOWN, DAY, true},
        {UP_UNKNOWN, UP_UNKNOWN, DAY - 1, false},
    };
    unsigned told = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct device d = {.w = w, .ca = &w->ca[0]};
        char subject[16];
        snprintf(subject, sizeof subject, "CN=r%zu", i);
        d.csr = world_csr(subject, "DNS:a", w->key);
        d.request = world_enroll(w, d.csr);
        d.ca->submit = UP_UNCONFIRMED;
        d.ca->cookie = "confirm me";
        d.ca->confirm = all[i].first;
        int64_t start = NOW + (int64_t)i;
        clock_set(start);
        cert_free(world_issue(w, &d.request));
        struct store_filter filter = {.limit = 1};
        struct err err = {0};
        assert_true(w->store->vt->request_list(w->store, &filter, keep_id, d.id, &err));
        d.ca->confirm = all[i].then;
        clock_set(start + all[i].after);
        assert_int_equal(world_sweep(w), all[i].first != UP_REFUSED);
        struct store_request row = world_row(w, d.id);
        assert_int_equal(row.state, TXN_ISSUED);
        assert_int_equal(row.confirm, !all[i].over);
        assert_non_null(strstr(row.reason, "no confirmation today"));
        store_request_clear(&row);
        told += all[i].over;
        assert_int_equal(unconfirmed_told(w), told);
        d.ca->confirm = UP_ISSUED; /* and it is over for the next */
        clock_set(NOW + 100 * DAY);
        world_sweep(w);
        device_close(&d);
    }
}

/* A certificate other than was asked for never reaches the device nor the inventory: an operator
 * must look, and the reason says at what. */
static void test_wrong_cert(void **state)
{
    struct world *w = *state;
    w->ca[0].key = w->other_key;
    struct device d = device_pending(w, UP_ISSUED, UP_RECOVER);
    world_state(w, d.id, TXN_SUSPECT);
    check_reason(&d, "another public key");
    assert_int_equal(world_inventory(w), 0);
    assert_int_equal(world_audited(w, "issued"), 0);
    assert_int_equal(world_audited(w, "suspect"), 1);

    d.ca->key = NULL; /* the right one comes late */
    d.ca->recover = UP_ISSUED;
    sweep_due(&d);
    world_state(w, d.id, TXN_ISSUED);
    assert_int_equal(world_inventory(w), 1);
    device_close(&d);
}

/* A serial number that the CA has used before is as bad as a wrong certificate. */
static void test_serial_seen(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    w->ca[0].serial = 77;
    cert_free(world_issue(w, &d.request));
    d.request.evidence = (struct ra_evidence){.principal = "alice"}; /* another request */
    w->ca[0].lifetime = 5 * DAY;
    world_pending(w, &d.request, d.id);
    world_state(w, d.id, TXN_SUSPECT);
    check_reason(&d, "twice");
    assert_int_equal(world_inventory(w), 1);
    device_close(&d);
}

/* A CA that answers with a certificate that it gave before has issued nothing: the request is
 * over, and that certificate is not taken back. */
static void test_old_cert(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    w->ca[0].same = world_issue(w, &d.request);
    d.request.evidence = (struct ra_evidence){.principal = "alice"}; /* another request */
    w->ca[0].submit = UP_UNCONFIRMED;
    world_refused(w, &d.request, RA_UPSTREAM_REFUSED);
    assert_int_equal(w->ca[0].rejected, 0);
    assert_int_equal(world_inventory(w), 1);
    device_close(&d);
}

/* Where the door says that this client signs with a key of its own (Windows), the challenge
 * decides; it never renews that way, and without a challenge nothing is issued. */
static void test_other_key(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct make_spec spec = {.subject = "CN=SCEP Protocol Certificate"};
    struct cert *signer = make_cert(&spec, w->other_key, NULL, NULL);
    struct ra_request request = world_enroll(w, csr);
    request.evidence.holder = signer;
    request.evidence.over_cms = true;
    world_refused(w, &request, RA_BAD_KEY);
    request.evidence.other_key = true;
    request.op = RA_RENEW;
    world_refused(w, &request, RA_BAD_RENEWAL);
    request.op = RA_ENROLL;
    struct bytes challenge = request.evidence.challenge;
    request.evidence.challenge = (struct bytes){0};
    world_refused(w, &request, RA_BAD_CHALLENGE);
    request.evidence.challenge = challenge;
    cert_free(world_issue(w, &request));
    cert_free(signer);
    csr_free(csr);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_other_key),     TEST(test_unconfirmed_wrong), TEST(test_wrong_stays),
        TEST(test_confirm_again), TEST(test_confirm_in_vain),   TEST(test_wrong_cert),
        TEST(test_serial_seen),   TEST(test_old_cert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
