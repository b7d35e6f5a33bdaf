#include "config/schema.h"

#include "config/config.h"
#include "config/judge.h"
#include "config/read.h"

#include <stddef.h>

/* In the order of enum cfg_scep_chain and enum cfg_scep_legacy. */
static const char *const chain_words[] = {
    [CFG_CHAIN_LEAF] = "leaf", [CFG_CHAIN_ISSUER] = "issuer", [CFG_CHAIN_FULL] = "full", NULL};
static const char *const legacy_words[] = {
    [CFG_LEGACY_NONE] = "none", [CFG_LEGACY_DES3_SHA1] = "des3-sha1", NULL};

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
     .meaning = "The upstream CA that is asked for the new certificate.",
     .form = "the name of an upstream",
     .json = "{\"type\": \"string\"}"},
    {.name = "trust",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct cfg_renew, trust),
     .required = true,
     .min = 1,
     .meaning = "What the new certificate must chain to."},
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
                "written by scepter, with others beside it that begin with its name. Of this pair "
                "and the configured one, the one that began last is used and the other one "
                "decrypts.",
     .form = "the name of a file in a folder that scepter may write to",
     .json = JSON_FILE,
     .read = cfg_read_path,
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
     .meaning = "Whether its certificate renews itself before it ends; left out: it does not."},
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
     .def = "leaf",
     .words = chain_words,
     .meaning = "How much a reply holds: the certificate alone, with its issuer, or with the "
                "whole chain."},
    {.name = "legacy",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_scep, legacy),
     .def = "none",
     .words = legacy_words,
     .meaning = "Whether devices that know only triple DES and SHA-1 are served."},
    {0},
};
