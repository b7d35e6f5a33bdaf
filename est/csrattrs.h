/* What a profile asks of CSRs, as EST tells it (RFC 7030 section 4.5, RFC 8951 section 4,
 * RFC 9908). Internal to est/. */
#ifndef EST_CSRATTRS_H
#define EST_CSRATTRS_H

#include "config/config.h"

/* The CsrAttrs of a profile in DER, made of the rules that judge its CSRs: a CSR that does as it
 * is told passes them. out stays empty if nothing is asked. False: it is too large. */
bool est_csrattrs_encode(const struct cfg_profile *profile, struct buf *out) MUST_USE;

#endif
