/* Where an HTTP/1.x request ends, and whether it may be read at all (RFC 9112).
 *
 * Two readers that disagree on a request's end let one client speak in another's name. So there is
 * one strict reader, this one; whatever it does not understand is refused, and CivetWeb sees only
 * requests that were written anew from what it understood. */
#ifndef GATEWAY_FRAME_H
#define GATEWAY_FRAME_H

#include "base/bytes.h"

#define FRAME_LINE_MAX ((size_t)16 << 10) /* request line */
#define FRAME_HEAD_MAX ((size_t)32 << 10) /* request line and headers */
#define FRAME_HEADERS_MAX 64              /* what CivetWeb keeps */
#define FRAME_TRAILER_MAX ((size_t)4 << 10)
/* What every method but GET, HEAD and POST is rewritten to. */
#define FRAME_METHOD_OTHER "OPTIONS"

enum frame_result {
    FRAME_MORE = 0, /* so far a beginning of a request */
    FRAME_DONE,
    FRAME_REFUSED, /* status says why; nothing after it can be read */
};

struct frame_rules {
    size_t body_max;
    bool host_needed; /* HTTP/1.1 without Host is refused (RFC 9112 section 3.2) */
};

enum frame_body { FRAME_BODY_NONE = 0, FRAME_BODY_LENGTH, FRAME_BODY_CHUNKED };

/* Zeroed before a request's first byte. Offsets count from the first byte given. */
struct frame {
    int status;     /* FRAME_REFUSED: what to answer */
    bool head_done; /* everything below is known */
    bool post;
    bool keep;    /* the client can send another request after this one */
    bool expects; /* it waits for 100 Continue before it sends the body */
    enum frame_body body;
    size_t length; /* of the body; chunked: what came so far */
    size_t total;  /* FRAME_DONE: where the next request starts */

    /* How far reading has come. */
    size_t start;  /* of the request line */
    size_t line;   /* of the line that is read */
    size_t head;   /* where the body starts */
    size_t at;     /* in a chunked body */
    bool trailing; /* in the trailer of a chunked body */
    bool version_1_1;
    unsigned headers, hosts, lengths, encodings;
};

/* data: everything since the request's first byte, at each call with more at its end. Reads no
 * byte twice. */
enum frame_result frame_scan(struct frame *frame, const struct frame_rules *rules,
                             struct bytes data);

/* After FRAME_DONE: the same request for CivetWeb: HTTP/1.1, origin form, Content-Length, without
 * what concerns the connection only. keep_certificate: Client-Cert and Client-Cert-Chain (RFC 9440)
 * stay; else they are left out. False if out is full. */
bool frame_rewrite(const struct frame *frame, struct bytes data, bool keep_certificate,
                   struct buf *out) MUST_USE;

/* The reason phrase of a status. */
const char *frame_reason(int status);

#endif
