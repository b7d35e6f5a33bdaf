#include "base/json.h"

#include "base/text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* A box around Jansson's value, so that its header stays in this file. */
struct json {
    json_t *value;
};

static struct json *box(json_t *value)
{
    struct json *json = mem_zalloc(sizeof *json);
    if (!value)
        err_no_memory();
    json->value = value;
    return json;
}

struct json *json_new_object(void)
{
    return box(json_object());
}

struct json *json_new_array(void)
{
    return box(json_array());
}

void json_free(struct json *json)
{
    if (!json)
        return;
    json_decref(json->value);
    free(json);
}

static void set(struct json *object, const char *key, json_t *value)
{
    if (!value || json_object_set_new(object->value, key, value) != 0)
        err_no_memory();
}

static json_t *text_value(const char *text)
{
    if (!text)
        return json_null();
    json_t *value = json_string(text);
    if (value)
        return value;
    struct buf escaped = {0};
    text_escape(bytes_str(text), strlen(text), &escaped);
    value = json_string(buf_str(&escaped));
    buf_free(&escaped);
    return value;
}

void json_set_text(struct json *object, const char *key, const char *text)
{
    set(object, key, text_value(text));
}

void json_set_number(struct json *object, const char *key, int64_t number)
{
    set(object, key, json_integer(number));
}

void json_set_bool(struct json *object, const char *key, bool value)
{
    set(object, key, json_boolean(value));
}

void json_set(struct json *object, const char *key, struct json *value)
{
    set(object, key, value->value);
    free(value);
}

void json_append(struct json *array, struct json *item)
{
    if (json_array_append_new(array->value, item->value) != 0)
        err_no_memory();
    free(item);
}

void json_append_text(struct json *array, const char *text)
{
    if (json_array_append_new(array->value, text_value(text)) != 0)
        err_no_memory();
}

static bool print(const struct json *json, size_t flags, const char *end, struct buf *out)
{
    char *text = json_dumps(json->value, flags | JSON_PRESERVE_ORDER);
    if (!text)
        err_no_memory();
    bool ok = buf_add_str(out, text) && buf_add_str(out, end);
    free(text);
    return ok;
}

bool json_print(const struct json *json, struct buf *out)
{
    return print(json, JSON_INDENT(2), "\n", out);
}

bool json_print_compact(const struct json *json, struct buf *out)
{
    return print(json, JSON_COMPACT, "", out);
}

bool json_parse(struct bytes text, struct json **ret, struct err *err)
{
    json_error_t error;
    json_t *value = json_loadb(text.ptr ? (const char *)text.ptr : "", text.len,
                               JSON_REJECT_DUPLICATES, &error);
    if (!value) {
        /* Jansson quotes what it read last, which may be a part of a secret. */
        char *near = strstr(error.text, " near ");
        if (near)
            *near = 0;
        return err_set(err, ERR_PEER, "no JSON: %s at byte %d", error.text, error.position);
    }
    *ret = box(value);
    return true;
}

static const json_t *of(const struct json_value *value)
{
    return (const json_t *)(const void *)value;
}

static const struct json_value *value_of(const json_t *value)
{
    return (const struct json_value *)(const void *)value;
}

const struct json_value *json_root(const struct json *json)
{
    return json ? value_of(json->value) : NULL;
}

const struct json_value *json_get(const struct json_value *object, const char *key)
{
    return value_of(json_object_get(of(object), key));
}

const struct json_value *json_at(const struct json_value *array, size_t i)
{
    return value_of(json_array_get(of(array), i));
}

const char *json_text(const struct json_value *value)
{
    return json_string_value(of(value));
}

bool json_integer_get(const struct json_value *value, int64_t *ret)
{
    if (!json_is_integer(of(value)))
        return false;
    *ret = json_integer_value(of(value));
    return true;
}

bool json_holds(const struct json_value *value)
{
    return json_is_true(of(value));
}
