#include "config/config.h"
#include "config/pattern.h"
#include "config/reference.h"
#include "config/schema.h"
#include "tests/support/config_make.h"
#include "tests/support/pki_make.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DAY 86400

/* Every key there is, none with its default. */
static const char full[] =
    "listen:\n"
    "  scep: [http://127.0.0.1:8080, https://127.0.0.1:8081]\n"
    "  est: [https://0.0.0.0:8443]\n"
    "  admin: [https://127.0.0.1:9443]\n"
    "tls: {certificate: tls.pem, key: tls.key, min_version: \"1.3\"}\n"
    "limits: {body: 1MiB, threads: 8}\n"
    "store: sqlite:state/scepter.db\n"
    "ra:\n"
    "  old: {certificate: sign2.pem, key: ra.key}\n"
    "  main: {certificate: ra.pem, key: ra.key}\n"
    "  split: {certificate: sign.pem, key: sign.key,\n"
    "          encryption: {certificate: crypt.pem, key: crypt.key}}\n"
    "upstreams:\n"
    "  lab: {type: fake, certificate: ca.pem, key: ca.key, chain: [ca.pem], validity: 90d}\n"
    "  plant: {type: fake, certificate: ca.pem, key: ca.key}\n"
    "profiles:\n"
    "  vpn:\n"
    "    routes:\n"
    "      - {match: {key: ec, label: phones}, upstream: plant}\n"
    "      - {match: {label: ''}, upstream: [lab]}\n"
    "      - {upstream: [plant]}\n"
    "    trust: [ca.pem, tls.pem]\n"
    "    anchors:\n"
    "      - {certificates: [ca.pem], class: explicit, revocation: none}\n"
    "      - {certificates: [ca.pem, ca.pem], intermediates: [ca.pem], class: implicit,\n"
    "         names: serial, revocation: soft_fail, crl: ['http://pki.example/a.crl'],\n"
    "         crl_under: ['http://pki.example/crl/'], ocsp: 'https://ocsp.example', refresh: 5m}\n"
    "    keys: {rsa: 2048-3072, ec: [P-384], ed25519: yes, reuse: refuse, blocklist: [keys1, "
    "keys2]}\n"
    "    subject: {CN: 'a|b', 2.5.4.10: \"^Example$\", 1.2.3.4: 'x{2}'}\n"
    "    san: {dns: ['*.vpn.example.com'], ip: [10.0.0.0/8, '2001:db8::1'], email: ['*'],\n"
    "          uri: ['urn:x:*'], max: 4}\n"
    "    eku: [clientAuth, ikeIntermediate, 1.2.3.4.5]\n"
    "    ignore_extensions: [1.3.6.1.4.1.311.20.2, tlsfeature]\n"
    "    validity: 30d\n"
    "    retry_window: 2h\n"
    "    challenge: {kinds: [one-time, fixed], fixed_file: secrets, ttl: 10m, uses: 5}\n"
    "    renewal: {window: 14d, grace_after_expiry: 3d, same_key: refuse,\n"
    "              change_names: allow}\n"
    "    approval: {quorum: 0}\n"
    "    scep: {paths: [/scep/vpn, /cgi-bin/pkiclient.exe], ra: [main, old], chain: full,\n"
    "           next: {upstream: plant, certificates: [ca.pem], ra: split}, legacy: des3-sha1,\n"
    "           client: cisco-vpn, root: exclude, fail_text: off}\n"
    "    est: {labels: [phones, ''], auth: [basic, digest], users: users, realm: 'plant 7', "
    "lenient: [pem],\n"
    "          insecure_digest_md5: true, binding: none, keygen: off}\n"
    "    owner: {contact: pki@example.com, technical: noc@example.com}\n"
    "  wifi:\n"
    "    routes: [{upstream: lab}]\n"
    "    trust: [ca.pem]\n"
    "    keys: {ec: [P-256]}\n"
    "    est: {labels: [wifi]}\n"
    "  made:\n"
    "    routes: [{upstream: lab}]\n"
    "    trust: [ca.pem]\n"
    "    est: {labels: [made], keygen: allow, keygen_keys: shared, signer: main}\n";

