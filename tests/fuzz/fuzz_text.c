#include "base/text.h"

#include <stdint.h>
#include <stdlib.h>

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
    struct buf out = BUF_INIT(1u << 16);
    if (!text_percent_decode(in, &out) || !text_unhex(in, &out))
        buf_clear(&out);
    buf_clear(&out);
    text_escape(in, 1000, &out);
    for (size_t i = 0; i < out.len; i++)
        if (out.ptr[i] < 0x20 || out.ptr[i] > 0x7e)
            abort();
    buf_free(&out);
    return 0;
}
