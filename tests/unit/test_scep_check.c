#include "scep/check.h"

#include "base/der.h"
#include "scep/attrs.h"
#include "scep/msg.h"
#include "tests/support/pki_make.h"
#include "tests/support/scep_make.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    EVP_PKEY *key;
    struct cert *cert;
    struct buf message, envelope;
};

static int setup(void **state)
{
    static const char *const extensions[] = {"subjectKeyIdentifier", "0102030405", NULL};
    struct fixture *f = mem_zalloc(sizeof *f);
    struct make_spec spec = {.subject = "CN=one", .extensions = extensions};
    f->key = make_rsa(2048);
    f->cert = make_cert(&spec, f->key, NULL, NULL);
    struct scep_make_envelope seal = {.recipient = f->cert};
    scep_make_envelope(&seal, bytes_str("plain"), &f->envelope);
    struct scep_make make = {.type = "19",
                             .txn = bytes_str("1"),
                             .content = buf_bytes(&f->envelope),
                             .signer = f->cert,
                             .key = f->key};
    scep_make(&make, &f->message);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY_free(f->key);
    cert_free(f->cert);
    buf_free(&f->message);
    buf_free(&f->envelope);
    free(f);
    return 0;
}

static bool signed_fine(struct bytes der)
{
    struct err err = {0};
    bool ok = scep_check_signed(der, &err);
    assert_true(ok || (err.kind == ERR_PEER && err.text[0]));
    assert_int_equal(ERR_peek_error(), 0);
    return ok;
}

static bool enveloped_fine(struct bytes der, bool allow_des3)
{
    struct err err = {0};
    bool ok = scep_check_enveloped(der, allow_des3, &err);
    assert_true(ok || (err.kind == ERR_PEER && err.text[0]));
    assert_int_equal(ERR_peek_error(), 0);
    return ok;
}

/* The ranges that are found are those of the message. */
static void test_ranges(void **state)
{
    struct fixture *f = *state;
    struct cms_signed found;
    struct scep_enveloped opened;
    struct bytes txn;
    struct err err;
    assert_true(signed_fine(buf_bytes(&f->message)));
    assert_true(scep_signed_take(buf_bytes(&f->message), &found, &err));
    assert_int_equal(found.cert_count, 1);
    assert_true(bytes_equal(found.certs[0], cert_der_get(f->cert)));
    assert_true(bytes_equal(found.signer.issuer, cert_issuer_get(f->cert)));
    assert_int_equal(found.signer.ski.len, 0);
    assert_int_equal(found.digest, NID_sha256);
    assert_int_equal(found.signature, NID_rsaEncryption);
    assert_true(scep_attr_find(found.attributes, SCEP_ATTR_TXN, &txn));
    assert_true(bytes_equal_str(txn, "1"));

    assert_true(enveloped_fine(buf_bytes(&f->envelope), false));
    assert_true(scep_enveloped_take(buf_bytes(&f->envelope), false, &opened, &err));
    assert_int_equal(opened.recipient_count, 1);
    assert_int_equal(opened.cipher, NID_aes_128_cbc);
    assert_true(cms_id_names(&opened.recipients[0], f->cert));
}

/* Cut short anywhere, or with a byte more, neither structure is whole. */
static void test_truncated(void **state)
{
    struct fixture *f = *state;
    struct buf *both[] = {&f->message, &f->envelope};
    for (size_t i = 0; i < 2; i++) {
        for (size_t n = 0; n < both[i]->len; n++) {
            uint8_t *copy = mem_zalloc(n + 1);
            memcpy(copy, both[i]->ptr, n);
            assert_false(signed_fine(bytes_of(copy, n)));
            assert_false(enveloped_fine(bytes_of(copy, n), true));
            free(copy);
        }
        struct buf longer = {0};
        assert_true(buf_set(&longer, buf_bytes(both[i])) && buf_add_u8(&longer, 5));
        assert_false(signed_fine(buf_bytes(&longer)));
        assert_false(enveloped_fine(buf_bytes(&longer), true));
        buf_free(&longer);
    }
}

