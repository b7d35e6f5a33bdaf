/* Keys that wait for their devices, in memory. */
#include "ra/keyring.h"
#include "tests/support/ra_world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void id_of(unsigned number, char out[RA_ID_LEN + 1])
{
    snprintf(out, RA_ID_LEN + 1, "%032x", number);
}

/* Of a profile and a prover that have these numbers. */
static bool put(struct keyring *ring, unsigned number, unsigned profile, unsigned prover)
{
    static EVP_PKEY *key;
    struct keyring_owner owner = {0};
    struct err err = {0};
    char id[RA_ID_LEN + 1];
    if (!key)
        key = make_ec("P-256");
    snprintf(owner.profile, sizeof owner.profile, "p%u", profile);
    memcpy(owner.prover, &prover, sizeof prover);
    id_of(number, id);
    bool may = keyring_may(ring, &owner, &err), ok = keyring_put(ring, &owner, id, key, &err);
    assert_int_equal(may, ok);
    if (!ok)
        assert_int_equal(err.kind, ERR_LOCAL);
    return ok;
}

/* As many as there is room for. */
static unsigned fill(struct keyring *ring, unsigned *number, unsigned profile, unsigned prover)
{
    unsigned count = 0;
    while (put(ring, *number, profile, prover)) {
        ++*number;
        count++;
    }
    return count;
}

/* Whoever takes as many keys as he can leaves room for others of his profile, and a profile for
 * other profiles; what was delivered counts for nobody. */
static void test_shares(void **state)
{
    struct keyring *ring = keyring_new();
    unsigned number = 0, next;
    char id[RA_ID_LEN + 1];
    (void)state;
    clock_set(NOW);
    assert_int_equal(fill(ring, &number, 1, 1), 250);
    assert_int_equal(fill(ring, &number, 1, 2), 125);
    assert_true(put(ring, number++, 1, 3));
    for (next = 4; fill(ring, &number, 1, next) > 0; next++)
        ;
    assert_true(next > 8);
    assert_int_equal(number, 500);
    assert_int_equal(fill(ring, &number, 2, 1), 125);
    assert_true(put(ring, number++, 3, 3));
    assert_false(put(ring, number, 1, 1));
    for (unsigned i = 0; i < 250; i++) {
        id_of(i, id);
        keyring_delivered(ring, id);
    }
    assert_true(put(ring, number, 1, 1));
    keyring_free(ring);
    clock_set(0);
}

/* Of more keys than the ring holds, those that were delivered give way; those that wait do not,
 * and then there is no room. */
static void test_full(void **state)
{
    struct keyring *ring = keyring_new();
    EVP_PKEY *got;
    char id[RA_ID_LEN + 1];
    (void)state;
    clock_set(NOW);
    for (unsigned i = 0; i < KEYRING_MAX; i++)
        assert_true(put(ring, i, i, i));
    assert_false(put(ring, KEYRING_MAX, KEYRING_MAX, 0));
    id_of(7, id);
    keyring_delivered(ring, id);
    assert_true(put(ring, KEYRING_MAX, KEYRING_MAX, 0));
    assert_false(put(ring, KEYRING_MAX + 1, KEYRING_MAX + 1, 0));
    id_of(7, id);
    assert_null(keyring_get(ring, id));
    id_of(8, id);
    got = keyring_get(ring, id);
    assert_non_null(got);
    EVP_PKEY_free(got);
    keyring_drop(ring, id);
    assert_false(keyring_has(ring, id));
    for (unsigned i = 0; i < KEYRING_MAX; i++) {
        id_of(i, id);
        keyring_settle(ring, id, DAY);
    }
    clock_set(NOW + DAY - 1);
    id_of(9, id);
    keyring_settle(ring, id, DAY); /* was settled before */
    assert_true(keyring_has(ring, id));
    clock_set(NOW + DAY);
    assert_false(keyring_has(ring, id));
    assert_true(put(ring, 9, 1, 1));
    clock_set(0);
    keyring_free(ring);
}

struct making {
    struct keyring *ring;
    atomic_uint made, refused;
};

static void *make_one(void *arg)
{
    struct making *making = arg;
    if (keyring_make_begin(making->ring)) {
        making->made++;
        keyring_make_end(making->ring);
    } else {
        making->refused++;
    }
    return NULL;
}

/* While one makes a key KEYRING_MAKERS wait for their turn, and whoever else comes is told so. */
static void test_makers(void **state)
{
    enum { EXTRA = 4, ALL = KEYRING_MAKERS + EXTRA };
    struct making making = {.ring = keyring_new()};
    pthread_t threads[ALL];
    (void)state;
    assert_true(keyring_make_begin(making.ring));
    for (unsigned i = 0; i < ALL; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_one, &making), 0);
    for (unsigned i = 0; i < 60000 && making.refused < EXTRA; i++)
        usleep(1000);
    assert_int_equal(making.refused, EXTRA);
    assert_int_equal(making.made, 0);
    keyring_make_end(making.ring);
    for (unsigned i = 0; i < ALL; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(making.made, KEYRING_MAKERS);
    keyring_free(making.ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_makers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
