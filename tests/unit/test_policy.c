#include "base/clock.h"
#include "ra/policy.h"
#include "tests/support/pki_make.h"

#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define STRINGS(...)                                                                               \
    {                                                                                              \
        .items = (char *[]){__VA_ARGS__},                                                          \
        .count = sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)                                  \
    }
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define EKU_CLIENT "1.3.6.1.5.5.7.3.2"
#define EKU_IKE "1.3.6.1.5.5.8.2.2"
#define EKU_ANY "2.5.29.37.0"
#define EKU_CMC_RA "1.3.6.1.5.5.7.3.28"
#define OID_TEMPLATE "1.3.6.1.4.1.311.20.2"
#define OID_SID "1.3.6.1.4.1.311.25.2"

/* Any subject, no SAN, the usual keys. */
static const struct cfg_profile open_profile = {.name = "open", .keys.any = true};

static const struct cfg_profile san_profile = {
    .name = "san",
    .keys.any = true,
    .san_given = true,
    .san = {.dns = STRINGS("*.vpn.example.com", "exact.example.com"),
            .ip = STRINGS("10.0.0.0/8", "172.16.0.0/12", "192.0.2.7", "2001:db8::/33"),
            .email = STRINGS("*@example.com"),
            .uri = STRINGS("urn:dev:*"),
            .max = 3},
};

static const struct cfg_profile any_san_profile = {
    .name = "any-san",
    .keys.any = true,
    .san_given = true,
    .san = {.dns = STRINGS("*"),
            .ip = STRINGS("0.0.0.0/0"),
            .email = STRINGS("*"),
            .uri = STRINGS("*"),
            .max = 100},
};

static const struct cfg_profile eku_profile = {
    .name = "eku",
    .keys.any = true,
    .eku = STRINGS(EKU_IKE, EKU_ANY, EKU_CMC_RA),
    .ignore_extensions = STRINGS(OID_TEMPLATE, OID_SID),
};

/* What a policy says of a CSR; text is in the detail of a refusal. */
struct row {
    const struct cfg_profile *profile;
    struct make_spec spec;
    enum ra_reason reason;
    const char *text; /* NULL: allowed */
};

struct fixture {
    EVP_PKEY *key;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture.key = make_ec("P-256");
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY_free(f->key);
    return 0;
}

static struct policy_result judge(const struct cfg_profile *profile, const struct make_spec *spec,
                                  EVP_PKEY *key)
{
    struct policy_result result;
    struct csr *csr = make_csr(spec, key);
    policy_judge(profile, csr, &result);
    csr_free(csr);
    return result;
}

static void check_result(const struct policy_result *result, enum ra_reason reason,
                         const char *text, size_t row)
{
    if (!text) {
        if (result->verdict != POLICY_ALLOW)
            fail_msg("row %zu is refused: %s", row, result->detail);
        assert_int_equal(result->reason, RA_OK);
        return;
    }
    if (result->verdict != POLICY_REFUSE)
        fail_msg("row %zu is allowed, not refused with \"%s\"", row, text);
    if (result->reason != reason || !strstr(result->detail, text))
        fail_msg("row %zu: %s: \"%s\" instead of %s: \"%s\"", row, ra_reason_name(result->reason),
                 result->detail, ra_reason_name(reason), text);
}

static void check_rows(const struct row *rows, size_t count, EVP_PKEY *key)
{
    for (size_t i = 0; i < count; i++) {
        struct policy_result result = judge(rows[i].profile, &rows[i].spec, key);
        check_result(&result, rows[i].reason, rows[i].text, i);
    }
}

static void check_key(const struct cfg_keys *keys, EVP_PKEY *key, const char *text)
{
    struct cfg_profile profile = {.name = "keys", .keys = *keys};
    struct make_spec spec = {.subject = "CN=r1"};
    struct policy_result result = judge(&profile, &spec, key);
    check_result(&result, RA_BAD_KEY, text, 0);
}

/* Without a keys entry RSA from 2048 to 4096 bits and the three NIST curves are allowed, nothing
 * else. */
