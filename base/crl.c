#include "base/crl.h"

#include "base/der.h"
#include "base/strong.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SKEW_SECONDS 300
#define DEPTH_MAX 16
#define ELEMENTS_MAX ((size_t)4 << 20)
#define SERIAL_MAX 33 /* a sign and what base/cert.h takes */
#define POINTS_MAX 8
#define URL_MAX 1024
#define OID_EXPIRED_CERTS "2.5.29.60" /* X.509 section 9.5.2.8: GeneralizedTime */

/* A serial: its sign, then its magnitude. */
struct serial {
    uint8_t len;
    uint8_t octets[SERIAL_MAX];
};

struct crl {
    int64_t this_update, next_update;
    int64_t keeps_since; /* certificates that expired since then are kept; INT64_MAX: not said */
    bool user_only, ca_only;
    bool has_points;          /* about certificates that name one of these URLs only */
    char *points[POINTS_MAX]; /* NULL: no more */
    struct serial *serials;   /* sorted */
    size_t count;
};

static bool take_time(const ASN1_TIME *time, int64_t *ret)
{
    struct tm tm;
    if (!time || !ASN1_TIME_to_tm(time, &tm))
        return false;
    *ret = timegm(&tm);
    return true;
}

/* False: so long that no certificate of ours can have it. */
static bool serial_take(const ASN1_INTEGER *number, struct serial *ret)
{
    int len = ASN1_STRING_length(number);
    *ret = (struct serial){0};
    if (len < 0 || len > SERIAL_MAX - 1)
        return false;
    ret->octets[0] = ASN1_STRING_type(number) == V_ASN1_NEG_INTEGER;
    if (len)
        memcpy(ret->octets + 1, ASN1_STRING_get0_data(number), (size_t)len);
    ret->len = (uint8_t)(len + 1);
    return true;
}

static int serial_compare(const void *a, const void *b)
{
    const struct serial *one = a, *other = b;
    if (one->len != other->len)
        return one->len < other->len ? -1 : 1;
    return memcmp(one->octets, other->octets, one->len);
}

static bool take_points(const DIST_POINT_NAME *name, struct crl *crl, struct err *err)
{
    size_t count = 0;
    if (name->type != 0)
        return err_set(err, ERR_PEER, "a CRL whose distribution point is named relatively");
    crl->has_points = true;
    for (int i = 0; i < sk_GENERAL_NAME_num(name->name.fullname) && count < POINTS_MAX; i++) {
        const GENERAL_NAME *general = sk_GENERAL_NAME_value(name->name.fullname, i);
        if (general->type != GEN_URI)
            continue;
        const ASN1_IA5STRING *uri = general->d.uniformResourceIdentifier;
        crl->points[count] =
            bytes_to_str(bytes_of(ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri)));
        count += crl->points[count] != NULL;
    }
    return true;
}

/* RFC 5280 section 5.2.5 */
static bool take_scope(X509_CRL *x509, struct crl *crl, struct err *err)
{
    int critical = -1;
    ISSUING_DIST_POINT *idp =
        X509_CRL_get_ext_d2i(x509, NID_issuing_distribution_point, &critical, NULL);
    if (!idp)
        return critical == -1 ||
               err_openssl(err, ERR_PEER, "a CRL with a malformed issuingDistributionPoint");
    bool ok = true;
    crl->user_only = idp->onlyuser > 0;
    crl->ca_only = idp->onlyCA > 0;
    if (idp->indirectCRL > 0)
        ok = err_set(err, ERR_PEER, "an indirect CRL");
    else if (idp->onlysomereasons || idp->onlyattr > 0)
        ok = err_set(err, ERR_PEER, "a CRL for some reasons or for attributes only");
    else if (idp->distpoint)
        ok = take_points(idp->distpoint, crl, err);
    ISSUING_DIST_POINT_free(idp);
    return ok;
}

