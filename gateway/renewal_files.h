/* The files of an RA that renews itself. Whatever is killed when, a key with its certificate is
 * there whole or not at all. Internal to gateway/renewal.c. */
#ifndef GATEWAY_RENEWAL_FILES_H
#define GATEWAY_RENEWAL_FILES_H

#include "config/renewed.h"

/* The key of the request that is under way, beside renewed->file: read, or made with as many bits
 * as `like` has and written (mode 0600) before it is returned. The caller frees *ret. */
bool renewal_key(const struct cfg_renewed *renewed, EVP_PKEY *like, EVP_PKEY **ret,
                 struct err *err) MUST_USE;
/* Removes it; there may be none. */
void renewal_key_drop(const struct cfg_renewed *renewed);
/* Whether there is one. */
bool renewal_key_there(const struct cfg_renewed *renewed);

/* Whether renewed->file holds a pair that takes the place of today's once it is loaded. */
bool renewal_newer(const struct cfg_renewed *renewed, const struct cert *today, bool *ret,
                   struct err *err) MUST_USE;

/* Key, certificate and chain as renewed->file; the one that was there stands beside it from now on
 * (CFG_RENEWED_BEFORE). chain may be NULL. */
bool renewal_install(const struct cfg_renewed *renewed, EVP_PKEY *key, const struct cert *cert,
                     const struct cfg_certs *chain, struct err *err) MUST_USE;

#endif
