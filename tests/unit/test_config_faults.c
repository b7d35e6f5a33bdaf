#include "config/config.h"
#include "config/node.h"
#include "tests/support/config_make.h"
#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ROWS_MIN 100
#define SHARED_KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define FILE_NAME "c.yaml"
#define HEX32 "0123456789abcdef0123456789ABCDEF"

static char dir[64];

/* A row of tests/data/config_faults.txt, which says how it is written. */
struct row {
    struct buf sentence, cut, put, whole, faults;
};

/* A certificate whose key is of a kind that nobody knows: ecPublicKey's OID with another end. */
static void write_odd_anchor(void)
{
    static const uint8_t oid[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01};
    char path[96];
    EVP_PKEY *key = make_ec("P-256");
    struct cert *cert =
        make_cert(&(struct make_spec){.subject = "CN=odd", .ca = true}, key, NULL, key);
    struct buf der = {0};
    assert_true(buf_set(&der, cert_der_get(cert)));
    uint8_t *at = memmem(der.ptr, der.len, oid, sizeof oid);
    assert_non_null(at);
    at[sizeof oid - 1] = 0x7f;
    snprintf(path, sizeof path, "%s/odd-anchor.der", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(der.ptr, 1, der.len, file), der.len);
    assert_int_equal(fclose(file), 0);
    buf_free(&der);
    cert_free(cert);
    EVP_PKEY_free(key);
}

static int make_folder(void **state)
{
    (void)state;
    char path[96];
    config_dir_make(dir);
    write_odd_anchor();
    config_dir_write(dir, "empty", "", 0600);
    config_dir_write(dir, "text", "this is no PEM\n", 0600);
    config_dir_write(dir, "short-secrets", "a-fixed-secret-1\nshort\n", 0600);
    config_dir_write(dir, "spaced-secrets", "a secret with spaces\n", 0600);
    config_dir_write(dir, "many-secrets",
                     "a-fixed-secret-01\na-fixed-secret-02\na-fixed-secret-03\na-fixed-secret-04\n"
                     "a-fixed-secret-05\na-fixed-secret-06\na-fixed-secret-07\na-fixed-secret-08\n"
                     "a-fixed-secret-09\na-fixed-secret-10\na-fixed-secret-11\na-fixed-secret-12\n"
                     "a-fixed-secret-13\na-fixed-secret-14\na-fixed-secret-15\na-fixed-secret-16\n"
                     "a-fixed-secret-17\n",
                     0600);
    config_dir_write(dir, "open-secrets", "a-fixed-secret-1\n", 0644);
    config_dir_write(dir, "plain-users", "alice:correct-horse\n", 0600);
    config_dir_write(dir, "odd-users", "correct-horse\n", 0600);
    config_dir_write(dir, "open-users", "bob:$5$saltsalt$01234567890123456789\n", 0644);
    config_dir_write(dir, "digest-users", "alice:{digest-sha256}" HEX32 HEX32 "\n", 0600);
    config_dir_write(dir, "md5-users", "alice:{digest-md5}" HEX32 "\n", 0600);
    config_dir_write(dir, "short-users", "alice:{digest-sha256}" HEX32 "\n", 0600);
    config_dir_write(dir, "no-users", "# nobody\n", 0600);
    config_dir_write(dir, "twice-users",
                     "bob:$5$saltsalt$01234567890123456789\n"
                     "bob:$5$saltsalt$01234567890123456789\n",
                     0600);
    config_dir_write(dir, "odd-shared", "0a0b\n", 0600);
    config_dir_write(dir, "short-shared", "0a0b:00112233445566778899aabbccddeeff\n", 0600);
    config_dir_write(dir, "no-shared", "# none\n", 0600);
    config_dir_write(dir, "open-shared", "0a0b:" SHARED_KEY "\n", 0640 | 0004);
    config_dir_write(dir, "twice-shared", "0a0b:" SHARED_KEY "\n0A0B:" SHARED_KEY "\n", 0600);
    EVP_PKEY *key = make_ec("P-256");
    snprintf(path, sizeof path, "%s/open.key", dir);
    make_key_file(path, key);
    EVP_PKEY_free(key);
    return chmod(path, 0644);
}

