/* The query string of a SCEP GET. Internal to scep/. */
#ifndef SCEP_QUERY_H
#define SCEP_QUERY_H

#include "base/bytes.h"

enum scep_operation {
    SCEP_OP_NONE = 0, /* there is no operation= */
    SCEP_OP_GETCACAPS,
    SCEP_OP_GETCACERT,
    SCEP_OP_GETNEXTCACERT,
    SCEP_OP_PKIOPERATION,
    SCEP_OP_UNKNOWN,
};

enum scep_operation scep_query_operation(struct bytes query);
const char *scep_operation_name(enum scep_operation operation);

/* The raw value of the first parameter of that name. */
bool scep_query_value(struct bytes query, const char *name, struct bytes *ret) MUST_USE;

/* The message of a GET PKIOperation as bytes, however the client escaped its base64: RFC 4648
 * section 4 then percent-encoded, or twice, or not at all, or with the URL alphabet. False if it is
 * not there or not base64. */
bool scep_query_message(struct bytes query, struct buf *der, struct err *err) MUST_USE;

#endif
