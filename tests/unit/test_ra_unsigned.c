/* CSRs without a signature, whose possession a door has proved otherwise (CRMF). */
#include "base/der.h"
#include "tests/support/ra_world.h"

/* As est/crmf.c makes it: the signature algorithm is id-alg-noSignature. */
static struct csr *unsigned_csr(const struct world *w)
{
    static const uint8_t none[] = {0x30, 12, 6, 8, 0x2b, 6, 1,    5,    5,   7,
                                   6,    2,  5, 0, 0x03, 3, 0x00, 0xab, 0xcd};
    struct csr *from = world_csr("CN=r1", "DNS:a", w->key), *csr;
    struct bytes cur = csr_der_get(from);
    struct der outer, info;
    struct buf der = {0};
    struct err err;
    assert_true(der_take(&cur, &outer) && der_take(&outer.content, &info));
    assert_true(buf_add(&der, info.whole) && buf_add(&der, bytes_of(none, sizeof none)) &&
                der_wrap(&der, 0, DER_SEQUENCE));
    assert_true(csr_parse(buf_bytes(&der), &csr, &err));
    assert_false(csr_is_signed(csr));
    buf_free(&der);
    csr_free(from);
    return csr;
}

/* A CA that is asked with the device's own CSR is never asked with one that nobody signed; the
 * refusal is in the trail and the challenge is not spent. */
static void test_refused(void **state)
{
    struct world *w = *state;
    char secret[CHALLENGE_LEN + 1];
    struct csr *csr = unsigned_csr(w);
    world_mint(w, NULL, secret);
    struct ra_request request = world_enroll(w, csr);
    request.evidence.challenge = bytes_str(secret);
    world_refused(w, &request, RA_NO_ROUTE);
    assert_int_equal(w->ca[0].prepared, 0);
    assert_int_equal(world_audited(w, "refused"), 1);
    w->ca[0].vt.caps |= UP_UNSIGNED;
    cert_free(world_issue(w, &request));
    csr_free(csr);
}

/* A CA that takes it issues, also when it is read from the store by another process. */
static void test_issued(void **state)
{
    struct world *w = *state;
    struct csr *csr = unsigned_csr(w);
    w->ca[0].vt.caps |= UP_UNSIGNED;
    w->ca[0].submit = UP_RETRY;
    struct ra_request request = world_enroll(w, csr);
    char id[RA_ID_LEN + 1];
    world_pending(w, &request, id);
    world_restart(w);
    w->ca[0].submit = UP_ISSUED;
    clock_set(NOW + 3600);
    assert_int_equal(world_sweep(w), 1);
    world_state(w, id, TXN_ISSUED);
    request = world_enroll(w, csr);
    struct cert *cert = world_issue(w, &request);
    assert_true(spki_equal(cert_spki_get(cert), csr_spki_get(csr)));
    cert_free(cert);
    csr_free(csr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refused, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_issued, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
