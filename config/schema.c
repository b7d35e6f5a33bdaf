#include "config/schema.h"

#include "base/names.h"
#include "config/config.h"
#include "config/file.h"
#include "config/judge.h"
#include "config/read.h"

#include <stddef.h>

#define MINUTE INT64_C(60)
#define DAY INT64_C(86400)

/* In the order of enum spki_kind. */
static const char *const key_kinds[] = {
    [SPKI_RSA] = "rsa", [SPKI_EC] = "ec", [SPKI_ED25519] = "ed25519", NULL};

static const struct cfg_key match_keys[] = {
    {.name = "key",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_route, key),
     .words = key_kinds,
     .meaning = "Requests for a key of this kind."},
    {.name = "label",
     .type = CFG_STRING,
     .offset = offsetof(struct cfg_route, label),
     .meaning = "Requests that came by this EST label.",
     .form = "one of the profile's est.labels",
     .check = cfg_check_label},
    {0},
};

static const struct cfg_key route_keys[] = {
    {.name = "match",
     .type = CFG_SECTION,
     .offset = 0,
     .sub = match_keys,
     .meaning = "Which requests go this way; everything if it is left out.",
     .judge = cfg_judge_match},
    {.name = "upstream",
     .type = CFG_CUSTOM,
     .offset = 0,
     .required = true,
     .meaning = "The upstream CA that is asked; of a list, the first that is not failing or full.",
     .form = "the name of an upstream, or a list of names",
     .json = "{\"oneOf\": [{\"type\": \"string\"}, {\"type\": \"array\", \"minItems\": 1, "
             "\"items\": {\"type\": \"string\"}}]}"},
    {0},
};

static const char *const curves[] = {"P-256", "P-384", "P-521", NULL};

/* In the order of enum cfg_reuse. */
static const char *const reuse_words[] = {
    [CFG_REUSE_ALLOW] = "allow", [CFG_REUSE_REFUSE] = "refuse", NULL};

static const struct cfg_key keys_keys[] = {
    {.name = "rsa",
     .type = CFG_CUSTOM,
     .offset = 0,
     .meaning = "Sizes of RSA keys; left out: no RSA keys.",
     .form = "bits such as 2048-4096 or 3072, from 2048 to 8192",
     .json = "{\"oneOf\": [{\"type\": \"integer\", \"minimum\": 2048, \"maximum\": 8192}, "
             "{\"type\": \"string\", \"pattern\": \"^[0-9]+(-[0-9]+)?$\"}]}",
     .read = cfg_read_rsa},
    {.name = "ec",
     .type = CFG_STRINGS,
     .offset = offsetof(struct cfg_keys, ec),
     .min = 1,
     .words = curves,
     .meaning = "Curves of EC keys; left out: no EC keys."},
    {.name = "ed25519",
     .type = CFG_BOOL,
     .offset = offsetof(struct cfg_keys, ed25519),
     .def = "false",
     .meaning = "Whether Ed25519 keys are allowed."},
    {.name = "blocklist",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_keys, blocklist),
     .meaning = "Keys that are refused because their private keys are known, such as Debian's of "
                "2006 to 2008 (CVE-2008-0166): a line a key, 20 digits as in Debian's package "
                "openssl-blacklist, or the SHA-256 of the SubjectPublicKeyInfo.",
     .form = "a list of files with 20 or 64 hexadecimal digits a line",
     .json = "{\"type\": \"array\", \"minItems\": 1, \"items\": {\"type\": \"string\"}}",
     .read = cfg_file_blocklists,
     .clear = cfg_file_blocklists_clear},
    {.name = "reuse",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_keys, reuse),
     .words = reuse_words,
     .def = "allow",
     .meaning = "Whether a key may be used for other names than those it was used for before, in "
                "whatever profile; it is recorded either way."},
    {0},
};

