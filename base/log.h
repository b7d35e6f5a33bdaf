/* One line per event, logfmt on standard error: `level=info event=request client="..." ...`. Values
 * are escaped here, so nothing from outside can forge a line. Only gateway/ logs. Never pass a
 * secret. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/bytes.h"

enum log_level { LOG_DEBUG = 0, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Lines below the level are dropped. Default LOG_INFO. Thread-safe. */
void log_level_set(enum log_level level);

/* A line under construction, on the stack of one thread. */
struct log_line {
    char text[2048];
    size_t len;
    bool off;
};

/* log_begin(&l, LOG_INFO, "request"); log_str(&l, "client", ip); log_end(&l); */
void log_begin(struct log_line *line, enum log_level level, const char *event);
void log_str(struct log_line *line, const char *key, const char *value); /* NULL: key left out */
void log_bytes(struct log_line *line, const char *key, struct bytes value);
void log_num(struct log_line *line, const char *key, int64_t value);
void log_end(struct log_line *line); /* one write(2); safe to call from several threads */

/* event with a single reason="text" field. */
void log_text(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);
void log_err(enum log_level level, const char *event, const struct err *err);

#endif
