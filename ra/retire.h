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

/* Keys go with their requests: they are kept while these are open, for retry_window once they are
 * issued, and then no more. From time to time. */
bool retire_keys(struct ra *ra, const struct ra_settings *settings, struct err *err) MUST_USE;

/* Whether a row is yet to be sent, by nobody now, for a key that is not here any more: who claims
 * it ends it, whenever its turn would come. */
bool retire_wants(struct ra *ra, const struct ra_settings *settings,
                  const struct store_request *row);
/* Whether a claimed row, for a key that is not here any more, is yet to be sent, or waits at a CA
 * that issues nothing for it by itself; then it ends, and gives back the challenge that it spent.
 */
bool retire_unsent(struct ra *ra, const struct ra_drive *drive);
bool retire_end(struct ra *ra, const struct ra_drive *drive, struct ra_outcome *outcome,
                struct err *err) MUST_USE;

#endif