static const struct cfg_key san_keys[] = {
    {.name = "dns",
     .type = CFG_STRINGS,
     .offset = offsetof(struct cfg_san, dns),
     .meaning = "DNS names that are allowed.",
     .form = "a name, in which * stands for characters other than . @ : /, or * for any",
     .check = cfg_check_dns},
    {.name = "ip",
     .type = CFG_STRINGS,
     .offset = offsetof(struct cfg_san, ip),
     .meaning = "IP addresses that are allowed.",
     .form = "an address or a network such as 10.0.0.0/8 or 2001:db8::/32",
     .check = cfg_check_ip},
    {.name = "email",
     .type = CFG_STRINGS,
     .offset = offsetof(struct cfg_san, email),
     .meaning = "Mail addresses that are allowed.",
     .form = "an address, in which * stands for characters other than . @ : /, or * for any",
     .check = cfg_check_glob},
    {.name = "uri",
     .type = CFG_STRINGS,
     .offset = offsetof(struct cfg_san, uri),
     .meaning = "URIs that are allowed.",
     .form = "a URI, in which * stands for characters other than . @ : /, or * for any",
     .check = cfg_check_glob},
    {.name = "max",
     .type = CFG_INT,
     .offset = offsetof(struct cfg_san, max),
     .min = 1,
     .max = NAMES_SAN_MAX,
     .def = "8",
     .meaning = "The most names of all kinds that one request may hold."},
    {0},
};

static const struct cfg_key challenge_keys[] = {
    {.name = "kinds",
     .type = CFG_CUSTOM,
     .offset = 0,
     .required = true,
     .meaning = "Which challenges prove that a device may enroll: one of fixed_file, or one that "
                "was made for this device.",
     .form = "a list of fixed, one-time",
     .json = JSON_WORDS("fixed", "one-time"),
     .read = cfg_read_kinds},
    {.name = "fixed_file",
     .type = CFG_CUSTOM,
     .offset = 0,
     .meaning = "The fixed challenges, at most 16, each of at least 12 characters; several overlap "
                "during a change. They also close the envelopes of SCEP devices without an RSA "
                "key, so they should be random. Required if kinds has fixed.",
     .form = "a file with one secret a line, of mode 0600 or 0400, or 0640 if it is root's",
     .json = JSON_FILE,
     .read = cfg_file_secrets,
     .clear = cfg_file_secrets_clear},
    {.name = "ttl",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_challenge, ttl),
     .min = 1,
     .max = CFG_CHALLENGE_TTL_MAX,
     .def = "1h",
     .meaning = "How long a one-time challenge lives."},
    {.name = "uses",
     .type = CFG_INT,
     .offset = offsetof(struct cfg_challenge, uses),
     .min = 1,
     .max = CFG_CHALLENGE_USES_MAX,
     .def = "1",
     .meaning = "How many devices may enroll with a one-time challenge."},
    {.name = "mismatches",
     .type = CFG_INT,
     .offset = offsetof(struct cfg_challenge, mismatches),
     .min = 0,
     .max = 1000,
     .def = "5",
     .meaning = "A one-time challenge that is for names is spent once it has come with so many "
                "others, since whoever tries names has stolen it; the same ones count once, so "
                "that a device may repeat itself. 0: never."},
    {0},
};

static const struct cfg_key quota_keys[] = {
    {.name = "per_device",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_profile, quota_device),
     .required = true,
     .meaning = "Certificates that one device, which is one subject with its SANs, may ask for in "
                "any such time; renewals count, repetitions of a request do not.",
     .form = "a rate such as 5/day",
     .json = CFG_JSON_RATE,
     .read = cfg_read_rate},
    {0},
};

/* In the order of enum cfg_same_key. */
static const char *const same_key_words[] = {
    [CFG_SAME_KEY_ALLOW] = "allow", [CFG_SAME_KEY_REFUSE] = "refuse", NULL};

/* In the order of enum cfg_change. */
static const char *const change_words[] = {
    [CFG_CHANGE_REFUSE] = "refuse", [CFG_CHANGE_ALLOW] = "allow", NULL};

static const struct cfg_key renewal_keys[] = {
    {.name = "window",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_renewal, window),
     .max = 3650 * DAY,
     .def = "0d",
     .meaning = "How long before its end a certificate may be renewed; 0d: at any time. The CA of "
                "scep.next gives each device one certificate before that."},
    {.name = "grace_after_expiry",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_renewal, grace_after_expiry),
     .max = 3650 * DAY,
     .def = "0d",
     .meaning = "How long after its end it may still be renewed."},
    {.name = "same_key",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_renewal, same_key),
     .def = "allow",
     .words = same_key_words,
     .meaning = "Whether a renewal may keep the key."},
    {.name = "change_names",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_renewal, change_names),
     .def = "refuse",
     .words = change_words,
     .meaning = "Whether a renewal may ask for other names by ChangeSubjectName (RFC 6402); they "
                "are judged like any. A local CA only: others issue for the names in the CSR."},
    {0},
};

static const char *const quorum_words[] = {"0", NULL};

