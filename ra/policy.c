#include "ra/policy.h"

#include "base/text.h"
#include "base/weak.h"
#include "ra/keygen.h"
#include "ra/policy_ext.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SID_URI "tag:microsoft.com,2022-09-14:sid:"
#define RSA_DEFAULT_MIN 2048
#define RSA_DEFAULT_MAX 4096
#define CONTENT_MAX ((size_t)32 << 10) /* with a key and a signature, well within CERT_MAX */

static bool listed(const struct cfg_strings *list, const char *word)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], word) == 0)
            return true;
    return false;
}

static bool ec_allowed(const struct cfg_keys *keys, const char *curve)
{
    if (!keys->any)
        return listed(&keys->ec, curve);
    return strcmp(curve, "P-256") == 0 || strcmp(curve, "P-384") == 0 ||
           strcmp(curve, "P-521") == 0;
}

static void judge_key(const struct cfg_keys *keys, const struct spki *spki,
                      struct policy_result *result)
{
    int64_t min = keys->any ? RSA_DEFAULT_MIN : keys->rsa_min;
    int64_t max = keys->any ? RSA_DEFAULT_MAX : keys->rsa_max;
    struct err err;
    switch (spki->kind) {
    case SPKI_RSA:
        if (spki->bits < min || spki->bits > max)
            policy_refuse(result, RA_BAD_KEY, "an RSA key of %d bits is not allowed", spki->bits);
        else if (!weak_check(spki, &err))
            policy_refuse(result, RA_BAD_KEY, "%s", err.text);
        break;
    case SPKI_EC:
        if (!ec_allowed(keys, spki->curve))
            policy_refuse(result, RA_BAD_KEY, "an EC key on %s is not allowed", spki->curve);
        break;
    default:
        if (spki->kind != SPKI_ED25519 || !keys->ed25519)
            policy_refuse(result, RA_BAD_KEY, "a key of kind %s is not allowed",
                          spki_kind_name(spki->kind));
    }
    if (result->verdict != POLICY_REFUSE && blocklist_holds(keys->blocklist, spki))
        policy_refuse(result, RA_BAD_KEY, "a key whose private key is known: it is in blocklist");
}

static bool fits(const struct cfg_subject *rule, const struct name_attr *attr)
{
    return strcmp(rule->type, attr->type) == 0 &&
           regexec(&rule->regex, attr->value, 0, NULL, 0) == 0;
}

/* A rule that the attribute fits; else the last of its type, if there is one. */
static const struct cfg_subject *subject_rule(const struct cfg_profile *profile,
                                              const struct name_attr *attr)
{
    const struct cfg_subject *last = NULL;
    for (size_t i = 0; i < profile->subject_count; i++) {
        const struct cfg_subject *rule = &profile->subject[i];
        if (fits(rule, attr))
            return rule;
        if (strcmp(rule->type, attr->type) == 0)
            last = rule;
    }
    return last;
}

static bool rule_is_met(const struct cfg_subject *rule, const struct names *names)
{
    for (size_t i = 0; i < names->attr_count; i++)
        if (fits(rule, &names->attrs[i]))
            return true;
    return false;
}

/* Each attribute that the CSR has must be listed and match; each that is listed must be there. */
static void judge_subject(const struct cfg_profile *profile, const struct names *names,
                          struct policy_result *result)
{
    if (!names->attr_count && !names->san_count)
        policy_refuse(result, RA_BAD_NAMES, "neither a subject nor a SAN");
    if (!profile->subject)
        return;
    for (size_t i = 0; i < names->attr_count; i++) {
        const struct name_attr *attr = &names->attrs[i];
        const struct cfg_subject *rule = subject_rule(profile, attr);
        if (!rule)
            policy_refuse(result, RA_BAD_NAMES, "subject attribute %s is not allowed", attr->type);
        else if (!fits(rule, attr))
            policy_refuse(result, RA_BAD_NAMES, "subject attribute %s=\"%.100s\" does not match %s",
                          attr->type, attr->value, rule->pattern);
    }
    for (size_t i = 0; i < profile->subject_count && result->verdict != POLICY_REFUSE; i++)
        if (!rule_is_met(&profile->subject[i], names))
            policy_refuse(result, RA_BAD_NAMES, "subject attribute %s is missing, matching %s",
                          profile->subject[i].type, profile->subject[i].pattern);
}

static bool glob_any(const struct cfg_strings *globs, const char *name)
{
    for (size_t i = 0; i < globs->count; i++)
        if (text_glob(globs->items[i], name))
            return true;
    return false;
}

