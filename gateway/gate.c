#include "gateway/gate.h"

#include "base/clock.h"
#include "base/log.h"
#include "gateway/gate_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <openssl/rand.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 64
#define ACCEPTS 512
#define TURNS 2
#define TRIM_MIN 1024
#define TICK_MS 1000
#define FIRST_WHEN_DRAINING_MS 1000
#define HANDSHAKES_MS 2000 /* a packet of one may be lost, and is sent again after a second */
#define HALFWAY_MS 50      /* between two looks whether there are any */
#define START_MS 5000
#define PAUSE_MS 5
#define SPARE_DESCRIPTORS 128

static void pause_ms(long milliseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = milliseconds * 1000000}, NULL);
}

static void pause_short(void)
{
    pause_ms(PAUSE_MS);
}

static void wake(struct gate_loop *loop)
{
    (void)eventfd_write(loop->wake, 1);
}

/* From the loop that accepts to the one that the connection falls to. */
static void hand_over(struct gate *gate, const struct gate_incoming *incoming)
{
    struct gate_loop *loop = &gate->loops[gate->next_loop++ % gate->loop_count];
    if (loop == &gate->loops[0]) {
        gate_conn_open(loop, incoming);
        return;
    }
    pthread_mutex_lock(&loop->mutex);
    if (loop->inbox_count == loop->inbox_room) {
        loop->inbox_room = loop->inbox_room ? loop->inbox_room * 2 : ACCEPTS;
        loop->inbox = mem_resize(loop->inbox, loop->inbox_room, sizeof *loop->inbox);
    }
    loop->inbox[loop->inbox_count++] = *incoming;
    bool first = loop->inbox_count == 1;
    pthread_mutex_unlock(&loop->mutex);
    if (first)
        wake(loop);
}

