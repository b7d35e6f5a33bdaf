#include "gateway/frame.h"

#include <string.h>

#define LENGTH_DIGITS 15
#define CHUNK_DIGITS 8
#define EMPTY_LINES_MAX ((size_t)2)

static bool is_token_char(uint8_t c)
{
    /* RFC 9110 section 5.6.2 */
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_token_char(text.ptr[i]))
            return false;
    return text.len > 0;
}

static int hex_value(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* One character of a path, decoded once; -1 if it is none that a path may hold: an escape that is
 * broken or hides a NUL, a slash or a backslash would be another path to another reader. */
static int path_take(struct bytes *cur)
{
    uint8_t c, high, low;
    if (!bytes_take_u8(cur, &c) || c == '\\')
        return -1;
    if (c != '%')
        return c;
    if (!bytes_take_u8(cur, &high) || !bytes_take_u8(cur, &low) || hex_value(high) < 0 ||
        hex_value(low) < 0)
        return -1;
    int value = hex_value(high) << 4 | hex_value(low);
    return value == 0 || value == '/' || value == '\\' ? -1 : value;
}

static bool path_fine(struct bytes path)
{
    size_t dots = 0, others = 0; /* of the segment so far */
    while (path.len) {
        bool slash = path.ptr[0] == '/';
        int c = path_take(&path);
        if (c < 0)
            return false;
        if (slash && !others && (dots == 1 || dots == 2))
            return false;
        dots = slash ? 0 : dots + (c == '.');
        others = slash ? 0 : others + (c != '.');
    }
    return others || (dots != 1 && dots != 2);
}

static bool starts_nocase(struct bytes text, const char *start)
{
    size_t len = strlen(start);
    return text.len >= len && bytes_equal_nocase(bytes_of(text.ptr, len), start);
}

/* RFC 9112 section 3.2: the origin form, or the absolute form, whose scheme and authority are left
 * out; then *ret may lack its first slash. False: neither. */
static bool target_origin(struct bytes target, struct bytes *ret)
{
    struct bytes scheme;
    for (size_t i = 0; i < target.len; i++)
        if (target.ptr[i] <= ' ' || target.ptr[i] > '~' || target.ptr[i] == '#')
            return false;
    *ret = target;
    if (bytes_starts(target, "/"))
        return true;
    size_t skip = starts_nocase(target, "http://")    ? strlen("http://")
                  : starts_nocase(target, "https://") ? strlen("https://")
                                                      : 0;
    if (!skip || !bytes_take(ret, skip, &scheme))
        return false;
    size_t authority = 0;
    while (authority < ret->len && ret->ptr[authority] != '/' && ret->ptr[authority] != '?')
        authority++;
    return authority && bytes_take(ret, authority, &scheme);
}

static int version_check(struct frame *frame, struct bytes version)
{
    if (bytes_equal_str(version, "HTTP/1.1"))
        frame->version_1_1 = true;
    else if (version.len == 8 && bytes_starts(version, "HTTP/") && version.ptr[5] != '1')
        return version.ptr[5] >= '2' && version.ptr[5] <= '9' ? 505 : 400;
    else if (!bytes_equal_str(version, "HTTP/1.0"))
        return 400;
    return 0;
}

struct request_line {
    struct bytes method, target, version;
};

static bool request_line_split(struct bytes line, struct request_line *ret)
{
    return bytes_take_until(&line, ' ', &ret->method) &&
           bytes_take_until(&line, ' ', &ret->target) &&
           !bytes_take_until(&line, ' ', &ret->version);
}

/* 0, or the status. */
static int request_line_check(struct frame *frame, struct bytes line)
{
    struct request_line parts;
    struct bytes target, path;
    if (!request_line_split(line, &parts) || !is_token(parts.method))
        return 400;
    int status = version_check(frame, parts.version);
    if (status)
        return status;
    frame->post = bytes_equal_str(parts.method, "POST");
    if (!target_origin(parts.target, &target))
        return 400;
    bytes_take_until(&target, '?', &path);
    frame->keep = frame->version_1_1;
    return path_fine(path) ? 0 : 400;
}

static bool has_word(struct bytes list, const char *word)
{
    struct bytes item;
    for (bool more = true; more;) {
        more = bytes_take_until(&list, ',', &item);
        if (bytes_equal_nocase(bytes_trim(item), word))
            return true;
    }
    return false;
}

/* Digits only (RFC 9112 section 6.3). */
static int length_read(struct frame *frame, struct bytes value)
{
    frame->length = 0;
    if (value.len == 0 || frame->lengths++)
        return 400;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return 400;
        if (i < LENGTH_DIGITS)
            frame->length = frame->length * 10 + (size_t)(value.ptr[i] - '0');
    }
    frame->body = FRAME_BODY_LENGTH;
    return value.len > LENGTH_DIGITS ? 413 : 0;
}

