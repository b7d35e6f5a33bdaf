#include "base/der.h"
#include "scep/algs.h"
#include "scep/attrs.h"
#include "scep/msg.h"
#include "scep/password.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTRS_MAX 12

static const uint8_t version_0[] = {DER_INTEGER, 1, 0};
static const uint8_t version_1[] = {DER_INTEGER, 1, 1};
static const uint8_t version_3[] = {DER_INTEGER, 1, 3};

/* IssuerAndSerialNumber (RFC 5652 section 10.2.4). */
static bool add_identifier(struct buf *out, const struct cert *cert)
{
    unsigned char *serial = NULL;
    size_t start = out->len;
    int len = i2d_ASN1_INTEGER(X509_get0_serialNumber(cert_x509_get(cert)), &serial);
    bool ok = len > 0 && buf_add(out, cert_issuer_get(cert)) &&
              buf_add(out, bytes_of(serial, (size_t)len)) && der_wrap(out, start, DER_SEQUENCE);
    OPENSSL_free(serial);
    return ok;
}

/* The content key for the recipient, RSAES-PKCS1-v1_5: what every client can read. */
static bool add_transported_key(struct buf *out, const struct cert *recipient, struct bytes key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(cert_spki_get(recipient)->key, NULL);
    uint8_t *sealed = NULL;
    size_t len = 0;
    bool ok = ctx && EVP_PKEY_encrypt_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
              EVP_PKEY_encrypt(ctx, NULL, &len, key.ptr, key.len) == 1;
    if (ok) {
        sealed = mem_zalloc(len);
        ok = EVP_PKEY_encrypt(ctx, sealed, &len, key.ptr, key.len) == 1 &&
             der_add(out, DER_OCTET_STRING, bytes_of(sealed, len));
    }
    free(sealed);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool add_recipient(struct buf *out, const struct cert *recipient, struct bytes key)
{
    size_t start = out->len;
    return buf_add(out, bytes_of(version_0, sizeof version_0)) && add_identifier(out, recipient) &&
           scep_algorithm_add(out, NID_rsaEncryption, true) &&
           add_transported_key(out, recipient, key) && der_wrap(out, start, DER_SEQUENCE);
}

/* The content encrypted, as the implicit [0] OCTET STRING. */
static bool add_ciphertext(struct buf *out, const EVP_CIPHER *cipher, const uint8_t *key,
                           const uint8_t *iv, struct bytes content)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t *sealed = mem_zalloc(content.len + EVP_MAX_BLOCK_LENGTH);
    int len = 0, tail = 0;
    bool ok = ctx && EVP_EncryptInit_ex(ctx, cipher, NULL, key, iv) == 1 &&
              EVP_EncryptUpdate(ctx, sealed, &len, content.ptr, (int)content.len) == 1 &&
              EVP_EncryptFinal_ex(ctx, sealed + len, &tail) == 1 &&
              der_add(out, DER_CONTEXT(0), bytes_of(sealed, (size_t)len + (size_t)tail));
    free(sealed);
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

static bool add_encrypted_content(struct buf *out, int nid, const uint8_t *key,
                                  struct bytes content)
{
    const EVP_CIPHER *cipher = scep_cipher_get(nid);
    uint8_t iv[EVP_MAX_IV_LENGTH];
    size_t start = out->len;
    if (RAND_bytes(iv, sizeof iv) != 1 || !der_add_oid(out, NID_pkcs7_data))
        return false;
    size_t algorithm = out->len;
    return der_add_oid(out, nid) &&
           der_add(out, DER_OCTET_STRING, bytes_of(iv, (size_t)EVP_CIPHER_get_iv_length(cipher))) &&
           der_wrap(out, algorithm, DER_SEQUENCE) &&
           add_ciphertext(out, cipher, key, iv, content) && der_wrap(out, start, DER_SEQUENCE);
}

/* Version and RecipientInfos: one, by key transport or by password (RFC 5652 section 6.1). */
static bool add_recipients(struct buf *out, const struct scep_out *msg, struct bytes key)
{
    const uint8_t *version = msg->password ? version_3 : version_0;
    if (!buf_add(out, bytes_of(version, sizeof version_0)))
        return false;
    size_t start = out->len;
    return (msg->password ? scep_pwri_add(out, msg->password, key)
                          : add_recipient(out, msg->recipient, key)) &&
           der_wrap(out, start, DER_SET);
}

/* EnvelopedData (RFC 5652 section 6.1). */
static bool add_envelope(struct buf *out, const struct scep_out *msg)
{
    const EVP_CIPHER *cipher = scep_cipher_get(msg->algs.cipher);
    uint8_t key[EVP_MAX_KEY_LENGTH];
    size_t start = out->len;
    if (!cipher || RAND_bytes(key, sizeof key) != 1 || !der_add_oid(out, NID_pkcs7_enveloped))
        return false;
    size_t data = out->len;
    bool ok = add_recipients(out, msg, bytes_of(key, (size_t)EVP_CIPHER_get_key_length(cipher))) &&
              add_encrypted_content(out, msg->algs.cipher, key, msg->content) &&
              der_wrap(out, data, DER_SEQUENCE) &&
              der_wrap(out, data, DER_CONTEXT_CONSTRUCTED(0)) && der_wrap(out, start, DER_SEQUENCE);
    OPENSSL_cleanse(key, sizeof key);
    return ok;
}

/* The attributes of a message, as ranges of one buffer, to be sorted as a DER SET OF. */
struct attrs {
    struct buf text;
    size_t ends[ATTRS_MAX];
    size_t count;
};

static bool attrs_mark(struct attrs *attrs, bool ok)
{
    if (ok)
        attrs->ends[attrs->count++] = attrs->text.len;
    return ok;
}

static bool add_number(struct attrs *attrs, enum scep_attr attr, int number)
{
    char text[12];
    snprintf(text, sizeof text, "%d", number);
    return attrs_mark(attrs, scep_attr_add(&attrs->text, attr, bytes_str(text)));
}

static bool add_bytes(struct attrs *attrs, enum scep_attr attr, struct bytes value)
{
    return value.len == 0 || attrs_mark(attrs, scep_attr_add(&attrs->text, attr, value));
}

/* An attribute of CMS itself, whose value is one element. */
static bool add_cms(struct attrs *attrs, int nid, uint8_t tag, struct bytes value)
{
    size_t start = attrs->text.len;
    if (!der_add_oid(&attrs->text, nid))
        return false;
    size_t values = attrs->text.len;
    return attrs_mark(attrs, der_add(&attrs->text, tag, value) &&
                                 der_wrap(&attrs->text, values, DER_SET) &&
                                 der_wrap(&attrs->text, start, DER_SEQUENCE));
}

static bool add_signing_time(struct attrs *attrs)
{
    ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
    bool ok = now && add_cms(attrs, NID_pkcs9_signingTime, (uint8_t)ASN1_STRING_type(now),
                             bytes_of(ASN1_STRING_get0_data(now), (size_t)ASN1_STRING_length(now)));
    ASN1_TIME_free(now);
    return ok;
}

static bool fill_attrs(struct attrs *attrs, const struct scep_out *msg, struct bytes digest)
{
    const ASN1_OBJECT *data = OBJ_nid2obj(NID_pkcs7_data);
    bool ok = add_cms(attrs, NID_pkcs9_contentType, DER_OID,
                      bytes_of(OBJ_get0_data(data), OBJ_length(data))) &&
              add_cms(attrs, NID_pkcs9_messageDigest, DER_OCTET_STRING, digest) &&
              add_signing_time(attrs) && add_number(attrs, SCEP_ATTR_TYPE, (int)msg->type) &&
              add_bytes(attrs, SCEP_ATTR_TXN, msg->txn) &&
              add_bytes(attrs, SCEP_ATTR_SENDER_NONCE, msg->sender_nonce) &&
              add_bytes(attrs, SCEP_ATTR_RECIPIENT_NONCE, msg->recipient_nonce);
    if (!ok || msg->type != SCEP_CERTREP)
        return ok;
    if (!add_number(attrs, SCEP_ATTR_STATUS, (int)msg->status))
        return false;
    return msg->status != SCEP_FAILURE ||
           (add_number(attrs, SCEP_ATTR_FAIL, (int)msg->fail) &&
            add_bytes(attrs, SCEP_ATTR_FAIL_TEXT, bytes_str(msg->fail_text)));
}

static struct bytes attr_at(const struct attrs *attrs, size_t i)
{
    size_t start = i ? attrs->ends[i - 1] : 0;
    return bytes_of(attrs->text.ptr + start, attrs->ends[i] - start);
}

/* X.690 section 11.6: as octet strings, the shorter first where one begins the other. */
static bool der_before(struct bytes a, struct bytes b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order < 0 || (order == 0 && a.len < b.len);
}

static bool sort_attrs(const struct attrs *attrs, struct buf *out)
{
    size_t order[ATTRS_MAX];
    for (size_t i = 0; i < attrs->count; i++) {
        size_t at = i;
        for (; at > 0 && der_before(attr_at(attrs, i), attr_at(attrs, order[at - 1])); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (size_t i = 0; i < attrs->count; i++)
        if (!buf_add(out, attr_at(attrs, order[i])))
            return false;
    return true;
}

/* Signs the attributes as the SET OF that they are (RFC 5652 section 5.4). */
static bool sign(const struct scep_out *msg, struct bytes set, struct buf *signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const EVP_MD *md = EVP_get_digestbynid(msg->algs.digest);
    uint8_t *out = NULL;
    size_t len = 0;
    bool ok = ctx && md && EVP_DigestSignInit(ctx, NULL, md, NULL, msg->signer.key) == 1 &&
              EVP_DigestSign(ctx, NULL, &len, set.ptr, set.len) == 1;
    if (ok) {
        out = mem_zalloc(len);
        ok = EVP_DigestSign(ctx, out, &len, set.ptr, set.len) == 1 &&
             buf_set(signature, bytes_of(out, len));
    }
    free(out);
    EVP_MD_CTX_free(ctx);
    return ok;
}

static int signature_nid(EVP_PKEY *key, int digest)
{
    int nid = NID_rsaEncryption; /* not sha256WithRSAEncryption: strongSwan demands it */
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA &&
        !OBJ_find_sigid_by_algs(&nid, digest, EVP_PKEY_get_base_id(key)))
        return NID_undef;
    return nid;
}

static bool digest_content(int nid, struct bytes content, uint8_t *out, unsigned *len)
{
    const EVP_MD *md = EVP_get_digestbynid(nid);
    return md && EVP_Digest(content.ptr, content.len, out, len, md, NULL) == 1;
}

/* SignerInfo (RFC 5652 section 5.3) in its SET. */
static bool add_signer(struct buf *out, const struct scep_out *msg, struct bytes content)
{
    struct attrs attrs = {0};
    struct buf set = {0}, signature = {0};
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_len;
    size_t start = out->len;
    int nid = signature_nid(msg->signer.key, msg->algs.digest);
    bool ok = digest_content(msg->algs.digest, content, digest, &digest_len) &&
              fill_attrs(&attrs, msg, bytes_of(digest, digest_len)) && sort_attrs(&attrs, &set) &&
              buf_add(out, bytes_of(version_1, sizeof version_1)) &&
              add_identifier(out, msg->signer.cert) &&
              scep_algorithm_add(out, msg->algs.digest, false) &&
              der_add(out, DER_CONTEXT_CONSTRUCTED(0), buf_bytes(&set)) &&
              der_wrap(&set, 0, DER_SET) && sign(msg, buf_bytes(&set), &signature) &&
              nid != NID_undef && scep_algorithm_add(out, nid, nid == NID_rsaEncryption) &&
              der_add(out, DER_OCTET_STRING, buf_bytes(&signature)) &&
              der_wrap(out, start, DER_SEQUENCE) && der_wrap(out, start, DER_SET);
    buf_free(&attrs.text);
    buf_free(&set);
    buf_free(&signature);
    return ok;
}

/* SignedData over the envelope, or over nothing. An empty content stands there as an empty OCTET
 * STRING: clients that verify with PKCS#7 functions refuse one that is missing. */
static bool add_signed(struct buf *out, const struct scep_out *msg, struct bytes content)
{
    size_t start = out->len;
    if (!der_add_oid(out, NID_pkcs7_signed))
        return false;
    size_t data = out->len;
    if (!buf_add(out, bytes_of(version_1, sizeof version_1)))
        return false;
    size_t digests = out->len;
    if (!scep_algorithm_add(out, msg->algs.digest, false) || !der_wrap(out, digests, DER_SET))
        return false;
    size_t encapsulated = out->len;
    if (!der_add_oid(out, NID_pkcs7_data))
        return false;
    size_t octets = out->len;
    return der_add(out, DER_OCTET_STRING, content) &&
           der_wrap(out, octets, DER_CONTEXT_CONSTRUCTED(0)) &&
           der_wrap(out, encapsulated, DER_SEQUENCE) &&
           der_add(out, DER_CONTEXT_CONSTRUCTED(0), cert_der_get(msg->signer.cert)) &&
           add_signer(out, msg, content) && der_wrap(out, data, DER_SEQUENCE) &&
           der_wrap(out, data, DER_CONTEXT_CONSTRUCTED(0)) && der_wrap(out, start, DER_SEQUENCE);
}

bool scep_msg_encode(const struct scep_out *out, struct buf *der, struct err *err)
{
    struct buf envelope = {0};
    bool ok = true;
    if (out->content.ptr && !out->password && cert_spki_get(out->recipient)->kind != SPKI_RSA)
        return err_set(err, ERR_PEER, "an envelope can only be made for an RSA key");
    if (out->content.ptr)
        ok = add_envelope(&envelope, out);
    ok = ok && add_signed(der, out, buf_bytes(&envelope));
    buf_free(&envelope);
    return ok || err_openssl(err, ERR_LOCAL, "encoding a pkiMessage");
}

bool scep_poll_content(struct bytes issuer, struct bytes subject, struct buf *der)
{
    return buf_set(der, issuer) && buf_add(der, subject) && der_wrap(der, 0, DER_SEQUENCE);
}
