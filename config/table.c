#include "config/table.h"

#include "base/text.h"
#include "config/file.h"
#include "config/word.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYS_MAX ((size_t)64)
#define NAME_LEN_MAX ((size_t)64)
#define ITEMS_MAX ((size_t)4096)

/* One value on its way into its field. */
struct fill {
    const struct cfg_key *key;
    const struct cfg_node *node;
    void *base;  /* the struct */
    void *field; /* in it; NULL: the value is not kept */
    struct cfg_faults *faults;
};

static void fault_form(const struct fill *f, const struct cfg_node *node, const char *what)
{
    struct buf form = {0};
    cfg_key_form(f->key, &form);
    if (cfg_node_is_empty(node))
        cfg_fault_key(f->faults, node, NULL, "is empty; expected %s", buf_str(&form));
    else
        cfg_fault_value(f->faults, node, what, buf_str(&form));
    buf_free(&form);
}

/* The text of a scalar that is not empty; NULL with a fault. */
static const char *text_of(const struct fill *f, const struct cfg_node *node)
{
    if (node->kind == CFG_NODE_SCALAR && !cfg_node_is_empty(node))
        return node->text;
    if (node->kind != CFG_NODE_BAD)
        fault_form(f, node, "is no single value");
    return NULL;
}

/* The value is not shown: a secret may stand where a section belongs. */
static bool kind_check(const struct fill *f, enum cfg_node_kind kind)
{
    static const char *const kinds[] = {
        [CFG_NODE_SCALAR] = "text", [CFG_NODE_LIST] = "a list", [CFG_NODE_MAP] = "a map"};
    if (f->node->kind == kind || f->node->kind == CFG_NODE_BAD)
        return f->node->kind == kind;
    struct buf form = {0};
    cfg_key_form(f->key, &form);
    if (cfg_node_is_empty(f->node))
        cfg_fault_key(f->faults, f->node, NULL, "is empty; expected %s", buf_str(&form));
    else
        cfg_fault(f->faults, f->node, "is %s; expected %s", kinds[f->node->kind], buf_str(&form));
    buf_free(&form);
    return false;
}

/* A list or a map with at least the items that the key asks for. */
static bool items_check(const struct fill *f, enum cfg_node_kind kind)
{
    if (!kind_check(f, kind))
        return false;
    bool much = f->node->count > ITEMS_MAX;
    if (!much && (int64_t)f->node->count >= f->key->min)
        return true;
    struct buf form = {0};
    cfg_key_form(f->key, &form);
    cfg_fault(f->faults, f->node, "holds %s; expected %s", much ? "too much" : "nothing",
              buf_str(&form));
    buf_free(&form);
    return false;
}

