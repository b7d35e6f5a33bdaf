#include "base/clock.h"
#include "base/permit.h"
#include "ra/lookup.h"
#include "ra/work.h"

#include <stdlib.h>
#include <string.h>

/* The CRL of one upstream. */
struct crl {
    char name[STORE_NAME_MAX];
    uint64_t generation; /* of the settings whose key signed it */
    int64_t made;
    struct buf der;
};

struct crls {
    pthread_mutex_t mutex; /* held while one is made: others wait for it instead of making it too,
                              without their permits, which who makes it may wait for */
    struct crl *items;
    size_t count;
};

struct revoked_list {
    struct up_revoked *items;
    size_t count;
    int64_t now;
};

struct crls *crls_new(void)
{
    struct crls *crls = mem_zalloc(sizeof *crls);
    pthread_mutex_init(&crls->mutex, NULL);
    return crls;
}

void crls_free(struct crls *crls)
{
    if (!crls)
        return;
    for (size_t i = 0; i < crls->count; i++)
        buf_free(&crls->items[i].der);
    free(crls->items);
    pthread_mutex_destroy(&crls->mutex);
    free(crls);
}

/* Certificates that have expired need no entry any more (RFC 5280 section 3.3). */
static bool collect(const struct store_cert *cert, void *arg)
{
    struct revoked_list *list = arg;
    if (cert->not_after < list->now)
        return true;
    list->items = mem_resize(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = (struct up_revoked){
        .serial = mem_strdup(cert->serial), .at = cert->revoked_at, .reason = cert->revoked_reason};
    return true;
}

bool ra_crl_make(struct store *store, struct upstream *up, struct buf *der, struct err *err)
{
    struct store_filter filter = {.upstream = up->name, .revoked_only = true};
    struct revoked_list list = {.now = clock_now()};
    bool ok = store->vt->cert_list(store, &filter, collect, &list, err) &&
              up->vt->crl(up, list.items, list.count, der, err);
    for (size_t i = 0; i < list.count; i++)
        free((char *)(uintptr_t)list.items[i].serial);
    free(list.items);
    return ok;
}

static struct crl *item_of(struct crls *crls, const char *name)
{
    for (size_t i = 0; i < crls->count; i++)
        if (strcmp(crls->items[i].name, name) == 0)
            return &crls->items[i];
    crls->items = mem_resize(crls->items, crls->count + 1, sizeof *crls->items);
    struct crl *item = &crls->items[crls->count++];
    *item = (struct crl){0};
    memcpy(item->name, name, strnlen(name, sizeof item->name - 1));
    return item;
}

bool crls_get(struct ra *ra, const struct ra_settings *settings, size_t upstream, struct buf *ret,
              struct err *err)
{
    struct upstream *up = settings->upstreams[upstream];
    int64_t now = clock_now();
    bool ok = true;
    permit_pause();
    pthread_mutex_lock(&ra->crls->mutex);
    permit_resume();
    struct crl *item = item_of(ra->crls, up->name);
    if (!item->der.len || item->generation != settings->generation ||
        now >= item->made + RA_CRL_SECONDS || now < item->made) {
        struct buf der = {0};
        ok = ra_crl_make(ra->store, up, &der, err);
        if (ok) {
            buf_free(&item->der);
            item->der = der;
            item->made = now;
            item->generation = settings->generation;
        } else {
            buf_free(&der);
        }
    }
    ok = ok && buf_set(ret, buf_bytes(&item->der));
    pthread_mutex_unlock(&ra->crls->mutex);
    return ok;
}
