#include "base/revocation.h"

#include "base/clock.h"
#include "base/crl.h"
#include "base/httpc.h"
#include "base/link.h"
#include "base/ocsp.h"
#include "base/permit.h"

#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FETCHERS 4
#define FETCH_MS 10000 /* one fetch */
#define WAITING_MAX 16 /* threads that wait for a fetch */
#define ITEMS_MAX 2048
#define CRL_BYTES_MAX ((size_t)64 << 20)
#define UNUSED_MS (INT64_C(24) * 3600 * 1000) /* a CRL that nobody asked for is no longer fetched  \
                                               */
#define BACKOFF_MS 5000
#define BACKOFF_MAX_MS 300000
#define BUCKETS 512u
#define NEVER INT64_MAX

/* A URL, and whether it answers. */
struct site {
    struct site *next;
    char *url;
    unsigned items;
    unsigned running;      /* fetches */
    unsigned failures;     /* in a row */
    int64_t blocked_until; /* nobody waits for it before */
};

/* A CRL of an issuer, or the answer about a certificate. Kept in the order of its last use. */
struct item {
    struct link link;
    struct item *next; /* in the bucket */
    uint8_t key[SHA256_DIGEST_LENGTH];
    enum revocation_fetched kind;
    struct site *site;
    X509 *issuer, *subject; /* subject: OCSP only */
    int64_t refresh_ms;
    int64_t used; /* all three in clock_mono_ms() time */
    int64_t due;  /* when to fetch it; NEVER: not by itself */
    int64_t fetched;
    bool running;
    unsigned waiting;
    bool other;      /* what the URL has is not this issuer's */
    struct crl *crl; /* or NULL */
    bool answered;   /* answer is set */
    struct ocsp_answer answer;
    char why[200]; /* what was wrong the last time, or "" */
};

struct revocation {
    void (*told)(const char *url, const struct err *err);
    struct httpc *httpc;
    pthread_t threads[FETCHERS];
    unsigned thread_count;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t work, done;
    bool stop;
    struct site *sites;
    struct item *buckets[BUCKETS];
    struct link items; /* the last used at the end */
    size_t item_count, crl_bytes;
    unsigned waiting;
    struct revocation_counts counts;
};

const char *revocation_status_name(enum revocation_status status)
{
    static const char *const names[REVOCATION_STATUS_COUNT] = {
        [REVOCATION_GOOD] = "good",
        [REVOCATION_REVOKED] = "revoked",
        [REVOCATION_UNKNOWN] = "unknown",
    };
    return names[status];
}

/* Sites and items; the mutex is held. */

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
    return &r->buckets[(key[0] | (unsigned)key[1] << 8) % BUCKETS];
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

static void item_free(struct revocation *r, struct item *item)
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
            item_free(r, item);
            return true;
        }
    }
    return false;
}

struct wanted {
    enum revocation_fetched kind;
    const char *url;
    X509 *issuer, *subject;
    int64_t refresh;
};

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

/* The item, made if there is none; NULL if there is no room. */
static struct item *item_get(struct revocation *r, const struct wanted *wanted)
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
        item->due = NEVER;
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
struct catch
{
    bool ok, other;
    struct crl *crl;
    struct ocsp_answer answer;
    struct err err;
};

static bool get(struct revocation *r, struct httpc_call *call, struct httpc_reply *reply,
                struct err *err)
{
    call->deadline = clock_mono_ms() + FETCH_MS;
    if (httpc_run(r->httpc, call, reply, err) != HTTPC_DONE)
        return false;
    return reply->status == 200 ||
           err_set(err, ERR_UPSTREAM, "%s answers %d", call->url, reply->status);
}

static void fetch_crl(struct revocation *r, const struct item *item, struct catch *catch)
{
    struct httpc_call call = {.method = "GET", .url = item->site->url, .reply_max = CRL_MAX};
    struct httpc_reply reply = {0};
    catch->ok = get(r, &call, &reply, &catch->err) &&
                crl_parse(buf_bytes(&reply.body), item->issuer, clock_now(), &catch->crl,
                          &catch->other, &catch->err);
    httpc_reply_clear(&reply);
}

static void fetch_answer(struct revocation *r, const struct item *item, struct catch *catch)
{
    static const char *const headers[] = {"Content-Type: application/ocsp-request",
                                          "Accept: application/ocsp-response", NULL};
    struct ocsp_question *question = NULL;
    struct httpc_reply reply = {0};
    struct httpc_call call = {.method = "POST",
                              .url = item->site->url,
                              .headers = headers,
                              .reply_max = OCSP_RESPONSE_MAX};
    catch->ok = ocsp_question_new(item->subject, item->issuer, &question, &catch->err);
    if (catch->ok) {
        call.body = ocsp_question_der(question);
        catch->ok = get(r, &call, &reply, &catch->err) &&
                    ocsp_response_read(buf_bytes(&reply.body), question, clock_now(),
                                       &catch->answer, &catch->err);
    }
    httpc_reply_clear(&reply);
    ocsp_question_free(question);
}

