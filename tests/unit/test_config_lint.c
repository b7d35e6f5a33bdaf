#include "config/config.h"
#include "tests/support/config_make.h"
#include "tests/support/pki_make.h"

#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define DAY INT64_C(86400)
#define BOTH "digitalSignature,keyEncipherment"
#define AGENT "1.3.6.1.4.1.311.20.2.1"

static char dir[64];
static EVP_PKEY *key, *short_key;

static void path_of(const char *name, char path[96])
{
    snprintf(path, 96, "%s/%s", dir, name);
}

static void write_cert(const char *name, const struct make_spec *spec, EVP_PKEY *of)
{
    char path[96];
    X509 *x509 = make_x509(spec, of, NULL, NULL);
    path_of(name, path);
    make_cert_file(path, x509);
    X509_free(x509);
}

static void write_key(const char *name, EVP_PKEY *of)
{
    char path[96];
    path_of(name, path);
    make_key_file(path, of);
}

static int setup(void **state)
{
    (void)state;
    config_dir_make(dir);
    key = make_rsa(2048);
    short_key = make_rsa(1024);
    write_key("lint.key", key);
    write_key("short.key", short_key);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    make_dir_remove(dir);
    EVP_PKEY_free(key);
    EVP_PKEY_free(short_key);
    return 0;
}

/* The base configuration with another RA, and more in scep; it has no faults. */
static struct cfg *load(const char *ra, const char *more)
{
    static const char old_ra[] = "{certificate: ra.pem, key: ra.key}", old_scep[] = "ra: [main]";
    char path[96];
    struct buf text = {0}, faults = {0};
    struct cfg *cfg = NULL;
    const char *first = strstr(config_base, old_ra), *second = strstr(config_base, old_scep);
    assert_true(first && second && first < second);
    const char *between = first + sizeof old_ra - 1;
    assert_true(buf_add(&text, bytes_of(config_base, (size_t)(first - config_base))) &&
                buf_add_str(&text, ra) &&
                buf_add(&text, bytes_of(between, (size_t)(second - between))) &&
                buf_add_fmt(&text, "ra: [main]%s", more) &&
                buf_add_str(&text, second + sizeof old_scep - 1));
    path_of("scepter.yaml", path);
    if (!cfg_load_text(buf_bytes(&text), path, &fake_kinds, &cfg, &faults))
        fail_msg("%s", buf_str(&faults));
    assert_int_equal(faults.len, 0);
    buf_free(&text);
    buf_free(&faults);
    return cfg;
}

/* text NULL: nothing is warned of. */
static void check(const char *ra, const char *more, const char *text)
{
    struct cfg *cfg = load(ra, more);
    const char *warned = buf_str(&cfg->warnings);
    if (text ? !strstr(warned, text) : *warned != 0)
        fail_msg("\"%s\" instead of \"%s\"", warned, text ? text : "");
    if (text)
        assert_non_null(strstr(warned, "/scepter.yaml:"));
    cfg_free(cfg);
}

#define LINT "{certificate: lint.pem, key: lint.key}"

/* What init makes is fine, and so is what the recipes make. */
static void test_fine(void **state)
{
    (void)state;
    struct make_spec spec = {.subject = "CN=lint",
                             .key_usage = BOTH,
                             .eku = "serverAuth",
                             .not_after = time(NULL) + 300 * DAY};
    write_cert("lint.pem", &spec, key);
    check(LINT, "", NULL);
    check(LINT, ", client: windows", NULL);
    check(LINT, ", client: apple", NULL);
}

/* One that ended, is yet to begin, or ends soon and renews not; not if it is told to nobody. */
static void test_time(void **state)
{
    (void)state;
    static const char renews[] =
        "{certificate: lint.pem, key: lint.key, renew: {upstream: lab, trust: [ca.pem], file: r}}";
    struct make_spec spec = {.subject = "CN=lint",
                             .key_usage = BOTH,
                             .not_before = time(NULL) - 30 * DAY,
                             .not_after = time(NULL) - DAY};
    write_cert("lint.pem", &spec, key);
    check(LINT, "", "ra.main.certificate: warning: ended on 2");
    check(renews, "", "ra.main.certificate: warning: ended on 2");
    check("{certificate: ra.pem, key: ra.key}\n  old: " LINT, ", chain: leaf", "ends on 2");
    struct cfg *cfg = load("{certificate: ra.pem, key: ra.key}\n  old: " LINT, "");
    assert_null(strstr(buf_str(&cfg->warnings), "ra.old"));
    cfg_free(cfg);

    spec.not_before = time(NULL) + DAY;
    spec.not_after = time(NULL) + 30 * DAY;
    write_cert("lint.pem", &spec, key);
    check(LINT, "", "is not valid before 2");

    spec.not_before = time(NULL) - 30 * DAY;
    spec.not_after = time(NULL) + 13 * DAY;
    write_cert("lint.pem", &spec, key);
    check(LINT, "", "and nothing renews it");
    check(renews, "", NULL);
    spec.not_after = time(NULL) + 15 * DAY;
    write_cert("lint.pem", &spec, key);
    check(LINT, "", NULL);
}

