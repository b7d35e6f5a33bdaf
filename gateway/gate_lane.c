#include "gateway/gate_loop.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define LANE_EVENTS ((uint32_t)(EPOLLIN | EPOLLRDHUP) | EPOLLET)
#define REPLY_MAX ((size_t)8 << 20)

/* The worker's end goes through the pair that stands in for the listening socket, with the lane's
 * number beside it: see gateway/interpose.c. */
static bool send_end(const struct gate *gate, int fd, uint16_t id)
{
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec data = {&id, sizeof id};
    struct msghdr msg = {.msg_iov = &data,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    return sendmsg(gate->lanes_pair[0], &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof id;
}

bool gate_lane_open(struct gate_lane *lane, struct err *err)
{
    int pair[2];
    struct epoll_event event = {.events = LANE_EVENTS, .data.ptr = lane};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return err_set(err, ERR_LOCAL, "cannot make a lane: %s", strerror(errno));
    lane->fd = pair[0];
    lane->state = GATE_LANE_FREE;
    bool ok = send_end(lane->loop->gate, pair[1], lane->id) &&
              epoll_ctl(lane->loop->epoll, EPOLL_CTL_ADD, lane->fd, &event) == 0;
    close(pair[1]);
    if (!ok) {
        err_set(err, ERR_LOCAL, "cannot open a lane: %s", strerror(errno));
        gate_lane_close(lane);
        return false;
    }
    link_add(&lane->loop->lanes, &lane->free);
    return true;
}

void gate_lane_close(struct gate_lane *lane)
{
    link_drop(&lane->free);
    if (lane->fd >= 0)
        close(lane->fd);
    lane->fd = -1;
}

/* The worker ended the connection: CivetWeb refused something by itself. */
static void lane_renew(struct gate_lane *lane)
{
    struct err ignored; /* tried again with the next tick: gate_lanes_mend */
    gate_lane_close(lane);
    if (!gate_lane_open(lane, &ignored))
        lane->fd = -1;
}

void gate_lanes_mend(struct gate_loop *loop)
{
    for (unsigned i = 0; i < loop->gate->lane_count; i++)
        if (loop->gate->lanes[i].loop == loop && loop->gate->lanes[i].fd < 0)
            lane_renew(&loop->gate->lanes[i]);
}

static void lane_done(struct gate_lane *lane, bool renew)
{
    struct gate_conn *conn = lane->conn;
    bool whole = conn && lane->announced && conn->out.len == lane->announced;
    lane->conn = NULL;
    lane->announced = 0;
    lane->state = GATE_LANE_FREE;
    if (renew)
        lane_renew(lane);
    else
        link_add(&lane->loop->lanes, &lane->free);
    if (!conn)
        return;
    conn->lane = NULL;
    if (whole)
        gate_conn_replied(conn);
    else
        gate_conn_refuse(conn, 500);
}

static void lane_feed(struct gate_lane *lane)
{
    struct gate_conn *conn = lane->conn;
    while (conn->sent < conn->out.len) {
        struct bytes rest = buf_bytes(&conn->out), done;
        if (!bytes_take(&rest, conn->sent, &done))
            return;
        ssize_t n = send(lane->fd, rest.ptr, rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            /* Full: there will be room when the worker has read; or broken: an event tells. */
            struct epoll_event event = {.events = LANE_EVENTS | EPOLLOUT, .data.ptr = lane};
            (void)epoll_ctl(lane->loop->epoll, EPOLL_CTL_MOD, lane->fd, &event);
            return;
        }
        conn->sent += (size_t)n;
    }
    buf_free(&conn->out);
    conn->out = BUF_SECRET(REPLY_MAX);
    conn->sent = 0;
    lane->state = GATE_LANE_WAIT;
}

static void lane_read(struct gate_lane *lane)
{
    struct gate_conn *conn = lane->conn;
    for (;;) {
        ssize_t n = recv(lane->fd, lane->loop->scratch, GATE_SCRATCH, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        bool more = n > 0 && conn && buf_add(&conn->out, bytes_of(lane->loop->scratch, (size_t)n));
        if (n > 0)
            OPENSSL_cleanse(lane->loop->scratch, (size_t)n); /* a reply may hold a private key */
        if (!more) {
            lane_done(lane, true);
            return;
        }
        if (lane->announced && conn->out.len >= lane->announced) {
            lane_done(lane, conn->out.len > lane->announced);
            return;
        }
    }
}

void gate_lane_event(struct gate_lane *lane)
{
    if (lane->state == GATE_LANE_FEED)
        lane_feed(lane);
    if (lane->fd >= 0)
        lane_read(lane);
}

void gate_lane_give(struct gate_loop *loop, struct gate_conn *conn)
{
    struct gate_lane *lane = LINK_OWNER(loop->lanes.next, struct gate_lane, free);
    link_drop(&lane->free);
    conn->lane = lane;
    conn->sent = 0;
    lane->announced = 0;
    lane->state = GATE_LANE_FEED;
    lane->conn = conn;
    lane_feed(lane);
}

/* What stands between the client's certificate and its root, as it says (of a server's view of the
 * session, the client's own certificate is not in the list). */
static void read_along(struct gate_conn *conn)
{
    const STACK_OF(X509) *chain = SSL_get_peer_cert_chain(conn->ssl);
    struct err ignored;
    if (sk_X509_num(chain) <= 0)
        return;
    conn->along = mem_zalloc(TLS_ALONG_MAX * sizeof(struct cert *));
    for (int i = 0; i < sk_X509_num(chain) && conn->along_count < TLS_ALONG_MAX; i++)
        conn->along_count +=
            cert_from_x509(sk_X509_value(chain, i), &conn->along[conn->along_count], &ignored);
}

struct gate_lane *gate_lane_get(struct gate *gate, int port, struct gate_request *ret)
{
    if (port < 1 || (unsigned)port > gate->lane_count)
        return NULL;
    struct gate_lane *lane = &gate->lanes[port - 1];
    struct gate_conn *conn = lane->conn;
    if (!conn)
        return NULL;
    if (conn->ssl && !conn->certificate_read) {
        struct err ignored;
        X509 *x509 = SSL_get0_peer_certificate(conn->ssl);
        /* One that we cannot read is no certificate to us. */
        if (x509 && !cert_from_x509(x509, &conn->certificate, &ignored))
            conn->certificate = NULL;
        if (conn->door->asks_cert && conn->certificate)
            read_along(conn);
        if (conn->door->asks_cert)
            conn->binding_len = tls_binding_get(conn->ssl, conn->binding);
        conn->certificate_read = true;
    }
    *ret = (struct gate_request){
        .door = conn->door,
        .tls = conn->ssl,
        .edge_cert = conn->edge_cert,
        .close = conn->close,
        .certificate = conn->certificate,
        .along = conn->along,
        .along_count = conn->along_count,
        .binding = bytes_of(conn->binding, conn->binding_len),
    };
    memcpy(ret->peer, conn->peer, sizeof ret->peer);
    return lane;
}

struct permit_room *gate_lane_room(struct gate_lane *lane)
{
    return &lane->loop->room;
}

bool gate_lane_announce(struct gate_lane *lane, size_t len)
{
    struct gate_conn *conn = lane->conn;
    bool gone = conn->gone;
    lane->announced = len;
    return !gone;
}
