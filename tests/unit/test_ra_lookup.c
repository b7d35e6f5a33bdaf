#include "base/permit.h"
#include "ra/lookup.h"
#include "tests/support/ra_world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A device that holds a certificate of profile "a", and asks. */
struct device {
    struct world *w;
    struct csr *csr;
    struct cert *held;
    struct ra_request request;
};

static struct device device_open(struct world *w)
{
    struct device d = {.w = w, .csr = world_csr("CN=r1,O=x", "DNS:a", w->key)};
    struct ra_request enroll = world_enroll(w, d.csr);
    d.held = world_issue(w, &enroll);
    d.request = world_request(w, NULL);
    d.request.evidence.holder = d.held;
    d.request.evidence.over_cms = true;
    return d;
}

static void device_close(struct device *d)
{
    cert_free(d->held);
    csr_free(d->csr);
}

/* A certificate of profile "b", from the other CA. */
static struct cert *other_profile(struct world *w)
{
    struct csr *csr = world_csr("CN=r2", "DNS:b", w->other_key);
    struct ra_request enroll = world_enroll(w, csr);
    enroll.profile = &w->profiles[1];
    struct cert *cert = world_issue(w, &enroll);
    csr_free(csr);
    return cert;
}

static bool may(const struct device *d, const char *why)
{
    struct ra_outcome outcome = {0};
    struct err err;
    bool ret;
    assert_true(ra_lookup_may(d->w->ra, &d->request, &ret, &outcome, &err));
    if (!ret) {
        assert_int_equal(outcome.status, RA_REFUSED);
        assert_int_equal(outcome.reason, RA_UNKNOWN_CERT);
        assert_non_null(strstr(outcome.detail, why));
    }
    return ret;
}

/* Whoever holds a certificate of the profile may ask, until it is revoked or has ended; a stranger,
 * and a device of another profile, may not. */
static void test_may(void **state)
{
    struct device d = device_open(*state);
    struct cert *other = other_profile(d.w), *stranger = world_signer("CN=r1,O=x", d.w->key);
    assert_true(may(&d, ""));
    d.request.evidence.holder = stranger;
    assert_false(may(&d, "holds no certificate"));
    d.request.evidence.holder = other;
    assert_false(may(&d, "holds no certificate"));
    d.request.evidence.holder = NULL;
    assert_false(may(&d, "holds no certificate"));
    d.request.evidence.holder = d.held;
    d.w->profiles[0].renewal.grace_after_expiry = 3 * DAY;
    clock_set(cert_not_after_get(d.held) + 2 * DAY);
    assert_true(may(&d, ""));
    clock_set(cert_not_after_get(d.held) + 4 * DAY);
    assert_false(may(&d, "not valid now"));
    clock_set(NOW);
    world_revoke(d.w, d.held, 1);
    assert_false(may(&d, "revoked"));
    cert_free(other);
    cert_free(stranger);
    device_close(&d);
}

/* Where an anchor says that its CRLs count, nobody may ask whose revocation cannot be learnt. */
static void test_may_unchecked(void **state)
{
    struct device d = device_open(*state);
    struct world *w = d.w;
    struct cfg_anchor anchor = {.certificates = {&w->root_cert, 1},
                                .intermediates = {&w->ca[0].issuing_cert, 1},
                                .trusts = &w->profiles[0].trust,
                                .class = CFG_ANCHOR_EXPLICIT,
                                .checking.revocation = CFG_REVOCATION_NONE};
    struct ra_outcome outcome = {0};
    struct err err = {0};
    bool ret = true;
    w->profiles[0].anchors = &anchor;
    w->profiles[0].anchor_count = 1;
    assert_true(may(&d, ""));
    anchor.checking.revocation = CFG_REVOCATION_HARD_FAIL;
    assert_false(ra_lookup_may(w->ra, &d.request, &ret, &outcome, &err));
    assert_false(ret);
    assert_int_equal(err.kind, ERR_UPSTREAM);
    w->profiles[0].anchor_count = 0;
    device_close(&d);
}

static struct ra_wanted wanted_of(const struct cert *cert)
{
    struct ra_wanted wanted = {.issuer = cert_issuer_get(cert)};
    memcpy(wanted.serial, cert_serial_get(cert), strlen(cert_serial_get(cert)) + 1);
    return wanted;
}

/* Looks up; NULL if it is refused. The caller owns the certificate. */
static struct cert *look(const struct device *d, const struct ra_wanted *wanted)
{
    struct ra_outcome outcome = {0};
    struct err err;
    assert_true(ra_lookup_cert(d->w->ra, &d->request, wanted, &outcome, &err));
    assert_int_equal(outcome.status, outcome.cert ? RA_ISSUED : RA_REFUSED);
    assert_int_equal(outcome.reason, outcome.cert ? RA_OK : RA_UNKNOWN_CERT);
    return outcome.cert;
}

/* A certificate of the profile is found by issuer and serial, or by serial alone; one of another
 * profile, or with another issuer, is not. */
