/* Full CMC replies (RFC 5272 section 4.2). Internal to est/. */
#ifndef EST_CMC_REPLY_H
#define EST_CMC_REPLY_H

#include "est/cmc.h"
#include "est/sign.h"

/* CMCStatus (RFC 5272 section 6.1.3) */
enum est_cmc_code {
    EST_CMC_SUCCESS = 0,
    EST_CMC_FAILED = 2,
    EST_CMC_PENDING = 3,
    EST_CMC_NO_SUPPORT = 4,
};

/* CMCStatusInfoV2 (RFC 5272 section 6.1.1) */
struct est_cmc_status {
    enum est_cmc_code code;
    const uint32_t *ids; /* of the request's body parts; 0: the whole of it */
    size_t id_count;
    const char *text;       /* statusString, or NULL */
    enum est_cmc_fail fail; /* EST_CMC_FAILED */
    struct bytes token;     /* EST_CMC_PENDING: pendToken; empty: no pendInfo */
    int64_t pend_time;
};

/* A PKIResponse under construction. Zero-initialise. */
struct est_cmc_out {
    struct buf controls;
    uint32_t last_id;
};

/* False: it is too large. value: a whole element. */
bool est_cmc_out_control(struct est_cmc_out *out, int nid, struct bytes value) MUST_USE;
bool est_cmc_out_status(struct est_cmc_out *out, const struct est_cmc_status *status) MUST_USE;
/* The signed message with the certs of *with (type and content are ours). */
bool est_cmc_out_sign(const struct est_cmc_out *out, const struct cfg_identity *signer,
                      struct est_signed with, struct buf *der, struct err *err) MUST_USE;
void est_cmc_out_clear(struct est_cmc_out *out);

#endif
