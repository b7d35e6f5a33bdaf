/* The encoder's parts are tested against published bytes: hence the source. */
#include "est/csrattrs.c" /* NOLINT(bugprone-suspicious-include): its static functions are meant */

#include "base/text.h"
#include "tests/support/config_make.h"
#include "tests/support/pki_make.h"

#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define HEX_TEMPLATE                                                                               \
    "307a3078060b2a864886f70d010910023d31693067020100301a310730050603550403310f300d060355040b0c06" \
    "6d7944657074a015301306072a8648ce3d020106082a8648ce3d030107a12f302d060b2a864886f70d0109100"    \
    "23e311e301c30050603551d1130130603551d25040c300a06082b06010505070302"
#define HEX_PLAIN                                                                                  \
    "305206092a864886f70d010907301506072a8648ce3d0201310a06082a8648ce3d030107060355040306035504"   \
    "0b302406092a864886f70d01090e3117301530130603551d25040c300a06082b06010505070302"
#define DIGEST_RSA "0ab90ce6f1326266793f2413dbb873b04415256dbe45b74cf00397f94388d4f6"

static void assert_hex(const struct buf *got, const char *want)
{
    char *text = mem_zalloc(2 * got->len + 1);
    text_hex(buf_bytes(got), text);
    assert_string_equal(text, want);
    free(text);
}

static void assert_base64(struct buf *got, const char *want)
{
    struct buf text = {0};
    assert_true(text_base64_encode(buf_bytes(got), 0, &text));
    assert_string_equal(buf_str(&text), want);
    buf_free(&text);
    buf_free(got);
}

static struct cfg_subject subject[] = {{.type = "CN", .pattern = "[a-z]+"},
                                       {.type = "OU", .pattern = "^myDept$"}};
static char *curve[] = {"P-256"};

static struct cfg_profile profile_of(enum cfg_csrattrs form)
{
    return (struct cfg_profile){.subject = subject,
                                .subject_count = 2,
                                .keys = {.ec = {curve, 1}},
                                .est = {.csrattrs = form}};
}

/* RFC 8951 section 4's CsrAttrs, the corrected example of RFC 7030 section 4.5.2. */
static void test_rfc8951(void **state)
{
    struct buf out = {0};
    size_t from;
    (void)state;
    assert_true(add_oid(&out, OID_CHALLENGE_PASSWORD));
    from = out.len;
    assert_true(der_add_oid(&out, NID_secp384r1) && wrap_attribute(&out, from, "id-ecPublicKey"));
    from = out.len;
    assert_true(add_oid(&out, "1.3.6.1.1.1.1.22") &&
                wrap_attribute(&out, from, OID_EXTENSION_REQUEST));
    assert_true(add_oid(&out, "ecdsa-with-SHA384") && der_wrap(&out, 0, DER_SEQUENCE));
    assert_base64(&out, "MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQ"
                        "EWBggqhkjOPQQDAw==");
}

#define NOTHING "csrattrs_extensions: []"

/* Published attributes, each from a configuration that asks for it. The form of RFC 9908
 * section 3.4 is published as a listing, from which its octets were written down. */