/* Every value of every byte is looked at without a fault, and ranges stay inside the message. */
static void test_changed(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct cms_signed found;
    struct scep_enveloped opened;
    for (size_t n = 0; n < f->message.len; n++)
        for (unsigned bit = 0; bit < 8; bit++) {
            f->message.ptr[n] ^= (uint8_t)(1u << bit);
            if (scep_signed_take(buf_bytes(&f->message), &found, &err))
                assert_true(found.attributes.ptr > f->message.ptr &&
                            found.attributes.ptr + found.attributes.len <=
                                f->message.ptr + f->message.len);
            f->message.ptr[n] ^= (uint8_t)(1u << bit);
        }
    for (size_t n = 0; n < f->envelope.len; n++)
        for (unsigned bit = 0; bit < 8; bit++) {
            f->envelope.ptr[n] ^= (uint8_t)(1u << bit);
            if (scep_enveloped_take(buf_bytes(&f->envelope), true, &opened, &err))
                assert_in_range(opened.recipient_count, 1, SCEP_RECIPIENTS_MAX);
            f->envelope.ptr[n] ^= (uint8_t)(1u << bit);
        }
}

/* The message, with something of so many levels in its bag. */
static struct buf with_deep(const struct fixture *f, unsigned levels)
{
    struct buf bag = {0}, out = {0};
    struct bytes cur = buf_bytes(&f->message);
    struct der info, oid, explicit, data, head, certs;
    for (unsigned i = 0; i < levels; i++)
        assert_true(der_wrap(&bag, 0, DER_SEQUENCE));
    assert_true(der_take(&cur, &info) && der_take(&info.content, &oid) &&
                der_take(&info.content, &explicit) && der_take(&explicit.content, &data) &&
                buf_set(&out, oid.whole));
    size_t at = out.len;
    for (unsigned i = 0; i < 3; i++) /* version, digestAlgorithms, encapContentInfo */
        assert_true(der_take(&data.content, &head) && buf_add(&out, head.whole));
    assert_true(der_take(&data.content, &certs) && buf_add(&bag, certs.content) &&
                der_add(&out, DER_CONTEXT_CONSTRUCTED(0), buf_bytes(&bag)) &&
                buf_add(&out, data.content) && der_wrap(&out, at, DER_SEQUENCE) &&
                der_wrap(&out, at, DER_CONTEXT_CONSTRUCTED(0)) && der_wrap(&out, 0, DER_SEQUENCE));
    buf_free(&bag);
    return out;
}

/* What stands in the bag is not looked at, but for how deep it is. */
static void test_depth(void **state)
{
    struct fixture *f = *state;
    for (unsigned levels = 1; levels < 200; levels++) {
        struct buf der = with_deep(f, levels);
        if (signed_fine(buf_bytes(&der)) != (levels + 4 <= SCEP_DEPTH_MAX))
            fail_msg("%u levels", levels);
        buf_free(&der);
    }
}

/* A message beyond the ceiling, and one that is nested beyond it, are refused before OpenSSL. */
static void test_bounds(void **state)
{
    (void)state;
    struct buf big = {0}, deep = {0};
    assert_true(der_add(&deep, DER_INTEGER, bytes_str("x")));
    for (int i = 0; i < 100; i++)
        assert_true(der_wrap(&deep, 0, DER_SEQUENCE));
    assert_false(signed_fine(buf_bytes(&deep)));
    assert_false(enveloped_fine(buf_bytes(&deep), true));
    for (int i = 0; i < 50000; i++)
        assert_true(buf_add_u8(&big, 0x30) && buf_add_u8(&big, 0x80));
    assert_false(signed_fine(buf_bytes(&big)));
    assert_false(enveloped_fine(buf_bytes(&big), true));
    buf_clear(&big);
    while (big.len < SCEP_MSG_MAX)
        assert_true(der_add(&big, DER_INTEGER, bytes_str("x")));
    assert_true(der_wrap(&big, 0, DER_SEQUENCE));
    assert_false(signed_fine(buf_bytes(&big)));
    buf_free(&big);
    buf_free(&deep);
}

/* Digests: SHA-1 (judged later) and SHA-2; MD5 and SHA-3 are not on the list. */
static void test_digests(void **state)
{
    static const struct {
        int digest;
        bool fine;
    } rows[] = {{NID_sha1, true}, {NID_sha256, true},  {NID_sha384, true},   {NID_sha512, true},
                {NID_md5, false}, {NID_sha224, false}, {NID_sha3_256, false}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf der = {0};
        struct scep_make make = {.type = "19",
                                 .txn = bytes_str("1"),
                                 .content = bytes_str("x"),
                                 .signer = f->cert,
                                 .key = f->key,
                                 .digest = rows[i].digest};
        scep_make(&make, &der);
        assert_int_equal(signed_fine(buf_bytes(&der)), rows[i].fine);
        buf_free(&der);
    }
}

