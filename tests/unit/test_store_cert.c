#include "base/clock.h"
#include "base/text.h"
#include "tests/support/store_box.h"

#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#define DAY INT64_C(86400)

static const struct audit_event event = {.event = "tried"};

static void fingerprint_of(const struct cert *cert, char out[2 * RA_DIGEST_LEN + 1])
{
    text_hex(bytes_of(cert_fingerprint_get(cert), RA_DIGEST_LEN), out);
}

/* A new request n with its certificate; the caller frees it. */
static struct cert *issue(const struct box *box, unsigned n)
{
    struct cert *cert = box_cert(box, n);
    box_add(box, n, TXN_ORDERED);
    assert_int_equal(box_record(box, n, cert), STORE_DONE);
    return cert;
}

/* What is recorded is in the inventory, whole, and answers with the request; after a restart too.
 */
static void test_record(void **state)
{
    struct box *box = *state;
    struct cert *cert = box_cert(box, 1);
    char fingerprint[2 * RA_DIGEST_LEN + 1], id[RA_ID_LEN + 1];
    fingerprint_of(cert, fingerprint);
    box_id(1, id);
    box_add(box, 1, TXN_ORDERED);
    clock_set(BOX_NOW + 3);
    assert_int_equal(box_record(box, 1, cert), STORE_DONE);
    assert_int_equal(box_audited(box), 2);
    for (int restart = 0; restart < 2; restart++) {
        struct store_request row = box_row(box, 1);
        struct store_cert held = box_held(box, cert);
        assert_int_equal(row.state, TXN_ISSUED);
        assert_true(row.cert_live);
        assert_int_equal(row.updated, BOX_NOW + 3);
        assert_true(bytes_equal(buf_bytes(&row.cert), cert_der_get(cert)));
        assert_string_equal(held.fingerprint, fingerprint);
        assert_string_equal(held.serial, cert_serial_get(cert));
        assert_string_equal(held.profile, "a");
        assert_string_equal(held.upstream, "ca");
        assert_string_equal(held.request, id);
        assert_string_equal(held.subject, "CN=device-1");
        assert_string_equal(held.sans, "dns:a,dns:b");
        assert_int_equal(held.not_before, cert_not_before_get(cert));
        assert_int_equal(held.not_after, cert_not_after_get(cert));
        assert_int_equal(held.issued_at, BOX_NOW + 3);
        assert_int_equal(held.delivered_at, 0);
        assert_int_equal(held.revoked_at, 0);
        assert_string_equal(held.replaced_by, "");
        assert_true(bytes_equal(buf_bytes(&held.der), cert_der_get(cert)));
        store_request_clear(&row);
        store_cert_clear(&held);
        box_close(box);
        box_open(box, true);
    }
    cert_free(cert);
}

/* A certificate that the store does not know is not found. */
static void test_unknown(void **state)
{
    struct box *box = *state;
    struct cert *cert = box_cert(box, 1);
    struct store_cert held = {0};
    struct err err;
    bool found = true;
    assert_true(
        box->store->vt->cert_find(box->store, cert_fingerprint_get(cert), &held, &found, &err));
    assert_false(found);
    cert_free(cert);
}

/* A certificate may come for whatever the CA has or may have; for a request that was not sent, or
 * is over, recording one is a bug of the caller and changes nothing. */
static void test_record_states(void **state)
{
    struct box *box = *state;
    for (unsigned s = 0; s < TXN_STATE_COUNT; s++) {
        bool legal = s == TXN_ORDERED || s == TXN_WAITING || s == TXN_SUSPECT;
        char id[RA_ID_LEN + 1];
        struct cert *cert = box_cert(box, 100 + s);
        struct store_record record = {
            .id = id, .attempt = 1, .from = (enum txn_state)s, .cert = cert, .audit = &event};
        enum store_write result = STORE_FENCED;
        struct store_cert held = {0};
        struct err err = {0};
        bool found;
        box_bring(box, s, (enum txn_state)s);
        int64_t audited = box_audited(box);
        box_id(s, id);
        bool recorded = box->store->vt->record(box->store, &record, &result, &err);
        assert_int_equal(recorded, legal);
        assert_int_equal(err.kind, legal ? ERR_NONE : ERR_BUG);
        if (legal)
            assert_int_equal(result, STORE_DONE);
        struct store_request row = box_row(box, s);
        assert_int_equal(row.state, legal ? TXN_ISSUED : s);
        assert_int_equal(box_audited(box), audited + legal);
        assert_true(
            box->store->vt->cert_find(box->store, cert_fingerprint_get(cert), &held, &found, &err));
        assert_int_equal(found, legal);
        store_cert_clear(&held);
        store_request_clear(&row);
        cert_free(cert);
    }
}

