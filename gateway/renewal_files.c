#include "gateway/renewal_files.h"

#include "base/debug.h"
#include "base/pem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PENDING ".key"
#define WRITING ".new"

/* The caller frees it. */
static char *beside(const struct cfg_renewed *renewed, const char *suffix)
{
    struct buf path = {0};
    if (!buf_add_fmt(&path, "%s%s", renewed->file, suffix))
        err_no_memory();
    char *text = mem_strdup(buf_str(&path));
    buf_free(&path);
    return text;
}

static bool fault(struct err *err, const char *path)
{
    return err_set(err, ERR_LOCAL, "%s cannot be written: %s", path, strerror(errno));
}

/* The names in a folder are on the disk. */
static bool sync_folder(const char *path, struct err *err)
{
    char *folder = mem_strdup(path);
    *(strrchr(folder, '/') + 1) = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = (fd >= 0 && fsync(fd) == 0) || fault(err, folder);
    if (fd >= 0)
        close(fd);
    free(folder);
    return ok;
}

static bool write_whole(int fd, struct bytes data)
{
    while (data.len) {
        ssize_t n = write(fd, data.ptr, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data = bytes_of(data.ptr + n, data.len - (size_t)n);
    }
    return true;
}

/* The file has this content, on the disk, or is as it was. */
static bool replace(const char *path, const char *writing, struct bytes data, struct err *err)
{
    (void)unlink(writing); /* what a process that died left */
    int fd = open(writing, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fault(err, writing);
    bool ok = write_whole(fd, data) && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    if (ok)
        ok = rename(writing, path) == 0;
    if (!ok) {
        fault(err, path);
        (void)unlink(writing);
        return false;
    }
    return sync_folder(path, err);
}

/* The key in PEM, into a secret buffer. */
static bool add_key(struct buf *out, EVP_PKEY *key)
{
    unsigned char *der = NULL;
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    int len = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : 0;
    bool ok = len > 0 && pem_add(out, "PRIVATE KEY", bytes_of(der, (size_t)len));
    OPENSSL_clear_free(der, len > 0 ? (size_t)len : 0);
    PKCS8_PRIV_KEY_INFO_free(info);
    return ok;
}

static bool make_key(const char *path, const char *writing, int bits, EVP_PKEY **ret,
                     struct err *err)
{
    struct buf text = BUF_SECRET(PEM_FILE_MAX);
    EVP_PKEY *key = EVP_RSA_gen((unsigned)bits);
    bool ok = (key && add_key(&text, key)) || err_openssl(err, ERR_LOCAL, "making a key");
    ok = ok && replace(path, writing, buf_bytes(&text), err);
    buf_free(&text);
    if (ok)
        *ret = key;
    else
        EVP_PKEY_free(key);
    return ok;
}

bool renewal_key(const struct cfg_renewed *renewed, EVP_PKEY *like, EVP_PKEY **ret, struct err *err)
{
    char *path = beside(renewed, PENDING), *writing = beside(renewed, PENDING WRITING);
    struct stat st;
    bool ok = stat(path, &st) == 0 ? pem_key_load(path, ret, err)
                                   : make_key(path, writing, EVP_PKEY_get_bits(like), ret, err);
    free(writing);
    free(path);
    debug_boundary("ra-key");
    return ok;
}

void renewal_key_drop(const struct cfg_renewed *renewed)
{
    char *path = beside(renewed, PENDING);
    (void)unlink(path);
    free(path);
}

bool renewal_key_there(const struct cfg_renewed *renewed)
{
    char *path = beside(renewed, PENDING);
    struct stat st;
    bool there = stat(path, &st) == 0;
    free(path);
    return there;
}

bool renewal_newer(const struct cfg_renewed *renewed, const struct cert *today, bool *ret,
                   struct err *err)
{
    struct cert **certs;
    size_t count;
    *ret = false;
    if (access(renewed->file, F_OK) != 0)
        return errno == ENOENT || err_set(err, ERR_LOCAL, "%s: %s", renewed->file, strerror(errno));
    if (!pem_certs_load(renewed->file, &certs, &count, err))
        return false;
    *ret = cert_not_after_get(certs[0]) > cert_not_after_get(today) &&
           cert_not_before_get(certs[0]) >= cert_not_before_get(today);
    pem_certs_free(certs, count);
    return true;
}

/* The pair of the last renewal gets a second name. It keeps its first one until the new pair takes
 * that, so that at each moment one of them is there. */
static bool keep_before(const struct cfg_renewed *renewed, struct err *err)
{
    char *before = beside(renewed, CFG_RENEWED_BEFORE);
    bool ok = true;
    if (access(renewed->file, F_OK) == 0) {
        (void)unlink(before);
        ok = link(renewed->file, before) == 0 || fault(err, before);
    }
    free(before);
    debug_boundary("ra-kept");
    return ok;
}

bool renewal_install(const struct cfg_renewed *renewed, EVP_PKEY *key, const struct cert *cert,
                     const struct cfg_certs *chain, struct err *err)
{
    struct buf text = BUF_SECRET(PEM_FILE_MAX);
    char *writing = beside(renewed, WRITING);
    bool ok = add_key(&text, key) && pem_add(&text, "CERTIFICATE", cert_der_get(cert));
    for (size_t i = 0; chain && i < chain->count && ok; i++)
        ok = pem_add(&text, "CERTIFICATE", cert_der_get(chain->items[i]));
    ok = ok || err_set(err, ERR_LOCAL, "a renewed pair that is too large");
    ok = ok && keep_before(renewed, err) && replace(renewed->file, writing, buf_bytes(&text), err);
    free(writing);
    buf_free(&text);
    debug_boundary("ra-written");
    if (ok)
        renewal_key_drop(renewed);
    return ok;
}
