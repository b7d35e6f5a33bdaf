#include "base/keyless.h"

#include "base/err.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>

static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
static OSSL_LIB_CTX *null_ctx; /* set once, holds only the provider that can do nothing */

static void make_null_ctx(void)
{
    null_ctx = OSSL_LIB_CTX_new();
    if (!null_ctx || !OSSL_PROVIDER_load(null_ctx, "null"))
        err_no_memory();
}

/* The context is the thread's default only while we parse. */
static OSSL_LIB_CTX *enter(void)
{
    if (!CRYPTO_THREAD_run_once(&once, make_null_ctx))
        err_no_memory();
    return OSSL_LIB_CTX_set0_default(null_ctx);
}

X509 *keyless_x509(const unsigned char *der, size_t len)
{
    const unsigned char *p = der;
    OSSL_LIB_CTX *old = enter();
    X509 *x509 = d2i_X509(NULL, &p, (long)len);
    OSSL_LIB_CTX_set0_default(old);
    if (x509 && p != der + len) {
        X509_free(x509);
        x509 = NULL;
    }
    return x509;
}

X509_REQ *keyless_req(const unsigned char *der, size_t len)
{
    const unsigned char *p = der;
    OSSL_LIB_CTX *old = enter();
    X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)len);
    OSSL_LIB_CTX_set0_default(old);
    if (req && p != der + len) {
        X509_REQ_free(req);
        req = NULL;
    }
    return req;
}
