#include "base/cms.h"
#include "est/cmc.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <time.h>

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
        if (cms_oid_nid(oid.whole) != nid)
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
           cms_oid_nid(value.whole) == NID_id_cct_PKIData;
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

/* The one certificate of the bag that the SignerInfo names. Others need not be well-formed. */
static bool find_signer(const struct cms_signed *found, struct est_cmc_message *ret,
                        struct err *err)
{
    for (size_t i = 0; i < found->cert_count; i++) {
        struct cert *cert;
        struct err ignored;
        if (!cert_parse(found->certs[i], &cert, &ignored))
            continue;
        if (!cms_id_names(&found->signer, cert)) {
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

bool est_cmc_open(struct bytes der, struct est_cmc_message *ret, enum est_cmc_fail *fail,
                  struct err *err)
{
    struct cms_signed found = {0};
    *ret = (struct est_cmc_message){.content = BUF_SECRET(EST_CMC_MAX)};
    *fail = EST_CMC_BAD_REQUEST;
    if (der.len > EST_CMC_MAX)
        return err_set(err, ERR_PEER, "a message of %zu bytes", der.len);
    if (!cms_signed_take(der, NID_id_cct_PKIData, EST_CMC_CERTS_MAX, &found, err))
        return false;
    *fail = EST_CMC_BAD_ALG;
    if (!cms_nid_in(digests, sizeof digests / sizeof digests[0], found.digest) ||
        !cms_nid_in(signatures, sizeof signatures / sizeof signatures[0], found.signature))
        return err_set(err, ERR_PEER, "a message signed with %s and %s, which is not allowed",
                       OBJ_nid2sn(found.digest), OBJ_nid2sn(found.signature));
    *fail = EST_CMC_BAD_MESSAGE_CHECK;
    if (!content_type_fine(found.attributes))
        return err_set(err, ERR_PEER, "a message whose contentType attribute is not PKIData");
    ret->signing_time = signing_time(found.attributes);
    return find_signer(&found, ret, err) && cms_signed_verify(der, ret->signer, &ret->content, err);
}

void est_cmc_message_clear(struct est_cmc_message *message)
{
    cert_free(message->signer);
    for (size_t i = 0; i < message->along_count; i++)
        cert_free(message->along[i]);
    buf_free(&message->content);
    *message = (struct est_cmc_message){0};
}
