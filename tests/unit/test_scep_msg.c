#include "base/der.h"
#include "base/pem.h"
#include "scep/attrs.h"
#include "scep/msg.h"
#include "tests/support/pki_make.h"
#include "tests/support/scep_make.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TXN "5E0D/txn+7="
#define NONCE "0123456789abcdef"
#define CONTENT "what the device says"

struct fixture {
    EVP_PKEY *device_key, *victim_key, *ec_key;
    struct cert *device, *victim, *ec;
};

static struct cert *self_signed(const char *subject, const char *ski, EVP_PKEY *key)
{
    const char *extensions[] = {"subjectKeyIdentifier", ski, NULL};
    struct make_spec spec = {.subject = subject, .extensions = extensions};
    return make_cert(&spec, key, NULL, NULL);
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    f->device_key = make_rsa(2048);
    f->victim_key = make_rsa(2048);
    f->ec_key = make_ec("P-256");
    f->device = self_signed("CN=device", "0102030405060708", f->device_key);
    f->victim = self_signed("CN=victim", "1112131415161718", f->victim_key);
    f->ec = self_signed("CN=ec", "2122232425262728", f->ec_key);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY_free(f->device_key);
    EVP_PKEY_free(f->victim_key);
    EVP_PKEY_free(f->ec_key);
    cert_free(f->device);
    cert_free(f->victim);
    cert_free(f->ec);
    free(f);
    return 0;
}

/* A good PKCSReq of the device, to be spoiled. */
static struct scep_make good(const struct fixture *f)
{
    return (struct scep_make){
        .type = "19",
        .txn = bytes_str(TXN),
        .nonce = bytes_str(NONCE),
        .content = bytes_str(CONTENT),
        .signer = f->device,
        .key = f->device_key,
    };
}

/* What became of a message. */
struct parsed {
    bool ok, partial;
    enum scep_fail fail;
    struct scep_msg *msg;
    struct err err;
};

static struct parsed parse(struct bytes der)
{
    struct parsed p = {.fail = SCEP_BAD_TIME};
    p.ok = scep_msg_parse(der, &p.msg, &p.partial, &p.fail, &p.err);
    assert_true(p.ok || p.err.kind == ERR_PEER);
    assert_true(p.ok || p.err.text[0]);
    assert_int_equal(ERR_peek_error(), 0);
    if (!p.ok && !p.partial)
        assert_null(p.msg);
    return p;
}

static struct parsed parse_made(const struct scep_make *make)
{
    struct buf der = {0};
    scep_make(make, &der);
    struct parsed p = parse(buf_bytes(&der));
    buf_free(&der);
    return p;
}

static void assert_good(const struct fixture *f, const struct parsed *p)
{
    if (!p->ok)
        fail_msg("refused: %s", p->err.text);
    assert_int_equal(scep_msg_type_get(p->msg), SCEP_PKCSREQ);
    assert_true(bytes_equal_str(scep_msg_txn_get(p->msg), TXN));
    assert_true(bytes_equal_str(scep_msg_nonce_get(p->msg), NONCE));
    assert_true(bytes_equal_str(scep_msg_content_get(p->msg), CONTENT));
    assert_true(bytes_equal(cert_der_get(scep_msg_signer_get(p->msg)), cert_der_get(f->device)));
    assert_int_equal(scep_msg_status_get(p->msg), -1);
    assert_int_equal(scep_msg_fail_get(p->msg), -1);
}

/* Refused, and a FAILURE can be addressed (partial) or not. */
static void assert_refused(const struct scep_make *make, bool partial, enum scep_fail fail)
{
    struct parsed p = parse_made(make);
    assert_false(p.ok);
    assert_int_equal(p.partial, partial);
    assert_int_equal(p.fail, fail);
    if (partial) {
        assert_true(bytes_equal(scep_msg_txn_get(p.msg), make->txn));
        assert_true(bytes_equal(scep_msg_nonce_get(p.msg), make->nonce));
    }
    scep_msg_free(p.msg);
}

static void assert_accepted(const struct fixture *f, const struct scep_make *make)
{
    struct parsed p = parse_made(make);
    assert_good(f, &p);
    scep_msg_free(p.msg);
}

