/* The admin listener: health, readiness, metrics. */
#ifndef GATEWAY_ADMIN_H
#define GATEWAY_ADMIN_H

#include "gateway/http.h"
#include "gateway/metrics.h"
#include "ra/ra.h"

/* Borrowed for a call. */
struct admin {
    struct store *store;
    struct lines *lines;
    const struct ra_settings *settings;
    struct metrics *metrics;
    struct gate_counts counts;
};

/* GET and HEAD of /healthz (the process answers), /readyz (store and upstreams work; 503 with the
 * reasons if not) and /metrics. */
void admin_answer(const struct admin *admin, const struct http_request *request,
                  struct http_response *response);

#endif
