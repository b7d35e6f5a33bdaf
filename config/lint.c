#include "config/lint.h"

#include "base/clock.h"
#include "config/renewed.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SOON (INT64_C(14) * 86400)
#define RSA_BITS_MIN 2048
#define DATE_LEN 11
#define REQUEST_AGENT "1.3.6.1.4.1.311.20.2.1" /* Certificate Request Agent */

static void date_text(int64_t at, char out[DATE_LEN])
{
    struct tm tm;
    time_t time = (time_t)at;
    if (!gmtime_r(&time, &tm) || !strftime(out, DATE_LEN, "%Y-%m-%d", &tm))
        snprintf(out, DATE_LEN, "-");
}

/* Whether devices of a profile are told this one. */
static bool is_told(const struct cfg *cfg, size_t ra)
{
    for (size_t i = 0; i < cfg->profile_count; i++) {
        const struct cfg_scep *scep = &cfg->profiles[i].scep;
        if (scep->ra_count && scep->ra[0] == ra)
            return true;
    }
    return false;
}

/* An RA that decrypts what is left from before a change may have ended. */
static void lint_time(const struct cfg_pair *pair, bool renews, const struct cfg_node *node,
                      struct cfg_faults *warnings)
{
    int64_t now = clock_now(), end = cert_not_after_get(pair->chain.items[0]);
    int64_t begin = cert_not_before_get(pair->chain.items[0]);
    char date[DATE_LEN];
    date_text(begin > now ? begin : end, date);
    if (begin > now)
        cfg_fault(warnings, node, "warning: is not valid before %s", date);
    else if (end < now)
        cfg_fault(warnings, node, "warning: ended on %s; devices refuse what it signs", date);
    else if (end < now + SOON && !renews)
        cfg_fault(warnings, node, "warning: ends on %s, and nothing renews it", date);
}

/* Many a peer takes the certificates behind the first as they come. */
static void lint_chain(const struct cfg_certs *chain, const struct cfg_node *node,
                       struct cfg_faults *warnings)
{
    for (size_t i = 1; i < chain->count; i++) {
        bool issued = false;
        for (size_t k = 0; k < i; k++)
            issued = issued || cert_issued(chain->items[i], chain->items[k]);
        if (!issued)
            cfg_fault(warnings, node,
                      "warning: holds \"%s\", which issued nothing of what is before it; peers may "
                      "refuse such a chain",
                      cert_names_get(chain->items[i])->subject_text);
    }
}

static void lint_pair(const struct cfg *cfg, const struct cfg_pair *pair,
                      const struct cfg_node *node, struct cfg_faults *warnings)
{
    const EVP_PKEY *tls = cfg->tls.identity.key;
    lint_chain(&pair->chain, node, warnings);
    if (!(X509_get_extension_flags(cert_x509_get(pair->chain.items[0])) & EXFLAG_KUSAGE))
        cfg_fault(warnings, node,
                  "warning: has no keyUsage, by which Apple's devices look for an RA");
    if (EVP_PKEY_get_bits(pair->key) < RSA_BITS_MIN)
        cfg_fault(warnings, node, "warning: has a key of %d bits; devices refuse less than %d",
                  EVP_PKEY_get_bits(pair->key), RSA_BITS_MIN);
    if (tls && EVP_PKEY_eq(tls, pair->key) == 1)
        cfg_fault(
            warnings, node,
            "warning: has the key of the TLS server; whoever finds a flaw in one use has both");
    ERR_clear_error(); /* keys of two kinds, which nobody shall hear of later */
}

static void lint_ra(const struct cfg *cfg, size_t index, const struct cfg_node *node,
                    struct cfg_faults *warnings)
{
    const struct cfg_identity *ra = &cfg->ras[index];
    for (size_t role = 0; role < cfg_ra_pairs(ra); role++) {
        struct cfg_pair pair = cfg_ra_pair(ra, (enum cfg_ra_role)role);
        const struct cfg_node *at =
            role == CFG_RA_DECRYPTS ? cfg_node_get(node, "encryption") : node;
        at = cfg_node_get(at, "certificate");
        lint_pair(cfg, &pair, at, warnings);
        if (is_told(cfg, index))
            lint_time(&pair, ra->renew.given, at, warnings);
    }
}

/* Whether there is an extendedKeyUsage; *suits: one by which Windows takes it for an RA. */
static bool has_eku(const struct cert *cert, bool *suits)
{
    EXTENDED_KEY_USAGE *usages =
        X509_get_ext_d2i(cert_x509_get(cert), NID_ext_key_usage, NULL, NULL);
    *suits = false;
    for (int i = 0; i < sk_ASN1_OBJECT_num(usages); i++) {
        const ASN1_OBJECT *usage = sk_ASN1_OBJECT_value(usages, i);
        char oid[sizeof REQUEST_AGENT];
        bool agent = OBJ_obj2txt(oid, sizeof oid, usage, 1) == sizeof REQUEST_AGENT - 1 &&
                     strcmp(oid, REQUEST_AGENT) == 0;
        *suits = *suits || agent || OBJ_obj2nid(usage) == NID_server_auth;
    }
    bool has = usages;
    sk_ASN1_OBJECT_pop_free(usages, ASN1_OBJECT_free);
    return has;
}

/* What the profile's devices want of the RA that they are told. */
static void lint_profile(const struct cfg *cfg, const struct cfg_scep *scep,
                         const struct cfg_node *node, struct cfg_faults *warnings)
{
    const struct cfg_identity *ra = &cfg->ras[scep->ra[0]];
    bool suits, has = has_eku(ra->chain.items[0], &suits);
    bool windows = scep->client == CFG_CLIENT_WINDOWS;
    if (!suits && (windows || (has && scep->client == CFG_CLIENT_AUTO)))
        cfg_fault(warnings, node,
                  "warning: %s has neither serverAuth nor Certificate Request Agent (" REQUEST_AGENT
                  ") in extendedKeyUsage; Windows sends it no request",
                  ra->name);
    if (scep->client == CFG_CLIENT_APPLE && cfg_ra_pairs(ra) > 1)
        cfg_fault(
            warnings, node,
            "warning: %s has two pairs; Apple's devices look for one certificate for both uses",
            ra->name);
}

static void lint_tls(const struct cfg *cfg, const struct cfg_node *node,
                     struct cfg_faults *warnings)
{
    const struct cfg_node *others = cfg_node_get(node, "others");
    lint_chain(&cfg->tls.identity.chain, cfg_node_get(node, "certificate"), warnings);
    for (size_t i = 0; i < cfg->tls.other_count; i++)
        lint_chain(&cfg->tls.others[i].chain, cfg_node_get(others->items[i], "certificate"),
                   warnings);
}

void cfg_lint(const struct cfg *cfg, const struct cfg_node *root, struct cfg_faults *warnings)
{
    const struct cfg_node *ras = cfg_node_get(root, "ra");
    const struct cfg_node *profiles = cfg_node_get(root, "profiles");
    lint_tls(cfg, cfg_node_get(root, "tls"), warnings);
    for (size_t i = 0; i < cfg->ra_count; i++)
        lint_ra(cfg, i, ras->items[i], warnings);
    for (size_t i = 0; i < cfg->profile_count; i++)
        if (cfg->profiles[i].scep.ra_count)
            lint_profile(cfg, &cfg->profiles[i].scep,
                         cfg_node_get(cfg_node_get(profiles->items[i], "scep"), "ra"), warnings);
}