/* Ciphers: AES-CBC; 3DES only if it is allowed; another mode or cipher never. */
static void test_ciphers(void **state)
{
    static const struct {
        int cipher;
        bool fine, with_des3;
    } rows[] = {{NID_aes_128_cbc, true, true},      {NID_aes_192_cbc, true, true},
                {NID_aes_256_cbc, true, true},      {NID_des_ede3_cbc, false, true},
                {NID_aes_128_ofb128, false, false}, {NID_camellia_128_cbc, false, false}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf der = {0};
        struct scep_make_envelope make = {.recipient = f->cert, .cipher = rows[i].cipher};
        scep_make_envelope(&make, bytes_str("plain"), &der);
        assert_int_equal(enveloped_fine(buf_bytes(&der), false), rows[i].fine);
        assert_int_equal(enveloped_fine(buf_bytes(&der), true), rows[i].with_des3);
        buf_free(&der);
    }
}

/* Up to eight recipients; a ninth is refused. */
static void test_recipients(void **state)
{
    struct fixture *f = *state;
    for (size_t n = SCEP_RECIPIENTS_MAX; n <= SCEP_RECIPIENTS_MAX + 1; n++) {
        struct buf der = {0};
        struct scep_make_envelope make = {.recipient = f->cert, .recipients = n};
        scep_make_envelope(&make, bytes_str("plain"), &der);
        assert_int_equal(enveloped_fine(buf_bytes(&der), false), n <= SCEP_RECIPIENTS_MAX);
        buf_free(&der);
    }
}

/* SEQUENCE { id-RSAES-OAEP, SEQUENCE { [2] { SEQUENCE { pSpecified, parameters? } } } } */
static void add_oaep_source(struct buf *out, int source, bool parameters)
{
    size_t start = out->len;
    assert_true(der_add_oid(out, NID_rsaesOaep));
    size_t params = out->len;
    assert_true(der_add_oid(out, source));
    if (parameters)
        assert_true(der_add(out, DER_OCTET_STRING, bytes_str("")));
    assert_true(der_wrap(out, params, DER_SEQUENCE) &&
                der_wrap(out, params, DER_CONTEXT_CONSTRUCTED(2)) &&
                der_wrap(out, params, DER_SEQUENCE) && der_wrap(out, start, DER_SEQUENCE));
}

/* An EnvelopedData whose recipient's key encryption algorithm is the given element. */
static struct buf envelope_with(const struct cert *cert, struct bytes algorithm)
{
    static const uint8_t zero[] = {DER_INTEGER, 1, 0}, iv[16];
    struct buf out = {0};
    unsigned char *serial = NULL;
    int len = i2d_ASN1_INTEGER(X509_get0_serialNumber(cert_x509_get(cert)), &serial);
    assert_true(der_add_oid(&out, NID_pkcs7_enveloped));
    size_t data = out.len;
    assert_true(buf_add(&out, bytes_of(zero, 3)));
    size_t recipient = out.len;
    assert_true(buf_add(&out, bytes_of(zero, 3)));
    size_t id = out.len;
    assert_true(buf_add(&out, cert_issuer_get(cert)) &&
                buf_add(&out, bytes_of(serial, (size_t)len)) && der_wrap(&out, id, DER_SEQUENCE) &&
                buf_add(&out, algorithm) && der_add(&out, DER_OCTET_STRING, bytes_str("key")) &&
                der_wrap(&out, recipient, DER_SEQUENCE) && der_wrap(&out, recipient, DER_SET));
    OPENSSL_free(serial);
    size_t content = out.len;
    assert_true(der_add_oid(&out, NID_pkcs7_data));
    size_t cipher = out.len;
    assert_true(der_add_oid(&out, NID_aes_128_cbc) &&
                der_add(&out, DER_OCTET_STRING, bytes_of(iv, sizeof iv)) &&
                der_wrap(&out, cipher, DER_SEQUENCE) &&
                der_add(&out, DER_CONTEXT(0), bytes_of(iv, sizeof iv)) &&
                der_wrap(&out, content, DER_SEQUENCE) && der_wrap(&out, data, DER_SEQUENCE) &&
                der_wrap(&out, data, DER_CONTEXT_CONSTRUCTED(0)) &&
                der_wrap(&out, 0, DER_SEQUENCE));
    return out;
}

