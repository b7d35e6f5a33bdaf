/* A CMS SignedData (RFC 5652) from somebody who has proved nothing: its structure as byte ranges,
 * found before OpenSSL sees it, and its one signature. */
#ifndef BASE_CMS_H
#define BASE_CMS_H

#include "base/cert.h"
#include "base/der.h"

#define CMS_CERTS_MAX 16

/* NID of a whole OBJECT IDENTIFIER; NID_undef if OpenSSL does not know it. */
int cms_oid_nid(struct bytes whole);
bool cms_nid_in(const int *list, size_t count, int nid);
/* AlgorithmIdentifier: its NID, and its parameters (tag 0 if there are none). */
bool cms_algorithm_take(struct bytes *cur, int *nid, struct der *params) MUST_USE;
/* ContentInfo of this type, and nothing behind it: its content, which is a SEQUENCE. */
bool cms_content_take(struct bytes der, int type, struct der *content) MUST_USE;

/* Whom a SignerInfo or RecipientInfo names (sections 5.3 and 6.2.1). Borrowed. */
struct cms_id {
    struct bytes issuer; /* DER Name; empty: ski counts */
    struct bytes serial; /* content of the INTEGER */
    struct bytes ski;
};
bool cms_id_take(struct bytes *cur, struct cms_id *ret) MUST_USE;
bool cms_id_names(const struct cms_id *id, const struct cert *cert);

/* Borrowed ranges of a SignedData that has the right shape. */
struct cms_signed {
    struct bytes certs[CMS_CERTS_MAX]; /* whole certificates */
    size_t cert_count;
    struct cms_id signer;
    int digest;              /* NID of the SignerInfo's digestAlgorithm */
    int signature;           /* NID of its signatureAlgorithm */
    struct bytes attributes; /* content of signedAttrs */
};
/* type: NID of the content's type, whose content may be missing; certs_max: at most CMS_CERTS_MAX.
 * False: not whole, deeper than DER_DEPTH_MAX, not one SignerInfo with signed attributes.
 * Algorithms are only named, not judged. BER indefinite lengths are accepted. */
bool cms_signed_take(struct bytes der, int type, size_t certs_max, struct cms_signed *ret,
                     struct err *err) MUST_USE;

/* Signature and signed attributes by this certificate; the signed content goes to content. Shows
 * that whoever made it holds the key of `signer`, and nothing of who that is. OpenSSL is given this
 * certificate and may not look for one in the message, where it could find another. ERR_PEER. */
bool cms_signed_verify(struct bytes der, const struct cert *signer, struct buf *content,
                       struct err *err) MUST_USE;

#endif
