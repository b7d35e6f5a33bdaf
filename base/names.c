#include "base/names.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VALUE_MAX 1024

static const char *const kind_names[SAN_KIND_COUNT] = {
    [SAN_DNS] = "dns", [SAN_IP] = "ip",       [SAN_EMAIL] = "email",
    [SAN_URI] = "uri", [SAN_OTHER] = "other",
};

const char *names_san_kind_name(enum san_kind kind)
{
    return (unsigned)kind < SAN_KIND_COUNT ? kind_names[kind] : "unknown";
}

/* A string of a Name or a SAN as UTF-8 without control characters. */
static char *clean_text(const unsigned char *text, size_t len, const char *what, struct err *err)
{
    if (len > VALUE_MAX) {
        err_set(err, ERR_PEER, "%s of %zu characters, at most %d are allowed", what, len,
                VALUE_MAX);
        return NULL;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] == 0x7f) {
            err_set(err, ERR_PEER, "%s holds the control character 0x%02x", what, text[i]);
            return NULL;
        }
        /* U+0080 to U+009F: a terminal may take U+009B for the beginning of a command. */
        if (text[i] == 0xc2 && i + 1 < len && text[i + 1] < 0xa0) {
            err_set(err, ERR_PEER, "%s holds the control character U+%04x", what, text[i + 1]);
            return NULL;
        }
    }
    return bytes_to_str(bytes_of(text, len));
}

static void attr_type(const ASN1_OBJECT *object, char out[64])
{
    int nid = OBJ_obj2nid(object);
    if (nid != NID_undef)
        snprintf(out, 64, "%s", OBJ_nid2sn(nid));
    else
        OBJ_obj2txt(out, 64, object, 1);
}

static bool attr_parse(const X509_NAME_ENTRY *entry, struct name_attr *ret, struct err *err)
{
    char type[64];
    unsigned char *utf8 = NULL;
    attr_type(X509_NAME_ENTRY_get_object(entry), type);
    int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
    if (len < 0)
        return err_openssl(err, ERR_PEER, "subject attribute %s is not text", type);
    char *value = clean_text(utf8, (size_t)len, "a subject attribute", err);
    OPENSSL_free(utf8);
    if (!value)
        return false;
    ret->type = mem_strdup(type);
    ret->value = value;
    return true;
}

/* "CN=x,O=y" in the order of the certificate; ',' and '\' inside values are backslashed. */
static char *subject_text(const struct names *names)
{
    struct buf text = {0};
    bool room = true;
    for (size_t i = 0; i < names->attr_count && room; i++) {
        room = buf_add_fmt(&text, "%s%s=", i ? "," : "", names->attrs[i].type);
        for (const char *p = names->attrs[i].value; *p && room; p++)
            room = (*p != ',' && *p != '\\') ? buf_add_u8(&text, (uint8_t)*p)
                                             : buf_add_fmt(&text, "\\%c", *p);
    }
    char *copy = mem_strdup(buf_str(&text));
    buf_free(&text);
    return copy;
}

static bool subject_parse(const X509_NAME *subject, struct names *ret, struct err *err)
{
    int count = X509_NAME_entry_count(subject);
    if (count > NAMES_ATTR_MAX)
        return err_set(err, ERR_PEER, "%d subject attributes, at most %d are allowed", count,
                       NAMES_ATTR_MAX);
    ret->attrs = mem_zalloc((size_t)count * sizeof *ret->attrs);
    for (int i = 0; i < count; i++) {
        if (!attr_parse(X509_NAME_get_entry(subject, i), &ret->attrs[ret->attr_count], err))
            return false;
        ret->attr_count++;
    }
    unsigned char *der = NULL;
    int len = i2d_X509_NAME(subject, &der);
    bool ok = len >= 0 && buf_set(&ret->subject, bytes_of(der, (size_t)len));
    OPENSSL_free(der);
    if (!ok)
        return err_openssl(err, ERR_PEER, "a subject that cannot be encoded");
    ret->subject_text = subject_text(ret);
    return true;
}

static char *ip_text(const ASN1_OCTET_STRING *ip, struct err *err)
{
    char text[INET6_ADDRSTRLEN];
    int len = ASN1_STRING_length(ip);
    if ((len != 4 && len != 16) ||
        !inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(ip), text, sizeof text)) {
        err_set(err, ERR_PEER, "an IP address SAN of %d octets", len);
        return NULL;
    }
    return mem_strdup(text);
}

