/* Signature algorithms that say who signed. */
#ifndef BASE_STRONG_H
#define BASE_STRONG_H

#include "base/bytes.h"

#include <openssl/x509.h>

/* Whether it signs a digest of SHA-2 or SHA-3, or is EdDSA; of RSA-PSS the digest in its parameters
 * counts. Who finds a second message with the same MD5 or SHA-1 can put its own into the signer's
 * mouth. */
bool strong_is(const X509_ALGOR *algorithm);
/* The digest that it signs, or NID_undef: none is known of it. */
int strong_digest(const X509_ALGOR *algorithm);

/* False (ERR_PEER) if it is not: what ("a CRL") is signed with something else. */
bool strong_check(const X509_ALGOR *algorithm, const char *what, struct err *err) MUST_USE;

#endif
