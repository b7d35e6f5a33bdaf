/* What the store holds, and what is asked of it. */
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
    uint8_t prover[RA_DIGEST_LEN]; /* see ra_request_prover */
    uint8_t device[RA_DIGEST_LEN]; /* see ra_request_device; written, not read */
    struct buf txn;                /* transactionID */
    struct buf csr;                /* DER */
    struct buf handle;             /* of the connector, from prepare */
    struct buf cookie;             /* of the connector, from submit or poll */
    /* The certificate it came by: its fingerprint if it is in the inventory, else SHA-256 of what
     * its CA signed; or "". */
    char renews[2 * RA_DIGEST_LEN + 1];
    char origin[64];
    char subject[512];
    char reason[RA_DETAIL_MAX];
    int64_t created, updated;
    int64_t next_at;     /* not before this time should the connector be asked again */
    int attempt;         /* fences writes; 0: nobody has driven it yet */
    int failures;        /* of asking the CA, in a row */
    int64_t lease_until; /* 0: nobody drives it, and who did put it back in good order */
    struct buf cert;     /* DER, when ISSUED */
    bool cert_live;      /* neither revoked nor replaced since */
    bool confirm;        /* ISSUED, and the CA has not yet heard that we have it */
    bool told;           /* REFUSED, and its device has heard it */
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
#define STORE_CHALLENGE_BURNT (-1) /* uses_left: see challenge_miss */

/* Where a CertPoll looks. */
struct store_txn_key {
    const char *profile;
    struct bytes txn;
    const uint8_t *prover; /* RA_DIGEST_LEN */
};

/* Ids of requests; ids has room for max. */
struct store_ids {
    char (*ids)[RA_ID_LEN + 1];
    size_t count, max;
};
/* retries: those that are to be sent again since sending failed, or all others. */
struct store_due {
    const char *upstream;
    int64_t now;
    bool retries;
};

/* Whether a public key was used for other names before. */
struct store_key_use {
    uint8_t spki[RA_DIGEST_LEN];     /* SHA-256 of the SubjectPublicKeyInfo */
    uint8_t identity[RA_DIGEST_LEN]; /* see identity_digest */
    bool refuse;                     /* then the order fails */
    bool other;                      /* answer: it was */
    char subject[512];               /* answer: for this one */
};

/* A signed message that led to a request. */
struct store_message {
    uint8_t digest[RA_DIGEST_LEN]; /* which one: ra_evidence.message */
    uint8_t sender[RA_DIGEST_LEN]; /* whose: see ra_request_sender */
};

/* Whether so many requests of a device were ordered after `since`. */
struct store_quota {
    const uint8_t *device; /* RA_DIGEST_LEN */
    int64_t most, since;
    int64_t oldest; /* out: if they were, when the first of the last `most` was; else 0 */
};

/* What a certificate is looked for by; two CAs may have given the same number. */
struct store_serial {
    const char *profile, *serial;
};

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
