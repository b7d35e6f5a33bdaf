/* Certificates whose signed part is what the CA signed, and whose bytes are not: an ECDSA signature
 * (r, s) is as good as (r, n - s), and outside of what is signed BER is read like DER. Whoever
 * holds a certificate can write it so, and it has another fingerprint then. */
#include "tests/support/ra_world.h"

#include "base/der.h"

#include <openssl/ec.h>
#include <string.h>

static struct cert *parsed(struct buf *der)
{
    struct cert *cert;
    struct err err;
    assert_true(cert_parse(buf_bytes(der), &cert, &err));
    buf_free(der);
    return cert;
}

/* With a length of four octets where fewer do. */
static struct cert *in_ber(const struct cert *cert)
{
    struct bytes cur = cert_der_get(cert);
    struct buf der = {0};
    struct der outer;
    assert_true(der_take_tag(&cur, DER_SEQUENCE, &outer));
    const uint8_t head[] = {
        DER_SEQUENCE, 0x84, 0, 0, (uint8_t)(outer.content.len >> 8), (uint8_t)outer.content.len};
    assert_true(buf_add(&der, bytes_of(head, sizeof head)) && buf_add(&der, outer.content));
    return parsed(&der);
}

static void flip(ASN1_BIT_STRING *signature)
{
    const unsigned char *p = ASN1_STRING_get0_data(signature);
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, ASN1_STRING_length(signature));
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    BIGNUM *r = BN_dup(ECDSA_SIG_get0_r(sig)), *s = BN_new();
    unsigned char *der = NULL;
    assert_true(BN_sub(s, EC_GROUP_get0_order(group), ECDSA_SIG_get0_s(sig)) == 1);
    assert_true(ECDSA_SIG_set0(sig, r, s) == 1);
    int len = i2d_ECDSA_SIG(sig, &der);
    assert_true(len > 0);
    assert_true(ASN1_STRING_set(signature, der, len) == 1);
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    EC_GROUP_free(group);
}

static struct cert *flipped(const struct cert *cert)
{
    X509 *x509 = X509_dup(cert_x509_get(cert));
    const ASN1_BIT_STRING *signature;
    struct cert *copy;
    struct err err;
    X509_get0_signature(&signature, NULL, x509);
    flip((ASN1_BIT_STRING *)signature);
    assert_true(cert_from_x509(x509, &copy, &err));
    X509_free(x509);
    return copy;
}

struct site {
    struct world *w;
    struct trust *trust;
    struct cfg_anchor anchor; /* of profile "a", above the CA of the inventory */
    struct cert *cert;        /* of the inventory */
    struct cert *copies[2];
};

static struct site *site_open(struct world *w)
{
    struct site *s = mem_zalloc(sizeof *s);
    s->w = w;
    s->trust = trust_new(&w->root_cert, 1);
    s->anchor = (struct cfg_anchor){.certificates = {&w->root_cert, 1},
                                    .intermediates = {&w->ca[0].issuing_cert, 1},
                                    .trusts = &s->trust,
                                    .class = CFG_ANCHOR_EXPLICIT,
                                    .checking.revocation = CFG_REVOCATION_NONE};
    for (size_t i = 0; i < WORLD_PROFILES; i++) {
        w->profiles[i].anchors = &s->anchor;
        w->profiles[i].anchor_count = 1;
    }
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request enroll = world_enroll(w, csr);
    s->cert = world_issue(w, &enroll);
    s->copies[0] = in_ber(s->cert);
    s->copies[1] = flipped(s->cert);
    csr_free(csr);
    return s;
}

static void site_close(struct site *s)
{
    for (size_t i = 0; i < WORLD_PROFILES; i++)
        s->w->profiles[i].anchor_count = 0;
    trust_free(s->trust);
    cert_free(s->cert);
    cert_free(s->copies[0]);
    cert_free(s->copies[1]);
    free(s);
}

static void expect(const struct site *s, struct cert *holder, size_t profile, enum ra_reason reason)
{
    struct csr *csr = world_csr("CN=r1", NULL, s->w->other_key);
    struct ra_request request = world_request(s->w, csr);
    request.profile = &s->w->profiles[profile];
    request.evidence.holder = holder;
    if (reason == RA_OK)
        cert_free(world_issue(s->w, &request));
    else
        world_refused(s->w, &request, reason);
    csr_free(csr);
}

/* A copy of a revoked certificate renews nothing. */
static void test_revoked(void **state)
{
    struct site *s = site_open(*state);
    world_revoke(s->w, s->cert, 1);
    for (size_t i = 0; i < 2; i++) {
        assert_memory_not_equal(cert_fingerprint_get(s->copies[i]), cert_fingerprint_get(s->cert),
                                RA_DIGEST_LEN);
        expect(s, s->copies[i], 0, RA_BAD_RENEWAL);
    }
    site_close(s);
}

