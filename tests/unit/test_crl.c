#include "base/clock.h"
#include "base/crl.h"
#include "tests/support/revocation_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(2000000000)
#define DAY INT64_C(86400)

static const int64_t listed[] = {7, 300, 1, INT64_C(0x7fffffffffff)};

struct issuer {
    EVP_PKEY *key, *other_key;
    X509 *ca, *twin; /* of the same name, with another key */
};

static X509 *ca_of(const char *subject, EVP_PKEY *key, const char *usage)
{
    return make_x509(&(struct make_spec){.subject = subject,
                                         .ca = true,
                                         .key_usage = usage,
                                         .not_before = NOW - 365 * DAY,
                                         .not_after = NOW + 365 * DAY},
                     key, NULL, NULL);
}

static int setup(void **state)
{
    struct issuer *i = mem_zalloc(sizeof *i);
    clock_set(NOW);
    i->key = make_ec("P-256");
    i->other_key = make_ec("P-256");
    i->ca = ca_of("CN=ca", i->key, NULL);
    i->twin = ca_of("CN=ca", i->other_key, NULL);
    *state = i;
    return 0;
}

static int teardown(void **state)
{
    struct issuer *i = *state;
    EVP_PKEY_free(i->key);
    EVP_PKEY_free(i->other_key);
    X509_free(i->ca);
    X509_free(i->twin);
    free(i);
    clock_set(0);
    return 0;
}

static struct crl_spec spec_of(const struct issuer *i)
{
    return (struct crl_spec){.issuer = "CN=ca",
                             .key = i->key,
                             .serials = listed,
                             .count = sizeof listed / sizeof listed[0]};
}

static struct crl *parsed(const struct issuer *i, const struct crl_spec *spec)
{
    struct buf der = make_crl(spec);
    struct crl_terms terms = {i->ca, clock_now()};
    struct crl *crl = NULL;
    struct err err;
    bool other;
    if (!crl_parse(buf_bytes(&der), &terms, &crl, &other, &err))
        fail_msg("%s", err.text);
    assert_false(other);
    buf_free(&der);
    return crl;
}

static void refused(X509 *issuer, const struct crl_spec *spec, const char *why, bool foreign)
{
    struct buf der = make_crl(spec);
    struct crl_terms terms = {issuer, clock_now()};
    struct crl *crl = NULL;
    struct err err;
    bool other;
    if (crl_parse(buf_bytes(&der), &terms, &crl, &other, &err))
        fail_msg("taken, and should not be: %s", why);
    assert_int_equal(err.kind, ERR_PEER);
    if (!strstr(err.text, why))
        fail_msg("not \"%s\": %s", why, err.text);
    assert_int_equal(other, foreign);
    assert_null(crl);
    buf_free(&der);
}

static X509 *leaf(const struct issuer *i, const struct make_spec *more)
{
    struct make_spec spec = *more;
    spec.subject = "CN=d";
    if (!spec.not_before)
        spec.not_before = NOW - 100 * DAY;
    if (!spec.not_after)
        spec.not_after = NOW + DAY;
    return make_x509(&spec, i->other_key, i->ca, i->key);
}

/* The serials of a list are found, and no other: neither a neighbour nor the negative of one. */
static void test_lists(void **state)
{
    struct issuer *i = *state;
    struct crl_spec spec = spec_of(i);
    struct crl *crl = parsed(i, &spec);
    static const int64_t others[] = {2, 8, 299, -7, 0x7fff, INT64_C(0x7ffffffffffe)};
    for (size_t k = 0; k < sizeof listed / sizeof listed[0]; k++) {
        X509 *cert = leaf(i, &(struct make_spec){.serial = listed[k]});
        assert_true(crl_lists(crl, cert));
        assert_true(crl_covers(crl, cert, NOW));
        X509_free(cert);
    }
    for (size_t k = 0; k < sizeof others / sizeof others[0]; k++) {
        X509 *cert = leaf(i, &(struct make_spec){.serial = others[k]});
        assert_false(crl_lists(crl, cert));
        X509_free(cert);
    }
    assert_int_equal(crl_this_update(crl), NOW - 3600);
    assert_int_equal(crl_next_update(crl), NOW + DAY);
    assert_true(crl_size(crl) > 0);
    crl_free(crl);
    spec.count = 0;
    crl = parsed(i, &spec);
    X509 *cert = leaf(i, &(struct make_spec){.serial = 7});
    assert_false(crl_lists(crl, cert));
    X509_free(cert);
    crl_free(crl);
}

