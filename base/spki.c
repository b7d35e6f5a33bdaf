#include "base/spki.h"

#include "base/der.h"

#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <string.h>

#define RSA_EXPONENT_BITS_MAX 64
#define POINT_MAX 256 /* the largest curve, B-571, takes 145 */

static const char *const kind_names[SPKI_KIND_COUNT] = {
    [SPKI_RSA] = "rsa",     [SPKI_EC] = "ec",       [SPKI_ED25519] = "ed25519",
    [SPKI_ED448] = "ed448", [SPKI_OTHER] = "other",
};

/* The algorithm identifier's two parts and the key bits of a SubjectPublicKeyInfo. */
struct parts {
    int algorithm;     /* NID, or NID_undef */
    struct der params; /* tag 0: none */
    struct bytes key;
};

static int nid_of(struct bytes whole)
{
    const unsigned char *p = whole.ptr;
    ASN1_OBJECT *object = d2i_ASN1_OBJECT(NULL, &p, (long)whole.len);
    int nid = object ? OBJ_obj2nid(object) : NID_undef;
    ASN1_OBJECT_free(object);
    return nid;
}

static bool parts_take(struct bytes der, struct parts *ret)
{
    struct der outer, algorithm, oid, bits;
    uint8_t unused;
    if (!der_take_tag(&der, DER_SEQUENCE, &outer) || der.len || outer.indefinite ||
        !der_take_tag(&outer.content, DER_SEQUENCE, &algorithm) ||
        !der_take_tag(&outer.content, DER_BIT_STRING, &bits) || outer.content.len ||
        !der_take_tag(&algorithm.content, DER_OID, &oid))
        return false;
    ret->params = (struct der){0};
    if (algorithm.content.len &&
        (!der_take(&algorithm.content, &ret->params) || algorithm.content.len))
        return false;
    ret->algorithm = nid_of(oid.whole);
    ret->key = bits.content;
    return bytes_take_u8(&ret->key, &unused) && unused == 0 && ret->key.len;
}

static bool rsa_parse(const struct parts *parts, struct spki *spki, struct err *err)
{
    const unsigned char *p = parts->key.ptr;
    BIGNUM *e = NULL;
    spki->kind = SPKI_RSA;
    if (parts->params.tag != 0 && (parts->params.tag != DER_NULL || parts->params.content.len))
        return err_set(err, ERR_PEER, "an RSA key with parameters");
    spki->key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, (long)parts->key.len);
    if (!spki->key || p != parts->key.ptr + parts->key.len)
        return err_openssl(err, ERR_PEER, "a malformed RSA public key");
    spki->bits = EVP_PKEY_get_bits(spki->key);
    if (spki->bits > SPKI_RSA_BITS_MAX)
        return err_set(err, ERR_PEER, "an RSA key of %d bits, at most %d are handled", spki->bits,
                       SPKI_RSA_BITS_MAX);
    bool fine = EVP_PKEY_get_bn_param(spki->key, OSSL_PKEY_PARAM_RSA_E, &e) && BN_is_odd(e) &&
                !BN_is_negative(e) && !BN_is_one(e) && BN_num_bits(e) <= RSA_EXPONENT_BITS_MAX;
    BN_free(e);
    return fine || err_set(err, ERR_PEER, "an RSA key with an even, small or huge exponent");
}

static const char *curve_name(int nid)
{
    const char *nist = EC_curve_nid2nist(nid);
    return nist ? nist : OBJ_nid2sn(nid);
}

static bool ec_parse(const struct parts *parts, struct spki *spki, struct err *err)
{
    int nid = parts->params.tag == DER_OID ? nid_of(parts->params.whole) : NID_undef;
    spki->kind = SPKI_EC;
    if (nid == NID_undef)
        return err_set(err, ERR_PEER, "an EC key without a named curve");
    spki->curve = curve_name(nid);
    /* RFC 5480 section 2.2: hybrid is not used; OpenSSL takes it, and the point at infinity too. */
    if (parts->key.ptr[0] < POINT_CONVERSION_COMPRESSED ||
        parts->key.ptr[0] > POINT_CONVERSION_UNCOMPRESSED)
        return err_set(err, ERR_PEER, "an EC key whose point on %s begins with 0x%02x", spki->curve,
                       parts->key.ptr[0]);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)OBJ_nid2sn(nid), 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)parts->key.ptr,
                                          parts->key.len),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    bool ok = ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
              EVP_PKEY_fromdata(ctx, &spki->key, EVP_PKEY_PUBLIC_KEY, params) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (!ok)
        return err_openssl(err, ERR_PEER, "an EC key that is not a point on %s", spki->curve);
    spki->bits = EVP_PKEY_get_bits(spki->key);
    return true;
}

