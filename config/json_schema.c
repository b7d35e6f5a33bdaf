#include "config/reference.h"
#include "config/schema.h"

#include <stdio.h>
#include <string.h>

/* The document so far; once there is no room nothing more is added. */
struct json {
    struct buf *out;
    bool room;
    bool first; /* nothing stands in the innermost object yet */
    unsigned depth;
};

static void put(struct json *json, const char *text)
{
    json->room = json->room && buf_add_str(json->out, text);
}

/* A string (RFC 8259 section 7). Our texts are ASCII without control characters. */
static void put_string(struct json *json, const char *text)
{
    put(json, "\"");
    for (; *text && json->room; text++) {
        if (*text == '"' || *text == '\\')
            put(json, "\\");
        json->room = json->room && buf_add_u8(json->out, (uint8_t)*text);
    }
    put(json, "\"");
}

static void new_line(struct json *json)
{
    put(json, "\n");
    for (unsigned i = 0; i < json->depth; i++)
        put(json, "  ");
}

static void member(struct json *json, const char *name)
{
    if (!json->first)
        put(json, ",");
    json->first = false;
    new_line(json);
    put_string(json, name);
    put(json, ": ");
}

static void open_object(struct json *json)
{
    put(json, "{");
    json->depth++;
    json->first = true;
}

static void close_object(struct json *json)
{
    json->depth--;
    new_line(json);
    put(json, "}");
    json->first = false;
}

static void put_raw(struct json *json, const char *name, const char *value)
{
    member(json, name);
    put(json, value);
}

static void put_text(struct json *json, const char *name, const char *value)
{
    member(json, name);
    put_string(json, value);
}

static void put_number(struct json *json, const char *name, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    put_raw(json, name, text);
}

/* A word that YAML reads as a number is one in the schema too. */
static void put_word(struct json *json, const char *word)
{
    if (strspn(word, "0123456789") == strlen(word))
        put(json, word);
    else
        put_string(json, word);
}

static void put_enum(struct json *json, const char *const *words)
{
    member(json, "enum");
    put(json, "[");
    for (size_t i = 0; words[i]; i++) {
        put(json, i ? ", " : "");
        put_word(json, words[i]);
        if (strcmp(words[i], "off") == 0)
            put(json, ", false"); /* as YAML 1.1 reads it */
    }
    put(json, "]");
}

static void put_list(struct json *json, const struct cfg_key *key)
{
    put_text(json, "type", "array");
    if (key->min)
        put_number(json, "minItems", key->min);
}

static void put_strings(struct json *json, const struct cfg_key *key)
{
    put_list(json, key);
    member(json, "items");
    open_object(json);
    if (key->words)
        put_enum(json, key->words);
    else
        put_text(json, "type", "string");
    close_object(json);
}

static void put_value(struct json *json, const struct cfg_key *key)
{
    switch (key->type) {
    case CFG_BOOL:
        put_text(json, "type", "boolean");
        break;
    case CFG_INT:
        put_text(json, "type", "integer");
        put_number(json, "minimum", key->min);
        if (key->max)
            put_number(json, "maximum", key->max);
        break;
    case CFG_DURATION:
        put_text(json, "type", "string");
        put_text(json, "pattern", "^[0-9]+[smhdwy]$");
        break;
    case CFG_SIZE:
        put_raw(json, "type", "[\"string\", \"integer\"]");
        put_text(json, "pattern", "^[0-9]+(B|KiB|MiB|GiB)?$");
        break;
    case CFG_ENUM:
        put_enum(json, key->words);
        break;
    case CFG_STRINGS:
    case CFG_CERT_FILES:
        put_strings(json, key);
        break;
    default:
        put_text(json, "type", "string");
        break;
    }
}

