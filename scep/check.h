/* The structure of pkiMessages as byte ranges, found before OpenSSL sees them. Internal to scep/.
 */
#ifndef SCEP_CHECK_H
#define SCEP_CHECK_H

#include "base/cms.h"
#include "base/names.h"
#include "scep/password.h"

/* A SignedData over data, within the bounds of scep/scep.h; see cms_signed_take. */
bool scep_signed_take(struct bytes der, struct cms_signed *ret, struct err *err) MUST_USE;
/* Whether both algorithms are on our list; md5: MD5 with RSA is, too. */
bool scep_signed_algs_known(const struct cms_signed *found, bool md5);
/* Whether the attributes of CMS itself are there once, of their types, and say that the content is
 * data (RFC 5652 sections 11.1 and 11.2). OpenSSL does not look at what contentType says, and its
 * PKCS#7 half has taken the type of messageDigest on trust. */
bool scep_signed_attributes_fine(const struct cms_signed *found);

#define SCEP_RECIPIENTS_MAX 8
/* Its recipients are either keys or one password. */
struct scep_enveloped {
    struct cms_id recipients[SCEP_RECIPIENTS_MAX];
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
void scep_recipient_text(const struct cms_id *id, char out[SCEP_RECIPIENT_TEXT_MAX]);

#endif
