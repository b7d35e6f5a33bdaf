#include "ra/keyring.h"

#include "base/clock.h"
#include "base/link.h"
#include "base/permit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct kept {
    struct link link;
    char id[RA_ID_LEN + 1];
    struct keyring_owner owner;
    EVP_PKEY *key;
    bool open;     /* its request */
    int64_t until; /* clock_now(); if it is open: when to look what has become of it */
    bool delivered;
};

struct keyring {
    pthread_mutex_t making;
    pthread_mutex_t mutex; /* guards what follows */
    struct link all;       /* oldest first */
    size_t count;
    unsigned makers; /* of keys: one makes, the others wait for their turn */
};

struct keyring *keyring_new(void)
{
    struct keyring *ring = mem_zalloc(sizeof *ring);
    pthread_mutex_init(&ring->making, NULL);
    pthread_mutex_init(&ring->mutex, NULL);
    link_init(&ring->all);
    return ring;
}

/* Of one that is in no list. OpenSSL wipes the private numbers of a key with its last count. */
static void forget(struct keyring *ring, struct kept *kept)
{
    EVP_PKEY_free(kept->key);
    free(kept);
    ring->count--;
}

void keyring_free(struct keyring *ring)
{
    if (!ring)
        return;
    for (struct link *link; (link = link_take(&ring->all));)
        forget(ring, LINK_OWNER(link, struct kept, link));
    pthread_mutex_destroy(&ring->mutex);
    pthread_mutex_destroy(&ring->making);
    free(ring);
}

static void purge(struct keyring *ring)
{
    int64_t now = clock_now();
    for (struct link *link = ring->all.next, *next; link != &ring->all; link = next) {
        struct kept *kept = LINK_OWNER(link, struct kept, link);
        next = link->next;
        if (!kept->open && kept->until <= now) {
            link_drop(link);
            forget(ring, kept);
        }
    }
}

static struct kept *find(struct keyring *ring, const char *id)
{
    for (struct link *link = ring->all.next; link != &ring->all; link = link->next) {
        struct kept *kept = LINK_OWNER(link, struct kept, link);
        if (strcmp(kept->id, id) == 0)
            return kept;
    }
    return NULL;
}

/* Those that were delivered give way, and count for nobody. */
static bool has_share(struct keyring *ring, const struct keyring_owner *owner, struct err *err)
{
    size_t all = 0, of_profile = 0, of_prover = 0;
    for (struct link *link = ring->all.next; link != &ring->all; link = link->next) {
        const struct kept *kept = LINK_OWNER(link, struct kept, link);
        if (kept->delivered)
            continue;
        bool same = strcmp(kept->owner.profile, owner->profile) == 0;
        all++;
        of_profile += same;
        of_prover += same && memcmp(kept->owner.prover, owner->prover, sizeof owner->prover) == 0;
    }
    if (all >= KEYRING_MAX)
        return err_set(err, ERR_LOCAL, "%zu keys wait for their devices, and there is no room",
                       all);
    size_t left = KEYRING_MAX - all;
    if (of_profile >= left)
        return err_set(err, ERR_LOCAL,
                       "%zu keys wait for devices of profile %s, and there is room for %zu more in "
                       "all, which is for others",
                       of_profile, owner->profile, left);
    if (2 * of_prover >= left - of_profile)
        return err_set(err, ERR_LOCAL,
                       "%zu keys wait for whoever asks here, and there is room for %zu more of "
                       "profile %s, which is for others",
                       of_prover, left - of_profile, owner->profile);
    return true;
}

/* The oldest that its device has been sent gives way. */
static void make_room(struct keyring *ring)
{
    for (struct link *link = ring->all.next; link != &ring->all && ring->count >= KEYRING_MAX;
         link = link->next) {
        struct kept *kept = LINK_OWNER(link, struct kept, link);
        if (kept->delivered) {
            link_drop(link);
            forget(ring, kept);
            return;
        }
    }
}

