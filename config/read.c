#include "config/read.h"

#include "base/der.h"
#include "base/text.h"
#include "config/pattern.h"
#include "config/word.h"

#include <openssl/objects.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX SPKI_RSA_BITS_MAX
#define SUBJECT_MAX 64
#define DER_VALUE_MAX 4096
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Whether the file could be made: a path that was resolved, in a folder that exists. */
static bool has_folder(const char *path, const struct cfg_node *node, const char *form,
                       struct cfg_faults *faults)
{
    struct stat st;
    char *folder = mem_strdup(path);
    *(strrchr(folder, '/') + 1) = 0;
    bool ok = stat(folder, &st) == 0 && S_ISDIR(st.st_mode);
    if (!ok)
        cfg_fault_value(faults, node, "lies in a folder that does not exist", form);
    free(folder);
    return ok;
}

bool cfg_read_store(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    static const char form[] = "sqlite:PATH";
    const char *text = node->kind == CFG_NODE_SCALAR ? node->text : "";
    if (strncmp(text, "sqlite:", 7) != 0 || !text[7] || strncmp(text, "sqlite://", 9) == 0) {
        /* Not shown: the URL of a database may hold a password. */
        cfg_fault(faults, node, "is no store of a known kind; expected %s", form);
        return false;
    }
    char *path = cfg_path_resolve(faults, text + 7);
    bool ok = has_folder(path, node, form, faults);
    struct stat st;
    if (ok && stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        cfg_fault_value(faults, node, "is no regular file", form);
        ok = false;
    }
    struct buf url = {0};
    if (ok && buf_add_fmt(&url, "sqlite:%s", path))
        *(char **)field = mem_strdup(buf_str(&url));
    buf_free(&url);
    free(path);
    return ok;
}

void cfg_read_store_clear(void *field)
{
    free(*(char **)field);
}

bool cfg_read_path(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    bool ok = node->kind == CFG_NODE_SCALAR && !cfg_node_is_empty(node);
    if (ok)
        *(char **)field = cfg_path_resolve(faults, node->text);
    else
        cfg_fault(faults, node, "is no name of a file; expected one");
    return ok;
}

bool cfg_read_new_path(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    return cfg_read_path(node, field, faults) &&
           has_folder(*(char **)field, node, "a file in one that scepter may write to", faults);
}

void cfg_read_path_clear(void *field)
{
    free(*(char **)field);
}

bool cfg_read_rsa(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    struct cfg_keys *keys = field;
    long min = 0, max = 0;
    char first[16] = "";
    const char *text = node->kind == CFG_NODE_SCALAR ? node->text : "";
    const char *dash = strchr(text, '-');
    size_t len = dash ? (size_t)(dash - text) : strlen(text);
    snprintf(first, sizeof first, "%.*s", (int)(len < sizeof first ? len : 0), text);
    if (!cfg_number(first, RSA_BITS_MAX, &min) ||
        !cfg_number(dash ? dash + 1 : first, RSA_BITS_MAX, &max) || min < RSA_BITS_MIN ||
        max < min) {
        cfg_fault_value(faults, node, "is no range of RSA key sizes",
                        "bits such as 2048-4096 or 3072, from 2048 to 8192");
        return false;
    }
    keys->rsa_min = min;
    keys->rsa_max = max;
    return true;
}

/* The name that names_parse gives the attribute type; NULL if it can be no part of a subject. */
static char *attribute_type(const char *text)
{
    static const int known[] = {
        NID_commonName,
        NID_surname,
        NID_serialNumber,
        NID_countryName,
        NID_localityName,
        NID_stateOrProvinceName,
        NID_streetAddress,
        NID_organizationName,
        NID_organizationalUnitName,
        NID_title,
        NID_description,
        NID_businessCategory,
        NID_postalCode,
        NID_postOfficeBox,
        NID_telephoneNumber,
        NID_name,
        NID_givenName,
        NID_initials,
        NID_generationQualifier,
        NID_dnQualifier,
        NID_pseudonym,
        NID_pkcs9_emailAddress,
        NID_pkcs9_unstructuredName,
        NID_pkcs9_unstructuredAddress,
        NID_userId,
        NID_domainComponent,
        NID_organizationIdentifier,
    };
    for (size_t i = 0; i < COUNT(known); i++) {
        if (strcmp(text, OBJ_nid2sn(known[i])) == 0)
            return mem_strdup(text);
    }
    ASN1_OBJECT *object = OBJ_txt2obj(text, 1);
    int nid = object ? OBJ_obj2nid(object) : NID_undef;
    char dotted[128] = "";
    if (object && OBJ_obj2txt(dotted, sizeof dotted, object, 1) >= (int)sizeof dotted)
        dotted[0] = 0;
    ASN1_OBJECT_free(object);
    if (!dotted[0])
        return NULL;
    return mem_strdup(nid == NID_undef ? dotted : OBJ_nid2sn(nid));
}

