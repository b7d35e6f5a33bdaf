#include "base/clock.h"
#include "tests/support/store_box.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct audit_event event = {.event = "tried"};

static void check_buf(const struct buf *a, const struct buf *b)
{
    assert_true(bytes_equal(buf_bytes(a), buf_bytes(b)));
}

/* The rows are the same in all that an order writes. */
static void check_same(const struct store_request *a, const struct store_request *b)
{
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->profile, b->profile);
    assert_string_equal(a->upstream, b->upstream);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->op, b->op);
    assert_memory_equal(a->dedup, b->dedup, RA_DIGEST_LEN);
    assert_memory_equal(a->prover, b->prover, RA_DIGEST_LEN);
    check_buf(&a->txn, &b->txn);
    check_buf(&a->csr, &b->csr);
    check_buf(&a->handle, &b->handle);
    check_buf(&a->cookie, &b->cookie);
    assert_string_equal(a->renews, b->renews);
    assert_string_equal(a->origin, b->origin);
    assert_string_equal(a->subject, b->subject);
    assert_string_equal(a->reason, b->reason);
    assert_int_equal(a->created, b->created);
    assert_int_equal(a->next_at, b->next_at);
    assert_int_equal(a->attempt, b->attempt);
}

/* A request whose every field is of its own and as long as it may be. */
static struct store_request full_request(void)
{
    static const uint8_t odd[] = {0, 'a', 0xff, 0, '\'', 0};
    struct store_request request = box_request(7, TXN_HELD);
    request.op = RA_RENEW;
    memset(request.profile, 'P', sizeof request.profile - 1);
    memset(request.upstream, 'U', sizeof request.upstream - 1);
    memset(request.renews, 'e', sizeof request.renews - 1);
    memset(request.origin, 'o', sizeof request.origin - 1);
    memset(request.subject, 's', sizeof request.subject - 1);
    memset(request.reason, 'r', sizeof request.reason - 1);
    memset(request.dedup, 0, sizeof request.dedup);
    memset(request.prover, 0xff, sizeof request.prover);
    request.created = BOX_NOW - 5;
    request.next_at = BOX_NOW + 17;
    request.attempt = 4;
    assert_true(buf_set(&request.txn, bytes_of(odd, sizeof odd)));
    assert_true(buf_set(&request.handle, bytes_of(odd, 1)));
    for (int i = 0; i < 20000; i++)
        assert_true(buf_add(&request.csr, bytes_of(odd, sizeof odd)));
    return request; /* and its cookie is empty */
}

/* Every field that is ordered comes back, however it is looked for, and after a restart too. */
static void test_fields(void **state)
{
    struct box *box = *state;
    struct store_request in = full_request(), out = {0};
    struct err err;
    assert_int_equal(box_order(box, &in, NULL, NULL), STORE_ORDERED);
    for (int restart = 0; restart < 2; restart++) {
        const struct store_vt *vt = box->store->vt;
        struct store_txn_key key = {in.profile, buf_bytes(&in.txn), in.prover};
        assert_true(vt->request_by_id(box->store, in.id, &out, &err));
        check_same(&in, &out);
        assert_int_equal(out.updated, in.created);
        assert_int_equal(out.lease_until, 0);
        assert_int_equal(out.cert.len, 0);
        assert_false(out.cert_live);
        store_request_clear(&out);
        assert_true(vt->request_by_dedup(box->store, in.dedup, BOX_NOW - 5, &out, &err));
        check_same(&in, &out);
        store_request_clear(&out);
        assert_true(vt->request_by_txn(box->store, &key, &out, &err));
        check_same(&in, &out);
        store_request_clear(&out);
        box_close(box);
        box_open(box, true);
    }
    store_request_clear(&in);
}

/* An id belongs to one request: another one with it is not written, nor is its audit record. */
static void test_same_id(void **state)
{
    struct box *box = *state;
    enum store_order_result result;
    char existing[RA_ID_LEN + 1];
    box_add(box, 1, TXN_ORDERED);
    struct store_request other = box_request(2, TXN_ORDERED);
    box_id(1, other.id);
    assert_false(box_try(box->store, &other, NULL, &result, existing));
    assert_int_equal(box_audited(box), 1);
    struct store_request row = box_row(box, 1);
    assert_string_equal(row.subject, "CN=device-1");
    store_request_clear(&row);
    store_request_clear(&other);
}

