#include "est/guard.h"

#include "base/clock.h"
#include "base/net.h"

#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SETS 1024
#define WAYS 4

struct entry {
    uint64_t key; /* 0: free */
    unsigned failures;
    int64_t last, until;
};

struct est_guard {
    uint8_t secret[32];    /* nobody can choose what falls into a set */
    pthread_mutex_t mutex; /* guards the entries */
    struct entry entries[SETS][WAYS];
};

struct est_guard *est_guard_new(void)
{
    struct est_guard *guard = mem_zalloc(sizeof *guard);
    if (RAND_bytes(guard->secret, sizeof guard->secret) != 1)
        memset(guard->secret, 0, sizeof guard->secret); /* sets can be chosen then; nothing else */
    pthread_mutex_init(&guard->mutex, NULL);
    return guard;
}

void est_guard_free(struct est_guard *guard)
{
    if (!guard)
        return;
    pthread_mutex_destroy(&guard->mutex);
    free(guard);
}

/* Who has one address of an IPv6 /64 has all of them. */
static bool add_origin(const char *origin, struct buf *text)
{
    struct net_addr address;
    uint64_t group = net_addr_parse(origin, &address) ? net_addr_group(&address) : 0;
    return group ? buf_add_u8(text, 1) && buf_add(text, bytes_of(&group, sizeof group))
                 : buf_add_u8(text, 0) && buf_add(text, bytes_of(origin, strlen(origin) + 1));
}

/* user NULL: the address alone. */
static uint64_t key_of(const struct est_guard *guard, const char *origin, const struct bytes *user)
{
    struct buf text = BUF_SECRET(4096);
    uint8_t digest[SHA256_DIGEST_LENGTH] = {0};
    uint64_t key = 1;
    bool ok = buf_add(&text, bytes_of(guard->secret, sizeof guard->secret)) &&
              add_origin(origin, &text) && buf_add_u8(&text, user ? 1 : 0) &&
              (!user || buf_add(&text, *user));
    if (ok) {
        SHA256(text.ptr, text.len, digest);
        memcpy(&key, digest, sizeof key);
    }
    buf_free(&text);
    return key ? key : 1;
}

/* The entry of a key, or NULL; in its set the oldest is left in *oldest. */
static struct entry *find(struct est_guard *guard, uint64_t key, struct entry **oldest)
{
    struct entry *set = guard->entries[key % SETS];
    *oldest = &set[0];
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (set[i].last < (*oldest)->last)
            *oldest = &set[i];
    }
    return NULL;
}

/* Too long ago to count, or noted before the clock was set back. */
static bool is_over(const struct entry *entry, int64_t now)
{
    return now - entry->last > EST_GUARD_WINDOW || entry->last > now;
}

static int wait_of(struct est_guard *guard, uint64_t key, int64_t now)
{
    struct entry *oldest, *entry = find(guard, key, &oldest);
    return entry && !is_over(entry, now) && entry->until > now ? (int)(entry->until - now) : 0;
}

static void fail(struct est_guard *guard, uint64_t key, unsigned tries, int64_t now)
{
    struct entry *oldest, *entry = find(guard, key, &oldest);
    if (!entry) {
        entry = oldest;
        *entry = (struct entry){.key = key};
    } else if (is_over(entry, now)) {
        *entry = (struct entry){.key = key};
    }
    entry->last = now;
    if (++entry->failures < tries)
        return;
    unsigned doublings = entry->failures - tries + 1;
    int64_t seconds = doublings < 6 ? INT64_C(1) << doublings : EST_GUARD_WAIT_MAX;
    entry->until = now + seconds;
}

int est_guard_wait(struct est_guard *guard, const char *origin, struct bytes user)
{
    int64_t now = clock_now();
    uint64_t all = key_of(guard, origin, NULL), one = key_of(guard, origin, &user);
    pthread_mutex_lock(&guard->mutex);
    int address = wait_of(guard, all, now), pair = wait_of(guard, one, now);
    pthread_mutex_unlock(&guard->mutex);
    return address > pair ? address : pair;
}

void est_guard_note(struct est_guard *guard, const char *origin, struct bytes user, bool right)
{
    int64_t now = clock_now();
    uint64_t all = key_of(guard, origin, NULL), one = key_of(guard, origin, &user);
    struct entry *oldest, *entry;
    pthread_mutex_lock(&guard->mutex);
    if (!right) {
        fail(guard, one, EST_GUARD_USER_TRIES, now);
        fail(guard, all, EST_GUARD_ORIGIN_TRIES, now);
    } else if ((entry = find(guard, one, &oldest))) {
        *entry = (struct entry){0};
    }
    pthread_mutex_unlock(&guard->mutex);
}