/* A message as it should be is read whole, with every digest, by RSA and by ECDSA, with attributes
 * in any order and the signer named either way. */
static void test_good(void **state)
{
    static const int digests[] = {NID_sha1, NID_sha256, NID_sha384, NID_sha512};
    struct fixture *f = *state;
    for (size_t i = 0; i < 4; i++) {
        struct scep_make make = good(f);
        make.digest = digests[i];
        struct parsed p = parse_made(&make);
        assert_good(f, &p);
        assert_int_equal(scep_msg_algs_get(p.msg).digest, digests[i]);
        scep_msg_free(p.msg);
    }
    struct scep_make make = good(f);
    make.signature = NID_sha256WithRSAEncryption;
    assert_accepted(f, &make);
    make = good(f);
    make.unsorted = true;
    assert_accepted(f, &make);
    make = good(f);
    make.by_ski = true;
    assert_accepted(f, &make);
    make = good(f);
    make.signer = f->ec, make.key = f->ec_key;
    struct parsed p = parse_made(&make);
    assert_true(p.ok);
    assert_int_equal(cert_spki_get(scep_msg_signer_get(p.msg))->kind, SPKI_EC);
    scep_msg_free(p.msg);
}

/* Indefinite lengths and constructed strings mean the same (Apple, BouncyCastle). */
static void test_indefinite(void **state)
{
    struct fixture *f = *state;
    struct scep_make make = good(f);
    struct buf der = {0}, ber = {0}, long_content = {0};
    scep_make(&make, &der);
    scep_make_indefinite(buf_bytes(&der), &ber);
    assert_false(bytes_equal(buf_bytes(&der), buf_bytes(&ber)));
    struct parsed p = parse(buf_bytes(&ber));
    assert_good(f, &p);
    scep_msg_free(p.msg);

    for (int i = 0; i < 1000; i++)
        assert_true(buf_add_u8(&long_content, (uint8_t)i));
    make.content = buf_bytes(&long_content);
    buf_clear(&der);
    buf_clear(&ber);
    scep_make(&make, &der);
    scep_make_indefinite(buf_bytes(&der), &ber);
    p = parse(buf_bytes(&ber));
    assert_true(p.ok);
    assert_true(bytes_equal(scep_msg_content_get(p.msg), buf_bytes(&long_content)));
    scep_msg_free(p.msg);
    for (size_t n = 0; n < ber.len; n++) {
        p = parse(bytes_of(ber.ptr, n));
        assert_false(p.ok || p.partial);
    }
    buf_free(&der);
    buf_free(&ber);
    buf_free(&long_content);
}

/* A message that is cut short anywhere is refused, and so is one with a byte behind it. */
static void test_truncated(void **state)
{
    struct fixture *f = *state;
    struct scep_make make = good(f);
    struct buf der = {0};
    scep_make(&make, &der);
    for (size_t n = 0; n < der.len; n++) {
        uint8_t *copy = mem_zalloc(n + 1);
        memcpy(copy, der.ptr, n);
        struct parsed p = parse(bytes_of(copy, n));
        assert_false(p.ok || p.partial);
        free(copy);
    }
    assert_true(buf_add_u8(&der, 0));
    struct parsed p = parse(buf_bytes(&der));
    assert_false(p.ok || p.partial);
    buf_free(&der);
}

static void assert_same_request(const struct fixture *f, const struct parsed *p, size_t at)
{
    const struct cert *signer = scep_msg_signer_get(p->msg);
    if (scep_msg_type_get(p->msg) != SCEP_PKCSREQ ||
        !bytes_equal_str(scep_msg_txn_get(p->msg), TXN) ||
        !bytes_equal_str(scep_msg_nonce_get(p->msg), NONCE) ||
        !bytes_equal_str(scep_msg_content_get(p->msg), CONTENT) ||
        !spki_equal(cert_spki_get(signer), cert_spki_get(f->device)))
        fail_msg("a change of byte %zu decodes to another request", at);
}

