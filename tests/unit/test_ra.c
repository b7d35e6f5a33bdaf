#include "tests/support/ra_world.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define CROWD 50

static const char txn_one[] = "transaction-1", txn_two[] = "transaction-2";

/* A request with the fixed challenge becomes a certificate for its CSR, a row, an entry of the
 * inventory and two audit records. */
static void test_enroll(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1,O=x", "DNS:b,DNS:a", w->key);
    struct ra_request request = world_enroll(w, csr);
    struct ra_outcome outcome = world_submit(w, &request);
    struct store_cert held = {0};
    struct err err = {0};
    bool found;
    assert_int_equal(outcome.status, RA_ISSUED);
    assert_false(outcome.repeated);
    assert_int_equal(outcome.upstream, 0);
    assert_true(spki_equal(cert_spki_get(outcome.cert), csr_spki_get(csr)));
    assert_string_equal(cert_names_get(outcome.cert)->subject_text, "CN=r1,O=x");

    struct store_request row = world_row(w, outcome.request_id);
    assert_int_equal(row.state, TXN_ISSUED);
    assert_int_equal(row.op, RA_ENROLL);
    assert_string_equal(row.profile, "a");
    assert_string_equal(row.upstream, "first");
    assert_string_equal(row.origin, "192.0.2.1");
    assert_string_equal(row.renews, "");
    assert_int_equal(row.csr.len, 0); /* it is over; and the CSR holds the challenge */
    assert_true(bytes_equal(buf_bytes(&row.handle), buf_bytes(&w->ca[0].last_handle)));
    store_request_clear(&row);

    assert_true(
        w->store->vt->cert_find(w->store, cert_fingerprint_get(outcome.cert), &held, &found, &err));
    assert_true(found);
    assert_string_equal(held.request, outcome.request_id);
    assert_string_equal(held.profile, "a");
    assert_string_equal(held.sans, "dns:a,dns:b");
    store_cert_clear(&held);
    assert_int_equal(world_audited(w, "ordered"), 1);
    assert_int_equal(world_audited(w, "issued"), 1);
    ra_outcome_clear(&outcome);
    csr_free(csr);
}

/* Profile "b" orders from the second CA, and the outcome says so. */
static void test_pinned(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_enroll(w, csr);
    request.profile = &w->profiles[1];
    struct ra_outcome outcome = world_submit(w, &request);
    assert_int_equal(outcome.status, RA_ISSUED);
    assert_int_equal(outcome.upstream, 1);
    assert_int_equal(w->ca[0].submitted, 0);
    assert_int_equal(w->ca[1].submitted, 1);
    ra_outcome_clear(&outcome);
    csr_free(csr);
}

/* The same request again, whatever its transactionID, its challenge and its CSR's signature, is
 * answered with the same certificate, and the CA is not asked again. */
static void test_repeated(void **state)
{
    struct world *w = *state;
    struct cert *signer = world_signer("CN=r1", w->key);
    struct csr *csr = world_csr("CN=r1", NULL, w->key), *again = world_csr("CN=r1", NULL, w->key);
    char secret[CHALLENGE_LEN + 1];
    world_mint(w, "CN=r1", secret);
    struct ra_request request = world_request(w, csr);
    request.evidence =
        (struct ra_evidence){.holder = signer, .over_cms = true, .challenge = bytes_str(secret)};
    request.txn = bytes_str(txn_one);
    struct cert *first = world_issue(w, &request);

    assert_false(bytes_equal(csr_der_get(csr), csr_der_get(again)));
    request.csr = again;
    request.txn = bytes_str(txn_two);
    request.evidence.challenge = bytes_str("something else");
    struct ra_outcome outcome = world_submit(w, &request);
    assert_int_equal(outcome.status, RA_ISSUED);
    assert_true(outcome.repeated);
    assert_true(world_same_cert(outcome.cert, first));
    assert_int_equal(w->ca[0].prepared, 1);
    assert_int_equal(w->ca[0].submitted, 1);
    assert_int_equal(world_requests(w), 1);
    ra_outcome_clear(&outcome);
    cert_free(first);
    cert_free(signer);
    csr_free(csr);
    csr_free(again);
}

