#include "base/clock.h"

#include "base/debug.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic int64_t fixed_now; /* tests only */

int64_t clock_now(void)
{
    int64_t fixed = fixed_now;
    if (fixed)
        return fixed;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec + debug_clock_shift();
}

int64_t clock_mono_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void clock_set(int64_t unix_seconds)
{
    fixed_now = unix_seconds;
}
