/* What the store holds, and what its writes take. */
#ifndef RA_STORE_ROW_H
#define RA_STORE_ROW_H

#include "ra/audit.h"
#include "ra/request.h"
#include "ra/txn.h"

#define STORE_NAME_MAX 65

/* A request as stored. store_request_clear frees what it owns. */
struct store_request {
    char id[RA_ID_LEN + 1];
    char profile[STORE_NAME_MAX];
    char upstream[STORE_NAME_MAX]; /* pinned */
    enum txn_state state;
    enum ra_op op;
    uint8_t dedup[RA_DIGEST_LEN];
    uint8_t prover[RA_DIGEST_LEN];      /* see ra_request_prover */
    struct buf txn;                     /* transactionID */
    struct buf csr;                     /* DER */
    struct buf handle;                  /* of the connector, from prepare */
    struct buf cookie;                  /* of the connector, from submit or poll */
    char renews[2 * RA_DIGEST_LEN + 1]; /* fingerprint of the certificate being renewed, or "" */
    char origin[64];
    char subject[512];
    char reason[RA_DETAIL_MAX];
    int64_t created, updated;
    int64_t next_at;     /* not before this time should the connector be asked again */
    int attempt;         /* fences writes; 0: nobody has driven it yet */
    int64_t lease_until; /* 0: nobody drives it, and who did put it back in good order */
    struct buf cert;     /* DER, when ISSUED */
    bool cert_live;      /* neither revoked nor replaced since */
    bool confirm;        /* ISSUED, and the CA has not yet heard that we have it */
};

struct store_cert {
    char fingerprint[2 * RA_DIGEST_LEN + 1]; /* SHA-256, lower-case hex */
    char serial[CERT_SERIAL_TEXT_MAX];
    char profile[STORE_NAME_MAX];
    char upstream[STORE_NAME_MAX];
    char request[RA_ID_LEN + 1];
    char subject[512];
    char sans[1024];
    int64_t not_before, not_after, issued_at;
    int64_t delivered_at;                    /* 0: not known to have been */
    int64_t revoked_at;                      /* 0: not revoked */
    int revoked_reason;                      /* CRLReason */
    char replaced_by[2 * RA_DIGEST_LEN + 1]; /* fingerprint or "" */
    bool heir_revoked; /* of cert_find only: a renewal after it was revoked, not as superseded */
    struct buf der;
};

struct store_challenge {
    uint8_t digest[RA_DIGEST_LEN]; /* SHA-256 of the secret: it has at least 80 random bits */
    char profile[STORE_NAME_MAX];
    char subject[512]; /* "CN=x" or "" for any */
    char sans[1024];   /* comma-separated, or "" */
    int64_t created, expires;
    int uses_left;
};

enum store_order_result {
    STORE_ORDERED = 0,
    STORE_DUPLICATE,      /* a row with this deduplication key is open, or its certificate is live
                             and the row younger than the window */
    STORE_CHALLENGE_GONE, /* spent or expired since it was judged */
};

/* What order writes. request: state is HELD or ORDERED; id, created and attempt are set by the
 * caller: 1 if he drives it, with a lease, or 0. spend may be NULL. A spent challenge remembers the
 * request (see challenge_spent_by). */
struct store_order {
    const struct store_request *request;
    const uint8_t *spend;
    int64_t retry_window;
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
    const char *reason;              /* or NULL */
    const struct audit_event *audit; /* NULL: nothing that the trail does not know */
};

/* Where a CertPoll looks. */
struct store_txn_key {
    const char *profile;
    struct bytes txn;
    const uint8_t *prover; /* RA_DIGEST_LEN */
};

struct store_revoke {
    const char *fingerprint;
    int reason; /* CRLReason */
    const struct audit_event *audit;
};

/* Ids of requests; ids has room for max. */
struct store_ids {
    char (*ids)[RA_ID_LEN + 1];
    size_t count, max;
};
struct store_due {
    const char *upstream;
    int64_t now;
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
    int64_t again_at;   /* 0: the CA has heard */
    const char *reason; /* why not, or NULL */
};

enum store_write { STORE_DONE = 0, STORE_FENCED, STORE_SERIAL_SEEN };

struct store_filter {
    const char *profile;    /* or NULL */
    const char *serial;     /* or NULL; also matches a prefix of the fingerprint */
    int64_t expires_before; /* or 0 */
    bool revoked_only;
    const char *upstream; /* or NULL */
    int limit;            /* 0: all */
};

void store_request_clear(struct store_request *request);
void store_cert_clear(struct store_cert *cert);

#endif
