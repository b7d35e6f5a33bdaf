#include "gateway/upstream/acme_options.h"

#include "base/text.h"
#include "config/read.h"
#include "gateway/upstream/acme_client.h"
#include "gateway/upstream/acme_http01.h"

#include <stddef.h>
#include <string.h>

void acme_options_judge(void *arg, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct acme_options *options = arg;
    struct err err;
    struct buf secret = BUF_SECRET(1024);
    EVP_PKEY *key = NULL;
    if (options->directory && strncmp(options->directory, "https://", 8) != 0)
        cfg_fault_value(faults, cfg_node_get(node, "directory"), "is not https", "an https URL");
    if (options->account_key && !acme_key_load(options->account_key, &key, &err))
        cfg_fault(faults, cfg_node_get(node, "account_key"),
                  "cannot be used: %s; expected a PEM file with a private key, or none yet",
                  err.text);
    if (options->eab.secret.len &&
        !text_base64_decode(buf_bytes(&options->eab.secret), TEXT_BASE64_LENIENT, &secret, &err))
        cfg_fault(faults, cfg_node_get(cfg_node_get(node, "eab"), "key_file"),
                  "holds no base64url; expected the HMAC key as the CA gave it");
    EVP_PKEY_free(key);
    buf_free(&secret);
}

static const char *check_variable(const char *text, char **stored)
{
    (void)stored;
    const char *equals = strchr(text, '=');
    size_t len = equals ? (size_t)(equals - text) : 0;
    return len && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == len ? NULL
                                                                               : "is no variable";
}

static void judge_dns01(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct acme_dns01 *dns01 = field;
    cfg_judge_command(&dns01->command, cfg_node_get(node, "command"), faults);
}

static const struct cfg_key dns01_keys[] = {
    {.name = "command",
     .type = CFG_STRINGS,
     .offset = offsetof(struct acme_dns01, command),
     .required = true,
     .min = 1,
     .meaning = "A program that sets and removes TXT records. Run without a shell, with three more "
                "arguments: present or cleanup, the record's name (_acme-challenge.NAME.) and its "
                "value; it ends with 0 when that is done."},
    {.name = "environment",
     .type = CFG_STRINGS,
     .offset = offsetof(struct acme_dns01, environment),
     .meaning = "What the command's environment holds beside PATH and LC_ALL.",
     .form = "NAME=VALUE, the name of A-Z 0-9 _",
     .check = check_variable},
    {.name = "delay",
     .type = CFG_DURATION,
     .offset = offsetof(struct acme_dns01, delay),
     .max = 3600,
     .def = "0s",
     .meaning = "How long records take from there to where the CA looks."},
    {0},
};

static const struct cfg_key eab_keys[] = {
    {.name = "id",
     .type = CFG_STRING,
     .offset = offsetof(struct acme_options, eab.id) - offsetof(struct acme_options, eab),
     .required = true,
     .meaning = "The key identifier that the CA gave."},
    {.name = "key_file",
     .type = CFG_SECRET,
     .offset = offsetof(struct acme_options, eab.secret) - offsetof(struct acme_options, eab),
     .required = true,
     .meaning = "The HMAC key that the CA gave, in base64url."},
    {0},
};

const struct cfg_key acme_keys[] = {
    CFG_LINE_KEYS,
    {.name = "directory",
     .type = CFG_STRING,
     .offset = offsetof(struct acme_options, directory),
     .required = true,
     .meaning = "The CA's directory.",
     .form = "https://HOST[:PORT]/PATH",
     .check = cfg_check_web},
    {.name = "trust",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct acme_options, trust),
     .meaning = "What the CA's TLS certificate must chain to; left out: the system's anchors."},
    {.name = "account_key",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct acme_options, account_key),
     .required = true,
     .meaning = "The account's private key, P-256 or RSA; made when it is first needed if there is "
                "no such file. Who has it owns the account.",
     .form = "a file of mode 0600 or 0400, or 0640 if it is root's",
     .json = "{\"type\": \"string\"}",
     .read = cfg_read_new_path,
     .clear = cfg_read_path_clear},
    {.name = "contact",
     .type = CFG_STRINGS,
     .offset = offsetof(struct acme_options, contact),
     .meaning = "Whom the CA may write to.",
     .form = "a URL such as mailto:pki@example.com"},
    {.name = "terms_agreed",
     .type = CFG_BOOL,
     .offset = offsetof(struct acme_options, terms_agreed),
     .meaning = "Whether you agree to the CA's terms of service; most CAs want it."},
    {.name = "eab",
     .type = CFG_SECTION,
     .offset = offsetof(struct acme_options, eab),
     .sub = eab_keys,
     .meaning = "External account binding: how the CA knows whose account it is."},
    {.name = "http01",
     .type = CFG_STRING,
     .offset = offsetof(struct acme_options, http01),
     .meaning = "Where http-01 challenges are answered; port 80 of every name must lead there. "
                "Without it and dns01 the account has to be authorized at the CA.",
     .form = "ADDRESS:PORT",
     .check = http01_check},
    {.name = "dns01",
     .type = CFG_SECTION,
     .offset = offsetof(struct acme_options, dns01),
     .sub = dns01_keys,
     .meaning = "How dns-01 challenges are answered; they are preferred to http-01, and the only "
                "ones for wildcards.",
     .judge = judge_dns01},
    {.name = "chain",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct acme_options, chain),
     .meaning = "The CA's certificates, to be told to devices before the CA has issued any: ACME "
                "tells them only with a certificate."},
    {0},
};
