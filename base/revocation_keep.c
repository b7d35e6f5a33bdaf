#include "base/revocation_keep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FETCH_MS 10000 /* one fetch */
#define ITEMS_MAX 2048
#define CRL_BYTES_MAX ((size_t)64 << 20)
#define UNUSED_MS (INT64_C(24) * 3600 * 1000) /* without it a CRL is no longer fetched */
#define BACKOFF_MS 5000
#define HTTP_TOO_MANY 429
#define BACKOFF_MAX_MS 300000

static struct site *site_take(struct revocation *r, const char *url)
{
    struct site *site = r->sites;
    while (site && strcmp(site->url, url) != 0)
        site = site->next;
    if (!site) {
        site = mem_zalloc(sizeof *site);
        site->url = mem_strdup(url);
        site->next = r->sites;
        r->sites = site;
    }
    site->items++;
    return site;
}

static void site_give(struct revocation *r, struct site *site)
{
    struct site **at = &r->sites;
    if (--site->items)
        return;
    while (*at != site)
        at = &(*at)->next;
    *at = site->next;
    free(site->url);
    free(site);
}

static struct item **bucket_of(struct revocation *r, const uint8_t *key)
{
    return &r->buckets[(key[0] | (unsigned)key[1] << 8) % REVOCATION_BUCKETS];
}

static void item_drop_crl(struct revocation *r, struct item *item)
{
    if (!item->crl)
        return;
    r->crl_bytes -= crl_size(item->crl);
    r->counts.crls--;
    crl_free(item->crl);
    item->crl = NULL;
}

void revocation_item_free(struct revocation *r, struct item *item)
{
    struct item **at = bucket_of(r, item->key);
    while (*at != item)
        at = &(*at)->next;
    *at = item->next;
    link_drop(&item->link);
    item_drop_crl(r, item);
    r->counts.answers -= item->answered;
    r->item_count--;
    site_give(r, item->site);
    X509_free(item->issuer);
    X509_free(item->subject);
    free(item);
}

/* Those that were not used for longest give way; false if all are in use. */
static bool make_room(struct revocation *r)
{
    for (struct link *link = r->items.next; link != &r->items; link = link->next) {
        struct item *item = LINK_OWNER(link, struct item, link);
        if (!item->running && !item->waiting) {
            revocation_item_free(r, item);
            return true;
        }
    }
    return false;
}

static void key_of(const struct wanted *wanted, uint8_t key[SHA256_DIGEST_LENGTH])
{
    uint8_t parts[2 * SHA256_DIGEST_LENGTH] = {0};
    struct buf all = {0};
    unsigned len = SHA256_DIGEST_LENGTH;
    if (X509_digest(wanted->issuer, EVP_sha256(), parts, &len) != 1 ||
        (wanted->subject &&
         X509_digest(wanted->subject, EVP_sha256(), parts + SHA256_DIGEST_LENGTH, &len) != 1) ||
        !buf_add(&all, bytes_of(parts, sizeof parts)) || !buf_add_u8(&all, (uint8_t)wanted->kind) ||
        !buf_add_str(&all, wanted->url))
        err_no_memory();
    SHA256(all.ptr, all.len, key);
    buf_free(&all);
}

struct item *revocation_item_get(struct revocation *r, const struct wanted *wanted)
{
    uint8_t key[SHA256_DIGEST_LENGTH];
    key_of(wanted, key);
    struct item *item = *bucket_of(r, key);
    while (item && memcmp(item->key, key, sizeof key) != 0)
        item = item->next;
    if (!item) {
        if (r->item_count >= ITEMS_MAX && !make_room(r))
            return NULL;
        item = mem_zalloc(sizeof *item);
        memcpy(item->key, key, sizeof key);
        item->kind = wanted->kind;
        item->site = site_take(r, wanted->url);
        X509_up_ref(wanted->issuer);
        item->issuer = wanted->issuer;
        if (wanted->subject)
            X509_up_ref(wanted->subject);
        item->subject = wanted->subject;
        item->due = REVOCATION_NEVER;
        item->next = *bucket_of(r, key);
        *bucket_of(r, key) = item;
        r->item_count++;
    } else {
        link_drop(&item->link);
    }
    link_add(&r->items, &item->link);
    item->refresh_ms = wanted->refresh * 1000;
    item->used = clock_mono_ms();
    return item;
}

/* Fetching */

