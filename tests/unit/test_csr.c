#include "base/der.h"
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

/* Appends an attribute of one value that is given whole. */
static void add_attribute(struct buf *out, int nid, struct bytes values)
{
    size_t from = out->len;
    assert_true(der_add_oid(out, nid) && der_add(out, DER_SET, values) &&
                der_wrap(out, from, DER_SEQUENCE));
}

/* A request with these attributes, written by hand: OpenSSL will not write most of them. Its
 * signature is no signature, which csr_parse does not look at. */
static bool attributes_parse(struct bytes attributes, struct csr **ret, struct err *err)
{
    static const uint8_t signature[] = {0, 0x30, 0};
    unsigned char *spki = NULL;
    struct buf out = {0};
    int len = i2d_PUBKEY(key, &spki);
    assert_true(der_add(&out, DER_INTEGER, bytes_of("\0", 1)) &&
                der_add(&out, DER_SEQUENCE, bytes_of(NULL, 0)) &&
                buf_add(&out, bytes_of(spki, (size_t)len)) &&
                der_add(&out, DER_CONTEXT_CONSTRUCTED(0), attributes) &&
                der_wrap(&out, 0, DER_SEQUENCE));
    size_t algorithm = out.len;
    assert_true(der_add_oid(&out, NID_ecdsa_with_SHA256) &&
                der_wrap(&out, algorithm, DER_SEQUENCE) &&
                der_add(&out, DER_BIT_STRING, bytes_of(signature, sizeof signature)) &&
                der_wrap(&out, 0, DER_SEQUENCE));
    OPENSSL_free(spki);
    *ret = NULL;
    bool ok = csr_parse(buf_bytes(&out), ret, err);
    buf_free(&out);
    return ok;
}

struct attribute {
    int nid;
    const char *values;
    size_t len;
};
#define ATTRIBUTE(nid, text)                                                                       \
    {                                                                                              \
        (nid), (text), sizeof(text) - 1                                                            \
    }

#define EXTENSION "\x30\x0b\x06\x03\x55\x1d\x0f\x04\x04\x03\x02\x07\x80" /* keyUsage */
#define EXTENSIONS "\x30\x0d" EXTENSION

static bool these_parse(const struct attribute *attributes, size_t count, struct err *err)
{
    struct buf all = {0};
    struct csr *csr;
    for (size_t i = 0; i < count && attributes[i].nid; i++)
        add_attribute(&all, attributes[i].nid, bytes_of(attributes[i].values, attributes[i].len));
    bool ok = attributes_parse(buf_bytes(&all), &csr, err);
    csr_free(csr);
    buf_free(&all);
    return ok;
}