/* IA5String: OpenSSL does not look whether its bytes are ASCII (RFC 5280 section 4.2.1.6). */
static char *ia5_text(struct bytes value, struct err *err)
{
    if (value.len == 0) {
        err_set(err, ERR_PEER, "an empty SAN");
        return NULL;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] > 0x7f) {
            err_set(err, ERR_PEER, "a SAN holds the byte 0x%02x, which is not ASCII", value.ptr[i]);
            return NULL;
        }
    }
    return clean_text(value.ptr, value.len, "a SAN", err);
}

static char *san_text(const GENERAL_NAME *name, struct san *san, struct err *err)
{
    const ASN1_STRING *value = name->d.ia5;
    switch (name->type) {
    case GEN_DNS:
        san->kind = SAN_DNS;
        break;
    case GEN_EMAIL:
        san->kind = SAN_EMAIL;
        break;
    case GEN_URI:
        san->kind = SAN_URI;
        break;
    case GEN_IPADD:
        san->kind = SAN_IP;
        return ip_text(name->d.ip, err);
    default:
        san->kind = SAN_OTHER;
        char *hex = mem_zalloc(2 * san->der.len + 1);
        text_hex(buf_bytes(&san->der), hex);
        return hex;
    }
    return ia5_text(bytes_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value)), err);
}

static bool san_parse(const GENERAL_NAME *name, struct san *ret, struct err *err)
{
    unsigned char *der = NULL;
    int len = i2d_GENERAL_NAME(name, &der);
    bool ok = len > 0 && buf_set(&ret->der, bytes_of(der, (size_t)len));
    OPENSSL_free(der);
    if (!ok)
        return err_openssl(err, ERR_PEER, "a SAN that cannot be encoded");
    ret->text = san_text(name, ret, err);
    return ret->text != NULL;
}

/* DNS names and the like compare without case (RFC 5280 section 7.2). */
static int san_compare(const void *a, const void *b)
{
    const struct san *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return x->kind == SAN_DNS ? strcasecmp(x->text, y->text) : strcmp(x->text, y->text);
}

static bool sans_parse(const GENERAL_NAMES *sans, struct names *ret, struct err *err)
{
    int count = sans ? sk_GENERAL_NAME_num(sans) : 0;
    if (count > NAMES_SAN_MAX)
        return err_set(err, ERR_PEER, "%d SANs, at most %d are allowed", count, NAMES_SAN_MAX);
    ret->sans = mem_zalloc((size_t)count * sizeof *ret->sans);
    for (int i = 0; i < count; i++) {
        ret->san_count++; /* also a half-made one is freed */
        if (!san_parse(sk_GENERAL_NAME_value(sans, i), &ret->sans[i], err))
            return false;
    }
    if (ret->san_count)
        qsort(ret->sans, ret->san_count, sizeof *ret->sans, san_compare);
    return true;
}

bool names_parse(const X509_NAME *subject, const GENERAL_NAMES *sans, struct names *ret,
                 struct err *err)
{
    struct names names = {0};
    if (!subject_parse(subject, &names, err) || !sans_parse(sans, &names, err)) {
        names_clear(&names);
        return false;
    }
    *ret = names;
    return true;
}

/* The next "type=value" of "CN=x,O=y"; a backslash takes the next character as it is. */
static bool take_attr(const char **text, struct buf *type, struct buf *value)
{
    struct buf *into = type;
    const char *p = *text;
    buf_clear(type);
    buf_clear(value);
    for (; *p && (into == type || *p != ','); p++) {
        if (into == type && *p == '=') {
            into = value;
            continue;
        }
        if (*p == '\\' && p[1])
            p++;
        if (!buf_add_u8(into, (uint8_t)*p))
            return false;
    }
    *text = *p ? p + 1 : p;
    return into == value && type->len && value->len;
}

static bool subject_from_text(const char *text, X509_NAME *name, struct err *err)
{
    struct buf type = BUF_INIT(64), value = BUF_INIT(VALUE_MAX);
    bool ok = true;
    for (const char *p = text; *p && ok;) {
        ok = take_attr(&p, &type, &value);
        struct bytes trimmed = bytes_trim(buf_bytes(&type));
        char *word = bytes_to_str(trimmed);
        ok = ok && word &&
             X509_NAME_add_entry_by_txt(name, word, MBSTRING_UTF8, value.ptr, (int)value.len, -1,
                                        0) == 1;
        free(word);
    }
    buf_free(&type);
    buf_free(&value);
    return ok ||
           err_openssl(err, ERR_PEER, "\"%s\" is not a subject such as CN=r1,O=Example", text);
}

