#include "config/judge.h"

#include "config/config.h"
#include "config/table.h"

#include <openssl/err.h>
#include <string.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 4096

void cfg_judge_tls(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct cfg_tls *tls = field;
    (void)cfg_judge_pair(&tls->identity.chain, tls->identity.key, node, faults);
}

void cfg_judge_tls_other(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct cfg_identity *identity = field;
    (void)cfg_judge_pair(&identity->chain, identity->key, node, faults);
}

/* Other rules for the kinds that are usual. */
static bool names_no_kind(const struct cfg_node *keys)
{
    static const char *const kinds[] = {"rsa", "ec", "ed25519"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (cfg_node_get(keys, kinds[i]))
            return false;
    return !keys || keys->count;
}

void cfg_judge_keys(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct cfg_keys *keys = field;
    if (!cfg_node_get(node, "rsa") && !cfg_node_get(node, "ec") && !keys->ed25519 &&
        !names_no_kind(node))
        cfg_fault_key(faults, node, NULL, "allows no key; expected rsa, ec or ed25519");
}

void cfg_judge_match(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    struct cfg_route *route = field;
    (void)faults;
    route->match_key = cfg_node_get(node, "key");
}

void cfg_judge_challenge(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct cfg_challenge *challenge = field;
    bool file = cfg_node_get(node, "fixed_file");
    const struct cfg_node *kinds = cfg_node_get(node, "kinds");
    if (challenge->kinds[CFG_CHALLENGE_FIXED] && !file)
        cfg_fault_key(faults, node, "fixed_file",
                      "is missing; expected a file with one secret a line, since kinds has fixed");
    if (kinds && kinds->kind == CFG_NODE_LIST && !challenge->kinds[CFG_CHALLENGE_FIXED] && file)
        cfg_fault_key(faults, cfg_node_get(node, "fixed_file"), NULL,
                      "is not used; expected fixed in kinds");
}

/* What csrattrs names is said in a form that can say it, and each extension once. */
static void judge_csrattrs(struct cfg_est *est, struct cfg_faults *faults,
                           const struct cfg_node *node)
{
    const struct cfg_node *extensions = cfg_node_get(node, "csrattrs_extensions");
    const struct cfg_node *oids = cfg_node_get(node, "csrattrs_oids");
    est->extensions_given = extensions;
    if (extensions && est->csrattrs == CFG_CSRATTRS_NONE)
        cfg_fault_key(faults, extensions, NULL, "is not used; expected csrattrs other than none");
    if (oids && est->csrattrs != CFG_CSRATTRS_PLAIN && est->csrattrs != CFG_CSRATTRS_BOTH)
        cfg_fault_key(faults, oids, NULL, "is not used; expected csrattrs plain or both");
    for (size_t i = 0; extensions && i < est->extension_count; i++)
        for (size_t k = 0; k < i && est->extensions[i].oid; k++)
            if (est->extensions[k].oid &&
                strcmp(est->extensions[i].oid, est->extensions[k].oid) == 0)
                cfg_fault(faults, extensions->items[i], "names %s once more",
                          est->extensions[i].oid);
}

void cfg_judge_est(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    struct cfg_est *est = field;
    judge_csrattrs(est, faults, node);
    const struct cfg_node *users = cfg_node_get(node, "users");
    /* Without any, auth has a fault of its own, and may have meant what is judged by it. */
    bool auth = est->auth_certificate || est->auth_basic || est->auth_digest;
    if (auth && users && !est->auth_basic && !est->auth_digest)
        cfg_fault_key(faults, users, NULL, "is not used; expected basic or digest in auth");
    if (auth && est->digest_md5 && !est->auth_digest)
        cfg_fault_key(faults, cfg_node_get(node, "insecure_digest_md5"), NULL,
                      "is not used; expected digest in auth");
    if (auth && est->auth_require == CFG_REQUIRE_ALL &&
        (!est->auth_certificate || (!est->auth_basic && !est->auth_digest)))
        cfg_fault_key(faults, cfg_node_get(node, "auth_require"), NULL,
                      "is all; expected certificate, and basic or digest, in auth");
    if (est->auth_require == CFG_REQUIRE_ALL && est->fullcmc != CFG_FULLCMC_OFF)
        cfg_fault_key(faults, cfg_node_get(node, "fullcmc"), NULL,
                      "is authorized by a signature alone; expected auth_require: any");
    if (est->binding == CFG_BINDING_REQUIRED && est->fullcmc != CFG_FULLCMC_OFF)
        cfg_fault_key(faults, cfg_node_get(node, "fullcmc"), NULL,
                      "is bound to no TLS connection; expected binding: none or optional");
    const struct cfg_node *shared = cfg_node_get(node, "keygen_keys");
    if (shared && est->keygen == CFG_KEYGEN_OFF)
        cfg_fault_key(faults, shared, NULL, "is not used; expected keygen to be allowed");
    const struct cfg_node *signer = cfg_node_get(node, "signer");
    if (signer && est->keygen == CFG_KEYGEN_OFF && est->fullcmc == CFG_FULLCMC_OFF)
        cfg_fault_key(faults, signer, NULL, "is not used; expected keygen or fullcmc");
}

static void default_keys(struct cfg_keys *keys)
{
    static const char *const curves[] = {"P-256", "P-384", "P-521"};
    keys->any = true;
    keys->rsa_min = RSA_BITS_MIN;
    keys->rsa_max = RSA_BITS_MAX;
    keys->ec.items = mem_zalloc(sizeof curves);
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++)
        keys->ec.items[keys->ec.count++] = mem_strdup(curves[i]);
}

