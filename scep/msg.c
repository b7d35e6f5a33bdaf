#include "scep/msg.h"

#include "base/der.h"
#include "base/pem.h"
#include "scep/attrs.h"
#include "scep/check.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#define NONCE_MAX 64
#define HRESULT_MAX 11 /* -2147483648 */

struct scep_msg {
    struct buf txn;
    struct buf nonce, recipient_nonce;
    struct buf content;
    struct buf fail_text, hresult;
    int type, status, fail;
    struct scep_algs algs;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    struct cert *signer;
    struct cert *along[SCEP_CERTS_MAX];
    size_t along_count;
};

/* The one certificate that the SignerInfo names, of a bag or of those that are known. */
static bool take_signer(const struct cms_signed *found, struct cert *cert, struct cert **signer,
                        struct err *err)
{
    if (!cms_id_names(&found->signer, cert))
        return true;
    if (*signer)
        return err_set(err, ERR_PEER, "two certificates are named as the signer");
    *signer = cert_ref(cert);
    return true;
}

/* Of the bag, whose other certificates need not be well-formed; if it is not there, of those that
 * are known. */
static bool find_signer(const struct cms_signed *found, const struct scep_known *known,
                        struct scep_msg *msg, struct err *err)
{
    bool ok = true;
    for (size_t i = 0; i < found->cert_count && ok; i++) {
        struct cert *cert;
        struct err ignored;
        if (!cert_parse(found->certs[i], &cert, &ignored))
            continue;
        ok = take_signer(found, cert, &msg->signer, err);
        if (ok && msg->signer != cert)
            msg->along[msg->along_count++] = cert_ref(cert);
        cert_free(cert);
    }
    bool in_bag = msg->signer;
    for (size_t i = 0; !in_bag && i < known->count && ok; i++)
        ok = take_signer(found, known->certs[i], &msg->signer, err);
    return ok && (msg->signer ||
                  err_set(err, ERR_PEER, "the signer's certificate is not in the message"));
}

/* What does not fit is left out: it is for an operator's eyes. */
static void take_texts(struct bytes attributes, struct scep_msg *msg)
{
    struct bytes text;
    msg->fail_text.max = SCEP_TEXT_MAX;
    msg->hresult.max = HRESULT_MAX;
    if (scep_attr_find(attributes, SCEP_ATTR_FAIL_TEXT, &text))
        (void)!buf_set(&msg->fail_text, text);
    if (scep_attr_find(attributes, SCEP_ATTR_HRESULT, &text))
        (void)!buf_set(&msg->hresult, text);
}

static bool take_address(struct bytes attributes, struct scep_msg *msg)
{
    struct bytes txn, nonce;
    msg->txn.max = SCEP_TXN_MAX;
    msg->nonce.max = msg->recipient_nonce.max = NONCE_MAX;
    if (!scep_attr_find(attributes, SCEP_ATTR_TXN, &txn) || txn.len == 0 ||
        !buf_set(&msg->txn, txn))
        return false;
    if (scep_attr_find(attributes, SCEP_ATTR_SENDER_NONCE, &nonce) && !buf_set(&msg->nonce, nonce))
        return false;
    if (scep_attr_find(attributes, SCEP_ATTR_RECIPIENT_NONCE, &nonce) &&
        !buf_set(&msg->recipient_nonce, nonce))
        return false;
    take_texts(attributes, msg);
    msg->type = scep_attr_number(attributes, SCEP_ATTR_TYPE);
    msg->status = scep_attr_number(attributes, SCEP_ATTR_STATUS);
    msg->fail = scep_attr_number(attributes, SCEP_ATTR_FAIL);
    return true;
}

/* By what was signed, not by how it is written: OpenSSL verifies attributes in BER as well. Without
 * the senderNonce, which can so be hidden from us; without the others there is no request. */
