#include "base/clock.h"
#include "config/table.h"
#include "ra/line.h"
#include "ra/ra.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define IDLE_MS 10000 /* a thread that nobody wakes looks again after that */

/* A CA of a test's own behind the line "ca". */
struct ca {
    struct lines *lines;
    struct ra_settings *settings;
    struct cfg_line *conf;
    atomic_int running, most, runs, probes;
    atomic_int result; /* enum line_result */
    atomic_int hold;   /* seconds, of the next run */
    atomic_int probe_hold;
    atomic_int told;      /* ends of runs */
    atomic_int uncounted; /* those that were told before they were counted */
    atomic_int again;     /* so many are added again when they are over */
    atomic_bool there;    /* answers probes */
    atomic_bool unknown;  /* as long as it does not, it is probed again */
    atomic_bool stuck;    /* a run does not end */
    atomic_bool threads_fail;
};

/* pthread_create fails while it is true: the linker puts ours in its place (--wrap). */
static const atomic_bool *no_threads;
int create_really(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *),
                  void *arg) __asm__("__real_pthread_create");
int create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *),
           void *arg) __asm__("__wrap_pthread_create");
int create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *), void *arg)
{
    if (no_threads && *no_threads)
        return EAGAIN;
    return create_really(thread, attr, body, arg);
}

static enum line_result run(void *arg, const struct ra_settings *settings, size_t upstream,
                            const char *id, struct line_said *said)
{
    struct ca *ca = arg;
    (void)settings, (void)id;
    assert_int_equal(upstream, 0);
    int now = ++ca->running;
    if (now > ca->most)
        ca->most = now;
    do
        usleep(2000);
    while (ca->stuck);
    said->hold = atomic_exchange(&ca->hold, 0);
    said->tell = ca->result != LINE_IDLE;
    enum line_result result = (enum line_result)(int)ca->result;
    ca->running--;
    ca->runs++;
    return result;
}

static void over(void *arg, const char *id)
{
    struct ca *ca = arg;
    struct line_state state;
    int told = ca->told; /* first: what another thread tells later it counts later as well */
    assert_true(lines_state(ca->lines, "ca", &state));
    ca->uncounted += state.fine + state.failed <= (uint64_t)told;
    if (ca->again && ca->again--)
        assert_true(lines_add(ca->lines, "ca", id));
    ca->told++;
}

static bool probe(void *arg, const struct ra_settings *settings, size_t upstream, int *hold,
                  bool *again)
{
    struct ca *ca = arg;
    (void)settings, (void)upstream;
    bool there = ca->there; /* who sees that it has come may change it */
    *hold = atomic_exchange(&ca->probe_hold, 0);
    *again = !there && ca->unknown;
    ca->probes++;
    return there;
}

static const struct cfg_key no_keys[] = {{0}};
static const struct cfg_kind kind = {
    .type = "fake", .keys = no_keys, .options_size = sizeof(struct cfg_line), .remote = true};

static int setup(void **state)
{
    struct ca *ca = calloc(1, sizeof *ca);
    struct line_work work = {run, over, probe, ca};
    struct ra_settings *settings = calloc(1, sizeof *settings);
    struct cfg *cfg = calloc(1, sizeof *cfg);
    assert_true(ca && settings && cfg);
    ca->conf = calloc(1, sizeof *ca->conf);
    *ca->conf = (struct cfg_line){
        .inflight = 3, .queue = 5, .wait = 1, .deadline = 1, .failures = 3, .open_seconds = 1};
    cfg->upstream_count = 1;
    cfg->upstreams = calloc(1, sizeof *cfg->upstreams);
    cfg->upstreams[0].name = "ca";
    cfg->upstreams[0].kind = &kind;
    cfg->upstreams[0].options = ca->conf;
    settings->count = 2; /* ours and one that is never given back: nothing is freed by it */
    settings->cfg = cfg;
    ca->settings = settings;
    ca->result = LINE_FINE;
    ca->there = true;
    ca->lines = lines_new(&work);
    *state = ca;
    return 0;
}

