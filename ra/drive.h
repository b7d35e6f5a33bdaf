/* Drives one stored request through its connector. Internal to ra/. */
#ifndef RA_DRIVE_H
#define RA_DRIVE_H

#include "ra/ra.h"

/* What the connector said, if it was asked. */
struct ra_said {
    bool asked;
    enum up_result result;
    int retry_after;
    struct err unheard; /* of a kind: why its certificate will not be confirmed any more */
};

/* Everything borrowed. The caller holds the row's lease with row->attempt. fresh: nothing has been
 * sent for this row that is not known to have had no effect; only then may it be sent to a CA that
 * would issue twice. */
struct ra_drive {
    struct store *store;
    const struct ra_settings *settings;
    const struct cfg_profile *profile;
    size_t upstream; /* index into the settings' upstreams */
    const struct store_request *row;
    const struct csr *csr; /* NULL if the row is over */
    bool fresh;
    int64_t deadline; /* of the exchange, in clock_mono_ms() time */
    struct ra_said said;
};

/* Submits, polls, recovers or confirms, by the row's state, and writes what came of it. Fills
 * outcome and drive->said. */
bool ra_drive(struct ra_drive *drive, struct ra_outcome *outcome, struct err *err) MUST_USE;

/* The outcome that a row tells: a function of the row alone. */
bool ra_outcome_of_row(const struct ra_settings *settings, const struct store_request *row,
                       struct ra_outcome *outcome, struct err *err) MUST_USE;

/* Index of the profile's or upstream's name in the settings; false if it is not there any more. */
bool ra_upstream_find(const struct ra_settings *settings, const char *name, size_t *ret) MUST_USE;

#endif
