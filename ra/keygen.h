/* Keys that are made for devices (RFC 7030 section 4.4), and the CSRs that ask for them. */
#ifndef RA_KEYGEN_H
#define RA_KEYGEN_H

#include "base/csr.h"
#include "config/config.h"

struct keygen_plan {
    enum spki_kind kind;
    int bits;          /* SPKI_RSA */
    const char *curve; /* SPKI_EC */
};

/* Which key a profile has made for a CSR with this key, which says the kind and no more (RFC 7030
 * section 4.4.1): RSA of its size, within what the profile allows; EC on its curve, if that is
 * allowed. False (ERR_PEER): the profile allows no such key. */
bool keygen_plan(const struct cfg_keys *keys, const struct spki *wish, struct keygen_plan *ret,
                 struct err *err) MUST_USE;

/* The caller owns *ret. ERR_LOCAL. Takes seconds for a large RSA key. */
bool keygen_key(const struct keygen_plan *plan, EVP_PKEY **ret, struct err *err) MUST_USE;

/* A CSR for the key with the subject and the requested extensions of the wish, but for its key
 * identifier, and nothing else of it. The caller owns *ret. */
bool keygen_csr(const struct csr *wish, EVP_PKEY *key, struct csr **ret, struct err *err) MUST_USE;

#endif
