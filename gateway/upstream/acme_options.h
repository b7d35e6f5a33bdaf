/* What the configuration says of a CA that speaks ACME. */
#ifndef GATEWAY_UPSTREAM_ACME_OPTIONS_H
#define GATEWAY_UPSTREAM_ACME_OPTIONS_H

#include "config/table.h"

/* How records of dns-01 are set. */
struct acme_dns01 {
    struct cfg_strings command; /* count 0: they are not */
    struct cfg_strings environment;
    int64_t delay; /* seconds from the last record to the CA's look at it */
};

struct acme_options {
    struct cfg_line line; /* first */
    char *directory;
    struct cfg_certs trust;
    char *account_key;
    struct cfg_strings contact;
    bool terms_agreed;
    struct {
        char *id;
        struct buf secret;
    } eab;
    char *http01;
    struct acme_dns01 dns01;
    struct cfg_certs chain;
};

extern const struct cfg_key acme_keys[];
/* The judge of the section. */
void acme_options_judge(void *arg, struct cfg_faults *faults, const struct cfg_node *node);

#endif
