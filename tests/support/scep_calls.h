/* Calls of the SCEP door with a fake ra and a fake CA behind it. */
#ifndef TESTS_SUPPORT_SCEP_CALLS_H
#define TESTS_SUPPORT_SCEP_CALLS_H

#include "scep/door.h"
#include "scep/msg.h"
#include "tests/support/pki_make.h"
#include "tests/support/scep_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define CHALLENGE "CHALLENGE234567ABCDE"
#define REQUEST_ID "00112233445566778899aabbccddeeff"
#define OPERATOR_TEXT "rule 42 of the operator"
#define TXN "5E0D/txn+7="
#define NONCE "0123456789abcdef"

/* What the door asked of the ra, and how it is to be answered. */
struct asked {
    unsigned calls;
    enum ra_op op;
    bool over_cms, other_key, principal, label, next;
    char challenge[CSR_CHALLENGE_MAX + 1], txn[64], origin[64];
    struct buf holder, csr; /* DER; csr is empty if there was none */
    bool fails;             /* could not decide */
    bool chain_fails;       /* the CA cannot give its chain */
    struct ra_outcome answer;
    unsigned lookups; /* calls of ra/lookup.h */
    bool may, lookup_fails;
    bool any_issuer;   /* the wanted certificate's issuer was left open */
    char serial[80];   /* of the wanted certificate */
    struct cert *cert; /* what is found, or NULL */
    struct bytes crl;  /* likewise; DER */
};
extern struct asked asked;

enum { RA_NEW = 0, RA_OLD, RA_NEXT, RA_COUNT }; /* the first two are of today */

struct fixture {
    EVP_PKEY *device_key, *victim_key, *ec_key, *ra_keys[RA_COUNT], *ca_key;
    struct cert *device, *victim, *ec, *ra[RA_COUNT], *issuer, *root;
    struct cert *issued; /* what the fake ra issues */
    struct buf csr;      /* of the device, with the challenge */
    struct cfg_identity identities[RA_COUNT];
    size_t ra_index[RA_COUNT];
    size_t answers; /* which RA a reply has to be signed by */
    struct cfg_route route;
    struct cfg_profile profile;
    struct cfg_upstream upstream_conf;
    struct cfg cfg;
    struct upstream *upstream;
    struct ra_settings settings;
    struct ra *ra_object; /* never looked into */
};

/* For cmocka: *state is a struct fixture; reset makes everything as a test expects to find it. */
int scep_calls_setup(void **state);
int scep_calls_teardown(void **state);
int scep_calls_reset(void **state);

/* A PKCSReq of the device whose envelope is to be put into content. */
struct scep_make good(const struct fixture *f);
/* An envelope as `seal` says (NULL: a good one for the first RA) around plain. */
struct buf sealed(const struct fixture *f, const struct scep_make_envelope *seal,
                  struct bytes plain);
/* A whole PKCSReq: make's (NULL: good) around seal's (NULL: good) around the CSR. */
struct buf message_of(const struct fixture *f, const struct scep_make *make,
                      const struct scep_make_envelope *seal);

/* The door's reply, which the caller clears. */
struct scep_reply get(const struct fixture *f, const char *query);
struct scep_reply post(const struct fixture *f, struct bytes body);
/* Posts what message_of makes. */
struct scep_reply post_made(const struct fixture *f, const struct scep_make *make,
                            const struct scep_make_envelope *seal);

/* The CertRep in a reply, which must be well-formed, signed by the RA f->answers (after a reset:
 * the first), and for our TXN. */
struct scep_msg *rep_of(const struct fixture *f, const struct scep_reply *reply);
/* Exactly this FAILURE; clears the reply. */
void assert_failure(const struct fixture *f, struct scep_reply *reply, enum scep_fail fail);
/* SUCCESS for the device with exactly these certificates in this order; clears the reply. */
void assert_success(const struct fixture *f, struct scep_reply *reply, struct cert *const *want,
                    size_t count);

#endif
