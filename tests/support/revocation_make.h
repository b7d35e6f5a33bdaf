/* CRLs and OCSP responses made at test time. Everything aborts if OpenSSL fails. */
#ifndef TESTS_SUPPORT_REVOCATION_MAKE_H
#define TESTS_SUPPORT_REVOCATION_MAKE_H

#include "tests/support/pki_make.h"

/* Zero and NULL mean: the usual. */
struct crl_spec {
    const char *issuer;               /* "CN=x" */
    EVP_PKEY *key;                    /* signs */
    int64_t this_update, next_update; /* 0: an hour ago, in a day; next -1: none */
    const int64_t *serials;
    size_t count;
    const char *const *extensions; /* pairs of "name", "value" in OpenSSL's form; ends NULL */
    int entry_nid;                 /* a critical extension of each entry */
    const EVP_MD *md;              /* NULL: SHA-256 */
    bool pss;                      /* RSA-PSS */
};
/* The caller frees the DER. */
struct buf make_crl(const struct crl_spec *spec);

struct ocsp_spec {
    X509 *subject, *issuer;
    X509 *signer;  /* NULL: the issuer */
    EVP_PKEY *key; /* signs */
    int status;    /* V_OCSP_CERTSTATUS_... */
    int also;      /* a second answer about the same, V_OCSP_CERTSTATUS_... + 1; 0: none */
    int64_t this_update, next_update; /* 0: now, in an hour; next -1: none */
    int64_t cutoff;                   /* archive cutoff; 0: none */
    struct bytes request;             /* its nonce is repeated; empty: no nonce */
    bool other_nonce;
    bool critical;    /* an unknown critical extension of the response */
    const EVP_MD *md; /* NULL: SHA-256 */
    bool pss;         /* RSA-PSS */
};
struct buf make_ocsp(const struct ocsp_spec *spec);

#endif
