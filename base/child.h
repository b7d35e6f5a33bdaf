/* Programs that are run to their end: no shell, an environment of their own, a deadline, ceilings
 * on what they print. */
#ifndef BASE_CHILD_H
#define BASE_CHILD_H

#include "base/bytes.h"

struct child_call {
    const char *const *argv; /* absolute path first; ends with NULL */
    const char *const *env;  /* "NAME=value", all of it; ends with NULL */
    size_t output_max;       /* bytes on standard output; of standard error as much is kept */
    int64_t deadline;        /* in clock_mono_ms() time */
};

enum child_result {
    CHILD_ENDED = 0,   /* by itself, with a code */
    CHILD_NOT_STARTED, /* nothing has happened */
    CHILD_CUT,         /* killed by us or by somebody: it may have done its work */
};

/* Zero-initialise; child_reply_clear frees. */
struct child_reply {
    int code;
    struct buf out, errors;
};

/* Its process group is killed at the deadline. err says what went wrong unless CHILD_ENDED. */
enum child_result child_run(const struct child_call *call, struct child_reply *reply,
                            struct err *err) MUST_USE;
void child_reply_clear(struct child_reply *reply);

#endif
