/* PasswordRecipientInfo (RFC 5652 section 6.2.4): a content key for whoever knows a password, by
 * PBKDF2 (RFC 8018 section 5.2) and the key wrap of RFC 3211. None of it goes through OpenSSL's CMS
 * functions, which have read beyond a wrapped key. Internal to scep/. */
#ifndef SCEP_PASSWORD_H
#define SCEP_PASSWORD_H

#include "base/der.h"
#include "scep/scep.h"

#define SCEP_PWRI_TAG DER_CONTEXT_CONSTRUCTED(3)

/* OpenSSL's own default is 2048. Whoever sends one has not proved anything yet, and each of the
 * profile's fixed challenges is tried: for all of them together there are no more than
 * SCEP_PWRI_WORK_MAX, which is OpenSSL's default for as many as a profile may have. */
#define SCEP_PWRI_ITERATIONS_MIN 1000
#define SCEP_PWRI_ITERATIONS_MAX 20000
#define SCEP_PWRI_WORK_MAX 32768
#define SCEP_PWRI_SALT_MIN 8
#define SCEP_PWRI_SALT_MAX 64
#define SCEP_PWRI_WRAPPED_MAX 64 /* 1 + 3 + 32 octets, in whole blocks, and some padding */

/* Borrowed ranges; every part is within these bounds. */
struct scep_pwri {
    struct bytes salt;
    int iterations;
    int prf;    /* NID_hmacWithSHA1, ... */
    int cipher; /* NID of the key encryption key's */
    struct bytes iv;
    struct bytes wrapped; /* at least two blocks */
};
/* One RecipientInfo; the cursor stands behind it. */
bool scep_pwri_take(struct bytes *cur, enum scep_ciphers ciphers, struct scep_pwri *ret) MUST_USE;

/* The content key, if the password is right: false, and key untouched, if it is not. Which of its
 * checks failed does not show in the time. */
bool scep_pwri_unwrap(const struct scep_pwri *pwri, struct bytes password, uint8_t *key,
                      size_t len) MUST_USE;
/* Appends a RecipientInfo with fresh salt and IV. */
bool scep_pwri_add(struct buf *out, const struct scep_password *by, struct bytes key) MUST_USE;

#endif
