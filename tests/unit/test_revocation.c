#include "base/clock.h"
#include "base/revocation.h"
#include "tests/support/revocation_make.h"

#include <arpa/inet.h>
#include <openssl/ocsp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define DAY INT64_C(86400)
#define WAIT_MS 8000
#define SERIAL 7

/* What the server does. */
enum mode { SERVE = 0, FAIL, HANG, HUGE_REPLY };

/* A web server of our own: /crl has what is set, /ocsp answers with what is set. */
struct site {
    int fd;
    pthread_t thread;
    char crl[64], ocsp[64], under[64], point[64];
    pthread_mutex_t mutex;
    struct buf list;     /* of /crl */
    int status;          /* of /ocsp: V_OCSP_CERTSTATUS_... */
    atomic_int ocsp_age; /* seconds */
    atomic_int mode;
    atomic_uint crl_asked, ocsp_asked;
    atomic_bool stop;
    EVP_PKEY *key;
    X509 *ca, *cert, *other;
    struct revocation *revocation;
};

static atomic_uint told_count;

static void told(const char *url, const struct err *err)
{
    assert_non_null(url);
    assert_true(err->text[0]);
    told_count++;
}

static void reply(int fd, struct bytes body)
{
    char head[128];
    int len =
        snprintf(head, sizeof head,
                 "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", body.len);
    if (write(fd, head, (size_t)len) != len || write(fd, body.ptr, body.len) != (ssize_t)body.len)
        return;
}

static void answer_ocsp(struct site *site, int fd, struct bytes request)
{
    struct ocsp_spec spec = {.subject = site->cert,
                             .issuer = site->ca,
                             .key = site->key,
                             .status = site->status,
                             .this_update = clock_now() - site->ocsp_age,
                             .request = request};
    struct buf der = make_ocsp(&spec);
    site->ocsp_asked++;
    reply(fd, buf_bytes(&der));
    buf_free(&der);
}

static void serve(struct site *site, int fd)
{
    char text[8192];
    size_t len = 0;
    char *body = NULL;
    size_t want = 0;
    while (len < sizeof text - 1 && (!body || len < want)) {
        ssize_t n = read(fd, text + len, sizeof text - 1 - len);
        if (n <= 0)
            return;
        len += (size_t)n;
        text[len] = 0;
        body = body ? body : strstr(text, "\r\n\r\n");
        const char *length = strstr(text, "Content-Length: ");
        if (body)
            want = (size_t)(body + 4 - text) + (length ? strtoul(length + 16, NULL, 10) : 0);
    }
    if (site->mode == HANG) {
        while (site->mode == HANG && !site->stop)
            usleep(10000);
        return;
    }
    if (site->mode == FAIL) {
        static const char no[] = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
        site->crl_asked += strncmp(text, "GET", 3) == 0;
        (void)!write(fd, no, sizeof no - 1);
        return;
    }
    pthread_mutex_lock(&site->mutex);
    if (site->mode == HUGE_REPLY) {
        static uint8_t zeros[9 << 20];
        reply(fd, bytes_of(zeros, sizeof zeros));
    } else if (strncmp(text, "POST", 4) == 0 && body) {
        answer_ocsp(site, fd, bytes_of(body + 4, (size_t)(text + len - body - 4)));
    } else {
        site->crl_asked++;
        reply(fd, buf_bytes(&site->list));
    }
    pthread_mutex_unlock(&site->mutex);
}

static void *site_main(void *arg)
{
    struct site *site = arg;
    while (!site->stop) {
        int fd = accept(site->fd, NULL, NULL);
        if (fd >= 0) {
            serve(site, fd);
            close(fd);
        }
    }
    return NULL;
}

static void publish(struct site *site, const struct crl_spec *spec)
{
    struct crl_spec whole = *spec;
    whole.issuer = "CN=ca";
    if (!whole.key)
        whole.key = site->key;
    pthread_mutex_lock(&site->mutex);
    buf_free(&site->list);
    site->list = make_crl(&whole);
    pthread_mutex_unlock(&site->mutex);
}

