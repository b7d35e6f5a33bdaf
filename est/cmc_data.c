#include "base/cms.h"
#include "est/cmc.h"

#include <openssl/objects.h>

#define DEPTH_MAX 20
#define ELEMENTS_MAX 4000
#define IDS_MAX (EST_CMC_CONTROLS_MAX + EST_CMC_REQUESTS_MAX + EST_CMC_NESTED_MAX)
#define ID_OCTETS_MAX 5 /* with the sign octet */

bool est_cmc_take_id(struct bytes *cur, uint32_t *ret)
{
    struct bytes at = *cur;
    struct der number;
    uint64_t value = 0;
    if (!der_take_tag(&at, DER_INTEGER, &number) || !number.content.len ||
        number.content.len > ID_OCTETS_MAX || number.content.ptr[0] & 0x80)
        return false;
    for (size_t i = 0; i < number.content.len; i++)
        value = value << 8 | number.content.ptr[i];
    if (value > UINT32_MAX)
        return false;
    *ret = (uint32_t)value;
    *cur = at;
    return true;
}

static bool take_control(struct bytes *cur, struct est_cmc_data *data)
{
    struct der outer, oid, values;
    if (data->control_count == EST_CMC_CONTROLS_MAX || !der_take_tag(cur, DER_SEQUENCE, &outer))
        return false;
    struct est_cmc_control *control = &data->controls[data->control_count++];
    if (!est_cmc_take_id(&outer.content, &control->id) ||
        !der_take_tag(&outer.content, DER_OID, &oid) ||
        !der_take_tag(&outer.content, DER_SET, &values) || outer.content.len)
        return false;
    control->nid = cms_oid_nid(oid.whole);
    control->values = values.content;
    return true;
}

/* certReqId of the CertRequest is the body part's id (RFC 5272 section 3.2.2). */
static bool take_crmf_id(struct bytes message, uint32_t *id)
{
    struct der request;
    return der_take_tag(&message, DER_SEQUENCE, &request) && est_cmc_take_id(&request.content, id);
}

/* TaggedRequest ::= CHOICE { tcr [0], crm [1], orm [2] }, tagged implicitly. */
static bool take_request(struct bytes *cur, struct est_cmc_data *data)
{
    struct der outer, csr;
    if (data->request_count == EST_CMC_REQUESTS_MAX || !der_take(cur, &outer))
        return false;
    struct est_cmc_request *request = &data->requests[data->request_count++];
    switch (outer.tag) {
    case DER_CONTEXT_CONSTRUCTED(0):
        request->kind = EST_CMC_PKCS10;
        if (!est_cmc_take_id(&outer.content, &request->id) ||
            !der_take_tag(&outer.content, DER_SEQUENCE, &csr) || outer.content.len)
            return false;
        request->der = csr.whole;
        return true;
    case DER_CONTEXT_CONSTRUCTED(1):
        request->kind = EST_CMC_CRMF;
        request->der = outer.content;
        return take_crmf_id(outer.content, &request->id);
    case DER_CONTEXT_CONSTRUCTED(2):
        request->kind = EST_CMC_OTHER;
        return est_cmc_take_id(&outer.content, &request->id);
    default:
        return false;
    }
}

/* TaggedContentInfo: only its id counts, since nothing inside is looked at. */
static bool take_nested(struct bytes *cur, struct est_cmc_data *data)
{
    struct der outer;
    return data->nested_count < EST_CMC_NESTED_MAX && der_take_tag(cur, DER_SEQUENCE, &outer) &&
           est_cmc_take_id(&outer.content, &data->nested[data->nested_count++]);
}

static bool take_all(struct bytes *cur, struct est_cmc_data *data,
                     bool (*take)(struct bytes *cur, struct est_cmc_data *data))
{
    struct der list;
    if (!der_take_tag(cur, DER_SEQUENCE, &list))
        return false;
    while (list.content.len)
        if (!take(&list.content, data))
            return false;
    return true;
}

/* Ids are unique within a PKIData, and 0 stands for the whole of it (RFC 5272 section 3.2.2). */
static bool ids_fine(const struct est_cmc_data *data)
{
    uint32_t ids[IDS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < data->control_count; i++)
        ids[count++] = data->controls[i].id;
    for (size_t i = 0; i < data->request_count; i++)
        ids[count++] = data->requests[i].id;
    for (size_t i = 0; i < data->nested_count; i++)
        ids[count++] = data->nested[i];
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == 0)
            return false;
        for (size_t k = 0; k < i; k++)
            if (ids[i] == ids[k])
                return false;
    }
    return true;
}

bool est_cmc_parse(struct bytes content, struct est_cmc_data *ret, struct err *err)
{
    struct der outer, others;
    struct bytes cur = content;
    *ret = (struct est_cmc_data){0};
    if (!der_check(content, DEPTH_MAX, ELEMENTS_MAX) || !der_take_tag(&cur, DER_SEQUENCE, &outer))
        return err_set(err, ERR_PEER, "a content that is not whole, or nested too deeply");
    if (!take_all(&outer.content, ret, take_control) ||
        !take_all(&outer.content, ret, take_request) ||
        !take_all(&outer.content, ret, take_nested) ||
        !der_take_tag(&outer.content, DER_SEQUENCE, &others) || outer.content.len)
        return err_set(err, ERR_PEER,
                       "a content that is no PKIData of at most %d controls, %d requests and %d "
                       "messages",
                       EST_CMC_CONTROLS_MAX, EST_CMC_REQUESTS_MAX, EST_CMC_NESTED_MAX);
    return ids_fine(ret) || err_set(err, ERR_PEER, "a PKIData with a bodyPartID twice, or 0");
}
