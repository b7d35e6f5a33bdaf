#include "base/clock.h"
#include "base/crl.h"
#include "tests/support/pki_make.h"

#include <stdint.h>
#include <stdlib.h>

#define NOW INT64_C(2000000000)
#define YEAR INT64_C(31536000)

static EVP_PKEY *key;
static X509 *ca, *cert;

static void prepare(void)
{
    static const uint8_t zeros[32];
    if (key)
        return;
    clock_set(NOW);
    key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, zeros, sizeof zeros);
    ca = make_x509(
        &(struct make_spec){
            .subject = "CN=ca", .ca = true, .not_before = NOW - YEAR, .not_after = NOW + YEAR},
        key, NULL, NULL);
    cert = make_x509(
        &(struct make_spec){
            .subject = "CN=d", .serial = 7, .not_before = NOW - YEAR, .not_after = NOW + YEAR},
        key, ca, key);
}

static void parse(struct bytes der, bool must)
{
    struct crl_terms terms = {ca, NOW};
    struct crl *crl = NULL;
    struct err err;
    bool other;
    if (!crl_parse(der, &terms, &crl, &other, &err)) {
        if (crl || err.kind != ERR_PEER || (must && other))
            abort();
        return;
    }
    (void)crl_lists(crl, cert);
    (void)crl_covers(crl, cert, NOW);
    if (other || crl_next_update(crl) <= NOW || crl_this_update(crl) > NOW + 300)
        abort();
    crl_free(crl);
}

/* Parses anything as a CRL, as it came and signed anew by its issuer, so that what is behind the
 * signature is reached; what is taken is valid now. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const unsigned char *p = data;
    unsigned char *der = NULL;
    prepare();
    parse(bytes_of(data, size), false);
    X509_CRL *crl = d2i_X509_CRL(NULL, &p, (long)size);
    if (crl && X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca)) == 1 &&
        X509_CRL_sign(crl, key, NULL) > 0) {
        int len = i2d_X509_CRL(crl, &der);
        if (len > 0)
            parse(bytes_of(der, (size_t)len), true);
        OPENSSL_free(der);
    }
    X509_CRL_free(crl);
    return 0;
}