static void test_any_keys(void **state)
{
    static const struct cfg_keys any = {.any = true};
    static const struct {
        int bits;
        const char *text;
    } rsa[] = {{1024, "1024"}, {2047, "2047"}, {2048, NULL}, {4096, NULL}, {4104, "4104"}};
    static const struct {
        const char *curve, *text;
    } ec[] = {{"P-256", NULL},
              {"P-384", NULL},
              {"P-521", NULL},
              {"secp256k1", "secp256k1"},
              {"P-224", "P-224"}};
    (void)state;
    for (size_t i = 0; i < COUNT(rsa); i++) {
        EVP_PKEY *key = make_rsa(rsa[i].bits);
        check_key(&any, key, rsa[i].text);
        EVP_PKEY_free(key);
    }
    for (size_t i = 0; i < COUNT(ec); i++) {
        EVP_PKEY *key = make_ec(ec[i].curve);
        check_key(&any, key, ec[i].text);
        EVP_PKEY_free(key);
    }
    EVP_PKEY *key = make_ed25519();
    check_key(&any, key, "ed25519");
    EVP_PKEY_free(key);
}

/* A keys entry says which sizes and curves there are; what it does not name is refused. */
static void test_listed_keys(void **state)
{
    static const struct cfg_keys rsa_only = {.rsa_min = 2048, .rsa_max = 3072};
    const struct cfg_keys ec_only = {.ec = STRINGS("P-384")};
    static const struct cfg_keys ed_only = {.ed25519 = true};
    EVP_PKEY *rsa2048 = make_rsa(2048), *rsa3072 = make_rsa(3072), *rsa3080 = make_rsa(3080);
    EVP_PKEY *p256 = make_ec("P-256"), *p384 = make_ec("P-384"), *ed = make_ed25519();
    (void)state;
    check_key(&rsa_only, rsa2048, NULL);
    check_key(&rsa_only, rsa3072, NULL);
    check_key(&rsa_only, rsa3080, "3080");
    check_key(&rsa_only, p384, "P-384");
    check_key(&rsa_only, ed, "ed25519");
    check_key(&ec_only, p384, NULL);
    check_key(&ec_only, p256, "P-256");
    check_key(&ec_only, rsa2048, "2048");
    check_key(&ed_only, ed, NULL);
    check_key(&ed_only, rsa2048, "2048");
    check_key(&ed_only, p256, "P-256");
    EVP_PKEY *keys[] = {rsa2048, rsa3072, rsa3080, p256, p384, ed};
    for (size_t i = 0; i < COUNT(keys); i++)
        EVP_PKEY_free(keys[i]);
}

/* Each attribute of the subject must be listed and match; each that is listed must be there. */
static void test_subject(void **state)
{
    struct fixture *f = *state;
    struct cfg_subject rules[] = {{.type = "CN", .pattern = "^[A-Z0-9-]{2,8}$"},
                                  {.type = "O", .pattern = "^Example$"}};
    struct cfg_profile profile = san_profile;
    for (size_t i = 0; i < COUNT(rules); i++)
        assert_int_equal(regcomp(&rules[i].regex, rules[i].pattern, REG_EXTENDED | REG_NOSUB), 0);
    profile.subject = rules;
    profile.subject_count = COUNT(rules);
    const struct row rows[] = {
        {&profile, {.subject = "CN=R-1,O=Example"}, RA_OK, NULL},
        {&profile, {.subject = "O=Example,CN=R-1"}, RA_OK, NULL},
        {&profile, {.subject = "CN=R-1,CN=R-2,O=Example"}, RA_OK, NULL},
        {&profile, {.subject = "CN=r1,O=Example"}, RA_BAD_NAMES, "CN=\"r1\" does not match ^[A-Z"},
        {&profile, {.subject = "CN=R-1,CN=evil,O=Example"}, RA_BAD_NAMES, "evil"},
        {&profile, {.subject = "CN=R-1,O=Examples"}, RA_BAD_NAMES, "O=\"Examples\""},
        {&profile, {.subject = "CN=R-1"}, RA_BAD_NAMES, "attribute O is missing"},
        {&profile, {.subject = "O=Example"}, RA_BAD_NAMES, "attribute CN is missing"},
        {&profile, {.subject = "CN=R-1,O=Example,OU=Sales"}, RA_BAD_NAMES, "OU is not allowed"},
        {&profile,
         {.subject = "CN=R-1,O=Example,1.2.3.4.5=x"},
         RA_BAD_NAMES,
         "1.2.3.4.5 is not allowed"},
        {&profile, {.subject = "", .sans = "DNS:exact.example.com"}, RA_BAD_NAMES, "is missing"},
    };
    check_rows(rows, COUNT(rows), f->key);
    for (size_t i = 0; i < COUNT(rules); i++)
        regfree(&rules[i].regex);
}

