/* Keys that were made for devices, for as long as a device may still come for one: in memory only,
 * never written anywhere. Thread-safe. */
#ifndef RA_KEYRING_H
#define RA_KEYRING_H

#include "ra/store/row.h"

#define KEYRING_MAX 1000
#define KEYRING_DELIVERED_SECONDS 600 /* in which a reply that was lost is given once more */

struct keyring;

struct keyring *keyring_new(void) MUST_USE;
void keyring_free(struct keyring *ring); /* NULL is allowed */

/* For whom a key is made. */
struct keyring_owner {
    char profile[STORE_NAME_MAX];
    uint8_t prover[RA_DIGEST_LEN]; /* see ra_request_prover */
};
/* Whether there is room for one more key of this owner, so that nobody takes it all: keys that wait
 * for the devices of a profile are at most as many as there is room left for, and those of one
 * prover at most half of what is left to its profile. Alone, a profile has half of the ring and a
 * prover a quarter; whoever comes then has as much of the rest. ERR_LOCAL: whose are too many. */
bool keyring_may(struct keyring *ring, const struct keyring_owner *owner, struct err *err) MUST_USE;
/* Keeps the key of the request with this id, which is open, until that is settled; holds a count of
 * its own. False as keyring_may says it. */
bool keyring_put(struct keyring *ring, const struct keyring_owner *owner, const char *id,
                 EVP_PKEY *key, struct err *err) MUST_USE;
/* The request has been issued: its key is kept for so many seconds from now. Nothing if it was
 * settled before. */
void keyring_settle(struct keyring *ring, const char *id, int64_t seconds);
/* A request that was open KEYRING_LOOK_SECONDS ago, whatever has become of it; each once in that
 * time. False: there is none. */
#define KEYRING_LOOK_SECONDS 600
bool keyring_open_next(struct keyring *ring, char id[RA_ID_LEN + 1]);
/* The caller owns a count. NULL: it is not here, or not any more. */
EVP_PKEY *keyring_get(struct keyring *ring, const char *id) MUST_USE;
bool keyring_has(struct keyring *ring, const char *id);
void keyring_drop(struct keyring *ring, const char *id);
/* The device has been sent it: it is kept for KEYRING_DELIVERED_SECONDS more, and gives way to
 * others. */
void keyring_delivered(struct keyring *ring, const char *id);
/* Forgets those whose time is over; any other call does so too. */
void keyring_purge(struct keyring *ring);

/* One key is made at a time, so that no more than a core is busy with it: who makes one stands
 * between these. Gives a permit to compute back while it waits; false: KEYRING_MAKERS wait, and
 * more threads had better not. */
#define KEYRING_MAKERS 3
bool keyring_make_begin(struct keyring *ring) MUST_USE;
void keyring_make_end(struct keyring *ring);

#endif
