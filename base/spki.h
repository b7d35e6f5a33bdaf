/* SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) without OpenSSL's generic decoder, which costs
 * 100 us a key and contends between threads. */
#ifndef BASE_SPKI_H
#define BASE_SPKI_H

#include "base/bytes.h"

#include <openssl/evp.h>

enum spki_kind { SPKI_RSA = 0, SPKI_EC, SPKI_ED25519, SPKI_ED448, SPKI_OTHER, SPKI_KIND_COUNT };

#define SPKI_DIGEST_LEN 32

struct spki {
    enum spki_kind kind;
    int bits;
    const char *curve; /* EC: "P-256", "P-384", "P-521" or OpenSSL's short name; else NULL */
    struct buf der;
    uint8_t digest[SPKI_DIGEST_LEN]; /* SHA-256 of der; RSA and EC: of its canonical form */
    EVP_PKEY *key;                   /* NULL for SPKI_OTHER */
};

/* Refused (ERR_PEER): malformed, trailing bytes, RSA with parameters other than NULL, with a
 * modulus above SPKI_RSA_BITS_MAX or an exponent that is even, below 3 or longer than 64 bits, a
 * point off its curve, at infinity or in hybrid form, Ed25519 and Ed448 with parameters. An
 * algorithm we do not know is SPKI_OTHER, not an error. */
#define SPKI_RSA_BITS_MAX 8192
bool spki_parse(struct bytes der, struct spki *ret, struct err *err) MUST_USE;
void spki_clear(struct spki *spki);
bool spki_equal(const struct spki *a, const struct spki *b);
const char *spki_kind_name(enum spki_kind kind); /* "rsa", "ec", "ed25519", "ed448", "other" */

#endif