static const char *attribute_near(const char *text)
{
    static const char *const others[][2] = {
        {"commonName", "CN"},
        {"surname", "SN"},
        {"countryName", "C"},
        {"country", "C"},
        {"localityName", "L"},
        {"locality", "L"},
        {"stateOrProvinceName", "ST"},
        {"S", "ST"},
        {"organizationName", "O"},
        {"organization", "O"},
        {"organizationalUnitName", "OU"},
        {"organizationalUnit", "OU"},
        {"givenName", "GN"},
        {"G", "GN"},
        {"userId", "UID"},
        {"domainComponent", "DC"},
        {"email", "emailAddress"},
        {"E", "emailAddress"},
        {"serial", "serialNumber"},
        {"cn", "CN"},
        {"o", "O"},
        {"ou", "OU"},
    };
    for (size_t i = 0; i < COUNT(others); i++) {
        if (strcmp(text, others[i][0]) == 0)
            return others[i][1];
    }
    return NULL;
}

static bool type_read(const struct cfg_node *item, struct cfg_subject *ret,
                      struct cfg_faults *faults)
{
    static const char form[] = "CN, O, OU, serialNumber or another attribute, or a dotted OID";
    ret->type = attribute_type(item->key);
    const char *near = ret->type ? NULL : attribute_near(item->key);
    if (near)
        cfg_fault_key(faults, item, NULL, "is no attribute type; did you mean %s?", near);
    else if (!ret->type)
        cfg_fault_key(faults, item, NULL, "is no attribute type; expected %s", form);
    return ret->type;
}

static bool pattern_read(const struct cfg_node *item, struct cfg_subject *ret,
                         struct cfg_faults *faults)
{
    static const char form[] = "a regular expression";
    struct err err;
    if (item->kind != CFG_NODE_SCALAR || cfg_node_is_empty(item)) {
        if (item->kind != CFG_NODE_BAD)
            cfg_fault_key(faults, item, NULL, "is no text; expected %s", form);
        return false;
    }
    if (!cfg_pattern_compile(item->text, &ret->regex, &err)) {
        cfg_fault_value(faults, item, err.text, form);
        return false;
    }
    ret->pattern = mem_strdup(item->text);
    return true;
}

static bool type_is_new(const struct cfg_profile *profile, const struct cfg_subject *one,
                        const struct cfg_node *item, struct cfg_faults *faults)
{
    for (size_t i = 0; i < profile->subject_count; i++) {
        if (strcmp(profile->subject[i].type, one->type) == 0) {
            cfg_fault_key(faults, item, NULL, "names %s once more", one->type);
            return false;
        }
    }
    return true;
}

static void subject_clear(struct cfg_subject *one)
{
    if (one->pattern)
        regfree(&one->regex);
    free(one->pattern);
    free(one->type);
}

/* One more rule: a type, and the pattern in the node. */
static bool subject_add(struct cfg_profile *profile, const char *type, const struct cfg_node *item,
                        struct cfg_faults *faults)
{
    struct cfg_subject one = {.type = mem_strdup(type)};
    if (profile->subject_count == SUBJECT_MAX || !pattern_read(item, &one, faults)) {
        if (profile->subject_count == SUBJECT_MAX)
            cfg_fault(faults, item, "is one too many; expected %d patterns in all", SUBJECT_MAX);
        subject_clear(&one);
        return false;
    }
    profile->subject[profile->subject_count++] = one;
    return true;
}

/* "CN: PATTERN", or "OU: [PATTERN, PATTERN]". */
static bool subject_read(struct cfg_profile *profile, const struct cfg_node *item,
                         struct cfg_faults *faults)
{
    struct cfg_subject one = {0};
    bool ok = type_read(item, &one, faults) && type_is_new(profile, &one, item, faults);
    bool list = item->kind == CFG_NODE_LIST;
    if (ok && list)
        ok = cfg_is_list(item, "a regular expression", faults);
    if (ok && !list)
        ok = subject_add(profile, one.type, item, faults);
    for (size_t i = 0; ok && list && i < item->count; i++)
        ok = subject_add(profile, one.type, item->items[i], faults);
    subject_clear(&one);
    return ok;
}

bool cfg_read_subject(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    struct cfg_profile *profile = field;
    bool ok = true;
    if (node->kind != CFG_NODE_MAP || !node->count || node->count > SUBJECT_MAX) {
        cfg_fault(faults, node, "%s; expected 1 to %d attribute types with a pattern each",
                  node->kind != CFG_NODE_MAP ? "is no map"
                  : node->count              ? "holds too much"
                                             : "holds nothing",
                  SUBJECT_MAX);
        return false;
    }
    profile->subject = mem_zalloc(SUBJECT_MAX * sizeof *profile->subject);
    for (size_t i = 0; i < node->count; i++)
        ok = subject_read(profile, node->items[i], faults) && ok;
    return ok;
}

