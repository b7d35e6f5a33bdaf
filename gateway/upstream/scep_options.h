/* What the configuration says of an upstream of kind scep. */
#ifndef GATEWAY_UPSTREAM_SCEP_OPTIONS_H
#define GATEWAY_UPSTREAM_SCEP_OPTIONS_H

#include "gateway/upstream/relay.h"
#include "gateway/upstream/scep.h"

enum scep_challenge { SCEP_CHALLENGE_NONE = 0, SCEP_CHALLENGE_PASSTHROUGH, SCEP_CHALLENGE_BROKER };
enum scep_repeats { SCEP_REPEATS_NEVER = 0, SCEP_REPEATS_SAFE };

/* NDES's page that hands out challenges; given with SCEP_CHALLENGE_BROKER and with nothing else. */
struct scep_admin {
    char *url, *insecure_url; /* one of them */
    struct cfg_certs trust;   /* with url */
    int auth;                 /* enum httpc_auth */
    char *user;               /* or NULL: HTTPC_NEGOTIATE */
    struct buf password;      /* secret */
};

struct scep_options {
    struct cfg_line line; /* first */
    char *url;
    char *identifier; /* message of GetCACert, or NULL */
    struct cfg_certs trust_certs;
    struct relay_client client;
    bool legacy;
    int challenge; /* enum scep_challenge */
    int repeats;   /* enum scep_repeats */
    int64_t poll;
    struct scep_admin admin;
};

#endif
