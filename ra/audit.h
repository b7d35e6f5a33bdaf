/* The audit trail: records chained by hash, written in the transaction that changes state. */
#ifndef RA_AUDIT_H
#define RA_AUDIT_H

#include "base/bytes.h"

#define AUDIT_HASH_LEN 32

/* What happened. Borrowed strings; NULL fields are left out. No secrets. */
struct audit_event {
    const char *event;   /* "ordered", "issued", "refused", "moved", "challenge-created", ... */
    const char *request; /* request id */
    const char *profile;
    const char *origin; /* peer address, or "cli" */
    const char *subject;
    const char *detail;
};

/* A stored record. hash = SHA-256(prev || the canonical text of all other fields). */
struct audit_record {
    int64_t seq; /* from 1, without gaps */
    int64_t at;
    const char *text; /* canonical JSON object of the event */
    uint8_t prev[AUDIT_HASH_LEN];
    uint8_t hash[AUDIT_HASH_LEN];
};

/* The canonical JSON object of an event (fixed key order, escaped). */
bool audit_text(const struct audit_event *event, struct buf *out) MUST_USE;
/* The hash that a record must have. */
bool audit_hash(const struct audit_record *record, uint8_t out[AUDIT_HASH_LEN]) MUST_USE;

struct store;
struct audit_summary {
    int64_t records;
    uint8_t head[AUDIT_HASH_LEN];
};
/* Walks the chain. False with ERR_LOCAL and the number of the first bad record if it is broken. */
bool audit_verify(struct store *store, struct audit_summary *ret, struct err *err) MUST_USE;

#endif
