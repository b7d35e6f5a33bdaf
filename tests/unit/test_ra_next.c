#include "tests/support/ra_world.h"

#include <string.h>

/* The CA that profile "a" orders from, and the one that is to follow it. */
enum { TODAY = 0, NEXT };

static void assert_asked(const struct world *w, unsigned today, unsigned next)
{
    assert_int_equal(w->ca[TODAY].submitted, today);
    assert_int_equal(w->ca[NEXT].submitted, next);
}

static struct world *with_next(void **state)
{
    struct world *w = *state;
    w->profiles[0].scep.next =
        (struct cfg_next){.given = true, .upstream_given = true, .upstream = NEXT};
    return w;
}

/* The same request, asked of the CA of today and of the next one, gets one certificate of each, and
 * each repetition the answer of its own CA (RFC 8894 section 5.1). */
static void test_both(void **state)
{
    struct world *w = with_next(state);
    struct csr *csr = world_csr("CN=r1,O=x", "DNS:a,DNS:b", w->key);
    struct ra_request today = world_enroll(w, csr), next = today;
    next.next = true;
    struct cert *first[2] = {world_issue(w, &today), world_issue(w, &next)};
    assert_asked(w, 1, 1);
    struct cert *again[2] = {world_issue(w, &today), world_issue(w, &next)};
    assert_asked(w, 1, 1);
    assert_false(world_same_cert(first[0], first[1]));
    for (int i = 0; i < 2; i++) {
        assert_true(world_same_cert(first[i], again[i]));
        cert_free(first[i]);
        cert_free(again[i]);
    }
    assert_int_equal(world_inventory(w), 2);
    csr_free(csr);
}

/* A renewal that is asked of the next CA goes there, also where renewals move elsewhere; the
 * certificate of today stays good for its own renewal by the CA that issued it. */
static void test_renewal(void **state)
{
    struct world *w = with_next(state);
    struct csr *first = world_csr("CN=r1,O=x", "DNS:a", w->key);
    struct csr *second = world_csr("CN=r1,O=x", "DNS:a", w->other_key);
    struct cert *held = world_enrolled(w, first);
    struct ra_request renew = world_renew(w, held, second);
    renew.next = true;
    w->profiles[0].migrate = true;
    w->profiles[0].migrate_to = TODAY;
    struct cert *stored = world_issue(w, &renew);
    assert_asked(w, 1, 1);
    renew.next = false;
    struct cert *renewed = world_issue(w, &renew);
    assert_asked(w, 2, 1);
    assert_false(world_same_cert(stored, renewed));
    cert_free(held);
    cert_free(stored);
    cert_free(renewed);
    csr_free(first);
    csr_free(second);
}

/* Outside of its window a certificate is renewed by the next CA, once: a repetition gets the same
 * one, and another renewal waits, as those by the CA of today and of what the next one issued do.
 */
static void test_window(void **state)
{
    struct world *w = with_next(state);
    struct csr *first = world_csr("CN=r1,O=x", "DNS:a", w->key);
    struct csr *second = world_csr("CN=r1,O=x", "DNS:a", w->other_key);
    struct cert *held = world_enrolled(w, first);
    struct ra_request renew = world_renew(w, held, second);
    w->profiles[0].renewal.window = DAY;
    world_refused(w, &renew, RA_BAD_RENEWAL);
    renew.next = true;
    struct cert *stored = world_issue(w, &renew);
    struct cert *again = world_issue(w, &renew);
    assert_true(world_same_cert(stored, again));
    assert_asked(w, 1, 1);
    renew.csr = first;
    world_refused(w, &renew, RA_BAD_RENEWAL);
    renew.evidence.holder = stored;
    world_refused(w, &renew, RA_BAD_RENEWAL);
    renew.next = false;
    world_refused(w, &renew, RA_BAD_RENEWAL);
    assert_asked(w, 1, 1);
    cert_free(held);
    cert_free(stored);
    cert_free(again);
    csr_free(first);
    csr_free(second);
}

/* Nor does the window of a certificate that is revoked or ended matter: it renews nothing. */
static void test_window_is_all(void **state)
{
    struct world *w = with_next(state);
    struct csr *first = world_csr("CN=r1,O=x", "DNS:a", w->key);
    struct csr *second = world_csr("CN=r2,O=x", "DNS:a", w->other_key);
    struct cert *held = world_enrolled(w, first);
    struct ra_request renew = world_renew(w, held, second);
    renew.next = true;
    w->profiles[0].renewal.window = DAY;
    world_refused(w, &renew, RA_NAMES_CHANGED);
    renew.csr = first;
    clock_set(NOW + 91 * DAY);
    world_refused(w, &renew, RA_BAD_RENEWAL);
    assert_asked(w, 1, 0);
    cert_free(held);
    csr_free(first);
    csr_free(second);
}

/* Whoever asks the next CA needs the same evidence as ever. */
static void test_evidence(void **state)
{
    struct world *w = with_next(state);
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_request(w, csr);
    struct cert *signer = world_signer("CN=r1", w->key);
    request.next = true;
    request.evidence.holder = signer;
    request.evidence.over_cms = true;
    world_refused(w, &request, RA_BAD_CHALLENGE);
    request.evidence.challenge = bytes_str("not the secret");
    world_refused(w, &request, RA_BAD_CHALLENGE);
    assert_asked(w, 0, 0);
    cert_free(signer);
    csr_free(csr);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {T(test_both), T(test_renewal), T(test_window),
                                       T(test_window_is_all), T(test_evidence)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
