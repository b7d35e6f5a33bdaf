#include "gateway/upstream/ndes.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is taken for a challenge is printable, stands whole on the page, and has a sane life. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf secret = {0};
    struct err err = {0};
    int64_t life = -1;
    if (ndes_page_read(bytes_of(data, size), &secret, &life, &err)) {
        if (!secret.secret || secret.len < NDES_SECRET_MIN || secret.len > NDES_SECRET_MAX ||
            secret.len >= size || life < 0)
            abort();
        for (size_t i = 0; i < secret.len; i++)
            if (secret.ptr[i] <= ' ' || secret.ptr[i] > '~' || strchr("<>&\"'", secret.ptr[i]))
                abort();
    } else if (secret.len || !err.text[0]) {
        abort();
    }
    buf_free(&secret);
    return 0;
}
