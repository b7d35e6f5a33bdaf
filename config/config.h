/* The configuration as plain, immutable, counted structs. Loaded whole or not at all: every fault
 * is reported with file, line, column, key and what was expected. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/net.h"
#include "base/rate.h"
#include "config/checking.h"
#include "config/identity.h"
#include "config/profile.h"

struct cfg_key;
struct cfg_node;
struct cfg_faults;

/* scheme://address:port or scheme://unix:path */
struct cfg_url {
    bool tls;
    bool local; /* a unix socket */
    char *host; /* IP address, or path */
    uint16_t port;
};

struct cfg_urls {
    struct cfg_url *items;
    size_t count;
};

struct cfg_listen {
    struct cfg_urls scep;
    struct cfg_urls est;
    struct cfg_urls admin;
};

struct cfg_tls {
    struct cfg_identity identity;
    struct cfg_identity *others;
    size_t other_count;
    int min_version; /* TLS1_2_VERSION or TLS1_3_VERSION */
};

struct cfg_limits {
    int64_t body;    /* bytes of a request body */
    int64_t threads; /* workers that answer devices */
    int64_t connections;
    int64_t per_address;                                   /* 0: any number */
    int64_t queue;                                         /* requests that wait for a worker */
    int64_t first, handshake, request, reply, idle, drain; /* seconds */
    struct rate rate_per_address;                          /* of requests */
};

/* Edges that prove who they are by a TLS client certificate. */
struct cfg_edge_certificates {
    struct cfg_checking checking; /* first */
    struct cfg_certs trust_certs; /* CAs of edges alone, or edges' own certificates */
    struct cfg_strings names;     /* DNS names in them; one is enough */
    struct trust *trust;          /* of trust_certs; NULL: there are no such edges */
};

/* Peers that stand between devices and us and speak for them. */
struct cfg_edge {
    struct net_blocks proxy_protocol;
    struct net_blocks client_cert;             /* RFC 9440, over plain HTTP */
    struct cfg_edge_certificates certificates; /* RFC 9440, over TLS */
};

/* How an upstream CA that is asked over a network is treated. */
struct cfg_line {
    int64_t inflight; /* requests at the same time */
    int64_t queue;    /* requests that wait in memory; the others wait in the store */
    struct rate rate;
    int64_t wait, deadline;         /* seconds: of a device for its answer; of one exchange */
    int64_t failures, open_seconds; /* breaker: in a row until it opens; until it is tried again */
};

/* One upstream CA. options points to the struct that the kind's table describes. */
struct cfg_upstream {
    char *name;
    const struct cfg_kind *kind;
    void *options;
};

struct cfg {
    char *path;            /* of the file, absolute */
    char *written;         /* the same as it was called, for faults */
    struct cfg_node *tree; /* what was read: where something stands, for faults that show later */
    struct buf warnings;   /* like faults, a line each: what some devices refuse (config/lint.h) */
    struct cfg_listen listen;
    struct cfg_tls tls;
    bool tls_given;
    struct cfg_limits limits;
    struct cfg_edge edge;
    char *store; /* "sqlite:/absolute/path" */
    struct cfg_identity *ras;
    size_t ra_count;
    struct cfg_upstream *upstreams;
    size_t upstream_count;
    struct cfg_profile *profiles;
    size_t profile_count;
};

/* A kind of upstream CA, as the loader sees it: its name and the table of its options (the type
 * key itself is known). Upstream kinds hand theirs in, so config/ need not know them. */
struct cfg_kind {
    const char *type;
    const struct cfg_key *keys; /* config/table.h; ends with a NULL name */
    size_t options_size;
    bool remote; /* options begin with a struct cfg_line, keys with CFG_LINE_KEYS */
    /* Judges options that are fine one by one; adds faults with cfg_fault. May be NULL. */
    void (*judge)(void *options, struct cfg_faults *faults, const struct cfg_node *node);
};

struct cfg_kinds {
    const struct cfg_kind *const *items;
    size_t count;
};

/* Faults are one per line: FILE:LINE:COLUMN: key: what is wrong, expected what. */

/* On failure *faults_text holds every fault, a line each, in the order of the file. Secrets do not
 * occur in it. On success the caller owns one count of *ret. */
bool cfg_load(const char *path, const struct cfg_kinds *kinds, struct cfg **ret,
              struct buf *faults_text) MUST_USE;
/* The same for a file's content; path is what it would be called. */
bool cfg_load_text(struct bytes text, const char *path, const struct cfg_kinds *kinds,
                   struct cfg **ret, struct buf *faults_text) MUST_USE;
struct cfg *cfg_ref(struct cfg *cfg);
void cfg_free(struct cfg *cfg); /* drops one count; NULL is allowed */

/* As it is written in the file. */
void cfg_url_text(const struct cfg_url *url, struct buf *out);

/* NULL if it is not asked over a network. */
const struct cfg_line *cfg_upstream_line(const struct cfg_upstream *upstream);

/* NULL if there is none of that name. */
const struct cfg_profile *cfg_profile_get(const struct cfg *cfg, const char *name);

#endif
