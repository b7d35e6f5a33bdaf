#include "gateway/upstream/hide.h"

#include "base/text.h"
#include "gateway/upstream/jose.h"

#include <string.h>

void hide_secret(struct buf *text, struct bytes secret)
{
    size_t piece = secret.len < HIDE_PIECE ? secret.len : HIDE_PIECE;
    size_t hidden = 0; /* the text before it is done */
    if (!piece)
        return;
    if (text->len > HIDE_TEXT_MAX)
        text->len = HIDE_TEXT_MAX;
    struct buf copy = BUF_SECRET(HIDE_TEXT_MAX); /* pieces may overlap */
    if (!buf_set(&copy, buf_bytes(text)))
        err_no_memory();
    for (size_t i = 0; i + piece <= copy.len; i++) {
        if (!memmem(secret.ptr, secret.len, copy.ptr + i, piece))
            continue;
        size_t from = hidden > i ? hidden : i;
        memset(text->ptr + from, '*', i + piece - from);
        hidden = i + piece;
    }
    buf_free(&copy);
}

void hide_in_error(struct httpc_reply *http, struct bytes secret)
{
    if (http->status / 100 != 2)
        hide_secret(&http->body, secret);
}

void hide_csr(struct buf *text, struct bytes der)
{
    struct buf form = {.secret = true};
    if (text_base64_encode(der, 0, &form))
        hide_secret(text, buf_bytes(&form));
    buf_clear(&form);
    if (jose_encode(der, &form))
        hide_secret(text, buf_bytes(&form));
    buf_free(&form);
}
