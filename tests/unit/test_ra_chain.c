#include "ra/chain.h"

#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    ISSUING,      /* by the old root */
    ISSUING_NEXT, /* by the new one */
    OLD,
    NEW,
    NEW_BY_OLD, /* RFC 4210 section 4.4 */
    OLD_BY_NEW,
    STRANGER,
    UNDER_STRANGER,
    IMPOSTOR, /* another key under the old root's name */
    CERT_COUNT
};

/* A CA that tells these; one profile, which trusts the old root. */
struct fixture {
    struct upstream up; /* first */
    struct cert *all[CERT_COUNT], *told[RA_CHAIN_MAX + 1];
    struct cfg_certs chain;
    struct upstream *ups[1];
    struct cfg_profile profile;
    struct ra_settings settings;
};

static bool tell(struct upstream *up, const struct cfg_certs **ret, struct err *err)
{
    (void)err;
    *ret = &((struct fixture *)up)->chain;
    return true;
}

static const struct upstream_vt far_vt = {.type = "far", .chain = tell},
                                near_vt = {.type = "near", .chain = tell, .caps = UP_INLINE};

/* A key, and what its certificates call it: with keys of one name nothing else tells them apart. */
struct authority {
    const char *subject, *id; /* a byte in hex */
    EVP_PKEY *key;
};

static X509 *make(const struct authority *subject, X509 *issuer, const struct authority *by)
{
    char aki[32];
    snprintf(aki, sizeof aki, "DER:30:03:80:01:%s", by->id);
    const char *const extensions[] = {"subjectKeyIdentifier", subject->id, "2.5.29.35", aki, NULL};
    return make_x509(
        &(struct make_spec){.subject = subject->subject, .ca = true, .extensions = extensions},
        subject->key, issuer, issuer ? by->key : NULL);
}

static void take(struct fixture *f, size_t at, X509 *x509)
{
    struct err err;
    assert_true(cert_from_x509(x509, &f->all[at], &err));
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    struct authority old = {"CN=root", "01", make_ec("P-256")},
                     new = {"CN=root", "02", make_ec("P-256")},
                     sub = {"CN=issuing", "03", make_ec("P-256")},
                     bad = {"CN=stranger", "04", make_ec("P-256")},
                     impostor = {"CN=root", "01", bad.key};
    X509 *certs[CERT_COUNT];
    certs[OLD] = make(&old, NULL, &old);
    certs[NEW] = make(&new, NULL, &new);
    certs[NEW_BY_OLD] = make(&new, certs[OLD], &old);
    certs[OLD_BY_NEW] = make(&old, certs[NEW], &new);
    certs[ISSUING] = make(&sub, certs[OLD], &old);
    certs[ISSUING_NEXT] = make(&sub, certs[NEW], &new);
    certs[STRANGER] = make(&bad, NULL, &bad);
    certs[UNDER_STRANGER] = make(&sub, certs[STRANGER], &bad);
    certs[IMPOSTOR] = make(&impostor, NULL, &impostor);
    for (size_t i = 0; i < CERT_COUNT; i++) {
        take(f, i, certs[i]);
        X509_free(certs[i]);
    }
    f->up = (struct upstream){&far_vt, "far"};
    f->ups[0] = &f->up;
    f->chain.items = f->told;
    f->profile = (struct cfg_profile){.name = "default", .trust_certs = {&f->all[OLD], 1}};
    f->profile.trust = trust_new(&f->all[OLD], 1);
    f->settings = (struct ra_settings){.count = 1, .upstreams = f->ups};
    EVP_PKEY_free(old.key);
    EVP_PKEY_free(new.key);
    EVP_PKEY_free(sub.key);
    EVP_PKEY_free(bad.key);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < CERT_COUNT; i++)
        cert_free(f->all[i]);
    trust_free(f->profile.trust);
    free(f);
    return 0;
}

/* The CA tells these; whether what devices are told of them are the first `want`, in order. */
static void check(struct fixture *f, const size_t *tells, size_t count, size_t want)
{
    struct ra_chain chain;
    struct err err = {0};
    char text[RA_CHAIN_TEXT_MAX];
    f->chain.count = count;
    for (size_t i = 0; i < count; i++)
        f->told[i] = f->all[tells[i]];
    bool ok = ra_chain_told(&f->settings, &f->profile, 0, &chain, &err);
    assert_int_equal(ok, want > 0);
    assert_int_equal(chain.count, want);
    for (size_t i = 0; i < want; i++)
        assert_ptr_equal(chain.certs[i], f->all[tells[i]]);
    ra_chain_left_out(&chain, text);
    assert_int_equal(text[0] != 0, want < count);
}
#define CHECK(want, ...)                                                                           \
    check(f, (const size_t[]){__VA_ARGS__}, sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t), want)

/* What chains to the profile's trust is told, in order. */
static void test_trusted(void **state)
{
    struct fixture *f = *state;
    CHECK(1, ISSUING);
    CHECK(2, ISSUING, OLD);
}

/* A stranger's root, what is under it, and a root that only has the trusted one's name are not; if
 * nothing else is there the answer is an error. */
static void test_stranger(void **state)
{
    struct fixture *f = *state;
    CHECK(2, ISSUING, OLD, STRANGER);
    CHECK(2, ISSUING, OLD, UNDER_STRANGER, STRANGER);
    CHECK(2, ISSUING, OLD, IMPOSTOR);
    CHECK(1, ISSUING, IMPOSTOR);
    CHECK(0, UNDER_STRANGER, STRANGER);
    CHECK(0, IMPOSTOR);
}

/* A root's rollover is told whole, whatever its order; a new root for which the old one does not
 * vouch is not told, nor what it issued. */
static void test_rollover(void **state)
{
    struct fixture *f = *state;
    CHECK(6, ISSUING, ISSUING_NEXT, OLD, NEW, NEW_BY_OLD, OLD_BY_NEW);
    CHECK(6, ISSUING_NEXT, NEW, OLD_BY_NEW, NEW_BY_OLD, ISSUING, OLD);
    CHECK(3, ISSUING_NEXT, NEW_BY_OLD, NEW, STRANGER);
    CHECK(1, ISSUING, NEW, ISSUING_NEXT);
}

/* A CA whose key the gateway holds tells what the operator gave it. */
static void test_local(void **state)
{
    struct fixture *f = *state;
    f->up.vt = &near_vt;
    CHECK(2, ISSUING, STRANGER);
    f->up.vt = &far_vt;
}

/* More than there is room for is an error, and nothing is told. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    struct ra_chain chain;
    struct err err = {0};
    for (size_t i = 0; i <= RA_CHAIN_MAX; i++)
        f->told[i] = f->all[OLD];
    f->chain.count = RA_CHAIN_MAX + 1;
    assert_false(ra_chain_told(&f->settings, &f->profile, 0, &chain, &err));
    assert_int_equal(chain.count, 0);
    f->chain.count = RA_CHAIN_MAX;
    assert_true(ra_chain_told(&f->settings, &f->profile, 0, &chain, &err));
    f->chain.count = 0;
    assert_false(ra_chain_told(&f->settings, &f->profile, 0, &chain, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trusted),  cmocka_unit_test(test_stranger),
        cmocka_unit_test(test_rollover), cmocka_unit_test(test_local),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
