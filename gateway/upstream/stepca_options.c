#include "gateway/upstream/stepca_options.h"

#include "config/read.h"
#include "gateway/upstream/jose.h"

#include <stddef.h>
#include <string.h>

static void judge_key(EVP_PKEY *key, struct cfg_faults *faults, const struct cfg_node *node)
{
    struct jose_signer signer = {.key = key};
    if (key && !jose_alg(&signer))
        cfg_fault_key(faults, node, "key",
                      "signs no tokens; expected a key of P-256, Ed25519 or RSA of at least 2048 "
                      "bits");
}

static void judge_jwk(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct stepca_jwk *jwk = field;
    judge_key(jwk->key, faults, node);
}

static void judge_x5c(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct relay_client *x5c = field;
    relay_client_judge(field, faults, node);
    judge_key(x5c->key, faults, node);
}

static void judge_options(void *arg, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct stepca_options *options = arg;
    int ways = !!cfg_node_get(node, "jwk") + !!cfg_node_get(node, "x5c");
    relay_https_judge(options->url, "an https URL: a token is sent with every request", faults,
                      node);
    if (ways != 1)
        cfg_fault_key(faults, node, NULL,
                      "says %s what signs its tokens; expected one of jwk and x5c",
                      ways ? "in several ways" : "not");
}

static const struct cfg_key jwk_keys[] = {
    {.name = "key",
     .type = CFG_KEY_FILE,
     .offset = offsetof(struct stepca_jwk, key),
     .required = true,
     .meaning = "The provisioner's private key: P-256, Ed25519 or RSA."},
    {0},
};

static const struct cfg_key keys[] = {
    CFG_LINE_KEYS,
    {.name = "url",
     .type = CFG_STRING,
     .offset = offsetof(struct stepca_options, url),
     .required = true,
     .meaning = "Where step-ca is, by one of the names that its configuration lists (dnsNames).",
     .form = "https://HOST[:PORT]",
     .check = cfg_check_web},
    {.name = "trust",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct stepca_options, trust),
     .required = true,
     .min = 1,
     .meaning = "What its TLS certificate must chain to."},
    {.name = "provisioner",
     .type = CFG_STRING,
     .offset = offsetof(struct stepca_options, provisioner),
     .required = true,
     .meaning = "The name of the provisioner whose tokens we make."},
    {.name = "jwk",
     .type = CFG_SECTION,
     .offset = offsetof(struct stepca_options, jwk),
     .sub = jwk_keys,
     .meaning = "It is one of type JWK.",
     .judge = judge_jwk},
    {.name = "x5c",
     .type = CFG_SECTION,
     .offset = offsetof(struct stepca_options, x5c),
     .sub = relay_client_keys,
     .meaning = "It is one of type X5C.",
     .judge = judge_x5c},
    {.name = "validity",
     .type = CFG_DURATION,
     .offset = offsetof(struct stepca_options, validity),
     .meaning = "How long certificates are asked to be valid; without it as the provisioner says."},
    {.name = "chain",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct stepca_options, chain),
     .meaning = "The CA's certificates, to be told to devices before the CA could be asked."},
    {0},
};

const struct cfg_kind stepca_kind = {
    .type = "stepca",
    .keys = keys,
    .options_size = sizeof(struct stepca_options),
    .remote = true,
    .judge = judge_options,
};
