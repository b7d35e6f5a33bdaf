/* Certificates, keys and PKCS#7 bags in files and messages. */
#ifndef BASE_PEM_H
#define BASE_PEM_H

#include "base/cert.h"

#define PEM_FILE_MAX ((size_t)1 << 20)

/* The file's content, at most max bytes. ERR_LOCAL with the path and errno's text. secret: the
 * buffer is wiped when freed. */
bool pem_file_read(const char *path, size_t max, struct buf *out, struct err *err) MUST_USE;
/* Every CERTIFICATE block of a PEM file, in order (at least one), or one DER certificate. The
 * caller frees each and the array (pem_certs_free). */
bool pem_certs_load(const char *path, struct cert ***ret, size_t *count, struct err *err) MUST_USE;
void pem_certs_free(struct cert **certs, size_t count);
/* An unencrypted private key, PEM or DER. */
bool pem_key_load(const char *path, EVP_PKEY **ret, struct err *err) MUST_USE;
/* The DER inside the first PEM block whose label is one of "CERTIFICATE REQUEST" and "NEW
 * CERTIFICATE REQUEST"; false if there is no such block. */
bool pem_csr_decode(struct bytes text, struct buf *der) MUST_USE;
/* One PEM block with 64 columns. */
bool pem_add(struct buf *out, const char *label, struct bytes der) MUST_USE;

/* Degenerate SignedData: certificates only, in the order given (RFC 8894 section 3.4, RFC 7030
 * section 4.1.3). Definite-length DER. */
bool pem_certs_only_encode(const struct bytes *certs, size_t count, struct buf *out) MUST_USE;
/* The same with a CRL alone (RFC 8894 section 4.6.1). */
bool pem_crl_only_encode(struct bytes crl, struct buf *out) MUST_USE;

#endif