static int setup(void **state)
{
    struct site *site = mem_zalloc(sizeof *site);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    struct err err;
    site->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(site->fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(site->fd, 64), 0);
    assert_int_equal(getsockname(site->fd, (struct sockaddr *)&address, &len), 0);
    unsigned port = ntohs(address.sin_port);
    snprintf(site->crl, sizeof site->crl, "http://127.0.0.1:%u/crl", port);
    snprintf(site->ocsp, sizeof site->ocsp, "http://127.0.0.1:%u/ocsp", port);
    snprintf(site->under, sizeof site->under, "http://127.0.0.1:%u/a/", port);
    pthread_mutex_init(&site->mutex, NULL);
    site->key = make_ec("P-256");
    site->ca =
        make_x509(&(struct make_spec){.subject = "CN=ca", .ca = true}, site->key, NULL, NULL);
    snprintf(site->point, sizeof site->point, "URI:http://127.0.0.1:%u/a/%%41.crl", port);
    const char *points[] = {"crlDistributionPoints", site->point, NULL};
    site->cert =
        make_x509(&(struct make_spec){.subject = "CN=d", .serial = SERIAL, .extensions = points},
                  site->key, site->ca, site->key);
    snprintf(site->point, sizeof site->point, "URI:http://127.0.0.1:%u/a/%%2e./x", port);
    site->other = make_x509(
        &(struct make_spec){.subject = "CN=d", .serial = SERIAL + 1, .extensions = points},
        site->key, site->ca, site->key);
    publish(site, &(struct crl_spec){0});
    assert_true(revocation_new(told, &site->revocation, &err));
    assert_int_equal(pthread_create(&site->thread, NULL, site_main, site), 0);
    told_count = 0;
    *state = site;
    return 0;
}

static int teardown(void **state)
{
    struct site *site = *state;
    site->stop = true;
    shutdown(site->fd, SHUT_RDWR);
    pthread_join(site->thread, NULL);
    close(site->fd);
    revocation_free(site->revocation);
    buf_free(&site->list);
    X509_free(site->ca);
    X509_free(site->cert);
    X509_free(site->other);
    EVP_PKEY_free(site->key);
    pthread_mutex_destroy(&site->mutex);
    free(site);
    clock_set(0);
    return 0;
}

static enum revocation_status check_for(struct site *site, const struct revocation_source *source,
                                        int64_t milliseconds)
{
    struct revocation_pair pair = {site->cert, site->ca};
    struct err why;
    return revocation_check(site->revocation, source, &pair, clock_mono_ms() + milliseconds, &why);
}

static enum revocation_status check(struct site *site, const struct revocation_source *source)
{
    return check_for(site, source, WAIT_MS);
}

static const int64_t serials[] = {SERIAL};
static const struct crl_spec revoked = {.serials = serials, .count = 1};

/* A source by CRL, in a place of its own. */
#define BY_CRL(site, seconds)                                                                      \
    {                                                                                              \
        .crl = (const char *const[]){(site)->crl}, .crl_count = 1, .refresh = (seconds)            \
    }

/* A CRL is fetched once and serves all. */
static void test_crl_once(void **state)
{
    struct site *site = *state;
    struct revocation_source source = BY_CRL(site, 3600);
    assert_int_equal(check(site, &source), REVOCATION_GOOD);
    assert_int_equal(check(site, &source), REVOCATION_GOOD);
    assert_int_equal(site->crl_asked, 1);
}

/* A certificate is good until a CRL that was fetched later lists it, which happens behind the
 * requests. */
static void test_crl(void **state)
{
    struct site *site = *state;
    struct revocation_source source = BY_CRL(site, 1);
    struct revocation_counts counts;
    assert_int_equal(check(site, &source), REVOCATION_GOOD);
    assert_int_equal(check(site, &source), REVOCATION_GOOD);
    publish(site, &revoked);
    for (int i = 0; i < 2000 && check_for(site, &source, 0) != REVOCATION_REVOKED; i++)
        usleep(20000);
    assert_int_equal(check_for(site, &source, 0), REVOCATION_REVOKED);
    revocation_counts_get(site->revocation, &counts);
    assert_int_equal(counts.crls, 1);
    assert_true(counts.crl_bytes > 0);
    assert_true(counts.checks[REVOCATION_GOOD] >= 2);
    assert_true(counts.checks[REVOCATION_REVOKED] >= 1);
    assert_true(counts.fetches[REVOCATION_CRL][1] >= 2);
    assert_int_equal(counts.fetches[REVOCATION_CRL][0], 0);
    assert_int_equal(told_count, 0);
}

/* Who watches beforehand does not wait. */
static void test_watch(void **state)
{
    struct site *site = *state;
    struct revocation_source source = BY_CRL(site, 3600);
    struct revocation_counts counts = {0};
    revocation_watch(site->revocation, &source, site->ca);
    for (int i = 0; i < 2000 && !counts.crls; i++) {
        usleep(20000);
        revocation_counts_get(site->revocation, &counts);
    }
    assert_int_equal(check_for(site, &source, 0), REVOCATION_GOOD);
    assert_int_equal(site->crl_asked, 1);
}

/* A list of a look-alike issuer, an expired one, a huge one and a failing server say nothing; the
 * server is then left alone for a while, and nobody waits for it. */