/* The window in which a repetition gets the same answer ends. */
static void test_window_over(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_enroll(w, csr);
    struct cert *first = world_issue(w, &request);
    clock_set(NOW + DAY);
    struct cert *same = world_issue(w, &request);
    clock_set(NOW + DAY + 1);
    struct cert *other = world_issue(w, &request);
    assert_true(world_same_cert(first, same));
    assert_false(world_same_cert(first, other));
    assert_int_equal(w->ca[0].submitted, 2);
    cert_free(first);
    cert_free(same);
    cert_free(other);
    csr_free(csr);
}

/* A spent challenge is good for nobody else: not for another key, nor for another name. */
static void test_spent(void **state)
{
    struct world *w = *state;
    char secret[CHALLENGE_LEN + 1];
    world_mint(w, NULL, secret);
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct csr *other_key = world_csr("CN=r1", NULL, w->other_key);
    struct csr *other_name = world_csr("CN=r2", NULL, w->key);
    struct csr *other_san = world_csr("CN=r1", "DNS:a", w->key);
    struct ra_request request = world_request(w, csr);
    request.evidence.challenge = bytes_str(secret);
    struct cert *first = world_issue(w, &request);
    struct csr *const others[] = {other_key, other_name, other_san};
    for (size_t i = 0; i < 3; i++) {
        request.csr = others[i];
        world_refused(w, &request, RA_BAD_CHALLENGE);
    }
    request.csr = csr; /* whoever spent it gets the same answer again */
    struct cert *same = world_issue(w, &request);
    assert_true(world_same_cert(first, same));
    assert_int_equal(w->ca[0].submitted, 1);
    assert_int_equal(world_requests(w), 1);
    for (size_t i = 0; i < 3; i++)
        csr_free(others[i]);
    cert_free(first);
    cert_free(same);
    csr_free(csr);
}

/* A repetition with a mere challenge is answered only to the challenge that spent it. */
static void test_other_challenge(void **state)
{
    struct world *w = *state;
    char secret[CHALLENGE_LEN + 1], other[CHALLENGE_LEN + 1];
    world_mint(w, NULL, secret);
    world_mint(w, NULL, other);
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_request(w, csr);
    request.evidence.challenge = bytes_str(secret);
    struct cert *first = world_issue(w, &request);
    request.evidence.challenge = bytes_str("guess");
    world_refused(w, &request, RA_BAD_CHALLENGE);
    request.evidence.challenge = bytes_str(other);
    struct cert *second = world_issue(w, &request);
    assert_false(world_same_cert(first, second));
    cert_free(first);
    cert_free(second);
    csr_free(csr);
}

/* A fixed challenge that is no longer in force opens no stored row either. */
static void test_fixed_withdrawn(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_enroll(w, csr);
    cert_free(world_issue(w, &request));
    w->profiles[0].challenge.fixed_count = 0;
    world_refused(w, &request, RA_BAD_CHALLENGE);
    csr_free(csr);
}

/* Without evidence nothing is issued, nothing is written, and nothing is audited. */
static void test_no_evidence(void **state)
{
    struct world *w = *state;
    struct cert *signer = world_signer("CN=r1", w->key);
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_request(w, csr);
    world_refused(w, &request, RA_NO_EVIDENCE);
    request.evidence.user = bytes_str("r1");
    world_refused(w, &request, RA_NO_EVIDENCE);
    request.evidence.user = bytes_str("");
    request.evidence.holder = signer;
    world_refused(w, &request, RA_NO_EVIDENCE);
    request.evidence.over_cms = true;
    world_refused(w, &request, RA_BAD_CHALLENGE);
    request.evidence.challenge = bytes_str("wrong");
    world_refused(w, &request, RA_BAD_CHALLENGE);
    assert_int_equal(w->ca[0].prepared, 0);
    assert_int_equal(world_requests(w), 0);
    assert_int_equal(world_audited(w, "refused"), 0);
    cert_free(signer);
    csr_free(csr);
}

/* A certificate signed by the CA's own issuer authorizes nothing if it is not in the inventory. */
static void test_foreign_holder(void **state)
{
    struct world *w = *state;
    struct make_spec spec = {.subject = "CN=r1", .not_before = NOW - 1, .not_after = NOW + DAY};
    struct cert *foreign = make_cert(&spec, w->key, w->ca[0].issuing, w->ca_key);
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_request(w, csr);
    request.evidence.holder = foreign;
    world_refused(w, &request, RA_NO_EVIDENCE);
    request.op = RA_RENEW;
    world_refused(w, &request, RA_BAD_RENEWAL);
    request.evidence.challenge = bytes_str(FIXED_CHALLENGE); /* no way round */
    world_refused(w, &request, RA_BAD_RENEWAL);
    assert_int_equal(w->ca[0].prepared, 0);
    cert_free(foreign);
    csr_free(csr);
}