static void put_default(struct json *json, const struct cfg_key *key)
{
    if (!key->def || key->def[0] == '[')
        return;
    if (key->type == CFG_INT || key->type == CFG_BOOL)
        put_raw(json, "default", key->def);
    else {
        member(json, "default");
        put_word(json, key->def);
    }
}

static void put_required(struct json *json, const struct cfg_key *keys, const char *also)
{
    bool any = also;
    for (const struct cfg_key *key = keys; key->name; key++)
        any = any || key->required;
    if (!any)
        return;
    member(json, "required");
    put(json, "[");
    if (also)
        put_string(json, also);
    any = also;
    for (const struct cfg_key *key = keys; key->name; key++) {
        if (!key->required)
            continue;
        put(json, any ? ", " : "");
        put_string(json, key->name);
        any = true;
    }
    put(json, "]");
}

static void put_type(struct json *json, const char *type)
{
    member(json, "type");
    open_object(json);
    put_text(json, "const", type);
    put_text(json, "description", "The kind of CA.");
    close_object(json);
}

static void put_key(struct json *json, const struct cfg_key *key, const struct cfg_kinds *kinds);

/* The members of a schema for a map with these keys; type: of an upstream, or NULL. */
static void put_map(struct json *json, const struct cfg_key *keys, const char *type,
                    const struct cfg_kinds *kinds)
{
    put_text(json, "type", "object");
    put_raw(json, "additionalProperties", "false");
    put_required(json, keys, type ? "type" : NULL);
    member(json, "properties");
    open_object(json);
    if (type)
        put_type(json, type);
    for (; keys->name; keys++)
        put_key(json, keys, kinds);
    close_object(json);
}

static void put_upstreams(struct json *json, const struct cfg_kinds *kinds)
{
    put_text(json, "type", "object");
    put_number(json, "minProperties", 1);
    member(json, "additionalProperties");
    open_object(json);
    member(json, "oneOf");
    put(json, "[");
    for (size_t i = 0; i < kinds->count; i++) {
        put(json, i ? ", " : "");
        open_object(json);
        put_map(json, kinds->items[i]->keys, kinds->items[i]->type, kinds);
        close_object(json);
    }
    put(json, "]");
    close_object(json);
}

/* The schema of the items below a list or a map of names. */
static void put_items(struct json *json, const struct cfg_key *key, const struct cfg_kinds *kinds)
{
    bool list = key->type == CFG_LIST;
    if (list)
        put_list(json, key);
    else
        put_text(json, "type", "object");
    if (!list && key->min)
        put_number(json, "minProperties", key->min);
    member(json, list ? "items" : "additionalProperties");
    open_object(json);
    put_map(json, key->sub, NULL, kinds);
    close_object(json);
}

/* A schema of its own as a part, since the fragment is a whole object. */
static void put_custom(struct json *json, const struct cfg_key *key)
{
    member(json, "allOf");
    put(json, "[");
    put(json, key->json);
    put(json, "]");
}

static void put_key(struct json *json, const struct cfg_key *key, const struct cfg_kinds *kinds)
{
    member(json, key->name);
    open_object(json);
    if (key->meaning)
        put_text(json, "description", key->meaning);
    if (key->type == CFG_SECTION)
        put_map(json, key->sub, NULL, kinds);
    else if (key->sub)
        put_items(json, key, kinds);
    else if (key->type == CFG_CUSTOM && key->json)
        put_custom(json, key);
    else if (key->type == CFG_CUSTOM)
        put_upstreams(json, kinds);
    else
        put_value(json, key);
    put_default(json, key);
    close_object(json);
}

bool cfg_schema_write(const struct cfg_kinds *kinds, struct buf *out)
{
    struct json json = {.out = out, .room = true};
    open_object(&json);
    put_text(&json, "$schema", "https://json-schema.org/draft/2020-12/schema");
    put_text(&json, "title", "scepter configuration");
    put_map(&json, cfg_schema, NULL, kinds);
    close_object(&json);
    put(&json, "\n");
    return json.room;
}
