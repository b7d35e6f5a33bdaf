#include "base/csr.h"

#include "base/change.h"
#include "base/keyless.h"
#include "base/strong.h"

#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CSR_OID_LINKING "1.2.840.113549.1.9.16.2.58"
#define CSR_LINKING_MAX 256 /* RFC 7894 appendix A: ub-aa-est-identity-linking is 255 */

struct csr {
    atomic_int count;
    struct buf der;
    X509_REQ *req; /* without its key */
    struct spki spki;
    struct names names, change;
    struct buf challenge, linking;
    bool has_challenge, has_linking, has_change;
    STACK_OF(X509_EXTENSION) * extensions;
};

/* An attribute that must have one value, a text. */
struct secret {
    const char *name, *oid;
    struct buf *text;
    bool *has;
};

/* No attribute type twice (RFC 2986 section 4: a set). */
static bool check_attributes(const X509_REQ *req, struct err *err)
{
    int count = X509_REQ_get_attr_count(req);
    if (count > NAMES_ATTR_MAX)
        return err_set(err, ERR_PEER, "a CSR with %d attributes", count);
    for (int i = 0; i < count; i++) {
        const ASN1_OBJECT *type = X509_ATTRIBUTE_get0_object(X509_REQ_get_attr(req, i));
        for (int j = 0; j < i; j++) {
            if (OBJ_cmp(type, X509_ATTRIBUTE_get0_object(X509_REQ_get_attr(req, j))) == 0) {
                char text[80];
                OBJ_obj2txt(text, sizeof text, type, 0);
                return err_set(err, ERR_PEER, "a CSR with attribute %s twice", text);
            }
        }
    }
    return true;
}

static bool secret_text(const char *name, ASN1_TYPE *value, struct buf *out, struct err *err)
{
    switch (ASN1_TYPE_get(value)) {
    case V_ASN1_PRINTABLESTRING:
    case V_ASN1_UTF8STRING:
    case V_ASN1_IA5STRING:
    case V_ASN1_T61STRING:
    case V_ASN1_BMPSTRING:
        break;
    default:
        return err_set(err, ERR_PEER, "a CSR with %s that is not text", name);
    }
    unsigned char *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, value->value.asn1_string);
    if (len < 0)
        return err_openssl(err, ERR_PEER, "a CSR with %s that is not text", name);
    bool fine = memchr(utf8, 0, (size_t)len) == NULL && buf_set(out, bytes_of(utf8, (size_t)len));
    OPENSSL_clear_free(utf8, (size_t)len);
    return fine || err_set(err, ERR_PEER, "a CSR with %s with a NUL, or too long", name);
}

static bool take_secret(const struct csr *csr, const struct secret *secret, struct err *err)
{
    ASN1_OBJECT *type = OBJ_txt2obj(secret->oid, 1);
    if (!type)
        err_no_memory();
    int at = X509_REQ_get_attr_by_OBJ(csr->req, type, -1);
    ASN1_OBJECT_free(type);
    if (at < 0)
        return true;
    X509_ATTRIBUTE *attribute = X509_REQ_get_attr(csr->req, at);
    *secret->has = true;
    if (X509_ATTRIBUTE_count(attribute) != 1)
        return err_set(err, ERR_PEER, "a CSR with %s with %d values", secret->name,
                       X509_ATTRIBUTE_count(attribute));
    return secret_text(secret->name, X509_ATTRIBUTE_get0_type(attribute, 0), secret->text, err);
}

static bool take_secrets(struct csr *csr, struct err *err)
{
    const struct secret secrets[] = {
        {"challengePassword", "1.2.840.113549.1.9.7", &csr->challenge, &csr->has_challenge},
        {"estIdentityLinking", CSR_OID_LINKING, &csr->linking, &csr->has_linking},
    };
    return take_secret(csr, &secrets[0], err) && take_secret(csr, &secrets[1], err);
}

