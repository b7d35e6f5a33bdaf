/* Who guesses passwords waits. Thread-safe; of a fixed size: under a flood of addresses the oldest
 * entries are forgotten. */
#ifndef EST_GUARD_H
#define EST_GUARD_H

#include "base/bytes.h"

/* Wrong passwords in EST_GUARD_WINDOW seconds after which one waits: of a user from an address, and
 * of an address whatever the user. Each further one doubles the wait, up to EST_GUARD_WAIT_MAX. */
#define EST_GUARD_USER_TRIES 10
#define EST_GUARD_ORIGIN_TRIES 100
#define EST_GUARD_WINDOW 600
#define EST_GUARD_WAIT_MAX 60

struct est_guard;

struct est_guard *est_guard_new(void) MUST_USE;
void est_guard_free(struct est_guard *guard); /* NULL is allowed */

/* origin: an address, of which IPv6 counts by its /64, or any other text. */

/* Seconds to wait before this user from this address may try again; 0: none. */
int est_guard_wait(struct est_guard *guard, const char *origin, struct bytes user);
/* What came of a try. A right password forgets the user's wrong ones, not the address's. */
void est_guard_note(struct est_guard *guard, const char *origin, struct bytes user, bool right);

#endif