static char dir[64];

static int make_folder(void **state)
{
    (void)state;
    char path[96];
    config_dir_make(dir);
    EVP_PKEY *key = NULL;
    /* A certificate of an RA without keyUsage, for the key of another. */
    snprintf(path, sizeof path, "%s/ra.key", dir);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(key);
    X509 *x509 = make_x509(&(struct make_spec){.subject = "CN=old"}, key, NULL, NULL);
    snprintf(path, sizeof path, "%s/sign2.pem", dir);
    make_cert_file(path, x509);
    X509_free(x509);
    EVP_PKEY_free(key);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    make_dir_remove(dir);
    return 0;
}

/* The configuration in a file of that folder; fails the test with its faults. */
static struct cfg *load(const char *text)
{
    char path[96];
    struct cfg *cfg = NULL;
    struct buf faults = {0};
    config_dir_write(dir, "scepter.yaml", text, 0600);
    snprintf(path, sizeof path, "%s/scepter.yaml", dir);
    if (!cfg_load(path, &fake_kinds, &cfg, &faults))
        fail_msg("%s", buf_str(&faults));
    assert_int_equal(faults.len, 0);
    buf_free(&faults);
    return cfg;
}

static void assert_strings(const struct cfg_strings *strings, const char *joined)
{
    struct buf out = {0};
    for (size_t i = 0; i < strings->count; i++)
        assert_true(buf_add_fmt(&out, "%s%s", i ? " " : "", strings->items[i]));
    assert_string_equal(buf_str(&out), joined);
    buf_free(&out);
}

/* What stands outside of profiles arrives in the struct, with paths made absolute. */
static void test_full_top(void **state)
{
    (void)state;
    char path[96];
    struct cfg *cfg = load(full);
    snprintf(path, sizeof path, "%s/scepter.yaml", dir);
    assert_string_equal(cfg->path, path);
    assert_int_equal(cfg->listen.scep.count, 2);
    assert_false(cfg->listen.scep.items[0].tls);
    assert_string_equal(cfg->listen.scep.items[0].host, "127.0.0.1");
    assert_int_equal(cfg->listen.scep.items[0].port, 8080);
    assert_true(cfg->listen.scep.items[1].tls);
    assert_int_equal(cfg->listen.est.count, 1);
    assert_string_equal(cfg->listen.est.items[0].host, "0.0.0.0");
    assert_int_equal(cfg->listen.admin.items[0].port, 9443);
    assert_true(cfg->tls_given);
    assert_int_equal(cfg->tls.min_version, TLS1_3_VERSION);
    assert_int_equal(cfg->tls.identity.chain.count, 1);
    assert_non_null(cfg->tls.identity.key);
    assert_int_equal(cfg->limits.body, 1 << 20);
    assert_int_equal(cfg->limits.threads, 8);
    snprintf(path, sizeof path, "sqlite:%s/state/scepter.db", dir);
    assert_string_equal(cfg->store, path);
    assert_int_equal(cfg->ra_count, 3);
    assert_string_equal(cfg->ras[0].name, "old");
    assert_string_equal(cfg->ras[1].name, "main");
    assert_non_null(cfg->ras[1].key);
    assert_int_equal(cfg->ras[1].encryption.chain.count, 0);
    assert_int_equal(cfg->ras[2].encryption.chain.count, 1);
    assert_non_null(cfg->ras[2].encryption.key);
    assert_int_equal(cfg->upstream_count, 2);
    assert_string_equal(cfg->upstreams[0].name, "lab");
    assert_ptr_equal(cfg->upstreams[0].kind, &fake_kinds.items[0][0]);
    const struct fake_options *lab = cfg->upstreams[0].options, *plant = cfg->upstreams[1].options;
    assert_int_equal(lab->certificate.count, 1);
    assert_int_equal(lab->chain.count, 1);
    assert_non_null(lab->key);
    assert_int_equal(lab->validity, 90 * DAY);
    assert_int_equal(plant->validity, 30 * DAY);
    cfg_free(cfg);
}

