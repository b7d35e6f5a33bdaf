/* ASN.1 as a cursor that reads definite and indefinite lengths, and a writer that emits definite
 * DER. For structure only; values go through OpenSSL. */
#ifndef BASE_DER_H
#define BASE_DER_H

#include "base/bytes.h"

enum {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_UTF8_STRING = 0x0c,
    DER_PRINTABLE_STRING = 0x13,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
};
#define DER_CONTEXT(n) (0x80u | (n))             /* primitive, implicit */
#define DER_CONTEXT_CONSTRUCTED(n) (0xa0u | (n)) /* constructed */

/* One element. tag is the identifier octet (high-tag-number form is refused). */
struct der {
    uint8_t tag;
    bool indefinite;      /* BER: content ends before its end-of-contents octets */
    struct bytes content; /* borrowed, without end-of-contents */
    struct bytes whole;   /* borrowed, identifier to end */
};

#define DER_DEPTH_MAX 32

/* Takes one element. depth bounds the search for the end of indefinite lengths. False: truncated,
 * malformed, deeper than DER_DEPTH_MAX, or nothing left; the cursor is then unchanged. */
bool der_take(struct bytes *cur, struct der *ret) MUST_USE;
/* The same, and the tag must be this one. */
bool der_take_tag(struct bytes *cur, uint8_t tag, struct der *ret) MUST_USE;
/* Whether the next element has this tag, without taking it. */
bool der_next_is(struct bytes cur, uint8_t tag);
/* Whole input is exactly one element, at most `max_depth` deep, at most `max_elements` in all. */
bool der_check(struct bytes der, unsigned max_depth, size_t max_elements) MUST_USE;

/* Writer: add content first, then wrap it. Each returns false if buf's ceiling is reached. */
bool der_add(struct buf *buf, uint8_t tag, struct bytes content) MUST_USE;
/* The bytes of buf from offset `from` to its end become the content of one element. */
bool der_wrap(struct buf *buf, size_t from, uint8_t tag) MUST_USE;
/* OBJECT IDENTIFIER of an OpenSSL NID; false also if it has none. */
bool der_add_oid(struct buf *buf, int nid) MUST_USE;

#endif
