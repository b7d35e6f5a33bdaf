#include "est/door.h"

#include "base/text.h"

#include <string.h>

#define PREFIX "/.well-known/est/"

static const char *const op_names[EST_OP_COUNT] = {
    [EST_CACERTS] = "cacerts",
    [EST_SIMPLEENROLL] = "simpleenroll",
    [EST_SIMPLEREENROLL] = "simplereenroll",
    [EST_CSRATTRS] = "csrattrs",
    [EST_FULLCMC] = "fullcmc",
    [EST_SERVERKEYGEN] = "serverkeygen",
    [EST_RENEWAL_INFO] = "renewal-info",
};

const char *est_op_name(enum est_op op)
{
    return (unsigned)op < EST_OP_COUNT ? op_names[op] : "-";
}

static bool op_find(struct bytes segment, enum est_op *ret)
{
    for (unsigned i = 0; i < EST_OP_COUNT; i++) {
        if (bytes_equal_str(segment, op_names[i])) {
            *ret = (enum est_op)i;
            return true;
        }
    }
    return false;
}

static bool label_fine(struct bytes label)
{
    static const char marks[] = {'.', '_', '~', '-'};
    enum est_op op;
    if (label.len < 1 || label.len > EST_LABEL_MAX || op_find(label, &op))
        return false;
    if (bytes_equal_str(label, ".") || bytes_equal_str(label, ".."))
        return false;
    for (size_t i = 0; i < label.len; i++) {
        uint8_t c = label.ptr[i];
        bool word = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!word && !memchr(marks, c, sizeof marks))
            return false;
    }
    return true;
}

/* "OPERATION", or "renewal-info/ID". */
static bool tail_take(struct bytes path, enum est_op *op)
{
    struct bytes name;
    bool more = bytes_take_until(&path, '/', &name);
    if (!op_find(name, op))
        return false;
    if (*op != EST_RENEWAL_INFO)
        return !more;
    return more && path.len && !memchr(path.ptr, '/', path.len);
}

bool est_path_parse(struct bytes path, enum est_op *op, char label[EST_LABEL_MAX + 1])
{
    struct buf decoded = BUF_INIT(EST_LABEL_MAX);
    struct bytes prefix, first;
    if (!bytes_starts(path, PREFIX) || !bytes_take(&path, strlen(PREFIX), &prefix))
        return false;
    label[0] = 0;
    if (tail_take(path, op))
        return true;
    if (!bytes_take_until(&path, '/', &first))
        return false;
    /* Decoded once, after the segments are apart: "%2f" makes no segment. */
    bool ok = text_percent_decode(first, &decoded) && label_fine(buf_bytes(&decoded)) &&
              tail_take(path, op);
    if (ok) {
        memcpy(label, decoded.ptr, decoded.len);
        label[decoded.len] = 0;
    }
    buf_free(&decoded);
    return ok;
}
