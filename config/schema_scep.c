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
     .meaning = "The first signs replies, all decrypt requests: that is how a change of keys "
                "overlaps.",
     .form = "a list, each item the name of an entry of ra",
     .json = "{\"type\": \"array\", \"minItems\": 1, \"items\": {\"type\": \"string\"}}"},
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