/* False: nothing more to accept. */
static bool accept_one(struct gate_loop *loop, const struct gate_listener *listener)
{
    struct gate_incoming incoming = {.door = listener->door, .len = sizeof incoming.address};
    incoming.fd = accept4(listener->fd, (struct sockaddr *)&incoming.address, &incoming.len,
                          SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (incoming.fd >= 0) {
        hand_over(loop->gate, &incoming);
        return true;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        pause_short(); /* the connection stays where it is; connections_max should prevent this */
    return errno == EINTR || errno == ECONNABORTED;
}

static void accept_some(struct gate_loop *loop, const struct gate_listener *listener)
{
    for (unsigned i = 0; i < ACCEPTS; i++)
        if (!accept_one(loop, listener))
            return;
}

/* With more events than fit into a round, a listener's own would come after all of them, and the
 * kernel's queue would overflow. */
static void accept_all(struct gate_loop *loop)
{
    struct gate *gate = loop->gate;
    for (size_t i = 0; i < gate->listener_count && loop == &gate->loops[0]; i++)
        if (gate->listeners[i].fd >= 0)
            accept_some(loop, &gate->listeners[i]);
}

/* Whoever is connected already is served. */
static void stop_listening(struct gate_loop *loop)
{
    struct gate *gate = loop->gate;
    for (size_t i = 0; i < gate->listener_count && loop == &gate->loops[0]; i++) {
        struct gate_listener *listener = &gate->listeners[i];
        if (listener->fd < 0)
            continue;
        if (!listener->inherited)
            listen_shut(listener->fd);
        while (!listener->inherited && accept_one(loop, listener))
            ;
        epoll_ctl(loop->epoll, EPOLL_CTL_DEL, listener->fd, NULL);
        close(listener->fd);
        listener->fd = -1;
    }
}

static void drain(struct gate_loop *loop)
{
    struct link *idle = &loop->stages[GATE_IDLE], *first = &loop->stages[GATE_FIRST];
    loop->draining = true;
    stop_listening(loop);
    while (!link_none(idle))
        gate_conn_close(LINK_OWNER(idle->next, struct gate_conn, timer));
    for (struct link *at = first->next; at != first; at = at->next) {
        struct gate_conn *conn = LINK_OWNER(at, struct gate_conn, timer);
        if (conn->deadline > loop->now + FIRST_WHEN_DRAINING_MS)
            conn->deadline = loop->now + FIRST_WHEN_DRAINING_MS;
    }
    loop->drained = true;
}

/* What other threads left. */
static void read_inbox(struct gate_loop *loop)
{
    eventfd_t ignored;
    (void)eventfd_read(loop->wake, &ignored);
    pthread_mutex_lock(&loop->mutex);
    struct gate_incoming *inbox = loop->inbox;
    size_t count = loop->inbox_count;
    struct cfg *next = loop->next_cfg;
    bool draining = loop->drain;
    loop->inbox = NULL;
    loop->inbox_count = loop->inbox_room = 0;
    loop->next_cfg = NULL;
    pthread_mutex_unlock(&loop->mutex);
    if (next) {
        cfg_free(loop->cfg);
        loop->cfg = next;
    }
    for (size_t i = 0; i < count; i++)
        gate_conn_open(loop, &inbox[i]);
    free(inbox);
    if (draining && !loop->draining)
        drain(loop);
}

static void on_event(struct gate_loop *loop, const struct epoll_event *event)
{
    switch (*(enum gate_source *)event->data.ptr) {
    case GATE_SOURCE_WAKE:
        read_inbox(loop);
        break;
    case GATE_SOURCE_LISTENER:
        accept_some(loop, event->data.ptr);
        break;
    case GATE_SOURCE_CONN:
        gate_conn_event(event->data.ptr, event->events);
        break;
    case GATE_SOURCE_LANE:
        gate_lane_event(event->data.ptr);
        break;
    }
}

static void expire(struct gate_loop *loop)
{
    for (unsigned i = 0; i < GATE_STAGE_COUNT; i++) {
        struct link *list = &loop->stages[i];
        while (!link_none(list)) {
            struct gate_conn *conn = LINK_OWNER(list->next, struct gate_conn, timer);
            if (conn->deadline > loop->now)
                break;
            gate_conn_expire(conn);
        }
    }
}

static int time_to_next(const struct gate_loop *loop)
{
    int64_t end = loop->now + TICK_MS;
    for (unsigned i = 0; i < GATE_STAGE_COUNT; i++) {
        const struct link *list = &loop->stages[i];
        if (link_none(list))
            continue;
        const struct gate_conn *conn = LINK_OWNER(list->next, const struct gate_conn, timer);
        if (conn->deadline < end)
            end = conn->deadline;
    }
    if (!link_none(&loop->turns[GATE_TURN_HANDSHAKE]))
        return 0;
    return end > loop->now ? (int)(end - loop->now) : 0;
}

static void bury(struct gate_loop *loop)
{
    for (struct link *link = loop->dead.next; link != &loop->dead;) {
        struct gate_conn *conn = LINK_OWNER(link, struct gate_conn, timer);
        link = link->next;
        free(conn);
    }
    link_init(&loop->dead);
}

/* A few handshakes, and then again whatever costs little. */
static void take_turns(struct gate_loop *loop)
{
    struct gate_conn *conn;
    for (unsigned i = 0; i < TURNS && (conn = gate_turn_next(loop, GATE_TURN_HANDSHAKE)); i++)
        gate_conn_turn(conn);
}

static void tidy(struct gate_loop *loop)
{
    gate_lanes_mend(loop);
    if (loop->conns_peak < TRIM_MIN || loop->conns > loop->conns_peak / 2)
        return;
    loop->conns_peak = loop->conns;
    malloc_trim(0); /* what a crowd has needed */
}

static void publish(struct gate_loop *loop)
{
    const size_t *in = loop->in_stage;
    loop->waiting = in[GATE_FIRST] + in[GATE_HANDSHAKE] + in[GATE_IDLE] + in[GATE_BODY];
    loop->serving = in[GATE_QUEUED] + in[GATE_SERVED] + in[GATE_REPLY];
    loop->open = loop->conns - in[GATE_LINGER];
    loop->rounds++;
}

static bool is_stopped(struct gate_loop *loop)
{
    pthread_mutex_lock(&loop->mutex);
    bool stop = loop->stop;
    pthread_mutex_unlock(&loop->mutex);
    return stop;
}

static void *loop_run(void *arg)
{
    struct gate_loop *loop = arg;
    struct epoll_event events[EVENTS];
    int64_t mended = 0;
    while (!is_stopped(loop)) {
        loop->now = clock_mono_ms();
        int n = epoll_wait(loop->epoll, events, EVENTS, time_to_next(loop));
        loop->now = clock_mono_ms();
        for (int i = 0; i < n; i++)
            on_event(loop, &events[i]);
        if (n == EVENTS)
            accept_all(loop);
        take_turns(loop);
        expire(loop);
        if (loop->now - mended > TICK_MS) {
            tidy(loop);
            mended = loop->now;
        }
        while (gate_conn_serve(loop) || gate_conn_overflow(loop))
            ;
        bury(loop);
        publish(loop);
    }
    return NULL;
}

/* As many descriptors as we may have; the ceiling of connections follows from them. */
static int64_t connections_max(const struct gate_conf *conf)
{
    struct rlimit limit;
    int64_t want = conf->cfg->limits.connections;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return want;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    int64_t room = limit.rlim_cur > INT32_MAX ? INT32_MAX : (int64_t)limit.rlim_cur;
    room -= SPARE_DESCRIPTORS + 2 * (int64_t)conf->lanes;
    if (room < 1)
        room = 1;
    if (room >= want)
        return want;
    log_text(LOG_WARN, "limits",
             "limits.connections is %lld, but only %lld descriptors are allowed", (long long)want,
             (long long)room);
    return room;
}

static bool loop_open(struct gate *gate, struct gate_loop *loop, struct cfg *cfg, struct err *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = loop};
    loop->source = GATE_SOURCE_WAKE;
    loop->gate = gate;
    loop->cfg = cfg_ref(cfg);
    loop->now = clock_mono_ms();
    loop->scratch = mem_zalloc(GATE_SCRATCH);
    pthread_mutex_init(&loop->mutex, NULL);
    for (unsigned i = 0; i < GATE_STAGE_COUNT; i++)
        link_init(&loop->stages[i]);
    link_init(&loop->lanes);
    for (unsigned i = 0; i < GATE_TURN_COUNT; i++)
        link_init(&loop->turns[i]);
    link_init(&loop->dead);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll < 0 || loop->wake < 0 ||
        epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &event) != 0)
        return err_set(err, ERR_LOCAL, "cannot make an event loop: %s", strerror(errno));
    if (RAND_bytes((unsigned char *)&loop->seed, sizeof loop->seed) != 1)
        return err_openssl(err, ERR_LOCAL, "no random numbers");
    return true;
}

