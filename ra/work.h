/* The requests in the store and who works at them. Internal to ra/. */
#ifndef RA_WORK_H
#define RA_WORK_H

#include "base/link.h"
#include "ra/drive.h"
#include "ra/keyring.h"
#include "ra/line.h"
#include "ra/lookup.h"

#include <pthread.h>

struct ra {
    struct store *store;
    struct crls *crls;
    struct lines *lines; /* of upstreams that are asked over a network */
    struct keyring *keys;
    pthread_mutex_t mutex;
    struct link waits; /* threads that wait for what another one does to a request */
    void (*told)(const char *about, const struct err *err);
};

/* The lines' work; arg is the struct ra. */
enum line_result work_run(void *arg, const struct ra_settings *settings, size_t upstream,
                          const char *id, struct line_said *said);
/* Wakes those who wait for the request. */
void work_over(void *arg, const char *id);
bool work_probe(void *arg, const struct ra_settings *settings, size_t upstream, int *hold,
                bool *again);
/* Gives the connectors what they wanted to be remembered. */
void work_recall(struct ra *ra, const struct ra_settings *settings);

/* Whether an upstream is asked by a line; false also for one that is not configured. */
bool ra_has_line(const struct ra_settings *settings, const char *upstream);
/* Drives a row whose lease the caller holds, and wakes those who wait for it. */
bool work_drive(struct ra *ra, struct ra_drive *drive, struct ra_outcome *outcome,
                struct err *err) MUST_USE;
struct work_end {
    struct ra_outcome outcome;
    struct ra_said said;
    bool claimed; /* work_over is due */
};
/* Takes a row that nobody drives and drives it. If somebody else was faster, or its profile or
 * upstream no longer exist, the outcome is what the row says. If it was claimed, the caller calls
 * work_over. */
bool work_claim(struct ra *ra, const struct ra_settings *settings, struct store_request *row,
                struct work_end *end, struct err *err) MUST_USE;

/* Reads the row until it is final, free to be claimed, or the time is over. */
bool work_wait(struct ra *ra, const char *id, struct store_request *row, struct err *err) MUST_USE;
/* Puts a row of an upstream with a line into it, waits as long as a device may be kept waiting, or
 * not at all, and tells what the row says then. */
bool work_by_line(struct ra *ra, const struct ra_settings *settings, struct store_request *row,
                  struct ra_outcome *outcome, struct err *err) MUST_USE;

/* The CRL of an upstream that can make one: a recent one, or a new one. */
bool crls_get(struct ra *ra, const struct ra_settings *settings, size_t upstream, struct buf *ret,
              struct err *err) MUST_USE;
/* Around a thread's wait for an upstream: false if too many wait already. */
bool work_waits_begin(struct ra *ra, const char *upstream) MUST_USE;
void work_waits_end(struct ra *ra, const char *upstream, bool in_vain);

#endif
