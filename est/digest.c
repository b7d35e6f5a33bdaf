#include "est/digest.h"

#include "base/text.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stddef.h>
#include <string.h>

#define VALUE_MAX 512
#define PARAMETERS_MAX 32

struct field {
    const char *name;
    size_t offset, room;
    bool required;
};
#define FIELD(text, member, needed)                                                                \
    {                                                                                              \
        (text), offsetof(struct est_digest, member), sizeof((struct est_digest *)0)->member,       \
            (needed)                                                                               \
    }

static const struct field fields[] = {
    FIELD("username", user, true),     FIELD("realm", realm, true),
    FIELD("nonce", nonce, true),       FIELD("uri", uri, true),
    FIELD("cnonce", cnonce, true),     FIELD("nc", nc, true),
    FIELD("qop", qop, true),           FIELD("algorithm", algorithm, false),
    FIELD("response", response, true),
};
#define FIELD_COUNT (sizeof fields / sizeof fields[0])

static const struct {
    const char *algorithm;
    size_t digits;
    const EVP_MD *(*md)(void);
} hashes[CFG_DIGEST_COUNT] = {
    [CFG_DIGEST_SHA256] = {"SHA-256", 64, EVP_sha256},
    [CFG_DIGEST_MD5] = {"MD5", 32, EVP_md5},
};

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static void skip(struct bytes *cur, bool commas)
{
    uint8_t c;
    while (cur->len && (is_space(cur->ptr[0]) || (commas && cur->ptr[0] == ',')))
        (void)!bytes_take_u8(cur, &c);
}

/* A quoted-string's content (RFC 9110 section 5.6.4); the first quote has been taken. */
static bool take_quoted(struct bytes *cur, struct buf *out)
{
    uint8_t c;
    while (bytes_take_u8(cur, &c)) {
        if (c == '"')
            return true;
        if (c == '\\' && !bytes_take_u8(cur, &c))
            return false;
        if (c < 0x20 || c == 0x7f || !buf_add_u8(out, c))
            return false;
    }
    return false;
}

static bool take_bare(struct bytes *cur, struct buf *out)
{
    uint8_t c;
    while (cur->len && cur->ptr[0] != ',' && !is_space(cur->ptr[0])) {
        if (!bytes_take_u8(cur, &c) || c <= 0x20 || c >= 0x7f || strchr("\"\\=", c) ||
            !buf_add_u8(out, c))
            return false;
    }
    return out->len > 0;
}

/* name "=" value, up to the comma or the end behind it. */
static bool take_parameter(struct bytes *cur, struct bytes *name, struct buf *value)
{
    uint8_t quote;
    buf_clear(value);
    if (!bytes_take_until(cur, '=', name))
        return false;
    *name = bytes_trim(*name);
    skip(cur, false);
    bool quoted = cur->len && cur->ptr[0] == '"';
    bool ok =
        quoted ? bytes_take_u8(cur, &quote) && take_quoted(cur, value) : take_bare(cur, value);
    skip(cur, false);
    return ok && name->len && (!cur->len || cur->ptr[0] == ',');
}

static bool store_field(const struct field *field, const struct buf *value, struct est_digest *ret)
{
    char *out = (char *)ret + field->offset;
    if (value->len >= field->room)
        return false;
    if (value->len)
        memcpy(out, value->ptr, value->len);
    out[value->len] = 0;
    return true;
}

/* *seen: bit i is fields[i]. */
static bool take_known(struct bytes name, const struct buf *value, unsigned *seen,
                       struct est_digest *ret)
{
    /* The name in a form that we did not ask for (section 3.4.4). */
    if (bytes_equal_nocase(name, "username*"))
        return false;
    if (bytes_equal_nocase(name, "userhash"))
        return bytes_equal_nocase(buf_bytes(value), "false");
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        if (!bytes_equal_nocase(name, fields[i].name))
            continue;
        if (*seen & 1u << i)
            return false;
        *seen |= 1u << i;
        return store_field(&fields[i], value, ret);
    }
    return true;
}

static bool take_parameters(struct bytes cur, struct est_digest *ret, unsigned *seen)
{
    struct buf value = BUF_INIT(VALUE_MAX);
    bool ok = true;
    *seen = 0;
    skip(&cur, true);
    for (unsigned n = 0; ok && cur.len; n++) {
        struct bytes name;
        ok = n < PARAMETERS_MAX && take_parameter(&cur, &name, &value) &&
             take_known(name, &value, seen, ret);
        skip(&cur, true);
    }
    buf_free(&value);
    return ok;
}

static bool read_hash(struct est_digest *digest)
{
    struct bytes name = bytes_str(*digest->algorithm ? digest->algorithm : "MD5");
    for (unsigned i = 0; i < CFG_DIGEST_COUNT; i++) {
        if (bytes_equal_nocase(name, hashes[i].algorithm)) {
            digest->hash = (enum cfg_digest)i;
            return true;
        }
    }
    return false;
}

/* Exactly eight hexadecimal digits. */
static bool read_count(struct est_digest *digest)
{
    struct buf raw = BUF_INIT(4);
    bool ok = text_unhex(bytes_str(digest->nc), &raw) && raw.len == 4;
    digest->count = 0;
    for (size_t i = 0; ok && i < 4; i++)
        digest->count = digest->count << 8 | raw.ptr[i];
    buf_free(&raw);
    return ok;
}