bool gate_new(const struct gate_conf *conf, struct gate **ret, struct err *err)
{
    struct gate *gate = mem_zalloc(sizeof *gate);
    gate->name = conf->name;
    gate->body_max = conf->body_max;
    gate->lanes_pair[0] = gate->lanes_pair[1] = -1;
    gate->connections_max = connections_max(conf);
    gate->lane_count = conf->lanes;
    gate->loop_count = conf->loops < conf->lanes / 2 ? conf->loops : conf->lanes / 2;
    if (!gate->loop_count)
        gate->loop_count = 1;
    gate->loops = mem_zalloc(gate->loop_count * sizeof *gate->loops);
    gate->lanes = mem_zalloc(conf->lanes * sizeof *gate->lanes);
    for (unsigned i = 0; i < gate->loop_count; i++) {
        gate->loops[i].epoll = gate->loops[i].wake = -1;
        gate->loops[i].room.most = conf->lanes / gate->loop_count / 2;
    }
    for (unsigned i = 0; i < conf->lanes; i++) {
        gate->lanes[i].source = GATE_SOURCE_LANE;
        gate->lanes[i].id = (uint16_t)(i + 1);
        gate->lanes[i].fd = -1;
        gate->lanes[i].loop = &gate->loops[i % gate->loop_count];
    }
    bool ok = true;
    for (unsigned i = 0; i < gate->loop_count && ok; i++)
        ok = loop_open(gate, &gate->loops[i], conf->cfg, err);
    if (ok && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, gate->lanes_pair) != 0)
        ok = err_set(err, ERR_LOCAL, "cannot make lanes: %s", strerror(errno));
    if (!ok) {
        gate_free(gate);
        return false;
    }
    *ret = gate;
    return true;
}

int gate_lanes_fd(const struct gate *gate)
{
    return gate->lanes_pair[1];
}

