/* The ChangeSubjectName attribute of a renewal (RFC 6402 section 2.8). */
#ifndef BASE_CHANGE_H
#define BASE_CHANGE_H

#include "base/names.h"

#define CHANGE_OID "1.3.6.1.5.5.7.7.36"

/* der: one value of the attribute, untrusted: SEQUENCE { subject Name OPTIONAL, subjectAlt
 * GeneralNames OPTIONAL } with at least one of them, told apart by what they hold, or by the tag
 * [1] (implicit) of erratum 3943 before the second. *ret: the names that the new certificate is to
 * have; as the section says, an absent subject is empty, and without subjectAlt there is no
 * subjectAltName. The caller clears it. */
bool change_parse(struct bytes der, struct names *ret, struct err *err) MUST_USE;

#endif
