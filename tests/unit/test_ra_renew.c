#include "tests/support/ra_world.h"

#include <string.h>

/* A device that holds a certificate of profile "a" and asks for the next one. */
struct device {
    struct world *w;
    struct cert *held;
    struct csr *csr; /* the same names, another key */
    struct ra_request request;
};

static struct device device_open(struct world *w)
{
    struct csr *first = world_csr("CN=r1,O=x", "DNS:a,DNS:b", w->key);
    struct ra_request enroll = world_enroll(w, first);
    struct device d = {.w = w, .held = world_issue(w, &enroll)};
    csr_free(first);
    d.csr = world_csr("CN=r1,O=x", "DNS:b,DNS:a", w->other_key);
    d.request = world_renew(w, d.held, d.csr);
    return d;
}

static void device_close(struct device *d)
{
    cert_free(d->held);
    csr_free(d->csr);
}

/* Holding a certificate of this profile is enough for the next one; the old one is marked as
 * replaced, and the request remembers what it renewed. */
static void test_renew(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    struct ra_outcome outcome = world_submit(w, &d.request);
    assert_int_equal(outcome.status, RA_ISSUED);
    assert_true(spki_equal(cert_spki_get(outcome.cert), csr_spki_get(d.csr)));
    struct store_cert old = world_held(w, d.held), new = world_held(w, outcome.cert);
    struct store_request row = world_row(w, outcome.request_id);
    assert_int_equal(row.op, RA_RENEW);
    assert_string_equal(row.renews, old.fingerprint);
    assert_string_equal(old.replaced_by, new.fingerprint);
    assert_string_equal(new.replaced_by, "");
    store_request_clear(&row);
    store_cert_clear(&old);
    store_cert_clear(&new);
    ra_outcome_clear(&outcome);
    device_close(&d);
}

/* A renewal goes to the CA that issued, also when the routes lead elsewhere by now. */
static void test_lineage(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    w->routes[0].upstream = 1;
    struct cert *renewed = world_issue(w, &d.request);
    struct store_cert row = world_held(w, renewed);
    assert_string_equal(row.upstream, w->conf[0].name);
    store_cert_clear(&row);
    cert_free(renewed);
    device_close(&d);
}

/* What the door called it does not matter, nor how the key was proved: the signer decides. */
static void test_by_signer(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    d.request.op = RA_ENROLL;
    d.request.evidence.over_cms = true;
    d.request.evidence.challenge = bytes_str("no challenge of ours");
    struct ra_outcome outcome = world_submit(w, &d.request);
    assert_int_equal(outcome.status, RA_ISSUED);
    struct store_request row = world_row(w, outcome.request_id);
    assert_int_equal(row.op, RA_RENEW);
    assert_true(row.renews[0]);
    store_request_clear(&row);
    ra_outcome_clear(&outcome);
    device_close(&d);
}

/* A one-time challenge that happens to be in a renewal is not spent by it. */
static void test_challenge_kept(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    char secret[CHALLENGE_LEN + 1];
    world_mint(w, NULL, secret);
    d.request.evidence.challenge = bytes_str(secret);
    cert_free(world_issue(w, &d.request));
    struct csr *csr = world_csr("CN=r2", NULL, w->key);
    struct ra_request other = world_request(w, csr);
    other.evidence.challenge = bytes_str(secret);
    cert_free(world_issue(w, &other));
    csr_free(csr);
    device_close(&d);
}

/* A renewal that is repeated gets the same certificate. */
static void test_repeated(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    struct cert *first = world_issue(w, &d.request);
    struct ra_outcome outcome = world_submit(w, &d.request);
    assert_int_equal(outcome.status, RA_ISSUED);
    assert_true(outcome.repeated);
    assert_true(world_same_cert(outcome.cert, first));
    d.request.op = RA_ENROLL; /* the same, by another name */
    struct cert *same = world_issue(w, &d.request);
    assert_true(world_same_cert(same, first));
    assert_int_equal(w->ca[0].submitted, 2);
    ra_outcome_clear(&outcome);
    cert_free(first);
    cert_free(same);
    device_close(&d);
}

