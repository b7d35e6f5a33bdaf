#include "gateway/upstream/ndes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define PASSWORD "1ED0DD50F7459D6E"
#define BEFORE                                                                                     \
    "<HTML><Body>\r\n<P> The thumbprint (hash value) for the CA certificate is: <B> A656FA66 "     \
    "AB12B433 A2DA5CF7 CC153D9A </B> \r\n<P> The enrollment challenge\r\n password is: <B> "
#define AFTER                                                                                      \
    " </B> <P> This password can be used only once and will expire within 60 minutes. <P> Each "   \
    "enrollment requires a new challenge password. </Body></HTML>"

static bool read_page(struct bytes body, struct buf *secret, int64_t *life, struct err *err)
{
    *err = (struct err){0};
    buf_free(secret);
    bool ok = ndes_page_read(body, secret, life, err);
    if (ok)
        assert_true(secret->secret && secret->len >= NDES_SECRET_MIN &&
                    secret->len <= NDES_SECRET_MAX);
    else
        assert_true(secret->len == 0 && err->text[0]);
    return ok;
}

static void widen(const char *text, struct buf *out)
{
    for (; *text; text++)
        assert_true(buf_add_u8(out, (uint8_t)*text) && buf_add_u8(out, 0));
}

/* A page in either charset shows its challenge and its life; cut off anywhere, it shows that one or
 * none, and never a part of it. */
static void test_truncated(void **state)
{
    static const char page[] = BEFORE PASSWORD AFTER;
    struct buf wide = {0}, secret = {0};
    struct err err;
    int64_t life;
    (void)state;
    widen(page, &wide);
    const struct bytes both[] = {bytes_str(page), buf_bytes(&wide)};
    for (size_t i = 0; i < 2; i++) {
        size_t shown = 0;
        assert_true(read_page(both[i], &secret, &life, &err));
        assert_true(bytes_equal_str(buf_bytes(&secret), PASSWORD) && life == 3600);
        for (size_t len = 0; len < both[i].len; len++) {
            if (!read_page(bytes_of(both[i].ptr, len), &secret, &life, &err))
                continue;
            shown++;
            assert_true(bytes_equal_str(buf_bytes(&secret), PASSWORD));
        }
        assert_true(shown > 0 && shown < strlen(AFTER));
    }
    buf_free(&wide);
    buf_free(&secret);
}

/* What is no challenge, is not alone, or has no end is not taken for one. */
static void test_refused(void **state)
{
    static const struct {
        const char *page, *text;
    } rows[] = {
        {"", "shows no challenge"},
        {BEFORE AFTER, "is none"},
        {BEFORE "1ED0DD5" AFTER, "is none"},
        {BEFORE "1ED0DD50 F7459D6E" AFTER, "is none"},
        {BEFORE "1ED0DD50F7459D6\xc4" AFTER, ""},
        {BEFORE "&lt;1ED0DD50F7459D6E" AFTER, "is none"},
        {BEFORE "<I>1ED0DD50F7459D6E</I>" AFTER, "is none"},
        {BEFORE PASSWORD, "is none"},
        {BEFORE PASSWORD AFTER BEFORE PASSWORD AFTER, "several challenges"},
        {BEFORE PASSWORD " </B> <P> This password can be used multiple times and will not expire.",
         "UseSinglePassword"},
        {"<P> The password cache is full. ", "The password cache is full."},
        {"You do not have sufficient permission to enroll with SCEP.  Please contact your system "
         "administrator.",
         "You do not have sufficient permission"},
    };
    struct buf secret = {0};
    struct err err;
    int64_t life;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (read_page(bytes_str(rows[i].page), &secret, &life, &err) ||
            !strstr(err.text, rows[i].text))
            fail_msg("\"%s\": %s", rows[i].page, err.text);
    assert_false(read_page(bytes_of("a\0b", 3), &secret, &life, &err));
    assert_false(read_page(bytes_of("\0a\0b", 4), &secret, &life, &err));
    buf_free(&secret);
}

/* Look-alikes differ in case, in white space and in what they say of its life. */
static void test_lenient(void **state)
{
    static const struct {
        const char *page;
        int64_t life;
    } rows[] = {
        {"THE ENROLLMENT  CHALLENGE\tPASSWORD IS: <b>" PASSWORD "</b>", 0},
        {"\xef\xbb\xbf" BEFORE PASSWORD AFTER, 3600},
        {BEFORE PASSWORD " </B> will expire within 1 minute.", 60},
        {BEFORE PASSWORD " </B> will expire within -5 minutes.", 0},
        {BEFORE PASSWORD " </B> will expire within 5 hours.", 0},
        {BEFORE PASSWORD " </B> will expire within 99999999999999999999 minutes.", 0},
    };
    struct buf secret = {0};
    struct err err;
    int64_t life;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!read_page(bytes_str(rows[i].page), &secret, &life, &err) || life != rows[i].life)
            fail_msg("%s: %s, %lld", rows[i].page, err.text, (long long)life);
        assert_true(bytes_equal_str(buf_bytes(&secret), PASSWORD));
    }
    buf_free(&secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_lenient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