static void digest_make(struct bytes attributes, struct scep_msg *msg)
{
    static const enum scep_attr parts[] = {SCEP_ATTR_TYPE, SCEP_ATTR_TXN, SCEP_ATTR_MESSAGE_DIGEST};
    struct buf text = {0};
    bool ok = buf_set(&text, bytes_of(cert_spki_get(msg->signer)->digest, SPKI_DIGEST_LEN));
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        struct bytes value = {0};
        if (!scep_attr_find(attributes, parts[i], &value))
            value = (struct bytes){0};
        ok = ok && der_add(&text, DER_OCTET_STRING, value); /* with its length */
    }
    if (!ok)
        err_no_memory(); /* they are parts of a message that is within its ceiling */
    SHA256(text.ptr, text.len, msg->digest);
    buf_free(&text);
}

/* What is taken beyond what every message has to be. */
struct terms {
    struct scep_known known;
    bool md5;
};

/* As scep_msg_parse says it, with *ret set whenever the message could be read. */
static bool parse(struct bytes der, const struct terms *terms, struct scep_msg **ret,
                  enum scep_fail *fail, struct err *err)
{
    struct cms_signed found;
    *ret = NULL;
    *fail = SCEP_BAD_MESSAGE_CHECK;
    if (!scep_signed_take(der, &found, err))
        return false;
    struct scep_msg *msg = mem_zalloc(sizeof *msg);
    msg->content.max = SCEP_MSG_MAX;
    if (!take_address(found.attributes, msg)) {
        scep_msg_free(msg);
        return err_set(err, ERR_PEER, "a message without a readable transactionID");
    }
    msg->algs.digest = found.digest;
    *ret = msg;
    if (!scep_signed_algs_known(&found, terms->md5)) {
        *fail = SCEP_BAD_ALG;
        return err_set(err, ERR_PEER, "a message signed with %s and %s, which is not allowed",
                       OBJ_nid2sn(found.digest), OBJ_nid2sn(found.signature));
    }
    if (!scep_signed_attributes_fine(&found))
        return err_set(err, ERR_PEER,
                       "a message whose contentType attribute is not data, or whose messageDigest "
                       "is not one");
    if (!find_signer(&found, &terms->known, msg, err) ||
        !cms_signed_verify(der, msg->signer, &msg->content, err))
        return false;
    digest_make(found.attributes, msg);
    return true;
}

bool scep_msg_parse(struct bytes der, struct scep_msg **ret, bool *partial, enum scep_fail *fail,
                    struct err *err)
{
    const struct terms terms = {.md5 = false};
    struct scep_msg *msg;
    bool ok = parse(der, &terms, &msg, fail, err);
    *partial = msg;
    if (msg)
        *ret = msg;
    return ok;
}

bool scep_msg_parse_md5(struct bytes der, struct scep_msg **ret, bool *partial,
                        enum scep_fail *fail, struct err *err)
{
    const struct terms terms = {.md5 = true};
    struct scep_msg *msg;
    bool ok = parse(der, &terms, &msg, fail, err);
    *partial = msg;
    if (msg)
        *ret = msg;
    return ok;
}

bool scep_reply_parse(struct bytes der, const struct scep_known *known, struct scep_msg **ret,
                      struct err *err)
{
    const struct terms terms = {.known = *known};
    struct scep_msg *msg;
    enum scep_fail fail;
    if (parse(der, &terms, &msg, &fail, err)) {
        *ret = msg;
        return true;
    }
    scep_msg_free(msg);
    return false;
}

void scep_msg_free(struct scep_msg *msg)
{
    if (!msg)
        return;
    buf_free(&msg->txn);
    buf_free(&msg->nonce);
    buf_free(&msg->recipient_nonce);
    buf_free(&msg->content);
    buf_free(&msg->fail_text);
    buf_free(&msg->hresult);
    cert_free(msg->signer);
    for (size_t i = 0; i < msg->along_count; i++)
        cert_free(msg->along[i]);
    free(msg);
}

