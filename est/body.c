#include "est/body.h"

#include "base/der.h"
#include "base/pem.h"
#include "base/text.h"

#include <string.h>

#define COLUMNS 64

enum est_layout est_body_layout(struct bytes body)
{
    if (body.len > 1 && body.ptr[0] == DER_SEQUENCE &&
        body.ptr[1] >= 0x80) /* "0" of base64 is 0x30 */
        return EST_LAYOUT_DER;
    return body.len && memmem(body.ptr, body.len, "-----BEGIN", strlen("-----BEGIN"))
               ? EST_LAYOUT_PEM
               : EST_LAYOUT_BASE64;
}

/* Whatever wraps it, to DER. */
static bool unwrap(struct bytes body, struct buf *der, struct err *err)
{
    enum est_layout layout = est_body_layout(body);
    if (layout == EST_LAYOUT_DER)
        return buf_set(der, body) || err_set(err, ERR_PEER, "a body of %zu bytes", body.len);
    body = bytes_trim(body); /* not before: DER may end in what looks like white space */
    if (body.len == 0)
        return err_set(err, ERR_PEER, "an empty body");
    if (layout == EST_LAYOUT_PEM)
        return pem_csr_decode(body, der) ||
               err_set(err, ERR_PEER, "PEM without a well-formed certificate request");
    return text_base64_decode(body, TEXT_BASE64_SPACE, der, err);
}

bool est_body_csr(struct bytes body, struct csr **ret, struct err *err)
{
    struct buf der = BUF_SECRET(CSR_MAX); /* it may hold a challengePassword */
    bool ok = unwrap(body, &der, err) && csr_parse(buf_bytes(&der), ret, err);
    buf_free(&der);
    return ok;
}

bool est_body_decode(struct bytes body, struct buf *der, struct err *err)
{
    if (est_body_layout(body) == EST_LAYOUT_PEM)
        return err_set(err, ERR_PEER, "a body in PEM");
    return unwrap(body, der, err);
}

bool est_body_base64(struct bytes der, bool one_line, struct buf *out)
{
    return text_base64_encode(der, one_line ? 0 : COLUMNS, out) &&
           (!one_line || buf_add_u8(out, '\n'));
}

bool est_body_certs(const struct bytes *certs, size_t count, bool one_line, struct buf *out)
{
    struct buf der = {0};
    bool ok = pem_certs_only_encode(certs, count, &der) &&
              est_body_base64(buf_bytes(&der), one_line, out);
    buf_free(&der);
    return ok;
}
