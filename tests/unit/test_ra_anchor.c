#include "tests/support/ra_world.h"

#include <string.h>

/* A manufacturer with an intermediate CA, beside the world's own, and one of its devices. */
struct maker {
    struct world *w;
    EVP_PKEY *root_key, *sub_key, *device_key;
    X509 *root, *sub;
    struct cert *root_cert, *sub_cert;
    struct trust *trust;
    struct cfg_anchor anchor; /* of profile "a" */
};

static const struct make_spec ca_spec = {
    .ca = true, .not_before = NOW - 3650 * DAY, .not_after = NOW + 3650 * DAY};

static X509 *make_ca(const char *subject, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
    struct make_spec spec = ca_spec;
    spec.subject = subject;
    return make_x509(&spec, key, issuer, issuer_key);
}

static struct cert *cert_of(const X509 *x509)
{
    struct cert *cert;
    struct err err;
    assert_true(cert_from_x509(x509, &cert, &err));
    return cert;
}

static struct maker *maker_open(struct world *w, enum cfg_anchor_class class)
{
    struct maker *m = mem_zalloc(sizeof *m);
    m->w = w;
    m->root_key = make_ec("P-256");
    m->sub_key = make_ec("P-256");
    m->device_key = make_ec("P-256");
    m->root = make_ca("CN=maker", m->root_key, NULL, NULL);
    m->sub = make_ca("CN=maker sub", m->sub_key, m->root, m->root_key);
    m->root_cert = cert_of(m->root);
    m->sub_cert = cert_of(m->sub);
    m->trust = trust_new(&m->root_cert, 1);
    m->anchor = (struct cfg_anchor){.certificates = {&m->root_cert, 1},
                                    .intermediates = {&m->sub_cert, 1},
                                    .trusts = &m->trust,
                                    .class = class,
                                    .checking.revocation = CFG_REVOCATION_NONE};
    w->profiles[0].anchors = &m->anchor;
    w->profiles[0].anchor_count = 1;
    return m;
}

static void maker_close(struct maker *m)
{
    m->w->profiles[0].anchor_count = 0;
    EVP_PKEY_free(m->root_key);
    EVP_PKEY_free(m->sub_key);
    EVP_PKEY_free(m->device_key);
    X509_free(m->root);
    X509_free(m->sub);
    cert_free(m->root_cert);
    cert_free(m->sub_cert);
    trust_free(m->trust);
    free(m);
}

static struct cert *made(const struct maker *m, const struct make_spec *spec)
{
    struct make_spec whole = *spec;
    if (!whole.not_before)
        whole.not_before = NOW - DAY;
    if (!whole.not_after)
        whole.not_after = NOW + 365 * DAY;
    return make_cert(&whole, m->device_key, m->sub, m->sub_key);
}

/* A request of these names by whoever holds the certificate. */
struct asked {
    struct csr *csr;
    struct ra_request request;
};

static struct asked ask(const struct maker *m, struct cert *holder, const char *subject,
                        const char *sans)
{
    struct asked a = {.csr = world_csr(subject, sans, m->w->other_key)};
    a.request = world_request(m->w, a.csr);
    a.request.evidence.holder = holder;
    return a;
}

static void expect(const struct maker *m, struct cert *holder, const char *subject,
                   const char *sans, enum ra_reason reason)
{
    struct asked a = ask(m, holder, subject, sans);
    if (reason == RA_OK)
        cert_free(world_issue(m->w, &a.request));
    else
        world_refused(m->w, &a.request, reason);
    csr_free(a.csr);
}

static void expect_renewal(const struct maker *m, struct cert *holder, const char *subject,
                           enum ra_reason reason)
{
    struct asked a = ask(m, holder, subject, NULL);
    a.request.op = RA_RENEW;
    if (reason == RA_OK)
        cert_free(world_issue(m->w, &a.request));
    else
        world_refused(m->w, &a.request, reason);
    csr_free(a.csr);
}

struct needle {
    const char *text;
    unsigned count;
};

