#include "base/csr.h"

#include <stdint.h>

/* Parses anything as a csr, and looks at what came of it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct csr *csr;
    struct err err;
    if (!csr_parse(bytes_of(data, size), &csr, &err))
        return 0;
    struct buf text = BUF_INIT(1u << 16);
    if (!names_san_text(csr_names_get(csr), &text))
        buf_clear(&text);
    (void)!csr_pop_check(csr, &err);
    buf_free(&text);
    csr_free(csr);
    return 0;
}
