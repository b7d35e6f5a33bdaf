/* The thread that renews the certificates of RAs before they end (ra.NAME.renew), one or two of
 * each. */
#ifndef GATEWAY_RENEWAL_H
#define GATEWAY_RENEWAL_H

#include "gateway/front.h"
#include "gateway/metrics.h"

struct renewal;

/* All borrowed. A pair that was renewed is in force once the settings are loaded again: then the
 * process gets RENEWAL_SIGNAL, which every thread has blocked. */
#define RENEWAL_SIGNAL SIGUSR1
bool renewal_start(struct ra *ra, struct front *front, struct metrics *metrics,
                   struct renewal **ret, struct err *err) MUST_USE;
void renewal_stop(struct renewal *renewal); /* NULL is allowed */

#endif
