#include "tests/support/scep_make.h"
#include "tests/support/must.h"

#include "base/der.h"
#include "base/text.h"
#include "scep/attrs.h"

#include <openssl/objects.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTRIBUTES_MAX 32
#define SEGMENT 100 /* octets of one piece of a constructed OCTET STRING */

static void add_algorithm(struct buf *buf, int nid, bool with_null)
{
    static const uint8_t null[] = {DER_NULL, 0};
    size_t start = buf->len;
    MUST(der_add_oid(buf, nid));
    if (with_null)
        MUST(buf_add(buf, bytes_of(null, sizeof null)));
    MUST(der_wrap(buf, start, DER_SEQUENCE));
}

static void add_number(struct buf *buf, uint8_t number)
{
    MUST(der_add(buf, DER_INTEGER, bytes_of(&number, 1)));
}

/* IssuerAndSerialNumber or SubjectKeyIdentifier of a certificate. */
static void add_identifier(struct buf *buf, const struct cert *cert, bool by_ski)
{
    X509 *x509 = cert_x509_get(cert);
    if (by_ski) {
        const ASN1_OCTET_STRING *ski = X509_get0_subject_key_id(x509);
        MUST(ski);
        MUST(der_add(buf, DER_CONTEXT(0),
                     bytes_of(ASN1_STRING_get0_data(ski), (size_t)ASN1_STRING_length(ski))));
        return;
    }
    unsigned char *serial = NULL;
    int len = i2d_ASN1_INTEGER(X509_get0_serialNumber(x509), &serial);
    size_t start = buf->len;
    MUST(len > 0 && buf_add(buf, cert_issuer_get(cert)) &&
         buf_add(buf, bytes_of(serial, (size_t)len)) && der_wrap(buf, start, DER_SEQUENCE));
    OPENSSL_free(serial);
}

static void add_attribute(struct buf *buf, int nid, uint8_t tag, struct bytes value)
{
    size_t start = buf->len;
    MUST(der_add_oid(buf, nid));
    size_t values = buf->len;
    MUST(der_add(buf, tag, value) && der_wrap(buf, values, DER_SET) &&
         der_wrap(buf, start, DER_SEQUENCE));
}

static struct bytes oid_content(int nid)
{
    const ASN1_OBJECT *object = OBJ_nid2obj(nid);
    return bytes_of(OBJ_get0_data(object), OBJ_length(object));
}

static void add_attributes(struct buf *buf, const struct scep_make *make)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    const EVP_MD *md = EVP_get_digestbynid(make->digest ? make->digest : NID_sha256);
    MUST(md && EVP_Digest(make->content.ptr, make->content.len, digest, &len, md, NULL) == 1);
    if (make->wrong_digest)
        digest[0] ^= 1;
    if (make->content_type != SCEP_MAKE_NONE)
        add_attribute(buf, NID_pkcs9_contentType, DER_OID,
                      oid_content(make->content_type ? make->content_type : NID_pkcs7_data));
    add_attribute(buf, NID_pkcs9_messageDigest, DER_OCTET_STRING, bytes_of(digest, len));
    if (make->type)
        MUST(scep_attr_add(buf, SCEP_ATTR_TYPE, bytes_str(make->type)));
    if (make->nonce.ptr)
        MUST(scep_attr_add(buf, SCEP_ATTR_SENDER_NONCE, make->nonce));
    if (make->txn.ptr)
        MUST(scep_attr_add(buf, SCEP_ATTR_TXN, make->txn));
    MUST(buf_add(buf, make->more));
}

/* X.690 section 11.6: as octet strings, the shorter padded with zeros, which the first difference
 * decides. */
static int compare_encodings(const void *a, const void *b)
{
    const struct bytes *x = a, *y = b;
    size_t shorter = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->ptr, y->ptr, shorter);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static void sort_set(struct buf *set)
{
    struct bytes cur = buf_bytes(set), items[ATTRIBUTES_MAX];
    struct der item;
    struct buf sorted = {0};
    size_t count = 0;
    while (count < ATTRIBUTES_MAX && der_take(&cur, &item))
        items[count++] = item.whole;
    MUST(cur.len == 0);
    qsort(items, count, sizeof items[0], compare_encodings);
    for (size_t i = 0; i < count; i++)
        MUST(buf_add(&sorted, items[i]));
    buf_free(set);
    *set = sorted;
}

