#include "base/pem.h"
#include "config/config.h"
#include "tests/support/config_make.h"
#include "tests/support/pki_make.h"

#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static EVP_PKEY *keys[2];

#define RENEW "renew: {upstream: lab, trust: [ca.pem], file: renewed.pem}"
#define ONE_PAIR "{certificate: ra.pem, key: ra.key, " RENEW "}"
#define TWO_PAIRS                                                                                  \
    "{certificate: sign.pem, key: sign.key, " RENEW                                                \
    ", encryption: {certificate: crypt.pem, key: crypt.key}}"
static const char *entry = ONE_PAIR;

/* The base configuration with an RA that renews itself. */
static struct buf text_make(void)
{
    static const char plain[] = "{certificate: ra.pem, key: ra.key}";
    const char *at = strstr(config_base, plain);
    struct buf text = {0};
    assert_non_null(at);
    assert_true(buf_add(&text, bytes_of(config_base, (size_t)(at - config_base))) &&
                buf_add_str(&text, entry) && buf_add_str(&text, at + strlen(plain)));
    return text;
}

/* NULL with the faults, which the caller frees. */
static struct cfg *load(struct buf *faults)
{
    char path[96];
    struct buf text = text_make();
    struct cfg *cfg = NULL;
    snprintf(path, sizeof path, "%s/scepter.yaml", dir);
    if (!cfg_load_text(buf_bytes(&text), path, &fake_kinds, &cfg, faults))
        cfg = NULL;
    buf_free(&text);
    return cfg;
}

static struct cfg *load_good(void)
{
    struct buf faults = {0};
    struct cfg *cfg = load(&faults);
    if (!cfg)
        fail_msg("%s", buf_str(&faults));
    buf_free(&faults);
    return cfg;
}

static void path_of(const char *name, char path[96])
{
    snprintf(path, 96, "%s/%s", dir, name);
}

static const char *usage = "digitalSignature,keyEncipherment";

/* A pair as it is written: the key, then the certificate, which began so many seconds ago. */
static void write_pair(const char *name, EVP_PKEY *key, EVP_PKEY *certified, int64_t began)
{
    char path[96];
    path_of(name, path);
    X509 *x509 = make_x509(&(struct make_spec){.subject = "CN=renewed",
                                               .not_before = time(NULL) - began,
                                               .key_usage = usage},
                           certified, NULL, NULL);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), 0600), 0);
    assert_true(PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) &&
                PEM_write_X509(file, x509));
    assert_int_equal(fclose(file), 0);
    X509_free(x509);
}

static void remove_pairs(void)
{
    static const char *const names[] = {"renewed.pem", "renewed.pem.before",
                                        "renewed.pem.encryption", "renewed.pem.encryption.before"};
    char path[96];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_of(names[i], path);
        (void)unlink(path);
    }
}

static int setup(void **state)
{
    (void)state;
    config_dir_make(dir);
    for (size_t i = 0; i < 2; i++)
        keys[i] = make_rsa(2048);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    make_dir_remove(dir);
    for (size_t i = 0; i < 2; i++)
        EVP_PKEY_free(keys[i]);
    return 0;
}

static int each(void **state)
{
    (void)state;
    remove_pairs();
    entry = ONE_PAIR;
    usage = "digitalSignature,keyEncipherment";
    return 0;
}

static const char *subject(const struct cfg_certs *chain)
{
    return cert_names_get(chain->items[0])->subject_text;
}

static const struct cfg_renewed *signs_of(const struct cfg *cfg)
{
    return &cfg->ras[0].renew.pairs[CFG_RA_SIGNS];
}

/* Without a renewed pair the configured one is used. The RA's own requests have a profile of their
 * own, which no door and no challenge leads to. */
static void test_none(void **state)
{
    (void)state;
    struct cfg *cfg = load_good();
    const struct cfg_identity *ra = &cfg->ras[0];
    assert_true(ra->renew.given);
    assert_int_equal(ra->renew.before, 30 * 86400);
    assert_string_equal(subject(&ra->chain), "CN=ra");
    assert_int_equal(signs_of(cfg)->former_count, 0);
    assert_int_equal(cfg->profile_count, 2);
    assert_int_equal(signs_of(cfg)->profile, 1);
    const struct cfg_profile *own = &cfg->profiles[1];
    assert_string_equal(own->name, "ra:main");
    assert_true(own->own && !cfg->profiles[0].own);
    assert_false(own->scep_enabled || own->est.enabled);
    assert_int_equal(own->scep.paths.count + own->est.labels.count + own->est.user_count, 0);
    assert_false(own->challenge.kinds[0] || own->challenge.kinds[1]);
    assert_int_equal(own->routes[0].upstream, 0);
    assert_int_equal(own->trust_certs.count, 1);
    cfg_free(cfg);
}

/* The renewed pair takes the place of the configured one, which decrypts from then on, as does the
 * one before it. */
static void test_renewed(void **state)
{
    (void)state;
    write_pair("renewed.pem", keys[0], keys[0], 60);
    struct cfg *cfg = load_good();
    assert_string_equal(subject(&cfg->ras[0].chain), "CN=renewed");
    assert_int_equal(EVP_PKEY_eq(cfg->ras[0].key, keys[0]), 1);
    assert_int_equal(signs_of(cfg)->former_count, 1);
    assert_string_equal(subject(&signs_of(cfg)->former[0].chain), "CN=ra");
    cfg_free(cfg);

    write_pair("renewed.pem.before", keys[1], keys[1], 120);
    cfg = load_good();
    assert_int_equal(EVP_PKEY_eq(cfg->ras[0].key, keys[0]), 1);
    assert_int_equal(signs_of(cfg)->former_count, 2);
    assert_string_equal(subject(&signs_of(cfg)->former[0].chain), "CN=ra");
    assert_int_equal(EVP_PKEY_eq(signs_of(cfg)->former[1].key, keys[1]), 1);
    cfg_free(cfg);
}

