#include "tests/support/revocation_make.h"
#include "tests/support/must.h"

#include "base/clock.h"

#include <openssl/ocsp.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static X509_NAME *common_name(const char *text)
{
    X509_NAME *name = X509_NAME_new();
    MUST(strncmp(text, "CN=", 3) == 0 &&
         X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)text + 3, -1,
                                    -1, 0));
    return name;
}

static X509_EXTENSION *odd_extension(int nid)
{
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    MUST(ASN1_OCTET_STRING_set(value, (const unsigned char *)"\x05\x00", 2));
    X509_EXTENSION *extension = X509_EXTENSION_create_by_NID(NULL, nid, 1, value);
    MUST(extension);
    ASN1_OCTET_STRING_free(value);
    return extension;
}

static void add_entries(X509_CRL *crl, const struct crl_spec *spec, int64_t at)
{
    for (size_t i = 0; i < spec->count; i++) {
        X509_REVOKED *entry = X509_REVOKED_new();
        ASN1_INTEGER *serial = ASN1_INTEGER_new();
        ASN1_TIME *time = ASN1_TIME_set(NULL, at);
        MUST(ASN1_INTEGER_set_int64(serial, spec->serials[i]) &&
             X509_REVOKED_set_serialNumber(entry, serial) &&
             X509_REVOKED_set_revocationDate(entry, time));
        if (spec->entry_nid) {
            X509_EXTENSION *extension = odd_extension(spec->entry_nid);
            MUST(X509_REVOKED_add_ext(entry, extension, -1));
            X509_EXTENSION_free(extension);
        }
        MUST(X509_CRL_add0_revoked(crl, entry));
        ASN1_INTEGER_free(serial);
        ASN1_TIME_free(time);
    }
}

static struct buf taken(unsigned char *der, int len)
{
    struct buf out = {0};
    MUST(len > 0 && buf_set(&out, bytes_of(der, (size_t)len)));
    OPENSSL_free(der);
    return out;
}

/* md NULL: SHA-256, where there is a choice. */
static EVP_MD_CTX *signing(EVP_PKEY *key, const EVP_MD *md, bool pss)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *key_ctx;
    if (!md && EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519)
        md = EVP_sha256();
    MUST(EVP_DigestSignInit(ctx, &key_ctx, md, NULL, key) == 1);
    if (pss)
        MUST(EVP_PKEY_CTX_set_rsa_padding(key_ctx, RSA_PKCS1_PSS_PADDING) == 1);
    return ctx;
}

struct buf make_crl(const struct crl_spec *spec)
{
    X509_CRL *crl = X509_CRL_new();
    X509_NAME *issuer = common_name(spec->issuer);
    int64_t from = spec->this_update ? spec->this_update : clock_now() - 3600;
    int64_t until = spec->next_update ? spec->next_update : clock_now() + 86400;
    ASN1_TIME *time = ASN1_TIME_set(NULL, from);
    MUST(crl && X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
         X509_CRL_set_issuer_name(crl, issuer) && X509_CRL_set1_lastUpdate(crl, time));
    ASN1_TIME_free(time);
    time = ASN1_TIME_set(NULL, until);
    if (spec->next_update != -1)
        MUST(X509_CRL_set1_nextUpdate(crl, time));
    ASN1_TIME_free(time);
    add_entries(crl, spec, from);
    for (const char *const *at = spec->extensions; at && *at; at += 2) {
        X509V3_CTX ctx;
        X509V3_set_ctx(&ctx, NULL, NULL, NULL, crl, 0);
        X509_EXTENSION *extension = X509V3_EXT_nconf(NULL, &ctx, at[0], at[1]);
        if (!extension)
            fprintf(stderr, "%s = %s\n", at[0], at[1]);
        MUST(extension && X509_CRL_add_ext(crl, extension, -1));
        X509_EXTENSION_free(extension);
    }
    EVP_MD_CTX *ctx = signing(spec->key, spec->md, spec->pss);
    MUST(X509_CRL_sort(crl) && X509_CRL_sign_ctx(crl, ctx) > 0);
    EVP_MD_CTX_free(ctx);
    unsigned char *der = NULL;
    int len = i2d_X509_CRL(crl, &der);
    X509_NAME_free(issuer);
    X509_CRL_free(crl);
    return taken(der, len);
}

static void add_answer(OCSP_BASICRESP *basic, const struct ocsp_spec *spec, int status)
{
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, spec->subject, spec->issuer);
    int64_t from = spec->this_update ? spec->this_update : clock_now();
    int64_t until = spec->next_update ? spec->next_update : clock_now() + 3600;
    ASN1_TIME *at = ASN1_TIME_set(NULL, from), *end = ASN1_TIME_set(NULL, until);
    bool revoked = status == V_OCSP_CERTSTATUS_REVOKED;
    OCSP_SINGLERESP *single =
        OCSP_basic_add1_status(basic, id, status, revoked ? OCSP_REVOKED_STATUS_KEYCOMPROMISE : 0,
                               revoked ? at : NULL, at, spec->next_update == -1 ? NULL : end);
    MUST(single);
    if (spec->cutoff) {
        ASN1_GENERALIZEDTIME *cutoff = ASN1_GENERALIZEDTIME_set(NULL, spec->cutoff);
        MUST(OCSP_SINGLERESP_add1_ext_i2d(single, NID_id_pkix_OCSP_archiveCutoff, cutoff, 0, 0));
        ASN1_GENERALIZEDTIME_free(cutoff);
    }
    OCSP_CERTID_free(id);
    ASN1_TIME_free(at);
    ASN1_TIME_free(end);
}

struct buf make_ocsp(const struct ocsp_spec *spec)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    const unsigned char *p = spec->request.ptr;
    OCSP_REQUEST *request =
        spec->request.len ? d2i_OCSP_REQUEST(NULL, &p, (long)spec->request.len) : NULL;
    add_answer(basic, spec, spec->status);
    if (spec->also)
        add_answer(basic, spec, spec->also - 1);
    if (request)
        MUST(OCSP_copy_nonce(basic, request) == 1);
    if (spec->other_nonce)
        MUST(OCSP_basic_add1_nonce(basic, NULL, -1) == 1);
    if (spec->critical) {
        X509_EXTENSION *extension = odd_extension(NID_friendlyName);
        MUST(OCSP_BASICRESP_add_ext(basic, extension, -1));
        X509_EXTENSION_free(extension);
    }
    EVP_MD_CTX *ctx = signing(spec->key, spec->md, spec->pss);
    MUST(OCSP_basic_sign_ctx(basic, spec->signer ? spec->signer : spec->issuer, ctx, NULL, 0) == 1);
    EVP_MD_CTX_free(ctx);
    OCSP_RESPONSE *response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    unsigned char *der = NULL;
    int len = i2d_OCSP_RESPONSE(response, &der);
    OCSP_RESPONSE_free(response);
    OCSP_REQUEST_free(request);
    OCSP_BASICRESP_free(basic);
    return taken(der, len);
}
