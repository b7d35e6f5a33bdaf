#include "gateway/metrics.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SERIES_MAX 256 /* doors x operations x outcomes x reasons that occur */
#define BUCKETS 8
#define LEGACY_MAX 16 /* sets of old algorithms */
#define CSRS_MAX 4    /* digests of CSRs */

static const int bounds_ms[BUCKETS] = {5, 10, 25, 50, 100, 500, 2000, 10000};

struct series {
    const char *door, *operation, *outcome, *reason; /* static text */
    uint64_t count;
};

/* An RA that renews itself. */
struct renewing {
    char *ra;
    bool failing;
};

struct metrics {
    pthread_mutex_t mutex;
    struct series series[SERIES_MAX];
    size_t series_count;
    uint64_t buckets[BUCKETS + 1];
    uint64_t total_ms, total;
    uint64_t lenient[EST_LENIENT_COUNT];
    struct old {
        const char *algorithms; /* static text */
        uint64_t count;
    } legacy[LEGACY_MAX], csrs[CSRS_MAX];
    uint64_t reloads[2]; /* failed, done */
    struct renewing *renewing;
    size_t renewing_count;
};

struct metrics *metrics_new(void)
{
    struct metrics *metrics = mem_zalloc(sizeof *metrics);
    pthread_mutex_init(&metrics->mutex, NULL);
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    pthread_mutex_destroy(&metrics->mutex);
    for (size_t i = 0; i < metrics->renewing_count; i++)
        free(metrics->renewing[i].ra);
    free(metrics->renewing);
    free(metrics);
}

static const char *or_none(const char *text)
{
    return text ? text : "none";
}

static struct series *series_of(struct metrics *metrics, const struct series *key)
{
    for (size_t i = 0; i < metrics->series_count; i++) {
        struct series *s = &metrics->series[i];
        if (strcmp(s->door, key->door) == 0 && strcmp(s->operation, key->operation) == 0 &&
            strcmp(s->outcome, key->outcome) == 0 && strcmp(s->reason, key->reason) == 0)
            return s;
    }
    if (metrics->series_count == SERIES_MAX)
        return NULL;
    metrics->series[metrics->series_count] = *key;
    return &metrics->series[metrics->series_count++];
}

static void count_old(struct old *olds, size_t max, const char *algorithms)
{
    for (size_t i = 0; algorithms && i < max; i++) {
        if (olds[i].algorithms && strcmp(olds[i].algorithms, algorithms) != 0)
            continue;
        olds[i].algorithms = algorithms;
        olds[i].count++;
        return;
    }
}

void metrics_count(struct metrics *metrics, const char *door, const struct ra_note *note,
                   int64_t milliseconds)
{
    struct series key = {door, or_none(note->operation), or_none(note->outcome),
                         or_none(note->reason), 0};
    unsigned bucket = 0;
    while (bucket < BUCKETS && milliseconds > bounds_ms[bucket])
        bucket++;
    pthread_mutex_lock(&metrics->mutex);
    struct series *series = series_of(metrics, &key);
    if (series)
        series->count++;
    count_old(metrics->legacy, LEGACY_MAX, note->legacy);
    count_old(metrics->csrs, CSRS_MAX, note->csr_digest);
    metrics->buckets[bucket]++;
    metrics->total++;
    metrics->total_ms += (uint64_t)milliseconds;
    pthread_mutex_unlock(&metrics->mutex);
}

void metrics_lenient(struct metrics *metrics, const bool lenient[EST_LENIENT_COUNT])
{
    pthread_mutex_lock(&metrics->mutex);
    for (unsigned i = 0; i < EST_LENIENT_COUNT; i++)
        metrics->lenient[i] += lenient[i];
    pthread_mutex_unlock(&metrics->mutex);
}

void metrics_reload(struct metrics *metrics, bool ok)
{
    pthread_mutex_lock(&metrics->mutex);
    metrics->reloads[ok]++;
    pthread_mutex_unlock(&metrics->mutex);
}

void metrics_renewal(struct metrics *metrics, const char *ra, bool failing)
{
    size_t i = 0;
    pthread_mutex_lock(&metrics->mutex);
    while (i < metrics->renewing_count && strcmp(metrics->renewing[i].ra, ra) != 0)
        i++;
    if (i == metrics->renewing_count) {
        metrics->renewing = mem_resize(metrics->renewing, i + 1, sizeof *metrics->renewing);
        metrics->renewing[metrics->renewing_count++].ra = mem_strdup(ra);
    }
    metrics->renewing[i].failing = failing;
    pthread_mutex_unlock(&metrics->mutex);
}