/* Without a keyUsage; with a short key; with that of the TLS server. */
static void test_pair(void **state)
{
    (void)state;
    struct make_spec spec = {.subject = "CN=lint", .not_after = time(NULL) + 300 * DAY};
    write_cert("lint.pem", &spec, key);
    check(LINT, "", "ra.main.certificate: warning: has no keyUsage");
    spec.key_usage = BOTH;
    write_cert("short.pem", &spec, short_key);
    check("{certificate: short.pem, key: short.key}", "", "has a key of 1024 bits");
    write_cert("lint.pem", &spec, key);
    write_cert("tls.pem", &spec, key);
    write_key("tls.key", key);
    check(LINT, "", "has the key of the TLS server");
}

/* Windows looks at extendedKeyUsage: it has to be there for Windows, and right for everybody who
 * may be one. */
static void test_windows(void **state)
{
    (void)state;
    static const struct {
        const char *eku, *client;
        bool warned;
    } rows[] = {
        {NULL, "windows", true},
        {NULL, "auto", false},
        {"serverAuth", "windows", false},
        {AGENT, "windows", false},
        {"clientAuth," AGENT, "windows", false},
        {"clientAuth", "windows", true},
        {"clientAuth", "auto", true},
        {"clientAuth", "juniper", false},
        {AGENT ".1", "windows", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char more[32];
        struct make_spec spec = {.subject = "CN=lint",
                                 .key_usage = BOTH,
                                 .eku = rows[i].eku,
                                 .not_after = time(NULL) + 300 * DAY};
        write_cert("lint.pem", &spec, key);
        snprintf(more, sizeof more, ", client: %s", rows[i].client);
        check("{certificate: lint.pem, key: lint.key}", more,
              rows[i].warned ? "profiles.vpn.scep.ra: warning: main has neither" : NULL);
    }
}

/* Two pairs are not for Apple; each is looked at. */
static void test_two_pairs(void **state)
{
    (void)state;
    static const char two[] = "{certificate: lint.pem, key: lint.key, encryption: {certificate: "
                              "old.pem, key: lint.key}}";
    struct make_spec spec = {.subject = "CN=lint",
                             .key_usage = "digitalSignature",
                             .not_before = time(NULL) - 30 * DAY,
                             .not_after = time(NULL) + 300 * DAY};
    write_cert("lint.pem", &spec, key);
    spec.key_usage = "keyEncipherment";
    write_cert("old.pem", &spec, key);
    check(two, "", NULL);
    check(two, ", client: apple", "profiles.vpn.scep.ra: warning: main has two pairs");
    spec.not_after = time(NULL) - DAY;
    write_cert("old.pem", &spec, key);
    check(two, "", "ra.main.encryption.certificate: warning: ended on 2");
}

/* What stands behind a certificate issued it, or the one before. */
static void test_chain(void **state)
{
    (void)state;
    const struct make_spec root_spec = {.subject = "CN=root", .ca = true};
    struct make_spec spec = {
        .subject = "CN=lint", .key_usage = BOTH, .not_after = time(NULL) + 300 * DAY};
    X509 *root = make_x509(&root_spec, short_key, NULL, NULL);
    X509 *leaf = make_x509(&spec, key, root, short_key), *alone = make_x509(&spec, key, NULL, NULL);
    X509 *const firsts[] = {leaf, alone};
    char path[96];
    path_of("chain.pem", path);
    for (size_t i = 0; i < 2; i++) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(PEM_write_X509(file, firsts[i]), 1);
        assert_int_equal(PEM_write_X509(file, root), 1);
        assert_int_equal(fclose(file), 0);
        check("{certificate: chain.pem, key: lint.key}", "",
              i ? "ra.main.certificate: warning: holds \"CN=root\", which issued nothing" : NULL);
    }
    X509_free(root);
    X509_free(leaf);
    X509_free(alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fine),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_two_pairs),
        cmocka_unit_test(test_pair), /* last: it replaces the TLS server's pair */
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
