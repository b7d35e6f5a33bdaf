/* Orders what was judged: written down first, and only then asked of the CA. Internal to ra/. */
#ifndef RA_ORDER_H
#define RA_ORDER_H

#include "ra/prove.h"
#include "ra/store/store.h"
#include "ra/work.h"

/* What a new request is ordered with. */
struct ra_ordering {
    const struct ra_request *request;
    const struct ra_authorization *authorization;
    const uint8_t *dedup;
    const char *lineage;   /* upstream that issued what is being renewed, or NULL */
    const char *stale;     /* see struct ra_case */
    const struct csr *csr; /* what the CA is asked with: the request's, or made */
    struct csr *made;
    size_t upstream;
    struct store_request row;
    uint8_t device[RA_DIGEST_LEN];
    struct store_quota quota; /* most 0: none */
    struct store_key_use key;
    const char *ignored; /* see struct policy_result */
    enum store_order_result result;
    char existing[RA_ID_LEN + 1]; /* of a duplicate: the order that was first */
};

/* Reads the device's quota: false only if it could not be read. Whoever asks at the same moment is
 * found out in the transaction that orders. */
bool ra_order_quota(struct ra *ra, struct ra_ordering *ordering, struct err *err) MUST_USE;
/* Whether the device has had all that its quota allows: refused then. Not audited: a looping device
 * would fill the trail. */
bool ra_order_refuse_quota(const struct ra_ordering *ordering, struct ra_outcome *outcome);

/* Makes the key if the request leaves it to us, writes the order down, and has the CA asked, by its
 * line or here. If ordering->result is STORE_DUPLICATE, another order was first, of the id
 * ordering->existing, and outcome says nothing; otherwise outcome is the answer. */
bool ra_order(struct ra *ra, struct ra_ordering *ordering, struct ra_outcome *outcome,
              struct err *err) MUST_USE;
/* Frees what ra_order put into it. */
void ra_ordering_clear(struct ra_ordering *ordering);

#endif