int scep_msg_type_get(const struct scep_msg *msg)
{
    return msg->type;
}

struct bytes scep_msg_txn_get(const struct scep_msg *msg)
{
    return buf_bytes(&msg->txn);
}

struct bytes scep_msg_nonce_get(const struct scep_msg *msg)
{
    return buf_bytes(&msg->nonce);
}

struct cert *scep_msg_signer_get(const struct scep_msg *msg)
{
    return msg->signer;
}

struct cert *const *scep_msg_along_get(const struct scep_msg *msg, size_t *count)
{
    *count = msg->along_count;
    return msg->along;
}

const uint8_t *scep_msg_digest_get(const struct scep_msg *msg)
{
    return msg->digest;
}

struct scep_algs scep_msg_algs_get(const struct scep_msg *msg)
{
    return msg->algs;
}

struct bytes scep_msg_content_get(const struct scep_msg *msg)
{
    return buf_bytes(&msg->content);
}

int scep_msg_status_get(const struct scep_msg *msg)
{
    return msg->type == SCEP_CERTREP ? msg->status : -1;
}

int scep_msg_fail_get(const struct scep_msg *msg)
{
    return msg->fail;
}

struct bytes scep_msg_recipient_nonce_get(const struct scep_msg *msg)
{
    return buf_bytes(&msg->recipient_nonce);
}

struct bytes scep_msg_fail_text_get(const struct scep_msg *msg)
{
    return buf_bytes(&msg->fail_text);
}

bool scep_msg_hresult_get(const struct scep_msg *msg, uint32_t *ret)
{
    struct bytes text = buf_bytes(&msg->hresult);
    bool minus = bytes_starts(text, "-");
    int64_t value = 0;
    uint8_t digit;
    if (minus)
        (void)!bytes_take_u8(&text, &digit);
    if (!text.len)
        return false;
    while (bytes_take_u8(&text, &digit)) {
        if (digit < '0' || digit > '9')
            return false;
        value = 10 * value + (digit - '0'); /* of HRESULT_MAX digits at most */
    }
    if (value > (minus ? INT64_C(0x80000000) : INT64_C(0xffffffff)))
        return false;
    *ret = (uint32_t)(minus ? -value : value);
    return true;
}

bool scep_certs_decode(struct bytes der, struct cert ***ret, size_t *count, struct err *err)
{
    struct der outer, oid, explicit, data, version, algorithms, content, bag, one;
    struct cert **certs = NULL;
    size_t n = 0;
    if (!der_check(der, SCEP_DEPTH_MAX, 5000) || !der_take_tag(&der, DER_SEQUENCE, &outer) ||
        !der_take_tag(&outer.content, DER_OID, &oid) ||
        !der_take_tag(&outer.content, DER_CONTEXT_CONSTRUCTED(0), &explicit) ||
        !der_take_tag(&explicit.content, DER_SEQUENCE, &data) ||
        !der_take_tag(&data.content, DER_INTEGER, &version) ||
        !der_take_tag(&data.content, DER_SET, &algorithms) ||
        !der_take_tag(&data.content, DER_SEQUENCE, &content) ||
        !der_take_tag(&data.content, DER_CONTEXT_CONSTRUCTED(0), &bag))
        return err_set(err, ERR_PEER, "not a degenerate SignedData");
    while (bag.content.len) {
        if (n == SCEP_CERTS_MAX || !der_take_tag(&bag.content, DER_SEQUENCE, &one)) {
            pem_certs_free(certs, n);
            return err_set(err, ERR_PEER, "a bag with too many or odd certificates");
        }
        certs = mem_resize(certs, n + 1, sizeof *certs);
        if (!cert_parse(one.whole, &certs[n], err)) {
            pem_certs_free(certs, n);
            return false;
        }
        n++;
    }
    *ret = certs;
    *count = n;
    return true;
}