static bool word_find(const char *text, const char *const *words, size_t *ret)
{
    for (size_t i = 0; words[i]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* What check makes of a text: a copy to keep, or NULL with a fault. */
static char *text_keep(const struct fill *f, const struct cfg_node *node, const char *text)
{
    char *stored = NULL;
    const char *wrong = f->key->check ? f->key->check(text, &stored) : NULL;
    if (!wrong)
        return stored ? stored : mem_strdup(text);
    fault_form(f, node, wrong);
    return NULL;
}

static void fill_string(const struct fill *f)
{
    const char *text = text_of(f, f->node);
    char *kept = NULL;
    if (text && !*text && !f->key->check)
        fault_form(f, f->node, "is empty");
    else if (text)
        kept = text_keep(f, f->node, text);
    if (f->field)
        *(char **)f->field = kept;
    else
        free(kept);
}

static void fill_bool(const struct fill *f)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", NULL};
    const char *text = text_of(f, f->node);
    size_t index;
    if (!text)
        return;
    if (f->node->quoted || !word_find(text, words, &index))
        fault_form(f, f->node, f->node->quoted ? "is quoted text" : "is neither true nor false");
    else if (f->field)
        *(bool *)f->field = index % 2;
}

static bool number_parse(const char *text, int64_t *ret)
{
    char *end;
    if (text[0] < '0' || text[0] > '9' || strlen(text) > 18)
        return false;
    *ret = strtoll(text, &end, 10);
    return !*end;
}

static void fill_number(const struct fill *f)
{
    const char *text = text_of(f, f->node);
    const struct cfg_key *key = f->key;
    int64_t number = 0;
    bool ok = false;
    if (!text)
        return;
    if (key->type == CFG_INT)
        ok = !f->node->quoted && number_parse(text, &number);
    else if (key->type == CFG_DURATION)
        ok = text_duration(text, &number);
    else
        ok = text_size(text, &number);
    if (!ok)
        fault_form(f, f->node,
                   key->type == CFG_INT && f->node->quoted ? "is quoted text"
                   : key->type == CFG_INT                  ? "is no number"
                   : key->type == CFG_DURATION             ? "is no duration"
                                                           : "is no size");
    else if ((key->min || key->max) && (number < key->min || number > key->max))
        fault_form(f, f->node, "is out of range");
    else if (f->field)
        *(int64_t *)f->field = number;
}

static void fill_enum(const struct fill *f)
{
    const char *text = text_of(f, f->node);
    size_t index;
    if (!text)
        return;
    if (!word_find(text, f->key->words, &index))
        fault_form(f, f->node, "is unknown");
    else if (f->field)
        *(int *)f->field = (int)index;
}

/* One item on its way into the list's field; the row says how an item is written. */
static struct fill item_of(const struct fill *f, size_t i, struct cfg_key *row, enum cfg_type type)
{
    *row = *f->key;
    row->type = type;
    return (struct fill){row, f->node->items[i], f->base, f->field, f->faults};
}

/* Items may be empty text if they are quoted: "" is an EST label. */
static char *string_item(const struct fill *f, const struct cfg_strings *strings)
{
    const char *text = text_of(f, f->node);
    size_t index;
    if (!text)
        return NULL;
    if (f->key->words && !word_find(text, f->key->words, &index)) {
        fault_form(f, f->node, "is unknown");
        return NULL;
    }
    char *kept = text_keep(f, f->node, text);
    for (size_t i = 0; kept && i < strings->count; i++) {
        if (strcmp(kept, strings->items[i]) == 0) {
            cfg_fault_value(f->faults, f->node, "occurs twice", NULL);
            free(kept);
            kept = NULL;
        }
    }
    return kept;
}

static void fill_strings(const struct fill *f)
{
    if (!items_check(f, CFG_NODE_LIST))
        return;
    struct cfg_strings *strings = f->field;
    strings->items = mem_zalloc(f->node->count * sizeof(char *));
    for (size_t i = 0; i < f->node->count; i++) {
        struct cfg_key row;
        struct fill item = item_of(f, i, &row, f->key->words ? CFG_ENUM : CFG_STRING);
        char *kept = string_item(&item, strings);
        if (kept)
            strings->items[strings->count++] = kept;
    }
}

static void fill_cert_file(const struct fill *f)
{
    if (text_of(f, f->node))
        cfg_file_certs(f->node, f->field, f->faults);
}

static void fill_cert_files(const struct fill *f)
{
    if (!items_check(f, CFG_NODE_LIST))
        return;
    for (size_t i = 0; i < f->node->count; i++) {
        struct cfg_key row;
        struct fill item = item_of(f, i, &row, CFG_CERT_FILE);
        fill_cert_file(&item);
    }
}

static void fill_key_file(const struct fill *f)
{
    if (text_of(f, f->node))
        cfg_file_key(f->node, f->field, f->faults);
}

static void fill_secret(const struct fill *f)
{
    if (f->node->kind != CFG_NODE_BAD)
        cfg_file_secret(f->node, f->field, f->faults);
}

static void fill_section(const struct fill *f)
{
    if (!kind_check(f, CFG_NODE_MAP))
        return;
    cfg_table_fill(f->key->sub, f->node, f->field, NULL, f->faults);
    if (f->key->judge)
        f->key->judge(f->field, f->faults, f->node);
}

/* Every item gets its place in the array, also one with faults: index and node go together. */
static void fill_items(const struct fill *f)
{
    bool map = f->key->type == CFG_MAP;
    if (!items_check(f, map ? CFG_NODE_MAP : CFG_NODE_LIST))
        return;
    size_t count = f->node->count, size = f->key->item_size;
    char *items = mem_zalloc(count * size);
    memcpy(f->field, &items, sizeof items);
    memcpy((char *)f->base + f->key->count_offset, &count, sizeof count);
    for (size_t i = 0; i < count; i++) {
        char *item = items + i * size;
        struct cfg_key row = *f->key;
        row.type = CFG_SECTION;
        row.form = NULL;
        struct fill one = {&row, f->node->items[i], item, item, f->faults};
        if (map) {
            cfg_name_check(one.node, f->faults);
            *(char **)(void *)item = mem_strdup(one.node->key);
        }
        fill_section(&one);
    }
}

static void fill_custom(const struct fill *f)
{
    if (f->key->read && f->node->kind != CFG_NODE_BAD)
        (void)f->key->read(f->node, f->field, f->faults);
}

static void (*const fillers[])(const struct fill *f) = {
    [CFG_STRING] = fill_string,
    [CFG_BOOL] = fill_bool,
    [CFG_INT] = fill_number,
    [CFG_DURATION] = fill_number,
    [CFG_SIZE] = fill_number,
    [CFG_ENUM] = fill_enum,
    [CFG_STRINGS] = fill_strings,
    [CFG_CERT_FILE] = fill_cert_file,
    [CFG_CERT_FILES] = fill_cert_files,
    [CFG_KEY_FILE] = fill_key_file,
    [CFG_SECRET] = fill_secret,
    [CFG_SECTION] = fill_section,
    [CFG_LIST] = fill_items,
    [CFG_MAP] = fill_items,
    [CFG_CUSTOM] = fill_custom,
};

/* The default goes the way of a written value; a faulty one is our defect and shows as a fault. */
static void fill_default(struct fill *f)
{
    struct cfg_node *node = cfg_node_parse(bytes_str(f->key->def), f->faults);
    if (!node)
        return;
    f->node = node;
    fillers[f->key->type](f);
    cfg_node_free(node);
}

static void fill_one(const struct cfg_key *key, const struct cfg_node *node, void *base,
                     struct cfg_faults *faults)
{
    void *field = key->offset == CFG_NO_FIELD ? NULL : (char *)base + key->offset;
    struct fill f = {key, cfg_node_get(node, key->name), base, field, faults};
    if (f.node) {
        fillers[key->type](&f);
    } else if (node && key->required) {
        struct buf form = {0};
        cfg_key_form(key, &form);
        cfg_fault_key(faults, node, key->name, "is missing; expected %s", buf_str(&form));
        buf_free(&form);
    } else if (key->type == CFG_SECTION) {
        cfg_table_fill(key->sub, NULL, field, NULL, faults);
    } else if (key->def) {
        fill_default(&f);
    }
}

static void fault_unknown(const struct cfg_key *keys, const struct cfg_node *node, const char *also,
                          struct cfg_faults *faults)
{
    const char *names[KEYS_MAX];
    struct buf list = {0};
    size_t count = 0;
    bool room = true;
    for (; keys->name && count < KEYS_MAX - 1; keys++)
        names[count++] = keys->name;
    if (also)
        names[count++] = also;
    for (size_t i = 0; i < count && room; i++)
        room = buf_add_fmt(&list, "%s%s", i ? ", " : "", names[i]);
    const char *near = cfg_word_near(node->key, names, count);
    if (near)
        cfg_fault_key(faults, node, NULL, "is an unknown key; did you mean %s?", near);
    else
        cfg_fault_key(faults, node, NULL, "is an unknown key; expected one of %s", buf_str(&list));
    buf_free(&list);
}

static bool is_known(const struct cfg_key *keys, const char *name)
{
    while (keys->name && strcmp(keys->name, name) != 0)
        keys++;
    return keys->name;
}

void cfg_table_fill(const struct cfg_key *keys, const struct cfg_node *node, void *base,
                    const char *also, struct cfg_faults *faults)
{
    for (const struct cfg_key *key = keys; key->name; key++)
        fill_one(key, node, base, faults);
    for (size_t i = 0; node && i < node->count; i++) {
        const struct cfg_node *item = node->items[i];
        if (!is_known(keys, item->key) && !(also && strcmp(also, item->key) == 0))
            fault_unknown(keys, item, also, faults);
    }
}

static void clear_strings(struct cfg_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        free(strings->items[i]);
    free(strings->items);
    *strings = (struct cfg_strings){0};
}

static void clear_certs(struct cfg_certs *certs)
{
    for (size_t i = 0; i < certs->count; i++)
        cert_free(certs->items[i]);
    free(certs->items);
    *certs = (struct cfg_certs){0};
}

static void clear_items(const struct cfg_key *key, void *base)
{
    char *items;
    size_t count;
    memcpy(&items, (char *)base + key->offset, sizeof items);
    memcpy(&count, (char *)base + key->count_offset, sizeof count);
    for (size_t i = 0; i < count; i++) {
        char *item = items + i * key->item_size;
        cfg_table_clear(key->sub, item);
        if (key->type == CFG_MAP)
            free(*(char **)(void *)item);
    }
    free(items);
}

static void clear_one(const struct cfg_key *key, void *base)
{
    void *field = (char *)base + key->offset;
    switch (key->type) {
    case CFG_STRING:
        free(*(char **)field);
        break;
    case CFG_STRINGS:
        clear_strings(field);
        break;
    case CFG_CERT_FILE:
    case CFG_CERT_FILES:
        clear_certs(field);
        break;
    case CFG_KEY_FILE:
        EVP_PKEY_free(*(EVP_PKEY **)field);
        break;
    case CFG_SECRET:
        buf_free(field);
        break;
    case CFG_SECTION:
        cfg_table_clear(key->sub, field);
        break;
    case CFG_LIST:
    case CFG_MAP:
        clear_items(key, base);
        break;
    case CFG_CUSTOM:
        if (key->clear)
            key->clear(field);
        break;
    default:
        break;
    }
}

void cfg_table_clear(const struct cfg_key *keys, void *base)
{
    for (; keys->name; keys++) {
        if (keys->offset != CFG_NO_FIELD)
            clear_one(keys, base);
    }
}

void cfg_name_check(const struct cfg_node *node, struct cfg_faults *faults)
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(node->key);
    if (len > NAME_LEN_MAX || strspn(node->key, fine) != len)
        cfg_fault_key(faults, node, NULL,
                      "is no name; expected 1 to %zu letters, digits, dots, - and _", NAME_LEN_MAX);
}

