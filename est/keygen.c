#include "est/keygen.h"

#include "base/der.h"
#include "est/body.h"
#include "est/sign.h"

#include <openssl/cms.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#define OID_DECRYPT_KEY "1.2.840.113549.1.9.16.2.37"            /* RFC 4108 section 2.2.5 */
#define OID_ASYMMETRIC_DECRYPT_KEY "1.2.840.113549.1.9.16.2.54" /* RFC 7030 section 4.4.1.2 */
#define OID_CAPABILITIES "1.2.840.113549.1.9.15"                /* RFC 8551 section 2.5.2 */
#define OID_KEY_PACKAGE "2.16.840.1.101.2.1.2.78.5"             /* RFC 5958 */
#define CAPABILITIES_MAX 64
#define KEY_MAX ((size_t)16 << 10)
#define MESSAGE_MAX ((size_t)256 << 10)
#define BOUNDARY "estServerKeygen"

/* Strongest first. */
static const int ciphers[] = {NID_aes_256_cbc, NID_aes_192_cbc, NID_aes_128_cbc};
/* What a key is encrypted with for its recipient; a device that lists any has to list ours. */
static const int managements[] = {
    NID_id_aes128_wrap,
    NID_id_aes192_wrap,
    NID_id_aes256_wrap,
    NID_rsaEncryption,
    NID_rsaesOaep,
    NID_dhSinglePass_stdDH_sha1kdf_scheme,
    NID_dhSinglePass_stdDH_sha224kdf_scheme,
    NID_dhSinglePass_stdDH_sha256kdf_scheme,
    NID_dhSinglePass_stdDH_sha384kdf_scheme,
    NID_dhSinglePass_stdDH_sha512kdf_scheme,
};

struct capabilities {
    int nids[CAPABILITIES_MAX];
    size_t count;
    bool given;
};

static bool take_oid(struct bytes whole, int *nid)
{
    const unsigned char *p = whole.ptr;
    ASN1_OBJECT *object = d2i_ASN1_OBJECT(NULL, &p, (long)whole.len);
    *nid = object ? OBJ_obj2nid(object) : NID_undef;
    ASN1_OBJECT_free(object);
    ERR_clear_error();
    return object;
}

static bool take_capabilities(const struct csr *csr, struct capabilities *ret, struct err *err)
{
    struct csr_value value;
    struct der list, item, oid;
    *ret = (struct capabilities){0};
    if (!csr_value_get(csr, OID_CAPABILITIES, V_ASN1_SEQUENCE, &value, err))
        return false;
    ret->given = value.has;
    struct bytes cur = value.content;
    if (!value.has)
        return true;
    bool ok = der_take_tag(&cur, DER_SEQUENCE, &list) && !cur.len;
    while (ok && list.content.len) {
        ok = ret->count < CAPABILITIES_MAX && der_take_tag(&list.content, DER_SEQUENCE, &item) &&
             der_take_tag(&item.content, DER_OID, &oid) &&
             take_oid(oid.whole, &ret->nids[ret->count++]);
    }
    return ok || err_set(err, ERR_PEER, "malformed SMIMECapabilities");
}

static bool has(const struct capabilities *capabilities, int nid)
{
    for (size_t i = 0; i < capabilities->count; i++)
        if (capabilities->nids[i] == nid)
            return true;
    return false;
}

static bool choose_cipher(const struct capabilities *capabilities, struct est_wrap *ret,
                          struct err *err)
{
    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++) {
        if (!capabilities->given || has(capabilities, ciphers[i])) {
            ret->cipher = ciphers[i];
            return true;
        }
    }
    return err_set(err, ERR_PEER, "SMIMECapabilities without an AES cipher in CBC mode");
}

/* RFC 7030 section 4.4.2: key management is one that the client included, if it included any. */
static bool management_fits(const struct capabilities *capabilities, int nid)
{
    bool any = false;
    for (size_t i = 0; i < sizeof managements / sizeof managements[0]; i++)
        any = any || has(capabilities, managements[i]);
    return !any || has(capabilities, nid);
}

static bool choose_shared(const struct cfg_est *est, struct bytes id,
                          const struct capabilities *capabilities, struct est_wrap *ret,
                          struct err *err)
{
    ret->kind = EST_WRAP_SHARED;
    for (size_t i = 0; i < est->shared_key_count; i++)
        if (bytes_equal(buf_bytes(&est->shared_keys[i].id), id))
            ret->shared = &est->shared_keys[i];
    if (!ret->shared)
        return err_set(err, ERR_PEER, "a DecryptKeyIdentifier that names none of est.keygen_keys");
    return management_fits(capabilities, NID_id_aes256_wrap) ||
           err_set(err, ERR_PEER, "SMIMECapabilities without the AES-256 key wrap");
}

/* The key has to be for key transport or key agreement, or for anything (RFC 7030 section 4.4.1.2).
 */
