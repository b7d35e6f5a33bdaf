#include "est/outcome.h"

static const int statuses[RA_REASON_COUNT] = {
    [RA_OK] = 200,           [RA_NO_EVIDENCE] = 401,      [RA_BAD_CHALLENGE] = 401,
    [RA_BAD_RENEWAL] = 403,  [RA_NAMES_CHANGED] = 403,    [RA_BAD_KEY] = 403,
    [RA_BAD_NAMES] = 403,    [RA_BAD_EXTENSION] = 403,    [RA_NO_ROUTE] = 403,
    [RA_UNKNOWN_TXN] = 403,  [RA_UPSTREAM_REFUSED] = 403, [RA_DENIED] = 403,
    [RA_UNKNOWN_CERT] = 403, [RA_OVER_QUOTA] = 429,       [RA_KEY_REUSED] = 403,
};

int est_outcome_status(enum ra_reason reason)
{
    return (unsigned)reason < RA_REASON_COUNT ? statuses[reason] : 403;
}
