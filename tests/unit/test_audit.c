#include "base/clock.h"
#include "tests/support/store_box.h"

#include <openssl/sha.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define RECORDS 5

/* The text of an event: fixed key order, what is absent left out, all that JSON demands escaped. */
static void test_text(void **state)
{
    static const struct {
        struct audit_event event;
        const char *text;
    } rows[] = {
        {{.event = "ordered"}, "{\"event\":\"ordered\"}"},
        {{"issued", "id", "vpn", "192.0.2.1", "CN=a", "why"},
         "{\"event\":\"issued\",\"request\":\"id\",\"profile\":\"vpn\",\"origin\":\"192.0.2.1\","
         "\"subject\":\"CN=a\",\"detail\":\"why\"}"},
        {{.event = "x", .detail = ""}, "{\"event\":\"x\",\"detail\":\"\"}"},
        {{.event = "x", .detail = "a\"b\\c"}, "{\"event\":\"x\",\"detail\":\"a\\\"b\\\\c\"}"},
        {{.event = "x", .detail = "\n\x01\x1f\x7f"},
         "{\"event\":\"x\",\"detail\":\"\\u000a\\u0001\\u001f\x7f\"}"},
        {{.event = "x", .subject = "CN=\xc3\xa9"}, "{\"event\":\"x\",\"subject\":\"CN=\xc3\xa9\"}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf text = {0};
        assert_true(audit_text(&rows[i].event, &text));
        assert_string_equal(buf_str(&text), rows[i].text);
        buf_free(&text);
    }
}

/* A text has a ceiling: an event beyond it is refused rather than cut. */
static void test_text_ceiling(void **state)
{
    static char longest[9000];
    struct buf text = {0};
    (void)state;
    memset(longest, 'x', sizeof longest - 1);
    assert_false(audit_text(&(struct audit_event){.event = longest}, &text));
    buf_free(&text);
}

/* The hash is what its contract says, computed here in another way. */
static void test_hash(void **state)
{
    static const char tail[] = "12\n1800000000\n{\"event\":\"x\"}";
    struct audit_record record = {.seq = 12, .at = BOX_NOW, .text = "{\"event\":\"x\"}"};
    uint8_t want[AUDIT_HASH_LEN], got[AUDIT_HASH_LEN], input[AUDIT_HASH_LEN + sizeof tail - 1];
    (void)state;
    memset(record.prev, 0xab, sizeof record.prev);
    memcpy(input, record.prev, AUDIT_HASH_LEN);
    memcpy(input + AUDIT_HASH_LEN, tail, sizeof tail - 1);
    SHA256(input, sizeof input, want);
    assert_true(audit_hash(&record, got));
    assert_memory_equal(got, want, AUDIT_HASH_LEN);
}

static void add(const struct box *box, const char *detail)
{
    struct audit_event event = {.event = "tried", .origin = "cli", .detail = detail};
    struct err err = {0};
    if (!box->store->vt->audit_add(box->store, &event, &err))
        fail_msg("%s", err.text);
}

/* A box whose trail has RECORDS records, a second apart. */
static int setup_trail(void **state)
{
    box_setup(state);
    for (int i = 0; i < RECORDS; i++) {
        char detail[32];
        clock_set(BOX_NOW + i);
        snprintf(detail, sizeof detail, "number %d", i + 1);
        add(*state, detail);
    }
    return 0;
}

/* Runs SQL behind the store's back. */
static void tamper(const struct box *box, const char *sql)
{
    sqlite3 *db;
    char *text = NULL;
    assert_int_equal(sqlite3_open(box->path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s: %s", sql, text);
    sqlite3_close(db);
}

/* text: what the error must hold, or NULL if the trail is whole. */
static void check(const struct box *box, int64_t records, const char *text, const char *how)
{
    struct audit_summary summary = {.records = -1};
    struct err err = {0};
    bool ok = audit_verify(box->store, &summary, &err);
    if (ok != !text || (text && !strstr(err.text, text)))
        fail_msg("%s: \"%s\" instead of \"%s\"", how, ok ? "whole" : err.text, text ? text : "");
    if (ok)
        assert_int_equal(summary.records, records);
    else
        assert_int_equal(err.kind, ERR_LOCAL);
}

struct walked {
    int64_t count;
    struct audit_record last;
};

static bool walk_one(const struct audit_record *record, void *arg)
{
    static const uint8_t zero[AUDIT_HASH_LEN];
    struct walked *walked = arg;
    char want[96];
    walked->count++;
    snprintf(want, sizeof want,
             "{\"event\":\"tried\",\"origin\":\"cli\",\"detail\":\"number %lld\"}",
             (long long)walked->count);
    assert_int_equal(record->seq, walked->count);
    assert_int_equal(record->at, BOX_NOW + walked->count - 1);
    assert_string_equal(record->text, want);
    assert_memory_equal(record->prev, walked->count == 1 ? zero : walked->last.hash,
                        AUDIT_HASH_LEN);
    walked->last = *record;
    return true;
}

/* Records come back in order, numbered without gaps, each with the hash of the one before it; the
 * summary has the last one's. An empty trail is whole. */
static void test_whole(void **state)
{
    struct box *box = *state;
    struct walked walked = {0};
    struct audit_summary summary;
    struct err err;
    assert_true(box->store->vt->audit_walk(box->store, walk_one, &walked, &err));
    assert_int_equal(walked.count, RECORDS);
    assert_true(audit_verify(box->store, &summary, &err));
    assert_int_equal(summary.records, RECORDS);
    assert_memory_equal(summary.head, walked.last.hash, AUDIT_HASH_LEN);
    box_close(box);
    box_open(box, true);
    check(box, RECORDS, NULL, "after a restart");
    add(box, "one more");
    check(box, RECORDS + 1, NULL, "continued");
    tamper(box, "DELETE FROM audit");
    check(box, 0, NULL, "empty");
}

/* Whatever is changed in a record, removed or moved, is found, with the number of the record. */
static void test_tampered(void **state)
{
    static const struct {
        const char *sql, *text;
    } rows[] = {
        {"UPDATE audit SET text = replace(text, 'number', 'Number') WHERE seq = 1", "record 1 has"},
        {"UPDATE audit SET text = replace(text, 'number', 'Number') WHERE seq = 3", "record 3 has"},
        {"UPDATE audit SET text = text || ' ' WHERE seq = 5", "record 5 has"},
        {"UPDATE audit SET text = text || char(0) || 'x' WHERE seq = 3", "record 3 has"},
        {"UPDATE audit SET text = '' WHERE seq = 3", "record 3 has"},
        {"UPDATE audit SET at = at + 1 WHERE seq = 3", "record 3 has"},
        {"UPDATE audit SET at = at || ' or later' WHERE seq = 3", "record 3 has"},
        {"UPDATE audit SET prev = zeroblob(32) WHERE seq = 3", "record 3 does not follow"},
        {"UPDATE audit SET prev = randomblob(32) WHERE seq = 1", "record 1 does not follow"},
        {"UPDATE audit SET prev = x'' WHERE seq = 1", "record 1 "},
        {"UPDATE audit SET prev = zeroblob(33) WHERE seq = 1", "record 1 "},
        {"UPDATE audit SET hash = randomblob(32) WHERE seq = 3", "record 3 has"},
        {"UPDATE audit SET hash = randomblob(32) WHERE seq = 5", "record 5 has"},
        {"UPDATE audit SET hash = hash || x'00' WHERE seq = 5", "record 5 has"},
        {"UPDATE audit SET hash = x'' WHERE seq = 5", "record 5 has"},
        {"UPDATE audit SET seq = 9 WHERE seq = 5", "record 5 is missing"},
        {"UPDATE audit SET seq = 0 WHERE seq = 1", "record 1 is missing"},
        {"DELETE FROM audit WHERE seq = 1", "record 1 is missing"},
        {"DELETE FROM audit WHERE seq = 3", "record 3 is missing"},
        {"DELETE FROM audit WHERE seq < 5", "record 1 is missing"},
        {"DELETE FROM audit WHERE seq = 3; UPDATE audit SET seq = seq - 1 WHERE seq > 3",
         "record 3 does not follow"},
        {"UPDATE audit SET seq = 99 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; "
         "UPDATE audit SET seq = 3 WHERE seq = 99",
         "record 2 does not follow"},
        {"INSERT INTO audit SELECT 6, at, text, prev, hash FROM audit WHERE seq = 5",
         "record 6 does not follow"},
        {"INSERT INTO audit SELECT 6, at, text, hash, hash FROM audit WHERE seq = 5",
         "record 6 has"},
        {"INSERT INTO audit SELECT 0, at, text, prev, hash FROM audit WHERE seq = 5",
         "record 1 is missing"},
    };
    struct box *box = *state;
    tamper(box, "CREATE TABLE kept AS SELECT * FROM audit");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tamper(box, rows[i].sql);
        check(box, 0, rows[i].text, rows[i].sql);
        tamper(box, "DELETE FROM audit; INSERT INTO audit SELECT * FROM kept");
        check(box, RECORDS, NULL, "restored");
    }
}

/* A record whose own hash was made to fit is still found: by the one after it. */
static void test_rehashed(void **state)
{
    struct box *box = *state;
    struct audit_record record = {.seq = 1, .at = BOX_NOW, .text = "{\"event\":\"nothing\"}"};
    char hex[2 * AUDIT_HASH_LEN + 1] = "", sql[256];
    assert_true(audit_hash(&record, record.hash));
    for (size_t i = 0; i < AUDIT_HASH_LEN; i++)
        snprintf(hex + 2 * i, 3, "%02x", record.hash[i]);
    snprintf(sql, sizeof sql, "UPDATE audit SET text = '%s', hash = x'%s' WHERE seq = 1",
             record.text, hex);
    tamper(box, sql);
    check(box, 0, "record 2 does not follow", sql);
}

/* An event that is too long is a bug of its caller, and is not written. */
static void test_too_long(void **state)
{
    static char longest[9000];
    struct box *box = *state;
    struct err err = {0};
    memset(longest, 'x', sizeof longest - 1);
    assert_false(
        box->store->vt->audit_add(box->store, &(struct audit_event){.event = longest}, &err));
    assert_int_equal(err.kind, ERR_BUG);
    check(box, RECORDS, NULL, "after one that was too long");
}

/* A trail that cannot be read is an error, not a whole trail. */
static void test_unreadable(void **state)
{
    struct box *box = *state;
    tamper(box, "DROP TABLE audit");
    check(box, 0, "audit", "without its table");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_trail, box_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text), cmocka_unit_test(test_text_ceiling),
        cmocka_unit_test(test_hash), TEST(test_whole),
        TEST(test_tampered),         TEST(test_rehashed),
        TEST(test_too_long),         TEST(test_unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