static bool choose_transport(const struct cert *cert, const struct capabilities *capabilities,
                             struct est_wrap *ret, struct err *err)
{
    uint32_t usage = X509_get_key_usage(cert_x509_get(cert)); /* all bits if there is none */
    enum spki_kind kind = cert_spki_get(cert)->kind;
    if (kind != SPKI_RSA && kind != SPKI_EC)
        return err_set(err, ERR_PEER, "nothing can be encrypted to a key of kind %s",
                       spki_kind_name(kind));
    if (!(usage & (kind == SPKI_RSA ? KU_KEY_ENCIPHERMENT : KU_KEY_AGREEMENT)))
        return err_set(err, ERR_PEER,
                       "the certificate's keyUsage does not allow to encrypt a key to it");
    if (kind == SPKI_EC)
        return management_fits(capabilities, NID_dhSinglePass_stdDH_sha256kdf_scheme) ||
               err_set(err, ERR_PEER, "SMIMECapabilities without dhSinglePass-stdDH-sha256kdf");
    ret->oaep = has(capabilities, NID_rsaesOaep);
    return ret->oaep || management_fits(capabilities, NID_rsaEncryption) ||
           err_set(err, ERR_PEER, "SMIMECapabilities without a key transport by RSA");
}

static bool choose_cert(const struct cert *peer, struct bytes id,
                        const struct capabilities *capabilities, struct est_wrap *ret,
                        struct err *err)
{
    const ASN1_OCTET_STRING *ski = peer ? X509_get0_subject_key_id(cert_x509_get(peer)) : NULL;
    ret->kind = EST_WRAP_CERT;
    ret->recipient = peer;
    if (!ski ||
        !bytes_equal(id, bytes_of(ASN1_STRING_get0_data(ski), (size_t)ASN1_STRING_length(ski))))
        return err_set(err, ERR_PEER,
                       "an AsymmetricDecryptKeyIdentifier that is not that of the certificate "
                       "presented");
    return choose_transport(peer, capabilities, ret, err);
}

static bool choose_none(const struct cfg_est *est, bool tls, struct err *err)
{
    if (est->keygen == CFG_KEYGEN_ENCRYPTED)
        return err_set(err, ERR_PEER, "a CSR that names no key to encrypt the private key with");
    return tls || err_set(err, ERR_PEER,
                          "TLS ends before us: a private key has to be encrypted, and the CSR "
                          "names no key for it");
}

bool est_wrap_choose(const struct cfg_est *est, const struct est_wrap_wish *wish,
                     struct est_wrap *ret, struct err *err)
{
    struct csr_value shared, certified;
    struct capabilities capabilities;
    *ret = (struct est_wrap){0};
    if (!csr_value_get(wish->csr, OID_DECRYPT_KEY, V_ASN1_OCTET_STRING, &shared, err) ||
        !csr_value_get(wish->csr, OID_ASYMMETRIC_DECRYPT_KEY, V_ASN1_OCTET_STRING, &certified,
                       err) ||
        !take_capabilities(wish->csr, &capabilities, err))
        return false;
    if (shared.has && certified.has)
        return err_set(err, ERR_PEER, "a CSR that names two keys to encrypt with");
    if (!shared.has && !certified.has)
        return choose_none(est, wish->tls, err);
    if (!choose_cipher(&capabilities, ret, err))
        return false;
    return shared.has ? choose_shared(est, shared.content, &capabilities, ret, err)
                      : choose_cert(wish->peer, certified.content, &capabilities, ret, err);
}

/* PrivateKeyInfo (RFC 5958 section 2). */
static bool add_private_key(const EVP_PKEY *key, struct buf *out)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    unsigned char *der = NULL;
    int len = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;
    bool ok = len > 0 && buf_add(out, bytes_of(der, (size_t)len));
    OPENSSL_clear_free(der, len > 0 ? (size_t)len : 0);
    PKCS8_PRIV_KEY_INFO_free(info);
    return ok;
}

/* SignedData { AsymmetricKeyPackage { key } } without its ContentInfo. */
static bool add_signed_key(const struct est_keygen *what, struct buf *out, struct err *err)
{
    struct buf package = BUF_SECRET(KEY_MAX), whole = BUF_SECRET(MESSAGE_MAX);
    struct der outer, type, explicit;
    bool ok = add_private_key(what->key, &package) && der_wrap(&package, 0, DER_SEQUENCE);
    if (ok) {
        struct est_signed content = {.type = OID_KEY_PACKAGE, .content = buf_bytes(&package)};
        ok = est_sign(what->signer, &content, &whole, err);
    } else {
        err_openssl(err, ERR_LOCAL, "encoding a private key");
    }
    struct bytes cur = buf_bytes(&whole);
    if (ok && (!der_take_tag(&cur, DER_SEQUENCE, &outer) ||
               !der_take_tag(&outer.content, DER_OID, &type) ||
               !der_take_tag(&outer.content, DER_CONTEXT_CONSTRUCTED(0), &explicit) ||
               !buf_add(out, explicit.content)))
        ok = err_set(err, ERR_BUG, "a signed message that cannot be read");
    buf_free(&package);
    buf_free(&whole);
    return ok;
}

