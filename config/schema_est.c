#include "config/schema.h"

#include "config/config.h"
#include "config/file.h"
#include "config/judge.h"
#include "config/read.h"

#include <stddef.h>

/* In the order of enum cfg_binding, enum cfg_password and enum cfg_csrattrs. */
static const char *const binding_words[] = {[CFG_BINDING_NONE] = "none",
                                            [CFG_BINDING_OPTIONAL] = "optional",
                                            [CFG_BINDING_REQUIRED] = "required",
                                            NULL};
static const char *const password_words[] = {[CFG_PASSWORD_BINDING] = "binding",
                                             [CFG_PASSWORD_SECRET] = "secret",
                                             [CFG_PASSWORD_REFUSE] = "refuse",
                                             NULL};
static const char *const csrattrs_words[] = {[CFG_CSRATTRS_NONE] = "none",
                                             [CFG_CSRATTRS_PLAIN] = "plain",
                                             [CFG_CSRATTRS_TEMPLATE] = "template",
                                             [CFG_CSRATTRS_BOTH] = "both",
                                             NULL};
static const char *const require_words[] = {
    [CFG_REQUIRE_ANY] = "any", [CFG_REQUIRE_ALL] = "all", NULL};
static const char *const keygen_words[] = {[CFG_KEYGEN_OFF] = "off",
                                           [CFG_KEYGEN_ALLOW] = "allow",
                                           [CFG_KEYGEN_ENCRYPTED] = "encrypted",
                                           NULL};
static const char *const fullcmc_words[] = {
    [CFG_FULLCMC_OFF] = "off", [CFG_FULLCMC_ALLOW] = "allow", NULL};

static const struct cfg_key extension_keys[] = {
    {.name = "oid",
     .type = CFG_STRING,
     .offset = offsetof(struct cfg_asked_extension, oid),
     .required = true,
     .meaning = "The extension, by its name in OpenSSL or dotted.",
     .form = "an extension that a device may ask for",
     .check = cfg_check_asked},
    {.name = "critical",
     .type = CFG_BOOL,
     .offset = offsetof(struct cfg_asked_extension, critical),
     .meaning = "Whether it is to be critical."},
    {.name = "value",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_asked_extension, value),
     .meaning = "Its value; left out: the device fills it in, which only the template can say.",
     .form = "DER in hexadecimal, such as \"03020388\"",
     .json = "{\"type\": \"string\", \"pattern\": \"^([0-9A-Fa-f]{2})+$\"}",
     .read = cfg_read_der,
     .clear = cfg_read_der_clear},
    {0},
};

