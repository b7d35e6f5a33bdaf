#include "base/clock.h"
#include "tests/support/local_ca.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static X509_CRL *make_crl(const struct ca *ca, const struct up_revoked *revoked, size_t count)
{
    struct buf der = {0};
    struct err err = {0};
    if (!local_vt.crl(ca->up, revoked, count, &der, &err))
        fail_msg("%s", err.text);
    const unsigned char *p = der.ptr;
    X509_CRL *crl = d2i_X509_CRL(NULL, &p, (long)der.len);
    assert_non_null(crl);
    assert_ptr_equal(p, der.ptr + der.len);
    buf_free(&der);
    assert_int_equal(X509_CRL_verify(crl, ca->key), 1);
    assert_int_equal(X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(ca->issuing)),
                     0);
    assert_true(X509_CRL_get_ext_by_NID(crl, NID_authority_key_identifier, -1) >= 0);
    assert_int_equal(X509_CRL_get_version(crl), X509_CRL_VERSION_2);
    return crl;
}

static int64_t crl_number(X509_CRL *crl)
{
    int64_t value = -1;
    ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    assert_non_null(number);
    assert_int_equal(ASN1_INTEGER_get_int64(&value, number), 1);
    ASN1_INTEGER_free(number);
    return value;
}

/* A CRL verifies with the issuer's key, lists exactly what is revoked with time and reason, and its
 * number grows. */
static void test_crl(void **state)
{
    static const struct up_revoked revoked[] = {
        {.serial = "0a1f", .at = 1700000000, .reason = CRL_REASON_KEY_COMPROMISE},
        {.serial = "7f00112233445566778899aabbccddeeff001122", .at = 1710000000, .reason = 0},
    };
    EVP_PKEY *issuers[] = {make_rsa(2048), make_ec("P-384")};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct ca ca;
        X509_REVOKED *entry;
        open_usual(&ca, issuers[i]);
        X509_CRL *empty = make_crl(&ca, NULL, 0);
        assert_true(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(empty)) <= 0);
        clock_set(now + 60);
        X509_CRL *crl = make_crl(&ca, revoked, 2);
        assert_true(crl_number(crl) > crl_number(empty));
        assert_int_equal(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)), 2);
        ASN1_INTEGER *serial = s2i_ASN1_INTEGER(NULL, "0x0a1f");
        assert_int_equal(X509_CRL_get0_by_serial(crl, &entry, serial), 1);
        assert_int_equal(
            X509_cmp_time(X509_REVOKED_get0_revocationDate(entry), &(time_t){1700000001}), -1);
        ASN1_ENUMERATED *reason = X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, NULL, NULL);
        assert_non_null(reason);
        assert_int_equal(ASN1_ENUMERATED_get(reason), CRL_REASON_KEY_COMPROMISE);
        ASN1_ENUMERATED_free(reason);
        ASN1_INTEGER_free(serial);
        assert_true(ASN1_TIME_cmp_time_t(X509_CRL_get0_lastUpdate(crl), now + 60) <= 0);
        assert_true(ASN1_TIME_cmp_time_t(X509_CRL_get0_nextUpdate(crl), now + DAY) > 0);
        X509_CRL_free(empty);
        X509_CRL_free(crl);
        clock_set(now);
        close_ca(&ca);
    }
}

/* A serial that is no hex number makes no CRL that lacks it. */
static void test_crl_bad_serial(void **state)
{
    static const char *const serials[] = {"", "zz", "0a1f ", "0a1fx", "-1"};
    struct ca ca;
    (void)state;
    open_usual(&ca, make_ec("P-256"));
    for (size_t i = 0; i < sizeof serials / sizeof serials[0]; i++) {
        struct up_revoked revoked = {.serial = serials[i], .at = now};
        struct buf der = {0};
        struct err err = {0};
        if (local_vt.crl(ca.up, &revoked, 1, &der, &err))
            fail_msg("'%s' is taken for a serial", serials[i]);
        assert_int_equal(der.len, 0);
        assert_true(err.text[0] != '\0');
        buf_free(&der);
    }
    close_ca(&ca);
}

/* The chain is the issuer, then what stands above it. */
static void test_chain(void **state)
{
    struct ca ca;
    const struct cfg_certs *chain;
    struct err err;
    (void)state;
    open_usual(&ca, make_ec("P-256"));
    assert_true(local_vt.chain(ca.up, &chain, &err));
    assert_int_equal(chain->count, 2);
    assert_string_equal(cert_names_get(chain->items[0])->subject_text, "CN=issuing,O=Example");
    assert_string_equal(cert_names_get(chain->items[1])->subject_text, "CN=root");
    close_ca(&ca);
}

/* A CA whose certificate has expired is not well, and says so. */
static void test_health(void **state)
{
    struct ca ca;
    struct err err = {0};
    (void)state;
    open_usual(&ca, make_ec("P-256"));
    assert_true(local_vt.health(ca.up, 0, &err));
    clock_set(now + 3651 * (int64_t)DAY);
    assert_false(local_vt.health(ca.up, 0, &err));
    assert_non_null(strstr(err.text, "not valid"));
    clock_set(now);
    close_ca(&ca);
}

