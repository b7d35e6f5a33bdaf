/* Public keys whose private keys are known, such as Debian's of 2006 to 2008 (CVE-2008-0166). */
#ifndef BASE_BLOCKLIST_H
#define BASE_BLOCKLIST_H

#include "base/spki.h"

struct blocklist;

#define BLOCKLIST_FILE_MAX ((size_t)64 << 20)
#define BLOCKLIST_MAX ((size_t)4 << 20) /* keys */

/* text: a line a key, in hexadecimal: 20 digits as in Debian's openssl-blacklist, the end of the
 * SHA-1 of "Modulus=HEX\n" as openssl rsa -modulus prints it; or 64 digits, the SHA-256 of the
 * SubjectPublicKeyInfo. Empty lines and those that begin with # are left out. Adds to *ret, which
 * is made if it is NULL and which the caller owns either way. ERR_CONFIG names the line. */
bool blocklist_add(struct bytes text, struct blocklist **ret, struct err *err) MUST_USE;
void blocklist_free(struct blocklist *list); /* NULL is allowed */
size_t blocklist_count(const struct blocklist *list);

/* Whether the key is on the list; NULL: no list. Thread-safe once nothing is added any more. */
bool blocklist_holds(const struct blocklist *list, const struct spki *spki);

#endif