static int teardown(void **state)
{
    struct ca *ca = *state;
    ca->stuck = false;
    assert_true(lines_free(ca->lines, 60000));
    free(ca->settings->cfg->upstreams);
    free(ca->settings->cfg);
    free(ca->settings);
    free(ca->conf);
    free(ca);
    return 0;
}

static void add(struct ca *ca, int first, int count)
{
    for (int i = first; i < first + count; i++) {
        char id[RA_ID_LEN + 1];
        snprintf(id, sizeof id, "%032d", i);
        while (!lines_add(ca->lines, "ca", id))
            usleep(1000);
    }
}

static bool offer(struct ca *ca, int n)
{
    char id[RA_ID_LEN + 1];
    snprintf(id, sizeof id, "%032d", n);
    return lines_add(ca->lines, "ca", id);
}

/* Waits, with an end that a hung test reaches. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        int64_t end = clock_mono_ms() + 60000;                                                     \
        while (!(condition)) {                                                                     \
            assert_true(clock_mono_ms() < end);                                                    \
            usleep(1000);                                                                          \
        }                                                                                          \
    } while (0)

static struct line_state state_of(struct ca *ca)
{
    struct line_state state;
    assert_true(lines_state(ca->lines, "ca", &state));
    return state;
}

/* Everything that is added is run, by as many threads as the CA may be asked with, and no more. */
static void test_inflight(void **state)
{
    struct ca *ca = *state;
    lines_configure(ca->lines, ca->settings);
    ca->stuck = true;
    add(ca, 0, 5);
    WAIT_FOR(state_of(ca).running == 3);
    ca->stuck = false;
    add(ca, 5, 55);
    WAIT_FOR(ca->runs == 60);
    assert_int_equal(ca->most, 3);
    assert_int_equal(ca->probes, 1);
    WAIT_FOR(state_of(ca).fine == 60);
}

/* When a run is said to be over, it is counted and stands in line no more: who adds it then, since
 * its row wants more, does not wait for a run that has been. */
static void test_over(void **state)
{
    struct ca *ca = *state;
    lines_configure(ca->lines, ca->settings);
    ca->again = 2;
    add(ca, 0, 1);
    WAIT_FOR(ca->told == 3);
    assert_int_equal(ca->runs, 3);
    assert_int_equal(ca->uncounted, 0);
    ca->result = LINE_IDLE; /* nobody is to be told */
    add(ca, 0, 1);
    WAIT_FOR(ca->runs == 4);
    add(ca, 1, 1);
    WAIT_FOR(ca->runs == 5);
    assert_int_equal(ca->told, 3);
}

/* A request stands in line once; beyond its length nothing is taken, and whoever asks is told. */
static void test_bounded(void **state)
{
    struct ca *ca = *state;
    lines_configure(ca->lines, ca->settings);
    ca->stuck = true;
    for (int i = 0; i < 8; i++) {
        assert_true(offer(ca, i));
        WAIT_FOR(state_of(ca).running == (size_t)(i < 3 ? i + 1 : 3));
    }
    assert_false(offer(ca, 8));
    assert_true(lines_busy(ca->lines, "ca"));
    assert_true(offer(ca, 0)); /* is there: it runs */
    assert_true(offer(ca, 5)); /* is there: it waits */
    assert_int_equal(state_of(ca).waiting, 5);
    ca->stuck = false;
    WAIT_FOR(ca->runs == 8);
    assert_false(lines_busy(ca->lines, "ca"));
    assert_int_equal(lines_room(ca->lines, "ca"), 5);
}

/* A CA that has to answer a probe is probed again and again until it does, but not beside a
 * request. That is no further failure of its line. */