/* Every change of a single byte is refused or means the same request by the same key. */
static void test_changed(void **state)
{
    struct fixture *f = *state;
    struct scep_make make = good(f);
    struct buf der = {0};
    size_t refused = 0;
    scep_make(&make, &der);
    for (size_t n = 0; n < der.len; n++) {
        for (unsigned bit = 0; bit < 8; bit += 3) {
            der.ptr[n] ^= (uint8_t)(1u << (n + bit) % 8);
            struct parsed p = parse(buf_bytes(&der));
            if (p.ok)
                assert_same_request(f, &p, n);
            refused += !p.ok;
            scep_msg_free(p.msg);
            der.ptr[n] ^= (uint8_t)(1u << (n + bit) % 8);
        }
    }
    struct parsed p = parse(buf_bytes(&der));
    assert_good(f, &p);
    scep_msg_free(p.msg);
    assert_true(refused > der.len); /* of three changes for each byte */
    buf_free(&der);
}

/* Exactly one SignerInfo; not none, not two, not even the same one twice. */
static void test_signers(void **state)
{
    struct fixture *f = *state;
    struct scep_make make = good(f);
    make.signers = 2;
    assert_refused(&make, false, SCEP_BAD_MESSAGE_CHECK);
    make.signers = SCEP_MAKE_NONE;
    assert_refused(&make, false, SCEP_BAD_MESSAGE_CHECK);
}

/* A copy of a certificate with another key and, so that our own parser skips it, with a subject
 * that no certificate may have. Issuer and serial are those of the victim. */
static struct buf impostor(const struct fixture *f, bool unreadable)
{
    struct make_spec spec = {.subject = "CN=impostor"};
    X509 *x509 = make_x509(&spec, f->device_key, NULL, NULL);
    X509 *victim = cert_x509_get(f->victim);
    X509_NAME *name = X509_NAME_dup(X509_get_subject_name(x509));
    static const unsigned char odd[] = "a\x01b";
    unsigned char *text = NULL;
    struct buf der = {0};
    assert_true(X509_set_issuer_name(x509, X509_get_issuer_name(victim)) &&
                X509_set_serialNumber(x509, X509_get_serialNumber(victim)));
    if (unreadable)
        assert_true(X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, odd, 3, -1, 0));
    assert_true(X509_set_subject_name(x509, name) && X509_sign(x509, f->device_key, EVP_sha256()));
    int len = i2d_X509(x509, &text);
    assert_true(len > 0 && buf_set(&der, bytes_of(text, (size_t)len)));
    OPENSSL_free(text);
    X509_NAME_free(name);
    X509_free(x509);
    return der;
}

/* The signer is the certificate that the SignerInfo names, wherever it stands in the bag. */
static void test_bag_order(void **state)
{
    struct fixture *f = *state;
    struct bytes certs[3] = {cert_der_get(f->victim), cert_der_get(f->device), cert_der_get(f->ec)};
    struct scep_make make = good(f);
    make.certs = certs;
    for (size_t i = 0; i < 3; i++) {
        struct bytes first = certs[0];
        make.cert_count = 3;
        assert_accepted(f, &make);
        certs[0] = certs[1], certs[1] = certs[2], certs[2] = first;
    }
}

/* Who holds another key cannot speak for the victim: not with the victim's certificate beside his
 * own, not by naming it, and not with certificates that carry the victim's issuer and serial. */
static void test_impostor(void **state)
{
    struct fixture *f = *state;
    struct buf readable = impostor(f, false), unreadable = impostor(f, true);
    struct bytes own = cert_der_get(f->device), victim = cert_der_get(f->victim);
    const struct {
        struct bytes certs[3];
        size_t count;
    } bags[] = {
        {{victim}, 1},
        {{victim, own}, 2},
        {{own, victim}, 2},
        {{victim, victim}, 2},
        {{buf_bytes(&unreadable), victim}, 2},
        {{victim, buf_bytes(&unreadable)}, 2},
        {{buf_bytes(&readable), victim}, 2},
        {{victim, buf_bytes(&readable)}, 2},
        {{buf_bytes(&unreadable)}, 1},
        {{own}, 1},
    };
    for (size_t i = 0; i < sizeof bags / sizeof bags[0]; i++) {
        struct scep_make make = good(f);
        make.signer = f->victim; /* named, but the key is the device's */
        make.certs = bags[i].certs;
        make.cert_count = bags[i].count;
        assert_refused(&make, true, SCEP_BAD_MESSAGE_CHECK);
    }
    buf_free(&readable);
    buf_free(&unreadable);
}

