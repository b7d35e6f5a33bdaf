/* Keys, certificates and requests made at test time. Everything aborts if OpenSSL fails. */
#ifndef TESTS_SUPPORT_PKI_MAKE_H
#define TESTS_SUPPORT_PKI_MAKE_H

#include "base/cert.h"
#include "base/csr.h"

EVP_PKEY *make_rsa(int bits);
EVP_PKEY *make_ec(const char *curve); /* "P-256" */
EVP_PKEY *make_ed25519(void);

/* What a certificate or a request is to hold. Zero and NULL mean: the usual. */
struct make_spec {
    const char *subject;   /* "CN=x,O=y", required */
    const char *sans;      /* OpenSSL's form: "DNS:a,IP:10.0.0.1" */
    const char *eku;       /* "clientAuth" */
    const char *key_usage; /* "digitalSignature,keyEncipherment" */
    bool ca;
    int64_t serial;                /* 0: a random one */
    int64_t not_before, not_after; /* 0: an hour ago, in a day */
    const char *challenge;         /* requests: challengePassword */
    int challenge_type;            /* V_ASN1_..., 0: PrintableString */
    const char *digest;            /* requests: that is signed, "SHA1" */
    const char *const *extensions; /* more, pairs of "name", "value" in OpenSSL's form; ends NULL */
};

/* key is the subject's; issuer NULL makes it self-signed. The caller owns what is returned. */
X509 *make_x509(const struct make_spec *spec, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key);
X509_REQ *make_req(const struct make_spec *spec, EVP_PKEY *key);

/* The same as the project's types. */
struct cert *make_cert(const struct make_spec *spec, EVP_PKEY *key, X509 *issuer,
                       EVP_PKEY *issuer_key);
struct csr *make_csr(const struct make_spec *spec, EVP_PKEY *key);
struct buf make_req_der(const struct make_spec *spec, EVP_PKEY *key);

/* PEM files; keys with mode 0600. */
void make_cert_file(const char *path, X509 *x509);
void make_key_file(const char *path, EVP_PKEY *key);

/* A folder of the test's own, removed with all in it by make_dir_remove. */
void make_dir(char path[64]);
void make_dir_remove(const char *path);

#endif
