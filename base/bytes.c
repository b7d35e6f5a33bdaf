#include "base/bytes.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BUF_FIRST_CAP ((size_t)64)

struct bytes bytes_of(const void *ptr, size_t len)
{
    return (struct bytes){.ptr = ptr, .len = len};
}

struct bytes bytes_str(const char *text)
{
    return text ? bytes_of(text, strlen(text)) : (struct bytes){0};
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool bytes_equal_str(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_str(text));
}

bool bytes_equal_nocase(struct bytes a, const char *text)
{
    return a.len == strlen(text) &&
           (a.len == 0 || strncasecmp((const char *)a.ptr, text, a.len) == 0);
}

bool bytes_starts(struct bytes a, const char *text)
{
    size_t len = strlen(text);
    return a.len >= len && bytes_equal(bytes_of(a.ptr, len), bytes_of(text, len));
}

bool bytes_equal_secret(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool bytes_take(struct bytes *cur, size_t n, struct bytes *ret)
{
    if (cur->len < n)
        return false;
    *ret = bytes_of(cur->ptr, n);
    if (n) {
        cur->ptr += n;
        cur->len -= n;
    }
    return true;
}

bool bytes_take_u8(struct bytes *cur, uint8_t *ret)
{
    struct bytes one;
    if (!bytes_take(cur, 1, &one))
        return false;
    *ret = one.ptr[0];
    return true;
}

bool bytes_take_until(struct bytes *cur, uint8_t stop, struct bytes *ret)
{
    const uint8_t *at = cur->len ? memchr(cur->ptr, stop, cur->len) : NULL;
    if (!at) {
        *ret = *cur;
        *cur = bytes_of(cur->len ? cur->ptr + cur->len : cur->ptr, 0);
        return false;
    }
    *ret = bytes_of(cur->ptr, (size_t)(at - cur->ptr));
    cur->len -= ret->len + 1;
    cur->ptr = at + 1;
    return true;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct bytes bytes_trim(struct bytes a)
{
    while (a.len && is_space(a.ptr[0])) {
        a.ptr++;
        a.len--;
    }
    while (a.len && is_space(a.ptr[a.len - 1]))
        a.len--;
    return a;
}

char *bytes_to_str(struct bytes a)
{
    if (a.len && memchr(a.ptr, 0, a.len))
        return NULL;
    char *text = mem_zalloc(a.len + 1);
    if (a.len)
        memcpy(text, a.ptr, a.len);
    return text;
}

/* Room for `more` bytes and a NUL behind them, within the ceiling. */
static bool buf_reserve(struct buf *buf, size_t more)
{
    size_t max = buf->max ? buf->max : BUF_MAX_DEFAULT;
    if (more > max || buf->len > max - more)
        return false;
    size_t need = buf->len + more + 1;
    if (need <= buf->cap)
        return true;
    size_t cap = buf->cap ? buf->cap : BUF_FIRST_CAP;
    while (cap < need)
        cap *= 2;
    uint8_t *ptr = malloc(cap);
    if (!ptr)
        err_no_memory();
    if (buf->len)
        memcpy(ptr, buf->ptr, buf->len);
    if (buf->secret && buf->ptr)
        OPENSSL_cleanse(buf->ptr, buf->cap);
    free(buf->ptr);
    buf->ptr = ptr;
    buf->cap = cap;
    return true;
}

bool buf_add(struct buf *buf, struct bytes data)
{
    if (!buf_reserve(buf, data.len))
        return false;
    if (data.len)
        memcpy(buf->ptr + buf->len, data.ptr, data.len);
    buf->len += data.len;
    return true;
}

bool buf_add_u8(struct buf *buf, uint8_t value)
{
    return buf_add(buf, bytes_of(&value, 1));
}

bool buf_add_str(struct buf *buf, const char *text)
{
    return buf_add(buf, bytes_str(text));
}

bool buf_add_fmt(struct buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0 || !buf_reserve(buf, (size_t)len))
        return false;
    va_start(args, fmt);
    vsnprintf((char *)buf->ptr + buf->len, (size_t)len + 1, fmt, args);
    va_end(args);
    buf->len += (size_t)len;
    return true;
}

bool buf_set(struct buf *buf, struct bytes data)
{
    buf_clear(buf);
    return buf_add(buf, data);
}

struct bytes buf_bytes(const struct buf *buf)
{
    return bytes_of(buf->ptr, buf->len);
}

const char *buf_str(struct buf *buf)
{
    if (!buf_reserve(buf, 0))
        return "";
    buf->ptr[buf->len] = 0;
    return (const char *)buf->ptr;
}

void buf_clear(struct buf *buf)
{
    if (buf->secret && buf->ptr)
        OPENSSL_cleanse(buf->ptr, buf->cap);
    buf->len = 0;
}

void buf_free(struct buf *buf)
{
    if (!buf)
        return;
    if (buf->secret && buf->ptr)
        OPENSSL_cleanse(buf->ptr, buf->cap);
    free(buf->ptr);
    *buf = (struct buf){.max = buf->max, .secret = buf->secret};
}

void *mem_zalloc(size_t size)
{
    void *ptr = calloc(1, size ? size : 1);
    if (!ptr)
        err_no_memory();
    return ptr;
}

void *mem_resize(void *ptr, size_t count, size_t size)
{
    void *grown = reallocarray(ptr, count ? count : 1, size ? size : 1);
    if (!grown)
        err_no_memory();
    return grown;
}

char *mem_strdup(const char *text)
{
    if (!text)
        return NULL;
    char *copy = strdup(text);
    if (!copy)
        err_no_memory();
    return copy;
}

void mem_free_secret_str(char *text)
{
    if (!text)
        return;
    OPENSSL_cleanse(text, strlen(text));
    free(text);
}
