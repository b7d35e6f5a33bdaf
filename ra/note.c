#include "ra/note.h"

#include <stdarg.h>
#include <stdio.h>

void ra_note_set(struct ra_note *note, const char *outcome, const char *reason, const char *fmt,
                 ...)
{
    va_list args;
    note->outcome = outcome;
    note->reason = reason;
    va_start(args, fmt);
    vsnprintf(note->detail, sizeof note->detail, fmt, args);
    va_end(args);
}
