/* Whether certificates that others issued are revoked: how that is learnt. */
#ifndef CONFIG_CHECKING_H
#define CONFIG_CHECKING_H

#include "config/doors.h"

enum cfg_revocation { CFG_REVOCATION_HARD_FAIL = 0, CFG_REVOCATION_SOFT_FAIL, CFG_REVOCATION_NONE };

/* Whose certificates are checked has this first. */
struct cfg_checking {
    enum cfg_revocation revocation; /* what becomes of one that cannot be checked */
    struct cfg_strings crl;         /* URLs */
    struct cfg_strings crl_under;   /* what the CRL URLs in certificates must begin with */
    char *ocsp;                     /* URL of a responder, or NULL */
    int64_t refresh; /* seconds that an answer is used before it is asked for again */
};

#endif