bool cfg_judge_pair(const struct cfg_certs *chain, const EVP_PKEY *key, const struct cfg_node *node,
                    struct cfg_faults *faults)
{
    if (!chain->count || !key)
        return false;
    const struct spki *spki = cert_spki_get(chain->items[0]);
    if (spki->key && EVP_PKEY_eq(spki->key, key) == 1)
        return true;
    const struct cfg_node *at = cfg_node_get(node, "key");
    cfg_fault_value(faults, at ? at : node, "does not belong to the certificate",
                    "the private key of the first certificate in `certificate`");
    return false;
}

void cfg_judge_chain(const struct cert *leaf, const struct cfg_certs *chain,
                     const struct cfg_node *node, struct cfg_faults *faults)
{
    for (size_t i = 0; i < chain->count; i++) {
        const struct cert *issuer = chain->items[i];
        bool before = cert_issued(issuer, leaf), after = false;
        for (size_t k = 0; k < i; k++)
            before = before || cert_issued(issuer, chain->items[k]);
        for (size_t k = i + 1; k < chain->count; k++)
            after = after || cert_issued(issuer, chain->items[k]);
        if (!before)
            cfg_fault(faults, node->count == chain->count ? node->items[i] : node,
                      "%s (\"%s\"); expected the issuer of the CA first, then the issuer of that, "
                      "and so on",
                      after ? "stands before what it issued"
                            : "issued nothing of what is before it",
                      cert_names_get(issuer)->subject_text);
    }
}

void cfg_judge_command(const struct cfg_strings *command, const struct cfg_node *node,
                       struct cfg_faults *faults)
{
    struct stat st;
    const char *path = command->count ? command->items[0] : NULL;
    if (path &&
        (path[0] != '/' || stat(path, &st) != 0 || !S_ISREG(st.st_mode) || access(path, X_OK) != 0))
        cfg_fault_value(faults, node->count ? node->items[0] : node,
                        "names nothing that can be run",
                        "a program by its absolute path, and its arguments");
}