static bool count_text(const struct audit_record *record, void *arg)
{
    struct needle *needle = arg;
    needle->count += strstr(record->text, needle->text) != NULL;
    return true;
}

static unsigned audited_text(const struct world *w, const char *text)
{
    struct needle needle = {text, 0};
    struct err err = {0};
    assert_true(w->store->vt->audit_walk(w->store, count_text, &needle, &err));
    return needle.count;
}

/* A manufacturer's certificate authorizes an enrollment for its own names and for no other, and the
 * trail remembers by which. It renews nothing. */
static void test_implicit(void **state)
{
    struct maker *m = maker_open(*state, CFG_ANCHOR_IMPLICIT);
    struct cert *idevid = made(m, &(struct make_spec){.subject = "CN=d1", .sans = "DNS:d1"});
    expect(m, idevid, "CN=d2", "DNS:d1", RA_NAMES_CHANGED);
    expect(m, idevid, "CN=d1", NULL, RA_NAMES_CHANGED);
    expect(m, idevid, "CN=d1", "DNS:d1,DNS:d2", RA_NAMES_CHANGED);
    expect(m, idevid, "CN=d1", "DNS:d1", RA_OK);
    assert_int_equal(audited_text(m->w, "enroll by certificate"), 1);
    assert_int_equal(audited_text(m->w, "of the implicit anchor \\\"CN=maker\\\""), 1);
    struct cert *plain = made(m, &(struct make_spec){.subject = "CN=d3"});
    expect_renewal(m, plain, "CN=d3", RA_BAD_RENEWAL);
    assert_int_equal(m->w->ca[0].submitted, 1);
    cert_free(idevid);
    cert_free(plain);
    maker_close(m);
}

/* By SCEP the new key may be another than the signer's, as the certificate shows who asks. */
static void test_implicit_cms(void **state)
{
    struct maker *m = maker_open(*state, CFG_ANCHOR_IMPLICIT);
    struct cert *idevid = made(m, &(struct make_spec){.subject = "CN=d1"});
    struct asked a = ask(m, idevid, "CN=d1", NULL);
    a.request.evidence.over_cms = true;
    cert_free(world_issue(m->w, &a.request));
    csr_free(a.csr);
    m->w->profiles[0].anchor_count = 0; /* without the anchor it shows nothing */
    a = ask(m, idevid, "CN=d1", NULL);
    a.request.evidence.over_cms = true;
    a.request.evidence.challenge = bytes_str(FIXED_CHALLENGE);
    a.request.profile = &m->w->profiles[1];
    world_refused(m->w, &a.request, RA_BAD_KEY);
    csr_free(a.csr);
    cert_free(idevid);
    maker_close(m);
}

/* names: serial ties the one serialNumber; two of them, on either side, tie nothing. */
static void test_serial(void **state)
{
    struct maker *m = maker_open(*state, CFG_ANCHOR_IMPLICIT);
    m->anchor.names = CFG_ANCHOR_SERIAL;
    struct cert *idevid = made(m, &(struct make_spec){.subject = "O=maker,serialNumber=77"});
    struct cert *two = made(m, &(struct make_spec){.subject = "serialNumber=77,serialNumber=78"});
    struct cert *none = made(m, &(struct make_spec){.subject = "CN=77"});
    expect(m, idevid, "CN=router", NULL, RA_NAMES_CHANGED);
    expect(m, idevid, "CN=router,serialNumber=78", NULL, RA_NAMES_CHANGED);
    expect(m, idevid, "CN=router,serialNumber=77 ", NULL, RA_NAMES_CHANGED);
    expect(m, idevid, "serialNumber=77,serialNumber=78", NULL, RA_NAMES_CHANGED);
    expect(m, two, "serialNumber=77", NULL, RA_NAMES_CHANGED);
    expect(m, two, "serialNumber=77,serialNumber=78", NULL, RA_NAMES_CHANGED);
    expect(m, none, "CN=77", NULL, RA_NAMES_CHANGED);
    expect(m, idevid, "CN=router,serialNumber=77", "DNS:router", RA_OK);
    m->anchor.names = CFG_ANCHOR_ANY;
    expect(m, none, "CN=whatever", NULL, RA_OK);
    expect(m, none, "CN=whatever", "IP:10.0.0.1",
           RA_BAD_NAMES); /* the profile's word still counts */
    cert_free(idevid);
    cert_free(two);
    cert_free(none);
    maker_close(m);
}