static void add_signature(struct buf *buf, const struct scep_make *make, struct bytes text)
{
    uint8_t signature[2048];
    size_t len = sizeof signature;
    const EVP_MD *md = EVP_get_digestbynid(make->digest ? make->digest : NID_sha256);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    MUST(ctx && md && EVP_DigestSignInit(ctx, NULL, md, NULL, make->key) == 1 &&
         EVP_DigestSign(ctx, signature, &len, text.ptr, text.len) == 1);
    EVP_MD_CTX_free(ctx);
    MUST(der_add(buf, DER_OCTET_STRING, bytes_of(signature, len)));
}

static int signature_nid(const struct scep_make *make)
{
    int digest = make->digest ? make->digest : NID_sha256, nid = NID_rsaEncryption;
    if (make->signature)
        return make->signature;
    if (EVP_PKEY_get_base_id(make->key) == EVP_PKEY_EC)
        MUST(OBJ_find_sigid_by_algs(&nid, digest, NID_X9_62_id_ecPublicKey));
    return nid;
}

static void add_signer_info(struct buf *buf, const struct scep_make *make)
{
    struct buf attributes = {0}, text = {0};
    size_t start = buf->len;
    int nid = signature_nid(make);
    add_attributes(&attributes, make);
    if (!make->unsorted)
        sort_set(&attributes);
    add_number(buf, make->by_ski ? 3 : 1);
    add_identifier(buf, make->signer, make->by_ski);
    add_algorithm(buf, make->digest ? make->digest : NID_sha256, true);
    if (make->no_attributes)
        MUST(buf_set(&text, make->content));
    else
        MUST(der_add(buf, DER_CONTEXT_CONSTRUCTED(0), buf_bytes(&attributes)) &&
             der_add(&text, DER_SET, buf_bytes(&attributes)));
    add_algorithm(buf, nid, nid == NID_rsaEncryption);
    add_signature(buf, make, buf_bytes(&text));
    MUST(der_wrap(buf, start, DER_SEQUENCE));
    buf_free(&attributes);
    buf_free(&text);
}

static void add_encapsulated(struct buf *buf, const struct scep_make *make)
{
    size_t start = buf->len;
    MUST(der_add_oid(buf, make->outer_type ? make->outer_type : NID_pkcs7_data));
    if (make->content.ptr) {
        size_t content = buf->len;
        MUST(der_add(buf, DER_OCTET_STRING, make->content) &&
             der_wrap(buf, content, DER_CONTEXT_CONSTRUCTED(0)));
    }
    MUST(der_wrap(buf, start, DER_SEQUENCE));
}

static void add_bag(struct buf *buf, const struct scep_make *make)
{
    size_t start = buf->len;
    for (size_t i = 0; make->certs && i < make->cert_count; i++)
        MUST(buf_add(buf, make->certs[i]));
    if (!make->certs)
        MUST(buf_add(buf, cert_der_get(make->signer)));
    if (buf->len > start)
        MUST(der_wrap(buf, start, DER_CONTEXT_CONSTRUCTED(0)));
}

static void wrap_content_info(struct buf *buf, size_t from, int nid)
{
    struct buf whole = {0};
    MUST(der_wrap(buf, from, DER_SEQUENCE) && der_wrap(buf, from, DER_CONTEXT_CONSTRUCTED(0)) &&
         der_add_oid(&whole, nid) && buf_add(&whole, bytes_of(buf->ptr + from, buf->len - from)));
    buf->len = from;
    MUST(der_add(buf, DER_SEQUENCE, buf_bytes(&whole)));
    buf_free(&whole);
}

void scep_make(const struct scep_make *make, struct buf *der)
{
    int signers = make->signers == SCEP_MAKE_NONE ? 0 : make->signers ? make->signers : 1;
    size_t start = der->len;
    add_number(der, make->by_ski ? 3 : 1);
    size_t algorithms = der->len;
    add_algorithm(der, make->digest ? make->digest : NID_sha256, true);
    MUST(der_wrap(der, algorithms, DER_SET));
    add_encapsulated(der, make);
    add_bag(der, make);
    size_t infos = der->len;
    for (int i = 0; i < signers; i++)
        add_signer_info(der, make);
    MUST(der_wrap(der, infos, DER_SET));
    wrap_content_info(der, start, NID_pkcs7_signed);
}

