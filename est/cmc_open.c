#include "base/der.h"
#include "base/text.h"
#include "est/cmc.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <string.h>
#include <time.h>

#define DEPTH_MAX 24
#define ELEMENTS_MAX 5000
#define SERIAL_MAX 32

/* The structure as byte ranges, found before OpenSSL sees it. */
struct found {
    struct bytes certs[EST_CMC_CERTS_MAX];
    size_t cert_count;
    struct bytes issuer, serial, ski; /* of the signer's identifier */
    int digest, signature;
    struct bytes attributes; /* content of signedAttrs */
};

static const int digests[] = {NID_sha256, NID_sha384, NID_sha512};
static const int signatures[] = {
    NID_rsaEncryption,
    NID_sha256WithRSAEncryption,
    NID_sha384WithRSAEncryption,
    NID_sha512WithRSAEncryption,
    NID_rsassaPss,
    NID_ecdsa_with_SHA256,
    NID_ecdsa_with_SHA384,
    NID_ecdsa_with_SHA512,
};

static bool on_list(const int *list, size_t count, int nid)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == nid)
            return true;
    return false;
}

int est_cmc_oid_nid(struct bytes whole)
{
    const unsigned char *p = whole.ptr;
    ASN1_OBJECT *object = d2i_ASN1_OBJECT(NULL, &p, (long)whole.len);
    int nid = object ? OBJ_obj2nid(object) : NID_undef;
    ASN1_OBJECT_free(object);
    ERR_clear_error();
    return nid;
}

static bool take_algorithm(struct bytes *cur, int *nid)
{
    struct der outer, oid;
    if (!der_take_tag(cur, DER_SEQUENCE, &outer) || !der_take_tag(&outer.content, DER_OID, &oid))
        return false;
    *nid = est_cmc_oid_nid(oid.whole);
    return true;
}

/* EncapsulatedContentInfo of type id-cct-PKIData, with a content. */
static bool take_encapsulated(struct bytes *cur)
{
    struct der outer, oid, explicit, octets;
    return der_take_tag(cur, DER_SEQUENCE, &outer) && der_take_tag(&outer.content, DER_OID, &oid) &&
           est_cmc_oid_nid(oid.whole) == NID_id_cct_PKIData &&
           der_take_tag(&outer.content, DER_CONTEXT_CONSTRUCTED(0), &explicit) &&
           outer.content.len == 0 && der_take(&explicit.content, &octets) &&
           explicit.content.len == 0 && (octets.tag & ~0x20u) == DER_OCTET_STRING;
}

static bool take_certs(struct bytes *cur, struct found *found)
{
    struct der bag, cert;
    if (!der_take_tag(cur, DER_CONTEXT_CONSTRUCTED(0), &bag))
        return true;
    while (bag.content.len) {
        if (found->cert_count == EST_CMC_CERTS_MAX ||
            !der_take_tag(&bag.content, DER_SEQUENCE, &cert))
            return false;
        found->certs[found->cert_count++] = cert.whole;
    }
    return true;
}

/* IssuerAndSerialNumber, or [0] SubjectKeyIdentifier. */
static bool take_identifier(struct bytes *cur, struct found *found)
{
    struct der outer, issuer, serial;
    if (der_take_tag(cur, DER_CONTEXT(0), &outer)) {
        found->ski = outer.content;
        return found->ski.len > 0;
    }
    if (!der_take_tag(cur, DER_SEQUENCE, &outer) ||
        !der_take_tag(&outer.content, DER_SEQUENCE, &issuer) ||
        !der_take_tag(&outer.content, DER_INTEGER, &serial) || outer.content.len)
        return false;
    found->issuer = issuer.whole;
    found->serial = serial.content;
    return serial.content.len > 0 && serial.content.len <= SERIAL_MAX;
}

