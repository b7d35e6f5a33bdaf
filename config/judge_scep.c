#include "config/judge.h"

#include "config/config.h"
#include "config/renewed.h"
#include "config/table.h"

#include <openssl/x509v3.h>

/* keyUsage bits of a certificate, and how a fault names them. */
struct usage {
    uint32_t need, never;
    const char *expected;
};

/* Devices encrypt to such a pair or verify what it signed (RFC 8894 section 2.2); those that find
 * two of them choose by keyUsage. */
static void judge_pair(const struct cfg_pair *pair, const struct usage *usage,
                       const struct cfg_node *node, struct cfg_faults *faults)
{
    if (!cfg_judge_pair(&pair->chain, pair->key, node, faults))
        return;
    if (EVP_PKEY_get_base_id(pair->key) != EVP_PKEY_RSA)
        cfg_fault_value(faults, cfg_node_get(node, "key"), "is no RSA key",
                        "one, since SCEP devices encrypt to it");
    uint32_t has = X509_get_key_usage(cert_x509_get(pair->chain.items[0]));
    if ((has & usage->need) != usage->need || (has & usage->never))
        cfg_fault_value(faults, cfg_node_get(node, "certificate"),
                        "has a keyUsage that does not suit SCEP", usage->expected);
}

void cfg_judge_ra(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    static const struct usage both = {KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, 0,
                                      "digitalSignature and keyEncipherment in it"},
                              signs = {KU_DIGITAL_SIGNATURE, KU_KEY_ENCIPHERMENT,
                                       "digitalSignature and not keyEncipherment in it, since "
                                       "encryption has a pair of its own"};
    const struct cfg_identity *ra = field;
    const struct cfg_pair pair = {ra->chain, ra->key};
    judge_pair(&pair, cfg_node_get(node, "encryption") ? &signs : &both, node, faults);
    if (!cfg_node_get(node, "renew"))
        return;
    if (cfg_node_get(node, "encryption"))
        cfg_fault(faults, cfg_node_get(node, "renew"),
                  "is for an RA of one pair; expected no encryption beside it");
    else if (ra->chain.count && ra->key)
        cfg_renewed_take(field, faults, node);
}

void cfg_judge_encryption(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    static const struct usage decrypts = {KU_KEY_ENCIPHERMENT, KU_DIGITAL_SIGNATURE,
                                          "keyEncipherment and not digitalSignature in it"};
    judge_pair(field, &decrypts, node, faults);
}

void cfg_judge_next(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    struct cfg_next *next = field;
    next->given = true;
    if (!cfg_node_get(node, "upstream") && !cfg_node_get(node, "certificates"))
        cfg_fault_key(faults, node, NULL,
                      "announces no CA; expected upstream, certificates or both");
    for (size_t i = 0; i < next->certificates.count; i++)
        if (!cert_is_ca(next->certificates.items[i]))
            cfg_fault(faults, cfg_node_get(node, "certificates"),
                      "holds a certificate that is no CA's (\"%s\"); expected CAs alone",
                      cert_names_get(next->certificates.items[i])->subject_text);
}
