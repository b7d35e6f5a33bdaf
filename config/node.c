#include "config/node.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* The document as far as it is read. */
struct builder {
    yaml_parser_t parser;
    struct bytes text;
    struct cfg_faults *faults;
    struct cfg_node *root;
    struct cfg_node *open; /* innermost list or map that has not ended; NULL around the root */
    size_t depth;
    size_t nodes;
    bool documents; /* one has begun */
    bool done;
};

static size_t line_of(const yaml_mark_t *mark)
{
    return mark->line + 1;
}

static size_t column_of(const yaml_mark_t *mark)
{
    return mark->column + 1;
}

/* The reader of bytes knows the offset only. */
static yaml_mark_t mark_of_offset(struct bytes text, size_t offset)
{
    yaml_mark_t mark = {0};
    struct bytes before, line;
    if (!bytes_take(&text, offset < text.len ? offset : text.len, &before))
        return mark;
    while (bytes_take_until(&before, '\n', &line))
        mark.line++;
    mark.column = line.len;
    return mark;
}

static bool syntax_fault(struct builder *b)
{
    const yaml_parser_t *p = &b->parser;
    bool marked = p->error == YAML_SCANNER_ERROR || p->error == YAML_PARSER_ERROR;
    yaml_mark_t mark = marked ? p->problem_mark : mark_of_offset(b->text, p->problem_offset);
    const char *context = marked && p->context ? p->context : "";
    cfg_fault_at(b->faults, line_of(&mark), column_of(&mark), "is not YAML: %s%s%s", context,
                 *context ? ", " : "", p->problem ? p->problem : "out of memory");
    return false;
}

static struct cfg_node *last_item(const struct cfg_node *node)
{
    return node->count ? node->items[node->count - 1] : NULL;
}

static struct cfg_node *add_item(struct builder *b, struct cfg_node *parent)
{
    struct cfg_node *node = mem_zalloc(sizeof *node);
    node->kind = CFG_NODE_UNREAD;
    node->parent = parent;
    node->index = parent->count;
    if ((parent->count & (parent->count - 1)) == 0)
        parent->items = mem_resize(parent->items, parent->count ? 2 * parent->count : 1,
                                   sizeof(struct cfg_node *));
    parent->items[parent->count++] = node;
    b->nodes++;
    return node;
}

/* The node that the next value fills; NULL if the next event is the key of a map. */
static struct cfg_node *slot(struct builder *b)
{
    if (!b->open)
        return b->root;
    if (b->open->kind == CFG_NODE_LIST)
        return add_item(b, b->open);
    struct cfg_node *last = last_item(b->open);
    return last && last->kind == CFG_NODE_UNREAD ? last : NULL;
}

/* The key of a map's next entry. False if nothing after it can be understood. */
static bool take_key(struct builder *b, const yaml_event_t *event)
{
    size_t line = line_of(&event->start_mark), column = column_of(&event->start_mark);
    if (event->type != YAML_SCALAR_EVENT) {
        cfg_fault_at(b->faults, line, column, "a key that is not text; expected a name");
        return false;
    }
    if (b->open->count == CFG_MAP_MAX) {
        cfg_fault_at(b->faults, line, column, "more than %zu keys in one map", CFG_MAP_MAX);
        return false;
    }
    struct bytes text = bytes_of(event->data.scalar.value, event->data.scalar.length);
    char *key = text.len && text.len <= CFG_KEY_MAX ? bytes_to_str(text) : NULL;
    if (!key) {
        cfg_fault_at(b->faults, line, column,
                     "a key that is empty, holds a NUL or is too long; expected 1 to %zu bytes",
                     CFG_KEY_MAX);
        return false;
    }
    const struct cfg_node *before = cfg_node_get(b->open, key);
    struct cfg_node *node = add_item(b, b->open);
    node->key = key;
    node->key_line = node->line = line;
    node->key_column = node->column = column;
    node->duplicate = before;
    if (before)
        cfg_fault_key(b->faults, node, NULL, "occurs twice; first in line %zu", before->key_line);
    return true;
}

static void take_scalar(struct builder *b, const yaml_event_t *event, struct cfg_node *node)
{
    node->text = bytes_to_str(bytes_of(event->data.scalar.value, event->data.scalar.length));
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->kind = node->text ? CFG_NODE_SCALAR : CFG_NODE_BAD;
    if (!node->text)
        cfg_fault(b->faults, node, "holds a NUL");
}

