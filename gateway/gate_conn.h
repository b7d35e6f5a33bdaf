/* Inside the gate: one connection, from its acceptance to its end. It belongs to a loop, whose
 * thread alone touches it; but a worker reads it while its request is served. */
#ifndef GATEWAY_GATE_CONN_H
#define GATEWAY_GATE_CONN_H

#include "base/link.h"
#include "gateway/frame.h"
#include "gateway/gate.h"

#include <stdatomic.h>

struct gate_loop;

/* What epoll points to. */
enum gate_source { GATE_SOURCE_WAKE = 0, GATE_SOURCE_LISTENER, GATE_SOURCE_CONN, GATE_SOURCE_LANE };

/* In each stage a connection may stay for one time, so that the list of a stage is in the order of
 * deadlines. */
enum gate_stage {
    GATE_FIRST = 0, /* nothing complete has come: PROXY header, TLS record or head */
    GATE_HANDSHAKE,
    GATE_IDLE,   /* kept, and nothing of the next request has come */
    GATE_BODY,   /* the head is complete */
    GATE_QUEUED, /* for a lane */
    GATE_SERVED, /* by a worker */
    GATE_REPLY,
    GATE_LINGER, /* answered; what the peer still sends is thrown away */
    GATE_STAGE_COUNT,
};

/* What addresses take turns at, so that one with thousands of connections waits for itself. */
enum gate_turn {
    GATE_TURN_HANDSHAKE = 0, /* it costs computing time, most of it at its start */
    GATE_TURN_REQUEST,       /* for a lane */
    GATE_TURN_COUNT,
};

/* Connections of one address; those of unix peers and edges together. */
struct gate_group {
    struct gate_group *next; /* in the bucket */
    uint64_t key;
    unsigned count;
    struct link waiting;                /* oldest first */
    struct link ready[GATE_TURN_COUNT]; /* those that ask for one */
    struct link turn[GATE_TURN_COUNT];  /* in the loop's list, if there are any */
};

struct gate_conn {
    enum gate_source source;
    int fd;
    atomic_bool gone; /* the peer, while a worker is not done yet; read by the worker */
    enum gate_stage stage;
    struct link timer; /* in the stage's list */
    struct link mate;  /* in the group's list, while it can be shed */
    struct link turn;  /* in the group's list of those that ask for one */
    enum gate_turn turn_at;
    int64_t deadline;
    struct gate_loop *loop;
    const struct gate_door *door;
    struct gate_group *group;
    char peer[NET_TEXT_MAX];
    bool wants_room; /* to write */
    bool proxied;    /* a PROXY header must come, and has not */
    bool edge_cert;  /* its Client-Cert headers count */
    SSL *ssl;
    struct cert *certificate; /* read once, by the worker of the first request */
    struct cert **along;      /* read at the same time; NULL: none */
    size_t along_count;
    uint8_t binding[TLS_BINDING_MAX]; /* read at the same time */
    size_t binding_len;
    bool certificate_read;
    struct frame frame;
    bool continued; /* 100 Continue was sent */
    bool close;     /* after the reply */
    struct buf in;
    struct buf out; /* the request for the lane, then the reply for the peer */
    size_t sent;    /* of out */
    struct gate_lane *lane;
};

struct gate_incoming {
    int fd;
    const struct gate_door *door;
    struct sockaddr_storage address;
    socklen_t len;
};

/* gate_conn.c */
void gate_conn_open(struct gate_loop *loop, const struct gate_incoming *incoming);
void gate_conn_event(struct gate_conn *conn, uint32_t events);
void gate_conn_expire(struct gate_conn *conn);
void gate_conn_replied(struct gate_conn *conn); /* out is the reply, whole */
void gate_conn_refuse(struct gate_conn *conn, int status);
void gate_conn_close(struct gate_conn *conn);
void gate_conn_stage(struct gate_conn *conn, enum gate_stage stage);
void gate_conn_turn(struct gate_conn *conn);     /* starts its handshake */
bool gate_conn_serve(struct gate_loop *loop);    /* whose turn it is, if a lane is free */
bool gate_conn_overflow(struct gate_loop *loop); /* refuses one if too many requests wait */

/* gate_group.c */
void gate_group_join(struct gate_conn *conn, uint64_t key);
void gate_group_leave(struct gate_conn *conn);
/* Room for one more connection of that address, for one of any, for one more handshake (which holds
 * some 45 KB): somebody who waits gives way. False: nobody waits. */
bool gate_group_admit(struct gate_loop *loop, uint64_t key);
bool gate_group_make_room(struct gate_loop *loop, uint64_t key);
void gate_group_make_handshake(struct gate_conn *newcomer);
/* If there are more handshakes than can be started in time, the newest are served, and not those
 * who will have given up; requests are served in their order. */
void gate_turn_ask(struct gate_conn *conn, enum gate_turn at);
void gate_turn_drop(struct gate_conn *conn);
struct gate_conn *gate_turn_next(struct gate_loop *loop, enum gate_turn at); /* NULL: nobody asks */
/* Who gives way when too many requests wait: the newest of an address that has several. */
struct gate_conn *gate_turn_victim(struct gate_loop *loop);

/* A loop's share of a ceiling of the whole gate. */
size_t gate_share(const struct gate_loop *loop, int64_t ceiling);

#endif
