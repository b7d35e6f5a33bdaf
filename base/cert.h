/* A parsed certificate: immutable, counted, parsed once. */
#ifndef BASE_CERT_H
#define BASE_CERT_H

#include "base/names.h"
#include "base/spki.h"

#include <openssl/x509.h>

struct cert;

#define CERT_MAX ((size_t)64 << 10)
#define CERT_SERIAL_TEXT_MAX 66 /* 32 octets in hex, and room for a sign and a NUL */

/* der: untrusted, at most CERT_MAX, no trailing bytes. The caller owns *ret (one count). */
bool cert_parse(struct bytes der, struct cert **ret, struct err *err) MUST_USE;
bool cert_from_x509(const X509 *x509, struct cert **ret, struct err *err) MUST_USE;
struct cert *cert_ref(struct cert *cert);
void cert_free(struct cert *cert); /* drops one count; NULL is allowed */

struct bytes cert_der_get(const struct cert *cert);
/* Borrowed: tbsCertificate, what the CA signed. It tells certificates apart: what is around it can
 * be written in other ways that are as good, by anybody. */
struct bytes cert_tbs_get(const struct cert *cert);
/* Borrowed. Its public key is not decoded: never X509_get0_pubkey, use cert_spki_get; nor
 * X509_verify_cert, use trust_check. Good for names, extensions and X509_check_*. */
X509 *cert_x509_get(const struct cert *cert);
/* Borrowed. The same with its key, for what OpenSSL verifies with it. Decoded at the first call
 * (100 us), kept after that. NULL if OpenSSL finds fault with it. */
X509 *cert_keyed_get(const struct cert *cert);
const struct spki *cert_spki_get(const struct cert *cert);
const struct names *cert_names_get(const struct cert *cert);
struct bytes cert_issuer_get(const struct cert *cert); /* DER of the issuer Name */
const char *cert_serial_get(const struct cert *cert); /* lower-case hex, even length, e.g. "0a1f" */
const uint8_t *cert_fingerprint_get(const struct cert *cert); /* SHA-256 of the DER, 32 bytes */
int64_t cert_not_before_get(const struct cert *cert);
int64_t cert_not_after_get(const struct cert *cert);
bool cert_is_ca(const struct cert *cert);          /* basicConstraints CA:TRUE */
bool cert_is_self_signed(const struct cert *cert); /* its own key verifies its signature */
/* Whether issuer has the name that subject names and a keyUsage that allows it, and its key
 * verifies subject's signature. */
bool cert_issued(const struct cert *issuer, const struct cert *subject);

/* Certificates that a chain may end in or pass through. Immutable, counted. */
struct trust;
/* Every certificate becomes an anchor (partial chains are allowed: an intermediate may be one). */
struct trust *trust_new(struct cert *const *anchors, size_t count) MUST_USE;
struct trust *trust_ref(struct trust *trust);
void trust_free(struct trust *trust);
/* How to judge a chain. */
struct trust_terms {
    struct cert *const *extra; /* certificates that the chain may pass through; may be NULL */
    size_t extra_count;
    int64_t at;         /* the time that counts */
    bool ignore_expiry; /* skips the leaf's notAfter, and nothing else */
    /* The leaf proves a client: it is no CA, its keyUsage and extendedKeyUsage allow that if they
     * are there; and no signature of the chain is by MD5 or SHA-1, no key below 80 bits of
     * security. */
    bool client;
};
/* Whether leaf chains to an anchor. False with ERR_PEER and the reason if it does not. */
bool trust_check(const struct trust *trust, const struct cert *leaf,
                 const struct trust_terms *terms, struct err *err) MUST_USE;
/* The same; *ret is the chain, leaf first, anchor last, to be freed with sk_X509_pop_free. */
bool trust_path(const struct trust *trust, const struct cert *leaf, const struct trust_terms *terms,
                STACK_OF(X509) * *ret, struct err *err) MUST_USE;
/* As an X509_STORE for TLS (borrowed). */
X509_STORE *trust_store_get(const struct trust *trust);

#endif
