/* Who we are: certificates with their keys. Part of struct cfg. */
#ifndef CONFIG_IDENTITY_H
#define CONFIG_IDENTITY_H

#include "config/doors.h"

/* A certificate (chain: leaf first) and its key; loaded, and known to match each other. */
struct cfg_pair {
    struct cfg_certs chain;
    EVP_PKEY *key;
};

/* The pairs of an RA. Where there is no second one, the first decrypts, too. */
enum cfg_ra_role { CFG_RA_SIGNS = 0, CFG_RA_DECRYPTS, CFG_RA_ROLES };
#define CFG_RA_FORMER_MAX 2 /* pairs of an RA that were renewed */

/* One pair that renews itself. */
struct cfg_renewed {
    char *name;     /* of the RA, with ":encryption" for a second pair */
    char *file;     /* absolute; the renewed pair, key and certificates */
    size_t profile; /* index into cfg.profiles: the rules for its own requests */
    /* Pairs before the one in force, oldest first: they serve whoever knows no later one. */
    struct cfg_pair former[CFG_RA_FORMER_MAX];
    size_t former_count;
};
/* How an RA's certificates are renewed before they end. */
struct cfg_renew {
    bool given;
    size_t upstream;        /* index into cfg.upstreams: the CA that is asked */
    int64_t before;         /* seconds before the end */
    struct cfg_certs trust; /* what a new certificate must chain to */
    char *file;             /* as configured: of the first pair */
    struct cfg_renewed pairs[CFG_RA_ROLES];
};

struct cfg_identity {
    char *name; /* of the ra entry; NULL for tls */
    struct cfg_certs chain;
    EVP_PKEY *key;
    struct cfg_pair encryption; /* ra only: what devices encrypt to, if that is another one */
    struct cfg_renew renew;     /* ra only */
    char *staple; /* tls only: path of an OCSP response for the certificate, or NULL */
};

#endif
