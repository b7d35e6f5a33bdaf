/* Renewals that ask for other names (RFC 7030 section 4.2.2, RFC 6402 section 2.8). Internal to
 * ra/. */
#ifndef RA_RENAME_H
#define RA_RENAME_H

#include "ra/prove.h"

/* Whether a request may have the names that its ChangeSubjectName asks for: a renewal only, where
 * the profile allows it, and from a CA that can issue for other names than the CSR's. True for a
 * request without; else outcome is a refusal. What the names are is the policy's business. */
bool ra_rename_judge(const struct ra_request *request, enum ra_op op, const struct upstream *up,
                     struct ra_outcome *outcome);

#endif
