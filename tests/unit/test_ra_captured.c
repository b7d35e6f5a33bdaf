/* Messages over CMS that are signed by something else than the CSR's key, with a challenge. */
#include "tests/support/ra_world.h"

/* A certificate that the CSR's challenge is to be used with, and what is asked. */
static struct cert *issue(const struct world *w, const char *subject, EVP_PKEY *key)
{
    struct csr *csr = world_csr(subject, NULL, key);
    struct cert *cert = world_enrolled(w, csr);
    csr_free(csr);
    return cert;
}

static struct ra_request ask(const struct world *w, struct cert *signer, const struct csr *csr,
                             const char *secret)
{
    struct ra_request request = world_request(w, csr);
    request.evidence =
        (struct ra_evidence){.holder = signer, .over_cms = true, .challenge = bytes_str(secret)};
    return request;
}

/* Who holds another device's certificate of the profile and captured an envelope may not sign it
 * anew: the challenge is not spent, and serves its device. */
static void test_other_device(void **state)
{
    struct world *w = *state;
    struct cert *thief = issue(w, "CN=r1", w->key), *own = world_signer("CN=r2", w->other_key);
    struct csr *csr = world_csr("CN=r2", NULL, w->other_key);
    char secret[CHALLENGE_LEN + 1];
    world_mint(w, NULL, secret);
    struct ra_request request = ask(w, thief, csr, secret);
    world_refused(w, &request, RA_BAD_KEY);
    assert_int_equal(world_requests(w), 1);
    request = ask(w, own, csr, secret);
    cert_free(world_issue(w, &request));
    cert_free(thief);
    cert_free(own);
    csr_free(csr);
}

/* A device that renews no more enrolls a new key by a challenge, and may sign by its certificate
 * from before; once that is revoked it may not. */
static void test_same_device(void **state)
{
    struct world *w = *state;
    struct cert *old = issue(w, "CN=r1", w->key), *next;
    struct csr *csr = world_csr("CN=r1", NULL, w->other_key);
    char secret[CHALLENGE_LEN + 1];
    clock_set(cert_not_after_get(old) + 1);
    world_mint(w, NULL, secret);
    struct ra_request request = ask(w, old, csr, secret);
    next = world_issue(w, &request);
    world_revoke(w, next, 1);
    world_revoke(w, old, 1);
    world_mint(w, NULL, secret);
    request.evidence.challenge = bytes_str(secret);
    world_refused(w, &request, RA_BAD_KEY);
    cert_free(next);
    cert_free(old);
    csr_free(csr);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {T(test_other_device), T(test_same_device)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
