#include "gateway/upstream/local.h"

#include "base/clock.h"
#include "base/der.h"
#include "gateway/upstream/tbs.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY INT64_C(86400)

struct local {
    struct upstream base;
    const struct local_options *options;
    X509 *issuer; /* with its key */
    int signature;
    const EVP_MD *digest;
    struct cfg_certs chain; /* issuer, then what is above it */
};

static struct local *local_of(struct upstream *up)
{
    return (struct local *)up;
}

/* The digest that fits the key: P-384 and stronger curves sign SHA-384. */
static bool choose_signature(struct local *local, EVP_PKEY *key, struct err *err)
{
    int type = EVP_PKEY_get_base_id(key);
    local->digest =
        type == EVP_PKEY_EC && EVP_PKEY_get_bits(key) > 256 ? EVP_sha384() : EVP_sha256();
    if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC)
        return err_set(err, ERR_CONFIG, "an issuing key that is neither RSA nor EC");
    if (!OBJ_find_sigid_by_algs(&local->signature, EVP_MD_get_type(local->digest), type))
        return err_openssl(err, ERR_CONFIG, "no signature algorithm for the issuing key");
    return true;
}

static void local_close(struct upstream *up)
{
    struct local *local = local_of(up);
    X509_free(local->issuer);
    free(local->chain.items);
    free(local);
}

static bool local_open(const struct cfg_upstream *conf, struct upstream **ret, struct err *err)
{
    const struct local_options *options = conf->options;
    struct local *local = mem_zalloc(sizeof *local);
    struct bytes der = cert_der_get(options->certificate.items[0]);
    const unsigned char *p = der.ptr;
    local->base = (struct upstream){.vt = &local_vt, .name = conf->name};
    local->options = options;
    local->issuer = d2i_X509(NULL, &p, (long)der.len);
    local->chain.items = mem_zalloc((1 + options->chain.count) * sizeof *local->chain.items);
    local->chain.items[local->chain.count++] = options->certificate.items[0];
    for (size_t i = 0; i < options->chain.count; i++)
        local->chain.items[local->chain.count++] = options->chain.items[i];
    if (!local->issuer || !choose_signature(local, options->key, err)) {
        local_close(&local->base);
        return false;
    }
    X509_check_purpose(local->issuer, -1, 0); /* caches the extensions before threads read them */
    *ret = &local->base;
    return true;
}

/* The handle is the whole TBSCertificate, serial number included: stored before it is signed, so
 * that signing it again after a crash gives a certificate with the same serial and content. */
static bool local_prepare(struct upstream *up, const struct up_order *order, struct buf *handle,
                          struct err *err)
{
    struct local *local = local_of(up);
    struct tbs_issuer issuer = {local->issuer, local->signature};
    size_t start = handle->len;
    err->kind = ERR_NONE;
    bool ok = tbs_encode(local->options, &issuer, order, handle, err);
    if (!ok)
        handle->len = start;
    return ok;
}

/* Certificate { tbs, algorithm, BIT STRING } (RFC 5280 section 4.1). */
static bool sign(struct local *local, struct bytes tbs, struct buf *out, struct err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t *signature = NULL;
    size_t len = 0;
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, local->digest, NULL, local->options->key) == 1 &&
              EVP_DigestSign(ctx, NULL, &len, tbs.ptr, tbs.len) == 1;
    if (ok) {
        signature = mem_zalloc(len + 1); /* BIT STRING: no unused bits, then the signature */
        ok = EVP_DigestSign(ctx, signature + 1, &len, tbs.ptr, tbs.len) == 1 && buf_add(out, tbs) &&
             tbs_add_algorithm(out, local->signature) &&
             der_add(out, DER_BIT_STRING, bytes_of(signature, len + 1)) &&
             der_wrap(out, 0, DER_SEQUENCE);
    }
    free(signature);
    EVP_MD_CTX_free(ctx);
    return ok || err_openssl(err, ERR_UPSTREAM, "signing a certificate");
}

