#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#define SECONDS_MINUTE INT64_C(60)
#define SECONDS_HOUR INT64_C(3600)
#define SECONDS_DAY INT64_C(86400)
#define NUMBER_MAX (INT64_MAX / (SECONDS_DAY * 366))

void text_hex(struct bytes in, char *out)
{
    for (size_t i = 0; i < in.len; i++) {
        out[2 * i] = hex_digits[in.ptr[i] >> 4];
        out[2 * i + 1] = hex_digits[in.ptr[i] & 15];
    }
    out[2 * in.len] = 0;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool text_unhex(struct bytes in, struct buf *out)
{
    size_t start = out->len;
    if (in.len % 2)
        return false;
    for (size_t i = 0; i < in.len; i += 2) {
        int high = hex_value(in.ptr[i]), low = hex_value(in.ptr[i + 1]);
        if (high < 0 || low < 0 || !buf_add_u8(out, (uint8_t)(high << 4 | low))) {
            out->len = start;
            return false;
        }
    }
    return true;
}

bool text_base64_encode(struct bytes in, unsigned columns, struct buf *out)
{
    unsigned column = 0;
    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = in.len - i < 3 ? in.len - i : 3;
        uint32_t word = (uint32_t)in.ptr[i] << 16;
        if (n > 1)
            word |= (uint32_t)in.ptr[i + 1] << 8;
        if (n > 2)
            word |= in.ptr[i + 2];
        char quad[5] = {base64_digits[word >> 18], base64_digits[word >> 12 & 63],
                        n > 1 ? base64_digits[word >> 6 & 63] : '=',
                        n > 2 ? base64_digits[word & 63] : '=', '\n'};
        column += 4;
        bool full = columns && column >= columns;
        if (!buf_add(out, bytes_of(quad, full ? 5 : 4)))
            return false;
        if (full)
            column = 0;
    }
    return !columns || !column || buf_add_u8(out, '\n');
}

static int base64_value(uint8_t c, enum text_base64 form)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || (c == '-' && form == TEXT_BASE64_LENIENT))
        return 62;
    if (c == '/' || (c == '_' && form == TEXT_BASE64_LENIENT))
        return 63;
    return -1;
}

/* The end: how many digits of an unfinished quad there are, and how many '=' closed it. */
static bool base64_finish(uint32_t word, unsigned digits, unsigned pads, enum text_base64 form,
                          struct buf *out)
{
    if (digits == 0)
        return pads == 0;
    if (digits == 1 || (pads != 4 - digits && !(form == TEXT_BASE64_LENIENT && pads == 0)))
        return false;
    word <<= 6 * (4 - digits);
    uint8_t tail[2] = {(uint8_t)(word >> 16), (uint8_t)(word >> 8)};
    uint32_t unused = digits == 2 ? word & 0xffff : word & 0xff;
    return unused == 0 && buf_add(out, bytes_of(tail, digits - 1));
}

bool text_base64_decode(struct bytes in, enum text_base64 form, struct buf *out, struct err *err)
{
    uint32_t word = 0;
    unsigned digits = 0, pads = 0;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.ptr[i];
        if ((form & TEXT_BASE64_SPACE) && (c == ' ' || c == '\t' || c == '\r' || c == '\n'))
            continue;
        int value = base64_value(c, form);
        if (c == '=' && pads < 2) {
            pads++;
            continue;
        }
        if (value < 0 || pads)
            return err_set(err, ERR_PEER, "not base64 at offset %zu", i);
        word = word << 6 | (uint32_t)value;
        if (++digits == 4) {
            uint8_t three[3] = {(uint8_t)(word >> 16), (uint8_t)(word >> 8), (uint8_t)word};
            if (!buf_add(out, bytes_of(three, 3)))
                return err_set(err, ERR_PEER, "base64 of more than %zu bytes", out->max);
            word = 0;
            digits = 0;
        }
    }
    if (!base64_finish(word, digits, pads, form, out))
        return err_set(err, ERR_PEER, "base64 ends badly at offset %zu", in.len);
    return true;
}

