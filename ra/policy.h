/* Pure rules: what a profile lets a request have. A CSR is relayed as it was signed, so whatever is
 * in it is either judged and allowed, on the profile's list of things to ignore, or refused. */
#ifndef RA_POLICY_H
#define RA_POLICY_H

#include "ra/request.h"

enum policy_verdict { POLICY_ALLOW = 0, POLICY_HOLD, POLICY_REFUSE };

struct policy_result {
    enum policy_verdict verdict;
    enum ra_reason reason;
    char detail[RA_DETAIL_MAX];  /* which rule, with the value at fault */
    char ignored[RA_DETAIL_MAX]; /* extensions that the profile ignores and the CSR holds, or "" */
};

/* Names, SAN, key, extensions of a CSR against a profile. */
void policy_judge(const struct cfg_profile *profile, const struct csr *csr,
                  struct policy_result *ret);

/* The same for a CSR whose key and attributes go no further, since a key is made (RFC 7030 section
 * 4.4.1). */
void policy_judge_wish(const struct cfg_profile *profile, const struct csr *csr,
                       struct policy_result *ret);

/* First matching route: index into profile->routes, or false. */
bool policy_route(const struct cfg_profile *profile, const struct csr *csr, const char *label,
                  size_t *ret) MUST_USE;

/* Whether an issued certificate is what was authorized: public key of the CSR, subject and SAN of
 * the CSR, chain to the profile's anchors, valid now, no CA. */
bool policy_check_issued(const struct cfg_profile *profile, const struct csr *csr,
                         const struct cert *cert, const struct cfg_certs *chain,
                         struct err *err) MUST_USE;

#endif