static const struct {
    const char *what, *profile, *est, *want;
} published[] = {
    {"RFC 9908 section 5.2: the example of RFC 7030 section 4.5.2, put right",
     "keys: {ec: [P-384]}",
     "binding: optional, csrattrs_oids: [ecdsa-with-SHA384], "
     "csrattrs_extensions: [{oid: subjectDirectoryAttributes, value: \"300906072b060101010116\"}]",
     "ME4GCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMCMGCSqGSIb3DQEJDjEWMBQwEgYDVR0JBAswCQYHKwYBAQEBF"
     "g"
     "YIKoZIzj0EAwM="},
    {"The same in a draft of RFC 9908: the bare macAddress", "keys: {ec: [P-384]}",
     "binding: optional, csrattrs_oids: [1.3.6.1.1.1.1.22, ecdsa-with-SHA384], " NOTHING,
     "MDIGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiBgcrBgEBAQEWBggqhkjOPQQDAw=="},
    {"RFC 9908 section 5.1: a node of an autonomic network, whose SAN the server dictates", "",
     "csrattrs_extensions: [{oid: subjectAltName, critical: true, value: "
     "\"3049a04706082b0601050507080aa03b1639726663383939342b6664373339666332336333343430"
     "3131323233333434353530303030303030302b406163702e6578616d706c652e636f6d\"}]",
     "MGgwZgYJKoZIhvcNAQkOMVkwVzBVBgNVHREBAf8ESzBJoEcGCCsGAQUFBwgKoDsWOXJmYzg5OTQrZmQ3MzlmYzIzYzM0N"
     "DA"
     "xMTIyMzM0NDU1MDAwMDAwMDArQGFjcC5leGFtcGxlLmNvbQ=="},
    {"RFC 9908 section 5.4: RSA of 4096 bits", "keys: {rsa: 4096}",
     "binding: optional, csrattrs_oids: [RSA-SHA256], " NOTHING,
     "MCkGCSqGSIb3DQEJBzARBgkqhkiG9w0BAQExBAICEAAGCSqGSIb3DQEBCw=="},
    {"RFC 9908 section 5.5: EC on P-384 and a serial number",
     "keys: {ec: [P-384]}, subject: {serialNumber: \"[0-9]+\"}",
     "binding: optional, csrattrs_oids: [ecdsa-with-SHA384], " NOTHING,
     "MC4GCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiBgNVBAUGCCqGSM49BAMD"},
    {"RFC 9908 section 5.6: EC on P-521, a friendly name, a favourite drink and a serial number",
     "keys: {ec: [P-521]}",
     "binding: optional, " NOTHING ", csrattrs_oids: [friendlyName, 0.9.2342.19200300.100.1.5, "
     "serialNumber, ecdsa-with-SHA512]",
     "MEUGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAjBgkqhkiG9w0BCRQGCgmSJomT8ixkAQUGA1UEBQYIKoZIzj0EA"
     "wQ"
     "="},
    {"RFC 9908 section 3.4: a template",
     "keys: {ec: [P-256]}, subject: {CN: \".+\", OU: [myDept, myGroup]}",
     "csrattrs: template, csrattrs_extensions: [{oid: subjectAltName, value: "
     "\"301482107777772e6d795365727665722e636f6d8700\"}, "
     "{oid: keyUsage, critical: true, value: \"03020388\"}, {oid: extendedKeyUsage}]",
     "MIGpMIGmBgsqhkiG9w0BCRACPTGBljCBkwIBADAsMQcwBQYDVQQDMQ8wDQYDVQQLDAZteURlcHQxEDAOBgNVBAsMB215R"
     "3JvdXCgFTATBgcqhkjOPQIBBggqhkjOPQMBB6FJMEcGCyqGSIb3DQEJEAI+"
     "MTgwNjAdBgNVHREEFjAUghB3d3cubXlTZXJ2ZXIuY29thwAwDgYDVR0PAQH/BAQDAgOIMAUGA1UdJQ=="},
};

/* RFC 9908 sections 3.2 and 3.4, and its examples: what the encoder makes of the configuration is
 * what was published, octet by octet. */
static void test_published(void **state)
{
    char dir[64], path[96];
    struct bytes base = bytes_str(config_base), head;
    (void)state;
    config_dir_make(dir);
    snprintf(path, sizeof path, "%s/scepter.yaml", dir);
    const uint8_t *profiles = memmem(base.ptr, base.len, "profiles:", 9);
    assert_true(bytes_take(&base, (size_t)(profiles - base.ptr), &head));
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++) {
        struct buf text = {0}, faults = {0}, out = {0};
        struct cfg *cfg;
        assert_true(buf_add(&text, head));
        assert_true(buf_add_fmt(&text,
                                "profiles:\n  vpn: {routes: [{upstream: [lab]}], trust: [ca.pem], "
                                "scep: {paths: [/s], ra: [main]}, %s%s est: {labels: [vpn], %s}}\n",
                                published[i].profile, *published[i].profile ? "," : "",
                                published[i].est));
        if (!cfg_load_text(buf_bytes(&text), path, &fake_kinds, &cfg, &faults))
            fail_msg("%s: %s", published[i].what, buf_str(&faults));
        assert_true(est_csrattrs_encode(&cfg->profiles[0], &out));
        assert_base64(&out, published[i].want);
        cfg_free(cfg);
        buf_free(&text);
        buf_free(&faults);
    }
    make_dir_remove(dir);
}

