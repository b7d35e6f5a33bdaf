/* The SCEP door: bytes in, bytes out, one call per HTTP request. Knows nothing of sockets. */
#ifndef SCEP_DOOR_H
#define SCEP_DOOR_H

#include "ra/note.h"
#include "ra/ra.h"
#include "scep/scep.h"

struct scep_call {
    const struct ra_settings *settings;
    const struct cfg_profile *profile;
    struct bytes query; /* raw query string, as in the request line */
    bool post;
    struct bytes body;       /* of a POST */
    const char *origin;      /* peer address */
    struct bytes user_agent; /* or empty */
    const char *id;          /* of the call, which a device may be told; or NULL */
};

struct scep_reply {
    int status;               /* HTTP */
    const char *content_type; /* static text, exact, without parameters */
    struct buf body;
    char
        delivers[RA_ID_LEN + 1]; /* request whose certificate this is: ra_delivered after sending */
    struct ra_note note;
};

/* Whether what scep.legacy of the profile asks of OpenSSL is there: at the start, not at the first
 * request. */
bool scep_door_check(const struct cfg_profile *profile, struct err *err) MUST_USE;

/* Always fills *reply; the caller clears it. */
void scep_door_handle(struct ra *ra, const struct scep_call *call, struct scep_reply *reply);
void scep_reply_clear(struct scep_reply *reply);

#endif
