/* The Authorization header: HTTP Basic or Digest (RFC 7030 section 3.2.3). Internal to est/. */
#ifndef EST_AUTH_H
#define EST_AUTH_H

#include "est/digest.h"
#include "est/door.h"

enum est_auth_kind { EST_AUTH_NONE = 0, EST_AUTH_BASIC, EST_AUTH_DIGEST };

struct est_auth {
    enum est_auth_kind kind;
    struct est_basic basic;
    struct est_digest digest;
    struct bytes user;
    struct err wrong; /* EST_AUTH_NONE: what is wrong with the header, if there is one */
};

/* Whether the profile takes any. */
bool est_auth_offered(const struct cfg_est *est);
/* The credential of a call. None if there is no header, a malformed one, more than one, or one that
 * the profile does not take or that is meant for another request. Clear it either way. */
void est_auth_take(const struct est_call *call, struct est_auth *ret);
void est_auth_clear(struct est_auth *auth);

enum est_auth_result {
    EST_AUTH_RIGHT = 0, /* evidence names the user, or carries a challenge that is to be judged */
    EST_AUTH_WRONG,
    EST_AUTH_STALE, /* the password is right, the nonce is not: a new one helps */
};
/* What evidence there is in it: evidence borrows from auth and from the call's profile. */
enum est_auth_result est_auth_check(const struct est_call *call, const struct est_auth *auth,
                                    struct ra_evidence *evidence);

/* WWW-Authenticate: what the profile takes, strongest first (RFC 7616 section 3.7). */
void est_auth_ask(const struct est_call *call, bool stale, struct est_reply *reply);

#endif