static bool route_matches_all(const struct cfg_route *route)
{
    return !route->match_key && !route->label;
}

static bool strings_hold(const struct cfg_strings *strings, const char *text)
{
    for (size_t i = 0; i < strings->count; i++) {
        if (strcmp(strings->items[i], text) == 0)
            return true;
    }
    return false;
}

/* First match wins: only the last route may match everything, and it has to. */
static void judge_routes(const struct cfg_profile *profile, struct cfg_faults *faults,
                         const struct cfg_node *node)
{
    for (size_t i = 0; i < profile->route_count; i++) {
        const struct cfg_route *route = &profile->routes[i];
        const struct cfg_node *match = cfg_node_get(node->items[i], "match");
        bool last = i + 1 == profile->route_count;
        /* A match with faults of its own is not empty, whatever is left of it. */
        bool all = route_matches_all(route) && (!match || !match->count);
        if (!last && all)
            cfg_fault(faults, node->items[i],
                      "matches everything; expected only the last route to do so");
        if (last && !all)
            cfg_fault(faults, match,
                      "leaves requests without a route; expected the last route to "
                      "have no match");
        if (route->label && !strings_hold(&profile->est.labels, route->label))
            cfg_fault_value(faults, cfg_node_get(match, "label"), "is not among est.labels",
                            "one of them");
    }
}

/* Digest needs what the password is made of: a hash of ours says nothing of what was not sent. */
static void judge_digest(const struct cfg_profile *profile, struct cfg_faults *faults,
                         const struct cfg_node *node)
{
    const struct cfg_est *est = &profile->est;
    const struct cfg_node *section = cfg_node_get(node, "est");
    bool known[CFG_DIGEST_COUNT] = {false};
    if (cfg_node_get(section, "users") && !est->user_count)
        return; /* has a fault of its own */
    for (size_t i = 0; i < est->user_count; i++)
        for (unsigned k = 0; k < CFG_DIGEST_COUNT; k++)
            known[k] = known[k] || est->users[i].ha1[k];
    bool fixed = profile->challenge.kinds[CFG_CHALLENGE_FIXED];
    bool any = known[CFG_DIGEST_SHA256] || (est->digest_md5 && known[CFG_DIGEST_MD5]);
    if (est->auth_digest && !fixed && !any)
        cfg_fault(faults, cfg_node_get(section, "auth"),
                  "has digest and nothing to check it against; expected fixed challenges, or "
                  "est.users with a digest form");
    if (known[CFG_DIGEST_MD5] && est->auth_digest && !est->digest_md5)
        cfg_fault_key(faults, cfg_node_get(section, "users"), NULL,
                      "has {digest-md5}; expected insecure_digest_md5: true");
    if ((known[CFG_DIGEST_SHA256] || known[CFG_DIGEST_MD5]) && est->auth_basic && !est->auth_digest)
        cfg_fault_key(faults, cfg_node_get(section, "users"), NULL,
                      "has a digest form; expected digest in auth");
}

