/* What devices are told of a CA: its certificates, and only those that the operator would believe.
 * An upstream tells its chain with what it issues, or at an endpoint; whoever speaks for it there
 * must not be able to plant an anchor in devices. */
#ifndef RA_CHAIN_H
#define RA_CHAIN_H

#include "ra/request.h"

#define RA_CHAIN_MAX 32

/* Borrowed from the connector. */
struct ra_chain {
    const struct cert *certs[RA_CHAIN_MAX]; /* issuer of leaves first */
    size_t count;
    const struct cert *left_out; /* one that does not chain to the profile's trust, or NULL */
};

/* Of an upstream that may issue for the profile, by its index. A CA whose key we hold tells all; of
 * others what does not chain to profile->trust is left out, whatever its notAfter is. A root to
 * come chains by the certificate that an older root gave it (RFC 4210 section 4.4). False: nothing
 * is known, or nothing of it is left (ERR_UPSTREAM), or there is more than fits. */
bool ra_chain_told(const struct ra_settings *settings, const struct cfg_profile *profile,
                   size_t upstream, struct ra_chain *ret, struct err *err) MUST_USE;

/* For the log: what was left out, or "". */
#define RA_CHAIN_TEXT_MAX 200
void ra_chain_left_out(const struct ra_chain *chain, char ret[RA_CHAIN_TEXT_MAX]);

#endif
