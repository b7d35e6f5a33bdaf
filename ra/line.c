#include "ra/line.h"

#include "base/clock.h"
#include "base/link.h"
#include "ra/ra.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IDLE_MS 10000 /* a thread without work ends */
#define PROBE_MS (INT64_C(3600) * 1000)
#define HOLD_MAX_SECONDS 300
#define OPEN_TIMES_MAX 8 /* a breaker that opens again and again waits so many times longer */
#define DELAY_MAX_SECONDS 3600
#define RETRIES_MAX 20
#define RETRIES_PER_RUN 0.2
#define RETRIES_PER_MS (1.0 / 5000)
#define BUCKETS 4096 /* of jobs, by their id */

struct job {
    struct link link;
    struct link same; /* of one bucket */
    char id[RA_ID_LEN + 1];
};

struct line {
    struct lines *lines;
    struct link link;
    char *name;
    pthread_cond_t changed;
    struct link waiting, running; /* jobs */
    struct link *buckets;         /* both, by their id */
    size_t waiting_count, running_count;
    unsigned threads, idle;
    struct cfg_line conf;
    struct ra_settings *settings;
    size_t upstream; /* in settings */
    enum line_breaker breaker;
    bool probing;
    int64_t probed_at;     /* monotonic ms */
    bool probe_due;        /* these settings' connector has not been probed */
    int64_t failures;      /* in a row */
    int64_t times;         /* opened in a row */
    int64_t not_before;    /* monotonic ms: nothing is sent until then */
    double tokens;         /* of the rate */
    int64_t tokens_at;     /* monotonic ms */
    double retries;        /* left */
    int64_t retries_at;    /* monotonic ms */
    double run_ms;         /* of a run that went fine, smoothed */
    unsigned waiters;      /* devices */
    bool slow;             /* the last wait was in vain */
    struct line_state sum; /* what is counted */
};

/* One mutex for all: it is held for moments only, and there are few upstreams. */
struct lines {
    struct line_work work;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    struct link all;
    unsigned threads;
    pthread_t last; /* that ended, and has joined the one before it, or is about to */
    bool has_last;
    bool stop;
};

static struct line *find(struct lines *lines, const char *name)
{
    for (struct link *link = lines->all.next; link != &lines->all; link = link->next) {
        struct line *line = LINK_OWNER(link, struct line, link);
        if (strcmp(line->name, name) == 0)
            return line;
    }
    return NULL;
}

/* FNV-1a. */
static struct link *bucket_of(const struct line *line, const char *id)
{
    uint32_t hash = 2166136261U;
    for (; *id; id++)
        hash = (hash ^ (uint8_t)*id) * 16777619U;
    return &line->buckets[hash % BUCKETS];
}

static bool has_job(const struct line *line, const char *id)
{
    const struct link *bucket = bucket_of(line, id);
    for (const struct link *link = bucket->next; link != bucket; link = link->next)
        if (strcmp(LINK_OWNER(link, const struct job, same)->id, id) == 0)
            return true;
    return false;
}

static void job_add(struct line *line, const char *id)
{
    struct job *job = mem_zalloc(sizeof *job);
    memcpy(job->id, id, strnlen(id, RA_ID_LEN));
    link_add(&line->waiting, &job->link);
    link_add(bucket_of(line, job->id), &job->same);
    line->waiting_count++;
}

static void job_free(struct job *job)
{
    link_drop(&job->link);
    link_drop(&job->same);
    free(job);
}

static void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

static void cond_wait_ms(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t ms)
{
    int64_t end = clock_mono_ms() + ms;
    struct timespec until = {.tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000};
    pthread_cond_timedwait(cond, mutex, &until);
}

struct lines *lines_new(const struct line_work *work)
{
    struct lines *lines = mem_zalloc(sizeof *lines);
    lines->work = *work;
    pthread_mutex_init(&lines->mutex, NULL);
    cond_init(&lines->ended);
    link_init(&lines->all);
    return lines;
}

