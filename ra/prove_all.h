/* Where a certificate and a password are needed together. Internal to ra/. */
#ifndef RA_PROVE_ALL_H
#define RA_PROVE_ALL_H

#include "ra/prove.h"

/* ra_prove; and if the evidence needs both, a certificate must authorize by itself and there must
 * be a user or a challenge that is accepted besides. The same contract. */
bool ra_prove_all(struct ra_case *c, struct ra_authorization **ret, struct ra_outcome *outcome,
                  struct err *err) MUST_USE;

#endif
