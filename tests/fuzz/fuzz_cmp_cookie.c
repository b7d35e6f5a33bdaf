#include "base/der.h"
#include "gateway/upstream/cmp_session.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read lies inside; written again it is read as the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cmp_cookie was, again;
    struct buf out = {0};
    if (!cmp_cookie_read(bytes_of(data, size), &was))
        return 0;
    size_t total = was.tid.len + was.csr.len + was.answers[0].len + was.answers[1].len;
    if (total > size || !der_add(&out, DER_OCTET_STRING, was.tid) ||
        !der_add(&out, DER_OCTET_STRING, was.csr) ||
        !der_add(&out, DER_OCTET_STRING, was.answers[0]) ||
        (was.answers[1].len && !der_add(&out, DER_OCTET_STRING, was.answers[1])) ||
        !cmp_cookie_read(buf_bytes(&out), &again) || !bytes_equal(was.tid, again.tid) ||
        !bytes_equal(was.csr, again.csr) || !bytes_equal(was.answers[0], again.answers[0]) ||
        !bytes_equal(was.answers[1], again.answers[1]))
        abort();
    buf_free(&out);
    return 0;
}