/* A SCEP message must be signed with the CSR's key, and the challenge is not spent otherwise; over
 * TLS the two are different things. */
static void test_signer_key(void **state)
{
    struct world *w = *state;
    struct cert *signer = world_signer("CN=r1", w->other_key);
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    char secret[CHALLENGE_LEN + 1];
    world_mint(w, NULL, secret);
    struct ra_request request = world_request(w, csr);
    request.evidence =
        (struct ra_evidence){.holder = signer, .over_cms = true, .challenge = bytes_str(secret)};
    world_refused(w, &request, RA_BAD_KEY);
    assert_int_equal(world_requests(w), 0);
    request.evidence.over_cms = false;
    cert_free(world_issue(w, &request));
    cert_free(signer);
    csr_free(csr);
}

/* A user whose password was right may enroll; another user with the same CSR is another request. */
static void test_principal(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_request(w, csr);
    request.evidence.principal = "alice";
    struct cert *first = world_issue(w, &request), *same = world_issue(w, &request);
    assert_true(world_same_cert(first, same));
    request.evidence.principal = "bob";
    struct cert *second = world_issue(w, &request);
    assert_false(world_same_cert(first, second));
    cert_free(first);
    cert_free(same);
    cert_free(second);
    csr_free(csr);
}

/* What policy refuses is audited, because it was authorized; it spends nothing and reaches no CA.
 */
static void test_policy(void **state)
{
    struct world *w = *state;
    char secret[CHALLENGE_LEN + 1];
    world_mint(w, NULL, secret);
    struct csr *bad =
        make_csr(&(struct make_spec){.subject = "CN=r1", .key_usage = "keyCertSign"}, w->key);
    struct csr *good = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_request(w, bad);
    request.evidence.challenge = bytes_str(secret);
    world_refused(w, &request, RA_BAD_EXTENSION);
    assert_int_equal(w->ca[0].prepared, 0);
    assert_int_equal(world_audited(w, "refused"), 1);
    assert_int_equal(world_requests(w), 0);
    request.csr = good;
    cert_free(world_issue(w, &request));
    csr_free(bad);
    csr_free(good);
}

/* A subject too long for the row and for the trail is a refusal or a certificate, never a fault. */
static void test_long_subject(void **state)
{
    struct world *w = *state;
    static char subject[60 * 128];
    size_t len = 0;
    for (int i = 0; i < 60; i++) {
        len += (size_t)snprintf(subject + len, sizeof subject - len, "%sOU=", i ? "," : "");
        memset(subject + len, '\\', 120); /* each pair is one backslash */
        len += 120;
    }
    struct csr *csr = world_csr(subject, NULL, w->key);
    struct ra_request request = world_enroll(w, csr);
    w->profiles[0].keys.any = false;
    world_refused(w, &request, RA_BAD_KEY);
    w->profiles[0].keys.any = true;
    cert_free(world_issue(w, &request));
    csr_free(csr);
}

/* A request that no route takes is refused. */
static void test_no_route(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_enroll(w, csr);
    w->routes[0].match_key = true;
    w->routes[0].key = SPKI_RSA;
    world_refused(w, &request, RA_NO_ROUTE);
    assert_int_equal(world_audited(w, "refused"), 1);
    assert_int_equal(w->ca[0].prepared, 0);
    csr_free(csr);
}

/* If the connector cannot prepare, nothing has happened: the challenge is still good. */
static void test_prepare_fails(void **state)
{
    struct world *w = *state;
    char secret[CHALLENGE_LEN + 1];
    struct ra_outcome outcome;
    struct err err = {0};
    world_mint(w, NULL, secret);
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_request(w, csr);
    request.evidence.challenge = bytes_str(secret);
    w->ca[0].prepare_fails = true;
    assert_false(ra_submit(w->ra, &request, &outcome, &err));
    assert_int_equal(err.kind, ERR_UPSTREAM);
    ra_outcome_clear(&outcome);
    assert_int_equal(world_requests(w), 0);
    w->ca[0].prepare_fails = false;
    cert_free(world_issue(w, &request));
    csr_free(csr);
}

