/* Text forms: hex, base64, escaping, durations, sizes, times. All strict unless they say so. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/bytes.h"

/* Lower-case hex. out holds 2 * in.len + 1. */
void text_hex(struct bytes in, char *out);
/* Hex of either case to bytes; false on an odd length, another character, or no room in buf. */
bool text_unhex(struct bytes in, struct buf *out) MUST_USE;

/* RFC 4648 section 4. columns = 0: one line without a line end; otherwise lines of that many
 * characters, each closed by LF. */
bool text_base64_encode(struct bytes in, unsigned columns, struct buf *out) MUST_USE;
enum text_base64 {
    TEXT_BASE64_STRICT = 0, /* canonical alphabet and padding, nothing else */
    TEXT_BASE64_SPACE = 1,  /* and SP, TAB, CR, LF anywhere (RFC 8951 section 3.1) */
    TEXT_BASE64_LENIENT =
        3, /* and '-' '_', a space read as '+' is the caller's, padding optional */
};
/* False, with err of kind ERR_PEER that names the offset, if in is not base64 of that form. */
bool text_base64_decode(struct bytes in, enum text_base64 form, struct buf *out,
                        struct err *err) MUST_USE;
/* Percent-decoding, once. '+' stays. False on a bad escape or if it decodes to NUL. */
bool text_percent_decode(struct bytes in, struct buf *out) MUST_USE;

/* Text from outside made safe for a log or a terminal: printable ASCII stays, '"' and '\' are
 * backslashed, everything else becomes \xNN; cut with "..." at `max` input bytes, or where out's
 * ceiling is reached. */
void text_escape(struct bytes in, size_t max, struct buf *out);

/* "90d", "8h", "30m", "30s", "0d" (also w for weeks, y for 365 days) to seconds. */
bool text_duration(const char *text, int64_t *seconds) MUST_USE;
/* "128KiB", "4MiB", "512" to bytes. */
bool text_size(const char *text, int64_t *bytes) MUST_USE;
/* RFC 3339 in UTC: "2026-11-23T12:00:00Z". out holds 21. */
#define TEXT_TIME_MAX 32
void text_time(int64_t unix_seconds, char out[TEXT_TIME_MAX]);

/* `pattern` against `name`, both without regard to ASCII case: "*" alone matches everything; a
 * "*" elsewhere matches one or more characters other than '.', '@', ':' and '/'. */
bool text_glob(const char *pattern, const char *name);

#endif
