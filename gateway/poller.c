#include "gateway/poller.h"

#include "base/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define PERIOD_SECONDS 1

struct poller {
    struct ra *ra;
    struct front *front;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t stopped;
    bool stop;
};

static void sweep(struct poller *poller)
{
    struct ra_settings *settings = front_settings(poller->front);
    struct err err = {0};
    size_t moved = 0;
    if (!ra_sweep(poller->ra, settings, &moved, &err))
        log_err(LOG_ERROR, "sweep", &err);
    if (moved) {
        struct log_line line;
        log_begin(&line, LOG_INFO, "sweep");
        log_num(&line, "moved", (int64_t)moved);
        log_end(&line);
    }
    ra_settings_free(settings);
}

/* Waits a period; false when it is time to end. */
static bool wait(struct poller *poller)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until); /* a wall clock set back would stop the sweeps */
    until.tv_sec += PERIOD_SECONDS;
    pthread_mutex_lock(&poller->mutex);
    if (!poller->stop)
        pthread_cond_timedwait(&poller->stopped, &poller->mutex, &until);
    bool go_on = !poller->stop;
    pthread_mutex_unlock(&poller->mutex);
    return go_on;
}

static void *poller_main(void *arg)
{
    struct poller *poller = arg;
    do
        sweep(poller);
    while (wait(poller));
    return NULL;
}

bool poller_start(struct ra *ra, struct front *front, struct poller **ret, struct err *err)
{
    pthread_condattr_t attr;
    struct poller *poller = mem_zalloc(sizeof *poller);
    poller->ra = ra;
    poller->front = front;
    pthread_mutex_init(&poller->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&poller->stopped, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&poller->thread, NULL, poller_main, poller) != 0) {
        free(poller);
        return err_set(err, ERR_LOCAL, "no thread for the poller");
    }
    *ret = poller;
    return true;
}

void poller_stop(struct poller *poller)
{
    if (!poller)
        return;
    pthread_mutex_lock(&poller->mutex);
    poller->stop = true;
    pthread_cond_signal(&poller->stopped);
    pthread_mutex_unlock(&poller->mutex);
    pthread_join(poller->thread, NULL);
    pthread_mutex_destroy(&poller->mutex);
    pthread_cond_destroy(&poller->stopped);
    free(poller);
}
