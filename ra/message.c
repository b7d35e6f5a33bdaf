#include "ra/message.h"

#include <string.h>

bool ra_message_of(const struct ra_request *request, struct store_message *ret, struct err *err)
{
    memcpy(ret->digest, request->evidence.message, sizeof ret->digest);
    return ra_request_sender(request, ret->sender) ||
           err_openssl(err, ERR_LOCAL, "digesting whose message it is");
}

bool ra_message_seen(struct store *store, const struct ra_request *request, bool *ret,
                     struct err *err)
{
    struct store_message message;
    *ret = false;
    return !request->evidence.message || (ra_message_of(request, &message, err) &&
                                          store->vt->message_seen(store, &message, ret, err));
}

bool ra_message_note(struct store *store, const struct ra_request *request, const char *id,
                     struct err *err)
{
    struct store_message message;
    bool seen;
    return !request->evidence.message ||
           (ra_message_of(request, &message, err) &&
            store->vt->message_seen(store, &message, &seen, err) &&
            (seen || store->vt->message_add(store, &message, id, err)));
}
