#include "gateway/upstream/vault_options.h"

#include "config/read.h"

#include <stddef.h>
#include <string.h>

static void judge_options(void *arg, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct vault_options *options = arg;
    int ways = !!cfg_node_get(node, "token_file") + !!cfg_node_get(node, "approle") +
               !!cfg_node_get(node, "tls");
    relay_https_judge(options->url, "an https URL: the token is sent with every request", faults,
                      node);
    if (ways != 1)
        cfg_fault_key(faults, node, NULL,
                      "says %s how to log in; expected one of token_file, approle and tls",
                      ways ? "in several ways" : "not");
    if (cfg_node_get(node, "tls") && !cfg_node_get(node, "client"))
        cfg_fault_key(faults, node, "client", "is missing; expected the certificate to log in by");
    if (!options->verbatim && !cfg_node_get(node, "role"))
        cfg_fault_key(faults, node, "role",
                      "is missing; expected the name of a role, or verbatim: true");
}

/* Names become parts of a path. */
static const char *check_path(const char *text, char **stored)
{
    (void)stored;
    size_t len = strlen(text);
    if (!len || len > VAULT_NAME_MAX || text[0] == '/' || text[len - 1] == '/' ||
        strstr(text, ".."))
        return "is no path inside Vault";
    for (size_t i = 0; i < len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./", text[i]))
            return "is no path inside Vault";
    return NULL;
}

static const struct cfg_key approle_keys[] = {
    {.name = "role_id",
     .type = CFG_STRING,
     .offset = offsetof(struct vault_approle, role_id),
     .required = true,
     .meaning = "The role's identifier."},
    {.name = "secret_id_file",
     .type = CFG_SECRET,
     .offset = offsetof(struct vault_approle, secret_id),
     .required = true,
     .meaning = "The secret that goes with it."},
    {.name = "mount",
     .type = CFG_STRING,
     .offset = offsetof(struct vault_approle, mount),
     .def = "approle",
     .meaning = "Where the auth method is mounted.",
     .form = "a path",
     .check = check_path},
    {0},
};

static const struct cfg_key tls_keys[] = {
    {.name = "mount",
     .type = CFG_STRING,
     .offset = offsetof(struct vault_tls, mount),
     .def = "cert",
     .meaning = "Where the auth method is mounted.",
     .form = "a path",
     .check = check_path},
    {.name = "name",
     .type = CFG_STRING,
     .offset = offsetof(struct vault_tls, name),
     .meaning = "The certificate role to log in by; without it the server looks for one."},
    {0},
};

static const struct cfg_key keys[] = {
    CFG_LINE_KEYS,
    {.name = "url",
     .type = CFG_STRING,
     .offset = offsetof(struct vault_options, url),
     .required = true,
     .meaning = "Where Vault or OpenBao is.",
     .form = "https://HOST[:PORT]",
     .check = cfg_check_web},
    {.name = "trust",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct vault_options, trust),
     .required = true,
     .min = 1,
     .meaning = "What its TLS certificate must chain to."},
    {.name = "namespace",
     .type = CFG_STRING,
     .offset = offsetof(struct vault_options, name_space),
     .meaning = "The namespace in which everything is.",
     .form = "a path",
     .check = check_path},
    {.name = "mount",
     .type = CFG_STRING,
     .offset = offsetof(struct vault_options, mount),
     .def = "pki",
     .meaning = "Where the PKI engine is mounted.",
     .form = "a path",
     .check = check_path},
    {.name = "issuer",
     .type = CFG_STRING,
     .offset = offsetof(struct vault_options, issuer),
     .meaning = "The issuer's name or identifier; without it the role's, or the mount's default.",
     .form = "a path",
     .check = check_path},
    {.name = "role",
     .type = CFG_STRING,
     .offset = offsetof(struct vault_options, role),
     .meaning = "The role that signs. Needed unless verbatim.",
     .form = "a path",
     .check = check_path},
    {.name = "verbatim",
     .type = CFG_BOOL,
     .offset = offsetof(struct vault_options, verbatim),
     .meaning =
         "Whether it signs by sign-verbatim: what the request says, whatever a role allows."},
    {.name = "ttl",
     .type = CFG_DURATION,
     .offset = offsetof(struct vault_options, ttl),
     .meaning = "How long certificates are asked to be valid; without it the role's wish."},
    {.name = "token_file",
     .type = CFG_SECRET,
     .offset = offsetof(struct vault_options, token),
     .meaning = "The token. It is renewed while the server allows it."},
    {.name = "approle",
     .type = CFG_SECTION,
     .offset = offsetof(struct vault_options, approle),
     .sub = approle_keys,
     .meaning = "Logging in by AppRole."},
    {.name = "client",
     .type = CFG_SECTION,
     .offset = offsetof(struct vault_options, client),
     .sub = relay_client_keys,
     .meaning = "The certificate by which the server knows us.",
     .judge = relay_client_judge},
    {.name = "tls",
     .type = CFG_SECTION,
     .offset = offsetof(struct vault_options, tls),
     .sub = tls_keys,
     .meaning = "Logging in by the client certificate."},
    {.name = "chain",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct vault_options, chain),
     .meaning = "The CA's certificates, to be told to devices before the CA could be asked."},
    {0},
};

const struct cfg_kind vault_kind = {
    .type = "vault",
    .keys = keys,
    .options_size = sizeof(struct vault_options),
    .remote = true,
    .judge = judge_options,
};