/* A repetition is never answered with a certificate that was itself replaced since. */
static void test_replaced_since(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    struct cert *second = world_issue(w, &d.request);
    struct ra_request next = d.request;
    next.evidence.holder = second;
    struct cert *third = world_issue(w, &next);
    assert_false(world_same_cert(second, third));
    struct cert *again = world_issue(w, &d.request);
    assert_false(world_same_cert(again, second));
    assert_int_equal(w->ca[0].submitted, 4);
    cert_free(second);
    cert_free(third);
    cert_free(again);
    device_close(&d);
}

/* Who revokes a device's newest certificate shuts it out: the older ones that it was renewed from
 * renew no more, however far back. Revoked as superseded means only that one. */
static void test_heir_revoked(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    struct cert *second = world_issue(w, &d.request);
    struct ra_request next = d.request;
    next.evidence.holder = second;
    struct cert *third = world_issue(w, &next);
    world_revoke(w, second, 4);
    cert_free(world_issue(w, &d.request)); /* from the first: the line goes on */
    world_revoke(w, third, 1);
    struct csr *csr = world_csr("CN=r1,O=x", "DNS:a,DNS:b", w->key);
    d.request.csr = csr; /* no repetition */
    world_refused(w, &d.request, RA_BAD_RENEWAL);
    assert_int_equal(w->ca[0].submitted, 4);
    csr_free(csr);
    cert_free(second);
    cert_free(third);
    device_close(&d);
}

/* The window before expiry, in which alone a profile may let renew, opens to the second. */
static void test_window(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    int64_t end = cert_not_after_get(d.held);
    w->profiles[0].renewal.window = 30 * DAY;
    world_refused(w, &d.request, RA_BAD_RENEWAL);
    clock_set(end - 30 * DAY - 1);
    world_refused(w, &d.request, RA_BAD_RENEWAL);
    clock_set(end - 30 * DAY);
    cert_free(world_issue(w, &d.request));
    device_close(&d);
}

/* An expired certificate renews only within the grace that the profile gives. */
static void test_expired(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    int64_t end = cert_not_after_get(d.held);
    clock_set(end + 1);
    world_refused(w, &d.request, RA_BAD_RENEWAL);
    w->profiles[0].renewal.grace_after_expiry = 2 * DAY;
    clock_set(end + 2 * DAY + 1);
    world_refused(w, &d.request, RA_BAD_RENEWAL);
    clock_set(end + 2 * DAY);
    cert_free(world_issue(w, &d.request));
    device_close(&d);
}

/* The last second of a certificate is still good. */
static void test_last_second(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    clock_set(cert_not_after_get(d.held));
    cert_free(world_issue(w, &d.request));
    device_close(&d);
}

/* A certificate that is not valid yet renews nothing, grace or not. */
static void test_not_yet(void **state)
{
    struct world *w = *state;
    w->ca[0].not_before = NOW + 200;
    w->profiles[0].renewal.grace_after_expiry = 365 * DAY;
    struct device d = device_open(w);
    world_refused(w, &d.request, RA_BAD_RENEWAL);
    clock_set(NOW + 200);
    cert_free(world_issue(w, &d.request));
    device_close(&d);
}

/* A revoked certificate renews nothing. */
static void test_revoked(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    world_revoke(w, d.held, 1);
    world_refused(w, &d.request, RA_BAD_RENEWAL);
    d.request.op = RA_ENROLL;
    world_refused(w, &d.request, RA_BAD_RENEWAL);
    device_close(&d);
}

/* Once its certificate is revoked, a device is not told again what it was told before, neither on
 * repeating itself nor on polling. */