/* Milliseconds until the rate lets a request go; takes one from it if it is 0. */
static int64_t rate_take(struct line *line, int64_t now)
{
    const struct rate *rate = &line->conf.rate;
    if (!rate->count)
        return 0;
    double per_ms = (double)rate->count / (double)(rate->seconds * 1000);
    double burst = rate->seconds == 1 ? (double)rate->count : 1;
    line->tokens += (double)(now - line->tokens_at) * per_ms;
    line->tokens_at = now;
    if (line->tokens > burst)
        line->tokens = burst;
    if (line->tokens < 1)
        return 1 + (int64_t)((1 - line->tokens) / per_ms);
    line->tokens -= 1;
    return 0;
}

/* Up to a half more, so that lines and gateways do not come all at once. */
static int64_t with_jitter(int64_t ms)
{
    uint32_t noise = 0;
    (void)RAND_bytes((unsigned char *)&noise, sizeof noise); /* none: no jitter, no harm */
    return ms + (int64_t)(noise % (uint32_t)(ms / 2 + 1));
}

static void open_breaker(struct line *line, int64_t now)
{
    line->breaker = LINE_OPEN;
    line->sum.opened++;
    if (line->times < OPEN_TIMES_MAX)
        line->times++;
    line->not_before = now + with_jitter(line->conf.open_seconds * 1000 * line->times);
}

static void hold_back(struct line *line, int hold)
{
    int64_t until =
        clock_mono_ms() + (int64_t)(hold < HOLD_MAX_SECONDS ? hold : HOLD_MAX_SECONDS) * 1000;
    if (hold > 0 && line->not_before < until)
        line->not_before = until;
}

/* What came of one exchange. Of an upstream that has been removed or replaced meanwhile it says
 * nothing but that it was. */
static void count_result(struct line *line, const struct ra_settings *settings,
                         enum line_result result, int hold)
{
    int64_t now = clock_mono_ms();
    line->sum.fine += result == LINE_FINE;
    line->sum.failed += result == LINE_FAILED;
    if (line->settings != settings)
        return;
    if (result == LINE_FINE) {
        line->retries += RETRIES_PER_RUN;
        line->failures = line->times = 0;
        line->breaker = LINE_CLOSED;
    } else if (result == LINE_FAILED) {
        line->failures++;
        if (line->breaker == LINE_HALF_OPEN ||
            (line->breaker == LINE_CLOSED && line->failures >= line->conf.failures))
            open_breaker(line, now);
    }
    hold_back(line, hold);
}

/* The last count closes connectors, which takes its time: unlocked. */
static void settings_drop(struct lines *lines, struct ra_settings *settings)
{
    pthread_mutex_unlock(&lines->mutex);
    ra_settings_free(settings);
    pthread_mutex_lock(&lines->mutex);
}

/* Is the CA there? Then one request goes first after a pause. Unlocked while it asks. */
static void probe(struct line *line)
{
    struct lines *lines = line->lines;
    struct ra_settings *settings = ra_settings_ref(line->settings);
    size_t upstream = line->upstream;
    int hold = 0;
    line->probing = true;
    line->probed_at = clock_mono_ms();
    line->probe_due = false;
    pthread_mutex_unlock(&lines->mutex);
    bool fine = lines->work.probe(lines->work.arg, settings, upstream, &hold);
    pthread_mutex_lock(&lines->mutex);
    line->probing = false;
    if (line->settings == settings && line->breaker == LINE_OPEN && fine)
        line->breaker = LINE_HALF_OPEN;
    else if (line->settings == settings && line->breaker == LINE_OPEN)
        open_breaker(line, clock_mono_ms());
    else if (!fine)
        count_result(line, settings, LINE_FAILED, hold);
    if (line->settings == settings && line->breaker == LINE_OPEN)
        hold_back(line, hold);
    settings_drop(lines, settings);
}

