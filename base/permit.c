#include "base/permit.h"

#include "base/bytes.h"
#include "base/link.h"

#include <pthread.h>
#include <stdlib.h>

struct waiter {
    struct link link;
    pthread_cond_t cond;
    bool called;
};

struct permits {
    pthread_mutex_t mutex;
    unsigned free;
    struct link waiters;
};

static _Thread_local struct permits *held, *paused;
static _Thread_local struct permit_room *entered;

struct permits *permits_new(unsigned count)
{
    struct permits *permits = mem_zalloc(sizeof *permits);
    pthread_mutex_init(&permits->mutex, NULL);
    link_init(&permits->waiters);
    permits->free = count;
    return permits;
}

void permits_free(struct permits *permits)
{
    if (!permits)
        return;
    pthread_mutex_destroy(&permits->mutex);
    free(permits);
}

static void take(struct permits *permits, bool first)
{
    pthread_mutex_lock(&permits->mutex);
    if (permits->free) {
        permits->free--;
    } else {
        struct waiter waiter = {.cond = PTHREAD_COND_INITIALIZER};
        link_add(first ? permits->waiters.next : &permits->waiters, &waiter.link);
        while (!waiter.called)
            pthread_cond_wait(&waiter.cond, &permits->mutex);
        pthread_cond_destroy(&waiter.cond);
    }
    pthread_mutex_unlock(&permits->mutex);
    held = permits;
}

void permit_take(struct permits *permits)
{
    take(permits, false);
}

void permit_give(struct permits *permits)
{
    held = NULL;
    pthread_mutex_lock(&permits->mutex);
    if (link_none(&permits->waiters)) {
        permits->free++;
    } else {
        struct waiter *waiter = LINK_OWNER(permits->waiters.next, struct waiter, link);
        link_drop(&waiter->link);
        waiter->called = true;
        pthread_cond_signal(&waiter->cond);
    }
    pthread_mutex_unlock(&permits->mutex);
}

void permit_pause(void)
{
    paused = held;
    if (paused)
        permit_give(paused);
}

void permit_resume(void)
{
    if (paused)
        take(paused, true);
    paused = NULL;
}

void permit_room_enter(struct permit_room *room)
{
    entered = room;
}

bool permit_room_begin(void)
{
    bool may = !entered || atomic_fetch_add(&entered->waiting, 1) < entered->most;
    if (!may)
        atomic_fetch_sub(&entered->waiting, 1);
    return may;
}

void permit_room_end(void)
{
    if (entered)
        atomic_fetch_sub(&entered->waiting, 1);
}
