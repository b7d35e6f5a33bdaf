#include "config/schema_checking.h"

#include "config/config.h"
#include "config/judge.h"
#include "config/read.h"

#include <openssl/err.h>
#include <stddef.h>

static const struct cfg_key edge_certificates_keys[] = {
    {.name = "trust",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct cfg_edge_certificates, trust_certs),
     .required = true,
     .min = 1,
     .meaning = "CAs that issue to edges and to nobody else, or the edges' own certificates."},
    {.name = "names",
     .type = CFG_STRINGS,
     .offset = offsetof(struct cfg_edge_certificates, names),
     .required = true,
     .min = 1,
     .meaning = "DNS names of the edges; the certificate has one of them among its SANs.",
     .form = "a DNS name",
     .check = cfg_check_host},
    CFG_CHECKING_KEYS,
    {0},
};

#define JSON_BLOCKS "{\"type\": \"array\", \"minItems\": 1, \"items\": {\"type\": \"string\"}}"

const struct cfg_key cfg_edge_keys[] = {
    {.name = "proxy_protocol",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_edge, proxy_protocol),
     .meaning = "Peers whose connections begin with a PROXY header, version 1 or 2; the address in "
                "it is the client's.",
     .form = "a list, each item an address, a network such as 10.0.0.0/8, or unix",
     .json = JSON_BLOCKS,
     .read = cfg_read_blocks,
     .clear = cfg_read_blocks_clear},
    {.name = "client_cert",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_edge, client_cert),
     .meaning =
         "Peers that speak TLS with the devices, come to an http listener of EST, and tell "
         "the client's certificate in the header Client-Cert (RFC 9440); everybody else's is "
         "left out.",
     .form = "a list, each item an address, a network such as 10.0.0.0/8, or unix",
     .json = JSON_BLOCKS,
     .read = cfg_read_blocks,
     .clear = cfg_read_blocks_clear},
    {.name = "certificates",
     .type = CFG_SECTION,
     .offset = offsetof(struct cfg_edge, certificates),
     .sub = edge_certificates_keys,
     .meaning = "Edges that come to an https listener of EST with a TLS client certificate of "
                "their own, from any address: their Client-Cert counts as well.",
     .judge = cfg_judge_edge},
    {0},
};

/* What OpenSSL cannot use proves nobody. */
void cfg_judge_edge(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    struct cfg_edge_certificates *edge = field;
    const struct cfg_certs *certs = &edge->trust_certs;
    bool cas = false; /* whose word is asked about what they issued */
    for (size_t i = 0; i < certs->count; i++) {
        X509 *x509 = cert_keyed_get(certs->items[i]);
        cas = cas || cert_is_ca(certs->items[i]);
        if (!x509 || !X509_get0_pubkey(x509))
            cfg_fault(faults, cfg_node_get(node, "trust"),
                      "holds a certificate whose key cannot be used (\"%s\"); expected RSA, EC or "
                      "EdDSA keys",
                      cert_names_get(certs->items[i])->subject_text);
    }
    ERR_clear_error();
    cfg_judge_checking(&edge->checking, faults, node, cas);
    if (certs->count)
        edge->trust = trust_new(certs->items, certs->count);
}