static bool check_extensions(const STACK_OF(X509_EXTENSION) * extensions, struct err *err)
{
    for (int i = 0; i < sk_X509_EXTENSION_num(extensions); i++) {
        ASN1_OBJECT *type = X509_EXTENSION_get_object(sk_X509_EXTENSION_value(extensions, i));
        if (X509v3_get_ext_by_OBJ(extensions, type, -1) != i) {
            char text[80];
            OBJ_obj2txt(text, sizeof text, type, 0);
            return err_set(err, ERR_PEER, "a CSR with extension %s twice", text);
        }
    }
    return true;
}

/* extensionRequest, or Microsoft's attribute for the same; never both, one value. */
static bool take_extensions(struct csr *csr, struct err *err)
{
    int standard = X509_REQ_get_attr_by_NID(csr->req, NID_ext_req, -1);
    int microsoft = X509_REQ_get_attr_by_NID(csr->req, NID_ms_ext_req, -1);
    if (standard < 0 && microsoft < 0)
        return true;
    if (standard >= 0 && microsoft >= 0)
        return err_set(err, ERR_PEER, "a CSR with two lists of extensions");
    X509_ATTRIBUTE *attribute = X509_REQ_get_attr(csr->req, standard >= 0 ? standard : microsoft);
    if (X509_ATTRIBUTE_count(attribute) != 1)
        return err_set(err, ERR_PEER, "an extensionRequest with %d values",
                       X509_ATTRIBUTE_count(attribute));
    csr->extensions = X509_REQ_get_extensions(csr->req);
    if (!csr->extensions)
        return err_openssl(err, ERR_PEER, "a malformed extensionRequest");
    return check_extensions(csr->extensions, err);
}

static bool take_names(struct csr *csr, struct err *err)
{
    int critical = -1;
    GENERAL_NAMES *sans =
        csr->extensions ? X509V3_get_d2i(csr->extensions, NID_subject_alt_name, &critical, NULL)
                        : NULL;
    if (!sans && critical != -1)
        return err_openssl(err, ERR_PEER, "a CSR with a malformed subjectAltName");
    bool ok = names_parse(X509_REQ_get_subject_name(csr->req), sans, &csr->names, err);
    csr->names.san_critical = critical > 0;
    GENERAL_NAMES_free(sans);
    return ok;
}

static bool take_change(struct csr *csr, struct err *err)
{
    struct csr_value value;
    if (!csr_value_get(csr, CHANGE_OID, V_ASN1_SEQUENCE, &value, err))
        return false;
    csr->has_change = value.has && change_parse(value.content, &csr->change, err);
    return csr->has_change || !value.has;
}

static bool take_spki(struct csr *csr, struct err *err)
{
    unsigned char *der = NULL;
    int len = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(csr->req), &der);
    bool ok = len > 0 ? spki_parse(bytes_of(der, (size_t)len), &csr->spki, err)
                      : err_openssl(err, ERR_PEER, "a CSR whose key cannot be encoded");
    OPENSSL_free(der);
    return ok;
}

bool csr_parse(struct bytes der, struct csr **ret, struct err *err)
{
    if (der.len == 0 || der.len > CSR_MAX)
        return err_set(err, ERR_PEER, "a CSR of %zu bytes, at most %zu are handled", der.len,
                       CSR_MAX);
    struct csr *csr = mem_zalloc(sizeof *csr);
    csr->count = 1;
    csr->challenge = BUF_SECRET(CSR_CHALLENGE_MAX);
    csr->linking = BUF_SECRET(CSR_LINKING_MAX);
    csr->req = keyless_req(der.ptr, der.len);
    if (!csr->req) {
        err_openssl(err, ERR_PEER, "a malformed CSR");
    } else if (check_attributes(csr->req, err) && take_secrets(csr, err) &&
               take_extensions(csr, err) && take_names(csr, err) && take_change(csr, err) &&
               take_spki(csr, err) && buf_set(&csr->der, der)) {
        *ret = csr;
        return true;
    }
    csr_free(csr);
    return false;
}

struct csr *csr_ref(struct csr *csr)
{
    atomic_fetch_add(&csr->count, 1);
    return csr;
}

void csr_free(struct csr *csr)
{
    if (!csr || atomic_fetch_sub(&csr->count, 1) != 1)
        return;
    X509_REQ_free(csr->req);
    spki_clear(&csr->spki);
    names_clear(&csr->names);
    names_clear(&csr->change);
    buf_free(&csr->challenge);
    buf_free(&csr->linking);
    sk_X509_EXTENSION_pop_free(csr->extensions, X509_EXTENSION_free);
    buf_free(&csr->der);
    free(csr);
}

