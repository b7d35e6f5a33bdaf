/* What the store's writes take, and what came of them. */
#ifndef RA_STORE_WRITE_H
#define RA_STORE_WRITE_H

#include "ra/store/row.h"

enum store_order_result {
    STORE_ORDERED = 0,
    STORE_DUPLICATE,      /* a row with this deduplication key is open, or its certificate is live
                             and the row younger than the window */
    STORE_CHALLENGE_GONE, /* spent or expired since it was judged */
    STORE_OVER_QUOTA,     /* store_order.quota->oldest is set */
    STORE_KEY_USED,       /* for other names; store_order.key tells which */
};

/* What order writes. request: state is HELD or ORDERED; id, created and attempt are set by the
 * caller: 1 if he drives it, with a lease, or 0. spend may be NULL. A spent challenge remembers the
 * request (see challenge_spent_by). */
struct store_order {
    const struct store_request *request;
    const uint8_t *spend;
    int64_t retry_window;
    struct store_quota *quota; /* of request->device, judged again in the transaction; or NULL */
    struct store_key_use
        *key; /* recorded; judged again in the transaction if it says so; or NULL */
    const struct store_message *message; /* led to it; or NULL */
    const struct audit_event *audit;
};

/* A move of an existing request. Fenced: applied only if the row is still in `from` with that
 * attempt. */
struct store_move {
    const char *id;
    int attempt;
    enum txn_state from, to;
    struct bytes cookie; /* replaces the stored one unless ptr is NULL */
    struct bytes handle; /* likewise */
    int64_t next_at;
    int failures;       /* in a row, up to now */
    bool wish;          /* next_at is when the CA wants to be asked, not our guess */
    const char *reason; /* or NULL */
    bool unspend;       /* what it was authorized by may be used again; no device is told */
    const struct audit_event *audit; /* NULL: nothing that the trail does not know */
};

/* Names that a challenge came with and is not for, RA_DIGEST_LEN octets each; the audit is of a
 * challenge that is spent by it. */
struct store_miss {
    const uint8_t *digest, *names;
    int64_t limit; /* the challenge is spent with so many different ones */
    const struct audit_event *audit;
};

struct store_revoke {
    const char *fingerprint;
    int reason; /* CRLReason */
    const struct audit_event *audit;
};

/* Records an issued certificate: request to ISSUED, inventory row, `replaced_by` of the renewed
 * certificate, audit; one transaction, fenced like a move. */
struct store_record {
    const char *id;
    int attempt;
    enum txn_state from;
    const struct cert *cert;
    bool confirm; /* the CA is yet to hear of it, with the cookie */
    struct bytes cookie;
    const struct audit_event *audit;
};

/* What came of a confirmation of that attempt. */
struct store_confirm {
    const char *id;
    int attempt;
    int64_t again_at;                /* 0: the CA has heard, or will not be asked any more */
    int failures;                    /* in a row, up to now */
    bool wish;                       /* as in store_move */
    const char *reason;              /* why not, or NULL */
    const struct audit_event *audit; /* NULL: nothing that the trail does not know */
};

enum store_write { STORE_DONE = 0, STORE_FENCED, STORE_SERIAL_SEEN };

#endif