/* A profile without subject rules takes any subject, but not nobody at all. */
static void test_any_subject(void **state)
{
    struct fixture *f = *state;
    const struct row rows[] = {
        {&open_profile, {.subject = "CN=x,OU=y,O=z,serialNumber=1"}, RA_OK, NULL},
        {&san_profile, {.subject = "", .sans = "DNS:exact.example.com"}, RA_OK, NULL},
        {&open_profile, {.subject = ""}, RA_BAD_NAMES, "neither a subject nor a SAN"},
        {&san_profile, {.subject = ""}, RA_BAD_NAMES, "neither a subject nor a SAN"},
    };
    check_rows(rows, COUNT(rows), f->key);
}

#define SAN(profile, text, why)                                                                    \
    {                                                                                              \
        (profile), {.subject = "CN=x", .sans = (text)}, RA_BAD_NAMES, why                          \
    }

/* SANs are allowed by the list of their kind and by their number, or not at all. */
static void test_sans(void **state)
{
    struct fixture *f = *state;
    const struct row rows[] = {
        SAN(&open_profile, "DNS:a.example.com", "the profile allows none"),
        SAN(&open_profile, "IP:10.0.0.1", "the profile allows none"),
        SAN(&san_profile, "DNS:r1.vpn.example.com", NULL),
        SAN(&san_profile, "DNS:R1.VPN.Example.com", NULL),
        SAN(&san_profile, "DNS:exact.example.com", NULL),
        SAN(&san_profile, "DNS:a.b.vpn.example.com", "dns:a.b.vpn.example.com is not allowed"),
        SAN(&san_profile, "DNS:.vpn.example.com", "is not allowed"),
        SAN(&san_profile, "DNS:vpn.example.com", "is not allowed"),
        /* A rule with a star allows names, not the wildcard certificate of that name. */
        SAN(&san_profile, "DNS:*.vpn.example.com", "is not allowed"),
        SAN(&san_profile, "DNS:r*.vpn.example.com", "is not allowed"),
        SAN(&san_profile, "DNS:r1.vpn.example.com.evil.org", "evil.org"),
        SAN(&san_profile, "DNS:exact.example.com,DNS:evil.org", "dns:evil.org"),
        SAN(&san_profile, "IP:10.255.255.255", NULL),
        SAN(&san_profile, "IP:11.0.0.0", "ip:11.0.0.0"),
        SAN(&san_profile, "IP:9.255.255.255", "ip:9.255.255.255"),
        SAN(&san_profile, "IP:172.31.255.255", NULL),
        SAN(&san_profile, "IP:172.32.0.0", "ip:172.32.0.0"),
        SAN(&san_profile, "IP:172.15.255.255", "ip:172.15.255.255"),
        SAN(&san_profile, "IP:192.0.2.7", NULL),
        SAN(&san_profile, "IP:192.0.2.8", "ip:192.0.2.8"),
        SAN(&san_profile, "IP:2001:db8:7fff::1", NULL),
        SAN(&san_profile, "IP:2001:db8:8000::1", "ip:2001:db8:8000::1"),
        SAN(&san_profile, "IP:::ffff:10.0.0.1", "is not allowed"),
        SAN(&san_profile, "email:a@example.com", NULL),
        SAN(&san_profile, "email:a@example.org", "email:a@example.org"),
        SAN(&san_profile, "URI:urn:dev:1", NULL),
        SAN(&san_profile, "URI:urn:other:1", "uri:urn:other:1"),
        /* An allowed text of one kind is not allowed as another. */
        SAN(&san_profile, "URI:exact.example.com", "uri:exact.example.com"),
        SAN(&san_profile, "DNS:10.0.0.1", "dns:10.0.0.1"),
        SAN(&san_profile, "DNS:exact.example.com,IP:10.0.0.1,URI:urn:dev:1", NULL),
        SAN(&san_profile, "DNS:exact.example.com,IP:10.0.0.1,IP:10.0.0.2,IP:10.0.0.3", "4 SANs"),
    };
    check_rows(rows, COUNT(rows), f->key);
}

