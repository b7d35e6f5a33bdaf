#include "base/cert.h"

#include <openssl/err.h>
#include <stdatomic.h>
#include <stdlib.h>

#define AUTH_LEVEL 1 /* X509_VERIFY_PARAM_set_auth_level(3): 80 bits */

struct trust {
    atomic_int count;
    X509_STORE *store;
};

struct trust *trust_new(struct cert *const *anchors, size_t count)
{
    struct trust *trust = mem_zalloc(sizeof *trust);
    trust->count = 1;
    trust->store = X509_STORE_new();
    if (!trust->store)
        err_no_memory();
    for (size_t i = 0; i < count; i++) {
        X509 *x509 = cert_keyed_get(anchors[i]);
        if (x509)
            X509_STORE_add_cert(trust->store, x509); /* twice the same is no error */
    }
    X509_STORE_set_flags(trust->store, X509_V_FLAG_PARTIAL_CHAIN);
    return trust;
}

struct trust *trust_ref(struct trust *trust)
{
    atomic_fetch_add(&trust->count, 1);
    return trust;
}

void trust_free(struct trust *trust)
{
    if (!trust || atomic_fetch_sub(&trust->count, 1) != 1)
        return;
    X509_STORE_free(trust->store);
    free(trust);
}

X509_STORE *trust_store_get(const struct trust *trust)
{
    return trust->store;
}

/* Tolerates an expired leaf; never an expired issuer or one that is not valid yet. */
static int allow_expired_leaf(int ok, X509_STORE_CTX *ctx)
{
    if (ok || X509_STORE_CTX_get_error(ctx) != X509_V_ERR_CERT_HAS_EXPIRED ||
        X509_STORE_CTX_get_error_depth(ctx) != 0)
        return ok;
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return 1;
}

static bool set_terms(X509_STORE_CTX *ctx, const struct trust_terms *terms)
{
    X509_STORE_CTX_set_time(ctx, 0, terms->at);
    if (terms->ignore_expiry)
        X509_STORE_CTX_set_verify_cb(ctx, allow_expired_leaf);
    if (!terms->client)
        return true;
    X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(ctx), AUTH_LEVEL);
    return X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) == 1;
}

/* As trust_path; the chain only if ret is not NULL. */
static bool verify(const struct trust *trust, const struct cert *leaf,
                   const struct trust_terms *terms, STACK_OF(X509) * *ret, struct err *err)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *extra = sk_X509_new_null();
    X509 *subject = cert_keyed_get(leaf); /* X509_verify_cert wants the leaf's key too */
    bool ok = false;
    if (!ctx || !extra)
        err_no_memory();
    for (size_t i = 0; i < terms->extra_count; i++) {
        X509 *x509 = cert_keyed_get(terms->extra[i]);
        if (x509 && !sk_X509_push(extra, x509))
            err_no_memory();
    }
    if (!X509_STORE_CTX_init(ctx, trust->store, subject, extra) || !set_terms(ctx, terms))
        err_no_memory();
    if (terms->client && cert_is_ca(leaf))
        err_set(err, ERR_PEER, "certificate %s of \"%s\" is a CA's", cert_serial_get(leaf),
                cert_names_get(leaf)->subject_text);
    else if (subject && X509_verify_cert(ctx) == 1)
        ok = true;
    else
        err_set(err, ERR_PEER, "certificate %s of \"%s\" does not chain to a trust anchor: %s",
                cert_serial_get(leaf), cert_names_get(leaf)->subject_text,
                X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    if (ok && ret && !(*ret = X509_STORE_CTX_get1_chain(ctx)))
        err_no_memory();
    ERR_clear_error();
    X509_STORE_CTX_free(ctx);
    sk_X509_free(extra);
    return ok;
}

bool trust_check(const struct trust *trust, const struct cert *leaf,
                 const struct trust_terms *terms, struct err *err)
{
    return verify(trust, leaf, terms, NULL, err);
}

bool trust_path(const struct trust *trust, const struct cert *leaf, const struct trust_terms *terms,
                STACK_OF(X509) * *ret, struct err *err)
{
    return verify(trust, leaf, terms, ret, err);
}
