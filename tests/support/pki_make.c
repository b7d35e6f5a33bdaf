#include "tests/support/pki_make.h"
#include "tests/support/must.h"

#include <fcntl.h>
#include <ftw.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

EVP_PKEY *make_rsa(int bits)
{
    EVP_PKEY *key = EVP_RSA_gen((unsigned)bits);
    MUST(key);
    return key;
}

EVP_PKEY *make_ec(const char *curve)
{
    EVP_PKEY *key = EVP_EC_gen(curve);
    MUST(key);
    return key;
}

EVP_PKEY *make_ed25519(void)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    MUST(key);
    return key;
}

static X509_NAME *make_name(const char *text)
{
    struct names names;
    struct err err;
    MUST(names_parse_text(text, NULL, 0, &names, &err));
    const unsigned char *p = names.subject.ptr;
    X509_NAME *name = d2i_X509_NAME(NULL, &p, (long)names.subject.len);
    MUST(name);
    names_clear(&names);
    return name;
}

static void add_extension(STACK_OF(X509_EXTENSION) * list, const char *name, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, NULL, NULL, NULL, NULL, X509V3_CTX_TEST);
    X509_EXTENSION *extension = X509V3_EXT_nconf(NULL, &ctx, name, value);
    MUST(extension && sk_X509_EXTENSION_push(list, extension));
}

static STACK_OF(X509_EXTENSION) * make_extensions(const struct make_spec *spec)
{
    STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    MUST(list);
    if (spec->ca)
        add_extension(list, "basicConstraints", "critical,CA:TRUE");
    if (spec->sans)
        add_extension(list, "subjectAltName", spec->sans);
    if (spec->eku)
        add_extension(list, "extendedKeyUsage", spec->eku);
    if (spec->key_usage)
        add_extension(list, "keyUsage", spec->key_usage);
    for (const char *const *p = spec->extensions; p && *p; p += 2)
        add_extension(list, p[0], p[1]);
    return list;
}

static const EVP_MD *digest_for(EVP_PKEY *key)
{
    return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
}

static void set_serial(X509 *x509)
{
    uint8_t octets[16];
    MUST(RAND_bytes(octets, sizeof octets) == 1);
    octets[0] = (uint8_t)((octets[0] & 0x7f) | 1);
    BIGNUM *serial = BN_bin2bn(octets, sizeof octets, NULL);
    MUST(serial && BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x509)));
    BN_free(serial);
}

X509 *make_x509(const struct make_spec *spec, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *x509 = X509_new();
    X509_NAME *subject = make_name(spec->subject);
    time_t now = time(NULL);
    MUST(x509 && X509_set_version(x509, X509_VERSION_3));
    if (spec->serial)
        MUST(ASN1_INTEGER_set_int64(X509_get_serialNumber(x509), spec->serial));
    else
        set_serial(x509);
    MUST(X509_set_subject_name(x509, subject) &&
         X509_set_issuer_name(x509, issuer ? X509_get_subject_name(issuer) : subject));
    MUST(ASN1_TIME_set(X509_getm_notBefore(x509),
                       spec->not_before ? spec->not_before : now - 3600) &&
         ASN1_TIME_set(X509_getm_notAfter(x509), spec->not_after ? spec->not_after : now + 86400));
    MUST(X509_set_pubkey(x509, key));
    STACK_OF(X509_EXTENSION) *extensions = make_extensions(spec);
    for (int i = 0; i < sk_X509_EXTENSION_num(extensions); i++)
        MUST(X509_add_ext(x509, sk_X509_EXTENSION_value(extensions, i), -1));
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    if (!issuer_key)
        issuer_key = key;
    MUST(X509_sign(x509, issuer_key, digest_for(issuer_key)));
    X509_NAME_free(subject);
    return x509;
}

X509_REQ *make_req(const struct make_spec *spec, EVP_PKEY *key)
{
    X509_REQ *req = X509_REQ_new();
    X509_NAME *subject = make_name(spec->subject);
    MUST(req && X509_REQ_set_version(req, 0) && X509_REQ_set_subject_name(req, subject) &&
         X509_REQ_set_pubkey(req, key));
    if (spec->challenge)
        MUST(X509_REQ_add1_attr_by_NID(
            req, NID_pkcs9_challengePassword,
            spec->challenge_type ? spec->challenge_type : V_ASN1_PRINTABLESTRING,
            (const unsigned char *)spec->challenge, (int)strlen(spec->challenge)));
    STACK_OF(X509_EXTENSION) *extensions = make_extensions(spec);
    if (sk_X509_EXTENSION_num(extensions))
        MUST(X509_REQ_add_extensions(req, extensions));
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    MUST(X509_REQ_sign(req, key,
                       spec->digest ? EVP_get_digestbyname(spec->digest) : digest_for(key)));
    X509_NAME_free(subject);
    return req;
}

struct cert *make_cert(const struct make_spec *spec, EVP_PKEY *key, X509 *issuer,
                       EVP_PKEY *issuer_key)
{
    struct cert *cert;
    struct err err;
    X509 *x509 = make_x509(spec, key, issuer, issuer_key);
    MUST(cert_from_x509(x509, &cert, &err));
    X509_free(x509);
    return cert;
}

struct buf make_req_der(const struct make_spec *spec, EVP_PKEY *key)
{
    X509_REQ *req = make_req(spec, key);
    unsigned char *der = NULL;
    struct buf buf = {0};
    int len = i2d_X509_REQ(req, &der);
    MUST(len > 0 && buf_set(&buf, bytes_of(der, (size_t)len)));
    OPENSSL_free(der);
    X509_REQ_free(req);
    return buf;
}

struct csr *make_csr(const struct make_spec *spec, EVP_PKEY *key)
{
    struct csr *csr;
    struct err err;
    struct buf der = make_req_der(spec, key);
    if (!csr_parse(buf_bytes(&der), &csr, &err)) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    buf_free(&der);
    return csr;
}

void make_cert_file(const char *path, X509 *x509)
{
    FILE *file = fopen(path, "w");
    MUST(file && PEM_write_X509(file, x509));
    fclose(file);
}

void make_key_file(const char *path, EVP_PKEY *key)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    MUST(file && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
    fclose(file);
}

void make_dir(char path[64])
{
    snprintf(path, 64, "/tmp/scepter-test-XXXXXX");
    MUST(mkdtemp(path));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

void make_dir_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