/* Of the profile's own CA a certificate renews though it is not in the inventory, for the same
 * names only, within window and grace; the CA of the routes is asked. */
static void test_explicit(void **state)
{
    struct maker *m = maker_open(*state, CFG_ANCHOR_EXPLICIT);
    struct cert *old = made(m, &(struct make_spec){.subject = "CN=d1"});
    int64_t end = cert_not_after_get(old);
    expect_renewal(m, old, "CN=d2", RA_NAMES_CHANGED);
    m->w->profiles[0].renewal.window = 30 * DAY;
    expect_renewal(m, old, "CN=d1", RA_BAD_RENEWAL);
    clock_set(end + 1);
    expect_renewal(m, old, "CN=d1", RA_BAD_RENEWAL);
    m->w->profiles[0].renewal.grace_after_expiry = DAY;
    clock_set(end + DAY + 1);
    expect_renewal(m, old, "CN=d1", RA_BAD_RENEWAL);
    clock_set(end + DAY);
    struct asked a = ask(m, old, "CN=d1", NULL);
    a.request.op = RA_RENEW;
    struct ra_outcome outcome = world_submit(m->w, &a.request);
    assert_int_equal(outcome.status, RA_ISSUED);
    struct store_request row = world_row(m->w, outcome.request_id);
    assert_int_equal(row.op, RA_RENEW);
    assert_true(row.renews[0]);
    assert_int_equal(audited_text(m->w, "renew by certificate"), 1);
    struct ra_outcome again = world_submit(m->w, &a.request);
    assert_true(again.repeated);
    assert_true(world_same_cert(again.cert, outcome.cert));
    ra_outcome_clear(&again);
    a.request.op = RA_ENROLL; /* a PKCSReq, or simpleenroll, after a lost reply */
    again = world_submit(m->w, &a.request);
    assert_true(again.repeated && world_same_cert(again.cert, outcome.cert));
    store_request_clear(&row);
    ra_outcome_clear(&outcome);
    ra_outcome_clear(&again);
    csr_free(a.csr);
    cert_free(old);
    maker_close(m);
}

/* What is not valid yet counts with neither class, whatever the grace; what has expired never with
 * an implicit one. */
static void test_validity(void **state)
{
    struct maker *m = maker_open(*state, CFG_ANCHOR_EXPLICIT);
    struct cert *early = made(m, &(struct make_spec){.subject = "CN=d1", .not_before = NOW + 1});
    struct cert *late = made(m, &(struct make_spec){.subject = "CN=d1", .not_after = NOW - 1});
    m->w->profiles[0].renewal.grace_after_expiry = 365 * DAY;
    expect_renewal(m, early, "CN=d1", RA_BAD_RENEWAL);
    expect(m, early, "CN=d1", NULL, RA_NO_EVIDENCE);
    m->anchor.class = CFG_ANCHOR_IMPLICIT;
    expect(m, early, "CN=d1", NULL, RA_NO_EVIDENCE);
    expect(m, late, "CN=d1", NULL, RA_NO_EVIDENCE);
    m->anchor.class = CFG_ANCHOR_EXPLICIT;
    expect_renewal(m, late, "CN=d1", RA_OK);
    cert_free(early);
    cert_free(late);
    maker_close(m);
}

/* Anchors count by key: a CA of the same name is nobody. Two of one name do not stand in each
 * other's way. */
