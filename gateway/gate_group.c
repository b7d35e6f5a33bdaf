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
        link_init(&group->ready);
        *bucket = group;
    }
    group->count++;
    conn->group = group;
}

void gate_group_leave(struct gate_conn *conn)
{
    struct gate_group *group = conn->group;
    conn->group = NULL;
    link_drop(&conn->mate);
    conn->loop->ready -= conn->turn.next != NULL;
    link_drop(&conn->turn);
    if (link_none(&group->ready))
        link_drop(&group->turn);
    if (--group->count)
        return;
    struct gate_group **at = bucket_of(conn->loop, group->key);
    while (*at != group)
        at = &(*at)->next;
    *at = group->next;
    free(group);
}

void gate_turn_ask(struct gate_conn *conn)
{
    if (!conn->turn.next) {
        link_add(&conn->group->ready, &conn->turn);
        conn->loop->ready++;
    }
    if (!conn->group->turn.next)
        link_add(&conn->loop->turns, &conn->group->turn);
}

struct gate_conn *gate_turn_next(struct gate_loop *loop)
{
    if (link_none(&loop->turns))
        return NULL;
    bool late = loop->ready > READY_MAX;
    struct link *turn = late ? loop->turns.prev : loop->turns.next;
    struct gate_group *group = LINK_OWNER(turn, struct gate_group, turn);
    struct link *first = late ? group->ready.prev : group->ready.next;
    link_drop(turn);
    link_drop(first);
    loop->ready--;
    if (!link_none(&group->ready))
        link_add(late ? loop->turns.next : &loop->turns, turn); /* behind all others */
    return LINK_OWNER(first, struct gate_conn, turn);
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