/* Before it ends, and no later than asked for. */
static int64_t due_after(const struct item *item)
{
    int64_t life = (crl_next_update(item->crl) - crl_this_update(item->crl)) * 1000;
    int64_t left = (crl_next_update(item->crl) - clock_now()) * 1000 - life / 10;
    int64_t after = left < item->refresh_ms ? left : item->refresh_ms;
    return clock_mono_ms() + (after < 1000 ? 1000 : after);
}

/* A list that is older than the one we have is a replay: the newer one stays. */
static void keep_crl(struct revocation *r, struct item *item, struct catch *catch)
{
    if (item->crl && crl_this_update(catch->crl) < crl_this_update(item->crl)) {
        catch->ok = err_set(&catch->err, ERR_PEER, "a CRL that is older than the one before");
        return;
    }
    item_drop_crl(r, item);
    while (r->crl_bytes + crl_size(catch->crl) > CRL_BYTES_MAX)
        if (!make_room(r)) {
            catch->ok = err_set(&catch->err, ERR_LOCAL, "no room for a CRL");
            return;
        }
    item->crl = catch->crl;
    catch->crl = NULL;
    r->crl_bytes += crl_size(item->crl);
    r->counts.crls++;
    item->due = due_after(item);
}

static int64_t backoff(const struct site *site)
{
    unsigned doublings = site->failures > 7 ? 6 : site->failures - 1;
    int64_t ms = (int64_t)BACKOFF_MS << doublings;
    return ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : ms;
}

/* What else is asked of the site is not tried now either. */
static void item_failed(struct revocation *r, struct item *failed, const struct catch *catch)
{
    struct site *site = failed->site;
    site->failures++;
    site->blocked_until = clock_mono_ms() + backoff(site);
    failed->due = 0;
    for (struct link *link = r->items.next; link != &r->items; link = link->next) {
        struct item *item = LINK_OWNER(link, struct item, link);
        if (item->site != site || item->due)
            continue;
        snprintf(item->why, sizeof item->why, "%.190s", catch->err.text);
        item->due = item->kind == REVOCATION_CRL ? site->blocked_until : NEVER;
    }
}

static void item_fetched(struct revocation *r, struct item *item, struct catch *catch)
{
    item->other = catch->other;
    item->fetched = clock_mono_ms();
    if (catch->ok && item->kind == REVOCATION_CRL) {
        keep_crl(r, item, catch);
    } else if (catch->ok) {
        r->counts.answers += !item->answered;
        item->answered = true;
        item->answer = catch->answer;
    }
    r->counts.fetches[item->kind][catch->ok || catch->other]++;
    if (!catch->ok && !catch->other) {
        item_failed(r, item, catch);
        return;
    }
    item->site->failures = 0;
    item->site->blocked_until = 0;
    item->why[0] = 0;
    if (catch->other) { /* the URL works, and is for another of the anchor's CAs */
        snprintf(item->why, sizeof item->why, "%.190s", catch->err.text);
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
            item_free(r, item);
        else if (item->due <= now && (!found || item->due < found->due))
            found = item;
        else if (item->due < *until)
            *until = item->due;
    }
    return found;
}

static void wait_until(struct revocation *r, pthread_cond_t *cond, int64_t until)
{
    struct timespec at = {.tv_sec = (time_t)(until / 1000),
                          .tv_nsec = (long)(until % 1000) * 1000000};
    pthread_cond_timedwait(cond, &r->mutex, &at);
}

static void run(struct revocation *r, struct item *item)
{
    struct catch catch = {0};
    char url[1100];
    item->running = true; /* keeps it in place */
    item->site->running++;
    item->due = NEVER;
    snprintf(url, sizeof url, "%s", item->site->url);
    pthread_mutex_unlock(&r->mutex);
    if (item->kind == REVOCATION_CRL)
        fetch_crl(r, item, &catch);
    else
        fetch_answer(r, item, &catch);
    pthread_mutex_lock(&r->mutex);
    item_fetched(r, item, &catch);
    item->running = false;
    item->site->running--;
    pthread_cond_broadcast(&r->done);
    bool stop = r->stop;
    pthread_mutex_unlock(&r->mutex);
    if (!catch.ok && !catch.other && !stop && r->told)
        r->told(url, &catch.err);
    crl_free(catch.crl);
    pthread_mutex_lock(&r->mutex);
}

