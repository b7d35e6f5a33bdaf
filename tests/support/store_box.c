#include "tests/support/store_box.h"

#include "base/clock.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct audit_event event = {.event = "tried", .detail = "by a test"};

int box_setup_closed(void **state)
{
    struct box *box = mem_zalloc(sizeof *box);
    make_dir(box->dir);
    snprintf(box->path, sizeof box->path, "%s/store.db", box->dir);
    snprintf(box->url, sizeof box->url, "sqlite:%s", box->path);
    box->key = make_ec("P-256");
    clock_set(BOX_NOW);
    *state = box;
    return 0;
}

int box_setup(void **state)
{
    box_setup_closed(state);
    box_open(*state, true);
    return 0;
}

int box_teardown(void **state)
{
    struct box *box = *state;
    box_close(box);
    make_dir_remove(box->dir);
    EVP_PKEY_free(box->key);
    free(box);
    clock_set(0);
    return 0;
}

void box_open(struct box *box, bool serve)
{
    struct err err = {0};
    if (!store_open(box->url, serve, &box->store, &err))
        fail_msg("%s", err.text);
}

void box_close(struct box *box)
{
    store_close(box->store);
    box->store = NULL;
}

void box_id(unsigned n, char out[RA_ID_LEN + 1])
{
    snprintf(out, RA_ID_LEN + 1, "%032x", n);
}

void box_digest(unsigned n, uint8_t out[RA_DIGEST_LEN])
{
    memset(out, 0xd1, RA_DIGEST_LEN);
    memcpy(out, &n, sizeof n);
}

struct store_request box_request(unsigned n, enum txn_state state)
{
    struct store_request request = {
        .profile = "a",
        .upstream = "ca",
        .state = state,
        .origin = "192.0.2.1",
        .created = clock_now(),
        .attempt = 1,
    };
    box_id(n, request.id);
    box_digest(n, request.dedup);
    memset(request.prover, 'p', sizeof request.prover);
    snprintf(request.subject, sizeof request.subject, "CN=device-%u", n);
    if (!buf_add_fmt(&request.txn, "txn-%u", n) || !buf_add_str(&request.csr, "a CSR"))
        abort();
    return request;
}

bool box_try(struct store *store, const struct store_request *request, const uint8_t *spend,
             enum store_order_result *result, char existing[RA_ID_LEN + 1])
{
    struct err err = {0};
    struct store_order order = {
        .request = request, .spend = spend, .retry_window = BOX_WINDOW, .audit = &event};
    return store->vt->order(store, &order, result, existing, &err);
}

enum store_order_result box_order(const struct box *box, const struct store_request *request,
                                  const uint8_t *spend, char existing[RA_ID_LEN + 1])
{
    enum store_order_result result = STORE_ORDERED;
    char other[RA_ID_LEN + 1] = "";
    if (!box_try(box->store, request, spend, &result, existing ? existing : other))
        fail_msg("request %s cannot be ordered", request->id);
    return result;
}

void box_add(const struct box *box, unsigned n, enum txn_state state)
{
    struct store_request request = box_request(n, state);
    assert_int_equal(box_order(box, &request, NULL, NULL), STORE_ORDERED);
    store_request_clear(&request);
}

static struct store_request find(const struct box *box, unsigned n)
{
    struct store_request row = {0};
    struct err err = {0};
    char id[RA_ID_LEN + 1];
    box_id(n, id);
    if (!box->store->vt->request_by_id(box->store, id, &row, &err))
        fail_msg("%s", err.text);
    return row;
}

bool box_has(const struct box *box, unsigned n)
{
    struct store_request row = find(box, n);
    bool found = row.id[0];
    store_request_clear(&row);
    return found;
}

struct store_request box_row(const struct box *box, unsigned n)
{
    struct store_request row = find(box, n);
    if (!row.id[0])
        fail_msg("there is no request %u", n);
    return row;
}

int box_claim(const struct box *box, unsigned n, int64_t seconds)
{
    char id[RA_ID_LEN + 1];
    struct err err = {0};
    int attempt = -1;
    box_id(n, id);
    if (!box->store->vt->claim(box->store, id, seconds, &attempt, &err))
        fail_msg("%s", err.text);
    return attempt;
}

void box_move(const struct box *box, unsigned n, enum txn_state to)
{
    struct store_request row = box_row(box, n);
    struct store_move move = {
        .id = row.id, .attempt = row.attempt, .from = row.state, .to = to, .audit = &event};
    enum store_write result;
    struct err err = {0};
    if (!box->store->vt->move(box->store, &move, &result, &err))
        fail_msg("%s", err.text);
    assert_int_equal(result, STORE_DONE);
    store_request_clear(&row);
}

void box_bring(const struct box *box, unsigned n, enum txn_state state)
{
    box_add(box, n, state == TXN_HELD ? TXN_HELD : TXN_ORDERED);
    if (state == TXN_ISSUED) {
        struct cert *cert = box_cert(box, n);
        assert_int_equal(box_record(box, n, cert), STORE_DONE);
        cert_free(cert);
    } else if (state != TXN_HELD && state != TXN_ORDERED) {
        box_move(box, n, state);
    }
}

struct cert *box_cert(const struct box *box, unsigned n)
{
    char subject[32];
    snprintf(subject, sizeof subject, "CN=device-%u", n);
    return make_cert(&(struct make_spec){.subject = subject, .sans = "DNS:b,DNS:a"}, box->key, NULL,
                     NULL);
}

enum store_write box_record(const struct box *box, unsigned n, const struct cert *cert)
{
    struct store_request row = box_row(box, n);
    struct store_record record = {
        .id = row.id, .attempt = row.attempt, .from = row.state, .cert = cert, .audit = &event};
    enum store_write result;
    struct err err = {0};
    if (!box->store->vt->record(box->store, &record, &result, &err))
        fail_msg("%s", err.text);
    store_request_clear(&row);
    return result;
}

bool box_revoke(const struct box *box, const struct cert *cert)
{
    char hex[2 * RA_DIGEST_LEN + 1];
    struct store_revoke revoke = {.fingerprint = hex, .reason = 4, .audit = &event};
    struct err err = {0};
    bool found;
    text_hex(bytes_of(cert_fingerprint_get(cert), RA_DIGEST_LEN), hex);
    if (!box->store->vt->cert_revoke(box->store, &revoke, &found, &err))
        fail_msg("%s", err.text);
    return found;
}

struct store_cert box_held(const struct box *box, const struct cert *cert)
{
    struct store_cert held = {0};
    struct err err = {0};
    bool found;
    if (!box->store->vt->cert_find(box->store, cert_fingerprint_get(cert), &held, &found, &err))
        fail_msg("%s", err.text);
    assert_true(found);
    return held;
}

int64_t box_audited(const struct box *box)
{
    struct audit_summary summary = {0};
    struct err err = {0};
    if (!audit_verify(box->store, &summary, &err))
        fail_msg("%s", err.text);
    return summary.records;
}