/* What request_by_dedup says of request n's key, now. */
static bool answers(const struct box *box, unsigned n, char id[RA_ID_LEN + 1])
{
    struct store_request row = {0};
    struct err err = {0};
    uint8_t dedup[RA_DIGEST_LEN];
    box_digest(n, dedup);
    if (!box->store->vt->request_by_dedup(box->store, dedup, clock_now() - BOX_WINDOW, &row, &err))
        fail_msg("%s", err.text);
    memcpy(id, row.id, RA_ID_LEN + 1);
    store_request_clear(&row);
    return id[0];
}

/* Orders request `again` with the deduplication key of request `first`: whether it is a duplicate,
 * on which request_by_dedup must agree, before and after. */
static bool repeats(const struct box *box, unsigned first, unsigned again)
{
    char want[RA_ID_LEN + 1], id[RA_ID_LEN + 1], existing[RA_ID_LEN + 1];
    int64_t audited = box_audited(box);
    struct store_request request = box_request(again, TXN_ORDERED);
    box_digest(first, request.dedup);
    bool before = answers(box, first, want);
    bool duplicate = box_order(box, &request, NULL, existing) == STORE_DUPLICATE;
    assert_int_equal(before, duplicate);
    assert_int_equal(box_has(box, again), !duplicate);
    assert_int_equal(box_audited(box), audited + !duplicate);
    if (duplicate)
        assert_string_equal(existing, want);
    else
        box_id(again, want);
    assert_true(answers(box, first, id));
    assert_string_equal(id, want);
    store_request_clear(&request);
    return duplicate;
}

/* Within the retry window a known key answers from its issued row; after it a new row is written,
 * which then answers, while the old one stays to be looked at. */
static void test_window(void **state)
{
    struct box *box = *state;
    box_bring(box, 1, TXN_ISSUED);
    assert_true(repeats(box, 1, 2));
    clock_set(BOX_NOW + BOX_WINDOW);
    assert_true(repeats(box, 1, 2));
    clock_set(BOX_NOW + BOX_WINDOW + 1);
    assert_false(repeats(box, 1, 3));
    assert_true(box_has(box, 1));
    clock_set(BOX_NOW + 2 * BOX_WINDOW + 1);
    assert_true(repeats(box, 1, 4));
    box_close(box);
    box_open(box, true);
    assert_true(repeats(box, 1, 4));
}

/* An open row answers however old it is: what was asked of a CA is not asked again. */
static void test_window_open(void **state)
{
    struct box *box = *state;
    for (unsigned s = 0; s < TXN_STATE_COUNT; s++)
        box_bring(box, 10 + s, (enum txn_state)s);
    clock_set(BOX_NOW + BOX_WINDOW + 1);
    for (unsigned s = 0; s < TXN_STATE_COUNT; s++)
        if (repeats(box, 10 + s, 20 + s) != (s != TXN_REFUSED && s != TXN_ISSUED))
            fail_msg("%s", txn_state_name((enum txn_state)s));
}

/* A row answers while it is open or its certificate lives. A refused one may be tried anew. */
static void test_states_answer(void **state)
{
    struct box *box = *state;
    for (unsigned s = 0; s < TXN_STATE_COUNT; s++) {
        box_bring(box, 10 + s, (enum txn_state)s);
        if (repeats(box, 10 + s, 20 + s) != (s != TXN_REFUSED))
            fail_msg("%s", txn_state_name((enum txn_state)s));
    }
}

/* A certificate that was revoked answers nobody any more. */
static void test_revoked(void **state)
{
    struct box *box = *state;
    box_add(box, 1, TXN_ORDERED);
    struct cert *cert = box_cert(box, 1);
    assert_int_equal(box_record(box, 1, cert), STORE_DONE);
    assert_true(repeats(box, 1, 2));
    assert_true(box_revoke(box, cert));
    assert_false(repeats(box, 1, 2));
    cert_free(cert);
}

/* Nor does one that was replaced by its renewal, but the renewal does. */
static void test_replaced(void **state)
{
    struct box *box = *state;
    box_add(box, 1, TXN_ORDERED);
    struct cert *old = box_cert(box, 1), *new = box_cert(box, 2);
    assert_int_equal(box_record(box, 1, old), STORE_DONE);
    struct store_cert held = box_held(box, old);
    struct store_request renewal = box_request(2, TXN_ORDERED);
    memcpy(renewal.renews, held.fingerprint, sizeof renewal.renews);
    assert_int_equal(box_order(box, &renewal, NULL, NULL), STORE_ORDERED);
    assert_true(repeats(box, 1, 3));
    assert_int_equal(box_record(box, 2, new), STORE_DONE);
    assert_true(repeats(box, 2, 4));
    assert_false(repeats(box, 1, 3));
    struct store_request row = box_row(box, 1);
    assert_int_equal(row.state, TXN_ISSUED);
    assert_false(row.cert_live);
    store_request_clear(&row);
    store_request_clear(&renewal);
    store_cert_clear(&held);
    cert_free(old);
    cert_free(new);
}

