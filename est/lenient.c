#include "est/lenient.h"

#include "est/body.h"

static const struct est_lenient_refusal refusals[EST_LENIENT_COUNT] = {
    [EST_LENIENT_DER] = {400, "bad-request", "a body of DER instead of base64"},
    [EST_LENIENT_PEM] = {400, "bad-request", "a body of PEM instead of base64"},
    [EST_LENIENT_NO_TYPE] = {415, "bad-media-type", "no media type"},
};

const struct est_lenient_refusal *est_lenient_find(const struct est_call *call,
                                                   bool lenient[EST_LENIENT_COUNT])
{
    enum est_layout layout = est_body_layout(call->body);
    lenient[EST_LENIENT_DER] = layout == EST_LAYOUT_DER;
    lenient[EST_LENIENT_PEM] = layout == EST_LAYOUT_PEM;
    lenient[EST_LENIENT_NO_TYPE] = bytes_trim(call->content_type).len == 0;
    for (unsigned i = 0; i < EST_LENIENT_COUNT; i++)
        if (lenient[i] && call->profile->est.strict[i])
            return &refusals[i];
    return NULL;
}

const char *est_lenient_name(enum cfg_lenient lenient)
{
    static const char *const names[EST_LENIENT_COUNT] = {
        [EST_LENIENT_DER] = "der",
        [EST_LENIENT_PEM] = "pem",
        [EST_LENIENT_NO_TYPE] = "no-media-type",
    };
    return names[lenient];
}