static bool print_renewals(const struct metrics *metrics, struct buf *out)
{
    bool ok = buf_add_str(out, "# HELP scepter_ra_renewal_failing Whether the certificate of an RA "
                               "is due for renewal and not renewed.\n"
                               "# TYPE scepter_ra_renewal_failing gauge\n");
    for (size_t i = 0; i < metrics->renewing_count && ok; i++)
        ok = buf_add_fmt(out, "scepter_ra_renewal_failing{ra=\"%s\"} %d\n", metrics->renewing[i].ra,
                         metrics->renewing[i].failing);
    return ok;
}

static bool print_requests(const struct metrics *metrics, struct buf *out)
{
    bool ok = buf_add_str(out, "# HELP scepter_requests_total Requests answered.\n"
                               "# TYPE scepter_requests_total counter\n");
    for (size_t i = 0; i < metrics->series_count && ok; i++) {
        const struct series *s = &metrics->series[i];
        ok =
            buf_add_fmt(out,
                        "scepter_requests_total{door=\"%s\",operation=\"%s\",outcome=\"%s\","
                        "reason=\"%s\"} %llu\n",
                        s->door, s->operation, s->outcome, s->reason, (unsigned long long)s->count);
    }
    return ok;
}

static bool print_lenient(const struct metrics *metrics, struct buf *out)
{
    bool ok = buf_add_str(out, "# HELP scepter_est_lenient_total Requests accepted though they are "
                               "not as RFC 8951 has them.\n"
                               "# TYPE scepter_est_lenient_total counter\n");
    for (unsigned i = 0; i < EST_LENIENT_COUNT && ok; i++)
        ok = buf_add_fmt(out, "scepter_est_lenient_total{kind=\"%s\"} %llu\n",
                         est_lenient_name((enum cfg_lenient)i),
                         (unsigned long long)metrics->lenient[i]);
    return ok;
}

static bool print_legacy(const struct metrics *metrics, struct buf *out)
{
    bool ok =
        buf_add_str(out, "# HELP scepter_scep_legacy_total SCEP requests with old algorithms that "
                         "their profile takes.\n"
                         "# TYPE scepter_scep_legacy_total counter\n");
    for (size_t i = 0; ok && i < LEGACY_MAX && metrics->legacy[i].algorithms; i++)
        ok = buf_add_fmt(out, "scepter_scep_legacy_total{algorithms=\"%s\"} %llu\n",
                         metrics->legacy[i].algorithms,
                         (unsigned long long)metrics->legacy[i].count);
    ok = ok && buf_add_str(out, "# HELP scepter_scep_csr_digest_total SCEP requests whose CSR is "
                                "signed over an old digest.\n"
                                "# TYPE scepter_scep_csr_digest_total counter\n");
    for (size_t i = 0; ok && i < CSRS_MAX && metrics->csrs[i].algorithms; i++)
        ok = buf_add_fmt(out, "scepter_scep_csr_digest_total{digest=\"%s\"} %llu\n",
                         metrics->csrs[i].algorithms, (unsigned long long)metrics->csrs[i].count);
    return ok;
}

static bool print_durations(const struct metrics *metrics, struct buf *out)
{
    uint64_t sum = 0;
    bool ok = buf_add_str(out, "# HELP scepter_request_seconds Time from request to reply.\n"
                               "# TYPE scepter_request_seconds histogram\n");
    for (unsigned i = 0; i < BUCKETS && ok; i++) {
        sum += metrics->buckets[i];
        ok = buf_add_fmt(out, "scepter_request_seconds_bucket{le=\"%g\"} %llu\n",
                         bounds_ms[i] / 1000.0, (unsigned long long)sum);
    }
    return ok && buf_add_fmt(out,
                             "scepter_request_seconds_bucket{le=\"+Inf\"} %llu\n"
                             "scepter_request_seconds_sum %g\n"
                             "scepter_request_seconds_count %llu\n",
                             (unsigned long long)metrics->total, (double)metrics->total_ms / 1000.0,
                             (unsigned long long)metrics->total);
}

static bool print_states(struct store *store, struct buf *out)
{
    int64_t counts[TXN_STATE_COUNT];
    struct err err;
    if (!store->vt->request_counts(store, counts, &err))
        return true; /* /readyz tells of a broken store */
    bool ok = buf_add_str(out, "# HELP scepter_stored_requests Requests in the store by state.\n"
                               "# TYPE scepter_stored_requests gauge\n");
    for (unsigned i = 0; i < TXN_STATE_COUNT && ok; i++)
        ok = buf_add_fmt(out, "scepter_stored_requests{state=\"%s\"} %lld\n",
                         txn_state_name((enum txn_state)i), (long long)counts[i]);
    return ok;
}

