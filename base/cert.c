#include "base/cert.h"

#include "base/der.h"
#include "base/keyless.h"
#include "base/text.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct cert {
    atomic_int count;
    struct buf der;
    struct bytes tbs;      /* in der */
    X509 *x509;            /* without its key */
    _Atomic(X509 *) keyed; /* with it, once somebody asked */
    struct spki spki;
    struct names names;
    struct buf issuer;
    char serial[CERT_SERIAL_TEXT_MAX];
    uint8_t fingerprint[SHA256_DIGEST_LENGTH];
    int64_t not_before, not_after;
    bool is_ca;
};

static bool take_time(const ASN1_TIME *time, int64_t *ret)
{
    struct tm tm;
    if (!ASN1_TIME_to_tm(time, &tm))
        return false;
    *ret = timegm(&tm);
    return true;
}

static bool take_serial(struct cert *cert, struct err *err)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert->x509);
    int len = ASN1_STRING_length(serial);
    if (len < 1 || len > (CERT_SERIAL_TEXT_MAX - 2) / 2)
        return err_set(err, ERR_PEER, "a certificate with a serial number of %d octets", len);
    char *out = cert->serial;
    if (ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER)
        *out++ = '-';
    text_hex(bytes_of(ASN1_STRING_get0_data(serial), (size_t)len), out);
    return true;
}

static bool take_names(struct cert *cert, struct err *err)
{
    int critical = -1;
    GENERAL_NAMES *sans = X509_get_ext_d2i(cert->x509, NID_subject_alt_name, &critical, NULL);
    if (!sans && critical != -1)
        return err_openssl(err, ERR_PEER, "a certificate with a malformed subjectAltName");
    bool ok = names_parse(X509_get_subject_name(cert->x509), sans, &cert->names, err);
    cert->names.san_critical = critical > 0;
    GENERAL_NAMES_free(sans);
    return ok;
}

static bool take_issuer(struct cert *cert, struct err *err)
{
    unsigned char *der = NULL;
    int len = i2d_X509_NAME(X509_get_issuer_name(cert->x509), &der);
    bool ok = len > 0 && buf_set(&cert->issuer, bytes_of(der, (size_t)len));
    OPENSSL_free(der);
    return ok || err_openssl(err, ERR_PEER, "a certificate whose issuer cannot be encoded");
}

static bool take_spki(struct cert *cert, struct err *err)
{
    unsigned char *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert->x509), &der);
    bool ok = len > 0 ? spki_parse(bytes_of(der, (size_t)len), &cert->spki, err)
                      : err_openssl(err, ERR_PEER, "a certificate whose key cannot be encoded");
    OPENSSL_free(der);
    return ok;
}

static bool take_fields(struct cert *cert, struct err *err)
{
    if (!take_time(X509_get0_notBefore(cert->x509), &cert->not_before) ||
        !take_time(X509_get0_notAfter(cert->x509), &cert->not_after))
        return err_openssl(err, ERR_PEER, "a certificate with a malformed validity");
    /* Caches the extensions as well, so that threads only read afterwards. Not X509_check_ca: for
     * that a keyUsage without keyCertSign makes CA:TRUE no CA. */
    cert->is_ca = (X509_get_extension_flags(cert->x509) & EXFLAG_CA) != 0;
    ERR_clear_error(); /* of extensions that it does not like; who relies on them will be told */
    return take_serial(cert, err) && take_issuer(cert, err) && take_spki(cert, err) &&
           take_names(cert, err);
}

/* Of der as it is kept. */
static bool take_tbs(struct cert *cert, struct err *err)
{
    struct bytes cur = buf_bytes(&cert->der);
    struct der outer, tbs;
    if (!der_take_tag(&cur, DER_SEQUENCE, &outer) ||
        !der_take_tag(&outer.content, DER_SEQUENCE, &tbs))
        return err_set(err, ERR_PEER, "a malformed certificate");
    cert->tbs = tbs.whole;
    return true;
}

