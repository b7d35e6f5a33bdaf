/* Full CMC requests made at test time (RFC 5272, 4211). Everything aborts if it does not fit. */
#ifndef TESTS_SUPPORT_CMC_MAKE_H
#define TESTS_SUPPORT_CMC_MAKE_H

#include "tests/support/pki_make.h"

#define CMC_TRANSACTION "1.3.6.1.5.5.7.7.5"
#define CMC_SENDER_NONCE "1.3.6.1.5.5.7.7.6"
#define CMC_RECIPIENT_NONCE "1.3.6.1.5.5.7.7.7"
#define CMC_QUERY "1.3.6.1.5.5.7.7.21"
#define CMC_PKI_DATA "1.3.6.1.5.5.7.12.2"

/* The sequences of a PKIData; what is added becomes their content. */
struct cmc {
    struct buf controls, requests, nested;
};
void cmc_free(struct cmc *cmc);

void cmc_add_control(struct cmc *cmc, uint32_t id, const char *oid, struct bytes value);
void cmc_add_pkcs10(struct cmc *cmc, uint32_t id, struct bytes csr);
/* orm [2]: a request in another form. */
void cmc_add_other(struct cmc *cmc, uint32_t id);
void cmc_add_nested(struct cmc *cmc, uint32_t id);

/* CertReqMsg for "CN=device". */
struct cmc_crmf {
    EVP_PKEY *key;         /* in the template */
    EVP_PKEY *signer;      /* of the proof; NULL: the same */
    int popo;              /* 1 signature, 0 raVerified, -1 none */
    const char *extension; /* DER of an Extension in hex, or NULL */
    const char *field;     /* more of the template, DER in hex, or NULL */
    bool controls, reg_info;
};
void cmc_add_crmf(struct cmc *cmc, uint32_t id, const struct cmc_crmf *crmf);
/* The content of the CertReqMsg alone. */
struct buf cmc_crmf_make(uint32_t id, const struct cmc_crmf *crmf);

struct buf cmc_data(const struct cmc *cmc);

struct cmc_sign {
    X509 *cert;
    EVP_PKEY *key;
    const char *type; /* of the content; NULL: PKIData */
    const EVP_MD *md; /* NULL: SHA-256 */
    bool no_cert;     /* without the certificate */
    int64_t time;     /* signingTime; 0: now */
    unsigned flags;   /* more of CMS_sign's */
    X509 *second;     /* another signer, with the same key */
    X509 *along;      /* a certificate that signs nothing */
};
struct buf cmc_sign(struct bytes data, const struct cmc_sign *how);

#endif
