#include "tests/support/config_make.h"

#include "config/table.h"
#include "tests/support/pki_make.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

const char config_base[] = "listen:\n"
                           "  scep: [http://127.0.0.1:8080]\n"
                           "  est: [https://127.0.0.1:8443]\n"
                           "  admin: [https://127.0.0.1:9443]\n"
                           "tls: {certificate: tls.pem, key: tls.key}\n"
                           "limits: {body: 128KiB, threads: 64}\n"
                           "store: sqlite:state/scepter.db\n"
                           "ra:\n"
                           "  main: {certificate: ra.pem, key: ra.key}\n"
                           "upstreams:\n"
                           "  lab: {type: fake, certificate: ca.pem, key: ca.key, validity: 90d}\n"
                           "profiles:\n"
                           "  vpn:\n"
                           "    routes: [{upstream: [lab]}]\n"
                           "    trust: [ca.pem]\n"
                           "    challenge: {kinds: [one-time]}\n"
                           "    scep: {paths: [/scep/vpn], ra: [main]}\n"
                           "    est: {labels: [vpn, \"\"], auth: [certificate, basic]}\n"
                           "    owner: {contact: pki}\n";

static const struct cfg_key fake_keys[] = {
    {.name = "certificate",
     .type = CFG_CERT_FILE,
     .offset = offsetof(struct fake_options, certificate),
     .required = true,
     .meaning = "The certificate of the CA."},
    {.name = "key",
     .type = CFG_KEY_FILE,
     .offset = offsetof(struct fake_options, key),
     .required = true,
     .meaning = "Its key."},
    {.name = "chain",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct fake_options, chain),
     .meaning = "What stands above it."},
    {.name = "validity",
     .type = CFG_DURATION,
     .offset = offsetof(struct fake_options, validity),
     .min = 3600,
     .max = INT64_C(31536000),
     .def = "30d",
     .meaning = "How long it issues for."},
    {0},
};

static void fake_judge(void *options, struct cfg_faults *faults, const struct cfg_node *node)
{
    struct fake_options *fake = options;
    (void)cfg_judge_pair(&fake->certificate, fake->key, node, faults);
}

static const struct cfg_kind fake_kind = {
    .type = "fake",
    .keys = fake_keys,
    .options_size = sizeof(struct fake_options),
    .judge = fake_judge,
};
static const struct cfg_kind *const kinds[] = {&fake_kind};

const struct cfg_kinds fake_kinds = {kinds, 1};

static void pair_make(const char *dir, const char *name, const struct make_spec *spec,
                      EVP_PKEY *key)
{
    char path[128];
    X509 *x509 = make_x509(spec, key, NULL, NULL);
    snprintf(path, sizeof path, "%s/%s.pem", dir, name);
    make_cert_file(path, x509);
    snprintf(path, sizeof path, "%s/%s.key", dir, name);
    make_key_file(path, key);
    X509_free(x509);
    EVP_PKEY_free(key);
}

void config_dir_write(const char *dir, const char *name, const char *text, unsigned mode)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0 || chmod(path, mode) != 0)
        abort();
}

void config_dir_make(char dir[64])
{
    char path[128];
    make_dir(dir);
    pair_make(dir, "tls", &(struct make_spec){.subject = "CN=gateway"}, make_ec("P-256"));
    pair_make(
        dir, "ra",
        &(struct make_spec){.subject = "CN=ra", .key_usage = "digitalSignature,keyEncipherment"},
        make_rsa(2048));
    pair_make(dir, "ca", &(struct make_spec){.subject = "CN=ca", .ca = true}, make_ec("P-256"));
    pair_make(
        dir, "ec",
        &(struct make_spec){.subject = "CN=ec", .key_usage = "digitalSignature,keyEncipherment"},
        make_ec("P-256"));
    pair_make(dir, "sign",
              &(struct make_spec){.subject = "CN=sign", .key_usage = "digitalSignature"},
              make_rsa(2048));
    pair_make(dir, "crypt",
              &(struct make_spec){.subject = "CN=crypt", .key_usage = "keyEncipherment"},
              make_rsa(2048));
    config_dir_write(dir, "secrets", "first-secret-of-two\r\n\nSECOND-SECRET-123\n", 0600);
    config_dir_write(dir, "users",
                     "# operators\n"
                     "alice:$6$saltsaltsalt$0123456789012345678901234567890123456789\n"
                     "bob:$y$j9T$saltsaltsalt$01234567890123456789012345678901234567\n"
                     "carol:{digest-sha256}0123456789ABCDEF0123456789abcdef"
                     "0123456789abcdef0123456789abcdef\n"
                     "carol:{digest-md5}0123456789abcdef0123456789abcdef\n"
                     "carol:$5$saltsaltsalt$0123456789012345678901234567890123456789\n",
                     0600);
    config_dir_write(dir, "shared",
                     "# id:key\n"
                     "0a0b:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
                     "6465766963652d31:"
                     "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\n",
                     0600);
    config_dir_write(dir, "keys1", "# of 2048 bits\n0123456789abcdef0123\n", 0644);
    config_dir_write(dir, "keys2",
                     "0123456789ABCDEF0123\n"
                     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
                     0644);
    snprintf(path, sizeof path, "%s/state", dir);
    if (mkdir(path, 0700) != 0)
        abort();
}