/* An account of Active Directory in a SAN, or a kind that nobody judges, is refused even where
 * everything is allowed. */
static void test_sans_never(void **state)
{
    struct fixture *f = *state;
    const struct row rows[] = {
        SAN(&any_san_profile, "DNS:any.thing.at.all,IP:8.8.8.8,email:a@b.c,URI:http://x/", NULL),
        SAN(&any_san_profile, "URI:tag:microsoft.com,2022-09-14:other:", NULL),
        SAN(&any_san_profile, "IP:2001:db8::1", "ip:2001:db8::1"), /* 0.0.0.0/0 is of IPv4 */
        SAN(&any_san_profile, "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:admin@corp", "other:"),
        SAN(&any_san_profile, "RID:1.2.3.4", "other:"),
        SAN(&any_san_profile, "DNS:a,RID:1.2.3.4", "other:"),
    };
    /* tag:microsoft.com,2022-09-14:sid:S-1-5-21-1, and the same with TAG and SID */
    static const char *const sid[] = {"subjectAltName",
                                      "DER:302d862b7461673a6d6963726f736f66742e636f"
                                      "6d2c323032322d30392d31343a7369643a532d312d352d32312d31",
                                      NULL};
    static const char *const sid_upper[] = {
        "subjectAltName",
        "DER:302d862b5441473a6d6963726f736f66742e636f"
        "6d2c323032322d30392d31343a5349443a532d312d352d32312d31",
        NULL};
    const struct row sid_rows[] = {
        {&any_san_profile, {.subject = "CN=x", .extensions = sid}, RA_BAD_NAMES, ":sid:S-1-5-21"},
        {&any_san_profile,
         {.subject = "CN=x", .extensions = sid_upper},
         RA_BAD_NAMES,
         "uri:TAG:microsoft"},
    };
    check_rows(rows, 1, f->key);
    check_rows(rows + 2, COUNT(rows) - 2, f->key);
    check_rows(sid_rows, COUNT(sid_rows), f->key);
}

#define EXT(profile, name, value, why)                                                             \
    {                                                                                              \
        profile, {.subject = "CN=x", .extensions = (const char *const[]){name, value, NULL}},      \
            RA_BAD_EXTENSION, why                                                                  \
    }

/* An end entity may sign, encipher and agree; never sign certificates or CRLs. */
static void test_key_usage(void **state)
{
    struct fixture *f = *state;
    const struct row rows[] = {
        EXT(&open_profile, "keyUsage", "digitalSignature", NULL),
        EXT(&open_profile, "keyUsage", "critical,nonRepudiation,keyEncipherment", NULL),
        EXT(&open_profile, "keyUsage", "dataEncipherment,keyAgreement", NULL),
        EXT(&open_profile, "keyUsage", "digitalSignature,keyCertSign", "keyUsage keyCertSign"),
        EXT(&open_profile, "keyUsage", "critical,keyCertSign", "keyUsage keyCertSign"),
        EXT(&open_profile, "keyUsage", "cRLSign", "keyUsage cRLSign"),
        EXT(&open_profile, "keyUsage", "keyAgreement,encipherOnly", "keyUsage encipherOnly"),
        EXT(&open_profile, "keyUsage", "keyAgreement,decipherOnly", "keyUsage decipherOnly"),
        EXT(&open_profile, "2.5.29.15", "DER:0303070080", "decipherOnly"),
        EXT(&open_profile, "2.5.29.15", "DER:0303060040", "unknown bit"),
        EXT(&open_profile, "2.5.29.15",
            "DER:0304000000"
            "80",
            "unknown bit"),
        EXT(&open_profile, "2.5.29.15", "DER:04020780", "malformed"),
        EXT(&open_profile, "2.5.29.15", "DER:0302", "malformed"),
        EXT(&open_profile, "2.5.29.15", "DER:030207800500", "2.5.29.15 is malformed"),
    };
    check_rows(rows, COUNT(rows), f->key);
}

/* clientAuth unless the profile lists others; anyExtendedKeyUsage and cmcRA never, listed or not.
 */
