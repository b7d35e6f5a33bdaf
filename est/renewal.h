/* renewal-info: when a certificate had better be renewed
 * (draft-yusef-lamps-rfc7030-renewal-recommendation). Internal to est/. */
#ifndef EST_RENEWAL_H
#define EST_RENEWAL_H

#include "ra/window.h"

struct est_renewal {
    bool found;
    int retry_after;
};

/* JSON goes to out if the profile has the certificate. */
bool est_renewal_info(struct store *store, const struct ra_cert_id *of, struct est_renewal *ret,
                      struct buf *out, struct err *err) MUST_USE;

/* id: base64url(keyIdentifier of the AKI) "." base64url(serial number), without padding. serial
 * holds CERT_SERIAL_TEXT_MAX. False if it is malformed. */
bool est_renewal_id(struct bytes id, struct buf *key_id, char *serial) MUST_USE;

#endif
