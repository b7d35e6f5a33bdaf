#include "gateway/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char *vpn_paths[] = {"/scep/vpn", "/cgi-bin/pkiclient.exe"};
static char *lab_paths[] = {"/scep", "/scep/vpn/lab"};
static char *vpn_labels[] = {"vpn", ""};
static char *lab_labels[] = {"lab"};

static struct cfg_profile profiles[] = {
    {.name = "vpn",
     .scep_enabled = true,
     .scep = {.paths = {vpn_paths, 2}},
     .est = {.enabled = true, .labels = {vpn_labels, 2}}},
    {.name = "lab",
     .scep_enabled = true,
     .scep = {.paths = {lab_paths, 2}},
     .est = {.enabled = true, .labels = {lab_labels, 1}}},
    {.name = "closed", .scep = {.paths = {vpn_paths, 2}}, .est = {.labels = {lab_labels, 1}}},
};
static const struct cfg cfg = {.profiles = profiles, .profile_count = 3};

static const char *scep(const char *path)
{
    const struct cfg_profile *profile = route_scep(&cfg, bytes_str(path));
    return profile ? profile->name : "";
}

static const char *est(const char *path)
{
    enum est_op op;
    char label[EST_LABEL_MAX + 1];
    const struct cfg_profile *profile = route_est(&cfg, bytes_str(path), &op, label);
    return profile ? profile->name : "";
}

/* A path is served with whatever stands below it, and the longest path wins. */
static void test_scep_paths(void **state)
{
    (void)state;
    assert_string_equal(scep("/scep/vpn"), "vpn");
    assert_string_equal(scep("/scep/vpn/pkiclient.exe"), "vpn");
    assert_string_equal(scep("/scep/vpn/"), "vpn");
    assert_string_equal(scep("/cgi-bin/pkiclient.exe"), "vpn");
    assert_string_equal(scep("/scep"), "lab");
    assert_string_equal(scep("/scep/other"), "lab");
    assert_string_equal(scep("/scep/vpn/lab/x"), "lab");
}

/* A longer word is another path. */
static void test_scep_strangers(void **state)
{
    (void)state;
    assert_string_equal(scep("/scep/vpnx"), "lab");
    assert_string_equal(scep("/scepx"), "");
    assert_string_equal(scep("/SCEP/vpn"), "");
    assert_string_equal(scep("/"), "");
    assert_string_equal(scep(""), "");
}

/* What a proxy in front could read differently belongs to nobody. */
static void test_scep_tricks(void **state)
{
    (void)state;
    static const char *const tricks[] = {
        "/scep/vpn/../lab", "/scep/./vpn", "/scep/vpn/..",  "/scep/vpn%2f..", "/scep/vpn%00",
        "/scep\\vpn",       "/scep/v pn",  "/scep/vpn\x01", "/scep/vpn\xff",  "/scep/%76pn",
    };
    for (size_t i = 0; i < sizeof tricks / sizeof tricks[0]; i++)
        assert_string_equal(scep(tricks[i]), "");
    char longest[4096];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "/scep/", 6);
    assert_null(route_scep(&cfg, bytes_of(longest, sizeof longest)));
}

/* A label finds its profile; no label finds the one that lists the empty one. */
static void test_est_labels(void **state)
{
    (void)state;
    assert_string_equal(est("/.well-known/est/cacerts"), "vpn");
    assert_string_equal(est("/.well-known/est/vpn/cacerts"), "vpn");
    assert_string_equal(est("/.well-known/est/lab/simpleenroll"), "lab");
    assert_string_equal(est("/.well-known/est/none/cacerts"), "");
    assert_string_equal(est("/.well-known/est/vpn"), "");
    assert_string_equal(est("/.well-known/est/vpn/nothing"), "");
    assert_string_equal(est("/.well-known/est/vpn/lab/cacerts"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scep_paths),
        cmocka_unit_test(test_scep_strangers),
        cmocka_unit_test(test_scep_tricks),
        cmocka_unit_test(test_est_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
