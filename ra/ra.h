/* The registration authority's one path: find, prove, judge, order, record. */
#ifndef RA_RA_H
#define RA_RA_H

#include "ra/request.h"
#include "ra/store/store.h"

struct ra;

/* The store is borrowed and outlives the ra. */
struct ra *ra_new(struct store *store) MUST_USE;
void ra_free(struct ra *ra);
struct store *ra_store_get(struct ra *ra);

/* Thread-safe. False only if it could not decide (then err says why, and the device may retry);
 * a refusal is a successful decision. The caller clears *outcome. */
bool ra_submit(struct ra *ra, const struct ra_request *request, struct ra_outcome *outcome,
               struct err *err) MUST_USE;

/* Drives requests that nobody is driving: after a crash, an approval, or when a CA asked for time.
 * Returns how many it moved. Called by the poller. */
bool ra_sweep(struct ra *ra, const struct ra_settings *settings, size_t *moved,
              struct err *err) MUST_USE;

/* The device has been sent this certificate. */
void ra_delivered(struct ra *ra, const char *request_id);

struct ra_settings *ra_settings_ref(struct ra_settings *settings);
/* Drops one count; the last closes the connectors and frees the configuration. NULL is allowed. */
void ra_settings_free(struct ra_settings *settings);

#endif
