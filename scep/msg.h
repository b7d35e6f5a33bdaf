/* pkiMessages both ways (RFC 8894 section 3): decode in two steps, encode in one. */
#ifndef SCEP_MSG_H
#define SCEP_MSG_H

#include "base/csr.h"
#include "scep/scep.h"

/* Bounded look at the structure before OpenSSL's CMS functions see it: one SignedData over `data`,
 * at most SCEP_CERTS_MAX certificates, exactly one SignerInfo, algorithms on our list, depth and
 * sizes within bounds, no trailing bytes. BER indefinite lengths are accepted. */
bool scep_check_signed(struct bytes der, struct err *err) MUST_USE;
/* The same for an EnvelopedData: KeyTransRecipientInfos, RSA PKCS#1 v1.5 or OAEP with sane
 * parameters, or one PasswordRecipientInfo within the bounds of scep/password.h; content cipher one
 * of those, in CBC mode, whole blocks. */
bool scep_check_enveloped(struct bytes der, enum scep_ciphers ciphers, struct err *err) MUST_USE;

/* A pkiMessage whose outer signature has been verified. Immutable. */
struct scep_msg;

/* der: untrusted, borrowed, at most SCEP_MSG_MAX. Verifies the signature with the certificate that
 * the one SignerInfo names; says nothing about who that is. `*partial` is set to true when the
 * message was read well enough that transactionID and senderNonce are known although the signature
 * or an algorithm was refused: then *ret is set too and only scep_msg_txn_get, scep_msg_nonce_get
 * and scep_msg_algs_get may be used on it, to address a FAILURE. On true, *ret is whole. */
bool scep_msg_parse(struct bytes der, struct scep_msg **ret, bool *partial, enum scep_fail *fail,
                    struct err *err) MUST_USE;
/* The same for the answer to a message of ours. An answer may leave its signer's certificate out
 * (those of NDES that refuse do): then it is one of `known`. Whether a signer that it brings along
 * is one of them is the caller's to judge. On failure *ret is untouched. */
struct scep_known {
    struct cert *const *certs;
    size_t count;
};
bool scep_reply_parse(struct bytes der, const struct scep_known *known, struct scep_msg **ret,
                      struct err *err) MUST_USE;
/* The same, where MD5 is taken as well. */
bool scep_msg_parse_md5(struct bytes der, struct scep_msg **ret, bool *partial,
                        enum scep_fail *fail, struct err *err) MUST_USE;
void scep_msg_free(struct scep_msg *msg);

/* -1 if absent or not exactly one decimal number; unknown numbers are returned as they are. */
int scep_msg_type_get(const struct scep_msg *msg);
struct bytes scep_msg_txn_get(const struct scep_msg *msg); /* opaque, 1 to SCEP_TXN_MAX bytes */
struct bytes scep_msg_nonce_get(
    const struct scep_msg *msg); /* senderNonce, 8 to 64 bytes or empty */
struct cert *scep_msg_signer_get(const struct scep_msg *msg); /* borrowed */
/* The other certificates of the bag, of those that can be read; borrowed. They prove nothing. */
struct cert *const *scep_msg_along_get(const struct scep_msg *msg, size_t *count);
/* Which message this is: SHA-256 of the signer's key and of what was signed. Who has no part in the
 * signature cannot make another one of it. */
const uint8_t *scep_msg_digest_get(const struct scep_msg *msg);
struct scep_algs scep_msg_algs_get(const struct scep_msg *msg);
struct bytes scep_msg_content_get(const struct scep_msg *msg); /* the EnvelopedData, or empty */
int scep_msg_status_get(const struct scep_msg *msg);           /* CertRep only; -1 otherwise */
int scep_msg_fail_get(const struct scep_msg *msg);             /* failInfo; -1 if absent */
struct bytes scep_msg_recipient_nonce_get(const struct scep_msg *msg);
/* Text of a FAILURE (RFC 8894 section 3.2.1.4), at most SCEP_TEXT_MAX bytes, or empty. Untrusted.
 */