static enum up_result local_submit(struct upstream *up, const struct up_order *order,
                                   struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    struct buf der = BUF_INIT(CERT_MAX);
    struct err err;
    (void)order, (void)deadline;
    bool ok =
        sign(local_of(up), handle, &der, &err) && cert_parse(buf_bytes(&der), &reply->cert, &err);
    buf_free(&der);
    if (ok)
        return UP_ISSUED;
    snprintf(reply->reason, sizeof reply->reason, "%.250s", err.text);
    return UP_RETRY;
}

static bool local_revoke(struct upstream *up, const struct cert *cert, int reason, int64_t deadline,
                         struct err *err)
{
    (void)up, (void)cert, (void)reason, (void)deadline, (void)err;
    return true; /* the inventory knows, and the next CRL says it */
}

static bool local_chain(struct upstream *up, const struct cfg_certs **ret, struct err *err)
{
    (void)err;
    *ret = &local_of(up)->chain;
    return true;
}

static bool local_rollover(struct upstream *up, const struct cfg_certs **ret)
{
    *ret = &local_of(up)->options->rollover;
    return (*ret)->count > 0;
}

/* BN_hex2bn alone would stop at the first other character and take a sign. */
static ASN1_INTEGER *serial_of(const char *hex)
{
    BIGNUM *number = NULL;
    ASN1_INTEGER *serial = NULL;
    size_t len = strspn(hex, "0123456789abcdef");
    if (len && !hex[len] && len < CERT_SERIAL_TEXT_MAX && BN_hex2bn(&number, hex) == (int)len)
        serial = BN_to_ASN1_INTEGER(number, NULL);
    BN_free(number);
    return serial;
}

static bool crl_add(X509_CRL *crl, const struct up_revoked *revoked)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();
    ASN1_TIME *at = ASN1_TIME_set(NULL, revoked->at);
    ASN1_INTEGER *serial = serial_of(revoked->serial);
    bool ok = entry && reason && at && serial && X509_REVOKED_set_serialNumber(entry, serial) &&
              X509_REVOKED_set_revocationDate(entry, at) &&
              ASN1_ENUMERATED_set(reason, revoked->reason) &&
              (revoked->reason == 0 ||
               X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason, 0, 0) == 1) &&
              X509_CRL_add0_revoked(crl, entry) == 1;
    if (!ok)
        X509_REVOKED_free(entry);
    ASN1_INTEGER_free(serial);
    ASN1_TIME_free(at);
    ASN1_ENUMERATED_free(reason);
    return ok;
}

/* cRLNumber is the time: it only grows, also when CRLs are made by several processes. */
static bool crl_head(struct local *local, X509_CRL *crl)
{
    int64_t now = clock_now();
    ASN1_TIME *last = ASN1_TIME_set(NULL, now);
    ASN1_TIME *next = ASN1_TIME_set(NULL, now + local->options->crl_validity);
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, local->issuer, NULL, NULL, crl, 0);
    X509_EXTENSION *aki =
        X509_get0_subject_key_id(local->issuer)
            ? X509V3_EXT_nconf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid")
            : NULL;
    bool ok = last && next && number && X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
              X509_CRL_set_issuer_name(crl, X509_get_subject_name(local->issuer)) &&
              X509_CRL_set1_lastUpdate(crl, last) && X509_CRL_set1_nextUpdate(crl, next) &&
              ASN1_INTEGER_set_int64(number, now) &&
              X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0) == 1 &&
              (!aki || X509_CRL_add_ext(crl, aki, -1));
    X509_EXTENSION_free(aki);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(last);
    ASN1_TIME_free(next);
    return ok;
}

static bool local_crl(struct upstream *up, const struct up_revoked *revoked, size_t count,
                      struct buf *der, struct err *err)
{
    struct local *local = local_of(up);
    X509_CRL *crl = X509_CRL_new();
    unsigned char *out = NULL;
    int len = -1;
    bool ok = crl && crl_head(local, crl);
    for (size_t i = 0; i < count && ok; i++)
        ok = crl_add(crl, &revoked[i]);
    if (ok && X509_CRL_sort(crl) && X509_CRL_sign(crl, local->options->key, local->digest))
        len = i2d_X509_CRL(crl, &out);
    ok = len > 0 && buf_set(der, bytes_of(out, (size_t)len));
    OPENSSL_free(out);
    X509_CRL_free(crl);
    return ok || err_openssl(err, ERR_UPSTREAM, "making a CRL");
}