/* Anchors arrive in their order, each certificate as an anchor of its own. */
static void test_full_anchors(void **state)
{
    (void)state;
    struct cfg *cfg = load(full);
    const struct cfg_profile *p = cfg_profile_get(cfg, "vpn");
    assert_int_equal(p->anchor_count, 2);
    const struct cfg_anchor *first = &p->anchors[0], *other = &p->anchors[1];
    assert_int_equal(first->class, CFG_ANCHOR_EXPLICIT);
    assert_int_equal(first->names, CFG_ANCHOR_SAME);
    assert_int_equal(first->checking.revocation, CFG_REVOCATION_NONE);
    assert_int_equal(first->checking.refresh, 3600);
    assert_null(first->checking.ocsp);
    assert_int_equal(other->class, CFG_ANCHOR_IMPLICIT);
    assert_int_equal(other->names, CFG_ANCHOR_SERIAL);
    assert_int_equal(other->checking.revocation, CFG_REVOCATION_SOFT_FAIL);
    assert_int_equal(other->certificates.count, 2);
    assert_int_equal(other->intermediates.count, 1);
    assert_ptr_not_equal(other->trusts[0], other->trusts[1]);
    assert_strings(&other->checking.crl, "http://pki.example/a.crl");
    assert_strings(&other->checking.crl_under, "http://pki.example/crl/");
    assert_string_equal(other->checking.ocsp, "https://ocsp.example");
    assert_int_equal(other->checking.refresh, 300);
    assert_int_equal(cfg_profile_get(cfg, "wifi")->anchor_count, 0);
    cfg_free(cfg);
}

/* What a profile says about keys, names and extensions arrives in the struct. */
static void test_full_rules(void **state)
{
    (void)state;
    struct cfg *cfg = load(full);
    const struct cfg_profile *p = cfg_profile_get(cfg, "vpn");
    assert_non_null(p);
    assert_ptr_equal(p, &cfg->profiles[0]);
    assert_string_equal(p->name, "vpn");
    assert_false(p->keys.any);
    assert_int_equal(p->keys.rsa_min, 2048);
    assert_int_equal(p->keys.rsa_max, 3072);
    assert_strings(&p->keys.ec, "P-384");
    assert_true(p->keys.ed25519);
    assert_int_equal(p->subject_count, 3);
    assert_string_equal(p->subject[0].type, "CN");
    assert_string_equal(p->subject[0].pattern, "a|b");
    assert_string_equal(p->subject[1].type, "O");
    assert_string_equal(p->subject[2].type, "1.2.3.4");
    assert_true(p->san_given);
    assert_strings(&p->san.dns, "*.vpn.example.com");
    assert_strings(&p->san.ip, "10.0.0.0/8 2001:db8::1");
    assert_strings(&p->san.email, "*");
    assert_strings(&p->san.uri, "urn:x:*");
    assert_int_equal(p->san.max, 4);
    assert_strings(&p->eku, "1.3.6.1.5.5.7.3.2 1.3.6.1.5.5.8.2.2 1.2.3.4.5");
    assert_strings(&p->ignore_extensions, "1.3.6.1.4.1.311.20.2 1.3.6.1.5.5.7.1.24");
    assert_int_equal(p->validity, 30 * DAY);
    assert_int_equal(p->retry_window, 7200);
    assert_int_equal(p->trust_certs.count, 2);
    assert_non_null(p->trust);
    assert_null(cfg_profile_get(cfg, "nobody"));
    cfg_free(cfg);
}