/* kekri (RFC 5652 section 6.2.3) */
static bool add_shared(CMS_ContentInfo *cms, const struct cfg_shared_key *shared)
{
    struct bytes id = buf_bytes(&shared->id), key = buf_bytes(&shared->key);
    unsigned char *own_id = OPENSSL_memdup(id.ptr, id.len);
    unsigned char *own_key = OPENSSL_memdup(key.ptr, key.len);
    bool ok = own_id && own_key &&
              CMS_add0_recipient_key(cms, NID_id_aes256_wrap, own_key, key.len, own_id, id.len,
                                     NULL, NULL, NULL);
    if (!ok) {
        OPENSSL_clear_free(own_key, key.len);
        OPENSSL_free(own_id);
    }
    return ok;
}

/* ktri or kari (RFC 5652 sections 6.2.1 and 6.2.2), by the subject key identifier. */
static bool add_certified(CMS_ContentInfo *cms, const struct est_wrap *wrap)
{
    X509 *x509 = cert_keyed_get(wrap->recipient);
    CMS_RecipientInfo *recipient =
        x509 ? CMS_add1_recipient_cert(cms, x509, CMS_USE_KEYID | CMS_KEY_PARAM) : NULL;
    EVP_PKEY_CTX *ctx = recipient ? CMS_RecipientInfo_get0_pkey_ctx(recipient) : NULL;
    if (!ctx)
        return false;
    if (cert_spki_get(wrap->recipient)->kind == SPKI_EC)
        return EVP_PKEY_CTX_set_ecdh_kdf_md(ctx, EVP_sha256()) == 1;
    return !wrap->oaep || (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
                           EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1);
}

static bool encrypt(const struct est_wrap *wrap, struct bytes content, struct buf *out,
                    struct err *err)
{
    const EVP_CIPHER *cipher = EVP_get_cipherbynid(wrap->cipher);
    CMS_ContentInfo *cms = CMS_encrypt(NULL, NULL, cipher, CMS_PARTIAL | CMS_BINARY);
    BIO *in = BIO_new_mem_buf(content.ptr, (int)content.len);
    unsigned char *der = NULL;
    int len = -1;
    if (cms && in && CMS_set1_eContentType(cms, OBJ_nid2obj(NID_pkcs7_signed)) == 1 &&
        (wrap->kind == EST_WRAP_SHARED ? add_shared(cms, wrap->shared)
                                       : add_certified(cms, wrap)) &&
        CMS_final(cms, in, NULL, CMS_BINARY) == 1)
        len = i2d_CMS_ContentInfo(cms, &der);
    bool ok = len > 0 && buf_add(out, bytes_of(der, (size_t)len));
    OPENSSL_free(der);
    BIO_free(in);
    CMS_ContentInfo_free(cms);
    return ok || err_openssl(err, ERR_LOCAL, "encrypting a private key");
}

/* The key part's content: a PrivateKeyInfo, or the envelope around it. */
static bool add_key(const struct est_keygen *what, struct buf *out, struct err *err)
{
    struct buf content = BUF_SECRET(MESSAGE_MAX);
    bool ok;
    if (what->wrap->kind == EST_WRAP_NONE)
        return add_private_key(what->key, out) ||
               err_openssl(err, ERR_LOCAL, "encoding a private key");
    ok = add_signed_key(what, &content, err) && encrypt(what->wrap, buf_bytes(&content), out, err);
    buf_free(&content);
    return ok;
}

/* RFC 2046 section 5.1.1: lines of the envelope end in CRLF, and the CRLF before a delimiter
 * belongs to it. */
static bool add_head(struct buf *out, const char *type)
{
    return buf_add_fmt(out,
                       "--" BOUNDARY "\r\nContent-Type: %s\r\n"
                       "Content-Transfer-Encoding: base64\r\n\r\n",
                       type);
}

bool est_keygen_body(const struct est_keygen *what, struct buf *out, struct err *err)
{
    struct buf key = BUF_SECRET(MESSAGE_MAX);
    const char *type = what->wrap->kind == EST_WRAP_NONE
                           ? "application/pkcs8"
                           : "application/pkcs7-mime; smime-type=server-generated-key";
    if (!add_key(what, &key, err)) {
        buf_free(&key);
        return false;
    }
    bool ok = add_head(out, type) && est_body_base64(buf_bytes(&key), what->one_line, out) &&
              buf_add_str(out, "\r\n") &&
              add_head(out, "application/pkcs7-mime; smime-type=certs-only") &&
              est_body_certs(&what->cert, 1, what->one_line, out) &&
              buf_add_str(out, "\r\n--" BOUNDARY "--\r\n");
    buf_free(&key);
    return ok || err_set(err, ERR_LOCAL, "a key and its certificate are too large to send");
}
