#include "base/permit.h"

#include "base/bytes.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#define THREADS 16
#define ROUNDS 200
#define PERMITS 3

struct crowd {
    struct permits *permits;
    atomic_int inside, most;
};

static void enter(struct crowd *crowd)
{
    int inside = atomic_fetch_add(&crowd->inside, 1) + 1, most = crowd->most;
    while (inside > most && !atomic_compare_exchange_weak(&crowd->most, &most, inside))
        ;
}

static void *work(void *arg)
{
    struct crowd *crowd = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        permit_take(crowd->permits);
        enter(crowd);
        nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
        atomic_fetch_sub(&crowd->inside, 1);
        permit_pause();
        nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
        permit_resume();
        enter(crowd);
        atomic_fetch_sub(&crowd->inside, 1);
        permit_give(crowd->permits);
    }
    return NULL;
}

/* Never more threads inside than permits, with pauses in between, and all come to an end. */
static void test_crowd(void **state)
{
    struct crowd crowd = {.permits = permits_new(PERMITS)};
    pthread_t threads[THREADS];
    (void)state;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &crowd), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(crowd.inside, 0);
    assert_in_range(crowd.most, 2, PERMITS);
    permits_free(crowd.permits);
}

/* A thread without a permit may pause: nothing happens. */
static void test_none(void **state)
{
    (void)state;
    permit_pause();
    permit_resume();
}

struct other {
    struct permits *permits;
    atomic_bool done;
};

static void *take_one(void *arg)
{
    struct other *other = arg;
    permit_take(other->permits);
    other->done = true;
    permit_give(other->permits);
    return NULL;
}

/* While one who holds the only permit pauses, another gets it. */
static void test_pause(void **state)
{
    struct other other = {.permits = permits_new(1)};
    pthread_t thread;
    (void)state;
    permit_take(other.permits);
    assert_int_equal(pthread_create(&thread, NULL, take_one, &other), 0);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    assert_false(other.done);
    permit_pause();
    pthread_join(thread, NULL);
    assert_true(other.done);
    permit_resume();
    permit_give(other.permits);
    permits_free(other.permits);
}

static void *wait_elsewhere(void *arg)
{
    struct permit_room room = {.most = 1};
    (void)arg;
    permit_room_enter(&room);
    assert_true(permit_room_begin());
    permit_room_end();
    assert_int_equal(room.waiting, 0);
    return NULL;
}

static void *try_room(void *arg)
{
    permit_room_enter(arg);
    return permit_room_begin() ? arg : NULL;
}

/* Of the threads of a room so many wait as may, and those of another, or of none, whatever they do.
 */
static void test_room(void **state)
{
    struct permit_room room = {.most = 2};
    pthread_t thread;
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        void *began;
        assert_int_equal(pthread_create(&thread, NULL, try_room, &room), 0);
        assert_int_equal(pthread_join(thread, &began), 0);
        assert_int_equal(began != NULL, i < 2);
        assert_int_equal(room.waiting, i < 2 ? i + 1 : 2);
    }
    assert_int_equal(pthread_create(&thread, NULL, wait_elsewhere, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(permit_room_begin());
    permit_room_end();
    assert_int_equal(room.waiting, 2);
    permit_room_enter(&room);
    permit_room_end();
    assert_true(permit_room_begin());
    permit_room_enter(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crowd), cmocka_unit_test(test_none),
                                       cmocka_unit_test(test_pause), cmocka_unit_test(test_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
