#include "gateway/staple.h"

#include "base/clock.h"
#include "base/pem.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <stdlib.h>
#include <string.h>

#define RESPONSE_MAX ((size_t)64 << 10)
#define SKEW_SECONDS 300

struct staple {
    struct buf der;
    int64_t end; /* nextUpdate */
};

/* The one answer about our certificate, if the issuer vouches for it. */
static bool check(OCSP_BASICRESP *basic, X509 *cert, X509 *issuer, int64_t *end, struct err *err)
{
    int status, reason;
    ASN1_GENERALIZEDTIME *revoked, *from, *until;
    STACK_OF(X509) *certs = sk_X509_new_null();
    X509_STORE *store = X509_STORE_new();
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, cert, issuer);
    struct tm tm;
    bool ok = certs && store && id && sk_X509_push(certs, issuer) &&
              X509_STORE_add_cert(store, issuer) == 1 &&
              X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
              OCSP_basic_verify(basic, certs, store, 0) == 1;
    if (!ok)
        err_openssl(err, ERR_CONFIG, "it is not signed by the issuer of the certificate");
    else if (OCSP_resp_find_status(basic, id, &status, &reason, &revoked, &from, &until) != 1)
        ok = err_set(err, ERR_CONFIG, "it is about another certificate");
    else if (status != V_OCSP_CERTSTATUS_GOOD)
        ok = err_set(err, ERR_CONFIG, "it says %s", OCSP_cert_status_str(status));
    else if (!until || OCSP_check_validity(from, until, SKEW_SECONDS, -1) != 1 ||
             ASN1_TIME_to_tm(until, &tm) != 1)
        ok = err_openssl(err, ERR_CONFIG, "it is not valid now, or for ever");
    else
        *end = timegm(&tm);
    OCSP_CERTID_free(id);
    X509_STORE_free(store);
    sk_X509_free(certs);
    ERR_clear_error();
    return ok;
}

static bool parse(struct bytes der, OCSP_BASICRESP **ret, struct err *err)
{
    const unsigned char *p = der.ptr;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, (long)der.len);
    bool whole = response && p == der.ptr + der.len;
    bool ok = whole && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL;
    if (ok)
        *ret = OCSP_response_get1_basic(response);
    else
        err_set(err, ERR_CONFIG, whole ? "the responder failed" : "it is no OCSP response in DER");
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return ok && (*ret || err_set(err, ERR_CONFIG, "it is of an unknown kind"));
}

bool staple_load(const struct cfg_identity *identity, struct staple **ret, struct err *err)
{
    struct staple *staple = mem_zalloc(sizeof *staple);
    OCSP_BASICRESP *basic = NULL;
    staple->der = BUF_INIT(RESPONSE_MAX);
    bool ok = identity->chain.count > 1 ||
              err_set(err, ERR_CONFIG, "the certificate's file lacks the issuer");
    ok = ok && pem_file_read(identity->staple, RESPONSE_MAX, &staple->der, err) &&
         parse(buf_bytes(&staple->der), &basic, err) &&
         check(basic, cert_keyed_get(identity->chain.items[0]),
               cert_keyed_get(identity->chain.items[1]), &staple->end, err);
    OCSP_BASICRESP_free(basic);
    if (!ok) {
        staple_free(staple);
        return err_within(err, "reading the OCSP response %s", identity->staple);
    }
    *ret = staple;
    return true;
}

void staple_free(struct staple *staple)
{
    if (!staple)
        return;
    buf_free(&staple->der);
    free(staple);
}

bool staple_show(const struct staple *staple, SSL *ssl)
{
    if (!staple || clock_now() > staple->end)
        return false;
    unsigned char *copy = OPENSSL_memdup(staple->der.ptr, staple->der.len);
    if (copy && SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)staple->der.len) == 1)
        return true;
    OPENSSL_free(copy);
    return false;
}