/* A GeneralizedTime as DER; anything else says nothing. */
static int64_t keeps_since(const ASN1_OCTET_STRING *value)
{
    int64_t since = INT64_MAX;
    const unsigned char *p = ASN1_STRING_get0_data(value);
    ASN1_GENERALIZEDTIME *time = d2i_ASN1_GENERALIZEDTIME(NULL, &p, ASN1_STRING_length(value));
    if (!take_time(time, &since))
        since = INT64_MAX;
    ASN1_GENERALIZEDTIME_free(time);
    return since;
}

static bool take_extensions(X509_CRL *x509, struct crl *crl, struct err *err)
{
    char oid[80];
    crl->keeps_since = INT64_MAX;
    for (int i = 0; i < X509_CRL_get_ext_count(x509); i++) {
        X509_EXTENSION *extension = X509_CRL_get_ext(x509, i);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
        OBJ_obj2txt(oid, sizeof oid, X509_EXTENSION_get_object(extension), 1);
        if (nid == NID_delta_crl)
            return err_set(err, ERR_PEER, "a delta CRL");
        if (X509_EXTENSION_get_critical(extension) && nid != NID_issuing_distribution_point &&
            nid != NID_authority_key_identifier && nid != NID_crl_number)
            return err_set(err, ERR_PEER, "a CRL with the critical extension %s", oid);
        if (strcmp(oid, OID_EXPIRED_CERTS) == 0)
            crl->keeps_since = keeps_since(X509_EXTENSION_get_data(extension));
    }
    return take_scope(x509, crl, err);
}

static bool entry_fine(const X509_REVOKED *entry, struct err *err)
{
    for (int i = 0; i < X509_REVOKED_get_ext_count(entry); i++) {
        X509_EXTENSION *extension = X509_REVOKED_get_ext(entry, i);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
        if (nid == NID_certificate_issuer)
            return err_set(err, ERR_PEER, "a CRL with an entry of another issuer");
        if (X509_EXTENSION_get_critical(extension) && nid != NID_crl_reason)
            return err_set(err, ERR_PEER, "a CRL with a critical extension of an entry");
    }
    return true;
}

static bool take_entries(X509_CRL *x509, struct crl *crl, struct err *err)
{
    const STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(x509);
    int count = sk_X509_REVOKED_num(entries);
    if (count <= 0)
        return true;
    crl->serials = mem_zalloc((size_t)count * sizeof *crl->serials);
    for (int i = 0; i < count; i++) {
        const X509_REVOKED *entry = sk_X509_REVOKED_value(entries, i);
        if (!entry_fine(entry, err))
            return false;
        crl->count += serial_take(X509_REVOKED_get0_serialNumber(entry), &crl->serials[crl->count]);
    }
    qsort(crl->serials, crl->count, sizeof *crl->serials, serial_compare);
    return true;
}

static bool take_times(X509_CRL *x509, int64_t now, struct crl *crl, struct err *err)
{
    if (!take_time(X509_CRL_get0_lastUpdate(x509), &crl->this_update))
        return err_set(err, ERR_PEER, "a CRL with a malformed thisUpdate");
    if (!take_time(X509_CRL_get0_nextUpdate(x509), &crl->next_update))
        return err_set(err, ERR_PEER, "a CRL without a nextUpdate");
    if (crl->this_update > now + SKEW_SECONDS)
        return err_set(err, ERR_PEER, "a CRL from the future");
    return crl->next_update > now || err_set(err, ERR_PEER, "a CRL that has expired");
}

/* By name, usage and signature, in the order of their cost. */
static bool check_signer(X509_CRL *x509, X509 *issuer, bool *other, struct err *err)
{
    const X509_ALGOR *algorithm;
    *other = X509_NAME_cmp(X509_CRL_get_issuer(x509), X509_get_subject_name(issuer)) != 0;
    if (*other)
        return err_set(err, ERR_PEER, "a CRL of another issuer");
    if (!(X509_get_key_usage(issuer) & KU_CRL_SIGN))
        return err_set(err, ERR_PEER, "the issuer's certificate is not for signing CRLs");
    X509_CRL_get0_signature(x509, NULL, &algorithm);
    if (!strong_check(algorithm, "a CRL", err))
        return false;
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    *other = !key || X509_CRL_verify(x509, key) != 1;
    return !*other || err_openssl(err, ERR_PEER, "a CRL that another key has signed");
}

