#include "gateway/http.h"

#include "base/log.h"
#include "base/permit.h"
#include "base/text.h"
#include "gateway/edge.h"
#include "gateway/frame.h"

#include <civetweb.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DOORS_MAX 4
#define SOCKETS_MAX 128
#define FD_MAX 4096
#define LANE_MS "2147483647"
#define UNCHECKED_RETRY_SECONDS 30

struct http_headers {
    const struct mg_request_info *info;
};

struct http_server {
    struct gate *gate;
    struct mg_context *ctx;
    struct permits *permits;
    size_t body_max;
    struct http_door doors[DOORS_MAX];
    struct gate_door gate_doors[DOORS_MAX][2]; /* plain, TLS */
    struct listen_socket sockets[SOCKETS_MAX];
    size_t socket_count;
};

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

/* RFC 7616 section 3.7: clients read the first that they know, and some only the first in a header.
 */
static bool add_authenticate(struct buf *out, const struct buf *lines)
{
    struct bytes cur = buf_bytes(lines), line;
    bool ok = true;
    while (ok && cur.len) {
        bytes_take_until(&cur, '\n', &line);
        char *value = bytes_to_str(line);
        ok = value && add_header(out, "WWW-Authenticate", value);
        free(value);
    }
    return ok;
}

/* Header and body in one buffer: some clients read a reply in two reads and no more. */
static bool compose(const struct http_response *response, bool head, bool close_after,
                    struct buf *out)
{
    char retry[24], age[32];
    snprintf(age, sizeof age, "max-age=%d", response->max_age);
    snprintf(retry, sizeof retry, "%d", response->retry_after);
    bool ok =
        buf_add_fmt(out, "HTTP/1.1 %d %s\r\n", response->status, frame_reason(response->status)) &&
        add_header(out, "Content-Type", response->content_type) &&
        add_header(out, "Content-Transfer-Encoding", response->base64 ? "base64" : NULL) &&
        add_header(out, "Retry-After", response->retry_after ? retry : NULL) &&
        add_authenticate(out, &response->authenticate) &&
        add_header(out, "Allow", response->allow) &&
        add_header(out, "Cache-Control",
                   response->max_age    ? age
                   : response->no_store ? "no-store"
                                        : NULL) &&
        add_header(out, "Connection", close_after ? "close" : NULL);
    if (ok && response->status != 204)
        ok = buf_add_fmt(out, "Content-Length: %zu\r\n", response->body.len);
    return ok && buf_add_str(out, "\r\n") && (head || buf_add(out, buf_bytes(&response->body)));
}

/* One write, whose length the gate knows beforehand. */
static bool send_response(struct mg_connection *conn, struct gate_lane *lane,
                          const struct http_response *response, bool head, bool close_after)
{
    struct buf out = {.secret = true};
    bool ok = compose(response, head, close_after, &out) && gate_lane_announce(lane, out.len) &&
              mg_write(conn, out.ptr, out.len) == (int)out.len;
    if (!ok)
        mg_disable_connection_keep_alive(conn);
    buf_free(&out);
    return ok;
}

/* The gate wrote the length, and waits until it has sent all of it. */
static bool read_body(struct mg_connection *conn, const struct http_headers *headers,
                      struct buf *body)
{
    char chunk[4096];
    struct bytes text = http_header_get(headers, "Content-Length", NULL);
    size_t length = 0;
    for (size_t i = 0; i < text.len; i++)
        length = length * 10 + (size_t)(text.ptr[i] - '0');
    while (body->len < length) {
        size_t left = length - body->len;
        int n = mg_read(conn, chunk, left > sizeof chunk ? sizeof chunk : left);
        if (n <= 0 || !buf_add(body, bytes_of(chunk, (size_t)n)))
            return false;
    }
    OPENSSL_cleanse(chunk, sizeof chunk);
    return true;
}

static void run_handler(struct http_server *server, struct mg_connection *conn,
                        struct gate_lane *lane, const struct gate_request *gate_request,
                        struct http_request *request)
{
    const struct http_door *door = gate_request->door->arg;
    struct http_response response = {0};
    bool head = strcmp(request->method, "HEAD") == 0;
    permit_take(server->permits);
    permit_room_enter(gate_lane_room(lane));
    door->handler.handle(door->handler.arg, request, &response);
    permit_give(server->permits);
    request->binding = (struct bytes){0};
    request->along = NULL;
    request->along_count = 0;
    request->certificate = NULL; /* it ends with the connection, which ends with the reply */
    response.sent = send_response(conn, lane, &response, head, gate_request->close);
    if (door->handler.done)
        door->handler.done(door->handler.arg, request, &response);
    buf_free(&response.body);
    buf_free(&response.authenticate);
}