/* No certificate at all, nine of them, or the signer's twice, are refused; eight are not, and the
 * other seven need not even be readable. */
static void test_bag_size(void **state)
{
    struct fixture *f = *state;
    struct bytes certs[SCEP_CERTS_MAX + 1];
    struct scep_make make = good(f);
    make.certs = certs;
    assert_refused(&make, true, SCEP_BAD_MESSAGE_CHECK);
    certs[0] = cert_der_get(f->device);
    for (size_t i = 1; i < SCEP_CERTS_MAX + 1; i++)
        certs[i] = cert_der_get(f->victim);
    make.cert_count = SCEP_CERTS_MAX;
    assert_accepted(f, &make);
    make.cert_count++;
    assert_refused(&make, false, SCEP_BAD_MESSAGE_CHECK);

    struct buf unreadable = impostor(f, true);
    certs[1] = buf_bytes(&unreadable);
    make.cert_count = 2;
    assert_accepted(f, &make);
    certs[1] = certs[0];
    assert_refused(&make, true, SCEP_BAD_MESSAGE_CHECK);
    buf_free(&unreadable);
}

/* A serial number whose first bit is set is found although its INTEGER begins with a zero. */
static void test_high_serial(void **state)
{
    struct fixture *f = *state;
    static const unsigned char octets[] = {0x80, 0xff, 1};
    X509 *x509 = make_x509(&(struct make_spec){.subject = "CN=high"}, f->device_key, NULL, NULL);
    BIGNUM *number = BN_bin2bn(octets, sizeof octets, NULL);
    struct cert *high = NULL;
    struct err err;
    assert_true(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) &&
                X509_sign(x509, f->device_key, EVP_sha256()) && cert_from_x509(x509, &high, &err));
    struct scep_make make = good(f);
    make.signer = high;
    struct parsed p = parse_made(&make);
    assert_true(p.ok);
    assert_true(bytes_equal(cert_der_get(scep_msg_signer_get(p.msg)), cert_der_get(high)));
    scep_msg_free(p.msg);
    BN_free(number);
    cert_free(high);
    X509_free(x509);
}

/* A messageType is exactly one decimal number; a number that is unknown is told as it is. */
static void test_types(void **state)
{
    static const struct {
        const char *text;
        int want;
    } rows[] = {
        {"0", 0},    {"3", 3},    {"16", 16},   {"17", 17},   {"18", 18},  {"19", 19},  {"20", 20},
        {"21", 21},  {"22", 22},  {"23", 23},   {"99", 99},   {"19 ", -1}, {" 19", -1}, {"019", -1},
        {"", -1},    {"abc", -1}, {"1", 1},     {"-1", -1},   {"+19", -1}, {"00", -1},  {"01", -1},
        {"190", -1}, {"1.", -1},  {"0x13", -1}, {"19\n", -1}, {NULL, -1},  {"1 9", -1},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scep_make make = good(f);
        make.type = rows[i].text;
        struct parsed p = parse_made(&make);
        assert_true(p.ok);
        assert_int_equal(scep_msg_type_get(p.msg), rows[i].want);
        scep_msg_free(p.msg);
    }
}

/* SEQUENCE { OID, SET { value, value, ... } } */
static struct buf attribute(enum scep_attr attr, uint8_t tag, const char *text, unsigned count)
{
    struct buf buf = {0};
    assert_true(der_add(&buf, DER_OID, scep_attr_oid(attr)));
    size_t values = buf.len;
    for (unsigned i = 0; i < count; i++)
        assert_true(der_add(&buf, tag, bytes_str(text)));
    assert_true(der_wrap(&buf, values, DER_SET) && der_wrap(&buf, 0, DER_SEQUENCE));
    return buf;
}

