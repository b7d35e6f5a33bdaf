/* Public keys whose private keys can be computed from them. */
#ifndef BASE_WEAK_H
#define BASE_WEAK_H

#include "base/spki.h"

/* False (ERR_PEER) with what is wrong: an RSA key with an exponent below 65537, of the form that
 * Infineon's library made (ROCA, CVE-2017-15361), with a small factor, or whose primes lie so close
 * together that Fermat's method finds them. Other kinds have no such keys: spki_parse refuses
 * points off their curve. */
bool weak_check(const struct spki *spki, struct err *err) MUST_USE;

#endif