static void test_same_name(void **state)
{
    struct maker *m = maker_open(*state, CFG_ANCHOR_EXPLICIT);
    EVP_PKEY *key = make_ec("P-256");
    X509 *twin = make_ca("CN=maker", key, NULL, NULL);
    X509 *twin_sub = make_ca("CN=maker sub", m->sub_key, twin, key);
    struct cert *twin_cert = cert_of(twin);
    struct make_spec spec = {.subject = "CN=d1", .not_before = NOW - DAY, .not_after = NOW + DAY};
    struct cert *mine = make_cert(&spec, m->device_key, m->root, m->root_key);
    struct cert *theirs = make_cert(&spec, m->device_key, twin, key);
    struct cert *below = make_cert(&spec, m->device_key, twin_sub, m->sub_key);
    expect_renewal(m, theirs, "CN=d1", RA_BAD_RENEWAL);
    expect(m, theirs, "CN=d1", NULL, RA_NO_EVIDENCE);
    expect_renewal(m, mine, "CN=d1", RA_OK);
    (void)below;
    struct cert *both[] = {twin_cert, m->root_cert};
    struct trust *trusts[] = {trust_new(&both[0], 1), trust_new(&both[1], 1)};
    m->anchor.certificates = (struct cfg_certs){both, 2};
    m->anchor.trusts = trusts;
    expect_renewal(m, theirs, "CN=d1", RA_OK);
    expect_renewal(m, mine, "CN=d1", RA_OK);
    trust_free(trusts[0]);
    trust_free(trusts[1]);
    cert_free(mine);
    cert_free(theirs);
    cert_free(below);
    cert_free(twin_cert);
    X509_free(twin);
    X509_free(twin_sub);
    EVP_PKEY_free(key);
    maker_close(m);
}

/* A chain passes through what is configured or came along, however much came, and through nothing
 * that is no CA. */
static void test_along(void **state)
{
    struct maker *m = maker_open(*state, CFG_ANCHOR_EXPLICIT);
    struct cert *leaf = made(m, &(struct make_spec){.subject = "CN=d1"});
    struct cert *along[RA_ALONG_MAX + 4];
    struct asked a = ask(m, leaf, "CN=d1", NULL);
    for (size_t i = 0; i < RA_ALONG_MAX + 4; i++)
        along[i] = leaf;
    m->anchor.intermediates.count = 0;
    a.request.op = RA_RENEW;
    world_refused(m->w, &a.request, RA_BAD_RENEWAL);
    a.request.evidence.along = along;
    a.request.evidence.along_count = RA_ALONG_MAX + 4;
    world_refused(m->w, &a.request, RA_BAD_RENEWAL);
    along[RA_ALONG_MAX] = m->sub_cert; /* beyond what is looked at */
    world_refused(m->w, &a.request, RA_BAD_RENEWAL);
    along[RA_ALONG_MAX - 1] = m->sub_cert;
    cert_free(world_issue(m->w, &a.request));
    csr_free(a.csr);
    /* A device that plays CA for another. */
    X509 *device = make_x509(
        &(struct make_spec){.subject = "CN=d1", .not_before = NOW - DAY, .not_after = NOW + DAY},
        m->device_key, m->sub, m->sub_key);
    struct cert *child = make_cert(
        &(struct make_spec){.subject = "CN=d9", .not_before = NOW - DAY, .not_after = NOW + DAY},
        m->w->key, device, m->device_key);
    struct cert *sent[] = {cert_of(device), m->sub_cert};
    a = ask(m, child, "CN=d9", NULL);
    a.request.evidence.along = sent;
    a.request.evidence.along_count = 2;
    world_refused(m->w, &a.request, RA_NO_EVIDENCE);
    csr_free(a.csr);
    cert_free(sent[0]);
    X509_free(device);
    cert_free(child);
    cert_free(leaf);
    maker_close(m);
}

/* A certificate that is for servers, for encryption only, or a CA's own proves no client; nor does
 * one whose CA may have none below it. */
