/* The rows of struct cfg_checking, for a struct that begins with it. */
#ifndef CONFIG_SCHEMA_CHECKING_H
#define CONFIG_SCHEMA_CHECKING_H

#include "config/schema.h"

#include <stddef.h>

extern const char *const cfg_revocation_words[];

/* clang-format off */
#define CFG_CHECKING_KEYS                                                                          \
    {.name = "revocation",                                                                         \
     .type = CFG_ENUM,                                                                             \
     .offset = offsetof(struct cfg_checking, revocation),                                          \
     .words = cfg_revocation_words,                                                                \
     .def = "hard_fail",                                                                           \
     .meaning = "What becomes of a certificate whose revocation cannot be checked: who comes with it " \
                "is told to come again; it is taken as not revoked, which is counted and logged; " \
                "or none is checked."},                                                            \
    {.name = "crl",                                                                                \
     .type = CFG_STRINGS,                                                                          \
     .offset = offsetof(struct cfg_checking, crl),                                                 \
     .min = 1,                                                                                     \
     .meaning = "Where CRLs of the CAs are, in DER.",                                              \
     .form = "an http or https URL",                                                               \
     .check = cfg_check_web},                                                                      \
    {.name = "crl_under",                                                                          \
     .type = CFG_STRINGS,                                                                          \
     .offset = offsetof(struct cfg_checking, crl_under),                                           \
     .min = 1,                                                                                     \
     .meaning = "CRL URLs that stand in the certificates are used if they begin with one of these.", \
     .form = "an http or https URL that ends with /",                                              \
     .check = cfg_check_web_under},                                                                \
    {.name = "ocsp",                                                                               \
     .type = CFG_STRING,                                                                           \
     .offset = offsetof(struct cfg_checking, ocsp),                                                \
     .meaning = "The OCSP responder that is asked.",                                               \
     .form = "an http or https URL",                                                               \
     .check = cfg_check_web},                                                                      \
    {.name = "refresh",                                                                            \
     .type = CFG_DURATION,                                                                         \
     .offset = offsetof(struct cfg_checking, refresh),                                             \
     .min = 1,                                                                                     \
     .max = INT64_C(30) * 86400,                                                                   \
     .def = "1h",                                                                                  \
     .meaning = "How long a CRL or an OCSP answer is used before it is asked for again; never "    \
                "longer than it says itself."}
/* clang-format on */

/* needed: something has to be checked, unless the section says that nothing is. */
void cfg_judge_checking(const struct cfg_checking *checking, struct cfg_faults *faults,
                        const struct cfg_node *node, bool needed);

#endif