static bool print_cert_end(struct buf *out, const char *role, const char *name,
                           const struct cert *cert)
{
    return !cert ||
           buf_add_fmt(out, "scepter_certificate_not_after_seconds{role=\"%s\",name=\"%s\"} %lld\n",
                       role, name, (long long)cert_not_after_get(cert));
}

static bool print_end(struct buf *out, const char *role, const char *name,
                      const struct cfg_certs *certs)
{
    return print_cert_end(out, role, name, certs->count ? certs->items[0] : NULL);
}

static bool print_ends(const struct ra_settings *settings, struct buf *out)
{
    const struct cfg *cfg = settings->cfg;
    struct err err;
    bool ok = buf_add_str(out, "# HELP scepter_certificate_not_after_seconds When our own "
                               "certificates end.\n"
                               "# TYPE scepter_certificate_not_after_seconds gauge\n") &&
              print_end(out, "tls", "server", &cfg->tls.identity.chain);
    for (size_t i = 0; i < cfg->ra_count && ok; i++)
        ok = print_end(out, "ra", cfg->ras[i].name, &cfg->ras[i].chain) &&
             print_end(out, "ra-encryption", cfg->ras[i].name, &cfg->ras[i].encryption.chain);
    for (size_t i = 0; i < cfg->upstream_count && ok; i++) {
        struct upstream *up = settings->upstreams[i];
        const struct cfg_certs *chain;
        const struct cert *ours = up->vt->credential ? up->vt->credential(up) : NULL;
        if (up->vt->chain && up->vt->chain(up, &chain, &err))
            ok = print_end(out, "upstream", up->name, chain);
        ok = ok && print_cert_end(out, "upstream-client", up->name, ours);
    }
    return ok;
}

bool metrics_print(struct metrics *metrics, struct store *store, const struct ra_settings *settings,
                   struct buf *out)
{
    pthread_mutex_lock(&metrics->mutex);
    bool ok = buf_add_fmt(out,
                          "# HELP scepter_info The running version.\n"
                          "# TYPE scepter_info gauge\n"
                          "scepter_info{version=\"%s\",openssl=\"%s\"} 1\n"
                          "# HELP scepter_generation Configurations taken since the start.\n"
                          "# TYPE scepter_generation gauge\n"
                          "scepter_generation %llu\n"
                          "# HELP scepter_reloads_total Reloads by result.\n"
                          "# TYPE scepter_reloads_total counter\n"
                          "scepter_reloads_total{result=\"failed\"} %llu\n"
                          "scepter_reloads_total{result=\"done\"} %llu\n",
                          SCEPTER_VERSION, OpenSSL_version(OPENSSL_VERSION_STRING),
                          (unsigned long long)settings->generation,
                          (unsigned long long)metrics->reloads[0],
                          (unsigned long long)metrics->reloads[1]) &&
              print_renewals(metrics, out) && print_requests(metrics, out) &&
              print_lenient(metrics, out) && print_legacy(metrics, out) &&
              print_durations(metrics, out);
    pthread_mutex_unlock(&metrics->mutex);
    return ok && print_states(store, out) && print_ends(settings, out);
}

bool metrics_print_gate(const struct gate_counts *counts, struct buf *out)
{
    bool ok = buf_add_fmt(
        out,
        "# HELP scepter_connections Open connections: they wait for their peer, or are served.\n"
        "# TYPE scepter_connections gauge\n"
        "scepter_connections{state=\"waiting\"} %llu\n"
        "scepter_connections{state=\"serving\"} %llu\n"
        "# HELP scepter_requests_malformed_total Requests that were refused unread.\n"
        "# TYPE scepter_requests_malformed_total counter\n"
        "scepter_requests_malformed_total %llu\n"
        "# HELP scepter_tls_handshakes_failed_total TLS handshakes that came to nothing.\n"
        "# TYPE scepter_tls_handshakes_failed_total counter\n"
        "scepter_tls_handshakes_failed_total %llu\n"
        "# HELP scepter_connections_shed_total Connections closed or turned away, by reason.\n"
        "# TYPE scepter_connections_shed_total counter\n",
        (unsigned long long)counts->waiting, (unsigned long long)counts->serving,
        (unsigned long long)counts->malformed, (unsigned long long)counts->tls_failed);
    for (unsigned i = 0; i < GATE_SHED_COUNT && ok; i++)
        ok = buf_add_fmt(out, "scepter_connections_shed_total{reason=\"%s\"} %llu\n",
                         gate_shed_name((enum gate_shed)i), (unsigned long long)counts->shed[i]);
    return ok;
}

