#include "gateway/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Without what gateway/civet_fix.c interposes, the start is refused: CivetWeb alone would crash at
 * the first TLS connection. This program is linked without it. */
static void test_refused(void **state)
{
    struct err err = {0};
    (void)state;
    assert_false(http_library_start(&err));
    assert_int_equal(err.kind, ERR_LOCAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