/* What a profile says about proofs, doors and ways arrives in the struct. */
static void test_full_doors(void **state)
{
    (void)state;
    struct cfg *cfg = load(full);
    const struct cfg_profile *p = cfg_profile_get(cfg, "vpn");
    assert_int_equal(p->route_count, 3);
    assert_true(p->routes[0].match_key);
    assert_int_equal(p->routes[0].key, SPKI_EC);
    assert_string_equal(p->routes[0].label, "phones");
    assert_int_equal(p->routes[0].upstream, 1);
    assert_false(p->routes[1].match_key);
    assert_string_equal(p->routes[1].label, "");
    assert_int_equal(p->routes[1].upstream, 0);
    assert_null(p->routes[2].label);
    assert_true(p->challenge.kinds[CFG_CHALLENGE_FIXED]);
    assert_true(p->challenge.kinds[CFG_CHALLENGE_ONE_TIME]);
    assert_int_equal(p->challenge.fixed_count, 2);
    assert_true(bytes_equal_str(buf_bytes(&p->challenge.fixed[0]), "first-secret-of-two"));
    assert_true(bytes_equal_str(buf_bytes(&p->challenge.fixed[1]), "SECOND-SECRET-123"));
    assert_true(p->challenge.fixed[0].secret);
    assert_int_equal(p->challenge.ttl, 600);
    assert_int_equal(p->challenge.uses, 5);
    assert_int_equal(p->renewal.window, 14 * DAY);
    assert_int_equal(p->renewal.grace_after_expiry, 3 * DAY);
    assert_int_equal(p->renewal.same_key, CFG_SAME_KEY_REFUSE);
    assert_int_equal(p->renewal.change_names, CFG_CHANGE_ALLOW);
    assert_int_equal(p->keys.reuse, CFG_REUSE_REFUSE);
    assert_int_equal(blocklist_count(p->keys.blocklist), 3);
    assert_true(p->scep_enabled);
    assert_strings(&p->scep.paths, "/scep/vpn /cgi-bin/pkiclient.exe");
    assert_int_equal(p->scep.ra_count, 2);
    assert_int_equal(p->scep.ra[0], 1);
    assert_int_equal(p->scep.ra[1], 0);
    assert_true(p->scep.next.given && p->scep.next.upstream_given && p->scep.next.ra_given);
    assert_int_equal(p->scep.next.upstream, 1);
    assert_int_equal(p->scep.next.ra, 2);
    assert_int_equal(p->scep.next.certificates.count, 1);
    assert_int_equal(p->scep.chain, CFG_CHAIN_FULL);
    assert_int_equal(p->scep.legacy, CFG_LEGACY_DES3_SHA1);
    assert_int_equal(p->scep.client, CFG_CLIENT_CISCO_VPN);
    assert_int_equal(p->scep.root, CFG_CHOICE_NO);
    assert_int_equal(p->scep.fail_text, CFG_CHOICE_NO);
    assert_string_equal(p->owner_contact, "pki@example.com");
    assert_string_equal(p->owner_technical, "noc@example.com");
    cfg_free(cfg);
}