static void test_extended_key_usage(void **state)
{
    struct fixture *f = *state;
    const struct row rows[] = {
        EXT(&open_profile, "extendedKeyUsage", "clientAuth", NULL),
        EXT(&open_profile, "extendedKeyUsage", "critical,clientAuth", NULL),
        EXT(&open_profile, "extendedKeyUsage", "serverAuth", "1.3.6.1.5.5.7.3.1 is not allowed"),
        EXT(&open_profile, "extendedKeyUsage", "clientAuth,serverAuth", "1.3.6.1.5.5.7.3.1"),
        EXT(&open_profile, "extendedKeyUsage", EKU_ANY, EKU_ANY),
        EXT(&open_profile, "extendedKeyUsage", EKU_CMC_RA, EKU_CMC_RA),
        EXT(&eku_profile, "extendedKeyUsage", EKU_IKE, NULL),
        EXT(&eku_profile, "extendedKeyUsage", "clientAuth", EKU_CLIENT),
        EXT(&eku_profile, "extendedKeyUsage", EKU_ANY, EKU_ANY),
        EXT(&eku_profile, "extendedKeyUsage", EKU_IKE "," EKU_ANY, EKU_ANY),
        EXT(&eku_profile, "extendedKeyUsage", EKU_CMC_RA, EKU_CMC_RA),
        EXT(&open_profile, "2.5.29.37", "DER:3000", "malformed"),
        EXT(&open_profile, "2.5.29.37", "DER:0500", "malformed"),
        EXT(&open_profile, "2.5.29.37",
            "DER:300a06082b06010505070302"
            "00",
            "malformed"),
    };
    check_rows(rows, COUNT(rows), f->key);
}

/* CA:FALSE says nothing; CA:TRUE and a path length are refused. */
static void test_basic_constraints(void **state)
{
    struct fixture *f = *state;
    const struct row rows[] = {
        EXT(&open_profile, "basicConstraints", "CA:FALSE", NULL),
        EXT(&open_profile, "basicConstraints", "critical,CA:FALSE", NULL),
        EXT(&open_profile, "basicConstraints", "CA:TRUE", "CA:TRUE is not allowed"),
        EXT(&open_profile, "basicConstraints", "critical,CA:TRUE,pathlen:0", "CA:TRUE"),
        EXT(&open_profile, "2.5.29.19", "DER:3003020100", "not allowed"), /* a pathlen alone */
        EXT(&open_profile, "2.5.29.19", "DER:0500", "malformed basicConstraints"),
        EXT(&open_profile, "2.5.29.19", "DER:30000101ff", "2.5.29.19 is malformed"),
    };
    check_rows(rows, COUNT(rows), f->key);
}

#define OCTETS_16 "00112233445566778899aabbccddeeff"

/* A subjectKeyIdentifier is harmless while it is one. */
static void test_key_identifier(void **state)
{
    struct fixture *f = *state;
    const struct row rows[] = {
        EXT(&open_profile, "2.5.29.14", "DER:0410" OCTETS_16, NULL),
        EXT(&open_profile, "2.5.29.14", "DER:0440" OCTETS_16 OCTETS_16 OCTETS_16 OCTETS_16, NULL),
        EXT(&open_profile, "2.5.29.14", "DER:0441" OCTETS_16 OCTETS_16 OCTETS_16 OCTETS_16 "00",
            "malformed subjectKeyIdentifier"),
        EXT(&open_profile, "2.5.29.14", "DER:0500", "malformed subjectKeyIdentifier"),
        EXT(&open_profile, "2.5.29.14", "DER:0401ff00", "2.5.29.14 is malformed"),
    };
    check_rows(rows, COUNT(rows), f->key);
}

/* Every other extension is refused, unless the profile ignores it, and then that is told; the
 * Microsoft SID is refused even then. */
static void test_other_extensions(void **state)
{
    struct fixture *f = *state;
    const struct row rows[] = {
        EXT(&open_profile, OID_TEMPLATE, "DER:1e0400560050", OID_TEMPLATE " is not allowed"),
        EXT(&eku_profile, OID_TEMPLATE, "DER:1e0400560050", NULL),
        EXT(&eku_profile, OID_TEMPLATE, "critical,DER:1e0400560050", NULL),
        EXT(&open_profile, OID_SID, "DER:0c0a532d312d352d32312d31", OID_SID),
        EXT(&eku_profile, OID_SID, "DER:0c0a532d312d352d32312d31", OID_SID " is not allowed"),
        EXT(&eku_profile, "2.5.29.30", "DER:3000", "2.5.29.30 is not allowed"),
        EXT(&eku_profile, "2.5.29.32", "DER:3000", "2.5.29.32 is not allowed"),
        EXT(&eku_profile, "1.2.3.4.5.6", "DER:0500", "1.2.3.4.5.6 is not allowed"),
    };
    check_rows(rows, COUNT(rows), f->key);
    struct policy_result result = judge(&eku_profile, &rows[1].spec, f->key);
    assert_string_equal(result.ignored, OID_TEMPLATE);
    result = judge(&eku_profile, &(struct make_spec){.subject = "CN=x"}, f->key);
    assert_string_equal(result.ignored, "");
}

