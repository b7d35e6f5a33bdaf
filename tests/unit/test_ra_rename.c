#include "base/change.h"
#include "tests/support/ra_world.h"

#include <string.h>

/* A CSR for one subject that asks for another by ChangeSubjectName (RFC 6402 section 2.8). */
static struct csr *change_csr(const char *subject, const char *wanted, EVP_PKEY *key)
{
    X509_REQ *req = make_req(&(struct make_spec){.subject = subject}, key);
    struct names names;
    struct csr *csr;
    struct err err;
    uint8_t value[256];
    assert_true(names_parse_text(wanted, NULL, 0, &names, &err));
    size_t len = names.subject.len;
    assert_true(len + 2 < 128);
    value[0] = 0x30;
    value[1] = (uint8_t)len;
    memcpy(value + 2, names.subject.ptr, len);
    names_clear(&names);
    assert_int_equal(
        X509_REQ_add1_attr_by_txt(req, CHANGE_OID, V_ASN1_SEQUENCE, value, (int)len + 2), 1);
    assert_true(X509_REQ_sign(req, key, EVP_sha256()) > 0);
    unsigned char *der = NULL;
    int size = i2d_X509_REQ(req, &der);
    assert_true(size > 0);
    assert_true(csr_parse(bytes_of(der, (size_t)size), &csr, &err));
    assert_true(csr_pop_check(csr, &err));
    OPENSSL_free(der);
    X509_REQ_free(req);
    return csr;
}

/* A renewal gets the names that it asks for where the profile allows it and the CA can; the
 * certificate is checked against these, and the old one is replaced. */
static void test_renamed(void **state)
{
    struct world *w = *state;
    struct csr *first = world_csr("CN=r1", NULL, w->key);
    struct cert *held = world_enrolled(w, first);
    struct csr *csr = change_csr("CN=r1", "CN=r2", w->other_key);
    struct ra_request request = world_renew(w, held, csr);
    w->profiles[0].renewal.change_names = CFG_CHANGE_ALLOW;
    w->ca[0].vt.caps |= UP_NAMES;
    w->ca[0].subject = "CN=r2";
    struct cert *renewed = world_issue(w, &request);
    assert_string_equal(cert_names_get(renewed)->subject_text, "CN=r2");
    cert_free(renewed);
    cert_free(held);
    csr_free(first);
    csr_free(csr);
}

/* Refused: where the profile does not allow it, for a CA that issues what the CSR says, for whoever
 * renews nothing, and for a CSR whose own names are not the certificate's. No CA is asked. */
static void test_refused(void **state)
{
    struct world *w = *state;
    struct csr *first = world_csr("CN=r1", NULL, w->key);
    struct cert *held = world_enrolled(w, first);
    struct csr *csr = change_csr("CN=r1", "CN=r2", w->other_key);
    struct csr *other = change_csr("CN=r2", "CN=r2", w->other_key);
    struct ra_request request = world_renew(w, held, csr), unlike = world_renew(w, held, other);
    struct ra_request fresh = world_enroll(w, csr);
    w->ca[0].vt.caps |= UP_NAMES;
    world_refused(w, &request, RA_NAMES_CHANGED);
    w->profiles[0].renewal.change_names = CFG_CHANGE_ALLOW;
    world_refused(w, &fresh, RA_NAMES_CHANGED);
    world_refused(w, &unlike, RA_NAMES_CHANGED);
    w->ca[0].vt.caps &= ~(unsigned)UP_NAMES;
    world_refused(w, &request, RA_NAMES_CHANGED);
    assert_int_equal(w->ca[0].submitted, 1);
    assert_int_equal(w->ca[0].prepared, 1);
    cert_free(held);
    csr_free(first);
    csr_free(csr);
    csr_free(other);
}

/* A CA that issues for the old names in spite of it has issued something else. */
static void test_not_renamed(void **state)
{
    struct world *w = *state;
    struct csr *first = world_csr("CN=r1", NULL, w->key);
    struct cert *held = world_enrolled(w, first);
    struct csr *csr = change_csr("CN=r1", "CN=r2", w->other_key);
    struct ra_request request = world_renew(w, held, csr);
    w->profiles[0].renewal.change_names = CFG_CHANGE_ALLOW;
    w->ca[0].vt.caps |= UP_NAMES;
    struct ra_outcome outcome = world_submit(w, &request);
    assert_int_not_equal(outcome.status, RA_ISSUED);
    assert_int_equal(world_inventory(w), 1);
    ra_outcome_clear(&outcome);
    cert_free(held);
    csr_free(first);
    csr_free(csr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_renamed, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_refused, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_not_renamed, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