/* A certificate for "CN=device-N" by the issuer, with that serial number. */
static struct cert *cert_with_serial(const struct box *box, unsigned n, const char *issuer,
                                     long serial)
{
    char subject[32];
    struct cert *cert = NULL;
    struct err err = {0};
    snprintf(subject, sizeof subject, "CN=device-%u", n);
    X509 *authority =
        make_x509(&(struct make_spec){.subject = issuer, .ca = true}, box->key, NULL, NULL);
    X509 *x509 = make_x509(&(struct make_spec){.subject = subject}, box->key, authority, box->key);
    assert_true(ASN1_INTEGER_set(X509_get_serialNumber(x509), serial));
    assert_true(X509_sign(x509, box->key, EVP_sha256()) > 0);
    if (!cert_from_x509(x509, &cert, &err))
        fail_msg("%s", err.text);
    X509_free(x509);
    X509_free(authority);
    return cert;
}

/* A serial number that its issuer has used before is never recorded again: the request stays as it
 * was, and the first certificate too. Another issuer may use it. */
static void test_serial_seen(void **state)
{
    struct box *box = *state;
    struct cert *first = cert_with_serial(box, 1, "CN=ca", 4711);
    struct cert *second = cert_with_serial(box, 2, "CN=ca", 4711);
    struct cert *other = cert_with_serial(box, 2, "CN=other", 4711);
    box_add(box, 1, TXN_ORDERED);
    box_add(box, 2, TXN_ORDERED);
    assert_int_equal(box_record(box, 1, first), STORE_DONE);
    assert_int_equal(box_record(box, 2, second), STORE_SERIAL_SEEN);
    assert_int_equal(box_record(box, 2, first), STORE_SERIAL_SEEN);
    assert_int_equal(box_audited(box), 3);
    struct store_request row = box_row(box, 2);
    assert_int_equal(row.state, TXN_ORDERED);
    assert_int_equal(row.cert.len, 0);
    assert_int_equal(row.lease_until, BOX_NOW + BOX_LEASE);
    store_request_clear(&row);
    assert_int_equal(box_record(box, 2, other), STORE_DONE);
    struct store_cert held = box_held(box, first);
    assert_string_equal(held.subject, "CN=device-1");
    store_cert_clear(&held);
    cert_free(first);
    cert_free(second);
    cert_free(other);
}

/* A renewal marks the certificate that it renews as replaced, and no other. */
static void test_replaced(void **state)
{
    struct box *box = *state;
    struct cert *old = issue(box, 1), *bystander = issue(box, 2), *new = box_cert(box, 3);
    char fingerprint[2 * RA_DIGEST_LEN + 1];
    struct store_request renewal = box_request(3, TXN_ORDERED);
    fingerprint_of(old, renewal.renews);
    assert_int_equal(box_order(box, &renewal, NULL, NULL), STORE_ORDERED);
    struct store_cert held = box_held(box, old);
    assert_string_equal(held.replaced_by, ""); /* ordering is not having */
    store_cert_clear(&held);
    assert_int_equal(box_record(box, 3, new), STORE_DONE);
    fingerprint_of(new, fingerprint);
    held = box_held(box, old);
    assert_string_equal(held.replaced_by, fingerprint);
    assert_int_equal(held.revoked_at, 0);
    store_cert_clear(&held);
    held = box_held(box, bystander);
    assert_string_equal(held.replaced_by, "");
    store_cert_clear(&held);
    store_request_clear(&renewal);
    cert_free(old);
    cert_free(bystander);
    cert_free(new);
}