static void test_probed_again(void **state)
{
    struct ca *ca = *state;
    ca->there = false;
    ca->unknown = true;
    lines_configure(ca->lines, ca->settings);
    WAIT_FOR((lines_tick(ca->lines), ca->probes == 3));
    assert_int_equal(state_of(ca).failed, 1);
    assert_int_equal(state_of(ca).breaker, LINE_CLOSED);
    ca->stuck = true;
    assert_true(offer(ca, 0));
    for (int i = 0; i < 80; i++) {
        usleep(50000);
        lines_tick(ca->lines);
    }
    assert_int_equal(ca->probes, 3);
    ca->there = true;
    ca->stuck = false;
    WAIT_FOR((lines_tick(ca->lines), ca->probes == 4));
    for (int i = 0; i < 30; i++) {
        usleep(50000);
        lines_tick(ca->lines);
    }
    assert_int_equal(ca->probes, 4);
}

/* That this thread has computed, however busy the machine is. */
static int64_t own_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Whether a request stands in a long line is known at once, so that a hundred thousand of them can
 * be offered again and again. Walking along the line would take minutes. */
static void test_long_line(void **state)
{
    enum { LENGTH = 100000, MS = 20000 };
    struct ca *ca = *state;
    ca->conf->queue = LENGTH;
    lines_configure(ca->lines, ca->settings);
    ca->stuck = true;
    int64_t end = own_ms() + MS;
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < LENGTH; i++) {
            assert_true(offer(ca, i));
            assert_true(own_ms() < end);
        }
    }
    assert_in_range(state_of(ca).waiting, LENGTH - 3, LENGTH);
    lines_configure(ca->lines, ca->settings);
    assert_true(offer(ca, LENGTH));
}

/* After so many failures in a row the CA is left alone; then it is probed, then one request goes
 * first, and when that is fine the others follow. */
static void test_breaker(void **state)
{
    struct ca *ca = *state;
    lines_configure(ca->lines, ca->settings);
    WAIT_FOR(ca->probes == 1);
    ca->result = LINE_FAILED;
    ca->there = false;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(state_of(ca).breaker, LINE_CLOSED);
        assert_true(offer(ca, i));
        WAIT_FOR(state_of(ca).failed == (uint64_t)i + 1);
    }
    assert_int_equal(state_of(ca).breaker, LINE_OPEN);
    assert_false(offer(ca, 9));
    WAIT_FOR(lines_delay(ca->lines, "ca") >= 1); /* but for the moment in which it is probed */
    WAIT_FOR(ca->probes >= 2);                   /* after open_seconds */
    assert_int_equal(ca->runs, 3);
    assert_int_equal(state_of(ca).breaker, LINE_OPEN);
    ca->there = true;
    ca->result = LINE_FINE;
    WAIT_FOR(state_of(ca).breaker == LINE_HALF_OPEN);
    ca->most = 0;
    ca->stuck = true;
    add(ca, 20, 4);
    WAIT_FOR(state_of(ca).running == 1);
    usleep(50000);
    assert_int_equal(state_of(ca).running, 1);
    ca->stuck = false;
    WAIT_FOR(ca->runs == 7);
    assert_int_equal(state_of(ca).breaker, LINE_CLOSED);
}

/* One that fails again after the probe opens the breaker again, for longer. */
static void test_half_open_fails(void **state)
{
    struct ca *ca = *state;
    lines_configure(ca->lines, ca->settings);
    ca->result = LINE_FAILED;
    add(ca, 0, 3);
    WAIT_FOR(state_of(ca).breaker == LINE_HALF_OPEN);
    assert_int_equal(state_of(ca).opened, 1);
    int64_t start = clock_mono_ms();
    assert_true(offer(ca, 5));
    WAIT_FOR(state_of(ca).opened == 2);
    WAIT_FOR(state_of(ca).breaker == LINE_HALF_OPEN);
    assert_true(clock_mono_ms() - start >= 2000);
}

/* Failures that are not in a row do not open it. */
static void test_not_in_a_row(void **state)
{
    struct ca *ca = *state;
    lines_configure(ca->lines, ca->settings);
    for (int i = 0; i < 12; i++) {
        ca->result = i % 3 == 2 ? LINE_FINE : LINE_FAILED;
        assert_true(offer(ca, i));
        WAIT_FOR(ca->runs == i + 1 && state_of(ca).running == 0);
    }
    assert_int_equal(state_of(ca).breaker, LINE_CLOSED);
}

