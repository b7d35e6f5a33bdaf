#include "tests/support/keygen_make.h"
#include "tests/support/must.h"

#include "base/der.h"

#include <stdlib.h>

struct buf keygen_make_der(EVP_PKEY *key, const struct keygen_attr *attrs, size_t count)
{
    X509_REQ *req = make_req(&(struct make_spec){.subject = "CN=device"}, key);
    unsigned char *der = NULL;
    struct buf out = {0};
    for (size_t i = 0; i < count; i++)
        MUST(X509_REQ_add1_attr_by_txt(req, attrs[i].oid, attrs[i].type, attrs[i].value.ptr,
                                       (int)attrs[i].value.len));
    MUST(X509_REQ_sign(req, key, EVP_sha256()));
    int len = i2d_X509_REQ(req, &der);
    MUST(len > 0 && buf_set(&out, bytes_of(der, (size_t)len)));
    OPENSSL_free(der);
    X509_REQ_free(req);
    return out;
}

struct csr *keygen_make(EVP_PKEY *key, const struct keygen_attr *attrs, size_t count)
{
    struct buf der = keygen_make_der(key, attrs, count);
    struct csr *csr;
    struct err err;
    MUST(csr_parse(buf_bytes(&der), &csr, &err));
    buf_free(&der);
    return csr;
}

void keygen_make_capabilities(const char *const *oids, struct buf *der)
{
    for (size_t i = 0; oids[i]; i++) {
        ASN1_OBJECT *object = OBJ_txt2obj(oids[i], 1);
        size_t start = der->len;
        MUST(object && der_add(der, DER_OID, bytes_of(OBJ_get0_data(object), OBJ_length(object))) &&
             der_wrap(der, start, DER_SEQUENCE));
        ASN1_OBJECT_free(object);
    }
    MUST(der_wrap(der, 0, DER_SEQUENCE));
}
