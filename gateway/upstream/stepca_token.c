#include "gateway/upstream/stepca_token.h"

#include "base/clock.h"
#include "base/text.h"

#include <ctype.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define TIME_DIGITS_MAX 12
#define PROVISIONERS_MAX 256 /* of a page; step-ca has at most 100 */
#define CURSOR_MAX 128
#define CHAIN_MAX 8

bool stepca_handle_make(struct stepca_handle *ret, struct err *err)
{
    unsigned char noise[STEPCA_ID_LEN / 2];
    if (RAND_bytes(noise, sizeof noise) != 1)
        return err_openssl(err, ERR_LOCAL, "no randomness for a token's identifier");
    ret->at = clock_now();
    text_hex(bytes_of(noise, sizeof noise), ret->id);
    return true;
}

bool stepca_handle_print(const struct stepca_handle *handle, struct buf *out)
{
    return buf_add_fmt(out, "%lld.%s", (long long)handle->at, handle->id);
}

bool stepca_handle_parse(struct bytes text, struct stepca_handle *ret)
{
    struct bytes digits;
    struct stepca_handle handle = {0};
    if (!bytes_take_until(&text, '.', &digits) || !digits.len || digits.len > TIME_DIGITS_MAX ||
        text.len != STEPCA_ID_LEN)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
            return false;
        handle.at = handle.at * 10 + (digits.ptr[i] - '0');
    }
    for (size_t i = 0; i < text.len; i++)
        if (!text.ptr[i] || !strchr("0123456789abcdef", text.ptr[i]))
            return false;
    memcpy(handle.id, text.ptr, STEPCA_ID_LEN);
    *ret = handle;
    return true;
}

/* A JWK provisioner compares the common name with sub or one of sans, an X5C provisioner with sub.
 * Neither may be empty. */
static const char *subject_of(const struct names *names, const char *otherwise)
{
    const char *name = names_attr_get(names, "CN");
    if (!name && names->san_count)
        name = names->sans[0].text;
    return name && *name ? name : otherwise;
}

/* Other kinds of names have no text there; step-ca leaves them out, and then its certificate is
 * not what was asked for. */
static void set_sans(struct json *claims, const struct names *names)
{
    struct json *sans = json_new_array();
    bool any = false;
    for (size_t i = 0; i < names->san_count; i++) {
        if (names->sans[i].kind == SAN_OTHER)
            continue;
        json_append_text(sans, names->sans[i].text);
        any = true;
    }
    if (any)
        json_set(claims, "sans", sans);
    else
        json_free(sans);
}

/* The token is good for this request only: RFC 7800 section 3, with the fingerprint that step-ca
 * compares. */
static bool set_fingerprint(struct json *claims, const struct csr *csr)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    struct bytes der = csr_der_get(csr);
    struct buf text = {0};
    struct json *cnf = json_new_object();
    SHA256(der.ptr, der.len, digest);
    bool ok = jose_encode(bytes_of(digest, sizeof digest), &text);
    if (ok)
        json_set_text(cnf, "x5rt#S256", buf_str(&text));
    json_set(claims, "cnf", cnf);
    buf_free(&text);
    return ok;
}

/* step-ca compares it as Go's net/url writes a fragment. */
static bool add_fragment(const char *text, struct buf *out)
{
    bool ok = true;
    for (; *text && ok; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x80 && (isalnum(c) || strchr("-_.~$&+,/:;=?@!()*", c)))
            ok = buf_add_u8(out, c);
        else
            ok = buf_add_fmt(out, "%%%02X", c);
    }
    return ok;
}

/* url, and how it names the provisioner: nothing more (JWK), or by a fragment (X5C). */
static bool set_audience(struct json *json, const struct stepca_options *options, const char *url)
{
    struct buf text = {0};
    bool ok = buf_add(&text, bytes_str(url)) &&
              (!options->x5c.key ||
               (buf_add(&text, bytes_str("#x5c/")) && add_fragment(options->provisioner, &text)));
    if (ok)
        json_set_text(json, "aud", buf_str(&text));
    buf_free(&text);
    return ok;
}

