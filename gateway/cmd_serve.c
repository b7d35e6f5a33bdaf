#include "base/log.h"
#include "base/pem.h"
#include "config/node.h"
#include "gateway/cli.h"
#include "gateway/cmd.h"
#include "gateway/front.h"
#include "gateway/poller.h"
#include "gateway/renewal.h"
#include "gateway/service.h"
#include "gateway/tls.h"
#include "gateway/wire.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ADMIN_THREADS 4
#define LOOPS_MAX 16
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
enum { SERVER_FRONT = 0, SERVER_ADMIN, SERVER_COUNT };

struct gateway {
    const char *conf;
    struct buf text; /* of the configuration that is in force */
    uint64_t generation;
    struct store *store;
    struct ra *ra;
    struct metrics *metrics;
    struct revocation *revocation;
    struct front *front;
    struct tls *tls[DOOR_COUNT];
    struct http_server *servers[SERVER_COUNT];
    struct poller *poller;
    struct renewal *renewal;
};

static void log_lines(const struct buf *lines, enum log_level level)
{
    struct bytes cur = buf_bytes(lines), line;
    while (cur.len) {
        bytes_take_until(&cur, '\n', &line);
        struct log_line out;
        log_begin(&out, level, "configuration");
        log_bytes(&out, "reason", line);
        log_end(&out);
    }
}

/* A generation of settings from a configuration's text. NULL with the faults logged. */
static struct ra_settings *load_text(struct gateway *gateway, struct bytes text)
{
    struct buf faults = BUF_INIT(FAULTS_MAX);
    struct ra_settings *settings = NULL;
    struct cfg *cfg = NULL;
    if (cfg_load_text(text, gateway->conf, wire_kinds(), &cfg, &faults)) {
        log_lines(&cfg->warnings, LOG_WARN);
        if (!wire_settings(cfg, ++gateway->generation, &settings, &faults))
            settings = NULL;
    }
    log_lines(&faults, LOG_ERROR);
    if (settings)
        settings->revocation = gateway->revocation;
    buf_free(&faults);
    return settings;
}

/* The same from the file, whose text the caller frees. */
static struct ra_settings *load(struct gateway *gateway, struct buf *text)
{
    struct err err = {0};
    *text = BUF_INIT(CFG_FILE_MAX);
    if (pem_file_read(gateway->conf, CFG_FILE_MAX, text, &err))
        return load_text(gateway, buf_bytes(text));
    log_err(LOG_ERROR, "configuration", &err);
    return NULL;
}

static bool urls_equal(const struct cfg_urls *a, const struct cfg_urls *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (a->items[i].tls != b->items[i].tls || a->items[i].local != b->items[i].local ||
            a->items[i].port != b->items[i].port || strcmp(a->items[i].host, b->items[i].host) != 0)
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
        log_text(LOG_WARN, "reload", "a change of limits.threads or limits.body needs a restart");
}

static bool reload_tls(struct gateway *gateway, const struct cfg *cfg, struct err *err)
{
    for (unsigned i = 0; i < DOOR_COUNT; i++)
        if (gateway->tls[i] && !tls_reload(gateway->tls[i], cfg, err))
            return false;
    return true;
}

/* All of the new configuration or nothing of it. afresh: as the file is now; otherwise as it was
 * read, with what has become of the files that it names (an RA's renewed pair). */
