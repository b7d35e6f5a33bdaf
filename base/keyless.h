/* Parsing without decoding public keys: OpenSSL 3.0 spends 100 us a key on it, under a lock. */
#ifndef BASE_KEYLESS_H
#define BASE_KEYLESS_H

#include <openssl/x509.h>

/* As d2i_X509 and d2i_X509_REQ, whole input; the result has no usable public key. NULL on failure,
 * also if there are trailing bytes. */
X509 *keyless_x509(const unsigned char *der, size_t len);
X509_REQ *keyless_req(const unsigned char *der, size_t len);

#endif
