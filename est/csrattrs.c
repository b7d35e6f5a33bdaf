#include "est/csrattrs.h"

#include "base/der.h"

#include <openssl/ec.h>
#include <openssl/objects.h>
#include <string.h>

#define OID_CLIENT_AUTH "1.3.6.1.5.5.7.3.2"
#define OID_LINKING "1.2.840.113549.1.9.16.2.58"      /* RFC 7894 section 3.3 */
#define OID_TEMPLATE "1.2.840.113549.1.9.16.2.61"     /* RFC 9908 section 3.4 */
#define OID_EXT_TEMPLATE "1.2.840.113549.1.9.16.2.62" /* the same */
#define OID_CHALLENGE_PASSWORD "1.2.840.113549.1.9.7" /* RFC 2985 section 5.4.1 */
#define OID_EXTENSION_REQUEST "1.2.840.113549.1.9.14" /* RFC 2985 section 5.4.2 */
#define RSA_BYTES_MAX 1024
#define META "[]().*+?{}|\\"

/* text: dotted, or OpenSSL's short name. */
static bool add_oid(struct buf *out, const char *text)
{
    unsigned char *der = NULL;
    ASN1_OBJECT *object = OBJ_txt2obj(text, 0);
    int len = object ? i2d_ASN1_OBJECT(object, &der) : -1;
    bool ok = len > 0 && buf_add(out, bytes_of(der, (size_t)len));
    OPENSSL_free(der);
    ASN1_OBJECT_free(object);
    return ok;
}

/* A number that is not negative. */
static bool add_int(struct buf *out, uint64_t value)
{
    uint8_t octets[9] = {0};
    unsigned len = 1;
    while (len < sizeof octets && (value >> (8 * len - 1)) != 0)
        len++;
    for (unsigned i = 0; i < len && i < 8; i++)
        octets[len - 1 - i] = (uint8_t)(value >> (8 * i));
    return der_add(out, DER_INTEGER, bytes_of(octets, len));
}

/* What was added since `from` is the one value of an attribute (RFC 2986 section 4). */
static bool wrap_attribute(struct buf *out, size_t from, const char *type)
{
    struct buf value = {0};
    struct bytes all = buf_bytes(out), before = {0};
    bool ok = bytes_take(&all, from, &before) && buf_add(&value, all);
    out->len = from;
    size_t set = 0;
    ok = ok && add_oid(out, type);
    set = out->len;
    ok = ok && buf_add(out, buf_bytes(&value)) && der_wrap(out, set, DER_SET) &&
         der_wrap(out, from, DER_SEQUENCE);
    buf_free(&value);
    return ok;
}

/* Where the device puts the channel binding: challengePassword, unless the profile means something
 * else by it. */
static const char *binding_oid(const struct cfg_est *est)
{
    if (est->binding == CFG_BINDING_NONE)
        return NULL;
    return est->challenge_password == CFG_PASSWORD_BINDING ? OID_CHALLENGE_PASSWORD : OID_LINKING;
}

/* The one kind of key that is allowed; SPKI_OTHER if there are several, or none. */
static enum spki_kind only_kind(const struct cfg_keys *keys)
{
    bool rsa = keys->rsa_max > 0, ec = keys->ec.count > 0;
    if (keys->any || (rsa ? 1 : 0) + (ec ? 1 : 0) + (keys->ed25519 ? 1 : 0) != 1)
        return SPKI_OTHER;
    return rsa ? SPKI_RSA : ec ? SPKI_EC : SPKI_ED25519;
}

static bool add_curve(struct buf *out, const struct cfg_keys *keys)
{
    int nid = EC_curve_nist2nid(keys->ec.items[0]);
    return nid != NID_undef && der_add_oid(out, nid);
}

/* At most one (RFC 9908 section 3.2): if devices may choose, they are not told. Of several sizes or
 * curves, the first. */
static bool add_key(const struct cfg_keys *keys, struct buf *out)
{
    size_t from = out->len;
    switch (only_kind(keys)) {
    case SPKI_RSA:
        return add_int(out, (uint64_t)keys->rsa_min) && wrap_attribute(out, from, "rsaEncryption");
    case SPKI_EC:
        return add_curve(out, keys) && wrap_attribute(out, from, "id-ecPublicKey");
    case SPKI_ED25519:
        return add_oid(out, "ED25519");
    default:
        return true;
    }
}

