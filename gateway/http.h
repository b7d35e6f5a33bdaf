/* HTTP as plain structs, by CivetWeb behind the gate. The only module that knows CivetWeb. */
#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include "base/cert.h"
#include "config/config.h"
#include "gateway/gate.h"

/* Everything borrowed for the time of the call. Headers are as they came, but for those that
 * concern the connection only, which are left out. */
struct http_request {
    const char *method;  /* "GET", "HEAD", "POST", or "OPTIONS" for any other one */
    struct bytes target; /* as it was sent, in origin form */
    struct bytes path;   /* before '?', decoded; no dot segments, no encoded slashes */
    struct bytes query;  /* raw, after it */
    struct bytes body;   /* whole */
    const char *peer;    /* the client's address */
    bool tls;            /* it ends here, not at an edge */
    /* The TLS client's, its key proved to us or to an edge that we believe; or NULL. */
    struct cert *certificate;
    struct cert *const *along; /* certificates that came with it; prove nothing */
    size_t along_count;
    struct bytes binding; /* of the TLS connection, if it ends here: see tls_binding_get */
    const struct http_headers *headers;
};

/* First value of a header, whatever its case; empty if there is none. *count is how many there
 * are; may be NULL. */
struct bytes http_header_get(const struct http_headers *headers, const char *name, unsigned *count);

struct http_response {
    int status;
    const char *content_type; /* NULL: no body */
    struct buf body;
    bool base64;             /* Content-Transfer-Encoding: base64 */
    int retry_after;         /* seconds; 0: no header */
    struct buf authenticate; /* WWW-Authenticate, a line each; or empty */
    const char *allow;       /* Allow, or NULL */
    bool no_store;           /* Cache-Control: no-store */
    int max_age;             /* seconds; Cache-Control: max-age instead; 0: no header */
    bool sent;               /* set when it is on its way: for `done` */
};

/* What a TLS client's certificate says of it; UNCHECKED: whether it is revoked is not known. */
enum http_edge { HTTP_EDGE_NOT = 0, HTTP_EDGE, HTTP_EDGE_UNCHECKED };

struct http_handler {
    /* Fills *response, which is zeroed. Runs on a worker with a stack of 100 KiB. */
    void (*handle)(void *arg, const struct http_request *request, struct http_response *response);
    /* After the reply was handed to the gate (response->sent) or could not be; request->certificate
     * and its binding are no more. May be NULL. */
    void (*done)(void *arg, const struct http_request *request,
                 const struct http_response *response);
    void *arg;
    /* Whether a TLS client with this certificate, whose key it has proved, is an edge: then its
     * Client-Cert counts in place of it. Asked for each request, which is 503 if it is not known.
     * NULL: nobody is. */
    enum http_edge (*judge_edge)(void *arg, const struct cert *certificate,
                                 struct cert *const *along, size_t along_count);
};

/* What is served on some listeners. */
struct http_door {
    const struct cfg_urls *urls;
    struct tls *tls;  /* for https; NULL if there is none */
    bool host_needed; /* HTTP/1.1 without Host is refused; SCEP serves it, since devices leave it
                         out */
    /* Clients have certificates: by http only an edge may come, and tells them (RFC 9440); by https
     * one may. */
    bool asks_cert;
    struct http_handler handler;
};

struct http_conf {
    const char *name;              /* for errors; static */
    const struct http_door *doors; /* copied; what they point to outlives the server */
    size_t door_count;
    struct cfg *cfg; /* limits and edge */
    unsigned loops;  /* of the gate; and as many handlers compute at the same time */
    int64_t threads;
    int64_t body_max;
};

struct http_server;

bool http_server_start(const struct http_conf *conf, struct http_server **ret,
                       struct err *err) MUST_USE;
/* Limits and edge of this configuration count from now on. */
void http_server_reload(struct http_server *server, struct cfg *cfg);
/* Takes no new connections; waits until no request runs, at most that long. True if none does. */
bool http_server_drain(struct http_server *server, int64_t milliseconds);
/* Ends it. Cuts off what still runs. NULL is allowed. */
void http_server_stop(struct http_server *server);
void http_server_counts_add(const struct http_server *server, struct gate_counts *counts);

#endif
