#include "gateway/metrics.h"
#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* An RA certificate, a store, and no upstream. */
struct fixture {
    char dir[64];
    struct store *store;
    struct cert *cert;
    struct cfg_identity ra;
    struct cfg cfg;
    struct ra_settings settings;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    char url[128];
    struct err err;
    make_dir(f->dir);
    snprintf(url, sizeof url, "sqlite:%s/test.db", f->dir);
    assert_true(store_open(url, true, &f->store, &err));
    EVP_PKEY *key = make_ec("P-256");
    f->cert = make_cert(&(struct make_spec){.subject = "CN=ra", .not_after = 4000000000}, key, NULL,
                        NULL);
    EVP_PKEY_free(key);
    f->ra = (struct cfg_identity){.name = "main", .chain = {&f->cert, 1}};
    f->cfg = (struct cfg){.ras = &f->ra, .ra_count = 1};
    f->settings = (struct ra_settings){.generation = 3, .cfg = &f->cfg};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    cert_free(f->cert);
    make_dir_remove(f->dir);
    free(f);
    return 0;
}

static bool has_line(struct buf *text, const char *line)
{
    char whole[256];
    snprintf(whole, sizeof whole, "%s\n", line);
    return strstr(buf_str(text), whole) != NULL;
}

/* Requests are counted by door, operation, outcome and reason, and fall into the right bucket. */
static void test_requests(void **state)
{
    struct fixture *f = *state;
    struct metrics *metrics = metrics_new();
    struct ra_note issued = {.operation = "PKCSReq", .outcome = "issued"};
    struct ra_note refused = {.operation = "PKCSReq", .outcome = "refused", .reason = "bad-key"};
    struct buf text = {0};
    metrics_count(metrics, "scep", &issued, 4);
    metrics_count(metrics, "scep", &issued, 40);
    metrics_count(metrics, "scep", &refused, 99999);
    metrics_count(metrics, "est", &issued, 5);
    assert_true(metrics_print(metrics, f->store, &f->settings, &text));
    assert_true(has_line(&text, "scepter_requests_total{door=\"scep\",operation=\"PKCSReq\","
                                "outcome=\"issued\",reason=\"none\"} 2"));
    assert_true(has_line(&text, "scepter_requests_total{door=\"scep\",operation=\"PKCSReq\","
                                "outcome=\"refused\",reason=\"bad-key\"} 1"));
    assert_true(has_line(&text, "scepter_requests_total{door=\"est\",operation=\"PKCSReq\","
                                "outcome=\"issued\",reason=\"none\"} 1"));
    assert_true(has_line(&text, "scepter_request_seconds_bucket{le=\"0.005\"} 2"));
    assert_true(has_line(&text, "scepter_request_seconds_bucket{le=\"0.05\"} 3"));
    assert_true(has_line(&text, "scepter_request_seconds_bucket{le=\"10\"} 3"));
    assert_true(has_line(&text, "scepter_request_seconds_bucket{le=\"+Inf\"} 4"));
    assert_true(has_line(&text, "scepter_request_seconds_count 4"));
    buf_free(&text);
    metrics_free(metrics);
}

/* Requests with old algorithms are counted by these, and no others. */
static void test_legacy(void **state)
{
    struct fixture *f = *state;
    struct metrics *metrics = metrics_new();
    struct ra_note modern = {.operation = "PKCSReq", .outcome = "issued"};
    struct ra_note old = modern, older = modern;
    struct buf text = {0};
    old.legacy = "sha1 des3", older.legacy = "md5 des";
    old.csr_digest = "sha1", older.csr_digest = "md5";
    metrics_count(metrics, "scep", &modern, 4);
    metrics_count(metrics, "scep", &old, 4);
    metrics_count(metrics, "scep", &older, 4);
    metrics_count(metrics, "scep", &older, 4);
    assert_true(metrics_print(metrics, f->store, &f->settings, &text));
    assert_true(has_line(&text, "scepter_scep_legacy_total{algorithms=\"sha1 des3\"} 1"));
    assert_true(has_line(&text, "scepter_scep_legacy_total{algorithms=\"md5 des\"} 2"));
    assert_true(has_line(&text, "scepter_scep_csr_digest_total{digest=\"sha1\"} 1"));
    assert_true(has_line(&text, "scepter_scep_csr_digest_total{digest=\"md5\"} 2"));
    const char *first = strstr(buf_str(&text), "scepter_scep_legacy_total{");
    assert_non_null(first);
    unsigned lines = 0;
    for (; first; first = strstr(first + 1, "scepter_scep_legacy_total{"))
        lines++;
    assert_int_equal(lines, 2);
    buf_free(&text);
    metrics_free(metrics);
}

/* States, reloads, the generation and the ends of our certificates are there. */
static void test_gauges(void **state)
{
    struct fixture *f = *state;
    struct metrics *metrics = metrics_new();
    struct buf text = {0};
    metrics_reload(metrics, true);
    metrics_reload(metrics, false);
    metrics_reload(metrics, false);
    assert_true(metrics_print(metrics, f->store, &f->settings, &text));
    assert_true(has_line(&text, "scepter_generation 3"));
    assert_true(has_line(&text, "scepter_reloads_total{result=\"done\"} 1"));
    assert_true(has_line(&text, "scepter_reloads_total{result=\"failed\"} 2"));
    assert_true(has_line(&text, "scepter_stored_requests{state=\"suspect\"} 0"));
    assert_true(has_line(
        &text, "scepter_certificate_not_after_seconds{role=\"ra\",name=\"main\"} 4000000000"));
    buf_free(&text);
    metrics_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_legacy),
        cmocka_unit_test(test_gauges),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
