/* One digest for everything that is the same subject and the same SANs. */
#ifndef BASE_IDENTITY_H
#define BASE_IDENTITY_H

#include "base/names.h"

#define IDENTITY_LEN 32

/* SHA-256 over subject and SANs, equal for names that names_subject_equal and names_san_equal call
 * equal: case, spaces and string type of attributes, case of DNS names, order and repetition of
 * SANs do not matter (RFC 5280 section 7.1). */
bool identity_digest(const struct names *names, uint8_t out[IDENTITY_LEN],
                     struct err *err) MUST_USE;

#endif
