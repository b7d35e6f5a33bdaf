#include "config/schema.h"

#include "config/config.h"
#include "config/judge.h"
#include "config/read.h"

#include <stddef.h>

/* In the order of enum cfg_scep_chain and enum cfg_scep_legacy. */
static const char *const chain_words[] = {[CFG_CHAIN_LEAF] = "leaf",
                                          [CFG_CHAIN_ISSUER] = "issuer",
                                          [CFG_CHAIN_FULL] = "full",
                                          [CFG_CHAIN_CLIENT] = "client",
                                          NULL};
static const char *const legacy_words[] = {[CFG_LEGACY_NONE] = "none",
                                           [CFG_LEGACY_DES3_SHA1] = "des3-sha1",
                                           [CFG_LEGACY_DES_MD5] = "des-md5",
                                           NULL};

static const struct cfg_key encryption_keys[] = {
    {.name = "certificate",
     .type = CFG_CERT_FILE,
     .offset = offsetof(struct cfg_pair, chain),
     .required = true,
     .meaning = "The certificate that devices encrypt to; its keyUsage holds keyEncipherment and "
                "not digitalSignature."},
    {.name = "key",
     .type = CFG_KEY_FILE,
     .offset = offsetof(struct cfg_pair, key),
     .required = true,
     .meaning = "Its private key, an RSA key."},
    {0},
};

static const struct cfg_key renew_keys[] = {
    {.name = "upstream",
     .type = CFG_CUSTOM,
     .offset = 0,
     .required = true,
     .meaning = "The upstream CA that is asked for new certificates.",
     .form = "the name of an upstream",
     .json = "{\"type\": \"string\"}"},
    {.name = "trust",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct cfg_renew, trust),
     .required = true,
     .min = 1,
     .meaning = "What a new certificate must chain to."},
    {.name = "before",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_renew, before),
     .min = 60,
     .max = INT64_C(3650) * 86400,
     .def = "30d",
     .meaning = "How long before its end."},
    {.name = "file",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_renew, file),
     .required = true,
     .meaning = "Where the renewed pair is kept, key and certificates in one file of mode 0600; "
                "written by scepter, with others beside it that begin with its name, among them "
                "that of a second pair, FILE.encryption. Of a renewed pair and the configured one, "
                "the one that began last is used and the other one decrypts.",
     .form = "the name of a file in a folder that scepter may write to",
     .json = JSON_FILE,
     .read = cfg_read_new_path,
     .clear = cfg_read_path_clear},
    {0},
};

const struct cfg_key cfg_ra_keys[] = {
    {.name = "certificate",
     .type = CFG_CERT_FILE,
     .offset = offsetof(struct cfg_identity, chain),
     .required = true,
     .meaning = "The RA's certificate, followed by its chain; its keyUsage, if it has one, holds "
                "digitalSignature and keyEncipherment. With encryption: digitalSignature and not "
                "keyEncipherment."},
    {.name = "key",
     .type = CFG_KEY_FILE,
     .offset = offsetof(struct cfg_identity, key),
     .required = true,
     .meaning = "Its private key, an RSA key."},
    {.name = "encryption",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg_identity, encryption),
     .sub = encryption_keys,
     .meaning = "A pair of its own for what devices encrypt; left out: one pair signs and "
                "decrypts.",
     .judge = cfg_judge_encryption},
    {.name = "renew",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg_identity, renew),
     .sub = renew_keys,
     .meaning = "Whether its certificates renew themselves before they end, both where it has two "
                "pairs; left out: they do not."},
    {0},
};

static const struct cfg_key next_keys[] = {
    {.name = "upstream",
     .type = CFG_CUSTOM,
     .offset = 0,
     .meaning = "The upstream CA to come: its certificates are told, and it issues what is "
                "encrypted to the next RA.",
     .form = "the name of an upstream",
     .json = "{\"type\": \"string\"}"},
    {.name = "certificates",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct cfg_next, certificates),
     .min = 1,
     .meaning = "The certificates of the CA to come, issuer of devices first, as devices are told "
                "them; left out: those of upstream."},
    {.name = "ra",
     .type = CFG_CUSTOM,
     .offset = 0,
     .meaning = "The RA to come, told before the CA's certificates; left out: the same one as "
                "now.",
     .form = "the name of an entry of ra that is not among the profile's own",
     .json = "{\"type\": \"string\"}"},
    {0},
};
static const char *const client_words[] = {[CFG_CLIENT_AUTO] = "auto",
                                           [CFG_CLIENT_GENERIC] = "generic",
                                           [CFG_CLIENT_APPLE] = "apple",
                                           [CFG_CLIENT_WINDOWS] = "windows",
                                           [CFG_CLIENT_CISCO_IOS] = "cisco-ios",
                                           [CFG_CLIENT_CISCO_VPN] = "cisco-vpn",
                                           [CFG_CLIENT_JUNIPER] = "juniper",
                                           [CFG_CLIENT_MIKROTIK] = "mikrotik",
                                           NULL};
