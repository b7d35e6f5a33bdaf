#include "base/clock.h"
#include "base/der.h"
#include "tests/support/local_ca.h"

#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERIALS 10000u
#define SERIAL_LEN 20
#define THREADS 4
#define PER_THREAD 25

static struct buf prepare(const struct ca *ca, const struct csr *csr,
                          const struct cfg_profile *profile)
{
    struct up_order order = {.request_id = "r1", .csr = csr, .profile = profile};
    struct buf handle = {0};
    struct err err = {0};
    if (!local_vt.prepare(ca->up, &order, &handle, &err))
        fail_msg("%s", err.text);
    assert_true(handle.len > 0);
    return handle;
}

static struct cert *submit(const struct ca *ca, const struct csr *csr, const struct buf *handle,
                           bool recover)
{
    struct cfg_profile profile = {.name = "p"};
    struct up_order order = {.request_id = "r1", .csr = csr, .profile = &profile};
    struct up_reply reply = {0};
    enum up_result result =
        recover ? local_vt.recover(ca->up, &order, buf_bytes(handle), INT64_MAX, &reply)
                : local_vt.submit(ca->up, &order, buf_bytes(handle), INT64_MAX, &reply);
    if (result != UP_ISSUED)
        fail_msg("%s: %s", up_result_name(result), reply.reason);
    struct cert *cert = cert_ref(reply.cert);
    up_reply_clear(&reply);
    return cert;
}

static struct cert *issue(const struct ca *ca, const struct csr *csr,
                          const struct cfg_profile *profile)
{
    struct cfg_profile plain = {.name = "p"};
    struct buf handle = prepare(ca, csr, profile ? profile : &plain);
    struct cert *cert = submit(ca, csr, &handle, false);
    buf_free(&handle);
    return cert;
}

/* As OpenSSL reads it, with its key. */
static X509 *read_x509(const struct cert *cert)
{
    struct bytes der = cert_der_get(cert);
    const unsigned char *p = der.ptr;
    X509 *x509 = d2i_X509(NULL, &p, (long)der.len);
    assert_non_null(x509);
    assert_ptr_equal(p, der.ptr + der.len);
    return x509;
}

static bool is_critical(const X509 *x509, int nid)
{
    int at = X509_get_ext_by_NID(x509, nid, -1);
    assert_true(at >= 0);
    assert_int_equal(X509_get_ext_by_NID(x509, nid, at), -1);
    return X509_EXTENSION_get_critical(X509_get_ext(x509, at)) != 0;
}

/* The dotted OIDs of extendedKeyUsage, each followed by a space. */
static void eku_text(const X509 *x509, char *out, size_t room)
{
    size_t len = 0;
    EXTENDED_KEY_USAGE *list = X509_get_ext_d2i(x509, NID_ext_key_usage, NULL, NULL);
    assert_non_null(list);
    out[0] = '\0';
    for (int i = 0; i < sk_ASN1_OBJECT_num(list); i++) {
        char oid[80];
        OBJ_obj2txt(oid, sizeof oid, sk_ASN1_OBJECT_value(list, i), 1);
        len += (size_t)snprintf(out + len, room - len, "%s ", oid);
    }
    EXTENDED_KEY_USAGE_free(list);
}

static void assert_chains(const struct ca *ca, const struct cert *cert)
{
    struct cert *root, *issuing;
    struct err err = {0};
    assert_true(cert_from_x509(ca->root, &root, &err));
    assert_true(cert_from_x509(ca->issuing, &issuing, &err));
    struct trust *trust = trust_new(&root, 1);
    struct trust_terms terms = {.extra = &issuing, .extra_count = 1, .at = now};
    if (!trust_check(trust, cert, &terms, &err))
        fail_msg("%s", err.text);
    trust_free(trust);
    cert_free(root);
    cert_free(issuing);
}

