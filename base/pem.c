#include "base/pem.h"

#include "base/der.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CERTS_MAX 1024
#define PEM_COLUMNS 64

static bool read_all(int fd, const char *path, size_t max, struct buf *out, struct err *err)
{
    uint8_t chunk[4096];
    ssize_t n;
    size_t start = out->len;
    bool ok = true;
    while (ok && (n = read(fd, chunk, sizeof chunk)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            ok = err_set(err, ERR_LOCAL, "%s: %s", path, strerror(errno));
        else if (out->len - start + (size_t)n > max || !buf_add(out, bytes_of(chunk, (size_t)n)))
            ok = err_set(err, ERR_LOCAL, "%s: more than %zu bytes", path, max);
    }
    if (out->secret)
        OPENSSL_cleanse(chunk, sizeof chunk);
    return ok;
}

bool pem_file_read(const char *path, size_t max, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_LOCAL, "%s: %s", path, strerror(errno));
    bool ok = read_all(fd, path, max, out, err);
    close(fd);
    return ok;
}

static bool certs_add(struct cert ***certs, size_t *count, struct bytes der, struct err *err)
{
    struct cert *cert;
    if (*count == CERTS_MAX)
        return err_set(err, ERR_PEER, "more than %d certificates", CERTS_MAX);
    if (!cert_parse(der, &cert, err))
        return false;
    *certs = mem_resize(*certs, *count + 1, sizeof **certs);
    (*certs)[(*count)++] = cert;
    return true;
}

static bool certs_from_pem(BIO *bio, struct cert ***certs, size_t *count, struct err *err)
{
    char *label, *header;
    unsigned char *der;
    long len;
    bool ok = true;
    while (ok && PEM_read_bio(bio, &label, &header, &der, &len)) {
        if (strcmp(label, PEM_STRING_X509) == 0)
            ok = certs_add(certs, count, bytes_of(der, (size_t)len), err);
        OPENSSL_free(label);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    unsigned long why = ERR_peek_last_error();
    bool at_end = ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE;
    if (ok && !at_end) /* a cut or garbled block must not quietly shorten a list of anchors */
        return err_openssl(err, ERR_LOCAL, "a broken block behind %zu certificates", *count);
    return ok;
}

bool pem_certs_load(const char *path, struct cert ***ret, size_t *count, struct err *err)
{
    struct buf text = BUF_INIT(PEM_FILE_MAX);
    struct cert **certs = NULL;
    size_t n = 0;
    bool ok = pem_file_read(path, PEM_FILE_MAX, &text, err);
    if (ok && text.len && text.ptr[0] == DER_SEQUENCE) {
        ok = certs_add(&certs, &n, buf_bytes(&text), err) || err_within(err, "reading %s", path);
    } else if (ok && text.len) {
        BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
        if (!bio)
            err_no_memory();
        ok = certs_from_pem(bio, &certs, &n, err) || err_within(err, "reading %s", path);
        BIO_free(bio);
    }
    if (ok && !n)
        ok = err_set(err, ERR_LOCAL, "%s: no certificate in it", path);
    buf_free(&text);
    if (!ok) {
        pem_certs_free(certs, n);
        return false;
    }
    ERR_clear_error(); /* the end of the file is one */
    *ret = certs;
    *count = n;
    return true;
}

void pem_certs_free(struct cert **certs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cert_free(certs[i]);
    free(certs);
}

/* An encrypted key is refused instead of asking on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

bool pem_key_load(const char *path, EVP_PKEY **ret, struct err *err)
{
    struct buf text = BUF_SECRET(PEM_FILE_MAX);
    if (!pem_file_read(path, PEM_FILE_MAX, &text, err)) {
        buf_free(&text);
        return false;
    }
    EVP_PKEY *key = NULL;
    if (text.len && text.ptr[0] == DER_SEQUENCE) {
        const unsigned char *p = text.ptr;
        key = d2i_AutoPrivateKey(NULL, &p, (long)text.len);
        if (key && p != text.ptr + text.len) {
            EVP_PKEY_free(key);
            key = NULL;
        }
    } else if (text.len) {
        BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
        key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
        BIO_free(bio);
    }
    buf_free(&text);
    if (!key)
        return err_openssl(err, ERR_LOCAL, "%s: no unencrypted private key in it", path);
    *ret = key;
    return true;
}

/* The text between the BEGIN and END lines of that label; false if they are not there. */
static bool block_find(struct bytes text, const char *label, struct bytes *ret)
{
    char begin[64], end[64];
    snprintf(begin, sizeof begin, "-----BEGIN %s-----", label);
    snprintf(end, sizeof end, "-----END %s-----", label);
    const uint8_t *from = memmem(text.ptr, text.len, begin, strlen(begin));
    if (!from)
        return false;
    struct bytes rest = text, skipped;
    if (!bytes_take(&rest, (size_t)(from - text.ptr) + strlen(begin), &skipped))
        return false;
    const uint8_t *to = memmem(rest.ptr, rest.len, end, strlen(end));
    return to && bytes_take(&rest, (size_t)(to - rest.ptr), ret);
}

bool pem_csr_decode(struct bytes text, struct buf *der)
{
    struct bytes block;
    struct err ignored;
    return text.len &&
           (block_find(text, PEM_STRING_X509_REQ, &block) ||
            block_find(text, PEM_STRING_X509_REQ_OLD, &block)) &&
           text_base64_decode(block, TEXT_BASE64_SPACE, der, &ignored);
}

bool pem_add(struct buf *out, const char *label, struct bytes der)
{
    return buf_add_fmt(out, "-----BEGIN %s-----\n", label) &&
           text_base64_encode(der, PEM_COLUMNS, out) &&
           buf_add_fmt(out, "-----END %s-----\n", label);
}

/* SignedData { version 1, digestAlgorithms {}, contentInfo { data }, [0] certificates or [1] crls,
 * signerInfos {} } */
static bool degenerate_encode(const struct bytes *items, size_t count, uint8_t tag, struct buf *out)
{
    static const uint8_t version[] = {DER_INTEGER, 1, 1};
    static const uint8_t empty_set[] = {DER_SET, 0};
    size_t start = out->len;
    bool ok = der_add_oid(out, NID_pkcs7_signed);
    size_t explicit_at = out->len;
    ok = ok && buf_add(out, bytes_of(version, sizeof version)) &&
         buf_add(out, bytes_of(empty_set, sizeof empty_set));
    size_t content_at = out->len;
    ok = ok && der_add_oid(out, NID_pkcs7_data) && der_wrap(out, content_at, DER_SEQUENCE);
    size_t items_at = out->len;
    for (size_t i = 0; i < count && ok; i++)
        ok = buf_add(out, items[i]);
    ok = ok && der_wrap(out, items_at, tag) &&
         buf_add(out, bytes_of(empty_set, sizeof empty_set)) &&
         der_wrap(out, explicit_at, DER_SEQUENCE) &&
         der_wrap(out, explicit_at, DER_CONTEXT_CONSTRUCTED(0)) &&
         der_wrap(out, start, DER_SEQUENCE);
    if (!ok)
        out->len = start;
    return ok;
}

bool pem_certs_only_encode(const struct bytes *certs, size_t count, struct buf *out)
{
    return degenerate_encode(certs, count, DER_CONTEXT_CONSTRUCTED(0), out);
}

bool pem_crl_only_encode(struct bytes crl, struct buf *out)
{
    return degenerate_encode(&crl, 1, DER_CONTEXT_CONSTRUCTED(1), out);
}
