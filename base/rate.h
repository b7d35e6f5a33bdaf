/* How often something may happen, by key: GCRA (the generic cell rate algorithm of ITU-T I.371) in
 * a table of a fixed size. Thread-safe. */
#ifndef BASE_RATE_H
#define BASE_RATE_H

#include "base/bytes.h"

/* `count` times in `seconds`, all of them at once if one likes, then evenly. count 0: no limit. */
struct rate {
    int64_t count, seconds;
};

struct rate_table;

struct rate_table *rate_table_new(void) MUST_USE;
void rate_table_free(struct rate_table *table); /* NULL is allowed */

/* Takes one of what the key has at `now`, which is milliseconds of a clock that never jumps.
 * Returns how many milliseconds are to be waited for the next one: 0 if one was taken, and then
 * only. Under a flood of keys those that used least are forgotten, as if they had used nothing;
 * which keys share a place cannot be chosen from outside. */
int64_t rate_table_take(struct rate_table *table, struct bytes key, const struct rate *rate,
                        int64_t now) MUST_USE;

#endif
