/* How a private key that was made reaches its device (RFC 7030 section 4.4). Internal to est/. */
#ifndef EST_KEYGEN_H
#define EST_KEYGEN_H

#include "base/csr.h"
#include "config/config.h"

enum est_wrap_kind {
    EST_WRAP_NONE = 0, /* in the clear, inside TLS */
    EST_WRAP_SHARED,   /* encrypted with a key that both sides have */
    EST_WRAP_CERT,     /* encrypted to the certificate that the device presents */
};

/* Borrowed from what it was chosen from. */
struct est_wrap {
    enum est_wrap_kind kind;
    const struct cfg_shared_key *shared;
    const struct cert *recipient;
    int cipher; /* NID, of the content */
    bool oaep;  /* EST_WRAP_CERT with an RSA key */
};

/* What a device brings. */
struct est_wrap_wish {
    const struct csr *csr;
    const struct cert *peer; /* its key is proved; or NULL */
    bool tls;                /* TLS ends here */
};

/* As the CSR's DecryptKeyIdentifier, AsymmetricDecryptKeyIdentifier and SMIMECapabilities say, and
 * the profile allows. False (ERR_PEER): an identifier that nobody knows, a certificate that nothing
 * may be encrypted to, no cipher that both sides have, or nothing to encrypt with where that is
 * needed. Never falls back to sending a key in the clear. */
bool est_wrap_choose(const struct cfg_est *est, const struct est_wrap_wish *wish,
                     struct est_wrap *ret, struct err *err) MUST_USE;

#define EST_KEYGEN_TYPE "multipart/mixed; boundary=estServerKeygen"

/* The body of that type: the key, and a certificate as simpleenroll has it. out is a secret buffer.
 * signer: of the key, if it is encrypted. */
struct est_keygen {
    const struct est_wrap *wrap;
    EVP_PKEY *key;
    struct bytes cert;
    const struct cfg_identity *signer;
    bool one_line;
};
bool est_keygen_body(const struct est_keygen *what, struct buf *out, struct err *err) MUST_USE;

#endif
