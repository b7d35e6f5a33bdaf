#include "base/identity.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

/* As X509_NAME_cmp has it: lower case, outer spaces left out, inner ones made one. */
static bool add_value(struct buf *out, struct bytes value)
{
    bool ok = true, gap = false;
    size_t start = out->len;
    for (size_t i = 0; ok && i < value.len; i++) {
        if (is_space(value.ptr[i])) {
            gap = out->len > start;
            continue;
        }
        ok = (!gap || buf_add_u8(out, ' ')) && buf_add_u8(out, lower(value.ptr[i]));
        gap = false;
    }
    return ok;
}

/* Number of the RDN, type, length and value: no two subjects give the same text. */
static bool add_attribute(struct buf *out, const X509_NAME_ENTRY *entry)
{
    char type[128];
    unsigned char *utf8 = NULL;
    struct buf value = {0};
    int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
    bool ok = len >= 0 && add_value(&value, bytes_of(utf8, (size_t)len)) &&
              OBJ_obj2txt(type, sizeof type, X509_NAME_ENTRY_get_object(entry), 1) > 0 &&
              buf_add_fmt(out, "%d:%s:%zu:", X509_NAME_ENTRY_set(entry), type, value.len) &&
              buf_add(out, buf_bytes(&value));
    OPENSSL_free(utf8);
    buf_free(&value);
    return ok;
}

static bool add_subject(struct buf *out, struct bytes der)
{
    const unsigned char *p = der.ptr;
    X509_NAME *name = d2i_X509_NAME(NULL, &p, (long)der.len);
    bool ok = name != NULL;
    for (int i = 0; ok && i < X509_NAME_entry_count(name); i++)
        ok = add_attribute(out, X509_NAME_get_entry(name, i));
    X509_NAME_free(name);
    return ok;
}

static bool same_san(const struct san *a, const struct san *b)
{
    return a->kind == b->kind &&
           (a->kind == SAN_DNS ? strcasecmp(a->text, b->text) : strcmp(a->text, b->text)) == 0;
}

/* They are sorted. */
static bool add_sans(struct buf *out, const struct names *names)
{
    bool ok = true;
    for (size_t i = 0; ok && i < names->san_count; i++) {
        const struct san *san = &names->sans[i];
        if (i && same_san(san - 1, san))
            continue;
        ok = buf_add_fmt(out, "%d:%zu:", (int)san->kind, strlen(san->text));
        for (const char *p = san->text; ok && *p; p++)
            ok = buf_add_u8(out, san->kind == SAN_DNS ? lower((uint8_t)*p) : (uint8_t)*p);
    }
    return ok;
}

bool identity_digest(const struct names *names, uint8_t out[IDENTITY_LEN], struct err *err)
{
    struct buf text = {0};
    bool ok = add_subject(&text, buf_bytes(&names->subject)) && buf_add_u8(&text, '\n') &&
              add_sans(&text, names) &&
              EVP_Digest(text.ptr, text.len, out, NULL, EVP_sha256(), NULL) == 1;
    buf_free(&text);
    return ok || err_openssl(err, ERR_LOCAL, "digesting names");
}