static const struct cfg_key approval_keys[] = {
    {.name = "quorum",
     .type = CFG_ENUM,
     .offset = CFG_NO_FIELD,
     .words = quorum_words,
     .def = "0",
     .meaning = "How many operators must approve a request; approval is not available yet."},
    {0},
};

static const struct cfg_key owner_keys[] = {
    {.name = "contact",
     .type = CFG_STRING,
     .offset = offsetof(struct cfg_profile, owner_contact),
     .meaning = "Who answers for this profile."},
    {.name = "technical",
     .type = CFG_STRING,
     .offset = offsetof(struct cfg_profile, owner_technical),
     .meaning = "Who runs it."},
    {0},
};

static const char *const revoke_words[] = {
    [CFG_REVOKE_LOCAL] = "local", [CFG_REVOKE_UPSTREAM] = "upstream", NULL};

static const struct cfg_key profile_keys[] = {
    {.name = "routes",
     .type = CFG_LIST,
     .offset = offsetof(struct cfg_profile, routes),
     .required = true,
     .min = 1,
     .sub = route_keys,
     .meaning = "Which upstream CA is asked: the first route that matches. The last one matches "
                "everything.",
     .count_offset = offsetof(struct cfg_profile, route_count),
     .item_size = sizeof(struct cfg_route)},
    {.name = "migrate_to",
     .type = CFG_CUSTOM,
     .offset = 0,
     .meaning = "The upstream CA that renewals go to; left out: the one that issued.",
     .form = "the name of an upstream",
     .json = "{\"type\": \"string\"}"},
    {.name = "revoke",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_profile, revoke),
     .words = revoke_words,
     .def = "local",
     .meaning =
         "What has to hear of a revocation: local, the inventory, after which a certificate "
         "renews no more, and the CA if it can be told; upstream, the CA as well, so only CAs "
         "that can be told may be asked."},
    {.name = "trust",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct cfg_profile, trust_certs),
     .required = true,
     .min = 1,
     .meaning =
         "What an issued certificate must chain to, and what a renewing device may present."},
    {.name = "anchors",
     .type = CFG_LIST,
     .offset = offsetof(struct cfg_profile, anchors),
     .sub = cfg_anchor_keys,
     .meaning = "Whose certificates count though the gateway did not issue them; left out: "
                "nobody's. What it did issue for the profile counts without.",
     .count_offset = offsetof(struct cfg_profile, anchor_count),
     .item_size = sizeof(struct cfg_anchor),
     .judge = cfg_judge_anchor},
    {.name = "registrars",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct cfg_profile, registrars),
     .meaning = "Certificates of other RAs, such as a gateway in front of this one: whoever holds "
                "the key of one of them enrolls devices without a challenge. Exactly these "
                "certificates, not what they issue."},
    {.name = "cmc_ra",
     .type = CFG_BOOL,
     .offset = offsetof(struct cfg_profile, cmc_ra),
     .meaning = "Whether a certificate with the usages clientAuth and id-kp-cmcRA (RFC 7030 "
                "section 3.7) that chains to an explicit anchor is a registrar's as well. One that "
                "the gateway handed out never is."},
    {.name = "keys",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg_profile, keys),
     .sub = keys_keys,
     .meaning = "Which keys are allowed; without rsa, ec and ed25519: RSA of 2048 to 4096 bits, "
                "P-256, P-384, P-521.",
     .judge = cfg_judge_keys},
    {.name = "subject",
     .type = CFG_CUSTOM,
     .offset = 0,
     .meaning = "What a subject holds: each of these attribute types and no other, every value "
                "matching its pattern whole (POSIX extended); of a list of patterns, every value "
                "one of them, and each of them a value. Left out: any subject.",
     .form = "a map of attribute types (CN, O, ..., or a dotted OID) to a regular expression or a "
             "list of them",
     .json = "{\"type\": \"object\", \"minProperties\": 1, "
             "\"additionalProperties\": {\"type\": [\"string\", \"number\", \"array\"], "
             "\"items\": {\"type\": [\"string\", \"number\"]}}}",
     .read = cfg_read_subject,
     .clear = cfg_read_subject_clear},
    {.name = "san",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg_profile, san),
     .sub = san_keys,
     .meaning = "Which subjectAltNames are allowed; left out: none."},
    {.name = "eku",
     .type = CFG_STRINGS,
     .offset = offsetof(struct cfg_profile, eku),
     .min = 1,
     .def = "[clientAuth]",
     .meaning = "Extended key usages that are allowed, and that a CA under our command issues.",
     .form = "clientAuth, serverAuth, ikeIntermediate or another usage, or a dotted OID",
     .check = cfg_check_eku},
    {.name = "ignore_extensions",
     .type = CFG_STRINGS,
     .offset = offsetof(struct cfg_profile, ignore_extensions),
     .meaning = "Requested extensions, and attributes of the request, that are passed over; any "
                "other that is not judged is refused.",
     .form = "a dotted OID or OpenSSL's name of a harmless extension",
     .check = cfg_check_extension},
    {.name = "validity",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_profile, validity),
     .min = 1,
     .max = 36500 * DAY,
     .meaning = "The longest life of a certificate; left out: as the upstream CA has it."},
    {.name = "retry_window",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_profile, retry_window),
     .min = MINUTE,
     .max = 30 * DAY,
     .def = "24h",
     .meaning =
         "How long a repeated request gets the answer of the first. The very same SCEP message "
         "gets it at any time, and never another certificate."},
    {.name = "challenge",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg_profile, challenge),
     .sub = challenge_keys,
     .meaning = "Secrets with which new devices enroll; left out: none.",
     .judge = cfg_judge_challenge},
    {.name = "renewal",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg_profile, renewal),
     .sub = renewal_keys,
     .meaning = "When a device may renew by its certificate."},
    {.name = "rate",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_profile, rate),
     .meaning = "Requests of all devices together; beyond it they hear 503. Left out: any number.",
     .form = "a rate such as 50/s or 600/min",
     .json = CFG_JSON_RATE,
     .read = cfg_read_rate},
    {.name = "quota",
     .type = CFG_SECTION,
     .offset = 0,
     .sub = quota_keys,
     .meaning = "How much of the CA one device may use."},
    {.name = "approval",
     .type = CFG_SECTION,
     .offset = 0,
     .sub = approval_keys,
     .meaning = "Requests that wait for an operator."},
    {.name = "scep",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg_profile, scep),
     .sub = cfg_scep_keys,
     .meaning = "How the profile is reached over SCEP; left out: not at all.",
     .judge = cfg_judge_scep},
    {.name = "est",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg_profile, est),
     .sub = cfg_est_keys,
     .meaning = "How the profile is reached over EST; left out: not at all.",
     .judge = cfg_judge_est},
    {.name = "owner",
     .type = CFG_SECTION,
     .offset = 0,
     .sub = owner_keys,
     .meaning = "Whom to ask about this profile."},
    {0},
};

