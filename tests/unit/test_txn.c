#include "ra/txn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The moves of the design, written once more; all that is not here is forbidden. */
static const struct {
    enum txn_state from, to;
} legal[] = {
    {TXN_HELD, TXN_ORDERED},    /* approved */
    {TXN_HELD, TXN_REFUSED},    /* denied */
    {TXN_ORDERED, TXN_ORDERED}, /* tried again */
    {TXN_ORDERED, TXN_WAITING}, {TXN_ORDERED, TXN_ISSUED},  {TXN_ORDERED, TXN_REFUSED},
    {TXN_ORDERED, TXN_SUSPECT}, {TXN_WAITING, TXN_WAITING}, {TXN_WAITING, TXN_ISSUED},
    {TXN_WAITING, TXN_REFUSED}, {TXN_WAITING, TXN_SUSPECT}, {TXN_SUSPECT, TXN_SUSPECT},
    {TXN_SUSPECT, TXN_ORDERED}, /* it never arrived, or asking twice does no harm */
    {TXN_SUSPECT, TXN_ISSUED},  {TXN_SUSPECT, TXN_REFUSED},
};

static bool is_legal(int from, int to)
{
    for (size_t i = 0; i < sizeof legal / sizeof legal[0]; i++)
        if ((int)legal[i].from == from && (int)legal[i].to == to)
            return true;
    return false;
}

/* Of all pairs of states, and of numbers beside them, exactly the moves of the design are allowed.
 */
static void test_moves(void **state)
{
    (void)state;
    for (int from = -1; from <= TXN_STATE_COUNT; from++)
        for (int to = -1; to <= TXN_STATE_COUNT; to++)
            if (txn_may_move((enum txn_state)from, (enum txn_state)to) != is_legal(from, to))
                fail_msg("%s to %s", txn_state_name((enum txn_state)from),
                         txn_state_name((enum txn_state)to));
    assert_false(txn_may_move(TXN_HELD, (enum txn_state)33)); /* wraps to a legal bit if shifted */
    assert_false(txn_may_move(TXN_HELD, (enum txn_state)INT32_MIN));
}

/* A final state is one that nothing leaves: ISSUED and REFUSED. */
static void test_final(void **state)
{
    (void)state;
    for (int i = -1; i <= TXN_STATE_COUNT; i++)
        assert_int_equal(txn_is_final((enum txn_state)i), i == TXN_ISSUED || i == TXN_REFUSED);
}

/* The names are those that databases hold, and each is read back as its state. */
static void test_names(void **state)
{
    static const char *const names[TXN_STATE_COUNT] = {"held",   "ordered", "waiting",
                                                       "issued", "refused", "suspect"};
    (void)state;
    for (int i = 0; i < TXN_STATE_COUNT; i++) {
        enum txn_state read = TXN_STATE_COUNT;
        assert_string_equal(txn_state_name((enum txn_state)i), names[i]);
        assert_true(txn_state_parse(names[i], &read));
        assert_int_equal(read, i);
    }
    assert_string_equal(txn_state_name(TXN_STATE_COUNT), "unknown");
    assert_string_equal(txn_state_name((enum txn_state) - 1), "unknown");
}

/* Any other name is refused and leaves the answer alone. */
static void test_other_names(void **state)
{
    static const char *const names[] = {"", "HELD", "hel", "heldx", " held", "held ", "unknown"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        enum txn_state read = TXN_SUSPECT;
        if (txn_state_parse(names[i], &read) || read != TXN_SUSPECT)
            fail_msg("\"%s\" is read", names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_final),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_other_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
