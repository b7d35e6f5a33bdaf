/* SignedData of our own (RFC 5652 section 5). Internal to est/. */
#ifndef EST_SIGN_H
#define EST_SIGN_H

#include "config/config.h"

/* What signs for a profile: the entry of ra that it names, or the TLS server's identity. */
const struct cfg_identity *est_signer(const struct cfg *cfg, const struct cfg_profile *profile);

struct est_signed {
    const char *type; /* dotted OID of the content's type */
    struct bytes content;
    const struct bytes *certs; /* to be in it besides the signer's chain; no two equal */
    size_t cert_count;
};

/* A whole ContentInfo in definite-length DER. out had better be a secret buffer if the content is
 * one; copies that OpenSSL made of it are wiped. */
bool est_sign(const struct cfg_identity *signer, const struct est_signed *what, struct buf *out,
              struct err *err) MUST_USE;

#endif