static int remove_folder(void **state)
{
    (void)state;
    make_dir_remove(dir);
    return 0;
}

static char *file_path(char path[96])
{
    snprintf(path, 96, "%s/" FILE_NAME, dir);
    return path;
}

/* The faults of a text; fails the test if there are none. The caller frees *faults. */
static void load_faulty(struct bytes text, const char *sentence, struct buf *faults)
{
    char path[96];
    struct cfg *cfg = NULL;
    if (cfg_load_text(text, file_path(path), &fake_kinds, &cfg, faults))
        fail_msg("%s: loads", sentence);
    assert_null(cfg);
}

static void row_clear(struct row *row)
{
    buf_free(&row->sentence);
    buf_free(&row->cut);
    buf_free(&row->put);
    buf_free(&row->whole);
    buf_free(&row->faults);
    *row = (struct row){0};
}

/* The rest of a line behind its mark; lines that belong together are joined by LF. */
static void add_line(struct buf *buf, const char *line, const char *between)
{
    assert_true((!buf->len || buf_add_str(buf, between)) && buf_add_str(buf, line));
}

/* "FILE:" before it, and the folder's name in it. */
static void add_fault(struct buf *buf, const char *line)
{
    const char *mark = strstr(line, "%DIR%");
    assert_true(buf_add_fmt(buf, "%s/" FILE_NAME ":", dir));
    if (mark) {
        assert_true(buf_add(buf, bytes_of(line, (size_t)(mark - line))));
        assert_true(buf_add_str(buf, dir));
        line = mark + 5;
    }
    assert_true(buf_add_fmt(buf, "%s\n", line));
}

/* The base with the row's change, or the row's own text. */
static void row_text(struct row *row, struct buf *text)
{
    if (!row->cut.len) {
        assert_true(!row->whole.len || buf_add_fmt(text, "%s\n", buf_str(&row->whole)));
        return;
    }
    struct bytes base = bytes_str(config_base), before, cut;
    const uint8_t *at = memmem(base.ptr, base.len, row->cut.ptr, row->cut.len);
    if (!at)
        fail_msg("%s: not in the base: %s", buf_str(&row->sentence), buf_str(&row->cut));
    assert_true(bytes_take(&base, (size_t)(at ? at - base.ptr : 0), &before));
    assert_true(bytes_take(&base, row->cut.len, &cut));
    assert_true(buf_add(text, before));
    assert_true(buf_add(text, buf_bytes(&row->put)));
    assert_true(buf_add(text, base));
}

static void assert_no_secret(struct buf *faults)
{
    static const char *const secrets[] = {"hunter2",      "correct-horse",  "password@",
                                          "MIGHAgEAMBMG", "a-fixed-secret", "secret with"};
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
        assert_null(strstr(buf_str(faults), secrets[i]));
}

static void run_row(struct row *row)
{
    struct buf text = {0}, faults = {0};
    row_text(row, &text);
    load_faulty(buf_bytes(&text), buf_str(&row->sentence), &faults);
    if (!bytes_equal(buf_bytes(&faults), buf_bytes(&row->faults)))
        fail_msg("%s\nexpected:\n%sgot:\n%s", buf_str(&row->sentence), buf_str(&row->faults),
                 buf_str(&faults));
    assert_no_secret(&faults);
    buf_free(&text);
    buf_free(&faults);
    row_clear(row);
}

static void take_line(struct row *row, const char *line)
{
    const char *rest = line + 2;
    switch (line[0]) {
    case '-':
        add_line(&row->cut, rest, "\n");
        break;
    case '+':
        add_line(&row->put, rest, "\n");
        break;
    case '=':
        add_line(&row->whole, rest, "\n");
        break;
    case '!':
        add_fault(&row->faults, rest);
        break;
    default:
        fail_msg("a line of no known kind: %s", line);
    }
}

/* Each malformed configuration prints exactly its faults, in the order of the file, and no secret.
 */
static void test_table(void **state)
{
    (void)state;
    struct row row = {0};
    char line[1024];
    size_t rows = 0;
    FILE *file = fopen(CONFIG_FAULTS, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        assert_non_null(strchr(line, '\n'));
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#') {
            add_line(&row.sentence, strlen(line) > 1 ? line + 2 : "", " ");
        } else if (line[0]) {
            take_line(&row, line);
        } else if (row.faults.len) {
            run_row(&row);
            rows++;
        } else {
            row_clear(&row); /* the file's own heading */
        }
    }
    fclose(file);
    run_row(&row);
    assert_true(rows >= ROWS_MIN);
}

