#include "base/clock.h"
#include "tests/support/store_box.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAME 200
#define WRITERS 8
#define EACH 100
#define READERS 16
#define PROCESSES 4
#define RECORDS_EACH 40

static const struct audit_event event = {.event = "tried"};

/* Threads do not assert: they note what happened to them. */
struct worker {
    pthread_t thread;
    struct store *store;
    unsigned first, count; /* numbers of its requests */
    const uint8_t *dedup;  /* of all of them, or NULL: each its own */
    const uint8_t *spend;
    unsigned ordered, duplicate, gone, failed;
    char existing[RA_ID_LEN + 1];
    int attempt;
};

static void crowd_run(struct worker *workers, size_t count, void *(*run)(void *))
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    for (size_t i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
}

static void *order_all(void *arg)
{
    struct worker *worker = arg;
    for (unsigned i = 0; i < worker->count; i++) {
        enum store_order_result result;
        struct store_request request = box_request(worker->first + i, TXN_ORDERED);
        if (worker->dedup)
            memcpy(request.dedup, worker->dedup, sizeof request.dedup);
        if (!box_try(worker->store, &request, worker->spend, &result, worker->existing))
            worker->failed++;
        else if (result == STORE_ORDERED)
            worker->ordered++;
        else if (result == STORE_DUPLICATE)
            worker->duplicate++;
        else
            worker->gone++;
        store_request_clear(&request);
    }
    return NULL;
}

static int64_t requests(const struct box *box)
{
    int64_t counts[TXN_STATE_COUNT], sum = 0;
    struct err err = {0};
    if (!box->store->vt->request_counts(box->store, counts, &err))
        fail_msg("%s", err.text);
    for (unsigned s = 0; s < TXN_STATE_COUNT; s++)
        sum += counts[s];
    return sum;
}

/* The same request two hundred times at once is one row; all others hear which. */
static void test_same(void **state)
{
    struct box *box = *state;
    struct worker *workers = calloc(SAME, sizeof *workers);
    struct store_request row = {0};
    struct err err;
    uint8_t dedup[RA_DIGEST_LEN] = "the same";
    unsigned ordered = 0, duplicate = 0;
    for (unsigned i = 0; i < SAME; i++)
        workers[i] = (struct worker){.store = box->store, .first = i, .count = 1, .dedup = dedup};
    crowd_run(workers, SAME, order_all);
    assert_true(box->store->vt->request_by_dedup(box->store, dedup, 0, &row, &err));
    for (unsigned i = 0; i < SAME; i++) {
        ordered += workers[i].ordered;
        duplicate += workers[i].duplicate;
        if (workers[i].duplicate)
            assert_string_equal(workers[i].existing, row.id);
    }
    assert_int_equal(ordered, 1);
    assert_int_equal(duplicate, SAME - 1);
    assert_int_equal(requests(box), 1);
    assert_int_equal(box_audited(box), 1);
    store_request_clear(&row);
    free(workers);
}

/* A challenge that is good for three is spent three times, however many come at once. */
static void test_spend(void **state)
{
    struct box *box = *state;
    struct worker workers[32] = {0};
    struct store_challenge row = {.profile = "a", .expires = BOX_NOW + 60, .uses_left = 3};
    struct err err;
    unsigned ordered = 0, gone = 0;
    box_digest(1, row.digest);
    assert_true(box->store->vt->challenge_add(box->store, &row, &event, &err));
    for (unsigned i = 0; i < 32; i++)
        workers[i] =
            (struct worker){.store = box->store, .first = i, .count = 1, .spend = row.digest};
    crowd_run(workers, 32, order_all);
    for (unsigned i = 0; i < 32; i++) {
        ordered += workers[i].ordered;
        gone += workers[i].gone;
    }
    assert_int_equal(ordered, 3);
    assert_int_equal(gone, 29);
    assert_int_equal(requests(box), 3);
}

static void *claim_one(void *arg)
{
    struct worker *worker = arg;
    struct err err;
    char id[RA_ID_LEN + 1];
    box_id(worker->first, id);
    if (!worker->store->vt->claim(worker->store, id, 60, &worker->attempt, &err))
        worker->failed++;
    return NULL;
}

/* Of all who would drive a request at once, one may. */
static void test_claim(void **state)
{
    struct box *box = *state;
    struct worker workers[32] = {0};
    int got = 0;
    box_add(box, 1, TXN_ORDERED);
    clock_set(BOX_NOW + BOX_LEASE);
    for (unsigned i = 0; i < 32; i++)
        workers[i] = (struct worker){.store = box->store, .first = 1};
    crowd_run(workers, 32, claim_one);
    for (unsigned i = 0; i < 32; i++) {
        assert_int_equal(workers[i].failed, 0);
        assert_true(workers[i].attempt == 0 || workers[i].attempt == 2);
        got += workers[i].attempt == 2;
    }
    assert_int_equal(got, 1);
}

/* Whatever many threads ordered is there after a restart, and the trail is whole. */
static void test_durable(void **state)
{
    struct box *box = *state;
    struct worker workers[WRITERS] = {0};
    for (unsigned i = 0; i < WRITERS; i++)
        workers[i] = (struct worker){.store = box->store, .first = i * EACH, .count = EACH};
    crowd_run(workers, WRITERS, order_all);
    box_close(box);
    box_open(box, true);
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(workers[i].ordered, EACH);
    for (unsigned n = 0; n < WRITERS * EACH; n++)
        if (!box_has(box, n))
            fail_msg("request %u is lost", n);
    assert_int_equal(requests(box), WRITERS * EACH);
    assert_int_equal(box_audited(box), WRITERS * EACH);
}