static void *fetcher_main(void *arg)
{
    struct revocation *r = arg;
    int64_t until;
    pthread_mutex_lock(&r->mutex);
    while (!r->stop) {
        struct item *item = item_due(r, &until);
        if (item)
            run(r, item);
        else
            wait_until(r, &r->work, until);
    }
    pthread_mutex_unlock(&r->mutex);
    return NULL;
}

bool revocation_new(void (*told)(const char *url, const struct err *err), struct revocation **ret,
                    struct err *err)
{
    struct revocation *r = mem_zalloc(sizeof *r);
    struct httpc_conf conf = {0};
    pthread_condattr_t attr;
    r->told = told;
    link_init(&r->items);
    pthread_mutex_init(&r->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->work, &attr);
    pthread_cond_init(&r->done, &attr);
    pthread_condattr_destroy(&attr);
    bool ok = httpc_new(&conf, &r->httpc, err);
    while (ok && r->thread_count < FETCHERS) {
        ok = pthread_create(&r->threads[r->thread_count], NULL, fetcher_main, r) == 0 ||
             err_set(err, ERR_LOCAL, "no thread for revocation lists");
        r->thread_count += ok;
    }
    if (!ok) {
        revocation_free(r);
        return false;
    }
    *ret = r;
    return true;
}

void revocation_free(struct revocation *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->mutex);
    r->stop = true;
    pthread_cond_broadcast(&r->work);
    pthread_mutex_unlock(&r->mutex);
    for (unsigned i = 0; i < r->thread_count; i++)
        pthread_join(r->threads[i], NULL);
    while (!link_none(&r->items))
        item_free(r, LINK_OWNER(r->items.next, struct item, link));
    httpc_free(r->httpc);
    pthread_mutex_destroy(&r->mutex);
    pthread_cond_destroy(&r->work);
    pthread_cond_destroy(&r->done);
    free(r);
}

/* Asking */

/* One check on its way. */
struct check {
    struct revocation *r;
    const struct revocation_source *source;
    const struct revocation_pair *pair;
    int64_t deadline;
    bool paused; /* the thread has given its permit to compute back */
    enum revocation_status status;
    struct err *why;
};

static bool is_valid(const struct item *item)
{
    int64_t now = clock_now();
    return item->crl ? crl_next_update(item->crl) > now
                     : item->answered && item->answer.until > now;
}

/* Valid, and not older than asked for. CRLs are refreshed behind our back: what is valid will do.
 */
static bool is_fresh(const struct item *item)
{
    if (item->kind == REVOCATION_CRL)
        return is_valid(item) || (item->other && item->due > clock_mono_ms());
    return is_valid(item) && clock_mono_ms() - item->fetched < item->refresh_ms;
}

/* Until it has been fetched, or cannot be soon. A site that failed is tried by one. */
static void await(struct check *c, struct item *item)
{
    struct revocation *r = c->r;
    struct site *site = item->site;
    if (is_fresh(item) || site->blocked_until > clock_mono_ms() ||
        (site->failures && site->running))
        return;
    if (!item->running) {
        item->due = 0;
        pthread_cond_signal(&r->work);
    }
    if (r->waiting >= WAITING_MAX || c->status == REVOCATION_GOOD)
        return;
    if (!c->paused)
        permit_pause(); /* taken again without the mutex, for which somebody with one may wait */
    c->paused = true;
    r->waiting++;
    item->waiting++;
    while (!is_fresh(item) && (item->running || item->due == 0) && clock_mono_ms() < c->deadline)
        wait_until(r, &r->done, c->deadline);
    item->waiting--;
    r->waiting--;
}

static void conclude(struct check *c, enum revocation_status status, const char *url,
                     const char *text)
{
    if (c->status == REVOCATION_REVOKED ||
        (c->status == REVOCATION_GOOD && status != REVOCATION_REVOKED))
        return;
    c->status = status;
    err_set(c->why, ERR_UPSTREAM, "%.300s: %s", url, text);
}

static void ask_crl(struct check *c, const char *url)
{
    struct wanted wanted = {REVOCATION_CRL, url, c->pair->issuer, NULL, c->source->refresh};
    struct item *item = item_get(c->r, &wanted);
    if (!item) {
        conclude(c, REVOCATION_UNKNOWN, url, "no room");
        return;
    }
    await(c, item);
    if (!item->crl || !is_valid(item))
        conclude(c, REVOCATION_UNKNOWN, url,
                 item->crl      ? "the CRL has expired"
                 : item->why[0] ? item->why
                                : "it is being fetched");
    else if (crl_lists(item->crl, c->pair->subject))
        conclude(c, REVOCATION_REVOKED, url, "the CRL lists it");
    else if (crl_covers(item->crl, c->pair->subject, clock_now()))
        conclude(c, REVOCATION_GOOD, url, "the CRL does not list it");
    else
        conclude(c, REVOCATION_UNKNOWN, url, "the CRL is not about such certificates");
}

