#include "gateway/gate_loop.h"

#include <stdlib.h>

#define HANDSHAKES_PART 4 /* of all connections */
#define READY_MAX 64

/* The seed is random: nobody can choose addresses that meet in one bucket. */
static struct gate_group **bucket_of(struct gate_loop *loop, uint64_t key)
{
    uint64_t hash = (key ^ loop->seed) * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 32;
    hash *= loop->seed | 1;
    return &loop->groups[hash >> 40 & (GATE_BUCKETS - 1)];
}

static struct gate_group *group_find(struct gate_loop *loop, uint64_t key)
{
    struct gate_group *group = *bucket_of(loop, key);
    while (group && group->key != key)
        group = group->next;
    return group;
}

void gate_group_join(struct gate_conn *conn, uint64_t key)
{
    struct gate_group *group = group_find(conn->loop, key);
    if (!group) {
        struct gate_group **bucket = bucket_of(conn->loop, key);
        group = mem_zalloc(sizeof *group);
        group->key = key;
        group->next = *bucket;
        link_init(&group->waiting);
        for (unsigned i = 0; i < GATE_TURN_COUNT; i++)
            link_init(&group->ready[i]);
        *bucket = group;
    }
    group->count++;
    conn->group = group;
}

void gate_turn_ask(struct gate_conn *conn, enum gate_turn at)
{
    struct gate_group *group = conn->group;
    if (!conn->turn.next) {
        link_add(&group->ready[at], &conn->turn);
        conn->turn_at = at;
        conn->loop->ready[at]++;
    }
    if (!group->turn[at].next)
        link_add(&conn->loop->turns[at], &group->turn[at]);
}

void gate_turn_drop(struct gate_conn *conn)
{
    enum gate_turn at = conn->turn_at;
    if (!conn->turn.next)
        return;
    link_drop(&conn->turn);
    conn->loop->ready[at]--;
    if (link_none(&conn->group->ready[at]))
        link_drop(&conn->group->turn[at]);
}

void gate_group_leave(struct gate_conn *conn)
{
    struct gate_group *group = conn->group;
    gate_turn_drop(conn);
    conn->group = NULL;
    link_drop(&conn->mate);
    if (--group->count)
        return;
    struct gate_group **at = bucket_of(conn->loop, group->key);
    while (*at != group)
        at = &(*at)->next;
    *at = group->next;
    free(group);
}

static struct gate_group *group_of_turn(struct link *turn, enum gate_turn at)
{
    return at == GATE_TURN_HANDSHAKE
               ? LINK_OWNER(turn, struct gate_group, turn[GATE_TURN_HANDSHAKE])
               : LINK_OWNER(turn, struct gate_group, turn[GATE_TURN_REQUEST]);
}

struct gate_conn *gate_turn_next(struct gate_loop *loop, enum gate_turn at)
{
    struct link *turns = &loop->turns[at];
    if (link_none(turns))
        return NULL;
    bool late = at == GATE_TURN_HANDSHAKE && loop->ready[at] > READY_MAX;
    struct link *turn = late ? turns->prev : turns->next;
    struct gate_group *group = group_of_turn(turn, at);
    struct link *first = late ? group->ready[at].prev : group->ready[at].next;
    struct gate_conn *conn = LINK_OWNER(first, struct gate_conn, turn);
    gate_turn_drop(conn);
    if (turn->next) {
        link_drop(turn);
        link_add(late ? turns->next : turns, turn); /* behind all others */
    }
    return conn;
}

struct gate_conn *gate_turn_victim(struct gate_loop *loop)
{
    const enum gate_turn at = GATE_TURN_REQUEST;
    struct link *turns = &loop->turns[at], *turn = turns->prev;
    struct gate_group *group = group_of_turn(turn, at);
    while (turn->prev != turns && group->ready[at].next == group->ready[at].prev) {
        turn = turn->prev;
        group = group_of_turn(turn, at);
    }
    return LINK_OWNER(group->ready[at].prev, struct gate_conn, turn);
}

size_t gate_share(const struct gate_loop *loop, int64_t ceiling)
{
    size_t share = (size_t)ceiling / loop->gate->loop_count;
    return share ? share : 1;
}

static void shed(struct gate_conn *conn, enum gate_shed reason)
{
    conn->loop->shed[reason]++;
    gate_conn_close(conn);
}

/* The one of the group that waits longest; NULL if none does. */
static struct gate_conn *oldest_of(const struct gate_group *group)
{
    return group && !link_none(&group->waiting)
               ? LINK_OWNER(group->waiting.next, struct gate_conn, mate)
               : NULL;
}

bool gate_group_admit(struct gate_loop *loop, uint64_t key)
{
    int64_t ceiling = loop->cfg->limits.per_address;
    struct gate_group *group = key && ceiling ? group_find(loop, key) : NULL;
    if (!group || group->count < gate_share(loop, ceiling))
        return true;
    struct gate_conn *conn = oldest_of(group);
    if (conn)
        shed(conn, GATE_SHED_ADDRESS);
    else
        loop->shed[GATE_SHED_ADDRESS]++;
    return conn;
}

/* The newcomer's own address gives way first: whoever comes in thousands displaces himself. Else
 * whoever waits longest: a device that means it needs milliseconds. */
bool gate_group_make_room(struct gate_loop *loop, uint64_t key)
{
    static const enum gate_stage order[] = {GATE_IDLE, GATE_FIRST, GATE_HANDSHAKE, GATE_BODY};
    if (loop->conns < gate_share(loop, loop->gate->connections_max))
        return true;
    struct gate_conn *conn = oldest_of(group_find(loop, key));
    for (size_t i = 0; i < sizeof order / sizeof order[0] && !conn; i++)
        if (!link_none(&loop->stages[order[i]]))
            conn = LINK_OWNER(loop->stages[order[i]].next, struct gate_conn, timer);
    if (conn)
        shed(conn, GATE_SHED_TOTAL);
    else
        loop->shed[GATE_SHED_TOTAL]++;
    return conn;
}

void gate_group_make_handshake(struct gate_conn *newcomer)
{
    struct gate_loop *loop = newcomer->loop;
    if (loop->in_stage[GATE_HANDSHAKE] <
        gate_share(loop, loop->gate->connections_max / HANDSHAKES_PART))
        return;
    struct gate_conn *conn = oldest_of(newcomer->group);
    if (conn == newcomer)
        conn = LINK_OWNER(loop->stages[GATE_HANDSHAKE].next, struct gate_conn, timer);
    shed(conn, GATE_SHED_TOTAL);
}
