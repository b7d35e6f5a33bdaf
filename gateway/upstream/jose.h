/* What JSON calls signatures (RFC 7515, 7517, 7638): for ACME's requests and step-ca's tokens. */
#ifndef GATEWAY_UPSTREAM_JOSE_H
#define GATEWAY_UPSTREAM_JOSE_H

#include "base/json.h"

#include <openssl/evp.h>

/* RFC 7515 section 2: base64url without padding. */
bool jose_encode(struct bytes in, struct buf *out) MUST_USE;

/* One of both. A key is of P-256 (ES256), Ed25519 (EdDSA, RFC 8037) or RSA of at least 2048 bits
 * (RS256); a secret makes HS256. Borrowed. */
struct jose_signer {
    EVP_PKEY *key;
    struct bytes secret;
};

/* "ES256", "EdDSA", "RS256" or "HS256"; NULL if it can sign by none of them. */
const char *jose_alg(const struct jose_signer *signer);
/* The public key, its members in the order of RFC 7638 section 3, so that printed compactly it is
 * what the thumbprint is of. NULL if it is of another kind. */
struct json *jose_jwk(EVP_PKEY *key) MUST_USE;
/* base64url of its SHA-256. */
bool jose_thumbprint(EVP_PKEY *key, struct buf *out) MUST_USE;

/* header: an object; `alg` is added to it. Compact: HEADER.PAYLOAD.SIGNATURE (RFC 7515 section
 * 7.1); flattened: the JSON of section 7.2.2. */
bool jose_sign_compact(const struct jose_signer *signer, struct json *header, struct bytes payload,
                       struct buf *out, struct err *err) MUST_USE;
/* The caller frees *ret. */
bool jose_sign_flat(const struct jose_signer *signer, struct json *header, struct bytes payload,
                    struct json **ret, struct err *err) MUST_USE;

#endif
