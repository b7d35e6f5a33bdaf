#include "gateway/http.h"

#include "base/clock.h"
#include "base/log.h"

#include <civetweb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORTS_MAX 16
#define FD_MAX 4096
#define HEADERS_MAX 64
#define QUIET_MS 150
#define TICK_NS 10000000L

struct http_headers {
    const struct mg_request_info *info;
};

struct http_server {
    struct mg_context *ctx;
    struct http_handler handler;
    SSL_CTX *tls;
    size_t body_max;
    atomic_int active;
    uint16_t ports[PORTS_MAX];
    size_t port_count;
    int deaf[2]; /* a pair of sockets that never become readable */
};

static const struct {
    int status;
    const char *text;
} reasons[] = {
    {200, "OK"},
    {202, "Accepted"},
    {204, "No Content"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Unknown";
}

struct bytes http_header_get(const struct http_headers *headers, const char *name, unsigned *count)
{
    struct bytes first = {0};
    unsigned n = 0;
    for (int i = 0; i < headers->info->num_headers; i++) {
        const struct mg_header *header = &headers->info->http_headers[i];
        if (!bytes_equal_nocase(bytes_str(header->name), name))
            continue;
        if (n++ == 0)
            first = bytes_str(header->value);
    }
    if (count)
        *count = n;
    return first;
}

/* A line of our own making; a line end inside would forge another header. */
static bool add_header(struct buf *out, const char *name, const char *value)
{
    return !value || (!strpbrk(value, "\r\n") && buf_add_fmt(out, "%s: %s\r\n", name, value));
}

/* Header and body in one buffer: some clients read a reply in two reads and no more. */
static bool compose(const struct http_response *response, bool head, bool close_after,
                    struct buf *out)
{
    char retry[24];
    snprintf(retry, sizeof retry, "%d", response->retry_after);
    bool ok =
        buf_add_fmt(out, "HTTP/1.1 %d %s\r\n", response->status, reason_of(response->status)) &&
        add_header(out, "Content-Type", response->content_type) &&
        add_header(out, "Content-Transfer-Encoding", response->base64 ? "base64" : NULL) &&
        add_header(out, "Retry-After", response->retry_after ? retry : NULL) &&
        add_header(out, "WWW-Authenticate", response->authenticate) &&
        add_header(out, "Allow", response->allow) &&
        add_header(out, "Cache-Control", response->no_store ? "no-store" : NULL) &&
        add_header(out, "Connection", close_after ? "close" : NULL);
    if (ok && response->status != 204)
        ok = buf_add_fmt(out, "Content-Length: %zu\r\n", response->body.len);
    return ok && buf_add_str(out, "\r\n") && (head || buf_add(out, buf_bytes(&response->body)));
}

static bool send_response(struct mg_connection *conn, const struct http_response *response,
                          bool head, bool close_after)
{
    struct buf out = {0};
    if (close_after)
        mg_disable_connection_keep_alive(conn);
    bool ok = compose(response, head, close_after, &out) &&
              mg_write(conn, out.ptr, out.len) == (int)out.len;
    buf_free(&out);
    return ok;
}

/* A request that no handler sees: the connection ends with the reply, since what the peer sent has
 * not been read. */
static void refuse(struct mg_connection *conn, int status)
{
    struct log_line line;
    log_begin(&line, LOG_INFO, "request");
    log_str(&line, "client", mg_get_request_info(conn)->remote_addr);
    log_str(&line, "outcome", "refused");
    log_str(&line, "reason", reason_of(status));
    log_num(&line, "status", status);
    log_end(&line);
    struct http_response response = {.status = status, .content_type = "text/plain"};
    if (status == 405)
        response.allow = "GET, HEAD, POST";
    if (!buf_add_fmt(&response.body, "%s\n", reason_of(status)) ||
        !send_response(conn, &response, false, true))
        mg_disable_connection_keep_alive(conn);
    buf_free(&response.body);
}

/* Digits only, once, and not together with Transfer-Encoding: else two readers could disagree on
 * where the body ends. 0: fine; otherwise the status. *length is SIZE_MAX for a chunked body. */
static int body_length(const struct http_headers *headers, bool post, size_t *length)
{
    unsigned lengths, encodings;
    struct bytes value = http_header_get(headers, "Content-Length", &lengths);
    struct bytes encoding = http_header_get(headers, "Transfer-Encoding", &encodings);
    *length = 0;
    if (lengths > 1 || encodings > 1 || (lengths && encodings))
        return 400;
    if (encodings) {
        *length = SIZE_MAX;
        return bytes_equal_nocase(encoding, "chunked") ? 0 : 501;
    }
    if (!lengths)
        return post ? 411 : 0;
    if (value.len == 0 || value.len > 15)
        return value.len ? 413 : 400;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return 400;
        *length = *length * 10 + (size_t)(value.ptr[i] - '0');
    }
    return 0;
}

