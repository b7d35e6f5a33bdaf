/* The normal form that both doors produce. From here on nobody asks which protocol it was. */
#ifndef RA_REQUEST_H
#define RA_REQUEST_H

#include "base/csr.h"
#include "base/revocation.h"
#include "config/config.h"
#include "ra/upstream.h"

#include <stdatomic.h>

/* RA_KEYGEN: an enrollment, or a renewal, with a key that is made here (RFC 7030 section 4.4). */
enum ra_op { RA_ENROLL = 0, RA_RENEW, RA_POLL, RA_KEYGEN, RA_OP_COUNT };

#define RA_ID_LEN 32   /* hex of 16 random bytes: a request's id */
#define RA_TXN_MAX 256 /* octets of a transactionID */
#define RA_DETAIL_MAX 256
#define RA_ALONG_MAX 8 /* certificates that come along with one */

/* What is in force: one generation of the configuration with its connectors. Counted, immutable; a
 * reload makes a new one and requests in flight keep theirs. */
struct ra_settings {
    atomic_int count;
    uint64_t generation;
    struct cfg *cfg;
    struct upstream **upstreams;   /* parallel to cfg->upstreams */
    struct revocation *revocation; /* borrowed; NULL: nothing can be checked */
};

/* What the door has proved and what the message merely carries. */
struct ra_evidence {
    struct cert *holder; /* whoever sent this holds the key of this certificate (TLS or CMS
                            signature verified); NULL if nothing was proved */
    bool over_cms;       /* proved by a CMS signature, else by TLS */
    /* What came along with the holder's certificate: a chain may pass through these. They prove
     * nothing themselves. */
    struct cert *const *along;
    size_t along_count;
    struct bytes challenge; /* challengePassword or Basic password; a secret; may be empty */
    struct bytes user;      /* Basic user name; may be empty */
    bool both; /* a holder's certificate authorizes only with a challenge or a principal besides */
    bool other_key; /* the CSR's may be another one than the holder's, over CMS */
    /* What the signature says of its time, if somebody else may have sent the message again; else
     * 0. */
    int64_t signed_at;
    /* Which message that was, RA_DIGEST_LEN octets, if its signature says nothing of its time; or
     * NULL. */
    const uint8_t *message;
    const char *principal; /* user of the profile's users file whose password was right */
};

struct ra_request {
    const struct ra_settings *settings;
    const struct cfg_profile *profile;
    enum ra_op op;
    struct bytes txn;      /* SCEP transactionID as opaque bytes; empty on EST */
    const struct csr *csr; /* proof of possession checked; NULL for RA_POLL; RA_KEYGEN: a wish,
                              whose key and signature count for nothing */
    struct ra_evidence evidence;
    bool next;          /* asked of the CA that is to follow (profile->scep.next) */
    const char *label;  /* EST label the request came to; NULL on SCEP */
    const char *origin; /* peer address, for audit */
};

enum ra_status { RA_ISSUED = 0, RA_PENDING, RA_REFUSED };

/* Why a request was refused. The doors map these to failInfo and HTTP status in one table each. */
enum ra_reason {
    RA_OK = 0,
    RA_NO_EVIDENCE,      /* nothing that could authorize */
    RA_BAD_CHALLENGE,    /* unknown, spent, expired or for other names */
    RA_BAD_RENEWAL,      /* certificate is not ours, not of this profile, too old, revoked... */
    RA_NAMES_CHANGED,    /* renewal for another subject or SAN */
    RA_BAD_KEY,          /* kind, size, or another key than the signer's */
    RA_BAD_NAMES,        /* subject or SAN that policy does not allow */
    RA_BAD_EXTENSION,    /* dangerous or unknown */
    RA_NO_ROUTE,         /* no route takes this request */
    RA_UNKNOWN_TXN,      /* poll for something that this key never asked for */
    RA_UPSTREAM_REFUSED, /* the CA said no */
    RA_DENIED,           /* an operator said no */
    RA_UNKNOWN_CERT,     /* looked up: not of this profile, or not for who asks */
    RA_OVER_QUOTA,       /* this device has asked for too many certificates; retry_after */
    RA_KEY_REUSED,       /* the key was used for other names, or is the renewed certificate's */
    RA_REASON_COUNT,
};

struct ra_outcome {
    enum ra_status status;
    enum ra_reason reason;
    char request_id[RA_ID_LEN + 1]; /* empty if the request was refused before it was ordered */
    char detail[RA_DETAIL_MAX];     /* for the operator's log; RA_ISSUED: what was ignored */
    bool repeated;                  /* answered from the stored row */
    bool told;                      /* RA_REFUSED: the device has heard that before */
    int retry_after;                /* seconds, when RA_PENDING or RA_OVER_QUOTA */
    bool with_ca;                   /* RA_PENDING: the CA has it and asked for time */
    struct cert *cert;              /* when RA_ISSUED; the caller owns a count */
    EVP_PKEY *key;                  /* and of RA_KEYGEN: its key; the caller owns a count */
    size_t upstream;                /* index into cfg->upstreams of the CA, when RA_ISSUED */
};

const char *ra_op_name(enum ra_op op);             /* "enroll", "renew", "poll", "keygen" */
const char *ra_reason_name(enum ra_reason reason); /* "bad-challenge", ...: logs and metrics */
void ra_outcome_clear(struct ra_outcome *outcome);

/* The deduplication key: SHA-256 over (profile, principal or signer key, operation, subject public
 * key, subject, SAN, serial of the certificate being renewed, whether the next CA is asked). renews
 * may be NULL. */
#define RA_DIGEST_LEN 32
bool ra_request_dedup(const struct ra_request *request, const struct cert *renews,
                      uint8_t out[RA_DIGEST_LEN], struct err *err) MUST_USE;
/* SHA-256 of which device a request is for: profile, subject and SANs. What a quota counts. */
bool ra_request_device(const struct ra_request *request, uint8_t out[RA_DIGEST_LEN]) MUST_USE;
/* SHA-256 of whose signed message it is, as that alone says, whatever is configured: the key that
 * signed it and the key of its CSR. */
bool ra_request_sender(const struct ra_request *request, uint8_t out[RA_DIGEST_LEN]) MUST_USE;
/* SHA-256 of the key that proved itself (holder's SPKI), or of the Basic principal; what a poll
 * must prove again. False if there is neither. */
bool ra_request_prover(const struct ra_request *request, uint8_t out[RA_DIGEST_LEN]) MUST_USE;

#endif