/* uri-host [":" port] (RFC 9112 section 3.2), by its characters. */
static bool host_fine(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++)
        if (!is_token_char(value.ptr[i]) && (!value.ptr[i] || !strchr(":[]();,=", value.ptr[i])))
            return false;
    return true;
}

static int header_meaning(struct frame *frame, struct bytes name, struct bytes value)
{
    if (bytes_equal_nocase(name, "Content-Length"))
        return length_read(frame, value);
    if (bytes_equal_nocase(name, "Transfer-Encoding")) {
        frame->body = FRAME_BODY_CHUNKED;
        return frame->encodings++ || !bytes_equal_nocase(value, "chunked") ? 400 : 0;
    }
    if (bytes_equal_nocase(name, "Host"))
        return frame->hosts++ || !host_fine(value) ? 400 : 0;
    if (bytes_equal_nocase(name, "Expect")) {
        frame->expects = bytes_equal_nocase(value, "100-continue");
        return frame->expects ? 0 : 417;
    }
    if (bytes_equal_nocase(name, "Connection") && has_word(value, "close"))
        frame->keep = false;
    return 0;
}

/* name ":" value, without the line's end. A line that begins with a space has no name: obs-fold. */
static bool header_split(struct bytes line, struct bytes *name, struct bytes *value)
{
    struct bytes rest = line;
    if (!bytes_take_until(&rest, ':', name) || !is_token(*name))
        return false;
    for (size_t i = 0; i < rest.len; i++)
        if ((rest.ptr[i] < ' ' && rest.ptr[i] != '\t') || rest.ptr[i] == 0x7f)
            return false;
    *value = bytes_trim(rest);
    return true;
}

static int header_check(struct frame *frame, struct bytes line)
{
    struct bytes name, value;
    if (!header_split(line, &name, &value))
        return 400;
    if (++frame->headers > FRAME_HEADERS_MAX)
        return 431;
    return header_meaning(frame, name, value);
}

/* What the whole head says together. */
static int head_check(struct frame *frame, const struct frame_rules *rules)
{
    if (frame->lengths && frame->encodings)
        return 400;
    if (frame->encodings && !frame->version_1_1)
        return 400;
    if (rules->host_needed && frame->version_1_1 && !frame->hosts)
        return 400;
    if (frame->post && frame->body == FRAME_BODY_NONE)
        return 411;
    if (frame->body == FRAME_BODY_LENGTH && frame->length > rules->body_max)
        return 413;
    /* Nobody waits for a 100 who has nothing to send. */
    frame->expects = frame->expects && frame->version_1_1 &&
                     (frame->encodings || (frame->lengths && frame->length));
    return 0;
}

static struct bytes slice(struct bytes data, size_t from, size_t to)
{
    return bytes_of(data.ptr + from, to - from);
}

static enum frame_result refused(struct frame *frame, int status)
{
    frame->status = status;
    frame->keep = false;
    return FRAME_REFUSED;
}

/* The next line from *at, without its CRLF; *at moves behind it. FRAME_REFUSED: bare LF. */
static enum frame_result line_take(struct bytes data, size_t *at, struct bytes *line)
{
    struct bytes cur = slice(data, *at, data.len);
    if (!bytes_take_until(&cur, '\n', line))
        return FRAME_MORE;
    if (line->len == 0 || line->ptr[line->len - 1] != '\r')
        return FRAME_REFUSED;
    *at += line->len + 1;
    line->len--;
    return FRAME_DONE;
}

static int line_too_long(const struct frame *frame, size_t end)
{
    bool first = frame->line == frame->start;
    if (first && end - frame->line > FRAME_LINE_MAX)
        return 414;
    return end - frame->start > FRAME_HEAD_MAX ? 431 : 0;
}

