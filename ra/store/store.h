/* The store: requests, inventory, challenges and the audit trail. Every write below is one durable
 * transaction: when it returns true, it survives kill -9. Thread-safe. */
#ifndef RA_STORE_STORE_H
#define RA_STORE_STORE_H

#include "ra/store/write.h"

#define STORE_SERIAL_MAX 16

struct store;

struct store_vt {
    const char *scheme; /* "sqlite" */
    /* url: after "scheme:". serve: take the lock that only one serving process can hold, free
     * leases of a dead one, and make due what waits for a key that the dead one had, and what was
     * written in the future, before the clock was set back. Creates and migrates the schema. */
    bool (*open)(const char *url, bool serve, struct store **ret, struct err *err);
    void (*close)(struct store *store);

    /* Reads. ret->id is empty if there is no such request. By dedup: one that is open, however old,
     * or issued not before `since` with a certificate that is neither revoked nor replaced. */
    bool (*request_by_dedup)(struct store *store, const uint8_t *dedup, int64_t since,
                             struct store_request *ret, struct err *err);
    /* The one that has this deduplication key, or had it last; whatever has become of it. */
    bool (*request_last)(struct store *store, const uint8_t *dedup, struct store_request *ret,
                         struct err *err);
    bool (*request_by_txn)(struct store *store, const struct store_txn_key *key,
                           struct store_request *ret, struct err *err);
    bool (*request_by_id)(struct store *store, const char *id, struct store_request *ret,
                          struct err *err);
    /* ORDERED, WAITING, SUSPECT and unconfirmed requests of an upstream whose lease is over and
     * whose time has come; those that wait longest first. See store_due. */
    bool (*request_due)(struct store *store, const struct store_due *due, struct store_ids *ret,
                        struct err *err);
    /* Newest first; of filter: profile, upstream and limit. */
    bool (*request_list)(struct store *store, const struct store_filter *filter,
                         bool (*each)(const struct store_request *request, void *arg), void *arg,
                         struct err *err);
    bool (*request_quota)(struct store *store, struct store_quota *quota, struct err *err);
    /* Fills the answer in *use, from certificates and requests that were not refused. */
    bool (*key_used)(struct store *store, struct store_key_use *use, struct err *err);
    bool (*request_counts)(struct store *store, int64_t counts[TXN_STATE_COUNT], struct err *err);
    bool (*cert_find)(struct store *store, const uint8_t *fingerprint, struct store_cert *ret,
                      bool *found, struct err *err);
    /* The same of a certificate that is the same and written in another way: by its issuer, its
     * serial number and what the CA signed. */
    bool (*cert_find_copy)(struct store *store, const struct cert *cert, struct store_cert *ret,
                           bool *found, struct err *err);
    /* Calls each, newest first, until it returns false; at most STORE_SERIAL_MAX times. */
    bool (*cert_by_serial)(struct store *store, const struct store_serial *key,
                           bool (*each)(const struct store_cert *cert, void *arg), void *arg,
                           struct err *err);
    /* Whether what a certificate that is not in the inventory was used to ask for in this profile,
     * or a renewal of that, has been revoked, not as superseded. by: as in store_request.renews. */
    bool (*heir_revoked)(struct store *store, const char *by, const char *profile, bool *ret,
                         struct err *err);
    /* Calls each until it returns false. Newest first. No each, here or below, may use the store:
     * it holds one of a few connections, and all of them could wait for another. */
    bool (*cert_list)(struct store *store, const struct store_filter *filter,
                      bool (*each)(const struct store_cert *cert, void *arg), void *arg,
                      struct err *err);
    bool (*challenge_find)(struct store *store, const uint8_t *digest, struct store_challenge *ret,
                           bool *found, struct err *err);
    /* Whether this message led to a request that was not refused. Of a sender who had more messages
     * remembered than are kept one by one, also: whether it may have led to any. */
    bool (*message_seen)(struct store *store, const struct store_message *message, bool *ret,
                         struct err *err);
    /* Whether this request spent this challenge. */
    bool (*challenge_spent_by)(struct store *store, const uint8_t *digest, const char *request_id,
                               bool *ret, struct err *err);
    /* What the upstream's connector wanted to be remembered; empty if nothing. */
    bool (*memory_get)(struct store *store, const char *upstream, struct buf *ret, struct err *err);
    /* Walks the trail in order. */
    bool (*audit_walk)(struct store *store,
                       bool (*each)(const struct audit_record *record, void *arg), void *arg,
                       struct err *err);

    /* Writes. On STORE_DUPLICATE, *existing is the id of that row. */
    bool (*order)(struct store *store, const struct store_order *order,
                  enum store_order_result *result, char existing[RA_ID_LEN + 1], struct err *err);
    /* Takes the lease of a request in ORDERED, WAITING or SUSPECT, or unconfirmed: *attempt is the
     * new fence, or 0 if somebody else holds it. */
    bool (*claim)(struct store *store, const char *id, int64_t seconds, int *attempt,
                  struct err *err);
    bool (*move)(struct store *store, const struct store_move *move, enum store_write *result,
                 struct err *err);
    bool (*record)(struct store *store, const struct store_record *record, enum store_write *result,
                   struct err *err);
    /* Gives up the lease of an unconfirmed request. Nothing if that is not its attempt. */
    bool (*confirm)(struct store *store, const struct store_confirm *confirm, struct err *err);
    /* What failed, and is to be tried again up to then at a time of our choice, is due now. */
    bool (*wake)(struct store *store, int64_t until, struct err *err);
    /* The transactionID by which a request is found from now on. */
    bool (*take_txn)(struct store *store, const char *request_id, struct bytes txn,
                     struct err *err);
    /* That the device of a refused request has heard it. */
    bool (*refusal_told)(struct store *store, const char *request_id, struct err *err);
    /* That this message led to that request. However many there are, they take up a bounded room:
     * of each request and of each sender. */
    bool (*message_add)(struct store *store, const struct store_message *message,
                        const char *request_id, struct err *err);
    /* Does not wait for the disk: losing it is harmless. */
    void (*delivered)(struct store *store, const char *request_id);
    bool (*challenge_add)(struct store *store, const struct store_challenge *challenge,
                          const struct audit_event *audit, struct err *err);
    /* The same names count once. *spent: these were the last that the challenge bore. */
    bool (*challenge_miss)(struct store *store, const struct store_miss *miss, bool *spent,
                           struct err *err);
    /* *found is false if there is no such certificate or it is revoked already. */
    bool (*cert_revoke)(struct store *store, const struct store_revoke *revoke, bool *found,
                        struct err *err);
    bool (*memory_set)(struct store *store, const char *upstream, struct bytes memory,
                       struct err *err);
    bool (*audit_add)(struct store *store, const struct audit_event *audit, struct err *err);
    /* A write and a read work. */
    bool (*health)(struct store *store, struct err *err);
};

/* Every store's struct begins with this. */
struct store {
    const struct store_vt *vt;
};

/* url with its scheme, as in cfg.store. */
bool store_open(const char *url, bool serve, struct store **ret, struct err *err) MUST_USE;
void store_close(struct store *store); /* NULL is allowed */
/* Names of the kinds of store, separated by spaces. */
const char *store_kinds(void);

#endif
