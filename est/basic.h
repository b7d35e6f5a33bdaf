/* HTTP Basic (RFC 7617) and the profile's file of users. */
#ifndef EST_BASIC_H
#define EST_BASIC_H

#include "config/config.h"

#define EST_USER_MAX 256
#define EST_PASSWORD_MAX 512

struct est_basic {
    struct buf text; /* secret: user and password point into it */
    struct bytes user;
    struct bytes password;
};

/* header: the Authorization value. False if it is not well-formed Basic. */
bool est_basic_parse(struct bytes header, struct est_basic *ret) MUST_USE;
void est_basic_clear(struct est_basic *basic);
/* The user of that name whose hash the password matches, or NULL; takes about as long for an
 * unknown user as for a wrong password. */
const struct cfg_user *est_basic_check(const struct cfg_profile *profile,
                                       const struct est_basic *basic);

#endif