/* RSA-PSS counts by the digest in its parameters, which is SHA-1 where they say none. */
static void test_pss(void **state)
{
    const struct issuer *i = *state;
    EVP_PKEY *key = make_rsa(2048);
    struct issuer rsa = {.ca = ca_of("CN=ca", key, NULL)};
    struct crl_spec spec = spec_of(i);
    spec.key = key;
    spec.pss = true;
    crl_free(parsed(&rsa, &spec));
    spec.md = EVP_sha1();
    refused(rsa.ca, &spec, "a CRL signed with RSASSA-PSS over SHA1", false);
    X509_free(rsa.ca);
    EVP_PKEY_free(key);
}

/* A list counts for the key that signed it: not for a CA of the same name, nor one of another name,
 * nor one that may not sign lists. */
static void test_issuer(void **state)
{
    struct issuer *i = *state;
    struct crl_spec spec = spec_of(i);
    X509 *named = ca_of("CN=cb", i->key, NULL), *mute = ca_of("CN=ca", i->key, "keyCertSign");
    refused(i->twin, &spec, "another key", true);
    refused(named, &spec, "another issuer", true);
    refused(mute, &spec, "not for signing CRLs", false);
    spec.md = EVP_sha1();
    refused(i->ca, &spec, "a CRL signed with", false);
    X509_free(named);
    X509_free(mute);
}

/* From thisUpdate, with some tolerance, up to nextUpdate, which there must be. */
static void test_times(void **state)
{
    struct issuer *i = *state;
    struct crl_spec spec = spec_of(i);
    spec.this_update = NOW + 301;
    refused(i->ca, &spec, "from the future", false);
    spec.this_update = NOW + 300;
    crl_free(parsed(i, &spec));
    spec.this_update = NOW - DAY;
    spec.next_update = NOW;
    refused(i->ca, &spec, "has expired", false);
    spec.next_update = NOW + 1;
    crl_free(parsed(i, &spec));
    spec.next_update = -1;
    refused(i->ca, &spec, "without a nextUpdate", false);
}

/* Delta lists, indirect ones, parts of lists, and what has a critical extension that we do not know
 * are refused; extensions that are not critical are not. */
static void test_extensions(void **state)
{
    struct issuer *i = *state;
    static const struct {
        const char *extensions[3], *why;
    } rows[] = {
        {{"deltaCRL", "critical,DER:020102", NULL}, "delta"},
        {{"deltaCRL", "DER:020102", NULL}, "delta"},
        {{"issuingDistributionPoint", "critical,indirectCRL:TRUE", NULL}, "indirect"},
        {{"issuingDistributionPoint", "critical,onlysomereasons:keyCompromise", NULL}, "reasons"},
        {{"issuingDistributionPoint", "critical,onlyAA:TRUE", NULL}, "attributes"},
        {{"1.2.3.4", "critical,ASN1:NULL", NULL}, "1.2.3.4"},
        {{"issuingDistributionPoint", "critical,DER:0500", NULL}, "malformed"},
        {{"1.2.3.4", "ASN1:NULL", NULL}, NULL},
        {{"crlNumber", "DER:020111", NULL}, NULL},
    };
    struct crl_spec spec = spec_of(i);
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        spec.extensions = rows[k].extensions;
        if (rows[k].why)
            refused(i->ca, &spec, rows[k].why, false);
        else
            crl_free(parsed(i, &spec));
    }
    spec.extensions = NULL;
    spec.entry_nid = NID_certificate_issuer;
    refused(i->ca, &spec, "of another issuer", false);
    spec.entry_nid = NID_invalidity_date;
    refused(i->ca, &spec, "critical extension of an entry", false);
}

static bool covered(const struct issuer *i, const char *idp, const struct make_spec *spec)
{
    const char *extensions[] = {"issuingDistributionPoint", idp, NULL};
    struct crl_spec crl_spec = spec_of(i);
    crl_spec.extensions = extensions;
    struct crl *crl = parsed(i, &crl_spec);
    X509 *cert = leaf(i, spec);
    bool ret = crl_covers(crl, cert, NOW);
    X509_free(cert);
    crl_free(crl);
    return ret;
}

