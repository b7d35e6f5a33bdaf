#include "base/cms.h"
#include "est/cmc.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/sha.h>

/* What is taken of a CertTemplate (RFC 4211 section 5). */
struct wanted {
    struct bytes subject;    /* whole Name */
    struct bytes key;        /* content of the SubjectPublicKeyInfo */
    struct bytes extensions; /* content of Extensions; empty: none */
};

struct possession {
    struct bytes request; /* whole CertRequest: what is signed */
    int algorithm;
    struct bytes signature;
};

/* version [0] must be v3 if it is there. Serial number, signing algorithm, issuer, validity and
 * unique ids are the CA's to choose: who asks for them is refused, not ignored. */
static bool take_template(struct bytes *cur, struct wanted *ret, struct err *err)
{
    struct der outer, field, name;
    *ret = (struct wanted){0};
    if (!der_take_tag(cur, DER_SEQUENCE, &outer))
        return err_set(err, ERR_PEER, "a CRMF request without a template");
    while (outer.content.len) {
        if (!der_take(&outer.content, &field))
            return err_set(err, ERR_PEER, "a malformed CRMF template");
        switch (field.tag) {
        case DER_CONTEXT(0):
            if (field.content.len != 1 || field.content.ptr[0] != 2)
                return err_set(err, ERR_PEER, "a CRMF template for another version than 3");
            break;
        case DER_CONTEXT_CONSTRUCTED(5): /* Name is a CHOICE: tagged explicitly */
            if (ret->subject.len || !der_take_tag(&field.content, DER_SEQUENCE, &name) ||
                field.content.len)
                return err_set(err, ERR_PEER, "a CRMF template with a malformed subject");
            ret->subject = name.whole;
            break;
        case DER_CONTEXT_CONSTRUCTED(6):
            if (ret->key.len)
                return err_set(err, ERR_PEER, "a CRMF template with two keys");
            ret->key = field.content;
            break;
        case DER_CONTEXT_CONSTRUCTED(9):
            if (ret->extensions.len)
                return err_set(err, ERR_PEER, "a CRMF template with two lists of extensions");
            ret->extensions = field.content;
            break;
        default:
            return err_set(err, ERR_PEER, "a CRMF template with field %02x, which is not granted",
                           field.tag);
        }
    }
    return (ret->subject.len && ret->key.len) ||
           err_set(err, ERR_PEER, "a CRMF template without subject and key");
}

/* POPOSigningKey { algorithm, signature }, without poposkInput (RFC 5272 section 3.2.1.2.2). */
static bool take_possession(struct bytes *cur, struct possession *ret, enum est_cmc_fail *fail,
                            struct err *err)
{
    struct der popo, algorithm, oid, bits;
    uint8_t unused;
    *fail = EST_CMC_POP_REQUIRED;
    if (!cur->len)
        return err_set(err, ERR_PEER, "a CRMF request without a proof of possession");
    *fail = EST_CMC_POP_FAILED;
    if (!der_take_tag(cur, DER_CONTEXT_CONSTRUCTED(1), &popo))
        return err_set(err, ERR_PEER,
                       "a CRMF request whose proof of possession is not a signature");
    if (!der_take_tag(&popo.content, DER_SEQUENCE, &algorithm) ||
        !der_take_tag(&algorithm.content, DER_OID, &oid) ||
        !der_take_tag(&popo.content, DER_BIT_STRING, &bits) || popo.content.len ||
        !bytes_take_u8(&bits.content, &unused) || unused != 0)
        return err_set(err, ERR_PEER, "a CRMF request with a malformed proof of possession");
    ret->algorithm = cms_oid_nid(oid.whole);
    ret->signature = bits.content;
    *fail = EST_CMC_BAD_REQUEST;
    return !cur->len || err_set(err, ERR_PEER, "a CRMF request with regInfo");
}

