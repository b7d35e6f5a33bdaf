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

void json_append(struct json *array, struct json *item)
{
    if (json_array_append_new(array->value, item->value) != 0)
        err_no_memory();
    free(item);
}

bool json_print(const struct json *json, struct buf *out)
{
    char *text = json_dumps(json->value, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    if (!text)
        err_no_memory();
    bool ok = buf_add_str(out, text) && buf_add_u8(out, '\n');
    free(text);
    return ok;
}