/* What the kind says that it can do is there, and nothing else. */
static void test_caps(void **state)
{
    (void)state;
    assert_string_equal(local_kind.type, "local");
    assert_string_equal(local_vt.type, "local");
    assert_int_equal(local_vt.caps, UP_INLINE | UP_RESUBMIT_SAFE | UP_RECOVER | UP_REVOKE |
                                        UP_NAMES | UP_UNSIGNED);
    assert_non_null(local_vt.recover);
    assert_non_null(local_vt.revoke);
    assert_null(local_vt.poll);
    assert_null(local_vt.confirm);
}

/* Each way in which the files do not make a CA is a fault that says which. */
static void test_faults(void **state)
{
    struct make_spec no_ca = issuing_spec(), no_usage = issuing_spec(), expired = issuing_spec();
    no_ca.ca = false, no_ca.key_usage = NULL;
    no_usage.key_usage = "critical,digitalSignature";
    expired.not_after = now - 1;
    const struct {
        struct make_spec *spec;
        const char *text;
    } rows[] = {{&no_ca, "CA"}, {&no_usage, "keyCertSign"}, {&expired, "expired"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ca ca;
        struct buf faults = {0};
        make_files(&ca, make_ec("P-256"), rows[i].spec);
        assert_false(configure(&ca, "", &faults));
        if (!strstr(buf_str(&faults), rows[i].text))
            fail_msg("%s is not in: %s", rows[i].text, buf_str(&faults));
        assert_non_null(strstr(buf_str(&faults), "test.yaml:"));
        buf_free(&faults);
        close_ca(&ca);
    }
}

static void add_to_chain(const struct ca *ca, const char *how, X509 *x509)
{
    char path[128];
    snprintf(path, sizeof path, "%s/root.pem", ca->dir);
    FILE *file = fopen(path, how);
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, x509), 1);
    assert_int_equal(fclose(file), 0);
}

/* What is in chain did not issue the CA, or stands before what it issued: both are faults. A root
 * that is there twice, by itself and by another one, is none. */
static void test_chain_faults(void **state)
{
    struct make_spec spec = issuing_spec();
    struct ca ca;
    EVP_PKEY *key = make_ec("P-256");
    (void)state;
    make_files(&ca, make_ec("P-256"), &spec);
    spec.subject = "CN=root";
    X509 *stranger = make_x509(&spec, key, NULL, NULL);
    spec.subject = "CN=top";
    X509 *top = make_x509(&spec, key, NULL, NULL);
    spec.subject = "CN=root";
    X509 *cross = make_x509(&spec, ca.root_key, top, key);
    X509 *const chains[][3] = {
        {stranger}, {ca.root, stranger}, {top, cross}, {ca.root, cross, top}, {cross, top}};
    static const char *const said[] = {
        "test.yaml:3:9: chain[0]: issued nothing of what is before it (\"CN=root\")",
        "test.yaml:3:8: chain: issued nothing of what is before it (\"CN=root\")",
        "test.yaml:3:8: chain: stands before what it issued (\"CN=top\")", NULL, NULL};
    for (size_t i = 0; i < sizeof chains / sizeof chains[0]; i++) {
        struct buf faults = {0};
        for (size_t k = 0; k < 3 && chains[i][k]; k++)
            add_to_chain(&ca, k ? "a" : "w", chains[i][k]);
        if (ca.conf.options)
            cfg_table_clear(local_kind.keys, ca.conf.options);
        free(ca.conf.options);
        assert_int_equal(configure(&ca, "", &faults), !said[i]);
        assert_true(!said[i] || strncmp(buf_str(&faults), said[i], strlen(said[i])) == 0);
        buf_free(&faults);
    }
    X509_free(stranger);
    X509_free(top);
    X509_free(cross);
    EVP_PKEY_free(key);
    close_ca(&ca);
}

/* A key that is not the certificate's is a fault. */
static void test_foreign_key(void **state)
{
    struct ca ca;
    char path[128];
    struct buf faults = {0};
    struct make_spec spec = issuing_spec();
    EVP_PKEY *other = make_ec("P-256");
    (void)state;
    make_files(&ca, make_ec("P-256"), &spec);
    snprintf(path, sizeof path, "%s/issuing.key", ca.dir);
    make_key_file(path, other);
    assert_false(configure(&ca, "", &faults));
    assert_non_null(strstr(buf_str(&faults), "key"));
    buf_free(&faults);
    close_ca(&ca);
    EVP_PKEY_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_crl, local_ca_clock),
        cmocka_unit_test_setup(test_crl_bad_serial, local_ca_clock),
        cmocka_unit_test_setup(test_chain_faults, local_ca_clock),
        cmocka_unit_test_setup(test_health, local_ca_clock),
        cmocka_unit_test_setup(test_caps, local_ca_clock),
        cmocka_unit_test_setup(test_faults, local_ca_clock),
        cmocka_unit_test_setup(test_chain, local_ca_clock),
        cmocka_unit_test_setup(test_foreign_key, local_ca_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
