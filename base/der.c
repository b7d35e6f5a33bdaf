#include "base/der.h"

#include <openssl/objects.h>
#include <string.h>

#define CONSTRUCTED 0x20u
#define HIGH_TAG 0x1fu
#define LENGTH_OCTETS_MAX 4

/* Identifier and length octets. *indefinite: the length octet was 0x80. Tag 0 is only ever the two
 * zeros of end-of-contents (X.690 section 8.1.5). */
static bool take_header(struct bytes *cur, uint8_t *tag, size_t *len, bool *indefinite)
{
    uint8_t first;
    if (!bytes_take_u8(cur, tag) || (*tag & HIGH_TAG) == HIGH_TAG || !bytes_take_u8(cur, &first))
        return false;
    if (*tag == 0 && first != 0)
        return false;
    *indefinite = first == 0x80;
    *len = first;
    if (first <= 0x80)
        return !*indefinite || (*tag & CONSTRUCTED);
    struct bytes octets;
    if ((first & 0x7fu) > LENGTH_OCTETS_MAX || !bytes_take(cur, first & 0x7fu, &octets))
        return false;
    *len = 0;
    for (size_t i = 0; i < octets.len; i++)
        *len = *len << 8 | octets.ptr[i];
    return true;
}

/* Moves *cur behind the end-of-contents octets that close an indefinite length opened just before
 * it. Elements of definite length inside are passed over whole, so the cost is linear. */
static bool skip_indefinite(struct bytes *cur, struct bytes *content)
{
    unsigned open = 1;
    struct bytes start = *cur;
    while (open) {
        struct bytes before = *cur, skipped;
        uint8_t tag;
        size_t len;
        bool indefinite;
        if (!take_header(cur, &tag, &len, &indefinite))
            return false;
        if (tag == 0) {
            if (--open == 0)
                *content = bytes_of(start.ptr, (size_t)(before.ptr - start.ptr));
            continue;
        }
        if (indefinite ? ++open > DER_DEPTH_MAX : !bytes_take(cur, len, &skipped))
            return false;
    }
    return true;
}

bool der_take(struct bytes *cur, struct der *ret)
{
    struct bytes at = *cur;
    struct der found = {0};
    size_t len;
    if (!take_header(&at, &found.tag, &len, &found.indefinite) || found.tag == 0)
        return false;
    if (found.indefinite) {
        if (!skip_indefinite(&at, &found.content))
            return false;
    } else if (!bytes_take(&at, len, &found.content)) {
        return false;
    }
    found.whole = bytes_of(cur->ptr, cur->len - at.len);
    *ret = found;
    *cur = at;
    return true;
}

bool der_take_tag(struct bytes *cur, uint8_t tag, struct der *ret)
{
    return der_next_is(*cur, tag) && der_take(cur, ret);
}

bool der_next_is(struct bytes cur, uint8_t tag)
{
    return cur.len && cur.ptr[0] == tag;
}

/* Where a nested element ends: at a length, or at end-of-contents octets. */
struct level {
    size_t end; /* bytes of input left when a definite element ends */
    bool indefinite;
};

/* One pass with a stack of open elements: linear however deep the nesting is. */
bool der_check(struct bytes der, unsigned max_depth, size_t max_elements)
{
    struct level stack[DER_DEPTH_MAX] = {{0}};
    unsigned depth = 0;
    size_t elements = 0;
    struct bytes cur = der, skipped;
    if (max_depth > DER_DEPTH_MAX)
        max_depth = DER_DEPTH_MAX;
    do {
        uint8_t tag;
        size_t len;
        bool indefinite;
        if (!take_header(&cur, &tag, &len, &indefinite))
            return false;
        size_t limit = depth && !stack[depth - 1].indefinite ? stack[depth - 1].end : 0;
        if (tag == 0) {
            if (!depth || !stack[depth - 1].indefinite)
                return false;
            depth--;
        } else {
            if (++elements > max_elements ||
                (!indefinite && (len > cur.len || cur.len - len < limit)))
                return false;
            if (!(tag & CONSTRUCTED)) {
                if (!bytes_take(&cur, len, &skipped))
                    return false;
            } else if (depth == max_depth) {
                return false;
            } else {
                /* An indefinite element inside a definite one may not run past it. */
                stack[depth] =
                    (struct level){.end = indefinite ? 0 : cur.len - len, .indefinite = indefinite};
                depth++;
            }
        }
        while (depth && !stack[depth - 1].indefinite && cur.len <= stack[depth - 1].end) {
            if (cur.len < stack[depth - 1].end)
                return false;
            depth--;
        }
    } while (depth);
    return cur.len == 0;
}

/* Identifier and length octets, at most 6. */
static size_t put_header(uint8_t tag, size_t len, uint8_t out[6])
{
    size_t n = 0;
    out[n++] = tag;
    if (len < 0x80) {
        out[n++] = (uint8_t)len;
        return n;
    }
    unsigned octets = 1;
    while (octets < LENGTH_OCTETS_MAX && len >> (8 * octets))
        octets++;
    out[n++] = (uint8_t)(0x80u | octets);
    for (unsigned i = octets; i-- > 0;)
        out[n++] = (uint8_t)(len >> (8 * i));
    return n;
}

bool der_add(struct buf *buf, uint8_t tag, struct bytes content)
{
    uint8_t header[6];
    size_t start = buf->len;
    if (!buf_add(buf, bytes_of(header, put_header(tag, content.len, header))))
        return false;
    if (buf_add(buf, content))
        return true;
    buf->len = start;
    return false;
}

bool der_wrap(struct buf *buf, size_t from, uint8_t tag)
{
    uint8_t header[6];
    size_t len = buf->len - from;
    size_t n = put_header(tag, len, header);
    if (!buf_add(buf, bytes_of(header, n)))
        return false;
    memmove(buf->ptr + from + n, buf->ptr + from, len);
    memcpy(buf->ptr + from, header, n);
    return true;
}

bool der_add_oid(struct buf *buf, int nid)
{
    const ASN1_OBJECT *object = OBJ_nid2obj(nid);
    if (!object || OBJ_length(object) == 0)
        return false; /* OpenSSL has names without an OID */
    return der_add(buf, DER_OID, bytes_of(OBJ_get0_data(object), OBJ_length(object)));
}
