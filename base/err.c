#include "base/err.h"

#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const kind_names[ERR_KIND_COUNT] = {
    [ERR_NONE] = "none",         [ERR_PEER] = "peer",   [ERR_CONFIG] = "config",
    [ERR_UPSTREAM] = "upstream", [ERR_LOCAL] = "local", [ERR_BUG] = "bug",
};

bool err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
    va_list args;
    err->kind = kind;
    err->retry_after = 0;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    return false;
}

bool err_openssl(struct err *err, enum err_kind kind, const char *fmt, ...)
{
    va_list args;
    err->kind = kind;
    err->retry_after = 0;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);

    unsigned long code;
    const char *data;
    int flags;
    while ((code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags))) {
        const char *reason = ERR_reason_error_string(code);
        size_t len = strlen(err->text);
        const char *more = (flags & ERR_TXT_STRING) && data && *data ? data : NULL;
        snprintf(err->text + len, sizeof err->text - len, ": %s%s%s%s",
                 reason ? reason : "unknown OpenSSL error", more ? " (" : "", more ? more : "",
                 more ? ")" : "");
    }
    return false;
}

bool err_within(struct err *err, const char *fmt, ...)
{
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);

    va_list args;
    va_start(args, fmt);
    char what[sizeof err->text / 4];
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);

    size_t len = (size_t)snprintf(err->text, sizeof err->text, "while %s: ", what);
    snprintf(err->text + len, sizeof err->text - len, "%.*s", (int)(sizeof err->text - len - 1),
             old);
    return false;
}

const char *err_kind_name(enum err_kind kind)
{
    return (unsigned)kind < ERR_KIND_COUNT ? kind_names[kind] : "unknown";
}

void err_no_memory(void)
{
    static const char line[] = "level=error event=no-memory reason=\"allocation failed\"\n";
    ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
    (void)written;
    abort();
}
