#include "scep/attrs.h"

#include "base/der.h"

/* 2.16.840.1.113733.1.9.N: VeriSign's arc, where SCEP put its attributes. */
#define SCEP_OID(n) 0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x45, 0x01, 0x09, n

static const struct {
    uint8_t oid[10];
    uint8_t len;
    uint8_t tag; /* of the value */
} table[SCEP_ATTR_COUNT] = {
    [SCEP_ATTR_TYPE] = {{SCEP_OID(2)}, 10, DER_PRINTABLE_STRING},
    [SCEP_ATTR_STATUS] = {{SCEP_OID(3)}, 10, DER_PRINTABLE_STRING},
    [SCEP_ATTR_FAIL] = {{SCEP_OID(4)}, 10, DER_PRINTABLE_STRING},
    [SCEP_ATTR_SENDER_NONCE] = {{SCEP_OID(5)}, 10, DER_OCTET_STRING},
    [SCEP_ATTR_RECIPIENT_NONCE] = {{SCEP_OID(6)}, 10, DER_OCTET_STRING},
    [SCEP_ATTR_TXN] = {{SCEP_OID(7)}, 10, DER_PRINTABLE_STRING},
    /* id-scep-failInfoText 1.3.6.1.5.5.7.24.1 */
    [SCEP_ATTR_FAIL_TEXT] = {{0x2b, 6, 1, 5, 5, 7, 24, 1}, 8, DER_UTF8_STRING},
    /* id-contentType 1.2.840.113549.1.9.3 */
    [SCEP_ATTR_CONTENT_TYPE] = {{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3}, 9, DER_OID},
    /* 1.3.6.1.4.1.311.21.33; its value is "-2147024809" or the like */
    [SCEP_ATTR_HRESULT] = {{0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x15, 0x21}, 9, DER_PRINTABLE_STRING},
    /* id-messageDigest 1.2.840.113549.1.9.4 */
    [SCEP_ATTR_MESSAGE_DIGEST] = {{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4},
                                  9,
                                  DER_OCTET_STRING},
};

struct bytes scep_attr_oid(enum scep_attr attr)
{
    return bytes_of(table[attr].oid, table[attr].len);
}

bool scep_attr_find(struct bytes attributes, enum scep_attr attr, struct bytes *ret)
{
    struct der attribute, oid, values, value;
    bool found = false;
    while (attributes.len) {
        if (!der_take_tag(&attributes, DER_SEQUENCE, &attribute) ||
            !der_take_tag(&attribute.content, DER_OID, &oid))
            return false;
        if (!bytes_equal(oid.content, scep_attr_oid(attr)))
            continue;
        if (found || !der_take_tag(&attribute.content, DER_SET, &values) || attribute.content.len ||
            !der_take_tag(&values.content, table[attr].tag, &value) || values.content.len)
            return false;
        *ret = value.content;
        found = true;
    }
    return found;
}

int scep_attr_number(struct bytes attributes, enum scep_attr attr)
{
    struct bytes text;
    if (!scep_attr_find(attributes, attr, &text) || text.len < 1 || text.len > 2)
        return -1;
    int number = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return -1;
        number = 10 * number + (text.ptr[i] - '0');
    }
    return text.len == 2 && text.ptr[0] == '0' ? -1 : number;
}

bool scep_attr_add(struct buf *buf, enum scep_attr attr, struct bytes value)
{
    size_t start = buf->len;
    if (!der_add(buf, DER_OID, scep_attr_oid(attr)))
        return false;
    size_t values = buf->len;
    return der_add(buf, table[attr].tag, value) && der_wrap(buf, values, DER_SET) &&
           der_wrap(buf, start, DER_SEQUENCE);
}