static enum frame_result head_line(struct frame *frame, const struct frame_rules *rules,
                                   struct bytes line)
{
    bool first = frame->line == frame->start;
    if (first && line.len == 0) {
        /* RFC 9112 section 2.2: empty lines before the request line are ignored; but not many. */
        frame->start += 2;
        frame->line = frame->start;
        return frame->start > EMPTY_LINES_MAX * 2 ? refused(frame, 400) : FRAME_MORE;
    }
    int status = first      ? request_line_check(frame, line)
                 : line.len ? header_check(frame, line)
                            : head_check(frame, rules);
    if (status)
        return refused(frame, status);
    frame->line += line.len + 2;
    if (!first && line.len == 0) {
        frame->head_done = true;
        frame->head = frame->at = frame->line;
        if (frame->encodings)
            frame->length = 0;
    }
    return FRAME_MORE;
}

static enum frame_result head_scan(struct frame *frame, const struct frame_rules *rules,
                                   struct bytes data)
{
    while (!frame->head_done) {
        struct bytes line;
        size_t at = frame->line;
        enum frame_result result = line_take(data, &at, &line);
        int too_long = line_too_long(frame, result == FRAME_DONE ? at : data.len);
        if (too_long)
            return refused(frame, too_long);
        if (result == FRAME_MORE)
            return FRAME_MORE;
        if (result == FRAME_REFUSED)
            return refused(frame, 400);
        if (head_line(frame, rules, line) == FRAME_REFUSED)
            return FRAME_REFUSED;
    }
    return FRAME_DONE;
}

/* Hexadecimal digits and nothing else: an extension may be read in two ways. */
static bool chunk_size(struct bytes line, size_t *ret)
{
    size_t value = 0;
    if (line.len == 0 || line.len > CHUNK_DIGITS)
        return false;
    for (size_t i = 0; i < line.len; i++) {
        if (hex_value(line.ptr[i]) < 0)
            return false;
        value = value << 4 | (size_t)hex_value(line.ptr[i]);
    }
    *ret = value;
    return true;
}

/* The next chunk from *at, empty if it is the last one. *size is how long it says it is, 0 while
 * that is unknown. */
static enum frame_result chunk_take(struct bytes data, size_t *at, size_t *size,
                                    struct bytes *chunk)
{
    struct bytes line;
    size_t pos = *at;
    *size = 0;
    *chunk = bytes_of(NULL, 0);
    enum frame_result result = line_take(data, &pos, &line);
    if (result == FRAME_MORE && data.len - *at > CHUNK_DIGITS + 2)
        return FRAME_REFUSED;
    if (result != FRAME_DONE)
        return result;
    if (!chunk_size(line, size))
        return FRAME_REFUSED;
    if (*size) {
        if (data.len - pos < *size + 2)
            return FRAME_MORE;
        *chunk = slice(data, pos, pos + *size);
        pos += *size + 2;
        if (data.ptr[pos - 2] != '\r' || data.ptr[pos - 1] != '\n')
            return FRAME_REFUSED;
    }
    *at = pos;
    return FRAME_DONE;
}

/* Trailer fields mean nothing to us; they are read and left out. */
static enum frame_result trailer_scan(struct frame *frame, struct bytes data)
{
    for (;;) {
        struct bytes line, name, value;
        enum frame_result result = line_take(data, &frame->at, &line);
        size_t seen = result == FRAME_DONE ? frame->at : data.len;
        if (result == FRAME_REFUSED || seen - frame->line > FRAME_TRAILER_MAX)
            return refused(frame, 400);
        if (result == FRAME_MORE)
            return FRAME_MORE;
        if (line.len == 0)
            break;
        if (!header_split(line, &name, &value))
            return refused(frame, 400);
    }
    frame->total = frame->at;
    return FRAME_DONE;
}

static enum frame_result chunks_scan(struct frame *frame, const struct frame_rules *rules,
                                     struct bytes data)
{
    while (!frame->trailing) {
        struct bytes chunk;
        size_t size;
        enum frame_result result = chunk_take(data, &frame->at, &size, &chunk);
        if (size > rules->body_max - frame->length)
            return refused(frame, 413);
        if (result == FRAME_REFUSED)
            return refused(frame, 400);
        if (result == FRAME_MORE)
            return FRAME_MORE;
        frame->length += chunk.len;
        frame->trailing = chunk.len == 0;
        frame->line = frame->at;
    }
    return trailer_scan(frame, data);
}

