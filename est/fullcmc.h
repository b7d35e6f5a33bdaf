/* The operation fullcmc (RFC 7030 section 4.3). Internal to est/. */
#ifndef EST_FULLCMC_H
#define EST_FULLCMC_H

#include "est/door.h"

/* Fills *reply, whatever comes: an error has a CMC body as well (RFC 7030 section 4.3.2). */
void est_fullcmc(struct ra *ra, const struct est_call *call, struct est_reply *reply);

#endif
