#include "gateway/upstream/stepca_token.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* What was written is read again; what is shorter, longer or odd is no handle. */
static void test_handle(void **state)
{
    (void)state;
    struct stepca_handle made, read;
    struct buf text = {0}, odd = {0};
    struct err err;
    assert_true(stepca_handle_make(&made, &err));
    assert_true(stepca_handle_print(&made, &text));
    assert_true(stepca_handle_parse(buf_bytes(&text), &read));
    assert_int_equal(read.at, made.at);
    assert_string_equal(read.id, made.id);
    for (size_t len = 0; len < text.len; len++)
        assert_false(stepca_handle_parse(bytes_of(text.ptr, len), &read));
    for (size_t i = 0; i < text.len; i++) {
        assert_true(buf_set(&odd, buf_bytes(&text)));
        odd.ptr[i] = i % 2 ? 'G' : 0;
        assert_false(stepca_handle_parse(buf_bytes(&odd), &read));
    }
    assert_true(buf_set(&odd, buf_bytes(&text)) && buf_add_u8(&odd, '0'));
    assert_false(stepca_handle_parse(buf_bytes(&odd), &read));
    buf_clear(&odd);
    assert_true(buf_add_fmt(&odd, "1234567890123.%s", made.id));
    assert_false(stepca_handle_parse(buf_bytes(&odd), &read));
    buf_free(&text);
    buf_free(&odd);
}

/* What a list of provisioners says. */
struct page {
    const char *type, *name;
    struct json *key;
    const char *next;
};

/* Whether the page is taken; kid is how ours is called on it. */
static bool find(const struct stepca_options *options, struct page is, struct buf *kid)
{
    struct json *page = json_new_object(), *list = json_new_array(), *item = json_new_object();
    struct buf cursor = {0};
    struct err err;
    json_set_text(item, "type", is.type);
    json_set_text(item, "name", is.name);
    if (is.key)
        json_set(item, "key", is.key);
    json_append(list, item);
    json_set(page, "provisioners", list);
    if (is.next)
        json_set_text(page, "nextCursor", is.next);
    bool ok = stepca_provisioner_find(options, json_root(page), kid, &cursor, &err);
    if (ok)
        assert_string_equal(buf_str(&cursor), is.next ? is.next : "");
    buf_free(&cursor);
    json_free(page);
    return ok;
}

static struct json *key_of(EVP_PKEY *key, const char *kid)
{
    struct json *jwk = jose_jwk(key);
    json_set_text(jwk, "kid", kid);
    return jwk;
}

/* A provisioner is ours by type, name and key, whatever its key is called. */
static void test_provisioner(void **state)
{
    (void)state;
    char name[] = "ra";
    EVP_PKEY *mine = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
    struct stepca_options options = {.provisioner = name, .jwk = {.key = mine}};
    struct buf kid = {0};
    char longer[2 * STEPCA_KID_MAX];
    memset(longer, 'k', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_true(find(&options, (struct page){"JWK", "ra", key_of(mine, "first"), "7"}, &kid));
    assert_string_equal(buf_str(&kid), "first");
    assert_true(find(&options, (struct page){"JWK", "ra", key_of(other, "second"), NULL}, &kid));
    assert_string_equal(buf_str(&kid), "");
    assert_true(find(&options, (struct page){"JWK", "rb", key_of(mine, "third"), NULL}, &kid));
    assert_string_equal(buf_str(&kid), "");
    assert_true(find(&options, (struct page){"OIDC", "ra", key_of(mine, "fourth"), NULL}, &kid));
    assert_string_equal(buf_str(&kid), "");
    assert_true(find(&options, (struct page){"JWK", "ra", NULL, NULL}, &kid));
    assert_string_equal(buf_str(&kid), "");
    assert_false(find(&options, (struct page){"JWK", "ra", key_of(mine, longer), NULL}, &kid));
    assert_false(find(&options, (struct page){"JWK", "ra", key_of(mine, ""), NULL}, &kid));
    assert_false(find(&options, (struct page){"JWK", "ra", key_of(mine, "k"), longer}, &kid));
    buf_free(&kid);
    EVP_PKEY_free(mine);
    EVP_PKEY_free(other);
}

/* Part i of a token, which is JSON. */
static struct json *part(struct bytes token, int i)
{
    struct bytes piece = token;
    struct buf raw = {0};
    struct json *ret;
    struct err err;
    for (int n = 0; n <= i; n++)
        assert_true(bytes_take_until(&token, '.', &piece));
    assert_true(text_base64_decode(piece, TEXT_BASE64_LENIENT, &raw, &err));
    assert_true(json_parse(buf_bytes(&raw), &ret, &err));
    buf_free(&raw);
    return ret;
}

/* A token to revoke names the serial number, and the provisioner as Go writes a fragment. */
static void test_token(void **state)
{
    (void)state;
    char name[] = "a b/\xc3\xa9#%";
    EVP_PKEY *key = EVP_EC_gen("P-256");
    struct stepca_options options = {.provisioner = name, .x5c = {.key = key}};
    struct stepca_claims claims = {.url = "https://ca/1.0/revoke",
                                   .kid = "k",
                                   .id = "i",
                                   .serial = "77",
                                   .issued_at = 1000,
                                   .expires_at = 1300};
    struct buf token = {0};
    struct err err;
    assert_true(stepca_token_make(&options, &claims, &token, &err));
    struct json *header = part(buf_bytes(&token), 0), *payload = part(buf_bytes(&token), 1);
    const struct json_value *root = json_root(payload);
    assert_string_equal(json_text(json_get(json_root(header), "alg")), "ES256");
    assert_string_equal(json_text(json_get(root, "aud")),
                        "https://ca/1.0/revoke#x5c/a%20b/%C3%A9%23%25");
    assert_string_equal(json_text(json_get(root, "iss")), name);
    assert_string_equal(json_text(json_get(root, "sub")), "77");
    assert_null(json_get(root, "sans"));
    json_free(header);
    json_free(payload);
    buf_free(&token);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handle),
        cmocka_unit_test(test_provisioner),
        cmocka_unit_test(test_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
