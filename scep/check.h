/* The structure of pkiMessages as byte ranges, found before OpenSSL sees them. Internal to scep/.
 */
#ifndef SCEP_CHECK_H
#define SCEP_CHECK_H

#include "base/names.h"
#include "scep/password.h"

/* Borrowed ranges of a SignedData that has the right shape. */
struct scep_signed {
    struct bytes certs[SCEP_CERTS_MAX]; /* whole certificates */
    size_t cert_count;
    struct bytes issuer; /* of the signer's identifier: DER Name; empty: ski counts */
    struct bytes serial; /* content of the INTEGER */
    struct bytes ski;
    int digest;              /* NID of the SignerInfo's digestAlgorithm */
    int signature;           /* NID of its signatureAlgorithm */
    struct bytes attributes; /* content of signedAttrs */
};
/* False: not of that shape; algorithms are only named, not judged. */
bool scep_signed_take(struct bytes der, struct scep_signed *ret, struct err *err) MUST_USE;
/* Whether both algorithms are on our list; md5: MD5 with RSA is, too. */
bool scep_signed_algs_known(const struct scep_signed *found, bool md5);
/* Whether the attributes of CMS itself are there once, of their types, and say that the content is
 * data (RFC 5652 sections 11.1 and 11.2). OpenSSL does not look at what contentType says, and its
 * PKCS#7 half has taken the type of messageDigest on trust. */
bool scep_signed_attributes_fine(const struct scep_signed *found);

#define SCEP_RECIPIENTS_MAX 8
struct scep_recipient {
    struct bytes issuer, serial, ski; /* as above */
};
/* Its recipients are either keys or one password. */
struct scep_enveloped {
    struct scep_recipient recipients[SCEP_RECIPIENTS_MAX];
    size_t recipient_count;
    bool by_password;
    struct scep_pwri pwri; /* if by_password */
    int cipher;            /* NID */
    struct bytes iv;       /* a block of it */
    struct der encrypted;  /* [0] OCTET STRING, primitive or in segments */
};
bool scep_enveloped_take(struct bytes der, enum scep_ciphers ciphers, struct scep_enveloped *ret,
                         struct err *err) MUST_USE;

/* For the operator: "issuer CN=x, serial 0a1b" or "key identifier 0a1b"; cut where it is long. */
#define SCEP_RECIPIENT_TEXT_MAX 224
void scep_recipient_text(const struct scep_recipient *id, char out[SCEP_RECIPIENT_TEXT_MAX]);

/* Whether an identifier (issuer and serial, or key identifier) names this certificate. */
bool scep_names_cert(const struct scep_recipient *id, const struct cert *cert);

#endif
