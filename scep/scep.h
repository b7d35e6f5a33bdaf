/* SCEP (RFC 8894) vocabulary shared by both sides of the codec. */
#ifndef SCEP_SCEP_H
#define SCEP_SCEP_H

#include "base/cert.h"

enum scep_type {
    SCEP_CERTREP = 3,
    SCEP_RENEWALREQ = 17,
    SCEP_PKCSREQ = 19,
    SCEP_CERTPOLL = 20,
    SCEP_GETCERT = 21,
    SCEP_GETCRL = 22,
};

enum scep_status { SCEP_SUCCESS = 0, SCEP_FAILURE = 2, SCEP_PENDING = 3 };

enum scep_fail {
    SCEP_BAD_ALG = 0,
    SCEP_BAD_MESSAGE_CHECK = 1,
    SCEP_BAD_REQUEST = 2,
    SCEP_BAD_TIME = 3,
    SCEP_BAD_CERT_ID = 4,
};

#define SCEP_NONCE_LEN 16
#define SCEP_MSG_MAX ((size_t)128 << 10)
#define SCEP_TXN_MAX 256
#define SCEP_DEPTH_MAX 32
#define SCEP_CERTS_MAX 8

/* Content ciphers that are taken: each with those before it. */
enum scep_ciphers {
    SCEP_CIPHERS_AES = 0,
    SCEP_CIPHERS_DES3,
    SCEP_CIPHERS_DES, /* of CAs that know nothing else; broken */
};

/* A key pair that messages are addressed to and signed with. Borrowed. */
struct scep_key {
    const struct cert *cert;
    EVP_PKEY *key;
};

/* An EVP digest or cipher by NID, as the peer used them; replies mirror them. */
struct scep_algs {
    int digest; /* NID_sha256, ... */
    int cipher; /* NID_aes_128_cbc, ... */
};

/* A secret that both sides know, and how it closes an envelope (RFC 8894 section 3.1). */
struct scep_password {
    struct bytes secret; /* borrowed */
    int prf;             /* NID_hmacWithSHA256, ... */
    int cipher;          /* NID of the key encryption key's */
    int iterations;
};

#endif
