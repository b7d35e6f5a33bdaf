#include "est/guard.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define HOME "192.0.2.7"
#define START 1800000000

static int setup(void **state)
{
    clock_set(START);
    *state = est_guard_new();
    return 0;
}

static int teardown(void **state)
{
    est_guard_free(*state);
    clock_set(0);
    return 0;
}

static int wait_for(void *guard, const char *origin, const char *user)
{
    return est_guard_wait(guard, origin, bytes_str(user));
}

static void fail_times(void *guard, const char *origin, const char *user, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        est_guard_note(guard, origin, bytes_str(user), false);
}

/* Ten wrong passwords are free; then one waits, longer with each, from that address as that user.
 */
static void test_waits(void **state)
{
    void *guard = *state;
    fail_times(guard, HOME, "alice", EST_GUARD_USER_TRIES - 1);
    assert_int_equal(wait_for(guard, HOME, "alice"), 0);
    fail_times(guard, HOME, "alice", 1);
    assert_int_equal(wait_for(guard, HOME, "alice"), 2);
    assert_int_equal(wait_for(guard, HOME, "bob"), 0);
    assert_int_equal(wait_for(guard, "192.0.2.8", "alice"), 0);
    clock_set(START + 2);
    assert_int_equal(wait_for(guard, HOME, "alice"), 0);
    fail_times(guard, HOME, "alice", 1);
    assert_int_equal(wait_for(guard, HOME, "alice"), 4);
    fail_times(guard, HOME, "alice", 1000);
    assert_int_equal(wait_for(guard, HOME, "alice"), EST_GUARD_WAIT_MAX);
}

/* A right password, or a time without wrong ones, ends it. */
static void test_ends(void **state)
{
    void *guard = *state;
    fail_times(guard, HOME, "alice", EST_GUARD_USER_TRIES);
    est_guard_note(guard, HOME, bytes_str("alice"), true);
    assert_int_equal(wait_for(guard, HOME, "alice"), 0);
    fail_times(guard, HOME, "alice", EST_GUARD_USER_TRIES - 1);
    clock_set(START + EST_GUARD_WINDOW + 1);
    fail_times(guard, HOME, "alice", 1);
    assert_int_equal(wait_for(guard, HOME, "alice"), 0);
}

/* What was noted before the clock was set back makes nobody wait until it is there again. */
static void test_clock_back(void **state)
{
    void *guard = *state;
    fail_times(guard, HOME, "alice", EST_GUARD_USER_TRIES);
    assert_int_equal(wait_for(guard, HOME, "alice"), 2);
    clock_set(START - 86400);
    assert_int_equal(wait_for(guard, HOME, "alice"), 0);
    fail_times(guard, HOME, "alice", EST_GUARD_USER_TRIES - 1);
    assert_int_equal(wait_for(guard, HOME, "alice"), 0);
    fail_times(guard, HOME, "alice", 1);
    assert_int_equal(wait_for(guard, HOME, "alice"), 2);
}

/* An address that tries many users waits as well, and one right password does not free it. */
static void test_many_users(void **state)
{
    void *guard = *state;
    char user[32];
    for (unsigned i = 0; i < EST_GUARD_ORIGIN_TRIES; i++) {
        snprintf(user, sizeof user, "user-%u", i);
        fail_times(guard, HOME, user, 1);
    }
    est_guard_note(guard, HOME, bytes_str("alice"), true);
    assert_true(wait_for(guard, HOME, "alice") > 0);
    assert_int_equal(wait_for(guard, "192.0.2.8", "alice"), 0);
}

/* Who moves within an IPv6 /64 stays the same; the next /64 is somebody else, and so is the IPv4
 * address whose octets begin likewise. */
static void test_prefix(void **state)
{
    void *guard = *state;
    char origin[48];
    for (unsigned i = 0; i < EST_GUARD_USER_TRIES; i++) {
        snprintf(origin, sizeof origin, "2001:db8:0:1::%x", i + 1);
        fail_times(guard, origin, "alice", 1);
    }
    assert_int_equal(wait_for(guard, "2001:db8:0:1:ffff::9", "alice"), 2);
    assert_int_equal(wait_for(guard, "2001:db8:0:2::1", "alice"), 0);
    assert_int_equal(wait_for(guard, "32.1.13.184", "alice"), 0);
    assert_int_equal(wait_for(guard, "::ffff:192.0.2.7", "bob"), 0);
    fail_times(guard, HOME, "bob", EST_GUARD_USER_TRIES);
    assert_int_equal(wait_for(guard, "::ffff:192.0.2.7", "bob"), 2);
    fail_times(guard, "unix", "bob", EST_GUARD_USER_TRIES);
    assert_int_equal(wait_for(guard, "unix", "bob"), 2);
}

/* A flood of addresses takes no more memory; who fails now is still seen. */
static void test_flood(void **state)
{
    void *guard = *state;
    char origin[32];
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(origin, sizeof origin, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        clock_set(START + i / 100);
        fail_times(guard, origin, "", 1);
    }
    fail_times(guard, HOME, "alice", EST_GUARD_USER_TRIES);
    assert_int_equal(wait_for(guard, HOME, "alice"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clock_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_users, setup, teardown),
        cmocka_unit_test_setup_teardown(test_prefix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
