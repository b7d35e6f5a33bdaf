#include "scep/family.h"

#include "scep/query.h"

#include <string.h>

#define NONCE_MIN 8

/* RA before CA, as the drafts had it, jscep expects it, and others take the first. Some old ones
 * need the root (OpenXPKI #73); no family is known for which another order is right. */
static const struct cfg_told all = {
    {CFG_TOLD_RA, CFG_TOLD_ENCRYPTION, CFG_TOLD_ISSUER, CFG_TOLD_INTERMEDIATES, CFG_TOLD_ROOT},
    CFG_TOLD_COUNT};

/* Where a row has no note, nothing else than its name was seen to matter. */
static const struct scep_family families[CFG_CLIENT_COUNT] = {
    [CFG_CLIENT_GENERIC] = {"generic", &all, CFG_CHAIN_LEAF, CFG_NONCE_MIRROR, CFG_LEGACY_NONE,
                            true, false},
    /* Pairs the first certificate of a CertRep with its key; nonces of 8 octets once. */
    [CFG_CLIENT_APPLE] = {"apple", &all, CFG_CHAIN_LEAF, CFG_NONCE_MIRROR, CFG_LEGACY_DES3_SHA1,
                          false, false},
    /* Signs with a key of its own for each attempt, whatever RFC 8894 section 2.3 says, and with
     * SHA-1. */
    [CFG_CLIENT_WINDOWS] = {"windows", &all, CFG_CHAIN_LEAF, CFG_NONCE_FULL, CFG_LEGACY_DES3_SHA1,
                            false, true},
    [CFG_CLIENT_CISCO_IOS] = {"cisco-ios", &all, CFG_CHAIN_LEAF, CFG_NONCE_MIRROR,
                              CFG_LEGACY_DES_MD5, false, false},
    /* Wants its CA in the CertRep. */
    [CFG_CLIENT_CISCO_VPN] = {"cisco-vpn", &all, CFG_CHAIN_ISSUER, CFG_NONCE_MIRROR,
                              CFG_LEGACY_DES_MD5, false, false},
    /* Rejects a CertRep that holds a CA's certificate. */
    [CFG_CLIENT_JUNIPER] = {"juniper", &all, CFG_CHAIN_LEAF, CFG_NONCE_MIRROR, CFG_LEGACY_DES_MD5,
                            false, false},
    [CFG_CLIENT_MIKROTIK] = {"mikrotik", &all, CFG_CHAIN_LEAF, CFG_NONCE_MIRROR, CFG_LEGACY_DES_MD5,
                             false, false},
};

/* Signers as these clients make them for their first enrollment, and other signs. */
static const struct {
    enum cfg_scep_client client;
    const char *agent;   /* somewhere in User-Agent */
    const char *message; /* the value of message= */
    const char *signer;  /* the subject of the self-signed certificate */
} signs_of[] = {
    {CFG_CLIENT_APPLE, NULL, NULL, "CN=MDM SCEP SIGNER,C=US"},
    {CFG_CLIENT_WINDOWS, NULL, NULL, "CN=SCEP Protocol Certificate"},
    {CFG_CLIENT_CISCO_IOS, "Cisco PKI", NULL, NULL},
    {CFG_CLIENT_MIKROTIK, NULL, "DummyCAIdentity", NULL},
};

static bool shows(size_t row, const struct scep_signs *signs)
{
    const char *agent = signs_of[row].agent, *message = signs_of[row].message;
    const char *signer = signs_of[row].signer;
    struct bytes value;
    if (agent && signs->user_agent.len &&
        memmem(signs->user_agent.ptr, signs->user_agent.len, agent, strlen(agent)))
        return true;
    if (message && scep_query_value(signs->query, "message", &value) &&
        bytes_equal_str(value, message))
        return true;
    return signer && signs->signer &&
           strcmp(cert_names_get(signs->signer)->subject_text, signer) == 0;
}

const struct scep_family *scep_family_find(const struct cfg_scep *conf,
                                           const struct scep_signs *signs)
{
    if (conf->client != CFG_CLIENT_AUTO)
        return &families[conf->client];
    for (size_t i = 0; i < sizeof signs_of / sizeof signs_of[0]; i++)
        if (shows(i, signs))
            return &families[signs_of[i].client];
    return &families[CFG_CLIENT_GENERIC];
}

const struct scep_family *scep_family_of(const struct scep_call *call, const struct cert *signer,
                                         struct scep_reply *reply)
{
    struct scep_signs signs = {call->user_agent, call->query, signer};
    const struct scep_family *family = scep_family_find(&call->profile->scep, &signs);
    reply->note.family = family->name;
    return family;
}

enum cfg_scep_chain scep_family_chain(const struct cfg_scep *conf, const struct scep_family *family)
{
    return conf->chain == CFG_CHAIN_CLIENT ? family->chain : conf->chain;
}

bool scep_family_fail_text(const struct cfg_scep *conf, const struct scep_family *family)
{
    return conf->fail_text == CFG_CHOICE_CLIENT ? family->fail_text
                                                : conf->fail_text == CFG_CHOICE_YES;
}

struct cfg_told scep_family_told(const struct cfg_scep *conf, const struct scep_family *family)
{
    struct cfg_told told = {.count = 0};
    if (conf->told.count)
        return conf->told;
    for (size_t i = 0; i < family->told->count; i++)
        if (family->told->order[i] != CFG_TOLD_ROOT || conf->root != CFG_CHOICE_NO)
            told.order[told.count++] = family->told->order[i];
    return told;
}

size_t scep_family_nonce(const struct cfg_scep *conf, const struct scep_family *family,
                         size_t theirs)
{
    enum cfg_nonce nonce = conf->nonce == CFG_NONCE_CLIENT ? family->nonce : conf->nonce;
    bool short_one = theirs >= NONCE_MIN && theirs < SCEP_NONCE_LEN;
    return nonce == CFG_NONCE_MIRROR && short_one ? theirs : SCEP_NONCE_LEN;
}

bool scep_family_other_signer(const struct cfg_scep *conf)
{
    return conf->client != CFG_CLIENT_AUTO && families[conf->client].other_signer;
}