static void judge_basic(const struct cfg_profile *profile, struct cfg_faults *faults,
                        const struct cfg_node *node)
{
    const struct cfg_node *est = cfg_node_get(node, "est");
    if (profile->est.auth_basic && !cfg_node_get(est, "users") && !cfg_node_get(node, "challenge"))
        cfg_fault(faults, cfg_node_get(est, "auth"),
                  "has basic and nothing to check a password against; expected est.users or "
                  "challenge");
    if (profile->est.challenge_password == CFG_PASSWORD_SECRET && !cfg_node_get(node, "challenge"))
        cfg_fault(faults, cfg_node_get(est, "challenge_password"),
                  "is secret and there is nothing to check it against; expected challenge");
}

/* A repetition of a request is given the key that was made for it. With a secret that devices
 * share, one could repeat what another sent. */
static void judge_keygen(const struct cfg_profile *profile, struct cfg_faults *faults,
                         const struct cfg_node *node)
{
    if (profile->est.keygen != CFG_KEYGEN_OFF && profile->challenge.kinds[CFG_CHALLENGE_FIXED])
        cfg_fault_key(faults, cfg_node_get(cfg_node_get(node, "est"), "keygen"), NULL,
                      "makes keys, and devices that share a fixed challenge could ask for each "
                      "other's; expected challenge.kinds: [one-time], or another profile");
}

/* RFC 7030 section 3.7: only the profile's own CA makes an RA. */
static void judge_cmc_ra(const struct cfg_profile *profile, struct cfg_faults *faults,
                         const struct cfg_node *node)
{
    bool any = false;
    for (size_t i = 0; i < profile->anchor_count; i++)
        any = any || profile->anchors[i].class == CFG_ANCHOR_EXPLICIT;
    if (profile->cmc_ra && !any)
        cfg_fault_key(faults, cfg_node_get(node, "cmc_ra"), NULL,
                      "has no CA to go by; expected one of class explicit in anchors");
}

/* An anchor whose key OpenSSL cannot use anchors nothing. */
static void judge_trust(const struct cfg_profile *profile, struct cfg_faults *faults,
                        const struct cfg_node *node)
{
    for (size_t i = 0; i < profile->trust_certs.count; i++) {
        const struct cert *cert = profile->trust_certs.items[i];
        X509 *x509 = cert_keyed_get(cert);
        if (!x509 || !X509_get0_pubkey(x509))
            cfg_fault(faults, cfg_node_get(node, "trust"),
                      "holds a certificate whose key cannot be used (\"%s\"); expected RSA, EC or "
                      "EdDSA keys",
                      cert_names_get(cert)->subject_text);
    }
    ERR_clear_error();
}

void cfg_judge_profile(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    struct cfg_profile *profile = field;
    const struct cfg_node *routes = cfg_node_get(node, "routes");
    profile->scep_enabled = cfg_node_get(node, "scep");
    profile->est.enabled = cfg_node_get(node, "est");
    profile->san_given = cfg_node_get(node, "san");
    if (names_no_kind(cfg_node_get(node, "keys")))
        default_keys(&profile->keys);
    if (!profile->scep_enabled && !profile->est.enabled)
        cfg_fault_key(faults, node, NULL, "has no door; expected scep, est or both");
    if (routes && routes->kind == CFG_NODE_LIST)
        judge_routes(profile, faults, routes);
    judge_basic(profile, faults, node);
    judge_digest(profile, faults, node);
    judge_keygen(profile, faults, node);
    judge_cmc_ra(profile, faults, node);
    judge_trust(profile, faults, node);
    if (profile->trust_certs.count)
        profile->trust = trust_new(profile->trust_certs.items, profile->trust_certs.count);
}
