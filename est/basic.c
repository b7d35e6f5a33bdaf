#include "est/basic.h"

#include "base/text.h"

#include <crypt.h>
#include <stdlib.h>
#include <string.h>

bool est_basic_parse(struct bytes header, struct est_basic *ret)
{
    struct est_basic basic = {.text = BUF_SECRET(EST_USER_MAX + 1 + EST_PASSWORD_MAX)};
    struct bytes scheme, cur;
    struct err ignored;
    header = bytes_trim(header);
    bool ok = bytes_take_until(&header, ' ', &scheme) && bytes_equal_nocase(scheme, "Basic") &&
              text_base64_decode(bytes_trim(header), TEXT_BASE64_STRICT, &basic.text, &ignored);
    cur = buf_bytes(&basic.text);
    ok = ok && (!cur.len || !memchr(cur.ptr, 0, cur.len)) &&
         bytes_take_until(&cur, ':', &basic.user) && basic.user.len <= EST_USER_MAX &&
         cur.len <= EST_PASSWORD_MAX;
    if (!ok) {
        est_basic_clear(&basic);
        return false;
    }
    basic.password = cur;
    *ret = basic;
    return true;
}

void est_basic_clear(struct est_basic *basic)
{
    buf_free(&basic->text);
    *basic = (struct est_basic){0};
}

/* Constant time: the hashes are compared whole. */
static bool password_matches(const char *password, const char *hash)
{
    struct crypt_data *data = mem_zalloc(sizeof *data); /* 32 KiB: too large for a stack */
    const char *got = crypt_r(password, hash, data);
    bool equal = got && got[0] != '*' && bytes_equal_secret(bytes_str(got), bytes_str(hash));
    explicit_bzero(data, sizeof *data);
    free(data);
    return equal;
}

const struct cfg_user *est_basic_check(const struct cfg_profile *profile,
                                       const struct est_basic *basic)
{
    const struct cfg_est *est = &profile->est;
    const struct cfg_user *found = NULL;
    const char *any = NULL;
    for (size_t i = 0; i < est->user_count; i++) {
        if (!est->users[i].hash)
            continue; /* of Digest alone */
        any = any ? any : est->users[i].hash;
        if (bytes_equal_str(basic->user, est->users[i].name))
            found = &est->users[i];
    }
    char *password = any ? bytes_to_str(basic->password) : NULL;
    if (!password)
        return NULL;
    /* An unknown user costs as much work as a known one. */
    const char *hash = found ? found->hash : any;
    bool match = password_matches(password, hash);
    mem_free_secret_str(password);
    return match ? found : NULL;
}
