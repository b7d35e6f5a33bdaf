#include "base/revocation.h"

#include "base/permit.h"
#include "base/revocation_keep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX 16 /* threads that wait for a fetch */

const char *revocation_status_name(enum revocation_status status)
{
    static const char *const names[REVOCATION_STATUS_COUNT] = {
        [REVOCATION_GOOD] = "good",
        [REVOCATION_REVOKED] = "revoked",
        [REVOCATION_UNKNOWN] = "unknown",
    };
    return names[status];
}

bool revocation_new(void (*told)(const char *url, const struct err *err), struct revocation **ret,
                    struct err *err)
{
    struct revocation *r = mem_zalloc(sizeof *r);
    struct httpc_conf conf = {0};
    pthread_condattr_t attr;
    r->told = told;
    link_init(&r->items);
    pthread_mutex_init(&r->parsing, NULL);
    pthread_mutex_init(&r->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->work, &attr);
    pthread_cond_init(&r->done, &attr);
    pthread_condattr_destroy(&attr);
    bool ok = httpc_new(&conf, &r->httpc, err);
    while (ok && r->thread_count < REVOCATION_FETCHERS) {
        ok = pthread_create(&r->threads[r->thread_count], NULL, revocation_fetcher, r) == 0 ||
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
        revocation_item_free(r, LINK_OWNER(r->items.next, struct item, link));
    httpc_free(r->httpc);
    pthread_mutex_destroy(&r->parsing);
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
    int64_t now = clock_mono_ms();
    if (is_fresh(item) || site->blocked_until > now || item->blocked_until > now ||
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
        revocation_wait(r, &r->done, c->deadline);
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
    struct item *item = revocation_item_get(c->r, &wanted);
    if (!item) {
        conclude(c, REVOCATION_UNKNOWN, url, "no room");
        return;
    }
    await(c, item);
    /* Valid or not: only a newer list takes it back. */
    if (item->crl && crl_lists(item->crl, c->pair->subject))
        conclude(c, REVOCATION_REVOKED, url, "the CRL lists it");
    else if (!item->crl || !is_valid(item))
        conclude(c, REVOCATION_UNKNOWN, url,
                 item->crl      ? "the CRL has expired"
                 : item->why[0] ? item->why
                                : "it is being fetched");
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
    struct item *item = revocation_item_get(c->r, &wanted);
    if (!item) {
        conclude(c, REVOCATION_UNKNOWN, url, "no room");
        return;
    }
    await(c, item);
    if (item->answered && item->answer.status == OCSP_REVOKED) /* likewise */
        conclude(c, REVOCATION_REVOKED, url, "the responder says so");
    else if (!is_valid(item))
        conclude(c, REVOCATION_UNKNOWN, url, item->why[0] ? item->why : "there is no answer yet");
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
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&r->mutex);
    for (size_t i = 0; i < source->crl_count; i++) {
        struct wanted wanted = {REVOCATION_CRL, source->crl[i], issuer, NULL, source->refresh};
        struct item *item = revocation_item_get(r, &wanted);
        if (item && !item->crl && !item->running && item->blocked_until <= now &&
            item->site->blocked_until <= now)
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