bool gate_listen(struct gate *gate, const struct listen_socket *socket,
                 const struct gate_door *door, struct err *err)
{
    gate->listeners =
        mem_resize(gate->listeners, gate->listener_count + 1, sizeof *gate->listeners);
    gate->listeners[gate->listener_count++] =
        (struct gate_listener){GATE_SOURCE_LISTENER, socket->fd, socket->inherited, door};
    return fcntl(socket->fd, F_SETFL, O_NONBLOCK | fcntl(socket->fd, F_GETFL)) == 0 ||
           err_set(err, ERR_LOCAL, "cannot use a listening socket: %s", strerror(errno));
}

/* A worker must take a lane; nothing is asked there, so it ends the connection. */
static bool self_test(const struct gate *gate, struct err *err)
{
    static const char request[] = "HEAD / HTTP/1.1\r\n\r\n";
    struct pollfd wait = {.fd = gate->lanes[0].fd, .events = POLLIN};
    return (send(wait.fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0 &&
            poll(&wait, 1, START_MS) == 1) ||
           err_set(err, ERR_LOCAL,
                   "CivetWeb does not take its connections from the gate (%s): accept is not "
                   "interposed",
                   gate->name);
}

static bool loop_start(struct gate_loop *loop, struct err *err)
{
    int error = pthread_create(&loop->thread, NULL, loop_run, loop);
    loop->running = error == 0;
    return loop->running || err_set(err, ERR_LOCAL, "cannot start a thread: %s", strerror(error));
}

bool gate_start(struct gate *gate, struct err *err)
{
    for (unsigned i = 0; i < gate->lane_count; i++)
        if (!gate_lane_open(&gate->lanes[i], err))
            return false;
    if (!self_test(gate, err))
        return false;
    for (size_t i = 0; i < gate->listener_count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &gate->listeners[i]};
        if (epoll_ctl(gate->loops[0].epoll, EPOLL_CTL_ADD, gate->listeners[i].fd, &event) != 0)
            return err_set(err, ERR_LOCAL, "cannot wait for connections: %s", strerror(errno));
    }
    for (unsigned i = 0; i < gate->loop_count; i++)
        if (!loop_start(&gate->loops[i], err))
            return false;
    return true;
}

/* Until a round has begun and ended: then the last that were accepted are counted, and what
 * was left in the inbox is read. */
static void settle(struct gate_loop *loop, int64_t end)
{
    uint64_t rounds = loop->rounds;
    while (loop->running && loop->rounds < rounds + 2 && clock_mono_ms() < end) {
        wake(loop);
        pause_short();
    }
}

void gate_reload(struct gate *gate, struct cfg *cfg)
{
    for (unsigned i = 0; i < gate->loop_count; i++) {
        struct gate_loop *loop = &gate->loops[i];
        pthread_mutex_lock(&loop->mutex);
        cfg_free(loop->next_cfg);
        loop->next_cfg = cfg_ref(cfg);
        pthread_mutex_unlock(&loop->mutex);
    }
    int64_t end = clock_mono_ms() + START_MS;
    for (unsigned i = 0; i < gate->loop_count; i++)
        settle(&gate->loops[i], end);
}

static uint64_t busy(const struct gate *gate)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < gate->loop_count; i++)
        sum += gate->loops[i].open;
    return sum;
}

static bool any_halfway(const struct gate *gate)
{
    for (size_t i = 0; i < gate->listener_count; i++)
        if (!gate->listeners[i].inherited && listen_halfway(gate->listeners[i].fd))
            return true;
    return false;
}

/* Nobody may be between our last accept and the close: the kernel would reset a client that
 * believes to be connected. */
static void deafen(const struct gate *gate, int64_t end)
{
    for (size_t i = 0; i < gate->listener_count; i++)
        if (!gate->listeners[i].inherited)
            listen_deafen(gate->listeners[i].fd);
    for (pause_short(); any_halfway(gate) && clock_mono_ms() < end;)
        pause_ms(HALFWAY_MS);
}

