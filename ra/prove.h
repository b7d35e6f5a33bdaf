/* From evidence to authorization. Internal to ra/: nothing can be ordered without the value that
 * only ra_prove makes. */
#ifndef RA_PROVE_H
#define RA_PROVE_H

#include "ra/anchor.h"
#include "ra/challenge/challenge.h"
#include "ra/ra.h"

struct ra_authorization;

/* The holder's certificate as the inventory knows it. */
struct ra_held {
    bool found;             /* it is there and of this profile */
    bool elsewhere;         /* it is there and of another */
    bool revoked;           /* it is there, and revoked */
    struct store_cert cert; /* if found */
    /* The same however the certificate is written: as store_request.renews has it. */
    char by[2 * RA_DIGEST_LEN + 1];
};

/* A request that is being decided. */
struct ra_case {
    struct store *store;
    const struct ra_request *request;
    const uint8_t *dedup; /* the request's deduplication key; NULL of RA_POLL */
    struct ra_held held;
    struct ra_foreign foreign;
    bool seen;                 /* the message it came in has led to a certificate, or will */
    char stale[RA_ID_LEN + 1]; /* RA_KEYGEN: the same request, issued, whose key is lost; or "" */
};
/* Looks at the holder's certificate, in the inventory and by the profile's anchors; ra_case_clear
 * frees it. */
bool ra_case_open(struct ra_case *c, struct err *err) MUST_USE;
/* By a certificate of ours or of the profile's own CA of before it is a renewal, whatever the
 * message calls it, and the same one if it is called otherwise when it comes again. */
bool ra_case_renews(const struct ra_case *c);
/* The holder's certificate has been revoked, or whether it has cannot be learnt: by it nothing is
 * told, not even what was told before. */
bool ra_case_barred(const struct ra_case *c);
/* Whether what came by this certificate (store_request.renews) came by the holder's. */
bool ra_case_came_by(const struct ra_case *c, const char *by);
void ra_case_clear(struct ra_case *c);

/* *ret is the authorization, which the caller frees, or NULL: then outcome is a refusal with its
 * reason. False: could not decide. */
bool ra_prove(struct ra_case *c, struct ra_authorization **ret, struct ra_outcome *outcome,
              struct err *err) MUST_USE;
void ra_authorization_free(struct ra_authorization *authorization);

/* Judges what the request carries as a challenge; names that a right one is not for are counted.
 * outcome is a refusal unless it is accepted. False: could not decide. */
bool ra_prove_challenge(struct store *store, const struct ra_request *request,
                        struct challenge_verdict *ret, struct ra_outcome *outcome,
                        struct err *err) MUST_USE;

const char *ra_authorization_by(const struct ra_authorization *authorization); /* for audit */
enum ra_op ra_authorization_op(const struct ra_authorization *authorization);
/* The certificate by which it came, as store_request.renews has it; or "". */
const char *ra_authorization_renews(const struct ra_authorization *authorization);
/* Digest of the challenge to be spent, or NULL. */
const uint8_t *ra_authorization_spends(const struct ra_authorization *authorization);

/* The order spends the challenge with this digest too. */
void ra_authorization_spend(struct ra_authorization *authorization,
                            const uint8_t digest[RA_DIGEST_LEN]);

/* Whether whoever repeats a request may hear its answer. With a proved key, unless it is barred, or
 * a user the deduplication key has shown it; a mere challenge is judged again, or must be the one
 * that this row spent. Another one-time challenge begins anew what was refused. */
bool ra_may_repeat(const struct ra_case *c, const struct store_request *row, bool *ret,
                   struct err *err) MUST_USE;

/* A refusal, with its detail for the operator. */
void ra_refuse(struct ra_outcome *outcome, enum ra_reason reason, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#endif