static void test_full_est(void **state)
{
    (void)state;
    struct cfg *cfg = load(full);
    const struct cfg_profile *p = cfg_profile_get(cfg, "vpn");
    assert_true(p->est.enabled);
    assert_strings(&p->est.labels, "phones ");
    assert_false(p->est.auth_certificate);
    assert_true(p->est.auth_basic);
    assert_true(p->est.auth_digest && p->est.digest_md5);
    assert_string_equal(p->est.realm, "plant 7");
    assert_true(p->est.strict[CFG_LENIENT_DER]);
    assert_false(p->est.strict[CFG_LENIENT_PEM]);
    assert_true(p->est.strict[CFG_LENIENT_NO_TYPE]);
    assert_int_equal(p->est.auth_require, CFG_REQUIRE_ANY);
    assert_int_equal(p->est.user_count, 3);
    assert_string_equal(p->est.users[0].name, "alice");
    assert_memory_equal(p->est.users[0].hash, "$6$", 3);
    assert_string_equal(p->est.users[1].name, "bob");
    assert_null(p->est.users[1].ha1[CFG_DIGEST_SHA256]);
    /* One user with every form, in lower case. */
    assert_string_equal(p->est.users[2].name, "carol");
    assert_memory_equal(p->est.users[2].hash, "$5$", 3);
    assert_string_equal(p->est.users[2].ha1[CFG_DIGEST_SHA256],
                        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    assert_string_equal(p->est.users[2].ha1[CFG_DIGEST_MD5], "0123456789abcdef0123456789abcdef");
    cfg_free(cfg);
}

/* A profile whose devices have their keys made. */
static void test_full_keygen(void **state)
{
    (void)state;
    struct cfg *cfg = load(full);
    const struct cfg_profile *made = cfg_profile_get(cfg, "made");
    assert_int_equal(made->est.keygen, CFG_KEYGEN_ALLOW);
    assert_int_equal(made->est.shared_key_count, 2);
    assert_true(bytes_equal(buf_bytes(&made->est.shared_keys[0].id), bytes_of("\x0a\x0b", 2)));
    assert_true(bytes_equal_str(buf_bytes(&made->est.shared_keys[1].id), "device-1"));
    assert_int_equal(made->est.shared_keys[0].key.len, CFG_SHARED_KEY_LEN);
    assert_int_equal(made->est.shared_keys[0].key.ptr[31], 0x1f);
    assert_true(made->est.shared_keys[0].key.secret);
    assert_int_equal(made->est.fullcmc, CFG_FULLCMC_OFF);
    assert_true(made->est.signer_given);
    assert_string_equal(cfg->ras[made->est.signer].name, "main");
    cfg_free(cfg);
}

/* What is left out has its default. */
static void test_defaults(void **state)
{
    (void)state;
    struct cfg *cfg = load("listen: {scep: [http://127.0.0.1:8080]}\n"
                           "store: sqlite:state/scepter.db\n"
                           "ra: {main: {certificate: ra.pem, key: ra.key}}\n"
                           "upstreams: {lab: {type: fake, certificate: ca.pem, key: ca.key}}\n"
                           "profiles:\n"
                           "  vpn: {routes: [{upstream: lab}], trust: [ca.pem],\n"
                           "        scep: {paths: [/scep], ra: [main]}}\n");
    const struct cfg_profile *p = &cfg->profiles[0];
    assert_int_equal(cfg->listen.est.count, 0);
    assert_int_equal(cfg->listen.admin.count, 0);
    assert_false(cfg->tls_given);
    assert_int_equal(cfg->tls.min_version, TLS1_2_VERSION);
    assert_int_equal(cfg->limits.body, 128 << 10);
    assert_int_equal(cfg->limits.threads, 64);
    assert_true(p->keys.any);
    assert_int_equal(p->keys.rsa_min, 2048);
    assert_int_equal(p->keys.rsa_max, 4096);
    assert_strings(&p->keys.ec, "P-256 P-384 P-521");
    assert_false(p->keys.ed25519);
    assert_null(p->subject);
    assert_false(p->san_given);
    assert_int_equal(p->san.max, 8);
    assert_strings(&p->eku, "1.3.6.1.5.5.7.3.2");
    assert_int_equal(p->ignore_extensions.count, 0);
    assert_int_equal(p->validity, 0);
    assert_int_equal(p->retry_window, DAY);
    assert_false(p->challenge.kinds[CFG_CHALLENGE_FIXED]);
    assert_false(p->challenge.kinds[CFG_CHALLENGE_ONE_TIME]);
    assert_int_equal(p->challenge.fixed_count, 0);
    assert_int_equal(p->challenge.ttl, 3600);
    assert_int_equal(p->challenge.uses, 1);
    assert_int_equal(p->renewal.window, 0);
    assert_int_equal(p->renewal.grace_after_expiry, 0);
    assert_int_equal(p->renewal.same_key, CFG_SAME_KEY_ALLOW);
    assert_int_equal(p->renewal.change_names, CFG_CHANGE_REFUSE);
    assert_int_equal(p->scep.chain, CFG_CHAIN_CLIENT);
    assert_int_equal(p->scep.legacy, CFG_LEGACY_NONE);
    assert_int_equal(p->scep.client, CFG_CLIENT_AUTO);
    assert_int_equal(p->scep.root, CFG_CHOICE_CLIENT);
    assert_int_equal(p->scep.fail_text, CFG_CHOICE_CLIENT);
    assert_false(p->est.enabled);
    assert_null(p->owner_contact);
    assert_null(p->owner_technical);
    cfg_free(cfg);
}

/* Without auth, EST takes certificates only; without an RSA entry, a list of keys allows no RSA. */
static void test_defaults_in_sections(void **state)
{
    (void)state;
    struct cfg *cfg = load(full);
    const struct cfg_profile *p = cfg_profile_get(cfg, "wifi");
    assert_true(p->est.auth_certificate);
    assert_false(p->est.auth_basic);
    assert_false(p->est.strict[CFG_LENIENT_DER]);
    assert_false(p->est.strict[CFG_LENIENT_NO_TYPE]);
    assert_null(p->est.users);
    assert_int_equal(p->est.keygen, CFG_KEYGEN_OFF);
    assert_int_equal(p->est.shared_key_count, 0);
    assert_false(p->est.signer_given);
    assert_false(p->scep_enabled);
    assert_false(p->keys.any);
    assert_int_equal(p->keys.rsa_max, 0);
    assert_strings(&p->keys.ec, "P-256");
    cfg_free(cfg);
}

static bool subject_matches(const struct cfg_subject *subject, const char *value)
{
    return regexec(&subject->regex, value, 0, NULL, 0) == 0;
}

/* A subject's pattern matches a value whole, whatever it says about its ends. */
static void test_patterns_match_whole(void **state)
{
    (void)state;
    struct cfg *cfg = load(full);
    const struct cfg_subject *subject = cfg->profiles[0].subject;
    assert_true(subject_matches(&subject[0], "a"));
    assert_true(subject_matches(&subject[0], "b"));
    assert_false(subject_matches(&subject[0], "ab"));
    assert_false(subject_matches(&subject[0], "xb"));
    assert_false(subject_matches(&subject[0], "a\nb"));
    assert_true(subject_matches(&subject[1], "Example"));
    assert_false(subject_matches(&subject[1], "Example2"));
    assert_true(subject_matches(&subject[2], "xx"));
    assert_false(subject_matches(&subject[2], "xxx"));
    cfg_free(cfg);
}

/* Patterns that would escape from being whole, or that cost too much, do not compile. */
static void test_patterns_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "a)|b",     "a)|(b",
        "(a",       "[a",
        "*a",       "(a)\\1",
        "x{3,2}",   "((a{1,60}){1,60}){1,60}",
        "a{99999}", "(((((((((((((((((a)))))))))))))))))",
        "a\\",
    };
    static const char *const good[] = {
        "",        "a\\)",
        "[)]",     "[]a)(]+",
        "[^]()]",  "([0-9]{1,3}\\.){3}[0-9]{1,3}",
        "^a",      "a$",
        "^(a|b)$", "[[:alpha:])]{4,32}",
        "\\(a\\)",
    };
    struct err err;
    regex_t regex;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (cfg_pattern_compile(bad[i], &regex, &err))
            fail_msg("%s compiles", bad[i]);
        assert_true(err.text[0]);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (!cfg_pattern_compile(good[i], &regex, &err))
            fail_msg("%s: %s", good[i], err.text);
        regfree(&regex);
    }
}

