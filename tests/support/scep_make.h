/* pkiMessages and envelopes as no honest client writes them: every part can be left out, doubled or
 * wrong. Everything aborts if OpenSSL fails. */
#ifndef TESTS_SUPPORT_SCEP_MAKE_H
#define TESTS_SUPPORT_SCEP_MAKE_H

#include "base/cert.h"

#define SCEP_MAKE_NONE (-1) /* for a NID: the part is left out */

/* Zero means: as it should be. signer and key are required. */
struct scep_make {
    const char *type;        /* text of messageType; NULL: left out */
    struct bytes txn, nonce; /* ptr NULL: left out */
    struct bytes more;       /* whole Attributes behind the others */
    int content_type;        /* NID in the contentType attribute, or SCEP_MAKE_NONE */
    bool wrong_digest;       /* messageDigest of something else */
    struct bytes content;    /* ptr NULL: left out */
    int outer_type;          /* NID of the eContentType */
    const struct cert *signer;
    EVP_PKEY *key;
    const struct bytes *certs; /* the bag; NULL: the signer's certificate alone */
    size_t cert_count;
    int digest;    /* NID; 0: SHA-256 */
    int signature; /* NID of the signatureAlgorithm; 0: rsaEncryption, or ECDSA with the digest */
    bool by_ski;
    bool unsorted; /* attributes in the order above instead of that of DER */
    bool no_attributes;
    int signers; /* SignerInfos; 0: one; SCEP_MAKE_NONE: none */
};
void scep_make(const struct scep_make *make, struct buf *der);

/* How an envelope is broken; none of these can be seen without the key. */
enum scep_make_fault {
    SCEP_MAKE_FINE = 0,
    SCEP_MAKE_BAD_BLOCK, /* transport key: not a PKCS#1 block of type 2 */
    SCEP_MAKE_SHORT_KEY, /* transport key: one octet less than the cipher's */
    SCEP_MAKE_WRONG_KEY, /* transport key: another one */
    SCEP_MAKE_BAD_PAD,   /* content: last octet 0 */
    SCEP_MAKE_LONG_PAD,  /* content: last octet beyond the block */
    SCEP_MAKE_FAULT_COUNT,
};
struct scep_make_envelope {
    const struct cert *recipient;
    int cipher; /* NID; 0: AES-128-CBC */
    int oaep;   /* NID of the digest; 0: PKCS#1 v1.5 */
    int mask;   /* NID of the digest of OAEP's mask; 0: the same */
    bool whole; /* OAEP's parameters are all written, also those that have a default */
    bool by_ski;
    size_t recipients; /* 0: one */
    enum scep_make_fault fault;
};
void scep_make_envelope(const struct scep_make_envelope *make, struct bytes plain, struct buf *der);

/* The same ContentInfo as Apple's and BouncyCastle's clients write it: indefinite lengths and
 * OCTET STRINGs in segments. */
void scep_make_indefinite(struct bytes der, struct buf *out);

#endif