/* The next job, now that it may be sent; NULL with the time after which to look again. */
static struct job *take(struct line *line, int64_t *wait_ms)
{
    int64_t now = clock_mono_ms();
    *wait_ms = IDLE_MS;
    if (!line->settings) /* removed */
        return NULL;
    if (line->not_before > now) {
        *wait_ms = line->not_before - now;
        return NULL;
    }
    if (line->breaker != LINE_CLOSED && (line->probing || line->running_count))
        return NULL;
    if (line->breaker == LINE_OPEN || (line->probe_due && !line->probing)) {
        probe(line);
        *wait_ms = 0;
        return NULL;
    }
    if (link_none(&line->waiting) || line->running_count >= (size_t)line->conf.inflight)
        return NULL;
    *wait_ms = rate_take(line, now);
    if (*wait_ms)
        return NULL;
    struct job *job = LINK_OWNER(line->waiting.next, struct job, link);
    link_drop(&job->link);
    line->waiting_count--;
    link_add(&line->running, &job->link);
    line->running_count++;
    return job;
}

static void run(struct line *line, struct job *job)
{
    struct lines *lines = line->lines;
    struct ra_settings *settings = ra_settings_ref(line->settings);
    size_t upstream = line->upstream;
    int64_t start = clock_mono_ms();
    struct line_said said = {0};
    char id[RA_ID_LEN + 1];
    memcpy(id, job->id, sizeof id);
    pthread_mutex_unlock(&lines->mutex);
    enum line_result result = lines->work.run(lines->work.arg, settings, upstream, id, &said);
    pthread_mutex_lock(&lines->mutex);
    if (result == LINE_FINE)
        line->run_ms += ((double)(clock_mono_ms() - start) - line->run_ms) / 8;
    count_result(line, settings, result, said.hold);
    line->running_count--;
    job_free(job);
    pthread_cond_broadcast(&line->changed);
    pthread_mutex_unlock(&lines->mutex);
    if (said.tell)
        lines->work.over(lines->work.arg, id);
    ra_settings_free(settings);
    pthread_mutex_lock(&lines->mutex);
}

/* As many threads as there is work for; they end by themselves. */
static void wake(struct line *line, void *(*body)(void *))
{
    pthread_t thread;
    pthread_cond_signal(&line->changed);
    if (line->idle || line->threads >= (unsigned)line->conf.inflight || line->lines->stop)
        return;
    if (pthread_create(&thread, NULL, body, line) == 0) {
        line->threads++;
        line->lines->threads++;
    }
}

/* The last thing that a thread does: it holds the mutex and gives it up. Each waits for the one
 * before it, so that who waits for the last knows that all have let go of what was theirs. */
static void thread_end(struct lines *lines)
{
    pthread_t before = lines->last;
    bool join = lines->has_last;
    lines->last = pthread_self();
    lines->has_last = true;
    lines->threads--;
    pthread_cond_broadcast(&lines->ended);
    pthread_mutex_unlock(&lines->mutex);
    if (join)
        pthread_join(before, NULL);
}

static void *line_main(void *arg)
{
    struct line *line = arg;
    struct lines *lines = line->lines;
    int64_t wait_ms, idle_since = clock_mono_ms();
    pthread_mutex_lock(&lines->mutex);
    while (!lines->stop) {
        struct job *job = take(line, &wait_ms);
        if (job) {
            if (line->waiting_count)
                wake(line, line_main);
            run(line, job);
            idle_since = clock_mono_ms();
        } else if (wait_ms) {
            bool work = line->waiting_count || line->breaker == LINE_OPEN || line->probe_due;
            if (!work && clock_mono_ms() - idle_since >= IDLE_MS)
                break;
            line->idle++;
            cond_wait_ms(&line->changed, &lines->mutex, wait_ms);
            line->idle--;
        }
    }
    line->threads--;
    thread_end(lines);
    return NULL;
}

