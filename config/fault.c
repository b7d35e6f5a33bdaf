#include "config/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 2048
#define VALUE_MAX 80
#define OUT_MAX ((size_t)16 << 20)

struct fault {
    size_t line, column;
    size_t number; /* in the order found */
    char *text;    /* with the key's path */
};

struct cfg_faults {
    char *path;
    char *folder; /* absolute */
    struct fault *items;
    size_t count, room;
};

/* The folder that holds the file, as an absolute path. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *cwd = path[0] == '/' ? mem_strdup("") : getcwd(NULL, 0);
    struct buf out = {0};
    bool room = buf_add_str(&out, cwd ? cwd : ".");
    if (room && slash != path && path[0] != '/' && slash)
        room = buf_add_u8(&out, '/');
    if (room && slash)
        room = buf_add(&out, bytes_of(path, (size_t)(slash - path)));
    char *folder = mem_strdup(room ? buf_str(&out) : ".");
    buf_free(&out);
    free(cwd);
    return folder;
}

/* "profiles.vpn.routes[0].upstream": the keys from the root to the node. */
static void path_add(const struct cfg_node *node, struct buf *out)
{
    const struct cfg_node *chain[CFG_DEPTH_MAX + 1] = {0};
    size_t depth = 0;
    bool room = true;
    for (; node && node->parent && depth <= CFG_DEPTH_MAX; node = node->parent)
        chain[depth++] = node;
    while (depth-- && room) {
        const struct cfg_node *at = chain[depth];
        room = at->key ? buf_add_fmt(out, "%s%s", out->len ? "." : "", at->key)
                       : buf_add_fmt(out, "[%zu]", at->index);
    }
}

/* Printable ASCII stays; no text from the file can begin a line of its own. */
static char *printable(struct bytes text)
{
    struct buf out = {0};
    bool room = true;
    for (size_t i = 0; i < text.len && room; i++) {
        uint8_t c = text.ptr[i];
        room = c >= 0x20 && c < 0x7f ? buf_add_u8(&out, c) : buf_add_fmt(&out, "\\x%02x", c);
    }
    char *copy = mem_strdup(room ? buf_str(&out) : "");
    buf_free(&out);
    return copy;
}

static void add(struct cfg_faults *faults, size_t line, size_t column, struct buf *text)
{
    if (faults->count == faults->room) {
        faults->room = faults->room ? 2 * faults->room : 16;
        faults->items = mem_resize(faults->items, faults->room, sizeof *faults->items);
    }
    faults->items[faults->count] = (struct fault){.line = line,
                                                  .column = column,
                                                  .number = faults->count,
                                                  .text = printable(buf_bytes(text))};
    faults->count++;
    buf_free(text);
}

static void add_text(struct buf *out, const char *fmt, va_list args)
{
    char text[TEXT_MAX];
    vsnprintf(text, sizeof text, fmt, args);
    if (!buf_add_fmt(out, "%s%s", out->len ? ": " : "", text))
        buf_clear(out);
}

struct cfg_faults *cfg_faults_new(const char *path)
{
    struct cfg_faults *faults = mem_zalloc(sizeof *faults);
    faults->path = mem_strdup(path);
    faults->folder = folder_of(path);
    return faults;
}

void cfg_faults_free(struct cfg_faults *faults)
{
    if (!faults)
        return;
    for (size_t i = 0; i < faults->count; i++)
        free(faults->items[i].text);
    free(faults->items);
    free(faults->path);
    free(faults->folder);
    free(faults);
}

size_t cfg_faults_count(const struct cfg_faults *faults)
{
    return faults->count;
}

/* In the order of the file; at one place in the order found. */
static int fault_order(const void *a, const void *b)
{
    const struct fault *x = a, *y = b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

void cfg_faults_print(const struct cfg_faults *faults, struct buf *out)
{
    struct fault *sorted = mem_zalloc(faults->count * sizeof(struct fault));
    if (faults->count)
        memcpy(sorted, faults->items, faults->count * sizeof(struct fault));
    qsort(sorted, faults->count, sizeof(struct fault), fault_order);
    bool room = true;
    for (size_t i = 0; i < faults->count && room; i++)
        room = buf_add_fmt(out, "%s:%zu:%zu: %s\n", faults->path, sorted[i].line, sorted[i].column,
                           sorted[i].text);
    free(sorted);
}

char *cfg_path_resolve(const struct cfg_faults *faults, const char *name)
{
    struct buf out = {0};
    bool room = name[0] == '/' || buf_add_fmt(&out, "%s/", faults->folder);
    room = room && buf_add_str(&out, name);
    char *path = mem_strdup(room ? buf_str(&out) : name);
    buf_free(&out);
    return path;
}

void cfg_fault(struct cfg_faults *faults, const struct cfg_node *node, const char *fmt, ...)
{
    struct buf text = BUF_INIT(OUT_MAX);
    va_list args;
    path_add(node, &text);
    va_start(args, fmt);
    add_text(&text, fmt, args);
    va_end(args);
    add(faults, node->line, node->column, &text);
}

void cfg_fault_key(struct cfg_faults *faults, const struct cfg_node *node, const char *child,
                   const char *fmt, ...)
{
    struct buf text = BUF_INIT(OUT_MAX);
    va_list args;
    path_add(node, &text);
    if (child && !buf_add_fmt(&text, "%s%s", text.len ? "." : "", child))
        buf_clear(&text);
    va_start(args, fmt);
    add_text(&text, fmt, args);
    va_end(args);
    bool keyed = node->key;
    add(faults, keyed ? node->key_line : node->line, keyed ? node->key_column : node->column,
        &text);
}

void cfg_fault_value(struct cfg_faults *faults, const struct cfg_node *node, const char *what,
                     const char *expected)
{
    static const char *const kinds[] = {[CFG_NODE_LIST] = "a list", [CFG_NODE_MAP] = "a map"};
    const char *semicolon = expected ? "; expected " : "";
    if (!expected)
        expected = "";
    if (node->kind != CFG_NODE_SCALAR)
        cfg_fault(faults, node, "%s (%s)%s%s", what, kinds[node->kind], semicolon, expected);
    else if (strstr(node->text, "PRIVATE KEY"))
        cfg_fault(faults, node, "%s (a private key, not shown)%s%s", what, semicolon, expected);
    else
        cfg_fault(faults, node, "%s (\"%.*s%s\")%s%s", what, VALUE_MAX, node->text,
                  strlen(node->text) > VALUE_MAX ? "..." : "", semicolon, expected);
}

void cfg_fault_at(struct cfg_faults *faults, size_t line, size_t column, const char *fmt, ...)
{
    struct buf text = BUF_INIT(OUT_MAX);
    va_list args;
    va_start(args, fmt);
    add_text(&text, fmt, args);
    va_end(args);
    add(faults, line, column, &text);
}
