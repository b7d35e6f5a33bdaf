/* What one profile says: who may have which certificate, by which doors. Part of struct cfg. */
#ifndef CONFIG_PROFILE_H
#define CONFIG_PROFILE_H

#include "base/blocklist.h"
#include "base/rate.h"
#include "config/anchor.h"
#include "config/doors.h"

#include <regex.h>

enum cfg_challenge_kind {
    CFG_CHALLENGE_FIXED = 0,
    CFG_CHALLENGE_ONE_TIME,
    CFG_CHALLENGE_KIND_COUNT
};
#define CFG_CHALLENGE_USES_MAX 1000000
#define CFG_CHALLENGE_TTL_MAX (INT64_C(365) * 86400)

enum cfg_revoke { CFG_REVOKE_LOCAL = 0, CFG_REVOKE_UPSTREAM };
enum cfg_same_key { CFG_SAME_KEY_ALLOW = 0, CFG_SAME_KEY_REFUSE };
enum cfg_reuse { CFG_REUSE_ALLOW = 0, CFG_REUSE_REFUSE };
enum cfg_change { CFG_CHANGE_REFUSE = 0, CFG_CHANGE_ALLOW };

struct cfg_route {
    bool match_key;     /* the entry has match.key */
    enum spki_kind key; /* only CSRs with this kind of key */
    char *label;        /* EST label or NULL for any */
    size_t upstream;    /* index into cfg.upstreams: the first of pool */
    size_t *pool;       /* that one and those that take its place when it fails */
    size_t pool_count;
};

struct cfg_keys {
    int64_t rsa_min, rsa_max; /* bits; rsa_max 0: RSA is not allowed */
    struct cfg_strings ec;    /* "P-256", ...; empty: EC is not allowed */
    bool ed25519;
    enum cfg_reuse reuse;
    struct blocklist *blocklist; /* or NULL */
    bool any; /* no kind of key is named: RSA 2048-4096 and P-256, P-384, P-521 */
};

/* One entry of subject: an attribute type and the POSIX extended regular expression that each of
 * its values must match whole. */
struct cfg_subject {
    char *type;
    char *pattern;
    regex_t regex;
};

struct cfg_san {
    struct cfg_strings dns;   /* globs, see text_glob */
    struct cfg_strings ip;    /* "10.0.0.0/8", "2001:db8::/32" or one address */
    struct cfg_strings email; /* globs */
    struct cfg_strings uri;   /* globs */
    int64_t max;
};

struct cfg_challenge {
    bool kinds[CFG_CHALLENGE_KIND_COUNT];
    struct buf *fixed; /* secrets: the lines of fixed_file; several overlap during a change */
    size_t fixed_count;
    int64_t ttl;        /* seconds a one-time challenge lives unless --ttl says otherwise */
    int64_t uses;       /* how often it may be used unless --uses says otherwise */
    int64_t mismatches; /* with how many names that it is not for it is spent; 0: never */
};

struct cfg_renewal {
    int64_t window; /* seconds before expiry from which a certificate may renew; 0: always */
    int64_t grace_after_expiry; /* seconds after it */
    enum cfg_same_key same_key;
    enum cfg_change change_names;
};

struct cfg_profile {
    char *name;
    bool own; /* of an RA's own requests: "ra:NAME", "ra:NAME:encryption"; no door leads to it */
    struct cfg_route *routes;
    size_t route_count;
    struct cfg_certs trust_certs;
    struct trust *trust;
    struct cfg_anchor *anchors; /* of certificates that the gateway did not issue */
    size_t anchor_count;
    struct cfg_certs registrars; /* whoever holds a key of one of these may ask for others */
    bool cmc_ra;                 /* and of one with id-kp-cmcRA of an explicit anchor */
    struct cfg_keys keys;
    struct cfg_subject *subject; /* NULL: any subject */
    size_t subject_count;
    bool san_given; /* no san entry: no SAN is allowed */
    struct cfg_san san;
    struct cfg_strings eku;               /* dotted OIDs; empty: clientAuth */
    struct cfg_strings ignore_extensions; /* dotted OIDs */
    int64_t validity;                     /* seconds, longest; 0: the upstream's */
    int64_t retry_window;                 /* seconds in which a repetition gets the same answer */
    struct cfg_challenge challenge;
    struct cfg_renewal renewal;
    struct rate rate;         /* of requests, from anywhere */
    struct rate quota_device; /* of certificates that one device may ask for */
    enum cfg_revoke revoke;
    bool migrate;      /* renewals go to migrate_to, whoever issued */
    size_t migrate_to; /* index into cfg.upstreams */
    bool scep_enabled;
    struct cfg_scep scep;
    struct cfg_est est;
    char *owner_contact, *owner_technical; /* or NULL */
};

#endif
