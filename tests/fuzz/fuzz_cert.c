#include "base/cert.h"

#include <stdint.h>

/* Parses anything as a cert, and looks at what came of it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cert *cert;
    struct err err;
    if (!cert_parse(bytes_of(data, size), &cert, &err))
        return 0;
    struct buf text = BUF_INIT(1u << 16);
    if (!names_san_text(cert_names_get(cert), &text))
        buf_clear(&text);
    (void)cert_is_self_signed(cert);
    buf_free(&text);
    cert_free(cert);
    return 0;
}
