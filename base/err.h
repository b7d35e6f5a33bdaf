/* Errors as values: who must act, and one sentence that tells the operator what was wrong. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum err_kind {
    ERR_NONE = 0,
    ERR_PEER,     /* the device, or whoever sent these bytes */
    ERR_CONFIG,   /* whoever wrote the configuration */
    ERR_UPSTREAM, /* the operator of an upstream CA */
    ERR_LOCAL,    /* this machine: disk, memory, files */
    ERR_BUG,      /* us */
    ERR_KIND_COUNT,
};

struct err {
    enum err_kind kind;
    char text[512];  /* for the operator, never for the device; not escaped, no secrets */
    int retry_after; /* ERR_UPSTREAM: seconds for which a CA wants to be left alone; 0: no wish */
};

/* Sets kind and text, without a wish. Always returns false, so that `return err_set(...)` reads
 * well. */
bool err_set(struct err *err, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same, with the reasons from OpenSSL's error queue appended; the queue is empty afterwards. */
bool err_openssl(struct err *err, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Prefixes the text with "while <fmt>: ". The kind stays. Always returns false. */
bool err_within(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* "peer", "config", ...: a word for logs and metrics. */
const char *err_kind_name(enum err_kind kind);

/* A small allocation failed: logs one line and aborts. The service manager restarts us and the
 * store holds the state. */
_Noreturn void err_no_memory(void);

#endif
