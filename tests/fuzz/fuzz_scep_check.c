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

/* What is found lies inside the input and its bounds, and unwrapping reads nothing beyond it. */
static void look_at_password(const struct scep_pwri *pwri, struct bytes der)
{
    uint8_t key[EVP_MAX_KEY_LENGTH];
    must_be_inside(pwri->salt, der);
    must_be_inside(pwri->iv, der);
    must_be_inside(pwri->wrapped, der);
    if (pwri->iterations < SCEP_PWRI_ITERATIONS_MIN ||
        pwri->iterations > SCEP_PWRI_ITERATIONS_MAX || pwri->wrapped.len < 2 * pwri->iv.len)
        abort();
    (void)!scep_pwri_unwrap(pwri, bytes_str("SECRET"), key, 16);
}

/* Ranges that are found lie inside the input, and counts inside their bounds. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes der = bytes_of(data, size), value;
    struct cms_signed found;
    struct scep_enveloped opened;
    struct err err;
    if (scep_signed_take(der, &found, &err)) {
        if (found.cert_count > SCEP_CERTS_MAX ||
            (!found.signer.ski.len && !found.signer.serial.len))
            abort();
        for (size_t i = 0; i < found.cert_count; i++)
            must_be_inside(found.certs[i], der);
        must_be_inside(found.attributes, der);
        for (int attr = 0; attr < SCEP_ATTR_COUNT; attr++)
            if (scep_attr_find(found.attributes, (enum scep_attr)attr, &value))
                must_be_inside(value, found.attributes);
    }
    if (scep_enveloped_take(der, true, &opened, &err)) {
        if (opened.by_password)
            look_at_password(&opened.pwri, der);
        if (!opened.recipient_count != opened.by_password ||
            opened.recipient_count > SCEP_RECIPIENTS_MAX)
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
