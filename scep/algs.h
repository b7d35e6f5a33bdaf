/* Algorithms of pkiMessages: how they are written, and OpenSSL's implementations. Internal to
 * scep/.
 */
#ifndef SCEP_ALGS_H
#define SCEP_ALGS_H

#include "base/cms.h"
#include "scep/scep.h"

/* AlgorithmIdentifier without parameters, or with NULL. */
bool scep_algorithm_add(struct buf *out, int nid, bool null) MUST_USE;

/* Octets in a block of a content cipher; 0 if it is none of those. */
size_t scep_cipher_block(int nid, enum scep_ciphers ciphers);
/* The same cipher for EVP calls, also single DES; NULL if it is not there. Never freed. */
const EVP_CIPHER *scep_cipher_get(int nid);

/* Where single DES is known: a library context of its own with OpenSSL's legacy provider, made at
 * the first call, so that nothing else in the process gets old algorithms. NULL: the provider is
 * not there. */
OSSL_LIB_CTX *scep_legacy_get(void);

#endif
