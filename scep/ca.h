/* What a profile says of its CA: GetCACaps, GetCACert and GetNextCACert (RFC 8894 sections 3.5,
 * 4.2 and 4.7). Internal to scep/. */
#ifndef SCEP_CA_H
#define SCEP_CA_H

#include "scep/door.h"

#define SCEP_CHAIN_MAX 16 /* certificates in one answer */

void scep_ca_caps(const struct scep_call *call, struct scep_reply *reply);
void scep_ca_cert(const struct scep_call *call, struct scep_reply *reply);
void scep_ca_next(const struct scep_call *call, struct scep_reply *reply);

#endif