/* RSAES-OAEP-params (RFC 8017 appendix A.2.1): what has its default is left out, as DER wants it.
 */
static void add_oaep(struct buf *buf, const struct scep_make_envelope *make)
{
    int mask = make->mask ? make->mask : make->oaep;
    size_t start = buf->len;
    MUST(der_add_oid(buf, NID_rsaesOaep));
    size_t params = buf->len;
    if (make->oaep != NID_sha1 || make->whole) {
        add_algorithm(buf, make->oaep, true);
        MUST(der_wrap(buf, params, DER_CONTEXT_CONSTRUCTED(0)));
    }
    if (mask != NID_sha1 || make->whole) {
        size_t at = buf->len;
        MUST(der_add_oid(buf, NID_mgf1));
        add_algorithm(buf, mask, true);
        MUST(der_wrap(buf, at, DER_SEQUENCE) && der_wrap(buf, at, DER_CONTEXT_CONSTRUCTED(1)));
    }
    if (make->whole) {
        size_t at = buf->len;
        MUST(der_add_oid(buf, NID_pSpecified) && der_add(buf, DER_OCTET_STRING, bytes_str("")) &&
             der_wrap(buf, at, DER_SEQUENCE) && der_wrap(buf, at, DER_CONTEXT_CONSTRUCTED(2)));
    }
    MUST(der_wrap(buf, params, DER_SEQUENCE) && der_wrap(buf, start, DER_SEQUENCE));
}

static void rsa_encrypt(const struct scep_make_envelope *make, struct bytes plain, struct buf *out)
{
    uint8_t sealed[1024], block[1024];
    size_t len = sizeof sealed;
    EVP_PKEY *key = cert_spki_get(make->recipient)->key;
    int padding = make->oaep ? RSA_PKCS1_OAEP_PADDING : RSA_PKCS1_PADDING;
    if (make->fault == SCEP_MAKE_BAD_BLOCK) {
        size_t size = (size_t)EVP_PKEY_get_size(key);
        MUST(size <= sizeof block && RAND_bytes(block, (int)size) == 1);
        block[0] = 0;
        block[1] = 1;
        plain = bytes_of(block, size);
        padding = RSA_NO_PADDING;
    }
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    MUST(ctx && EVP_PKEY_encrypt_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, padding) == 1);
    if (padding == RSA_PKCS1_OAEP_PADDING)
        MUST(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_get_digestbynid(make->oaep)) == 1 &&
             EVP_PKEY_CTX_set_rsa_mgf1_md(
                 ctx, EVP_get_digestbynid(make->mask ? make->mask : make->oaep)) == 1);
    MUST(EVP_PKEY_encrypt(ctx, sealed, &len, plain.ptr, plain.len) == 1);
    EVP_PKEY_CTX_free(ctx);
    MUST(der_add(out, DER_OCTET_STRING, bytes_of(sealed, len)));
}

static void add_recipient(struct buf *buf, const struct scep_make_envelope *make, struct bytes key)
{
    size_t start = buf->len;
    add_number(buf, make->by_ski ? 2 : 0);
    add_identifier(buf, make->recipient, make->by_ski);
    if (make->oaep)
        add_oaep(buf, make);
    else
        add_algorithm(buf, NID_rsaEncryption, true);
    rsa_encrypt(make, key, buf);
    MUST(der_wrap(buf, start, DER_SEQUENCE));
}

/* The padding is ours, so that it can be wrong. */
static void pad(struct buf *plain, size_t block, enum scep_make_fault fault)
{
    size_t octets = block - plain->len % block;
    for (size_t i = 0; i < octets; i++)
        MUST(buf_add_u8(plain, (uint8_t)octets));
    if (fault == SCEP_MAKE_BAD_PAD)
        plain->ptr[plain->len - 1] = 0;
    if (fault == SCEP_MAKE_LONG_PAD)
        plain->ptr[plain->len - 1] = 200;
}