const struct cfg_key cfg_est_keys[] = {
    {.name = "labels",
     .type = CFG_STRINGS,
     .offset = offsetof(struct cfg_est, labels),
     .required = true,
     .min = 1,
     .meaning = "The labels in the profile's URLs; \"\" is the URL without a label.",
     .form = "1 to 64 of A-Z a-z 0-9 . _ ~ - and no operation's name, or \"\"",
     .check = cfg_check_label},
    {.name = "auth",
     .type = CFG_CUSTOM,
     .offset = 0,
     .def = "[certificate]",
     .meaning = "How a device may prove itself: by a certificate of this profile, or by a password "
                "that is a challenge or belongs to one of users. With digest (RFC 7616) the "
                "password is not sent, so we must know it: a fixed challenge, or a user with a "
                "digest form; one-time challenges are kept as hashes and need basic.",
     .form = "a list of certificate, basic, digest",
     .json = JSON_WORDS3("certificate", "basic", "digest"),
     .read = cfg_read_auth},
    {.name = "auth_require",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_est, auth_require),
     .words = require_words,
     .def = "any",
     .meaning = "Whether any of auth is enough, or a certificate that would be enough and a "
                "password are needed together (RFC 7030 section 3.2.3)."},
    {.name = "realm",
     .type = CFG_STRING,
     .offset = offsetof(struct cfg_est, realm),
     .def = "est",
     .meaning = "The realm of basic and digest; a digest form is of one realm.",
     .form = "1 to 64 printable ASCII characters without quote, backslash and colon",
     .check = cfg_check_realm},
    {.name = "insecure_digest_md5",
     .type = CFG_BOOL,
     .offset = offsetof(struct cfg_est, digest_md5),
     .def = "false",
     .meaning = "Whether digest is offered with MD5 too, for devices that know no SHA-256."},
    {.name = "users",
     .type = CFG_CUSTOM,
     .offset = 0,
     .meaning = "Users for basic with salted hashes as mkpasswd makes them ($y$, $6$, $5$ or "
                "$2b$); for digest with {digest-sha256} or {digest-md5} and the hexadecimal hash "
                "of NAME:REALM:PASSWORD, which is worth a password. A user may have a line of "
                "each.",
     .form = "a file with NAME:HASH lines, of mode 0600 or 0400, or 0640 if it is root's",
     .json = JSON_FILE,
     .read = cfg_file_users,
     .clear = cfg_file_users_clear},
    {.name = "lenient",
     .type = CFG_CUSTOM,
     .offset = 0,
     .def = "[der, pem, no-media-type]",
     .meaning =
         "What is accepted, and counted, though RFC 8951 does not have it: a body in DER, a CSR in "
         "PEM, and a request without a media type.",
     .form = "none, or a list of der, pem, no-media-type",
     .json = "{\"oneOf\": [{\"const\": \"none\"}, " JSON_WORDS3("der", "pem", "no-media-type") "]}",
     .read = cfg_read_lenient},
    {.name = "binding",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_est, binding),
     .words = binding_words,
     .def = "none",
     .meaning = "Whether a CSR must be bound to the TLS connection it comes by (RFC 7030 section "
                "3.5): by tls-unique on TLS 1.2, tls-exporter on 1.3. optional checks those that "
                "are there."},
    {.name = "challenge_password",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_est, challenge_password),
     .words = password_words,
     .def = "binding",
     .meaning = "What challengePassword in a CSR means: the binding, a challenge as SCEP has it, "
                "or that the CSR is refused. A binding may always stand in estIdentityLinking (RFC "
                "7894)."},
    {.name = "csrattrs",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_est, csrattrs),
     .words = csrattrs_words,
     .def = "plain",
     .meaning = "How devices are told what the profile asks of a CSR: as RFC 7030 lists it, by a "
                "template of RFC 9908, by both, or not at all."},
    {.name = "csrattrs_extensions",
     .type = CFG_LIST,
     .offset = offsetof(struct cfg_est, extensions),
     .sub = extension_keys,
     .meaning = "The extensions that csrattrs names, in place of those that follow from eku and "
                "san. Whether a CSR may have them, san and eku say; another one may be there, with "
                "the value that is given here, or with any if none is.",
     .count_offset = offsetof(struct cfg_est, extension_count),
     .item_size = sizeof(struct cfg_asked_extension)},
    {.name = "csrattrs_oids",
     .type = CFG_STRINGS,
     .offset = offsetof(struct cfg_est, oids),
     .min = 1,
     .meaning = "What csrattrs names besides, at its end: attributes, which a CSR may then have, "
                "and signature algorithms.",
     .form = "an object identifier by its name in OpenSSL or dotted",
     .check = cfg_check_oid},
    {.name = "renewal_info",
     .type = CFG_BOOL,
     .offset = offsetof(struct cfg_est, renewal_info),
     .def = "false",
     .meaning = "Whether anyone who knows a certificate is told when it had better be renewed "
                "(renewal-info, a draft)."},
    {.name = "keygen",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_est, keygen),
     .words = keygen_words,
     .def = "off",
     .meaning =
         "Whether private keys are made for devices (RFC 7030 section 4.4): allow sends them "
         "as a device asks for them, in the clear inside TLS or encrypted; encrypted only "
         "to those that name a key for it."},
    {.name = "keygen_keys",
     .type = CFG_CUSTOM,
     .offset = 0,
     .meaning = "Keys that devices share with the gateway, to encrypt private keys with "
                "(DecryptKeyIdentifier).",
     .form = "a file with ID:KEY lines in hex, keys of 32 octets, of mode 0600 or 0400, or 0640 if "
             "it is root's",
     .json = JSON_FILE,
     .read = cfg_file_shared_keys,
     .clear = cfg_file_shared_keys_clear},
    {.name = "fullcmc",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_est, fullcmc),
     .words = fullcmc_words,
     .def = "off",
     .meaning = "Whether other RAs, by registrars or cmc_ra, enroll by Full CMC (RFC 7030 section "
                "4.3); certificates of the profile renew by it."},
    {.name = "signer",
     .type = CFG_CUSTOM,
     .offset = 0,
     .meaning = "What signs Full CMC replies and encrypted keys; left out: the TLS server's "
                "certificate.",
     .form = "the name of an entry of ra",
     .json = "{\"type\": \"string\"}"},
    {0},
};
