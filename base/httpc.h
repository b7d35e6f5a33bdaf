/* An HTTP client: one exchange at a time, with a deadline and ceilings. It says whether a request
 * may have reached the server, which is what a caller needs to know who must not ask twice. */
#ifndef BASE_HTTPC_H
#define BASE_HTTPC_H

#include "base/bytes.h"
#include "base/cert.h"

/* A server, or several that are spoken to in the same way. Thread-safe; connections are kept. */
struct httpc;

enum httpc_auth {
    HTTPC_BASIC = 0,
    HTTPC_NTLM,
    HTTPC_NEGOTIATE, /* Kerberos (RFC 4559), with the ticket that the process finds */
};

struct httpc_conf {
    struct cert *const *trust; /* anchors of https servers; none: those of the system */
    size_t trust_count;
    struct cert *const *chain; /* client certificate, leaf first; none: no client certificate */
    size_t chain_count;
    EVP_PKEY *key; /* of the client certificate */
    enum httpc_auth auth;
    const char *user; /* or NULL; with password, a secret; neither is used for HTTPC_NEGOTIATE */
    const char *password;
};

/* What the conf points to is borrowed until httpc_free. */
bool httpc_new(const struct httpc_conf *conf, struct httpc **ret, struct err *err) MUST_USE;
void httpc_free(struct httpc *httpc); /* nobody uses it any more; NULL is allowed */

struct httpc_call {
    const char *method; /* "GET", "POST", ... */
    const char *url;
    const char *const *headers; /* "Name: value", ends with NULL; or NULL */
    struct bytes body;          /* of POST and PUT */
    bool once;   /* is never sent twice, not even when a kept connection turns out to be closed */
    bool secret; /* what is in the reply's body is wiped */
    size_t reply_max; /* bytes of its body; 0: 1 MiB */
    int64_t deadline; /* in clock_mono_ms() time */
};

enum httpc_result {
    HTTPC_DONE = 0,
    HTTPC_NOT_SENT, /* nothing of the request has left: no connection, or TLS failed */
    HTTPC_UNKNOWN,  /* it may have arrived */
};

/* Zero-initialise; httpc_reply_clear frees. */
struct httpc_reply {
    int status;
    struct buf headers; /* as they came, a line each */
    struct buf body;
};

/* Redirects are not followed. err says what went wrong unless HTTPC_DONE. */
enum httpc_result httpc_run(struct httpc *httpc, const struct httpc_call *call,
                            struct httpc_reply *reply, struct err *err) MUST_USE;
void httpc_reply_clear(struct httpc_reply *reply);

/* The value of the first header of that name, or empty. Borrowed. */
struct bytes httpc_header(const struct httpc_reply *reply, const char *name);
/* Whether Content-Type is that media type, whatever its parameters. */
bool httpc_is_type(const struct httpc_reply *reply, const char *type);
/* Seconds from clock_now() on until Retry-After, a number or a date (RFC 9110 section 10.2.3), is
 * over; or 0. */
int httpc_retry_after(const struct httpc_reply *reply);

#endif
