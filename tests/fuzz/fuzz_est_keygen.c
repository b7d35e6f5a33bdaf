#include "est/keygen.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A CSR of anybody's: what is chosen is a key that the configuration has, or none where the CSR
 * names none. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t id[] = "device-1", key[CFG_SHARED_KEY_LEN];
    static struct cfg_shared_key shared = {{.ptr = id, .len = sizeof id - 1},
                                           {.ptr = key, .len = sizeof key}};
    const struct cfg_est est = {
        .keygen = CFG_KEYGEN_ALLOW, .shared_keys = &shared, .shared_key_count = 1};
    struct est_wrap_wish wish = {.tls = true};
    struct est_wrap wrap;
    struct csr *csr;
    struct err err;
    if (!csr_parse(bytes_of(data, size), &csr, &err))
        return 0;
    wish.csr = csr;
    if (est_wrap_choose(&est, &wish, &wrap, &err)) {
        bool names =
            memmem(data, size, "\x09\x10\x02\x25", 4) || memmem(data, size, "\x09\x10\x02\x36", 4);
        if (wrap.kind == EST_WRAP_CERT || (wrap.kind == EST_WRAP_SHARED && wrap.shared != &shared))
            abort();
        if (wrap.kind == EST_WRAP_SHARED && !names)
            abort();
    }
    csr_free(csr);
    return 0;
}
