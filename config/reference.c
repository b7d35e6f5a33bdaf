#include "config/reference.h"

#include "config/schema.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define WHERE_MAX 256
#define SHARED_MAX 64

static const char intro[] =
    "# Configuration reference\n"
    "\n"
    "Made from the tables that the loader reads (`scepter check --reference`); do not edit.\n"
    "\n"
    "The file is one YAML document. Relative paths are relative to the folder of the file.\n"
    "Durations are written as `90d`, `8h`, `30m` or `30s`, sizes as `128KiB` or `4MiB`.\n"
    "Unknown keys, keys that occur twice, anchors, aliases and tags are faults. A file is taken\n"
    "whole or not at all; `scepter check -c FILE` prints every fault as\n"
    "`FILE:LINE:COLUMN: key: what is wrong (\"value\"); expected ...`.\n";

/* The page so far; once there is no room nothing more is added. */
struct page {
    struct buf *out;
    bool room;
    struct {
        const struct cfg_key *keys;
        char where[WHERE_MAX]; /* its heading */
    } printed[SHARED_MAX];     /* tables, which several kinds have and some by another name */
    size_t printed_count;
};

static void put(struct page *page, const char *text)
{
    page->room = page->room && buf_add_str(page->out, text);
}

/* Text in a cell of a table. */
static void put_cell(struct page *page, const char *text)
{
    for (; *text && page->room; text++) {
        if (strchr("|*_<", *text))
            put(page, "\\");
        page->room = page->room && buf_add_u8(page->out, (uint8_t)*text);
    }
}

/* The anchor that Markdown makes of a heading. */
static void put_anchor(struct page *page, const char *heading)
{
    put(page, "#");
    for (; *heading && page->room; heading++) {
        if (isalnum((unsigned char)*heading))
            page->room = buf_add_u8(page->out, (uint8_t)tolower((unsigned char)*heading));
        else if (*heading == ' ' || *heading == '-' || *heading == '_')
            page->room = buf_add_u8(page->out, *heading == ' ' ? '-' : (uint8_t)*heading);
    }
}

/* "profiles.NAME.routes[]": where the keys of a row's own table stand. */
static void where_below(const char *where, const struct cfg_key *key, char ret[WHERE_MAX])
{
    const char *behind = key->type == CFG_MAP ? ".NAME" : key->type == CFG_LIST ? "[]" : "";
    snprintf(ret, WHERE_MAX, "%s%s%s%s", where, *where ? "." : "", key->name, behind);
}

/* The heading under which the table stands; NULL if it was not printed yet. */
static const char *printed_at(const struct page *page, const struct cfg_key *keys)
{
    for (size_t i = 0; i < page->printed_count; i++)
        if (page->printed[i].keys == keys)
            return page->printed[i].where;
    return NULL;
}

static void note_printed(struct page *page, const struct cfg_key *keys, const char *where)
{
    if (page->printed_count == SHARED_MAX)
        return;
    page->printed[page->printed_count].keys = keys;
    snprintf(page->printed[page->printed_count++].where, WHERE_MAX, "%s", where);
}

static void put_row(struct page *page, const char *where, const struct cfg_key *key)
{
    struct buf form = {0};
    char below[WHERE_MAX];
    cfg_key_form(key, &form);
    put(page, "| `");
    put(page, key->name);
    put(page, "` | ");
    put_cell(page, buf_str(&form));
    if (key->sub) {
        const char *at = printed_at(page, key->sub);
        where_below(where, key, below);
        put(page, ", see [");
        put(page, at ? at : below);
        put(page, "](");
        put_anchor(page, at ? at : below);
        put(page, ")");
    }
    put(page, " | ");
    if (key->def) {
        put(page, "`");
        put(page, key->def);
        put(page, "`");
    } else if (key->required) {
        put(page, "required");
    }
    put(page, " | ");
    put_cell(page, key->meaning ? key->meaning : "");
    put(page, " |\n");
    buf_free(&form);
}

static void put_heading(struct page *page, const char *heading)
{
    put(page, "\n## ");
    put(page, heading);
    put(page, "\n\n| key | value | default | meaning |\n|---|---|---|---|\n");
}

/* A table and, below it, the tables of its sections. */
static void put_table(struct page *page, const char *where, const struct cfg_key *keys)
{
    for (const struct cfg_key *key = keys; key->name; key++)
        put_row(page, where, key);
    for (const struct cfg_key *key = keys; key->name; key++) {
        char below[WHERE_MAX];
        if (!key->sub || printed_at(page, key->sub))
            continue;
        where_below(where, key, below);
        note_printed(page, key->sub, below);
        put_heading(page, below);
        put_table(page, below, key->sub);
    }
}

static void put_kind(struct page *page, const struct cfg_kind *kind)
{
    char heading[WHERE_MAX];
    snprintf(heading, sizeof heading, "upstreams.NAME of type %s", kind->type);
    put_heading(page, heading);
    put(page, "| `type` | ");
    put(page, kind->type);
    put(page, " | required | The kind of CA. |\n");
    put_table(page, "upstreams.NAME", kind->keys);
}

bool cfg_reference_write(const struct cfg_kinds *kinds, struct buf *out)
{
    struct page page = {.out = out, .room = true};
    put(&page, intro);
    put_heading(&page, "The file");
    put_table(&page, "", cfg_schema);
    for (size_t i = 0; i < kinds->count; i++)
        put_kind(&page, kinds->items[i]);
    return page.room;
}