/* The plain form of a profile with a binding, one curve and two attributes of the subject. */
static void test_plain(void **state)
{
    struct buf out = {0};
    struct cfg_profile profile = profile_of(CFG_CSRATTRS_PLAIN);
    (void)state;
    profile.est.binding = CFG_BINDING_OPTIONAL;
    assert_true(est_csrattrs_encode(&profile, &out));
    assert_hex(&out, HEX_PLAIN);
    buf_free(&out);
}

/* The template, laid out as in RFC 9908 section 3.4: a value where only one is right, none where
 * the device fills it in. */
static void test_template(void **state)
{
    struct buf out = {0};
    struct cfg_profile profile = profile_of(CFG_CSRATTRS_TEMPLATE);
    (void)state;
    profile.san_given = true;
    assert_true(est_csrattrs_encode(&profile, &out));
    assert_hex(&out, HEX_TEMPLATE);
    buf_free(&out);
}

/* RSA keys of one size are told by a dummy key; a binding that is not in challengePassword by
 * estIdentityLinking; without rules on the subject there is none. */
static void test_template_rsa(void **state)
{
    struct buf out = {0};
    uint8_t digest[SHA256_DIGEST_LENGTH];
    struct cfg_profile profile = {
        .keys = {.rsa_min = 3072, .rsa_max = 3072},
        .est = {.csrattrs = CFG_CSRATTRS_TEMPLATE,
                .binding = CFG_BINDING_REQUIRED,
                .challenge_password = CFG_PASSWORD_SECRET},
    };
    (void)state;
    assert_true(est_csrattrs_encode(&profile, &out));
    SHA256(out.ptr, out.len, digest);
    buf_free(&out);
    assert_true(buf_add(&out, bytes_of(digest, sizeof digest)));
    assert_hex(&out, DIGEST_RSA);
    buf_free(&out);
}

/* Devices that may choose between kinds of keys are told of none; with csrattrs none, of nothing.
 */
static void test_choice(void **state)
{
    struct buf out = {0};
    struct cfg_profile profile = profile_of(CFG_CSRATTRS_PLAIN);
    (void)state;
    profile.keys.any = true;
    assert_true(add_key(&profile.keys, &out) && add_key_template(&profile.keys, &out));
    profile.keys = (struct cfg_keys){.ec = {curve, 1}, .ed25519 = true};
    assert_true(add_key(&profile.keys, &out) && add_key_template(&profile.keys, &out));
    profile.est.csrattrs = CFG_CSRATTRS_NONE;
    assert_true(est_csrattrs_encode(&profile, &out));
    assert_int_equal(out.len, 0);
}

/* A pattern is a value only if it matches nothing else. */
static void test_patterns(void **state)
{
    static const char *const several[] = {"a.c", "a|b",   "[ab]", "a*",  "",
                                          "^$",  "a\\.b", "a^b",  "a{2}"};
    static const char *const one[] = {"Example", "^Example$", "^Example", "Example$"};
    struct bytes value;
    (void)state;
    for (size_t i = 0; i < sizeof several / sizeof several[0]; i++)
        assert_false(pattern_value(several[i], &value));
    for (size_t i = 0; i < sizeof one / sizeof one[0]; i++)
        assert_true(pattern_value(one[i], &value) && bytes_equal_str(value, "Example"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc8951),      cmocka_unit_test(test_published),
        cmocka_unit_test(test_plain),        cmocka_unit_test(test_template),
        cmocka_unit_test(test_template_rsa), cmocka_unit_test(test_choice),
        cmocka_unit_test(test_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
