/* Certificates that the gateway did not issue, judged by the anchors of a profile. Internal to ra/.
 */
#ifndef RA_ANCHOR_H
#define RA_ANCHOR_H

#include "ra/request.h"

enum ra_standing {
    RA_STRANGER = 0, /* chains to no anchor of the profile */
    RA_TRUSTED,      /* chains to one, and is not revoked as far as the anchor asks */
    RA_REVOKED,      /* it or what is above it, short of the anchor */
    RA_UNCHECKED,    /* hard_fail, and whether it is revoked could not be learnt */
};

/* What a holder's certificate is to the profile's anchors, at this moment. */
struct ra_foreign {
    enum ra_standing standing;
    const struct cfg_anchor *anchor; /* unless RA_STRANGER */
    const struct cert *root;         /* the certificate of it that the chain ends in */
    char detail[RA_DETAIL_MAX];      /* why not; RA_TRUSTED: why it was not checked, or "" */
};

/* Chains, validity, purpose and revocation; what the certificate then may ask for is not judged.
 * The first anchor that it chains to decides, explicit ones first. Past its notAfter a certificate
 * of an explicit anchor is judged as if it were valid. known: it counts by itself, in the inventory
 * or as a registrar's, so what it is good for does not matter, only whether it is revoked. */
void ra_foreign_judge(const struct ra_request *request, bool known, struct ra_foreign *ret);

/* "explicit" or "implicit". */
const char *ra_anchor_class_name(const struct cfg_anchor *anchor);
/* Whether the names of the CSR follow from a certificate of this implicit anchor. */
bool ra_anchor_names_fit(const struct cfg_anchor *anchor, const struct cert *holder,
                         const struct csr *csr, struct err *err) MUST_USE;

#endif