/* Something ignored does not hide something dangerous beside it. */
static void test_several_extensions(void **state)
{
    struct fixture *f = *state;
    static const char *const list[] = {OID_TEMPLATE, "DER:1e0400560050", "basicConstraints",
                                       "CA:TRUE", NULL};
    const struct row rows[] = {
        {&eku_profile, {.subject = "CN=x", .extensions = list}, RA_BAD_EXTENSION, "CA:TRUE"},
        {&eku_profile,
         {.subject = "CN=x", .key_usage = "digitalSignature", .eku = EKU_IKE},
         RA_OK,
         NULL},
        {&eku_profile,
         {.subject = "CN=x", .key_usage = "keyCertSign", .eku = EKU_IKE},
         RA_BAD_EXTENSION,
         "keyCertSign"},
    };
    check_rows(rows, COUNT(rows), f->key);
}

static bool route(const struct cfg_profile *profile, EVP_PKEY *key, const char *label, size_t *at)
{
    struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=x"}, key);
    bool found = policy_route(profile, csr, label, at);
    csr_free(csr);
    return found;
}

/* The first route whose key kind and label fit takes the request; none is an answer as well. */
static void test_route(void **state)
{
    struct fixture *f = *state;
    struct cfg_route routes[] = {
        {.match_key = true, .key = SPKI_RSA, .label = "vpn"},
        {.match_key = true, .key = SPKI_EC},
        {.label = "vpn"},
        {.label = ""},
    };
    struct cfg_profile profile = {.name = "p", .routes = routes, .route_count = COUNT(routes)};
    EVP_PKEY *rsa = make_rsa(2048), *ed = make_ed25519();
    size_t at;
    assert_true(route(&profile, rsa, "vpn", &at));
    assert_int_equal(at, 0);
    assert_true(route(&profile, f->key, "vpn", &at));
    assert_int_equal(at, 1);
    assert_true(route(&profile, f->key, NULL, &at));
    assert_int_equal(at, 1);
    assert_true(route(&profile, ed, "vpn", &at));
    assert_int_equal(at, 2);
    assert_true(route(&profile, rsa, "", &at));
    assert_int_equal(at, 3);
    assert_false(route(&profile, rsa, NULL, &at)); /* SCEP has no label, not the empty one */
    assert_false(route(&profile, rsa, "VPN", &at));
    profile.route_count = 0;
    assert_false(route(&profile, f->key, NULL, &at));
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ed);
}

/* A root, the CA below it that issues, and a stranger of the same name. */
struct pki {
    EVP_PKEY *root_key, *key, *device_key, *other_key;
    X509 *root, *issuing, *stranger;
    struct cert *root_cert, *issuing_cert;
    struct cfg_profile profile;
    struct cfg_certs chain;
    struct csr *csr;
};

static void pki_open(struct pki *pki)
{
    struct make_spec root = {.subject = "CN=root", .ca = true};
    struct make_spec issuing = {.subject = "CN=issuing", .ca = true};
    struct err err;
    memset(pki, 0, sizeof *pki);
    pki->root_key = make_ec("P-256");
    pki->key = make_ec("P-256");
    pki->device_key = make_ec("P-256");
    pki->other_key = make_ec("P-256");
    pki->root = make_x509(&root, pki->root_key, NULL, NULL);
    pki->issuing = make_x509(&issuing, pki->key, pki->root, pki->root_key);
    pki->stranger = make_x509(&issuing, pki->other_key, NULL, NULL);
    assert_true(cert_from_x509(pki->root, &pki->root_cert, &err));
    assert_true(cert_from_x509(pki->issuing, &pki->issuing_cert, &err));
    pki->profile = (struct cfg_profile){.name = "p", .trust = trust_new(&pki->root_cert, 1)};
    pki->chain = (struct cfg_certs){&pki->issuing_cert, 1};
    pki->csr = make_csr(&(struct make_spec){.subject = "CN=r1,O=x", .sans = "DNS:a,DNS:b"},
                        pki->device_key);
}