static void test_bad_lists(void **state)
{
    struct site *site = *state;
    struct revocation_source source = BY_CRL(site, 3600);
    EVP_PKEY *key = make_ec("P-256");
    struct err why;
    struct revocation_pair pair = {site->cert, site->ca};
    publish(site, &(struct crl_spec){.next_update = clock_now() - 10});
    assert_int_equal(
        revocation_check(site->revocation, &source, &pair, clock_mono_ms() + WAIT_MS, &why),
        REVOCATION_UNKNOWN);
    assert_non_null(strstr(why.text, "has expired"));
    for (int i = 0; i < 2000 && !told_count; i++)
        usleep(20000);
    assert_int_equal(told_count, 1);
    int64_t before = clock_mono_ms();
    assert_int_equal(check(site, &source), REVOCATION_UNKNOWN);
    assert_true(clock_mono_ms() - before < WAIT_MS / 2);
    assert_int_equal(site->crl_asked, 1);
    revocation_free(site->revocation);
    assert_true(revocation_new(told, &site->revocation, &why));
    publish(site, &(struct crl_spec){.key = key});
    assert_int_equal(check(site, &source), REVOCATION_UNKNOWN);
    revocation_free(site->revocation);
    assert_true(revocation_new(told, &site->revocation, &why));
    site->mode = HUGE_REPLY;
    assert_int_equal(check(site, &source), REVOCATION_UNKNOWN);
    revocation_free(site->revocation);
    assert_true(revocation_new(told, &site->revocation, &why));
    site->mode = FAIL;
    assert_int_equal(check(site, &source), REVOCATION_UNKNOWN);
    EVP_PKEY_free(key);
}

/* A list that we have counts up to its nextUpdate, though the server is gone, and no longer; but
 * what it listed is not forgotten. One that is older than it is a replay. */
static void test_kept(void **state)
{
    struct site *site = *state;
    struct revocation_source source = BY_CRL(site, 1);
    int64_t now = clock_now();
    publish(site,
            &(struct crl_spec){
                .serials = serials, .count = 1, .this_update = now - 10, .next_update = now + DAY});
    assert_int_equal(check(site, &source), REVOCATION_REVOKED);
    publish(site, &(struct crl_spec){.this_update = now - 20, .next_update = now + 2 * DAY});
    for (int i = 0; i < 2000 && site->crl_asked < 2; i++)
        usleep(20000);
    usleep(200000);
    assert_int_equal(check_for(site, &source, 0), REVOCATION_REVOKED);
    site->mode = FAIL;
    assert_int_equal(check_for(site, &source, 0), REVOCATION_REVOKED);
    struct revocation_pair other = {site->other, site->ca};
    struct err why;
    assert_int_equal(revocation_check(site->revocation, &source, &other, 0, &why), REVOCATION_GOOD);
    clock_set(now + DAY);
    assert_int_equal(revocation_check(site->revocation, &source, &other, 0, &why),
                     REVOCATION_UNKNOWN);
    assert_int_equal(check_for(site, &source, 0), REVOCATION_REVOKED);
}

/* What a responder said before it revoked a certificate is a replay, valid as it may be, and the
 * word of a responder that is gone is not forgotten. */
static void test_ocsp_kept(void **state)
{
    struct site *site = *state;
    struct revocation_source source = {.ocsp = site->ocsp, .refresh = 0};
    int64_t now = clock_now();
    site->status = V_OCSP_CERTSTATUS_REVOKED;
    assert_int_equal(check(site, &source), REVOCATION_REVOKED);
    site->status = V_OCSP_CERTSTATUS_GOOD;
    site->ocsp_age = 60;
    assert_int_equal(check(site, &source), REVOCATION_REVOKED);
    for (int i = 0; i < 2000 && !told_count; i++)
        usleep(20000);
    assert_int_equal(told_count, 1);
    assert_true(site->ocsp_asked >= 2);
    assert_int_equal(check(site, &source), REVOCATION_REVOKED);
    clock_set(now + DAY);
    assert_int_equal(check_for(site, &source, 0), REVOCATION_REVOKED);
}

/* A certificate's own word for where its CRL is counts under what is configured, and nowhere else,
 * however it is written. */
static void test_points(void **state)
{
    struct site *site = *state;
    const char *under[] = {site->under}, *elsewhere[] = {"http://127.0.0.1/"};
    struct revocation_source source = {.crl_under = elsewhere, .crl_under_count = 1, .refresh = 60};
    assert_int_equal(check(site, &source), REVOCATION_UNKNOWN);
    assert_int_equal(site->crl_asked, 0);
    source.crl_under = under;
    assert_int_equal(check(site, &source), REVOCATION_GOOD);
    X509 *cert = site->cert;
    site->cert = site->other;
    assert_int_equal(check(site, &source), REVOCATION_UNKNOWN);
    site->cert = cert;
    assert_int_equal(site->crl_asked, 1);
}