static bool looks_like_ip(const char *text)
{
    uint8_t ip[16];
    return inet_pton(AF_INET, text, ip) == 1 || inet_pton(AF_INET6, text, ip) == 1;
}

/* "dns:x", "ip:...", "email:...", "uri:...", or x alone. */
static GENERAL_NAME *san_from_text(const char *text)
{
    static const struct {
        const char *prefix;
        int type;
    } kinds[] = {{"dns:", GEN_DNS}, {"ip:", GEN_IPADD}, {"email:", GEN_EMAIL}, {"uri:", GEN_URI}};
    int type = looks_like_ip(text) ? GEN_IPADD : strchr(text, '@') ? GEN_EMAIL : GEN_DNS;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strncasecmp(text, kinds[i].prefix, strlen(kinds[i].prefix)) == 0) {
            type = kinds[i].type;
            text += strlen(kinds[i].prefix);
            break;
        }
    }
    return *text ? a2i_GENERAL_NAME(NULL, NULL, NULL, type, text, 0) : NULL;
}

bool names_parse_text(const char *subject, const char *const *sans, size_t san_count,
                      struct names *ret, struct err *err)
{
    X509_NAME *name = X509_NAME_new();
    GENERAL_NAMES *list = GENERAL_NAMES_new();
    bool ok = false;
    if (!name || !list)
        err_no_memory();
    ERR_clear_error(); /* what is complained of is to be of this text alone */
    if (subject && !subject_from_text(subject, name, err))
        goto out;
    for (size_t i = 0; i < san_count; i++) {
        GENERAL_NAME *san = san_from_text(sans[i]);
        if (!san || !sk_GENERAL_NAME_push(list, san)) {
            GENERAL_NAME_free(san);
            err_openssl(err, ERR_PEER, "\"%s\" is not a SAN such as dns:a.example", sans[i]);
            goto out;
        }
    }
    ok = names_parse(name, list, ret, err);
out:
    X509_NAME_free(name);
    GENERAL_NAMES_free(list);
    return ok;
}

void names_clear(struct names *names)
{
    if (!names)
        return;
    for (size_t i = 0; i < names->attr_count; i++) {
        free(names->attrs[i].type);
        free(names->attrs[i].value);
    }
    for (size_t i = 0; i < names->san_count; i++) {
        free(names->sans[i].text);
        buf_free(&names->sans[i].der);
    }
    free(names->attrs);
    free(names->sans);
    free(names->subject_text);
    buf_free(&names->subject);
    *names = (struct names){0};
}

static X509_NAME *name_of(const struct names *names)
{
    const unsigned char *p = names->subject.ptr;
    return d2i_X509_NAME(NULL, &p, (long)names->subject.len);
}

bool names_subject_equal(const struct names *a, const struct names *b)
{
    X509_NAME *x = name_of(a), *y = name_of(b);
    bool equal = x && y && X509_NAME_cmp(x, y) == 0;
    X509_NAME_free(x);
    X509_NAME_free(y);
    return equal;
}

bool names_san_equal(const struct names *a, const struct names *b)
{
    size_t i = 0, j = 0;
    while (i < a->san_count && j < b->san_count) {
        if (san_compare(&a->sans[i], &b->sans[j]) != 0)
            return false;
        /* A name listed twice counts once. */
        for (i++; i < a->san_count && san_compare(&a->sans[i - 1], &a->sans[i]) == 0;)
            i++;
        for (j++; j < b->san_count && san_compare(&b->sans[j - 1], &b->sans[j]) == 0;)
            j++;
    }
    return i == a->san_count && j == b->san_count;
}

const char *names_attr_get(const struct names *names, const char *type)
{
    for (size_t i = 0; i < names->attr_count; i++)
        if (strcmp(names->attrs[i].type, type) == 0)
            return names->attrs[i].value;
    return NULL;
}

bool names_san_text(const struct names *names, struct buf *out)
{
    for (size_t i = 0; i < names->san_count; i++)
        if (!buf_add_fmt(out, "%s%s:%s", i ? "," : "", kind_names[names->sans[i].kind],
                         names->sans[i].text))
            return false;
    return true;
}