/* Octets of an address; 0 if it is none. */
static size_t parse_ip(const char *text, uint8_t out[16])
{
    if (inet_pton(AF_INET, text, out) == 1)
        return 4;
    return inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

/* range: "10.0.0.0/8" or one address; its form has been checked when it was loaded. */
static bool ip_within(const char *range, const char *address)
{
    uint8_t net[16], ip[16];
    char text[64];
    snprintf(text, sizeof text, "%s", range);
    char *slash = strchr(text, '/');
    if (slash)
        *slash++ = 0;
    size_t len = parse_ip(text, net);
    if (!len || parse_ip(address, ip) != len)
        return false;
    unsigned long bits = slash ? strtoul(slash, NULL, 10) : 8 * len;
    if (bits > 8 * len)
        return false;
    if (memcmp(net, ip, bits / 8) != 0)
        return false;
    return bits % 8 == 0 || (net[bits / 8] ^ ip[bits / 8]) >> (8 - bits % 8) == 0;
}

static bool ip_any(const struct cfg_strings *ranges, const char *address)
{
    for (size_t i = 0; i < ranges->count; i++)
        if (ip_within(ranges->items[i], address))
            return true;
    return false;
}

static bool san_allowed(const struct cfg_san *rules, const struct san *san)
{
    switch (san->kind) {
    case SAN_DNS: /* a star in a rule allows names, never the wildcard certificate of that name */
        return !strchr(san->text, '*') && glob_any(&rules->dns, san->text);
    case SAN_IP:
        return ip_any(&rules->ip, san->text);
    case SAN_EMAIL:
        return glob_any(&rules->email, san->text);
    case SAN_URI: /* a SID in a URI is an account in Active Directory: never */
        return strncasecmp(san->text, SID_URI, strlen(SID_URI)) != 0 &&
               glob_any(&rules->uri, san->text);
    default:
        return false;
    }
}

static void judge_sans(const struct cfg_profile *profile, const struct names *names,
                       struct policy_result *result)
{
    if (!names->san_count)
        return;
    if (!profile->san_given) {
        policy_refuse(result, RA_BAD_NAMES, "a SAN, and the profile allows none");
        return;
    }
    if (names->san_count > (size_t)profile->san.max)
        policy_refuse(result, RA_BAD_NAMES, "%zu SANs, at most %lld are allowed", names->san_count,
                      (long long)profile->san.max);
    for (size_t i = 0; i < names->san_count; i++)
        if (!san_allowed(&profile->san, &names->sans[i]))
            policy_refuse(result, RA_BAD_NAMES, "SAN %s:%.100s is not allowed",
                          names_san_kind_name(names->sans[i].kind), names->sans[i].text);
}

/* Names and extensions stand in the certificate as they do in the CSR. */
static void judge_size(const struct csr *csr, struct policy_result *result)
{
    const STACK_OF(X509_EXTENSION) *list = csr_extensions_get(csr);
    size_t size = csr_wanted_get(csr)->subject.len;
    for (int i = 0; i < sk_X509_EXTENSION_num(list); i++)
        size +=
            (size_t)ASN1_STRING_length(X509_EXTENSION_get_data(sk_X509_EXTENSION_value(list, i)));
    if (size > CONTENT_MAX)
        policy_refuse(result, RA_BAD_EXTENSION,
                      "subject and extensions of %zu octets, at most %zu are allowed", size,
                      CONTENT_MAX);
}

static void judge_content(const struct cfg_profile *profile, const struct csr *csr,
                          struct policy_result *ret)
{
    const struct names *names = csr_wanted_get(csr);
    if (ret->verdict != POLICY_REFUSE)
        judge_size(csr, ret);
    if (ret->verdict != POLICY_REFUSE)
        judge_subject(profile, names, ret);
    if (ret->verdict != POLICY_REFUSE)
        judge_sans(profile, names, ret);
    if (ret->verdict != POLICY_REFUSE)
        policy_judge_extensions(profile, csr, ret);
}

void policy_judge(const struct cfg_profile *profile, const struct csr *csr,
                  struct policy_result *ret)
{
    *ret = (struct policy_result){.verdict = POLICY_ALLOW};
    judge_key(&profile->keys, csr_spki_get(csr), ret);
    judge_content(profile, csr, ret);
    if (ret->verdict != POLICY_REFUSE)
        policy_judge_attributes(profile, csr, ret);
}

void policy_judge_wish(const struct cfg_profile *profile, const struct csr *csr,
                       struct policy_result *ret)
{
    struct keygen_plan plan;
    struct err err;
    *ret = (struct policy_result){.verdict = POLICY_ALLOW};
    if (!keygen_plan(&profile->keys, csr_spki_get(csr), &plan, &err))
        policy_refuse(ret, RA_BAD_KEY, "%s", err.text);
    else if (csr_change_has(csr)) /* it would go no further either */
        policy_refuse(ret, RA_NAMES_CHANGED, "ChangeSubjectName where a key is made");
    judge_content(profile, csr, ret);
}

bool policy_route(const struct cfg_profile *profile, const struct csr *csr, const char *label,
                  size_t *ret)
{
    for (size_t i = 0; i < profile->route_count; i++) {
        const struct cfg_route *route = &profile->routes[i];
        if (route->match_key && route->key != csr_spki_get(csr)->kind)
            continue;
        if (route->label && (!label || strcmp(route->label, label) != 0))
            continue;
        *ret = i;
        return true;
    }
    return false;
}
