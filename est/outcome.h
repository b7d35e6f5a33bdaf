/* What a decision is called in EST. Internal to est/. */
#ifndef EST_OUTCOME_H
#define EST_OUTCOME_H

#include "ra/request.h"

/* The one table from reason to HTTP status (RFC 7030 section 4.2.3). 401 only where another
 * credential could help. */
int est_outcome_status(enum ra_reason reason);

#endif
