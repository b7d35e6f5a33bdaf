#include "gateway/upstream/tbs.h"

#include "base/clock.h"
#include "base/der.h"

#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <string.h>

#define CLIENT_AUTH "1.3.6.1.5.5.7.3.2"

static const uint8_t version_3[] = {DER_CONTEXT_CONSTRUCTED(0), 3, DER_INTEGER, 1, 2};

bool tbs_add_algorithm(struct buf *out, int signature)
{
    int digest = NID_undef, key = NID_undef;
    size_t start = out->len;
    bool rsa = OBJ_find_sigid_algs(signature, &digest, &key) && key == NID_rsaEncryption;
    return der_add_oid(out, signature) && (!rsa || der_add(out, DER_NULL, bytes_of(NULL, 0))) &&
           der_wrap(out, start, DER_SEQUENCE);
}

/* 20 octets from the CSPRNG, positive and not shortened by DER (RFC 5280 section 4.1.2.2). */
static bool add_serial(struct buf *out, struct err *err)
{
    uint8_t serial[TBS_SERIAL_LEN];
    if (RAND_bytes(serial, sizeof serial) != 1)
        return err_openssl(err, ERR_LOCAL, "no random bytes for a serial number");
    serial[0] = (uint8_t)((serial[0] & 0x3f) | 0x40);
    return der_add(out, DER_INTEGER, bytes_of(serial, sizeof serial));
}

static bool add_name(struct buf *out, const X509_NAME *name)
{
    unsigned char *der = NULL;
    int len = i2d_X509_NAME(name, &der);
    bool ok = len > 0 && buf_add(out, bytes_of(der, (size_t)len));
    OPENSSL_free(der);
    return ok;
}

/* UTCTime until 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5). */
static bool add_time(struct buf *out, int64_t at)
{
    ASN1_TIME *time = ASN1_TIME_set(NULL, at);
    bool ok =
        time && der_add(out, (uint8_t)ASN1_STRING_type(time),
                        bytes_of(ASN1_STRING_get0_data(time), (size_t)ASN1_STRING_length(time)));
    ASN1_TIME_free(time);
    return ok;
}

static bool time_of(const ASN1_TIME *time, int64_t *ret)
{
    struct tm tm;
    if (!ASN1_TIME_to_tm(time, &tm))
        return false;
    *ret = timegm(&tm);
    return true;
}

/* Never longer than the issuer lives: that is an error, not a silent cut. */
static bool add_validity(const struct local_options *options, const X509 *issuer,
                         const struct cfg_profile *profile, struct buf *out, struct err *err)
{
    int64_t now = clock_now(), from = now - options->backdate, life = options->validity;
    int64_t issuer_from, issuer_end;
    size_t start = out->len;
    if (profile->validity && profile->validity < life)
        life = profile->validity;
    if (!time_of(X509_get0_notBefore(issuer), &issuer_from) ||
        !time_of(X509_get0_notAfter(issuer), &issuer_end))
        return err_set(err, ERR_LOCAL, "the issuing certificate's validity cannot be read");
    if (from < issuer_from)
        from = issuer_from;
    if (now + life > issuer_end)
        return err_set(err, ERR_UPSTREAM,
                       "the certificate would outlive the issuing CA: renew the CA or shorten "
                       "validity");
    return (add_time(out, from) && add_time(out, now + life) &&
            der_wrap(out, start, DER_SEQUENCE)) ||
           err_set(err, ERR_LOCAL, "a validity that cannot be encoded");
}

/* Extension { extnID, critical DEFAULT FALSE, extnValue } */
static bool add_extension(struct buf *out, int nid, bool critical, struct bytes value)
{
    static const uint8_t true_value[] = {0xff};
    size_t start = out->len;
    return der_add_oid(out, nid) && (!critical || der_add(out, 0x01, bytes_of(true_value, 1))) &&
           der_add(out, DER_OCTET_STRING, value) && der_wrap(out, start, DER_SEQUENCE);
}

/* The requested extension's value, or empty bytes. */
static struct bytes requested(const struct csr *csr, int nid)
{
    const STACK_OF(X509_EXTENSION) *list = csr_extensions_get(csr);
    int at = list ? X509v3_get_ext_by_NID(list, nid, -1) : -1;
    if (at < 0)
        return bytes_of(NULL, 0);
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(sk_X509_EXTENSION_value(list, at));
    return bytes_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
}

static bool add_key_usage(struct buf *out, const struct csr *csr)
{
    static const uint8_t sign_and_encipher[] = {DER_BIT_STRING, 2, 5, 0xa0};
    static const uint8_t sign_only[] = {DER_BIT_STRING, 2, 7, 0x80};
    struct bytes value = requested(csr, NID_key_usage);
    if (!value.ptr)
        value = csr_spki_get(csr)->kind == SPKI_RSA
                    ? bytes_of(sign_and_encipher, sizeof sign_and_encipher)
                    : bytes_of(sign_only, sizeof sign_only);
    return add_extension(out, NID_key_usage, true, value);
}

static bool add_oid_text(struct buf *out, const char *dotted)
{
    ASN1_OBJECT *object = OBJ_txt2obj(dotted, 1);
    bool ok = object && der_add(out, DER_OID, bytes_of(OBJ_get0_data(object), OBJ_length(object)));
    ASN1_OBJECT_free(object);
    return ok;
}