/* CivetWeb cuts the target at its '?'. */
static bool target_add(const struct mg_request_info *info, struct buf *out)
{
    return buf_add_str(out, info->request_uri) &&
           (!info->query_string || (buf_add_u8(out, '?') && buf_add_str(out, info->query_string)));
}

/* An edge says whose certificate it saw: over plain HTTP, where nobody else may come, by its
 * address; over TLS by its own certificate, which is not the client's. */
enum whose { WHOSE_CLIENT = 0, WHOSE_EDGE, WHOSE_NOBODY, WHOSE_UNCHECKED };

static enum whose whose(const struct gate_request *request)
{
    const struct http_handler *handler = &((const struct http_door *)request->door->arg)->handler;
    if (!request->door->asks_cert)
        return WHOSE_CLIENT;
    if (!request->tls)
        return request->edge_cert ? WHOSE_EDGE : WHOSE_NOBODY;
    if (!request->certificate || !handler->judge_edge)
        return WHOSE_CLIENT;
    switch (handler->judge_edge(handler->arg, request->certificate, request->along,
                                request->along_count)) {
    case HTTP_EDGE:
        return WHOSE_EDGE;
    case HTTP_EDGE_UNCHECKED:
        return WHOSE_UNCHECKED;
    default:
        return WHOSE_CLIENT;
    }
}

static bool answer(struct http_server *server, struct mg_connection *conn, struct gate_lane *lane,
                   const struct gate_request *gate_request)
{
    const struct mg_request_info *info = mg_get_request_info(conn);
    struct http_headers headers = {info};
    struct buf body = {.max = server->body_max, .secret = true}, path = {0}, target = {0};
    struct edge_told told = {0};
    const char *uri = info->request_uri;
    bool ok = uri && text_percent_decode(bytes_str(uri), &path) && target_add(info, &target) &&
              read_body(conn, &headers, &body);
    enum whose who = whose(gate_request);
    bool edge = who == WHOSE_EDGE;
    int status = who == WHOSE_NOBODY                        ? 403
                 : who == WHOSE_UNCHECKED                   ? 503
                 : edge && !edge_told_read(&headers, &told) ? 400
                                                            : 0;
    if (ok && status) {
        struct http_response response = {
            .status = status, .retry_after = status == 503 ? UNCHECKED_RETRY_SECONDS : 0};
        ok = send_response(conn, lane, &response, false, true);
    } else if (ok) {
        struct http_request request = {
            .method = info->request_method,
            .target = buf_bytes(&target),
            .path = buf_bytes(&path),
            .query = bytes_str(info->query_string),
            .body = buf_bytes(&body),
            .peer = gate_request->peer,
            .tls = gate_request->tls && !edge,
            .certificate = edge ? told.certificate : gate_request->certificate,
            .along = edge ? told.chain : gate_request->along,
            .along_count = edge ? told.chain_count : gate_request->along_count,
            .headers = &headers,
        };
        if (!edge)
            request.binding = gate_request->binding;
        run_handler(server, conn, lane, gate_request, &request);
    }
    edge_told_clear(&told);
    buf_free(&path);
    buf_free(&target);
    buf_free(&body);
    return ok;
}

static int begin_request(struct mg_connection *conn)
{
    const struct mg_request_info *info = mg_get_request_info(conn);
    struct http_server *server = mg_get_user_data(mg_get_context(conn));
    struct gate_request request;
    struct gate_lane *lane = NULL;
    /* Only the gate's lanes have this address; and a lane is asked nothing at its first test. */
    if (strcmp(info->remote_addr, GATE_LANE_ADDRESS) == 0)
        lane = gate_lane_get(server->gate, info->remote_port, &request);
    if (!lane || !answer(server, conn, lane, &request))
        mg_disable_connection_keep_alive(conn); /* the gate says 500 */
    return 200; /* we have answered; only CivetWeb's own log would tell the number */
}

static int log_message(const struct mg_connection *conn, const char *message)
{
    (void)conn;
    log_text(LOG_DEBUG, "civetweb", "%s", message);
    return 1;
}

