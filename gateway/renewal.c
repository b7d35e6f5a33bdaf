#include "gateway/renewal.h"

#include "base/clock.h"
#include "base/debug.h"
#include "base/log.h"
#include "gateway/renewal_files.h"
#include "ra/drive.h"

#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_SECONDS 1
#define DAY INT64_C(86400)
#define PATIENCE 600       /* with a CA that cannot be asked */
#define AGAIN_FAULT 60     /* after something of ours failed, or the CA asks for time */
#define AGAIN_REFUSED 3600 /* after a refusal */

/* One pair of an RA that renews itself. Kept over reloads, by name. */
struct item {
    char name[80];
    int64_t since;    /* the first attempt at this renewal */
    int64_t again_at; /* not before */
    int64_t warned_at;
};

struct renewal {
    struct ra *ra;
    struct front *front;
    struct metrics *metrics;
    struct item *items;
    size_t count;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t stopped;
    bool stop;
};

static struct item *item_of(struct renewal *renewal, const char *name)
{
    for (size_t i = 0; i < renewal->count; i++)
        if (strcmp(renewal->items[i].name, name) == 0)
            return &renewal->items[i];
    renewal->items = mem_resize(renewal->items, renewal->count + 1, sizeof *renewal->items);
    struct item *item = &renewal->items[renewal->count++];
    *item = (struct item){0};
    memcpy(item->name, name, strnlen(name, sizeof item->name - 1));
    return item;
}

static bool add_extension(STACK_OF(X509_EXTENSION) * list, X509_EXTENSION *extension)
{
    if (extension && sk_X509_EXTENSION_push(list, extension))
        return true;
    X509_EXTENSION_free(extension);
    return false;
}

/* The SANs of today's certificate, if it has any, and the usages that SCEP needs. */
static bool add_extensions(X509_REQ *req, X509 *today, const char *usage)
{
    STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    int at = X509_get_ext_by_NID(today, NID_subject_alt_name, -1);
    bool ok = list && add_extension(list, X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, usage)) &&
              (at < 0 || add_extension(list, X509_EXTENSION_dup(X509_get_ext(today, at)))) &&
              X509_REQ_add_extensions(req, list) == 1;
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    return ok;
}

/* One attempt at one pair. */
struct attempt {
    struct renewal *renewal;
    const struct ra_settings *settings;
    const struct cfg_identity *ra;
    const struct cfg_renewed *renewed;
    const struct cfg_ra_usage *usage;
    struct cfg_pair today;
    struct item *item;
    int64_t now;
};

/* The same key makes the same request: RSASSA-PKCS1-v1_5 has no random part. */
static bool make_csr(const struct attempt *attempt, EVP_PKEY *key, struct csr **ret,
                     struct err *err)
{
    X509 *x509 = cert_x509_get(attempt->today.chain.items[0]);
    X509_REQ *req = X509_REQ_new();
    unsigned char *der = NULL;
    bool ok = req && X509_REQ_set_version(req, X509_REQ_VERSION_1) &&
              X509_REQ_set_subject_name(req, X509_get_subject_name(x509)) &&
              X509_REQ_set_pubkey(req, key) && add_extensions(req, x509, attempt->usage->asked) &&
              X509_REQ_sign(req, key, EVP_sha256()) > 0;
    int len = ok ? i2d_X509_REQ(req, &der) : 0;
    ok = len > 0 ? csr_parse(bytes_of(der, (size_t)len), ret, err)
                 : err_openssl(err, ERR_LOCAL, "making a request for the RA");
    OPENSSL_free(der);
    X509_REQ_free(req);
    return ok;
}

/* The alarm: at once, and then daily. */
static void alarm_of(const struct attempt *attempt, const char *reason)
{
    struct log_line line;
    metrics_renewal(attempt->renewal->metrics, attempt->renewed->name, true);
    if (attempt->item->warned_at && attempt->now < attempt->item->warned_at + DAY &&
        attempt->now >= attempt->item->warned_at)
        return;
    attempt->item->warned_at = attempt->now;
    log_begin(&line, LOG_WARN, "ra-renewal");
    log_str(&line, "ra", attempt->renewed->name);
    log_num(&line, "days_left",
            (cert_not_after_get(attempt->today.chain.items[0]) - attempt->now) / DAY);
    log_str(&line, "reason", reason);
    log_end(&line);
}