/* What holds for every certificate that is issued. */
static void assert_sound(const struct ca *ca, const struct cert *cert, const struct csr *csr)
{
    X509 *x509 = read_x509(cert);
    const X509_ALGOR *outer;
    const ASN1_BIT_STRING *signature;
    X509_get0_signature(&signature, &outer, x509);
    assert_int_equal(X509_verify(x509, ca->key), 1);
    assert_int_equal(X509_ALGOR_cmp(outer, X509_get0_tbs_sigalg(x509)), 0);
    assert_chains(ca, cert);
    assert_int_equal(X509_get_version(x509), X509_VERSION_3);

    const ASN1_INTEGER *serial = X509_get0_serialNumber(x509);
    assert_int_equal(serial->type, V_ASN1_INTEGER); /* not V_ASN1_NEG_INTEGER */
    assert_int_equal(serial->length, SERIAL_LEN);
    assert_in_range(serial->data[0], 1, 0x7f);

    assert_true(bytes_equal(buf_bytes(&cert_names_get(cert)->subject),
                            buf_bytes(&csr_names_get(csr)->subject)));
    assert_true(names_san_equal(cert_names_get(cert), csr_names_get(csr)));
    assert_true(
        bytes_equal(buf_bytes(&cert_spki_get(cert)->der), buf_bytes(&csr_spki_get(csr)->der)));

    assert_true(is_critical(x509, NID_basic_constraints));
    assert_true(is_critical(x509, NID_key_usage));
    assert_int_equal(X509_check_ca(x509), 0);
    assert_false(is_critical(x509, NID_authority_key_identifier));
    assert_int_equal(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(x509),
                                           X509_get0_subject_key_id(ca->issuing)),
                     0);
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len;
    assert_int_equal(X509_pubkey_digest(x509, EVP_sha1(), digest, &len), 1);
    const ASN1_OCTET_STRING *ski = X509_get0_subject_key_id(x509);
    assert_non_null(ski);
    assert_true(bytes_equal(bytes_of(ski->data, (size_t)ski->length), bytes_of(digest, len)));
    X509_free(x509);
}

/* RSA and EC issuers sign RSA and EC requests; each certificate verifies, carries exactly the CSR's
 * names and key, and is nobody's CA. */
static void test_issue(void **state)
{
    EVP_PKEY *issuers[] = {make_rsa(2048), make_ec("P-256"), make_ec("P-384")};
    EVP_PKEY *rsa = make_rsa(2048), *ec = make_ec("P-256"), *ec384 = make_ec("P-384");
    EVP_PKEY *keys[] = {rsa, ec, ec384};
    struct make_spec spec = {.subject = "CN=r1,O=Example", .sans = "DNS:r1.example,IP:10.0.0.1"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct ca ca;
        open_usual(&ca, issuers[i]);
        for (size_t k = 0; k < 3; k++) {
            struct csr *csr = make_csr(&spec, keys[k]);
            struct cert *cert = issue(&ca, csr, NULL);
            assert_sound(&ca, cert, csr);
            assert_int_equal(cert_not_before_get(cert), now - HOUR);
            assert_int_equal(cert_not_after_get(cert), now + 90 * DAY);
            cert_free(cert);
            csr_free(csr);
        }
        close_ca(&ca);
    }
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(ec384);
}

/* The digest of the signature fits the issuer's key; RSA has NULL parameters (RFC 4055 section 5),
 * ECDSA none (RFC 5758 section 3.2). */
static void test_signature_algorithm(void **state)
{
    const struct {
        EVP_PKEY *issuer;
        int nid;
    } rows[] = {{make_rsa(2048), NID_sha256WithRSAEncryption},
                {make_ec("P-256"), NID_ecdsa_with_SHA256},
                {make_ec("P-384"), NID_ecdsa_with_SHA384}};
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=r1"}, key);
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct ca ca;
        open_usual(&ca, rows[i].issuer);
        struct cert *cert = issue(&ca, csr, NULL);
        assert_int_equal(X509_get_signature_nid(cert_x509_get(cert)), rows[i].nid);
        const X509_ALGOR *algorithm = X509_get0_tbs_sigalg(cert_x509_get(cert));
        int parameters;
        X509_ALGOR_get0(NULL, &parameters, NULL, algorithm);
        assert_int_equal(parameters, i == 0 ? V_ASN1_NULL : V_ASN1_UNDEF);
        cert_free(cert);
        close_ca(&ca);
    }
    csr_free(csr);
    EVP_PKEY_free(key);
}

/* Without a wish for usages the certificate gets the profile's, or clientAuth, and a key usage that
 * fits its key. */