static bool open_sockets(struct http_server *server, const struct http_conf *conf, size_t index,
                         struct err *err)
{
    struct http_door *door = &server->doors[index];
    *door = conf->doors[index];
    for (unsigned tls = 0; tls < 2; tls++)
        server->gate_doors[index][tls] = (struct gate_door){.tls = tls ? door->tls : NULL,
                                                            .host_needed = door->host_needed,
                                                            .asks_cert = door->asks_cert,
                                                            .arg = door};
    for (size_t i = 0; i < door->urls->count; i++) {
        struct listen_socket *socket = &server->sockets[server->socket_count];
        if (server->socket_count == SOCKETS_MAX)
            return err_set(err, ERR_CONFIG, "more than %d listeners", SOCKETS_MAX);
        if (!listen_open(&door->urls->items[i], socket, err))
            return false;
        server->socket_count++;
        const struct gate_door *behind = &server->gate_doors[index][door->urls->items[i].tls];
        if (!gate_listen(server->gate, socket, behind, err))
            return false;
    }
    return true;
}

static bool start_context(const struct http_conf *conf, struct http_server *server, struct err *err)
{
    char threads[24];
    snprintf(threads, sizeof threads, "%lld", (long long)conf->threads);
    const char *options[] = {
        "listening_ports",
        "127.0.0.1:0", /* never asked: the gate takes the socket's place */
        "num_threads",
        threads,
        "connection_queue",
        threads,
        "max_request_size",
        "65536",
        "request_timeout_ms",
        LANE_MS,
        "enable_keep_alive",
        "yes",
        "keep_alive_timeout_ms",
        LANE_MS,
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
    struct mg_callbacks callbacks = {.begin_request = begin_request, .log_message = log_message};
    char text[256] = "";
    struct mg_init_data init = {&callbacks, server, options};
    struct mg_error_data error = {.text = text, .text_buffer_size = sizeof text};
    server->ctx = mg_start2(&init, &error);
    return server->ctx ||
           err_set(err, ERR_LOCAL, "cannot start CivetWeb for %s: %s", conf->name, text);
}

static bool listens_on(int fd, int port)
{
    struct sockaddr_in address = {0};
    int listens = 0;
    socklen_t len = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || !listens)
        return false;
    len = sizeof address;
    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 &&
           address.sin_family == AF_INET && ntohs(address.sin_port) == port;
}

/* Workers get their connections from the gate. What somebody put into the socket before that is
 * answered by nobody: it has not a lane's address. */
static bool replace_listener(struct http_server *server, const char *name, struct err *err)
{
    struct mg_server_port port;
    if (mg_get_server_ports(server->ctx, 1, &port) == 1)
        for (int fd = 0; fd < FD_MAX; fd++)
            if (listens_on(fd, port.port))
                return dup2(gate_lanes_fd(server->gate), fd) == fd ||
                       err_set(err, ERR_LOCAL, "cannot replace a socket: %s", strerror(errno));
    return err_set(err, ERR_LOCAL, "CivetWeb's listening socket for %s is not to be found", name);
}

bool http_server_start(const struct http_conf *conf, struct http_server **ret, struct err *err)
{
    struct http_server *server = mem_zalloc(sizeof *server);
    const struct gate_conf gate = {conf->name, conf->cfg, conf->loops, (unsigned)conf->threads,
                                   (size_t)conf->body_max};
    server->body_max = (size_t)conf->body_max;
    server->permits = permits_new(conf->loops);
    bool ok = gate_new(&gate, &server->gate, err);
    for (size_t i = 0; i < conf->door_count && i < DOORS_MAX && ok; i++)
        ok = open_sockets(server, conf, i, err);
    ok = ok && start_context(conf, server, err) && replace_listener(server, conf->name, err) &&
         gate_start(server->gate, err);
    if (!ok) {
        http_server_stop(server);
        return false;
    }
    *ret = server;
    return true;
}

void http_server_reload(struct http_server *server, struct cfg *cfg)
{
    gate_reload(server->gate, cfg);
}

bool http_server_drain(struct http_server *server, int64_t milliseconds)
{
    return gate_drain(server->gate, milliseconds);
}

void http_server_stop(struct http_server *server)
{
    if (!server)
        return;
    if (server->gate)
        gate_stop(server->gate);
    if (server->ctx)
        mg_stop(server->ctx);
    gate_free(server->gate);
    permits_free(server->permits);
    for (size_t i = 0; i < server->socket_count; i++)
        listen_forget(&server->sockets[i]);
    free(server);
}

void http_server_counts_add(const struct http_server *server, struct gate_counts *counts)
{
    gate_counts_add(server->gate, counts);
}