/* A CA that asks to be left alone for a while is. */
static void test_hold(void **state)
{
    struct ca *ca = *state;
    lines_configure(ca->lines, ca->settings);
    ca->hold = 1;
    int64_t start = clock_mono_ms();
    assert_true(offer(ca, 0));
    WAIT_FOR(ca->runs == 1 && state_of(ca).running == 0);
    assert_true(offer(ca, 1));
    WAIT_FOR(ca->runs == 2);
    assert_in_range(clock_mono_ms() - start, 1000, IDLE_MS - 1000);
}

/* Also when it says so to whoever asks whether it is there. */
static void test_hold_by_probe(void **state)
{
    struct ca *ca = *state;
    ca->there = false;
    ca->probe_hold = 1;
    int64_t start = clock_mono_ms();
    lines_configure(ca->lines, ca->settings);
    WAIT_FOR(ca->probes == 1 && state_of(ca).failed == 1);
    assert_true(offer(ca, 0));
    WAIT_FOR(ca->runs == 1);
    assert_in_range(clock_mono_ms() - start, 1000, IDLE_MS - 1000);
}

/* No more is sent in a time than the rate says. */
static void test_rate(void **state)
{
    struct ca *ca = *state;
    ca->conf->rate = (struct rate){20, 1};
    ca->conf->queue = 100;
    lines_configure(ca->lines, ca->settings);
    usleep(100000);
    int64_t start = clock_mono_ms();
    add(ca, 0, 40);
    WAIT_FOR(ca->runs == 40);
    assert_in_range(clock_mono_ms() - start, 950,
                    IDLE_MS - 1000); /* it saves a second's worth at most */
}

/* Retries have a budget of their own, which success fills. */
static void test_retries(void **state)
{
    struct ca *ca = *state;
    int granted = 0;
    lines_configure(ca->lines, ca->settings);
    while (lines_retry(ca->lines, "ca"))
        granted++;
    assert_in_range(granted, 20, 21);
    add(ca, 0, 10);
    WAIT_FOR(ca->runs == 10 && state_of(ca).running == 0);
    assert_true(lines_retry(ca->lines, "ca"));
    assert_true(lines_retry(ca->lines, "ca"));
    assert_false(lines_retry(ca->lines, "nobody"));
}

/* A line that let a device wait in vain lets one wait at a time, until one has not. */
static void test_waits(void **state)
{
    struct ca *ca = *state;
    lines_configure(ca->lines, ca->settings);
    assert_true(lines_wait_begin(ca->lines, "ca"));
    assert_true(lines_wait_begin(ca->lines, "ca"));
    lines_wait_end(ca->lines, "ca", true);
    assert_false(lines_wait_begin(ca->lines, "ca"));
    lines_wait_end(ca->lines, "ca", true);
    assert_true(lines_wait_begin(ca->lines, "ca"));
    assert_false(lines_wait_begin(ca->lines, "ca"));
    lines_wait_end(ca->lines, "ca", false);
    assert_true(lines_wait_begin(ca->lines, "ca"));
    assert_true(lines_wait_begin(ca->lines, "ca"));
    lines_wait_end(ca->lines, "ca", false);
    lines_wait_end(ca->lines, "ca", false);
}

/* What runs at the end is waited for, but not for ever, and nothing new begins. */
static void test_end(void **state)
{
    struct ca *ca = *state;
    lines_configure(ca->lines, ca->settings);
    ca->stuck = true;
    assert_true(offer(ca, 0));
    WAIT_FOR(state_of(ca).running == 1);
    assert_false(lines_free(ca->lines, 50));
    assert_false(offer(ca, 1));
}

