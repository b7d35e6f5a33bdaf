/* The service manager: what it is told, and the sockets that it hands over. Without one, nothing
 * happens. */
#ifndef GATEWAY_SERVICE_H
#define GATEWAY_SERVICE_H

#include "base/err.h"

#include <time.h>

/* sd_notify(3): "READY=1", ... */
void service_notify(const char *state);
void service_reloading(void);
/* How often it wants a sign of life; at most the given time. */
void service_heartbeat(struct timespec *ret);
/* The stream sockets that listen for us already: descriptors from *first on, as many as it returns.
 */
int service_sockets(int *first);

#endif
