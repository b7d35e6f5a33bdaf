#include "base/clock.h"
#include "base/log.h"
#include "base/pem.h"
#include "gateway/gate_loop.h"
#include "gateway/proxy.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_READ ((uint32_t)(EPOLLIN | EPOLLRDHUP) | EPOLLET)
#define TLS_HEADER 5
#define TLS_HANDSHAKE 22
#define TLS_RECORD_MAX (16384 + 256)
#define LINGER_BYTES_MAX ((size_t)1 << 20)

enum moved { MOVED = 0, MOVED_LATER, MOVED_END };

static int64_t time_of(const struct gate_conn *conn, enum gate_stage stage)
{
    const struct cfg_limits *limits = &conn->loop->cfg->limits;
    const int64_t seconds[GATE_STAGE_COUNT] = {
        [GATE_FIRST] = limits->first,  [GATE_HANDSHAKE] = limits->handshake,
        [GATE_IDLE] = limits->idle,    [GATE_BODY] = limits->request,
        [GATE_QUEUED] = limits->reply, [GATE_SERVED] = INT32_MAX,
        [GATE_REPLY] = limits->reply,  [GATE_LINGER] = 2,
    };
    return seconds[stage] * 1000;
}

void gate_conn_stage(struct gate_conn *conn, enum gate_stage stage)
{
    struct gate_loop *loop = conn->loop;
    link_drop(&conn->timer);
    link_drop(&conn->mate);
    gate_turn_drop(conn);
    loop->in_stage[conn->stage]--;
    conn->stage = stage;
    conn->deadline = loop->now + time_of(conn, stage);
    loop->in_stage[stage]++;
    link_add(&loop->stages[stage], &conn->timer);
    if (stage < GATE_QUEUED)
        link_add(&conn->group->waiting, &conn->mate);
}

static void conn_free(struct gate_conn *conn)
{
    struct gate_loop *loop = conn->loop;
    loop->in_stage[conn->stage]--;
    loop->conns--;
    gate_group_leave(conn);
    link_drop(&conn->timer);
    buf_free(&conn->in);
    buf_free(&conn->out);
    cert_free(conn->certificate);
    pem_certs_free(conn->along, conn->along_count);
    SSL_free(conn->ssl);
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    /* An event of this round may still point here. */
    link_add(&loop->dead, &conn->timer);
}

void gate_conn_close(struct gate_conn *conn)
{
    if (conn->lane)
        conn->gone = true; /* freed when the worker is done */
    else
        conn_free(conn);
}

