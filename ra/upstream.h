/* What ra/ sees of an upstream CA. Connectors live in gateway/upstream/, one file per kind. */
#ifndef RA_UPSTREAM_H
#define RA_UPSTREAM_H

#include "base/cert.h"
#include "base/csr.h"
#include "config/config.h"

enum up_result {
    UP_ISSUED = 0,
    UP_UNCONFIRMED, /* issued, and the CA waits for confirm */
    UP_PENDING,     /* ask again with the cookie */
    UP_REFUSED,     /* for good */
    UP_RETRY,       /* nothing happened; later */
    UP_UNKNOWN,     /* the request left and no answer came */
    UP_LOST,        /* perhaps issued, and the CA will never tell: for an operator */
};

enum up_caps {
    UP_RESUBMIT_SAFE = 1u << 0, /* the same handle twice issues once */
    UP_RECOVER = 1u << 1,
    UP_CONFIRM = 1u << 2,
    UP_REVOKE = 1u << 3,
    UP_PENDINGS = 1u << 4,
    UP_MAY_REWRITE = 1u << 5,       /* the CA may change names */
    UP_CARRIES_CHALLENGE = 1u << 6, /* reads challengePassword as its own secret */
    UP_INLINE = 1u << 7,            /* never blocks: no thread hop */
    UP_NAMES = 1u << 8,             /* issues for csr_wanted_get, whatever the CSR's own names */
    UP_RENEWS = 1u << 10,           /* wants to know what a renewal replaces */
    UP_UNSIGNED = 1u << 9,          /* takes a CSR without a signature, since we vouch for it */
};

/* What a connector is asked to get. Borrowed for the call. */
struct up_order {
    const char *request_id;
    const struct csr *csr;
    const struct cfg_profile *profile; /* EKU and longest validity, for CAs that we command */
    const struct cert *renews; /* UP_RENEWS: the certificate of this CA that it replaces, or NULL */
};

/* What came back. Zero-initialise; up_reply_clear frees. */
struct up_reply {
    struct cert *cert; /* UP_ISSUED, UP_UNCONFIRMED */
    struct buf cookie; /* UP_PENDING, UP_UNCONFIRMED: opaque, stored */
    struct buf handle; /* UP_RETRY of submit: the one to send the next time; empty: the same */
    int retry_after;   /* seconds; 0: no wish */
    char reason[256];  /* UP_REFUSED, UP_RETRY, UP_UNKNOWN, UP_LOST: for the operator */
};

struct up_revoked {
    const char *serial; /* hex */
    int64_t at;
    int reason; /* CRLReason, RFC 5280 section 5.3.1 */
};

/* When a CA wants a certificate renewed. */
struct up_window {
    int64_t start, end; /* seconds since 1970; end is later */
    char why[256];      /* a URL where the CA explains it, or empty */
};

struct upstream;

/* Thread-safe; never sleeps; deadline is in clock_mono_ms() time. A NULL entry means that the kind
 * cannot do it, and caps agree. Errors inside are told in reply->reason and by the result. */
struct upstream_vt {
    const char *type;
    unsigned caps;
    /* options: the struct of the kind's table, borrowed from cfg, which outlives the connector. */
    bool (*open)(const struct cfg_upstream *conf, struct upstream **ret, struct err *err);
    void (*close)(struct upstream *up);
    /* Makes the handle (transactionID, serial and TBS, order URL...): committed before sending. */
    bool (*prepare)(struct upstream *up, const struct up_order *order, struct buf *handle,
                    struct err *err);
    enum up_result (*submit)(struct upstream *up, const struct up_order *order, struct bytes handle,
                             int64_t deadline, struct up_reply *reply);
    enum up_result (*poll)(struct upstream *up, const struct up_order *order, struct bytes cookie,
                           int64_t deadline, struct up_reply *reply);
    /* Of a request whose last poll ended in UP_PENDING: whether the CA has issued nothing for it,
     * and never will if it is not polled again. May ask the CA. NULL: CAs of this kind issue by
     * themselves. */
    bool (*idle)(struct upstream *up, const struct up_order *order, struct bytes cookie,
                 int64_t deadline);
    /* After a crash or a timeout: did the CA issue for this handle? */
    enum up_result (*recover)(struct upstream *up, const struct up_order *order,
                              struct bytes handle, int64_t deadline, struct up_reply *reply);
    /* UP_ISSUED: the CA has heard it. UP_REFUSED: it answers for sure that it does not take it,
     * which ends the transaction. UP_UNKNOWN: it answers with what says nothing for sure. UP_RETRY:
     * it has not answered, or wants to be asked later. All but the first with err. */
    enum up_result (*confirm)(struct upstream *up, struct bytes cookie, bool accept,
                              int64_t deadline, struct err *err);
    bool (*revoke)(struct upstream *up, const struct cert *cert, int reason, int64_t deadline,
                   struct err *err);
    /* The CA's certificates, issuer of leaves first; borrowed until close. Does not ask the CA. */
    bool (*chain)(struct upstream *up, const struct cfg_certs **ret, struct err *err);
    /* Besides the chain: certificates that lead from an old root to a new one or back (RFC 4210
     * section 4.4), and roots to come. Borrowed until close. False: none. */
    bool (*rollover)(struct upstream *up, const struct cfg_certs **ret);
    /* A CRL over what the inventory says is revoked; for CAs that we are. DER. */
    bool (*crl)(struct upstream *up, const struct up_revoked *revoked, size_t count,
                struct buf *der, struct err *err);
    /* Asks the CA whether it is there, and for what chain tells; nothing is issued. */
    bool (*health)(struct upstream *up, int64_t deadline, struct err *err);
    /* Asks the CA when it wants one of its certificates renewed. */
    bool (*window)(struct upstream *up, const struct cert *cert, int64_t deadline,
                   struct up_window *ret, struct err *err);
    /* What a later process, or the next configuration, had better know before the CA is asked: its
     * certificates, an account. recall is called once, after open, and ignores what it does not
     * understand. */
    bool (*remember)(struct upstream *up, struct buf *memory);
    void (*recall)(struct upstream *up, struct bytes memory);
    /* Gets a challenge that the CA takes from one device, once: it reaches the CA inside that
     * device's CSR. life: seconds, 0 if the CA does not say. secret becomes a secret. NULL if this
     * CA hands none out; then it is made by us. */
    bool (*challenge)(struct upstream *up, int64_t deadline, struct buf *secret, int64_t *life,
                      struct err *err);
    /* The certificate by which we are known to the CA, or NULL. */
    const struct cert *(*credential)(struct upstream *up);
    /* What health leaves open, since only a request to issue would show it. */
    const char *(*untested)(struct upstream *up);
};

/* Every connector's struct begins with this. */
struct upstream {
    const struct upstream_vt *vt;
    const char *name;
};

void up_reply_clear(struct up_reply *reply);
const char *up_result_name(enum up_result result);

#endif
