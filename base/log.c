#include "base/log.h"

#include "base/clock.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Characters of a value as written: even a line with several hostile values has room for the fields
 * behind them. */
#define VALUE_MAX ((size_t)600)

static _Atomic int lowest = LOG_INFO;

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
};

void log_level_set(enum log_level level)
{
    lowest = (int)level;
}

/* Appends whole pieces only, and keeps the last byte for the line end. */
static void line_add(struct log_line *line, struct bytes piece)
{
    if (piece.len > sizeof line->text - 1 - line->len)
        return;
    memcpy(line->text + line->len, piece.ptr, piece.len);
    line->len += piece.len;
}

void log_begin(struct log_line *line, enum log_level level, const char *event)
{
    char now[TEXT_TIME_MAX], head[128];
    line->len = 0;
    line->off = (int)level < lowest;
    if (line->off)
        return;
    text_time(clock_now(), now);
    int len =
        snprintf(head, sizeof head, "time=%s level=%s event=%s", now, level_names[level], event);
    line_add(line, bytes_of(head, (size_t)len < sizeof head ? (size_t)len : sizeof head - 1));
}

void log_bytes(struct log_line *line, const char *key, struct bytes value)
{
    if (line->off)
        return;
    struct buf text = BUF_INIT(VALUE_MAX), piece = BUF_INIT(VALUE_MAX + 128);
    text_escape(value, VALUE_MAX, &text);
    if (buf_add_fmt(&piece, " %s=\"%s\"", key, buf_str(&text)))
        line_add(line, buf_bytes(&piece));
    buf_free(&text);
    buf_free(&piece);
}

void log_str(struct log_line *line, const char *key, const char *value)
{
    if (value)
        log_bytes(line, key, bytes_str(value));
}

void log_num(struct log_line *line, const char *key, int64_t value)
{
    char piece[96];
    if (line->off)
        return;
    int len = snprintf(piece, sizeof piece, " %s=%lld", key, (long long)value);
    line_add(line, bytes_of(piece, (size_t)len < sizeof piece ? (size_t)len : sizeof piece - 1));
}

void log_end(struct log_line *line)
{
    if (line->off)
        return;
    line->text[line->len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line->text, line->len);
    (void)written; /* there is nowhere else to say it */
}

void log_text(enum log_level level, const char *event, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct log_line line;
    log_begin(&line, level, event);
    log_str(&line, "reason", text);
    log_end(&line);
}

void log_err(enum log_level level, const char *event, const struct err *err)
{
    struct log_line line;
    log_begin(&line, level, event);
    log_str(&line, "who", err_kind_name(err->kind));
    log_str(&line, "reason", err->text);
    log_end(&line);
}
