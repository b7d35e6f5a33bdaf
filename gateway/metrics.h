/* Counters, in Prometheus' text form. Labels come from closed sets only. */
#ifndef GATEWAY_METRICS_H
#define GATEWAY_METRICS_H

#include "est/door.h"
#include "gateway/gate.h"
#include "ra/line.h"
#include "ra/note.h"
#include "ra/ra.h"

struct metrics;

struct metrics *metrics_new(void) MUST_USE;
void metrics_free(struct metrics *metrics);

/* One request. door: "scep" or "est"; what note points to is static text. Thread-safe. */
void metrics_count(struct metrics *metrics, const char *door, const struct ra_note *note,
                   int64_t milliseconds);
void metrics_lenient(struct metrics *metrics, const bool lenient[EST_LENIENT_COUNT]);
void metrics_reload(struct metrics *metrics, bool ok);
/* Whether the certificate of that RA, which renews itself, is due and not renewed yet. */
void metrics_renewal(struct metrics *metrics, const char *ra, bool failing);

/* Everything, with the store's counts and the ends of our own certificates. */
bool metrics_print(struct metrics *metrics, struct store *store, const struct ra_settings *settings,
                   struct buf *out) MUST_USE;
/* What the gate counts. */
bool metrics_print_gate(const struct gate_counts *counts, struct buf *out) MUST_USE;
/* The lines to upstream CAs. */
bool metrics_print_lines(struct lines *lines, const struct ra_settings *settings,
                         struct buf *out) MUST_USE;

/* What is known of revoked certificates of others. */
bool metrics_print_revocation(struct revocation *revocation, struct buf *out) MUST_USE;

#endif