static void test_revoked_since(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=d1", NULL, w->key),
               *next = world_csr("CN=d1", NULL, w->other_key);
    struct cert *held = world_enrolled(w, csr);
    struct ra_request renewal = world_renew(w, held, next);
    char id[RA_ID_LEN + 1];
    renewal.evidence.over_cms = true;
    renewal.txn = bytes_str("txn");
    w->ca[0].submit = UP_PENDING;
    world_pending(w, &renewal, id);
    struct ra_request poll = renewal;
    poll.op = RA_POLL;
    poll.csr = NULL;
    world_pending(w, &poll, id);
    world_revoke(w, held, 1);
    world_refused(w, &poll, RA_BAD_RENEWAL);
    world_refused(w, &renewal, RA_BAD_RENEWAL);
    csr_free(csr);
    csr_free(next);
    cert_free(held);
}

/* A renewal is for the same subject and the same set of SANs. */
static void test_names(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    static const struct {
        const char *subject, *sans;
        bool same;
    } rows[] = {
        {"CN=r2,O=x", "DNS:a,DNS:b", false},
        {"CN=r1", "DNS:a,DNS:b", false},
        {"O=x,CN=r1", "DNS:a,DNS:b", false},
        {"CN=r1,O=x,OU=y", "DNS:a,DNS:b", false},
        {"CN=r1,O=x", "DNS:a", false},
        {"CN=r1,O=x", NULL, false},
        {"CN=r1,O=x", "DNS:a,DNS:b,DNS:c", false},
        {"CN=r1,O=x", "DNS:a,email:b", false},
        {"CN=R1,O=X", "DNS:B,DNS:A", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct csr *csr = world_csr(rows[i].subject, rows[i].sans, w->other_key);
        d.request.csr = csr;
        if (rows[i].same)
            cert_free(world_issue(w, &d.request));
        else
            world_refused(w, &d.request, RA_NAMES_CHANGED);
        csr_free(csr);
    }
    assert_int_equal(w->ca[0].submitted, 2);
    device_close(&d);
}

/* Whether a renewal may keep its key is the profile's to say. */
static void test_same_key(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    struct csr *csr = world_csr("CN=r1,O=x", "DNS:a,DNS:b", w->key);
    d.request.csr = csr;
    w->profiles[0].renewal.same_key = CFG_SAME_KEY_REFUSE;
    world_refused(w, &d.request, RA_KEY_REUSED);
    d.request.csr = d.csr;
    cert_free(world_issue(w, &d.request));
    d.request.csr = csr;
    w->profiles[0].renewal.same_key = CFG_SAME_KEY_ALLOW;
    cert_free(world_issue(w, &d.request));
    csr_free(csr);
    device_close(&d);
}

/* A certificate of one profile renews nothing in another, not even with a challenge beside it. */
static void test_other_profile(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    d.request.profile = &w->profiles[1];
    world_refused(w, &d.request, RA_BAD_RENEWAL);
    d.request.evidence.challenge = bytes_str(FIXED_CHALLENGE);
    world_refused(w, &d.request, RA_BAD_RENEWAL);
    d.request.op = RA_ENROLL; /* a first enrollment there is another thing */
    struct ra_outcome outcome = world_submit(w, &d.request);
    assert_int_equal(outcome.status, RA_ISSUED);
    struct store_request row = world_row(w, outcome.request_id);
    assert_int_equal(row.op, RA_ENROLL);
    assert_string_equal(row.renews, "");
    store_request_clear(&row);
    ra_outcome_clear(&outcome);
    device_close(&d);
}

/* A certificate in the inventory that no longer chains to the profile's anchors renews nothing;
 * that its issuer is below the anchor is no obstacle. */
static void test_trust(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    struct make_spec spec = {
        .subject = "CN=root", .ca = true, .not_before = NOW - DAY, .not_after = NOW + 365 * DAY};
    struct cert *stranger = make_cert(&spec, w->other_key, NULL, NULL);
    struct trust *good = w->profiles[0].trust, *bad = trust_new(&stranger, 1);
    w->profiles[0].trust = bad;
    world_refused(w, &d.request, RA_BAD_RENEWAL);
    w->profiles[0].trust = good;
    cert_free(world_issue(w, &d.request));
    trust_free(bad);
    cert_free(stranger);
    device_close(&d);
}

/* Where the renewal rule refuses, a challenge may still authorize an enrollment, whose repetition
 * is answered like any other; a renewal must be one. */
static void test_challenge_instead(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    char secret[CHALLENGE_LEN + 1];
    clock_set(cert_not_after_get(d.held) + DAY);
    world_mint(w, NULL, secret);
    d.request.evidence.challenge = bytes_str(secret);
    world_refused(w, &d.request, RA_BAD_RENEWAL);
    d.request.op = RA_ENROLL;
    struct ra_outcome first = world_submit(w, &d.request), again = world_submit(w, &d.request);
    assert_int_equal(first.status, RA_ISSUED);
    assert_int_equal(again.status, RA_ISSUED);
    assert_true(again.repeated);
    assert_true(world_same_cert(first.cert, again.cert));
    struct store_request row = world_row(w, first.request_id);
    assert_int_equal(row.op, RA_ENROLL);
    assert_string_equal(row.renews, "");
    store_request_clear(&row);
    ra_outcome_clear(&first);
    ra_outcome_clear(&again);

    struct csr *csr = world_csr("CN=r3", NULL, w->key); /* the challenge is spent */
    d.request.csr = csr;
    world_refused(w, &d.request, RA_BAD_CHALLENGE);
    csr_free(csr);
    device_close(&d);
}

/* So may a user of the profile. */
static void test_user_instead(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    world_revoke(w, d.held, 1);
    d.request.evidence.principal = "alice";
    world_refused(w, &d.request, RA_BAD_RENEWAL);
    d.request.op = RA_ENROLL;
    cert_free(world_issue(w, &d.request));
    device_close(&d);
}

/* Renewal goes through policy like everything else, and its refusal is audited. */
static void test_policy(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    w->profiles[0].keys = (struct cfg_keys){.rsa_min = 2048, .rsa_max = 4096};
    world_refused(w, &d.request, RA_BAD_KEY);
    assert_int_equal(world_audited(w, "refused"), 1);
    assert_int_equal(w->ca[0].submitted, 1);
    device_close(&d);
}

/* Deduplication keys */

static void dedup(const struct ra_request *request, const struct cert *renews,
                  uint8_t out[RA_DIGEST_LEN])
{
    struct err err = {0};
    if (!ra_request_dedup(request, renews, out, &err))
        fail_msg("%s", err.text);
}

static void check_dedup(const uint8_t *base, const struct ra_request *request, bool same)
{
    uint8_t digest[RA_DIGEST_LEN];
    dedup(request, NULL, digest);
    assert_true((memcmp(digest, base, sizeof digest) == 0) == same);
}

/* The deduplication key is made of who asks, what for, and where; not of the transaction, the
 * origin, the label or the CSR's bytes. */
static void test_dedup(void **state)
{
    struct world *w = *state;
    struct device d = device_open(w);
    struct cert *signer = world_signer("CN=r1", w->key), *namesake = world_signer("CN=x", w->key);
    struct ra_request base = world_request(w, d.csr), other;
    base.evidence.holder = signer;
    uint8_t digest[RA_DIGEST_LEN], renewal[RA_DIGEST_LEN], another[RA_DIGEST_LEN];
    dedup(&base, NULL, digest);

    struct csr *same_csr = world_csr("CN=r1,O=x", "DNS:a,DNS:b", w->other_key);
    struct csr *others[] = {world_csr("CN=r1,O=x", "DNS:a,DNS:b", w->key),
                            world_csr("CN=r1,O=y", "DNS:a,DNS:b", w->other_key),
                            world_csr("CN=r1,O=x", "DNS:a,DNS:b,DNS:c", w->other_key),
                            world_csr("CN=r1,O=x", "DNS:a,email:b", w->other_key)};
    other = base;
    other.csr = same_csr;
    other.txn = bytes_str("t");
    other.origin = "192.0.2.99";
    other.label = "l";
    other.evidence.over_cms = true;
    other.evidence.holder = namesake; /* the key counts, not its certificate */
    other.evidence.challenge = bytes_str("c");
    check_dedup(digest, &other, true);
    for (size_t i = 0; i < 4; i++) {
        other = base;
        other.csr = others[i];
        check_dedup(digest, &other, false);
        csr_free(others[i]);
    }
    other = base;
    other.profile = &w->profiles[1];
    check_dedup(digest, &other, false);
    other = base;
    other.op = RA_RENEW;
    check_dedup(digest, &other, false);
    other = base;
    other.evidence.holder = NULL;
    other.evidence.principal = "alice";
    check_dedup(digest, &other, false);

    dedup(&base, d.held, renewal);
    assert_memory_not_equal(renewal, digest, sizeof digest);
    dedup(&base, signer, another); /* renews another serial */
    assert_memory_not_equal(renewal, another, sizeof another);
    csr_free(same_csr);
    cert_free(signer);
    cert_free(namesake);
    device_close(&d);
}

/* A user, a challenge and a key prove different things even if they are the same text; without any
 * there is no proof. */
static void test_prover(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct cert *signer = world_signer("CN=r1", w->key);
    struct ra_request request = world_request(w, csr);
    uint8_t user[RA_DIGEST_LEN], challenge[RA_DIGEST_LEN], key[RA_DIGEST_LEN];
    struct err err = {0};
    assert_false(ra_request_prover(&request, user));
    assert_false(ra_request_dedup(&request, NULL, user, &err));
    request.evidence.challenge = bytes_str("alice");
    assert_true(ra_request_prover(&request, challenge));
    request.evidence.principal = "alice";
    assert_true(ra_request_prover(&request, user));
    request.evidence.holder = signer;
    assert_true(ra_request_prover(&request, key));
    assert_memory_not_equal(user, challenge, sizeof user);
    assert_memory_not_equal(user, key, sizeof user);
    assert_memory_not_equal(challenge, key, sizeof key);
    cert_free(signer);
    csr_free(csr);
}

/* Every operation and reason has a name of its own. */
static void test_names_of_words(void **state)
{
    (void)state;
    for (int i = 0; i < RA_REASON_COUNT; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(ra_reason_name((enum ra_reason)i),
                                    ra_reason_name((enum ra_reason)j));
    assert_string_equal(ra_reason_name(RA_BAD_CHALLENGE), "bad-challenge");
    assert_string_equal(ra_reason_name(RA_REASON_COUNT), "unknown");
    assert_string_equal(ra_op_name(RA_ENROLL), "enroll");
    assert_string_equal(ra_op_name(RA_RENEW), "renew");
    assert_string_equal(ra_op_name(RA_POLL), "poll");
    assert_string_equal(up_result_name(UP_UNCONFIRMED), "unconfirmed");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_renew),
        TEST(test_lineage),
        TEST(test_by_signer),
        TEST(test_challenge_kept),
        TEST(test_repeated),
        TEST(test_replaced_since),
        TEST(test_heir_revoked),
        TEST(test_window),
        TEST(test_expired),
        TEST(test_last_second),
        TEST(test_not_yet),
        TEST(test_revoked),
        TEST(test_revoked_since),
        TEST(test_names),
        TEST(test_same_key),
        TEST(test_other_profile),
        TEST(test_trust),
        TEST(test_challenge_instead),
        TEST(test_user_instead),
        TEST(test_policy),
        TEST(test_dedup),
        TEST(test_prover),
        cmocka_unit_test(test_names_of_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