/* The number of the request that a poll finds, 0 if none. */
static unsigned poll(const struct box *box, const char *profile, struct bytes txn, char prover)
{
    uint8_t digest[RA_DIGEST_LEN];
    struct store_txn_key key = {profile, txn, digest};
    struct store_request row = {0};
    struct err err = {0};
    memset(digest, prover, sizeof digest);
    if (!box->store->vt->request_by_txn(box->store, &key, &row, &err))
        fail_msg("%s", err.text);
    unsigned n = (unsigned)strtoul(row.id, NULL, 16);
    store_request_clear(&row);
    return n;
}

/* A transactionID counts only together with its profile and the key that proved itself, whole; of
 * several requests the newest answers. */
static void test_txn(void **state)
{
    struct box *box = *state;
    for (unsigned n = 1; n <= 3; n++) { /* the second is the newest */
        struct store_request request = box_request(n, TXN_HELD);
        request.created = n == 2 ? BOX_NOW : BOX_NOW - n;
        assert_true(buf_set(&request.txn, bytes_of("t\0x", 3)));
        assert_int_equal(box_order(box, &request, NULL, NULL), STORE_ORDERED);
        store_request_clear(&request);
    }
    assert_int_equal(poll(box, "a", bytes_of("t\0x", 3), 'p'), 2);
    assert_int_equal(poll(box, "b", bytes_of("t\0x", 3), 'p'), 0);
    assert_int_equal(poll(box, "a", bytes_of("t\0x", 3), 'q'), 0);
    assert_int_equal(poll(box, "a", bytes_of("t\0y", 3), 'p'), 0);
    assert_int_equal(poll(box, "a", bytes_of("t\0x", 2), 'p'), 0);
    assert_int_equal(poll(box, "a", bytes_of("t", 1), 'p'), 0);
    assert_int_equal(poll(box, "a", bytes_of("t\0x\0", 4), 'p'), 0);
    assert_int_equal(poll(box, "a", bytes_of("T\0x", 3), 'p'), 0);
    assert_int_equal(poll(box, "a", bytes_of(NULL, 0), 'p'), 0);
}

/* Who ordered has the lease for half a minute; then one after the other may take it, and each time
 * the fence moves. */
static void test_claim(void **state)
{
    struct box *box = *state;
    box_add(box, 1, TXN_ORDERED);
    clock_set(BOX_NOW + BOX_LEASE - 1);
    assert_int_equal(box_claim(box, 1, 60), 0);
    clock_set(BOX_NOW + BOX_LEASE);
    assert_int_equal(box_claim(box, 1, 60), 2);
    assert_int_equal(box_claim(box, 1, 60), 0);
    clock_set(BOX_NOW + BOX_LEASE + 60);
    assert_int_equal(box_claim(box, 1, 10), 3);
    struct store_request row = box_row(box, 1);
    assert_int_equal(row.attempt, 3);
    assert_int_equal(row.lease_until, BOX_NOW + BOX_LEASE + 70);
    store_request_clear(&row);
    assert_int_equal(box_claim(box, 2, 10), 0); /* there is none */
}

/* Only what can still be driven can be claimed, and a move gives the lease back. */
static void test_claim_states(void **state)
{
    struct box *box = *state;
    for (unsigned s = 0; s < TXN_STATE_COUNT; s++) {
        bool open = s == TXN_ORDERED || s == TXN_WAITING || s == TXN_SUSPECT;
        box_bring(box, s, (enum txn_state)s);
        if (open)
            box_move(box, s, (enum txn_state)s);
        assert_int_equal(box_claim(box, s, 10), open ? 2 : 0);
        assert_int_equal(box_claim(box, s, 10), 0);
        if (open)
            box_move(box, s, (enum txn_state)s);
        assert_int_equal(box_claim(box, s, 10), open ? 3 : 0);
    }
}

