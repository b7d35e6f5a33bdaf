#include "ra/upstream.h"

static const char *const result_names[] = {
    [UP_ISSUED] = "issued",   [UP_UNCONFIRMED] = "unconfirmed",
    [UP_PENDING] = "pending", [UP_REFUSED] = "refused",
    [UP_RETRY] = "retry",     [UP_UNKNOWN] = "unknown",
    [UP_LOST] = "lost",
};

void up_reply_clear(struct up_reply *reply)
{
    cert_free(reply->cert);
    buf_free(&reply->cookie);
    buf_free(&reply->handle);
    *reply = (struct up_reply){0};
}

const char *up_result_name(enum up_result result)
{
    return (unsigned)result < sizeof result_names / sizeof result_names[0] ? result_names[result]
                                                                           : "invalid";
}