bool cert_parse(struct bytes der, struct cert **ret, struct err *err)
{
    if (der.len == 0 || der.len > CERT_MAX)
        return err_set(err, ERR_PEER, "a certificate of %zu bytes, at most %zu are handled",
                       der.len, CERT_MAX);
    struct cert *cert = mem_zalloc(sizeof *cert);
    cert->count = 1;
    cert->x509 = keyless_x509(der.ptr, der.len);
    if (!cert->x509) {
        err_openssl(err, ERR_PEER, "a malformed certificate");
    } else if (take_fields(cert, err) && buf_set(&cert->der, der) && take_tbs(cert, err)) {
        SHA256(der.ptr, der.len, cert->fingerprint);
        *ret = cert;
        return true;
    }
    cert_free(cert);
    return false;
}

bool cert_from_x509(const X509 *x509, struct cert **ret, struct err *err)
{
    unsigned char *der = NULL;
    int len = i2d_X509(x509, &der);
    if (len <= 0)
        return err_openssl(err, ERR_PEER, "a certificate that cannot be encoded");
    bool ok = cert_parse(bytes_of(der, (size_t)len), ret, err);
    OPENSSL_free(der);
    return ok;
}

struct cert *cert_ref(struct cert *cert)
{
    atomic_fetch_add(&cert->count, 1);
    return cert;
}

void cert_free(struct cert *cert)
{
    if (!cert || atomic_fetch_sub(&cert->count, 1) != 1)
        return;
    X509_free(cert->x509);
    X509_free(cert->keyed);
    spki_clear(&cert->spki);
    names_clear(&cert->names);
    buf_free(&cert->issuer);
    buf_free(&cert->der);
    free(cert);
}

struct bytes cert_der_get(const struct cert *cert)
{
    return buf_bytes(&cert->der);
}

struct bytes cert_tbs_get(const struct cert *cert)
{
    return cert->tbs;
}

X509 *cert_x509_get(const struct cert *cert)
{
    return cert->x509;
}

X509 *cert_keyed_get(const struct cert *cert)
{
    struct cert *mine = (struct cert *)(uintptr_t)cert; /* the cache does not change what it is */
    X509 *keyed = mine->keyed, *nobody = NULL;
    if (keyed)
        return keyed;
    const unsigned char *p = cert->der.ptr;
    keyed = d2i_X509(NULL, &p, (long)cert->der.len);
    if (!keyed)
        return NULL;
    X509_check_purpose(keyed, -1, 0); /* caches its extensions before threads share it */
    if (atomic_compare_exchange_strong(&mine->keyed, &nobody, keyed))
        return keyed;
    X509_free(keyed); /* another thread was faster */
    return nobody;
}

const struct spki *cert_spki_get(const struct cert *cert)
{
    return &cert->spki;
}

const struct names *cert_names_get(const struct cert *cert)
{
    return &cert->names;
}

struct bytes cert_issuer_get(const struct cert *cert)
{
    return buf_bytes(&cert->issuer);
}

const char *cert_serial_get(const struct cert *cert)
{
    return cert->serial;
}

const uint8_t *cert_fingerprint_get(const struct cert *cert)
{
    return cert->fingerprint;
}

int64_t cert_not_before_get(const struct cert *cert)
{
    return cert->not_before;
}

int64_t cert_not_after_get(const struct cert *cert)
{
    return cert->not_after;
}

bool cert_is_ca(const struct cert *cert)
{
    return cert->is_ca;
}

bool cert_is_self_signed(const struct cert *cert)
{
    return X509_NAME_cmp(X509_get_subject_name(cert->x509), X509_get_issuer_name(cert->x509)) ==
               0 &&
           cert->spki.key && X509_verify(cert->x509, cert->spki.key) == 1;
}

bool cert_issued(const struct cert *issuer, const struct cert *subject)
{
    X509 *keyed = cert_keyed_get(issuer); /* X509_check_issued compares the kinds of key */
    bool ok = keyed && X509_check_issued(keyed, subject->x509) == X509_V_OK &&
              X509_verify(subject->x509, X509_get0_pubkey(keyed)) == 1;
    ERR_clear_error();
    return ok;
}
