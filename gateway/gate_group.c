#include "gateway/gate_loop.h"

#include <stdlib.h>

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
    if (!key)
        return;
    struct gate_group *group = group_find(conn->loop, key);
    if (!group) {
        struct gate_group **bucket = bucket_of(conn->loop, key);
        group = mem_zalloc(sizeof *group);
        group->key = key;
        group->next = *bucket;
        link_init(&group->waiting);
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
    if (!group || --group->count)
        return;
    struct gate_group **at = bucket_of(conn->loop, group->key);
    while (*at != group)
        at = &(*at)->next;
    *at = group->next;
    free(group);
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

bool gate_group_admit(struct gate_loop *loop, uint64_t key)
{
    int64_t ceiling = loop->cfg->limits.per_address;
    struct gate_group *group = key && ceiling ? group_find(loop, key) : NULL;
    if (!group || group->count < gate_share(loop, ceiling))
        return true;
    bool any = !link_none(&group->waiting);
    if (any)
        shed(LINK_OWNER(group->waiting.next, struct gate_conn, mate), GATE_SHED_ADDRESS);
    else
        loop->shed[GATE_SHED_ADDRESS]++;
    return any;
}

/* Whoever waits longest gives way: a device that means it needs milliseconds, and one that holds
 * connections open has many of them. */
bool gate_group_make_room(struct gate_loop *loop)
{
    static const enum gate_stage order[] = {GATE_IDLE, GATE_FIRST, GATE_HANDSHAKE, GATE_BODY};
    if (loop->conns < gate_share(loop, loop->gate->connections_max))
        return true;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        struct link *list = &loop->stages[order[i]];
        if (link_none(list))
            continue;
        shed(LINK_OWNER(list->next, struct gate_conn, timer), GATE_SHED_TOTAL);
        return true;
    }
    loop->shed[GATE_SHED_TOTAL]++;
    return false;
}