enum frame_result frame_scan(struct frame *frame, const struct frame_rules *rules,
                             struct bytes data)
{
    enum frame_result result = frame->head_done ? FRAME_DONE : head_scan(frame, rules, data);
    if (result != FRAME_DONE)
        return result;
    if (frame->body == FRAME_BODY_CHUNKED)
        return chunks_scan(frame, rules, data);
    frame->total = frame->head + frame->length;
    return data.len >= frame->total ? FRAME_DONE : FRAME_MORE;
}

/* The methods that anything here has. Any other one has no meaning for the framing (RFC 9112
 * section 6.3) and is no different from the next to who reads it; OPTIONS is one that CivetWeb
 * knows. */
static struct bytes method_rewritten(struct bytes method)
{
    static const char *const served[] = {"GET", "HEAD", "POST"};
    for (size_t i = 0; i < sizeof served / sizeof served[0]; i++)
        if (bytes_equal_str(method, served[i]))
            return method;
    return bytes_str(FRAME_METHOD_OTHER);
}

/* Fields that concern the connection or the framing (RFC 9110 section 7.6.1). */
static bool is_dropped(struct bytes name, bool keep_certificate)
{
    static const char *const dropped[] = {"Connection", "Keep-Alive",        "Proxy-Connection",
                                          "TE",         "Transfer-Encoding", "Content-Length",
                                          "Upgrade",    "Trailer",           "Expect"};
    for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++)
        if (bytes_equal_nocase(name, dropped[i]))
            return true;
    return !keep_certificate && (bytes_equal_nocase(name, "Client-Cert") ||
                                 bytes_equal_nocase(name, "Client-Cert-Chain"));
}

/* CivetWeb takes no tab in a value. */
static bool rewrite_header(struct bytes name, struct bytes value, struct buf *out)
{
    bool ok = buf_add(out, name) && buf_add_str(out, ": ");
    for (size_t i = 0; i < value.len && ok; i++)
        ok = buf_add_u8(out, value.ptr[i] == '\t' ? ' ' : value.ptr[i]);
    return ok && buf_add_str(out, "\r\n");
}

static bool rewrite_headers(const struct frame *frame, struct bytes data, size_t at,
                            bool keep_certificate, struct buf *out)
{
    struct bytes line, name, value;
    while (line_take(data, &at, &line) == FRAME_DONE && line.len) {
        if (!header_split(line, &name, &value))
            return false;
        if (!is_dropped(name, keep_certificate) && !rewrite_header(name, value, out))
            return false;
    }
    return frame->body == FRAME_BODY_NONE ||
           buf_add_fmt(out, "Content-Length: %zu\r\n", frame->length);
}

static bool rewrite_body(const struct frame *frame, struct bytes data, struct buf *out)
{
    struct bytes chunk;
    size_t at = frame->head, size;
    if (frame->body != FRAME_BODY_CHUNKED)
        return buf_add(out, slice(data, frame->head, frame->head + frame->length));
    while (chunk_take(data, &at, &size, &chunk) == FRAME_DONE && chunk.len)
        if (!buf_add(out, chunk))
            return false;
    return true;
}

bool frame_rewrite(const struct frame *frame, struct bytes data, bool keep_certificate,
                   struct buf *out)
{
    struct request_line parts;
    struct bytes line, target;
    size_t at = frame->start;
    return line_take(data, &at, &line) == FRAME_DONE && request_line_split(line, &parts) &&
           target_origin(parts.target, &target) && buf_add(out, method_rewritten(parts.method)) &&
           buf_add_str(out, bytes_starts(target, "/") ? " " : " /") && buf_add(out, target) &&
           buf_add_str(out, " HTTP/1.1\r\n") &&
           rewrite_headers(frame, data, at, keep_certificate, out) && buf_add_str(out, "\r\n") &&
           rewrite_body(frame, data, out);
}

const char *frame_reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {202, "Accepted"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Unknown";
}