static void test_cert(void **state)
{
    struct device d = device_open(*state);
    struct cert *other = other_profile(d.w), *found;
    struct ra_wanted wanted = wanted_of(d.held), foreign = wanted_of(other);
    for (int any = 0; any < 2; any++) {
        found = look(&d, &wanted);
        assert_true(found && world_same_cert(found, d.held));
        cert_free(found);
        assert_null(look(&d, &foreign));
        wanted.issuer = foreign.issuer = (struct bytes){0};
    }
    wanted.issuer = buf_bytes(&cert_names_get(d.held)->subject);
    assert_null(look(&d, &wanted));
    wanted.issuer = bytes_str("no name at all");
    assert_null(look(&d, &wanted));
    wanted = wanted_of(d.held);
    wanted.serial[0] = wanted.serial[0] == '1' ? '2' : '1';
    assert_null(look(&d, &wanted));
    cert_free(other);
    device_close(&d);
}

static unsigned made;    /* CRLs */
static size_t made_with; /* entries of the last */
static bool making_fails;

static bool fake_crl(struct upstream *up, const struct up_revoked *revoked, size_t count,
                     struct buf *der, struct err *err)
{
    (void)revoked;
    made++;
    made_with = count;
    return making_fails ? err_set(err, ERR_UPSTREAM, "no") : buf_set(der, bytes_str(up->name));
}

static bool crl(const struct device *d, const struct ra_wanted *wanted, const char *name)
{
    struct ra_crl ret = {0};
    struct err err;
    bool ok = ra_lookup_crl(d->w->ra, &d->request, wanted, &ret, &err);
    if (ok && name)
        assert_true(bytes_equal_str(buf_bytes(&ret.der), name));
    if (ok && !name) {
        assert_int_equal(ret.der.len, 0);
        assert_int_equal(ret.outcome.reason, RA_UNKNOWN_CERT);
    }
    buf_free(&ret.der);
    return ok;
}

/* The CRL is that of the CA with the name, or of the holder's; made once a minute and again for
 * other settings, with what was revoked of that CA; a CA that makes none, and a name that is no
 * CA's of the profile, get none. */
static void test_crl(void **state)
{
    struct device d = device_open(*state);
    struct world *w = d.w;
    struct ra_wanted wanted = wanted_of(d.held), any = {.serial = "01"};
    const char *name = w->conf[0].name;
    assert_true(crl(&d, &wanted, NULL));
    made = 0, making_fails = false;
    w->ca[0].vt.crl = fake_crl;
    for (int i = 0; i < 3; i++)
        assert_true(crl(&d, &wanted, name) && crl(&d, &any, name));
    assert_int_equal(made, 1);
    assert_int_equal(made_with, 0);
    world_revoke(w, d.held, 1);
    clock_set(NOW + RA_CRL_SECONDS - 1);
    assert_true(crl(&d, &wanted, name));
    assert_int_equal(made, 1);
    clock_set(NOW + RA_CRL_SECONDS);
    assert_true(crl(&d, &wanted, name));
    assert_int_equal(made, 2);
    assert_int_equal(made_with, 1);
    w->settings.generation++;
    making_fails = true;
    assert_false(crl(&d, &wanted, name));
    making_fails = false;
    assert_true(crl(&d, &wanted, name));
    assert_int_equal(made, 4);
    wanted.issuer = bytes_str("no name at all");
    assert_true(crl(&d, &wanted, NULL));
    assert_int_equal(made, 4);
    device_close(&d);
}

/* One permit to compute, and two devices that want the same CRL. */
struct pair {
    struct device *device;
    struct ra_wanted wanted;
    struct permits *permits;
    atomic_bool second; /* has the permit, and asks */
};
static struct pair pair;

/* Waits for something, such as the store, as who makes a CRL may. */
static bool slow_crl(struct upstream *up, const struct up_revoked *revoked, size_t count,
                     struct buf *der, struct err *err)
{
    permit_pause();
    for (int i = 0; i < 100; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        if (!pair.second)
            i = 0;
    }
    permit_resume();
    return fake_crl(up, revoked, count, der, err);
}

static void *ask_second(void *arg)
{
    permit_take(pair.permits);
    pair.second = true;
    assert_true(crl(pair.device, &pair.wanted, arg));
    permit_give(pair.permits);
    return NULL;
}

/* Who waits for a CRL that another one makes does not hold the permit that the other one needs. */
static void test_crl_permit(void **state)
{
    struct device d = device_open(*state);
    char *name = d.w->conf[0].name;
    pthread_t thread;
    made = 0, making_fails = false;
    d.w->ca[0].vt.crl = slow_crl;
    pair.device = &d;
    pair.wanted = wanted_of(d.held);
    pair.permits = permits_new(1);
    alarm(60); /* else it would hang */
    permit_take(pair.permits);
    assert_int_equal(pthread_create(&thread, NULL, ask_second, name), 0);
    assert_true(crl(&d, &pair.wanted, name));
    permit_give(pair.permits);
    pthread_join(thread, NULL);
    alarm(0);
    assert_int_equal(made, 1);
    permits_free(pair.permits);
    device_close(&d);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {T(test_may), T(test_may_unchecked), T(test_cert),
                                       T(test_crl), T(test_crl_permit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
