#include "config/read.h"

#include <arpa/inet.h>
#include <openssl/objects.h>
#include <stdlib.h>
#include <string.h>

#define OID_MAX 128
#define DNS_MAX 253
#define WEB_MAX 1024
#define GLOB_MAX 1024
#define PATH_MAX_LEN 256
#define LABEL_MAX 64
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

struct named_oid {
    const char *name, *oid;
};

/* Extended key usages by their usual names. */
static const struct named_oid ekus[] = {
    {"serverAuth", "1.3.6.1.5.5.7.3.1"},
    {"clientAuth", "1.3.6.1.5.5.7.3.2"},
    {"codeSigning", "1.3.6.1.5.5.7.3.3"},
    {"emailProtection", "1.3.6.1.5.5.7.3.4"},
    {"ipsecEndSystem", "1.3.6.1.5.5.7.3.5"},
    {"ipsecTunnel", "1.3.6.1.5.5.7.3.6"},
    {"ipsecUser", "1.3.6.1.5.5.7.3.7"},
    {"timeStamping", "1.3.6.1.5.5.7.3.8"},
    {"ipsecIKE", "1.3.6.1.5.5.7.3.17"},
    {"ikeIntermediate", "1.3.6.1.5.5.8.2.2"},
    {"msSmartcardLogin", "1.3.6.1.4.1.311.20.2.2"},
};

/* Who holds one of these speaks for a CA or for anything. */
static const struct named_oid ekus_refused[] = {
    {"anyExtendedKeyUsage", "2.5.29.37.0"}, {"OCSPSigning", "1.3.6.1.5.5.7.3.9"},
    {"cmcCA", "1.3.6.1.5.5.7.3.27"},        {"cmcRA", "1.3.6.1.5.5.7.3.28"},
    {"cmcArchive", "1.3.6.1.5.5.7.3.29"},
};

/* Extensions that decide what a certificate is good for or who it is: never ignored. */
static const char *const extensions_refused[] = {
    "2.5.29.15",             /* keyUsage */
    "2.5.29.17",             /* subjectAltName */
    "2.5.29.18",             /* issuerAltName */
    "2.5.29.19",             /* basicConstraints */
    "2.5.29.30",             /* nameConstraints */
    "2.5.29.33",             /* policyMappings */
    "2.5.29.36",             /* policyConstraints */
    "2.5.29.37",             /* extKeyUsage */
    "2.5.29.54",             /* inhibitAnyPolicy */
    "1.3.6.1.5.5.7.1.14",    /* proxyCertInfo */
    "1.3.6.1.5.5.7.7.36",    /* ChangeSubjectName: renewal.change_names decides */
    "1.3.6.1.4.1.311.21.10", /* Microsoft's application policies: its EKU */
    "1.3.6.1.4.1.311.25.2",  /* Microsoft's SID: names an account */
};

/* Dotted form of a dotted or, with names, a named OID; NULL if it is none. */
static char *dotted(const char *text, bool names)
{
    char out[OID_MAX];
    ASN1_OBJECT *object = OBJ_txt2obj(text, !names);
    int len = object ? OBJ_obj2txt(out, sizeof out, object, 1) : 0;
    ASN1_OBJECT_free(object);
    return len > 0 && len < (int)sizeof out ? mem_strdup(out) : NULL;
}

const char *cfg_check_eku(const char *text, char **stored)
{
    char *oid = dotted(text, false);
    for (size_t i = 0; i < COUNT(ekus) && !oid; i++) {
        if (strcmp(text, ekus[i].name) == 0)
            oid = mem_strdup(ekus[i].oid);
    }
    for (size_t i = 0; i < COUNT(ekus_refused); i++) {
        if (strcmp(oid ? oid : text, oid ? ekus_refused[i].oid : ekus_refused[i].name) == 0) {
            free(oid);
            return "is never allowed, it gives power over other certificates";
        }
    }
    *stored = oid;
    return oid ? NULL : "is no extended key usage";
}

const char *cfg_check_extension(const char *text, char **stored)
{
    char *oid = dotted(text, true);
    if (!oid)
        return "is no extension";
    for (size_t i = 0; i < COUNT(extensions_refused); i++) {
        if (strcmp(oid, extensions_refused[i]) == 0) {
            free(oid);
            return "is never ignored, it decides what the certificate is good for";
        }
    }
    *stored = oid;
    return NULL;
}

/* What decides over the certificate is not asked for, but for what the profile judges. */
const char *cfg_check_asked(const char *text, char **stored)
{
    static const char *const judged[] = {"2.5.29.15", "2.5.29.17", "2.5.29.37"};
    char *oid = dotted(text, true);
    for (size_t i = 0; i < COUNT(judged) && oid; i++) {
        if (strcmp(oid, judged[i]) == 0) {
            *stored = oid;
            return NULL;
        }
    }
    const char *wrong = cfg_check_extension(text, stored);
    free(oid);
    return wrong && oid ? "is never asked for, it decides what the certificate is good for" : wrong;
}

const char *cfg_check_oid(const char *text, char **stored)
{
    *stored = dotted(text, true);
    return *stored ? NULL : "is no object identifier";
}

