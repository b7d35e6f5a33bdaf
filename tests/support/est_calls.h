/* Calls of the EST door with a fake ra and fake CAs behind it. */
#ifndef TESTS_SUPPORT_EST_CALLS_H
#define TESTS_SUPPORT_EST_CALLS_H

#include "est/door.h"
#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define CHALLENGE "CHALLENGE234567ABCDE"
#define REQUEST_ID "00112233445566778899aabbccddeeff"
#define OPERATOR_TEXT "rule 42 of the operator"

/* What the door asked of the ra, and how it is to be answered. The fake refuses what nothing
 * proves with RA_NO_EVIDENCE and answers everything else with `answer`. */
struct asked {
    unsigned calls;
    enum ra_op op;
    struct cert *holder; /* borrowed */
    bool over_cms, both;
    char challenge[64], user[64], principal[64], label[80], origin[64];
    struct buf csr;
    size_t txn_len;
    char txn[80];
    unsigned refuses_at; /* the call that is refused for its names; 0: none */
    unsigned pends_at;   /* the call that is to wait a minute; 0: none */
    bool fails;          /* could not decide */
    bool chain_fails;    /* the CAs cannot give their chains */
    struct ra_outcome answer;
};
extern struct asked asked;

enum { ROOT = 0, ISSUING, OTHER, CA_COUNT };

struct fixture {
    EVP_PKEY *key;
    struct cert *ca[CA_COUNT];
    struct cert *device; /* to be presented by TLS */
    struct cert *issued; /* what the fake ra issues */
    struct buf csr;      /* base64 */
    struct buf csr_der;
    struct cfg_user user; /* alice, "correct horse" */
    char *labels[2];
    struct cfg_route routes[3]; /* to ISSUING-ROOT, OTHER-ROOT, ISSUING-ROOT */
    struct cfg_profile profile;
    struct cfg_upstream upstream_confs[2];
    struct cfg cfg;
    struct upstream *upstreams[2];
    struct ra_settings settings;
    struct ra *ra; /* never looked into */
};

/* For cmocka: *state is a struct fixture; reset makes everything as a test expects to find it. */
int est_calls_setup(void **state);
int est_calls_teardown(void **state);
int est_calls_reset(void **state);

/* A good call of an operation, without a credential. */
struct est_call call_of(const struct fixture *f, enum est_op op);
/* "Basic " and the credentials in base64. */
struct buf header_of(const char *credentials);
/* The door's reply, which the caller clears; with the credentials as one Authorization header. */
struct est_reply handle(const struct fixture *f, const struct est_call *call);
struct est_reply handle_basic(const struct fixture *f, struct est_call *call,
                              const char *credentials);

bool holds(struct buf *body, const char *text);
/* The body, if there is one, is a line of plain text that tells nothing that is the operator's. */
void assert_plain(struct est_reply *reply);
/* The reply is 200 with these certificates, in this order. */
void assert_certs(const struct est_reply *reply, struct cert *const *want, int count);
/* How many characters the longest line has; the body must end with a newline. */
size_t longest_line(const struct buf *body);

#endif
