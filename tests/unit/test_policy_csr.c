#include "ra/policy.h"
#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Any subject, the usual keys, any number of usages of one kind. */
static const struct cfg_profile profile = {.name = "open", .keys.any = true};

/* extendedKeyUsage with so many times clientAuth, in OpenSSL's form. */
static struct csr *csr_with_usages(size_t count)
{
    EVP_PKEY *key = make_ec("P-256");
    struct buf text = {0};
    for (size_t i = 0; i < count; i++)
        assert_true(buf_add_fmt(&text, "%sclientAuth", i ? "," : ""));
    struct csr *csr = make_csr(&(struct make_spec){.subject = "CN=r1", .eku = buf_str(&text)}, key);
    buf_free(&text);
    EVP_PKEY_free(key);
    return csr;
}

/* What would make a certificate that nobody can handle is refused, before anything is ordered: a CA
 * would be asked for it for ever. */
static void test_size(void **state)
{
    static const struct {
        size_t usages;
        enum policy_verdict verdict;
    } rows[] = {{3000, POLICY_ALLOW}, {3500, POLICY_REFUSE}, {12000, POLICY_REFUSE}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct csr *csr = csr_with_usages(rows[i].usages); /* 10 octets each */
        struct policy_result result;
        policy_judge(&profile, csr, &result);
        assert_int_equal(result.verdict, rows[i].verdict);
        if (result.verdict == POLICY_REFUSE) {
            assert_int_equal(result.reason, RA_BAD_EXTENSION);
            assert_non_null(strstr(result.detail, "octets"));
        }
        csr_free(csr);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