static void reload(struct gateway *gateway, bool afresh)
{
    struct err err = {0};
    struct buf text = {0};
    service_reloading();
    struct ra_settings *settings =
        afresh ? load(gateway, &text) : load_text(gateway, buf_bytes(&gateway->text));
    if (settings && !reload_tls(gateway, settings->cfg, &err)) {
        log_err(LOG_ERROR, "reload", &err);
        ra_settings_free(settings);
        settings = NULL;
    }
    bool fine = settings != NULL;
    if (fine) {
        int64_t generation = (int64_t)settings->generation;
        struct ra_settings *old = front_settings(gateway->front);
        warn_fixed(old->cfg, settings->cfg);
        ra_settings_free(old);
        for (unsigned i = 0; i < SERVER_COUNT; i++)
            if (gateway->servers[i])
                http_server_reload(gateway->servers[i], settings->cfg);
        ra_apply(gateway->ra, settings);
        front_reload(gateway->front, settings);
        if (afresh && !ra_retry(gateway->ra, &err))
            log_err(LOG_ERROR, "reload", &err);
        if (afresh) {
            buf_free(&gateway->text);
            gateway->text = text;
            text = (struct buf){0};
        }
        struct log_line line;
        log_begin(&line, LOG_INFO, "reloaded");
        log_num(&line, "generation", generation);
        log_end(&line);
    } else {
        log_text(LOG_ERROR, "reload", "the configuration before stays in force");
    }
    metrics_reload(gateway->metrics, fine); /* what is counted is in force */
    buf_free(&text);
    service_notify("READY=1");
}

static void log_about(const char *event, const char *about, const struct err *err)
{
    struct log_line line;
    log_begin(&line, LOG_WARN, event);
    log_str(&line, "about", about);
    log_str(&line, "reason", err->text);
    log_end(&line);
}

static void log_told(const char *about, const struct err *err)
{
    log_about("upstream", about, err);
}

static void log_revocation(const char *url, const struct err *err)
{
    log_about("revocation", url, err);
}

static bool any_tls(const struct cfg_urls *urls)
{
    for (size_t i = 0; i < urls->count; i++)
        if (urls->items[i].tls)
            return true;
    return false;
}

static unsigned cores(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < 1 ? 1 : count > LOOPS_MAX ? LOOPS_MAX : (unsigned)count;
}

static bool start_tls(struct gateway *gateway, const struct cfg *cfg, struct err *err)
{
    const struct cfg_urls *urls[DOOR_COUNT] = {&cfg->listen.scep, &cfg->listen.est,
                                               &cfg->listen.admin};
    for (unsigned i = 0; i < DOOR_COUNT; i++)
        if (any_tls(urls[i]) &&
            !tls_new(cfg, i == DOOR_SCEP ? TLS_ASK_NEVER : TLS_ASK_OPTIONAL, &gateway->tls[i], err))
            return false;
    return true;
}

/* The operators' server has threads of its own: it answers while devices keep the front busy. */
static bool start_servers(struct gateway *gateway, struct cfg *cfg, struct err *err)
{
    const struct http_door front[] = {
        {&cfg->listen.scep, gateway->tls[DOOR_SCEP], false, false, front_scep(gateway->front)},
        {&cfg->listen.est, gateway->tls[DOOR_EST], true, true, front_est(gateway->front)},
    };
    const struct http_door admin[] = {
        {&cfg->listen.admin, gateway->tls[DOOR_ADMIN], true, false, front_admin(gateway->front)},
    };
    const struct http_conf confs[SERVER_COUNT] = {
        {"devices", front, 2, cfg, cores(), cfg->limits.threads, cfg->limits.body},
        {"operators", admin, 1, cfg, 1, ADMIN_THREADS, ADMIN_BODY_MAX},
    };
    for (unsigned i = 0; i < SERVER_COUNT; i++)
        if ((i != SERVER_ADMIN || cfg->listen.admin.count) &&
            !http_server_start(&confs[i], &gateway->servers[i], err))
            return false;
    front_watch(gateway->front, gateway->servers[SERVER_FRONT]);
    return true;
}

