#include "ra/keygen.h"

#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>

#define RSA_STEP 1024 /* sizes in between are nobody's */
#define RSA_DEFAULT_MIN 2048
#define RSA_DEFAULT_MAX 4096

/* 2048, 3072, ...: the smallest of these that is not below the wish, within the profile's range. */
static int rsa_bits(const struct cfg_keys *keys, int wish)
{
    int64_t min = keys->any ? RSA_DEFAULT_MIN : keys->rsa_min;
    int64_t max = keys->any ? RSA_DEFAULT_MAX : keys->rsa_max;
    int64_t bits = ((int64_t)wish + RSA_STEP - 1) / RSA_STEP * RSA_STEP;
    if (bits < min)
        bits = min;
    return (int)(bits > max ? max : bits);
}

static bool curve_allowed(const struct cfg_keys *keys, const char *curve)
{
    static const char *const usual[] = {"P-256", "P-384", "P-521"};
    for (size_t i = 0; keys->any && i < sizeof usual / sizeof usual[0]; i++)
        if (strcmp(usual[i], curve) == 0)
            return true;
    for (size_t i = 0; i < keys->ec.count; i++)
        if (strcmp(keys->ec.items[i], curve) == 0)
            return true;
    return false;
}

bool keygen_plan(const struct cfg_keys *keys, const struct spki *wish, struct keygen_plan *ret,
                 struct err *err)
{
    *ret = (struct keygen_plan){.kind = wish->kind};
    switch (wish->kind) {
    case SPKI_RSA:
        if (!keys->any && !keys->rsa_max)
            break;
        ret->bits = rsa_bits(keys, wish->bits);
        return true;
    case SPKI_EC:
        if (!curve_allowed(keys, wish->curve))
            break;
        ret->curve = wish->curve;
        return true;
    case SPKI_ED25519:
        if (keys->ed25519)
            return true;
        break;
    default:
        break;
    }
    return err_set(err, ERR_PEER, "no key of kind %s%s%s is made for this profile",
                   spki_kind_name(wish->kind), wish->curve ? " on " : "",
                   wish->curve ? wish->curve : "");
}

bool keygen_key(const struct keygen_plan *plan, EVP_PKEY **ret, struct err *err)
{
    switch (plan->kind) {
    case SPKI_RSA:
        *ret = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)plan->bits);
        break;
    case SPKI_EC:
        *ret = EVP_PKEY_Q_keygen(NULL, NULL, "EC", plan->curve);
        break;
    case SPKI_ED25519:
        *ret = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    default:
        return err_set(err, ERR_BUG, "a key of kind %s cannot be made", spki_kind_name(plan->kind));
    }
    return *ret || err_openssl(err, ERR_LOCAL, "making a key");
}

/* A key identifier was made from the key that is ignored. */
static bool add_extensions(X509_REQ *req, const struct csr *wish)
{
    const STACK_OF(X509_EXTENSION) *asked = csr_extensions_get(wish);
    STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    bool ok = list;
    for (int i = 0; ok && i < sk_X509_EXTENSION_num(asked); i++) {
        X509_EXTENSION *extension = sk_X509_EXTENSION_value(asked, i);
        if (OBJ_obj2nid(X509_EXTENSION_get_object(extension)) != NID_subject_key_identifier)
            ok = sk_X509_EXTENSION_push(list, extension) > 0;
    }
    ok = ok && (!sk_X509_EXTENSION_num(list) || X509_REQ_add_extensions(req, list) == 1);
    sk_X509_EXTENSION_free(list); /* what it holds is the wish's */
    return ok;
}

static const EVP_MD *digest_of(const EVP_PKEY *key)
{
    int type = EVP_PKEY_get_base_id(key);
    if (type == EVP_PKEY_ED25519)
        return NULL;
    return type == EVP_PKEY_EC && EVP_PKEY_get_bits(key) > 256 ? EVP_sha384() : EVP_sha256();
}

bool keygen_csr(const struct csr *wish, EVP_PKEY *key, struct csr **ret, struct err *err)
{
    struct bytes subject = buf_bytes(&csr_names_get(wish)->subject);
    const unsigned char *p = subject.ptr;
    X509_NAME *name = d2i_X509_NAME(NULL, &p, (long)subject.len);
    X509_REQ *req = X509_REQ_new();
    unsigned char *der = NULL;
    int len = -1;
    if (name && req && X509_REQ_set_version(req, X509_REQ_VERSION_1) &&
        X509_REQ_set_subject_name(req, name) && X509_REQ_set_pubkey(req, key) &&
        add_extensions(req, wish) && X509_REQ_sign(req, key, digest_of(key)) > 0)
        len = i2d_X509_REQ(req, &der);
    bool ok = len > 0 ? csr_parse(bytes_of(der, (size_t)len), ret, err)
                      : err_openssl(err, ERR_LOCAL, "making a CSR for a new key");
    OPENSSL_free(der);
    X509_REQ_free(req);
    X509_NAME_free(name);
    return ok;
}