static void add_sealed(struct buf *buf, const struct scep_make_envelope *make, struct buf *plain,
                       const uint8_t *key)
{
    const EVP_CIPHER *cipher = EVP_get_cipherbynid(make->cipher ? make->cipher : NID_aes_128_cbc);
    uint8_t iv[EVP_MAX_IV_LENGTH];
    int len = 0, rest = 0;
    MUST(cipher && RAND_bytes(iv, sizeof iv) == 1);
    size_t block = (size_t)EVP_CIPHER_get_block_size(cipher);
    pad(plain, block, make->fault);
    uint8_t *sealed = mem_zalloc(plain->len + block);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    MUST(ctx && EVP_EncryptInit_ex(ctx, cipher, NULL, key, iv) == 1 &&
         EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
         EVP_EncryptUpdate(ctx, sealed, &len, plain->ptr, (int)plain->len) == 1 &&
         EVP_EncryptFinal_ex(ctx, sealed + len, &rest) == 1);
    EVP_CIPHER_CTX_free(ctx);
    size_t start = buf->len;
    MUST(der_add_oid(buf, NID_pkcs7_data));
    size_t algorithm = buf->len;
    MUST(der_add_oid(buf, EVP_CIPHER_get_nid(cipher)) &&
         der_add(buf, DER_OCTET_STRING, bytes_of(iv, block)) &&
         der_wrap(buf, algorithm, DER_SEQUENCE) &&
         der_add(buf, DER_CONTEXT(0), bytes_of(sealed, (size_t)len)) &&
         der_wrap(buf, start, DER_SEQUENCE));
    free(sealed);
}

void scep_make_envelope(const struct scep_make_envelope *make, struct bytes plain, struct buf *der)
{
    uint8_t key[EVP_MAX_KEY_LENGTH], sent[EVP_MAX_KEY_LENGTH];
    const EVP_CIPHER *cipher = EVP_get_cipherbynid(make->cipher ? make->cipher : NID_aes_128_cbc);
    struct buf text = {0};
    MUST(cipher && RAND_bytes(key, sizeof key) == 1 && buf_set(&text, plain));
    size_t len = (size_t)EVP_CIPHER_get_key_length(cipher), start = der->len;
    memcpy(sent, key, sizeof key);
    if (make->fault == SCEP_MAKE_WRONG_KEY)
        sent[0] ^= 1;
    if (make->fault == SCEP_MAKE_SHORT_KEY)
        len--;
    add_number(der, make->by_ski ? 2 : 0);
    size_t recipients = der->len;
    for (size_t i = 0; i < (make->recipients ? make->recipients : 1); i++)
        add_recipient(der, make, bytes_of(sent, len));
    MUST(der_wrap(der, recipients, DER_SET));
    add_sealed(der, make, &text, key);
    wrap_content_info(der, start, NID_pkcs7_enveloped);
    buf_free(&text);
}

static void add_segments(struct buf *out, uint8_t tag, struct bytes content)
{
    static const uint8_t end[2];
    struct bytes piece;
    MUST(buf_add_u8(out, tag) && buf_add_u8(out, 0x80));
    while (content.len) {
        MUST(bytes_take(&content, content.len < SEGMENT ? content.len : SEGMENT, &piece));
        MUST(der_add(out, DER_OCTET_STRING, piece));
    }
    MUST(buf_add(out, bytes_of(end, sizeof end)));
}

/* Sets (SignerInfos, RecipientInfos, digests) and the bag of certificates stay as they are: signed
 * attributes have to be DER, and so have certificates. The bag is the [0] at the third level. */
static void add_indefinite(struct buf *out, struct bytes content, unsigned depth)
{
    static const uint8_t end[2];
    struct der item;
    while (content.len) {
        MUST(der_take(&content, &item));
        bool bag = item.tag == DER_CONTEXT_CONSTRUCTED(0) && depth == 3;
        if (item.tag == DER_OCTET_STRING && item.content.len > 16) {
            add_segments(out, DER_OCTET_STRING | 0x20, item.content);
        } else if (item.tag == DER_CONTEXT(0)) {
            add_segments(out, DER_CONTEXT_CONSTRUCTED(0), item.content);
        } else if ((item.tag & 0x20) && item.tag != DER_SET && !bag) {
            MUST(buf_add_u8(out, item.tag) && buf_add_u8(out, 0x80));
            add_indefinite(out, item.content, depth + 1);
            MUST(buf_add(out, bytes_of(end, sizeof end)));
        } else {
            MUST(buf_add(out, item.whole));
        }
    }
}

void scep_make_indefinite(struct bytes der, struct buf *out)
{
    add_indefinite(out, der, 0);
}
