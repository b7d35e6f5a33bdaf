#include "scep/algs.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/provider.h>
#include <pthread.h>

bool scep_algorithm_add(struct buf *out, int nid, bool null)
{
    size_t start = out->len;
    return der_add_oid(out, nid) && (!null || der_add(out, DER_NULL, bytes_of(NULL, 0))) &&
           der_wrap(out, start, DER_SEQUENCE);
}

size_t scep_cipher_block(int nid, enum scep_ciphers ciphers)
{
    if (nid == NID_aes_128_cbc || nid == NID_aes_192_cbc || nid == NID_aes_256_cbc)
        return 16;
    return (ciphers >= SCEP_CIPHERS_DES3 && nid == NID_des_ede3_cbc) ||
                   (ciphers >= SCEP_CIPHERS_DES && nid == NID_des_cbc)
               ? 8
               : 0;
}

/* Never freed: the process ends with it. */
static pthread_once_t legacy_once = PTHREAD_ONCE_INIT;
static OSSL_LIB_CTX *legacy;
static EVP_CIPHER *des;

static void legacy_load(void)
{
    OSSL_LIB_CTX *ctx = OSSL_LIB_CTX_new();
    if (ctx && OSSL_PROVIDER_load(ctx, "default") && OSSL_PROVIDER_load(ctx, "legacy"))
        des = EVP_CIPHER_fetch(ctx, "DES-CBC", NULL);
    if (des)
        legacy = ctx;
    else
        OSSL_LIB_CTX_free(ctx);
    ERR_clear_error();
}

OSSL_LIB_CTX *scep_legacy_get(void)
{
    pthread_once(&legacy_once, legacy_load);
    return legacy;
}

const EVP_CIPHER *scep_cipher_get(int nid)
{
    if (nid != NID_des_cbc)
        return EVP_get_cipherbynid(nid);
    return scep_legacy_get() ? des : NULL;
}
