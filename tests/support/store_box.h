/* A store in a folder of its own, and numbered rows to put into it. Its clock stands at BOX_NOW. */
#ifndef TESTS_SUPPORT_STORE_BOX_H
#define TESTS_SUPPORT_STORE_BOX_H

#include "ra/store/store.h"
#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define BOX_NOW INT64_C(1800000000)
#define BOX_WINDOW INT64_C(86400) /* retry_window of every order */
#define BOX_LEASE 30              /* seconds that an order is its maker's */

struct box {
    char dir[64];
    char path[80]; /* of the database */
    char url[96];
    struct store *store;
    EVP_PKEY *key; /* of every certificate */
};

/* For CMocka: *state is a box whose store is open for serving. */
int box_setup(void **state);
int box_teardown(void **state);
/* For CMocka: a box without a database. */
int box_setup_closed(void **state);
void box_open(struct box *box, bool serve); /* must succeed */
void box_close(struct box *box);

/* Request number n: its id, deduplication key and transactionID are of that number; profile "a",
 * upstream "ca". The caller clears it. */
struct store_request box_request(unsigned n, enum txn_state state);
void box_id(unsigned n, char out[RA_ID_LEN + 1]);
void box_digest(unsigned n, uint8_t out[RA_DIGEST_LEN]);
/* Without assertions, for threads: what order answers to request n. */
bool box_try(struct store *store, const struct store_request *request, const uint8_t *spend,
             enum store_order_result *result, char existing[RA_ID_LEN + 1]);
/* The result; existing may be NULL. */
enum store_order_result box_order(const struct box *box, const struct store_request *request,
                                  const uint8_t *spend, char existing[RA_ID_LEN + 1]);
/* Orders request n, which is new. */
void box_add(const struct box *box, unsigned n, enum txn_state state);
/* Request n as stored; it must be there. The caller clears it. */
struct store_request box_row(const struct box *box, unsigned n);
bool box_has(const struct box *box, unsigned n);
/* Takes its lease: the new attempt, or 0. */
int box_claim(const struct box *box, unsigned n, int64_t seconds);
/* Moves request n, which is in that state, as the holder of its attempt. */
void box_move(const struct box *box, unsigned n, enum txn_state to);
/* Brings a new request n into any state; ISSUED gives it a certificate of its own. */
void box_bring(const struct box *box, unsigned n, enum txn_state state);

/* A self-signed certificate for "CN=device-N"; the caller frees it. */
struct cert *box_cert(const struct box *box, unsigned n);
enum store_write box_record(const struct box *box, unsigned n, const struct cert *cert);
bool box_revoke(const struct box *box, const struct cert *cert);
/* The inventory's row; it must be there. The caller clears it. */
struct store_cert box_held(const struct box *box, const struct cert *cert);

/* Records of the audit trail, whose chain must be whole. */
int64_t box_audited(const struct box *box);

#endif
