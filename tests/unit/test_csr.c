#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static EVP_PKEY *key;

static int setup(void **state)
{
    (void)state;
    key = make_ec("P-256");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    return 0;
}

/* Subject, SANs, key, challenge and extensions are those of the request, and its own key signed it.
 */
static void test_fields(void **state)
{
    static const char *const more[] = {"keyUsage", "digitalSignature", NULL};
    struct make_spec spec = {.subject = "CN=r1",
                             .sans = "DNS:r1.example,IP:10.0.0.1",
                             .challenge = "SECRET123",
                             .extensions = more};
    struct csr *csr = make_csr(&spec, key);
    struct err err;
    (void)state;
    assert_string_equal(csr_names_get(csr)->subject_text, "CN=r1");
    assert_int_equal(csr_names_get(csr)->san_count, 2);
    assert_true(bytes_equal_str(csr_challenge_get(csr), "SECRET123"));
    assert_int_equal(sk_X509_EXTENSION_num(csr_extensions_get(csr)), 2);
    assert_int_equal(EVP_PKEY_eq(csr_spki_get(csr)->key, key), 1);
    assert_true(csr_pop_check(csr, &err));
    csr_free(csr);
    csr = make_csr(&(struct make_spec){.subject = "CN=r1"}, key);
    assert_int_equal(csr_challenge_get(csr).len, 0);
    assert_null(csr_extensions_get(csr));
    csr_free(csr);
}

/* The challenge is the same text whatever string type carried it. */
static void test_challenge_types(void **state)
{
    static const int types[] = {V_ASN1_PRINTABLESTRING, V_ASN1_UTF8STRING, V_ASN1_IA5STRING,
                                V_ASN1_T61STRING};
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=x",
                                                       .challenge = "ABC234",
                                                       .challenge_type = types[i]},
                                   key);
        assert_true(bytes_equal_str(csr_challenge_get(csr), "ABC234"));
        csr_free(csr);
    }
}

/* Re-signs a request after its attributes were changed, and parses it. */
static bool parses(X509_REQ *req)
{
    unsigned char *der = NULL;
    struct csr *csr = NULL;
    struct err err;
    assert_true(X509_REQ_sign(req, key, EVP_sha256()) > 0);
    int len = i2d_X509_REQ(req, &der);
    bool ok = csr_parse(bytes_of(der, (size_t)len), &csr, &err);
    OPENSSL_free(der);
    csr_free(csr);
    X509_REQ_free(req);
    return ok;
}

static X509_REQ *bare(void)
{
    return make_req(&(struct make_spec){.subject = "CN=x"}, key);
}

static void add_challenge(X509_REQ *req, int type, const char *text, int len)
{
    assert_int_equal(X509_REQ_add1_attr_by_NID(req, NID_pkcs9_challengePassword, type,
                                               (const unsigned char *)text, len),
                     1);
}

/* Two challenges, a NUL inside one, a BMPString: refused, refused, read. */
static void test_odd_challenges(void **state)
{
    X509_REQ *req = bare();
    (void)state;
    add_challenge(req, V_ASN1_UTF8STRING, "one", 3);
    assert_true(parses(req));
    req = bare();
    add_challenge(req, V_ASN1_BMPSTRING, "\0A\0B", 4);
    assert_true(parses(req));
    req = bare();
    add_challenge(req, V_ASN1_UTF8STRING, "a\0b", 3);
    assert_false(parses(req));
    req = bare();
    add_challenge(req, V_ASN1_OCTET_STRING, "abc", 3);
    assert_false(parses(req));
    req = bare();
    add_challenge(req, V_ASN1_UTF8STRING, "one", 3);
    X509_ATTRIBUTE *attribute = X509_REQ_get_attr(req, 0);
    assert_int_equal(X509_ATTRIBUTE_set1_data(attribute, V_ASN1_UTF8STRING, "two", 3), 1);
    assert_false(parses(req));
}

/* An extension that stands there twice is refused: two readers could take different ones. */
static void test_twice(void **state)
{
    static const char *const twice[] = {"keyUsage", "digitalSignature", "keyUsage", "keyAgreement",
                                        NULL};
    struct buf der = make_req_der(&(struct make_spec){.subject = "CN=x", .extensions = twice}, key);
    struct csr *csr;
    struct err err;
    (void)state;
    assert_false(csr_parse(buf_bytes(&der), &csr, &err));
    assert_non_null(strstr(err.text, "twice"));
    buf_free(&der);
}

/* Every truncation and trailing bytes are refused; a changed byte never passes as signed. */
static void test_changes(void **state)
{
    struct buf der = make_req_der(
        &(struct make_spec){.subject = "CN=x", .sans = "DNS:a", .challenge = "ABCDEF"}, key);
    struct csr *csr;
    struct err err;
    (void)state;
    for (size_t n = 0; n < der.len; n++)
        assert_false(csr_parse(bytes_of(der.ptr, n), &csr, &err));
    for (size_t n = 0; n < der.len; n++) {
        der.ptr[n] ^= 1;
        if (csr_parse(buf_bytes(&der), &csr, &err)) {
            assert_false(csr_pop_check(csr, &err));
            csr_free(csr);
        }
        der.ptr[n] ^= 1;
    }
    assert_true(buf_add_u8(&der, 0));
    assert_false(csr_parse(buf_bytes(&der), &csr, &err));
    buf_free(&der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),         cmocka_unit_test(test_challenge_types),
        cmocka_unit_test(test_odd_challenges), cmocka_unit_test(test_twice),
        cmocka_unit_test(test_changes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
