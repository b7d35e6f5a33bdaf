/* Time, in one place so that tests can set it. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_now(void);     /* seconds since 1970, UTC */
int64_t clock_mono_ms(void); /* milliseconds of a clock that never jumps; not settable */
int64_t clock_mono_ns(void); /* the same in nanoseconds */
/* Sleeps until clock_mono_ns() is at least this. */
void clock_mono_sleep(int64_t until_ns);

/* Tests only: from now on clock_now() answers this value; 0 goes back to the real time. */
void clock_set(int64_t unix_seconds);

#endif
