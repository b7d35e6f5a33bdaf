/* HTTP listeners on CivetWeb, as plain structs. The only module that knows CivetWeb. */
#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include "base/cert.h"
#include "config/config.h"

#include <openssl/ssl.h>

/* Everything borrowed for the time of the call. Request line and headers are as they came. */
struct http_request {
    const char *method; /* "GET", "HEAD", "POST" */
    struct bytes path;  /* raw, before '?' */
    struct bytes query; /* raw, after it */
    struct bytes body;  /* whole */
    const char *peer;   /* address */
    bool tls;
    struct cert *certificate; /* TLS client certificate whose key was proved, or NULL */
    const struct http_headers *headers;
};

/* First value of a header, whatever its case; empty if there is none. *count is how many there
 * are; may be NULL. */
struct bytes http_header_get(const struct http_headers *headers, const char *name, unsigned *count);

struct http_response {
    int status;
    const char *content_type; /* NULL: no body */
    struct buf body;
    bool base64;              /* Content-Transfer-Encoding: base64 */
    int retry_after;          /* seconds; 0: no header */
    const char *authenticate; /* WWW-Authenticate, or NULL */
    const char *allow;        /* Allow, or NULL */
    bool no_store;            /* Cache-Control: no-store */
    bool sent;                /* set when it is on its way: for `done` */
};

struct http_handler {
    /* Fills *response, which is zeroed. Runs on a worker with a stack of 100 KiB. */
    void (*handle)(void *arg, const struct http_request *request, struct http_response *response);
    /* After the reply was written (response->sent) or could not be. May be NULL. */
    void (*done)(void *arg, const struct http_request *request,
                 const struct http_response *response);
    void *arg;
};

struct http_conf {
    const char *name; /* "scep", ...: for errors */
    const struct cfg_urls *urls;
    SSL_CTX *tls; /* for https; NULL if there is none */
    int64_t threads;
    int64_t body_max;
    struct http_handler handler;
};

struct http_server;

/* Once per process, before the first server. Refuses if CivetWeb cannot speak TLS here. */
bool http_library_start(struct err *err) MUST_USE;
void http_library_stop(void);

bool http_server_start(const struct http_conf *conf, struct http_server **ret,
                       struct err *err) MUST_USE;
/* Takes no new connections; waits until no request runs, at most that long. */
void http_server_drain(struct http_server *server, int64_t milliseconds);
/* Ends it. Cuts off what still runs. NULL is allowed. */
void http_server_stop(struct http_server *server);

#endif
