#include "base/clock.h"

#include "base/debug.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

#define NS_PER_S 1000000000

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

int64_t clock_mono_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000;
}

void clock_mono_sleep(int64_t until_ns)
{
    struct timespec until = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

void clock_set(int64_t unix_seconds)
{
    fixed_now = unix_seconds;
}
