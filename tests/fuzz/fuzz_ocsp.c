#include "base/clock.h"
#include "base/ocsp.h"
#include "tests/support/pki_make.h"

#include <openssl/ocsp.h>
#include <stdint.h>
#include <stdlib.h>

#define NOW INT64_C(2000000000)
#define YEAR INT64_C(31536000)

static EVP_PKEY *key;
static X509 *ca;
static struct ocsp_question *question;

static void prepare(void)
{
    static const uint8_t zeros[32];
    struct err err;
    if (key)
        return;
    clock_set(NOW);
    key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, zeros, sizeof zeros);
    ca = make_x509(
        &(struct make_spec){
            .subject = "CN=ca", .ca = true, .not_before = NOW - YEAR, .not_after = NOW + YEAR},
        key, NULL, NULL);
    X509 *cert = make_x509(
        &(struct make_spec){
            .subject = "CN=d", .serial = 7, .not_before = NOW - YEAR, .not_after = NOW + YEAR},
        key, ca, key);
    if (!ocsp_question_new(cert, ca, &question, &err))
        abort();
    X509_free(cert);
}

static void read_one(struct bytes der)
{
    struct ocsp_answer answer = {0};
    struct err err;
    if (!ocsp_response_read(der, question, NOW, &answer, &err)) {
        if (err.kind != ERR_PEER)
            abort();
    } else if (answer.until <= NOW || answer.this_update > NOW + 300) {
        abort();
    }
}

static void read_signed(OCSP_BASICRESP *basic)
{
    unsigned char *der = NULL;
    if (OCSP_basic_sign(basic, ca, key, NULL, NULL, 0) != 1)
        return;
    OCSP_RESPONSE *response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    int len = response ? i2d_OCSP_RESPONSE(response, &der) : 0;
    if (len > 0)
        read_one(bytes_of(der, (size_t)len));
    OPENSSL_free(der);
    OCSP_RESPONSE_free(response);
}

/* Reads anything as an OCSP response, as it came and signed anew by the issuer, so that what is
 * behind the signature is reached; what is taken is valid now. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const unsigned char *p = data;
    prepare();
    read_one(bytes_of(data, size));
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, (long)size);
    OCSP_BASICRESP *basic = response ? OCSP_response_get1_basic(response) : NULL;
    if (basic)
        read_signed(basic);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return 0;
}
