/* Linking of proof of possession with identity (RFC 7030 section 3.5). Internal to est/. */
#ifndef EST_BINDING_H
#define EST_BINDING_H

#include "base/csr.h"
#include "config/config.h"

/* Whether the CSR may have challengePassword, if it does (challenge_password: refuse). */
bool est_password_check(const struct cfg_est *est, const struct csr *csr, struct err *err) MUST_USE;
/* The same, and whether the CSR is bound as the profile wants it: whatever binding it holds must be
 * base64 of `binding`, the whole of it. False with ERR_PEER and the reason, which tells no secret.
 */
bool est_binding_check(const struct cfg_est *est, const struct csr *csr, struct bytes binding,
                       struct err *err) MUST_USE;

#endif
