#include "scep/algs.h"
#include "scep/check.h"
#include "scep/msg.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

/* One text for every way in which decryption can fail: which way it was is an oracle. */
#define CLOSED "the envelope cannot be decrypted"

static const struct scep_key *addressed_key(const struct scep_enveloped *found,
                                            const struct scep_opener *opener)
{
    for (size_t i = 0; i < found->recipient_count; i++)
        for (size_t k = 0; k < opener->count; k++)
            if (cert_spki_get(opener->keys[k].cert)->kind == SPKI_RSA &&
                cms_id_names(&found->recipients[i], opener->keys[k].cert))
                return &opener->keys[k];
    return NULL;
}

/* The certificate is given, so OpenSSL goes on with a random key where the transport key is bad
 * (CMS without CMS_DEBUG_DECRYPT): the content then fails like any other. */
static bool decrypt(struct bytes der, const struct scep_key *key, int cipher, struct buf *content)
{
    const unsigned char *p = der.ptr;
    CMS_ContentInfo *shell = NULL, *cms;
    if (cipher == NID_des_cbc) { /* OpenSSL keeps it apart, and so do we */
        OSSL_LIB_CTX *legacy = scep_legacy_get();
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
    if (found.by_password) {
        err_set(err, ERR_PEER, "the envelope is made with a password and not for a key");
        return NULL;
    }
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

/* The ciphertext in one piece. */
static void join_segments(struct der encrypted, struct buf *out)
{
    struct der segment;
    bool ok = true;
    if (encrypted.tag == DER_CONTEXT(0)) {
        ok = buf_set(out, encrypted.content);
    } else {
        while (ok && der_take(&encrypted.content, &segment))
            ok = buf_add(out, segment.content);
    }
    if (!ok)
        err_no_memory(); /* it is a part of a message that is within its ceiling */
}

static bool decrypt_content(const struct scep_enveloped *found, const uint8_t *key,
                            struct buf *content)
{
    struct buf sealed = {0};
    join_segments(found->encrypted, &sealed);
    uint8_t *plain = mem_zalloc(sealed.len + EVP_MAX_BLOCK_LENGTH);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0, tail = 0;
    bool ok =
        ctx &&
        EVP_DecryptInit_ex(ctx, scep_cipher_get(found->cipher), NULL, key, found->iv.ptr) == 1 &&
        EVP_DecryptUpdate(ctx, plain, &len, sealed.ptr, (int)sealed.len) == 1 &&
        EVP_DecryptFinal_ex(ctx, plain + len, &tail) == 1 && len + tail > 0 &&
        buf_set(content, bytes_of(plain, (size_t)len + (size_t)tail));
    OPENSSL_cleanse(plain, sealed.len + EVP_MAX_BLOCK_LENGTH);
    free(plain);
    buf_free(&sealed);
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

bool scep_msg_by_password(const struct scep_msg *msg)
{
    struct scep_enveloped found;
    struct err ignored;
    return scep_enveloped_take(scep_msg_content_get(msg), SCEP_CIPHERS_DES, &found, &ignored) &&
           found.by_password;
}

/* Every password is tried, whichever matched before: neither how many there are before the right
 * one nor that there is none shows in more than the answer. */
static bool unwrap_any(const struct scep_enveloped *found, const struct scep_passwords *passwords,
                       uint8_t *key, struct scep_password *by)
{
    size_t len = (size_t)EVP_CIPHER_get_key_length(scep_cipher_get(found->cipher));
    bool ok = false;
    for (size_t i = 0; i < passwords->count; i++) {
        struct bytes secret = buf_bytes(&passwords->secrets[i]);
        if (!scep_pwri_unwrap(&found->pwri, secret, key, len))
            continue;
        *by = (struct scep_password){secret, found->pwri.prf, found->pwri.cipher,
                                     found->pwri.iterations};
        ok = true;
    }
    return ok;
}

bool scep_msg_open_password(const struct scep_msg *msg, const struct scep_passwords *passwords,
                            struct scep_opened *opened, struct err *err)
{
    struct scep_enveloped found;
    struct bytes der = scep_msg_content_get(msg);
    uint8_t key[EVP_MAX_KEY_LENGTH]; /* a wrong password goes on with a random one */
    opened->cipher = NID_undef;
    if (!scep_enveloped_take(der, passwords->ciphers, &found, err))
        return false;
    if (!found.by_password)
        return err_set(err, ERR_PEER, "the envelope is made for a key and not with a password");
    opened->cipher = found.cipher;
    if (passwords->count && (size_t)found.pwri.iterations > SCEP_PWRI_WORK_MAX / passwords->count)
        return err_set(
            err, ERR_PEER,
            "an envelope by password of %d iterations, which is too many for each of %zu "
            "fixed challenges: at most %zu",
            found.pwri.iterations, passwords->count, SCEP_PWRI_WORK_MAX / passwords->count);
    if (!scep_cipher_get(found.cipher) || RAND_bytes(key, sizeof key) != 1)
        return err_openssl(err, ERR_LOCAL, "opening an envelope");
    bool ok = unwrap_any(&found, passwords, key, &opened->by);
    if (opened->content) {
        opened->content->secret = true;
        opened->content->max = SCEP_MSG_MAX;
        ok = decrypt_content(&found, key, opened->content) && ok;
        if (!ok)
            buf_clear(opened->content);
    }
    OPENSSL_cleanse(key, sizeof key);
    return ok || err_set(err, ERR_PEER, CLOSED);
}