/* OAEP with a label source is let through only with well-formed parameters (CVE-2026-28390). */
static void test_oaep_source(void **state)
{
    static const struct {
        int source;
        bool parameters, fine;
    } rows[] = {{NID_pSpecified, true, true},
                {NID_pSpecified, false, false},
                {NID_mgf1, true, false},
                {NID_sha256, true, false}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf algorithm = {0};
        add_oaep_source(&algorithm, rows[i].source, rows[i].parameters);
        struct buf der = envelope_with(f->cert, buf_bytes(&algorithm));
        assert_int_equal(enveloped_fine(buf_bytes(&der), false), rows[i].fine);
        buf_free(&algorithm);
        buf_free(&der);
    }
}

/* Key encryption by anything but RSA PKCS#1 v1.5 and OAEP is refused, and so is OAEP without
 * parameters and PKCS#1 with some. */
static void test_key_encryption(void **state)
{
    static const struct {
        int nid;
        uint8_t params; /* tag of an empty element; 0: none */
        bool fine;
    } rows[] = {{NID_rsaEncryption, DER_NULL, true},
                {NID_rsaEncryption, 0, true},
                {NID_rsaEncryption, DER_SEQUENCE, false},
                {NID_rsaesOaep, DER_SEQUENCE, true},
                {NID_rsaesOaep, 0, false},
                {NID_rsaesOaep, DER_NULL, false},
                {NID_id_aes128_wrap, 0, false},
                {NID_rsassaPss, DER_SEQUENCE, false},
                {NID_X9_62_id_ecPublicKey, 0, false}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf algorithm = {0};
        assert_true(der_add_oid(&algorithm, rows[i].nid));
        if (rows[i].params)
            assert_true(der_add(&algorithm, rows[i].params, bytes_str("")));
        assert_true(der_wrap(&algorithm, 0, DER_SEQUENCE));
        struct buf der = envelope_with(f->cert, buf_bytes(&algorithm));
        assert_int_equal(enveloped_fine(buf_bytes(&der), false), rows[i].fine);
        buf_free(&algorithm);
        buf_free(&der);
    }
}

/* Recipients that are not by key transport (key agreement, password) are refused. */
static void test_other_recipients(void **state)
{
    struct fixture *f = *state;
    for (uint8_t number = 1; number <= 4; number++) {
        struct buf der = {0}, copy = {0};
        struct scep_make_envelope make = {.recipient = f->cert};
        scep_make_envelope(&make, bytes_str("plain"), &der);
        struct bytes cur = buf_bytes(&der);
        struct der info, oid, explicit, data, version, recipients;
        assert_true(der_take(&cur, &info) && der_take(&info.content, &oid) &&
                    der_take(&info.content, &explicit) && der_take(&explicit.content, &data) &&
                    der_take(&data.content, &version) && der_take(&data.content, &recipients));
        assert_true(buf_set(&copy, buf_bytes(&der)));
        copy.ptr[recipients.content.ptr - der.ptr] = (uint8_t)DER_CONTEXT_CONSTRUCTED(number);
        assert_true(enveloped_fine(buf_bytes(&der), false));
        assert_false(enveloped_fine(buf_bytes(&copy), false));
        buf_free(&der);
        buf_free(&copy);
    }
}

/* Ciphertext of no octets, or not of whole blocks, is refused: 17 octets crashed others. */
static void test_blocks(void **state)
{
    struct fixture *f = *state;
    static const size_t lens[] = {0, 1, 8, 15, 17, 31};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct buf algorithm = {0}, out = {0};
        assert_true(der_add_oid(&algorithm, NID_rsaEncryption) &&
                    der_wrap(&algorithm, 0, DER_SEQUENCE));
        struct buf der = envelope_with(f->cert, buf_bytes(&algorithm));
        assert_true(enveloped_fine(buf_bytes(&der), false));
        /* Its last element is the ciphertext: 18 octets with their header. */
        struct bytes cur = buf_bytes(&der), head, content;
        struct der info, oid, explicit, data, version, recipients, sealed, type, cipher;
        assert_true(der_take(&cur, &info) && der_take(&info.content, &oid) &&
                    der_take(&info.content, &explicit) && der_take(&explicit.content, &data) &&
                    der_take(&data.content, &version) && der_take(&data.content, &recipients) &&
                    der_take(&data.content, &sealed) && der_take(&sealed.content, &type) &&
                    der_take(&sealed.content, &cipher));
        head = bytes_of(type.whole.ptr, type.whole.len + cipher.whole.len);
        content = bytes_of(der.ptr, lens[i]);
        assert_true(buf_add(&out, oid.whole));
        size_t at = out.len;
        assert_true(buf_add(&out, version.whole) && buf_add(&out, recipients.whole));
        size_t inner = out.len;
        assert_true(buf_add(&out, head) && der_add(&out, DER_CONTEXT(0), content) &&
                    der_wrap(&out, inner, DER_SEQUENCE) && der_wrap(&out, at, DER_SEQUENCE) &&
                    der_wrap(&out, at, DER_CONTEXT_CONSTRUCTED(0)) &&
                    der_wrap(&out, 0, DER_SEQUENCE));
        assert_false(enveloped_fine(buf_bytes(&out), true));
        buf_free(&algorithm);
        buf_free(&der);
        buf_free(&out);
    }
}

