#include "ra/policy_ext.h"

#include "base/der.h"

#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define OID_ANY_EKU "2.5.29.37.0"
#define OID_CMC_RA "1.3.6.1.5.5.7.3.28"
#define OID_CLIENT_AUTH "1.3.6.1.5.5.7.3.2"
#define OID_MS_SID "1.3.6.1.4.1.311.25.2"
#define SKI_MAX 64
#define VALUE_DEPTH_MAX 16
#define VALUE_ELEMENTS_MAX 4096

/* RFC 5280 section 4.2.1.3, bits 0 to 4: what an end entity may do with its key. */
#define USAGE_BITS 9
static const char *const usage_names[USAGE_BITS] = {
    "digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement",
    "keyCertSign",      "cRLSign",        "encipherOnly",    "decipherOnly",
};
#define USAGE_ALLOWED_BITS 5

/* Attributes that are read here, or that say something of the device and ask for nothing. */
static const char *const attributes_known[] = {
    "1.2.840.113549.1.9.7",       /* challengePassword */
    "1.2.840.113549.1.9.16.2.58", /* estIdentityLinking: checked by the EST door */
    "1.3.6.1.5.5.7.7.36",         /* ChangeSubjectName: judged by ra/rename.c */
    "1.2.840.113549.1.9.14",      /* extensionRequest */
    "1.3.6.1.4.1.311.2.1.14",     /* Microsoft's extensionRequest */
    "1.2.840.113549.1.9.2",       /* unstructuredName */
    "1.2.840.113549.1.9.8",       /* unstructuredAddress */
    "1.2.840.113549.1.9.20",      /* friendlyName */
    "1.2.840.113549.1.9.21",      /* localKeyID */
    "1.3.6.1.4.1.311.13.2.2",     /* Microsoft: provider of the key */
    "1.3.6.1.4.1.311.13.2.3",     /* Microsoft: version of the system */
    "1.3.6.1.4.1.311.21.20",      /* Microsoft: client, user and process */
};

void policy_refuse(struct policy_result *result, enum ra_reason reason, const char *fmt, ...)
{
    va_list args;
    result->verdict = POLICY_REFUSE;
    result->reason = reason;
    va_start(args, fmt);
    vsnprintf(result->detail, sizeof result->detail, fmt, args);
    va_end(args);
}

void policy_oid(const ASN1_OBJECT *object, char out[POLICY_OID_MAX])
{
    int len = OBJ_obj2txt(out, POLICY_OID_MAX, object, 1);
    if (len < 0 || len >= POLICY_OID_MAX)
        snprintf(out, POLICY_OID_MAX, "(unreadable)");
}

static bool listed(const struct cfg_strings *list, const char *oid)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], oid) == 0)
            return true;
    return false;
}

static void judge_eku(const struct cfg_profile *profile, X509_EXTENSION *extension,
                      struct policy_result *result)
{
    EXTENDED_KEY_USAGE *usages = X509V3_EXT_d2i(extension);
    char oid[POLICY_OID_MAX];
    if (!usages || sk_ASN1_OBJECT_num(usages) == 0)
        policy_refuse(result, RA_BAD_EXTENSION, "a malformed extendedKeyUsage");
    for (int i = 0; usages && i < sk_ASN1_OBJECT_num(usages); i++) {
        policy_oid(sk_ASN1_OBJECT_value(usages, i), oid);
        bool never = strcmp(oid, OID_ANY_EKU) == 0 || strcmp(oid, OID_CMC_RA) == 0;
        bool allowed =
            profile->eku.count ? listed(&profile->eku, oid) : strcmp(oid, OID_CLIENT_AUTH) == 0;
        if (never || !allowed) {
            policy_refuse(result, RA_BAD_EXTENSION, "extendedKeyUsage %s is not allowed", oid);
            break;
        }
    }
    sk_ASN1_OBJECT_pop_free(usages, ASN1_OBJECT_free);
}

static void judge_usage(X509_EXTENSION *extension, struct policy_result *result)
{
    ASN1_BIT_STRING *bits = X509V3_EXT_d2i(extension);
    if (!bits) {
        policy_refuse(result, RA_BAD_EXTENSION, "a malformed keyUsage");
        return;
    }
    for (int i = USAGE_ALLOWED_BITS; i < 8 * ASN1_STRING_length(bits); i++)
        if (ASN1_BIT_STRING_get_bit(bits, i))
            policy_refuse(result, RA_BAD_EXTENSION, "keyUsage %s is not allowed",
                          i < USAGE_BITS ? usage_names[i] : "of an unknown bit");
    ASN1_BIT_STRING_free(bits);
}

