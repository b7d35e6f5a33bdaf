#include "base/blocklist.h"

#include "base/text.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#define SHORT_LEN 10 /* the last octets of a SHA-1 */
#define LONG_LEN SHA256_DIGEST_LENGTH

/* Sorted digests of one length. */
struct digests {
    uint8_t *items;
    size_t len, count, room;
};

struct blocklist {
    struct digests moduli, keys;
};

static int compare_short(const void *a, const void *b)
{
    return memcmp(a, b, SHORT_LEN);
}

static int compare_long(const void *a, const void *b)
{
    return memcmp(a, b, LONG_LEN);
}

static void digest_add(struct digests *digests, struct bytes digest)
{
    if (digests->count == digests->room) {
        digests->room = digests->room ? 2 * digests->room : 1024;
        digests->items = mem_resize(digests->items, digests->room, digests->len);
    }
    memcpy(digests->items + digests->count++ * digests->len, digest.ptr, digests->len);
}

static const char *line_add(struct blocklist *list, struct bytes line)
{
    struct buf raw = BUF_INIT(LONG_LEN);
    const char *wrong = NULL;
    if (line.len == 0 || line.ptr[0] == '#')
        return NULL;
    if (!text_unhex(line, &raw) || (raw.len != SHORT_LEN && raw.len != LONG_LEN))
        wrong = "has neither 20 nor 64 hexadecimal digits";
    else if (blocklist_count(list) == BLOCKLIST_MAX)
        wrong = "is one key too many";
    else
        digest_add(raw.len == SHORT_LEN ? &list->moduli : &list->keys, buf_bytes(&raw));
    buf_free(&raw);
    return wrong;
}

static void sort(struct digests *digests, int (*compare)(const void *, const void *))
{
    if (digests->count)
        qsort(digests->items, digests->count, digests->len, compare);
}

bool blocklist_add(struct bytes text, struct blocklist **ret, struct err *err)
{
    struct bytes line;
    if (!*ret) {
        *ret = mem_zalloc(sizeof **ret);
        (*ret)->moduli.len = SHORT_LEN;
        (*ret)->keys.len = LONG_LEN;
    }
    for (size_t number = 1; text.len; number++) {
        bytes_take_until(&text, '\n', &line);
        const char *wrong = line_add(*ret, bytes_trim(line));
        if (wrong)
            return err_set(err, ERR_CONFIG, "line %zu %s", number, wrong);
    }
    sort(&(*ret)->moduli, compare_short);
    sort(&(*ret)->keys, compare_long);
    return true;
}

void blocklist_free(struct blocklist *list)
{
    if (!list)
        return;
    free(list->moduli.items);
    free(list->keys.items);
    free(list);
}

size_t blocklist_count(const struct blocklist *list)
{
    return list ? list->moduli.count + list->keys.count : 0;
}

/* As openssl rsa -modulus writes it. */
static bool modulus_digest(const struct spki *spki, uint8_t out[SHA_DIGEST_LENGTH])
{
    BIGNUM *n = NULL;
    struct buf text = {0};
    char *hex = NULL;
    bool ok = EVP_PKEY_get_bn_param(spki->key, OSSL_PKEY_PARAM_RSA_N, &n) && (hex = BN_bn2hex(n)) &&
              buf_add_fmt(&text, "Modulus=%s\n", hex);
    if (ok)
        SHA1(text.ptr, text.len, out);
    OPENSSL_free(hex);
    BN_free(n);
    buf_free(&text);
    return ok;
}

bool blocklist_holds(const struct blocklist *list, const struct spki *spki)
{
    uint8_t digest[SHA_DIGEST_LENGTH];
    if (!list)
        return false;
    if (list->keys.count &&
        bsearch(spki->digest, list->keys.items, list->keys.count, LONG_LEN, compare_long))
        return true;
    if (spki->kind != SPKI_RSA || !list->moduli.count)
        return false;
    /* A key whose modulus cannot be read could be on it. */
    return !modulus_digest(spki, digest) ||
           bsearch(digest + SHA_DIGEST_LENGTH - SHORT_LEN, list->moduli.items, list->moduli.count,
                   SHORT_LEN, compare_short);
}
