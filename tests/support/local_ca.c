#include "tests/support/local_ca.h"

#include "base/clock.h"
#include "config/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SKI "0102030405060708090A0B0C0D0E0F1011121314"

int64_t now;

int local_ca_clock(void **state)
{
    (void)state;
    now = time(NULL);
    clock_set(now);
    return 0;
}

bool configure(struct ca *ca, const char *more, struct buf *faults_text)
{
    struct buf yaml = {0};
    struct cfg_faults *faults = cfg_faults_new("test.yaml");
    assert_true(buf_add_fmt(&yaml,
                            "certificate: %s/issuing.pem\nkey: %s/issuing.key\n"
                            "chain: [%s/root.pem]\n%s",
                            ca->dir, ca->dir, ca->dir, more));
    struct cfg_node *node = cfg_node_parse(buf_bytes(&yaml), faults);
    assert_non_null(node);
    ca->conf = (struct cfg_upstream){.name = "lab", .kind = &local_kind};
    ca->conf.options = mem_zalloc(local_kind.options_size);
    cfg_table_fill(local_kind.keys, node, ca->conf.options, "type", faults);
    if (local_kind.judge)
        local_kind.judge(ca->conf.options, faults, node);
    cfg_faults_print(faults, faults_text);
    bool fine = cfg_faults_count(faults) == 0;
    cfg_faults_free(faults);
    cfg_node_free(node);
    buf_free(&yaml);
    return fine;
}

static const char *const issuing_extensions[] = {"subjectKeyIdentifier", SKI, NULL};

struct make_spec issuing_spec(void)
{
    return (struct make_spec){.subject = "CN=issuing,O=Example",
                              .ca = true,
                              .key_usage = "critical,keyCertSign,cRLSign",
                              .not_before = now - 30 * DAY,
                              .not_after = now + 3650 * (int64_t)DAY,
                              .extensions = issuing_extensions};
}

void make_files(struct ca *ca, EVP_PKEY *key, const struct make_spec *spec)
{
    char path[128];
    *ca = (struct ca){.key = key, .root_key = make_ec("P-256")};
    make_dir(ca->dir);
    struct make_spec root = issuing_spec();
    root.subject = "CN=root";
    ca->root = make_x509(&root, ca->root_key, NULL, NULL);
    ca->issuing = make_x509(spec, key, ca->root, ca->root_key);
    snprintf(path, sizeof path, "%s/root.pem", ca->dir);
    make_cert_file(path, ca->root);
    snprintf(path, sizeof path, "%s/issuing.pem", ca->dir);
    make_cert_file(path, ca->issuing);
    snprintf(path, sizeof path, "%s/issuing.key", ca->dir);
    make_key_file(path, key);
}

void open_ca(struct ca *ca, EVP_PKEY *key, const struct make_spec *spec, const char *more)
{
    struct buf faults = {0};
    struct err err = {0};
    make_files(ca, key, spec);
    if (!configure(ca, more, &faults))
        fail_msg("%s", buf_str(&faults));
    if (!local_vt.open(&ca->conf, &ca->up, &err))
        fail_msg("%s", err.text);
    assert_ptr_equal(ca->up->vt, &local_vt);
    buf_free(&faults);
}

void open_usual(struct ca *ca, EVP_PKEY *key)
{
    struct make_spec spec = issuing_spec();
    open_ca(ca, key, &spec, "validity: 90d\n");
}

void close_ca(struct ca *ca)
{
    if (ca->up)
        local_vt.close(ca->up);
    cfg_table_clear(local_kind.keys, ca->conf.options);
    free(ca->conf.options);
    X509_free(ca->root);
    X509_free(ca->issuing);
    EVP_PKEY_free(ca->root_key);
    EVP_PKEY_free(ca->key);
    make_dir_remove(ca->dir);
}