/* All that is there, up to `len` bytes, without taking it. */
static enum moved peek(struct gate_conn *conn, size_t len, struct bytes *ret)
{
    ssize_t n = recv(conn->fd, conn->loop->scratch, len, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? MOVED_LATER : MOVED_END;
    *ret = bytes_of(conn->loop->scratch, (size_t)n);
    return n ? MOVED : MOVED_END;
}

/* From now on it is told when there is room to write; few connections ever need it. */
static void want_room(struct gate_conn *conn)
{
    struct epoll_event event = {.events = EVENTS_READ | EPOLLOUT, .data.ptr = conn};
    if (!conn->wants_room && epoll_ctl(conn->loop->epoll, EPOLL_CTL_MOD, conn->fd, &event) == 0)
        conn->wants_room = true;
}

static enum moved moved_tls(struct gate_conn *conn, int result)
{
    int why = SSL_get_error(conn->ssl, result);
    ERR_clear_error();
    if (why == SSL_ERROR_WANT_WRITE)
        want_room(conn);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? MOVED_LATER : MOVED_END;
}

static enum moved read_some(struct gate_conn *conn, size_t *len)
{
    if (conn->ssl) {
        ERR_clear_error();
        int result = SSL_read_ex(conn->ssl, conn->loop->scratch, GATE_SCRATCH, len);
        return result == 1 ? MOVED : moved_tls(conn, result);
    }
    ssize_t n = recv(conn->fd, conn->loop->scratch, GATE_SCRATCH, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? MOVED_LATER : MOVED_END;
    *len = (size_t)n;
    return n ? MOVED : MOVED_END;
}

static enum moved write_some(struct gate_conn *conn, struct bytes data, size_t *len)
{
    if (conn->ssl) {
        ERR_clear_error();
        int result = SSL_write_ex(conn->ssl, data.ptr, data.len, len);
        return result == 1 ? MOVED : moved_tls(conn, result);
    }
    ssize_t n = send(conn->fd, data.ptr, data.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        want_room(conn);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? MOVED_LATER : MOVED_END;
    *len = (size_t)n;
    return MOVED;
}

/* Ends our side; what the peer has on its way is thrown away, since a reset would throw our reply
 * away (RFC 9112 section 9.6). */
static enum moved linger_start(struct gate_conn *conn)
{
    if (conn->ssl)
        SSL_shutdown(conn->ssl);
    ERR_clear_error();
    shutdown(conn->fd, SHUT_WR);
    buf_free(&conn->in);
    conn->sent = 0;
    gate_conn_stage(conn, GATE_LINGER);
    return MOVED;
}

static enum moved linger(struct gate_conn *conn)
{
    ssize_t n = recv(conn->fd, conn->loop->scratch, GATE_SCRATCH, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? MOVED_LATER : MOVED_END;
    conn->sent += (size_t)n;
    return n && conn->sent < LINGER_BYTES_MAX ? MOVED : MOVED_END;
}

static enum moved reply(struct gate_conn *conn)
{
    struct bytes rest = buf_bytes(&conn->out), done;
    size_t n = 0;
    if (!bytes_take(&rest, conn->sent, &done))
        return MOVED_END;
    if (rest.len) {
        enum moved moved = write_some(conn, rest, &n);
        conn->sent += n;
        return moved;
    }
    buf_free(&conn->out);
    conn->sent = 0;
    if (conn->close || conn->loop->draining)
        return linger_start(conn);
    conn->frame = (struct frame){0};
    conn->continued = false;
    gate_conn_stage(conn, GATE_IDLE);
    return MOVED;
}

/* What most often is the matter with a peer that talks past us; else NULL. */
static const char *talks_past(const struct gate_conn *conn)
{
    if (conn->door->tls && !conn->ssl)
        return "no TLS, and the listener is https";
    bool tls = conn->in.len && conn->in.ptr[0] == TLS_HANDSHAKE;
    return tls && !conn->door->tls ? "TLS, and the listener is http" : NULL;
}

/* status: 0 if there is no answer. */
static void log_refused(const struct gate_conn *conn, const char *reason, int status)
{
    struct log_line line;
    log_begin(&line, LOG_INFO, "request");
    log_str(&line, "client", conn->peer);
    log_str(&line, "outcome", "refused");
    log_str(&line, "reason", reason);
    if (status) {
        log_num(&line, "status", status);
        log_str(&line, "detail", talks_past(conn));
    }
    log_end(&line);
}

/* The answer to what no worker sees; the connection ends with it. */
static void refuse(struct gate_conn *conn, int status)
{
    bool busy = status == 503;
    if (!busy) {
        conn->loop->malformed++;
        log_refused(conn, frame_reason(status), status);
    }
    buf_free(&conn->out);
    if (!buf_add_fmt(&conn->out,
                     "HTTP/1.1 %d %s\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n", status,
                     frame_reason(status), busy ? "Retry-After: 5\r\n" : ""))
        buf_clear(&conn->out);
    conn->sent = 0;
    conn->close = true;
    gate_conn_stage(conn, GATE_REPLY);
}

static enum moved proxy_header(struct gate_conn *conn)
{
    struct bytes data;
    struct net_addr address = {.family = NET_UNIX};
    size_t len = 0;
    enum moved moved = peek(conn, PROXY_MAX, &data);
    if (moved != MOVED)
        return moved;
    enum proxy_result result = proxy_parse(data, &len, &address);
    if (result == PROXY_MORE)
        return MOVED_LATER;
    if (result == PROXY_BAD ||
        recv(conn->fd, conn->loop->scratch, len, MSG_DONTWAIT) != (ssize_t)len) {
        conn->loop->malformed++;
        log_refused(conn, "no PROXY header, and edge.proxy_protocol names the peer", 0);
        return MOVED_END;
    }
    conn->proxied = false;
    if (address.family == NET_UNIX)
        return MOVED; /* the edge speaks for itself */
    net_addr_text(&address, conn->peer);
    if (conn->edge_cert)
        return MOVED;
    if (!gate_group_admit(conn->loop, net_addr_group(&address)))
        return MOVED_END;
    gate_group_leave(conn);
    gate_group_join(conn, net_addr_group(&address));
    gate_conn_stage(conn, GATE_FIRST);
    return MOVED;
}

/* TLS starts when its first record is whole: until then a connection costs its socket. */
static enum moved first_record(struct gate_conn *conn)
{
    struct bytes cur, version;
    uint8_t type, high, low;
    enum moved moved = peek(conn, TLS_HEADER + TLS_RECORD_MAX, &cur);
    if (moved != MOVED)
        return moved;
    if (bytes_take_u8(&cur, &type) && type != TLS_HANDSHAKE) {
        refuse(conn, 400); /* plain HTTP, probably; and the answer is plain as well */
        return MOVED;
    }
    if (!bytes_take(&cur, 2, &version) || !bytes_take_u8(&cur, &high) || !bytes_take_u8(&cur, &low))
        return MOVED_LATER;
    size_t len = (size_t)high << 8 | low;
    if (len == 0 || len > TLS_RECORD_MAX)
        return MOVED_END;
    if (cur.len < len)
        return MOVED_LATER;
    gate_turn_ask(conn, GATE_TURN_HANDSHAKE);
    return MOVED_LATER;
}

static enum moved handshake(struct gate_conn *conn)
{
    ERR_clear_error();
    int result = SSL_do_handshake(conn->ssl);
    if (result != 1) {
        enum moved moved = moved_tls(conn, result);
        conn->loop->tls_failed += moved == MOVED_END;
        return moved;
    }
    gate_conn_stage(conn, GATE_FIRST);
    return MOVED;
}

/* Where TLS ends here, the peer is the device, whatever stands between us. */
static bool is_edge(const struct gate_loop *loop, const struct gate_door *door,
                    const struct net_addr *peer)
{
    return door->asks_cert && !door->tls && net_blocks_have(&loop->cfg->edge.client_cert, peer);
}

/* An edge that was one when it connected, and is one no more since a reload. */
static bool was_edge(const struct gate_conn *conn)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (!conn->edge_cert || getpeername(conn->fd, (struct sockaddr *)&address, &len) != 0)
        return conn->edge_cert;
    const struct net_addr peer = net_addr_from((const struct sockaddr *)&address, len);
    return !is_edge(conn->loop, conn->door, &peer);
}

/* The request is whole. */
static enum moved dispatch(struct gate_conn *conn)
{
    struct gate_loop *loop = conn->loop;
    struct bytes rest = buf_bytes(&conn->in), taken;
    struct buf left = BUF_SECRET(conn->in.max);
    conn->out = BUF_SECRET(conn->in.max);
    if (was_edge(conn))
        conn->edge_cert = false;
    /* Whether a TLS client is an edge, the worker finds out. */
    bool told = conn->edge_cert ||
                (conn->ssl && conn->door->asks_cert && loop->cfg->edge.certificates.trust);
    bool ok = frame_rewrite(&conn->frame, rest, told, &conn->out) &&
              bytes_take(&rest, conn->frame.total, &taken) && (!rest.len || buf_set(&left, rest));
    if (!ok) {
        refuse(conn, 413);
        return MOVED;
    }
    buf_free(&conn->in);
    conn->in = left;
    conn->close = !conn->frame.keep || loop->draining;
    gate_conn_stage(conn, GATE_QUEUED);
    gate_turn_ask(conn, GATE_TURN_REQUEST);
    gate_conn_serve(loop);
    return MOVED_LATER;
}

bool gate_conn_serve(struct gate_loop *loop)
{
    struct gate_conn *conn =
        link_none(&loop->lanes) ? NULL : gate_turn_next(loop, GATE_TURN_REQUEST);
    if (!conn)
        return false;
    gate_conn_stage(conn, GATE_SERVED);
    gate_lane_give(loop, conn);
    return true;
}

/* 100 Continue, once the size is known to be fine. */
static enum moved go_on(struct gate_conn *conn)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    size_t n = 0;
    conn->continued = true;
    return write_some(conn, bytes_of(text, sizeof text - 1), &n) == MOVED && n == sizeof text - 1
               ? MOVED
               : MOVED_END;
}

static enum moved request(struct gate_conn *conn)
{
    const struct frame_rules rules = {conn->loop->gate->body_max, conn->door->host_needed};
    size_t n = 0;
    enum frame_result result =
        conn->in.len ? frame_scan(&conn->frame, &rules, buf_bytes(&conn->in)) : FRAME_MORE;
    if (result == FRAME_DONE)
        return dispatch(conn);
    if (result == FRAME_REFUSED) {
        refuse(conn, conn->frame.status);
        return MOVED;
    }
    if (conn->frame.head_done && conn->stage != GATE_BODY)
        gate_conn_stage(conn, GATE_BODY);
    else if (conn->in.len && conn->stage == GATE_IDLE)
        gate_conn_stage(conn, GATE_FIRST);
    if (conn->frame.expects && conn->frame.head_done && !conn->continued)
        return go_on(conn);
    enum moved moved = read_some(conn, &n);
    if (moved == MOVED && !buf_add(&conn->in, bytes_of(conn->loop->scratch, n)))
        refuse(conn, 413);
    return moved;
}

static enum moved step(struct gate_conn *conn)
{
    switch (conn->stage) {
    case GATE_FIRST:
        return conn->proxied                   ? proxy_header(conn)
               : conn->door->tls && !conn->ssl ? first_record(conn)
                                               : request(conn);
    case GATE_HANDSHAKE:
        return handshake(conn);
    case GATE_IDLE:
    case GATE_BODY:
        return request(conn);
    case GATE_REPLY:
        return reply(conn);
    case GATE_LINGER:
        return linger(conn);
    case GATE_QUEUED:
    case GATE_SERVED:
    case GATE_STAGE_COUNT:
        break;
    }
    return MOVED_LATER;
}

/* As far as it goes now. What one connection can make us do here is bounded by its buffers. */
static void run(struct gate_conn *conn)
{
    enum moved moved;
    while ((moved = step(conn)) == MOVED)
        ;
    if (moved == MOVED_END)
        gate_conn_close(conn);
}

void gate_conn_turn(struct gate_conn *conn)
{
    gate_group_make_handshake(conn);
    conn->ssl = tls_session_new(conn->door->tls, conn->fd);
    gate_conn_stage(conn, GATE_HANDSHAKE);
    if (conn->ssl)
        run(conn);
    else
        gate_conn_close(conn);
}

void gate_conn_event(struct gate_conn *conn, uint32_t events)
{
    if (conn->fd < 0)
        return; /* closed in this round */
    if (conn->stage != GATE_QUEUED && conn->stage != GATE_SERVED)
        run(conn);
    else if (events & (EPOLLERR | EPOLLHUP))
        gate_conn_close(conn);
}

void gate_conn_replied(struct gate_conn *conn)
{
    if (conn->gone) {
        conn_free(conn);
        return;
    }
    conn->sent = 0;
    gate_conn_stage(conn, GATE_REPLY);
    run(conn);
}

void gate_conn_refuse(struct gate_conn *conn, int status)
{
    if (conn->gone) {
        conn_free(conn);
        return;
    }
    refuse(conn, status);
    run(conn);
}

bool gate_conn_overflow(struct gate_loop *loop)
{
    if (loop->in_stage[GATE_QUEUED] <= gate_share(loop, loop->cfg->limits.queue))
        return false;
    loop->shed[GATE_SHED_QUEUE]++;
    gate_conn_refuse(gate_turn_victim(loop), 503);
    return true;
}

void gate_conn_expire(struct gate_conn *conn)
{
    struct gate_loop *loop = conn->loop;
    enum gate_stage stage = conn->stage;
    loop->shed[GATE_SHED_DEADLINE] += stage != GATE_IDLE && stage != GATE_LINGER;
    if (conn->proxied)
        log_refused(conn, "no PROXY header in time, and edge.proxy_protocol names the peer", 0);
    if (stage == GATE_QUEUED)
        gate_conn_refuse(conn, 503);
    else if (stage == GATE_BODY || (stage == GATE_FIRST && conn->in.len))
        gate_conn_refuse(conn, 408);
    else
        gate_conn_close(conn);
}

void gate_conn_open(struct gate_loop *loop, const struct gate_incoming *incoming)
{
    const struct net_addr peer =
        net_addr_from((const struct sockaddr *)&incoming->address, incoming->len);
    bool proxied = net_blocks_have(&loop->cfg->edge.proxy_protocol, &peer);
    bool edge_cert = is_edge(loop, incoming->door, &peer);
    uint64_t key = proxied || edge_cert ? 0 : net_addr_group(&peer);
    if (!gate_group_make_room(loop, key) || !gate_group_admit(loop, key)) {
        close(incoming->fd);
        return;
    }
    struct gate_conn *conn = mem_zalloc(sizeof *conn);
    struct epoll_event event = {.events = EVENTS_READ, .data.ptr = conn};
    conn->source = GATE_SOURCE_CONN;
    conn->fd = incoming->fd;
    conn->loop = loop;
    conn->door = incoming->door;
    conn->proxied = proxied;
    conn->edge_cert = edge_cert;
    conn->in = BUF_SECRET(FRAME_HEAD_MAX + 2 * loop->gate->body_max + 2 * GATE_SCRATCH);
    net_addr_text(&peer, conn->peer);
    loop->conns++;
    loop->in_stage[GATE_FIRST]++; /* where it stands, zeroed */
    if (loop->conns > loop->conns_peak)
        loop->conns_peak = loop->conns;
    gate_group_join(conn, key);
    gate_conn_stage(conn, GATE_FIRST);
    if (peer.family != NET_UNIX)
        setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, conn->fd, &event) != 0)
        gate_conn_close(conn);
}
