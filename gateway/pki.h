/* Keys and certificates for `scepter init`. */
#ifndef GATEWAY_PKI_H
#define GATEWAY_PKI_H

#include "base/err.h"

#include <openssl/x509.h>

enum pki_key { PKI_RSA2048 = 0, PKI_P256 };

/* The caller frees the key. NULL with err on failure. */
EVP_PKEY *pki_key_make(enum pki_key kind, struct err *err) MUST_USE;

/* What a certificate is to say. Extensions are in OpenSSL's text form; NULL leaves one out. */
struct pki_spec {
    const char *cn;
    const char *constraints; /* basicConstraints */
    const char *usage;       /* keyUsage */
    const char *eku;         /* extendedKeyUsage */
    const char *sans;        /* subjectAltName */
    int days;
};

/* Signed by issuer, or by itself if issuer is NULL (issuer_key is then the key of key). The caller
 * frees it. NULL with err on failure. */
X509 *pki_cert_make(const struct pki_spec *spec, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                    struct err *err) MUST_USE;

/* New files only; the key's mode is 0600. extra, or NULL, follows the certificate. */
bool pki_cert_write(const char *path, const X509 *cert, const X509 *extra,
                    struct err *err) MUST_USE;
bool pki_key_write(const char *path, EVP_PKEY *key, struct err *err) MUST_USE;

#endif