static const char *const root_words[] = {[CFG_CHOICE_CLIENT] = "client",
                                         [CFG_CHOICE_YES] = "include",
                                         [CFG_CHOICE_NO] = "exclude",
                                         NULL};
static const char *const nonce_words[] = {
    [CFG_NONCE_CLIENT] = "client", [CFG_NONCE_MIRROR] = "mirror", [CFG_NONCE_FULL] = "full", NULL};
static const char *const text_words[] = {
    [CFG_CHOICE_CLIENT] = "client", [CFG_CHOICE_YES] = "on", [CFG_CHOICE_NO] = "off", NULL};

const struct cfg_key cfg_scep_keys[] = {
    {.name = "paths",
     .type = CFG_STRINGS,
     .offset = offsetof(struct cfg_scep, paths),
     .required = true,
     .min = 1,
     .meaning = "The paths of the profile's URLs; what follows at a / is ignored.",
     .form = "a path such as /scep/vpn",
     .check = cfg_check_path},
    {.name = "ra",
     .type = CFG_CUSTOM,
     .offset = 0,
     .required = true,
     .meaning = "Devices are told the first; what is encrypted to any of them is understood, and "
                "answered by the one that it is encrypted to while its certificate lasts: that is "
                "how a change of keys overlaps.",
     .form = "a list of at most 15, each item the name of an entry of ra",
     .json = "{\"type\": \"array\", \"minItems\": 1, \"maxItems\": 15, "
             "\"items\": {\"type\": \"string\"}}"},
    {.name = "next",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg_scep, next),
     .sub = next_keys,
     .meaning = "What follows the profile's CA, for devices that ask with GetNextCACert; left "
                "out: they are told that there is nothing.",
     .judge = cfg_judge_next},
    {.name = "chain",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_scep, chain),
     .def = "client",
     .words = chain_words,
     .meaning = "How much a reply holds: the certificate alone, with its issuer, with the "
                "whole chain, or what the client's family wants: the certificate alone but for "
                "cisco-vpn, which wants the issuer."},
    {.name = "client",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_scep, client),
     .def = "auto",
     .words = client_words,
     .meaning = "The family of the profile's devices, or auto: what each request shows. windows "
                "also lets a request be signed with another key than its CSR's."},
    {.name = "getcacert",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_scep, told),
     .meaning = "What GetCACert tells, in this order; what there is not is left out. ra: the RA's "
                "certificate that signs, encryption: its other one, issuer: the CA that issues, "
                "then what is above it. Left out: what the client's family wants, which is all of "
                "them in the order of this list, as root has it.",
     .form = "a list of ra and any of encryption, issuer, intermediates, root",
     .json = JSON_LIST("\"ra\", \"encryption\", \"issuer\", \"intermediates\", \"root\""),
     .read = cfg_read_told},
    {.name = "root",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_scep, root),
     .def = "client",
     .words = root_words,
     .meaning = "Whether GetCACert names the root CA behind the issuing one; every family does. "
                "Not beside getcacert."},
    {.name = "nonce",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_scep, nonce),
     .def = "client",
     .words = nonce_words,
     .meaning = "How long the nonces of replies are: as long as the device's where that has 8 to "
                "15 octets (mirror), always 16 (full), or what the client's family wants: mirror, "
                "but for windows."},
    {.name = "fail_text",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_scep, fail_text),
     .def = "client",
     .words = text_words,
     .meaning = "Whether a refusal tells people the id under which the log has the reason "
                "(failInfoText); by default only generic clients are told."},
    {.name = "legacy",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_scep, legacy),
     .def = "none",
     .words = legacy_words,
     .meaning =
         "Whether devices are served that know only triple DES and SHA-1, or only single "
         "DES and MD5, which is then taken of CSRs as well. Each use is logged and counted."},
    {0},
};