/* What one fetch brought. */
struct haul {
    bool reached; /* the server works, whatever it says */
    bool ok, other;
    struct crl *crl;
    struct ocsp_answer answer;
    struct err err;
};

static bool get(struct revocation *r, struct httpc_call *call, struct httpc_reply *reply,
                struct haul *haul)
{
    call->deadline = clock_mono_ms() + FETCH_MS;
    if (httpc_run(r->httpc, call, reply, &haul->err) != HTTPC_DONE)
        return false;
    haul->reached = reply->status < 500 && reply->status != HTTP_TOO_MANY;
    return reply->status == 200 ||
           err_set(&haul->err, ERR_UPSTREAM, "%s answers %d", call->url, reply->status);
}

static void fetch_crl(struct revocation *r, const struct item *item, struct haul *haul)
{
    struct httpc_call call = {.method = "GET", .url = item->site->url, .reply_max = CRL_MAX};
    struct httpc_reply reply = {0};
    struct crl_terms terms = {item->issuer, clock_now()};
    if (get(r, &call, &reply, haul)) {
        pthread_mutex_lock(&r->parsing);
        haul->ok = crl_parse(buf_bytes(&reply.body), &terms, &haul->crl, &haul->other, &haul->err);
        pthread_mutex_unlock(&r->parsing);
    }
    httpc_reply_clear(&reply);
}

static void fetch_answer(struct revocation *r, const struct item *item, struct haul *haul)
{
    static const char *const headers[] = {"Content-Type: application/ocsp-request",
                                          "Accept: application/ocsp-response", NULL};
    struct ocsp_question *question = NULL;
    struct httpc_reply reply = {0};
    struct httpc_call call = {.method = "POST",
                              .url = item->site->url,
                              .headers = headers,
                              .reply_max = OCSP_RESPONSE_MAX};
    haul->ok = ocsp_question_new(item->subject, item->issuer, &question, &haul->err);
    if (haul->ok) {
        call.body = ocsp_question_der(question);
        haul->ok = get(r, &call, &reply, haul) &&
                   ocsp_response_read(buf_bytes(&reply.body), question, clock_now(), &haul->answer,
                                      &haul->err);
    }
    httpc_reply_clear(&reply);
    ocsp_question_free(question);
}

/* Before it ends, and no later than asked for. */
static int64_t due_after(const struct item *item)
{
    int64_t life = (crl_next_update(item->crl) - crl_this_update(item->crl)) * 1000;
    int64_t left = (crl_next_update(item->crl) - clock_now()) * 1000 - life / 10;
    int64_t after = left > life / 20 ? left : life / 20; /* the CA may not have a new one yet */
    if (after > item->refresh_ms)
        after = item->refresh_ms;
    return clock_mono_ms() + (after < 1000 ? 1000 : after);
}

/* A list that is older than the one we have is a replay: the newer one stays. */
static void keep_crl(struct revocation *r, struct item *item, struct haul *haul)
{
    if (item->crl && crl_this_update(haul->crl) < crl_this_update(item->crl)) {
        haul->ok = err_set(&haul->err, ERR_PEER, "a CRL that is older than the one before");
        return;
    }
    item_drop_crl(r, item);
    while (r->crl_bytes + crl_size(haul->crl) > CRL_BYTES_MAX)
        if (!make_room(r)) {
            haul->ok = err_set(&haul->err, ERR_LOCAL, "no room for a CRL");
            return;
        }
    item->crl = haul->crl;
    haul->crl = NULL;
    r->crl_bytes += crl_size(item->crl);
    r->counts.crls++;
    item->due = due_after(item);
}

/* Likewise: what the responder said before it revoked the certificate may still be valid. */
static void keep_answer(struct revocation *r, struct item *item, struct haul *haul)
{
    if (item->answered && haul->answer.this_update < item->answer.this_update) {
        haul->ok = err_set(&haul->err, ERR_PEER, "an OCSP response older than the one before");
        return;
    }
    r->counts.answers += !item->answered;
    item->answered = true;
    item->answer = haul->answer;
}

/* When to try again after so many failures in a row. */
static int64_t backoff(unsigned failures)
{
    unsigned doublings = failures > 7 ? 6 : failures - 1;
    int64_t ms = (int64_t)BACKOFF_MS << doublings;
    return clock_mono_ms() + (ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : ms);
}