static bool local_health(struct upstream *up, int64_t deadline, struct err *err)
{
    const struct cert *issuer = local_of(up)->options->certificate.items[0];
    int64_t now = clock_now();
    (void)deadline;
    if (now < cert_not_before_get(issuer) || now > cert_not_after_get(issuer))
        return err_set(err, ERR_UPSTREAM, "%s: the issuing certificate is not valid now", up->name);
    return true;
}

static void judge_options(void *arg, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct local_options *options = arg;
    if (!cfg_judge_pair(&options->certificate, options->key, node, faults))
        return;
    const struct cert *cert = options->certificate.items[0];
    const struct cfg_node *at = cfg_node_get(node, "certificate");
    if (!cert_is_ca(cert) || !(X509_get_key_usage(cert_x509_get(cert)) & KU_KEY_CERT_SIGN))
        cfg_fault(faults, at, "not a certificate that may issue; expected CA:TRUE and keyCertSign");
    int type = EVP_PKEY_get_base_id(options->key);
    if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC)
        cfg_fault(faults, cfg_node_get(node, "key"), "is neither RSA nor EC; expected one of them");
    if (options->chain.count)
        cfg_judge_chain(cert, &options->chain, cfg_node_get(node, "chain"), faults);
    for (size_t i = 0; i < options->rollover.count; i++)
        if (!cert_is_ca(options->rollover.items[i]))
            cfg_fault(faults, cfg_node_get(node, "rollover"),
                      "holds a certificate that is no CA's (\"%s\"); expected roots, old and new",
                      cert_names_get(options->rollover.items[i])->subject_text);
    if (cert_not_after_get(cert) < clock_now())
        cfg_fault(faults, at, "the certificate has expired; expected one that can issue");
}

static const struct cfg_key keys[] = {
    {.name = "certificate",
     .type = CFG_CERT_FILE,
     .offset = offsetof(struct local_options, certificate),
     .required = true,
     .meaning = "The issuing CA's certificate."},
    {.name = "key",
     .type = CFG_KEY_FILE,
     .offset = offsetof(struct local_options, key),
     .required = true,
     .meaning = "The issuing CA's private key, RSA or EC."},
    {.name = "chain",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct local_options, chain),
     .meaning =
         "The certificates above the issuing CA in their order, up to the root: each issued the "
         "CA or one before it."},
    {.name = "rollover",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct local_options, rollover),
     .meaning =
         "While a root is replaced: the other root, and the certificates of each by the other "
         "(OldWithNew, NewWithOld). EST devices get them with cacerts."},
    {.name = "validity",
     .type = CFG_DURATION,
     .offset = offsetof(struct local_options, validity),
     .min = 1,
     .max = 3650 * DAY,
     .def = "90d",
     .meaning = "How long a certificate lives, unless the profile says less."},
    {.name = "backdate",
     .type = CFG_DURATION,
     .offset = offsetof(struct local_options, backdate),
     .min = 0,
     .max = 7 * DAY,
     .def = "1h",
     .meaning = "How far notBefore lies in the past, for devices whose clock is slow."},
    {.name = "crl_validity",
     .type = CFG_DURATION,
     .offset = offsetof(struct local_options, crl_validity),
     .min = 60,
     .max = 365 * DAY,
     .def = "7d",
     .meaning = "The time from a CRL's thisUpdate to its nextUpdate."},
    {.name = "crl_url",
     .type = CFG_STRING,
     .offset = offsetof(struct local_options, crl_url),
     .meaning = "The CRL distribution point that certificates name."},
    {0},
};

const struct cfg_kind local_kind = {
    .type = "local",
    .keys = keys,
    .options_size = sizeof(struct local_options),
    .judge = judge_options,
};

const struct upstream_vt local_vt = {
    .type = "local",
    .caps = UP_INLINE | UP_RESUBMIT_SAFE | UP_RECOVER | UP_REVOKE | UP_NAMES | UP_UNSIGNED,
    .open = local_open,
    .close = local_close,
    .prepare = local_prepare,
    .submit = local_submit,
    .recover = local_submit,
    .revoke = local_revoke,
    .chain = local_chain,
    .rollover = local_rollover,
    .crl = local_crl,
    .health = local_health,
};
