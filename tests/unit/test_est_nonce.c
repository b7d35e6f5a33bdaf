#include "base/clock.h"
#include "est/nonce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(2000000000)

static int setup(void **state)
{
    clock_set(NOW);
    *state = est_nonces_new();
    return 0;
}

static int teardown(void **state)
{
    est_nonces_free(*state);
    clock_set(0);
    return 0;
}

static struct bytes make(struct est_nonces *nonces, char out[EST_NONCE_LEN + 1])
{
    struct err err;
    assert_true(est_nonce_make(nonces, 7, out, &err));
    assert_int_equal(strlen(out), EST_NONCE_LEN);
    return bytes_str(out);
}

/* RFC 7616 sections 3.4 and 5.5: every count of a nonce is good once, in any order within the
 * window, and 0 is none. */
static void test_counts(void **state)
{
    char text[EST_NONCE_LEN + 1];
    struct bytes nonce = make(*state, text);
    assert_false(est_nonce_use(*state, 7, nonce, 0));
    assert_true(est_nonce_use(*state, 7, nonce, 1));
    assert_false(est_nonce_use(*state, 7, nonce, 1));
    assert_true(est_nonce_use(*state, 7, nonce, 3));
    assert_true(est_nonce_use(*state, 7, nonce, 2));
    assert_false(est_nonce_use(*state, 7, nonce, 2));
    assert_false(est_nonce_use(*state, 7, nonce, 3));
    assert_true(est_nonce_use(*state, 7, nonce, 100));
    assert_true(est_nonce_use(*state, 7, nonce, 100 - EST_NONCE_WINDOW + 1));
    assert_false(est_nonce_use(*state, 7, nonce, 100 - EST_NONCE_WINDOW + 1));
    assert_false(est_nonce_use(*state, 7, nonce, 100 - EST_NONCE_WINDOW));
    assert_true(est_nonce_use(*state, 7, nonce, UINT32_MAX));
    assert_false(est_nonce_use(*state, 7, nonce, UINT32_MAX));
    assert_false(est_nonce_use(*state, 7, nonce, 101));
}

/* RFC 7616 sections 3.3 and 5.4: a nonce ends by its time, with its configuration and with its
 * process. */
static void test_ends(void **state)
{
    char text[EST_NONCE_LEN + 1];
    struct bytes nonce = make(*state, text);
    assert_false(est_nonce_use(*state, 8, nonce, 1));
    clock_set(NOW + EST_NONCE_SECONDS);
    assert_true(est_nonce_use(*state, 7, nonce, 1));
    clock_set(NOW + EST_NONCE_SECONDS + 1);
    assert_false(est_nonce_use(*state, 7, nonce, 2));
    clock_set(NOW - 1);
    assert_false(est_nonce_use(*state, 7, nonce, 3));
    clock_set(NOW);
    assert_true(est_nonce_use(*state, 7, nonce, 4));
    struct est_nonces *other = est_nonces_new();
    assert_false(est_nonce_use(other, 7, nonce, 5));
    est_nonces_free(other);
}

/* A nonce that was changed anywhere, cut or lengthened is none of ours. */
static void test_forged(void **state)
{
    char text[EST_NONCE_LEN + 2];
    make(*state, text);
    for (size_t i = 0; i < EST_NONCE_LEN; i++) {
        char old = text[i];
        text[i] = old == '0' ? '1' : '0';
        assert_false(est_nonce_use(*state, 7, bytes_of(text, EST_NONCE_LEN), 1));
        text[i] = old;
        assert_false(est_nonce_use(*state, 7, bytes_of(text, i), 1));
    }
    memcpy(text + EST_NONCE_LEN, "0", 2);
    assert_false(est_nonce_use(*state, 7, bytes_str(text), 1));
    assert_true(est_nonce_use(*state, 7, bytes_of(text, EST_NONCE_LEN), 1));
}

/* However many nonces are used after it, one that was used is never fresh again: what had to be
 * forgotten counts as used. A new one is always good. */
static void test_forgotten(void **state)
{
    char first[EST_NONCE_LEN + 1], unused[EST_NONCE_LEN + 1], text[EST_NONCE_LEN + 1];
    make(*state, first);
    make(*state, unused);
    assert_true(est_nonce_use(*state, 7, bytes_str(first), 1));
    for (int i = 0; i < 6000; i++) {
        make(*state, text);
        if (!est_nonce_use(*state, 7, bytes_str(text), 1) ||
            est_nonce_use(*state, 7, bytes_str(text), 1))
            fail_msg("nonce %d", i);
        if (i % 100 == 0)
            assert_false(est_nonce_use(*state, 7, bytes_str(first), 1));
    }
    assert_false(est_nonce_use(*state, 7, bytes_str(first), 1));
    assert_false(est_nonce_use(*state, 7, bytes_str(first), 2));
    /* One that was never used may be lost too, and then a new one helps. */
    assert_false(est_nonce_use(*state, 7, bytes_str(unused), 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forgotten, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
