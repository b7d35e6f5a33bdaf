/* OCSP (RFC 6960): one question about one certificate, and what the answer to it is worth. */
#ifndef BASE_OCSP_H
#define BASE_OCSP_H

#include "base/bytes.h"

#include <openssl/x509.h>

#define OCSP_RESPONSE_MAX ((size_t)64 << 10)

struct ocsp_question;

enum ocsp_status { OCSP_GOOD = 0, OCSP_REVOKED, OCSP_UNKNOWN };

struct ocsp_answer {
    enum ocsp_status status;
    int64_t this_update;
    int64_t until; /* when it is no longer valid; without a nextUpdate soon */
};

/* With a nonce. The caller frees *ret. */
bool ocsp_question_new(X509 *subject, X509 *issuer, struct ocsp_question **ret,
                       struct err *err) MUST_USE;
void ocsp_question_free(struct ocsp_question *question);              /* NULL is allowed */
struct bytes ocsp_question_der(const struct ocsp_question *question); /* borrowed */

/* der: untrusted. The response must be signed by the issuer's key, or by a certificate of it with
 * id-kp-OCSPSigning (RFC 6960 section 4.2.2.2), not over MD5 or SHA-1, be about this certificate
 * and valid at `now`; a nonce may be left out but not differ. Responders are not themselves checked
 * for revocation. A certificate that has expired is GOOD only if the archive cutoff reaches back to
 * its end (section 4.4.4), else UNKNOWN. False with ERR_PEER: it is no answer. */
bool ocsp_response_read(struct bytes der, const struct ocsp_question *question, int64_t now,
                        struct ocsp_answer *ret, struct err *err) MUST_USE;

#endif
