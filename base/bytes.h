/* Borrowed bytes, a cursor over them, and owned buffers that are born with their ceiling. The only
 * place where pointers into untrusted input are moved. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Borrowed. ptr may be NULL when len is 0. Also the cursor: taking from it moves it forward. */
struct bytes {
    const uint8_t *ptr;
    size_t len;
};

struct bytes bytes_of(const void *ptr, size_t len);
struct bytes bytes_str(const char *text); /* without the NUL; NULL gives empty */
bool bytes_equal(struct bytes a, struct bytes b);
bool bytes_equal_str(struct bytes a, const char *text);
bool bytes_equal_nocase(struct bytes a, const char *text); /* ASCII case only */
bool bytes_starts(struct bytes a, const char *text);
/* Constant time in the content (not in the lengths): for secrets. */
bool bytes_equal_secret(struct bytes a, struct bytes b);
/* First n bytes move from the cursor to *ret; false, with nothing moved, if there are fewer. */
bool bytes_take(struct bytes *cur, size_t n, struct bytes *ret) MUST_USE;
bool bytes_take_u8(struct bytes *cur, uint8_t *ret) MUST_USE;
/* Everything before the first `stop` moves to *ret and the stop byte is dropped; if it does not
 * occur the rest of the cursor is taken and false is returned. */
bool bytes_take_until(struct bytes *cur, uint8_t stop, struct bytes *ret);
struct bytes bytes_trim(struct bytes a); /* without leading and trailing SP, TAB, CR, LF */
/* A NUL-terminated copy that the caller frees, or NULL if the bytes hold a NUL. */
char *bytes_to_str(struct bytes a) MUST_USE;

/* Owned bytes with a ceiling. Zero-initialise or use BUF_INIT; free with buf_free. */
struct buf {
    uint8_t *ptr;
    size_t len;
    size_t cap;
    size_t max;  /* adding beyond it fails; 0 means BUF_MAX_DEFAULT */
    bool secret; /* wiped when freed, cleared or moved on growth */
};

#define BUF_MAX_DEFAULT ((size_t)16 << 20)
#define BUF_INIT(ceiling) ((struct buf){.max = (ceiling)})
#define BUF_SECRET(ceiling) ((struct buf){.max = (ceiling), .secret = true})

/* All adders: false if the ceiling would be passed, and then nothing was added. */
bool buf_add(struct buf *buf, struct bytes data) MUST_USE;
bool buf_add_u8(struct buf *buf, uint8_t value) MUST_USE;
bool buf_add_str(struct buf *buf, const char *text) MUST_USE;
bool buf_add_fmt(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_USE;
/* Sets the content to a copy of data. */
bool buf_set(struct buf *buf, struct bytes data) MUST_USE;
struct bytes buf_bytes(const struct buf *buf); /* borrowed until the next change */
const char *buf_str(struct buf *buf); /* NUL-terminated view, never NULL; NUL not counted */
void buf_clear(struct buf *buf);      /* empty; keeps ceiling and secrecy */
void buf_free(struct buf *buf);       /* NULL is allowed; the buffer is reusable */

/* Never fail: abort through err_no_memory. For small things whose size we chose. */
void *mem_zalloc(size_t size) MUST_USE;
void *mem_resize(void *ptr, size_t count, size_t size) MUST_USE;
char *mem_strdup(const char *text) MUST_USE; /* NULL gives NULL */
/* Wipes, then frees. NULL is allowed. */
void mem_free_secret_str(char *text);

#endif
