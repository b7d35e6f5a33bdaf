/* The keys of a profile's RAs, as one message needs them. Internal to scep/. */
#ifndef SCEP_KEYS_H
#define SCEP_KEYS_H

#include "scep/door.h"

#define SCEP_KEYS_MAX ((CFG_SCEP_RAS_MAX + 1) * (CFG_RA_FORMER_MAX + 1))

/* Pair i of `open` decrypts what pair i of `sign` answers. The first is what GetCACert tells. */
struct scep_keys {
    struct scep_key open[SCEP_KEYS_MAX], sign[SCEP_KEYS_MAX];
    size_t count;
    size_t next; /* from this one on: of the CA to come; SIZE_MAX if there is none */
};

/* Borrowed from the call's settings. */
void scep_keys_take(const struct scep_call *call, struct scep_keys *ret);
/* Who answers what came encrypted to pair i of `open`: a device may know no other RA than the one
 * that it encrypted to. The first, once the certificate of that one has ended. */
const struct scep_key *scep_keys_signer(const struct scep_keys *keys, size_t i);

#endif
