#include "base/cms.h"

#include "base/text.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <string.h>

#define ELEMENTS_MAX 5000
/* certmonger's self-signed certificates have 32 octets, half of them with the sign octet of DER. */
#define SERIAL_MAX 33

int cms_oid_nid(struct bytes whole)
{
    const unsigned char *p = whole.ptr;
    ASN1_OBJECT *object = d2i_ASN1_OBJECT(NULL, &p, (long)whole.len);
    int nid = object ? OBJ_obj2nid(object) : NID_undef;
    ASN1_OBJECT_free(object);
    ERR_clear_error();
    return nid;
}

bool cms_nid_in(const int *list, size_t count, int nid)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == nid)
            return true;
    return false;
}

bool cms_algorithm_take(struct bytes *cur, int *nid, struct der *params)
{
    struct der outer, oid;
    if (!der_take_tag(cur, DER_SEQUENCE, &outer) || !der_take_tag(&outer.content, DER_OID, &oid))
        return false;
    *params = (struct der){0};
    if (outer.content.len && (!der_take(&outer.content, params) || outer.content.len))
        return false;
    *nid = cms_oid_nid(oid.whole);
    return true;
}

bool cms_content_take(struct bytes der, int type, struct der *content)
{
    struct der outer, oid, explicit;
    return der_take_tag(&der, DER_SEQUENCE, &outer) && der.len == 0 &&
           der_take_tag(&outer.content, DER_OID, &oid) && cms_oid_nid(oid.whole) == type &&
           der_take_tag(&outer.content, DER_CONTEXT_CONSTRUCTED(0), &explicit) &&
           outer.content.len == 0 && der_take_tag(&explicit.content, DER_SEQUENCE, content) &&
           explicit.content.len == 0;
}

bool cms_id_take(struct bytes *cur, struct cms_id *ret)
{
    struct der outer, issuer, serial;
    *ret = (struct cms_id){0};
    if (der_take_tag(cur, DER_CONTEXT(0), &outer)) {
        ret->ski = outer.content;
        return ret->ski.len > 0;
    }
    if (!der_take_tag(cur, DER_SEQUENCE, &outer) ||
        !der_take_tag(&outer.content, DER_SEQUENCE, &issuer) ||
        !der_take_tag(&outer.content, DER_INTEGER, &serial) || outer.content.len)
        return false;
    ret->issuer = issuer.whole;
    ret->serial = serial.content;
    return ret->serial.len > 0 && ret->serial.len <= SERIAL_MAX;
}

static bool issuer_equal(struct bytes der, struct bytes issuer)
{
    const unsigned char *p = der.ptr, *q = issuer.ptr;
    if (bytes_equal(der, issuer))
        return true;
    X509_NAME *a = d2i_X509_NAME(NULL, &p, (long)der.len);
    X509_NAME *b = d2i_X509_NAME(NULL, &q, (long)issuer.len);
    bool equal = a && b && X509_NAME_cmp(a, b) == 0;
    X509_NAME_free(a);
    X509_NAME_free(b);
    ERR_clear_error();
    return equal;
}

bool cms_id_names(const struct cms_id *id, const struct cert *cert)
{
    if (id->ski.len) {
        const ASN1_OCTET_STRING *ski = X509_get0_subject_key_id(cert_x509_get(cert));
        return ski && bytes_equal(id->ski, bytes_of(ASN1_STRING_get0_data(ski),
                                                    (size_t)ASN1_STRING_length(ski)));
    }
    char hex[2 * SERIAL_MAX + 1];
    struct bytes serial = id->serial;
    if (serial.len > 1 && serial.ptr[0] == 0)
        serial = bytes_of(serial.ptr + 1, serial.len - 1); /* the sign octet of DER */
    text_hex(serial, hex);
    return strcmp(hex, cert_serial_get(cert)) == 0 &&
           issuer_equal(id->issuer, cert_issuer_get(cert));
}

static bool take_certs(struct bytes *cur, size_t most, struct cms_signed *found, struct err *err)
{
    struct der bag, cert;
    if (!der_take_tag(cur, DER_CONTEXT_CONSTRUCTED(0), &bag))
        return true;
    while (bag.content.len) {
        if (found->cert_count == most)
            return err_set(err, ERR_PEER, "a SignedData with more than %zu certificates", most);
        if (!der_take_tag(&bag.content, DER_SEQUENCE, &cert))
            return err_set(err, ERR_PEER, "a SignedData with something else than certificates");
        found->certs[found->cert_count++] = cert.whole;
    }
    return true;
}

