/* Requested extensions against a profile. Part of policy. */
#ifndef RA_POLICY_EXT_H
#define RA_POLICY_EXT_H

#include "ra/policy.h"

/* Sets reason and detail and the verdict POLICY_REFUSE if one is dangerous or unknown; fills
 * result->ignored with those that the profile ignores. */
void policy_judge_extensions(const struct cfg_profile *profile, const struct csr *csr,
                             struct policy_result *result);

/* POLICY_REFUSE with a reason and a detail. */
void policy_refuse(struct policy_result *result, enum ra_reason reason, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The dotted form of an object identifier. */
#define POLICY_OID_MAX 128
void policy_oid(const ASN1_OBJECT *object, char out[POLICY_OID_MAX]);
/* A CSR is relayed as it was signed, and a CA may act on an attribute: Microsoft's name-value pairs
 * can name another subject. What is not known is ignored by the profile's list, or refused. */
void policy_judge_attributes(const struct cfg_profile *profile, const struct csr *csr,
                             struct policy_result *result);

#endif
