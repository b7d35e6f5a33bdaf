#include "scep/check.h"

#include "scep/attrs.h"
#include "scep/msg.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_inside(struct bytes part, struct bytes whole)
{
    if (part.len && (part.ptr < whole.ptr || part.ptr + part.len > whole.ptr + whole.len))
        abort();
}

/* Ranges that are found lie inside the input, and counts inside their bounds. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes der = bytes_of(data, size), value;
    struct scep_signed found;
    struct scep_enveloped opened;
    struct err err;
    if (scep_signed_take(der, &found, &err)) {
        if (found.cert_count > SCEP_CERTS_MAX || (!found.ski.len && !found.serial.len))
            abort();
        for (size_t i = 0; i < found.cert_count; i++)
            must_be_inside(found.certs[i], der);
        must_be_inside(found.attributes, der);
        for (int attr = 0; attr < SCEP_ATTR_COUNT; attr++)
            if (scep_attr_find(found.attributes, (enum scep_attr)attr, &value))
                must_be_inside(value, found.attributes);
    }
    if (scep_enveloped_take(der, true, &opened, &err)) {
        if (opened.recipient_count < 1 || opened.recipient_count > SCEP_RECIPIENTS_MAX)
            abort();
        for (size_t i = 0; i < opened.recipient_count; i++) {
            must_be_inside(opened.recipients[i].serial, der);
            must_be_inside(opened.recipients[i].ski, der);
        }
    } else if (scep_check_enveloped(der, false, &err)) {
        abort();
    }
    return 0;
}
