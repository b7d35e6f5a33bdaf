/* Certificates whose private key, made here, is lost: nobody can have them any more. Internal to
 * ra/. */
#ifndef RA_RETIRE_H
#define RA_RETIRE_H

#include "ra/work.h"

/* Revokes the certificate of the request: in the inventory, and at its CA if that is quickly done;
 * else the operator is told. Nothing if it is revoked already. */
bool retire_cert(struct ra *ra, const struct ra_settings *settings, const char *id,
                 struct err *err) MUST_USE;

/* Of a row that has been driven: what was issued for a key that is not here any more is revoked,
 * and the outcome is to ask again. */
bool retire_unkept(struct ra *ra, const struct ra_drive *drive, struct ra_outcome *outcome,
                   struct err *err) MUST_USE;

/* Whether a claimed row is yet to be sent, for a key that is not here any more; then it ends, and
 * no CA hears of it. */
bool retire_unsent(struct ra *ra, const struct ra_drive *drive);
bool retire_end(struct ra *ra, const struct ra_drive *drive, struct ra_outcome *outcome,
                struct err *err) MUST_USE;

#endif