static void line_set(struct lines *lines, struct ra_settings *settings, size_t upstream)
{
    const struct cfg_upstream *conf = &settings->cfg->upstreams[upstream];
    struct line *line = find(lines, conf->name);
    if (!line) {
        line = mem_zalloc(sizeof *line);
        line->lines = lines;
        line->name = mem_strdup(conf->name);
        line->tokens_at = line->retries_at = clock_mono_ms();
        line->tokens = 1;
        line->retries = RETRIES_MAX;
        link_init(&line->waiting);
        link_init(&line->running);
        line->buckets = mem_zalloc(BUCKETS * sizeof *line->buckets);
        for (size_t i = 0; i < BUCKETS; i++)
            link_init(&line->buckets[i]);
        cond_init(&line->changed);
        link_add(&lines->all, &line->link);
    }
    ra_settings_free(line->settings);
    line->settings = ra_settings_ref(settings);
    line->upstream = upstream;
    line->conf = *cfg_upstream_line(conf);
    line->breaker = LINE_CLOSED;
    line->probe_due = true;
    line->failures = line->times = line->not_before = 0;
    wake(line, line_main);
    pthread_cond_broadcast(&line->changed);
}

/* Requests of an upstream that has gone wait in the store. */
static void line_unset(struct line *line)
{
    for (struct link *link; (link = link_take(&line->waiting));)
        job_free(LINK_OWNER(link, struct job, link));
    line->waiting_count = 0;
    line->breaker = LINE_CLOSED;
    line->probe_due = false;
    ra_settings_free(line->settings);
    line->settings = NULL;
}

void lines_configure(struct lines *lines, struct ra_settings *settings)
{
    pthread_mutex_lock(&lines->mutex);
    for (size_t i = 0; i < settings->cfg->upstream_count; i++)
        if (cfg_upstream_line(&settings->cfg->upstreams[i]))
            line_set(lines, settings, i);
    for (struct link *link = lines->all.next; link != &lines->all; link = link->next) {
        struct line *line = LINK_OWNER(link, struct line, link);
        if (line->settings != settings)
            line_unset(line);
    }
    pthread_mutex_unlock(&lines->mutex);
}

void lines_tick(struct lines *lines)
{
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&lines->mutex);
    for (struct link *link = lines->all.next; link != &lines->all; link = link->next) {
        struct line *line = LINK_OWNER(link, struct line, link);
        bool probe = line->settings && !line->probe_due && now - line->probed_at > PROBE_MS;
        bool stranded = line->settings && line->waiting_count && !line->threads; /* none was made */
        line->probe_due |= probe;
        if (probe || stranded)
            wake(line, line_main);
    }
    pthread_mutex_unlock(&lines->mutex);
}

static void line_free(struct line *line)
{
    line_unset(line);
    pthread_cond_destroy(&line->changed);
    free(line->name);
    free(line->buckets);
    free(line);
}

bool lines_free(struct lines *lines, int64_t limit_ms)
{
    if (!lines)
        return true;
    int64_t end = clock_mono_ms() + limit_ms, now;
    pthread_mutex_lock(&lines->mutex);
    lines->stop = true;
    for (struct link *link = lines->all.next; link != &lines->all; link = link->next)
        pthread_cond_broadcast(&LINK_OWNER(link, struct line, link)->changed);
    while (lines->threads && (now = clock_mono_ms()) < end)
        cond_wait_ms(&lines->ended, &lines->mutex, end - now);
    bool over = lines->threads == 0;
    pthread_mutex_unlock(&lines->mutex);
    if (!over)
        return false;
    if (lines->has_last)
        pthread_join(lines->last, NULL);
    for (struct link *link; (link = link_take(&lines->all));)
        line_free(LINK_OWNER(link, struct line, link));
    pthread_cond_destroy(&lines->ended);
    pthread_mutex_destroy(&lines->mutex);
    free(lines);
    return true;
}

static size_t room(const struct line *line)
{
    bool shut = !line->settings || line->breaker == LINE_OPEN;
    size_t most = (size_t)line->conf.queue;
    return shut || line->waiting_count >= most ? 0 : most - line->waiting_count;
}