/* In the middle of a renewal both names are of the same pair. */
static void test_same(void **state)
{
    (void)state;
    char from[96], to[96];
    write_pair("renewed.pem", keys[0], keys[0], 60);
    path_of("renewed.pem", from);
    path_of("renewed.pem.before", to);
    assert_int_equal(link(from, to), 0);
    struct cfg *cfg = load_good();
    assert_int_equal(EVP_PKEY_eq(cfg->ras[0].key, keys[0]), 1);
    assert_int_equal(signs_of(cfg)->former_count, 1);
    cfg_free(cfg);
}

/* A pair that the operator put there later than the last renewal counts. */
static void test_operator(void **state)
{
    (void)state;
    write_pair("renewed.pem", keys[0], keys[0], 86400);
    struct cfg *cfg = load_good();
    assert_string_equal(subject(&cfg->ras[0].chain), "CN=ra");
    assert_int_equal(signs_of(cfg)->former_count, 1);
    assert_string_equal(subject(&signs_of(cfg)->former[0].chain), "CN=renewed");
    cfg_free(cfg);
}

static void assert_fault(const char *what)
{
    struct buf faults = {0};
    assert_null(load(&faults));
    if (!strstr(buf_str(&faults), what))
        fail_msg("%s is not in: %s", what, buf_str(&faults));
    assert_non_null(strstr(buf_str(&faults), "ra.main.renew.file"));
    assert_null(strstr(buf_str(&faults), "PRIVATE"));
    buf_free(&faults);
}

/* A file that is open to others, of two pairs, or cut off anywhere in its key is a fault. */
static void test_faulty(void **state)
{
    (void)state;
    char path[96];
    struct buf whole = {0};
    struct err err;
    path_of("renewed.pem", path);
    write_pair("renewed.pem", keys[0], keys[1], 60);
    assert_fault("no pair that suits SCEP");
    write_pair("renewed.pem", keys[0], keys[0], 60);
    assert_int_equal(chmod(path, 0640), 0);
    assert_fault("open to others");
    assert_int_equal(chmod(path, 0600), 0);
    assert_true(pem_file_read(path, PEM_FILE_MAX, &whole, &err));
    size_t key_len = (size_t)(strstr(buf_str(&whole), "-----BEGIN CERT") - buf_str(&whole));
    for (size_t len = 0; len < key_len; len += 41) {
        assert_int_equal(truncate(path, (off_t)len), 0);
        assert_fault("cannot be read");
        FILE *file = fopen(path, "w");
        assert_int_equal(fwrite(whole.ptr, 1, whole.len, file), whole.len);
        assert_int_equal(fclose(file), 0);
    }
    buf_free(&whole);
}

/* An RA of two pairs: each has its own file, past, keyUsage and rules. */
static void test_two_pairs(void **state)
{
    (void)state;
    entry = TWO_PAIRS;
    usage = "keyEncipherment";
    write_pair("renewed.pem.encryption", keys[0], keys[0], 60);
    struct cfg *cfg = load_good();
    const struct cfg_identity *ra = &cfg->ras[0];
    const struct cfg_renewed *opens = &ra->renew.pairs[CFG_RA_DECRYPTS];
    assert_string_equal(subject(&ra->chain), "CN=sign");
    assert_int_equal(signs_of(cfg)->former_count, 0);
    assert_int_equal(EVP_PKEY_eq(ra->encryption.key, keys[0]), 1);
    assert_int_equal(opens->former_count, 1);
    assert_string_equal(subject(&opens->former[0].chain), "CN=crypt");
    assert_string_equal(signs_of(cfg)->name, "main");
    assert_string_equal(opens->name, "main:encryption");
    assert_string_equal(cfg->profiles[signs_of(cfg)->profile].name, "ra:main");
    assert_string_equal(cfg->profiles[opens->profile].name, "ra:main:encryption");
    assert_int_equal(cfg->profile_count, 3);
    cfg_free(cfg);

    usage = "digitalSignature";
    write_pair("renewed.pem", keys[1], keys[1], 30);
    cfg = load_good();
    assert_int_equal(EVP_PKEY_eq(cfg->ras[0].key, keys[1]), 1);
    assert_string_equal(subject(&signs_of(cfg)->former[0].chain), "CN=sign");
    assert_int_equal(EVP_PKEY_eq(cfg->ras[0].encryption.key, keys[0]), 1);
    cfg_free(cfg);
}

/* A renewed pair with the keyUsage of the other one, or of both, is a fault. */
static void test_wrong_role(void **state)
{
    static const char *const usages[] = {"digitalSignature", "keyEncipherment",
                                         "digitalSignature,keyEncipherment"};
    static const char *const files[] = {"renewed.pem", "renewed.pem.encryption"};
    (void)state;
    entry = TWO_PAIRS;
    for (size_t file = 0; file < 2; file++)
        for (size_t i = 0; i < 3; i++) {
            remove_pairs();
            usage = usages[i];
            write_pair(files[file], keys[0], keys[0], 60);
            if (i == file)
                cfg_free(load_good());
            else
                assert_fault("no pair that suits SCEP");
        }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, each)
    const struct CMUnitTest tests[] = {T(test_none),      T(test_renewed), T(test_same),
                                       T(test_operator),  T(test_faulty),  T(test_two_pairs),
                                       T(test_wrong_role)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