/* What a CA may have made of the request, besides what ra/ has judged. */
static const char *unsuitable(const struct attempt *attempt, const struct cert *cert)
{
    if (!cfg_ra_usage_suits(attempt->usage, cert))
        return "the new certificate has a keyUsage that does not suit SCEP";
    if (cert_not_after_get(cert) <= cert_not_after_get(attempt->today.chain.items[0]))
        return "the new certificate does not last longer than today's";
    return NULL;
}

static void install(const struct attempt *attempt, EVP_PKEY *key, const struct ra_outcome *outcome)
{
    const struct cfg_renewed *renewed = attempt->renewed;
    const char *wrong = unsuitable(attempt, outcome->cert);
    const struct cfg_certs *chain = NULL;
    struct err err = {0};
    debug_boundary("ra-issued");
    if (wrong) {
        /* It would be given again for this key, so the next attempt is with another one. */
        renewal_key_drop(renewed);
        attempt->item->again_at = attempt->now + DAY;
        alarm_of(attempt, wrong);
        return;
    }
    if (outcome->upstream != SIZE_MAX) {
        struct upstream *up = attempt->settings->upstreams[outcome->upstream];
        if (up->vt->chain && !up->vt->chain(up, &chain, &err))
            chain = NULL;
    }
    if (!renewal_install(renewed, key, outcome->cert, chain, &err)) {
        attempt->item->again_at = attempt->now + AGAIN_FAULT;
        alarm_of(attempt, err.text);
        return;
    }
    struct log_line line;
    log_begin(&line, LOG_INFO, "ra-renewed");
    log_str(&line, "ra", renewed->name);
    log_str(&line, "serial", cert_serial_get(outcome->cert));
    log_str(&line, "file", renewed->file);
    log_end(&line);
    attempt->item->again_at = attempt->now + AGAIN_FAULT; /* by then it is in force */
    kill(getpid(), RENEWAL_SIGNAL);
}

/* A CA that asks for time has a day. One that is not there, or of which nobody knows what became of
 * the request, may be so again in a moment, but not for long: an operator may have to decide. */
static void judge_pending(const struct attempt *attempt, const struct ra_outcome *outcome)
{
    int64_t patience = outcome->with_ca ? DAY : PATIENCE;
    struct err why;
    attempt->item->again_at = attempt->now + AGAIN_FAULT;
    if (attempt->now < attempt->item->since + patience)
        return;
    err_set(&why, ERR_UPSTREAM, "request %s waits, %s: %s", outcome->request_id,
            outcome->with_ca ? "and the CA asks for time" : "and the CA has not answered",
            outcome->detail);
    alarm_of(attempt, why.text);
}

static void judge(const struct attempt *attempt, EVP_PKEY *key, const struct ra_outcome *outcome)
{
    switch (outcome->status) {
    case RA_ISSUED:
        install(attempt, key, outcome);
        break;
    case RA_PENDING:
        judge_pending(attempt, outcome);
        break;
    default:
        attempt->item->again_at = attempt->now + AGAIN_REFUSED;
        alarm_of(attempt, outcome->detail);
    }
}

/* A pair that is written and not in force: the settings could not be loaded with it. No second one
 * is asked for. */
static bool waits(const struct attempt *attempt, bool *ret, struct err *err)
{
    if (!renewal_newer(attempt->renewed, attempt->today.chain.items[0], ret, err))
        return false;
    if (*ret) {
        attempt->item->again_at = attempt->now + AGAIN_FAULT;
        alarm_of(attempt, "the renewed pair is written and could not be loaded");
        kill(getpid(), RENEWAL_SIGNAL);
    }
    return true;
}

