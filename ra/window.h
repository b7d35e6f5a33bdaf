/* When a certificate had better be renewed (draft-yusef-lamps-rfc7030-renewal-recommendation). */
#ifndef RA_WINDOW_H
#define RA_WINDOW_H

#include "ra/store/store.h"

struct ra_cert_id {
    const struct cfg_profile *profile;
    struct bytes key_id; /* keyIdentifier of its authorityKeyIdentifier */
    const char *serial;  /* as cert_serial_get has it */
};

struct ra_window {
    int64_t start, end; /* seconds since 1970; end is later */
    int retry_after;    /* seconds until it is worth asking again */
};

/* Of a certificate that was issued for the profile; *found is false if there is none. The window
 * lies in the last third of its life, or in the time in which it may be renewed if that is shorter,
 * at a place of its own, so that a fleet of one day does not renew at one time; it lies in the past
 * if the certificate was revoked or replaced. */
bool ra_window_find(struct store *store, const struct ra_cert_id *id, struct ra_window *ret,
                    bool *found, struct err *err) MUST_USE;

/* The window of a certificate that lives from `from` to `to` and may be renewed `allowed` seconds
 * before its end (0: always). place: anything that differs between certificates. */
struct ra_window ra_window_of(int64_t from, int64_t to, int64_t allowed, uint32_t place);

#endif
