#include "tests/support/ra_world.h"

#include <stdlib.h>

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_revoked),       TEST(test_anew),
                                       TEST(test_refused_since), TEST(test_challenge),
                                       TEST(test_renewal),       TEST(test_after_refusal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
