/* CSRs that name a key to encrypt the private key with (RFC 7030 section 4.4.1). */
#ifndef TESTS_SUPPORT_KEYGEN_MAKE_H
#define TESTS_SUPPORT_KEYGEN_MAKE_H

#include "tests/support/pki_make.h"

#define DECRYPT_KEY "1.2.840.113549.1.9.16.2.37"
#define ASYMMETRIC_DECRYPT_KEY "1.2.840.113549.1.9.16.2.54"
#define CAPABILITIES "1.2.840.113549.1.9.15"

struct keygen_attr {
    const char *oid;
    int type; /* V_ASN1_... */
    struct bytes value;
};

/* DER of a CSR for "CN=device" with these attributes; the caller frees it. */
struct buf keygen_make_der(EVP_PKEY *key, const struct keygen_attr *attrs, size_t count);
struct csr *keygen_make(EVP_PKEY *key, const struct keygen_attr *attrs, size_t count);
/* SMIMECapabilities with these algorithms (dotted OIDs, ends with NULL) into der. */
void keygen_make_capabilities(const char *const *oids, struct buf *der);

#endif