/* Nor does one of another profile's certificate; nor one of a certificate whose renewal was
 * revoked. */
static void test_elsewhere(void **state)
{
    struct site *s = site_open(*state);
    for (size_t i = 0; i < 2; i++)
        expect(s, s->copies[i], 1, RA_BAD_RENEWAL);
    struct csr *csr = world_csr("CN=r1", NULL, s->w->other_key);
    struct ra_request request = world_request(s->w, csr);
    request.evidence.holder = s->cert;
    struct cert *next = world_issue(s->w, &request);
    world_revoke(s->w, next, 1);
    for (size_t i = 0; i < 2; i++)
        expect(s, s->copies[i], 0, RA_BAD_RENEWAL);
    cert_free(next);
    csr_free(csr);
    site_close(s);
}

/* A copy of a certificate that is fine is that certificate: it renews, and there is one answer to
 * both. */
static void test_fine(void **state)
{
    struct site *s = site_open(*state);
    struct csr *csr = world_csr("CN=r1", NULL, s->w->other_key);
    struct ra_request request = world_request(s->w, csr);
    request.evidence.holder = s->copies[1];
    struct ra_outcome first = world_submit(s->w, &request);
    assert_int_equal(first.status, RA_ISSUED);
    request.evidence.holder = s->cert;
    struct ra_outcome second = world_submit(s->w, &request);
    assert_true(second.repeated && world_same_cert(first.cert, second.cert));
    struct store_cert old = world_held(s->w, s->cert);
    assert_true(old.replaced_by[0]);
    store_cert_clear(&old);
    ra_outcome_clear(&first);
    ra_outcome_clear(&second);
    csr_free(csr);
    site_close(s);
}

/* A manufacturer's certificate whose outcome was revoked enrolls no more by a copy either. */
static void test_foreign(void **state)
{
    struct site *s = site_open(*state);
    struct make_spec spec = {.subject = "CN=r2", .not_before = NOW - DAY, .not_after = NOW + DAY};
    struct cert *device = make_cert(&spec, s->w->key, s->w->ca[1].issuing, s->w->ca_key);
    struct cert *copies[] = {device, in_ber(device), flipped(device)};
    struct csr *csr = world_csr("CN=r2", NULL, s->w->other_key);
    struct ra_request request = world_request(s->w, csr);
    s->anchor.class = CFG_ANCHOR_IMPLICIT;
    s->anchor.intermediates.items = &s->w->ca[1].issuing_cert;
    request.evidence.holder = device;
    struct cert *got = world_issue(s->w, &request);
    world_revoke(s->w, got, 1);
    for (size_t i = 0; i < 3; i++) {
        request.evidence.holder = copies[i];
        world_refused(s->w, &request, RA_BAD_RENEWAL);
        cert_free(copies[i]);
    }
    cert_free(got);
    csr_free(csr);
    site_close(s);
}

/* Who is revoked while a renewal waits hears nothing of it: neither by the certificate nor by
 * another one that he signs himself with its key. */
static void test_poll(void **state)
{
    struct world *w = *state;
    struct site *s = site_open(w);
    struct cert *own = world_signer("CN=r1", w->key);
    struct csr *csr = world_csr("CN=r1", NULL, w->other_key);
    struct ra_request request = world_request(w, csr);
    char id[RA_ID_LEN + 1];
    w->ca[0].submit = UP_PENDING;
    request.txn = bytes_str("1");
    request.evidence.holder = s->cert;
    request.evidence.over_cms = true;
    world_pending(w, &request, id);
    request.op = RA_POLL;
    request.csr = NULL;
    world_pending(w, &request, id);
    world_revoke(w, s->cert, 1);
    w->ca[0].poll = UP_ISSUED;
    clock_set(NOW + DAY / 2);
    assert_int_equal(world_sweep(w), 1);
    world_state(w, id, TXN_ISSUED);
    world_refused(w, &request, RA_BAD_RENEWAL);
    request.evidence.holder = s->copies[1];
    world_refused(w, &request, RA_BAD_RENEWAL);
    request.evidence.holder = own;
    world_refused(w, &request, RA_UNKNOWN_TXN);
    w->profiles[0].anchor_count = 0; /* then a copy is a stranger's */
    request.evidence.holder = s->copies[1];
    world_refused(w, &request, RA_UNKNOWN_TXN);
    cert_free(own);
    csr_free(csr);
    site_close(s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {T(test_revoked), T(test_elsewhere), T(test_fine),
                                       T(test_foreign), T(test_poll)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