static bool verify(const struct possession *possession, const struct spki *spki,
                   enum est_cmc_fail *fail, struct err *err)
{
    int digest = NID_undef, kind = NID_undef;
    bool known = OBJ_find_sigid_algs(possession->algorithm, &digest, &kind) == 1 &&
                 (digest == NID_sha256 || digest == NID_sha384 || digest == NID_sha512 ||
                  possession->algorithm == NID_ED25519);
    *fail = EST_CMC_BAD_ALG;
    if (!known || !spki->key || EVP_PKEY_get_base_id(spki->key) != EVP_PKEY_type(kind))
        return err_set(err, ERR_PEER, "a CRMF request signed with %s, which is not allowed",
                       OBJ_nid2sn(possession->algorithm));
    *fail = EST_CMC_POP_FAILED;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const EVP_MD *md = digest == NID_undef ? NULL : EVP_get_digestbynid(digest);
    bool ok = ctx && EVP_DigestVerifyInit(ctx, NULL, md, NULL, spki->key) == 1 &&
              EVP_DigestVerify(ctx, possession->signature.ptr, possession->signature.len,
                               possession->request.ptr, possession->request.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok || err_set(err, ERR_PEER, "the CRMF request's signature is not by its own key");
}

/* Attribute { extensionRequest, SET { Extensions } } in [0]; [0] empty without extensions. */
static bool add_attributes(struct bytes extensions, struct buf *out)
{
    size_t start = out->len;
    bool ok = true;
    if (extensions.len) {
        ok = der_add_oid(out, NID_ext_req);
        size_t set = out->len;
        ok = ok && der_add(out, DER_SEQUENCE, extensions) && der_wrap(out, set, DER_SET) &&
             der_wrap(out, start, DER_SEQUENCE);
    }
    return ok && der_wrap(out, start, DER_CONTEXT_CONSTRUCTED(0));
}

static bool add_no_signature(struct bytes info, struct buf *out)
{
    static const uint8_t algorithm[] = {DER_SEQUENCE, 12,   DER_OID, 8,    0x2b, 0x06,     0x01,
                                        0x05,         0x05, 0x07,    0x06, 0x02, DER_NULL, 0};
    uint8_t value[1 + SHA256_DIGEST_LENGTH] = {0}; /* no unused bits, then a digest */
    SHA256(info.ptr, info.len, value + 1);
    return buf_add(out, bytes_of(algorithm, sizeof algorithm)) &&
           der_add(out, DER_BIT_STRING, bytes_of(value, sizeof value));
}

/* CertificationRequest (RFC 2986 section 4.2) of the template, with a signature that is none. */
static bool encode(const struct wanted *wanted, struct buf *out)
{
    static const uint8_t version[] = {DER_INTEGER, 1, 0};
    struct buf info = BUF_INIT(CSR_MAX);
    bool ok = buf_add(&info, bytes_of(version, sizeof version)) &&
              buf_add(&info, wanted->subject) && der_add(&info, DER_SEQUENCE, wanted->key) &&
              add_attributes(wanted->extensions, &info) && der_wrap(&info, 0, DER_SEQUENCE) &&
              buf_add(out, buf_bytes(&info)) && add_no_signature(buf_bytes(&info), out) &&
              der_wrap(out, 0, DER_SEQUENCE);
    buf_free(&info);
    return ok;
}

static bool take_request(struct bytes *cur, struct wanted *wanted, struct bytes *whole,
                         struct err *err)
{
    struct der request;
    uint32_t id;
    if (!der_take_tag(cur, DER_SEQUENCE, &request) || !est_cmc_take_id(&request.content, &id))
        return err_set(err, ERR_PEER, "a malformed CRMF request");
    *whole = request.whole;
    return take_template(&request.content, wanted, err) &&
           (!request.content.len ||
            err_set(err, ERR_PEER, "a CRMF request with controls, which are not supported"));
}

bool est_crmf_csr(struct bytes der, struct csr **ret, enum est_cmc_fail *fail, struct err *err)
{
    struct wanted wanted = {0};
    struct possession possession = {0};
    struct buf req = BUF_INIT(CSR_MAX);
    struct csr *csr = NULL;
    *fail = EST_CMC_BAD_REQUEST;
    if (!take_request(&der, &wanted, &possession.request, err) ||
        !take_possession(&der, &possession, fail, err))
        return false;
    bool ok = encode(&wanted, &req) || err_set(err, ERR_PEER, "a CRMF request too large");
    ok = ok && csr_parse(buf_bytes(&req), &csr, err) &&
         verify(&possession, csr_spki_get(csr), fail, err);
    buf_free(&req);
    if (ok)
        *ret = csr;
    else
        csr_free(csr);
    return ok;
}