/* A move or a record that comes too late, or for nothing, changes nothing at all. */
static void test_fenced(void **state)
{
    static const struct {
        unsigned n;
        int attempt;
        enum txn_state from;
    } rows[] = {{1, 1, TXN_ORDERED}, {1, 3, TXN_ORDERED}, {1, 0, TXN_ORDERED},
                {1, 2, TXN_WAITING}, {1, 2, TXN_SUSPECT}, {9, 2, TXN_ORDERED}};
    struct box *box = *state;
    struct cert *cert = box_cert(box, 1);
    box_add(box, 1, TXN_ORDERED);
    clock_set(BOX_NOW + BOX_LEASE);
    assert_int_equal(box_claim(box, 1, 60), 2);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char id[RA_ID_LEN + 1];
        struct store_move move = {id, rows[i].attempt, rows[i].from, TXN_REFUSED, {0},   {0}, 5,
                                  0,  false,           "x",          false,       &event};
        struct store_record record = {.id = id,
                                      .attempt = rows[i].attempt,
                                      .from = rows[i].from,
                                      .cert = cert,
                                      .audit = &event};
        enum store_write result = STORE_DONE;
        struct err err;
        box_id(rows[i].n, id);
        assert_true(box->store->vt->move(box->store, &move, &result, &err));
        assert_int_equal(result, STORE_FENCED);
        result = STORE_DONE;
        assert_true(box->store->vt->record(box->store, &record, &result, &err));
        assert_int_equal(result, STORE_FENCED);
    }
    struct store_request row = box_row(box, 1);
    assert_int_equal(row.state, TXN_ORDERED);
    assert_int_equal(row.lease_until, BOX_NOW + BOX_LEASE + 60);
    assert_int_equal(row.next_at, 0);
    assert_string_equal(row.reason, "");
    assert_int_equal(row.cert.len, 0);
    assert_int_equal(box_audited(box), 1);
    store_request_clear(&row);
    cert_free(cert);
}

/* Every move that the table forbids is a bug of the caller and changes nothing, and so is one to
 * ISSUED, which takes a certificate; every other one is made, and audited. */
static void test_moves(void **state)
{
    struct box *box = *state;
    unsigned n = 0;
    for (unsigned from = 0; from < TXN_STATE_COUNT; from++) {
        for (unsigned to = 0; to < TXN_STATE_COUNT; to++) {
            bool legal = to != TXN_ISSUED && txn_may_move((enum txn_state)from, (enum txn_state)to);
            struct err err = {0};
            enum store_write result = STORE_FENCED;
            box_bring(box, ++n, (enum txn_state)from);
            int64_t audited = box_audited(box);
            char id[RA_ID_LEN + 1];
            struct store_move move = {
                id,    1,     (enum txn_state)from, (enum txn_state)to, {0}, {0}, 0, 0, false, NULL,
                false, &event};
            box_id(n, id);
            bool moved = box->store->vt->move(box->store, &move, &result, &err);
            struct store_request row = box_row(box, n);
            assert_int_equal(moved, legal);
            assert_int_equal(err.kind, legal ? ERR_NONE : ERR_BUG);
            if (legal)
                assert_int_equal(result, STORE_DONE);
            assert_int_equal(row.state, legal ? to : from);
            assert_int_equal(box_audited(box), audited + legal);
            store_request_clear(&row);
        }
    }
}

/* What cannot be audited is not done at all: the order and the move leave no trace. */
static void test_unaudited(void **state)
{
    static char longest[9000];
    struct box *box = *state;
    struct audit_event too_long = {.event = longest};
    struct store_request request = box_request(2, TXN_ORDERED);
    struct store_order order = {
        .request = &request, .retry_window = BOX_WINDOW, .audit = &too_long};
    char id[RA_ID_LEN + 1], existing[RA_ID_LEN + 1];
    struct store_move move = {id, 1, TXN_ORDERED, TXN_REFUSED, {0},   {0},
                              5,  0, false,       "x",         false, &too_long};
    enum store_order_result ordered;
    enum store_write moved;
    struct err err = {0};
    memset(longest, 'x', sizeof longest - 1);
    box_id(1, id);
    box_add(box, 1, TXN_ORDERED);
    assert_false(box->store->vt->order(box->store, &order, &ordered, existing, &err));
    assert_int_equal(err.kind, ERR_BUG);
    assert_false(box->store->vt->move(box->store, &move, &moved, &err));
    box_close(box);
    box_open(box, false);
    assert_false(box_has(box, 2));
    struct store_request row = box_row(box, 1);
    assert_int_equal(row.state, TXN_ORDERED);
    assert_int_equal(row.lease_until, BOX_NOW + BOX_LEASE);
    assert_string_equal(row.reason, "");
    assert_int_equal(box_audited(box), 1);
    store_request_clear(&row);
    store_request_clear(&request);
}

