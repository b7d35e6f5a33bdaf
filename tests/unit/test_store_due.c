#include "base/clock.h"
#include "tests/support/store_box.h"

#include <stdio.h>
#include <string.h>

static void check_due_of(const struct box *box, struct store_due what, size_t max, const char *want)
{
    char ids[8][RA_ID_LEN + 1], got[64] = "";
    struct store_ids due = {ids, 99, max};
    struct err err = {0};
    if (!box->store->vt->request_due(box->store, &what, &due, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < due.count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%c", ids[i][RA_ID_LEN - 1]);
    assert_string_equal(got, want);
}

static void check_due(const struct box *box, int64_t now, size_t max, const char *want)
{
    check_due_of(box, (struct store_due){"ca", now, false}, max, want);
}

/* What failed, and is to be sent again, is due apart from the rest. */
static void test_due_again(void **state)
{
    struct box *box = *state;
    struct err err = {0};
    char id[RA_ID_LEN + 1];
    for (unsigned n = 1; n < 4; n++) {
        struct store_request row = box_request(n, TXN_ORDERED);
        row.attempt = 0;
        assert_int_equal(box_order(box, &row, NULL, NULL), STORE_ORDERED);
        store_request_clear(&row);
        struct store_move move = {.id = id,
                                  .attempt = box_claim(box, n, 10),
                                  .from = TXN_ORDERED,
                                  .to = n == 2 ? TXN_WAITING : TXN_ORDERED,
                                  .next_at = BOX_NOW,
                                  .failures = n < 3};
        enum store_write result;
        box_id(n, id);
        assert_true(box->store->vt->move(box->store, &move, &result, &err));
        assert_int_equal(result, STORE_DONE);
    }
    check_due(box, BOX_NOW, 8, "23");
    check_due_of(box, (struct store_due){"ca", BOX_NOW, true}, 8, "1");
}

/* Due is what is open, in nobody's hands, and whose time has come: the earliest first, and never
 * more than there is room for. */
static void test_due(void **state)
{
    struct box *box = *state;
    for (unsigned s = 0; s < TXN_STATE_COUNT; s++)
        box_bring(box, s, (enum txn_state)s);
    struct store_request late = box_request(8, TXN_ORDERED);
    late.next_at = BOX_NOW + 100;
    assert_int_equal(box_order(box, &late, NULL, NULL), STORE_ORDERED);
    store_request_clear(&late);
    box_add(box, 9, TXN_HELD);
    check_due(box, BOX_NOW, 8, "25"); /* WAITING and SUSPECT were moved there, so they are free */
    check_due(box, BOX_NOW + BOX_LEASE - 1, 8, "25");
    check_due(box, BOX_NOW + BOX_LEASE, 8, "125");
    check_due(box, BOX_NOW + 99, 8, "125");
    check_due(box, BOX_NOW + 100, 8, "1258");
    check_due(box, BOX_NOW + 100, 2, "12");
    check_due(box, BOX_NOW + 100, 0, "");
    assert_int_equal(box_claim(box, 2, 1000), 2);
    check_due(box, BOX_NOW + 100, 8, "158");
    box_move(box, 9, TXN_ORDERED); /* approved */
    check_due(box, BOX_NOW, 8, "59");
}

/* An operator may have mended what made requests fail: those that wait for a time of our choice are
 * due at once. Those that wait as their CA wants, for an operator, or in good order, are not. */
static void test_wake(void **state)
{
    struct box *box = *state;
    static const struct {
        enum txn_state to;
        int failures, after;
        bool wish, woken;
    } all[] = {
        {TXN_ORDERED, 1, 500, false, true},  {TXN_WAITING, 9, 500, false, true},
        {TXN_SUSPECT, 1, 500, false, true},  {TXN_ORDERED, 1, 500, true, false},
        {TXN_WAITING, 0, 500, false, false}, {TXN_SUSPECT, 1, 5000, false, false},
    };
    struct err err = {0};
    char id[RA_ID_LEN + 1], want[8] = "";
    for (unsigned n = 0; n < sizeof all / sizeof all[0]; n++) {
        struct store_request row = box_request(n, TXN_ORDERED);
        row.attempt = 0;
        assert_int_equal(box_order(box, &row, NULL, NULL), STORE_ORDERED);
        store_request_clear(&row);
        struct store_move move = {.id = id,
                                  .attempt = box_claim(box, n, 10),
                                  .from = TXN_ORDERED,
                                  .to = all[n].to,
                                  .next_at = BOX_NOW + all[n].after,
                                  .failures = all[n].failures,
                                  .wish = all[n].wish};
        enum store_write result;
        box_id(n, id);
        assert_true(box->store->vt->move(box->store, &move, &result, &err));
        if (all[n].woken && all[n].to != TXN_ORDERED)
            snprintf(want + strlen(want), sizeof want - strlen(want), "%u", n);
    }
    check_due(box, BOX_NOW, 8, "");
    assert_true(box->store->vt->wake(box->store, BOX_NOW + 1000, &err));
    check_due(box, BOX_NOW, 8, want);
    check_due_of(box, (struct store_due){"ca", BOX_NOW, true}, 8, "0");
}

/* A clock that was set back while nobody served does not make requests wait until it is there
 * again: what was written in the future is due. What waits by a clock that is right goes on
 * waiting. */
static void test_clock_back(void **state)
{
    struct box *box = *state;
    struct store_request late = box_request(1, TXN_ORDERED);
    late.next_at = BOX_NOW + 100;
    assert_int_equal(box_order(box, &late, NULL, NULL), STORE_ORDERED);
    store_request_clear(&late);
    box_close(box);
    clock_set(BOX_NOW + 1);
    box_open(box, true);
    check_due(box, BOX_NOW + 1, 8, "");
    check_due(box, BOX_NOW + 100, 8, "1");
    box_close(box);
    clock_set(BOX_NOW - 86400);
    box_open(box, true);
    check_due(box, BOX_NOW - 86400, 8, "1");
    clock_set(BOX_NOW);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_due),
        TEST(test_due_again),
        TEST(test_wake),
        TEST(test_clock_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