/* A messageType that is there twice, has two values or none, or is no PrintableString, is none. */
static void test_odd_types(void **state)
{
    struct fixture *f = *state;
    const struct {
        const char *first;
        uint8_t tag;
        unsigned values;
    } rows[] = {
        {"19", DER_PRINTABLE_STRING, 1}, {NULL, DER_PRINTABLE_STRING, 2},
        {NULL, DER_PRINTABLE_STRING, 0}, {NULL, DER_UTF8_STRING, 1},
        {NULL, DER_OCTET_STRING, 1},     {"3", DER_PRINTABLE_STRING, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scep_make make = good(f);
        struct buf more = attribute(SCEP_ATTR_TYPE, rows[i].tag, "19", rows[i].values);
        make.type = rows[i].first;
        make.more = buf_bytes(&more);
        struct parsed p = parse_made(&make);
        if (p.ok)
            assert_int_equal(scep_msg_type_get(p.msg), -1);
        scep_msg_free(p.msg);
        buf_free(&more);
    }
}

/* A transactionID is there once, with 1 to 256 octets of any kind; else nothing can be answered. */
static void test_transaction(void **state)
{
    struct fixture *f = *state;
    char text[SCEP_TXN_MAX + 2];
    struct scep_make make = good(f);
    memset(text, 'x', sizeof text);
    make.txn = bytes_of(text, SCEP_TXN_MAX);
    struct parsed p = parse_made(&make);
    assert_true(p.ok);
    assert_int_equal(scep_msg_txn_get(p.msg).len, SCEP_TXN_MAX);
    scep_msg_free(p.msg);
    make.txn.len++;
    assert_refused(&make, false, SCEP_BAD_MESSAGE_CHECK);
    make.txn.len = 0;
    assert_refused(&make, false, SCEP_BAD_MESSAGE_CHECK);
    make.txn = (struct bytes){0};
    assert_refused(&make, false, SCEP_BAD_MESSAGE_CHECK);
    struct buf more = attribute(SCEP_ATTR_TXN, DER_PRINTABLE_STRING, TXN, 1);
    make = good(f);
    make.more = buf_bytes(&more);
    assert_refused(&make, false, SCEP_BAD_MESSAGE_CHECK);
    buf_free(&more);
    more = attribute(SCEP_ATTR_TXN, DER_PRINTABLE_STRING, TXN, 2);
    make.txn = (struct bytes){0};
    make.more = buf_bytes(&more);
    assert_refused(&make, false, SCEP_BAD_MESSAGE_CHECK);
    buf_free(&more);
}

/* A senderNonce may be of 8 octets (old iOS); one that is too long or ambiguous is never echoed. */
static void test_nonce(void **state)
{
    struct fixture *f = *state;
    static const char zeros[65];
    struct scep_make make = good(f);
    make.nonce = bytes_of(zeros, 8);
    struct parsed p = parse_made(&make);
    assert_true(p.ok && scep_msg_nonce_get(p.msg).len == 8);
    scep_msg_free(p.msg);
    make.nonce = bytes_of(zeros, 65);
    assert_refused(&make, false, SCEP_BAD_MESSAGE_CHECK);
    make.nonce = (struct bytes){0};
    p = parse_made(&make);
    assert_true(!p.msg || scep_msg_nonce_get(p.msg).len == 0);
    scep_msg_free(p.msg);
    struct buf more = attribute(SCEP_ATTR_SENDER_NONCE, DER_OCTET_STRING, "another", 1);
    make = good(f);
    make.more = buf_bytes(&more);
    p = parse_made(&make);
    assert_true(!p.msg || scep_msg_nonce_get(p.msg).len == 0);
    scep_msg_free(p.msg);
    buf_free(&more);
}

/* A signature that does not cover the content, the attributes or the right type is refused, and the
 * refusal can be addressed. */
static void test_signature(void **state)
{
    struct fixture *f = *state;
    struct scep_make make = good(f);
    make.wrong_digest = true;
    assert_refused(&make, true, SCEP_BAD_MESSAGE_CHECK);
    make = good(f);
    make.content_type = SCEP_MAKE_NONE;
    assert_refused(&make, true, SCEP_BAD_MESSAGE_CHECK);
    make = good(f);
    make.content_type = NID_pkcs7_enveloped;
    assert_refused(&make, true, SCEP_BAD_MESSAGE_CHECK);
    make = good(f);
    make.content = (struct bytes){0};
    assert_refused(&make, true, SCEP_BAD_MESSAGE_CHECK);
    make = good(f);
    make.no_attributes = true;
    assert_refused(&make, false, SCEP_BAD_MESSAGE_CHECK);
    make = good(f);
    make.outer_type = NID_pkcs7_enveloped;
    assert_refused(&make, false, SCEP_BAD_MESSAGE_CHECK);
}

/* MD5, and a signature algorithm that nobody asked for, are badAlg. */
static void test_algorithms(void **state)
{
    struct fixture *f = *state;
    static const int signatures[] = {NID_md5WithRSAEncryption, NID_dsa, NID_hmac_sha1,
                                     NID_pkcs7_data};
    struct scep_make make = good(f);
    make.digest = NID_md5;
    assert_refused(&make, true, SCEP_BAD_ALG);
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        make = good(f);
        make.signature = signatures[i];
        assert_refused(&make, true, SCEP_BAD_ALG);
    }
}