static void move_with(const struct box *box, struct bytes cookie, const char *reason)
{
    char id[RA_ID_LEN + 1];
    struct store_move move = {id, 1, TXN_WAITING, TXN_WAITING, cookie, {0},
                              77, 3, false,       reason,      false,  &event};
    enum store_write result;
    struct err err = {0};
    box_id(1, id);
    if (!box->store->vt->move(box->store, &move, &result, &err))
        fail_msg("%s", err.text);
    assert_int_equal(result, STORE_DONE);
}

static void check_moved(const struct box *box, const char *cookie, const char *reason)
{
    struct store_request row = box_row(box, 1);
    assert_string_equal(buf_str(&row.cookie), cookie);
    assert_string_equal(row.reason, reason);
    assert_int_equal(row.next_at, 77);
    assert_int_equal(row.failures, 3);
    assert_int_equal(row.updated, clock_now());
    assert_int_equal(row.created, BOX_NOW);
    assert_int_equal(row.lease_until, 0);
    store_request_clear(&row);
}

/* A move carries what it brings: time, cookie and reason; without a cookie or a reason the old one
 * stays, and an empty cookie is one. */
static void test_move_fields(void **state)
{
    struct box *box = *state;
    box_bring(box, 1, TXN_WAITING);
    clock_set(BOX_NOW + 9);
    move_with(box, bytes_str("ticket"), "queued");
    check_moved(box, "ticket", "queued");
    move_with(box, (struct bytes){0}, NULL);
    check_moved(box, "ticket", "queued");
    move_with(box, bytes_str(""), "");
    check_moved(box, "", "");
}

struct list {
    char got[64];
    size_t stop_after;
};

static bool list_one(const struct store_request *request, void *arg)
{
    struct list *list = arg;
    size_t len = strlen(list->got);
    snprintf(list->got + len, sizeof list->got - len, "%c", request->id[RA_ID_LEN - 1]);
    return len + 1 != list->stop_after;
}

static void check_list(const struct box *box, const struct store_filter *filter, size_t stop_after,
                       const char *want)
{
    struct list list = {.stop_after = stop_after};
    struct err err = {0};
    if (!box->store->vt->request_list(box->store, filter, list_one, &list, &err))
        fail_msg("%s", err.text);
    assert_string_equal(list.got, want);
}

/* Requests are listed newest first, of one profile or one CA if asked, up to a number, or until the
 * listener has had enough. */
static void test_list(void **state)
{
    struct box *box = *state;
    for (unsigned n = 1; n <= 4; n++) {
        struct store_request request = box_request(n, TXN_HELD);
        request.created = BOX_NOW + n;
        request.profile[0] = n % 2 ? 'a' : 'b';
        snprintf(request.upstream, sizeof request.upstream, "%s", n < 3 ? "old" : "new");
        assert_int_equal(box_order(box, &request, NULL, NULL), STORE_ORDERED);
        store_request_clear(&request);
    }
    check_list(box, &(struct store_filter){0}, 0, "4321");
    check_list(box, &(struct store_filter){.profile = "a"}, 0, "31");
    check_list(box, &(struct store_filter){.upstream = "old"}, 0, "21");
    check_list(box, &(struct store_filter){.profile = "b", .upstream = "new"}, 0, "4");
    check_list(box, &(struct store_filter){.profile = "c"}, 0, "");
    check_list(box, &(struct store_filter){.limit = 3}, 0, "432");
    check_list(box, &(struct store_filter){0}, 2, "43");
}

/* The counts are the numbers of requests by state. */
static void test_counts(void **state)
{
    struct box *box = *state;
    int64_t counts[TXN_STATE_COUNT];
    struct err err;
    unsigned n = 0;
    memset(counts, 0xff, sizeof counts);
    assert_true(box->store->vt->request_counts(box->store, counts, &err));
    for (unsigned s = 0; s < TXN_STATE_COUNT; s++)
        assert_int_equal(counts[s], 0);
    for (unsigned s = 0; s < TXN_STATE_COUNT; s++)
        for (unsigned i = 0; i < s; i++)
            box_bring(box, ++n, (enum txn_state)s);
    assert_true(box->store->vt->request_counts(box->store, counts, &err));
    for (unsigned s = 0; s < TXN_STATE_COUNT; s++)
        assert_int_equal(counts[s], s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fields),       TEST(test_same_id),       TEST(test_window),
        TEST(test_window_open),  TEST(test_states_answer), TEST(test_revoked),
        TEST(test_replaced),     TEST(test_txn),           TEST(test_claim),
        TEST(test_claim_states), TEST(test_fenced),        TEST(test_moves),
        TEST(test_move_fields),  TEST(test_list),          TEST(test_counts),
        TEST(test_unaudited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