const struct cfg_key cfg_schema[] = {
    {.name = "listen",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg, listen),
     .required = true,
     .sub = cfg_listen_keys,
     .meaning = "Addresses and ports, at least one for SCEP or EST."},
    {.name = "tls",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg, tls),
     .sub = cfg_tls_keys,
     .meaning = "How TLS is spoken; required if anything is served by https.",
     .judge = cfg_judge_tls},
    {.name = "limits",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg, limits),
     .sub = cfg_limits_keys,
     .meaning = "Ceilings for what comes from the network."},
    {.name = "edge",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg, edge),
     .sub = cfg_edge_keys,
     .meaning = "Proxies in front of us whose word about the client counts."},
    {.name = "store",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg, store),
     .required = true,
     .meaning = "Where requests, certificates and the audit trail are kept; the folder exists.",
     .form = "sqlite:PATH",
     .json = "{\"type\": \"string\", \"pattern\": \"^sqlite:\"}",
     .read = cfg_read_store,
     .clear = cfg_read_store_clear},
    {.name = "ra",
     .type = CFG_MAP,
     .offset = offsetof(struct cfg, ras),
     .sub = cfg_ra_keys,
     .meaning = "Identities that decrypt and sign SCEP, by name.",
     .count_offset = offsetof(struct cfg, ra_count),
     .item_size = sizeof(struct cfg_identity),
     .judge = cfg_judge_ra},
    {.name = "upstreams",
     .type = CFG_CUSTOM,
     .offset = 0,
     .required = true,
     .meaning = "The CAs that issue, by name; what an entry holds depends on its type.",
     .form = "a map of names, each with a type"},
    {.name = "profiles",
     .type = CFG_MAP,
     .offset = offsetof(struct cfg, profiles),
     .required = true,
     .min = 1,
     .sub = profile_keys,
     .meaning = "Who may have which certificate, and by which doors.",
     .count_offset = offsetof(struct cfg, profile_count),
     .item_size = sizeof(struct cfg_profile),
     .judge = cfg_judge_profile},
    {0},
};