/* A transactionID that is too long is not stored shortened. */
static void test_long_txn(void **state)
{
    struct world *w = *state;
    static uint8_t txn[RA_TXN_MAX + 1];
    struct ra_outcome outcome;
    struct err err = {0};
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_enroll(w, csr);
    request.txn = bytes_of(txn, sizeof txn);
    assert_false(ra_submit(w->ra, &request, &outcome, &err));
    assert_int_equal(err.kind, ERR_PEER);
    ra_outcome_clear(&outcome);
    assert_int_equal(world_requests(w), 0);
    request.txn = bytes_of(txn, RA_TXN_MAX);
    cert_free(world_issue(w, &request));
    csr_free(csr);
}

/* A poll hears of a transaction if it proves the key that asked for it, in that profile. */
static void test_poll(void **state)
{
    struct world *w = *state;
    struct cert *signer = world_signer("CN=r1", w->key);
    struct cert *thief = world_signer("CN=r1", w->other_key);
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_enroll(w, csr);
    request.evidence.holder = signer;
    request.evidence.over_cms = true;
    request.txn = bytes_str(txn_one);
    struct cert *issued = world_issue(w, &request);

    struct ra_request poll = {.settings = &w->settings,
                              .profile = &w->profiles[0],
                              .op = RA_POLL,
                              .txn = bytes_str(txn_one),
                              .evidence = {.holder = signer, .over_cms = true}};
    struct cert *polled = world_issue(w, &poll);
    assert_true(world_same_cert(issued, polled));
    poll.txn = bytes_str(txn_two);
    world_refused(w, &poll, RA_UNKNOWN_TXN);
    poll.txn = bytes_str("transaction-");
    world_refused(w, &poll, RA_UNKNOWN_TXN);
    poll.txn = bytes_str(txn_one);
    poll.profile = &w->profiles[1];
    world_refused(w, &poll, RA_UNKNOWN_TXN);
    poll.profile = &w->profiles[0];
    poll.evidence.holder = thief;
    world_refused(w, &poll, RA_UNKNOWN_TXN);
    poll.evidence.holder = NULL;
    world_refused(w, &poll, RA_UNKNOWN_TXN);
    assert_int_equal(w->ca[0].submitted, 1);
    cert_free(issued);
    cert_free(polled);
    cert_free(signer);
    cert_free(thief);
    csr_free(csr);
}

/* An empty transactionID is no key to what came over EST, which has none. */
static void test_poll_empty(void **state)
{
    struct world *w = *state;
    struct cert *device = world_signer("CN=r1", w->key);
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_enroll(w, csr);
    request.evidence.holder = device;
    cert_free(world_issue(w, &request));
    request.op = RA_POLL;
    world_refused(w, &request, RA_UNKNOWN_TXN);
    cert_free(device);
    csr_free(csr);
}

/* A certificate that was revoked since is not the answer to a repetition or a poll; who may, gets a
 * new one. */
static void test_revoked_since(void **state)
{
    struct world *w = *state;
    struct cert *signer = world_signer("CN=r1", w->key);
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_enroll(w, csr);
    request.evidence.holder = signer;
    request.txn = bytes_str(txn_one);
    struct ra_outcome first = world_submit(w, &request);
    assert_int_equal(first.status, RA_ISSUED);

    world_revoke(w, first.cert, 1);

    struct ra_request poll = request;
    poll.op = RA_POLL;
    world_refused(w, &poll, RA_UNKNOWN_TXN);
    struct cert *second = world_issue(w, &request);
    assert_false(world_same_cert(first.cert, second));
    request.evidence.challenge = bytes_str("wrong"); /* now the second answers */
    struct cert *again = world_issue(w, &request);
    assert_true(world_same_cert(second, again));
    ra_outcome_clear(&first);
    cert_free(second);
    cert_free(again);
    cert_free(signer);
    csr_free(csr);
}

struct member {
    pthread_t thread;
    const struct world *w;
    struct ra_request request;
    struct ra_outcome outcome;
    bool ok;
};

static void *member_main(void *arg)
{
    struct member *member = arg;
    struct err err;
    member->ok = ra_submit(member->w->ra, &member->request, &member->outcome, &err);
    return NULL;
}

static void crowd_run(struct member *members)
{
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(pthread_create(&members[i].thread, NULL, member_main, &members[i]), 0);
    for (size_t i = 0; i < CROWD; i++) {
        pthread_join(members[i].thread, NULL);
        assert_true(members[i].ok);
    }
}

