#include "base/rate.h"

#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SETS 4096
#define WAYS 4
#define MICROSECONDS INT64_C(1000000)

struct entry {
    uint64_t tag; /* of the key; 0: free */
    int64_t full; /* when the key has all that it may have again, in microseconds */
};

struct rate_table {
    uint8_t secret[32];
    pthread_mutex_t mutex; /* guards the entries */
    struct entry entries[SETS][WAYS];
};

struct rate_table *rate_table_new(void)
{
    struct rate_table *table = mem_zalloc(sizeof *table);
    if (RAND_bytes(table->secret, sizeof table->secret) != 1)
        memset(table->secret, 0, sizeof table->secret); /* places can be chosen then, no more */
    pthread_mutex_init(&table->mutex, NULL);
    return table;
}

void rate_table_free(struct rate_table *table)
{
    if (!table)
        return;
    pthread_mutex_destroy(&table->mutex);
    free(table);
}

static uint64_t tag_of(const struct rate_table *table, struct bytes key)
{
    uint8_t digests[2 * SHA256_DIGEST_LENGTH];
    uint64_t tag;
    memcpy(digests, table->secret, sizeof table->secret);
    SHA256(key.ptr, key.len, digests + SHA256_DIGEST_LENGTH);
    SHA256(digests, sizeof digests, digests);
    memcpy(&tag, digests, sizeof tag);
    return tag ? tag : 1;
}

/* The key's entry, or the one in its set that used least, made free. */
static struct entry *place(struct rate_table *table, uint64_t tag)
{
    struct entry *set = table->entries[tag % SETS], *least = &set[0];
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].tag == tag)
            return &set[i];
        if (set[i].full < least->full)
            least = &set[i];
    }
    *least = (struct entry){.tag = tag};
    return least;
}

int64_t rate_table_take(struct rate_table *table, struct bytes key, const struct rate *rate,
                        int64_t now)
{
    if (!rate->count)
        return 0;
    int64_t at = now * 1000, whole = rate->seconds * MICROSECONDS;
    int64_t each = whole / rate->count > 0 ? whole / rate->count : 1;
    uint64_t tag = tag_of(table, key);
    pthread_mutex_lock(&table->mutex);
    struct entry *entry = place(table, tag);
    int64_t full = (entry->full > at ? entry->full : at) + each;
    int64_t early = full - whole - at;
    if (early <= 0)
        entry->full = full;
    pthread_mutex_unlock(&table->mutex);
    return early <= 0 ? 0 : (early + 999) / 1000;
}