static void test_usual_usages(void **state)
{
    struct ca ca;
    char *ekus[] = {"1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.17"};
    struct cfg_profile profile = {.name = "p", .eku = {ekus, 2}};
    EVP_PKEY *rsa = make_rsa(2048), *ec = make_ec("P-256");
    struct csr *rsa_csr = make_csr(&(struct make_spec){.subject = "CN=r1"}, rsa);
    struct csr *ec_csr = make_csr(&(struct make_spec){.subject = "CN=r1"}, ec);
    char eku[256];
    (void)state;
    open_usual(&ca, make_ec("P-256"));

    struct cert *cert = issue(&ca, rsa_csr, NULL);
    X509 *x509 = read_x509(cert);
    eku_text(x509, eku, sizeof eku);
    assert_string_equal(eku, "1.3.6.1.5.5.7.3.2 ");
    assert_int_equal(X509_get_key_usage(x509), KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
    X509_free(x509);
    cert_free(cert);

    cert = issue(&ca, ec_csr, &profile);
    x509 = read_x509(cert);
    eku_text(x509, eku, sizeof eku);
    assert_string_equal(eku, "1.3.6.1.5.5.7.3.2 1.3.6.1.5.5.7.3.17 ");
    assert_int_equal(X509_get_key_usage(x509), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_ext_by_NID(x509, NID_subject_alt_name, -1), -1);
    X509_free(x509);
    cert_free(cert);

    csr_free(rsa_csr);
    csr_free(ec_csr);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    close_ca(&ca);
}

/* Usages that the CSR asks for are those that it gets. */
static void test_requested_usages(void **state)
{
    struct ca ca;
    char *ekus[] = {"1.3.6.1.5.5.7.3.2"};
    struct cfg_profile profile = {.name = "p", .eku = {ekus, 1}};
    EVP_PKEY *key = make_rsa(2048);
    struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=r1",
                                                   .eku = "serverAuth,clientAuth",
                                                   .key_usage = "keyEncipherment"},
                               key);
    char eku[256];
    (void)state;
    open_usual(&ca, make_ec("P-256"));
    struct cert *cert = issue(&ca, csr, &profile);
    assert_sound(&ca, cert, csr);
    X509 *x509 = read_x509(cert);
    eku_text(x509, eku, sizeof eku);
    assert_string_equal(eku, "1.3.6.1.5.5.7.3.1 1.3.6.1.5.5.7.3.2 ");
    assert_int_equal(X509_get_key_usage(x509), KU_KEY_ENCIPHERMENT);
    X509_free(x509);
    cert_free(cert);
    csr_free(csr);
    EVP_PKEY_free(key);
    close_ca(&ca);
}

