#include "base/pem.h"
#include "scep/msg.h"

#include <openssl/err.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A message that is accepted is whole; one that is refused can be answered or leaves nothing. What
 * an algorithm is refused for is looked at again where MD5 is taken. */
static void parse(struct bytes der, bool md5)
{
    struct scep_msg *msg = NULL;
    struct err err = {0};
    enum scep_fail fail = SCEP_BAD_TIME;
    bool partial;
    bool ok = md5 ? scep_msg_parse_md5(der, &msg, &partial, &fail, &err)
                  : scep_msg_parse(der, &msg, &partial, &fail, &err);
    bool again = !ok && fail == SCEP_BAD_ALG && !md5;
    if (!ok && (err.kind != ERR_PEER || !err.text[0]))
        abort();
    if ((ok || partial) != (msg != NULL))
        abort();
    if (msg && (!scep_msg_txn_get(msg).len || scep_msg_txn_get(msg).len > SCEP_TXN_MAX))
        abort();
    if (ok && (!scep_msg_signer_get(msg) || scep_msg_type_get(msg) > 99))
        abort();
    uint32_t hresult;
    if (msg && scep_msg_fail_text_get(msg).len > SCEP_TEXT_MAX)
        abort();
    if (msg)
        (void)scep_msg_hresult_get(msg, &hresult);
    scep_msg_free(msg);
    if (again)
        parse(der, true);
}

static void decode(struct bytes der)
{
    struct cert **certs = NULL;
    size_t count = 0;
    struct err err = {0};
    if (scep_certs_decode(der, &certs, &count, &err)) {
        if (count > SCEP_CERTS_MAX)
            abort();
        pem_certs_free(certs, count);
    } else if (certs || count || err.kind != ERR_PEER) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(bytes_of(data, size), false);
    decode(bytes_of(data, size));
    if (ERR_peek_error())
        abort();
    return 0;
}
