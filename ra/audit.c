#include "ra/audit.h"

#include "ra/store/store.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX ((size_t)8192)

/* JSON string content: ASCII as it is, controls escaped, UTF-8 passed through. */
static bool add_json_text(struct buf *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool ok = *p == '"' || *p == '\\' ? buf_add_fmt(out, "\\%c", *p)
                  : *p < 0x20             ? buf_add_fmt(out, "\\u%04x", *p)
                                          : buf_add_u8(out, *p);
        if (!ok)
            return false;
    }
    return true;
}

bool audit_text(const struct audit_event *event, struct buf *out)
{
    const struct {
        const char *key, *value;
    } fields[] = {
        {"event", event->event},   {"request", event->request}, {"profile", event->profile},
        {"origin", event->origin}, {"subject", event->subject}, {"detail", event->detail},
    };
    const char *separator = "{";
    if (!out->max)
        out->max = TEXT_MAX;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (!fields[i].value)
            continue;
        if (!buf_add_fmt(out, "%s\"%s\":\"", separator, fields[i].key) ||
            !add_json_text(out, fields[i].value) || !buf_add_u8(out, '"'))
            return false;
        separator = ",";
    }
    return buf_add_u8(out, '}');
}

bool audit_hash(const struct audit_record *record, uint8_t out[AUDIT_HASH_LEN])
{
    char head[64];
    int len =
        snprintf(head, sizeof head, "%lld\n%lld\n", (long long)record->seq, (long long)record->at);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) &&
              EVP_DigestUpdate(ctx, record->prev, AUDIT_HASH_LEN) &&
              EVP_DigestUpdate(ctx, head, (size_t)len) &&
              EVP_DigestUpdate(ctx, record->text, strlen(record->text)) &&
              EVP_DigestFinal_ex(ctx, out, NULL);
    EVP_MD_CTX_free(ctx);
    return ok;
}

struct walk {
    struct audit_summary summary;
    int64_t bad; /* number of the first bad record, 0 if none */
    const char *why;
};

static bool walk_record(const struct audit_record *record, void *arg)
{
    struct walk *walk = arg;
    uint8_t hash[AUDIT_HASH_LEN];
    walk->bad = walk->summary.records + 1;
    if (record->seq != walk->bad)
        walk->why = "is missing";
    else if (memcmp(record->prev, walk->summary.head, AUDIT_HASH_LEN) != 0)
        walk->why = "does not follow the one before it";
    else if (!audit_hash(record, hash) || memcmp(record->hash, hash, AUDIT_HASH_LEN) != 0)
        walk->why = "has been changed";
    else
        walk->bad = 0;
    if (walk->bad)
        return false;
    walk->summary.records++;
    memcpy(walk->summary.head, record->hash, AUDIT_HASH_LEN);
    return true;
}

bool audit_verify(struct store *store, struct audit_summary *ret, struct err *err)
{
    struct walk walk = {0};
    if (!store->vt->audit_walk(store, walk_record, &walk, err))
        return false;
    if (walk.bad)
        return err_set(err, ERR_LOCAL, "audit record %lld %s", (long long)walk.bad, walk.why);
    *ret = walk.summary;
    return true;
}
