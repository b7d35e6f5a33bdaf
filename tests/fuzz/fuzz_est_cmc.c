#include "base/der.h"
#include "est/cmc.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct bytes whole, struct bytes part)
{
    if (part.len && (part.ptr < whole.ptr || part.ptr + part.len > whole.ptr + whole.len))
        abort();
}

static void try_crmf(struct bytes der)
{
    struct csr *csr;
    enum est_cmc_fail fail;
    struct err err;
    if (!est_crmf_csr(der, &csr, &fail, &err))
        return;
    if (csr_is_signed(csr) || csr_pop_check(csr, &err))
        abort();
    csr_free(csr);
}

/* What signatures would keep from a fuzzer is tried as if it were signed: the first byte chooses a
 * whole message, a PKIData or a CRMF request. Parts lie inside, within the ceilings. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    struct est_cmc_message message;
    enum est_cmc_fail fail;
    struct err err;
    uint8_t what;
    if (!bytes_take_u8(&in, &what))
        return 0;
    if (what == 'M') {
        if (est_cmc_open(in, &message, &fail, &err) && !message.signer)
            abort();
        est_cmc_message_clear(&message);
    } else if (what == 'D') {
        struct est_cmc_data *parts = mem_zalloc(sizeof *parts);
        bool ok = est_cmc_parse(in, parts, &err);
        for (size_t i = 0; ok && i < parts->control_count; i++)
            inside(in, parts->controls[i].values);
        for (size_t i = 0; ok && i < parts->request_count; i++) {
            inside(in, parts->requests[i].der);
            if (parts->requests[i].kind == EST_CMC_CRMF)
                try_crmf(parts->requests[i].der);
        }
        free(parts);
    } else {
        try_crmf(in);
    }
    return 0;
}