static bool take_signer(struct bytes cur, struct cms_signed *found)
{
    struct der signer, version, attributes, signature, params;
    if (!der_take_tag(&cur, DER_SEQUENCE, &signer) || cur.len ||
        !der_take_tag(&signer.content, DER_INTEGER, &version) ||
        !cms_id_take(&signer.content, &found->signer) ||
        !cms_algorithm_take(&signer.content, &found->digest, &params) ||
        !der_take_tag(&signer.content, DER_CONTEXT_CONSTRUCTED(0), &attributes) ||
        !cms_algorithm_take(&signer.content, &found->signature, &params) ||
        !der_take(&signer.content, &signature) || (signature.tag & ~0x20u) != DER_OCTET_STRING)
        return false;
    struct der unsigned_attributes;
    if (signer.content.len &&
        (!der_take_tag(&signer.content, DER_CONTEXT_CONSTRUCTED(1), &unsigned_attributes) ||
         signer.content.len))
        return false;
    found->attributes = attributes.content;
    return true;
}

/* EncapsulatedContentInfo of this type; the content may be missing. */
static bool take_encapsulated(struct bytes *cur, int type)
{
    struct der outer, oid, explicit, octets;
    if (!der_take_tag(cur, DER_SEQUENCE, &outer) || !der_take_tag(&outer.content, DER_OID, &oid) ||
        cms_oid_nid(oid.whole) != type)
        return false;
    if (outer.content.len == 0)
        return true;
    return der_take_tag(&outer.content, DER_CONTEXT_CONSTRUCTED(0), &explicit) &&
           outer.content.len == 0 && der_take(&explicit.content, &octets) &&
           explicit.content.len == 0 && (octets.tag & ~0x20u) == DER_OCTET_STRING;
}

bool cms_signed_take(struct bytes der, int type, size_t certs_max, struct cms_signed *ret,
                     struct err *err)
{
    struct cms_signed found = {0};
    struct der data, version, algorithms, crls, signers;
    if (!der_check(der, DER_DEPTH_MAX, ELEMENTS_MAX))
        return err_set(err, ERR_PEER, "a message that is not whole, or nested too deeply");
    if (!cms_content_take(der, NID_pkcs7_signed, &data) ||
        !der_take_tag(&data.content, DER_INTEGER, &version) ||
        !der_take_tag(&data.content, DER_SET, &algorithms) || algorithms.content.len == 0 ||
        !take_encapsulated(&data.content, type))
        return err_set(err, ERR_PEER, "a message that is not a SignedData over %s",
                       OBJ_nid2sn(type));
    if (!take_certs(&data.content, certs_max, &found, err))
        return false;
    if (der_next_is(data.content, DER_CONTEXT_CONSTRUCTED(1)) && !der_take(&data.content, &crls))
        return err_set(err, ERR_PEER, "a SignedData with malformed CRLs");
    if (!der_take_tag(&data.content, DER_SET, &signers) || data.content.len ||
        !take_signer(signers.content, &found))
        return err_set(err, ERR_PEER, "a SignedData without exactly one well-formed SignerInfo");
    *ret = found;
    return true;
}

/* The signer's certificate with a key that CMS can use, alone in a list; the list is empty if
 * OpenSSL finds fault with it. */
static STACK_OF(X509) * signer_list(const struct cert *signer)
{
    X509 *x509 = cert_keyed_get(signer);
    STACK_OF(X509) *list = sk_X509_new_null();
    if (!list || (x509 && !sk_X509_push(list, x509)))
        err_no_memory();
    return list;
}

bool cms_signed_verify(struct bytes der, const struct cert *signer, struct buf *content,
                       struct err *err)
{
    const unsigned char *p = der.ptr;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.len);
    STACK_OF(X509) *certs = signer_list(signer);
    BIO *out = BIO_new(BIO_s_mem());
    unsigned flags = CMS_NO_SIGNER_CERT_VERIFY | CMS_NOINTERN | CMS_BINARY;
    char *data;
    bool ok = false;
    if (!out)
        err_no_memory();
    if (!cms || p != der.ptr + der.len) {
        err_openssl(err, ERR_PEER, "a message that OpenSSL cannot read");
    } else if (CMS_verify(cms, certs, NULL, NULL, out, flags) != 1) {
        err_openssl(err, ERR_PEER, "the message's signature is wrong");
    } else {
        size_t len = (size_t)BIO_get_mem_data(out, &data);
        ok = buf_set(content, bytes_of(data, len)) ||
             err_set(err, ERR_PEER, "a message with %zu bytes of content", len);
        OPENSSL_cleanse(data, len); /* it may be a secret */
    }
    ERR_clear_error();
    CMS_ContentInfo_free(cms);
    sk_X509_free(certs);
    BIO_free(out);
    return ok;
}