/* Reads its requests over and over until each is there. */
static void *read_all(void *arg)
{
    struct worker *worker = arg;
    for (unsigned i = 0; i < worker->count;) {
        struct store_request row;
        struct err err;
        char id[RA_ID_LEN + 1];
        box_id(worker->first + i, id);
        if (!worker->store->vt->request_by_id(worker->store, id, &row, &err)) {
            worker->failed++;
            return NULL;
        }
        if (row.id[0] && strcmp(row.id, id) == 0 && strcmp(buf_str(&row.csr), "a CSR") == 0)
            i++;
        else if (row.id[0])
            worker->failed++;
        store_request_clear(&row);
    }
    return NULL;
}

struct writing {
    struct worker *workers;
    size_t count;
};

static void *write_beside(void *arg)
{
    struct writing *writing = arg;
    crowd_run(writing->workers, writing->count, order_all);
    return NULL;
}

/* Readers, more of them than there are connections, see every row whole while writers write. */
static void test_readers(void **state)
{
    struct box *box = *state;
    struct worker writers[2] = {0}, readers[READERS] = {0};
    struct writing writing = {writers, 2};
    pthread_t beside;
    for (unsigned i = 0; i < 2; i++)
        writers[i] = (struct worker){.store = box->store, .first = i * EACH, .count = EACH};
    for (unsigned i = 0; i < READERS; i++)
        readers[i] = (struct worker){.store = box->store, .count = 2 * EACH};
    assert_int_equal(pthread_create(&beside, NULL, write_beside, &writing), 0);
    crowd_run(readers, READERS, read_all);
    pthread_join(beside, NULL);
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(readers[i].failed, 0);
}

struct reporter {
    struct store *store;
    unsigned first;
    int pipe;
};

/* Orders for ever; tells each number once the store has promised it. */
static void *order_and_tell(void *arg)
{
    struct reporter *reporter = arg;
    for (unsigned n = reporter->first;; n++) {
        enum store_order_result result;
        char existing[RA_ID_LEN + 1];
        struct store_request request = box_request(n, TXN_ORDERED);
        if (!box_try(reporter->store, &request, NULL, &result, existing) ||
            result != STORE_ORDERED || write(reporter->pipe, &n, sizeof n) != sizeof n)
            _exit(1);
        store_request_clear(&request);
    }
    return NULL;
}

/* The child: serves the store and orders from four threads until it is killed. */
_Noreturn static void order_until_killed(const char *url, int pipe)
{
    struct store *store;
    struct err err = {0};
    pthread_t thread;
    static struct reporter reporters[4];
    if (!store_open(url, true, &store, &err)) {
        fprintf(stderr, "%s\n", err.text);
        _exit(1);
    }
    for (unsigned i = 0; i < 4; i++) {
        reporters[i] = (struct reporter){store, (i + 1) * 1000000, pipe};
        if (pthread_create(&thread, NULL, order_and_tell, &reporters[i]) != 0)
            _exit(1);
    }
    for (;;)
        pause();
}

/* A process that is killed in the middle of its writes has lost nothing that it had promised: every
 * request is there, the trail is whole, the lock and the leases are free. */
static void test_killed(void **state)
{
    struct box *box = *state;
    for (unsigned round = 0; round < 3; round++) {
        static unsigned told[100000];
        size_t count = 0;
        int pipes[2], status;
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            order_until_killed(box->url, pipes[1]);
        close(pipes[1]);
        while (count < 100000 && read(pipes[0], &told[count], sizeof told[0]) == sizeof told[0])
            if (++count == 100 + 37 * round)
                kill(child, SIGKILL);
        close(pipes[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_true(count >= 100);
        box_open(box, true);
        for (size_t i = 0; i < count; i++) {
            struct store_request row = box_row(box, told[i]);
            assert_int_equal(row.lease_until, 1);
            store_request_clear(&row);
        }
        assert_int_equal(box_audited(box), requests(box));
        box_close(box);
        unlink(box->path);
    }
}

/* The child: writes records beside the others; 0 if all went well. */
static int write_records(const char *url, int number)
{
    struct store *store;
    struct err err = {0};
    struct audit_event mine = {.event = "tried", .origin = "cli"};
    bool ok = store_open(url, number == 0, &store, &err);
    for (int i = 0; ok && i < RECORDS_EACH; i++)
        ok = store->vt->audit_add(store, &mine, &err);
    if (!ok)
        fprintf(stderr, "%s\n", err.text);
    return !ok;
}

/* Several processes that make and open the same new database at once, and write to it, continue one
 * chain. */
static void test_processes(void **state)
{
    struct box *box = *state;
    for (int round = 0; round < 5; round++) {
        char wal[96], shm[96];
        pid_t children[PROCESSES];
        int status, failed = 0;
        for (int i = 0; i < PROCESSES; i++) {
            children[i] = fork();
            assert_true(children[i] >= 0);
            if (children[i] == 0)
                _exit(write_records(box->url, i));
        }
        for (int i = 0; i < PROCESSES; i++) {
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            failed += status != 0;
        }
        assert_int_equal(failed, 0);
        box_open(box, true);
        assert_int_equal(box_audited(box), PROCESSES * RECORDS_EACH);
        box_close(box);
        snprintf(wal, sizeof wal, "%s-wal", box->path);
        snprintf(shm, sizeof shm, "%s-shm", box->path);
        unlink(wal);
        unlink(shm);
        assert_int_equal(unlink(box->path), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
#define TEST_CLOSED(name) cmocka_unit_test_setup_teardown(name, box_setup_closed, box_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_same),
        TEST(test_spend),
        TEST(test_claim),
        TEST(test_durable),
        TEST(test_readers),
        TEST_CLOSED(test_killed),
        TEST_CLOSED(test_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
