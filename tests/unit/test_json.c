#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool parses(struct bytes text)
{
    struct json *json = NULL;
    struct err err = {0};
    bool ok = json_parse(text, &json, &err);
    assert_true(ok ? json != NULL : err.kind == ERR_PEER && *err.text);
    json_free(json);
    return ok;
}

/* What is no JSON, or not only JSON, or says a member twice, is refused. */
static void test_refused(void **state)
{
    static const char *const rows[] = {"",
                                       " ",
                                       "{",
                                       "[1,]",
                                       "{\"a\":1,\"a\":2}",
                                       "{} {}",
                                       "{}x",
                                       "\"text\"",
                                       "1",
                                       "null",
                                       "{'a':1}",
                                       "{\"a\":\"\\u0000\"}",
                                       "{\"\\u0000\":1}",
                                       "[\"\xff\"]",
                                       "[99999999999999999999]",
                                       "{\"a\":\"\\ud800\"}"};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_false(parses(bytes_str(rows[i])));
    assert_false(parses((struct bytes){0}));
    assert_false(parses(bytes_of("{}\0", 3)));
}

/* Every shorter beginning of a document is refused. */
static void test_truncated(void **state)
{
    static const char text[] =
        "{\"data\":{\"chain\":[\"a\",\"b\"],\"n\":12,\"t\":true,\"z\":null}}";
    (void)state;
    for (size_t len = 0; len < strlen(text); len++)
        assert_false(parses(bytes_of(text, len)));
    assert_true(parses(bytes_str(text)));
}

/* Brackets without end do not use up the stack. */
static void test_deep(void **state)
{
    struct buf text = {0};
    (void)state;
    for (size_t i = 0; i < 1000000; i++)
        assert_true(buf_add_u8(&text, '['));
    assert_false(parses(buf_bytes(&text)));
    buf_free(&text);
}

/* Readers give what is there, and nothing for what is missing or of another type. */
static void test_read(void **state)
{
    struct json *json = NULL;
    struct err err;
    int64_t number = 0;
    (void)state;
    assert_true(json_parse(
        bytes_str("{\"s\":\"x\",\"n\":-7,\"t\":true,\"a\":[\"0\",\"1\"],\"r\":1.5}"), &json, &err));
    const struct json_value *root = json_root(json);
    assert_string_equal(json_text(json_get(root, "s")), "x");
    assert_null(json_text(json_get(root, "n")));
    assert_null(json_get(root, "missing"));
    assert_null(json_get(json_get(root, "missing"), "below"));
    assert_true(json_integer_get(json_get(root, "n"), &number) && number == -7);
    assert_false(json_integer_get(json_get(root, "r"), &number));
    assert_false(json_integer_get(json_get(root, "missing"), &number));
    assert_true(json_holds(json_get(root, "t")));
    assert_false(json_holds(json_get(root, "s")));
    assert_string_equal(json_text(json_at(json_get(root, "a"), 1)), "1");
    assert_null(json_at(json_get(root, "a"), 2));
    assert_null(json_at(root, 0));
    json_free(json);
}

/* What is wrong is said without quoting: it may be a secret. */
static void test_quiet(void **state)
{
    (void)state;
    static const char *const texts[] = {"{\"token\": \"hvs.sesame", "{\"token\": hvs.sesame}",
                                        "{\"hvs.sesame\": 1, \"hvs.sesame\": 2}",
                                        "{\"a\": 1} hvs.sesame", "{\"a\": \"hvs.sesame\" \"x\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct json *json;
        struct err err;
        assert_false(json_parse(bytes_str(texts[i]), &json, &err));
        assert_null(strstr(err.text, "sesame"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_deep),    cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
