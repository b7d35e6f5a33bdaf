/* The thread that drives requests which nobody is driving: after a crash, or when a CA asked for
 * time. */
#ifndef GATEWAY_POLLER_H
#define GATEWAY_POLLER_H

#include "gateway/front.h"

struct poller;

/* Both borrowed. */
bool poller_start(struct ra *ra, struct front *front, struct poller **ret,
                  struct err *err) MUST_USE;
void poller_stop(struct poller *poller); /* NULL is allowed */

#endif