/* The gateway asks for itself, as the one user of the profile that was made for this pair. */
static void renew(const struct attempt *attempt)
{
    struct ra_outcome outcome = {0};
    EVP_PKEY *key = NULL;
    struct csr *csr = NULL;
    struct err err = {0};
    bool written = false;
    if (!attempt->item->since)
        attempt->item->since = attempt->now;
    bool ok = waits(attempt, &written, &err);
    if (written)
        return;
    ok = ok && renewal_key(attempt->renewed, attempt->today.key, &key, &err) &&
         make_csr(attempt, key, &csr, &err);
    if (ok) {
        struct ra_request request = {
            .settings = attempt->settings,
            .profile = &attempt->settings->cfg->profiles[attempt->renewed->profile],
            .op = RA_ENROLL,
            .csr = csr,
            .evidence = {.principal = "gateway"},
            .origin = "gateway",
        };
        ok = ra_submit(attempt->renewal->ra, &request, &outcome, &err);
    }
    if (ok) {
        judge(attempt, key, &outcome);
    } else {
        attempt->item->again_at = attempt->now + AGAIN_FAULT;
        alarm_of(attempt, err.text);
    }
    ra_outcome_clear(&outcome);
    csr_free(csr);
    EVP_PKEY_free(key);
}

/* At half of its life at the earliest: a CA that issues for less than renew.before would be asked
 * without end. */
static int64_t due_at(const struct attempt *attempt)
{
    int64_t before = attempt->ra->renew.before;
    int64_t end = cert_not_after_get(attempt->today.chain.items[0]);
    int64_t half = (end - cert_not_before_get(attempt->today.chain.items[0])) / 2;
    return end - (before < half ? before : half);
}

static void look_at(const struct attempt *attempt)
{
    struct item *item = attempt->item;
    if (attempt->now < due_at(attempt)) {
        /* Of a process that died once the pair was written. */
        if (renewal_key_there(attempt->renewed))
            renewal_key_drop(attempt->renewed);
        metrics_renewal(attempt->renewal->metrics, attempt->renewed->name, false);
        item->since = item->again_at = item->warned_at = 0;
    } else if (attempt->now >= item->again_at || attempt->now < item->again_at - DAY) {
        renew(attempt);
    }
}

static void look(struct renewal *renewal)
{
    struct ra_settings *settings = front_settings(renewal->front);
    for (size_t i = 0; i < settings->cfg->ra_count; i++) {
        const struct cfg_identity *ra = &settings->cfg->ras[i];
        size_t pairs = ra->renew.given ? cfg_ra_pairs(ra) : 0;
        for (size_t role = 0; role < pairs; role++) {
            const struct cfg_renewed *renewed = &ra->renew.pairs[role];
            struct attempt attempt = {
                .renewal = renewal,
                .settings = settings,
                .ra = ra,
                .renewed = renewed,
                .usage = cfg_ra_usage((enum cfg_ra_role)role, pairs > 1),
                .today = cfg_ra_pair(ra, (enum cfg_ra_role)role),
                .item = item_of(renewal, renewed->name),
                .now = clock_now(),
            };
            look_at(&attempt);
        }
    }
    ra_settings_free(settings);
}

/* Waits a period; false when it is time to end. */
static bool wait(struct renewal *renewal)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PERIOD_SECONDS;
    pthread_mutex_lock(&renewal->mutex);
    if (!renewal->stop)
        pthread_cond_timedwait(&renewal->stopped, &renewal->mutex, &until);
    bool go_on = !renewal->stop;
    pthread_mutex_unlock(&renewal->mutex);
    return go_on;
}

static void *renewal_main(void *arg)
{
    struct renewal *renewal = arg;
    while (wait(renewal))
        look(renewal);
    return NULL;
}

bool renewal_start(struct ra *ra, struct front *front, struct metrics *metrics,
                   struct renewal **ret, struct err *err)
{
    pthread_condattr_t attr;
    struct renewal *renewal = mem_zalloc(sizeof *renewal);
    *renewal = (struct renewal){.ra = ra, .front = front, .metrics = metrics};
    pthread_mutex_init(&renewal->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&renewal->stopped, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&renewal->thread, NULL, renewal_main, renewal) != 0) {
        free(renewal);
        return err_set(err, ERR_LOCAL, "no thread for renewals");
    }
    *ret = renewal;
    return true;
}

void renewal_stop(struct renewal *renewal)
{
    if (!renewal)
        return;
    pthread_mutex_lock(&renewal->mutex);
    renewal->stop = true;
    pthread_cond_signal(&renewal->stopped);
    pthread_mutex_unlock(&renewal->mutex);
    pthread_join(renewal->thread, NULL);
    pthread_mutex_destroy(&renewal->mutex);
    pthread_cond_destroy(&renewal->stopped);
    free(renewal->items);
    free(renewal);
}
