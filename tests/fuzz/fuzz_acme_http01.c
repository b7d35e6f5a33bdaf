#include "gateway/upstream/acme_http01.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is answered is the token of a path that ends with it: whatever that is, no header and no
 * second answer can be made of it. The same bytes are read as a listener's address, too. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes line = bytes_of(data, size), token;
    struct buf text = {0};
    if (http01_parse(line, &token)) {
        if (token.ptr < data || token.ptr + token.len > data + size || !http01_token_fits(token))
            abort();
        for (size_t i = 0; i < token.len; i++)
            if (token.ptr[i] <= ' ' || token.ptr[i] >= 0x7f)
                abort();
    }
    if (buf_set(&text, line))
        (void)http01_check(buf_str(&text), NULL);
    buf_free(&text);
    return 0;
}