static void take_value(struct builder *b, const yaml_event_t *event, struct cfg_node *node)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    node->line = line_of(&event->start_mark);
    node->column = column_of(&event->start_mark);
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        take_scalar(b, event, node);
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        node->kind = CFG_NODE_LIST;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        node->kind = CFG_NODE_MAP;
        break;
    default:
        node->kind = CFG_NODE_BAD;
        cfg_fault(b->faults, node, "is an alias; expected the value itself");
        break;
    }
    if (anchor)
        cfg_fault(b->faults, node, "has an anchor; expected none");
    if (tag)
        cfg_fault(b->faults, node, "has a tag; expected none");
}

/* A scalar, an alias, or the start of a list or a map. */
static bool take_node(struct builder *b, const yaml_event_t *event)
{
    if (b->nodes > CFG_NODES_MAX || b->depth > CFG_DEPTH_MAX - 1) {
        cfg_fault_at(b->faults, line_of(&event->start_mark), column_of(&event->start_mark),
                     "more than %zu values, or deeper than %zu", CFG_NODES_MAX, CFG_DEPTH_MAX);
        return false;
    }
    struct cfg_node *node = slot(b);
    if (!node)
        return take_key(b, event);
    take_value(b, event, node);
    if (node->kind == CFG_NODE_LIST || node->kind == CFG_NODE_MAP) {
        b->open = node;
        b->depth++;
    }
    return true;
}

/* A list or a map has ended: entries whose key occurred before are gone. */
static void close_open(struct builder *b)
{
    struct cfg_node *node = b->open;
    size_t kept = 0;
    for (size_t i = 0; i < node->count; i++) {
        if (node->items[i]->duplicate)
            cfg_node_free(node->items[i]);
        else
            node->items[kept++] = node->items[i];
    }
    node->count = kept;
    b->open = (struct cfg_node *)node->parent;
    b->depth--;
}

static bool take_event(struct builder *b, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_STREAM_END_EVENT:
        b->done = true;
        return true;
    case YAML_DOCUMENT_START_EVENT:
        if (b->documents)
            cfg_fault_at(b->faults, line_of(&event->start_mark), column_of(&event->start_mark),
                         "a second document begins; expected one");
        b->done = b->documents;
        b->documents = true;
        return true;
    case YAML_SCALAR_EVENT:
    case YAML_ALIAS_EVENT:
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return take_node(b, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        close_open(b);
        return true;
    default:
        return true;
    }
}

static bool build(struct builder *b)
{
    bool ok = true;
    while (ok && !b->done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&b->parser, &event))
            return syntax_fault(b);
        ok = take_event(b, &event);
        yaml_event_delete(&event);
    }
    return ok;
}

struct cfg_node *cfg_node_parse(struct bytes text, struct cfg_faults *faults)
{
    struct builder b = {.text = text, .faults = faults};
    if (text.len > CFG_FILE_MAX) {
        cfg_fault_at(faults, 1, 1, "more than %zu bytes", CFG_FILE_MAX);
        return NULL;
    }
    if (!yaml_parser_initialize(&b.parser))
        err_no_memory();
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, text.ptr ? text.ptr : (const uint8_t *)"", text.len);
    b.root = mem_zalloc(sizeof *b.root);
    b.root->kind = CFG_NODE_UNREAD;
    b.root->line = b.root->column = 1;
    bool ok = build(&b);
    yaml_parser_delete(&b.parser);
    if (ok && b.root->kind == CFG_NODE_UNREAD) {
        cfg_fault_at(faults, 1, 1, "is empty");
        ok = false;
    }
    if (!ok) {
        cfg_node_free(b.root);
        return NULL;
    }
    return b.root;
}

/* Depth is bounded by CFG_DEPTH_MAX. */
void cfg_node_free(struct cfg_node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->count; i++)
        cfg_node_free(node->items[i]);
    free(node->items);
    free(node->key);
    free(node->text);
    free(node);
}

const struct cfg_node *cfg_node_get(const struct cfg_node *node, const char *key)
{
    if (!node || node->kind != CFG_NODE_MAP)
        return NULL;
    for (size_t i = 0; i < node->count; i++) {
        if (strcmp(node->items[i]->key, key) == 0)
            return node->items[i];
    }
    return NULL;
}

bool cfg_node_is_empty(const struct cfg_node *node)
{
    return node->kind == CFG_NODE_SCALAR && !node->quoted && !*node->text;
}

void cfg_node_names(const struct cfg_node *map, struct buf *out)
{
    bool room = true;
    for (size_t i = 0; map && map->kind == CFG_NODE_MAP && i < map->count && room; i++)
        room = buf_add_fmt(out, "%s%s", i ? ", " : "", map->items[i]->key);
}
