#include "ra/policy.h"
#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Any subject, the usual keys, any number of usages of one kind. */
static const struct cfg_profile profile = {.name = "open", .keys.any = true};

/* extendedKeyUsage with so many times clientAuth, in OpenSSL's form. */
static struct csr *csr_with_usages(size_t count)
{
    EVP_PKEY *key = make_ec("P-256");
    struct buf text = {0};
    for (size_t i = 0; i < count; i++)
        assert_true(buf_add_fmt(&text, "%sclientAuth", i ? "," : ""));
    struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=r1", .eku = buf_str(&text)}, key);
    buf_free(&text);
    EVP_PKEY_free(key);
    return csr;
}

/* What would make a certificate that nobody can handle is refused, before anything is ordered: a CA
 * would be asked for it for ever. */
static void test_size(void **state)
{
    static const struct {
        size_t usages;
        enum policy_verdict verdict;
    } rows[] = {{3000, POLICY_ALLOW}, {3500, POLICY_REFUSE}, {12000, POLICY_REFUSE}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct csr *csr = csr_with_usages(rows[i].usages); /* 10 octets each */
        struct policy_result result;
        policy_judge(&profile, csr, &result);
        assert_int_equal(result.verdict, rows[i].verdict);
        if (result.verdict == POLICY_REFUSE) {
            assert_int_equal(result.reason, RA_BAD_EXTENSION);
            assert_non_null(strstr(result.detail, "octets"));
        }
        csr_free(csr);
    }
}

/* A CSR with an attribute of that type, whose value is some text. */
static struct csr *csr_with_attribute(const char *oid)
{
    struct csr *csr = NULL;
    struct err err;
    unsigned char *der = NULL;
    EVP_PKEY *key = make_ec("P-256");
    X509_REQ *req = make_req(&(struct make_spec){.subject = "CN=r1"}, key);
    assert_int_equal(X509_REQ_add1_attr_by_txt(req, oid, V_ASN1_UTF8STRING,
                                               (const unsigned char *)"SAN:upn=x", 9),
                     1);
    assert_true(X509_REQ_sign(req, key, EVP_sha256()) > 0);
    int len = i2d_X509_REQ(req, &der);
    assert_true(len > 0);
    assert_true(csr_parse(bytes_of(der, (size_t)len), &csr, &err));
    OPENSSL_free(der);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    return csr;
}

/* A CA may act on an attribute that we do not know, so it is refused unless the profile ignores it;
 * what clients are known to say of themselves is let through. */
static void test_attributes(void **state)
{
    static const struct {
        const char *oid;
        enum policy_verdict verdict;
    } rows[] = {
        {"1.3.6.1.4.1.311.13.2.1", POLICY_REFUSE}, /* name-value pairs: names another subject */
        {"1.2.840.113549.1.9.16.2.56", POLICY_REFUSE},
        {"1.2.3.4.5", POLICY_REFUSE},
        {"1.2.3.4.6", POLICY_ALLOW}, /* ignored */
        {"1.2.3.4.7", POLICY_ALLOW}, /* csrattrs names it */
        {"1.2.840.113549.1.9.2", POLICY_ALLOW},
        {"1.3.6.1.4.1.311.21.20", POLICY_ALLOW},
        {"1.3.6.1.4.1.311.13.2.3", POLICY_ALLOW},
    };
    struct cfg_profile ignoring = profile;
    char *ignored[] = {"1.2.3.4.6"}, *asked[] = {"1.2.3.4.7"};
    ignoring.ignore_extensions = (struct cfg_strings){ignored, 1};
    ignoring.est.oids = (struct cfg_strings){asked, 1};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct csr *csr = csr_with_attribute(rows[i].oid);
        struct policy_result result;
        policy_judge(&ignoring, csr, &result);
        if (result.verdict != rows[i].verdict)
            fail_msg("%s: %s", rows[i].oid, result.detail);
        if (result.verdict == POLICY_REFUSE)
            assert_non_null(strstr(result.detail, rows[i].oid));
        csr_free(csr);
    }
}