/* Extension extendedKeyUsage with all that is allowed. */
static bool add_eku(const struct cfg_profile *profile, struct buf *out)
{
    size_t from = out->len;
    if (!add_oid(out, "extendedKeyUsage"))
        return false;
    size_t value = out->len;
    for (size_t i = 0; i < profile->eku.count; i++)
        if (!add_oid(out, profile->eku.items[i]))
            return false;
    return (profile->eku.count || add_oid(out, OID_CLIENT_AUTH)) &&
           der_wrap(out, value, DER_SEQUENCE) && der_wrap(out, value, DER_OCTET_STRING) &&
           der_wrap(out, from, DER_SEQUENCE);
}

/* ExtensionTemplate subjectAltName without a value: the device fills it in. */
static bool add_san(struct buf *out)
{
    size_t from = out->len;
    return add_oid(out, "subjectAltName") && der_wrap(out, from, DER_SEQUENCE);
}

/* Extension, or ExtensionTemplate if it has no value. */
static bool add_asked(const struct cfg_asked_extension *extension, struct buf *out)
{
    static const uint8_t critical[] = {DER_BOOLEAN, 1, 0xff};
    size_t from = out->len;
    return add_oid(out, extension->oid) &&
           (!extension->critical || buf_add(out, bytes_of(critical, sizeof critical))) &&
           (!extension->value.len ||
            der_add(out, DER_OCTET_STRING, buf_bytes(&extension->value))) &&
           der_wrap(out, from, DER_SEQUENCE);
}

/* Those of the configuration; of the plain form, only what has a value. *partial: one has none. */
static bool add_given(const struct cfg_est *est, bool plain, bool *partial, struct buf *out)
{
    bool ok = true;
    for (size_t i = 0; ok && i < est->extension_count; i++) {
        bool value = est->extensions[i].value.len > 0;
        *partial = *partial || !value;
        ok = (plain && !value) || add_asked(&est->extensions[i], out);
    }
    return ok;
}

/* One attribute with all extensions (RFC 9908 section 3.2); none without. */
static bool add_plain_extensions(const struct cfg_profile *profile, struct buf *out)
{
    size_t from = out->len;
    bool partial = false;
    if (!(profile->est.extensions_given ? add_given(&profile->est, true, &partial, out)
                                        : add_eku(profile, out)))
        return false;
    return out->len == from ||
           (der_wrap(out, from, DER_SEQUENCE) && wrap_attribute(out, from, OID_EXTENSION_REQUEST));
}

/* RFC 7030 section 4.5.2: objects and attributes. */
static bool add_plain(const struct cfg_profile *profile, struct buf *out)
{
    const struct cfg_subject *rules = profile->subject;
    const char *binding = binding_oid(&profile->est);
    bool ok = (!binding || add_oid(out, binding)) && add_key(&profile->keys, out);
    for (size_t i = 0; ok && i < profile->subject_count; i++)
        if (!i || strcmp(rules[i].type, rules[i - 1].type) != 0)
            ok = add_oid(out, rules[i].type);
    ok = ok && add_plain_extensions(profile, out);
    for (size_t i = 0; ok && i < profile->est.oids.count; i++)
        ok = add_oid(out, profile->est.oids.items[i]);
    return ok;
}

/* The one value that a pattern matches; false if there are several. */
static bool pattern_value(const char *pattern, struct bytes *ret)
{
    struct bytes text = bytes_str(pattern), caret;
    if (text.len && text.ptr[0] == '^' && !bytes_take(&text, 1, &caret))
        return false;
    if (text.len && text.ptr[text.len - 1] == '$')
        text.len--;
    for (size_t i = 0; i < text.len; i++)
        if (strchr(META "^$", text.ptr[i]))
            return false;
    *ret = text;
    return text.len > 0;
}

/* RelativeDistinguishedNameTemplate: an attribute, its value only if there is but one. */
static bool add_rdn(const struct cfg_subject *rule, struct buf *out)
{
    size_t from = out->len;
    struct bytes value;
    /* RFC 5280 appendix A.1: these are PrintableString. */
    bool printable = strcmp(rule->type, "C") == 0 || strcmp(rule->type, "serialNumber") == 0 ||
                     strcmp(rule->type, "dnQualifier") == 0;
    bool ok = add_oid(out, rule->type);
    if (ok && strcmp(rule->type, "DC") != 0 && strcmp(rule->type, "emailAddress") != 0 &&
        pattern_value(rule->pattern, &value))
        ok = der_add(out, printable ? DER_PRINTABLE_STRING : DER_UTF8_STRING, value);
    return ok && der_wrap(out, from, DER_SEQUENCE) && der_wrap(out, from, DER_SET);
}