static bool print_line(const char *name, const struct line_state *state, struct buf *out)
{
    static const char *const breakers[] = {
        [LINE_CLOSED] = "closed", [LINE_OPEN] = "open", [LINE_HALF_OPEN] = "half-open"};
    bool ok = buf_add_fmt(out,
                          "scepter_upstream_requests{upstream=\"%s\",state=\"waiting\"} %zu\n"
                          "scepter_upstream_requests{upstream=\"%s\",state=\"running\"} %zu\n"
                          "scepter_upstream_asked_total{upstream=\"%s\",result=\"fine\"} %llu\n"
                          "scepter_upstream_asked_total{upstream=\"%s\",result=\"failed\"} %llu\n",
                          name, state->waiting, name, state->running, name,
                          (unsigned long long)state->fine, name, (unsigned long long)state->failed);
    for (unsigned i = 0; i < sizeof breakers / sizeof breakers[0] && ok; i++)
        ok = buf_add_fmt(out, "scepter_upstream_breaker{upstream=\"%s\",state=\"%s\"} %d\n", name,
                         breakers[i], state->breaker == (enum line_breaker)i);
    return ok;
}

bool metrics_print_lines(struct lines *lines, const struct ra_settings *settings, struct buf *out)
{
    bool ok = buf_add_str(
        out, "# HELP scepter_upstream_requests Requests in line for an upstream CA.\n"
             "# TYPE scepter_upstream_requests gauge\n"
             "# HELP scepter_upstream_asked_total Exchanges with an upstream CA, by result.\n"
             "# TYPE scepter_upstream_asked_total counter\n"
             "# HELP scepter_upstream_breaker Whether an upstream CA is left alone.\n"
             "# TYPE scepter_upstream_breaker gauge\n");
    for (size_t i = 0; i < settings->cfg->upstream_count && ok; i++) {
        struct line_state state;
        const char *name = settings->cfg->upstreams[i].name;
        if (lines_state(lines, name, &state))
            ok = print_line(name, &state, out);
    }
    return ok;
}

bool metrics_print_revocation(struct revocation *revocation, struct buf *out)
{
    static const char *const kinds[REVOCATION_FETCHED_COUNT] = {
        [REVOCATION_CRL] = "crl", [REVOCATION_OCSP] = "ocsp"};
    struct revocation_counts counts;
    if (!revocation)
        return true;
    revocation_counts_get(revocation, &counts);
    bool ok = buf_add_fmt(
        out,
        "# HELP scepter_revocation_kept What is kept: CRLs, their bytes, and OCSP answers.\n"
        "# TYPE scepter_revocation_kept gauge\n"
        "scepter_revocation_kept{what=\"crls\"} %zu\n"
        "scepter_revocation_kept{what=\"crl_bytes\"} %zu\n"
        "scepter_revocation_kept{what=\"ocsp\"} %zu\n"
        "# HELP scepter_revocation_allowed_total Certificates that soft_fail let pass unchecked.\n"
        "# TYPE scepter_revocation_allowed_total counter\n"
        "scepter_revocation_allowed_total %llu\n"
        "# HELP scepter_revocation_checks_total Certificates checked, by what was found.\n"
        "# TYPE scepter_revocation_checks_total counter\n",
        counts.crls, counts.crl_bytes, counts.answers, (unsigned long long)counts.allowed);
    for (unsigned i = 0; i < REVOCATION_STATUS_COUNT && ok; i++)
        ok = buf_add_fmt(out, "scepter_revocation_checks_total{status=\"%s\"} %llu\n",
                         revocation_status_name((enum revocation_status)i),
                         (unsigned long long)counts.checks[i]);
    ok = ok && buf_add_str(out, "# HELP scepter_revocation_fetches_total Fetches, by result.\n"
                                "# TYPE scepter_revocation_fetches_total counter\n");
    for (unsigned i = 0; i < REVOCATION_FETCHED_COUNT && ok; i++)
        ok = buf_add_fmt(out,
                         "scepter_revocation_fetches_total{kind=\"%s\",result=\"failed\"} %llu\n"
                         "scepter_revocation_fetches_total{kind=\"%s\",result=\"fine\"} %llu\n",
                         kinds[i], (unsigned long long)counts.fetches[i][0], kinds[i],
                         (unsigned long long)counts.fetches[i][1]);
    return ok;
}
