#include "scep/check.h"

#include "base/text.h"
#include "scep/algs.h"
#include "scep/attrs.h"
#include "scep/msg.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <string.h>

#define ELEMENTS_MAX 5000

static const int digests[] = {NID_sha1, NID_sha256, NID_sha384, NID_sha512};
static const int signatures[] = {
    NID_rsaEncryption,           NID_sha1WithRSAEncryption,   NID_sha256WithRSAEncryption,
    NID_sha384WithRSAEncryption, NID_sha512WithRSAEncryption, NID_rsassaPss,
    NID_X9_62_id_ecPublicKey,    NID_ecdsa_with_SHA256,       NID_ecdsa_with_SHA384,
    NID_ecdsa_with_SHA512,
};

bool scep_signed_take(struct bytes der, struct cms_signed *ret, struct err *err)
{
    if (der.len > SCEP_MSG_MAX)
        return err_set(err, ERR_PEER, "a message of %zu bytes", der.len);
    return cms_signed_take(der, NID_pkcs7_data, SCEP_CERTS_MAX, ret, err);
}

bool scep_signed_algs_known(const struct cms_signed *found, bool md5)
{
    if (md5 && found->digest == NID_md5)
        return found->signature == NID_rsaEncryption ||
               found->signature == NID_md5WithRSAEncryption;
    return cms_nid_in(digests, sizeof digests / sizeof digests[0], found->digest) &&
           cms_nid_in(signatures, sizeof signatures / sizeof signatures[0], found->signature);
}

bool scep_signed_attributes_fine(const struct cms_signed *found)
{
    const ASN1_OBJECT *data = OBJ_nid2obj(NID_pkcs7_data);
    struct bytes oid, digest;
    return scep_attr_find(found->attributes, SCEP_ATTR_CONTENT_TYPE, &oid) &&
           bytes_equal(oid, bytes_of(OBJ_get0_data(data), OBJ_length(data))) &&
           scep_attr_find(found->attributes, SCEP_ATTR_MESSAGE_DIGEST, &digest) && digest.len > 0;
}

bool scep_check_signed(struct bytes der, struct err *err)
{
    struct cms_signed found = {0};
    return scep_signed_take(der, &found, err) &&
           (scep_signed_attributes_fine(&found) ||
            err_set(err, ERR_PEER, "a message without the signed attributes of data")) &&
           (scep_signed_algs_known(&found, false) ||
            err_set(err, ERR_PEER, "a message signed with an algorithm that is not allowed"));
}

/* Optional explicit element of RSAES-OAEP-params whose content is an AlgorithmIdentifier. */
static bool take_oaep_part(struct bytes *cur, unsigned number, int *nid, struct der *params)
{
    struct der explicit;
    *nid = NID_undef;
    if (!der_next_is(*cur, (uint8_t)DER_CONTEXT_CONSTRUCTED(number)))
        return true;
    return der_take(cur, &explicit) && cms_algorithm_take(&explicit.content, nid, params) &&
           explicit.content.len == 0;
}

/* RFC 8017 appendix A.2.1. A pSource without its parameters has crashed OpenSSL. */
static bool oaep_fine(const struct der *params)
{
    int hash, mask, source;
    struct der hash_params, mask_params, source_params;
    struct bytes cur = params->content;
    if (params->tag != DER_SEQUENCE)
        return false;
    if (!take_oaep_part(&cur, 0, &hash, &hash_params) ||
        !take_oaep_part(&cur, 1, &mask, &mask_params) ||
        !take_oaep_part(&cur, 2, &source, &source_params) || cur.len)
        return false;
    if (hash != NID_undef && !cms_nid_in(digests, sizeof digests / sizeof digests[0], hash))
        return false;
    if (mask != NID_undef && (mask != NID_mgf1 || mask_params.tag != DER_SEQUENCE))
        return false;
    return source == NID_undef ||
           (source == NID_pSpecified && source_params.tag == DER_OCTET_STRING);
}

