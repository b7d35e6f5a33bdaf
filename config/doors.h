/* How a profile is reached: its SCEP paths and its EST labels. Part of struct cfg_profile. */
#ifndef CONFIG_DOORS_H
#define CONFIG_DOORS_H

#include "base/cert.h"

enum cfg_scep_chain { CFG_CHAIN_LEAF = 0, CFG_CHAIN_ISSUER, CFG_CHAIN_FULL };
enum cfg_scep_legacy { CFG_LEGACY_NONE = 0, CFG_LEGACY_DES3_SHA1 };
enum cfg_require { CFG_REQUIRE_ANY = 0, CFG_REQUIRE_ALL };
enum cfg_binding { CFG_BINDING_NONE = 0, CFG_BINDING_OPTIONAL, CFG_BINDING_REQUIRED };
enum cfg_password { CFG_PASSWORD_BINDING = 0, CFG_PASSWORD_SECRET, CFG_PASSWORD_REFUSE };
enum cfg_csrattrs {
    CFG_CSRATTRS_NONE = 0,
    CFG_CSRATTRS_PLAIN,
    CFG_CSRATTRS_TEMPLATE,
    CFG_CSRATTRS_BOTH
};

struct cfg_certs {
    struct cert **items;
    size_t count;
};

struct cfg_strings {
    char **items;
    size_t count;
};

struct cfg_scep {
    struct cfg_strings paths; /* "/scep/vpn": with anything after it at a '/' */
    size_t *ra;               /* indexes into cfg.ras; the first signs, all decrypt */
    size_t ra_count;
    enum cfg_scep_chain chain;
    enum cfg_scep_legacy legacy;
};

/* Hashes of HTTP Digest (RFC 7616 section 3.3), strongest first. */
enum cfg_digest { CFG_DIGEST_SHA256 = 0, CFG_DIGEST_MD5, CFG_DIGEST_COUNT };

struct cfg_user {
    char *name;
    char *hash;                  /* crypt(3), salted; or NULL */
    char *ha1[CFG_DIGEST_COUNT]; /* hex of the hash of NAME:REALM:PASSWORD; or NULL */
};

struct cfg_est {
    bool enabled;
    struct cfg_strings labels; /* "" is the path without a label */
    bool auth_certificate;
    bool auth_basic;
    bool auth_digest;
    bool digest_md5; /* MD5 is offered besides */
    enum cfg_require auth_require;
    char *realm;
    struct cfg_user *users; /* of the users file; NULL if there is none */
    size_t user_count;
    enum cfg_binding binding;
    enum cfg_password challenge_password; /* what challengePassword means */
    enum cfg_csrattrs csrattrs;
};

#endif