void cfg_read_subject_clear(void *field)
{
    struct cfg_profile *profile = field;
    for (size_t i = 0; i < profile->subject_count; i++)
        subject_clear(&profile->subject[i]);
    free(profile->subject);
    profile->subject = NULL;
    profile->subject_count = 0;
}

bool cfg_read_der(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    static const char form[] = "DER in hexadecimal, such as \"03020388\"";
    struct buf *value = field;
    *value = BUF_INIT(DER_VALUE_MAX);
    bool ok = node->kind == CFG_NODE_SCALAR && text_unhex(bytes_str(node->text), value) &&
              value->len && der_check(buf_bytes(value), DER_DEPTH_MAX, DER_VALUE_MAX);
    if (!ok && node->kind != CFG_NODE_BAD)
        cfg_fault(faults, node, "is not one DER value; expected %s", form);
    return ok;
}

void cfg_read_der_clear(void *field)
{
    buf_free(field);
}

/* "a or b", "a, b or c". */
static void words_form(const char *const *words, char *form, size_t room)
{
    for (size_t w = 0, len = 0; words[w] && len < room; w++) {
        const char *between = w == 0 ? "" : words[w + 1] ? ", " : " or ";
        len += (size_t)snprintf(form + len, room - len, "%s%s", between, words[w]);
    }
}

/* A list of words, each once: flags[i] says that words[i] is in it; the words end with NULL. */
static bool words_read(const struct cfg_node *node, const char *const *words, bool *flags,
                       struct cfg_faults *faults)
{
    char form[64];
    bool ok = true;
    words_form(words, form, sizeof form);
    if (!cfg_is_list(node, form, faults))
        return false;
    for (size_t i = 0; i < node->count; i++) {
        const char *text = cfg_item_text(node, i, form, faults);
        size_t w = 0;
        while (text && words[w] && strcmp(text, words[w]) != 0)
            w++;
        if (text && !words[w])
            cfg_fault_value(faults, node->items[i], "is unknown", form);
        else if (text && flags[w])
            cfg_fault_value(faults, node->items[i], "occurs twice", NULL);
        else if (text)
            flags[w] = true;
        ok = ok && text && words[w];
    }
    return ok;
}

bool cfg_read_kinds(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    static const char *const words[CFG_CHALLENGE_KIND_COUNT + 1] = {
        [CFG_CHALLENGE_FIXED] = "fixed", [CFG_CHALLENGE_ONE_TIME] = "one-time"};
    struct cfg_challenge *challenge = field;
    return words_read(node, words, challenge->kinds, faults);
}

bool cfg_read_told(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    static const char *const words[CFG_TOLD_COUNT + 1] = {
        [CFG_TOLD_RA] = "ra",         [CFG_TOLD_ENCRYPTION] = "encryption",
        [CFG_TOLD_ISSUER] = "issuer", [CFG_TOLD_INTERMEDIATES] = "intermediates",
        [CFG_TOLD_ROOT] = "root",
    };
    struct cfg_told *told = field;
    bool flags[CFG_TOLD_COUNT] = {false};
    if (!words_read(node, words, flags, faults))
        return false;
    for (size_t i = 0; i < node->count && told->count < CFG_TOLD_COUNT; i++)
        for (unsigned w = 0; w < CFG_TOLD_COUNT; w++)
            if (strcmp(node->items[i]->text, words[w]) == 0)
                told->order[told->count++] = (enum cfg_told_cert)w;
    if (!flags[CFG_TOLD_RA])
        cfg_fault(faults, node, "leaves out ra; expected it, since devices verify replies by it");
    return flags[CFG_TOLD_RA];
}

bool cfg_read_lenient(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    static const char *const words[CFG_LENIENT_COUNT + 1] = {
        [CFG_LENIENT_DER] = "der",
        [CFG_LENIENT_PEM] = "pem",
        [CFG_LENIENT_NO_TYPE] = "no-media-type",
    };
    struct cfg_est *est = field;
    bool flags[CFG_LENIENT_COUNT] = {false};
    bool none = node->kind == CFG_NODE_SCALAR && strcmp(node->text, "none") == 0;
    bool ok = none || words_read(node, words, flags, faults);
    for (unsigned i = 0; i < CFG_LENIENT_COUNT; i++)
        est->strict[i] = !flags[i];
    return ok;
}

bool cfg_read_auth(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    static const char *const words[] = {"certificate", "basic", "digest", NULL};
    struct cfg_est *est = field;
    bool flags[3] = {false, false, false};
    bool ok = words_read(node, words, flags, faults);
    est->auth_certificate = ok && flags[0];
    est->auth_basic = ok && flags[1];
    est->auth_digest = ok && flags[2];
    return ok;
}