/* A public key of that length with nothing else to it (RFC 9908 section 3.4). */
static bool add_dummy(int64_t bits, struct buf *out)
{
    uint8_t modulus[1 + RSA_BYTES_MAX] = {0};
    size_t len = (size_t)bits / 8, from = out->len;
    if (len > RSA_BYTES_MAX || bits % 8 != 0)
        return true; /* no size that OpenSSL's users write; the device chooses */
    memset(modulus + 1, 0xff, len);
    return buf_add_u8(out, 0) && der_add(out, DER_INTEGER, bytes_of(modulus, 1 + len)) &&
           add_int(out, 65537) && der_wrap(out, from + 1, DER_SEQUENCE) &&
           der_wrap(out, from, DER_BIT_STRING);
}

/* SubjectPublicKeyInfoTemplate, [0] implicit. */
static bool add_key_template(const struct cfg_keys *keys, struct buf *out)
{
    static const uint8_t null[] = {DER_NULL, 0};
    size_t from = out->len;
    bool ok = true;
    switch (only_kind(keys)) {
    case SPKI_RSA:
        ok = add_oid(out, "rsaEncryption") && buf_add(out, bytes_of(null, sizeof null)) &&
             der_wrap(out, from, DER_SEQUENCE) && add_dummy(keys->rsa_min, out);
        break;
    case SPKI_EC:
        ok = add_oid(out, "id-ecPublicKey") && add_curve(out, keys) &&
             der_wrap(out, from, DER_SEQUENCE);
        break;
    case SPKI_ED25519:
        ok = add_oid(out, "ED25519") && der_wrap(out, from, DER_SEQUENCE);
        break;
    default:
        return true;
    }
    return ok && der_wrap(out, from, DER_CONTEXT_CONSTRUCTED(0));
}

/* extensionRequest if every value is given, else its template; none without extensions. */
static bool add_extensions(const struct cfg_profile *profile, struct buf *out)
{
    const struct cfg_est *est = &profile->est;
    size_t from = out->len;
    bool partial = !est->extensions_given && profile->san_given;
    if (!(est->extensions_given ? add_given(est, false, &partial, out)
                                : (!profile->san_given || add_san(out)) && add_eku(profile, out)))
        return false;
    return out->len == from ||
           (der_wrap(out, from, DER_SEQUENCE) &&
            wrap_attribute(out, from, partial ? OID_EXT_TEMPLATE : OID_EXTENSION_REQUEST));
}

/* CertificationRequestInfoTemplate (RFC 9908 section 3.4). An attribute of it has a value, and the
 * binding's is not known before the connection is: the plain form tells about that one. */
static bool add_template(const struct cfg_profile *profile, struct buf *out)
{
    size_t from = out->len;
    if (!add_int(out, 0))
        return false;
    size_t at = out->len;
    for (size_t i = 0; i < profile->subject_count; i++)
        if (!add_rdn(&profile->subject[i], out))
            return false;
    if (profile->subject_count && !der_wrap(out, at, DER_SEQUENCE))
        return false;
    if (!add_key_template(&profile->keys, out))
        return false;
    at = out->len;
    return add_extensions(profile, out) && der_wrap(out, at, DER_CONTEXT_CONSTRUCTED(1)) &&
           der_wrap(out, from, DER_SEQUENCE) && wrap_attribute(out, from, OID_TEMPLATE);
}

bool est_csrattrs_encode(const struct cfg_profile *profile, struct buf *out)
{
    enum cfg_csrattrs form = profile->est.csrattrs;
    const char *binding = binding_oid(&profile->est);
    if (form == CFG_CSRATTRS_NONE)
        return true;
    bool plain = form != CFG_CSRATTRS_TEMPLATE;
    return (plain ? add_plain(profile, out) : !binding || add_oid(out, binding)) &&
           (form == CFG_CSRATTRS_PLAIN || add_template(profile, out)) &&
           der_wrap(out, 0, DER_SEQUENCE);
}