/* A certificate is revoked once, with the first time and reason; what is unknown is not. */
static void test_revoke(void **state)
{
    struct box *box = *state;
    struct cert *cert = issue(box, 1), *stranger = box_cert(box, 2);
    clock_set(BOX_NOW + 10);
    assert_true(box_revoke(box, cert));
    clock_set(BOX_NOW + 20);
    assert_false(box_revoke(box, cert));
    assert_false(box_revoke(box, stranger));
    assert_int_equal(box_audited(box), 3);
    struct store_cert held = box_held(box, cert);
    assert_int_equal(held.revoked_at, BOX_NOW + 10);
    assert_int_equal(held.revoked_reason, 4);
    store_cert_clear(&held);
    struct store_request row = box_row(box, 1);
    assert_int_equal(row.state, TXN_ISSUED);
    assert_false(row.cert_live);
    store_request_clear(&row);
    cert_free(cert);
    cert_free(stranger);
}

/* Of a delivery the first time is kept; closing the store waits for it, although its caller does
 * not. */
static void test_delivered(void **state)
{
    struct box *box = *state;
    struct cert *cert = issue(box, 1), *other = issue(box, 2);
    char id[RA_ID_LEN + 1];
    box_id(1, id);
    for (int again = 0; again < 2; again++) {
        clock_set(BOX_NOW + 5 + again);
        box->store->vt->delivered(box->store, id);
        box->store->vt->delivered(box->store, "nobody");
        box_close(box);
        box_open(box, true);
        struct store_cert held = box_held(box, cert);
        assert_int_equal(held.delivered_at, BOX_NOW + 5);
        store_cert_clear(&held);
        held = box_held(box, other);
        assert_int_equal(held.delivered_at, 0);
        store_cert_clear(&held);
    }
    cert_free(cert);
    cert_free(other);
}

struct list {
    char got[64];
    size_t stop_after;
};

static bool list_one(const struct store_cert *cert, void *arg)
{
    struct list *list = arg;
    size_t len = strlen(list->got);
    snprintf(list->got + len, sizeof list->got - len, "%c", cert->request[RA_ID_LEN - 1]);
    return len + 1 != list->stop_after;
}

static void check_list(const struct box *box, const struct store_filter *filter, size_t stop_after,
                       const char *want)
{
    struct list list = {.stop_after = stop_after};
    struct err err = {0};
    if (!box->store->vt->cert_list(box->store, filter, list_one, &list, &err))
        fail_msg("%s", err.text);
    assert_string_equal(list.got, want);
}

/* Four certificates, each a second newer and a day longer valid than the one before; the last two
 * are of another profile and CA, the third is revoked. */
static void issue_four(const struct box *box, struct cert *certs[4])
{
    for (unsigned n = 1; n <= 4; n++) {
        char subject[32];
        struct store_request request = box_request(n, TXN_ORDERED);
        snprintf(subject, sizeof subject, "CN=device-%u", n);
        snprintf(request.profile, sizeof request.profile, "%s", n < 3 ? "a" : "b");
        snprintf(request.upstream, sizeof request.upstream, "%s", n < 3 ? "old" : "new");
        struct make_spec spec = {.subject = subject, .not_after = BOX_NOW + n * DAY};
        certs[n - 1] = make_cert(&spec, box->key, NULL, NULL);
        clock_set(BOX_NOW + n);
        assert_int_equal(box_order(box, &request, NULL, NULL), STORE_ORDERED);
        assert_int_equal(box_record(box, n, certs[n - 1]), STORE_DONE);
        store_request_clear(&request);
    }
    assert_true(box_revoke(box, certs[2]));
}

