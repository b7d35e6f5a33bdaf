#include "base/text.h"
#include "gateway/upstream/acme_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool acme_ticket_has_records(const struct ticket *ticket)
{
    uint8_t any = 0;
    for (size_t i = 0; i < sizeof ticket->set; i++)
        any |= ticket->set[i];
    return any;
}

bool acme_ticket_write(const struct ticket *ticket, struct buf *out)
{
    buf_clear(out);
    char set[2 * sizeof ticket->set + 1];
    text_hex(bytes_of(ticket->set, sizeof ticket->set), set);
    return buf_add_fmt(out, "3 %lld %lld %lld %lld %s %lld %lld %s", (long long)ticket->created,
                       (long long)ticket->expires, (long long)ticket->orders,
                       (long long)ticket->finalized, set, (long long)ticket->set_at,
                       (long long)ticket->cleaning, ticket->url);
}

static bool number_take(struct bytes *cur, int64_t *ret)
{
    struct bytes word;
    char *end = NULL, *text;
    bool ok = bytes_take_until(cur, ' ', &word) && (text = bytes_to_str(word));
    if (!ok)
        return false;
    *ret = strtoll(text, &end, 10);
    ok = end != text && !*end;
    free(text);
    return ok;
}

static bool set_take(struct bytes *cur, uint8_t set[NAMES_SAN_MAX / 8])
{
    struct bytes word;
    struct buf bits = {0};
    bool ok = bytes_take_until(cur, ' ', &word) && text_unhex(word, &bits) &&
              bits.len == NAMES_SAN_MAX / 8;
    if (ok)
        memcpy(set, bits.ptr, bits.len);
    buf_free(&bits);
    return ok;
}

bool acme_ticket_read(struct bytes cookie, struct ticket *ret)
{
    int64_t version;
    struct bytes cur = cookie;
    *ret = (struct ticket){0};
    bool ok = number_take(&cur, &version) && version >= 1 && version <= 3 &&
              number_take(&cur, &ret->created) && number_take(&cur, &ret->expires) &&
              number_take(&cur, &ret->orders) && number_take(&cur, &ret->finalized);
    if (ok && version < 3 && ret->finalized == ACME_OPEN) /* they did not say so before */
        ret->finalized = ACME_ASKED;
    if (ok && version > 1) /* 1 knows no dns-01 */
        ok = set_take(&cur, ret->set) && number_take(&cur, &ret->set_at) &&
             number_take(&cur, &ret->cleaning);
    char *url = ok ? bytes_to_str(cur) : NULL;
    ok = acme_url_fits(url);
    if (ok)
        snprintf(ret->url, sizeof ret->url, "%s", url);
    free(url);
    return ok;
}