/* An extension that csrattrs names may be there; one that decides is judged as ever. */
static void test_asked_extensions(void **state)
{
    static const char *const directory[] = {"2.5.29.9", "DER:300906072b060101010116", NULL};
    struct cfg_asked_extension asked[] = {{.oid = "2.5.29.9"}, {.oid = "2.5.29.37"}};
    const struct make_spec specs[] = {{.subject = "CN=r1", .extensions = directory},
                                      {.subject = "CN=r1", .eku = "serverAuth"}};
    struct cfg_profile asking = profile;
    EVP_PKEY *key = make_ec("P-256");
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct csr *csr = make_csr(&specs[i / 2], key);
        struct policy_result result;
        asking.est.extensions = asked;
        asking.est.extension_count = i % 2 ? 2 : 0;
        policy_judge(&asking, csr, &result);
        assert_int_equal(result.verdict, i == 1 ? POLICY_ALLOW : POLICY_REFUSE);
        csr_free(csr);
    }
    EVP_PKEY_free(key);
}

/* One that csrattrs names with a value is there with that value or not at all: a CA may go by it,
 * as one of Microsoft's does by a template's name. ignore_extensions names what may have any. */
static void test_asked_value(void **state)
{
    static const char *const user[] = {"1.3.6.1.4.1.311.20.2", "DER:1e080055007300650072", NULL},
                             *const admin[] = {"1.3.6.1.4.1.311.20.2", "DER:1e0400430041", NULL};
    static uint8_t told[] = {0x1e, 8, 0, 'U', 0, 's', 0, 'e', 0, 'r'};
    char *ignored[] = {"1.3.6.1.4.1.311.20.2"};
    struct cfg_asked_extension asked[] = {
        {.oid = "1.3.6.1.4.1.311.20.2", .value = {.ptr = told, .len = sizeof told}}};
    struct cfg_profile asking = profile;
    EVP_PKEY *key = make_ec("P-256");
    (void)state;
    asking.est.extensions = asked;
    asking.est.extension_count = 1;
    for (unsigned i = 0; i < 4; i++) {
        const struct make_spec spec = {.subject = "CN=r1", .extensions = i % 2 ? admin : user};
        struct csr *csr = make_csr(&spec, key);
        struct policy_result result;
        asking.ignore_extensions = (struct cfg_strings){ignored, i / 2};
        policy_judge(&asking, csr, &result);
        assert_int_equal(result.verdict, i == 1 ? POLICY_REFUSE : POLICY_ALLOW);
        if (i == 1)
            assert_int_equal(result.reason, RA_BAD_EXTENSION);
        csr_free(csr);
    }
    EVP_PKEY_free(key);
}

/* Of several patterns for one attribute each has a value, and each value has a pattern. */
static void test_several_patterns(void **state)
{
    static const struct {
        const char *subject, *why;
    } rows[] = {
        {"OU=myDept,OU=myGroup,CN=x", NULL},
        {"OU=myGroup,CN=x,OU=myDept,OU=myDept", NULL},
        {"OU=myDept,CN=x", "OU is missing, matching myGroup"},
        {"OU=myDept,OU=myDept,CN=x", "OU is missing, matching myGroup"},
        {"OU=myDept,OU=myGroup,OU=other,CN=x", "OU=\"other\" does not match"},
        {"CN=x", "OU is missing"},
    };
    struct cfg_subject rules[] = {{.type = "CN", .pattern = "x"},
                                  {.type = "OU", .pattern = "myDept"},
                                  {.type = "OU", .pattern = "myGroup"}};
    struct cfg_profile strict = profile;
    EVP_PKEY *key = make_ec("P-256");
    (void)state;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(regcomp(&rules[i].regex, rules[i].pattern, REG_EXTENDED | REG_NOSUB), 0);
    strict.subject = rules;
    strict.subject_count = 3;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct csr *csr = make_csr(&(struct make_spec){.subject = rows[i].subject}, key);
        struct policy_result result;
        policy_judge(&strict, csr, &result);
        assert_int_equal(result.verdict, rows[i].why ? POLICY_REFUSE : POLICY_ALLOW);
        if (rows[i].why && !strstr(result.detail, rows[i].why))
            fail_msg("%s: %s", rows[i].subject, result.detail);
        csr_free(csr);
    }
    for (size_t i = 0; i < 3; i++)
        regfree(&rules[i].regex);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_asked_extensions),
        cmocka_unit_test(test_asked_value),
        cmocka_unit_test(test_several_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