/* The whole body; 0 or the status. */
static int read_body(struct mg_connection *conn, const struct http_headers *headers, size_t length,
                     struct buf *body)
{
    char chunk[4096];
    bool chunked = length == SIZE_MAX;
    if (!chunked && length > body->max)
        return 413;
    struct bytes expect = http_header_get(headers, "Expect", NULL);
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (bytes_equal_nocase(expect, "100-continue") && mg_write(conn, go_on, sizeof go_on - 1) <= 0)
        return 400;
    while (chunked || body->len < length) {
        size_t want =
            chunked || length - body->len > sizeof chunk ? sizeof chunk : length - body->len;
        int n = mg_read(conn, chunk, want);
        if (n < 0)
            return 400;
        if (n == 0)
            break;
        if (!buf_add(body, bytes_of(chunk, (size_t)n)))
            return 413;
    }
    return chunked || body->len == length ? 0 : 400;
}

static int check_request(const struct mg_request_info *info, const struct http_headers *headers,
                         size_t *length)
{
    const char *method = info->request_method;
    bool post = strcmp(method, "POST") == 0;
    if (!post && strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return 405;
    if (info->num_headers >= HEADERS_MAX || !info->request_uri || info->request_uri[0] != '/')
        return 400;
    return body_length(headers, post, length);
}

static void run_handler(struct http_server *server, struct mg_connection *conn,
                        struct http_request *request)
{
    struct http_response response = {0};
    bool head = strcmp(request->method, "HEAD") == 0;
    server->handler.handle(server->handler.arg, request, &response);
    response.sent = send_response(conn, &response, head, false);
    if (server->handler.done)
        server->handler.done(server->handler.arg, request, &response);
    buf_free(&response.body);
}

static int begin_request(struct mg_connection *conn)
{
    const struct mg_request_info *info = mg_get_request_info(conn);
    struct http_server *server = mg_get_user_data(mg_get_context(conn));
    struct http_headers headers = {info};
    struct buf body = {.max = server->body_max, .secret = true};
    struct err ignored;
    size_t length;
    atomic_fetch_add(&server->active, 1);
    int status = check_request(info, &headers, &length);
    if (!status && length)
        status = read_body(conn, &headers, length, &body);
    if (status) {
        refuse(conn, status);
    } else {
        struct http_request request = {
            .method = info->request_method,
            .path = bytes_str(info->request_uri),
            .query = bytes_str(info->query_string),
            .body = buf_bytes(&body),
            .peer = info->remote_addr,
            .tls = info->is_ssl,
            .headers = &headers,
        };
        /* One that we cannot read is no certificate to us. */
        if (info->client_cert && info->client_cert->peer_cert &&
            !cert_from_x509(info->client_cert->peer_cert, &request.certificate, &ignored))
            request.certificate = NULL;
        run_handler(server, conn, &request);
        cert_free(request.certificate);
    }
    buf_free(&body);
    return 200; /* we have answered; only CivetWeb's own log would tell the number */
}

static void end_request(const struct mg_connection *conn, int status)
{
    struct http_server *server = mg_get_user_data(mg_get_context(conn));
    (void)status;
    atomic_fetch_sub(&server->active, 1);
}

static int log_message(const struct mg_connection *conn, const char *message)
{
    (void)conn;
    log_text(LOG_DEBUG, "civetweb", "%s", message);
    return 1;
}

/* CivetWeb takes our context at the start and offers it back at the end: it stays ours. */
static int external_ctx(void **ctx, void *arg)
{
    struct http_server *server = arg;
    if (!*ctx)
        *ctx = server->tls;
    return 1;
}

bool http_library_start(struct err *err)
{
    if (!(mg_init_library(MG_FEATURES_TLS) & MG_FEATURES_TLS))
        return err_set(
            err, ERR_LOCAL,
            "CivetWeb cannot find its TLS functions in this OpenSSL; serving would crash "
            "at the first connection");
    return true;
}

void http_library_stop(void)
{
    mg_exit_library();
}

static bool list_ports(const struct http_conf *conf, struct http_server *server, struct buf *ports,
                       struct err *err)
{
    for (size_t i = 0; i < conf->urls->count; i++) {
        const struct cfg_url *url = &conf->urls->items[i];
        if (server->port_count == PORTS_MAX)
            return err_set(err, ERR_CONFIG, "more than %d %s listeners", PORTS_MAX, conf->name);
        server->ports[server->port_count++] = url->port;
        if (!buf_add_fmt(ports, "%s%s:%u%s", i ? "," : "", url->host, url->port,
                         url->tls ? "s" : ""))
            return err_set(err, ERR_CONFIG, "too many %s listeners", conf->name);
    }
    return true;
}

static bool start_context(const struct http_conf *conf, struct http_server *server,
                          const char *ports, struct err *err)
{
    char threads[24];
    snprintf(threads, sizeof threads, "%lld", (long long)conf->threads);
    const char *options[] = {
        "listening_ports",
        ports,
        "num_threads",
        threads,
        "connection_queue",
        "128",
        "listen_backlog",
        "1024",
        "max_request_size",
        "65536",
        "request_timeout_ms",
        "5000",
        "enable_keep_alive",
        "yes",
        "keep_alive_timeout_ms",
        "2000",
        "tcp_nodelay",
        "1",
        "decode_url",
        "no",
        "enable_auth_domain_check",
        "no",
        "access_control_allow_methods",
        "",
        "enable_directory_listing",
        "no",
        NULL,
    };
    struct mg_callbacks callbacks = {
        .begin_request = begin_request,
        .end_request = end_request,
        .log_message = log_message,
        .external_ssl_ctx = server->tls ? external_ctx : NULL,
    };
    char text[256] = "";
    struct mg_init_data init = {&callbacks, server, options};
    struct mg_error_data error = {.text = text, .text_buffer_size = sizeof text};
    server->ctx = mg_start2(&init, &error);
    return server->ctx ||
           err_set(err, ERR_LOCAL, "cannot listen for %s on %s: %s", conf->name, ports, text);
}

bool http_server_start(const struct http_conf *conf, struct http_server **ret, struct err *err)
{
    struct http_server *server = mem_zalloc(sizeof *server);
    struct buf ports = BUF_INIT(1024);
    server->handler = conf->handler;
    server->tls = conf->tls;
    server->body_max = (size_t)conf->body_max;
    server->deaf[0] = server->deaf[1] = -1;
    bool ok =
        list_ports(conf, server, &ports, err) && start_context(conf, server, buf_str(&ports), err);
    buf_free(&ports);
    if (!ok) {
        http_server_stop(server);
        return false;
    }
    *ret = server;
    return true;
}

static bool is_listener(const struct http_server *server, int fd)
{
    struct sockaddr_in address = {0};
    int listens = 0;
    socklen_t len = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || !listens)
        return false;
    len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0 || address.sin_family != AF_INET)
        return false;
    for (size_t i = 0; i < server->port_count; i++)
        if (ntohs(address.sin_port) == server->ports[i])
            return true;
    return false;
}

/* mg_stop throws the replies of running requests away, so the listening sockets are made deaf first
 * and the requests may end. */
static void stop_listening(struct http_server *server)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, server->deaf) != 0)
        return;
    for (int fd = 0; fd < FD_MAX; fd++) {
        if (fd == server->deaf[0] || fd == server->deaf[1] || !is_listener(server, fd))
            continue;
        shutdown(fd, SHUT_RDWR);
        dup2(server->deaf[0], fd);
    }
}

void http_server_drain(struct http_server *server, int64_t milliseconds)
{
    int64_t end = clock_mono_ms() + milliseconds, quiet_since = clock_mono_ms();
    stop_listening(server);
    while (clock_mono_ms() < end) {
        if (server->active)
            quiet_since = clock_mono_ms();
        else if (clock_mono_ms() - quiet_since > QUIET_MS) /* queued connections got their turn */
            return;
        nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
    }
}

void http_server_stop(struct http_server *server)
{
    if (!server)
        return;
    if (server->ctx)
        mg_stop(server->ctx);
    for (unsigned i = 0; i < 2; i++)
        if (server->deaf[i] >= 0)
            close(server->deaf[i]);
    free(server);
}
