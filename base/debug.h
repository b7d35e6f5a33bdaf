/* Hooks of the builds that tests are run with (SCEPTER_DEBUG); a release has none of them.
 *
 * The environment variable SCEPTER_DEBUG names a file of sizeof(struct debug_page) bytes that a
 * test changes while the program runs. */
#ifndef BASE_DEBUG_H
#define BASE_DEBUG_H

#include <stdint.h>

struct debug_page {
    int64_t clock_shift; /* seconds that clock_now() is ahead of the real time */
    int32_t skip;        /* how often the boundary is passed before it kills */
    char boundary[52];   /* the process kills itself there; empty: nowhere */
};

#ifdef SCEPTER_DEBUG

/* A place where a process may die: kills this one as kill -9 does, if the page says so. */
void debug_boundary(const char *name);
int64_t debug_clock_shift(void);

#else

static inline void debug_boundary(const char *name)
{
    (void)name;
}

static inline int64_t debug_clock_shift(void)
{
    return 0;
}

#endif

#endif