static void item_block(struct item *item, int64_t until, const struct haul *haul)
{
    snprintf(item->why, sizeof item->why, "%.190s", haul->err.text);
    item->due = item->kind == REVOCATION_CRL ? until : REVOCATION_NEVER;
}

/* What else is asked of the site is not tried now either. */
static void site_failed(struct revocation *r, struct site *site, const struct haul *haul)
{
    site->failures++;
    site->blocked_until = backoff(site->failures);
    for (struct link *link = r->items.next; link != &r->items; link = link->next) {
        struct item *item = LINK_OWNER(link, struct item, link);
        if (item->site == site && item->due == 0)
            item_block(item, site->blocked_until, haul);
    }
}

/* A site that does not answer keeps everybody waiting, a useless answer only who asked for it: else
 * one certificate that the responder does not know would shut out all. */
static void item_failed(struct revocation *r, struct item *item, const struct haul *haul)
{
    if (!haul->reached) {
        item->due = 0;
        site_failed(r, item->site, haul);
        return;
    }
    item->site->failures = 0;
    item->site->blocked_until = 0;
    item->failures++;
    item->blocked_until = backoff(item->failures);
    item_block(item, item->blocked_until, haul);
}

static void item_fetched(struct revocation *r, struct item *item, struct haul *haul)
{
    item->other = haul->other;
    item->fetched = clock_mono_ms();
    if (haul->ok && item->kind == REVOCATION_CRL)
        keep_crl(r, item, haul);
    else if (haul->ok)
        keep_answer(r, item, haul);
    r->counts.fetches[item->kind][haul->ok || haul->other]++;
    if (!haul->ok && !haul->other) {
        item_failed(r, item, haul);
        return;
    }
    item->site->failures = 0;
    item->site->blocked_until = 0;
    item->failures = 0;
    item->blocked_until = 0;
    item->why[0] = 0;
    if (haul->other) { /* the URL works, and is for another of the anchor's CAs */
        snprintf(item->why, sizeof item->why, "%.190s", haul->err.text);
        item->due = item->fetched + item->refresh_ms;
    }
}

/* The next one that is due; else *until is when one will be. Drops CRLs that nobody uses. */
static struct item *item_due(struct revocation *r, int64_t *until)
{
    int64_t now = clock_mono_ms();
    struct item *found = NULL;
    *until = now + 60000;
    for (struct link *link = r->items.next, *next; link != &r->items; link = next) {
        struct item *item = LINK_OWNER(link, struct item, link);
        next = link->next;
        if (item->running)
            continue;
        if (!item->waiting && now - item->used > UNUSED_MS)
            revocation_item_free(r, item);
        else if (item->due <= now && (!found || item->due < found->due))
            found = item;
        else if (item->due < *until)
            *until = item->due;
    }
    return found;
}

void revocation_wait(struct revocation *r, pthread_cond_t *cond, int64_t until)
{
    struct timespec at = {.tv_sec = (time_t)(until / 1000),
                          .tv_nsec = (long)(until % 1000) * 1000000};
    pthread_cond_timedwait(cond, &r->mutex, &at);
}

static void run(struct revocation *r, struct item *item)
{
    struct haul haul = {0};
    char url[1100];
    item->running = true; /* keeps it in place */
    item->site->running++;
    item->due = REVOCATION_NEVER;
    snprintf(url, sizeof url, "%s", item->site->url);
    pthread_mutex_unlock(&r->mutex);
    if (item->kind == REVOCATION_CRL)
        fetch_crl(r, item, &haul);
    else
        fetch_answer(r, item, &haul);
    pthread_mutex_lock(&r->mutex);
    item_fetched(r, item, &haul);
    item->running = false;
    item->site->running--;
    pthread_cond_broadcast(&r->done);
    bool stop = r->stop;
    pthread_mutex_unlock(&r->mutex);
    if (!haul.ok && !haul.other && !stop && r->told)
        r->told(url, &haul.err);
    crl_free(haul.crl);
    pthread_mutex_lock(&r->mutex);
}

void *revocation_fetcher(void *arg)
{
    struct revocation *r = arg;
    int64_t until;
    pthread_mutex_lock(&r->mutex);
    while (!r->stop) {
        struct item *item = item_due(r, &until);
        if (item)
            run(r, item);
        else
            revocation_wait(r, &r->work, until);
    }
    pthread_mutex_unlock(&r->mutex);
    return NULL;
}
