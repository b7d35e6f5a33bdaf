#include "base/identity.h"
#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void digest_of(const char *subject, const char *san, const char *other, uint8_t out[32],
                      struct names *names)
{
    const char *const sans[] = {san, other};
    struct err err;
    size_t count = !san ? 0 : !other ? 1 : 2;
    assert_true(names_parse_text(subject, sans, count, names, &err));
    assert_true(identity_digest(names, out, &err));
}

/* Names that compare as equal have the same digest, and others do not: one table for both. */
static void test_agrees(void **state)
{
    static const char *const rows[][3] = {
        {"CN=device one,O=Plant", "dns:a.example", "dns:b.example"},
        {"CN=Device  ONE ,O=plant", "dns:B.example", "dns:A.EXAMPLE"},
        {"O=Plant,CN=device one", "dns:a.example", "dns:b.example"},
        {"CN=deviceone,O=Plant", "dns:a.example", "dns:b.example"},
        {"CN=device one,O=Plant", "dns:a.example", NULL},
        {"CN=device one,O=Plant", "dns:a.example", "dns:a.example"},
        {"CN=device one,O=Plant", "uri:urn:a", NULL},
        {"CN=device one,O=Plant", "uri:urn:A", NULL},
        {"CN=device one", NULL, NULL},
        {"OU=device one", NULL, NULL},
        {"CN=one,CN=two", NULL, NULL},
        {"CN=one2:5:two", NULL, NULL},
        {"", "ip:10.0.0.1", NULL},
        {"", "dns:10.0.0.1", NULL},
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    struct names names[ROWS];
    uint8_t digests[ROWS][32];
    (void)state;
    for (size_t i = 0; i < ROWS; i++)
        digest_of(rows[i][0], rows[i][1], rows[i][2], digests[i], &names[i]);
    size_t equal = 0;
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t k = 0; k < ROWS; k++) {
            bool same =
                names_subject_equal(&names[i], &names[k]) && names_san_equal(&names[i], &names[k]);
            if (same != (memcmp(digests[i], digests[k], 32) == 0))
                fail_msg("\"%s\" and \"%s\"", rows[i][0], rows[k][0]);
            equal += same;
        }
    }
    assert_true(equal > ROWS);
    for (size_t i = 0; i < ROWS; i++)
        names_clear(&names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
