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

const struct cfg_ra_usage *cfg_ra_usage(enum cfg_ra_role role, bool split)
{
    static const struct cfg_ra_usage both = {KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, 0,
                                             "digitalSignature and keyEncipherment in it",
                                             "critical,digitalSignature,keyEncipherment"};
    static const struct cfg_ra_usage roles[CFG_RA_ROLES] = {
        [CFG_RA_SIGNS] = {KU_DIGITAL_SIGNATURE, KU_KEY_ENCIPHERMENT,
                          "digitalSignature and not keyEncipherment in it, since encryption has a "
                          "pair of its own",
                          "critical,digitalSignature"},
        [CFG_RA_DECRYPTS] = {KU_KEY_ENCIPHERMENT, KU_DIGITAL_SIGNATURE,
                             "keyEncipherment and not digitalSignature in it",
                             "critical,keyEncipherment"},
    };
    return split ? &roles[role] : &both;
}

bool cfg_ra_usage_suits(const struct cfg_ra_usage *usage, const struct cert *cert)
{
    uint32_t has = X509_get_key_usage(cert_x509_get(cert));
    return (has & usage->need) == usage->need && !(has & usage->never);
}

size_t cfg_ra_pairs(const struct cfg_identity *ra)
{
    return ra->encryption.chain.count ? CFG_RA_ROLES : 1;
}

struct cfg_pair cfg_ra_pair(const struct cfg_identity *ra, enum cfg_ra_role role)
{
    return role == CFG_RA_DECRYPTS ? ra->encryption : (struct cfg_pair){ra->chain, ra->key};
}

static void pair_set(struct cfg_identity *ra, enum cfg_ra_role role, struct cfg_pair pair)
{
    if (role == CFG_RA_DECRYPTS) {
        ra->encryption = pair;
    } else {
        ra->chain = pair.chain;
        ra->key = pair.key;
    }
}

/* The key belongs to the certificate, and both suit SCEP (see cfg_judge_ra). */
static bool suits(const struct cfg_pair *pair, const struct cfg_ra_usage *usage)
{
    const struct spki *spki = cert_spki_get(pair->chain.items[0]);
    return spki->kind == SPKI_RSA && EVP_PKEY_eq(spki->key, pair->key) == 1 &&
           cfg_ra_usage_suits(usage, pair->chain.items[0]);
}

static void pair_free(struct cfg_pair *pair)
{
    pem_certs_free(pair->chain.items, pair->chain.count);
    EVP_PKEY_free(pair->key);
    *pair = (struct cfg_pair){0};
}

/* A pair from a file; false if there is no such file, or with a fault. */
static bool pair_read(const char *path, const struct cfg_ra_usage *usage, struct cfg_pair *ret,
                      struct cfg_faults *faults, const struct cfg_node *node)
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
    } else if (!suits(&pair, usage)) {
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
static void take(struct cfg_identity *ra, enum cfg_ra_role role, struct cfg_pair pair)
{
    struct cfg_renewed *renewed = &ra->renew.pairs[role];
    struct cfg_pair now = cfg_ra_pair(ra, role);
    if (same(&pair.chain, &now.chain) ||
        (renewed->former_count && same(&pair.chain, &renewed->former[0].chain))) {
        pair_free(&pair);
        return;
    }
    if (cert_not_before_get(pair.chain.items[0]) >= cert_not_before_get(now.chain.items[0])) {
        pair_set(ra, role, pair);
        pair = now;
    }
    renewed->former[renewed->former_count++] = pair;
}

/* A text of two parts, which the caller frees. */
static char *joined(const char *first, const char *second)
{
    struct buf text = {0};
    if (!buf_add_fmt(&text, "%s%s", first, second))
        err_no_memory();
    char *copy = mem_strdup(buf_str(&text));
    buf_free(&text);
    return copy;
}

static void pair_take(struct cfg_identity *ra, enum cfg_ra_role role, struct cfg_faults *faults,
                      const struct cfg_node *node)
{
    const struct cfg_ra_usage *usage = cfg_ra_usage(role, cfg_ra_pairs(ra) > 1);
    struct cfg_renewed *renewed = &ra->renew.pairs[role];
    struct cfg_pair pair;
    bool second = role == CFG_RA_DECRYPTS;
    renewed->name = joined(ra->name, second ? ":encryption" : "");
    renewed->file = joined(ra->renew.file, second ? CFG_RENEWED_ENCRYPTION : "");
    char *before = joined(renewed->file, CFG_RENEWED_BEFORE);
    if (pair_read(before, usage, &pair, faults, node))
        take(ra, role, pair);
    if (pair_read(renewed->file, usage, &pair, faults, node))
        take(ra, role, pair);
    free(before);
}

void cfg_renewed_take(struct cfg_identity *ra, struct cfg_faults *faults,
                      const struct cfg_node *node)
{
    const struct cfg_node *at = cfg_node_get(cfg_node_get(node, "renew"), "file");
    ra->renew.given = true;
    for (size_t role = 0; ra->renew.file && role < cfg_ra_pairs(ra); role++)
        pair_take(ra, (enum cfg_ra_role)role, faults, at);
}

void cfg_renewed_clear(struct cfg_identity *ra)
{
    for (size_t role = 0; role < CFG_RA_ROLES; role++) {
        struct cfg_renewed *renewed = &ra->renew.pairs[role];
        for (size_t i = 0; i < renewed->former_count; i++)
            pair_free(&renewed->former[i]);
        free(renewed->file);
        free(renewed->name);
        *renewed = (struct cfg_renewed){0};
    }
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
static void own_fill(struct cfg_profile *profile, const struct cfg_identity *ra,
                     enum cfg_ra_role role)
{
    profile->name = joined("ra:", ra->renew.pairs[role].name);
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
    copy_eku(profile, cfg_ra_pair(ra, role).chain.items[0]);
    profile->retry_window = EVER;
}

static void own_add(struct cfg *cfg, struct cfg_identity *ra, enum cfg_ra_role role)
{
    cfg->profiles = mem_resize(cfg->profiles, cfg->profile_count + 1, sizeof *cfg->profiles);
    ra->renew.pairs[role].profile = cfg->profile_count++;
    struct cfg_profile *own = &cfg->profiles[ra->renew.pairs[role].profile];
    *own = (struct cfg_profile){0};
    own_fill(own, ra, role);
}

void cfg_own_profiles(struct cfg *cfg)
{
    for (size_t i = 0; i < cfg->ra_count; i++)
        for (size_t role = 0; cfg->ras[i].renew.given && role < cfg_ra_pairs(&cfg->ras[i]); role++)
            own_add(cfg, &cfg->ras[i], (enum cfg_ra_role)role);
}
