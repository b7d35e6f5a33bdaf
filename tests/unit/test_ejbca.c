#include "gateway/upstream/ejbca_waiting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Number, password and username are read; cut off it is none before the username is one. */
static void test_cookie(void **state)
{
    (void)state;
    static const char text[] = "7012 00ff scepter-1";
    struct ejbca_waiting was = {0};
    assert_true(ejbca_waiting_read(bytes_str(text), &was));
    assert_string_equal(was.number, "7012");
    assert_string_equal(was.password, "00ff");
    assert_true(bytes_equal_str(was.username, "scepter-1"));
    for (size_t len = 0; len < strlen("7012 00ff scepter-"); len++)
        assert_false(ejbca_waiting_read(bytes_of(text, len), &was));
    struct ejbca_waiting alone = {0};
    assert_true(ejbca_waiting_read(bytes_str("scepter-1"), &alone));
    assert_string_equal(alone.number, "");
    static const char *const bad[] = {" 00ff scepter-1",    "7/../8 00ff scepter-1",
                                      "7 00FF scepter-1",   "123456789012 00ff scepter-1",
                                      "7 00ff another",     "7  scepter-1",
                                      "7 00ff\" scepter-1", "-7 00ff scepter-1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(ejbca_waiting_read(bytes_str(bad[i]), &was));
}

/* Of an address of the CA's only a number is taken. */
static void test_number(void **state)
{
    (void)state;
    char number[EJBCA_NUMBER_TEXT];
    assert_true(ejbca_number_of("https://elsewhere/v1/certificate/42/finalize", number));
    assert_string_equal(number, "42");
    static const char *const bad[] = {"",
                                      "/finalize",
                                      "https://a/x42/finalize",
                                      "https://a//finalize",
                                      "finalize",
                                      "https://a/42/",
                                      "https://a/123456789012/finalize",
                                      "https://a/4/2/finalizes",
                                      "42",
                                      "https://a/-1/finalize"};
    assert_false(ejbca_number_of(NULL, number));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(ejbca_number_of(bad[i], number));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cookie),
        cmocka_unit_test(test_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
