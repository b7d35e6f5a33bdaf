/* Between HTTP and the doors: picks the profile, calls the door, counts and logs each request. */
#ifndef GATEWAY_FRONT_H
#define GATEWAY_FRONT_H

#include "gateway/http.h"
#include "gateway/metrics.h"
#include "ra/ra.h"

struct front;

/* ra and metrics are borrowed; settings is taken over. */
struct front *front_new(struct ra *ra, struct metrics *metrics,
                        struct ra_settings *settings) MUST_USE;
void front_free(struct front *front);

/* What is in force now; the caller owns a count. */
struct ra_settings *front_settings(struct front *front) MUST_USE;
/* Requests from now on run with these; those that run keep theirs. Takes settings over. */
void front_reload(struct front *front, struct ra_settings *settings);

/* The server whose connections the metrics tell of; NULL before it stops. */
void front_watch(struct front *front, const struct http_server *server);

/* The handlers of the three listeners; valid as long as front. */
struct http_handler front_scep(struct front *front);
struct http_handler front_est(struct front *front);
struct http_handler front_admin(struct front *front);

#endif