bool csr_is_signed(const struct csr *csr)
{
    const X509_ALGOR *algorithm;
    const ASN1_OBJECT *object;
    char text[sizeof CSR_OID_NO_SIGNATURE + 1];
    X509_REQ_get0_signature(csr->req, NULL, &algorithm);
    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    return OBJ_obj2txt(text, sizeof text, object, 1) < 0 || strcmp(text, CSR_OID_NO_SIGNATURE) != 0;
}

bool csr_pop_check(const struct csr *csr, struct err *err)
{
    if (!csr->spki.key)
        return err_set(err, ERR_PEER, "a CSR with a kind of key that we cannot verify");
    if (!csr_is_signed(csr))
        return err_set(err, ERR_PEER, "a CSR without a signature");
    if (X509_REQ_verify_ex(csr->req, csr->spki.key, NULL, NULL) != 1)
        return err_openssl(err, ERR_PEER, "the CSR's signature is not by its own key");
    return true;
}

/* NID_md4 and its like are old, too, and so is what nobody knows. */
int csr_old_digest_get(const struct csr *csr)
{
    const X509_ALGOR *algorithm;
    X509_REQ_get0_signature(csr->req, NULL, &algorithm);
    if (strong_is(algorithm))
        return NID_undef;
    int digest = strong_digest(algorithm);
    return digest == NID_undef ? OBJ_obj2nid(algorithm->algorithm) : digest;
}

bool csr_strong_check(const struct csr *csr, struct err *err)
{
    const X509_ALGOR *algorithm;
    X509_REQ_get0_signature(csr->req, NULL, &algorithm);
    return strong_check(algorithm, "a CSR", err);
}

struct bytes csr_der_get(const struct csr *csr)
{
    return buf_bytes(&csr->der);
}

const struct spki *csr_spki_get(const struct csr *csr)
{
    return &csr->spki;
}

const struct names *csr_names_get(const struct csr *csr)
{
    return &csr->names;
}

const struct names *csr_wanted_get(const struct csr *csr)
{
    return csr->has_change ? &csr->change : &csr->names;
}

bool csr_change_has(const struct csr *csr)
{
    return csr->has_change;
}

struct bytes csr_challenge_get(const struct csr *csr)
{
    return buf_bytes(&csr->challenge);
}

bool csr_challenge_has(const struct csr *csr)
{
    return csr->has_challenge;
}

bool csr_linking_has(const struct csr *csr)
{
    return csr->has_linking;
}

struct bytes csr_linking_get(const struct csr *csr)
{
    return buf_bytes(&csr->linking);
}

const STACK_OF(X509_EXTENSION) * csr_extensions_get(const struct csr *csr)
{
    return csr->extensions;
}

const ASN1_OBJECT *csr_attribute_get(const struct csr *csr, int i)
{
    if (i < 0 || i >= X509_REQ_get_attr_count(csr->req))
        return NULL;
    return X509_ATTRIBUTE_get0_object(X509_REQ_get_attr(csr->req, i));
}

bool csr_value_get(const struct csr *csr, const char *oid, int type, struct csr_value *ret,
                   struct err *err)
{
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    if (!object)
        err_no_memory();
    int at = X509_REQ_get_attr_by_OBJ(csr->req, object, -1);
    ASN1_OBJECT_free(object);
    *ret = (struct csr_value){.has = at >= 0};
    if (at < 0)
        return true;
    X509_ATTRIBUTE *attribute = X509_REQ_get_attr(csr->req, at);
    ASN1_TYPE *value =
        X509_ATTRIBUTE_count(attribute) == 1 ? X509_ATTRIBUTE_get0_type(attribute, 0) : NULL;
    if (!value || ASN1_TYPE_get(value) != type)
        return err_set(err, ERR_PEER, "a CSR whose attribute %s has not one value of its type",
                       oid);
    const ASN1_STRING *string = value->value.asn1_string;
    ret->content = bytes_of(ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
    return true;
}