/* A SAN is copied as it is, and is critical exactly if there is no subject (RFC 5280 4.2.1.6). */
static void test_san(void **state)
{
    static const struct {
        const char *subject, *sans;
        bool critical;
    } rows[] = {
        {"CN=r1", "DNS:r1.example", false},
        {"CN=r1", "critical,DNS:r1.example", false},
        {"", "DNS:r1.example,URI:urn:x:1,email:a@b.example", true},
    };
    struct ca ca;
    EVP_PKEY *key = make_ec("P-256");
    (void)state;
    open_usual(&ca, make_ec("P-256"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct csr *csr =
            make_csr(&(struct make_spec){.subject = rows[i].subject, .sans = rows[i].sans}, key);
        struct cert *cert = issue(&ca, csr, NULL);
        assert_sound(&ca, cert, csr);
        assert_int_equal(is_critical(cert_x509_get(cert), NID_subject_alt_name), rows[i].critical);
        cert_free(cert);
        csr_free(csr);
    }
    EVP_PKEY_free(key);
    close_ca(&ca);
}

/* The shorter of the CA's and the profile's validity counts. */
static void test_validity(void **state)
{
    struct ca ca;
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=r1"}, key);
    static const int64_t rows[][2] = {
        {0, 90 * DAY}, {5, 5}, {30 * DAY, 30 * DAY}, {365 * DAY, 90 * DAY}};
    (void)state;
    open_usual(&ca, make_ec("P-256"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cfg_profile profile = {.name = "p", .validity = rows[i][0]};
        struct cert *cert = issue(&ca, csr, &profile);
        assert_int_equal(cert_not_after_get(cert), now + rows[i][1]);
        cert_free(cert);
    }
    close_ca(&ca);

    struct make_spec spec = issuing_spec();
    open_ca(&ca, make_ec("P-256"), &spec, "validity: 5s\n");
    struct cert *cert = issue(&ca, csr, NULL);
    assert_int_equal(cert_not_after_get(cert), now + 5);
    cert_free(cert);
    close_ca(&ca);
    csr_free(csr);
    EVP_PKEY_free(key);
}

/* A certificate is not valid before its issuer was. */
static void test_backdate(void **state)
{
    struct ca ca;
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=r1"}, key);
    struct make_spec spec = issuing_spec();
    (void)state;
    spec.not_before = now - 60;
    open_ca(&ca, make_ec("P-256"), &spec, "validity: 90d\n");
    struct cert *cert = issue(&ca, csr, NULL);
    assert_int_equal(cert_not_before_get(cert), now - 60);
    cert_free(cert);
    close_ca(&ca);
    csr_free(csr);
    EVP_PKEY_free(key);
}

/* A certificate names the CRL's URL if the CA has one, and has no such extension otherwise. */
static void test_crl_url(void **state)
{
    struct ca ca;
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=r1"}, key);
    struct make_spec spec = issuing_spec();
    (void)state;
    open_ca(&ca, make_ec("P-256"), &spec, "crl_url: http://ca.example/lab.crl\n");
    struct cert *cert = issue(&ca, csr, NULL);
    assert_sound(&ca, cert, csr);
    CRL_DIST_POINTS *points =
        X509_get_ext_d2i(cert_x509_get(cert), NID_crl_distribution_points, NULL, NULL);
    assert_int_equal(sk_DIST_POINT_num(points), 1);
    const GENERAL_NAME *name =
        sk_GENERAL_NAME_value(sk_DIST_POINT_value(points, 0)->distpoint->name.fullname, 0);
    assert_int_equal(name->type, GEN_URI);
    assert_string_equal((const char *)ASN1_STRING_get0_data(name->d.ia5),
                        "http://ca.example/lab.crl");
    CRL_DIST_POINTS_free(points);
    cert_free(cert);
    close_ca(&ca);

    open_usual(&ca, make_ec("P-256"));
    cert = issue(&ca, csr, NULL);
    assert_int_equal(X509_get_ext_by_NID(cert_x509_get(cert), NID_crl_distribution_points, -1), -1);
    cert_free(cert);
    close_ca(&ca);
    csr_free(csr);
    EVP_PKEY_free(key);
}

/* What would outlive its issuer is refused and not cut; a second less is issued. */
static void test_outlive(void **state)
{
    struct ca ca;
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=r1"}, key);
    struct make_spec spec = issuing_spec();
    struct cfg_profile profile = {.name = "p"};
    struct up_order order = {.request_id = "r1", .csr = csr, .profile = &profile};
    struct buf handle = {0};
    struct err err = {0};
    (void)state;
    spec.not_after = now + 90 * DAY - 1;
    open_ca(&ca, make_ec("P-256"), &spec, "validity: 90d\n");
    assert_false(local_vt.prepare(ca.up, &order, &handle, &err));
    assert_int_equal(err.kind, ERR_UPSTREAM);
    assert_non_null(strstr(err.text, "outlive"));
    assert_int_equal(handle.len, 0);
    buf_free(&handle);

    profile.validity = 90 * DAY - 1;
    struct cert *cert = issue(&ca, csr, &profile);
    assert_int_equal(cert_not_after_get(cert), spec.not_after);
    cert_free(cert);
    close_ca(&ca);
    csr_free(csr);
    EVP_PKEY_free(key);
}

/* What is signed is what was prepared: submitting and recovering the same handle, whenever, gives
 * the same to-be-signed certificate. */
static void test_same_handle(void **state)
{
    EVP_PKEY *issuers[] = {make_rsa(2048), make_ec("P-256")};
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=r1"}, key);
    struct cfg_profile profile = {.name = "p"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct ca ca;
        open_usual(&ca, issuers[i]);
        struct buf handle = prepare(&ca, csr, &profile);
        for (int round = 0; round < 3; round++) {
            clock_set(now + INT64_C(1000) * round);
            struct cert *cert = submit(&ca, csr, &handle, round > 0);
            struct der outer, tbs;
            struct bytes rest = cert_der_get(cert);
            assert_true(der_take_tag(&rest, DER_SEQUENCE, &outer));
            assert_true(der_take_tag(&outer.content, DER_SEQUENCE, &tbs));
            assert_true(bytes_equal(tbs.whole, buf_bytes(&handle)));
            cert_free(cert);
        }
        clock_set(now);
        buf_free(&handle);
        close_ca(&ca);
    }
    csr_free(csr);
    EVP_PKEY_free(key);
}

/* A handle that was cut anywhere is not signed into a certificate. */
static void test_bad_handle(void **state)
{
    struct ca ca;
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=r1"}, key);
    struct cfg_profile profile = {.name = "p"};
    struct up_order order = {.request_id = "r1", .csr = csr, .profile = &profile};
    (void)state;
    open_usual(&ca, make_ec("P-256"));
    struct buf handle = prepare(&ca, csr, &profile);
    for (size_t n = 0; n < handle.len; n++) {
        struct up_reply reply = {0};
        enum up_result result =
            local_vt.submit(ca.up, &order, bytes_of(handle.ptr, n), INT64_MAX, &reply);
        assert_true(result != UP_ISSUED);
        assert_null(reply.cert);
        assert_true(reply.reason[0] != '\0');
        up_reply_clear(&reply);
    }
    buf_free(&handle);
    close_ca(&ca);
    csr_free(csr);
    EVP_PKEY_free(key);
}

static int compare_serials(const void *a, const void *b)
{
    return memcmp(a, b, SERIAL_LEN);
}

/* Ten thousand serials are all positive, of 20 octets, and differ. */
static void test_serials(void **state)
{
    struct ca ca;
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=r1"}, key);
    struct cfg_profile profile = {.name = "p"};
    uint8_t(*serials)[SERIAL_LEN] = mem_zalloc(SERIALS * sizeof *serials);
    (void)state;
    open_usual(&ca, make_ec("P-256"));
    for (size_t i = 0; i < SERIALS; i++) {
        struct buf handle = prepare(&ca, csr, &profile);
        struct bytes rest = buf_bytes(&handle);
        struct der tbs, version, serial;
        assert_true(der_take_tag(&rest, DER_SEQUENCE, &tbs));
        assert_true(der_take_tag(&tbs.content, DER_CONTEXT_CONSTRUCTED(0), &version));
        assert_true(der_take_tag(&tbs.content, DER_INTEGER, &serial));
        assert_int_equal(serial.content.len, SERIAL_LEN);
        assert_in_range(serial.content.ptr[0], 1, 0x7f);
        memcpy(serials[i], serial.content.ptr, SERIAL_LEN);
        buf_free(&handle);
    }
    qsort(serials, SERIALS, SERIAL_LEN, compare_serials);
    for (size_t i = 1; i < SERIALS; i++)
        assert_true(memcmp(serials[i - 1], serials[i], SERIAL_LEN) != 0);
    free(serials);
    close_ca(&ca);
    csr_free(csr);
    EVP_PKEY_free(key);
}

struct work {
    const struct ca *ca;
    const struct csr *csr;
    struct cert *certs[PER_THREAD];
};

static void *issue_many(void *arg)
{
    struct work *work = arg;
    struct cfg_profile profile = {.name = "p"};
    struct up_order order = {.request_id = "r1", .csr = work->csr, .profile = &profile};
    for (size_t i = 0; i < PER_THREAD; i++) {
        struct buf handle = {0};
        struct up_reply reply = {0};
        struct err err;
        if (local_vt.prepare(work->ca->up, &order, &handle, &err) &&
            local_vt.submit(work->ca->up, &order, buf_bytes(&handle), INT64_MAX, &reply) ==
                UP_ISSUED)
            work->certs[i] = cert_ref(reply.cert);
        up_reply_clear(&reply);
        buf_free(&handle);
    }
    return NULL;
}

/* Four threads issue at once, and every certificate is sound. */
static void test_threads(void **state)
{
    struct ca ca;
    EVP_PKEY *key = make_ec("P-256");
    struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=r1"}, key);
    struct work work[THREADS] = {0};
    pthread_t threads[THREADS];
    (void)state;
    open_usual(&ca, make_rsa(2048));
    for (size_t t = 0; t < THREADS; t++) {
        work[t] = (struct work){.ca = &ca, .csr = csr};
        assert_int_equal(pthread_create(&threads[t], NULL, issue_many, &work[t]), 0);
    }
    for (size_t t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_join(threads[t], NULL), 0);
        for (size_t i = 0; i < PER_THREAD; i++) {
            assert_non_null(work[t].certs[i]);
            assert_sound(&ca, work[t].certs[i], csr);
            cert_free(work[t].certs[i]);
        }
    }
    close_ca(&ca);
    csr_free(csr);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_issue, local_ca_clock),
        cmocka_unit_test_setup(test_signature_algorithm, local_ca_clock),
        cmocka_unit_test_setup(test_usual_usages, local_ca_clock),
        cmocka_unit_test_setup(test_requested_usages, local_ca_clock),
        cmocka_unit_test_setup(test_san, local_ca_clock),
        cmocka_unit_test_setup(test_validity, local_ca_clock),
        cmocka_unit_test_setup(test_backdate, local_ca_clock),
        cmocka_unit_test_setup(test_crl_url, local_ca_clock),
        cmocka_unit_test_setup(test_outlive, local_ca_clock),
        cmocka_unit_test_setup(test_same_handle, local_ca_clock),
        cmocka_unit_test_setup(test_bad_handle, local_ca_clock),
        cmocka_unit_test_setup(test_serials, local_ca_clock),
        cmocka_unit_test_setup(test_threads, local_ca_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
