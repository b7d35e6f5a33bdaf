/* How a profile is reached: its SCEP paths and its EST labels. Part of struct cfg_profile. */
#ifndef CONFIG_DOORS_H
#define CONFIG_DOORS_H

#include "base/cert.h"

enum cfg_scep_chain { CFG_CHAIN_LEAF = 0, CFG_CHAIN_ISSUER, CFG_CHAIN_FULL, CFG_CHAIN_CLIENT };
/* Families of SCEP clients (scep/family.c); CLIENT above and below: as the family has it. */
enum cfg_scep_client {
    CFG_CLIENT_AUTO = 0, /* the one that shows */
    CFG_CLIENT_GENERIC,
    CFG_CLIENT_APPLE,
    CFG_CLIENT_WINDOWS,
    CFG_CLIENT_CISCO_IOS,
    CFG_CLIENT_CISCO_VPN,
    CFG_CLIENT_JUNIPER,
    CFG_CLIENT_MIKROTIK,
    CFG_CLIENT_COUNT,
};
enum cfg_choice { CFG_CHOICE_CLIENT = 0, CFG_CHOICE_YES, CFG_CHOICE_NO };
/* How many octets our nonces have: as many as the device's, or 16. */
enum cfg_nonce { CFG_NONCE_CLIENT = 0, CFG_NONCE_MIRROR, CFG_NONCE_FULL };
/* What GetCACert may tell: the RA that signs, what devices encrypt to if that is another one, the
 * CA that issues, those between it and the root, and the root. */
enum cfg_told_cert {
    CFG_TOLD_RA = 0,
    CFG_TOLD_ENCRYPTION,
    CFG_TOLD_ISSUER,
    CFG_TOLD_INTERMEDIATES,
    CFG_TOLD_ROOT,
    CFG_TOLD_COUNT,
};
struct cfg_told {
    enum cfg_told_cert order[CFG_TOLD_COUNT]; /* each at most once */
    size_t count;
};
enum cfg_scep_legacy { CFG_LEGACY_NONE = 0, CFG_LEGACY_DES3_SHA1, CFG_LEGACY_DES_MD5 };
enum cfg_require { CFG_REQUIRE_ANY = 0, CFG_REQUIRE_ALL };
enum cfg_binding { CFG_BINDING_NONE = 0, CFG_BINDING_OPTIONAL, CFG_BINDING_REQUIRED };
enum cfg_password { CFG_PASSWORD_BINDING = 0, CFG_PASSWORD_SECRET, CFG_PASSWORD_REFUSE };
enum cfg_csrattrs {
    CFG_CSRATTRS_NONE = 0,
    CFG_CSRATTRS_PLAIN,
    CFG_CSRATTRS_TEMPLATE,
    CFG_CSRATTRS_BOTH
};

enum cfg_keygen { CFG_KEYGEN_OFF = 0, CFG_KEYGEN_ALLOW, CFG_KEYGEN_ENCRYPTED };
enum cfg_fullcmc { CFG_FULLCMC_OFF = 0, CFG_FULLCMC_ALLOW };

struct cfg_certs {
    struct cert **items;
    size_t count;
};

struct cfg_strings {
    char **items;
    size_t count;
};

/* The CA that is to follow the profile's CA (RFC 8894 section 4.7). */
struct cfg_next {
    bool given;
    struct cfg_certs certificates; /* what devices are told; none: the upstream's */
    bool upstream_given, ra_given;
    size_t upstream; /* index into cfg.upstreams: issues what is asked of the next CA */
    size_t ra;       /* index into cfg.ras: what is encrypted to it is asked of the next CA */
};

#define CFG_SCEP_RAS_MAX 15 /* and the next one */

struct cfg_scep {
    struct cfg_strings paths; /* "/scep/vpn": with anything after it at a '/' */
    size_t *ra;               /* indexes into cfg.ras; the first is shown, all are understood */
    size_t ra_count;
    struct cfg_next next;
    enum cfg_scep_chain chain;
    enum cfg_scep_legacy legacy;
    enum cfg_scep_client client;
    struct cfg_told told; /* what GetCACert tells; none: as the family has it */
    enum cfg_choice root; /* GetCACert names the root */
    enum cfg_nonce nonce;
    enum cfg_choice fail_text; /* a FAILURE holds failInfoText */
};

/* Hashes of HTTP Digest (RFC 7616 section 3.7), strongest first. */
enum cfg_digest { CFG_DIGEST_SHA256 = 0, CFG_DIGEST_MD5, CFG_DIGEST_COUNT };

/* What RFC 8951 does not have, and devices send. */
enum cfg_lenient { CFG_LENIENT_DER = 0, CFG_LENIENT_PEM, CFG_LENIENT_NO_TYPE, CFG_LENIENT_COUNT };

struct cfg_user {
    char *name;
    char *hash;                  /* crypt(3), salted; or NULL */
    char *ha1[CFG_DIGEST_COUNT]; /* hex of the hash of NAME:REALM:PASSWORD; or NULL */
};

/* A key that a device shares with us: its private key is encrypted with it. */
#define CFG_SHARED_KEY_LEN 32
struct cfg_shared_key {
    struct buf id;  /* DecryptKeyIdentifier (RFC 7030 section 4.4.1.1) */
    struct buf key; /* CFG_SHARED_KEY_LEN octets, secret */
};

/* An extension that devices are told to ask for (csrattrs). */
struct cfg_asked_extension {
    char *oid; /* dotted */
    bool critical;
    struct buf value; /* DER; empty: the device fills it in */
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
    bool extensions_given; /* those devices are told of, in place of what the rules say */
    struct cfg_asked_extension *extensions;
    size_t extension_count;
    struct cfg_strings oids; /* that they are told of besides; dotted */
    enum cfg_keygen keygen;
    struct cfg_shared_key *shared_keys;
    size_t shared_key_count;
    enum cfg_fullcmc fullcmc;
    bool signer_given; /* signer is an index into cfg.ras; else the TLS server signs */
    size_t signer;
    bool renewal_info;
    bool strict[CFG_LENIENT_COUNT]; /* refuse it */
};

#endif