/* Certificates are listed newest first, and each filter leaves out what it should. */
static void test_list(void **state)
{
    struct box *box = *state;
    struct cert *certs[4];
    char hex[2 * RA_DIGEST_LEN + 1], prefix[13];
    issue_four(box, certs);
    fingerprint_of(certs[1], hex);
    snprintf(prefix, sizeof prefix, "%.12s", hex);
    check_list(box, &(struct store_filter){0}, 0, "4321");
    check_list(box, &(struct store_filter){.profile = "a"}, 0, "21");
    check_list(box, &(struct store_filter){.profile = "none"}, 0, "");
    check_list(box, &(struct store_filter){.upstream = "new"}, 0, "43");
    check_list(box, &(struct store_filter){.profile = "a", .upstream = "new"}, 0, "");
    check_list(box, &(struct store_filter){.revoked_only = true}, 0, "3");
    check_list(box, &(struct store_filter){.expires_before = BOX_NOW + 2 * DAY}, 0, "1");
    check_list(box, &(struct store_filter){.expires_before = BOX_NOW + 2 * DAY + 1}, 0, "21");
    check_list(box, &(struct store_filter){.serial = hex}, 0, "2");
    check_list(box, &(struct store_filter){.serial = prefix}, 0, "2");
    check_list(box, &(struct store_filter){.serial = cert_serial_get(certs[3])}, 0, "4");
    check_list(box, &(struct store_filter){.serial = "%"}, 0, "");
    check_list(box, &(struct store_filter){.limit = 2}, 0, "43");
    check_list(box, &(struct store_filter){0}, 3, "432");
    for (size_t i = 0; i < 4; i++)
        cert_free(certs[i]);
}

/* Challenge n of profile "a", good for an hour. */
static struct store_challenge challenge(unsigned n, int uses)
{
    struct store_challenge row = {
        .profile = "a", .created = BOX_NOW, .expires = BOX_NOW + 3600, .uses_left = uses};
    box_digest(n, row.digest);
    return row;
}

static void challenge_add(const struct box *box, const struct store_challenge *row)
{
    struct err err = {0};
    if (!box->store->vt->challenge_add(box->store, row, &event, &err))
        fail_msg("%s", err.text);
}

static bool challenge_find(const struct box *box, unsigned n, struct store_challenge *ret)
{
    struct err err = {0};
    uint8_t digest[RA_DIGEST_LEN];
    bool found;
    box_digest(n, digest);
    *ret = (struct store_challenge){0};
    if (!box->store->vt->challenge_find(box->store, digest, ret, &found, &err))
        fail_msg("%s", err.text);
    return found;
}

static bool spent_by(const struct box *box, unsigned n, unsigned request)
{
    struct err err = {0};
    uint8_t digest[RA_DIGEST_LEN];
    char id[RA_ID_LEN + 1];
    bool spent;
    box_digest(n, digest);
    box_id(request, id);
    if (!box->store->vt->challenge_spent_by(box->store, digest, id, &spent, &err))
        fail_msg("%s", err.text);
    return spent;
}

/* Orders request n with challenge c. */
static enum store_order_result spend(const struct box *box, unsigned n, unsigned c)
{
    uint8_t digest[RA_DIGEST_LEN];
    struct store_request request = box_request(n, TXN_ORDERED);
    box_digest(c, digest);
    enum store_order_result result = box_order(box, &request, digest, NULL);
    store_request_clear(&request);
    return result;
}

/* A challenge is found as it was added, and only by its own digest. */
static void test_challenge(void **state)
{
    struct box *box = *state;
    struct store_challenge in = challenge(1, 5), out;
    memset(in.profile, 'p', sizeof in.profile - 1);
    memset(in.subject, 's', sizeof in.subject - 1);
    memset(in.sans, 'n', sizeof in.sans - 1);
    challenge_add(box, &in);
    assert_int_equal(box_audited(box), 1);
    for (int restart = 0; restart < 2; restart++) {
        assert_false(challenge_find(box, 2, &out));
        assert_true(challenge_find(box, 1, &out));
        assert_memory_equal(in.digest, out.digest, sizeof in.digest);
        assert_string_equal(in.profile, out.profile);
        assert_string_equal(in.subject, out.subject);
        assert_string_equal(in.sans, out.sans);
        assert_int_equal(in.created, out.created);
        assert_int_equal(in.expires, out.expires);
        assert_int_equal(in.uses_left, out.uses_left);
        box_close(box);
        box_open(box, true);
    }
    struct err err = {0};
    assert_false(box->store->vt->challenge_add(box->store, &in, &event, &err)); /* it exists */
    assert_int_equal(err.kind, ERR_LOCAL);
    assert_int_equal(box_audited(box), 1);
}