static void ask_ocsp(struct check *c)
{
    const char *url = c->source->ocsp;
    struct wanted wanted = {REVOCATION_OCSP, url, c->pair->issuer, c->pair->subject,
                            c->source->refresh};
    struct item *item = item_get(c->r, &wanted);
    if (!item) {
        conclude(c, REVOCATION_UNKNOWN, url, "no room");
        return;
    }
    await(c, item);
    if (!is_valid(item))
        conclude(c, REVOCATION_UNKNOWN, url, item->why[0] ? item->why : "there is no answer yet");
    else if (item->answer.status == OCSP_REVOKED)
        conclude(c, REVOCATION_REVOKED, url, "the responder says so");
    else if (item->answer.status == OCSP_GOOD)
        conclude(c, REVOCATION_GOOD, url, "the responder says good");
    else
        conclude(c, REVOCATION_UNKNOWN, url, "the responder does not know it");
}

/* Begins with a prefix, and does not leave it by some other way of writing "..". */
static bool is_under(const struct revocation_source *source, const char *url)
{
    bool under = false;
    for (size_t i = 0; i < source->crl_under_count && !under; i++)
        under = strncmp(url, source->crl_under[i], strlen(source->crl_under[i])) == 0;
    for (const char *p = url; *p && under; p++)
        under = *p > 0x20 && *p < 0x7f && !strchr("\"<>\\^`{|}#", *p);
    return under && !strstr(url, "/.") && !strcasestr(url, "%2e") && !strcasestr(url, "%2f") &&
           !strcasestr(url, "%5c");
}

static bool ask_point(const char *url, void *arg)
{
    struct check *c = arg;
    if (is_under(c->source, url))
        ask_crl(c, url);
    return c->status == REVOCATION_REVOKED;
}

/* The responder first, whose word is the newest; CRLs are heard in any case, and waited for if it
 * did not say good. Half of the time is left for them. */
static void ask_all(struct check *c)
{
    const struct revocation_source *source = c->source;
    int64_t deadline = c->deadline, now = clock_mono_ms();
    if (source->ocsp) {
        if (source->crl_count || source->crl_under_count)
            c->deadline = now + (deadline - now) / 2;
        ask_ocsp(c);
        c->deadline = deadline;
    }
    for (size_t i = 0; i < source->crl_count && c->status != REVOCATION_REVOKED; i++)
        ask_crl(c, source->crl[i]);
    if (c->status != REVOCATION_REVOKED && source->crl_under_count)
        crl_urls_each(c->pair->subject, ask_point, c);
}

enum revocation_status revocation_check(struct revocation *r,
                                        const struct revocation_source *source,
                                        const struct revocation_pair *pair, int64_t deadline,
                                        struct err *why)
{
    struct check c = {r, source, pair, deadline, false, REVOCATION_UNKNOWN, why};
    err_set(why, ERR_UPSTREAM, "there is no source for it");
    pthread_mutex_lock(&r->mutex);
    ask_all(&c);
    r->counts.checks[c.status]++;
    pthread_mutex_unlock(&r->mutex);
    if (c.paused)
        permit_resume();
    return c.status;
}

void revocation_watch(struct revocation *r, const struct revocation_source *source, X509 *issuer)
{
    pthread_mutex_lock(&r->mutex);
    for (size_t i = 0; i < source->crl_count; i++) {
        struct wanted wanted = {REVOCATION_CRL, source->crl[i], issuer, NULL, source->refresh};
        struct item *item = item_get(r, &wanted);
        if (item && !item->crl && !item->running && item->site->blocked_until <= clock_mono_ms())
            item->due = 0;
    }
    pthread_cond_broadcast(&r->work);
    pthread_mutex_unlock(&r->mutex);
}

void revocation_allowed(struct revocation *r)
{
    pthread_mutex_lock(&r->mutex);
    r->counts.allowed++;
    pthread_mutex_unlock(&r->mutex);
}

void revocation_counts_get(struct revocation *r, struct revocation_counts *ret)
{
    pthread_mutex_lock(&r->mutex);
    *ret = r->counts;
    ret->crl_bytes = r->crl_bytes;
    pthread_mutex_unlock(&r->mutex);
}
