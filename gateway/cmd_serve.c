#include "base/log.h"
#include "gateway/cli.h"
#include "gateway/cmd.h"
#include "gateway/front.h"
#include "gateway/poller.h"
#include "gateway/tls.h"
#include "gateway/wire.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define DRAIN_MS 10000
#define ADMIN_THREADS 4
#define ADMIN_BODY_MAX 4096
#define TICK_SECONDS_MAX 60
#define FAULTS_MAX ((size_t)4 << 20)

static const char usage[] =
    "usage: scepter serve [-c FILE]\n"
    "\n"
    "Serves SCEP, EST and the admin listener in the foreground and logs to standard error. SIGHUP\n"
    "reads the configuration again; a faulty one changes nothing. SIGTERM lets running requests "
    "end\n"
    "and exits.\n";

enum { DOOR_SCEP = 0, DOOR_EST, DOOR_ADMIN, DOOR_COUNT };

struct gateway {
    const char *conf;
    uint64_t generation;
    struct store *store;
    struct ra *ra;
    struct metrics *metrics;
    struct front *front;
    struct tls *tls[DOOR_COUNT];
    struct http_server *servers[DOOR_COUNT];
    struct poller *poller;
    bool library;
};

static void log_faults(struct buf *faults)
{
    struct bytes cur = buf_bytes(faults), line;
    while (cur.len) {
        bytes_take_until(&cur, '\n', &line);
        struct log_line out;
        log_begin(&out, LOG_ERROR, "configuration");
        log_bytes(&out, "reason", line);
        log_end(&out);
    }
}

/* A generation of settings from the file. NULL with the faults logged. */
static struct ra_settings *load(struct gateway *gateway)
{
    struct buf faults = BUF_INIT(FAULTS_MAX);
    struct ra_settings *settings = NULL;
    struct cfg *cfg = NULL;
    struct err err = {0};
    if (!cfg_load(gateway->conf, wire_kinds(), &cfg, &faults))
        log_faults(&faults);
    else if (!wire_settings(cfg, ++gateway->generation, &settings, &err))
        log_err(LOG_ERROR, "configuration", &err);
    buf_free(&faults);
    return settings;
}

static bool urls_equal(const struct cfg_urls *a, const struct cfg_urls *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (a->items[i].tls != b->items[i].tls || a->items[i].port != b->items[i].port ||
            strcmp(a->items[i].host, b->items[i].host) != 0)
            return false;
    return true;
}

/* What a running process cannot change; said, so that nobody waits for it. */
static void warn_fixed(const struct cfg *old, const struct cfg *new)
{
    if (!urls_equal(&old->listen.scep, &new->listen.scep) ||
        !urls_equal(&old->listen.est, &new->listen.est) ||
        !urls_equal(&old->listen.admin, &new->listen.admin))
        log_text(LOG_WARN, "reload", "a change of listen needs a restart");
    if (strcmp(old->store, new->store) != 0)
        log_text(LOG_WARN, "reload", "a change of store needs a restart");
    if (old->limits.threads != new->limits.threads || old->limits.body != new->limits.body)
        log_text(LOG_WARN, "reload", "a change of limits needs a restart");
}

static bool reload_tls(struct gateway *gateway, const struct cfg *cfg, struct err *err)
{
    for (unsigned i = 0; i < DOOR_COUNT; i++)
        if (gateway->tls[i] && !tls_reload(gateway->tls[i], cfg, err))
            return false;
    return true;
}