static bool take_signer(struct bytes cur, struct found *found)
{
    struct der signer, version, attributes, signature, unsigned_attributes;
    if (!der_take_tag(&cur, DER_SEQUENCE, &signer) || cur.len ||
        !der_take_tag(&signer.content, DER_INTEGER, &version) ||
        !take_identifier(&signer.content, found) ||
        !take_algorithm(&signer.content, &found->digest) ||
        !der_take_tag(&signer.content, DER_CONTEXT_CONSTRUCTED(0), &attributes) ||
        !take_algorithm(&signer.content, &found->signature) ||
        !der_take(&signer.content, &signature) || (signature.tag & ~0x20u) != DER_OCTET_STRING)
        return false;
    found->attributes = attributes.content;
    return !signer.content.len ||
           (der_take_tag(&signer.content, DER_CONTEXT_CONSTRUCTED(1), &unsigned_attributes) &&
            !signer.content.len);
}

static bool take_signed(struct bytes der, struct found *found)
{
    struct der outer, oid, explicit, data, version, algorithms, crls, signers;
    return der_take_tag(&der, DER_SEQUENCE, &outer) && !der.len &&
           der_take_tag(&outer.content, DER_OID, &oid) &&
           est_cmc_oid_nid(oid.whole) == NID_pkcs7_signed &&
           der_take_tag(&outer.content, DER_CONTEXT_CONSTRUCTED(0), &explicit) &&
           !outer.content.len && der_take_tag(&explicit.content, DER_SEQUENCE, &data) &&
           !explicit.content.len && der_take_tag(&data.content, DER_INTEGER, &version) &&
           der_take_tag(&data.content, DER_SET, &algorithms) && take_encapsulated(&data.content) &&
           take_certs(&data.content, found) &&
           (!der_next_is(data.content, DER_CONTEXT_CONSTRUCTED(1)) ||
            der_take(&data.content, &crls)) &&
           der_take_tag(&data.content, DER_SET, &signers) && !data.content.len &&
           take_signer(signers.content, found);
}

/* The one value of a signed attribute, which must not occur twice. */
static bool find_attribute(struct bytes cur, int nid, struct der *ret)
{
    struct der attribute, oid, set;
    bool seen = false;
    while (cur.len) {
        if (!der_take_tag(&cur, DER_SEQUENCE, &attribute) ||
            !der_take_tag(&attribute.content, DER_OID, &oid) ||
            !der_take_tag(&attribute.content, DER_SET, &set))
            return false;
        if (est_cmc_oid_nid(oid.whole) != nid)
            continue;
        if (seen || !der_take(&set.content, ret) || set.content.len)
            return false;
        seen = true;
    }
    return seen;
}

static bool content_type_fine(struct bytes attributes)
{
    struct der value;
    return find_attribute(attributes, NID_pkcs9_contentType, &value) && value.tag == DER_OID &&
           est_cmc_oid_nid(value.whole) == NID_id_cct_PKIData;
}

static int64_t signing_time(struct bytes attributes)
{
    struct der value;
    struct tm tm;
    if (!find_attribute(attributes, NID_pkcs9_signingTime, &value))
        return 0;
    const unsigned char *p = value.whole.ptr;
    ASN1_TIME *time = d2i_ASN1_TIME(NULL, &p, (long)value.whole.len);
    int64_t at = time && ASN1_TIME_to_tm(time, &tm) ? timegm(&tm) : 0;
    ASN1_TIME_free(time);
    ERR_clear_error();
    return at;
}

static bool issuer_equal(struct bytes der, struct bytes issuer)
{
    const unsigned char *p = der.ptr, *q = issuer.ptr;
    X509_NAME *a = d2i_X509_NAME(NULL, &p, (long)der.len);
    X509_NAME *b = d2i_X509_NAME(NULL, &q, (long)issuer.len);
    bool equal = a && b && X509_NAME_cmp(a, b) == 0;
    X509_NAME_free(a);
    X509_NAME_free(b);
    ERR_clear_error();
    return equal;
}

static bool names_cert(const struct found *found, const struct cert *cert)
{
    if (found->ski.len) {
        const ASN1_OCTET_STRING *ski = X509_get0_subject_key_id(cert_x509_get(cert));
        return ski && bytes_equal(found->ski, bytes_of(ASN1_STRING_get0_data(ski),
                                                       (size_t)ASN1_STRING_length(ski)));
    }
    char hex[2 * SERIAL_MAX + 1];
    struct bytes serial = found->serial;
    if (serial.len > 1 && serial.ptr[0] == 0)
        serial = bytes_of(serial.ptr + 1, serial.len - 1); /* the sign octet of DER */
    text_hex(serial, hex);
    return strcmp(hex, cert_serial_get(cert)) == 0 &&
           issuer_equal(found->issuer, cert_issuer_get(cert));
}

