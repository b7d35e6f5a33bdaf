/* JSON out, for the command line's --json: a tree that is printed once. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/bytes.h"

struct json; /* an object or an array */

struct json *json_new_object(void) MUST_USE;
struct json *json_new_array(void) MUST_USE;
void json_free(struct json *json); /* NULL is allowed */

/* Members of an object. Text that is not UTF-8 is escaped byte by byte. NULL text: null. */
void json_set_text(struct json *object, const char *key, const char *text);
void json_set_number(struct json *object, const char *key, int64_t number);
void json_set_bool(struct json *object, const char *key, bool value);
/* The array takes the item over. */
void json_append(struct json *array, struct json *item);

/* Indented, with a final newline. */
bool json_print(const struct json *json, struct buf *out) MUST_USE;

#endif