static bool raw_parse(const struct parts *parts, int type, struct spki *spki, struct err *err)
{
    spki->kind = type == EVP_PKEY_ED25519 ? SPKI_ED25519 : SPKI_ED448;
    if (parts->params.tag != 0) /* RFC 8410 section 3 */
        return err_set(err, ERR_PEER, "an %s key with parameters", kind_names[spki->kind]);
    spki->key = EVP_PKEY_new_raw_public_key(type, NULL, parts->key.ptr, parts->key.len);
    if (!spki->key)
        return err_openssl(err, ERR_PEER, "a malformed %s key", kind_names[spki->kind]);
    spki->bits = EVP_PKEY_get_bits(spki->key);
    return true;
}

static bool key_parse(const struct parts *parts, struct spki *spki, struct err *err)
{
    switch (parts->algorithm) {
    case NID_rsaEncryption:
        return rsa_parse(parts, spki, err);
    case NID_X9_62_id_ecPublicKey:
        return ec_parse(parts, spki, err);
    case NID_ED25519:
        return raw_parse(parts, EVP_PKEY_ED25519, spki, err);
    case NID_ED448:
        return raw_parse(parts, EVP_PKEY_ED448, spki, err);
    default:
        spki->kind = SPKI_OTHER;
        return true;
    }
}

/* SHA-256 of a SubjectPublicKeyInfo that is made of these parts; params and key as in struct parts.
 */
static bool digest_parts(int algorithm, struct bytes params, struct bytes key,
                         uint8_t out[SPKI_DIGEST_LEN])
{
    struct buf der = {0};
    bool ok =
        der_add_oid(&der, algorithm) && buf_add(&der, params) && der_wrap(&der, 0, DER_SEQUENCE);
    size_t bits = der.len;
    ok = ok && buf_add_u8(&der, 0) && buf_add(&der, key) && der_wrap(&der, bits, DER_BIT_STRING) &&
         der_wrap(&der, 0, DER_SEQUENCE);
    if (ok)
        SHA256(der.ptr, der.len, out);
    buf_free(&der);
    return ok;
}

static bool digest_rsa(struct spki *spki)
{
    static const uint8_t null[] = {DER_NULL, 0};
    unsigned char *text = NULL;
    int len = i2d_PublicKey(spki->key, &text);
    bool ok = len > 0 && digest_parts(NID_rsaEncryption, bytes_of(null, sizeof null),
                                      bytes_of(text, (size_t)len), spki->digest);
    OPENSSL_free(text);
    return ok;
}

/* The point is uncompressed for it, as nearly everybody writes it (RFC 5480 section 2.2). */
static bool digest_ec(const struct parts *parts, struct spki *spki)
{
    uint8_t point[POINT_MAX];
    size_t len = 0;
    if (parts->key.ptr[0] == POINT_CONVERSION_UNCOMPRESSED)
        return digest_parts(parts->algorithm, parts->params.whole, parts->key, spki->digest);
    return EVP_PKEY_set_utf8_string_param(spki->key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                          OSSL_PKEY_EC_POINT_CONVERSION_FORMAT_UNCOMPRESSED) &&
           EVP_PKEY_get_octet_string_param(spki->key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point,
                                           sizeof point, &len) &&
           digest_parts(parts->algorithm, parts->params.whole, bytes_of(point, len), spki->digest);
}

/* One digest for one key, however it was written: whoever repeats another's message or renews must
 * not be able to make a new key of the same one by writing it differently. */
static bool digest_make(const struct parts *parts, struct spki *spki)
{
    if (spki->kind == SPKI_RSA)
        return digest_rsa(spki);
    if (spki->kind == SPKI_EC)
        return digest_ec(parts, spki);
    SHA256(spki->der.ptr, spki->der.len, spki->digest);
    return true;
}

bool spki_parse(struct bytes der, struct spki *ret, struct err *err)
{
    struct spki spki = {0};
    struct parts parts;
    if (!parts_take(der, &parts))
        return err_set(err, ERR_PEER, "a malformed SubjectPublicKeyInfo");
    if (!key_parse(&parts, &spki, err)) {
        spki_clear(&spki);
        return false;
    }
    if (!buf_set(&spki.der, der) || !digest_make(&parts, &spki)) {
        spki_clear(&spki);
        return err_openssl(err, ERR_PEER, "a key that cannot be encoded");
    }
    *ret = spki;
    return true;
}

void spki_clear(struct spki *spki)
{
    EVP_PKEY_free(spki->key);
    buf_free(&spki->der);
    *spki = (struct spki){0};
}

bool spki_equal(const struct spki *a, const struct spki *b)
{
    return memcmp(a->digest, b->digest, SPKI_DIGEST_LEN) == 0;
}

const char *spki_kind_name(enum spki_kind kind)
{
    return (unsigned)kind < SPKI_KIND_COUNT ? kind_names[kind] : "unknown";
}
