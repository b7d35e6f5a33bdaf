#include "est/cmc_reply.h"

#include "base/der.h"

#include <openssl/objects.h>
#include <time.h>

#define OID_PKI_RESPONSE "1.3.6.1.5.5.7.12.3"
#define GENERALIZED_TIME 0x18
#define CONTENT_MAX ((size_t)64 << 10)

/* { id-cmc 25 }, which OpenSSL has no number for. */
static const uint8_t status_info_v2[] = {DER_OID, 8, 0x2b, 6, 1, 5, 5, 7, 7, 25};

static bool add_number(struct buf *out, uint32_t value)
{
    uint8_t octets[5] = {0, (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                         (uint8_t)value};
    size_t skip = 0;
    while (skip < 4 && octets[skip] == 0 && !(octets[skip + 1] & 0x80))
        skip++;
    return der_add(out, DER_INTEGER, bytes_of(octets + skip, sizeof octets - skip));
}

/* TaggedAttribute { bodyPartID, attrType, SET { value } } */
static bool add_control(struct est_cmc_out *out, struct bytes oid, struct bytes value)
{
    size_t start = out->controls.len;
    out->controls.max = CONTENT_MAX;
    return add_number(&out->controls, ++out->last_id) && buf_add(&out->controls, oid) &&
           der_add(&out->controls, DER_SET, value) && der_wrap(&out->controls, start, DER_SEQUENCE);
}

bool est_cmc_out_control(struct est_cmc_out *out, int nid, struct bytes value)
{
    struct buf oid = {0};
    bool ok = der_add_oid(&oid, nid) && add_control(out, buf_bytes(&oid), value);
    buf_free(&oid);
    return ok;
}

/* PendInfo { pendToken, pendTime } */
static bool add_pending(struct buf *out, const struct est_cmc_status *status)
{
    char text[24];
    struct tm tm;
    time_t at = (time_t)status->pend_time;
    size_t start = out->len;
    if (!status->token.len)
        return true;
    return gmtime_r(&at, &tm) && strftime(text, sizeof text, "%Y%m%d%H%M%SZ", &tm) &&
           der_add(out, DER_OCTET_STRING, status->token) &&
           der_add(out, GENERALIZED_TIME, bytes_str(text)) && der_wrap(out, start, DER_SEQUENCE);
}

bool est_cmc_out_status(struct est_cmc_out *out, const struct est_cmc_status *status)
{
    struct buf value = {0};
    bool ok = add_number(&value, status->code);
    size_t list = value.len;
    for (size_t i = 0; i < status->id_count && ok; i++)
        ok = add_number(&value, status->ids[i]);
    ok = ok && der_wrap(&value, list, DER_SEQUENCE) &&
         (!status->text || der_add(&value, DER_UTF8_STRING, bytes_str(status->text)));
    if (status->code == EST_CMC_FAILED)
        ok = ok && add_number(&value, status->fail);
    else if (status->code == EST_CMC_PENDING)
        ok = ok && add_pending(&value, status);
    ok = ok && der_wrap(&value, 0, DER_SEQUENCE) &&
         add_control(out, bytes_of(status_info_v2, sizeof status_info_v2), buf_bytes(&value));
    buf_free(&value);
    return ok;
}

/* PKIResponse { controlSequence, cmsSequence {}, otherMsgSequence {} } */
bool est_cmc_out_sign(const struct est_cmc_out *out, const struct cfg_identity *signer,
                      struct est_signed with, struct buf *der, struct err *err)
{
    static const uint8_t empty[] = {DER_SEQUENCE, 0, DER_SEQUENCE, 0};
    struct buf content = BUF_INIT(2 * CONTENT_MAX);
    bool ok =
        (der_add(&content, DER_SEQUENCE, buf_bytes(&out->controls)) &&
         buf_add(&content, bytes_of(empty, sizeof empty)) && der_wrap(&content, 0, DER_SEQUENCE)) ||
        err_set(err, ERR_LOCAL, "a reply that is too large");
    with.type = OID_PKI_RESPONSE;
    with.content = buf_bytes(&content);
    ok = ok && est_sign(signer, &with, der, err);
    buf_free(&content);
    return ok;
}

void est_cmc_out_clear(struct est_cmc_out *out)
{
    buf_free(&out->controls);
    *out = (struct est_cmc_out){0};
}