/* Settings without any upstream, as after its removal. */
static struct ra_settings *nothing(void)
{
    struct ra_settings *settings = calloc(1, sizeof *settings);
    assert_true(settings && (settings->cfg = calloc(1, sizeof *settings->cfg)));
    settings->count = 2;
    return settings;
}

static void nothing_free(struct ra_settings *settings)
{
    free(settings->cfg);
    free(settings);
}

/* An upstream that is removed while it is asked, and fails, is asked no more: not to see whether it
 * is there either. When it is configured again it begins anew. */
static void test_removed(void **state)
{
    struct ca *ca = *state;
    struct ra_settings *none = nothing();
    ca->conf->failures = 1;
    lines_configure(ca->lines, ca->settings);
    ca->result = LINE_FAILED;
    ca->stuck = true;
    add(ca, 0, 3);
    WAIT_FOR(state_of(ca).running == 3);
    int probes = ca->probes;
    lines_configure(ca->lines, none);
    ca->stuck = false;
    WAIT_FOR(ca->runs == 3 && state_of(ca).running == 0);
    usleep(1800000); /* longer than a breaker stays open */
    assert_int_equal(ca->probes, probes);
    assert_int_equal(state_of(ca).breaker, LINE_CLOSED);
    assert_false(offer(ca, 4));
    ca->result = LINE_FINE;
    lines_configure(ca->lines, ca->settings);
    add(ca, 5, 1);
    WAIT_FOR(ca->runs == 4);
    lines_configure(ca->lines, none);
    nothing_free(none);
}

/* What fails by an old configuration says nothing of a new one. */
static void test_replaced(void **state)
{
    struct ca *ca = *state;
    struct ra_settings *other = calloc(1, sizeof *other);
    assert_non_null(other);
    other->count = 2;
    other->cfg = ca->settings->cfg;
    lines_configure(ca->lines, ca->settings);
    ca->result = LINE_FAILED;
    ca->hold = 100;
    ca->stuck = true;
    add(ca, 0, 3);
    WAIT_FOR(state_of(ca).running == 3);
    lines_configure(ca->lines, other);
    ca->stuck = false;
    WAIT_FOR(ca->runs == 3 && state_of(ca).running == 0);
    assert_int_equal(state_of(ca).breaker, LINE_CLOSED);
    ca->result = LINE_FINE;
    add(ca, 3, 1);
    WAIT_FOR(ca->runs == 4);
    assert_int_equal(state_of(ca).failed, 3);
    lines_configure(ca->lines, ca->settings);
    WAIT_FOR(other->count == 2); /* a probe may have held it */
    free(other);
}

/* The system has no threads for a moment: what stands in line is not forgotten. */
static void test_no_thread(void **state)
{
    struct ca *ca = *state;
    ca->threads_fail = true;
    no_threads = &ca->threads_fail;
    lines_configure(ca->lines, ca->settings);
    add(ca, 0, 2);
    usleep(50000);
    assert_int_equal(ca->runs, 0);
    ca->threads_fail = false;
    lines_tick(ca->lines);
    WAIT_FOR(ca->runs == 2);
    no_threads = NULL;
}

/* A rate of few in a long time lets the first one go at once. */
static void test_slow_rate(void **state)
{
    struct ca *ca = *state;
    ca->conf->rate = (struct rate){1, 3600};
    lines_configure(ca->lines, ca->settings);
    add(ca, 0, 2);
    WAIT_FOR(ca->runs == 1);
    usleep(100000);
    assert_int_equal(ca->runs, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_inflight),
        TEST(test_bounded),
        TEST(test_long_line),
        TEST(test_breaker),
        TEST(test_half_open_fails),
        TEST(test_not_in_a_row),
        TEST(test_hold),
        TEST(test_hold_by_probe),
        TEST(test_rate),
        TEST(test_retries),
        TEST(test_waits),
        TEST(test_end),
        TEST(test_removed),
        TEST(test_replaced),
        TEST(test_no_thread),
        TEST(test_slow_rate),
        TEST(test_over),
        TEST(test_probed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