bool keyring_may(struct keyring *ring, const struct keyring_owner *owner, struct err *err)
{
    pthread_mutex_lock(&ring->mutex);
    purge(ring);
    bool may = has_share(ring, owner, err);
    pthread_mutex_unlock(&ring->mutex);
    return may;
}

bool keyring_put(struct keyring *ring, const struct keyring_owner *owner, const char *id,
                 EVP_PKEY *key, struct err *err)
{
    pthread_mutex_lock(&ring->mutex);
    purge(ring);
    bool room = has_share(ring, owner, err);
    if (room) {
        make_room(ring);
        struct kept *kept = mem_zalloc(sizeof *kept);
        memcpy(kept->id, id, strnlen(id, RA_ID_LEN));
        kept->owner = *owner;
        EVP_PKEY_up_ref(key);
        kept->key = key;
        kept->open = true;
        kept->until = clock_now() + KEYRING_LOOK_SECONDS;
        link_add(&ring->all, &kept->link);
        ring->count++;
    }
    pthread_mutex_unlock(&ring->mutex);
    return room;
}

void keyring_settle(struct keyring *ring, const char *id, int64_t seconds)
{
    pthread_mutex_lock(&ring->mutex);
    struct kept *kept = find(ring, id);
    if (kept && kept->open) {
        kept->open = false;
        kept->until = clock_now() + seconds;
    }
    pthread_mutex_unlock(&ring->mutex);
}

bool keyring_open_next(struct keyring *ring, char id[RA_ID_LEN + 1])
{
    bool found = false;
    pthread_mutex_lock(&ring->mutex);
    for (struct link *link = ring->all.next; link != &ring->all && !found; link = link->next) {
        struct kept *kept = LINK_OWNER(link, struct kept, link);
        found = kept->open && kept->until <= clock_now();
        if (found) {
            kept->until = clock_now() + KEYRING_LOOK_SECONDS;
            memcpy(id, kept->id, sizeof kept->id);
        }
    }
    pthread_mutex_unlock(&ring->mutex);
    return found;
}

EVP_PKEY *keyring_get(struct keyring *ring, const char *id)
{
    pthread_mutex_lock(&ring->mutex);
    purge(ring);
    struct kept *kept = find(ring, id);
    EVP_PKEY *key = kept ? kept->key : NULL;
    if (key)
        EVP_PKEY_up_ref(key);
    pthread_mutex_unlock(&ring->mutex);
    return key;
}

bool keyring_has(struct keyring *ring, const char *id)
{
    EVP_PKEY *key = keyring_get(ring, id);
    EVP_PKEY_free(key);
    return key;
}

void keyring_drop(struct keyring *ring, const char *id)
{
    pthread_mutex_lock(&ring->mutex);
    struct kept *kept = find(ring, id);
    if (kept) {
        link_drop(&kept->link);
        forget(ring, kept);
    }
    pthread_mutex_unlock(&ring->mutex);
}

void keyring_delivered(struct keyring *ring, const char *id)
{
    pthread_mutex_lock(&ring->mutex);
    struct kept *kept = find(ring, id);
    int64_t until = clock_now() + KEYRING_DELIVERED_SECONDS;
    if (kept && !kept->delivered) {
        kept->delivered = true;
        kept->until = !kept->open && kept->until < until ? kept->until : until;
        kept->open = false;
    }
    pthread_mutex_unlock(&ring->mutex);
}

void keyring_purge(struct keyring *ring)
{
    pthread_mutex_lock(&ring->mutex);
    purge(ring);
    pthread_mutex_unlock(&ring->mutex);
}

bool keyring_make_begin(struct keyring *ring)
{
    pthread_mutex_lock(&ring->mutex);
    bool may = ring->makers <= KEYRING_MAKERS;
    ring->makers += may;
    pthread_mutex_unlock(&ring->mutex);
    if (!may)
        return false;
    permit_pause();
    pthread_mutex_lock(&ring->making);
    permit_resume();
    return true;
}

void keyring_make_end(struct keyring *ring)
{
    pthread_mutex_unlock(&ring->making);
    pthread_mutex_lock(&ring->mutex);
    ring->makers--;
    pthread_mutex_unlock(&ring->mutex);
}