/* A challenge is spent by the order that carries it, as often as it was good for; then nothing is
 * written, nothing is audited. It remembers who spent it. */
static void test_spend(void **state)
{
    struct box *box = *state;
    struct store_challenge row = challenge(1, 2);
    challenge_add(box, &row);
    assert_int_equal(spend(box, 11, 1), STORE_ORDERED);
    assert_int_equal(spend(box, 11, 1), STORE_DUPLICATE); /* and that costs nothing */
    assert_int_equal(spend(box, 12, 1), STORE_ORDERED);
    assert_int_equal(spend(box, 13, 1), STORE_CHALLENGE_GONE);
    assert_int_equal(spend(box, 14, 2), STORE_CHALLENGE_GONE); /* there is none */
    assert_int_equal(box_audited(box), 3);
    assert_true(box_has(box, 12));
    assert_false(box_has(box, 13));
    assert_false(box_has(box, 14));
    assert_true(challenge_find(box, 1, &row));
    assert_int_equal(row.uses_left, 0);
    for (unsigned n = 10; n <= 14; n++)
        assert_int_equal(spent_by(box, 1, n), n == 11 || n == 12);
    assert_false(spent_by(box, 2, 11));
}

/* An order that finds its challenge gone does not take the key of an older row away. */
static void test_gone_keeps_dedup(void **state)
{
    struct box *box = *state;
    struct store_request row = {0};
    struct err err;
    uint8_t digest[RA_DIGEST_LEN];
    char id[RA_ID_LEN + 1];
    box_bring(box, 1, TXN_ISSUED);
    clock_set(BOX_NOW + BOX_WINDOW + 1);
    struct store_request again = box_request(2, TXN_ORDERED);
    box_digest(1, again.dedup);
    box_digest(9, digest);
    assert_int_equal(box_order(box, &again, digest, NULL), STORE_CHALLENGE_GONE);
    assert_true(box->store->vt->request_by_dedup(box->store, again.dedup, 0, &row, &err));
    box_id(1, id);
    assert_string_equal(row.id, id);
    store_request_clear(&row);
    store_request_clear(&again);
}

/* A challenge that expires at some time is good before it and not from then on. */
static void test_expired(void **state)
{
    struct box *box = *state;
    struct store_challenge row = challenge(1, 5);
    challenge_add(box, &row);
    clock_set(BOX_NOW + 3599);
    assert_int_equal(spend(box, 11, 1), STORE_ORDERED);
    clock_set(BOX_NOW + 3600);
    assert_int_equal(spend(box, 12, 1), STORE_CHALLENGE_GONE);
    assert_true(challenge_find(box, 1, &row));
    assert_int_equal(row.uses_left, 4);
}

/* A challenge is kept for 30 days after its end; a new one sweeps older ones away, with what they
 * remember. */
static void test_purge(void **state)
{
    struct box *box = *state;
    struct store_challenge row = challenge(1, 5);
    int64_t end = row.expires + 30 * DAY;
    challenge_add(box, &row);
    assert_int_equal(spend(box, 11, 1), STORE_ORDERED);
    for (unsigned late = 0; late < 2; late++) {
        clock_set(end + late);
        row = challenge(2 + late, 1);
        row.expires = end + 3600;
        challenge_add(box, &row);
        assert_int_equal(challenge_find(box, 1, &row), !late);
        assert_int_equal(spent_by(box, 1, 11), !late);
    }
    assert_true(challenge_find(box, 2, &row));
    assert_true(box_has(box, 11));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_record),
        TEST(test_record_states),
        TEST(test_unknown),
        TEST(test_serial_seen),
        TEST(test_replaced),
        TEST(test_revoke),
        TEST(test_delivered),
        TEST(test_list),
        TEST(test_challenge),
        TEST(test_spend),
        TEST(test_gone_keeps_dedup),
        TEST(test_expired),
        TEST(test_purge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
