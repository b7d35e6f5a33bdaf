/* What is accepted though RFC 7030 section 4.2.1 and RFC 8951 section 3 do not have it. Internal to
 * est/. */
#ifndef EST_LENIENT_H
#define EST_LENIENT_H

#include "est/door.h"

struct est_lenient_refusal {
    int status; /* of HTTP */
    const char *reason, *detail;
};

/* Fills lenient with what of the call's body and media type is not as the RFC has it. NULL if the
 * profile bears with all of it (est.lenient); otherwise how the first of it is refused. */
const struct est_lenient_refusal *est_lenient_find(const struct est_call *call,
                                                   bool lenient[EST_LENIENT_COUNT]);

#endif