static void judge_constraints(X509_EXTENSION *extension, struct policy_result *result)
{
    BASIC_CONSTRAINTS *constraints = X509V3_EXT_d2i(extension);
    if (!constraints)
        policy_refuse(result, RA_BAD_EXTENSION, "malformed basicConstraints");
    else if (constraints->ca || constraints->pathlen)
        policy_refuse(result, RA_BAD_EXTENSION, "basicConstraints CA:TRUE is not allowed");
    BASIC_CONSTRAINTS_free(constraints);
}

static void judge_ski(X509_EXTENSION *extension, struct policy_result *result)
{
    ASN1_OCTET_STRING *ski = X509V3_EXT_d2i(extension);
    if (!ski || ASN1_STRING_length(ski) > SKI_MAX)
        policy_refuse(result, RA_BAD_EXTENSION, "a malformed subjectKeyIdentifier");
    ASN1_OCTET_STRING_free(ski);
}

static struct bytes value_of(X509_EXTENSION *extension)
{
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(extension);
    return bytes_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
}

/* What devices are told to ask for; NULL: nothing of the kind. */
static const struct cfg_asked_extension *asked(const struct cfg_est *est, const char *oid)
{
    for (size_t i = 0; i < est->extension_count; i++)
        if (strcmp(est->extensions[i].oid, oid) == 0)
            return &est->extensions[i];
    return NULL;
}

/* Not one that we judge: ignored by name, as devices are told to ask for it, or refused. A CA may
 * go by the value. */
static void judge_other(const struct cfg_profile *profile, X509_EXTENSION *extension,
                        struct policy_result *result)
{
    char oid[POLICY_OID_MAX];
    policy_oid(X509_EXTENSION_get_object(extension), oid);
    const struct cfg_asked_extension *told = asked(&profile->est, oid);
    bool never = strcmp(oid, OID_MS_SID) == 0, ignored = listed(&profile->ignore_extensions, oid);
    if (never || (!ignored && !told)) {
        policy_refuse(result, RA_BAD_EXTENSION, "extension %s is not allowed", oid);
    } else if (!ignored && told->value.len &&
               !bytes_equal(value_of(extension), buf_bytes(&told->value))) {
        policy_refuse(result, RA_BAD_EXTENSION,
                      "extension %s has another value than csrattrs tells", oid);
    } else {
        size_t len = strlen(result->ignored);
        snprintf(result->ignored + len, sizeof result->ignored - len, "%s%s", len ? " " : "", oid);
    }
}

/* Whether a value is one element and nothing after it, which OpenSSL's decoders do not ask. */
static bool is_whole(X509_EXTENSION *extension)
{
    return der_check(value_of(extension), VALUE_DEPTH_MAX, VALUE_ELEMENTS_MAX);
}

void policy_judge_extensions(const struct cfg_profile *profile, const struct csr *csr,
                             struct policy_result *result)
{
    const STACK_OF(X509_EXTENSION) *list = csr_extensions_get(csr);
    char oid[POLICY_OID_MAX];
    for (int i = 0; i < sk_X509_EXTENSION_num(list) && result->verdict != POLICY_REFUSE; i++) {
        X509_EXTENSION *extension = sk_X509_EXTENSION_value(list, i);
        const ASN1_OBJECT *object = X509_EXTENSION_get_object(extension);
        switch (OBJ_obj2nid(object)) {
        case NID_subject_alt_name:
            break; /* judged with the names */
        case NID_ext_key_usage:
            judge_eku(profile, extension, result);
            break;
        case NID_key_usage:
            judge_usage(extension, result);
            break;
        case NID_basic_constraints:
            judge_constraints(extension, result);
            break;
        case NID_subject_key_identifier:
            judge_ski(extension, result);
            break;
        default:
            judge_other(profile, extension, result);
            continue;
        }
        if (result->verdict != POLICY_REFUSE && !is_whole(extension)) {
            policy_oid(object, oid);
            policy_refuse(result, RA_BAD_EXTENSION, "extension %s is malformed", oid);
        }
    }
}

static bool attribute_is_known(const char *oid)
{
    for (size_t i = 0; i < sizeof attributes_known / sizeof attributes_known[0]; i++)
        if (strcmp(attributes_known[i], oid) == 0)
            return true;
    return false;
}

void policy_judge_attributes(const struct cfg_profile *profile, const struct csr *csr,
                             struct policy_result *result)
{
    char oid[POLICY_OID_MAX];
    const ASN1_OBJECT *type;
    for (int i = 0; (type = csr_attribute_get(csr, i)) && result->verdict != POLICY_REFUSE; i++) {
        policy_oid(type, oid);
        if (!attribute_is_known(oid) && !listed(&profile->ignore_extensions, oid) &&
            !listed(&profile->est.oids, oid))
            policy_refuse(result, RA_BAD_EXTENSION, "attribute %s is not allowed", oid);
    }
}
