/* Validators of what a message carries as its authorization. */
#ifndef RA_CHALLENGE_CHALLENGE_H
#define RA_CHALLENGE_CHALLENGE_H

#include "ra/request.h"
#include "ra/store/store.h"

struct challenge_verdict {
    bool accepted;
    bool known;  /* this validator knows the secret, even if it refuses it */
    bool spends; /* order must spend `digest` */
    bool missed; /* the secret is right and the names are not: see challenge_miss */
    uint8_t digest[RA_DIGEST_LEN];
    char detail[RA_DETAIL_MAX]; /* why not; never the secret */
};

/* Thread-safe. Judging changes nothing; what it costs is spent by the order's transaction. */
struct challenge_vt {
    const char *kind; /* "fixed", "one-time" */
    bool (*judge)(struct store *store, const struct ra_request *request,
                  struct challenge_verdict *ret, struct err *err);
};

extern const struct challenge_vt challenge_fixed;
extern const struct challenge_vt challenge_one_time;

/* Asks the profile's kinds in turn; the first that knows the secret decides. */
bool challenge_judge(struct store *store, const struct ra_request *request,
                     struct challenge_verdict *ret, struct err *err) MUST_USE;

/* Counts the names of a request whose verdict is `missed`, once each. With the last that the
 * profile bears (challenge.mismatches) the challenge is spent, which is audited, and *spent is
 * true. Who does not know the secret has no such verdict, so nobody spends the challenges of
 * others. */
bool challenge_miss(struct store *store, const struct ra_request *request,
                    const struct challenge_verdict *verdict, bool *spent, struct err *err) MUST_USE;

/* Mints a one-time challenge: 20 characters of A-Z and 2-7 (Windows encodes it as PrintableString).
 * subject and sans bind it ("" or NULL: any names). With `given`, out is "" afterwards; one that
 * was stored before is ERR_UPSTREAM. */
struct challenge_mint {
    struct bytes given; /* handed out by an upstream CA: stored in place of a new one; or empty */
    const struct cfg_profile *profile;
    const char *subject;
    const char *const *sans;
    size_t san_count;
    int64_t ttl;
    int uses;
};
#define CHALLENGE_LEN 20
/* Whether challenge_create would take these; what it says by err. */
bool challenge_mint_check(const struct challenge_mint *mint, struct err *err) MUST_USE;
bool challenge_create(struct store *store, const struct challenge_mint *mint,
                      char out[CHALLENGE_LEN + 1], struct err *err) MUST_USE;

#endif
