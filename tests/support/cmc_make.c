#include "tests/support/cmc_make.h"
#include "tests/support/must.h"

#include "base/der.h"
#include "base/text.h"

#include <openssl/cms.h>
#include <stdlib.h>

void cmc_free(struct cmc *cmc)
{
    buf_free(&cmc->controls);
    buf_free(&cmc->requests);
    buf_free(&cmc->nested);
}

static void add_id(struct buf *out, uint32_t id)
{
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    unsigned char *der = NULL;
    MUST(number && ASN1_INTEGER_set_uint64(number, id));
    int len = i2d_ASN1_INTEGER(number, &der);
    MUST(len > 0 && buf_add(out, bytes_of(der, (size_t)len)));
    OPENSSL_free(der);
    ASN1_INTEGER_free(number);
}

static void add_oid(struct buf *out, const char *oid)
{
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    MUST(object && der_add(out, DER_OID, bytes_of(OBJ_get0_data(object), OBJ_length(object))));
    ASN1_OBJECT_free(object);
}

static void add_hex(struct buf *out, const char *hex)
{
    struct buf der = {0};
    MUST(!hex || (text_unhex(bytes_str(hex), &der) && buf_add(out, buf_bytes(&der))));
    buf_free(&der);
}

void cmc_add_control(struct cmc *cmc, uint32_t id, const char *oid, struct bytes value)
{
    size_t start = cmc->controls.len;
    add_id(&cmc->controls, id);
    add_oid(&cmc->controls, oid);
    MUST(der_add(&cmc->controls, DER_SET, value) && der_wrap(&cmc->controls, start, DER_SEQUENCE));
}

void cmc_add_pkcs10(struct cmc *cmc, uint32_t id, struct bytes csr)
{
    size_t start = cmc->requests.len;
    add_id(&cmc->requests, id);
    MUST(buf_add(&cmc->requests, csr) &&
         der_wrap(&cmc->requests, start, DER_CONTEXT_CONSTRUCTED(0)));
}

void cmc_add_other(struct cmc *cmc, uint32_t id)
{
    size_t start = cmc->requests.len;
    add_id(&cmc->requests, id);
    add_oid(&cmc->requests, "1.2.3.4");
    MUST(der_add(&cmc->requests, DER_NULL, bytes_of(NULL, 0)) &&
         der_wrap(&cmc->requests, start, DER_CONTEXT_CONSTRUCTED(2)));
}

void cmc_add_nested(struct cmc *cmc, uint32_t id)
{
    size_t start = cmc->nested.len;
    add_id(&cmc->nested, id);
    add_hex(&cmc->nested, "300b06092a864886f70d010701");
    MUST(der_wrap(&cmc->nested, start, DER_SEQUENCE));
}

static void add_template(struct buf *out, const struct cmc_crmf *crmf)
{
    struct buf csr = make_req_der(&(struct make_spec){.subject = "CN=device"}, crmf->key);
    struct bytes cur = buf_bytes(&csr);
    struct der req, info, version, name, spki;
    size_t start = out->len, at;
    MUST(der_take(&cur, &req) && der_take(&req.content, &info) &&
         der_take(&info.content, &version) && der_take(&info.content, &name) &&
         der_take(&info.content, &spki));
    add_hex(out, crmf->field);
    MUST(der_add(out, DER_CONTEXT_CONSTRUCTED(5), name.whole) &&
         der_add(out, DER_CONTEXT_CONSTRUCTED(6), spki.content));
    at = out->len;
    add_hex(out, crmf->extension);
    MUST(!crmf->extension || der_wrap(out, at, DER_CONTEXT_CONSTRUCTED(9)));
    MUST(der_wrap(out, start, DER_SEQUENCE));
    buf_free(&csr);
}

