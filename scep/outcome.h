/* What a decision is called in SCEP. Internal to scep/. */
#ifndef SCEP_OUTCOME_H
#define SCEP_OUTCOME_H

#include "ra/request.h"
#include "scep/scep.h"

/* The one table from reason to failInfo (RFC 8894 section 3.2.1.4). */
enum scep_fail scep_outcome_fail(enum ra_reason reason);
const char *scep_fail_name(enum scep_fail fail); /* "badRequest", ... */
const char *scep_type_name(int type);            /* "PKCSReq", ...; "other" */

#endif
