/* The registration authority's one path: find, prove, judge, order, record. */
#ifndef RA_RA_H
#define RA_RA_H

#include "ra/request.h"
#include "ra/store/store.h"

struct ra;

struct lines;

/* The store is borrowed and outlives the ra. told hears, on threads of the ra, what went wrong with
 * an upstream or a request that no device waits for; may be NULL. */
struct ra *ra_new(struct store *store,
                  void (*told)(const char *about, const struct err *err)) MUST_USE;
/* Waits for what upstreams are being asked. False if that does not end: nothing was freed. */
bool ra_free(struct ra *ra);
struct store *ra_store_get(struct ra *ra);
struct lines *ra_lines_get(struct ra *ra);

/* These settings are in force now, for what goes on between requests. Holds a count. */
void ra_apply(struct ra *ra, struct ra_settings *settings);

/* An operator may have mended what failed: it is tried again now, unless the CA said when. */
bool ra_retry(struct ra *ra, struct err *err) MUST_USE;

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
