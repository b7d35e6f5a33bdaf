/* Full CMC requests (RFC 5272, 5274, 6402), from bytes to parts. Internal to est/. */
#ifndef EST_CMC_H
#define EST_CMC_H

#include "base/cert.h"
#include "base/csr.h"

#define EST_CMC_MAX ((size_t)256 << 10)
#define EST_CMC_CONTROLS_MAX 16
#define EST_CMC_REQUESTS_MAX 8
#define EST_CMC_NESTED_MAX 8
#define EST_CMC_CERTS_MAX 16

/* CMCFailInfo (RFC 5272 section 6.1.4) */
enum est_cmc_fail {
    EST_CMC_BAD_ALG = 0,
    EST_CMC_BAD_MESSAGE_CHECK = 1,
    EST_CMC_BAD_REQUEST = 2,
    EST_CMC_BAD_TIME = 3,
    EST_CMC_UNSUPPORTED_EXT = 5,
    EST_CMC_BAD_IDENTITY = 7,
    EST_CMC_POP_REQUIRED = 8,
    EST_CMC_POP_FAILED = 9,
    EST_CMC_NO_KEY_REUSE = 10,
    EST_CMC_INTERNAL_CA_ERROR = 11,
    EST_CMC_TRY_LATER = 12,
};

/* A SignedData over PKIData whose one signature was verified. */
struct est_cmc_message {
    struct cert *signer;  /* whoever sent it holds its key; what it is worth is judged elsewhere */
    struct buf content;   /* PKIData; a secret, since a CSR may hold a challenge */
    int64_t signing_time; /* 0: it says none */
    /* The others that came with it, as far as they are well-formed; they prove nothing. */
    struct cert *along[EST_CMC_CERTS_MAX];
    size_t along_count;
};
/* der: untrusted. Definite or indefinite lengths; exactly one SignerInfo, whose certificate is in
 * the message; SHA-2 only. False with ERR_PEER and the code. The caller clears *ret either way. */
bool est_cmc_open(struct bytes der, struct est_cmc_message *ret, enum est_cmc_fail *fail,
                  struct err *err) MUST_USE;
void est_cmc_message_clear(struct est_cmc_message *message);

/* TaggedAttribute (RFC 5272 section 3.2.1.1) */
struct est_cmc_control {
    uint32_t id;
    int nid;             /* NID_undef: not one that OpenSSL knows */
    struct bytes values; /* content of the SET */
};
enum est_cmc_kind { EST_CMC_PKCS10 = 0, EST_CMC_CRMF, EST_CMC_OTHER };
struct est_cmc_request {
    uint32_t id;
    enum est_cmc_kind kind;
    struct bytes der; /* CertificationRequest, or the content of CertReqMsg; empty for others */
};
/* PKIData (RFC 5272 section 3.2.1), its parts borrowed from the content. */
struct est_cmc_data {
    struct est_cmc_control controls[EST_CMC_CONTROLS_MAX];
    size_t control_count;
    struct est_cmc_request requests[EST_CMC_REQUESTS_MAX];
    size_t request_count;
    uint32_t nested[EST_CMC_NESTED_MAX]; /* ids of messages inside */
    size_t nested_count;
};
/* False (ERR_PEER): not of that form, more parts than are handled, or an id twice. */
bool est_cmc_parse(struct bytes content, struct est_cmc_data *ret, struct err *err) MUST_USE;

/* Takes a body part's id: INTEGER (0..4294967295). */
bool est_cmc_take_id(struct bytes *cur, uint32_t *ret) MUST_USE;

/* A CSR of a CRMF request (RFC 4211): subject, public key and extensions of its template, with
 * a signature that is none (RFC 5272 appendix C.1), after the proof of possession has been
 * verified. der: the content of CertReqMsg. False with ERR_PEER and the code. The caller owns *ret.
 */
bool est_crmf_csr(struct bytes der, struct csr **ret, enum est_cmc_fail *fail,
                  struct err *err) MUST_USE;

#endif
