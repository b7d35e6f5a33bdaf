/* Signed messages whose signature says nothing of their time (SCEP): whoever captured one may send
 * it at any time, so each that led to a request is remembered. Internal to ra/. */
#ifndef RA_MESSAGE_H
#define RA_MESSAGE_H

#include "ra/store/store.h"

/* Of a request that came in such a message. ERR_LOCAL. */
bool ra_message_of(const struct ra_request *request, struct store_message *ret,
                   struct err *err) MUST_USE;
/* *ret is false for a request that came otherwise. */
bool ra_message_seen(struct store *store, const struct ra_request *request, bool *ret,
                     struct err *err) MUST_USE;
/* It led to the request with this id. Nothing for one that came otherwise, or was seen before. */
bool ra_message_note(struct store *store, const struct ra_request *request, const char *id,
                     struct err *err) MUST_USE;

#endif
