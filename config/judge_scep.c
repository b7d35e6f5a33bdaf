#include "config/judge.h"

#include "config/config.h"
#include "config/renewed.h"
#include "config/table.h"

/* Devices encrypt to such a pair or verify what it signed (RFC 8894 section 2.1.2); those that find
 * two of them choose by keyUsage. */
static void judge_pair(const struct cfg_pair *pair, const struct cfg_ra_usage *usage,
                       const struct cfg_node *node, struct cfg_faults *faults)
{
    if (!cfg_judge_pair(&pair->chain, pair->key, node, faults))
        return;
    if (EVP_PKEY_get_base_id(pair->key) != EVP_PKEY_RSA)
        cfg_fault_value(faults, cfg_node_get(node, "key"), "is no RSA key",
                        "one, since SCEP devices encrypt to it");
    if (!cfg_ra_usage_suits(usage, pair->chain.items[0]))
        cfg_fault_value(faults, cfg_node_get(node, "certificate"),
                        "has a keyUsage that does not suit SCEP", usage->expected);
}

void cfg_judge_ra(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct cfg_identity *ra = field;
    const struct cfg_pair pair = {ra->chain, ra->key};
    bool split = cfg_node_get(node, "encryption");
    judge_pair(&pair, cfg_ra_usage(CFG_RA_SIGNS, split), node, faults);
    bool whole = ra->chain.count && ra->key &&
                 (!split || (ra->encryption.chain.count && ra->encryption.key));
    if (cfg_node_get(node, "renew") && whole)
        cfg_renewed_take(field, faults, node);
}

void cfg_judge_encryption(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    judge_pair(field, cfg_ra_usage(CFG_RA_DECRYPTS, true), node, faults);
}

void cfg_judge_scep(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct cfg_scep *scep = field;
    const struct cfg_node *root = cfg_node_get(node, "root");
    if (root && scep->told.count)
        cfg_fault(faults, root, "says what getcacert says as well; expected one of them");
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