/* The signer's RSA key is the same key however its SubjectPublicKeyInfo is written: the certificate
 * is not covered by the signature, so whoever repeats a message may rewrite it. */
static void test_rewritten_key(void **state)
{
    struct fixture *f = *state;
    const struct spki *spki = cert_spki_get(f->device);
    struct bytes cur = buf_bytes(&spki->der);
    struct der outer, algorithm, oid, bits;
    struct buf bare = {0}, longer = {0}, odd = {0};
    struct spki again;
    struct err err;
    assert_true(der_take(&cur, &outer) && der_take(&outer.content, &algorithm) &&
                der_take(&outer.content, &bits) && der_take(&algorithm.content, &oid));
    assert_true(der_add(&bare, DER_SEQUENCE, oid.whole) && buf_add(&bare, bits.whole) &&
                der_wrap(&bare, 0, DER_SEQUENCE));
    assert_true(spki_parse(buf_bytes(&bare), &again, &err));
    assert_true(spki_equal(spki, &again));
    spki_clear(&again);

    uint8_t head[] = {DER_SEQUENCE, 0x83, 0, 0, 0};
    size_t len = algorithm.whole.len + bits.whole.len;
    head[3] = (uint8_t)(len >> 8);
    head[4] = (uint8_t)len;
    assert_true(buf_add(&longer, bytes_of(head, sizeof head)) &&
                buf_add(&longer, algorithm.whole) && buf_add(&longer, bits.whole));
    assert_true(spki_parse(buf_bytes(&longer), &again, &err));
    assert_true(spki_equal(spki, &again));
    spki_clear(&again);

    assert_true(buf_add(&odd, oid.whole) && der_add(&odd, DER_INTEGER, bytes_str("x")) &&
                der_wrap(&odd, 0, DER_SEQUENCE) && buf_add(&odd, bits.whole) &&
                der_wrap(&odd, 0, DER_SEQUENCE));
    assert_false(spki_parse(buf_bytes(&odd), &again, &err));
    assert_false(spki_equal(spki, cert_spki_get(f->victim)));
    buf_free(&bare);
    buf_free(&longer);
    buf_free(&odd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),        cmocka_unit_test(test_indefinite),
        cmocka_unit_test(test_truncated),   cmocka_unit_test(test_changed),
        cmocka_unit_test(test_signers),     cmocka_unit_test(test_bag_order),
        cmocka_unit_test(test_impostor),    cmocka_unit_test(test_bag_size),
        cmocka_unit_test(test_high_serial), cmocka_unit_test(test_types),
        cmocka_unit_test(test_odd_types),   cmocka_unit_test(test_transaction),
        cmocka_unit_test(test_nonce),       cmocka_unit_test(test_signature),
        cmocka_unit_test(test_algorithms),  cmocka_unit_test(test_rewritten_key),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
