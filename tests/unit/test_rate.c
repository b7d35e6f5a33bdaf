#include "base/rate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW INT64_C(1000000)
#define THREADS 4
#define EACH 5000

static int setup(void **state)
{
    *state = rate_table_new();
    return 0;
}

static int teardown(void **state)
{
    rate_table_free(*state);
    return 0;
}

static int64_t take(void *table, const char *key, int64_t count, int64_t seconds, int64_t now)
{
    struct rate rate = {count, seconds};
    return rate_table_take(table, bytes_str(key), &rate, now);
}

/* Five at once; then one in each fifth of a second, and how long to wait is said to the
 * millisecond. */
static void test_evenly(void **state)
{
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(take(*state, "a", 5, 1, NOW), 0);
    assert_int_equal(take(*state, "a", 5, 1, NOW), 200);
    assert_int_equal(take(*state, "a", 5, 1, NOW + 150), 50);
    assert_int_equal(take(*state, "a", 5, 1, NOW + 199), 1);
    assert_int_equal(take(*state, "a", 5, 1, NOW + 200), 0);
    assert_int_equal(take(*state, "a", 5, 1, NOW + 200), 200);
}

/* What was refused uses nothing up: who keeps asking is served as soon as who waits. */
static void test_refused_is_free(void **state)
{
    assert_int_equal(take(*state, "a", 1, 10, NOW), 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(take(*state, "a", 1, 10, NOW + i), 10000 - i);
    assert_int_equal(take(*state, "a", 1, 10, NOW + 10000), 0);
}

/* After a pause there is no more than the whole again, however long it was. */
static void test_no_savings(void **state)
{
    assert_int_equal(take(*state, "a", 3, 60, NOW), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(take(*state, "a", 3, 60, NOW + 1000000), 0);
    assert_int_equal(take(*state, "a", 3, 60, NOW + 1000000), 20000);
}

/* Keys do not hinder each other; a key that another begins with is another key. */
static void test_keys(void **state)
{
    assert_int_equal(take(*state, "a", 1, 1, NOW), 0);
    assert_int_equal(take(*state, "ab", 1, 1, NOW), 0);
    assert_int_equal(take(*state, "", 1, 1, NOW), 0);
    assert_int_equal(take(*state, "a", 1, 1, NOW), 1000);
}

/* Without a rate there is no limit, and a rate of a million a second counts as well. */
static void test_extremes(void **state)
{
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(take(*state, "a", 0, 1, NOW), 0);
    for (unsigned i = 0; i < 1000000; i++)
        assert_int_equal(take(*state, "b", 1000000, 1, NOW), 0);
    assert_int_equal(take(*state, "b", 1000000, 1, NOW), 1);
}

/* A hundred thousand other keys do not set a busy one free, and the table does not grow. */
static void test_flood(void **state)
{
    char key[16];
    unsigned busy = 0;
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(take(*state, "busy", 50, 3600, NOW), 0);
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(key, sizeof key, "%u", i);
        assert_int_equal(take(*state, key, 50, 3600, NOW), 0);
    }
    busy += take(*state, "busy", 50, 3600, NOW) > 0;
    assert_int_equal(busy, 1);
}

static void *take_each(void *arg)
{
    uintptr_t taken = 0;
    for (unsigned i = 0; i < EACH; i++)
        taken += take(arg, "shared", THREADS * EACH / 2, 3600, NOW) == 0;
    return (void *)taken;
}

/* Many threads together get exactly what there is. */
static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    uintptr_t sum = 0;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_each, *state), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *taken;
        pthread_join(threads[i], &taken);
        sum += (uintptr_t)taken;
    }
    assert_int_equal(sum, THREADS * EACH / 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_evenly),   TEST(test_refused_is_free), TEST(test_no_savings), TEST(test_keys),
        TEST(test_extremes), TEST(test_flood),           TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
