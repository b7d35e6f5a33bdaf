/* Inside the gate: one loop and what it owns. Everything here is touched by the loop's thread
 * alone, but for what is marked. */
#ifndef GATEWAY_GATE_LOOP_H
#define GATEWAY_GATE_LOOP_H

#include "gateway/gate_conn.h"

#include <pthread.h>
#include <stdatomic.h>

#define GATE_SCRATCH ((size_t)64 << 10)
#define GATE_BUCKETS 1024

struct gate_listener {
    enum gate_source source;
    int fd;
    bool inherited; /* somebody else keeps it open */
    const struct gate_door *door;
};

enum gate_lane_state { GATE_LANE_FREE = 0, GATE_LANE_FEED, GATE_LANE_WAIT };

struct gate_lane {
    enum gate_source source;
    int fd;
    uint16_t id;
    enum gate_lane_state state;
    struct link free;
    struct gate_loop *loop;
    _Atomic(struct gate_conn *) conn; /* read by the worker */
    atomic_size_t announced;          /* set by the worker; 0: not yet */
};

struct gate_loop {
    enum gate_source source; /* of the wake descriptor */
    struct gate *gate;
    pthread_t thread;
    bool running;
    int epoll, wake;
    struct cfg *cfg;
    int64_t now; /* milliseconds, of this round */
    struct link stages[GATE_STAGE_COUNT];
    size_t in_stage[GATE_STAGE_COUNT];
    struct permit_room room;            /* of its workers */
    struct link lanes;                  /* free ones */
    struct link turns[GATE_TURN_COUNT]; /* groups that ask for one */
    size_t ready[GATE_TURN_COUNT];      /* connections that do */
    size_t conns, conns_peak;
    uint64_t seed;
    struct gate_group *groups[GATE_BUCKETS];
    struct link dead; /* freed at the end of the round */
    uint8_t *scratch;
    bool draining;

    pthread_mutex_t mutex; /* guards what follows: from other threads */
    struct gate_incoming *inbox;
    size_t inbox_count, inbox_room;
    struct cfg *next_cfg;
    bool drain, stop;

    /* Written by the loop, read by all. */
    atomic_bool drained;
    _Atomic uint64_t rounds, open, waiting, serving, shed[GATE_SHED_COUNT], malformed, tls_failed;
};

struct gate {
    const char *name;
    size_t body_max;
    int lanes_pair[2]; /* lanes are sent through the first; the second is CivetWeb's listener */
    struct gate_listener *listeners;
    size_t listener_count;
    struct gate_loop *loops;
    unsigned loop_count, next_loop;
    struct gate_lane *lanes;
    unsigned lane_count;
    int64_t connections_max;
};

/* gate_lane.c */
bool gate_lane_open(struct gate_lane *lane, struct err *err) MUST_USE;
void gate_lane_close(struct gate_lane *lane);
void gate_lanes_mend(struct gate_loop *loop); /* opens those that could not be opened again */
void gate_lane_give(struct gate_loop *loop, struct gate_conn *conn); /* a lane must be free */
void gate_lane_event(struct gate_lane *lane);

#endif
