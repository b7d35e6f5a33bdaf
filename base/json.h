/* JSON: a tree that is built and printed, or parsed and read. */
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
/* Object and array take what is added over. */
void json_set(struct json *object, const char *key, struct json *value);
void json_append(struct json *array, struct json *item);

/* Indented, with a final newline. */
bool json_print(const struct json *json, struct buf *out) MUST_USE;
/* In one line without spaces, members in the order in which they were set. */
bool json_print_compact(const struct json *json, struct buf *out) MUST_USE;

/* An object or an array; text: untrusted. Refused (ERR_PEER): a member twice, NUL in a string,
 * anything behind it. */
bool json_parse(struct bytes text, struct json **ret, struct err *err) MUST_USE;

/* Part of a tree, borrowed from it. Readers take NULL for a part that is not there. */
struct json_value;
const struct json_value *json_root(const struct json *json);
/* NULL if it is no object or has no such member; no array or not so many items. */
const struct json_value *json_get(const struct json_value *object, const char *key);
const struct json_value *json_at(const struct json_value *array, size_t i);
const char *json_text(const struct json_value *value); /* NULL if it is no string */
bool json_integer_get(const struct json_value *value, int64_t *ret) MUST_USE;
bool json_holds(const struct json_value *value); /* it is true */

#endif