/* A snapshot lives until its last user has let go of it. */
static void test_counting(void **state)
{
    (void)state;
    struct cfg *cfg = load(config_base);
    struct cfg *again = cfg_ref(cfg);
    assert_ptr_equal(cfg, again);
    cfg_free(cfg);
    assert_string_equal(again->profiles[0].name, "vpn");
    cfg_free(again);
    cfg_free(NULL);
}

/* A relative path is relative to the folder of the file, also if that is given as a relative path.
 */
static void test_relative(void **state)
{
    (void)state;
    char before[4096], path[96];
    struct cfg *cfg = NULL;
    struct buf faults = {0};
    config_dir_write(dir, "scepter.yaml", config_base, 0600);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir("/tmp"), 0);
    assert_memory_equal(dir, "/tmp/", 5);
    snprintf(path, sizeof path, "%s/scepter.yaml", dir + 5);
    assert_true(cfg_load(path, &fake_kinds, &cfg, &faults));
    snprintf(path, sizeof path, "sqlite:%s/state/scepter.db", dir);
    assert_string_equal(cfg->store, path);
    cfg_free(cfg);
    assert_int_equal(chdir(dir), 0);
    assert_true(cfg_load("scepter.yaml", &fake_kinds, &cfg, &faults));
    assert_string_equal(cfg->store, path);
    cfg_free(cfg);
    assert_int_equal(chdir(before), 0);
    buf_free(&faults);
}

