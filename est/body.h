/* EST message bodies: liberal in, exact out (RFC 7030 section 4, RFC 8951 section 3). */
#ifndef EST_BODY_H
#define EST_BODY_H

#include "base/csr.h"

enum est_layout { EST_LAYOUT_BASE64 = 0, EST_LAYOUT_DER, EST_LAYOUT_PEM };

/* How a body looks. */
enum est_layout est_body_layout(struct bytes body);
/* base64 in any layout, PEM, or raw DER. Content-Transfer-Encoding plays no part. */
bool est_body_csr(struct bytes body, struct csr **ret, struct err *err) MUST_USE;
/* base64 in any layout, or raw DER. */
bool est_body_decode(struct bytes body, struct buf *der, struct err *err) MUST_USE;
/* DER in base64: lines of 64, or one line, with a final newline either way. */
bool est_body_base64(struct bytes der, bool one_line, struct buf *out) MUST_USE;
/* certs-only PKCS#7 in base64: lines of 64, or one line, with a final newline either way. */
bool est_body_certs(const struct bytes *certs, size_t count, bool one_line,
                    struct buf *out) MUST_USE;

#endif
