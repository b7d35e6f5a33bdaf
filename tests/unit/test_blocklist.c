#include "base/blocklist.h"
#include "base/text.h"
#include "tests/support/pki_make.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static EVP_PKEY *rsa, *other;

static int setup(void **state)
{
    (void)state;
    rsa = make_rsa(2048);
    other = make_ec("P-256");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(other);
    return 0;
}

static struct csr *csr_of(EVP_PKEY *key)
{
    return make_csr(&(struct make_spec){.subject = "CN=x"}, key);
}

/* The line of Debian's list for the key: openssl rsa -modulus | sha1sum | cut -c21-40. */
static void debian_line(EVP_PKEY *key, char out[21])
{
    BIGNUM *n = NULL;
    char text[1200], sha1[2 * SHA_DIGEST_LENGTH + 1];
    uint8_t digest[SHA_DIGEST_LENGTH];
    assert_true(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n));
    char *hex = BN_bn2hex(n);
    snprintf(text, sizeof text, "Modulus=%s\n", hex);
    SHA1((const uint8_t *)text, strlen(text), digest);
    text_hex(bytes_of(digest, sizeof digest), sha1);
    memcpy(out, sha1 + 20, 21);
    OPENSSL_free(hex);
    BN_free(n);
}

/* A key that is listed in either form is on the list, wherever its line stands; others are not. */
static void test_held(void **state)
{
    struct csr *listed = csr_of(rsa), *free_key = csr_of(other);
    struct err err;
    char modulus[21], key[65];
    (void)state;
    debian_line(rsa, modulus);
    text_hex(bytes_of(csr_spki_get(listed)->digest, SPKI_DIGEST_LEN), key);
    for (int form = 0; form < 2; form++) {
        struct blocklist *list = NULL;
        struct buf text = {0};
        assert_true(buf_add_str(&text, "# Debian's 2048-bit keys\n\n"));
        for (unsigned i = 0; i < 3000; i++)
            assert_true(i == 1234 ? buf_add_fmt(&text, "%s\r\n", form ? key : modulus)
                                  : buf_add_fmt(&text, "%020x\n", (i * 2654435761u) >> 1));
        assert_true(blocklist_add(buf_bytes(&text), &list, &err));
        assert_int_equal(blocklist_count(list), 3000);
        assert_true(blocklist_holds(list, csr_spki_get(listed)));
        assert_false(blocklist_holds(list, csr_spki_get(free_key)));
        blocklist_free(list);
        buf_free(&text);
    }
    assert_false(blocklist_holds(NULL, csr_spki_get(listed)));
    csr_free(listed);
    csr_free(free_key);
}

/* Several files make one list; the form of one key is nothing in the other. */
static void test_added(void **state)
{
    struct csr *listed = csr_of(other);
    struct blocklist *list = NULL;
    struct err err;
    char key[66];
    (void)state;
    text_hex(bytes_of(csr_spki_get(listed)->digest, SPKI_DIGEST_LEN), key);
    assert_true(blocklist_add(bytes_of(key, 20), &list, &err));
    assert_false(blocklist_holds(list, csr_spki_get(listed)));
    assert_true(blocklist_add(bytes_of(key, 64), &list, &err));
    assert_true(blocklist_holds(list, csr_spki_get(listed)));
    blocklist_free(list);
    csr_free(listed);
}

/* A line of another length, or with other characters, is named; an empty file is an empty list. */
static void test_malformed(void **state)
{
    static const char *const lines[] = {"0123456789abcdef0123\n0123456789abcdef012\n",
                                        "\n0123456789abcdef012g\n", "#\n0123456789abcdef0123 x\n",
                                        "#\n0123456789abcdef0123456789abcdef01234567\n"};
    struct blocklist *list = NULL;
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_false(blocklist_add(bytes_str(lines[i]), &list, &err));
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.text, "line 2 has neither 20 nor 64"));
        blocklist_free(list);
        list = NULL;
    }
    assert_true(blocklist_add(bytes_str(""), &list, &err));
    assert_int_equal(blocklist_count(list), 0);
    blocklist_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_added),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
