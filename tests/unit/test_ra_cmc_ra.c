#include "tests/support/ra_world.h"

#include <string.h>

#define USAGE "clientAuth,1.3.6.1.5.5.7.3.28"

/* Profile "a" goes by id-kp-cmcRA of an anchor: the CA of the world, beside which others are made.
 */
struct bench {
    struct world *w;
    EVP_PKEY *ra_key;
    struct trust *trust;
    struct cfg_anchor anchor;
};

static struct bench *bench_open(struct world *w)
{
    struct bench *b = mem_zalloc(sizeof *b);
    b->w = w;
    b->ra_key = make_ec("P-256");
    b->trust = trust_new(&w->ca[0].issuing_cert, 1);
    b->anchor = (struct cfg_anchor){.certificates = {&w->ca[0].issuing_cert, 1},
                                    .trusts = &b->trust,
                                    .class = CFG_ANCHOR_EXPLICIT,
                                    .checking.revocation = CFG_REVOCATION_NONE};
    w->profiles[0].anchors = &b->anchor;
    w->profiles[0].anchor_count = 1;
    w->profiles[0].cmc_ra = true;
    return b;
}

static void bench_close(struct bench *b)
{
    b->w->profiles[0].anchor_count = 0;
    trust_free(b->trust);
    EVP_PKEY_free(b->ra_key);
    free(b);
}

static struct cert *made(const struct bench *b, const char *eku, int64_t not_after)
{
    const struct make_spec spec = {
        .subject = "CN=ra", .eku = eku, .not_before = NOW - DAY, .not_after = not_after};
    return make_cert(&spec, b->ra_key, b->w->ca[0].issuing, b->w->ca_key);
}

/* What the holder hears who asks for another device. Takes the certificate. */
static void expect(const struct bench *b, struct cert *holder, enum ra_op op, enum ra_reason reason)
{
    struct csr *csr = world_csr("CN=somebody", NULL, b->w->other_key);
    struct ra_request request = world_request(b->w, csr);
    request.op = op;
    request.evidence.holder = holder;
    if (reason == RA_OK)
        cert_free(world_issue(b->w, &request));
    else
        world_refused(b->w, &request, reason);
    csr_free(csr);
    cert_free(holder);
}

/* The usage, from an explicit anchor, makes a registrar; anything less makes none. */
static void test_combinations(void **state)
{
    struct world *w = *state;
    struct bench *b = bench_open(w);
    expect(b, made(b, "clientAuth", NOW + DAY), RA_ENROLL, RA_NAMES_CHANGED);
    expect(b, made(b, "clientAuth,2.5.29.37.0", NOW + DAY), RA_ENROLL, RA_NAMES_CHANGED);
    expect(b, made(b, "1.3.6.1.5.5.7.3.28", NOW + DAY), RA_ENROLL, RA_NO_EVIDENCE);
    expect(b, made(b, USAGE, NOW + DAY), RA_RENEW, RA_NAMES_CHANGED);
    w->profiles[0].cmc_ra = false;
    expect(b, made(b, USAGE, NOW + DAY), RA_ENROLL, RA_NAMES_CHANGED);
    w->profiles[0].cmc_ra = true;
    b->anchor.class = CFG_ANCHOR_IMPLICIT;
    expect(b, made(b, USAGE, NOW + DAY), RA_ENROLL, RA_NAMES_CHANGED);
    expect(b, made(b, "clientAuth", NOW + DAY), RA_ENROLL, RA_NAMES_CHANGED);
    w->profiles[0].anchor_count = 0;
    expect(b, made(b, USAGE, NOW + DAY), RA_ENROLL, RA_NO_EVIDENCE);
    w->profiles[0].anchor_count = 1;
    b->anchor.class = CFG_ANCHOR_EXPLICIT;
    assert_int_equal(world_inventory(w), 0);
    expect(b, made(b, USAGE, NOW + DAY), RA_ENROLL, RA_OK);
    bench_close(b);
}

/* The grace after expiry is for devices that renew. */
static void test_expired(void **state)
{
    struct world *w = *state;
    struct bench *b = bench_open(w);
    w->profiles[0].renewal.grace_after_expiry = 10 * DAY;
    expect(b, made(b, USAGE, NOW - 1), RA_ENROLL, RA_NAMES_CHANGED);
    w->profiles[0].renewal.grace_after_expiry = 0;
    bench_close(b);
}

/* hard_fail: "could not check" is another answer than "no". */
static void test_unchecked(void **state)
{
    struct world *w = *state;
    struct bench *b = bench_open(w);
    struct csr *csr = world_csr("CN=somebody", NULL, w->other_key);
    struct ra_request request = world_request(w, csr);
    struct ra_outcome outcome;
    struct err err = {0};
    b->anchor.checking.revocation = CFG_REVOCATION_HARD_FAIL;
    request.evidence.holder = made(b, USAGE, NOW + DAY);
    assert_false(ra_submit(w->ra, &request, &outcome, &err));
    assert_int_equal(err.kind, ERR_UPSTREAM);
    cert_free(request.evidence.holder);
    csr_free(csr);
    bench_close(b);
}

/* A CA that puts the usage into what a device asked for makes no registrar of it. */
static void test_handed_out(void **state)
{
    struct world *w = *state;
    struct bench *b = bench_open(w);
    struct csr *csr = world_csr("CN=ra", NULL, b->ra_key);
    struct ra_request request = world_enroll(w, csr);
    w->ca[0].same = made(b, USAGE, NOW + DAY);
    cert_free(world_issue(w, &request));
    expect(b, cert_ref(w->ca[0].same), RA_ENROLL, RA_NAMES_CHANGED);
    cert_free(w->ca[0].same);
    w->ca[0].same = NULL;
    csr_free(csr);
    bench_close(b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_combinations),
        TEST(test_expired),
        TEST(test_unchecked),
        TEST(test_handed_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
