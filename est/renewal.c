#include "est/renewal.h"

#include "base/json.h"
#include "base/text.h"

#include <string.h>

#define SERIAL_MAX 21 /* RFC 5280 section 4.1.2.2: 20 octets, and one for the sign */

static bool take_base64url(struct bytes text, struct buf *out)
{
    struct err ignored;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        bool word = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!word && c != '-' && c != '_')
            return false;
    }
    return text.len && text_base64_decode(text, TEXT_BASE64_LENIENT, out, &ignored) && out->len;
}

bool est_renewal_id(struct bytes id, struct buf *key_id, char *serial)
{
    struct bytes first;
    struct buf raw = BUF_INIT(SERIAL_MAX);
    bool ok = bytes_take_until(&id, '.', &first) && take_base64url(first, key_id) &&
              take_base64url(id, &raw);
    struct bytes number = buf_bytes(&raw), sign;
    /* DER's INTEGER is positive: a zero stands before a high bit. */
    if (ok && number.len > 1 && number.ptr[0] == 0)
        ok = number.ptr[1] >= 0x80 && bytes_take(&number, 1, &sign);
    if (ok)
        text_hex(number, serial);
    buf_free(&raw);
    return ok;
}

static bool print_window(const struct ra_window *window, struct buf *out)
{
    char start[TEXT_TIME_MAX], end[TEXT_TIME_MAX];
    struct json *object = json_new_object(), *inner = json_new_object();
    text_time(window->start, start);
    text_time(window->end, end);
    json_set_text(inner, "start", start);
    json_set_text(inner, "end", end);
    json_set(object, "suggestedWindow", inner);
    bool ok = json_print(object, out);
    json_free(object);
    return ok;
}

bool est_renewal_info(struct store *store, const struct ra_cert_id *of, struct est_renewal *ret,
                      struct buf *out, struct err *err)
{
    struct ra_window window;
    *ret = (struct est_renewal){0};
    if (!ra_window_find(store, of, &window, &ret->found, err))
        return false;
    ret->retry_after = ret->found ? window.retry_after : 0;
    return !ret->found || print_window(&window, out) ||
           err_set(err, ERR_LOCAL, "a renewal window that is too large to send");
}
