/* The signed attributes of a pkiMessage (RFC 8894 section 3.2.1). Internal to scep/. */
#ifndef SCEP_ATTRS_H
#define SCEP_ATTRS_H

#include "base/bytes.h"

enum scep_attr {
    SCEP_ATTR_TYPE = 0,
    SCEP_ATTR_STATUS,
    SCEP_ATTR_FAIL,
    SCEP_ATTR_SENDER_NONCE,
    SCEP_ATTR_RECIPIENT_NONCE,
    SCEP_ATTR_TXN,
    SCEP_ATTR_FAIL_TEXT,
    SCEP_ATTR_CONTENT_TYPE,   /* of CMS itself (RFC 5652 section 11.1) */
    SCEP_ATTR_MESSAGE_DIGEST, /* the same, section 11.2 */
    SCEP_ATTR_HRESULT,        /* Microsoft's szOID_ENROLL_SCEP_ERROR, of NDES in a FAILURE */
    SCEP_ATTR_COUNT,
};

/* The OBJECT IDENTIFIER's content octets. */
struct bytes scep_attr_oid(enum scep_attr attr);

/* Content of the attribute's one value if it occurs exactly once, has exactly one value, and that
 * has the right string type; else false. attributes: content of signedAttrs. */
bool scep_attr_find(struct bytes attributes, enum scep_attr attr, struct bytes *ret) MUST_USE;
/* A decimal number of one or two digits without leading zeros; -1 otherwise. */
int scep_attr_number(struct bytes attributes, enum scep_attr attr);
/* One Attribute with one value onto buf. */
bool scep_attr_add(struct buf *buf, enum scep_attr attr, struct bytes value) MUST_USE;

#endif