static bool print_claims(const struct stepca_options *options, const struct stepca_claims *claims,
                         struct buf *out)
{
    struct json *json = json_new_object();
    bool ok = set_audience(json, options, claims->url);
    json_set_text(json, "iss", options->provisioner);
    json_set_text(json, "jti", claims->id);
    json_set_number(json, "iat", claims->issued_at);
    json_set_number(json, "nbf", claims->issued_at);
    json_set_number(json, "exp", claims->expires_at);
    if (claims->csr) {
        const struct names *names = csr_names_get(claims->csr);
        json_set_text(json, "sub", subject_of(names, claims->id));
        set_sans(json, names);
        ok = ok && set_fingerprint(json, claims->csr);
    } else {
        json_set_text(json, "sub", claims->serial);
    }
    ok = ok && json_print_compact(json, out);
    json_free(json);
    return ok;
}

/* RFC 7515 section 4.1.6: base64, not base64url, of each certificate. */
static bool set_chain(struct json *header, const struct cfg_certs *chain)
{
    struct json *x5c = json_new_array();
    bool ok = true;
    for (size_t i = 0; i < chain->count && i < CHAIN_MAX && ok; i++) {
        struct buf text = {0};
        ok = text_base64_encode(cert_der_get(chain->items[i]), 0, &text);
        if (ok)
            json_append_text(x5c, buf_str(&text));
        buf_free(&text);
    }
    json_set(header, "x5c", x5c);
    return ok;
}

static EVP_PKEY *key_of(const struct stepca_options *options)
{
    return options->x5c.key ? options->x5c.key : options->jwk.key;
}

bool stepca_token_make(const struct stepca_options *options, const struct stepca_claims *claims,
                       struct buf *out, struct err *err)
{
    struct jose_signer signer = {.key = key_of(options)};
    struct json *header = json_new_object();
    struct buf payload = {0};
    json_set_text(header, "typ", "JWT");
    json_set_text(header, "kid", claims->kid);
    bool ok = (!options->x5c.key || set_chain(header, &options->x5c.certificate)) &&
              print_claims(options, claims, &payload);
    if (!ok)
        err_set(err, ERR_LOCAL, "a token that is too large");
    ok = ok && jose_sign_compact(&signer, header, buf_bytes(&payload), out, err);
    json_free(header);
    buf_free(&payload);
    return ok;
}

/* Whether a provisioner's key is this one: every member of ours has the same value there. */
static bool is_key(const struct json_value *theirs, const struct json *ours)
{
    static const char *const members[] = {"kty", "crv", "x", "y", "n", "e"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const char *want = json_text(json_get(json_root(ours), members[i]));
        const char *have = json_text(json_get(theirs, members[i]));
        if (want && (!have || strcmp(want, have) != 0))
            return false;
    }
    return true;
}

/* How the key of a provisioner is called, or NULL if the provisioner is not ours. An X5C
 * provisioner does not look at it. */
static const char *kid_of(const struct stepca_options *options, const struct json_value *item,
                          const struct json *jwk, const char *thumbprint)
{
    const char *type = json_text(json_get(item, "type")), *name = json_text(json_get(item, "name"));
    const struct json_value *key = json_get(item, "key");
    if (!type || !name || strcmp(name, options->provisioner) != 0)
        return NULL;
    if (options->x5c.key)
        return strcmp(type, "X5C") == 0 ? thumbprint : NULL;
    return strcmp(type, "JWK") == 0 && is_key(key, jwk) ? json_text(json_get(key, "kid")) : NULL;
}

bool stepca_provisioner_find(const struct stepca_options *options, const struct json_value *page,
                             struct buf *kid, struct buf *cursor, struct err *err)
{
    const struct json_value *list = json_get(page, "provisioners"), *item;
    const char *next = json_text(json_get(page, "nextCursor")), *found = NULL;
    struct json *jwk = jose_jwk(key_of(options));
    struct buf thumbprint = {0};
    bool ok = jwk && jose_thumbprint(key_of(options), &thumbprint);
    for (size_t i = 0; ok && !found && i < PROVISIONERS_MAX && (item = json_at(list, i)); i++)
        found = kid_of(options, item, jwk, buf_str(&thumbprint));
    ok = ok && (!found || (*found && strlen(found) < STEPCA_KID_MAX)) &&
         (!next || strlen(next) < CURSOR_MAX);
    ok = ok && buf_set(kid, bytes_str(found ? found : "")) &&
         buf_set(cursor, bytes_str(next ? next : ""));
    json_free(jwk);
    buf_free(&thumbprint);
    return ok || err_set(err, ERR_UPSTREAM, "the CA's list of provisioners cannot be understood");
}
