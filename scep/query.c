#include "scep/query.h"

#include "base/text.h"
#include "scep/scep.h"

#include <string.h>

/* Base64 of a message whose every character is escaped. */
#define VALUE_MAX (SCEP_MSG_MAX * 4)

static const char *const names[] = {
    [SCEP_OP_NONE] = "-",
    [SCEP_OP_GETCACAPS] = "GetCACaps",
    [SCEP_OP_GETCACERT] = "GetCACert",
    [SCEP_OP_GETNEXTCACERT] = "GetNextCACert",
    [SCEP_OP_PKIOPERATION] = "PKIOperation",
    [SCEP_OP_UNKNOWN] = "-",
};

bool scep_query_value(struct bytes query, const char *name, struct bytes *ret)
{
    while (query.len) {
        struct bytes pair, key;
        bytes_take_until(&query, '&', &pair);
        if (bytes_take_until(&pair, '=', &key) && bytes_equal_str(key, name)) {
            *ret = pair;
            return true;
        }
    }
    return false;
}

enum scep_operation scep_query_operation(struct bytes query)
{
    struct bytes value;
    if (!scep_query_value(query, "operation", &value))
        return SCEP_OP_NONE;
    for (int i = SCEP_OP_GETCACAPS; i < SCEP_OP_UNKNOWN; i++)
        if (bytes_equal_str(value, names[i]))
            return (enum scep_operation)i;
    return SCEP_OP_UNKNOWN;
}

const char *scep_operation_name(enum scep_operation operation)
{
    return names[operation];
}

static bool unescape(struct buf *text, struct err *err)
{
    struct buf once = BUF_INIT(VALUE_MAX);
    bool ok = text_percent_decode(buf_bytes(text), &once) && buf_set(text, buf_bytes(&once));
    buf_free(&once);
    return ok || err_set(err, ERR_PEER, "message= is badly escaped");
}

bool scep_query_message(struct bytes query, struct buf *der, struct err *err)
{
    struct bytes value;
    struct buf text = BUF_INIT(VALUE_MAX);
    if (!scep_query_value(query, "message", &value) || value.len == 0)
        return err_set(err, ERR_PEER, "a PKIOperation without a message");
    if (!buf_set(&text, value))
        return err_set(err, ERR_PEER, "a message= of %zu characters", value.len);
    bool ok = unescape(&text, err) &&
              (!text.len || !memchr(text.ptr, '%', text.len) || unescape(&text, err));
    /* A '+' that was not escaped may have become a space on the way. Line ends go by themselves. */
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] == ' ')
            text.ptr[i] = '+';
    ok = ok && text_base64_decode(buf_bytes(&text), TEXT_BASE64_LENIENT, der, err);
    buf_free(&text);
    return ok;
}
