/* The gate: owns the listening sockets and every connection. A connection waits here, in epoll and
 * without a thread, through PROXY header, TLS handshake and request; a worker of CivetWeb gets the
 * request when it is whole, and its reply is sent from here. So no peer, however slow, holds a
 * worker.
 *
 * A gate has a few loops, each a thread with its share of connections, ceilings and lanes, which
 * share nothing. A lane is a socket pair that one worker serves for good. */
#ifndef GATEWAY_GATE_H
#define GATEWAY_GATE_H

#include "base/cert.h"
#include "base/net.h"
#include "base/permit.h"
#include "config/config.h"
#include "gateway/listen.h"
#include "gateway/tls.h"

struct gate;
struct gate_lane;

struct gate_conf {
    const char *name; /* for errors and the log; static */
    struct cfg *cfg;  /* limits and edge; a count of its own is taken */
    unsigned loops;   /* at most: each has two lanes, or there is one */
    unsigned lanes;   /* workers */
    size_t body_max;
};

/* What stands behind a listening socket. Borrowed; outlives the gate. */
struct gate_door {
    struct tls *tls;  /* NULL: plain HTTP */
    bool host_needed; /* RFC 9112 section 3.2; SCEP serves clients that leave Host out */
    bool asks_cert;   /* EST: clients have certificates; without TLS an edge may tell them */
    const void *arg;  /* the caller's */
};

bool gate_new(const struct gate_conf *conf, struct gate **ret, struct err *err) MUST_USE;
/* Takes the socket over, also on failure. Before gate_start. */
bool gate_listen(struct gate *gate, const struct listen_socket *socket,
                 const struct gate_door *door, struct err *err) MUST_USE;
/* The socket that stands in for CivetWeb's listening one; borrowed. */
int gate_lanes_fd(const struct gate *gate);
/* Fails if no worker takes its lane within seconds: then CivetWeb does not call our accept. */
bool gate_start(struct gate *gate, struct err *err) MUST_USE;
/* Limits and edge of this configuration count from now on. */
void gate_reload(struct gate *gate, struct cfg *cfg);
/* Closes the listening sockets and idle connections, lets requests end; at most that long. True if
 * none is left. */
bool gate_drain(struct gate *gate, int64_t milliseconds);
/* Cuts off what is left; workers find their lanes closed and can be stopped. */
void gate_stop(struct gate *gate);
void gate_free(struct gate *gate); /* after the workers have ended; NULL is allowed */

enum gate_shed {
    GATE_SHED_ADDRESS = 0, /* more connections of one address than allowed */
    GATE_SHED_TOTAL,       /* more connections than allowed */
    GATE_SHED_DEADLINE,    /* too slow */
    GATE_SHED_QUEUE,       /* more complete requests than workers can take */
    GATE_SHED_COUNT,
};

struct gate_counts {
    uint64_t waiting, serving;
    uint64_t shed[GATE_SHED_COUNT];
    uint64_t malformed, tls_failed;
};

const char *gate_shed_name(enum gate_shed reason);
void gate_counts_add(const struct gate *gate, struct gate_counts *counts);

/* The worker's side. */

/* Addresses of lanes as CivetWeb sees them: no peer on a network can have this one. */
#define GATE_LANE_ADDRESS "0.0.0.1"

/* Who asks. */
struct gate_request {
    const struct gate_door *door;
    char peer[NET_TEXT_MAX]; /* the client's address, as told by an edge if there is one */
    bool tls;
    bool edge_cert; /* Client-Cert headers of this connection count */
    bool close;     /* the reply must say Connection: close */
    /* Of the TLS client, its key proved; or NULL. Borrowed until gate_lane_announce. */
    struct cert *certificate;
    struct cert *const *along; /* that the client sent with it; borrowed likewise */
    size_t along_count;
    struct bytes binding; /* of the TLS connection (tls_binding_get), or empty; borrowed likewise */
};

/* port: as CivetWeb shows it. NULL if there is no such lane or nothing is asked on it. */
struct gate_lane *gate_lane_get(struct gate *gate, int port, struct gate_request *ret);
/* Of the workers whose lanes are the same loop's: no other serves its connections. */
struct permit_room *gate_lane_room(struct gate_lane *lane);
/* Before the first byte of the reply is written: how long it is. False: the peer is gone. */
bool gate_lane_announce(struct gate_lane *lane, size_t len) MUST_USE;

#endif