/* What is wrong with it, or NULL. */
static const char *judge(struct est_digest *digest, unsigned seen)
{
    for (unsigned i = 0; i < FIELD_COUNT; i++)
        if (fields[i].required && !(seen & 1u << i))
            return fields[i].name;
    if (strcmp(digest->qop, "auth") != 0)
        return "qop=auth";
    if (!read_hash(digest))
        return "an algorithm that was offered";
    if (!read_count(digest))
        return "a well-formed nc";
    if (strlen(digest->response) != hashes[digest->hash].digits)
        return "a response of the algorithm's length";
    /* It ends the name in what is hashed. */
    return strchr(digest->user, ':') ? "a user name without a colon" : NULL;
}

bool est_digest_parse(struct bytes header, struct est_digest *ret, struct err *err)
{
    struct bytes scheme;
    struct est_digest digest = {0};
    unsigned seen;
    header = bytes_trim(header);
    if (!bytes_take_until(&header, ' ', &scheme) || !bytes_equal_nocase(scheme, "Digest"))
        return err_set(err, ERR_PEER, "an Authorization header that is not Digest");
    if (!take_parameters(header, &digest, &seen))
        return err_set(err, ERR_PEER, "a malformed Digest header");
    const char *lacks = judge(&digest, seen);
    if (lacks)
        return err_set(err, ERR_PEER, "a Digest header without %s", lacks);
    *ret = digest;
    return true;
}

bool est_digest_fits(const struct est_digest *digest, const struct est_digest_ask *ask,
                     struct err *err)
{
    const struct cfg_est *est = &ask->profile->est;
    if (strcmp(digest->realm, est->realm) != 0)
        return err_set(err, ERR_PEER, "a Digest header for another realm");
    if (!bytes_equal_str(ask->target, digest->uri))
        return err_set(err, ERR_PEER, "a Digest header for another URI");
    if (digest->hash == CFG_DIGEST_MD5 && !est->digest_md5)
        return err_set(err, ERR_PEER, "a Digest header with MD5, which is not offered");
    return true;
}

/* Hex of the hash over the parts with colons between. */
static bool hash_parts(enum cfg_digest hash, const struct bytes *parts, size_t count,
                       char out[EST_DIGEST_HEX_MAX + 1])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx)
        err_no_memory();
    bool ok = EVP_DigestInit_ex(ctx, hashes[hash].md(), NULL) == 1;
    for (size_t i = 0; ok && i < count; i++)
        ok = (i == 0 || EVP_DigestUpdate(ctx, ":", 1) == 1) &&
             EVP_DigestUpdate(ctx, parts[i].ptr, parts[i].len) == 1;
    ok = ok && EVP_DigestFinal_ex(ctx, digest, &len) == 1 && 2 * (size_t)len == hashes[hash].digits;
    if (ok)
        text_hex(bytes_of(digest, len), out);
    OPENSSL_cleanse(digest, sizeof digest);
    EVP_MD_CTX_free(ctx);
    return ok;
}

/* RFC 7616 section 3.4.1, from HA1 in hex. */
static bool response_matches(const struct est_digest *digest, const struct est_digest_ask *ask,
                             const char *ha1)
{
    char ha2[EST_DIGEST_HEX_MAX + 1], want[EST_DIGEST_HEX_MAX + 1];
    struct buf got = BUF_INIT(EST_DIGEST_HEX_MAX / 2), own = BUF_INIT(EST_DIGEST_HEX_MAX / 2);
    struct bytes second[] = {bytes_str(ask->method), bytes_str(digest->uri)};
    bool ok = hash_parts(digest->hash, second, 2, ha2);
    struct bytes all[] = {bytes_str(ha1),         bytes_str(digest->nonce),
                          bytes_str(digest->nc),  bytes_str(digest->cnonce),
                          bytes_str(digest->qop), bytes_str(ok ? ha2 : "")};
    ok = ok && hash_parts(digest->hash, all, 6, want) &&
         text_unhex(bytes_str(digest->response), &got) && text_unhex(bytes_str(want), &own) &&
         bytes_equal_secret(buf_bytes(&got), buf_bytes(&own));
    OPENSSL_cleanse(want, sizeof want);
    buf_free(&got);
    buf_free(&own);
    return ok;
}

static const struct cfg_user *check_users(const struct est_digest *digest,
                                          const struct est_digest_ask *ask)
{
    static const char nobodys[] =
        "0000000000000000000000000000000000000000000000000000000000000000";
    const struct cfg_est *est = &ask->profile->est;
    const struct cfg_user *found = NULL;
    for (size_t i = 0; i < est->user_count; i++)
        if (strcmp(est->users[i].name, digest->user) == 0 && est->users[i].ha1[digest->hash])
            found = &est->users[i];
    bool match = response_matches(digest, ask, found ? found->ha1[digest->hash] : nobodys);
    return match ? found : NULL;
}

/* Every secret is tried, whichever matched first. */
static struct bytes check_fixed(const struct est_digest *digest, const struct est_digest_ask *ask)
{
    const struct cfg_challenge *challenge = &ask->profile->challenge;
    struct bytes found = {0};
    for (size_t i = 0; challenge->kinds[CFG_CHALLENGE_FIXED] && i < challenge->fixed_count; i++) {
        char ha1[EST_DIGEST_HEX_MAX + 1];
        struct bytes secret = buf_bytes(&challenge->fixed[i]);
        struct bytes parts[] = {bytes_str(digest->user), bytes_str(digest->realm), secret};
        if (hash_parts(digest->hash, parts, 3, ha1) && response_matches(digest, ask, ha1))
            found = secret;
        OPENSSL_cleanse(ha1, sizeof ha1);
    }
    return found;
}

bool est_digest_check(const struct est_digest *digest, const struct est_digest_ask *ask,
                      struct est_digest_proof *ret)
{
    ret->user = check_users(digest, ask);
    ret->challenge = check_fixed(digest, ask);
    if (ret->user)
        ret->challenge = bytes_of(NULL, 0);
    return ret->user || ret->challenge.len;
}