/* All of the new configuration or nothing of it. */
static void reload(struct gateway *gateway)
{
    struct timespec now;
    struct err err = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
               (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    struct ra_settings *settings = load(gateway);
    if (settings && !reload_tls(gateway, settings->cfg, &err)) {
        log_err(LOG_ERROR, "reload", &err);
        ra_settings_free(settings);
        settings = NULL;
    }
    metrics_reload(gateway->metrics, settings != NULL);
    if (settings) {
        struct ra_settings *old = front_settings(gateway->front);
        warn_fixed(old->cfg, settings->cfg);
        ra_settings_free(old);
        struct log_line line;
        log_begin(&line, LOG_INFO, "reloaded");
        log_num(&line, "generation", (int64_t)settings->generation);
        log_end(&line);
        front_reload(gateway->front, settings);
    } else {
        log_text(LOG_ERROR, "reload", "the configuration before stays in force");
    }
    sd_notify(0, "READY=1");
}

static bool any_tls(const struct cfg_urls *urls)
{
    for (size_t i = 0; i < urls->count; i++)
        if (urls->items[i].tls)
            return true;
    return false;
}

static bool start_door(struct gateway *gateway, const struct cfg *cfg, unsigned door,
                       struct err *err)
{
    const struct cfg_urls *urls[DOOR_COUNT] = {&cfg->listen.scep, &cfg->listen.est,
                                               &cfg->listen.admin};
    static const char *const names[DOOR_COUNT] = {"scep", "est", "admin"};
    const struct http_handler handlers[DOOR_COUNT] = {
        front_scep(gateway->front), front_est(gateway->front), front_admin(gateway->front)};
    bool admin = door == DOOR_ADMIN;
    if (!urls[door]->count)
        return true;
    if (any_tls(urls[door]) && !tls_new(cfg, door == DOOR_SCEP ? TLS_ASK_NEVER : TLS_ASK_OPTIONAL,
                                        &gateway->tls[door], err))
        return false;
    struct http_conf conf = {
        .name = names[door],
        .urls = urls[door],
        .tls = gateway->tls[door] ? tls_ctx_get(gateway->tls[door]) : NULL,
        .threads = admin ? ADMIN_THREADS : cfg->limits.threads,
        .body_max = admin ? ADMIN_BODY_MAX : cfg->limits.body,
        .handler = handlers[door],
    };
    return http_server_start(&conf, &gateway->servers[door], err);
}

/* Every https listener answers us, or nobody is served. */
static bool self_test(const struct cfg *cfg, struct err *err)
{
    const struct {
        const struct cfg_urls *urls;
        const char *path;
    } all[] = {
        {&cfg->listen.scep, "/"},
        {&cfg->listen.est, "/.well-known/est/cacerts"},
        {&cfg->listen.admin, "/healthz"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (size_t k = 0; k < all[i].urls->count; k++)
            if (all[i].urls->items[k].tls &&
                !tls_self_test(&all[i].urls->items[k], all[i].path, err))
                return false;
    return true;
}

static bool start(struct gateway *gateway, struct ra_settings *settings, struct err *err)
{
    const struct cfg *cfg = settings->cfg;
    gateway->metrics = metrics_new();
    if (!store_open(cfg->store, true, &gateway->store, err)) {
        ra_settings_free(settings);
        return false;
    }
    gateway->ra = ra_new(gateway->store);
    gateway->front = front_new(gateway->ra, gateway->metrics, settings);
    if (!http_library_start(err))
        return false;
    gateway->library = true;
    for (unsigned i = 0; i < DOOR_COUNT; i++)
        if (!start_door(gateway, cfg, i, err))
            return false;
    return self_test(cfg, err) && poller_start(gateway->ra, gateway->front, &gateway->poller, err);
}

static void log_ready(const struct cfg *cfg)
{
    const struct {
        const char *name;
        const struct cfg_urls *urls;
    } all[] = {
        {"scep", &cfg->listen.scep}, {"est", &cfg->listen.est}, {"admin", &cfg->listen.admin}};
    struct log_line line;
    log_begin(&line, LOG_INFO, "ready");
    log_str(&line, "version", SCEPTER_VERSION);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        for (size_t k = 0; k < all[i].urls->count; k++) {
            char url[64];
            const struct cfg_url *at = &all[i].urls->items[k];
            snprintf(url, sizeof url, "%s://%s:%u", at->tls ? "https" : "http", at->host, at->port);
            log_str(&line, all[i].name, url);
        }
    }
    log_end(&line);
}

/* Signals, one at a time, until one says to end; the watchdog's heartbeat in between. */
static void wait_for_end(struct gateway *gateway, const sigset_t *signals)
{
    uint64_t watchdog_us = 0;
    struct timespec tick = {.tv_sec = TICK_SECONDS_MAX};
    if (sd_watchdog_enabled(0, &watchdog_us) > 0 && watchdog_us) {
        tick.tv_sec = (time_t)(watchdog_us / 2 / 1000000);
        tick.tv_nsec = (long)(watchdog_us / 2 % 1000000 * 1000);
    }
    for (;;) {
        int signal = sigtimedwait(signals, NULL, &tick);
        sd_notify(0, "WATCHDOG=1");
        if (signal == SIGHUP)
            reload(gateway);
        else if (signal > 0)
            return;
    }
}

static void stop(struct gateway *gateway)
{
    for (unsigned i = 0; i < DOOR_COUNT; i++)
        if (gateway->servers[i])
            http_server_drain(gateway->servers[i], DRAIN_MS);
    poller_stop(gateway->poller);
    for (unsigned i = 0; i < DOOR_COUNT; i++) {
        http_server_stop(gateway->servers[i]);
        tls_free(gateway->tls[i]);
    }
    if (gateway->library)
        http_library_stop();
    front_free(gateway->front);
    ra_free(gateway->ra);
    store_close(gateway->store);
    metrics_free(gateway->metrics);
}

int cmd_serve(int argc, char **argv)
{
    struct cli cli = {.name = "serve", .usage = usage};
    struct gateway gateway = {0};
    struct err err = {0};
    sigset_t signals;
    if (!cli_parse(&cli, argc, argv))
        return cli_parse_exit(&cli);
    if (optind != argc) {
        fputs(usage, stderr);
        return CMD_USAGE;
    }
    /* Blocked before any thread starts: they are taken one at a time below. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    gateway.conf = cli.conf;
    struct ra_settings *settings = load(&gateway);
    if (!settings)
        return CMD_REFUSED;
    if (!start(&gateway, settings, &err)) {
        log_err(LOG_ERROR, "start", &err);
        int code = gateway.store ? CMD_REFUSED : CMD_UNREACHABLE;
        stop(&gateway);
        return code;
    }
    log_ready(settings->cfg);
    sd_notify(0, "READY=1");
    wait_for_end(&gateway, &signals);
    sd_notify(0, "STOPPING=1");
    log_text(LOG_INFO, "stopping", "running requests may end");
    stop(&gateway);
    return CMD_OK;
}
