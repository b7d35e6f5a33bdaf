/* What stands between requests and an upstream CA that is asked over a network: a bounded line of
 * requests, threads that take them from it, a rate, and a breaker. A line holds ids only; the
 * requests are in the store, so nothing is lost with it. */
#ifndef RA_LINE_H
#define RA_LINE_H

#include "ra/request.h"

struct lines;

/* What came of one run. */
enum line_result {
    LINE_IDLE = 0, /* the CA was not asked */
    LINE_FINE,     /* it answered, whatever it said */
    LINE_FAILED,   /* it did not, or asked to be left alone */
};

/* What a run says besides, zeroed before it. */
struct line_said {
    int hold;  /* seconds for which the CA wants no request, or 0 */
    bool tell; /* `over` is to be called */
};

/* Called on the line's threads. */
struct line_work {
    /* Works at one request. */
    enum line_result (*run)(void *arg, const struct ra_settings *settings, size_t upstream,
                            const char *id, struct line_said *said);
    /* After a run that asks for it: what came of it is counted, and the request is in the line no
     * more, so that who adds it from now on has it worked at anew. */
    void (*over)(void *arg, const char *id);
    /* Whether the CA is there again; asked before the first request after a pause. *hold: as a run
     * says it. */
    bool (*probe)(void *arg, const struct ra_settings *settings, size_t upstream, int *hold);
    void *arg;
};

struct lines *lines_new(const struct line_work *work) MUST_USE;
/* Waits at most limit_ms for what is running. False if something still runs: then nothing was
 * freed, and it must not be. NULL is allowed. */
bool lines_free(struct lines *lines, int64_t limit_ms);

/* The lines of these settings' remote upstreams, which go on under their names; requests that are
 * added from now on are worked at with these settings. At the first call, and when *settings have
 * changed an upstream, it is probed. Holds a count. */
void lines_configure(struct lines *lines, struct ra_settings *settings);

/* Called now and then: a CA that has not been probed for an hour is. */
void lines_tick(struct lines *lines);

/* Puts a request into the line of its upstream unless it is there. False if there is no room, the
 * CA is left alone at the moment, or there is no such line. */
bool lines_add(struct lines *lines, const char *upstream, const char *id);
/* How many more would go into the line; 0 while the CA is left alone. */
size_t lines_room(struct lines *lines, const char *upstream);

/* Whether the CA is failing or its line full: somebody else may take its place. */
bool lines_busy(struct lines *lines, const char *upstream);
/* Seconds after which a request that stands in this line now may have been worked at. */
int lines_delay(struct lines *lines, const char *upstream);

/* Takes from the budget of retries, which runs that went fine and time fill: a CA that fails is not
 * asked again and again for all that has failed. */
bool lines_retry(struct lines *lines, const char *upstream);
/* How many the budget has now. */
size_t lines_retries(struct lines *lines, const char *upstream);

/* Around a device's wait: false if it had better come again. A line that let the last one wait in
 * vain lets one wait at a time. */
bool lines_wait_begin(struct lines *lines, const char *upstream);
void lines_wait_end(struct lines *lines, const char *upstream, bool in_vain);

enum line_breaker { LINE_CLOSED = 0, LINE_OPEN, LINE_HALF_OPEN };

/* For metrics and health. */
struct line_state {
    enum line_breaker breaker;
    size_t waiting, running;
    uint64_t fine, failed, opened; /* since the start */
};
bool lines_state(struct lines *lines, const char *upstream, struct line_state *ret);

#endif
