/* What the connectors share: certificates in what CAs answer, what an HTTP status means, and the
 * CA's chain as it is known. */
#ifndef GATEWAY_UPSTREAM_RELAY_H
#define GATEWAY_UPSTREAM_RELAY_H

#include "base/httpc.h"
#include "config/table.h"
#include "ra/upstream.h"

#define RELAY_CERTS_MAX 32

/* What `client` holds in the tables: how we prove ourselves to a CA. */
struct relay_client {
    struct cfg_certs certificate; /* chain, leaf first */
    EVP_PKEY *key;
};
extern const struct cfg_key relay_client_keys[], relay_basic_keys[];
struct relay_basic {
    char *user;
    struct buf password; /* secret */
};
/* The judge of `client`. */
void relay_client_judge(void *field, struct cfg_faults *faults, const struct cfg_node *node);

/* Certificates of a PKCS#7 (BER, base64 of it in any layout, or PEM), of PEM, or one in DER, each
 * once, in order. The caller frees them with pem_certs_free. ERR_UPSTREAM. */
bool relay_certs_decode(struct bytes body, struct cert ***ret, size_t *count,
                        struct err *err) MUST_USE;
/* The one that was issued for the CSR: by its key, else the first that is no CA's; or NULL. */
struct cert *relay_cert_pick(struct cert *const *certs, size_t count, const struct csr *csr);

/* What an exchange means for an order, unless its status is 200 to 299, for which this is
 * UP_ISSUED. Fills reply->reason and retry_after. */
enum up_result relay_result(enum httpc_result result, const struct httpc_reply *http,
                            const struct err *err, struct up_reply *reply);
/* The same of what was asked by the way, for which there is no reply: ERR_UPSTREAM with what was
 * said. Always returns false. */
bool relay_failed(struct err *err, const char *what, const struct up_reply *said);
/* And back: err kept a request from being sent. UP_RETRY, after the time that the CA wants. */
enum up_result relay_later(struct up_reply *reply, const struct err *err);
/* reason is printable afterwards. */
void relay_reason(struct up_reply *reply, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A CA's certificates, which may change while others read them. Thread-safe. */
struct relay_chain;
struct relay_chain *relay_chain_new(const struct cfg_certs *known); /* copied; may be empty */
void relay_chain_free(struct relay_chain *chain);
/* The CA's certificates among these, issuers of leaves first. What was there before stays valid. */
void relay_chain_set(struct relay_chain *chain, struct cert *const *certs, size_t count);
/* False if nothing is known. *ret is valid until relay_chain_free. */
bool relay_chain_get(struct relay_chain *chain, const struct cfg_certs **ret, struct err *err);
/* As PEM; false if nothing is known. */
bool relay_chain_remember(struct relay_chain *chain, struct buf *memory);
/* Unless something is known already. */
void relay_chain_recall(struct relay_chain *chain, struct bytes memory);
/* Whether the certificate's issuer is among them. */
bool relay_chain_issued(struct relay_chain *chain, const struct cert *cert);

/* Whether our certificate is good for now; ERR_UPSTREAM says since when it is not. */
bool relay_client_check(const struct relay_client *client, struct err *err) MUST_USE;

#endif