bool lines_add(struct lines *lines, const char *upstream, const char *id)
{
    pthread_mutex_lock(&lines->mutex);
    struct line *line = find(lines, upstream);
    bool there = line && has_job(line, id);
    bool added = line && !there && !lines->stop && room(line);
    if (added) {
        job_add(line, id);
        wake(line, line_main);
    }
    pthread_mutex_unlock(&lines->mutex);
    return added || there;
}

size_t lines_room(struct lines *lines, const char *upstream)
{
    pthread_mutex_lock(&lines->mutex);
    struct line *line = find(lines, upstream);
    size_t count = line ? room(line) : 0;
    pthread_mutex_unlock(&lines->mutex);
    return count;
}

bool lines_busy(struct lines *lines, const char *upstream)
{
    pthread_mutex_lock(&lines->mutex);
    struct line *line = find(lines, upstream);
    bool busy = line && !room(line);
    pthread_mutex_unlock(&lines->mutex);
    return busy;
}

int lines_delay(struct lines *lines, const char *upstream)
{
    int64_t ms = 0, now = clock_mono_ms();
    pthread_mutex_lock(&lines->mutex);
    struct line *line = find(lines, upstream);
    if (line) {
        const struct rate *rate = &line->conf.rate;
        double queued = (double)(line->waiting_count + 1);
        ms = (int64_t)(queued * line->run_ms / (double)line->conf.inflight);
        int64_t by_rate =
            rate->count ? (int64_t)(queued * (double)rate->seconds * 1000 / (double)rate->count)
                        : 0;
        if (ms < by_rate)
            ms = by_rate;
        if (line->not_before > now)
            ms += line->not_before - now;
    }
    pthread_mutex_unlock(&lines->mutex);
    return ms > (int64_t)DELAY_MAX_SECONDS * 1000 ? DELAY_MAX_SECONDS : (int)((ms + 999) / 1000);
}

static void retries_fill(struct line *line)
{
    int64_t now = clock_mono_ms();
    line->retries += (double)(now - line->retries_at) * RETRIES_PER_MS;
    line->retries_at = now;
    if (line->retries > RETRIES_MAX)
        line->retries = RETRIES_MAX;
}

bool lines_retry(struct lines *lines, const char *upstream)
{
    bool may = false;
    pthread_mutex_lock(&lines->mutex);
    struct line *line = find(lines, upstream);
    if (line) {
        retries_fill(line);
        may = line->retries >= 1;
        line->retries -= may;
    }
    pthread_mutex_unlock(&lines->mutex);
    return may;
}

size_t lines_retries(struct lines *lines, const char *upstream)
{
    pthread_mutex_lock(&lines->mutex);
    struct line *line = find(lines, upstream);
    if (line)
        retries_fill(line);
    size_t count = line ? (size_t)line->retries : 0;
    pthread_mutex_unlock(&lines->mutex);
    return count;
}

bool lines_wait_begin(struct lines *lines, const char *upstream)
{
    pthread_mutex_lock(&lines->mutex);
    struct line *line = find(lines, upstream);
    bool may = line && !(line->slow && line->waiters);
    if (may)
        line->waiters++;
    pthread_mutex_unlock(&lines->mutex);
    return may;
}

void lines_wait_end(struct lines *lines, const char *upstream, bool in_vain)
{
    pthread_mutex_lock(&lines->mutex);
    struct line *line = find(lines, upstream);
    if (line) {
        line->waiters--;
        line->slow = in_vain;
    }
    pthread_mutex_unlock(&lines->mutex);
}

bool lines_state(struct lines *lines, const char *upstream, struct line_state *ret)
{
    pthread_mutex_lock(&lines->mutex);
    struct line *line = find(lines, upstream);
    if (line) {
        *ret = line->sum;
        ret->breaker = line->breaker;
        ret->waiting = line->waiting_count;
        ret->running = line->running_count;
    }
    pthread_mutex_unlock(&lines->mutex);
    return line;
}