static void test_purpose(void **state)
{
    struct maker *m = maker_open(*state, CFG_ANCHOR_EXPLICIT);
    static const char *const no_sub[] = {"basicConstraints", "critical,CA:TRUE,pathlen:0", NULL};
    const struct make_spec rows[] = {
        {.subject = "CN=d1", .eku = "serverAuth"},
        {.subject = "CN=d1", .eku = "1.3.6.1.5.5.7.3.28"},
        {.subject = "CN=d1", .key_usage = "keyEncipherment"},
        {.subject = "CN=d1", .ca = true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cert *cert = made(m, &rows[i]);
        expect_renewal(m, cert, "CN=d1", RA_BAD_RENEWAL);
        cert_free(cert);
    }
    struct cert *fine = made(m, &(struct make_spec){.subject = "CN=d1",
                                                    .eku = "clientAuth,serverAuth",
                                                    .key_usage = "digitalSignature"});
    expect_renewal(m, fine, "CN=d1", RA_OK);
    cert_free(fine);
    struct make_spec low = {.subject = "CN=maker sub",
                            .not_before = NOW - DAY,
                            .not_after = NOW + DAY,
                            .extensions = no_sub};
    X509 *sub = make_x509(&low, m->sub_key, m->root, m->root_key);
    EVP_PKEY *key = make_ec("P-256");
    X509 *lowest = make_ca("CN=lowest", key, sub, m->sub_key);
    struct cert *deep = make_cert(
        &(struct make_spec){.subject = "CN=d7", .not_before = NOW - DAY, .not_after = NOW + DAY},
        m->device_key, lowest, key);
    struct cert *known[] = {cert_of(sub), cert_of(lowest)};
    m->anchor.intermediates = (struct cfg_certs){known, 2};
    expect_renewal(m, deep, "CN=d7", RA_BAD_RENEWAL);
    cert_free(known[0]);
    cert_free(known[1]);
    cert_free(deep);
    X509_free(sub);
    X509_free(lowest);
    EVP_PKEY_free(key);
    maker_close(m);
}

/* id-kp-cmcRA makes nobody a registrar, whoever issued it; being listed does, until revoked. */
static void test_registrar(void **state)
{
    struct world *w = *state;
    struct maker *m = maker_open(w, CFG_ANCHOR_IMPLICIT);
    struct cert *ra =
        made(m, &(struct make_spec){.subject = "CN=ra", .eku = "clientAuth,1.3.6.1.5.5.7.3.28"});
    expect(m, ra, "CN=somebody", NULL, RA_NAMES_CHANGED);
    m->anchor.class = CFG_ANCHOR_EXPLICIT;
    expect(m, ra, "CN=somebody", NULL, RA_NAMES_CHANGED);
    w->profiles[0].registrars = (struct cfg_certs){&ra, 1};
    expect(m, ra, "CN=somebody", NULL, RA_OK);
    struct csr *csr = world_csr("CN=our ra", NULL, w->key);
    struct cert *ours = world_enrolled(w, csr);
    w->profiles[0].registrars = (struct cfg_certs){&ours, 1};
    expect(m, ours, "CN=anybody", NULL, RA_OK);
    world_revoke(w, ours, 1);
    expect(m, ours, "CN=another", NULL, RA_BAD_RENEWAL);
    expect(m, ours, "CN=anybody", NULL, RA_BAD_RENEWAL); /* not even the old answer */
    w->profiles[0].registrars.count = 0;
    csr_free(csr);
    cert_free(ra);
    cert_free(ours);
    maker_close(m);
}

/* A certificate that was issued for another profile is nobody's here, though its CA is an explicit
 * anchor; as an implicit one it may enroll, unless it was revoked there. */
static void test_other_profile(void **state)
{
    struct world *w = *state;
    struct maker *m = maker_open(w, CFG_ANCHOR_EXPLICIT);
    m->anchor.certificates = (struct cfg_certs){&w->root_cert, 1};
    struct trust *trust = trust_new(&w->root_cert, 1);
    struct cfg_certs issuing = w->ca[1].chain;
    m->anchor.trusts = &trust;
    m->anchor.intermediates = issuing;
    struct csr *csr = world_csr("CN=d1", NULL, w->key);
    struct ra_request enroll = world_enroll(w, csr);
    enroll.profile = &w->profiles[1];
    struct cert *theirs = world_issue(w, &enroll);
    expect_renewal(m, theirs, "CN=d1", RA_BAD_RENEWAL);
    expect(m, theirs, "CN=d1", NULL, RA_BAD_RENEWAL);
    m->anchor.class = CFG_ANCHOR_IMPLICIT;
    expect_renewal(m, theirs, "CN=d1", RA_BAD_RENEWAL);
    expect(m, theirs, "CN=d1", NULL, RA_OK);
    world_revoke(w, theirs, 4);
    expect(m, theirs, "CN=d1", NULL, RA_NO_EVIDENCE);
    trust_free(trust);
    csr_free(csr);
    cert_free(theirs);
    maker_close(m);
}

/* Who revokes what a device got by its manufacturer's certificate means the device, in this profile
 * and however often it renewed; a challenge lets it in again. Superseded means the one only. */
static void test_heir_revoked(void **state)
{
    struct world *w = *state;
    struct maker *m = maker_open(w, CFG_ANCHOR_IMPLICIT);
    struct cert *idevid = made(m, &(struct make_spec){.subject = "CN=d1"});
    struct asked a = ask(m, idevid, "CN=d1", NULL);
    struct cert *first = world_issue(w, &a.request);
    world_revoke(w, first, 4);
    struct cert *second = world_issue(w, &a.request);
    assert_false(world_same_cert(first, second));
    struct csr *next = world_csr("CN=d1", NULL, w->key);
    struct ra_request renewal = world_renew(w, second, next);
    struct cert *third = world_issue(w, &renewal);
    world_revoke(w, third, 1);
    world_refused(w, &a.request, RA_BAD_RENEWAL);
    w->profiles[1].anchors = w->profiles[0].anchors;
    w->profiles[1].anchor_count = 1;
    a.request.profile = &w->profiles[1];
    cert_free(world_issue(w, &a.request));
    w->profiles[1].anchor_count = 0;
    a.request.profile = &w->profiles[0];
    a.request.evidence.challenge = bytes_str(FIXED_CHALLENGE);
    cert_free(world_issue(w, &a.request));
    csr_free(next);
    csr_free(a.csr);
    cert_free(first);
    cert_free(second);
    cert_free(third);
    cert_free(idevid);
    maker_close(m);
}

/* "Could not check" is neither yes nor no: hard_fail decides nothing, unless a challenge or a user
 * authorizes without the certificate; soft_fail lets pass, and the trail says so. */
static void test_unchecked(void **state)
{
    struct world *w = *state;
    struct maker *m = maker_open(w, CFG_ANCHOR_IMPLICIT);
    struct cert *idevid = made(m, &(struct make_spec){.subject = "CN=d1"});
    struct asked a = ask(m, idevid, "CN=d1", NULL);
    struct ra_outcome outcome;
    struct err err = {0};
    m->anchor.checking.revocation = CFG_REVOCATION_HARD_FAIL;
    assert_false(ra_submit(w->ra, &a.request, &outcome, &err));
    assert_int_equal(err.kind, ERR_UPSTREAM);
    a.request.evidence.over_cms = true; /* a challenge does not make up for another key */
    a.request.evidence.challenge = bytes_str(FIXED_CHALLENGE);
    assert_false(ra_submit(w->ra, &a.request, &outcome, &err));
    a.request.evidence.over_cms = false;
    cert_free(world_issue(w, &a.request));
    assert_int_equal(audited_text(w, "by challenge"), 1);
    a.request.evidence.challenge = (struct bytes){0};
    expect(m, idevid, "CN=d2", NULL, RA_NAMES_CHANGED); /* no, whatever a check would have said */
    m->anchor.checking.revocation = CFG_REVOCATION_SOFT_FAIL;
    m->anchor.names = CFG_ANCHOR_ANY;
    struct asked b = ask(m, idevid, "CN=d3", NULL);
    outcome = world_submit(w, &b.request);
    assert_int_equal(outcome.status, RA_ISSUED);
    assert_non_null(strstr(outcome.detail, "revocation is not known"));
    assert_int_equal(audited_text(w, "revocation unchecked"), 1);
    ra_outcome_clear(&outcome);
    csr_free(a.csr);
    csr_free(b.csr);
    cert_free(idevid);
    maker_close(m);
}

/* What counts by itself, in the inventory or in the list of registrars, is checked like others if
 * an anchor stands above it, whatever it is good for. */
static void test_unchecked_known(void **state)
{
    struct world *w = *state;
    struct maker *m = maker_open(w, CFG_ANCHOR_EXPLICIT);
    struct cert *ra = made(m, &(struct make_spec){.subject = "CN=ra", .eku = "serverAuth"});
    struct csr *csr = world_csr("CN=d1", NULL, w->key);
    struct cert *held = world_enrolled(w, csr);
    struct asked a = ask(m, ra, "CN=other", NULL), b = ask(m, held, "CN=d1", NULL);
    struct trust *trust = trust_new(&w->root_cert, 1);
    struct ra_outcome outcome;
    struct err err = {0};
    w->profiles[0].registrars = (struct cfg_certs){&ra, 1};
    m->anchor.checking.revocation = CFG_REVOCATION_HARD_FAIL;
    assert_false(ra_submit(w->ra, &a.request, &outcome, &err));
    m->anchor.certificates = (struct cfg_certs){&w->root_cert, 1};
    m->anchor.trusts = &trust;
    m->anchor.intermediates = w->ca[0].chain;
    cert_free(world_issue(w, &a.request)); /* no anchor stands above it any more */
    b.request.op = RA_RENEW;
    assert_false(ra_submit(w->ra, &b.request, &outcome, &err));
    m->anchor.checking.revocation = CFG_REVOCATION_SOFT_FAIL;
    cert_free(world_issue(w, &b.request));
    w->profiles[0].registrars.count = 0;
    trust_free(trust);
    csr_free(a.csr);
    csr_free(b.csr);
    csr_free(csr);
    cert_free(ra);
    cert_free(held);
    maker_close(m);
}

/* A certificate is known by all of its bytes: one of the same name and serial by another CA is
 * another. */
static void test_same_serial(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=d1", NULL, w->key),
               *next = world_csr("CN=d1", NULL, w->other_key);
    struct ra_request enroll = world_enroll(w, csr), renewal = world_request(w, next);
    w->ca[0].serial = 4711;
    struct cert *held = world_issue(w, &enroll);
    EVP_PKEY *key = make_ec("P-256");
    X509 *twin = make_ca("CN=issuing", key, NULL, NULL);
    struct cert *forged = make_cert(
        &(struct make_spec){
            .subject = "CN=d1", .serial = 4711, .not_before = NOW - DAY, .not_after = NOW + DAY},
        w->key, twin, key);
    assert_string_equal(cert_serial_get(forged), cert_serial_get(held));
    w->ca[0].serial = 0;
    renewal.op = RA_RENEW;
    renewal.evidence.holder = forged;
    world_refused(w, &renewal, RA_BAD_RENEWAL);
    renewal.evidence.holder = held;
    cert_free(world_issue(w, &renewal));
    csr_free(csr);
    csr_free(next);
    cert_free(held);
    cert_free(forged);
    X509_free(twin);
    EVP_PKEY_free(key);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_implicit),        TEST(test_implicit_cms), TEST(test_serial),
        TEST(test_explicit),        TEST(test_validity),     TEST(test_same_name),
        TEST(test_along),           TEST(test_purpose),      TEST(test_registrar),
        TEST(test_other_profile),   TEST(test_heir_revoked), TEST(test_unchecked),
        TEST(test_unchecked_known), TEST(test_same_serial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