static bool start(struct gateway *gateway, struct ra_settings *settings, struct err *err)
{
    struct cfg *cfg = settings->cfg;
    gateway->metrics = metrics_new();
    if (!store_open(cfg->store, true, &gateway->store, err)) {
        ra_settings_free(settings);
        return false;
    }
    gateway->ra = ra_new(gateway->store, log_told);
    gateway->front = front_new(gateway->ra, gateway->metrics, settings);
    ra_apply(gateway->ra, settings);
    return start_tls(gateway, cfg, err) && start_servers(gateway, cfg, err) &&
           poller_start(gateway->ra, gateway->front, &gateway->poller, err) &&
           renewal_start(gateway->ra, gateway->front, gateway->metrics, &gateway->renewal, err);
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
            struct buf url = {0};
            cfg_url_text(&all[i].urls->items[k], &url);
            log_bytes(&line, all[i].name, buf_bytes(&url));
            buf_free(&url);
        }
    }
    log_end(&line);
}

/* Signals, one at a time, until one says to end; the watchdog's heartbeat in between. */
static void wait_for_end(struct gateway *gateway, const sigset_t *signals)
{
    struct timespec tick = {.tv_sec = TICK_SECONDS_MAX};
    service_heartbeat(&tick);
    for (;;) {
        int signal = sigtimedwait(signals, NULL, &tick);
        service_notify("WATCHDOG=1");
        if (signal == SIGHUP || signal == RENEWAL_SIGNAL)
            reload(gateway, signal == SIGHUP);
        else if (signal > 0)
            return;
    }
}

static int64_t drain_limit(struct front *front)
{
    struct ra_settings *settings = front_settings(front);
    int64_t limit = settings->cfg->limits.drain * 1000;
    ra_settings_free(settings);
    return limit;
}

/* Operators see the drain to its end. */
static void stop(struct gateway *gateway)
{
    int64_t limit = gateway->front ? drain_limit(gateway->front) : 0;
    for (unsigned i = 0; i < SERVER_COUNT; i++)
        if (gateway->servers[i] && !http_server_drain(gateway->servers[i], limit))
            log_text(LOG_WARN, "stopping", "requests are cut off: limits.drain is over");
    renewal_stop(gateway->renewal);
    poller_stop(gateway->poller);
    if (gateway->front)
        front_watch(gateway->front, NULL);
    for (unsigned i = 0; i < SERVER_COUNT; i++)
        http_server_stop(gateway->servers[i]);
    for (unsigned i = 0; i < DOOR_COUNT; i++)
        tls_free(gateway->tls[i]);
    front_free(gateway->front);
    if (!ra_free(gateway->ra)) {
        log_text(LOG_WARN, "stopping", "an upstream is still being asked; what it answers is lost");
        _exit(CMD_OK); /* what is under way is in the store, as under way */
    }
    store_close(gateway->store);
    revocation_free(gateway->revocation);
    metrics_free(gateway->metrics);
    buf_free(&gateway->text);
}

int cmd_serve(int argc, char **argv)
{
    static const struct cli_verb verbs[] = {{.name = "", .options = "c"}, {0}};
    struct cli cli = {.name = "serve", .usage = usage, .verbs = verbs};
    struct gateway gateway = {0};
    struct err err = {0};
    sigset_t signals;
    if (!cli_parse(&cli, argc, argv))
        return cli_parse_exit(&cli);
    /* Blocked before any thread starts: they are taken one at a time below. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, RENEWAL_SIGNAL);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    gateway.conf = cli.conf;
    if (!revocation_new(log_revocation, &gateway.revocation, &err)) {
        log_err(LOG_ERROR, "start", &err);
        return CMD_REFUSED;
    }
    struct ra_settings *settings = load(&gateway, &gateway.text);
    if (!settings) {
        revocation_free(gateway.revocation);
        buf_free(&gateway.text);
        return CMD_REFUSED;
    }
    if (!start(&gateway, settings, &err)) {
        log_err(LOG_ERROR, "start", &err);
        int code = gateway.store ? CMD_REFUSED : CMD_UNREACHABLE;
        stop(&gateway);
        return code;
    }
    log_ready(settings->cfg);
    service_notify("READY=1");
    wait_for_end(&gateway, &signals);
    service_notify("STOPPING=1");
    log_text(LOG_INFO, "stopping", "running requests may end");
    stop(&gateway);
    return CMD_OK;
}