bool crl_parse(struct bytes der, const struct crl_terms *terms, struct crl **ret, bool *other,
               struct err *err)
{
    const unsigned char *p = der.ptr;
    *other = false;
    if (!der.len || der.len > CRL_MAX)
        return err_set(err, ERR_PEER, "a CRL of %zu bytes, at most %zu are handled", der.len,
                       CRL_MAX);
    X509_CRL *x509 =
        der_check(der, DEPTH_MAX, ELEMENTS_MAX) ? d2i_X509_CRL(NULL, &p, (long)der.len) : NULL;
    if (!x509 || p != der.ptr + der.len) {
        X509_CRL_free(x509);
        return err_openssl(err, ERR_PEER, "no CRL in DER");
    }
    struct crl *crl = mem_zalloc(sizeof *crl);
    bool ok = check_signer(x509, terms->issuer, other, err) &&
              take_times(x509, terms->at, crl, err) && take_extensions(x509, crl, err) &&
              take_entries(x509, crl, err);
    X509_CRL_free(x509);
    ERR_clear_error();
    if (ok)
        *ret = crl;
    else
        crl_free(crl);
    return ok;
}

void crl_free(struct crl *crl)
{
    if (!crl)
        return;
    for (size_t i = 0; i < POINTS_MAX; i++)
        free(crl->points[i]);
    free(crl->serials);
    free(crl);
}

int64_t crl_this_update(const struct crl *crl)
{
    return crl->this_update;
}

int64_t crl_next_update(const struct crl *crl)
{
    return crl->next_update;
}

size_t crl_size(const struct crl *crl)
{
    return sizeof *crl + crl->count * sizeof *crl->serials;
}

static bool each_name(const GENERAL_NAMES *names, bool (*each)(const char *url, void *arg),
                      void *arg)
{
    bool done = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !done; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;
        struct bytes text = bytes_of(ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri));
        char *url =
            text.len <= URL_MAX && (bytes_starts(text, "http://") || bytes_starts(text, "https://"))
                ? bytes_to_str(text)
                : NULL;
        done = url && each(url, arg);
        free(url);
    }
    return done;
}

bool crl_urls_each(X509 *cert, bool (*each)(const char *url, void *arg), void *arg)
{
    CRL_DIST_POINTS *points = X509_get_ext_d2i(cert, NID_crl_distribution_points, NULL, NULL);
    bool done = false;
    for (int i = 0; i < sk_DIST_POINT_num(points) && i < POINTS_MAX && !done; i++) {
        const DIST_POINT *point = sk_DIST_POINT_value(points, i);
        /* With a cRLIssuer the list is an indirect one; with reasons a part of one. */
        if (point->distpoint && point->distpoint->type == 0 && !point->CRLissuer && !point->reasons)
            done = each_name(point->distpoint->name.fullname, each, arg);
    }
    CRL_DIST_POINTS_free(points);
    ERR_clear_error();
    return done;
}

static bool is_point(const char *url, void *arg)
{
    const struct crl *crl = arg;
    for (size_t i = 0; i < POINTS_MAX && crl->points[i]; i++)
        if (strcmp(crl->points[i], url) == 0)
            return true;
    return false;
}

bool crl_covers(const struct crl *crl, X509 *cert, int64_t now)
{
    int64_t end;
    bool ca = (X509_get_extension_flags(cert) & EXFLAG_CA) != 0;
    if ((crl->user_only && ca) || (crl->ca_only && !ca) ||
        !take_time(X509_get0_notAfter(cert), &end))
        return false;
    if (end < now && end < crl->this_update && end < crl->keeps_since)
        return false;
    return !crl->has_points || crl_urls_each(cert, is_point, (void *)(uintptr_t)crl);
}

bool crl_lists(const struct crl *crl, X509 *cert)
{
    struct serial key;
    return serial_take(X509_get0_serialNumber(cert), &key) && crl->count &&
           bsearch(&key, crl->serials, crl->count, sizeof key, serial_compare);
}