/* A list for CAs says nothing of devices, one for devices nothing of CAs, and one of a distribution
 * point only something of certificates that name it. */
static void test_scope(void **state)
{
    struct issuer *i = *state;
    static const char *const here[] = {"crlDistributionPoints", "URI:http://c/1", NULL};
    static const char *const there[] = {"crlDistributionPoints", "URI:http://c/2", NULL};
    const struct make_spec device = {0}, ca = {.ca = true}, shard = {.extensions = here},
                           other = {.extensions = there};
    assert_true(covered(i, "critical,onlyuser:TRUE", &device));
    assert_false(covered(i, "critical,onlyuser:TRUE", &ca));
    assert_true(covered(i, "critical,onlyCA:TRUE", &ca));
    assert_false(covered(i, "critical,onlyCA:TRUE", &device));
    assert_true(covered(i, "critical,fullname:URI:http://c/1", &shard));
    assert_false(covered(i, "critical,fullname:URI:http://c/1", &other));
    assert_false(covered(i, "critical,fullname:URI:http://c/1", &device));
}

/* A list that was made after a certificate's end need not name it, unless it says that it keeps
 * such. */
static void test_expired(void **state)
{
    struct issuer *i = *state;
    static const char *const keeps[] = {"2.5.29.60", "ASN1:GENTIME:20200101000000Z", NULL};
    struct crl_spec spec = spec_of(i);
    X509 *old = leaf(i, &(struct make_spec){.not_after = NOW - 2 * DAY});
    struct crl *crl = parsed(i, &spec);
    assert_false(crl_covers(crl, old, NOW));
    crl_free(crl);
    spec.extensions = keeps;
    crl = parsed(i, &spec);
    assert_true(crl_covers(crl, old, NOW));
    crl_free(crl);
    spec.extensions = NULL;
    spec.this_update = NOW - 3 * DAY;
    crl = parsed(i, &spec);
    assert_true(crl_covers(crl, old, NOW));
    crl_free(crl);
    X509_free(old);
}

static bool collect(const char *url, void *arg)
{
    struct buf *out = arg;
    assert_true(buf_add_fmt(out, "%s ", url));
    return false;
}

/* Only web addresses of whole lists are told. */
static void test_urls(void **state)
{
    struct issuer *i = *state;
    static const char *const points[] = {
        "crlDistributionPoints", "URI:http://a/1,URI:ldap://b/2,URI:https://c/3,DNS:d", NULL};
    struct buf out = {0};
    X509 *cert = leaf(i, &(struct make_spec){.extensions = points});
    assert_false(crl_urls_each(cert, collect, &out));
    assert_string_equal(buf_str(&out), "http://a/1 https://c/3 ");
    buf_free(&out);
    X509_free(cert);
}

/* A list that is cut off anywhere, has a byte behind it or a bit changed is refused. */
static void test_damaged(void **state)
{
    struct issuer *i = *state;
    struct crl_spec spec = spec_of(i);
    struct buf der = make_crl(&spec);
    struct crl_terms terms = {i->ca, NOW};
    struct crl *crl = NULL;
    struct err err;
    bool other;
    for (size_t len = 0; len < der.len; len++) {
        uint8_t *copy = malloc(len ? len : 1);
        assert_non_null(copy);
        memcpy(copy, der.ptr, len);
        assert_false(crl_parse(bytes_of(copy, len), &terms, &crl, &other, &err));
        free(copy);
    }
    for (size_t at = 0; at < der.len; at++) {
        der.ptr[at] ^= 1;
        assert_false(crl_parse(buf_bytes(&der), &terms, &crl, &other, &err));
        der.ptr[at] ^= 1;
    }
    assert_true(buf_add_u8(&der, 0));
    assert_false(crl_parse(buf_bytes(&der), &terms, &crl, &other, &err));
    buf_free(&der);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lists),   TEST(test_pss),        TEST(test_issuer),
        TEST(test_times),   TEST(test_extensions), TEST(test_scope),
        TEST(test_expired), TEST(test_urls),       TEST(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