static bool take_recipient(struct bytes *cur, struct cms_id *ret)
{
    struct der outer, version, key, params;
    int algorithm;
    if (!der_take_tag(cur, DER_SEQUENCE, &outer) ||
        !der_take_tag(&outer.content, DER_INTEGER, &version) || !cms_id_take(&outer.content, ret) ||
        !cms_algorithm_take(&outer.content, &algorithm, &params) ||
        !der_take_tag(&outer.content, DER_OCTET_STRING, &key) || outer.content.len)
        return false;
    if (algorithm == NID_rsaesOaep)
        return oaep_fine(&params);
    return algorithm == NID_rsaEncryption && (params.tag == 0 || params.tag == DER_NULL);
}

/* Octets of an implicit [0] OCTET STRING, primitive or in segments. */
static bool content_length(struct der content, size_t *ret)
{
    struct der segment;
    *ret = content.content.len;
    if (content.tag == DER_CONTEXT(0))
        return true;
    if (content.tag != DER_CONTEXT_CONSTRUCTED(0))
        return false;
    *ret = 0;
    while (content.content.len) {
        if (!der_take_tag(&content.content, DER_OCTET_STRING, &segment))
            return false;
        *ret += segment.content.len;
    }
    return true;
}

static bool take_encrypted(struct bytes *cur, enum scep_ciphers ciphers,
                           struct scep_enveloped *found)
{
    struct der outer, oid, iv;
    size_t len;
    if (!der_take_tag(cur, DER_SEQUENCE, &outer) || !der_take_tag(&outer.content, DER_OID, &oid) ||
        cms_oid_nid(oid.whole) != NID_pkcs7_data ||
        !cms_algorithm_take(&outer.content, &found->cipher, &iv) ||
        !der_take(&outer.content, &found->encrypted) || !content_length(found->encrypted, &len) ||
        outer.content.len)
        return false;
    found->iv = iv.content;
    size_t block = scep_cipher_block(found->cipher, ciphers);
    return block && iv.tag == DER_OCTET_STRING && iv.content.len == block && len > 0 &&
           len % block == 0;
}

bool scep_enveloped_take(struct bytes der, enum scep_ciphers ciphers, struct scep_enveloped *ret,
                         struct err *err)
{
    struct scep_enveloped found = {0};
    struct der data, version, recipients;
    if (!der_check(der, SCEP_DEPTH_MAX, ELEMENTS_MAX))
        return err_set(err, ERR_PEER, "an envelope that is not whole, or nested too deeply");
    if (!cms_content_take(der, NID_pkcs7_enveloped, &data) ||
        !der_take_tag(&data.content, DER_INTEGER, &version) ||
        !der_take_tag(&data.content, DER_SET, &recipients) || recipients.content.len == 0)
        return err_set(err, ERR_PEER, "a message whose content is not an EnvelopedData");
    found.by_password = der_next_is(recipients.content, SCEP_PWRI_TAG);
    if (found.by_password &&
        (!scep_pwri_take(&recipients.content, ciphers, &found.pwri) || recipients.content.len))
        return err_set(err, ERR_PEER,
                       "an envelope by password that is not one PBKDF2 and PWRI-KEK within bounds");
    while (recipients.content.len) {
        if (found.recipient_count == SCEP_RECIPIENTS_MAX ||
            !take_recipient(&recipients.content, &found.recipients[found.recipient_count++]))
            return err_set(err, ERR_PEER,
                           "an envelope with other recipients than a few by RSA key transport");
    }
    if (!take_encrypted(&data.content, ciphers, &found) || data.content.len)
        return err_set(err, ERR_PEER, "an envelope with a cipher or content that is not allowed");
    *ret = found;
    return true;
}

bool scep_check_enveloped(struct bytes der, enum scep_ciphers ciphers, struct err *err)
{
    struct scep_enveloped found;
    return scep_enveloped_take(der, ciphers, &found, err);
}
