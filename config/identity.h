/* Who we are: certificates with their keys. Part of struct cfg. */
#ifndef CONFIG_IDENTITY_H
#define CONFIG_IDENTITY_H

#include "config/doors.h"

/* A certificate (chain: leaf first) and its key; loaded, and known to match each other. */
struct cfg_pair {
    struct cfg_certs chain;
    EVP_PKEY *key;
};
/* How an RA's certificate is renewed before it ends. */
struct cfg_renew {
    bool given;
    size_t upstream;        /* index into cfg.upstreams: the CA that is asked */
    int64_t before;         /* seconds before the end */
    struct cfg_certs trust; /* what the new certificate must chain to */
    char *file;             /* absolute; the renewed pair, key and certificates */
    size_t profile;         /* index into cfg.profiles: the rules for its own requests */
};
#define CFG_RA_FORMER_MAX 2 /* pairs of an RA that were renewed */

struct cfg_identity {
    char *name; /* of the ra entry; NULL for tls */
    struct cfg_certs chain;
    EVP_PKEY *key;
    struct cfg_pair encryption; /* ra only: what devices encrypt to, if that is another one */
    struct cfg_renew renew;     /* ra only */
    /* ra only: pairs before chain and key, which decrypt what is still encrypted to them */
    struct cfg_pair former[CFG_RA_FORMER_MAX];
    size_t former_count;
    char *staple; /* tls only: path of an OCSP response for the certificate, or NULL */
};

#endif
