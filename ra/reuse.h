/* One public key under two names. Internal to ra/. */
#ifndef RA_REUSE_H
#define RA_REUSE_H

#include "ra/prove.h"

/* Looks who else has used the key of csr, the request's or one made for it (any profile, any
 * certificate that was ever recorded, and open requests): fills *use, which the order then records.
 * False: could not decide. */
bool ra_reuse_find(struct store *store, const struct ra_request *request, const struct csr *csr,
                   struct store_key_use *use, struct err *err) MUST_USE;
/* Whether the profile refuses it; then outcome is the refusal. */
bool ra_reuse_refuse(const struct store_key_use *use, struct ra_outcome *outcome);
/* For the record: "; the key is also that of ...", or "". */
void ra_reuse_text(const struct store_key_use *use, char out[RA_DETAIL_MAX]);

#endif