bool gate_drain(struct gate *gate, int64_t milliseconds)
{
    int64_t now = clock_mono_ms(), end = now + milliseconds;
    /* Who never ends his handshake takes no more than half of what requests may take. */
    deafen(gate, now + (milliseconds / 2 < HANDSHAKES_MS ? milliseconds / 2 : HANDSHAKES_MS));
    for (unsigned i = 0; i < gate->loop_count; i++) {
        pthread_mutex_lock(&gate->loops[i].mutex);
        gate->loops[i].drain = true;
        pthread_mutex_unlock(&gate->loops[i].mutex);
        wake(&gate->loops[i]);
    }
    for (unsigned i = 0; i < gate->loop_count; i++)
        while (gate->loops[i].running && !gate->loops[i].drained && clock_mono_ms() < end)
            pause_short();
    for (unsigned i = 0; i < gate->loop_count; i++)
        settle(&gate->loops[i], end);
    while (busy(gate) && clock_mono_ms() < end)
        pause_short();
    return busy(gate) == 0;
}

static void loop_stop(struct gate_loop *loop)
{
    pthread_mutex_lock(&loop->mutex);
    loop->stop = true;
    pthread_mutex_unlock(&loop->mutex);
    wake(loop);
    pthread_join(loop->thread, NULL);
}

static void loop_close(struct gate_loop *loop)
{
    for (unsigned i = 0; i < GATE_STAGE_COUNT && loop->gate; i++)
        while (!link_none(&loop->stages[i])) {
            struct gate_conn *conn = LINK_OWNER(loop->stages[i].next, struct gate_conn, timer);
            conn->lane = NULL;
            gate_conn_close(conn);
        }
    if (loop->gate)
        bury(loop);
    for (size_t i = 0; i < loop->inbox_count; i++)
        close(loop->inbox[i].fd);
    free(loop->inbox);
    free(loop->scratch);
    cfg_free(loop->next_cfg);
    cfg_free(loop->cfg);
    if (loop->epoll >= 0)
        close(loop->epoll);
    if (loop->wake >= 0)
        close(loop->wake);
    if (loop->gate)
        pthread_mutex_destroy(&loop->mutex);
}

void gate_stop(struct gate *gate)
{
    for (unsigned i = 0; i < gate->loop_count; i++)
        if (gate->loops[i].running)
            loop_stop(&gate->loops[i]);
    for (unsigned i = 0; i < gate->loop_count; i++)
        gate->loops[i].running = false;
    for (unsigned i = 0; i < gate->lane_count; i++)
        if (gate->lanes[i].fd >= 0)
            shutdown(gate->lanes[i].fd, SHUT_RDWR);
    if (gate->lanes_pair[0] >= 0)
        shutdown(gate->lanes_pair[0], SHUT_RDWR); /* CivetWeb looks up at once, not in seconds */
}

void gate_free(struct gate *gate)
{
    if (!gate)
        return;
    gate_stop(gate);
    for (unsigned i = 0; i < gate->loop_count; i++)
        loop_close(&gate->loops[i]);
    for (unsigned i = 0; i < gate->lane_count; i++)
        if (gate->lanes[i].fd >= 0)
            close(gate->lanes[i].fd);
    for (size_t i = 0; i < gate->listener_count; i++)
        if (gate->listeners[i].fd >= 0)
            close(gate->listeners[i].fd);
    for (unsigned i = 0; i < 2; i++)
        if (gate->lanes_pair[i] >= 0)
            close(gate->lanes_pair[i]);
    free(gate->listeners);
    free(gate->lanes);
    free(gate->loops);
    free(gate);
}

const char *gate_shed_name(enum gate_shed reason)
{
    static const char *const names[GATE_SHED_COUNT] = {
        [GATE_SHED_ADDRESS] = "address",
        [GATE_SHED_TOTAL] = "total",
        [GATE_SHED_DEADLINE] = "deadline",
        [GATE_SHED_QUEUE] = "queue",
    };
    return names[reason];
}

void gate_counts_add(const struct gate *gate, struct gate_counts *counts)
{
    for (unsigned i = 0; i < gate->loop_count; i++) {
        const struct gate_loop *loop = &gate->loops[i];
        counts->waiting += loop->waiting;
        counts->serving += loop->serving;
        for (unsigned k = 0; k < GATE_SHED_COUNT; k++)
            counts->shed[k] += loop->shed[k];
        counts->malformed += loop->malformed;
        counts->tls_failed += loop->tls_failed;
    }
}