/* An attribute that stands there twice, or has none or two values where one belongs, is refused. */
static void test_attributes(void **state)
{
    static const struct {
        struct attribute of[2];
        const char *fault; /* NULL: it is read */
    } rows[] = {
        {{ATTRIBUTE(NID_pkcs9_challengePassword, "\x0c\1a")}, NULL},
        {{ATTRIBUTE(NID_pkcs9_challengePassword, "\x0c\1a"),
          ATTRIBUTE(NID_pkcs9_challengePassword, "\x0c\1a")},
         "challengePassword twice"},
        {{ATTRIBUTE(NID_pkcs9_challengePassword, "\x0c\1a\x0c\1b")}, "2 values"},
        {{ATTRIBUTE(NID_pkcs9_challengePassword, "")}, "0 values"},
        {{ATTRIBUTE(NID_ext_req, EXTENSIONS)}, NULL},
        {{ATTRIBUTE(NID_ms_ext_req, EXTENSIONS)}, NULL},
        {{ATTRIBUTE(NID_ext_req, EXTENSIONS), ATTRIBUTE(NID_ext_req, EXTENSIONS)}, "twice"},
        {{ATTRIBUTE(NID_ext_req, EXTENSIONS), ATTRIBUTE(NID_ms_ext_req, EXTENSIONS)}, "two lists"},
        {{ATTRIBUTE(NID_ext_req, EXTENSIONS EXTENSIONS)}, "2 values"},
        {{ATTRIBUTE(NID_ext_req, "")}, "0 values"},
        {{ATTRIBUTE(NID_ext_req, "\x30\x1a" EXTENSION EXTENSION)}, "Key Usage twice"},
        {{ATTRIBUTE(NID_ext_req, "\x0c\1a")}, "malformed"},
        {{ATTRIBUTE(NID_ext_req, "\x30\3\x0c\1a")}, "malformed"},
        {{ATTRIBUTE(NID_ext_req, "\x30\x0b\x30\x09\x06\x03\x55\x1d\x11\x04\2\5\0")},
         "subjectAltName"},
        {{ATTRIBUTE(NID_pkcs9_unstructuredName, "\x0c\1a\x0c\1b")}, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err = {0};
        bool ok = these_parse(rows[i].of, 2, &err);
        if (ok != !rows[i].fault || (!ok && !strstr(err.text, rows[i].fault)))
            fail_msg("row %zu: %s", i, ok ? "read" : err.text);
        if (!ok)
            assert_int_equal(err.kind, ERR_PEER);
    }
}

/* What a challenge of each string type may hold: no NUL, nothing that is not text in that type. */
static void test_challenge_text(void **state)
{
    static const struct {
        struct attribute of;
        const char *text; /* NULL: refused */
    } rows[] = {
        {ATTRIBUTE(0, "\x0c\0"), ""},
        {ATTRIBUTE(0, "\x0c\2\xc3\xa4"), "\xc3\xa4"},
        {ATTRIBUTE(0, "\x0c\1\xff"), NULL},
        {ATTRIBUTE(0, "\x0c\3a\0b"), NULL},
        {ATTRIBUTE(0, "\x13\3a b"), "a b"},
        {ATTRIBUTE(0, "\x13\3a\0b"), NULL},
        {ATTRIBUTE(0, "\x14\1\xe4"), "\xc3\xa4"},
        {ATTRIBUTE(0, "\x14\3a\0b"), NULL},
        {ATTRIBUTE(0, "\x16\3a@b"), "a@b"},
        {ATTRIBUTE(0, "\x16\3a\0b"), NULL},
        {ATTRIBUTE(0, "\x1e\4\0a\x20\xac"), "a\xe2\x82\xac"},
        {ATTRIBUTE(0, "\x1e\4\0a\0\0"), NULL},
        {ATTRIBUTE(0, "\x1e\3\0a\0"), NULL},
        {ATTRIBUTE(0, "\x1e\2\xd8\0"), NULL},
        {ATTRIBUTE(0, "\x1c\4\0\0\0a"), NULL},
        {ATTRIBUTE(0, "\4\1a"), NULL},
        {ATTRIBUTE(0, "\2\1\1"), NULL},
        {ATTRIBUTE(0, "\5\0"), NULL},
        {ATTRIBUTE(0, "\x30\3\x0c\1a"), NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf attribute = {0};
        struct csr *csr;
        struct err err = {0};
        add_attribute(&attribute, NID_pkcs9_challengePassword,
                      bytes_of(rows[i].of.values, rows[i].of.len));
        bool ok = attributes_parse(buf_bytes(&attribute), &csr, &err);
        if (ok != (rows[i].text != NULL) ||
            (ok && !bytes_equal_str(csr_challenge_get(csr), rows[i].text)))
            fail_msg("row %zu: %s", i, ok ? "read" : err.text);
        csr_free(csr);
        buf_free(&attribute);
    }
}

static bool challenge_of_length(size_t len)
{
    struct buf value = {0}, attribute = {0};
    struct csr *csr;
    struct err err;
    char *text = mem_zalloc(len + 1);
    memset(text, 'a', len);
    assert_true(der_add(&value, DER_UTF8_STRING, bytes_of(text, len)));
    add_attribute(&attribute, NID_pkcs9_challengePassword, buf_bytes(&value));
    bool ok = attributes_parse(buf_bytes(&attribute), &csr, &err);
    csr_free(csr);
    buf_free(&value);
    buf_free(&attribute);
    free(text);
    return ok;
}

/* A challenge may be several KiB long, and no longer than its ceiling; the same for the request and
 * for the number of its attributes. */
static void test_ceilings(void **state)
{
    struct csr *csr;
    struct err err;
    uint8_t *big = mem_zalloc(CSR_MAX + 1);
    (void)state;
    assert_true(challenge_of_length(CSR_CHALLENGE_MAX));
    assert_false(challenge_of_length(CSR_CHALLENGE_MAX + 1));
    assert_false(csr_parse(bytes_of(big, CSR_MAX + 1), &csr, &err));
    assert_non_null(strstr(err.text, "131073"));
    assert_false(csr_parse(bytes_of(NULL, 0), &csr, &err));
    free(big);
    for (size_t count = NAMES_ATTR_MAX; count <= NAMES_ATTR_MAX + 1; count++) {
        struct buf all = {0};
        for (size_t i = 0; i < count; i++) {
            size_t from = all.len;
            uint8_t oid[] = {0x2a, 3, (uint8_t)i};
            assert_true(der_add(&all, DER_OID, bytes_of(oid, 3)) &&
                        der_add(&all, DER_SET, bytes_of(NULL, 0)) &&
                        der_wrap(&all, from, DER_SEQUENCE));
        }
        assert_int_equal(attributes_parse(buf_bytes(&all), &csr, &err), count == NAMES_ATTR_MAX);
        csr_free(csr);
        buf_free(&all);
    }
}

static void check_proof(EVP_PKEY *signer)
{
    struct buf der = make_req_der(&(struct make_spec){.subject = "CN=x", .challenge = "A"}, signer);
    struct csr *csr;
    struct err err;
    for (unsigned bit = 0; bit <= 8; bit++) {
        if (bit < 8) /* the last octet belongs to the signature */
            der.ptr[der.len - 1] ^= (uint8_t)(1u << bit);
        assert_true(csr_parse(buf_bytes(&der), &csr, &err));
        assert_int_equal(csr_pop_check(csr, &err), bit == 8);
        csr_free(csr);
        if (bit < 8)
            der.ptr[der.len - 1] ^= (uint8_t)(1u << bit);
    }
    buf_free(&der);
    EVP_PKEY_free(signer);
}

/* Each kind of key proves its possession, and no flipped bit of a signature does. */
static void test_proof(void **state)
{
    (void)state;
    check_proof(make_rsa(2048));
    check_proof(make_ec("P-384"));
    check_proof(make_ed25519());
}

/* Another's signature proves nothing, and neither does a key that cannot sign. */
static void test_no_proof(void **state)
{
    EVP_PKEY *other = make_ec("P-256"), *mute = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    EVP_PKEY *const named[] = {other, mute};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        X509_REQ *req = bare();
        unsigned char *der = NULL;
        struct csr *csr;
        struct err err = {0};
        assert_int_equal(X509_REQ_set_pubkey(req, named[i]), 1);
        assert_true(X509_REQ_sign(req, key, EVP_sha256()) > 0);
        int len = i2d_X509_REQ(req, &der);
        assert_true(csr_parse(bytes_of(der, (size_t)len), &csr, &err));
        assert_false(csr_pop_check(csr, &err));
        assert_int_equal(err.kind, ERR_PEER);
        csr_free(csr_ref(csr));
        assert_int_equal(csr_der_get(csr).len, (size_t)len);
        csr_free(csr);
        OPENSSL_free(der);
        X509_REQ_free(req);
    }
    csr_free(NULL);
    EVP_PKEY_free(other);
    EVP_PKEY_free(mute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),         cmocka_unit_test(test_challenge_types),
        cmocka_unit_test(test_odd_challenges), cmocka_unit_test(test_twice),
        cmocka_unit_test(test_changes),        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_challenge_text), cmocka_unit_test(test_ceilings),
        cmocka_unit_test(test_proof),          cmocka_unit_test(test_no_proof),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