static void add_signature(struct buf *out, struct bytes request, EVP_PKEY *key)
{
    unsigned char signature[1024] = {0};
    size_t len = sizeof signature - 1, start = out->len;
    bool rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
    bool ed = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    MUST(EVP_DigestSignInit(ctx, NULL, ed ? NULL : EVP_sha256(), NULL, key) == 1 &&
         EVP_DigestSign(ctx, signature + 1, &len, request.ptr, request.len) == 1);
    add_hex(out, rsa  ? "300d06092a864886f70d01010b0500"
                 : ed ? "300506032b6570"
                      : "300a06082a8648ce3d040302");
    MUST(der_add(out, DER_BIT_STRING, bytes_of(signature, len + 1)) &&
         der_wrap(out, start, DER_CONTEXT_CONSTRUCTED(1)));
    EVP_MD_CTX_free(ctx);
}

struct buf cmc_crmf_make(uint32_t id, const struct cmc_crmf *crmf)
{
    struct buf out = {0}, request = {0};
    add_id(&request, id);
    add_template(&request, crmf);
    if (crmf->controls)
        add_hex(&request, "3000");
    MUST(der_wrap(&request, 0, DER_SEQUENCE) && buf_add(&out, buf_bytes(&request)));
    if (crmf->popo == 1)
        add_signature(&out, buf_bytes(&request), crmf->signer ? crmf->signer : crmf->key);
    else if (crmf->popo == 0)
        add_hex(&out, "8000");
    if (crmf->reg_info)
        add_hex(&out, "3000");
    buf_free(&request);
    return out;
}

void cmc_add_crmf(struct cmc *cmc, uint32_t id, const struct cmc_crmf *crmf)
{
    struct buf content = cmc_crmf_make(id, crmf);
    MUST(der_add(&cmc->requests, DER_CONTEXT_CONSTRUCTED(1), buf_bytes(&content)));
    buf_free(&content);
}

struct buf cmc_data(const struct cmc *cmc)
{
    struct buf out = {0};
    MUST(der_add(&out, DER_SEQUENCE, buf_bytes(&cmc->controls)) &&
         der_add(&out, DER_SEQUENCE, buf_bytes(&cmc->requests)) &&
         der_add(&out, DER_SEQUENCE, buf_bytes(&cmc->nested)) &&
         der_add(&out, DER_SEQUENCE, bytes_of(NULL, 0)) && der_wrap(&out, 0, DER_SEQUENCE));
    return out;
}

struct buf cmc_sign(struct bytes data, const struct cmc_sign *how)
{
    const unsigned flags = CMS_BINARY | how->flags | (how->no_cert ? CMS_NOCERTS : 0);
    const EVP_MD *md = how->md ? how->md : EVP_sha256();
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_BINARY);
    ASN1_OBJECT *type = OBJ_txt2obj(how->type ? how->type : CMC_PKI_DATA, 1);
    BIO *in = BIO_new_mem_buf(data.ptr, (int)data.len);
    unsigned char *der = NULL;
    struct buf out = {0};
    MUST(CMS_set1_eContentType(cms, type));
    CMS_SignerInfo *signer = CMS_add1_signer(cms, how->cert, how->key, md, flags | CMS_PARTIAL);
    MUST(signer);
    if (how->time) {
        ASN1_TIME *time = ASN1_TIME_set(NULL, how->time);
        MUST(time &&
             CMS_signed_add1_attr_by_NID(signer, NID_pkcs9_signingTime, time->type, time, -1));
        ASN1_TIME_free(time);
    }
    MUST(!how->along || CMS_add1_cert(cms, how->along) == 1);
    MUST(!how->second || CMS_add1_signer(cms, how->second, how->key, md, flags));
    MUST(CMS_final(cms, in, NULL, CMS_BINARY) == 1);
    int len = i2d_CMS_ContentInfo(cms, &der);
    MUST(len > 0 && buf_set(&out, bytes_of(der, (size_t)len)));
    OPENSSL_free(der);
    BIO_free(in);
    ASN1_OBJECT_free(type);
    CMS_ContentInfo_free(cms);
    return out;
}