/* A responder is asked about each certificate, its answer kept for the time that is configured. */
static void test_ocsp(void **state)
{
    struct site *site = *state;
    struct revocation_source source = {.ocsp = site->ocsp, .refresh = 60};
    struct revocation_counts counts;
    site->status = V_OCSP_CERTSTATUS_GOOD;
    assert_int_equal(check(site, &source), REVOCATION_GOOD);
    assert_int_equal(check(site, &source), REVOCATION_GOOD);
    assert_int_equal(site->ocsp_asked, 1);
    site->status = V_OCSP_CERTSTATUS_REVOKED;
    source.refresh = 0;
    for (int i = 0; i < 2000 && check(site, &source) != REVOCATION_REVOKED; i++)
        usleep(20000);
    assert_int_equal(check(site, &source), REVOCATION_REVOKED);
    revocation_counts_get(site->revocation, &counts);
    assert_int_equal(counts.answers, 1);
}

/* An answer that is of no use keeps nobody waiting but who asked: the responder works. */
static void test_ocsp_useless(void **state)
{
    struct site *site = *state;
    struct revocation_source source = {.ocsp = site->ocsp, .refresh = 60};
    struct revocation_pair other = {site->other, site->ca}; /* it answers about site->cert */
    struct err why;
    site->status = V_OCSP_CERTSTATUS_GOOD;
    assert_int_equal(
        revocation_check(site->revocation, &source, &other, clock_mono_ms() + WAIT_MS, &why),
        REVOCATION_UNKNOWN);
    assert_non_null(strstr(why.text, "about another certificate"));
    assert_int_equal(
        revocation_check(site->revocation, &source, &other, clock_mono_ms() + WAIT_MS, &why),
        REVOCATION_UNKNOWN);
    assert_int_equal(site->ocsp_asked, 1);
    assert_int_equal(check(site, &source), REVOCATION_GOOD);
    assert_int_equal(site->ocsp_asked, 2);
}

/* Any source that says revoked is believed; when the responder is gone, a CRL will do. */
static void test_both(void **state)
{
    struct site *site = *state;
    struct revocation_source source = BY_CRL(site, 3600);
    publish(site, &revoked);
    assert_int_equal(check(site, &source), REVOCATION_REVOKED);
    source.ocsp = site->ocsp;
    site->status = V_OCSP_CERTSTATUS_GOOD;
    assert_int_equal(check(site, &source), REVOCATION_REVOKED);
    source.ocsp = "http://127.0.0.1:1/";
    source.crl_count = 0;
    assert_int_equal(check(site, &source), REVOCATION_UNKNOWN);
    source.crl_count = 1;
    assert_int_equal(check(site, &source), REVOCATION_REVOKED);
}

/* A server that hangs is waited for as long as was said and no longer. */
static void test_hang(void **state)
{
    struct site *site = *state;
    struct revocation_source source = BY_CRL(site, 3600);
    site->mode = HANG;
    int64_t before = clock_mono_ms();
    assert_int_equal(check_for(site, &source, 300), REVOCATION_UNKNOWN);
    int64_t took = clock_mono_ms() - before;
    assert_true(took >= 290 && took < 5000);
    site->mode = SERVE;
}

static void *ask_often(void *arg)
{
    struct site *site = arg;
    struct revocation_source source = BY_CRL(site, 1);
    source.ocsp = site->ocsp;
    for (int i = 0; i < 200; i++) {
        (void)check_for(site, &source, 50);
        revocation_allowed(site->revocation);
        revocation_watch(site->revocation, &source, site->ca);
    }
    return NULL;
}

/* Many threads ask while lists come and go. */
static void test_threads(void **state)
{
    struct site *site = *state;
    pthread_t threads[8];
    struct revocation_counts counts;
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, site), 0);
    for (int i = 0; i < 20; i++) {
        usleep(20000);
        site->mode = i % 3 ? SERVE : FAIL;
        publish(site, i % 2 ? &revoked : &(struct crl_spec){0});
    }
    site->mode = SERVE;
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    revocation_counts_get(site->revocation, &counts);
    assert_int_equal(counts.allowed, 1600);
    assert_int_equal(counts.checks[REVOCATION_GOOD] + counts.checks[REVOCATION_REVOKED] +
                         counts.checks[REVOCATION_UNKNOWN],
                     1600);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_crl),          TEST(test_crl_once), TEST(test_watch), TEST(test_bad_lists),
        TEST(test_kept),         TEST(test_points),   TEST(test_ocsp),  TEST(test_ocsp_kept),
        TEST(test_ocsp_useless), TEST(test_both),     TEST(test_hang),  TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
