#include "scep/check.h"
#include "scep/msg.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/x509.h>
#include <pthread.h>

/* One text for every way in which decryption can fail: which way it was is an oracle. */
#define CLOSED "the envelope cannot be decrypted"

static const struct scep_key *addressed_key(const struct scep_enveloped *found,
                                            const struct scep_opener *opener)
{
    for (size_t i = 0; i < found->recipient_count; i++)
        for (size_t k = 0; k < opener->count; k++)
            if (scep_names_cert(&found->recipients[i], opener->keys[k].cert))
                return &opener->keys[k];
    return NULL;
}

/* Where single DES is known. Never freed: the process ends with it. */
static pthread_once_t legacy_once = PTHREAD_ONCE_INIT;
static OSSL_LIB_CTX *legacy;

static void legacy_load(void)
{
    OSSL_LIB_CTX *ctx = OSSL_LIB_CTX_new();
    if (ctx && OSSL_PROVIDER_load(ctx, "default") && OSSL_PROVIDER_load(ctx, "legacy"))
        legacy = ctx;
    else
        OSSL_LIB_CTX_free(ctx);
    ERR_clear_error();
}

/* The certificate is given, so OpenSSL goes on with a random key where the transport key is bad
 * (CMS without CMS_DEBUG_DECRYPT): the content then fails like any other. */
static bool decrypt(struct bytes der, const struct scep_key *key, int cipher, struct buf *content)
{
    const unsigned char *p = der.ptr;
    CMS_ContentInfo *shell = NULL, *cms;
    if (cipher == NID_des_cbc) { /* OpenSSL keeps it apart, and so do we */
        pthread_once(&legacy_once, legacy_load);
        shell = legacy ? CMS_ContentInfo_new_ex(legacy, NULL) : NULL;
        if (!shell)
            return false;
    }
    cms = d2i_CMS_ContentInfo(shell ? &shell : NULL, &p, (long)der.len);
    BIO *out = BIO_new(BIO_s_mem());
    char *data;
    bool ok = false;
    if (!out)
        err_no_memory();
    bool opened =
        cms && CMS_decrypt(cms, key->key, cert_x509_get(key->cert), NULL, out, CMS_BINARY) == 1;
    long len = BIO_get_mem_data(out, &data);
    if (opened && len > 0)
        ok = buf_set(content, bytes_of(data, (size_t)len));
    if (len > 0)
        OPENSSL_cleanse(data, (size_t)len);
    ERR_clear_error();
    CMS_ContentInfo_free(cms);
    BIO_free(out);
    return ok;
}

/* For the operator: which certificate a device took for ours. */
static void fault_recipient(const struct scep_enveloped *found, struct err *err)
{
    char who[SCEP_RECIPIENT_TEXT_MAX];
    scep_recipient_text(&found->recipients[0], who);
    err_set(err, ERR_PEER, "the envelope is addressed to none of the profile's RA keys: %s", who);
}

/* The key that the envelope is addressed to: who that is and its shape are no secret. */
static const struct scep_key *find_key(struct bytes der, const struct scep_opener *opener,
                                       int *cipher, struct err *err)
{
    struct scep_enveloped found;
    *cipher = NID_undef;
    if (!scep_enveloped_take(der, opener->ciphers, &found, err))
        return NULL;
    *cipher = found.cipher;
    const struct scep_key *key = addressed_key(&found, opener);
    if (!key)
        fault_recipient(&found, err);
    return key;
}

bool scep_msg_addressed(const struct scep_msg *msg, const struct scep_opener *opener, int *cipher,
                        struct err *err)
{
    return find_key(scep_msg_content_get(msg), opener, cipher, err);
}

const struct scep_key *scep_msg_key(const struct scep_msg *msg, const struct scep_opener *opener)
{
    struct err ignored;
    int cipher;
    return find_key(scep_msg_content_get(msg), opener, &cipher, &ignored);
}

bool scep_msg_open(const struct scep_msg *msg, const struct scep_opener *opener,
                   struct buf *content, int *cipher, struct err *err)
{
    struct bytes der = scep_msg_content_get(msg);
    const struct scep_key *key = find_key(der, opener, cipher, err);
    if (!key)
        return false;
    content->secret = true;
    content->max = SCEP_MSG_MAX;
    return decrypt(der, key, *cipher, content) || err_set(err, ERR_PEER, CLOSED);
}