/* A SignedData is no EnvelopedData, and the other way round. */
static void test_confused(void **state)
{
    struct fixture *f = *state;
    assert_false(signed_fine(buf_bytes(&f->envelope)));
    assert_false(enveloped_fine(buf_bytes(&f->message), true));
    assert_false(signed_fine((struct bytes){0}));
    assert_false(enveloped_fine((struct bytes){0}, true));
}

/* A certificate is named by issuer and serial both, or by its key identifier. */
static void test_names_cert(void **state)
{
    struct fixture *f = *state;
    static const uint8_t ski[] = {1, 2, 3, 4, 5};
    struct make_spec spec = {.subject = "CN=other"};
    struct cert *other = make_cert(&spec, f->key, NULL, NULL);
    const ASN1_INTEGER *number = X509_get0_serialNumber(cert_x509_get(f->cert));
    struct cms_id id = {
        .issuer = cert_issuer_get(f->cert),
        .serial = bytes_of(ASN1_STRING_get0_data(number), (size_t)ASN1_STRING_length(number))};
    assert_true(cms_id_names(&id, f->cert));
    assert_false(cms_id_names(&id, other));
    id.issuer = cert_issuer_get(other);
    assert_false(cms_id_names(&id, f->cert));
    id.issuer = cert_issuer_get(f->cert);
    id.serial.len--;
    assert_false(cms_id_names(&id, f->cert));
    id.serial = (struct bytes){0};
    assert_false(cms_id_names(&id, f->cert));
    id = (struct cms_id){.ski = bytes_of(ski, sizeof ski)};
    assert_true(cms_id_names(&id, f->cert));
    assert_false(cms_id_names(&id, other));
    id.ski.len--;
    assert_false(cms_id_names(&id, f->cert));
    cert_free(other);
}

/* Attributes are found wherever they stand, and a number has neither sign, space nor leading zero.
 */
static void test_attributes(void **state)
{
    (void)state;
    struct buf set = {0};
    struct bytes value;
    assert_true(scep_attr_add(&set, SCEP_ATTR_STATUS, bytes_str("3")) &&
                scep_attr_add(&set, SCEP_ATTR_FAIL, bytes_str("04")) &&
                scep_attr_add(&set, SCEP_ATTR_TYPE, bytes_str("123")) &&
                scep_attr_add(&set, SCEP_ATTR_FAIL_TEXT, bytes_str("grün")));
    assert_int_equal(scep_attr_number(buf_bytes(&set), SCEP_ATTR_STATUS), 3);
    assert_int_equal(scep_attr_number(buf_bytes(&set), SCEP_ATTR_FAIL), -1);
    assert_int_equal(scep_attr_number(buf_bytes(&set), SCEP_ATTR_TYPE), -1);
    assert_true(scep_attr_find(buf_bytes(&set), SCEP_ATTR_FAIL_TEXT, &value) &&
                bytes_equal_str(value, "grün"));
    assert_false(scep_attr_find(buf_bytes(&set), SCEP_ATTR_TXN, &value));
    for (size_t n = 0; n < set.len; n++)
        assert_false(scep_attr_find(bytes_of(set.ptr, n), SCEP_ATTR_FAIL_TEXT, &value));
    buf_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),           cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_changed),          cmocka_unit_test(test_depth),
        cmocka_unit_test(test_bounds),           cmocka_unit_test(test_digests),
        cmocka_unit_test(test_ciphers),          cmocka_unit_test(test_recipients),
        cmocka_unit_test(test_oaep_source),      cmocka_unit_test(test_key_encryption),
        cmocka_unit_test(test_other_recipients), cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_confused),         cmocka_unit_test(test_names_cert),
        cmocka_unit_test(test_attributes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