/* A file cut at any length is taken or refused with a fault, and nothing else happens. */
static void test_truncated(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof full; len++) {
        struct cfg *cfg = NULL;
        struct buf faults = {0};
        char *copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy, full, len);
        bool ok =
            cfg_load_text(bytes_of(copy, len), "/nonexistent/x.yaml", &fake_kinds, &cfg, &faults);
        assert_false(ok);
        assert_null(cfg);
        assert_true(faults.len > 0);
        assert_int_equal(faults.ptr[faults.len - 1], '\n');
        buf_free(&faults);
        free(copy);
    }
}

static bool holds(struct buf *text, const char *part)
{
    return strstr(buf_str(text), part);
}

/* Every key of a table and of the tables below it occurs in both documents. */
static void assert_described(const struct cfg_key *keys, struct buf *page, struct buf *schema)
{
    for (; keys->name; keys++) {
        char part[128];
        assert_non_null(keys->meaning);
        snprintf(part, sizeof part, "| `%s` | ", keys->name);
        assert_true(holds(page, part));
        snprintf(part, sizeof part, "\"%s\": {", keys->name);
        assert_true(holds(schema, part));
        assert_true(holds(schema, "\"description\": \""));
        if (keys->sub)
            assert_described(keys->sub, page, schema);
    }
}

/* Reference and schema hold every key, and the options of every kind of upstream. */
static void test_reference(void **state)
{
    (void)state;
    struct buf page = {0}, schema = {0};
    assert_true(cfg_reference_write(&fake_kinds, &page));
    assert_true(cfg_schema_write(&fake_kinds, &schema));
    assert_described(cfg_schema, &page, &schema);
    assert_described(fake_kinds.items[0]->keys, &page, &schema);
    assert_true(holds(&page, "## upstreams.NAME of type fake"));
    assert_true(holds(&page, "| `ttl` | a duration from 1s to 365d | `1h` | "));
    assert_true(holds(&page, "| `body` | a size from 16KiB to 16MiB | `128KiB` | "));
    assert_true(holds(&schema, "\"https://json-schema.org/draft/2020-12/schema\""));
    assert_true(holds(&schema, "\"const\": \"fake\""));
    assert_true(
        holds(&schema, "\"required\": [\"listen\", \"store\", \"upstreams\", \"profiles\"]"));
    int depth = 0;
    for (const char *p = buf_str(&schema); *p; p++) {
        depth += *p == '{' || *p == '[' ? 1 : *p == '}' || *p == ']' ? -1 : 0;
        assert_true(depth >= 0);
    }
    assert_int_equal(depth, 0);
    buf_free(&page);
    buf_free(&schema);
}

/* Both documents say so when they do not fit. */
static void test_reference_ceiling(void **state)
{
    (void)state;
    struct buf page = BUF_INIT(1000), schema = BUF_INIT(1000);
    assert_false(cfg_reference_write(&fake_kinds, &page));
    assert_false(cfg_schema_write(&fake_kinds, &schema));
    buf_free(&page);
    buf_free(&schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_top),
        cmocka_unit_test(test_full_anchors),
        cmocka_unit_test(test_full_rules),
        cmocka_unit_test(test_full_doors),
        cmocka_unit_test(test_full_est),
        cmocka_unit_test(test_full_keygen),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_defaults_in_sections),
        cmocka_unit_test(test_patterns_match_whole),
        cmocka_unit_test(test_patterns_refused),
        cmocka_unit_test(test_counting),
        cmocka_unit_test(test_relative),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_reference_ceiling),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
