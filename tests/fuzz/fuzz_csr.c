#include "base/csr.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Parses anything as a CSR; what is one is kept as it came, and its texts hold no NUL, no control
 * character and no byte of a SAN that is not ASCII. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    struct csr *csr;
    struct err err;
    if (!csr_parse(in, &csr, &err))
        return 0;
    const struct names *names = csr_names_get(csr);
    struct bytes challenge = csr_challenge_get(csr);
    if (!bytes_equal(csr_der_get(csr), in) ||
        (challenge.len && memchr(challenge.ptr, 0, challenge.len)))
        abort();
    for (size_t i = 0; i < names->attr_count; i++)
        for (const char *p = names->attrs[i].value; *p; p++)
            if ((uint8_t)*p < 0x20 || *p == 0x7f)
                abort();
    for (size_t i = 0; i < names->san_count; i++)
        for (const char *p = names->sans[i].text; *p; p++)
            if ((uint8_t)*p < 0x20 || (uint8_t)*p >= 0x7f)
                abort();
    struct buf text = BUF_INIT(1u << 16);
    if (!names_san_text(names, &text))
        buf_clear(&text);
    (void)!csr_pop_check(csr, &err);
    buf_free(&text);
    csr_free(csr);
    return 0;
}
