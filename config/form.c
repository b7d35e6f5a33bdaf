#include "config/table.h"

#include "config/word.h"

#include <string.h>

#define WORD_MAX ((size_t)64)

/* A number in the largest unit that divides it. */
static bool unit_add(struct buf *out, int64_t number, bool duration)
{
    static const struct {
        int64_t size;
        const char *name;
    } durations[] = {{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}},
      sizes[] = {{INT64_C(1) << 30, "GiB"}, {INT64_C(1) << 20, "MiB"}, {1024, "KiB"}, {1, ""}};
    for (size_t i = 0; i < 4; i++) {
        int64_t size = duration ? durations[i].size : sizes[i].size;
        if (number % size == 0)
            return buf_add_fmt(out, "%lld%s", (long long)(number / size),
                               duration ? durations[i].name : sizes[i].name);
    }
    return false;
}

static bool range_add(const struct cfg_key *key, struct buf *out)
{
    bool duration = key->type == CFG_DURATION;
    if (!key->min && !key->max)
        return true;
    if (key->type == CFG_INT)
        return buf_add_fmt(out, " from %lld to %lld", (long long)key->min, (long long)key->max);
    return buf_add_str(out, " from ") && unit_add(out, key->min, duration) &&
           buf_add_str(out, " to ") && unit_add(out, key->max, duration);
}

static bool words_add(const char *const *words, const char *prefix, struct buf *out)
{
    bool room = buf_add_str(out, prefix);
    for (size_t i = 0; words[i] && room; i++)
        room = buf_add_fmt(out, "%s%s", i ? ", " : "", words[i]);
    return room;
}

static bool strings_add(const struct cfg_key *key, struct buf *out)
{
    if (key->words)
        return words_add(key->words, "a list of ", out);
    return key->form ? buf_add_fmt(out, "a list, each item %s", key->form)
                     : buf_add_str(out, "a list of text");
}

static bool form_add(const struct cfg_key *key, struct buf *out)
{
    static const char *const forms[] = {
        [CFG_STRING] = "text",
        [CFG_BOOL] = "true or false",
        [CFG_INT] = "a number",
        [CFG_DURATION] = "a duration",
        [CFG_SIZE] = "a size",
        [CFG_CERT_FILE] = "a PEM file with certificates",
        [CFG_CERT_FILES] = "a list of PEM files with certificates",
        [CFG_KEY_FILE] = "a PEM file with an unencrypted private key",
        [CFG_SECRET] = "a file with one secret, of mode 0600 or 0400, or 0640 if it is root's",
        [CFG_SECTION] = "a map",
        [CFG_LIST] = "a list of maps",
        [CFG_MAP] = "a map of names",
        [CFG_CUSTOM] = "a value",
    };
    if (key->type == CFG_STRINGS)
        return strings_add(key, out);
    if (key->form)
        return buf_add_str(out, key->form);
    if (key->type == CFG_ENUM)
        return words_add(key->words, key->words[0] && key->words[1] ? "one of " : "", out);
    bool number = key->type == CFG_INT || key->type == CFG_DURATION || key->type == CFG_SIZE;
    return buf_add_str(out, forms[key->type]) && (!number || range_add(key, out));
}

void cfg_key_form(const struct cfg_key *key, struct buf *out)
{
    if (!form_add(key, out))
        buf_clear(out);
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Insertions, deletions, changes, and swaps of neighbours (optimal string alignment). */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 1];
    size_t la = strlen(a), lb = strlen(b);
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            row[j] = least(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                higher[j - 2] + 1 < row[j])
                row[j] = higher[j - 2] + 1;
        }
    }
    return rows[la % 3][lb];
}

const char *cfg_word_near(const char *word, const char *const *words, size_t count)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 1;
    if (strlen(word) > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t d = strlen(words[i]) > WORD_MAX ? WORD_MAX : distance(word, words[i]);
        if (d < best_distance) {
            best = words[i];
            best_distance = d;
        }
    }
    return best;
}
