/* Client families: what some devices need that others do not bear. Internal to scep/. */
#ifndef SCEP_FAMILY_H
#define SCEP_FAMILY_H

#include "scep/door.h"

struct scep_family {
    const char *name;            /* as scep.client has it; logs */
    const struct cfg_told *told; /* what GetCACert tells, in this order */
    enum cfg_scep_chain chain;   /* what a CertRep holds */
    enum cfg_nonce nonce;        /* how long ours are */
    enum cfg_scep_legacy needs;  /* old algorithms that it knows nothing better than */
    bool fail_text;              /* a FAILURE may hold a failInfoText */
    bool other_signer;           /* signs with another key than the CSR's */
};

/* What a call shows of its client. */
struct scep_signs {
    struct bytes user_agent;   /* or empty */
    struct bytes query;        /* raw query string */
    const struct cert *signer; /* of a message; or NULL */
};

/* The family that scep.client names, or the one that shows: never NULL. */
const struct scep_family *scep_family_find(const struct cfg_scep *conf,
                                           const struct scep_signs *signs);

/* The same for a call, whose note it goes to. signer: of its message; or NULL. */
const struct scep_family *scep_family_of(const struct scep_call *call, const struct cert *signer,
                                         struct scep_reply *reply);

/* The profile's own settings win over the family's. */
enum cfg_scep_chain scep_family_chain(const struct cfg_scep *conf,
                                      const struct scep_family *family);
bool scep_family_fail_text(const struct cfg_scep *conf, const struct scep_family *family);
/* What GetCACert tells. */
struct cfg_told scep_family_told(const struct cfg_scep *conf, const struct scep_family *family);
/* How many octets our nonce has in the answer to one of `theirs`. */
size_t scep_family_nonce(const struct cfg_scep *conf, const struct scep_family *family,
                         size_t theirs);
/* Whether messages may be signed with another key than the CSR's. Anybody can look like such a
 * client, and whoever captured an envelope could sign it anew: so only where the profile names the
 * family.
 */
bool scep_family_other_signer(const struct cfg_scep *conf);

#endif