/* The one certificate of the bag that the SignerInfo names. Others need not be well-formed. */
static bool find_signer(const struct found *found, struct est_cmc_message *ret, struct err *err)
{
    for (size_t i = 0; i < found->cert_count; i++) {
        struct cert *cert;
        struct err ignored;
        if (!cert_parse(found->certs[i], &cert, &ignored))
            continue;
        if (!names_cert(found, cert)) {
            ret->along[ret->along_count++] = cert;
        } else if (!ret->signer) {
            ret->signer = cert;
        } else {
            cert_free(cert);
            return err_set(err, ERR_PEER, "two certificates are named as the signer");
        }
    }
    return ret->signer || err_set(err, ERR_PEER, "the signer's certificate is not in the message");
}

/* OpenSSL is given the one certificate and may not look for another in the message. */
static bool verify(struct bytes der, struct est_cmc_message *message, struct err *err)
{
    const unsigned char *p = der.ptr;
    const unsigned flags = CMS_NO_SIGNER_CERT_VERIFY | CMS_NOINTERN | CMS_BINARY;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.len);
    X509 *x509 = cert_keyed_get(message->signer);
    STACK_OF(X509) *certs = sk_X509_new_null();
    BIO *out = BIO_new(BIO_s_mem());
    char *data;
    bool ok = false;
    if (!certs || !out || (x509 && !sk_X509_push(certs, x509)))
        err_no_memory();
    if (!cms || p != der.ptr + der.len) {
        err_openssl(err, ERR_PEER, "a message that OpenSSL cannot read");
    } else if (CMS_verify(cms, certs, NULL, NULL, out, flags) != 1) {
        err_openssl(err, ERR_PEER, "the message's signature is wrong");
    } else {
        size_t len = (size_t)BIO_get_mem_data(out, &data);
        ok = buf_set(&message->content, bytes_of(data, len)) ||
             err_set(err, ERR_PEER, "a message with %zu bytes of content", len);
        OPENSSL_cleanse(data, len);
    }
    ERR_clear_error();
    CMS_ContentInfo_free(cms);
    sk_X509_free(certs);
    BIO_free(out);
    return ok;
}

bool est_cmc_open(struct bytes der, struct est_cmc_message *ret, enum est_cmc_fail *fail,
                  struct err *err)
{
    struct found found = {0};
    *ret = (struct est_cmc_message){.content = BUF_SECRET(EST_CMC_MAX)};
    *fail = EST_CMC_BAD_REQUEST;
    if (der.len > EST_CMC_MAX)
        return err_set(err, ERR_PEER, "a message of %zu bytes", der.len);
    if (!der_check(der, DEPTH_MAX, ELEMENTS_MAX))
        return err_set(err, ERR_PEER, "a message that is not whole, or nested too deeply");
    if (!take_signed(der, &found))
        return err_set(err, ERR_PEER,
                       "a message that is not a SignedData over PKIData with one signer and at "
                       "most %d certificates",
                       EST_CMC_CERTS_MAX);
    *fail = EST_CMC_BAD_ALG;
    if (!on_list(digests, sizeof digests / sizeof digests[0], found.digest) ||
        !on_list(signatures, sizeof signatures / sizeof signatures[0], found.signature))
        return err_set(err, ERR_PEER, "a message signed with %s and %s, which is not allowed",
                       OBJ_nid2sn(found.digest), OBJ_nid2sn(found.signature));
    *fail = EST_CMC_BAD_MESSAGE_CHECK;
    if (!content_type_fine(found.attributes))
        return err_set(err, ERR_PEER, "a message whose contentType attribute is not PKIData");
    ret->signing_time = signing_time(found.attributes);
    return find_signer(&found, ret, err) && verify(der, ret, err);
}

void est_cmc_message_clear(struct est_cmc_message *message)
{
    cert_free(message->signer);
    for (size_t i = 0; i < message->along_count; i++)
        cert_free(message->along[i]);
    buf_free(&message->content);
    *message = (struct est_cmc_message){0};
}