/* The base of the table is itself without a fault, so that each row's faults are its own. */
static void test_base_is_good(void **state)
{
    (void)state;
    char path[96];
    struct cfg *cfg = NULL;
    struct buf faults = {0};
    bool ok = cfg_load_text(bytes_str(config_base), file_path(path), &fake_kinds, &cfg, &faults);
    if (!ok)
        fail_msg("%s", buf_str(&faults));
    cfg_free(cfg);
    buf_free(&faults);
}

/* Bytes that are not UTF-8 are a fault where they stand. */
static void test_not_utf8(void **state)
{
    (void)state;
    struct buf faults = {0};
    static const char text[] = "listen: {}\nstore: \"\xff\"\n";
    load_faulty(bytes_str(text), "not UTF-8", &faults);
    assert_non_null(strstr(buf_str(&faults), ":2:9: is not YAML: invalid leading UTF-8 octet\n"));
    buf_free(&faults);
}

/* A tab that indents is a fault of its line. */
static void test_tab(void **state)
{
    (void)state;
    struct buf faults = {0};
    load_faulty(bytes_str("listen:\n\tscep: []\n"), "a tab", &faults);
    assert_non_null(strstr(buf_str(&faults), ":2:1: is not YAML: "));
    buf_free(&faults);
}

/* A file that is not there is told with its name. */
static void test_missing_file(void **state)
{
    (void)state;
    char path[96], expected[160];
    struct cfg *cfg = NULL;
    struct buf faults = {0};
    snprintf(path, sizeof path, "%s/nowhere.yaml", dir);
    assert_false(cfg_load(path, &fake_kinds, &cfg, &faults));
    snprintf(expected, sizeof expected, "%s: No such file or directory\n", path);
    assert_string_equal(buf_str(&faults), expected);
    buf_free(&faults);
}

/* More than a mebibyte is not read. */
static void test_large_file(void **state)
{
    (void)state;
    struct buf text = {0}, faults = {0};
    while (text.len <= CFG_FILE_MAX)
        assert_true(buf_add_str(&text, "# a comment that fills the file\n"));
    load_faulty(buf_bytes(&text), "large", &faults);
    assert_non_null(strstr(buf_str(&faults), ":1:1: more than 1048576 bytes\n"));
    buf_free(&text);
    buf_free(&faults);
}

/* More values or keys than the ceilings end the reading; thousands of faults are all told. */
static void test_many_values(void **state)
{
    (void)state;
    struct buf text = {0}, faults = {0};
    assert_true(buf_add_str(&text, "listen: ["));
    for (size_t i = 0; i <= CFG_NODES_MAX; i++)
        assert_true(buf_add_str(&text, "a,"));
    assert_true(buf_add_str(&text, "]\n"));
    load_faulty(buf_bytes(&text), "many", &faults);
    assert_non_null(strstr(buf_str(&faults), "more than 50000 values, or deeper than 32\n"));
    buf_clear(&text);
    buf_clear(&faults);
    for (size_t i = 0; i < 2000; i++)
        assert_true(buf_add_fmt(&text, "key%zu: x\n", i));
    load_faulty(buf_bytes(&text), "unknown keys", &faults);
    assert_non_null(strstr(buf_str(&faults), ":2000:1: key1999: is an unknown key; "));
    buf_clear(&faults);
    for (size_t i = 2000; i <= CFG_MAP_MAX; i++)
        assert_true(buf_add_fmt(&text, "key%zu: x\n", i));
    load_faulty(buf_bytes(&text), "too many keys", &faults);
    assert_non_null(strstr(buf_str(&faults), ":4097:1: more than 4096 keys in one map\n"));
    buf_free(&text);
    buf_free(&faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_is_good), cmocka_unit_test(test_table),
        cmocka_unit_test(test_not_utf8),     cmocka_unit_test(test_tab),
        cmocka_unit_test(test_missing_file), cmocka_unit_test(test_large_file),
        cmocka_unit_test(test_many_values),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
