/* Permits to compute: as many threads as there are cores work at the same time, the others wait in
 * line, so that each request is done soon instead of all of them late. Who waits for something else
 * (a disk, another server) gives his back meanwhile. */
#ifndef BASE_PERMIT_H
#define BASE_PERMIT_H

#include <stdatomic.h>
#include <stdbool.h>

struct permits;

struct permits *permits_new(unsigned count);
void permits_free(struct permits *permits); /* nobody holds or wants one; NULL is allowed */

/* Waits for its turn, first come first served. The thread holds none yet. */
void permit_take(struct permits *permits);
void permit_give(struct permits *permits);

/* Around a wait: what the thread holds is given back, and taken again before anybody who waits for
 * a first turn. Nothing if it holds none. Not nested. */
void permit_pause(void);
void permit_resume(void);

/* Threads that serve the same peers, of which so many may wait for something that may take long:
 * the others are left for whoever needs no waiting. */
struct permit_room {
    unsigned most;
    atomic_uint waiting;
};
/* Where the thread is from now on; borrowed. NULL: nowhere, where anybody may wait. */
void permit_room_enter(struct permit_room *room);
/* Around such a wait: false if there is no room for it. */
bool permit_room_begin(void);
void permit_room_end(void);

#endif