static void pki_close(struct pki *pki)
{
    EVP_PKEY *keys[] = {pki->root_key, pki->key, pki->device_key, pki->other_key};
    for (size_t i = 0; i < COUNT(keys); i++)
        EVP_PKEY_free(keys[i]);
    X509_free(pki->root);
    X509_free(pki->issuing);
    X509_free(pki->stranger);
    cert_free(pki->root_cert);
    cert_free(pki->issuing_cert);
    trust_free(pki->profile.trust);
    csr_free(pki->csr);
}

/* text NULL: the certificate is taken. */
static void check_issued(const struct pki *pki, struct cert *cert, const char *text)
{
    struct err err = {0};
    bool ok = policy_check_issued(&pki->profile, pki->csr, cert, &pki->chain, &err);
    if (ok != !text || (text && !strstr(err.text, text)))
        fail_msg("\"%s\" instead of \"%s\"", ok ? "taken" : err.text, text ? text : "taken");
    if (!ok)
        assert_int_equal(err.kind, ERR_UPSTREAM);
    cert_free(cert);
}

/* What a CA gives back is taken only if it is what was asked for. */
static void test_issued(void **state)
{
    struct pki pki;
    const int64_t now = time(NULL);
    (void)state;
    pki_open(&pki);
    struct make_spec spec = {.subject = "CN=r1,O=x", .sans = "DNS:b,DNS:a", .eku = "clientAuth"};
#define CHECK(text, ...)                                                                           \
    do {                                                                                           \
        struct make_spec s_ = spec;                                                                \
        __VA_ARGS__;                                                                               \
        check_issued(&pki, make_cert(&s_, pki.device_key, pki.issuing, pki.key), text);            \
    } while (0)
    CHECK(NULL, (void)0);
    CHECK(NULL, s_.subject = "CN=R1,O=X"); /* RFC 5280 section 7.1 */
    CHECK("instead of \"CN=r1,O=x\"", s_.subject = "CN=r2,O=x");
    CHECK("instead of", s_.subject = "O=x,CN=r1");
    CHECK("instead of", s_.subject = "CN=r1,O=x,OU=y");
    CHECK("other SANs", s_.sans = "DNS:a");
    CHECK("other SANs", s_.sans = NULL);
    CHECK("other SANs", s_.sans = "DNS:a,DNS:b,DNS:c");
    CHECK("a CA certificate", s_.ca = true);
    CHECK("not valid now", s_.not_before = now - 100, s_.not_after = now - 1);
    CHECK("not valid now", s_.not_before = now + 900);
    CHECK(NULL, s_.not_before = now + 200); /* the CA's clock is a little ahead */
#undef CHECK
    check_issued(&pki, make_cert(&spec, pki.other_key, pki.issuing, pki.key), "another public key");
    check_issued(&pki, make_cert(&spec, pki.device_key, pki.stranger, pki.other_key), "chain");
    check_issued(&pki, make_cert(&spec, pki.device_key, NULL, NULL), "chain");
    pki.chain.count = 0; /* the anchor is not its issuer, and nothing leads there */
    check_issued(&pki, make_cert(&spec, pki.device_key, pki.issuing, pki.key), "chain");
    check_issued(&pki, make_cert(&spec, pki.device_key, pki.root, pki.root_key), NULL);
    pki_close(&pki);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_keys),
        cmocka_unit_test(test_listed_keys),
        cmocka_unit_test(test_subject),
        cmocka_unit_test(test_any_subject),
        cmocka_unit_test(test_sans),
        cmocka_unit_test(test_sans_never),
        cmocka_unit_test(test_key_usage),
        cmocka_unit_test(test_extended_key_usage),
        cmocka_unit_test(test_basic_constraints),
        cmocka_unit_test(test_key_identifier),
        cmocka_unit_test(test_other_extensions),
        cmocka_unit_test(test_several_extensions),
        cmocka_unit_test(test_route),
        cmocka_unit_test(test_issued),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
