/* The TBSCertificate that the local CA signs (RFC 5280 section 4.1). */
#ifndef GATEWAY_UPSTREAM_TBS_H
#define GATEWAY_UPSTREAM_TBS_H

#include "gateway/upstream/local.h"

#define TBS_SERIAL_LEN 20

struct tbs_issuer {
    X509 *x509;    /* with its key: subject and key identifier are taken from it */
    int signature; /* NID of the signature algorithm */
};

/* DER of the TBSCertificate for a request that policy has allowed. */
bool tbs_encode(const struct local_options *options, const struct tbs_issuer *issuer,
                const struct up_order *order, struct buf *out, struct err *err) MUST_USE;
/* AlgorithmIdentifier: RSA has NULL parameters, ECDSA and EdDSA none (RFC 5758, RFC 4055). */
bool tbs_add_algorithm(struct buf *out, int signature) MUST_USE;

#endif
