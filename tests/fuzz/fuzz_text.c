#include "base/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Printable, and every quote has its backslash. */
static void check_escaped(const struct buf *out)
{
    bool quoted = false;
    for (size_t i = 0; i < out->len; i++) {
        uint8_t c = out->ptr[i];
        if (c < 0x20 || c > 0x7e || (c == '"' && !quoted))
            abort();
        quoted = c == '\\' && !quoted;
    }
    if (quoted)
        abort();
}

/* Base64 in each form, percent-decoding, hex and escaping of any bytes; what decodes strictly
 * encodes to the same text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum text_base64 forms[] = {TEXT_BASE64_STRICT, TEXT_BASE64_SPACE,
                                             TEXT_BASE64_LENIENT};
    struct bytes in = bytes_of(data, size);
    struct err err;
    for (unsigned i = 0; i < 3; i++) {
        struct buf out = BUF_INIT(1u << 16), again = BUF_INIT(1u << 17);
        if (text_base64_decode(in, forms[i], &out, &err) && forms[i] == TEXT_BASE64_STRICT &&
            (!text_base64_encode(buf_bytes(&out), 0, &again) ||
             !bytes_equal(buf_bytes(&again), in)))
            abort();
        buf_free(&out);
        buf_free(&again);
    }
    struct buf out = BUF_INIT(1u << 16), small = BUF_INIT(size % 64 + 1);
    if (text_percent_decode(in, &out) && out.len && memchr(out.ptr, 0, out.len))
        abort();
    buf_clear(&out);
    if (!text_unhex(in, &out) && out.len)
        abort();
    buf_clear(&out);
    text_escape(in, 1000, &out);
    text_escape(in, 1000, &small);
    check_escaped(&out);
    check_escaped(&small);
    buf_free(&out);
    buf_free(&small);
    return 0;
}
