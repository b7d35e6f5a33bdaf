#include "gateway/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SERIAL_LEN 20
#define BACKDATE_SECONDS 3600

EVP_PKEY *pki_key_make(enum pki_key kind, struct err *err)
{
    EVP_PKEY *key = kind == PKI_P256 ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
    if (!key)
        err_openssl(err, ERR_LOCAL, "making a key");
    return key;
}

static bool set_serial(X509 *cert)
{
    uint8_t octets[SERIAL_LEN];
    if (RAND_bytes(octets, sizeof octets) != 1)
        return false;
    octets[0] = (uint8_t)((octets[0] & 0x3f) | 0x40);
    BIGNUM *number = BN_bin2bn(octets, sizeof octets, NULL);
    bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    return ok;
}

static bool set_names(X509 *cert, const char *cn, const X509 *issuer)
{
    X509_NAME *name = X509_NAME_new();
    bool ok = name &&
              X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1,
                                         -1, 0) == 1 &&
              X509_set_subject_name(cert, name) &&
              X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : name);
    X509_NAME_free(name);
    return ok;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    if (!value)
        return true;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer ? issuer : cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
    bool ok = extension && X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    return ok;
}

X509 *pki_cert_make(const struct pki_spec *spec, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                    struct err *err)
{
    X509 *cert = X509_new();
    bool ok = cert && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
              set_names(cert, spec->cn, issuer) && X509_set_pubkey(cert, key) &&
              X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_SECONDS) &&
              X509_time_adj_ex(X509_getm_notAfter(cert), spec->days, 0, NULL) &&
              add_extension(cert, issuer, NID_basic_constraints, spec->constraints) &&
              add_extension(cert, issuer, NID_key_usage, spec->usage) &&
              add_extension(cert, issuer, NID_ext_key_usage, spec->eku) &&
              add_extension(cert, issuer, NID_subject_alt_name, spec->sans) &&
              add_extension(cert, issuer, NID_subject_key_identifier, "hash") &&
              add_extension(cert, issuer, NID_authority_key_identifier, issuer ? "keyid" : NULL) &&
              X509_sign(cert, issuer_key, EVP_sha256()) > 0;
    if (ok)
        return cert;
    X509_free(cert);
    err_openssl(err, ERR_LOCAL, "making the certificate of %s", spec->cn);
    return NULL;
}

static FILE *create(const char *path, mode_t mode, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file)
        err_set(err, ERR_LOCAL, "%s: %s", path, strerror(errno));
    return file;
}

static bool finish(FILE *file, bool ok, const char *path, struct err *err)
{
    if (fclose(file) != 0)
        ok = false;
    return ok || err_set(err, ERR_LOCAL, "%s: it could not be written", path);
}

bool pki_cert_write(const char *path, const X509 *cert, const X509 *extra, struct err *err)
{
    FILE *file = create(path, 0644, err);
    if (!file)
        return false;
    bool ok = PEM_write_X509(file, cert) && (!extra || PEM_write_X509(file, extra));
    return finish(file, ok, path, err);
}

bool pki_key_write(const char *path, EVP_PKEY *key, struct err *err)
{
    FILE *file = create(path, 0600, err);
    if (!file)
        return false;
    return finish(file, PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), path, err);
}
