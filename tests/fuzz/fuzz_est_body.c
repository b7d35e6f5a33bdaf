#include "est/body.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A body that is accepted holds one CSR, which parses again from what was kept of it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct csr *csr, *again;
    struct err err;
    if (!est_body_csr(bytes_of(data, size), &csr, &err))
        return 0;
    if (!est_body_csr(csr_der_get(csr), &again, &err))
        abort();
    if (!bytes_equal(csr_der_get(csr), csr_der_get(again)))
        abort();
    if (csr_pop_check(csr, &err) != csr_pop_check(again, &err))
        abort();
    csr_free(again);
    csr_free(csr);
    return 0;
}