/* The same request fifty times at once is one row, one question to the CA, one certificate. */
static void test_crowd_same(void **state)
{
    struct world *w = *state;
    static struct member members[CROWD];
    char secret[CHALLENGE_LEN + 1];
    world_mint(w, "CN=r1", secret);
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    w->ca[0].sleep_ms = 200;
    for (size_t i = 0; i < CROWD; i++) {
        members[i] = (struct member){.w = w, .request = world_request(w, csr)};
        members[i].request.evidence.challenge = bytes_str(secret);
    }
    crowd_run(members);
    for (size_t i = 0; i < CROWD; i++) {
        const struct ra_outcome *outcome = &members[i].outcome;
        if (outcome->status != RA_ISSUED)
            fail_msg("%s: %s", ra_reason_name(outcome->reason), outcome->detail);
        assert_true(world_same_cert(outcome->cert, members[0].outcome.cert));
        assert_string_equal(outcome->request_id, members[0].outcome.request_id);
    }
    assert_int_equal(w->ca[0].submitted, 1);
    assert_int_equal(world_requests(w), 1);
    assert_int_equal(world_audited(w, "issued"), 1);
    for (size_t i = 0; i < CROWD; i++)
        ra_outcome_clear(&members[i].outcome);
    csr_free(csr);
}

/* A twin, which the store lets pass just before it looks a challenge up. */
static struct {
    const struct store_vt *vt;
    const struct world *w;
    const struct ra_request *request;
    struct cert *cert;
} twin;

static bool find_after_twin(struct store *store, const uint8_t *digest, struct store_challenge *ret,
                            bool *found, struct err *err)
{
    store->vt = twin.vt;
    twin.cert = world_issue(twin.w, twin.request);
    return store->vt->challenge_find(store, digest, ret, found, err);
}

/* A request whose twin spends the challenge between two steps of it is answered like the twin. */
static void test_twin(void **state)
{
    struct world *w = *state;
    char secret[CHALLENGE_LEN + 1];
    world_mint(w, NULL, secret);
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_request(w, csr);
    request.evidence.challenge = bytes_str(secret);
    struct store_vt vt = *w->store->vt;
    vt.challenge_find = find_after_twin;
    twin.vt = w->store->vt;
    twin.w = w;
    twin.request = &request;
    w->store->vt = &vt;
    struct cert *cert = world_issue(w, &request);
    assert_ptr_equal(w->store->vt, twin.vt);
    assert_true(world_same_cert(cert, twin.cert));
    assert_int_equal(w->ca[0].submitted, 1);
    cert_free(cert);
    cert_free(twin.cert);
    csr_free(csr);
}

/* Fifty devices with one one-time challenge at once: one gets a certificate. */
static void test_crowd_challenge(void **state)
{
    struct world *w = *state;
    static struct member members[CROWD];
    static struct csr *csrs[CROWD];
    unsigned issued = 0;
    char secret[CHALLENGE_LEN + 1];
    world_mint(w, NULL, secret);
    for (size_t i = 0; i < CROWD; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "CN=r%zu", i);
        csrs[i] = world_csr(subject, NULL, w->key);
        members[i] = (struct member){.w = w, .request = world_request(w, csrs[i])};
        members[i].request.evidence.challenge = bytes_str(secret);
    }
    crowd_run(members);
    for (size_t i = 0; i < CROWD; i++) {
        issued += members[i].outcome.status == RA_ISSUED;
        if (members[i].outcome.status != RA_ISSUED)
            assert_int_equal(members[i].outcome.reason, RA_BAD_CHALLENGE);
        ra_outcome_clear(&members[i].outcome);
        csr_free(csrs[i]);
    }
    assert_int_equal(issued, 1);
    assert_int_equal(w->ca[0].submitted, 1);
    assert_int_equal(world_requests(w), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_enroll),          TEST(test_pinned),      TEST(test_repeated),
        TEST(test_window_over),     TEST(test_spent),       TEST(test_other_challenge),
        TEST(test_fixed_withdrawn), TEST(test_no_evidence), TEST(test_foreign_holder),
        TEST(test_signer_key),      TEST(test_principal),   TEST(test_policy),
        TEST(test_long_subject),    TEST(test_no_route),    TEST(test_prepare_fails),
        TEST(test_long_txn),        TEST(test_poll),        TEST(test_poll_empty),
        TEST(test_revoked_since),   TEST(test_crowd_same),  TEST(test_twin),
        TEST(test_crowd_challenge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