static bool only(const char *text, const char *characters, size_t max)
{
    size_t len = strlen(text);
    return len > 0 && len <= max && strspn(text, characters) == len;
}

const char *cfg_check_dns(const char *text, char **stored)
{
    (void)stored;
    bool fine = only(text, LETTERS "*._-", DNS_MAX) && text[0] != '.' && !strstr(text, "..");
    return fine ? NULL : "is no DNS name or glob";
}

const char *cfg_check_host(const char *text, char **stored)
{
    return strchr(text, '*') || cfg_check_dns(text, stored) ? "is no DNS name" : NULL;
}

const char *cfg_check_glob(const char *text, char **stored)
{
    (void)stored;
    size_t len = strlen(text);
    bool fine = len > 0 && len <= GLOB_MAX;
    for (size_t i = 0; i < len; i++)
        fine = fine && text[i] > 0x20 && text[i] < 0x7f;
    return fine ? NULL : "is no glob of printable ASCII without spaces";
}

const char *cfg_check_web(const char *text, char **stored)
{
    (void)stored;
    size_t len = strlen(text);
    size_t scheme = strncmp(text, "https://", 8) == 0  ? 8
                    : strncmp(text, "http://", 7) == 0 ? 7
                                                       : 0;
    bool fine = scheme && len <= WEB_MAX && text[scheme] && text[scheme] != '/';
    for (size_t i = 0; i < len; i++)
        fine = fine && text[i] > 0x20 && text[i] < 0x7f && !strchr("\"<>\\^`{|}#", text[i]);
    const char *end = fine ? strpbrk(text + scheme, "/?") : NULL;
    size_t authority = fine && end ? (size_t)(end - text) : len;
    fine = fine && !memchr(text, '@', authority); /* a password would be in a log */
    return fine ? NULL : "is no http or https URL";
}

const char *cfg_check_web_under(const char *text, char **stored)
{
    const char *wrong = cfg_check_web(text, stored);
    size_t len = strlen(text);
    bool whole = wrong || (text[len - 1] == '/' && !strpbrk(text, "?%") && !strstr(text, "/."));
    return whole ? wrong : "does not name a folder";
}

/* Whether all bits behind the prefix are zero. */
static bool host_bits_zero(const uint8_t *address, size_t octets, unsigned long prefix)
{
    for (size_t bit = prefix; bit < octets * 8; bit++) {
        if (address[bit / 8] >> (7 - bit % 8) & 1)
            return false;
    }
    return true;
}

const char *cfg_check_ip(const char *text, char **stored)
{
    (void)stored;
    static const char wrong[] = "is no IP address or network";
    uint8_t address[sizeof(struct in6_addr)];
    char host[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof host)
        return wrong;
    memcpy(host, text, len);
    host[len] = 0;
    bool six = strchr(host, ':');
    size_t octets = six ? 16 : 4;
    if (inet_pton(six ? AF_INET6 : AF_INET, host, address) != 1)
        return wrong;
    if (!slash)
        return NULL;
    if (!only(slash + 1, "0123456789", 3))
        return wrong;
    unsigned long prefix = strtoul(slash + 1, NULL, 10);
    if (prefix > octets * 8)
        return wrong;
    return host_bits_zero(address, octets, prefix) ? NULL : "has bits behind its prefix";
}

static bool path_below(const char *text, const char *top)
{
    size_t len = strlen(top);
    return strncmp(text, top, len) == 0 && (text[len] == 0 || text[len] == '/');
}

const char *cfg_check_path(const char *text, char **stored)
{
    (void)stored;
    size_t len = strlen(text);
    if (text[0] != '/' || len < 2 || text[len - 1] == '/' || strstr(text, "//") ||
        !only(text, LETTERS "/._~-", PATH_MAX_LEN) || strstr(text, "/./") || strstr(text, "/.."))
        return "is no path";
    if (path_below(text, "/.well-known/est"))
        return "is the path of EST";
    return NULL;
}

const char *cfg_check_realm(const char *text, char **stored)
{
    (void)stored;
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] > 0x7e || strchr("\"\\:", text[i]))
            return "is no realm";
    return len && len <= LABEL_MAX ? NULL : "is no realm";
}

const char *cfg_check_label(const char *text, char **stored)
{
    /* RFC 7030 section 3.2.2: an operation's name cannot be a label. The last six are of RFC 8295
     * and not served. */
    static const char *const operations[] = {
        "cacerts",      "simpleenroll", "simplereenroll", "fullcmc", "serverkeygen",  "csrattrs",
        "renewal-info", "pal",          "eecerts",        "crls",    "symmetrickeys", "firmware",
        "tamp"};
    (void)stored;
    for (size_t i = 0; i < COUNT(operations); i++) {
        if (strcmp(text, operations[i]) == 0)
            return "is the name of an operation";
    }
    if (!*text)
        return NULL;
    bool dots = strcmp(text, ".") == 0 || strcmp(text, "..") == 0;
    return only(text, LETTERS "._~-", LABEL_MAX) && !dots ? NULL : "is no label";
}