static bool add_eku(struct buf *out, const struct csr *csr, const struct cfg_profile *profile)
{
    struct bytes value = requested(csr, NID_ext_key_usage);
    struct buf list = {0};
    bool ok = true;
    if (!value.ptr && profile->own && !profile->eku.count)
        return true; /* an RA has what it had */
    if (!value.ptr) {
        for (size_t i = 0; i < profile->eku.count && ok; i++)
            ok = add_oid_text(&list, profile->eku.items[i]);
        if (!profile->eku.count)
            ok = add_oid_text(&list, CLIENT_AUTH);
        ok = ok && der_wrap(&list, 0, DER_SEQUENCE);
        value = buf_bytes(&list);
    }
    ok = ok && add_extension(out, NID_ext_key_usage, false, value);
    buf_free(&list);
    return ok;
}

/* RFC 5280 section 4.2.1.2, method 1: SHA-1 over the key's bits. */
static bool add_ski(struct buf *out, const struct csr *csr)
{
    struct bytes cur = buf_bytes(&csr_spki_get(csr)->der);
    struct der outer, algorithm, bits;
    uint8_t digest[SHA_DIGEST_LENGTH], unused;
    if (!der_take_tag(&cur, DER_SEQUENCE, &outer) || !der_take(&outer.content, &algorithm) ||
        !der_take_tag(&outer.content, DER_BIT_STRING, &bits) ||
        !bytes_take_u8(&bits.content, &unused))
        return false;
    SHA1(bits.content.ptr, bits.content.len, digest);
    struct buf value = {0};
    bool ok = der_add(&value, DER_OCTET_STRING, bytes_of(digest, sizeof digest)) &&
              add_extension(out, NID_subject_key_identifier, false, buf_bytes(&value));
    buf_free(&value);
    return ok;
}

static bool add_aki(struct buf *out, X509 *issuer)
{
    const ASN1_OCTET_STRING *ski = X509_get0_subject_key_id(issuer);
    struct buf value = {0};
    if (!ski)
        return true;
    bool ok = der_add(&value, DER_CONTEXT(0),
                      bytes_of(ASN1_STRING_get0_data(ski), (size_t)ASN1_STRING_length(ski))) &&
              der_wrap(&value, 0, DER_SEQUENCE) &&
              add_extension(out, NID_authority_key_identifier, false, buf_bytes(&value));
    buf_free(&value);
    return ok;
}

/* CRLDistributionPoints with one URL (RFC 5280 section 4.2.1.13). */
static bool add_crl_url(struct buf *out, const char *url)
{
    struct buf value = {0};
    if (!url)
        return true;
    bool ok = der_add(&value, DER_CONTEXT(6), bytes_str(url)) &&
              der_wrap(&value, 0, DER_CONTEXT_CONSTRUCTED(0)) &&
              der_wrap(&value, 0, DER_CONTEXT_CONSTRUCTED(0)) &&
              der_wrap(&value, 0, DER_SEQUENCE) && der_wrap(&value, 0, DER_SEQUENCE) &&
              add_extension(out, NID_crl_distribution_points, false, buf_bytes(&value));
    buf_free(&value);
    return ok;
}

/* As the CSR's extension has it, byte for byte, or as ChangeSubjectName wants it. */
static bool add_sans(struct buf *out, const struct csr *csr)
{
    const struct names *wanted = csr_wanted_get(csr);
    bool no_subject = wanted->attr_count == 0;
    struct bytes as_asked = requested(csr, NID_subject_alt_name);
    if (!csr_change_has(csr))
        return !as_asked.ptr || add_extension(out, NID_subject_alt_name, no_subject, as_asked);
    if (!wanted->san_count)
        return true;
    struct buf list = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < wanted->san_count; i++)
        ok = buf_add(&list, buf_bytes(&wanted->sans[i].der));
    ok = ok && der_wrap(&list, 0, DER_SEQUENCE) &&
         add_extension(out, NID_subject_alt_name, no_subject, buf_bytes(&list));
    buf_free(&list);
    return ok;
}

static bool add_extensions(const struct local_options *options, X509 *issuer,
                           const struct up_order *order, struct buf *out)
{
    static const uint8_t not_a_ca[] = {DER_SEQUENCE, 0};
    size_t start = out->len;
    return add_extension(out, NID_basic_constraints, true, bytes_of(not_a_ca, sizeof not_a_ca)) &&
           add_key_usage(out, order->csr) && add_eku(out, order->csr, order->profile) &&
           add_sans(out, order->csr) && add_ski(out, order->csr) && add_aki(out, issuer) &&
           add_crl_url(out, options->crl_url) && der_wrap(out, start, DER_SEQUENCE) &&
           der_wrap(out, start, DER_CONTEXT_CONSTRUCTED(3));
}

bool tbs_encode(const struct local_options *options, const struct tbs_issuer *issuer,
                const struct up_order *order, struct buf *out, struct err *err)
{
    size_t start = out->len;
    if (!buf_add(out, bytes_of(version_3, sizeof version_3)) || !add_serial(out, err) ||
        !tbs_add_algorithm(out, issuer->signature) ||
        !add_name(out, X509_get_subject_name(issuer->x509)))
        return err->kind ? false : err_set(err, ERR_LOCAL, "a certificate that cannot be encoded");
    if (!add_validity(options, issuer->x509, order->profile, out, err))
        return false;
    /* Subject and key as they stand in the CSR, byte for byte. */
    bool ok = buf_add(out, buf_bytes(&csr_wanted_get(order->csr)->subject)) &&
              buf_add(out, buf_bytes(&csr_spki_get(order->csr)->der)) &&
              add_extensions(options, issuer->x509, order, out) &&
              der_wrap(out, start, DER_SEQUENCE);
    return ok || err_set(err, ERR_LOCAL, "a certificate that cannot be encoded");
}