#define SCEP_TEXT_MAX 255
struct bytes scep_msg_fail_text_get(const struct scep_msg *msg);
/* The HRESULT by which NDES says why it refuses, as Microsoft writes it (0x80070057). False: there
 * is none, or it is no decimal number of 32 bits. */
bool scep_msg_hresult_get(const struct scep_msg *msg, uint32_t *ret);

/* The keys that a message may be addressed to, and what they may be used with. */
struct scep_opener {
    const struct scep_key *keys;
    size_t count;
    enum scep_ciphers ciphers;
};
/* Decrypts the content with whichever of the keys it is addressed to. Every failure to decrypt
 * looks alike: same kind, same text. On success content (secret) holds the plaintext and
 * *cipher the NID of its cipher. */
bool scep_msg_open(const struct scep_msg *msg, const struct scep_opener *opener,
                   struct buf *content, int *cipher, struct err *err) MUST_USE;
/* Whether the content is an envelope to one of the keys, as far as that shows without decrypting
 * it; *cipher is the NID of its cipher. */
bool scep_msg_addressed(const struct scep_msg *msg, const struct scep_opener *opener, int *cipher,
                        struct err *err) MUST_USE;
/* Which of the keys that is; NULL if it is none. */
const struct scep_key *scep_msg_key(const struct scep_msg *msg,
                                    const struct scep_opener *opener) MUST_USE;

/* Fixed challenges that envelopes may be made with, instead of keys (RFC 8894 section 3.1). */
struct scep_passwords {
    const struct buf *secrets;
    size_t count;
    enum scep_ciphers ciphers;
};
/* Whether the content is an envelope by password, of whatever ciphers. */
bool scep_msg_by_password(const struct scep_msg *msg);
/* Decrypts it with whichever of the passwords it was made with; every one is tried. Every failure
 * looks alike. content NULL: only the key is unwrapped. On success *by is that password with the
 * algorithms of its use, which may close the reply. *cipher as above. */
struct scep_opened {
    struct buf *content;
    int cipher;
    struct scep_password by;
};
bool scep_msg_open_password(const struct scep_msg *msg, const struct scep_passwords *passwords,
                            struct scep_opened *opened, struct err *err) MUST_USE;

/* Everything that one pkiMessage of either side says. */
struct scep_out {
    enum scep_type type;
    struct bytes txn;
    struct bytes sender_nonce;            /* SCEP_NONCE_LEN; fresh */
    struct bytes recipient_nonce;         /* CertRep: the request's senderNonce; else empty */
    enum scep_status status;              /* CertRep */
    enum scep_fail fail;                  /* CertRep with SCEP_FAILURE */
    const char *fail_text;                /* or NULL */
    struct bytes content;                 /* to be enveloped; ptr NULL: no envelope */
    const struct cert *recipient;         /* whom the envelope is for */
    const struct scep_password *password; /* what closes it, if the recipient has no RSA key */
    struct scep_algs algs;
    struct scep_key signer;
};

/* Definite-length DER; the signer's certificate alone in the bag; rsaEncryption as the signature
 * algorithm (strongSwan demands it). */
bool scep_msg_encode(const struct scep_out *out, struct buf *der, struct err *err) MUST_USE;

/* The IssuerAndSerialNumber of a GetCert or GetCRL (RFC 8894 section 3.3.4): one
 * SEQUENCE of a Name and a positive INTEGER, nothing behind it. issuer is borrowed; serial has room
 * for CERT_SERIAL_TEXT_MAX and is as cert_serial_get has it. */
bool scep_wanted_decode(struct bytes der, struct bytes *issuer, char *serial,
                        struct err *err) MUST_USE;

/* The client's half. The same content, for this certificate. */
bool scep_wanted_encode(const struct cert *cert, struct buf *der) MUST_USE;
/* issuer_and_subject of a CertPoll (RFC 8894 section 3.3.3). */
bool scep_poll_content(struct bytes issuer, struct bytes subject, struct buf *der) MUST_USE;
/* The certificates of a CertRep's opened content (a degenerate SignedData), in order; the caller
 * frees them with pem_certs_free. At most SCEP_CERTS_MAX. */
bool scep_certs_decode(struct bytes der, struct cert ***ret, size_t *count,
                       struct err *err) MUST_USE;

#endif
