/* A registration authority with a store of its own, and CAs whose answers a test scripts. */
#ifndef TESTS_SUPPORT_RA_WORLD_H
#define TESTS_SUPPORT_RA_WORLD_H

#include "base/clock.h"
#include "ra/challenge/challenge.h"
#include "ra/ra.h"
#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define HANDLE "handle-"             /* of prepare, followed by the request's id */
#define FIXED_CHALLENGE "opensesame" /* of every profile */
#define NOW INT64_C(2000000000)      /* when a world begins */
#define DAY INT64_C(86400)

struct world;

/* What a CA answers, and how often it was asked. The script is read without a lock. */
struct fake_ca {
    struct upstream base; /* first */
    struct upstream_vt vt;
    struct world *world;
    X509 *issuing;
    struct cert *issuing_cert;
    struct cfg_certs chain;

    enum up_result submit, poll, recover;
    bool prepare_fails;
    enum up_result confirm; /* UP_ISSUED: it hears */
    const char *subject;    /* issued for this one instead of the CSR's */
    EVP_PKEY *key;          /* and for this key */
    struct cert *same;      /* or this certificate again */
    int64_t not_before;     /* 0: an hour before now */
    int64_t serial;         /* 0: a new one each time */
    int64_t lifetime;       /* seconds; 0: 90 days */
    int retry_after;        /* of the reply */
    const char *cookie;     /* of the reply, or NULL */
    unsigned sleep_ms;      /* submit takes so long, and leaves last_handle alone */
    void (*hook)(struct world *world, const char *request_id); /* at the end of submit */

    atomic_uint prepared, submitted, polled, recovered, accepted, rejected;
    struct buf last_handle; /* of the last submit or recover */
    struct buf last_cookie; /* of the last poll or confirm */
    bool recorded_first;    /* confirm found the certificate in the store */
};

enum { WORLD_CAS = 2, WORLD_PROFILES = 2 };

struct world {
    char dir[64], url[96];
    EVP_PKEY *root_key, *ca_key;
    X509 *root;
    struct cert *root_cert;
    EVP_PKEY *key, *other_key; /* of devices */
    struct fake_ca ca[WORLD_CAS];
    struct cfg_upstream conf[WORLD_CAS];
    struct cfg_route routes[WORLD_PROFILES];
    struct buf fixed;
    struct cfg_profile profiles[WORLD_PROFILES]; /* "a" orders from CA 0, "b" from CA 1 */
    struct cfg cfg;
    struct upstream *upstreams[WORLD_CAS];
    struct ra_settings settings;
    struct store *store;
    struct ra *ra;
};

/* For cmocka: *state is a fresh world, whose clock stands at NOW. */
int world_setup(void **state);
int world_teardown(void **state);
/* As after kill -9: the store is opened again by a new process. */
void world_restart(struct world *w);

/* A request of profile "a" for this CSR, without evidence. */
struct ra_request world_request(const struct world *w, const struct csr *csr);
/* The same with the fixed challenge. */
struct ra_request world_enroll(const struct world *w, const struct csr *csr);
/* One to renew this certificate. */
struct ra_request world_renew(const struct world *w, struct cert *held, const struct csr *csr);
struct csr *world_csr(const char *subject, const char *sans, EVP_PKEY *key);
/* The certificate that a SCEP client signs its first request with. */
struct cert *world_signer(const char *subject, EVP_PKEY *key);

/* Must be decided. The caller clears the outcome. */
struct ra_outcome world_submit(const struct world *w, const struct ra_request *request);
/* Must be issued; the caller owns the certificate. */
struct cert *world_issue(const struct world *w, const struct ra_request *request);
struct cert *world_enrolled(const struct world *w, const struct csr *csr); /* by world_enroll */
void world_refused(const struct world *w, const struct ra_request *request, enum ra_reason reason);
/* The id of the request, which must be pending. */
void world_pending(const struct world *w, const struct ra_request *request, char id[RA_ID_LEN + 1]);
size_t world_sweep(const struct world *w);

/* The caller clears the row. */
struct store_request world_row(const struct world *w, const char *id);
void world_state(const struct world *w, const char *id, enum txn_state state);
/* The inventory's row of the certificate, which must be there; the caller clears it. */
struct store_cert world_held(const struct world *w, const struct cert *cert);
void world_revoke(const struct world *w, const struct cert *cert, int reason);
int world_inventory(const struct world *w);    /* certificates in the store */
int64_t world_requests(const struct world *w); /* rows in all states */
/* How many audit records there are of this event. */
unsigned world_audited(const struct world *w, const char *event);
bool world_same_cert(const struct cert *a, const struct cert *b);
void world_mint(const struct world *w, const char *subject, char out[CHALLENGE_LEN + 1]);
/* As if a process had died right after it wrote a row for this CSR; *id is its request. */
void world_left_behind(const struct world *w, const struct csr *csr, char id[RA_ID_LEN + 1]);

#endif
