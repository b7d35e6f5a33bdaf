#include "config/renewed.h"

#include "base/pem.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define ROUTES 1
#define EVER (INT64_C(36500) * 86400)
#define OID_MAX 128

/* The key belongs to the certificate, and both suit SCEP (see cfg_judge_ra). */
static bool suits(const struct cfg_pair *pair)
{
    X509 *x509 = cert_x509_get(pair->chain.items[0]);
    const uint32_t need = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT;
    const struct spki *spki = cert_spki_get(pair->chain.items[0]);
    return spki->kind == SPKI_RSA && EVP_PKEY_eq(spki->key, pair->key) == 1 &&
           (X509_get_key_usage(x509) & need) == need;
}

static void pair_free(struct cfg_pair *pair)
{
    pem_certs_free(pair->chain.items, pair->chain.count);
    EVP_PKEY_free(pair->key);
    *pair = (struct cfg_pair){0};
}

/* A pair from a file; false if there is no such file, or with a fault. */
static bool pair_read(const char *path, struct cfg_pair *ret, struct cfg_faults *faults,
                      const struct cfg_node *node)
{
    struct cfg_pair pair = {0};
    struct stat st;
    struct err err = {0};
    if (stat(path, &st) != 0)
        return false;
    if (!pem_certs_load(path, &pair.chain.items, &pair.chain.count, &err) ||
        !pem_key_load(path, &pair.key, &err)) {
        cfg_fault(faults, node, "cannot be read: %s; expected a renewed pair", err.text);
    } else if (st.st_mode & 0077) {
        cfg_fault(faults, node, "%s is open to others; expected mode 0600", path);
    } else if (!suits(&pair)) {
        cfg_fault(faults, node, "%s holds no pair that suits SCEP; expected a renewed one", path);
    } else {
        *ret = pair;
        return true;
    }
    pair_free(&pair);
    return false;
}

static bool same(const struct cfg_certs *a, const struct cfg_certs *b)
{
    return bytes_equal(cert_der_get(a->items[0]), cert_der_get(b->items[0]));
}

/* Keeps the pair that began last as the RA's. */
static void take(struct cfg_identity *ra, struct cfg_pair pair)
{
    if (same(&pair.chain, &ra->chain) ||
        (ra->former_count && same(&pair.chain, &ra->former[0].chain))) {
        pair_free(&pair);
        return;
    }
    if (cert_not_before_get(pair.chain.items[0]) >= cert_not_before_get(ra->chain.items[0])) {
        struct cfg_pair older = {ra->chain, ra->key};
        ra->chain = pair.chain;
        ra->key = pair.key;
        pair = older;
    }
    ra->former[ra->former_count++] = pair;
}

void cfg_renewed_take(struct cfg_identity *ra, struct cfg_faults *faults,
                      const struct cfg_node *node)
{
    const struct cfg_node *at = cfg_node_get(cfg_node_get(node, "renew"), "file");
    struct cfg_pair pair;
    struct buf before = {0};
    ra->renew.given = true;
    if (!ra->renew.file || !buf_add_fmt(&before, "%s" CFG_RENEWED_BEFORE, ra->renew.file))
        return;
    if (pair_read(buf_str(&before), &pair, faults, at))
        take(ra, pair);
    if (pair_read(ra->renew.file, &pair, faults, at))
        take(ra, pair);
    buf_free(&before);
}

void cfg_renewed_clear(struct cfg_identity *ra)
{
    for (size_t i = 0; i < ra->former_count; i++)
        pair_free(&ra->former[i]);
    ra->former_count = 0;
}

static void strings_add(struct cfg_strings *strings, const char *text)
{
    strings->items = mem_resize(strings->items, strings->count + 1, sizeof(char *));
    strings->items[strings->count++] = mem_strdup(text);
}

/* The usages of today's certificate, for a CA under our command. */
static void copy_eku(struct cfg_profile *profile, const struct cert *cert)
{
    EXTENDED_KEY_USAGE *usages =
        X509_get_ext_d2i(cert_x509_get(cert), NID_ext_key_usage, NULL, NULL);
    for (int i = 0; i < sk_ASN1_OBJECT_num(usages); i++) {
        char oid[OID_MAX];
        int len = OBJ_obj2txt(oid, sizeof oid, sk_ASN1_OBJECT_value(usages, i), 1);
        if (len > 0 && len < OID_MAX)
            strings_add(&profile->eku, oid);
    }
    sk_ASN1_OBJECT_pop_free(usages, ASN1_OBJECT_free);
}

static void certs_copy(struct cfg_certs *to, const struct cfg_certs *from)
{
    to->items = mem_zalloc(from->count * sizeof *to->items);
    for (size_t i = 0; i < from->count; i++)
        to->items[to->count++] = cert_ref(from->items[i]);
}

/* The names are those of today's certificate: nobody else asks here. An answer is given again for
 * ever, so that a key never gets two certificates. */
static void own_fill(struct cfg_profile *profile, const struct cfg_identity *ra)
{
    struct buf name = {0};
    if (!buf_add_fmt(&name, "ra:%s", ra->name))
        err_no_memory();
    profile->name = mem_strdup(buf_str(&name));
    buf_free(&name);
    profile->own = true;
    profile->routes = mem_zalloc(ROUTES * sizeof *profile->routes);
    profile->route_count = ROUTES;
    profile->routes[0].upstream = ra->renew.upstream;
    profile->routes[0].pool = mem_zalloc(sizeof *profile->routes[0].pool);
    profile->routes[0].pool[0] = ra->renew.upstream;
    profile->routes[0].pool_count = 1;
    certs_copy(&profile->trust_certs, &ra->renew.trust);
    profile->trust = trust_new(profile->trust_certs.items, profile->trust_certs.count);
    profile->keys.rsa_min = RSA_BITS_MIN;
    profile->keys.rsa_max = RSA_BITS_MAX;
    profile->san_given = true;
    profile->san.max = NAMES_SAN_MAX;
    strings_add(&profile->san.dns, "*");
    strings_add(&profile->san.ip, "0.0.0.0/0");
    strings_add(&profile->san.ip, "::/0");
    strings_add(&profile->san.email, "*");
    strings_add(&profile->san.uri, "*");
    copy_eku(profile, ra->chain.items[0]);
    profile->retry_window = EVER;
}

void cfg_own_profiles(struct cfg *cfg)
{
    for (size_t i = 0; i < cfg->ra_count; i++) {
        struct cfg_identity *ra = &cfg->ras[i];
        if (!ra->renew.given)
            continue;
        cfg->profiles = mem_resize(cfg->profiles, cfg->profile_count + 1, sizeof *cfg->profiles);
        ra->renew.profile = cfg->profile_count++;
        cfg->profiles[ra->renew.profile] = (struct cfg_profile){0};
        own_fill(&cfg->profiles[ra->renew.profile], ra);
    }
}
