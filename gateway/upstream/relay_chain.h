/* What is known of a CA's certificates, whoever told it. */
#ifndef GATEWAY_UPSTREAM_RELAY_CHAIN_H
#define GATEWAY_UPSTREAM_RELAY_CHAIN_H

#include "base/cert.h"
#include "config/config.h"

/* A CA's certificates, which may change while others read them. Thread-safe. */
struct relay_chain;
struct relay_chain *relay_chain_new(const struct cfg_certs *known); /* copied; or NULL */
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

#endif
