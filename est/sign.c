#include "est/sign.h"

#include <openssl/cms.h>
#include <openssl/err.h>

const struct cfg_identity *est_signer(const struct cfg *cfg, const struct cfg_profile *profile)
{
    return profile->est.signer_given ? &cfg->ras[profile->est.signer] : &cfg->tls.identity;
}

static const EVP_MD *digest_of(const EVP_PKEY *key)
{
    bool large = EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_bits(key) > 256;
    return large ? EVP_sha384() : EVP_sha256();
}

/* OpenSSL refuses to add a certificate twice. */
static bool is_in_chain(const struct cfg_identity *signer, struct bytes der)
{
    for (size_t i = 0; i < signer->chain.count; i++)
        if (bytes_equal(cert_der_get(signer->chain.items[i]), der))
            return true;
    return false;
}

static bool add_certs(CMS_ContentInfo *cms, const struct cfg_identity *signer,
                      const struct est_signed *what)
{
    bool ok = true;
    for (size_t i = 1; i < signer->chain.count && ok; i++)
        ok = CMS_add1_cert(cms, cert_x509_get(signer->chain.items[i])) == 1;
    for (size_t i = 0; i < what->cert_count && ok; i++) {
        const unsigned char *p = what->certs[i].ptr;
        if (is_in_chain(signer, what->certs[i]))
            continue;
        X509 *x509 = d2i_X509(NULL, &p, (long)what->certs[i].len);
        ok = x509 && CMS_add0_cert(cms, x509) == 1;
        if (!ok)
            X509_free(x509);
    }
    return ok;
}

static bool sign(CMS_ContentInfo *cms, const struct cfg_identity *signer,
                 const struct est_signed *what)
{
    const unsigned flags = CMS_BINARY | CMS_NOSMIMECAP;
    X509 *x509 = cert_keyed_get(signer->chain.items[0]);
    ASN1_OBJECT *type = OBJ_txt2obj(what->type, 1);
    BIO *in = BIO_new_mem_buf(what->content.ptr, (int)what->content.len);
    bool ok = x509 && type && in && CMS_set1_eContentType(cms, type) == 1 &&
              CMS_add1_signer(cms, x509, signer->key, digest_of(signer->key), flags) &&
              add_certs(cms, signer, what) && CMS_final(cms, in, NULL, flags) == 1;
    BIO_free(in);
    ASN1_OBJECT_free(type);
    return ok;
}

static void wipe_content(CMS_ContentInfo *cms)
{
    ASN1_OCTET_STRING **content = CMS_get0_content(cms);
    if (content && *content && ASN1_STRING_length(*content) > 0)
        OPENSSL_cleanse((*content)->data, (size_t)(*content)->length);
}

bool est_sign(const struct cfg_identity *signer, const struct est_signed *what, struct buf *out,
              struct err *err)
{
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_BINARY);
    unsigned char *der = NULL;
    int len = -1;
    if (cms && sign(cms, signer, what))
        len = i2d_CMS_ContentInfo(cms, &der);
    bool ok = len > 0 && buf_add(out, bytes_of(der, (size_t)len));
    OPENSSL_clear_free(der, len > 0 ? (size_t)len : 0);
    if (cms)
        wipe_content(cms);
    CMS_ContentInfo_free(cms);
    if (!ok)
        return err_openssl(err, ERR_LOCAL, "signing a message");
    ERR_clear_error();
    return true;
}