bool text_percent_decode(struct bytes in, struct buf *out)
{
    struct bytes cur = in;
    uint8_t c;
    while (bytes_take_u8(&cur, &c)) {
        if (c == '%') {
            struct bytes pair;
            if (!bytes_take(&cur, 2, &pair))
                return false;
            int high = hex_value(pair.ptr[0]), low = hex_value(pair.ptr[1]);
            if (high < 0 || low < 0)
                return false;
            c = (uint8_t)(high << 4 | low);
        }
        if (c == 0 || !buf_add_u8(out, c))
            return false;
    }
    return true;
}

void text_escape(struct bytes in, size_t max, struct buf *out)
{
    static const char cut[] = "...";
    size_t ceiling = out->max ? out->max : BUF_MAX_DEFAULT;
    size_t n = in.len > max ? max : in.len;
    size_t last = out->len; /* the last place where the dots still fit */
    bool room = true;
    for (size_t i = 0; i < n && room; i++) {
        uint8_t c = in.ptr[i];
        if (ceiling - out->len >= strlen(cut))
            last = out->len;
        if (c == '"' || c == '\\')
            room = buf_add_fmt(out, "\\%c", c);
        else if (c >= 0x20 && c < 0x7f)
            room = buf_add_u8(out, c);
        else
            room = buf_add_fmt(out, "\\x%02x", c);
    }
    if (room && (in.len <= max || buf_add_str(out, cut)))
        return;
    out->len = last;
    if (!buf_add_str(out, cut))
        return; /* there was no room even for them */
}

/* Leading digits as a number; *rest is what follows them. */
static bool take_number(const char *text, int64_t *number, const char **rest)
{
    int64_t n = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (*p - '0');
        if (n > NUMBER_MAX)
            return false;
    }
    *number = n;
    *rest = p;
    return p != text;
}

bool text_duration(const char *text, int64_t *seconds)
{
    static const struct {
        const char *unit;
        int64_t seconds;
    } units[] = {
        {"s", 1},           {"m", SECONDS_MINUTE},  {"h", SECONDS_HOUR},
        {"d", SECONDS_DAY}, {"w", 7 * SECONDS_DAY}, {"y", 365 * SECONDS_DAY},
    };
    int64_t number;
    const char *unit;
    if (!text || !take_number(text, &number, &unit))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(unit, units[i].unit) == 0) {
            *seconds = number * units[i].seconds;
            return true;
        }
    }
    return false;
}

bool text_size(const char *text, int64_t *bytes)
{
    static const struct {
        const char *unit;
        unsigned shift;
    } units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
    int64_t number;
    const char *unit;
    if (!text || !take_number(text, &number, &unit))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(unit, units[i].unit) == 0) {
            if (number > INT64_MAX >> units[i].shift)
                return false;
            *bytes = number << units[i].shift;
            return true;
        }
    }
    return false;
}

void text_time(int64_t unix_seconds, char out[TEXT_TIME_MAX])
{
    time_t t = unix_seconds;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || !strftime(out, TEXT_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm))
        snprintf(out, TEXT_TIME_MAX, "@%lld", (long long)unix_seconds);
}

/* What a star may stand for: never what separates the parts of a name, an address or a URI. */
static bool star_takes(char c)
{
    return c && !strchr(".@:/", c);
}

/* One level of backtracking is enough: a '*' never crosses a separator, so a later star makes the
 * earlier ones' choices irrelevant within its part, and parts are divided by literal characters. */
bool text_glob(const char *pattern, const char *name)
{
    if (strcmp(pattern, "*") == 0)
        return true;
    const char *star = NULL, *mark = NULL;
    while (*name) {
        if (*pattern == '*' && star_takes(*name)) {
            star = pattern++;
            mark = ++name;
        } else if (tolower((unsigned char)*pattern) == tolower((unsigned char)*name) &&
                   *pattern != '*') {
            pattern++;
            name++;
        } else if (star && star_takes(*mark)) {
            pattern = star + 1;
            name = ++mark;
        } else {
            return false;
        }
    }
    return *pattern == 0;
}
