/* What a profile says of its CA: GetCACaps and GetCACert (RFC 8894 sections 3.5 and 4.2). Internal
 * to scep/. */
#ifndef SCEP_CA_H
#define SCEP_CA_H

#include "scep/door.h"

#define SCEP_CHAIN_MAX 16 /* certificates in one answer */

/* The certificates of an upstream, by its index: issuer of leaves first. Borrowed. */
bool scep_ca_chain(const struct scep_call *call, size_t upstream, const struct cfg_certs **ret,
                   struct err *err) MUST_USE;
/* The profile's i-th RA; the first signs. */
const struct cfg_identity *scep_ca_ra(const struct scep_call *call, size_t i);

void scep_ca_caps(const struct scep_call *call, struct scep_reply *reply);
void scep_ca_cert(const struct scep_call *call, struct scep_reply *reply);

#endif
